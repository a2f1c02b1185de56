/*
 * workers.c - the registered workers: where they are, how long ago they last spoke, what they hold.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ctl.h"
#include "sqltext.h"
#include "table.h"
#include "workers.h"

enum column { WORKER_ID, HOST, PID, VERSION, STATE, STARTED_AT, AGE, BEAT_AT, BEAT_AGE, BEAT_N, SILENT, JOBS };

static bool is_silent(const PGresult *res, int row)
{
	return strcmp(PQgetvalue(res, row, SILENT), "t") == 0;
}

static json_t *worker_object(const PGresult *res, int row)
{
	return json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:s, s:f, s:I, s:b, s:I}",
	                 "worker_id", PQgetvalue(res, row, WORKER_ID), "host", PQgetvalue(res, row, HOST),
	                 "pid", (json_int_t)atoll(PQgetvalue(res, row, PID)),
	                 "version", PQgetvalue(res, row, VERSION), "state", PQgetvalue(res, row, STATE),
	                 "started_at", PQgetvalue(res, row, STARTED_AT), "beat_at", PQgetvalue(res, row, BEAT_AT),
	                 "beat_age_s", strtod(PQgetvalue(res, row, BEAT_AGE), NULL),
	                 "beat_n", (json_int_t)atoll(PQgetvalue(res, row, BEAT_N)), "silent", is_silent(res, row),
	                 "jobs", (json_int_t)atoll(PQgetvalue(res, row, JOBS)));
}

json_t *workers_json(const PGresult *res)
{
	json_t *list = json_array();

	for (int i = 0; i < PQntuples(res); i++)
		json_array_append_new(list, worker_object(res, i));
	return list;
}

static int print_json(struct ctl *ctl, const PGresult *res)
{
	json_t *list = workers_json(res), *document;
	int rc = json_array_size(list) == (size_t)PQntuples(res) ? 0 : -1;

	document = json_pack("{s:o}", "workers", list);
	if (rc == 0 && document != NULL)
		rc = json_dumpf(document, stdout, JSON_REAL_PRECISION(12));
	json_decref(document);
	putchar('\n');
	return rc == 0 ? 0 : error_set(&ctl->err, ERR_SYS, "the workers could not be written as JSON");
}

static int print_table(struct ctl *ctl, const PGresult *res)
{
	static const struct table_column columns[] = {
		{ .title = "WORKER", .cut = true }, { .title = "HOST", .cut = true }, { .title = "PID", .right = true },
		{ .title = "VERSION" }, { .title = "STATE", .state = true }, { .title = "UP", .right = true },
		{ .title = "LAST BEAT", .right = true }, { .title = "JOBS", .right = true },
	};
	struct table *t = table_new(columns, ARRAY_SIZE(columns), &ctl->err);
	char age[AGE_TEXT_MAX];

	if (t == NULL)
		return -1;
	for (int i = 0; i < PQntuples(res); i++) {
		for (int c = WORKER_ID; c <= VERSION; c++)
			table_cell(t, PQgetvalue(res, i, c));
		table_cell(t, is_silent(res, i) ? "silent" : PQgetvalue(res, i, STATE));
		table_cell(t, age_text(PQgetvalue(res, i, AGE), age));
		table_cell(t, age_text(PQgetvalue(res, i, BEAT_AGE), age));
		table_cell(t, PQgetvalue(res, i, JOBS));
	}
	table_print(t);
	table_free(t);
	return 0;
}

enum exit_status workers_run(struct ctl *ctl)
{
	PGresult *res;

	if (ctl_connect_schema(ctl) < 0)
		return ctl_failed(ctl);
	res = session_exec(&ctl->session, &ctl->err, sqltext("ctl", "workers"), 0, NULL);
	if (res == NULL)
		return ctl_failed(ctl);
	if (ctl->cli.common.json)
		print_json(ctl, res);
	else if (PQntuples(res) == 0)
		cli_complain(&ctl->cli, "no worker is registered");
	else
		print_table(ctl, res);
	PQclear(res);
	return ctl_failed(ctl);
}
