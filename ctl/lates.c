/*
 * lates.c - results that could not go to their jobs: a list, and the bytes of one.
 *
 * Not here: adopting them (adopting.c).
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lates.h"
#include "sqltext.h"
#include "table.h"

enum column { ID, QUEUE, JOB, REASON, BYTES, RECEIVED_AT, ADOPTED_AT, RECEIVED_AGE, ADOPTED_AGE, CLAIM_ID, WORKER_ID, SOURCE };

static json_t *late_object(const PGresult *res, int row)
{
	bool adopted = !PQgetisnull(res, row, ADOPTED_AT);

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:o}", "id", PQgetvalue(res, row, ID),
	                 "queue", PQgetvalue(res, row, QUEUE), "table", PQgetvalue(res, row, SOURCE),
	                 "job", PQgetvalue(res, row, JOB), "claim_id", PQgetvalue(res, row, CLAIM_ID),
	                 "worker_id", PQgetvalue(res, row, WORKER_ID), "reason", PQgetvalue(res, row, REASON),
	                 "bytes", (json_int_t)atoll(PQgetvalue(res, row, BYTES)), "received_at", PQgetvalue(res, row, RECEIVED_AT),
	                 "adopted_at", adopted ? json_string(PQgetvalue(res, row, ADOPTED_AT)) : json_null());
}

static int print_json(struct ctl *ctl, const PGresult *res, int rows)
{
	json_t *list = json_array(), *document;
	int rc = 0;

	for (int i = 0; i < rows && rc == 0; i++)
		rc = json_array_append_new(list, late_object(res, i));
	document = json_pack("{s:o}", "late", list);
	if (rc == 0 && document != NULL)
		rc = json_dumpf(document, stdout, 0);
	json_decref(document);
	putchar('\n');
	return rc == 0 ? 0 : error_set(&ctl->err, ERR_SYS, "the late results could not be written as JSON");
}

static int print_table(struct ctl *ctl, const PGresult *res, int rows)
{
	static const struct table_column columns[] = {
		{ .title = "ID", .right = true }, { .title = "QUEUE", .cut = true }, { .title = "JOB", .cut = true },
		{ .title = "REASON" }, { .title = "BYTES", .right = true }, { .title = "RECEIVED", .right = true },
		{ .title = "ADOPTED", .right = true },
	};
	struct table *t = table_new(columns, ARRAY_SIZE(columns), &ctl->err);
	char age[AGE_TEXT_MAX];

	if (t == NULL)
		return -1;
	for (int i = 0; i < rows; i++) {
		for (int c = ID; c <= BYTES; c++)
			table_cell(t, PQgetvalue(res, i, c));
		table_cell(t, age_text(PQgetvalue(res, i, RECEIVED_AGE), age));
		table_cell(t, PQgetisnull(res, i, ADOPTED_AGE) ? NULL : age_text(PQgetvalue(res, i, ADOPTED_AGE), age));
	}
	table_print(t);
	table_free(t);
	return 0;
}

static enum exit_status list(struct ctl *ctl)
{
	char limit[32];
	const char *params[] = { ctl->opt.queue, limit };
	PGresult *res;
	int rows, shown;

	if (ctl->opt.limit > INT32_MAX - 1)
		ctl->opt.limit = INT32_MAX - 1;
	if (ctl_connect_schema(ctl) < 0)
		return ctl_failed(ctl);
	snprintf(limit, sizeof limit, "%" PRIu64, ctl->opt.limit + 1);	/* one more, to know that there are more */
	res = session_exec(&ctl->session, &ctl->err, sqltext("ctl", "late"), 2, params);
	if (res == NULL)
		return ctl_failed(ctl);
	rows = PQntuples(res);
	shown = (uint64_t)rows > ctl->opt.limit ? (int)ctl->opt.limit : rows;
	if (ctl->cli.common.json)
		print_json(ctl, res, shown);
	else if (rows == 0)
		cli_complain(&ctl->cli, "no late results");
	else
		print_table(ctl, res, shown);
	if (rows > shown && ctl->cli.common.verbose >= 0)
		cli_complain(&ctl->cli, "the newest %d; there are more (--limit N)", shown);
	PQclear(res);
	return ctl_failed(ctl);
}

static enum exit_status show(struct ctl *ctl, const char *id)
{
	unsigned char *bytes;
	PGresult *res;
	size_t len;

	if (ctl_id(ctl, id, "late result") < 0 || ctl_connect_schema(ctl) < 0)
		return ctl_failed(ctl);
	res = session_exec(&ctl->session, &ctl->err, sqltext("ctl", "late_raw"), 1, &id);
	if (res == NULL)
		return ctl_failed(ctl);
	if (PQntuples(res) == 0) {
		PQclear(res);
		return ctl_fail(ctl, ERR_DB, "there is no late result %s", id);
	}
	bytes = PQunescapeBytea((const unsigned char *)PQgetvalue(res, 0, 0), &len);
	PQclear(res);
	if (bytes == NULL)
		return ctl_fail(ctl, ERR_SYS, "no memory for late result %s", id);
	fwrite(bytes, 1, len, stdout);
	PQfreemem(bytes);
	return EXIT_DONE;
}

enum exit_status late_run(struct ctl *ctl)
{
	char **args = ctl->cli.args;
	size_t len = ctl->cli.args_len;

	if (len == 0)
		return list(ctl);
	if (ctl->opt.queue != NULL || ctl->cli.common.json)
		return ctl_fail(ctl, ERR_USAGE, "%s goes with the list only", ctl->opt.queue != NULL ? "--queue" : "--json");
	if (strcmp(args[0], "show") == 0 && len == 2)
		return show(ctl, args[1]);
	if (strcmp(args[0], "adopt") == 0 && len > 1)
		return late_adopt(ctl, args + 1, len - 1);
	return ctl_fail(ctl, ERR_USAGE, "late %s: expected show ID, adopt ID..., or nothing to list", args[0]);
}
