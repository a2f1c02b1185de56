/*
 * it_schema.c - stories about what is in the database itself: the functions that
 * applications call, the register of workers, the roles, and that the schema
 * can be made again at any time.
 */
#include <stdio.h>
#include "queue_story.h"
#include "sqltext.h"

#define ENQUEUE "SELECT unstuck.enqueue('mail'"

/* A statement of workers.sql; the rows as text. */
static const char *worker_sql(struct testdb *db, const char *section, const char *const *params)
{
	PGresult *res;
	struct buf b = BUF_INIT;
	const char *out;
	int n = 0;

	while (params[n] != NULL)
		n++;
	res = PQexecParams(db->conn, sqltext("workers", section), n, NULL, params, NULL, NULL, 0);
	if (PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK)
		story_fail("%s: %s", section, PQresultErrorMessage(res));
	for (int i = 0; i < PQntuples(res); i++)
		buf_addf(&b, "%s%s", i > 0 ? " " : "", PQgetvalue(res, i, 0));
	out = story_text("%s", buf_text(&b));
	buf_release(&b);
	PQclear(res);
	return out;
}
#define workers(db, section, ...) (story_at(__FILE__, __LINE__), worker_sql(db, section, PARAMS(__VA_ARGS__)))

/* ---- the schema ---- */

START_TEST(the_schema_can_be_made_again_and_keeps_what_is_there)
{
	struct testdb *db = must_have_db();

	must_sql(db, ENQUEUE ")");
	for (int i = 0; i < 2; i++) {
		testdb_sql(db, sqltext("schema", NULL));
		testdb_sql(db, sqltext("roles", NULL));
	}
	must_equal(db, "SELECT count(*) FROM unstuck.jobs", "1");
	must_equal(db, "SELECT string_agg(version::text, ',') FROM unstuck.schema_version", "4");
	must_equal(db, "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'unstuck'"
	               " AND relkind = 'r' AND obj_description(c.oid) IS NULL", "0");
}
END_TEST

#define ENTRIES "SELECT string_agg(job_id || action || coalesce(claim_id::text, '-'), ' ' ORDER BY id) FROM unstuck.recoveries"

START_TEST(the_ledger_shows_a_row_a_job_and_takes_rows_by_hand)
{
	struct testdb *db = must_have_db();

	must_sql(db, "INSERT INTO unstuck.ledger (queue, source, job_ids, claim_ids, action, reason)"
	             " VALUES ('q', 'unstuck.jobs', '{7,8,9}', '{1,NULL,3}', 'reset', 'timeout')");
	must_equal(db, "INSERT INTO unstuck.recoveries (queue, source, job_id, action, reason) VALUES ('q', 'public.films', 'x', 'fail', 'timeout')"
	               " RETURNING id > 3 AND at > now() - interval '1 min'", "t");
	must_refuse(db, "23502", "INSERT INTO unstuck.recoveries (queue, source, action, reason) VALUES ('q', 's', 'fail', 'timeout')");
	must_equal(db, ENTRIES, "7reset1 8reset- 9reset3 xfail-");
	must_equal(db, "SELECT count(DISTINCT id) FROM unstuck.recoveries", "4");
	must_equal(db, "WITH gone AS (DELETE FROM unstuck.recoveries WHERE job_id IN ('8', 'x') RETURNING job_id)"
	               " SELECT string_agg(job_id, ' ') FROM gone", "8 x");
	must_equal(db, ENTRIES, "7reset1 9reset3");
	must_equal(db, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM unstuck.recoveries", "1 3");
	must_sql(db, "DELETE FROM unstuck.recoveries");
	must_equal(db, "SELECT count(*) FROM unstuck.ledger", "0");
}
END_TEST

/* A row for each job, in a table of the name that is a view now. */
START_TEST(the_ledger_of_version_3_is_kept_with_the_rights_to_it)
{
	struct testdb *db = must_have_empty_db();
	const char *role = story_text("%s_look", db->name);

	must_run(0, NULL, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", source_path("tests/data/sql/schema_version_2.sql"), db->url);
	must_sql(db, "INSERT INTO unstuck.recoveries (queue, source, job_id, claim_id, worker_id, action, reason, at)"
	             " SELECT 'q', 'unstuck.jobs', g, nullif(g, 2), '" W1 "', 'reset', 'timeout', '2020-01-01' FROM generate_series(1, 3) AS g;"
	             "CREATE ROLE %s; GRANT USAGE ON SCHEMA unstuck TO %s; GRANT SELECT, INSERT ON unstuck.recoveries TO %s;"
	             "CREATE TABLE before AS SELECT * FROM unstuck.recoveries", role, role, role);
	for (int i = 0; i < 2; i++)
		testdb_sql(db, sqltext("schema", NULL));
	must_equal(db, "SELECT count(*) FROM (TABLE before EXCEPT TABLE unstuck.recoveries) AS x", "0");
	must_equal(db, ENTRIES, "1reset1 2reset- 3reset3");
	must_sql(db, "SET ROLE %s; INSERT INTO unstuck.recoveries (queue, source, job_id, action, reason) VALUES ('q', 's', 'y', 'fail', 'timeout');"
	             " RESET ROLE", role);
	must_equal(db, "SELECT job_id FROM unstuck.recoveries ORDER BY id DESC LIMIT 1", "y");
	must_sql(db, "INSERT INTO unstuck.ledger (queue, source, job_ids, claim_ids, action, reason) VALUES ('q', 's', '{a,b}', '{1,2}', 'reset', 'timeout')");
	must_equal(db, "SELECT count(DISTINCT id) FROM unstuck.recoveries", "6");
	must_sql(db, "DROP OWNED BY %s; DROP ROLE %s", role, role);
}
END_TEST

START_TEST(jobs_have_the_columns_of_the_manual)
{
	struct testdb *db = must_have_db();

	must_equal(db, "SELECT string_agg(column_name, ' ' ORDER BY ordinal_position) FROM information_schema.columns"
	               " WHERE table_schema = 'unstuck' AND table_name = 'jobs'",
	           "id queue payload status priority run_at attempts failures recoveries max_attempts unique_key result last_error"
	           " claim_id worker_id claimed_at created_at updated_at finished_at batch waiting alone open_key first_claim");
	must_refuse(db, "23514", "INSERT INTO unstuck.jobs (queue, status) VALUES ('q', 'WORKING')");
	must_sql(db, "INSERT INTO unstuck.jobs (queue, status) VALUES ('q', 'PROCESSING')");
}
END_TEST

/* ---- enqueue ---- */

START_TEST(a_job_is_added_with_defaults_or_with_everything)
{
	struct testdb *db = must_have_db();

	must_equal(db, ENQUEUE ")", "1");
	must_equal(db, "SELECT queue || payload || status || priority || (run_at <= now()) || attempts || (max_attempts IS NULL)"
	               " FROM unstuck.jobs", "mail{}PENDING0true0true");
	must_equal(db, ENQUEUE ", '[1]', now() + interval '1 h', -5, 'k', 7)", "2");
	must_equal(db, ENQUEUE ", priority => 3, max_attempts => 1)", "3");
	must_equal(db, "SELECT payload::text || ' ' || (run_at > now()) || priority || unique_key || max_attempts FROM unstuck.jobs WHERE id = 2",
	           "[1] true-5k7");
}
END_TEST

START_TEST(a_smaller_priority_then_an_older_run_at_runs_first_and_none_before_its_time)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = queue_story(db, "[queue mail]\nhandler = /bin/cat\n");

	add_worker(db, W1);
	must_sql(db, ENQUEUE "), unstuck.enqueue('mail', priority => -1), unstuck.enqueue('mail', run_at => now() - interval '1 h'),"
	             " unstuck.enqueue('mail', run_at => now() + interval '1 h', priority => -9), unstuck.enqueue('other')");
	const char *order[] = { "2", "3", "1", "" };
	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		must_answer(ask_column(q, "id", STMT_CLAIM, "1", W1), order[i]);
}
END_TEST

static const struct {
	const char *arguments, *sqlstate, *tells;
} bad_jobs[] = {
	{ "''", "22023", "queue must be a name" },
	{ "NULL", "22023", "queue must be a name" },
	{ "E'a\\nb'", "22023", "queue must be a name" },
	{ "'a]'", "22023", "queue must be a name" },
	{ "repeat('x', 1001)", "22023", "queue must be a name" },
	{ "'mail', NULL", "22004", "payload must not be NULL" },
	{ "'mail', run_at => NULL", "22004", "run_at must not be NULL" },
	{ "'mail', priority => NULL", "22004", "priority must not be NULL" },
	{ "'mail', max_attempts => 0", "22023", "max_attempts must be at least 1, not 0" },
	{ "'mail', 'no json'", "22P02", "json" },
};

START_TEST(a_bad_job_is_refused_by_name)
{
	struct testdb *db = must_have_db();
	const char *told = must_refuse(db, bad_jobs[_i].sqlstate, "SELECT unstuck.enqueue(%s)", bad_jobs[_i].arguments);

	if (strstr(told, bad_jobs[_i].tells) == NULL)
		story_fail("told: %s\nnot: %s", told, bad_jobs[_i].tells);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs", "0");
}
END_TEST

START_TEST(a_job_is_part_of_the_transaction_that_adds_it)
{
	struct testdb *db = must_have_db();

	must_sql(db, "BEGIN");
	must_sql(db, ENQUEUE ", unique_key => 'k')");
	must_sql(db, "ROLLBACK");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs", "0");
}
END_TEST

/* The second caller waits for the first: its commit gives one id, its rollback leaves the second its own. */
START_TEST(a_unique_key_waits_for_the_transaction_that_has_it)
{
	struct testdb *db = must_have_db();

	for (int commit = 0; commit < 2; commit++) {
		PGconn *other = testdb_connect(db);
		const char *first;
		PGresult *res;

		must_sql(db, "BEGIN");
		first = sql_value(db, ENQUEUE ", unique_key => 'k%d')", commit);
		ck_assert_int_eq(PQsendQuery(other, story_text(ENQUEUE ", unique_key => 'k%d')", commit)), 1);
		must_become(db, "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'", "1", 5000);
		must_sql(db, commit ? "COMMIT" : "ROLLBACK");
		res = PQgetResult(other);
		ck_assert_int_eq(PQresultStatus(res), PGRES_TUPLES_OK);
		ck_assert_int_eq(strcmp(PQgetvalue(res, 0, 0), first) == 0, commit);
		PQclear(res);
		PQfinish(other);
	}
	must_equal(db, "SELECT count(*) || ' ' || count(DISTINCT unique_key) FROM unstuck.jobs", "2 2");
}
END_TEST

static int enqueue_same_keys(struct queue_story *q, int number)
{
	struct error err = ERROR_INIT;

	(void)number;
	for (int i = 0; i < 200; i++) {
		char key[16], *id = NULL;
		const char *params[] = { key, NULL };

		snprintf(key, sizeof key, "k%d", i / 4);
		if (session_value(&q->session, &err, &id, ENQUEUE ", unique_key => $1)", 1, params) < 0)
			return 1;
		if (i % 4 == 3) {	/* it ends, and the next caller makes a new one */
			params[0] = id;
			PQclear(session_exec(&q->session, &err, "SELECT unstuck.cancel($1::bigint)", 1, params));
		}
		if (err.kind != ERR_NONE || id == NULL)
			return 2;
		free(id);
	}
	return 0;
}

START_TEST(many_callers_of_one_unique_key_never_make_two_unfinished_jobs)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = queue_story(db, "[queue mail]\nhandler = /bin/cat\n");

	in_processes(6, enqueue_same_keys, q);
	must_equal(db, "SELECT count(DISTINCT unique_key) FROM unstuck.jobs", "50");
	must_equal(db, "SELECT count(*) FROM (SELECT FROM unstuck.jobs WHERE status = 'PENDING' GROUP BY unique_key HAVING count(*) > 1) d",
	           "0");
}
END_TEST

/* How many notifications came, and the last payload. */
static int notified(PGconn *conn, const char **payload)
{
	PGnotify *n;
	int count = 0;

	PQclear(PQexec(conn, "SELECT 1"));
	while ((n = PQnotifies(conn)) != NULL) {
		*payload = story_text("%s %s", n->relname, n->extra);
		PQfreemem(n);
		count++;
	}
	return count;
}

START_TEST(only_the_first_ready_job_of_a_queue_wakes_the_workers)
{
	struct testdb *db = must_have_db();
	PGconn *ear = testdb_connect(db);
	const char *payload = "";

	PQclear(PQexec(ear, "LISTEN unstuck"));
	must_sql(db, ENQUEUE ", run_at => now() + interval '1 h')");
	ck_assert_int_eq(notified(ear, &payload), 0);
	must_sql(db, ENQUEUE ")");
	ck_assert_int_eq(notified(ear, &payload), 1);
	ck_assert_str_eq(payload, "unstuck mail");
	must_sql(db, ENQUEUE ")");
	ck_assert_int_eq(notified(ear, &payload), 0);
	must_sql(db, "SELECT unstuck.enqueue('other')");
	ck_assert_int_eq(notified(ear, &payload), 1);
	must_sql(db, "UPDATE unstuck.jobs SET status = 'FAILED' WHERE id = 2; SELECT unstuck.retry(2)");
	ck_assert_int_eq(notified(ear, &payload), 1);
	ck_assert_str_eq(payload, "unstuck mail");
	PQfinish(ear);
}
END_TEST

/* ---- cancel and retry ---- */

START_TEST(a_cancelled_job_takes_no_result_and_a_retried_one_only_of_its_new_claim)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = queue_story(db, "[queue mail]\nhandler = /bin/cat\n");
	const char *claim, *newer;

	add_worker(db, W1);
	must_sql(db, ENQUEUE ")");
	claim = ask_column(q, "claim_id", STMT_CLAIM, "1", W1);
	must_equal(db, "SELECT unstuck.cancel(1)", "t");
	must_equal(db, "SELECT unstuck.cancel(1)", "f");
	must_answer(ask(q, STMT_HELD, W1), "");
	must_answer(ask(q, STMT_COMPLETE, "{1}", array_of(claim), "{1}", W1), "");
	must_answer(ask_column(q, "verdict", STMT_CLASSIFY, "{1}", array_of(claim), W1), "cancelled");
	must_equal(db, "SELECT status || (finished_at IS NOT NULL) || attempts FROM unstuck.jobs", "CANCELLEDtrue1");

	must_sql(db, "UPDATE unstuck.jobs SET failures = 4, recoveries = 2");
	must_equal(db, "SELECT unstuck.retry(1)", "t");
	must_equal(db, "SELECT unstuck.retry(1)", "f");
	must_equal(db, "SELECT status || failures || recoveries || (finished_at IS NULL) || (worker_id IS NULL) FROM unstuck.jobs",
	           "PENDING00truetrue");
	must_answer(ask(q, STMT_COMPLETE, "{1}", array_of(claim), "{1}", W1), "");
	must_answer(ask_column(q, "verdict", STMT_CLASSIFY, "{1}", array_of(claim), W1), "fenced");
	newer = ask_column(q, "claim_id", STMT_CLAIM, "1", W1);
	must_answer(ask(q, STMT_COMPLETE, "{1}", array_of(newer), "{1}", W1), "1");
	must_equal(db, "SELECT unstuck.cancel(1)::text || unstuck.retry(1) || unstuck.cancel(99) || unstuck.retry(NULL)",
	           "falsefalsefalsefalse");
}
END_TEST

START_TEST(a_job_whose_unique_key_is_taken_meanwhile_is_not_retried)
{
	struct testdb *db = must_have_db();

	must_sql(db, ENQUEUE ", unique_key => 'k')");
	must_sql(db, "SELECT unstuck.cancel(1)");
	must_equal(db, ENQUEUE ", unique_key => 'k') > 1", "t");
	must_equal(db, "SELECT unstuck.retry(1)", "f");
	must_equal(db, "SELECT status FROM unstuck.jobs WHERE id = 1", "CANCELLED");
	must_sql(db, "UPDATE unstuck.jobs SET status = 'COMPLETED' WHERE id > 1");
	must_equal(db, "SELECT unstuck.retry(1)", "t");
}
END_TEST

/* ---- workers ---- */

START_TEST(a_worker_beats_until_it_is_declared_dead)
{
	struct testdb *db = must_have_db();

	workers(db, "register", W1, "farm", "12", "1.0", "10", "60");
	workers(db, "register", W1, "farm", "12", "1.0", "10", "60");
	must_answer(workers(db, "beat", W1, "running"), "1");
	must_answer(workers(db, "beat", W1, "quiet"), "2");
	must_equal(db, "SELECT host || pid || version || state || beat_n || timeout_s FROM unstuck.workers", "farm121.0quiet260");
	must_answer(workers(db, "silent"), "");
	must_answer(workers(db, "dead"), "");
	must_sql(db, "DELETE FROM unstuck.workers");
	must_answer(workers(db, "beat", W1, "running"), "");
}
END_TEST

START_TEST(a_silent_worker_is_dead_only_after_somebody_has_watched_it_for_two_heartbeats)
{
	struct testdb *db = must_have_db();

	workers(db, "register", W1, "farm", "12", "1.0", "0.4", "60");
	workers(db, "register", W2, "shed", "13", "1.0", "0.4", "60");
	must_sql(db, "UPDATE unstuck.workers SET beat_at = now() - interval '61 s' WHERE worker_id = '" W1 "'");
	must_equal(db, "SELECT count(*) FROM unstuck.workers WHERE seen_at IS NOT NULL", "0");
	must_answer(workers(db, "dead"), "");
	must_answer(workers(db, "silent"), W1);
	workers(db, "beat", W2, "running");			/* a live worker sees it */
	must_equal(db, "SELECT seen_n = beat_n FROM unstuck.workers WHERE worker_id = '" W1 "'", "t");
	must_equal(db, "SELECT seen_n IS NULL FROM unstuck.workers WHERE worker_id = '" W2 "'", "t");
	must_answer(workers(db, "dead"), "");
	const char *seen_at = sql_value(db, "SELECT seen_at FROM unstuck.workers WHERE worker_id = '" W1 "'");
	must_answer(workers(db, "sight"), "");			/* seen already: since then, not since now */
	must_equal(db, "SELECT seen_at FROM unstuck.workers WHERE worker_id = '" W1 "'", seen_at);
	must_become(db, "WITH d AS (SELECT 1) SELECT count(*) FROM unstuck.workers WHERE seen_at < now() - interval '0.8 s'", "1", 5000);
	must_answer(workers(db, "dead"), W1);
	must_answer(workers(db, "dead"), "");
	must_equal(db, "SELECT worker_id FROM unstuck.workers", W2);
}
END_TEST

START_TEST(a_beat_starts_the_watch_again)
{
	struct testdb *db = must_have_db();

	workers(db, "register", W1, "farm", "12", "1.0", "0.001", "60");
	must_sql(db, "UPDATE unstuck.workers SET beat_at = now() - interval '61 s'");
	must_answer(workers(db, "sight"), W1);
	workers(db, "beat", W1, "running");
	must_sql(db, "UPDATE unstuck.workers SET beat_at = now() - interval '61 s', seen_at = now() - interval '1 h'");
	must_answer(workers(db, "dead"), "");
	must_answer(workers(db, "sight"), W1);
	must_become(db, "SELECT count(*) FROM unstuck.workers WHERE seen_at < now() - interval '10 ms'", "1", 5000);
	must_answer(workers(db, "dead"), W1);
}
END_TEST

/* After an outage every beat is old, and old sightings prove nothing. */
START_TEST(a_server_that_just_came_up_declares_nobody_dead)
{
	struct testdb *db = must_have_db();

	workers(db, "register", W1, "farm", "12", "1.0", "600", "1800");
	must_sql(db, "UPDATE unstuck.workers SET beat_at = now() - interval '1 h', seen_n = beat_n, seen_at = now() - interval '50 min'");
	must_answer(workers(db, "dead"), "");
	must_equal(db, story_text("SELECT watch_s BETWEEN 1 AND 1200 FROM (%s) AS s", sqltext("workers", "silent")), "t");
	must_sql(db, "UPDATE unstuck.workers SET heartbeat_s = 0.001");
	must_answer(workers(db, "dead"), W1);
}
END_TEST

START_TEST(a_worker_leaves_only_when_nothing_is_left_behind)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = queue_story(db, "[queue mail]\nhandler = /bin/cat\n");

	add_worker(db, W1);
	must_sql(db, ENQUEUE ")");
	ask(q, STMT_CLAIM, "1", W1);
	must_answer(workers(db, "unregister", W1), "");
	ask(q, STMT_RELEASE_ALL, W1);
	must_sql(db, "INSERT INTO unstuck.claims (source, job_id, queue, claim_id, worker_id, state) VALUES ('t', '1', 'q', 1, '" W1 "', 'ACTIVE')");
	must_answer(workers(db, "unregister", W1), "");
	must_sql(db, "UPDATE unstuck.claims SET state = 'RELEASED'");
	must_answer(workers(db, "unregister", W1), W1);
}
END_TEST

/* ---- roles ---- */

/* The database as a user with just this role. */
static struct testdb *as_role(struct testdb *db, const char *role)
{
	struct testdb *as = story_memory(sizeof *as);
	const char *user = story_text("%s_%s", db->name, role);

	must_sql(db, "CREATE ROLE %s LOGIN IN ROLE %s", user, role);
	*as = *db;
	as->url = story_text("postgresql:///%s?host=%s&port=5432&user=%s", db->name, server_dir(), user);
	as->conn = PQconnectdb(as->url);
	if (PQstatus(as->conn) != CONNECTION_OK)
		story_fail("%s", PQerrorMessage(as->conn));
	return as;
}

static void role_end(struct testdb *db, struct testdb *as, const char *role)
{
	PQfinish(as->conn);
	must_sql(db, "DROP OWNED BY %s_%s; DROP ROLE %s_%s", db->name, role, db->name, role);
}

/* An application's table, with the rights that roles.sql asks for. */
#define VIDEOS \
	"CREATE TABLE videos (id bigint PRIMARY KEY, status text, updated_at timestamptz);" \
	"INSERT INTO videos SELECT g, 'READY', now() FROM generate_series(1, 9) AS g;" \
	"GRANT SELECT, UPDATE (status, updated_at) ON videos TO unstuck_worker, unstuck_recover"
static const char *const queues[] = {
	"[queue mail]\nhandler = /bin/cat\n", "[queue videos]\nhandler = /bin/cat\ntable = videos\nready = READY\n",
};

/* Every statement of both kinds. */
static void all_of_a_worker(struct queue_story *q)
{
	const char *claim = ask_column(q, "claim_id", STMT_CLAIM, "1", W1);

	must_answer(ask(q, STMT_COMPLETE, "{1}", array_of(claim), "{1}", W1), "1");
	claim = ask_column(q, "claim_id", STMT_CLAIM, "1", W1);
	must_answer(ask(q, STMT_COMPLETE_ALL, "{2}", array_of(claim), "{1}", W1), "2");
	claim = ask_column(q, "claim_id", STMT_CLAIM, "1", W1);
	ask(q, STMT_FAIL, "{3}", array_of(claim), W1, "{fail}", "{x}", "{0}", "{bad_data}", array_of("\\x41"));
	ask(q, STMT_LATE, "{3}", array_of(claim), W1, "{x}", array_of("\\x41"));
	claim = ask_column(q, "claim_id", STMT_CLAIM, "1", W1);
	must_answer(ask(q, STMT_RELEASE, "{4}", array_of(claim), W1, "{t}"), "4");
	ask(q, STMT_CLAIM, "1", W1);
	ask(q, STMT_HELD, W1);
	ask(q, STMT_RELEASE_ALL, W1);
	ask(q, STMT_CLASSIFY, "{3}", array_of(claim), W1);
	ask(q, STMT_CLAIM, "1", W1);
}

static void all_of_recover(struct testdb *db, struct queue_story *q)
{
	must_sql(db, "DELETE FROM unstuck.workers WHERE worker_id = '" W1 "'");
	must_answer(ask_column(q, "reason", STMT_STUCK, "60", "f", "f", NIL, "0", "3"), "worker_lost");
	ck_assert_str_ne(ask(q, STMT_RESET, array_of(ask_column(q, "id", STMT_STUCK, "60", "f", "f", NIL, "0", "3")),
	                     array_of(ask_column(q, "token", STMT_STUCK, "60", "f", "f", NIL, "0", "3")), "60", "f", "3"), "");
	ask(q, STMT_PROCESSING);
	ask(q, STMT_AGELESS);
	add_worker(db, W1);
}

START_TEST(a_worker_does_all_its_work_with_its_role)
{
	struct testdb *db = must_have_db(), *as;

	must_sql(db, VIDEOS);
	must_sql(db, ENQUEUE ") FROM generate_series(1, 9)");
	as = as_role(db, "unstuck_worker");
	workers(as, "register", W1, "farm", "1", "1", "10", "60");
	workers(as, "beat", W1, "running");
	for (size_t i = 0; i < ARRAY_SIZE(queues); i++) {
		struct queue_story *q = queue_story(as, queues[i]);

		all_of_a_worker(q);
		all_of_recover(db, q);
		session_close(&q->session);
	}
	workers(as, "sight");
	workers(as, "silent");
	workers(as, "dead");
	workers(as, "unregister", W1);
	must_refuse(as, "42501", "INSERT INTO unstuck.jobs (queue) VALUES ('x')");
	must_refuse(as, "42501", "DELETE FROM unstuck.jobs");
	must_refuse(as, "42501", "DELETE FROM unstuck.late_results");
	must_refuse(as, "42501", "UPDATE unstuck.late_results SET raw = ''");
	must_refuse(as, "42501", "DELETE FROM unstuck.recoveries");
	role_end(db, as, "unstuck_worker");
}
END_TEST

START_TEST(recover_does_all_its_work_with_its_role_and_cannot_claim)
{
	struct testdb *db = must_have_db(), *as;

	must_sql(db, VIDEOS);
	must_sql(db, ENQUEUE ") FROM generate_series(1, 9)");
	add_worker(db, W1);
	as = as_role(db, "unstuck_recover");
	for (size_t i = 0; i < ARRAY_SIZE(queues); i++) {
		struct queue_story *full = queue_story(db, queues[i]), *q = queue_story(as, queues[i]);

		ask(full, STMT_CLAIM, "2", W1);
		all_of_recover(db, q);
		session_close(&q->session);
	}
	struct queue_story *q = queue_story(as, queues[0]);
	must_answer(ask_refused(q, STMT_CLAIM, "1", W1), "42501");
	session_close(&q->session);
	workers(as, "sight");
	workers(as, "silent");
	workers(as, "dead");
	must_refuse(as, "42501", "UPDATE unstuck.jobs SET result = '1'");
	must_refuse(as, "42501", "UPDATE unstuck.workers SET beat_at = now()");
	must_refuse(as, "42501", "SELECT unstuck.enqueue('mail')");
	role_end(db, as, "unstuck_recover");
}
END_TEST

START_TEST(an_application_adds_cancels_and_retries_and_sees_nothing)
{
	struct testdb *db = must_have_db(), *as = as_role(db, "unstuck_enqueue");
	struct session session;
	struct error err = ERROR_INIT;

	ck_assert_int_eq(session_open(&session, as->url, "app", &err), 0);
	ck_assert(session.has_schema);
	session_close(&session);
	must_equal(as, ENQUEUE ", unique_key => 'k')", "1");
	must_equal(as, ENQUEUE ", unique_key => 'k')", "1");
	must_equal(as, "SELECT unstuck.cancel(1)::text || unstuck.retry(1)", "truetrue");
	PGresult *res = PQexec(as->conn, "COPY unstuck.jobs (queue, payload, run_at, priority, max_attempts) FROM STDIN");
	ck_assert_int_eq(PQresultStatus(res), PGRES_COPY_IN);
	PQclear(res);
	ck_assert_int_eq(PQputCopyData(as->conn, "mail\t{}\t2020-01-01\t0\t\\N\n", 24), 1);
	ck_assert_int_eq(PQputCopyEnd(as->conn, NULL), 1);
	res = PQgetResult(as->conn);
	ck_assert_msg(PQresultStatus(res) == PGRES_COMMAND_OK, "%s", PQresultErrorMessage(res));
	PQclear(res);
	PQclear(PQgetResult(as->conn));
	must_equal(db, "SELECT count(*) FROM unstuck.jobs", "2");
	must_refuse(as, "42501", "SELECT count(*) FROM unstuck.jobs");
	must_refuse(as, "42501", "INSERT INTO unstuck.jobs (queue, status) VALUES ('q', 'COMPLETED')");
	must_refuse(as, "42501", "UPDATE unstuck.jobs SET priority = 1");
	must_refuse(as, "42501", "SELECT nextval('unstuck.claim_seq')");
	must_refuse(as, "42501", "SELECT * FROM unstuck.workers");
	role_end(db, as, "unstuck_enqueue");
}
END_TEST

START_TEST(a_reader_sees_everything_and_changes_nothing)
{
	struct testdb *db = must_have_db(), *as = as_role(db, "unstuck_read");
	static const char *const tables[] = { "jobs", "workers", "claims", "recoveries", "late_results", "schema_version" };

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		must_sql(as, "SELECT * FROM unstuck.%s", tables[i]);
		must_refuse(as, "42501", "DELETE FROM unstuck.%s", tables[i]);
	}
	must_refuse(as, "42501", ENQUEUE ")");
	must_refuse(as, "42501", "SELECT unstuck.cancel(1)");
	must_refuse(as, "42501", "SELECT unstuck.retry(1)");
	role_end(db, as, "unstuck_read");
}
END_TEST

START_TEST(somebody_without_a_role_can_do_nothing)
{
	struct testdb *db = must_have_db(), *as = as_role(db, "pg_monitor");

	must_refuse(as, "42501", ENQUEUE ")");
	must_refuse(as, "42501", "SELECT * FROM unstuck.jobs");
	role_end(db, as, "pg_monitor");
}
END_TEST

/* Names in the caller's search_path must not be run with the owner's rights. */
START_TEST(the_functions_do_not_look_into_the_callers_search_path)
{
	struct testdb *db = must_have_db();

	must_sql(db, "CREATE SCHEMA evil; CREATE FUNCTION evil.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'DROP TABLE unstuck.claims';"
	             "CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz';"
	             "SET search_path = evil, pg_catalog");
	must_equal(db, ENQUEUE ") > 0 AND unstuck.cancel(1) AND unstuck.retry(1)", "t");
	must_equal(db, "SELECT to_regclass('unstuck.claims') IS NOT NULL", "t");
	must_equal(db, "SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname = 'unstuck' AND prosecdef"
	               " AND NOT coalesce(proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false)", "0");
	must_sql(db, "RESET search_path");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("schema");
	TCase *jobs = queue_case(s, "jobs"), *register_ = queue_case(s, "workers"), *roles = queue_case(s, "roles");

	tcase_add_test(jobs, the_schema_can_be_made_again_and_keeps_what_is_there);
	tcase_add_test(jobs, jobs_have_the_columns_of_the_manual);
	tcase_add_test(jobs, the_ledger_shows_a_row_a_job_and_takes_rows_by_hand);
	tcase_add_test(jobs, the_ledger_of_version_3_is_kept_with_the_rights_to_it);
	tcase_add_test(jobs, a_job_is_added_with_defaults_or_with_everything);
	tcase_add_test(jobs, a_smaller_priority_then_an_older_run_at_runs_first_and_none_before_its_time);
	tcase_add_loop_test(jobs, a_bad_job_is_refused_by_name, 0, ARRAY_SIZE(bad_jobs));
	tcase_add_test(jobs, a_job_is_part_of_the_transaction_that_adds_it);
	tcase_add_test(jobs, a_unique_key_waits_for_the_transaction_that_has_it);
	tcase_add_test(jobs, many_callers_of_one_unique_key_never_make_two_unfinished_jobs);
	tcase_add_test(jobs, only_the_first_ready_job_of_a_queue_wakes_the_workers);
	tcase_add_test(jobs, a_cancelled_job_takes_no_result_and_a_retried_one_only_of_its_new_claim);
	tcase_add_test(jobs, a_job_whose_unique_key_is_taken_meanwhile_is_not_retried);
	tcase_add_test(jobs, the_functions_do_not_look_into_the_callers_search_path);
	tcase_add_test(register_, a_worker_beats_until_it_is_declared_dead);
	tcase_add_test(register_, a_silent_worker_is_dead_only_after_somebody_has_watched_it_for_two_heartbeats);
	tcase_add_test(register_, a_beat_starts_the_watch_again);
	tcase_add_test(register_, a_server_that_just_came_up_declares_nobody_dead);
	tcase_add_test(register_, a_worker_leaves_only_when_nothing_is_left_behind);
	tcase_add_test(roles, a_worker_does_all_its_work_with_its_role);
	tcase_add_test(roles, recover_does_all_its_work_with_its_role_and_cannot_claim);
	tcase_add_test(roles, an_application_adds_cancels_and_retries_and_sees_nothing);
	tcase_add_test(roles, a_reader_sees_everything_and_changes_nothing);
	tcase_add_test(roles, somebody_without_a_role_can_do_nothing);
	return check_main(s);
}
