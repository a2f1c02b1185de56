/*
 * it_serve.c - the promises of mode = serve: order, crashes, broken streams, time limits,
 * stopping, and the example handlers in both modes.
 */
#include "story.h"

#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

#include "worker_story.h"

#define OBEY build_path("tests/handlers/obey")
#define STATES "SELECT string_agg(status || ' ' || attempts || ' ' || failures, ', ' ORDER BY id) FROM unstuck.jobs"
#define ENQUEUE(db, payload) must_sql(db, "SELECT unstuck.enqueue('mail', '%s')", payload)

/* [queue mail] in serve mode with the handler that obeys its payload. */
#define serve_settings(db, worker, queue) \
	settings(db, "[worker]\n%s[queue mail]\nmode = serve\nhandler = %s\n%s", worker, OBEY, queue)

static size_t starts(void)
{
	return file_exists("pids.txt") ? text_count(read_file("pids.txt"), "\n") : 0;
}

/* ---- running ---- */

static const struct { int processes, pipeline, batch; } shapes[] = {
	{ 1, 1, 1 }, { 1, 1, 10 }, { 1, 8, 10 }, { 4, 1, 500 }, { 4, 8, 500 }, { 2, 1000, 10 },
};

START_TEST(every_job_gets_its_own_result)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail', jsonb_build_object('n', g)) FROM generate_series(1, 1000) g");
	serve_settings(db, "", story_text("concurrency = %d\npipeline = %d\nbatch = %d\n", shapes[_i].processes,
	                                  shapes[_i].pipeline, shapes[_i].batch));
	must_run(0, NULL, "unstuck-worker", "-q", "--drain");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED' AND result = payload AND attempts = 1", "1000");
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "0");
	ck_assert_uint_ge(starts(), 1);
	ck_assert_uint_le(starts(), (size_t)shapes[_i].processes);
	must_happen(procs_alive() == 0, 2000);
	ck_assert_uint_eq(text_count(read_file("eof.txt"), "\n"), starts());
}
END_TEST

START_TEST(answers_come_in_any_order)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail', jsonb_build_object('n', g, 'hold', 8)) FROM generate_series(1, 64) g");
	serve_settings(db, "", "concurrency = 1\npipeline = 8\n");
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED' AND result = payload", "64");
	ck_assert_uint_eq(starts(), 1);
}
END_TEST

START_TEST(the_line_says_what_the_manual_says)
{
	struct testdb *db = must_have_db();
	const char *line;

	must_sql(db, "SELECT unstuck.enqueue('my \"mail\"', '{\"f\": 0.10, \"big\": 123456789012345678901234567890}')");
	settings(db, "[queue my \"mail\"]\nmode = serve\nenv = API_KEY\nhandler = %s\n",
	         script("tee", "env > env.txt; while read -r l; do printf '%s\\n' \"$l\" > line.txt; echo '{\"id\":\"1\",\"ok\":true,\"result\":0.10}'; done"));
	must_run(0, &(struct proc_options){ .env = WORDS("API_KEY=k", "SECRET=s", "PGPASSWORD=geheim") }, "unstuck-worker", "--drain");
	must_equal(db, "SELECT result::text FROM unstuck.jobs", "0.10");
	line = read_file("line.txt");
	ck_assert_ptr_eq(strstr(line, "{\"id\":\"1\",\"queue\":\"my \\\"mail\\\"\",\"attempt\":1,\"claim_id\":\""), line);
	ck_assert_ptr_nonnull(strstr(line, "\",\"key\":\"my \\\"mail\\\":1\",\"deadline\":\"20"));
	ck_assert_ptr_nonnull(strstr(line, "Z\",\"payload\":{\"f\": 0.10, \"big\": 123456789012345678901234567890}}\n"));
	ck_assert_ptr_nonnull(strstr(read_file("env.txt"), "UNSTUCK_QUEUE=my \"mail\"\n"));
	ck_assert_ptr_nonnull(strstr(read_file("env.txt"), "API_KEY=k\n"));
	ck_assert_ptr_null(strstr(read_file("env.txt"), "SECRET"));
	ck_assert_ptr_null(strstr(read_file("env.txt"), "PGPASSWORD"));
	ck_assert_ptr_null(strstr(read_file("env.txt"), "UNSTUCK_JOB_ID"));
}
END_TEST

START_TEST(a_mapped_row_of_any_text_key_is_served)
{
	struct testdb *db = must_have_db();

	must_sql(db, "CREATE TABLE t (k text PRIMARY KEY, status text, updated_at timestamptz, body json);"
	             "CREATE TABLE out (k text PRIMARY KEY, b text);"
	             "INSERT INTO t VALUES ('a\"b\\c/d', 'NEW', now(), E'{\\n \"x\": 1}'), ('\xc3\xa9\xf0\x9f\x98\x80', 'NEW', now(), '[]'), (E'new\\nline', 'NEW', now(), '2')");
	settings(db, "[queue t]\ntable = t\nid = k\nready = NEW\npayload = body\nmode = serve\npipeline = 3\nhandler = %s\n"
	             "on_success = INSERT INTO out VALUES ($1, $2 -> 'body')\n", OBEY);
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT string_agg(b, ' ' ORDER BY b) FROM out JOIN t USING (k) WHERE status = 'COMPLETED'", "2 [] {\"x\": 1}");
}
END_TEST

START_TEST(large_lines_both_ways_do_not_block_each_other)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail', jsonb_build_object('n', g, 'text', repeat('abcdefgh', 262144))) FROM generate_series(1, 12) g");
	serve_settings(db, "", "concurrency = 2\npipeline = 6\nmax_result = 4MB\n");
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED' AND result = payload AND attempts = 1", "12");
}
END_TEST

START_TEST(progress_is_noted_and_ends_nothing)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	ENQUEUE(db, "{\"say\": \"{\\\"id\\\":\\\"1\\\",\\\"progress\\\":0.4}\\n\"}");
	serve_settings(db, "", "");
	p = must_run(0, NULL, "unstuck-worker", "-v", "--drain");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "event=job_progress queue=mail job=1 attempt=1 progress=0.4"));
	must_equal(db, STATES, "COMPLETED 1 0");
}
END_TEST

START_TEST(no_more_processes_work_than_the_limits_say)
{
	struct testdb *db = must_have_db();
	int n, most = 0;

	must_sql(db, "SELECT unstuck.enqueue(q, '{\"count\": 1, \"sleep\": 5}') FROM generate_series(1, 150), unnest(ARRAY['mail', 'b']) q");
	settings(db, "[worker]\nconcurrency = 3\n[queue mail]\nmode = serve\nconcurrency = 2\nhandler = %s\n"
	             "[queue b]\nmode = serve\npipeline = 4\nhandler = %s\n", OBEY, OBEY);
	must_run(0, NULL, "unstuck-worker", "-q", "--drain");
	for (const char *line = read_file("seen.txt"); sscanf(line, "%d", &n) == 1; line = strchr(line, '\n') + 1) {
		ck_assert_int_le(n, 3);
		most = n > most ? n : most;
	}
	ck_assert_int_eq(most, 3);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'", "300");
}
END_TEST

START_TEST(an_exec_queue_is_not_starved_by_a_busy_serve_queue)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail', '{\"sleep\": 1}') FROM generate_series(1, 20000)");
	settings(db, "[worker]\nconcurrency = 1\npoll_interval = 100ms\n[queue mail]\nmode = serve\npipeline = 4\nbatch = 100\nhandler = %s\n[queue now]\nhandler = true\n", OBEY);
	struct proc *p = must_start(NULL, "unstuck-worker", "-q");
	must_become(db, "SELECT count(*) > 50 FROM unstuck.jobs WHERE status = 'COMPLETED'", "t", 5000);
	must_sql(db, "SELECT unstuck.enqueue('now') FROM generate_series(1, 3)");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE queue = 'now' AND status = 'COMPLETED'", "3", 10000);
	must_equal(db, "SELECT count(*) > 0 FROM unstuck.jobs WHERE queue = 'mail' AND status = 'PENDING'", "t");
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 5000);
}
END_TEST

START_TEST(long_jobs_are_not_claimed_ahead)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 400)");
	must_sql(db, "SELECT unstuck.enqueue('mail', '{\"sleep\": 150}') FROM generate_series(1, 10)");
	serve_settings(db, "", "concurrency = 1\nbatch = 100\n");
	struct proc *p = must_start(NULL, "unstuck-worker", "-q", "--drain");
	/* once the fast ones are over: one runs, one may be on its way, and what came too early is given back */
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED' AND id <= 400", "400", 10000);
	must_become(db, "SELECT count(*) <= 2 FROM unstuck.jobs WHERE status = 'PROCESSING'", "t", 5000);
	while (proc_running(p))
		ck_assert_int_le(sql_int(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'"), 2);
	must_exit(p, 0, 10000);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED' AND attempts = 1", "410");
}
END_TEST

/* ---- failing ---- */

static const struct { const char *answer, *expected; } failures[] = {
	{ "{\"ok\": false, \"error\": \"no \\\"way\\\"\"}", "PENDING 1 1 no \"way\" 10" },
	{ "{\"ok\": false}", "PENDING 1 1 the handler failed it without saying why 10" },
	{ "{\"ok\": false, \"error\": \"later\", \"delay\": \"30m\"}", "PENDING 1 1 later 1800" },
	{ "{\"ok\": false, \"error\": \"now\", \"delay\": \"5\", \"retry\": true}", "PENDING 1 1 now 5" },
	{ "{\"ok\": false, \"error\": \"odd\", \"delay\": \"soon\", \"retry\": \"yes\"}", "PENDING 1 1 odd 10" },
	{ "{\"ok\": false, \"error\": \"never\", \"retry\": false, \"delay\": \"30s\"}", "FAILED 1 1 never 0" },
	{ "{\"ok\": false, \"error\": {\"code\": 7}}", "PENDING 1 1 {\"code\":7} 10" },
};

START_TEST(a_failed_answer_says_whether_and_when_to_try_again)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail', '{\"answer\": %s}')", failures[_i].answer);
	serve_settings(db, "", "backoff = 10s\n");
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT status || ' ' || attempts || ' ' || failures || ' ' || last_error || ' ' ||"
	               " CASE WHEN status = 'FAILED' OR abs(extract(epoch FROM run_at - updated_at) - s) > s * 0.11 THEN 0 ELSE s END"
	               " FROM unstuck.jobs, (VALUES (5), (10), (1800)) AS v(s)"
	               " ORDER BY abs(extract(epoch FROM run_at - updated_at) - s) LIMIT 1", failures[_i].expected);
}
END_TEST

START_TEST(a_crash_fails_only_the_jobs_that_the_process_held)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	ENQUEUE(db, "{\"never\": 1}");
	ENQUEUE(db, "{\"never\": 1}");
	ENQUEUE(db, "{\"exit\": 3}");
	for (int i = 0; i < 5; i++)
		ENQUEUE(db, "{}");
	serve_settings(db, "", "concurrency = 1\npipeline = 3\nmax_attempts = 1\n");
	p = must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT string_agg(status || failures, ' ' ORDER BY id) FROM unstuck.jobs",
	           "FAILED1 FAILED1 FAILED1 COMPLETED0 COMPLETED0 COMPLETED0 COMPLETED0 COMPLETED0");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE last_error = 'the handler process ended with exit status 3: told to exit'", "3");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "event=handler_ended queue=mail pid="));
	ck_assert_ptr_nonnull(strstr(proc_err(p), "jobs=3 crashes=1 "));
	ck_assert_uint_eq(starts(), 2);
}
END_TEST

START_TEST(a_process_that_dies_again_and_again_is_started_ever_more_rarely)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail', '{\"exit\": 1}') FROM generate_series(1, 1000)");
	serve_settings(db, "", "pipeline = 10\nmax_attempts = 1\n");
	struct proc *p = must_start(NULL, "unstuck-worker");
	must_say(p, "crashes=4 ");
	/* four processes of ten jobs at once, and then one job each after 100, 200 and 400 ms */
	ck_assert_int_le(sql_int(db, "SELECT count(*) FROM unstuck.jobs WHERE attempts > 0"), 44);
	ck_assert_uint_le(starts(), 8);
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 3000);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "0");
}
END_TEST

START_TEST(a_process_that_cannot_be_started_burns_no_job)
{
	struct testdb *db = must_have_db();

	settings(db, "[queue mail]\nmode = serve\npipeline = 5\nhandler = %s\n", script("gone", "exit 1"));
	struct proc *p = must_start(NULL, "unstuck-worker");
	must_say(p, "event=started");
	ck_assert_int_eq(unlink("gone"), 0);
	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 5)");
	must_happen(text_count(proc_err(p), "event=handler_not_started queue=mail") >= 3, 5000);
	must_equal(db, "SELECT sum(failures) FROM unstuck.jobs", "0");
	ck_assert_int_eq(symlink(OBEY, "gone"), 0);
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED' AND failures = 0 AND attempts = 1", "5", 5000);
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 3000);
}
END_TEST

START_TEST(a_line_that_answers_nothing_fails_nothing)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	ENQUEUE(db, "{\"say\": \"debug: \\u001b[2J event=shutdown\\n{\\\"id\\\":\\\"99\\\",\\\"ok\\\":true}\\n[]\\n\\n"
	            "{\\\"id\\\":\\\"1\\\",\\\"ok\\\":true,\\\"result\\\":\\\"first\\\"}\\n\"}");
	ENQUEUE(db, "{}");
	serve_settings(db, "", "concurrency = 1\npipeline = 2\n");
	p = must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, STATES, "COMPLETED 1 0, COMPLETED 1 0");
	must_equal(db, "SELECT result::text FROM unstuck.jobs WHERE id = 1", "\"first\"");
	ck_assert_uint_eq(text_count(proc_err(p), " event=answer_ignored "), 5);	/* the second answer too */
	ck_assert_ptr_null(strchr(proc_err(p), '\033'));
	ck_assert_uint_eq(starts(), 1);
}
END_TEST

START_TEST(a_stream_of_garbage_is_a_crash)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[queue mail]\nmode = serve\nmax_attempts = 1\nhandler = %s\n", script("yes", _i ? "tr '\\0' x </dev/zero" : "yes"));
	p = must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, STATES, "FAILED 1 1");
	must_equal(db, "SELECT last_error ~ '^the handler process was ended: it wrote ' FROM unstuck.jobs", "t");
	ck_assert_uint_le(text_count(proc_err(p), "\n"), 60);
	must_happen(procs_alive() == 0, 2000);
}
END_TEST

/* A little too large, and so large that the line is not even read to its end; once with the id behind it. */
START_TEST(a_result_that_is_too_large_fails_that_job_alone)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail', '{\"big\": %d%s}')", _i ? 3000000 : 2000, _i == 2 ? ", \"id_last\": 1" : "");
	ENQUEUE(db, "{}");
	ENQUEUE(db, "{}");
	serve_settings(db, "", story_text("concurrency = 1\npipeline = %d\nmax_result = 1KB\n", _i == 2 ? 1 : 3));
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT string_agg(status || failures, ' ' ORDER BY id) FROM unstuck.jobs", "FAILED1 COMPLETED0 COMPLETED0");
	must_equal(db, "SELECT reason || ' ' || left(convert_from(raw, 'UTF8'), 4) || ' ' || (length(raw) >= 1024) FROM unstuck.late_results",
	           "too_large \"xxx true");
	must_equal(db, "SELECT last_error FROM unstuck.jobs WHERE id = 1", "the output is larger than max_result (1024 bytes)");
}
END_TEST

static const char *const unstorable[] = { "nonsense", "\"\\u0000\"", "[1,}", "\"\\ud800\"", "1e999999", "\"\xff\"" };

START_TEST(a_result_that_cannot_be_stored_fails_that_job_alone)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 3)");
	settings(db, "[queue mail]\nmode = serve\nconcurrency = 1\npipeline = 3\nhandler = %s\n",
	         script("bad", story_text("while read -r l; do id=${l#*:\\\"}; id=${id%%%%\\\"*}; r=1; [ $id = 2 ] && r='%s';"
	                                  " printf '{\"id\":\"%%s\",\"ok\":true,\"result\":%%s}\\n' \"$id\" \"$r\"; done", unstorable[_i])));
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT string_agg(status || failures, ' ' ORDER BY id) FROM unstuck.jobs", "COMPLETED0 FAILED1 COMPLETED0");
	must_equal(db, "SELECT job_id || ' ' || reason FROM unstuck.late_results", "2 bad_data");
}
END_TEST

START_TEST(a_job_over_its_time_fails_and_the_others_are_released)
{
	struct testdb *db = must_have_db();

	ENQUEUE(db, "{\"sleep\": 60000}");
	ENQUEUE(db, "{\"n\": 2}");
	ENQUEUE(db, "{\"n\": 3}");
	serve_settings(db, "force_delay = 100ms\n", "concurrency = 1\npipeline = 3\ntimeout = 300ms\nmax_attempts = 1\n");
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, STATES, "FAILED 1 1, COMPLETED 2 0, COMPLETED 2 0");
	must_equal(db, "SELECT last_error FROM unstuck.jobs WHERE id = 1", "the handler ran longer than its timeout of 300ms and was ended");
	ck_assert_uint_eq(starts(), 2);
}
END_TEST

START_TEST(a_handler_that_never_reads_holds_up_nobody_else)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('deaf', jsonb_build_object('t', repeat('x', 300000))) FROM generate_series(1, 8)");
	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 100)");
	settings(db, "[worker]\nforce_delay = 100ms\n[queue deaf]\nmode = serve\nconcurrency = 1\npipeline = 8\ntimeout = 1s\nmax_attempts = 1\nhandler = %s\n"
	             "[queue mail]\nmode = serve\nhandler = %s\n", script("deaf", "trap '' TERM; while :; do sleep 1; done"), OBEY);
	struct proc *p = must_start(NULL, "unstuck-worker", "-q");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'", "100", 5000);
	must_become(db, "SELECT status || failures FROM unstuck.jobs WHERE id = 1", "FAILED1", 5000);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE queue = 'deaf' AND id > 1 AND failures > 0", "0");
	proc_signal(p, SIGTERM);
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 5000);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "0");
}
END_TEST

/* ---- claims that are lost ---- */

START_TEST(a_cancelled_job_alone_at_its_process_is_ended)
{
	struct testdb *db = must_have_db();

	ENQUEUE(db, "{\"sleep\": 60000}");
	ENQUEUE(db, "{}");
	serve_settings(db, "heartbeat = 100ms\n", "concurrency = 1\n");
	struct proc *p = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT status FROM unstuck.jobs WHERE id = 1", "PROCESSING", 5000);
	must_equal(db, "SELECT unstuck.cancel(1)", "t");
	must_say(p, "event=claim_lost queue=mail job=1");
	must_become(db, "SELECT string_agg(status, ' ' ORDER BY id) FROM unstuck.jobs", "CANCELLED COMPLETED", 5000);
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 3000);
}
END_TEST

START_TEST(a_cancelled_job_among_others_is_let_be_and_its_result_comes_late)
{
	struct testdb *db = must_have_db();

	ENQUEUE(db, "{\"n\": 1, \"hold\": 3}");
	ENQUEUE(db, "{\"n\": 2, \"hold\": 3}");
	serve_settings(db, "heartbeat = 100ms\n", "concurrency = 1\npipeline = 3\n");
	struct proc *p = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "2", 5000);
	must_equal(db, "SELECT unstuck.cancel(1)", "t");
	must_say(p, "event=claim_lost queue=mail job=1");
	ENQUEUE(db, "{\"n\": 3, \"hold\": 3}");
	must_become(db, "SELECT string_agg(status, ' ' ORDER BY id) FROM unstuck.jobs", "CANCELLED COMPLETED COMPLETED", 5000);
	must_become(db, "SELECT job_id || ' ' || reason || ' ' || convert_from(raw, 'UTF8') FROM unstuck.late_results",
	            "1 cancelled {\"n\":1,\"hold\":3}", 5000);
	ck_assert_uint_eq(starts(), 1);
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 3000);
}
END_TEST

/* ---- stopping ---- */

START_TEST(an_idle_process_gets_eof_and_the_worker_waits_for_it)
{
	struct testdb *db = must_have_db();

	ENQUEUE(db, "{}");
	serve_settings(db, "", "");
	struct proc *p = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT status FROM unstuck.jobs", "COMPLETED", 5000);
	ck_assert(!file_exists("eof.txt"));
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 2000);
	ck_assert(file_exists("eof.txt"));
	ck_assert_ptr_nonnull(strstr(proc_err(p), "finished=1 released=0 killed=0 spooled=0 intake=completed/"));
	ck_assert_ptr_nonnull(strstr(proc_err(p), "jobs=completed/"));
}
END_TEST

START_TEST(outstanding_jobs_finish_and_no_other_starts)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail', '{\"sleep\": 400}') FROM generate_series(1, 20)");
	serve_settings(db, "", "concurrency = 2\npipeline = 2\n");
	struct proc *p = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "4", 5000);
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 5000);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'", "4");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PENDING' AND attempts = 0", "16");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "finished=4 released=0 killed=0"));
	ck_assert_uint_eq(text_count(read_file("eof.txt"), "\n"), 2);
}
END_TEST

START_TEST(after_the_grace_period_processes_are_ended_and_their_jobs_released)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail', '{\"never\": 1}') FROM generate_series(1, 3)");
	ENQUEUE(db, "{\"deaf\": 1}");
	must_sql(db, "SELECT unstuck.enqueue('hung', '{}')");
	settings(db, "[worker]\ngraceful_timeout = 200ms\nforce_delay = 200ms\n[queue mail]\nmode = serve\nconcurrency = 1\npipeline = 4\nhandler = %s\n"
	             "[queue hung]\nmode = serve\nhandler = %s\n", OBEY,
	         script("hung", "trap '' TERM; read -r l; echo '{\"id\":\"5\",\"ok\":true}'; while :; do sleep 1; done"));
	struct proc *p = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT string_agg(status, ' ' ORDER BY id) FROM unstuck.jobs", "PROCESSING PROCESSING PROCESSING PROCESSING COMPLETED", 5000);
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 3000);
	must_equal(db, STATES, "PENDING 1 0, PENDING 1 0, PENDING 1 0, PENDING 1 0, COMPLETED 1 0");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "finished=1 released=4 killed=0 "));
	ck_assert_ptr_nonnull(strstr(proc_err(p), "event=handler_killed queue=hung"));
	ck_assert_ptr_nonnull(strstr(proc_err(p), "jobs=forced/"));
	must_happen(procs_alive() == 0, 2000);
}
END_TEST

START_TEST(a_signal_to_the_whole_group_is_no_failure)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail', '{\"deaf\": 1}') FROM generate_series(1, 4)");
	serve_settings(db, "", "concurrency = 2\npipeline = 2\n");
	struct proc *p = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "4", 5000);
	must_happen(starts() == 2, 5000);
	for (const char *at = read_file("pids.txt"); *at != '\0'; at = strchr(at, '\n') + 1)
		kill((pid_t)atoi(at), _i ? SIGKILL : SIGTERM);
	if (_i)
		must_say(p, "event=handler_ended");
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 5000);
	must_equal(db, "SELECT string_agg(status || failures, ' ') FROM unstuck.jobs", "PENDING0 PENDING0 PENDING0 PENDING0");
}
END_TEST

START_TEST(a_stranger_that_kills_a_process_makes_its_jobs_failures)
{
	struct testdb *db = must_have_db();

	ENQUEUE(db, "{\"kill\": 15}");
	ENQUEUE(db, "{}");
	serve_settings(db, "", "concurrency = 1\npipeline = 2\nmax_attempts = 1\n");
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, STATES, "FAILED 1 1, FAILED 1 1");
	must_equal(db, "SELECT last_error FROM unstuck.jobs WHERE id = 1", "the handler process ended with signal 15 (Terminated)");
}
END_TEST

START_TEST(deploys_under_load_leave_no_processing_row_and_lose_nothing)
{
	struct testdb *db = must_have_db();
	unsigned seed = 20261121;

	must_sql(db, "SELECT unstuck.enqueue('mail', jsonb_build_object('n', g)) FROM generate_series(1, 30000) g");
	must_sql(db, "SELECT unstuck.enqueue('mail', '{\"sleep\": 5}') FROM generate_series(1, 500) g");
	serve_settings(db, "graceful_timeout = 50ms\nforce_delay = 100ms\n", "pipeline = 8\nbatch = 200\n");
	/* On a busy machine it takes more of them until one gets as far as a result. */
	for (int i = 0; i < 20 || (i < 300 && strcmp(sql_value(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'"), "0") == 0); i++) {
		struct proc *p = must_start(NULL, "unstuck-worker", "-q");
		int status;

		usleep((useconds_t)(rand_r(&seed) % 200000));
		proc_signal(p, SIGTERM);
		if (i % 3 == 0)
			proc_signal(p, SIGTERM);
		status = wait_exit(p, 10000);
		ck_assert_msg(status == 0 || status == 128 + SIGTERM, "exit status %d: %s", status, proc_err(p));
		must_equal(db, "SELECT (SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING') + (SELECT count(*) FROM unstuck.workers)", "0");
	}
	must_equal(db, "SELECT count(*) > 0 FROM unstuck.jobs WHERE status = 'COMPLETED'", "t");
	must_run(0, NULL, "unstuck-worker", "-q", "--drain");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED' AND failures = 0 AND result = payload", "30500");
	must_happen(procs_alive() == 0, 2000);
}
END_TEST

START_TEST(max_jobs_counts_what_was_started)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 200)");
	serve_settings(db, "", "concurrency = 1\nbatch = 50\n");
	must_run(0, NULL, "unstuck-worker", "-q", "--max-jobs", "57");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'", "57");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PENDING' AND attempts = 0", "143");
}
END_TEST

/* ---- the examples ---- */

static const struct { const char *interpreter, *file; } examples[] = {
	{ NULL, "handler" }, { "python3", "handler.py" }, { "php", "handler.php" }, { "node", "handler.js" }, { "sh", "handler.sh" },
};

START_TEST(each_example_handler_works_in_both_modes)
{
	const char *with = examples[_i].interpreter, *name = story_text("examples/handlers/%s", examples[_i].file);
	struct testdb *db;

	ck_assert_uint_lt(text_count(read_file(source_path(with ? name : "examples/handlers/handler.c")), "\n"), 40);
	if (with != NULL && system(story_text("command -v %s >/dev/null", with)) != 0) {
		printf("skipped: %s: no %s here\n", name, with);
		return;
	}
	db = must_have_db();
	must_sql(db, "SELECT unstuck.enqueue(q, '{\"n\": [1, 2.5, \"\xc3\xa9 \\\"x\\\" / \\\\u00e9\"]}') FROM generate_series(1, 5), unnest(ARRAY['e', 's', 'p']) q");
	settings(db, "[queue e]\nhandler = %1$s %2$s\n[queue s]\nmode = serve\nhandler = %1$s %2$s\n[queue p]\nmode = serve\npipeline = 5\nhandler = %1$s %2$s\n",
	         with ? with : "", with ? source_path(name) : build_path(name));
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT string_agg(DISTINCT status || ' ' || (result = jsonb_build_object('echo', payload)), ', ') FROM unstuck.jobs", "COMPLETED true");
	must_happen(procs_alive() == 0, 2000);
}
END_TEST

#define LOOP(tc, test, cases) tcase_add_loop_test(tc, test, 0, (int)(sizeof(cases) / sizeof *(cases)))

int main(void)
{
	Suite *s = suite_create("serve");
	TCase *tc = story_case(s, "running");

	LOOP(tc, every_job_gets_its_own_result, shapes);
	tcase_add_test(tc, answers_come_in_any_order);
	tcase_add_test(tc, the_line_says_what_the_manual_says);
	tcase_add_test(tc, a_mapped_row_of_any_text_key_is_served);
	tcase_add_test(tc, large_lines_both_ways_do_not_block_each_other);
	tcase_add_test(tc, progress_is_noted_and_ends_nothing);
	tcase_add_test(tc, no_more_processes_work_than_the_limits_say);
	tcase_add_test(tc, an_exec_queue_is_not_starved_by_a_busy_serve_queue);
	tcase_add_test(tc, long_jobs_are_not_claimed_ahead);

	tc = story_case(s, "failing");
	LOOP(tc, a_failed_answer_says_whether_and_when_to_try_again, failures);
	tcase_add_test(tc, a_crash_fails_only_the_jobs_that_the_process_held);
	tcase_add_test(tc, a_process_that_dies_again_and_again_is_started_ever_more_rarely);
	tcase_add_test(tc, a_process_that_cannot_be_started_burns_no_job);
	tcase_add_test(tc, a_line_that_answers_nothing_fails_nothing);
	tcase_add_loop_test(tc, a_stream_of_garbage_is_a_crash, 0, 2);
	tcase_add_loop_test(tc, a_result_that_is_too_large_fails_that_job_alone, 0, 3);
	LOOP(tc, a_result_that_cannot_be_stored_fails_that_job_alone, unstorable);
	tcase_add_test(tc, a_job_over_its_time_fails_and_the_others_are_released);
	tcase_add_test(tc, a_handler_that_never_reads_holds_up_nobody_else);

	tc = story_case(s, "lost claims");
	tcase_add_test(tc, a_cancelled_job_alone_at_its_process_is_ended);
	tcase_add_test(tc, a_cancelled_job_among_others_is_let_be_and_its_result_comes_late);

	tc = story_case(s, "stopping");
	tcase_add_test(tc, an_idle_process_gets_eof_and_the_worker_waits_for_it);
	tcase_add_test(tc, outstanding_jobs_finish_and_no_other_starts);
	tcase_add_test(tc, after_the_grace_period_processes_are_ended_and_their_jobs_released);
	tcase_add_loop_test(tc, a_signal_to_the_whole_group_is_no_failure, 0, 2);
	tcase_add_test(tc, a_stranger_that_kills_a_process_makes_its_jobs_failures);
	tcase_add_test(tc, deploys_under_load_leave_no_processing_row_and_lose_nothing);
	tcase_add_test(tc, max_jobs_counts_what_was_started);

	tc = story_case(s, "examples");
	LOOP(tc, each_example_handler_works_in_both_modes, examples);
	return check_main(s);
}
