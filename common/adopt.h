/*
 * adopt.h - late results that become the results of their jobs after all, on a blocking session.
 *
 * One transaction each. Only a job that waits or has failed takes one, once: never one that is COMPLETED or
 * CANCELLED, or that another run has. Unasked are only results that were successes in themselves, of a claim
 * since the job was last put back by hand; a person may name any that is whole and valid.
 */
#ifndef ADOPT_H
#define ADOPT_H

#include <stdbool.h>
#include <stddef.h>
#include "mapping.h"

enum adopted {
	ADOPTED,
	ADOPT_NOT,	/* its job is not in such a state, or somebody else just does it */
	ADOPT_REFUSED,	/* its bytes are no result for this queue; why says it */
	ADOPT_FAILED,	/* nothing was done; why says it. The same may succeed later */
};

enum adopted adopt_one(struct session *session, const struct mapping *m, const char *late, bool by_hand, struct error *why);

/* The server's words mean that the bytes can never be the result: no text, no JSON, a constraint. */
bool adopt_is_refusal(const char *sqlstate);

/* Called for each that was adopted or refused (why NULL: adopted). */
typedef void adopt_told_fn(void *arg, const char *late, const char *job_id, const struct error *why);
/* All of a queue, unasked. Those that are refused are marked, so that they are not tried again. -1: err; some may be adopted. */
int adopt_queue(struct session *session, const struct mapping *m, adopt_told_fn *told, void *arg, struct error *err);
/* How many that would be. */
int adopt_count(struct session *session, const struct mapping *m, size_t *out, struct error *err);

#endif
