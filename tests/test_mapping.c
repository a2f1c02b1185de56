/*
 * test_mapping.c - the SQL that is made from settings, word for word.
 *
 * tests/data/sql/<case>.sql holds every statement of a mapping as it is sent. A
 * change of a template shows there as a change that can be read. After a change on purpose:
 * UNSTUCK_GOLDEN=write build/tests/test_mapping
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "check_main.h"
#include "leftovers.h"
#include "mapping.h"
#include "words.h"

/* A queue as the settings give it, and what the catalog would say about its table. */
static const struct golden {
	const char *name;
	bool own, tracked;
	const char *queue, *schema, *table, *id, *id_type, *status, *status_type, *updated_at, *updated_at_type;
	const char *result, *result_type;
	const char *ready[4], *processing, *done, *failed, *reset_to, *where, *order_by, *timezone, *payload[4], *show[4];
	bool zoned, strict;
} goldens[] = {
	{ .name = "own", .own = true, .tracked = true, .queue = "thumb'nails" },
	{ .name = "videos", .tracked = true, .queue = "videos", .schema = "public", .table = "videos", .id = "id",
	  .id_type = "bigint", .status = "analysis_status", .status_type = "text", .updated_at = "updated_at",
	  .updated_at_type = "timestamp(0) without time zone", .ready = { "METADATA_EXTRACTED", "METADATA_EXTRACTING" },
	  .processing = "PROCESSING", .done = "VIDEO_ANALYSIS_COMPLETED", .failed = "ANALYSIS_FAILED",
	  .reset_to = "METADATA_EXTRACTING", .where = "deleted_at IS NULL -- live ones", .order_by = "priority DESC, id",
	  .timezone = "Europe/Berlin", .payload = { "source_id", "duration" }, .show = { "source_id" } },
	{ .name = "odd", .tracked = true, .queue = "it's \"odd\"", .schema = "My App", .table = "Order\"s", .id = "select",
	  .id_type = "uuid", .status = "Sta tus", .status_type = "mood", .updated_at = "UpdatedAt",
	  .updated_at_type = "timestamp with time zone", .zoned = true, .result = "Result", .result_type = "jsonb",
	  .ready = { "to do" }, .processing = "do\\ing", .done = "done", .failed = "bad", .reset_to = "to do", .where = "",
	  .order_by = "", .timezone = "UTC", .strict = true },
	{ .name = "adhoc", .queue = "videos", .schema = "public", .table = "videos", .id = "id", .id_type = "integer",
	  .status = "status", .status_type = "text", .ready = { "READY" }, .processing = "PROCESSING", .done = "",
	  .failed = "", .reset_to = "READY", .where = "", .order_by = "", .timezone = "UTC", .updated_at = "updated_at",
	  .updated_at_type = "timestamp without time zone" },
};

static char *text_or_empty(const char *text)
{
	return xstrdup(text ? text : "");
}

static char **words_of(const char *const *from)
{
	char **to = xcalloc(5, sizeof *to);

	for (size_t i = 0; i < 4 && from[i]; i++)
		to[i] = xstrdup(from[i]);
	return to;
}

/* What mapping_init() and mapping_resolve() would have made of it; mapping_end() frees it. */
static void mapping_of(const struct golden *g, struct queue_settings *q, struct mapping *m)
{
	*q = (struct queue_settings){
		.name = xstrdup(g->queue), .table = text_or_empty(g->table), .max_attempts = 5, .ready = words_of(g->ready),
		.processing = text_or_empty(g->processing), .done = text_or_empty(g->done), .failed = text_or_empty(g->failed),
		.reset_to = text_or_empty(g->reset_to), .where = text_or_empty(g->where), .order_by = text_or_empty(g->order_by),
		.timezone = text_or_empty(g->timezone), .on_success = xstrdup(""), .result = text_or_empty(g->result), .strict = g->strict,
	};
	*m = (struct mapping){
		.q = q, .own = g->own, .tracked = g->tracked, .queue = xstrdup(g->queue),
		.source = g->own ? xstrdup("unstuck.jobs") : xasprintf("%s.%s", g->schema, g->table),
		.payload = words_of(g->payload), .show = words_of(g->show), .updated_at_zoned = g->zoned,
	};
	if (g->own)
		return;
	m->schema = xstrdup(g->schema);
	m->table = xstrdup(g->table);
	m->id = xstrdup(g->id);
	m->id_type = xstrdup(g->id_type);
	m->status = xstrdup(g->status);
	m->status_type = xstrdup(g->status_type);
	m->updated_at = g->updated_at ? xstrdup(g->updated_at) : NULL;
	m->updated_at_type = g->updated_at ? xstrdup(g->updated_at_type) : NULL;
	m->result = g->result ? xstrdup(g->result) : NULL;
	m->result_type = g->result ? xstrdup(g->result_type) : NULL;
}

static void mapping_end(struct queue_settings *q, struct mapping *m)
{
	char *texts[] = { q->name, q->table, q->processing, q->done, q->failed, q->reset_to, q->where, q->order_by, q->timezone,
	                  q->on_success, q->result };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		free(texts[i]);
	words_free(q->ready);
	mapping_release(m);
}

/* All statements that the mapping can have, in one text. */
static void all_statements(const struct golden *g, struct buf *out)
{
	struct queue_settings q;
	struct mapping m;

	mapping_of(g, &q, &m);
	for (enum statement s = 0; s < STATEMENTS; s++) {
		struct error err = ERROR_INIT;

		if (!mapping_has(&m, s))
			continue;

		char *sql = mapping_statement(&m, s, &err);

		buf_addf(out, "-- %s\n%s;\n\n", statement_name(s), sql ? sql : err.text);
		free(sql);
	}
	mapping_end(&q, &m);
}

static char *golden_path(const struct golden *g)
{
	const char *source = getenv("UNSTUCK_SOURCE");

	return xasprintf("%s/tests/data/sql/%s.sql", source ? source : ".", g->name);
}

START_TEST(statements_are_what_they_were)
{
	struct buf made = BUF_INIT, kept = BUF_INIT;
	char *path = golden_path(&goldens[_i]), chunk[4096];
	const char *write = getenv("UNSTUCK_GOLDEN");
	FILE *f;
	size_t n;

	all_statements(&goldens[_i], &made);
	if (write && strcmp(write, "write") == 0) {
		f = fopen(path, "w");
		ck_assert_msg(f && fwrite(made.data, 1, made.len, f) == made.len && fclose(f) == 0, "%s not written", path);
	}
	f = fopen(path, "r");
	ck_assert_msg(f != NULL, "%s is missing", path);
	while ((n = fread(chunk, 1, sizeof chunk, f)) > 0)
		buf_add(&kept, chunk, n);
	fclose(f);
	for (n = 0; n < made.len && n < kept.len && made.data[n] == kept.data[n]; n++)
		;
	ck_assert_msg(made.len == kept.len && n == made.len, "%s differs from byte %zu:\nkept: %.120s\nmade: %.120s", path, n,
	              buf_text(&kept) + n, buf_text(&made) + n);
	buf_release(&made);
	buf_release(&kept);
	free(path);
}
END_TEST

/* Nothing of the settings may reach the text but through the quoting. */
START_TEST(no_placeholder_and_no_bare_name_is_left)
{
	struct buf made = BUF_INIT;

	all_statements(&goldens[_i], &made);
	ck_assert_msg(strstr(made.data, "{@") == NULL, "an unfilled section");
	for (const char *p = made.data; (p = strchr(p, '{')) != NULL; p++)
		ck_assert_msg(p[1] == '}' || p[1] == '"', "an unfilled name: %.40s", p);
	if (strcmp(goldens[_i].name, "odd") == 0) {
		ck_assert_ptr_null(strstr(made.data, "= do\\ing"));
		ck_assert_ptr_nonnull(strstr(made.data, "\"My App\".\"Order\"\"s\""));
		ck_assert_ptr_nonnull(strstr(made.data, "'it''s \"odd\"'"));
	}
	buf_release(&made);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mapping");
	TCase *tc = unit_case(s, "golden SQL");

	tcase_add_loop_test(tc, statements_are_what_they_were, 0, (int)ARRAY_SIZE(goldens));
	tcase_add_loop_test(tc, no_placeholder_and_no_bare_name_is_left, 0, (int)ARRAY_SIZE(goldens));
	return check_main(s);
}
