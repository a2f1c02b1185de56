/*
 * show.c - everything about one job: every column, payload and result in full.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "buf.h"
#include "ctl.h"
#include "sqltext.h"
#include "table.h"

#define NAME_WIDTH 14

/* The object of job_objects taken apart: name, value as text, documents spread over lines. */
static char *fields_sql(void)
{
	return xasprintf("SELECT f.key, CASE WHEN f.key IN ('payload', 'result') THEN jsonb_pretty(f.value::text::jsonb)\n"
	                 "                   ELSE f.value #>> '{}' END\n"
	                 "  FROM (%s) AS o(object), json_each(o.object) AS f",
	                 sqltext("ctl", "job_objects"));
}

static void print_fields(const PGresult *res)
{
	for (int i = 0; i < PQntuples(res); i++) {
		printf("%-*s", NAME_WIDTH, PQgetvalue(res, i, 0));
		print_safe(PQgetisnull(res, i, 1) ? "-" : PQgetvalue(res, i, 1), NAME_WIDTH);
		putchar('\n');
	}
}

enum exit_status show_run(struct ctl *ctl)
{
	const char *id = ctl->cli.args[0];
	char *fields = NULL;
	PGresult *res;
	int rows;

	if (ctl_job_id(ctl, id) < 0 || ctl_connect_schema(ctl) < 0)
		return ctl_failed(ctl);
	fields = fields_sql();
	res = session_exec(&ctl->session, &ctl->err, ctl->cli.common.json ? sqltext("ctl", "job_objects") : fields, 4,
	                   (const char *const[]){ NULL, NULL, id, "1" });
	free(fields);
	if (res == NULL)
		return ctl_failed(ctl);
	rows = PQntuples(res);
	if (rows > 0 && ctl->cli.common.json)
		puts(PQgetvalue(res, 0, 0));
	else
		print_fields(res);
	PQclear(res);
	if (rows == 0)
		return ctl_fail(ctl, ERR_DB, "there is no job %s", id);
	return EXIT_DONE;
}
