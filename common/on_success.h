/*
 * on_success.h - the user's statement behind a fenced write, in the transaction of that, on a blocking session.
 */
#ifndef ON_SUCCESS_H
#define ON_SUCCESS_H

#include "mapping.h"

#define JSONB_OID 3802		/* the type of its $2 */

/* The statement of the mapping's settings with this job and this result (JSON text). -1: why, with its SQLSTATE. */
int on_success_run(const struct mapping *m, struct session *session, const char *job_id, const char *result, struct error *why);

#endif
