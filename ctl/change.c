/*
 * change.c - do it for each id, say what became of each.
 *
 * All ids are checked before the first is touched.
 */
#include <stdio.h>
#include <string.h>
#include "change.h"
#include "sqltext.h"

/* 1 done, 0 not, -1 an error of the database. */
static int change_one(struct ctl *ctl, const struct change *change, const char *id)
{
	PGresult *res = session_exec(&ctl->session, &ctl->err, sqltext("ctl", change->statement), 1, &id);
	const char *status, *hint;
	int done;

	if (res == NULL)
		return -1;
	status = PQgetvalue(res, 0, 1);
	done = strcmp(PQgetvalue(res, 0, 0), "t") == 0;
	hint = done && change->hint != NULL ? change->hint(status) : NULL;
	if (done)
		printf("%s %s%s\n", id, change->done, hint != NULL ? hint : "");
	else if (PQgetisnull(res, 0, 1))
		cli_complain(&ctl->cli, "%s: there is no such job", id);
	else
		cli_complain(&ctl->cli, "%s: is %s: %s", id, status, change->refused);
	PQclear(res);
	return done;
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
