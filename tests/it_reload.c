/*
 * it_reload.c - the settings are read again while jobs run.
 */
#include "story.h"

#include <stdio.h>
#include <unistd.h>

#include "worker_story.h"

#define HEAD "[worker]\npidfile = %s\npoll_interval = 50ms\nforce_delay = 200ms\n"

static struct testdb *db;

/* unstuck.ini with what every story here needs, and more of [worker], then the queues. */
#define told(...) settings(db, HEAD "%s", test_path("w.pid"), story_text(__VA_ARGS__))

static struct proc *start(void)
{
	struct proc *p = must_start(NULL, "unstuck-worker");

	must_become(db, "SELECT count(*) FROM unstuck.workers", "1", 10000);
	return p;
}

static struct proc *reloaded(int status)
{
	return must_run(status, NULL, "unstuck-worker", "reload", "--pidfile", "w.pid");
}

static void must_have(const char *text, const char *what)
{
	ck_assert_msg(strstr(text, what) != NULL, "no \"%s\" in: %s", what, text);
}

static void stop(struct proc *p)
{
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 10000);
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "0");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "0");
	must_happen(procs_alive() == 0, 5000);
}

/* Writes NAME.started, waits for the file NAME.on, and is done. */
static const char *waits(const char *name)
{
	return script(name, story_text("echo $UNSTUCK_JOB_ID >> %s.started; while [ ! -e %s.on ]; do sleep 0.02; done; echo '\"%s\"'",
	                               test_path(name), test_path(name), name));
}

static size_t started(const char *name)
{
	const char *file = story_text("%s.started", name);

	return file_exists(file) ? text_count(read_file(file), "\n") : 0;
}

START_TEST(a_queue_is_added_and_one_is_taken_out_and_drains)
{
	struct proc *p;

	db = must_have_db();
	must_sql(db, "SELECT unstuck.enqueue('old') FROM generate_series(1, 3)");
	must_sql(db, "SELECT unstuck.enqueue('new')");
	told("[queue old]\nhandler = %s\nconcurrency = 1\n[queue stays]\nhandler = true\n", waits("old"));
	p = start();
	must_happen(started("old") == 1, 5000);
	told("[queue new]\nhandler = true\n[queue stays]\nhandler = true\n");
	must_have(proc_out(reloaded(0)), "reloaded (pid ");
	must_have(proc_err(p), "event=reloaded settings=./unstuck.ini added=new changed=\"\" removed=old concurrency=4");
	must_become(db, "SELECT status FROM unstuck.jobs WHERE queue = 'new'", "COMPLETED", 5000);
	ck_assert(strstr(proc_err(p), "event=queue_drained") == NULL);
	write_file("old.on", "");	/* what runs is let finish, and nothing of that queue begins */
	must_say(p, "event=queue_drained queue=old");
	must_equal(db, "SELECT string_agg(status, ' ' ORDER BY id) FROM unstuck.jobs WHERE queue = 'old'", "COMPLETED PENDING PENDING");
	ck_assert_uint_eq(started("old"), 1);
	ck_assert_uint_eq(text_count(proc_err(p), "event=queue_drained"), 1);
	/* And back again. */
	told("[queue old]\nhandler = %s\n[queue stays]\nhandler = true\n", waits("old"));
	reloaded(0);
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'", "4", 5000);
	stop(p);
}
END_TEST

START_TEST(running_jobs_keep_the_settings_they_started_under)
{
	struct proc *p;

	db = must_have_db();
	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 2)");
	told("[queue mail]\nhandler = %s\nconcurrency = 1\ntimeout = 1h\nmax_result = 100\n", waits("first"));
	p = start();
	must_happen(started("first") == 1, 5000);
	/* Shorter than it runs already, smaller than what it will print, another program. */
	told("[queue mail]\nhandler = %s\nconcurrency = 1\ntimeout = 300ms\nmax_result = 1\nmax_attempts = 1\n", waits("second"));
	reloaded(0);
	must_have(proc_err(p), "changed=mail");
	/* One at a time, as both say: the second waits for the first. */
	must_sql(db, "SELECT pg_sleep(0.5)");
	ck_assert_uint_eq(started("second"), 0);
	write_file("first.on", "");
	must_become(db, "SELECT status || result FROM unstuck.jobs WHERE id = 1", "COMPLETED\"first\"", 5000);
	must_become(db, "SELECT status FROM unstuck.jobs WHERE id = 2", "FAILED", 10000);
	must_have(sql_value(db, "SELECT last_error FROM unstuck.jobs WHERE id = 2"), "300ms");
	must_happen(strstr(proc_err(p), "event=queue_drained queue=mail") != NULL, 5000);
	stop(p);
}
END_TEST

START_TEST(concurrency_changes_while_jobs_run)
{
	struct proc *p;

	db = must_have_db();
	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 9)");
	told("concurrency = 1\n[queue mail]\nhandler = %s\n", waits("mail"));
	p = start();
	must_happen(started("mail") == 1, 5000);
	told("concurrency = 5\n[queue mail]\nhandler = %s\n", waits("mail"));
	reloaded(0);
	must_happen(started("mail") == 5, 5000);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "5");
	ck_assert(strstr(proc_err(p), "event=queue_drained") == NULL);	/* the queue's section is as it was */
	told("concurrency = 2\n[queue mail]\nhandler = %s\n", waits("mail"));
	reloaded(0);
	must_have(proc_err(p), "concurrency=2");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "5");	/* none is ended */
	write_file("mail.on", "");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED' AND attempts = 1", "9", 10000);
	stop(p);
}
END_TEST

START_TEST(a_wrong_file_changes_nothing_and_says_all_that_is_wrong)
{
	struct proc *p, *r;

	db = must_have_db();
	told("[queue mail]\nhandler = true\n");
	p = start();
	told("concurrency = 0\n[queue mail]\nhandler = false\nbatsh = 3\n");
	r = reloaded(78);
	must_have(proc_err(r), "concurrency = 0: expected");
	must_have(proc_err(r), "; the settings in force stay");
	must_have(proc_err(p), "event=reload_failed error=\"./unstuck.ini:7: [worker] concurrency = 0: expected");
	must_have(proc_err(p), "did you mean batch?");
	/* What only the database knows. */
	told("[queue mail]\nhandler = false\n[queue videos]\ntable = nothere\nready = A\nhandler = true\n");
	must_have(proc_err(reloaded(78)), "queue videos: ");
	told("[queue mail]\nhandler = /no/such/program\n");
	must_have(proc_err(reloaded(78)), "queue mail: handler: ");
	ck_assert_int_eq(unlink("unstuck.ini"), 0);
	must_have(proc_err(reloaded(78)), "no queue is configured");
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	must_become(db, "SELECT status FROM unstuck.jobs", "COMPLETED", 5000);	/* by true, not false */
	ck_assert(strstr(proc_err(p), "event=reloaded") == NULL);
	stop(p);
}
END_TEST

START_TEST(what_takes_a_restart_is_named_and_stays)
{
	struct proc *p;

	db = must_have_db();
	told("[queue mail]\nhandler = true\n");
	p = start();
	told("heartbeat = 500ms\nworker_timeout = 5s\ngraceful_timeout = 1s\n[unstuck]\nlog_level = debug\n[queue mail]\nhandler = true\n");
	write_file("unstuck.ini", story_text("[unstuck]\ndatabase_url = %s\nlog_level = debug\nlog_format = json\n" HEAD
	                                     "heartbeat = 500ms\nworker_timeout = 5s\n[queue mail]\nhandler = true\n",
	                                     db->url, test_path("w.pid")));
	reloaded(0);
	must_have(proc_err(p), "event=reload_needs_restart keys=\"[unstuck] log_format, [worker] heartbeat, [worker] worker_timeout\"");
	must_equal(db, "SELECT heartbeat_s || ' ' || timeout_s FROM unstuck.workers", "10 60");
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	must_say(p, " debug event=claimed queue=mail");	/* the level did change, the form did not */
	stop(p);
}
END_TEST

START_TEST(a_signal_does_the_same_and_a_queue_that_was_refused_gets_its_chance)
{
	struct proc *p;

	db = must_have_db();
	told("[queue mail]\nhandler = true\n[queue videos]\ntable = public.videos\nstatus = analysis_status\n"
	     "ready = METADATA_EXTRACTED\nhandler = true\n");
	p = start();
	must_have(proc_err(p), "event=queue_refused queue=videos");
	proc_signal(p, SIGHUP);
	must_say(p, "event=reloaded");		/* still refused: no reason to refuse the file */
	must_happen(text_count(proc_err(p), "event=queue_refused queue=videos") == 2, 5000);
	must_have_table(db, 1);
	proc_signal(p, SIGHUP);
	must_say(p, "added=videos");
	must_become(db, "SELECT analysis_status FROM videos", "COMPLETED", 5000);
	stop(p);
}
END_TEST

/* A table that somebody has locked holds up the reload, and nothing else: neither the jobs nor a stop. */
START_TEST(term_during_a_reload_waits_for_no_reload)
{
	struct proc *p, *r;

	db = must_have_db();
	must_have_table(db, 0);
	told("[queue mail]\nhandler = true\n");
	p = start();
	must_sql(db, "BEGIN; LOCK TABLE videos");
	told("[queue mail]\nhandler = true\n[queue videos]\ntable = public.videos\nstatus = analysis_status\n"
	     "ready = METADATA_EXTRACTED\nhandler = true\n");
	r = must_start(NULL, "unstuck-worker", "reload", "--pidfile", "w.pid");
	PGconn *other = testdb_connect(db);
	bool waits_for_lock = false;
	uint64_t until = story_until(10000);

	while (!waits_for_lock && story_wait(until)) {
		PGresult *res = PQexec(other, "SELECT count(*) FROM pg_locks WHERE NOT granted");

		waits_for_lock = strcmp(PQgetvalue(res, 0, 0), "0") != 0;
		PQclear(res);
	}
	ck_assert(waits_for_lock && proc_running(r));
	PQclear(PQexec(other, "SELECT unstuck.enqueue('mail')"));
	must_say(p, "event=job_done queue=mail");
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 3000);
	must_have(proc_err(p), "event=shutdown reason=signal.term");
	wait_exit(r, 5000);
	PQfinish(other);
	must_sql(db, "ROLLBACK");
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "0");
}
END_TEST

START_TEST(a_reload_while_the_database_is_away_can_be_tried_again)
{
	struct proc *p;

	db = must_have_db();
	told("[queue mail]\nhandler = true\n");
	p = start();
	server_stop();
	told("[queue mail]\nhandler = true\nbatch = 3\n");
	reloaded(1);
	must_have(proc_err(p), "event=reload_failed");
	told("graceful_timeout = 5s\n[queue mail]\nhandler = true\n");
	reloaded(0);			/* no queue changes: the database is not asked */
	server_start();
	told("[queue mail]\nhandler = true\nbatch = 3\n");
	must_say(p, "event=db_back");
	reloaded(0);
	must_have(proc_err(p), "changed=mail");
	stop(p);
}
END_TEST

START_TEST(processes_of_a_serve_queue_are_replaced)
{
	struct proc *p;

	db = must_have_db();
	must_sql(db, "SELECT unstuck.enqueue('mail', jsonb_build_object('n', n)) FROM generate_series(1, 50) AS n");
	told("[queue mail]\nhandler = %s\nmode = serve\npipeline = 4\n", build_path("examples/handlers/handler"));
	p = start();
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'", "50", 10000);
	told("[queue mail]\nhandler = %s\nmode = serve\npipeline = 2\n", build_path("examples/handlers/handler"));
	reloaded(0);
	must_happen(strstr(proc_err(p), "event=queue_drained queue=mail") != NULL, 10000);
	must_sql(db, "SELECT unstuck.enqueue('mail', jsonb_build_object('n', n)) FROM generate_series(1, 50) AS n");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'", "100", 10000);
	must_equal(db, "SELECT sum(failures) FROM unstuck.jobs", "0");
	stop(p);
}
END_TEST

/* Under load, one after the other, with every kind of change: nothing runs twice, nothing is lost. */
START_TEST(fifty_reloads_under_load)
{
	struct proc *p;

	db = must_have_db();
	must_have_table(db, 300);
	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 1500)");
	told("[queue mail]\nhandler = true\n");
	p = start();
	for (int i = 0; i < 50; i++) {
		const char *mail = story_text("[queue mail]\nhandler = true\nbatch = %d\nmax_attempts = %d\n", 1 + i % 7, 3 + i % 3);
		const char *videos = "[queue videos]\ntable = public.videos\nstatus = analysis_status\nready = METADATA_EXTRACTED\n"
		                     "on_success = UPDATE videos SET duration = coalesce(duration, 0) + 1 WHERE id = $1 AND $2 IS NOT NULL\n"
		                     "handler = echo 1\n";

		/* In one go: the worker may be reading. */
		write_file("next.ini", story_text("[unstuck]\ndatabase_url = %s\n" HEAD "concurrency = %d\n%s%s", db->url,
		                                  test_path("w.pid"), 1 + i % 4, i % 5 ? mail : "", i % 3 || i % 5 == 0 ? videos : ""));
		ck_assert_int_eq(rename("next.ini", "unstuck.ini"), 0);
		if (i % 2)
			reloaded(0);
		else
			proc_signal(p, SIGHUP);
	}
	told("[queue mail]\nhandler = true\n[queue videos]\ntable = public.videos\nstatus = analysis_status\nready = METADATA_EXTRACTED\n"
	     "handler = echo 1\n");
	reloaded(0);
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'", "1500", 40000);
	must_become(db, "SELECT count(*) FROM videos WHERE analysis_status = 'COMPLETED'", "300", 20000);
	must_equal(db, "SELECT sum(attempts) || ' ' || sum(failures) FROM unstuck.jobs", "1500 0");
	must_happen(text_count(proc_err(p), "event=queue_drained") >= 20, 5000);
	const char *failed = strstr(proc_err(p), "_failed ");

	ck_assert_msg(failed == NULL, "%.300s", failed);
	stop(p);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("reload");
	TCase *tc = story_case(s, "reload");

	tcase_add_test(tc, a_queue_is_added_and_one_is_taken_out_and_drains);
	tcase_add_test(tc, running_jobs_keep_the_settings_they_started_under);
	tcase_add_test(tc, concurrency_changes_while_jobs_run);
	tcase_add_test(tc, a_wrong_file_changes_nothing_and_says_all_that_is_wrong);
	tcase_add_test(tc, what_takes_a_restart_is_named_and_stays);
	tcase_add_test(tc, a_signal_does_the_same_and_a_queue_that_was_refused_gets_its_chance);
	tcase_add_test(tc, term_during_a_reload_waits_for_no_reload);
	tcase_add_test(tc, a_reload_while_the_database_is_away_can_be_tried_again);
	tcase_add_test(tc, processes_of_a_serve_queue_are_replaced);
	tcase_add_test(tc, fifty_reloads_under_load);
	tcase_set_timeout(tc, 120);
	return check_main(s);
}
