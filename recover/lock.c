/*
 * lock.c - the advisory lock of a run.
 *
 * It belongs to the session, so a run that dies leaves none behind. Behind a
 * pooler the session is not ours: a lock taken there would stay with the
 * pooler's connection and shut out every later run, so none is taken.
 */
#include "lock.h"

#include <stdlib.h>
#include <string.h>

/* Ours alone: "unst", "reco" in ASCII. */
#define LOCK_SQL "SELECT pg_try_advisory_lock(1970172788, 1919247215)"

static int is_pooled(struct session *s, bool *out, struct error *err)
{
	char *pid = NULL;

	if (session_value(s, err, &pid, "SELECT pg_backend_pid()", 0, NULL) < 0)
		return -1;
	*out = pid == NULL || atoi(pid) != PQbackendPID(s->conn);
	free(pid);
	return 0;
}

int lock_take(struct session *s, enum lock_answer *out, struct error *err)
{
	bool pooled = false;
	char *got = NULL;

	if (is_pooled(s, &pooled, err) < 0)
		return -1;
	if (pooled) {
		*out = LOCK_POOLED;
		return 0;
	}
	if (session_value(s, err, &got, LOCK_SQL, 0, NULL) < 0)
		return -1;
	*out = got != NULL && strcmp(got, "t") == 0 ? LOCK_TAKEN : LOCK_BUSY;
	free(got);
	return 0;
}
