/*
 * it_stop.c - stop semantics: what a deploy, a double signal, a signal to the
 * whole group and an idle exit leave behind.
 */
#include "story.h"

#include <sys/types.h>
#include <unistd.h>

#include "proxy.h"
#include "worker_story.h"

#define NOTHING_LEFT(db) do { \
		must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "0"); \
		must_equal(db, "SELECT count(*) FROM unstuck.workers", "0"); \
		must_happen(procs_alive() == 0, 2000); \
	} while (0)

START_TEST(an_idle_worker_leaves_at_once)
{
	struct testdb *db = must_have_db();

	settings(db, "[queue mail]\nhandler = true\n");
	struct proc *p = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT count(*) FROM unstuck.workers", "1", 5000);
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 1000);
	ck_assert_ptr_nonnull(strstr(proc_err(p), "event=shutdown reason=signal.term elapsed_ms="));
	NOTHING_LEFT(db);
}
END_TEST

START_TEST(running_jobs_finish_and_no_other_starts)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 10)");
	settings(db, "[worker]\nconcurrency = 2\n[queue mail]\nhandler = %s\n",
	         script("slow", "echo >> starts.txt; while [ ! -e on ]; do sleep 0.02; done; echo 1"));
	struct proc *p = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "2", 5000);
	must_happen(file_exists("starts.txt") && text_count(read_file("starts.txt"), "\n") == 2, 5000);
	proc_signal(p, SIGINT);
	must_say(p, "event=stopping reason=signal.int");
	write_file("on", "");
	must_exit(p, 0, 5000);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'", "2");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PENDING' AND attempts = 0", "8");
	ck_assert_uint_eq(text_count(read_file("starts.txt"), "\n"), 2);
	ck_assert_ptr_nonnull(strstr(proc_err(p), "finished=2 released=0 killed=0 spooled=0 intake=completed/"));
	NOTHING_LEFT(db);
}
END_TEST

START_TEST(after_the_grace_period_handlers_are_ended_and_released)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('kind'), unstuck.enqueue('deaf'), unstuck.enqueue('done')");
	settings(db, "[worker]\ngraceful_timeout = 200ms\nforce_delay = 300ms\n[queue kind]\nhandler = sleep 50\n"
	             "[queue deaf]\nhandler = %s\n[queue done]\nhandler = %s\n",
	         script("deaf", "trap '' TERM; (trap '' TERM; sleep 50) & sleep 50; sleep 50"),
	         script("done", "trap 'echo 7; exit 0' TERM; while :; do sleep 0.02; done"));
	struct proc *p = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "3", 5000);
	usleep(100000);	/* the shell needs a moment to set its traps; nothing tells when */
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 5000);
	must_equal(db, "SELECT string_agg(queue || ' ' || status || ' ' || attempts || ' ' || failures, ', ' ORDER BY id)"
	               " FROM unstuck.jobs", "kind PENDING 1 0, deaf PENDING 1 0, done COMPLETED 1 0");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "finished=1 released=2 killed=1 spooled=0 intake=completed/"));
	ck_assert_ptr_nonnull(strstr(proc_err(p), "jobs=forced/"));
	NOTHING_LEFT(db);
}
END_TEST

START_TEST(the_report_is_the_last_line_with_all_parts_in_order)
{
	struct testdb *db = must_have_db();
	static const char *const parts[] = { " reason=drained", " elapsed_ms=", " finished=0", " released=0", " killed=0", " spooled=0",
		" intake=completed/", " jobs=completed/", " results=completed/", " presence=completed/", " http=completed/",
		" redis=completed/", " database=completed/" };
	const char *at;

	settings(db, "[queue mail]\nhandler = true\n");
	at = strstr(proc_err(must_run(0, NULL, "unstuck-worker", "--drain")), "event=shutdown");
	ck_assert_ptr_nonnull(at);
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		at = strstr(at, parts[i]);
		ck_assert_msg(at != NULL, "no %s in its place", parts[i]);
	}
	ck_assert_ptr_eq(strchr(at, '\n'), strrchr(at, '\n'));
	ck_assert_str_eq(strchr(at, '\n'), "\n");
}
END_TEST

/* The next notice on the channel; the test has listened. */
static const char *next_event(PGconn *conn)
{
	PGnotify *n = NULL;
	const char *text;

	must_happen(PQconsumeInput(conn) == 1 && (n = PQnotifies(conn)) != NULL, 10000);
	ck_assert_str_eq(n->relname, "unstuck_events");
	text = story_text("%s", n->extra);
	PQfreemem(n);
	return text;
}

START_TEST(a_stop_is_told_before_it_starts_and_after_it)
{
	struct testdb *db = must_have_db();
	PGconn *conn = testdb_connect(db);
	const char *trace = "UNSTUCK_TRACE_ID=deploy-42:a/b", *event;
	struct proc *p;

	PQclear(PQexec(conn, "LISTEN unstuck_events"));
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[queue mail]\nhandler = %s\n", script("slow", "while [ ! -e on ]; do sleep 0.02; done; echo 1"));
	p = must_start((&(struct proc_options){ .env = WORDS(trace) }), "unstuck-worker");
	must_become(db, "SELECT status FROM unstuck.jobs", "PROCESSING", 5000);
	proc_signal(p, SIGTERM);
	event = next_event(conn);	/* while its job still runs */
	must_equal(db, "SELECT status FROM unstuck.jobs", "PROCESSING");
	ck_assert_msg(strstr(event, "\"event\":\"stopping\"") && strstr(event, "\"reason\":\"signal.term\"")
	              && strstr(event, "\"running\":1") && strstr(event, "\"trace_id\":\"deploy-42:a/b\"")
	              && strstr(event, sql_value(db, "SELECT worker_id FROM unstuck.workers")), "%s", event);
	/* 300 s of grace, 10 s to KILL, 2 s to reap. */
	must_equal(db, story_text("SELECT ('%s'::jsonb ->> 'deadline')::timestamptz - now()"
	                          " BETWEEN interval '305 s' AND interval '312 s'", event), "t");
	write_file("on", "");
	event = next_event(conn);
	must_exit(p, 0, 5000);
	must_equal(db, story_text("SELECT concat_ws(' ', e ->> 'event', e ->> 'reason', e ->> 'finished', e ->> 'released',"
	                          " e ->> 'trace_id', jsonb_path_query_array(e, '$.parts[*].name'),"
	                          " jsonb_path_query_array(e, '$.parts[*].status')) FROM (SELECT '%s'::jsonb AS e) AS x", event),
	           "shutdown signal.term 1 0 deploy-42:a/b"
	           " [\"intake\", \"jobs\", \"results\", \"presence\", \"http\", \"redis\"]"
	           " [\"completed\", \"completed\", \"completed\", \"completed\", \"completed\", \"completed\"]");
	ck_assert_ptr_nonnull(strstr(proc_err(p), " trace_id=deploy-42:a/b intake=completed/"));
	ck_assert_ptr_nonnull(strstr(proc_err(p), " database=completed/"));
	PQfinish(conn);
}
END_TEST

/* Until the very end: a signal that would end another program halfway finds it still orderly. */
START_TEST(signals_during_the_last_moments_change_nothing)
{
	static const int signals[] = { SIGHUP, SIGUSR1, SIGUSR2, SIGTERM };
	struct testdb *db = must_have_db();

	settings(db, "[queue mail]\nhandler = true\n");
	for (int i = 0; i < 8; i++) {
		struct proc *p = must_start(NULL, "unstuck-worker", "--pidfile", "w.pid");

		must_become(db, "SELECT count(*) FROM unstuck.workers", "1", 5000);
		proc_signal(p, SIGTERM);
		while (proc_running(p))
			proc_signal(p, signals[i % 4]);
		must_exit(p, 0, 1);
		ck_assert(!file_exists("w.pid") && !file_exists("w.pid.sock"));
	}
	NOTHING_LEFT(db);
}
END_TEST

START_TEST(a_second_signal_skips_the_grace_period)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[worker]\ngraceful_timeout = 1h\nforce_delay = 200ms\n[queue mail]\nhandler = sleep 50\n");
	struct proc *p = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT status FROM unstuck.jobs", "PROCESSING", 5000);
	proc_signal(p, SIGTERM);
	must_say(p, "event=stopping");
	proc_signal(p, SIGINT);
	must_exit(p, 0, 3000);
	must_equal(db, "SELECT status || attempts || failures FROM unstuck.jobs", "PENDING10");
	NOTHING_LEFT(db);
}
END_TEST

/* The claim has taken a job, and nobody here knows: the way back swallows all there is, or breaks. */
START_TEST(a_goodbye_that_could_not_be_said_is_no_exit_with_0)
{
	struct testdb *db = must_have_db();
	struct proxy *way = proxy_start(server_dir(), 1);
	struct proc *p;

	write_filef("unstuck.ini", "[unstuck]\ndatabase_url = postgresql:///%s?host=%s&port=5432&user=postgres\n[worker]\nheartbeat = 100ms\n"
	            "worker_timeout = 1h\n[queue mail]\nhandler = true\n", db->name, proxy_dir(0));
	p = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT count(*) FROM unstuck.workers", "1", 5000);
	proc_signal(p, SIGTSTP);	/* so that no claim is under way when the way back ends */
	must_become(db, "SELECT state FROM unstuck.workers", "quiet", 5000);
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	proxy_order(way, 0, PROXY_SWALLOW, NULL);
	proc_signal(p, SIGCONT);
	must_become(db, "SELECT status FROM unstuck.jobs", "PROCESSING", 5000);
	if (_i == 1) {
		proxy_order(way, 0, PROXY_REFUSE, NULL);
		must_say(p, "event=db_lost");
	}
	proc_signal(p, SIGTERM);
	must_say(p, "event=stopping");
	proc_signal(p, SIGTERM);
	must_exit(p, 75, 15000);
	ck_assert_ptr_nonnull(strstr(proc_err(p), " presence=forced/"));
	/* what was swallowed arrived, and so did the release */
	must_equal(db, "SELECT status FROM unstuck.jobs", _i == 1 ? "PROCESSING" : "PENDING");
}
END_TEST

START_TEST(a_signal_to_the_whole_group_is_no_failure)
{
	struct testdb *db = must_have_db();
	const char *pids;
	char *at;

	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 4)");
	settings(db, "[queue mail]\nhandler = %s\n", script("pid", "echo $$ >> pids.txt; exec sleep 50"));
	struct proc *p = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "4", 5000);
	must_happen(file_exists("pids.txt") && text_count(read_file("pids.txt"), "\n") == 4, 5000);
	pids = read_file("pids.txt");
	/* As systemd's control-group mode does: everybody, the worker not first. */
	for (at = (char *)pids; *at != '\0'; at = strchr(at, '\n') + 1)
		kill((pid_t)atoi(at), _i ? SIGKILL : SIGTERM);
	usleep(_i ? 300000 : 0);
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 5000);
	must_equal(db, "SELECT string_agg(status || failures, ' ') FROM unstuck.jobs", "PENDING0 PENDING0 PENDING0 PENDING0");
	NOTHING_LEFT(db);
}
END_TEST

/* What deploys do: stop at any moment of a worker's life. */
START_TEST(a_hundred_deploys_leave_no_processing_row)
{
	struct testdb *db = must_have_db();
	unsigned seed = 20261121;

	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 2000)");
	must_have_table(db, 2000);
	settings(db, "[worker]\nforce_delay = 100ms\ngraceful_timeout = 50ms\n[queue mail]\nhandler = sleep 0.03\n"
	             "[queue videos]\ntable = videos\nstatus = analysis_status\nready = METADATA_EXTRACTED\nhandler = sleep 0.2\n");
	for (int i = 0; i < 100; i++) {
		struct proc *p = must_start(NULL, "unstuck-worker", "-q");
		int status;

		if (i % 4 == 0)		/* some of them surely while jobs run */
			must_become(db, "SELECT count(*) > 0 FROM unstuck.claims WHERE state = 'ACTIVE'", "t", 10000);
		else
			usleep((useconds_t)(rand_r(&seed) % 120000));
		proc_signal(p, SIGTERM);
		if (i % 3 == 0)
			proc_signal(p, SIGTERM);
		status = wait_exit(p, 10000);
		/* before its signal handlers are there a TERM simply ends it: nothing was claimed yet */
		ck_assert_msg(status == 0 || status == 128 + SIGTERM, "exit status %d: %s", status, proc_err(p));
		must_equal(db, "SELECT (SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING')"
		               " + (SELECT count(*) FROM videos WHERE analysis_status = 'PROCESSING')"
		               " + (SELECT count(*) FROM unstuck.claims WHERE state = 'ACTIVE')"
		               " + (SELECT count(*) FROM unstuck.workers)", "0");
	}
	must_equal(db, "SELECT count(*) > 0 FROM unstuck.jobs WHERE status = 'COMPLETED'", "t");
	must_equal(db, "SELECT count(*) > 0 FROM unstuck.claims WHERE state = 'RELEASED'", "t");
	must_equal(db, "SELECT coalesce(sum(failures), 0) FROM unstuck.jobs", "0");
}
END_TEST

START_TEST(quiet_claims_no_more_and_continue_works_on)
{
	struct testdb *db = must_have_db();

	settings(db, "[worker]\npoll_interval = 50ms\n[queue mail]\nhandler = true\n");
	struct proc *p = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT count(*) FROM unstuck.workers", "1", 5000);
	proc_signal(p, SIGTSTP);
	must_say(p, "event=quiet");
	must_become(db, "SELECT state FROM unstuck.workers", "quiet", 5000);
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	must_become(db, "SELECT status FROM unstuck.jobs WHERE created_at < clock_timestamp() - interval '300 ms'", "PENDING", 2000);
	proc_signal(p, SIGCONT);
	must_become(db, "SELECT status FROM unstuck.jobs", "COMPLETED", 5000);
	must_say(p, "event=resume");
}
END_TEST

START_TEST(a_log_file_is_reopened_and_the_pidfile_is_locked)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	settings(db, "[queue mail]\nhandler = true\n");
	p = must_start(NULL, "unstuck-worker", "--log-file", "w.log", "--pidfile", "w.pid");
	must_become(db, "SELECT count(*) FROM unstuck.workers", "1", 5000);
	ck_assert_int_eq(atoi(read_file("w.pid")), (int)proc_pid(p));
	ck_assert_ptr_nonnull(strstr(proc_err(must_run(1, NULL, "unstuck-worker", "--pidfile", "w.pid")), "another worker holds it"));
	ck_assert_int_eq(rename("w.log", "w.log.1"), 0);
	proc_signal(p, SIGUSR1);
	must_happen(file_exists("w.log"), 3000);
	proc_signal(p, SIGUSR2);
	must_happen(strstr(read_file("w.log"), "event=state ") != NULL, 3000);
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 3000);
	ck_assert_ptr_nonnull(strstr(read_file("w.log"), "event=shutdown"));
	ck_assert(!file_exists("w.pid"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("stop");
	TCase *tc = story_case(s, "stopping");

	tcase_add_test(tc, an_idle_worker_leaves_at_once);
	tcase_add_test(tc, running_jobs_finish_and_no_other_starts);
	tcase_add_test(tc, after_the_grace_period_handlers_are_ended_and_released);
	tcase_add_test(tc, the_report_is_the_last_line_with_all_parts_in_order);
	tcase_add_test(tc, a_stop_is_told_before_it_starts_and_after_it);
	tcase_add_test(tc, signals_during_the_last_moments_change_nothing);
	tcase_add_test(tc, a_second_signal_skips_the_grace_period);
	tcase_add_loop_test(tc, a_goodbye_that_could_not_be_said_is_no_exit_with_0, 0, 2);
	tcase_add_loop_test(tc, a_signal_to_the_whole_group_is_no_failure, 0, 2);
	tcase_add_test(tc, a_hundred_deploys_leave_no_processing_row);
	tcase_add_test(tc, quiet_claims_no_more_and_continue_works_on);
	tcase_add_test(tc, a_log_file_is_reopened_and_the_pidfile_is_locked);
	return check_main(s);
}
