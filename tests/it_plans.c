/*
 * it_plans.c - what the statements themselves promise, whatever the planner thinks:
 * limits, plans, lock order, and one holder for each row.
 */
#include "story.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "mapping.h"
#include "settings.h"
#include "worker_story.h"

#define W1 "11111111-1111-4111-8111-111111111111"

static const char own_queue[] = "[queue mail]\nhandler = true\n";
static const char mapped_queue[] = "[queue videos]\ntable = videos\nstatus = analysis_status\nready = METADATA_EXTRACTED OTHER\n"
                                   "payload = source_id\nhandler = true\n";
static const char one_status_queue[] = "[queue videos]\ntable = videos\nstatus = analysis_status\nready = METADATA_EXTRACTED\nhandler = true\n";

/* The statements of a queue as the worker has them, and a session that they run in. */
struct bench {
	struct settings set;
	struct session session;
	struct mapping map;
};

static void must_open(struct bench *b, struct testdb *db, const char *queue)
{
	struct problems problems = PROBLEMS_INIT;
	struct error err = ERROR_INIT;

	settings(db, "%s", queue);
	ck_assert_int_eq(settings_load(&b->set, "unstuck.ini", (struct flag_setting[]){ { NULL, NULL, NULL } }, &problems), 0);
	ck_assert_msg(session_open(&b->session, db->url, "it_plans", &err) == 0 && mapping_init(&b->map, &b->set.queues[0], &err) == 0
	              && mapping_resolve(&b->map, &b->session, &err) == 0, "%s", err.text);
	must_sql(db, "INSERT INTO unstuck.workers (worker_id, host, pid, version, heartbeat_s, timeout_s)"
	             " VALUES ('" W1 "', 'here', 1, '0', 10, 60) ON CONFLICT DO NOTHING");
}

static void bench_close(struct bench *b)
{
	session_close(&b->session);
	mapping_release(&b->map);
	settings_release(&b->set);
}

static void must_set(struct bench *b, const char *sql)
{
	PGresult *res = PQexec(b->session.conn, sql);

	ck_assert_msg(PQresultStatus(res) == PGRES_COMMAND_OK || PQresultStatus(res) == PGRES_TUPLES_OK, "%s", PQresultErrorMessage(res));
	PQclear(res);
}

static PGresult *must_ask(struct bench *b, enum statement s, int n, const char *const *params)
{
	struct error err = ERROR_INIT;
	char *sql = mapping_statement(&b->map, s, &err);
	PGresult *res = sql ? session_exec(&b->session, &err, sql, n, params) : NULL;

	ck_assert_msg(res != NULL, "%s: %s", statement_name(s), err.text);
	free(sql);
	return res;
}

/* The plan of a prepared statement, as text. */
static const char *plan_of(struct bench *b, enum statement s, const char *types, const char *arguments)
{
	struct error err = ERROR_INIT;
	char *sql = mapping_statement(&b->map, s, &err);
	struct buf text = BUF_INIT;
	PGresult *res;
	const char *plan;

	must_set(b, "DEALLOCATE ALL");
	must_set(b, story_text("PREPARE s (%s) AS %s", types, sql));
	res = PQexec(b->session.conn, story_text("EXPLAIN (COSTS OFF) EXECUTE s (%s)", arguments));
	ck_assert_msg(PQresultStatus(res) == PGRES_TUPLES_OK, "%s", PQresultErrorMessage(res));
	for (int i = 0; i < PQntuples(res); i++)
		buf_addf(&text, "%s\n", PQgetvalue(res, i, 0));
	PQclear(res);
	free(sql);
	plan = story_text("%s", buf_text(&text));
	buf_release(&text);
	return plan;
}

static const struct { const char *queue, *fill; } kinds[] = {
	{ own_queue, "INSERT INTO unstuck.jobs (queue) SELECT 'mail' FROM generate_series(1, 20000)" },
	{ one_status_queue, "INSERT INTO videos (source_id, analysis_status) SELECT g, 'METADATA_EXTRACTED' FROM generate_series(1, 20000) g" },
	{ mapped_queue, "INSERT INTO videos (source_id, analysis_status) SELECT g, 'METADATA_EXTRACTED' FROM generate_series(1, 20000) g" },
};

/* Planners have been seen to run a LIMIT subquery once for each row of a join. */
START_TEST(a_claim_takes_no_more_than_its_limit_under_any_plan)
{
	static const char *const off[] = { "",
		"SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_indexscan = off; SET enable_bitmapscan = off",
		"SET enable_nestloop = off; SET enable_material = off",
		"SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off" };
	struct testdb *db = must_have_db();
	struct bench b;
	int forms;

	must_have_table(db, 1);
	must_sql(db, "INSERT INTO unstuck.jobs (queue) VALUES ('mail'); ANALYZE unstuck.jobs; ANALYZE videos; ANALYZE unstuck.claims");
	must_sql(db, "%s", kinds[_i].fill);
	must_open(&b, db, kinds[_i].queue);
	forms = mapping_has(&b.map, STMT_CLAIM_NEW) ? 2 : 1;
	for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
		must_set(&b, off[i][0] ? off[i] : "SELECT 1");
		for (int n = 1; n <= 100; n *= 10) {
			for (int form = 0; form < forms; form++) {
				PGresult *res = must_ask(&b, form == 0 ? STMT_CLAIM : STMT_CLAIM_NEW, 3,
				                         (const char *const[]){ story_text("%d", n), W1, NULL });

				ck_assert_int_eq(PQntuples(res), n);
				PQclear(res);
			}
		}
	}
	must_equal(db, "SELECT (SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING')"
	               " + (SELECT count(*) FROM unstuck.claims WHERE state = 'ACTIVE')", story_text("%d", (int)ARRAY_SIZE(off) * 111 * forms));
	bench_close(&b);
}
END_TEST

static const struct { enum statement s; const char *types, *arguments; } hot[] = {
	{ STMT_CLAIM, "int, uuid, text", "10, '" W1 "', NULL" },
	{ STMT_CLAIM, "int, uuid, text", "10, '" W1 "', '{0,2026-01-01,7}'" },
	{ STMT_CLAIM_NEW, "int, uuid, text", "10, '" W1 "', NULL" },
	{ STMT_COMPLETE, "text[], bigint[], text[], uuid", "'{1,2}', '{1,2}', '{1,2}', '" W1 "'" },
	{ STMT_COMPLETE_PLACED, "text[], bigint[], text[], uuid, tid[], tid[]", "'{}', '{}', '{}', '" W1 "', '{}', '{}'" },
	{ STMT_FAIL, "text[], bigint[], uuid, text[], text[], float8[], text[], bytea[]",
	  "'{1}', '{1}', '" W1 "', '{retry}', '{x}', '{1}', '{NULL}', '{NULL}'" },
	{ STMT_RELEASE, "text[], bigint[], uuid, bool[]", "'{1}', '{1}', '" W1 "', '{t}'" },
	{ STMT_CLASSIFY, "text[], bigint[], uuid", "'{1}', '{1}', '" W1 "'" },
	{ STMT_HELD, "uuid", "'" W1 "'" },
	{ STMT_RELEASE_ALL, "uuid", "'" W1 "'" },
	{ STMT_RESET, "text[], text[], float8, bool, int", "'{1}', '{1}', 3600, false, 3" },
	{ STMT_STUCK, "float8, bool, bool, int, int, int", "3600, false, false, 1000, 0, 3" },
};
static const char *const statistics[] = { "analyzed empty", "analyzed full", "never analyzed" };

/* A generic plan is what a prepared statement ends with; statistics are what autovacuum left. */
START_TEST(no_hot_statement_scans_a_table)
{
	struct testdb *db = must_have_db();
	struct bench b;
	const char *analyze = "ANALYZE unstuck.jobs; ANALYZE unstuck.claims; ANALYZE unstuck.workers; ANALYZE videos";

	must_have_table(db, 0);
	must_sql(db, "CREATE INDEX ON videos (id) WHERE analysis_status = 'METADATA_EXTRACTED'; CREATE INDEX ON videos (id) WHERE analysis_status = 'OTHER';"
	             "CREATE INDEX ON videos (updated_at) WHERE analysis_status = 'PROCESSING'");
	must_sql(db, "ALTER TABLE unstuck.jobs SET (autovacuum_enabled = off); ALTER TABLE unstuck.claims SET (autovacuum_enabled = off);"
	             "ALTER TABLE videos SET (autovacuum_enabled = off)");
	if (_i == 0)
		must_sql(db, "%s", analyze);
	for (size_t k = 0; k < 2; k++)
		must_sql(db, "%s", kinds[k].fill);
	must_sql(db, "INSERT INTO unstuck.claims (source, job_id, queue, claim_id, state) SELECT 'public.videos', g, 'videos', g, 'DONE'"
	             " FROM generate_series(1, 20000) g");
	if (_i == 1)
		must_sql(db, "%s", analyze);
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		must_open(&b, db, kinds[k].queue);
		must_set(&b, "SET plan_cache_mode = force_generic_plan");
		for (size_t i = 0; i < sizeof hot / sizeof *hot; i++) {
			if (!mapping_has(&b.map, hot[i].s))
				continue;

			const char *plan = plan_of(&b, hot[i].s, hot[i].types, hot[i].arguments);

			ck_assert_msg(strstr(plan, "Seq Scan on jobs") == NULL && strstr(plan, "Seq Scan on claims") == NULL
			              && strstr(plan, "Seq Scan on videos") == NULL, "%s, %s:\n%s", statement_name(hot[i].s),
			              statistics[_i], plan);
		}
		bench_close(&b);
	}
}
END_TEST

/* ---- what a batch costs ---- */

#define BATCH 500
#define FILMS "20000"
#define ROW_WORK 40		/* rows that all nodes of a plan may handle for one row of the batch */
#define ROW_BUFFERS 60		/* blocks looked at for it */

static const struct { const char *id, *key, *status, *types; } film_types[] = {
	{ "bigint", "g", "text", "SELECT 1" },
	{ "uuid", "md5(g::text)::uuid", "mood", "CREATE TYPE mood AS ENUM ('READY', 'PROCESSING', 'DONE', 'FAILED')" },
	{ "code", "'k' || g", "varchar(20)", "CREATE DOMAIN code AS varchar(12)" },
};
/* Those that `unstuck-worker check` recommends, and the least that anybody has. */
static const char *const film_indexes[] = {
	"CREATE INDEX ON films (id) WHERE status = 'READY'; CREATE INDEX ON films (updated_at) WHERE status = 'PROCESSING'",
	"CREATE INDEX ON films (status)",
};
static const char film_queue[] = "[queue films]\ntable = films\nready = READY\nprocessing = PROCESSING\ndone = DONE\nfailed = FAILED\n"
                                 "reset_to = READY\nhandler = true\n";

enum when { ANALYZED_EMPTY, ANALYZED_FULL, NEVER_ANALYZED, PLANNED_EMPTY, WHENS };
static const char *const when_name[WHENS] = { "analyzed empty", "analyzed full", "never analyzed", "planned empty" };

/* A batch as the statements take it: of the rows that W1 has claimed, or empty. */
struct batch_texts {
	const char *ids, *claims, *tokens, *rows, *places;
};

static const struct batch_texts empty_batch = { "'{}'", "'{}'", "'{}'", "'{}'", "'{}'" };

/* What each statement is asked: I ids, C claim ids, T tokens, R and K the places of rows and claims. Recover's sessions may scan tables, the worker's not. */
static const struct { enum statement s; const char *types, *arguments; bool recover; } measured[] = {
	{ STMT_CLASSIFY, "text[], bigint[], uuid", "I, C, '" W1 "'", false },
	{ STMT_HELD, "uuid", "'" W1 "'", false },
	{ STMT_STUCK, "float8, bool, bool, int, int, int", "0, true, true, null, 0, 3", true },
	{ STMT_RELEASE, "text[], bigint[], uuid, bool[]", "I, C, '" W1 "', array_fill(true, array[cardinality(C::bigint[])])", false },
	{ STMT_RELEASE_ALL, "uuid", "'" W1 "'", false },
	{ STMT_RESET, "text[], text[], float8, bool, int", "I, T, 0, true, 3", true },
	{ STMT_RESET_FREE, "text[], text[], float8, bool, int", "I, T, 0, true, 3", true },
	{ STMT_FAIL, "text[], bigint[], uuid, text[], text[], float8[], text[], bytea[]",
	  "I, C, '" W1 "', array_fill('fail'::text, array[cardinality(C::bigint[])]), null, null, null, null", false },
	{ STMT_COMPLETE, "text[], bigint[], text[], uuid", "I, C, C, '" W1 "'", false },
	{ STMT_COMPLETE_ALL, "text[], bigint[], text[], uuid", "I, C, C, '" W1 "'", false },
	{ STMT_COMPLETE_PLACED, "text[], bigint[], text[], uuid, tid[], tid[]", "I, C, C, '" W1 "', R, K", false },
	{ STMT_COMPLETE_NULL, "bigint[], bigint[], uuid", "I, C, '" W1 "'", false },
	{ STMT_CLAIM, "int, uuid, text", "500, '" W1 "', NULL", false },
	{ STMT_CLAIM_NEW, "int, uuid, text", "500, '" W1 "', NULL", false },
};

static const char *arguments_for(size_t i, const struct batch_texts *t)
{
	struct buf text = BUF_INIT;
	const char *made;

	for (const char *p = measured[i].arguments; *p != '\0'; p++) {
		if (strchr("ICTRK", *p) == NULL)
			buf_addc(&text, *p);
		else
			buf_adds(&text, *p == 'I' ? t->ids : *p == 'C' ? t->claims : *p == 'T' ? t->tokens : *p == 'R' ? t->rows : t->places);
	}
	made = story_text("%s", buf_text(&text));
	buf_release(&text);
	return made;
}

static void must_prepare(struct bench *b, enum statement s, const char *types)
{
	struct error err = ERROR_INIT;
	char *sql = mapping_statement(&b->map, s, &err);

	ck_assert_msg(sql != NULL, "%s", err.text);
	if (b->map.own)		/* its keys are bigint: the statements say so themselves */
		must_set(b, story_text("PREPARE %s AS %s", statement_name(s), sql));
	else
		must_set(b, story_text("PREPARE %s (%s) AS %s", statement_name(s), types, sql));
	free(sql);
}

static struct batch_texts must_claim_batch(struct bench *b, struct testdb *db)
{
	struct batch_texts t = empty_batch;

	must_set(b, "SET enable_seqscan = off");
	must_set(b, story_text("EXECUTE claim (%d, '" W1 "', NULL)", BATCH));
	t.ids = story_text("'%s'", sql_value(db, "SELECT array_agg(job_id ORDER BY claim_id) FROM unstuck.claims WHERE state = 'ACTIVE'"));
	t.claims = story_text("'%s'", sql_value(db, "SELECT array_agg(claim_id ORDER BY claim_id) FROM unstuck.claims WHERE state = 'ACTIVE'"));
	t.tokens = story_text("'%s'", sql_value(db, "SELECT array_agg(f.xmin ORDER BY c.claim_id) FROM unstuck.claims c JOIN films f"
	                                               " ON f.id = c.job_id::%s WHERE c.state = 'ACTIVE'", b->map.id_type));
	t.rows = story_text("'%s'", sql_value(db, "SELECT array_agg(f.ctid ORDER BY c.claim_id) FROM unstuck.claims c JOIN films f"
	                                             " ON f.id = c.job_id::%s WHERE c.state = 'ACTIVE'", b->map.id_type));
	t.places = story_text("'%s'", sql_value(db, "SELECT array_agg(ctid ORDER BY claim_id) FROM unstuck.claims WHERE state = 'ACTIVE'"));
	must_equal(db, "SELECT count(*) FROM unstuck.claims WHERE state = 'ACTIVE'", story_text("%d", BATCH));
	return t;
}

/* The value behind a word of a line of a plan; 0 without. */
static double plan_value(const char *line, const char *word)
{
	const char *at = strstr(line, word);

	return at != NULL ? strtod(at + strlen(word), NULL) : 0;
}

/* What the nodes of an executed plan handled, rows that they threw away included. */
struct plan_cost {
	double work, buffers;
	const char *array;	/* a condition with a whole array, tried once a row; or NULL */
	char *text;
};

static struct plan_cost plan_cost_of(const PGresult *res)
{
	struct plan_cost c = { .array = NULL };
	struct buf text = BUF_INIT;
	double loops = 1;

	for (int i = 0; i < PQntuples(res); i++) {
		const char *line = PQgetvalue(res, i, 0);
		double blocks = strstr(line, "Buffers:") ? plan_value(line, " hit=") + plan_value(line, " read=") : 0;

		if (strstr(line, "(never executed)") != NULL)
			loops = 0;
		if (strstr(line, " loops=") != NULL) {
			loops = plan_value(line, " loops=");
			c.work += loops * plan_value(line, "(actual rows=");
		}
		if (strstr(line, "Rows Removed by") != NULL)
			c.work += loops * plan_value(line, ": ");
		if (loops > 1 && (strstr(line, "ANY (($") != NULL || strstr(line, "ANY ($") != NULL))
			c.array = story_text("%s", line);
		c.buffers = blocks > c.buffers ? blocks : c.buffers;
		buf_addf(&text, "%s\n", line);
	}
	c.text = buf_give(&text);
	return c;
}

static void must_be_linear(struct bench *b, size_t i, const char *arguments, const char *about)
{
	PGresult *res;
	struct plan_cost c;

	must_set(b, "BEGIN");
	res = PQexec(b->session.conn, story_text("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) EXECUTE %s (%s)",
	             statement_name(measured[i].s), arguments));
	ck_assert_msg(PQresultStatus(res) == PGRES_TUPLES_OK, "%s: %s", statement_name(measured[i].s), PQresultErrorMessage(res));
	c = plan_cost_of(res);
	ck_assert_msg(c.array == NULL && c.work >= BATCH && c.work <= ROW_WORK * BATCH && c.buffers <= ROW_BUFFERS * BATCH,
	              "%s, %s: %.0f rows, %.0f buffers%s%s:\n%s", statement_name(measured[i].s), about, c.work, c.buffers,
	              c.array ? ", an array for each row: " : "", c.array ? c.array : "", story_text("%.3000s", c.text));
	free(c.text);
	PQclear(res);
	must_set(b, "ROLLBACK");
}

/* A history as long as the table, of rows that are there and of rows that are gone. */
static void must_fill_films(struct testdb *db, size_t type)
{
	must_sql(db, "INSERT INTO films SELECT %s, 'READY' FROM generate_series(1, " FILMS ") AS g", film_types[type].key);
	must_sql(db, "INSERT INTO unstuck.claims (source, job_id, queue, claim_id, state) SELECT 'public.films', f.id::text, 'films', 0, 'DONE'"
	             " FROM films AS f UNION ALL SELECT 'public.films', 'gone' || g, 'films', 0, 'DONE' FROM generate_series(1, " FILMS ") AS g");
}

static void must_make_films(struct testdb *db, size_t type, const char *indexes)
{
	must_sql(db, "%s", film_types[type].types);
	must_sql(db, "CREATE TABLE films (id %s PRIMARY KEY, status %s NOT NULL, updated_at timestamptz DEFAULT now())"
	             " WITH (autovacuum_enabled = off); ALTER TABLE unstuck.claims SET (autovacuum_enabled = off)",
	         film_types[type].id, film_types[type].status);
	must_sql(db, "%s", indexes);
}

static void must_prepare_all(struct bench *b)
{
	for (size_t i = 0; i < ARRAY_SIZE(measured); i++)
		if (mapping_has(&b->map, measured[i].s))
			must_prepare(b, measured[i].s, measured[i].types);
}

/* Plans of an empty table, which nothing makes again. */
static void must_plan_all(struct bench *b)
{
	must_set(b, "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off");
	for (size_t i = 0; i < ARRAY_SIZE(measured); i++)
		if (mapping_has(&b->map, measured[i].s))
			must_set(b, story_text("EXECUTE %s (%s)", statement_name(measured[i].s), arguments_for(i, &empty_batch)));
}

/* To the sixth time (a plan of its own till then) and as a generic plan; what it does is undone each time. */
static void must_stay_linear(struct bench *b, size_t i, const struct batch_texts *t, const char *about)
{
	const char *arguments;

	/* How a claim of an application's table finds its rows is for its indexes and its statistics to say. */
	if (!mapping_has(&b->map, measured[i].s) || ((measured[i].s == STMT_CLAIM || measured[i].s == STMT_CLAIM_NEW) && !b->map.own))
		return;
	arguments = arguments_for(i, t);
	must_set(b, measured[i].recover ? "SET enable_seqscan = on" : "SET enable_seqscan = off");
	for (int n = 0; n < 5; n++)
		must_set(b, story_text("BEGIN; EXECUTE %s (%s); ROLLBACK", statement_name(measured[i].s), arguments));
	must_be_linear(b, i, arguments, about);
	must_set(b, "SET plan_cache_mode = force_generic_plan");
	must_be_linear(b, i, arguments, about);
	must_set(b, "SET plan_cache_mode = auto");
}

/* New rows behind the history of others. Finding them is for indexes and statistics to say, writing what was locked is not. */
static void must_claim_by_place(struct bench *b, struct testdb *db, bool found_well, const char *about)
{
	PGresult *res;
	struct plan_cost c;

	must_sql(db, "DELETE FROM unstuck.claims WHERE job_id NOT LIKE 'gone%%'");
	must_set(b, "SET enable_seqscan = off");
	for (int generic = 0; generic < 2; generic++) {
		must_set(b, generic ? "SET plan_cache_mode = force_generic_plan" : "SET plan_cache_mode = force_custom_plan");
		must_set(b, "BEGIN");
		res = PQexec(b->session.conn, "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) EXECUTE claim_new (500, '" W1 "', NULL)");
		ck_assert_msg(PQresultStatus(res) == PGRES_TUPLES_OK, "%s", PQresultErrorMessage(res));
		c = plan_cost_of(res);
		ck_assert_msg(strstr(c.text, "Tid Scan on films") != NULL && strstr(c.text, "Seq Scan") == NULL
		              && (!found_well || (c.work <= ROW_WORK * BATCH && c.buffers <= ROW_BUFFERS * BATCH)),
		              "%s: %.0f rows, %.0f buffers:\n%s", about, c.work, c.buffers, story_text("%.3000s", c.text));
		free(c.text);
		PQclear(res);
		must_set(b, "ROLLBACK");
	}
}

START_TEST(a_batch_costs_one_look_up_a_row)
{
	struct testdb *db = must_have_db();
	struct bench b;
	enum when when = (enum when)(_i % WHENS);
	size_t type = (size_t)_i / WHENS, indexes = (size_t)(_i + type) % 2;
	struct batch_texts batch = empty_batch;
	const char *about = story_text("%s, key %s, %s", when_name[when], film_types[type].id, film_indexes[indexes]);

	must_make_films(db, type, film_indexes[indexes]);
	if (when == ANALYZED_EMPTY || when == PLANNED_EMPTY)
		must_sql(db, "ANALYZE films; ANALYZE unstuck.claims; ANALYZE unstuck.workers");
	must_open(&b, db, film_queue);
	must_prepare_all(&b);
	if (when == PLANNED_EMPTY)
		must_plan_all(&b);
	must_fill_films(db, type);
	if (when == ANALYZED_FULL)
		must_sql(db, "ANALYZE films; ANALYZE unstuck.claims; ANALYZE unstuck.workers");
	batch = must_claim_batch(&b, db);
	for (size_t i = 0; i < ARRAY_SIZE(measured); i++)
		must_stay_linear(&b, i, &batch, about);
	must_claim_by_place(&b, db, indexes == 0 && when == ANALYZED_FULL, about);
	bench_close(&b);
}
END_TEST

/* Behind a history, before jobs for later of several priorities. */
START_TEST(a_batch_of_the_own_table_costs_one_look_up_a_row_too)
{
	struct testdb *db = must_have_db();
	const char *analyze = "ANALYZE unstuck.jobs; ANALYZE unstuck.batches; ANALYZE unstuck.workers";
	struct batch_texts batch = empty_batch;
	struct bench b;

	must_sql(db, "ALTER TABLE unstuck.jobs SET (autovacuum_enabled = off); ALTER TABLE unstuck.batches SET (autovacuum_enabled = off)");
	if (_i == ANALYZED_EMPTY || _i == PLANNED_EMPTY)
		must_sql(db, "%s", analyze);
	must_open(&b, db, own_queue);
	must_prepare_all(&b);
	if (_i == PLANNED_EMPTY)
		must_plan_all(&b);
	must_sql(db, "INSERT INTO unstuck.jobs (queue, status) SELECT 'mail', 'COMPLETED' FROM generate_series(1, 20000);"
	             "INSERT INTO unstuck.jobs (queue, priority, run_at) SELECT 'mail', g %% 3, now() + interval '1 day' FROM generate_series(1, 20000) AS g;"
	             "INSERT INTO unstuck.jobs (queue, priority) SELECT 'mail', g %% 3 FROM generate_series(1, 5000) AS g");
	if (_i == ANALYZED_FULL)
		must_sql(db, "%s", analyze);
	must_set(&b, "SET enable_seqscan = off");
	must_set(&b, story_text("EXECUTE claim (%d, '" W1 "', NULL)", BATCH));
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING' AND batch IS NOT NULL", story_text("%d", BATCH));
	batch.ids = story_text("'%s'", sql_value(db, "SELECT array_agg(id ORDER BY id) FROM unstuck.jobs WHERE status = 'PROCESSING'"));
	batch.claims = story_text("'%s'", sql_value(db, "SELECT array_agg(claim_id ORDER BY id) FROM unstuck.jobs WHERE status = 'PROCESSING'"));
	batch.tokens = story_text("'%s'", sql_value(db, "SELECT array_agg(xmin ORDER BY id) FROM unstuck.jobs WHERE status = 'PROCESSING'"));
	for (size_t i = 0; i < ARRAY_SIZE(measured); i++)
		must_stay_linear(&b, i, &batch, when_name[_i]);
	bench_close(&b);
}
END_TEST

START_TEST(batches_in_opposite_order_do_not_deadlock)
{
	struct testdb *db = must_have_db();
	struct bench b;
	PGconn *conns[2] = { testdb_connect(db), testdb_connect(db) };
	struct error err = ERROR_INIT;
	char *release;

	must_have_table(db, 0);
	must_sql(db, "%s", kinds[_i].fill);
	must_open(&b, db, kinds[_i].queue);
	release = mapping_statement(&b.map, STMT_RELEASE, &err);
	for (int round = 0; round < 30; round++) {
		PGresult *res = must_ask(&b, STMT_CLAIM, 3, (const char *const[]){ "200", W1, NULL });
		struct buf ids[2] = { BUF_INIT, BUF_INIT }, claims[2] = { BUF_INIT, BUF_INIT }, yes = BUF_INIT;
		int n = PQntuples(res);

		ck_assert_int_eq(n, 200);
		for (int i = 0; i < n; i++) {
			const char *comma = i ? "," : "{";

			buf_addf(&ids[0], "%s%s", comma, PQgetvalue(res, i, 0));
			buf_addf(&claims[0], "%s%s", comma, PQgetvalue(res, i, 1));
			buf_addf(&ids[1], "%s%s", comma, PQgetvalue(res, n - 1 - i, 0));
			buf_addf(&claims[1], "%s%s", comma, PQgetvalue(res, n - 1 - i, 1));
			buf_addf(&yes, "%st", comma);
		}
		PQclear(res);
		buf_adds(&yes, "}");
		for (int c = 0; c < 2; c++) {
			buf_adds(&ids[c], "}");
			buf_adds(&claims[c], "}");
			ck_assert(PQsendQueryParams(conns[c], release, 4, NULL,
			          (const char *const[]){ ids[c].data, claims[c].data, W1, yes.data }, NULL, NULL, 0));
		}
		int released = 0;
		for (int c = 0; c < 2; c++) {
			while ((res = PQgetResult(conns[c])) != NULL) {
				ck_assert_msg(PQresultStatus(res) == PGRES_TUPLES_OK, "%s", PQresultErrorMessage(res));
				released += PQntuples(res);
				PQclear(res);
			}
			buf_release(&ids[c]);
			buf_release(&claims[c]);
		}
		ck_assert_int_eq(released, 200);
		buf_release(&yes);
	}
	free(release);
	PQfinish(conns[0]);
	PQfinish(conns[1]);
	bench_close(&b);
}
END_TEST

START_TEST(many_workers_never_run_a_job_twice)
{
	struct testdb *db = must_have_db();
	struct proc *workers[6];

	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 1500)");
	must_have_table(db, 300);
	settings(db, "[worker]\nconcurrency = 3\n[queue mail]\nhandler = true\n%s", mapped_queue);
	for (size_t i = 0; i < 6; i++)
		workers[i] = must_start(NULL, "unstuck-worker", "-q", "--drain");
	for (size_t i = 0; i < 6; i++)
		must_exit(workers[i], 0, 60000);
	must_equal(db, "SELECT count(*) || ' ' || max(attempts) || ' ' || count(DISTINCT worker_id) FROM unstuck.jobs WHERE status = 'COMPLETED'", "1500 1 6");
	must_equal(db, "SELECT count(*) || ' ' || max(attempts) FROM unstuck.claims WHERE state = 'DONE'", "300 1");
}
END_TEST

/* The application's word counts: a row that it made ready again is new, with a budget of its own. */
START_TEST(a_row_made_ready_by_hand_starts_from_nothing)
{
	struct testdb *db = must_have_db();

	must_have_table(db, 1);
	settings(db, "%smax_attempts = 1\nhandler = false\n", "[queue videos]\ntable = videos\nstatus = analysis_status\nready = METADATA_EXTRACTED\n");
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT analysis_status FROM videos", "FAILED");
	must_sql(db, "UPDATE videos SET analysis_status = 'METADATA_EXTRACTED'");
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT state || attempts || failures FROM unstuck.claims", "DEAD11");
}
END_TEST

START_TEST(a_unique_key_gives_one_job_to_all_callers)
{
	struct testdb *db = must_have_db();
	struct proc *callers[8];

	for (size_t i = 0; i < 8; i++)
		callers[i] = must_start(NULL, "unstuckctl", "-d", db->url, "enqueue", "mail", "--unique-key", "k");
	for (size_t i = 0; i < 8; i++) {
		must_exit(callers[i], 0, 20000);
		ck_assert_str_eq(proc_out(callers[i]), proc_out(callers[0]));
	}
	must_equal(db, "SELECT count(*) FROM unstuck.jobs", "1");
	must_sql(db, "UPDATE unstuck.jobs SET status = 'COMPLETED'");
	must_equal(db, "SELECT unstuck.enqueue('mail', unique_key => 'k') > 1", "t");
	must_equal(db, "SELECT unstuck.cancel(1)", "f");
	must_equal(db, "SELECT unstuck.cancel(max(id)) FROM unstuck.jobs", "t");
	must_sql(db, "SELECT unstuck.enqueue('mail', unique_key => 'k')");
	must_equal(db, "SELECT unstuck.retry(id) FROM unstuck.jobs WHERE status = 'CANCELLED'", "f");
}
END_TEST

static const struct { const char *role, *may, *may_not; } rights[] = {
	{ "unstuck_enqueue", "SELECT unstuck.enqueue('q')", "SELECT payload FROM unstuck.jobs" },
	{ "unstuck_enqueue", "SELECT unstuck.cancel(1)", "UPDATE unstuck.jobs SET status = 'COMPLETED'" },
	{ "unstuck_read", "SELECT count(*) FROM unstuck.jobs, unstuck.late_results", "SELECT unstuck.enqueue('q')" },
	{ "unstuck_recover", "UPDATE unstuck.jobs SET status = 'PENDING' WHERE false", "UPDATE unstuck.jobs SET payload = '{}'" },
	{ "unstuck_worker", "UPDATE unstuck.jobs SET result = '1' WHERE false", "DELETE FROM unstuck.jobs" },
};

START_TEST(a_role_may_do_its_work_and_no_more)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SET ROLE %s", rights[_i].role);
	must_sql(db, "%s", rights[_i].may);
	must_refuse(db, "42501", "%s", rights[_i].may_not);
	must_sql(db, "RESET ROLE");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("plans");
	TCase *tc = story_case(s, "statements");

	tcase_add_loop_test(tc, a_claim_takes_no_more_than_its_limit_under_any_plan, 0, (int)ARRAY_SIZE(kinds));
	tcase_add_loop_test(tc, no_hot_statement_scans_a_table, 0, 3);
	tcase_add_loop_test(tc, batches_in_opposite_order_do_not_deadlock, 0, 2);
	tcase_add_test(tc, many_workers_never_run_a_job_twice);
	tcase_add_test(tc, a_row_made_ready_by_hand_starts_from_nothing);
	tcase_add_test(tc, a_unique_key_gives_one_job_to_all_callers);
	tcase_add_loop_test(tc, a_role_may_do_its_work_and_no_more, 0, (int)(sizeof rights / sizeof *rights));
	tc = story_case(s, "batches");
	tcase_add_loop_test(tc, a_batch_costs_one_look_up_a_row, 0, (int)(WHENS * ARRAY_SIZE(film_types)));
	tcase_add_loop_test(tc, a_batch_of_the_own_table_costs_one_look_up_a_row_too, 0, WHENS);
	return check_main(s);
}
