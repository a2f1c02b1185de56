/*
 * queues.c - how many jobs each queue has in each status, how long the oldest waits and runs.
 *
 * Unstuck's own queues in one statement; each mapped queue of the settings by one over its table.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "buf.h"
#include "ctl.h"
#include "mapped.h"
#include "sqltext.h"
#include "table.h"

enum column { QUEUE, SOURCE, PENDING, PROCESSING, COMPLETED, FAILED, CANCELLED, OTHER, OLDEST_PENDING, OLDEST_PROCESSING,
              WORKERS };

/* Where the rows go: a table for people, or a JSON array. */
struct output {
	struct table *table;
	json_t *list;
};

static json_t *number_or_null(const PGresult *res, int row, int column)
{
	if (PQgetisnull(res, row, column))
		return json_null();
	return json_real(strtod(PQgetvalue(res, row, column), NULL));
}

static json_t *queue_object(const PGresult *res, int row)
{
	json_t *counts = json_object();

	for (int c = PENDING; c <= CANCELLED; c++)
		json_object_set_new(counts, PQfname(res, c), json_integer(atoll(PQgetvalue(res, row, c))));
	return json_pack("{s:s, s:s, s:o, s:I, s:o, s:o, s:I}", "queue", PQgetvalue(res, row, QUEUE),
	                 "table", PQgetvalue(res, row, SOURCE), "counts", counts,
	                 "other", (json_int_t)atoll(PQgetvalue(res, row, OTHER)),
	                 "oldest_pending_age_s", number_or_null(res, row, OLDEST_PENDING),
	                 "oldest_processing_age_s", number_or_null(res, row, OLDEST_PROCESSING),
	                 "workers", (json_int_t)atoll(PQgetvalue(res, row, WORKERS)));
}

static void queue_cells(struct table *t, const PGresult *res, int row)
{
	char age[AGE_TEXT_MAX];

	table_cell(t, PQgetvalue(res, row, QUEUE));
	for (int c = PENDING; c <= CANCELLED; c++)
		table_cell(t, PQgetvalue(res, row, c));
	table_cell(t, age_text(PQgetvalue(res, row, OLDEST_PENDING), age));
	table_cell(t, age_text(PQgetvalue(res, row, OLDEST_PROCESSING), age));
	table_cell(t, PQgetvalue(res, row, WORKERS));
}

static void output_rows(struct output *out, const PGresult *res)
{
	for (int i = 0; i < PQntuples(res); i++)
		if (out->table != NULL)
			queue_cells(out->table, res, i);
		else
			json_array_append_new(out->list, queue_object(res, i));
}

static int own_queues(struct ctl *ctl, struct output *out)
{
	struct buf names = BUF_INIT;
	const char *param;
	PGresult *res;

	array_begin(&names);
	for (size_t i = 0; i < ctl->settings.queues_len; i++) {
		const struct queue_settings *q = &ctl->settings.queues[i];

		if (*q->table == '\0')
			array_add(&names, q->name, strlen(q->name));
	}
	array_end(&names);
	param = buf_text(&names);
	res = session_exec(&ctl->session, &ctl->err, sqltext("ctl", "queues"), 1, &param);
	buf_release(&names);
	if (res == NULL)
		return -1;
	output_rows(out, res);
	PQclear(res);
	return 0;
}

static int mapped_queue(struct ctl *ctl, const struct queue_settings *q, struct output *out, struct error *err)
{
	struct mapping m = { .q = q };
	struct buf ready = BUF_INIT;
	PGresult *res = NULL;
	char *sql = NULL;

	if (mapping_init(&m, q, err) < 0 || mapping_resolve(&m, &ctl->session, err) < 0)
		goto out;
	array_begin(&ready);
	for (char **word = q->ready; *word != NULL; word++)
		array_add(&ready, *word, strlen(*word));
	array_end(&ready);
	sql = mapped_sql(&m, "mapped_queue");
	res = session_exec(&ctl->session, err, sql, 6,
	                   (const char *const[]){ q->name, m.source, buf_text(&ready), q->processing, q->done, q->failed });
	if (res != NULL)
		output_rows(out, res);
out:
	PQclear(res);
	free(sql);
	buf_release(&ready);
	mapping_release(&m);
	return res != NULL ? 0 : -1;
}

/* One that cannot be counted does not hide the others. Returns how many could not. */
static size_t mapped_queues(struct ctl *ctl, struct output *out)
{
	size_t failed = 0;

	for (size_t i = 0; i < ctl->settings.queues_len; i++) {
		const struct queue_settings *q = &ctl->settings.queues[i];
		struct error err = ERROR_INIT;

		if (*q->table == '\0' || mapped_queue(ctl, q, out, &err) == 0)
			continue;
		cli_complain(&ctl->cli, "queue %s: %s", q->name, err.text);
		failed++;
	}
	return failed;
}

static struct table *new_table(struct ctl *ctl)
{
	static const struct table_column columns[] = {
		{ .title = "QUEUE", .cut = true }, { .title = "PENDING", .right = true },
		{ .title = "PROCESSING", .right = true }, { .title = "COMPLETED", .right = true },
		{ .title = "FAILED", .right = true }, { .title = "CANCELLED", .right = true },
		{ .title = "MAX WAIT", .right = true }, { .title = "MAX RUN", .right = true },
		{ .title = "WORKERS", .right = true },
	};

	return table_new(columns, ARRAY_SIZE(columns), &ctl->err);
}

static void print(const struct output *out)
{
	json_t *document;

	if (out->table != NULL) {
		table_print(out->table);
		return;
	}
	document = json_pack("{s:O}", "queues", out->list);
	json_dumpf(document, stdout, JSON_REAL_PRECISION(12));
	putchar('\n');
	json_decref(document);
}

enum exit_status queues_run(struct ctl *ctl)
{
	struct output out = { .table = NULL };
	size_t failed = 0;

	if (ctl_connect_schema(ctl) < 0)
		return ctl_failed(ctl);
	if (ctl->cli.common.json)
		out.list = json_array();
	else if ((out.table = new_table(ctl)) == NULL)
		return ctl_failed(ctl);
	if (own_queues(ctl, &out) == 0) {
		failed = mapped_queues(ctl, &out);
		print(&out);
	}
	table_free(out.table);
	json_decref(out.list);
	return failed > 0 ? EXIT_FAILED : ctl_failed(ctl);
}
