/*
 * spool.c - the results on this host that wait for the database: list them, and store those of dead workers.
 *
 * The list needs no database. Not here: how a record is stored (common/replay.c).
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ctl.h"
#include "replay.h"
#include "spool_walk.h"
#include "table.h"

static double age_of(const struct spool_record *r)
{
	usec_t now = clock_wall();

	return now > r->at ? (double)(now - r->at) / (double)SEC : 0;
}

/* ---- JSON ---- */

static void add_object(void *arg, const struct spool_entry *e)
{
	const struct spool_record *r = e->record;
	json_t *o = json_pack("{s:s, s:b, s:s, s:s, s:s, s:I}", "instance", e->instance, "alive", e->alive, "file", e->file,
	                      "state", spool_state_name(e->state), "kind", r != NULL ? spool_kind_name(r->kind) : "damaged",
	                      "bytes", (json_int_t)e->bytes);

	if (r != NULL) {
		json_object_set_new(o, "queue", ctl_json_text(r->queue));
		json_object_set_new(o, "source", ctl_json_text(r->source));
		json_object_set_new(o, "job", ctl_json_text(r->job_id));
		json_object_set_new(o, "claim_id", json_integer(r->claim_id));
		json_object_set_new(o, "worker_id", ctl_json_text(r->worker_id));
		json_object_set_new(o, "attempt", json_integer(r->attempt));
		json_object_set_new(o, "age_s", json_real(age_of(r)));
		json_object_set_new(o, "error", ctl_json_text(r->error));
		json_object_set_new(o, "reason", ctl_json_text(r->reason));
	}
	json_array_append_new(arg, o);
}

static int print_json(struct ctl *ctl)
{
	json_t *list = json_array(), *document;
	int rc = spool_walk(ctl->settings.spool_dir, add_object, list, &ctl->err);

	document = json_pack("{s:o}", "entries", list);
	if (json_dumpf(document, stdout, JSON_REAL_PRECISION(12)) < 0)
		rc = error_set(&ctl->err, ERR_SYS, "the entries could not be written as JSON");
	json_decref(document);
	putchar('\n');
	return rc;
}

/* ---- a table ---- */

struct rows {
	struct table *table;
	size_t len;
};

static void add_row(void *arg, const struct spool_entry *e)
{
	const struct spool_record *r = e->record;
	struct rows *rows = arg;
	char number[32], age[AGE_TEXT_MAX];

	rows->len++;
	table_cell(rows->table, e->instance);
	table_cell(rows->table, e->alive ? "alive" : "dead");
	table_cell(rows->table, e->file);
	table_cell(rows->table, r != NULL ? spool_kind_name(r->kind) : e->what);
	table_cell(rows->table, spool_state_name(e->state));
	table_cell(rows->table, r != NULL ? r->queue : NULL);
	table_cell(rows->table, r != NULL ? r->job_id : NULL);
	snprintf(number, sizeof number, "%" PRId64, r != NULL ? r->claim_id : 0);
	table_cell(rows->table, r != NULL ? number : NULL);
	table_cell(rows->table, r != NULL ? r->worker_id : NULL);
	snprintf(number, sizeof number, "%" PRIu64, e->bytes);
	table_cell(rows->table, number);
	if (r != NULL)
		snprintf(number, sizeof number, "%.3f", age_of(r));
	table_cell(rows->table, age_text(r != NULL ? number : NULL, age));
}

static int print_table(struct ctl *ctl)
{
	static const struct table_column columns[] = {
		{ .title = "INSTANCE", .cut = true }, { .title = "PROCESS" }, { .title = "FILE" }, { .title = "KIND" },
		{ .title = "STATE" }, { .title = "QUEUE", .cut = true }, { .title = "JOB", .cut = true },
		{ .title = "CLAIM", .right = true }, { .title = "WORKER", .cut = true }, { .title = "BYTES", .right = true },
		{ .title = "AGE", .right = true },
	};
	struct rows rows = { .table = table_new(columns, ARRAY_SIZE(columns), &ctl->err) };
	int rc;

	if (rows.table == NULL)
		return -1;
	rc = spool_walk(ctl->settings.spool_dir, add_row, &rows, &ctl->err);
	if (rows.len > 0)
		table_print(rows.table);
	else if (rc == 0)
		cli_complain(&ctl->cli, "nothing waits in %s", ctl->settings.spool_dir);
	table_free(rows.table);
	return rc;
}

/* ---- replay ---- */

static void tell(void *arg, const char *text)
{
	struct ctl *ctl = arg;

	cli_complain(&ctl->cli, "%s", text);
}

static void print_counts(const struct ctl *ctl, const struct replay_counts *c)
{
	const struct { const char *name; size_t n; } rows[] = {
		{ "instances", c->instances }, { "records", c->records }, { "stored", c->stored }, { "already", c->already },
		{ "late", c->late }, { "refused", c->refused }, { "dropped", c->dropped }, { "kept", c->kept },
		{ "running", c->running }, { "damaged", c->damaged },
	};
	const char *gap = "";

	if (ctl->cli.common.json)
		putchar('{');
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++, gap = ctl->cli.common.json ? ", " : " ")
		printf(ctl->cli.common.json ? "%s\"%s\": %zu" : "%s%s=%zu", gap, rows[i].name, rows[i].n);
	puts(ctl->cli.common.json ? "}" : "");
}

static enum exit_status replay(struct ctl *ctl)
{
	struct replay r = { .dir = ctl->settings.spool_dir, .settings = &ctl->settings, .session = &ctl->session, .tell = tell,
	                    .arg = ctl };
	int rc;

	if (ctl_connect_schema(ctl) < 0)
		return ctl_failed(ctl);
	rc = replay_run(&r, &ctl->err);
	print_counts(ctl, &r.count);
	if (rc < 0)
		return ctl_failed(ctl);
	return r.count.kept > 0 ? EXIT_HELD : EXIT_DONE;
}

enum exit_status spool_run(struct ctl *ctl)
{
	if (ctl->cli.args_len > 0) {
		if (strcmp(ctl->cli.args[0], "replay") == 0)
			return replay(ctl);
		return ctl_fail(ctl, ERR_USAGE, "spool %s: expected replay, or nothing to list", ctl->cli.args[0]);
	}
	if (ctl->cli.common.json)
		print_json(ctl);
	else
		print_table(ctl);
	return ctl_failed(ctl);
}
