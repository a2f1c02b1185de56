/*
 * test_fragment.c - SQL that the user wrote, and the other settings of a mapping
 * that cannot work: refused by name before any database is asked.
 */
#include <stdlib.h>
#include <string.h>
#include "check_main.h"
#include "fragment.h"
#include "leftovers.h"
#include "mapping.h"
#include "words.h"

/* ---- settings without a file ---- */

static char **list(const char *words)
{
	struct error err = ERROR_INIT;
	char **out = words_split(words, &err);

	ck_assert_msg(out != NULL, "%s", err.text);
	return out;
}

/* The queue of the manual, one key changed. */
struct given {
	const char *table, *id, *status, *ready, *processing, *done, *failed, *reset_to, *updated_at, *where, *order_by, *result,
	           *on_success, *payload, *show;
};

static const struct given videos = {
	.table = "public.videos", .id = "id", .status = "analysis_status",
	.ready = "METADATA_EXTRACTED METADATA_EXTRACTING", .processing = "PROCESSING", .done = "VIDEO_ANALYSIS_COMPLETED",
	.failed = "ANALYSIS_FAILED", .reset_to = "METADATA_EXTRACTING", .updated_at = "updated_at",
	.where = "deleted_at IS NULL -- not {id}", .order_by = "priority DESC, id", .result = "", .payload = "source_id duration",
	.on_success = "INSERT INTO analysis_results (video_id) VALUES ($1);", .show = "source_id",
};

static struct queue_settings settings_of(const struct given *g)
{
	return (struct queue_settings){
		.name = "it's", .line = 1, .max_attempts = 5, .timezone = "Europe/Vienna",
		.table = (char *)g->table, .id = (char *)g->id, .status = (char *)g->status, .ready = list(g->ready),
		.processing = (char *)g->processing, .done = (char *)g->done, .failed = (char *)g->failed,
		.reset_to = (char *)g->reset_to, .updated_at = (char *)g->updated_at, .where = (char *)g->where,
		.order_by = (char *)g->order_by, .result = (char *)g->result, .on_success = (char *)g->on_success,
		.payload = list(g->payload), .show = list(g->show),
	};
}

static void settings_free(struct queue_settings *q)
{
	words_free(q->ready);
	words_free(q->payload);
	words_free(q->show);
}

/* ---- refused settings ---- */

static const struct {
	struct given changed;		/* NULL members are those of videos */
	const char *tells;
} refused[] = {
	{ { .table = "Videos" }, "table" },
	{ { .table = "a.b.c" }, "table" },
	{ { .id = "two words" }, "id: " },
	{ { .payload = "ok Bad" }, "payload: " },
	{ { .processing = "METADATA_EXTRACTED" }, "processing is METADATA_EXTRACTED, which is also one of ready" },
	{ { .done = "METADATA_EXTRACTED" }, "done is METADATA_EXTRACTED, which is also one of ready" },
	{ { .reset_to = "PROCESSING" }, "reset_to and processing are both PROCESSING" },
	{ { .done = "PROCESSING" }, "done and processing are both PROCESSING" },
	{ { .where = "a = 1) OR (true" }, "where: a closing bracket" },
	{ { .where = "true; DROP TABLE videos" }, "where: a ; has no place here" },
	{ { .where = "a = 'x" }, "where: a text in '...' is not closed" },
	{ { .where = "id = $1" }, "where: parameters" },
	{ { .order_by = "id LIMIT 1000" }, "order_by: LIMIT" },
	{ { .on_success = "SELECT 1; SELECT 2" }, "on_success: only one statement" },
	{ { .result = "result" }, "result and on_success" },
};

START_TEST(settings_that_cannot_work_are_refused_by_name)
{
	const struct given *c = &refused[_i].changed;
	struct given g = videos;
	struct mapping m;
	struct error err = ERROR_INIT;
	const char **to[] = { &g.table, &g.id, &g.payload, &g.processing, &g.done, &g.reset_to, &g.where, &g.order_by,
	                      &g.on_success, &g.result };
	const char *from[] = { c->table, c->id, c->payload, c->processing, c->done, c->reset_to, c->where, c->order_by,
	                       c->on_success, c->result };

	for (size_t i = 0; i < ARRAY_SIZE(to); i++)
		if (from[i] != NULL)
			*to[i] = from[i];
	struct queue_settings q = settings_of(&g);
	ck_assert_int_eq(mapping_init(&m, &q, &err), -1);
	ck_assert_msg(strstr(err.text, refused[_i].tells) != NULL, "told: %s\nnot: %s", err.text, refused[_i].tells);
	ck_assert_int_eq(err.kind, ERR_SETTINGS);
	mapping_release(&m);
	settings_free(&q);
}
END_TEST

/* ---- the user's SQL ---- */

static const struct {
	enum fragment_kind kind;
	bool fine;
	const char *text;
} fragments[] = {
	{ FRAGMENT_CONDITION, true, "deleted_at IS NULL" },
	{ FRAGMENT_CONDITION, true, "a = 'it''s ) ; -- (' AND \"b)\"\"c\" = 1" },
	{ FRAGMENT_CONDITION, true, "a = 1 -- ) ;\n AND b = 2" },
	{ FRAGMENT_CONDITION, true, "a = 1 /* ) /* ; */ ( */ AND b = ANY (ARRAY[1, (2)])" },
	{ FRAGMENT_CONDITION, true, "a = $$ ) ; $$ AND b = $x$ $$ ) $x$ AND c$d = 1" },
	{ FRAGMENT_CONDITION, true, "a = E'\\') ; (' AND b = 'x\\'" },
	{ FRAGMENT_CONDITION, true, "a = U&'d\\0061t' AND b = B'1' AND ü = 1" },
	{ FRAGMENT_CONDITION, true, "substring(a FROM 1 FOR 2) = 'x'" },
	{ FRAGMENT_CONDITION, false, "true) OR (true" },
	{ FRAGMENT_CONDITION, false, "(true" },
	{ FRAGMENT_CONDITION, false, "a[1) = 1" },
	{ FRAGMENT_CONDITION, false, "true;" },
	{ FRAGMENT_CONDITION, false, "a = 'x" },
	{ FRAGMENT_CONDITION, false, "a = E'x\\'" },
	{ FRAGMENT_CONDITION, false, "a = 1E'x'" },
	{ FRAGMENT_CONDITION, false, "\"a = 1" },
	{ FRAGMENT_CONDITION, false, "a /* b /* c */ = 1" },
	{ FRAGMENT_CONDITION, false, "a = $x$ $y$" },
	{ FRAGMENT_CONDITION, false, "id > $2" },
	{ FRAGMENT_ORDER, true, "priority DESC NULLS LAST, substring(a from 1 for 2), id" },
	{ FRAGMENT_ORDER, true, "\"limit\", offsets" },
	{ FRAGMENT_ORDER, false, "id OFFSET 3" },
	{ FRAGMENT_ORDER, false, "id limit 3" },
	{ FRAGMENT_ORDER, false, "id FOR UPDATE" },
	{ FRAGMENT_ORDER, false, "id Fetch first 3 rows only" },
	{ FRAGMENT_STATEMENT, true, "INSERT INTO t VALUES ($1, $2 ->> 'a');\n " },
	{ FRAGMENT_STATEMENT, true, "" },
	{ FRAGMENT_STATEMENT, false, "SELECT 1; SELECT 2" },
	{ FRAGMENT_STATEMENT, false, "INSERT INTO t VALUES ($1" },
};

START_TEST(sql_of_the_user_stays_where_it_is_put)
{
	struct error err = ERROR_INIT;
	int rc = fragment_check(fragments[_i].kind, "where", fragments[_i].text, &err);

	ck_assert_msg((rc == 0) == fragments[_i].fine, "%s: %s", fragments[_i].text, rc == 0 ? "taken" : err.text);
	if (rc < 0)
		ck_assert_msg(strncmp(err.text, "where: ", 7) == 0, "%s", err.text);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fragment");
	TCase *tc = unit_case(s, "settings of a mapping");

	tcase_add_loop_test(tc, settings_that_cannot_work_are_refused_by_name, 0, ARRAY_SIZE(refused));
	tcase_add_loop_test(tc, sql_of_the_user_stays_where_it_is_put, 0, ARRAY_SIZE(fragments));
	return check_main(s);
}
