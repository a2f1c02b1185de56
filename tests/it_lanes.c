/*
 * it_lanes.c - the second connection of a worker: when it is there, and that no result is lost or stored twice whichever of
 * the two goes away in the middle of a write.
 *
 * An audit of all changes into COMPLETED notes which server process made them. Where it finds the row of gate, a write
 * waits in the middle of its statement for a lock that the test has (must_shut).
 */
#include "story.h"

#include <stdio.h>
#include <unistd.h>

#include "worker_story.h"

#define FIRST "application_name = 'unstuck-worker'"
#define SECOND "application_name = 'unstuck-worker results'"
#define SESSIONS(which) "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND " which
#define WAITING(which) SESSIONS(which " AND wait_event_type = 'Lock'")
#define AT_THE_GATE(which) SESSIONS(which " AND wait_event = 'advisory'")
#define EACH_ONCE "SELECT count(*) || ' ' || count(DISTINCT id) FROM audit"

/* ---- tables with load ---- */

static const struct { const char *name, *table, *status, *ini, *add; } kinds[] = {
	{ "nothing to keep", "unstuck.jobs", "status", "",
	  "INSERT INTO unstuck.jobs (queue, payload) SELECT 'mail', 'null' FROM generate_series(1, %d)" },
	{ "results", "unstuck.jobs", "status", "",
	  "INSERT INTO unstuck.jobs (queue, payload) SELECT 'mail', jsonb_build_object('n', g) FROM generate_series(1, %d) g" },
	{ "a mapped table", "public.videos", "analysis_status",
	  "table = public.videos\nstatus = analysis_status\nready = METADATA_EXTRACTED\npayload = source_id\n"
	  "on_success = INSERT INTO analysis_results VALUES ($1, $2)\n",
	  "INSERT INTO public.videos (source_id, analysis_status) SELECT 'v' || g, 'METADATA_EXTRACTED' FROM generate_series(1, %d) g;"
	  "CREATE TABLE IF NOT EXISTS analysis_results (video_id bigint PRIMARY KEY, result jsonb)" },
};
enum { NOTHING, RESULTS, MAPPED, KINDS };

static struct testdb *must_have_load(int kind, int jobs)
{
	struct testdb *db = must_have_db();

	if (kind == MAPPED)
		must_have_table(db, 0);
	must_sql(db, kinds[kind].add, jobs);
	must_sql(db, "CREATE TABLE audit (id bigint, pid int); CREATE TABLE gate ();"
	             "CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
	             " IF EXISTS (SELECT FROM gate) THEN PERFORM pg_advisory_xact_lock_shared(1); END IF;"
	             " INSERT INTO audit VALUES (NEW.id, pg_backend_pid()); RETURN NEW; END$$;"
	             "CREATE TRIGGER audit AFTER UPDATE ON %s FOR EACH ROW WHEN (NEW.%s = 'COMPLETED') EXECUTE FUNCTION audit()",
	         kinds[kind].table, kinds[kind].status);
	return db;
}

#define load_settings(db, kind, worker) \
	settings(db, "[worker]\nconcurrency = 1\nheartbeat = 200ms\npoll_interval = 50ms\n%s[queue mail]\nmode = serve\npipeline = 500\nbatch = 500\nhandler = %s\n%s", \
	         worker, build_path("tests/handlers/obey"), kinds[kind].ini)

/* From now on the next write waits within its statement. */
static void must_shut(struct testdb *db)
{
	must_sql(db, "SELECT pg_advisory_lock(1); INSERT INTO gate DEFAULT VALUES");
}

static void must_let_through(struct testdb *db)
{
	must_sql(db, "DELETE FROM gate; SELECT pg_advisory_unlock(1)");
}

static bool second_has_written(struct testdb *db)
{
	return sql_int(db, "SELECT count(*) FROM audit WHERE pid IN (SELECT pid FROM pg_stat_activity WHERE " SECOND ")") != 0;
}

/* Load, until the second has written something: from then on it takes all. */
static void must_use_second(struct testdb *db, int kind)
{
	uint64_t until = story_until(30000);

	while (!second_has_written(db)) {
		if (sql_int(db, "SELECT count(*) FROM %s WHERE %s NOT IN ('PROCESSING', 'COMPLETED')", kinds[kind].table, kinds[kind].status) < 1000)
			must_sql(db, kinds[kind].add, 1500);
		if (!story_wait(until))
			story_fail("the second connection is not used");
	}
}

/* What is completed is completed once, and nothing was taken for late. */
static void must_be_whole(struct testdb *db, int kind)
{
	const char *jobs = sql_value(db, "SELECT count(*) FROM %s WHERE %s = 'COMPLETED'", kinds[kind].table, kinds[kind].status);

	must_equal(db, EACH_ONCE, story_text("%s %s", jobs, jobs));
	must_equal(db, "SELECT count(*) FROM unstuck.late_results", "0");
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "0");
	must_equal(db, "SELECT (SELECT count(*) FROM unstuck.batches) + (SELECT count(*) FROM unstuck.claim_batches)", "0");
	if (kind == MAPPED)
		must_equal(db, "SELECT count(*) FROM analysis_results", jobs);
	if (kind == RESULTS)
		must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED' AND result IS DISTINCT FROM payload", "0");
}

/* All of them are. */
static void must_all_be_done(struct testdb *db, int kind)
{
	must_become(db, story_text("SELECT count(*) FROM %s WHERE %s IS DISTINCT FROM 'COMPLETED'", kinds[kind].table, kinds[kind].status), "0", 40000);
}

/* The worker stops, and has left nothing behind. */
static void must_end_well(struct testdb *db, int kind, struct proc *p)
{
	must_all_be_done(db, kind);
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 20000);
	must_be_whole(db, kind);
}

/* ---- when it is there ---- */

START_TEST(it_opens_under_load_and_closes_after_a_minute_without)
{
	struct testdb *db = must_have_load(RESULTS, 20);
	const char *beats;
	struct proc *p;

	load_settings(db, RESULTS, "");
	write_file("clock", "0 0");
	p = must_start(&(struct proc_options){ .env = WORDS(story_text("UNSTUCK_CLOCK=%s", test_path("clock"))) },
	               build_path("fail/unstuck-worker"));
	must_become(db, "SELECT count(*) FROM audit", "20", 10000);
	must_equal(db, SESSIONS(FIRST), "1");
	must_equal(db, SESSIONS(SECOND), "0");		/* few jobs need none */
	must_sql(db, kinds[RESULTS].add, 5000);
	must_say(p, "event=db_second_open");
	must_become(db, "SELECT count(*) FROM audit", "5020", 30000);
	must_equal(db, "SELECT count(DISTINCT pid) FROM audit", "2");
	must_equal(db, SESSIONS(SECOND), "1");
	write_file("clock", "50000 0");
	beats = sql_value(db, "SELECT beat_n + 2 FROM unstuck.workers");
	must_become(db, story_text("SELECT beat_n >= %s FROM unstuck.workers", beats), "t", 10000);
	must_equal(db, SESSIONS(SECOND), "1");
	write_file("clock", "61000 0");
	must_say(p, "event=db_second_closed why=\"there is no load\"");
	must_become(db, SESSIONS(SECOND), "0", 10000);
	must_sql(db, kinds[RESULTS].add, 20);
	must_end_well(db, RESULTS, p);
	ck_assert_ptr_null(strstr(proc_err(p), "db_second_failed"));
}
END_TEST

START_TEST(a_worker_that_may_have_one_connection_has_one)
{
	struct testdb *db = must_have_load(NOTHING, 6000);
	struct proc *p;

	load_settings(db, NOTHING, "connections = 1\n");
	p = must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT count(DISTINCT pid) FROM audit", "1");
	must_all_be_done(db, NOTHING);
	must_be_whole(db, NOTHING);
	ck_assert_ptr_null(strstr(proc_err(p), "db_second"));
}
END_TEST

START_TEST(a_reload_takes_the_second_away)
{
	struct testdb *db = must_have_load(NOTHING, 8000);
	struct proc *p;

	load_settings(db, NOTHING, "");
	p = must_start(NULL, "unstuck-worker");
	must_say(p, "event=db_second_open");
	load_settings(db, NOTHING, "connections = 1\n");
	proc_signal(p, SIGHUP);
	must_say(p, "event=db_second_closed why=\"the settings allow one\"");
	must_become(db, SESSIONS(SECOND), "0", 10000);
	must_end_well(db, NOTHING, p);
	ck_assert_uint_eq(text_count(proc_err(p), "event=db_second_open"), 1);
}
END_TEST

/* The database allows one session of this user. Told once; the first takes all. */
START_TEST(a_worker_goes_on_with_one_where_there_is_no_second_to_be_had)
{
	struct testdb *db = must_have_load(NOTHING, 8000);
	const char *role = story_text("one_%s", db->name);
	struct proc *p;

	must_sql(db, "CREATE ROLE %s LOGIN CONNECTION LIMIT 1; GRANT USAGE ON SCHEMA unstuck TO %s;"
	             "GRANT ALL ON ALL TABLES IN SCHEMA unstuck TO %s; GRANT ALL ON ALL SEQUENCES IN SCHEMA unstuck TO %s;"
	             "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA unstuck TO %s; GRANT ALL ON audit, gate TO %s", role, role, role, role, role, role);
	load_settings(db, NOTHING, "");
	p = must_run(0, NULL, "unstuck-worker", "--drain", "-d", story_text("%s&options=-crole%%3D%s&user=%s", db->url, role, role));
	must_all_be_done(db, NOTHING);
	must_be_whole(db, NOTHING);
	must_equal(db, "SELECT count(DISTINCT pid) FROM audit", "1");
	ck_assert_uint_eq(text_count(proc_err(p), "event=db_second_failed"), 1);
	ck_assert_ptr_nonnull(strstr(proc_err(p), "too many connections"));
	must_sql(db, "DROP OWNED BY %s; DROP ROLE %s", role, role);
}
END_TEST

/* What tells one server from another, told anew by each session. */
START_TEST(another_server_at_the_same_address_gets_nothing)
{
	struct testdb *db = must_have_load(NOTHING, 6000);
	struct proc *p;

	must_sql(db, "CREATE FUNCTION public.pg_postmaster_start_time() RETURNS timestamptz LANGUAGE sql AS 'SELECT clock_timestamp()';"
	             "ALTER DATABASE %s SET search_path = public, pg_catalog", db->name);
	load_settings(db, NOTHING, "");
	p = must_run(0, NULL, "unstuck-worker", "--drain");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "event=db_second_failed error=\"another server"));
	must_equal(db, "SELECT count(DISTINCT pid) FROM audit", "1");
	must_all_be_done(db, NOTHING);
	must_be_whole(db, NOTHING);
}
END_TEST

/* ---- one of them goes away ---- */

/* Each time in the middle of a statement that stores results. */
START_TEST(the_second_is_killed_in_the_middle_of_writes)
{
	struct testdb *db = must_have_load(_i, 1000);
	struct proc *p;

	load_settings(db, _i, "");
	p = must_start(NULL, "unstuck-worker");
	for (int kill = 0; kill < (_i == RESULTS ? 3 : 2); kill++) {
		must_use_second(db, _i);
		must_shut(db);
		must_sql(db, kinds[_i].add, 2000);
		must_become(db, AT_THE_GATE(SECOND), "1", 20000);
		ck_assert_int_eq(kill_backends(db, SECOND), 1);
		must_become(db, SESSIONS(SECOND), "0", 10000);
		must_let_through(db);
	}
	must_end_well(db, _i, p);
	ck_assert_uint_eq(text_count(proc_err(p), "event=db_second_failed"), 1);	/* the others at debug */
	ck_assert_ptr_null(strstr(proc_err(p), "event=db_lost"));
}
END_TEST

/* The old server process of the second still has its write to end, and ends it while the worker tries again on a new first. */
START_TEST(the_first_is_killed_while_the_second_writes)
{
	struct testdb *db = must_have_load(_i, 2000);
	struct proc *p;

	load_settings(db, _i, "");
	p = must_start(NULL, "unstuck-worker");
	must_use_second(db, _i);
	must_shut(db);
	must_sql(db, kinds[_i].add, 2000);
	must_become(db, AT_THE_GATE(SECOND), "1", 20000);
	ck_assert_int_eq(kill_backends(db, FIRST), 1);
	must_say(p, "event=db_second_closed why=\"the first connection is gone\"");
	must_become(db, WAITING(FIRST), "1", 20000);	/* for the rows that the old one has */
	must_equal(db, AT_THE_GATE(SECOND), "1");
	must_let_through(db);
	must_end_well(db, _i, p);
	ck_assert_ptr_nonnull(strstr(proc_err(p), "event=db_back"));
}
END_TEST

/* The answer to a write never comes: it was stored, and is found to be. */
START_TEST(an_answer_on_the_second_is_lost)
{
	struct testdb *db = must_have_load(_i, 12000);
	struct proc *p;

	load_settings(db, _i, "");
	p = must_run(0, &(struct proc_options){ .env = WORDS("UNSTUCK_FAIL=store_reply:error:9") }, build_path("fail/unstuck-worker"), "--drain");
	must_all_be_done(db, _i);
	must_be_whole(db, _i);
	ck_assert_ptr_nonnull(strstr(proc_err(p), "event=db_second_failed"));
	ck_assert_ptr_null(strstr(proc_err(p), "event=db_lost"));
}
END_TEST

/* ---- results overtake claims ---- */

/*
 * Row 0 is never claimed, and holds up the claim that looks at it. Job 1 fails beside such a claim, which saw it running: so
 * that claim has found nothing, and yet there is something.
 */
START_TEST(a_drain_ends_behind_what_was_made_ready_beside_its_last_claim)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "CREATE TABLE tasks (id bigint PRIMARY KEY, status text NOT NULL DEFAULT 'READY', updated_at timestamptz, sleep int DEFAULT 0, answer jsonb DEFAULT '{\"ok\": true}');"
	             "INSERT INTO tasks (id) SELECT 0 UNION ALL SELECT generate_series(2, 5000);"
	             "INSERT INTO tasks (id, sleep, answer) VALUES (1, 2000, '{\"ok\": false, \"error\": \"not now\", \"delay\": 0}');"
	             "CREATE TABLE gate (); CREATE FUNCTION is_free(bigint) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN"
	             " IF $1 = 0 AND EXISTS (SELECT FROM gate) THEN PERFORM pg_advisory_xact_lock_shared(1); END IF; RETURN $1 <> 0; END$$");
	settings(db, "[worker]\nconcurrency = 1\npoll_interval = 50ms\n[queue tasks]\nmode = serve\npipeline = 500\nbatch = 500\nmax_attempts = 2\nhandler = %s\n"
	             "table = tasks\nready = READY\nwhere = is_free(id)\norder_by = id = 1, id\n", build_path("tests/handlers/obey"));
	p = must_start(NULL, "unstuck-worker", "--drain");
	must_become(db, "SELECT count(*) FROM tasks WHERE id > 1 AND status = 'COMPLETED'", "4999", 30000);
	ck_assert_ptr_nonnull(strstr(proc_err(p), "event=db_second_open"));
	must_shut(db);
	must_become(db, AT_THE_GATE(FIRST), "1", 10000);
	must_say(p, "event=job_retry");
	must_equal(db, AT_THE_GATE(FIRST), "1");
	must_let_through(db);
	must_exit(p, 0, 20000);
	must_equal(db, "SELECT status FROM tasks WHERE id = 1", "FAILED");	/* it had its second attempt */
}
END_TEST

/* ---- writes that are slower than claims ---- */

/* One write waits, 500 results stand behind it: no more is claimed than was on its way then. */
START_TEST(claims_wait_for_results_that_wait)
{
	struct testdb *db = must_have_load(RESULTS, 2000);
	struct proc *p;
	const char *beat;

	load_settings(db, RESULTS, "");
	p = must_start(NULL, "unstuck-worker");
	must_use_second(db, RESULTS);
	must_shut(db);
	must_sql(db, kinds[RESULTS].add, 6000);
	must_become(db, AT_THE_GATE(SECOND), "1", 20000);
	beat = sql_value(db, "SELECT beat_at FROM unstuck.workers");
	must_become(db, story_text("SELECT beat_at > '%s'::timestamptz + interval '1 s' FROM unstuck.workers", beat), "t", 20000);
	must_equal(db, "SELECT count(*) BETWEEN 500 AND 3000 FROM unstuck.jobs WHERE status = 'PROCESSING'", "t");
	must_let_through(db);
	must_end_well(db, RESULTS, p);
}
END_TEST

/* ---- a stop ---- */

START_TEST(a_stop_waits_for_what_the_second_writes)
{
	struct testdb *db = must_have_load(RESULTS, 2000);
	struct proc *p;

	load_settings(db, RESULTS, "");
	p = must_start(NULL, "unstuck-worker");
	must_use_second(db, RESULTS);
	must_shut(db);
	must_sql(db, kinds[RESULTS].add, 2000);
	must_become(db, AT_THE_GATE(SECOND), "1", 20000);
	proc_signal(p, SIGTERM);
	must_say(p, "event=stopping");
	must_happen(procs_alive() == 1, 10000);		/* the handler has ended */
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "1");
	if (_i == 1)
		kill_backends(db, SECOND);
	must_let_through(db);
	must_exit(p, 0, 20000);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status NOT IN ('COMPLETED', 'PENDING')", "0");
	must_equal(db, "SELECT count(*) FROM audit LEFT JOIN unstuck.jobs j USING (id) WHERE j.status IS DISTINCT FROM 'COMPLETED'", "0");
	must_be_whole(db, RESULTS);
	ck_assert_ptr_nonnull(strstr(proc_err(p), "results=completed/"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("lanes");
	TCase *tc = story_case(s, "there or not");

	tcase_add_test(tc, it_opens_under_load_and_closes_after_a_minute_without);
	tcase_add_test(tc, a_worker_that_may_have_one_connection_has_one);
	tcase_add_test(tc, a_reload_takes_the_second_away);
	tcase_add_test(tc, a_worker_goes_on_with_one_where_there_is_no_second_to_be_had);
	tcase_add_test(tc, another_server_at_the_same_address_gets_nothing);
	tc = story_case(s, "gone");
	tcase_add_loop_test(tc, the_second_is_killed_in_the_middle_of_writes, 0, KINDS);
	tcase_add_loop_test(tc, the_first_is_killed_while_the_second_writes, 0, KINDS);
	tcase_add_loop_test(tc, an_answer_on_the_second_is_lost, 0, KINDS);
	tc = story_case(s, "order");
	tcase_add_test(tc, a_drain_ends_behind_what_was_made_ready_beside_its_last_claim);
	tc = story_case(s, "slow");
	tcase_add_test(tc, claims_wait_for_results_that_wait);
	tc = story_case(s, "stop");
	tcase_add_loop_test(tc, a_stop_waits_for_what_the_second_writes, 0, 2);
	return check_main(s);
}
