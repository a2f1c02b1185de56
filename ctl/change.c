/*
 * change.c - do it for each id, say what became of each.
 *
 * All ids are checked before the first is touched.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "change.h"
#include "sqltext.h"

#define NOT_ALLOWED "42501"

/* What the job is now, for the messages only: who may just enqueue cannot see it, then *status stays NULL. */
static int read_status(struct ctl *ctl, const char *id, char **status, bool *missing)
{
	struct error err = ERROR_INIT;

	*missing = false;
	if (session_value(&ctl->session, &err, status, sqltext("ctl", "status"), 1, &id) == 0)
		*missing = *status == NULL;
	else if (strcmp(err.sqlstate, NOT_ALLOWED) != 0)
		return error_set(&ctl->err, err.kind, "%s", err.text);
	return 0;
}

static void tell(struct ctl *ctl, const struct change *change, const char *id, bool done, const char *status)
{
	const char *hint = done && status != NULL && change->hint != NULL ? change->hint(status) : NULL;

	if (done)
		printf("%s %s%s\n", id, change->done, hint != NULL ? hint : "");
	else if (status != NULL)
		cli_complain(&ctl->cli, "%s: is %s: %s", id, status, change->refused(status));
	else
		cli_complain(&ctl->cli, "%s: %s", id, change->refused(NULL));
}

/* 1 done, 0 not, -1 an error of the database. */
static int change_one(struct ctl *ctl, const struct change *change, const char *id)
{
	char *status = NULL, *did = NULL;
	bool missing;
	int rc = -1;

	if (read_status(ctl, id, &status, &missing) < 0)
		goto out;
	if (missing) {
		cli_complain(&ctl->cli, "%s: there is no such job", id);
		rc = 0;
		goto out;
	}
	if (session_value(&ctl->session, &ctl->err, &did, sqltext("ctl", change->statement), 1, &id) < 0)
		goto out;
	rc = did != NULL && strcmp(did, "t") == 0;
	tell(ctl, change, id, rc, status);
out:
	free(status);
	free(did);
	return rc;
}

enum exit_status change_jobs(struct ctl *ctl, const struct change *change)
{
	size_t not_done = 0;

	for (size_t i = 0; i < ctl->cli.args_len; i++)
		if (ctl_job_id(ctl, ctl->cli.args[i]) < 0)
			return ctl_failed(ctl);
	if (ctl_connect_schema(ctl) < 0)
		return ctl_failed(ctl);
	for (size_t i = 0; i < ctl->cli.args_len; i++) {
		int done = change_one(ctl, change, ctl->cli.args[i]);

		if (done < 0)
			return ctl_failed(ctl);
		not_done += done == 0;
	}
	return not_done > 0 ? EXIT_FAILED : EXIT_DONE;
}
