/*
 * it_fault.c - what a worker survives: servers that go away, backends that are
 * killed, claims whose reply never came, workers that are killed or frozen.
 */
#include "story.h"

#include <unistd.h>

#include "worker_story.h"

/* Every change into a final state, so that a later overwrite cannot hide a second one. */
static void must_audit(struct testdb *db)
{
	must_sql(db, "CREATE TABLE audit (id bigint); CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS"
	             " $$BEGIN INSERT INTO audit VALUES (NEW.id); RETURN NEW; END$$;"
	             "CREATE TRIGGER audit AFTER UPDATE ON unstuck.jobs FOR EACH ROW"
	             " WHEN (NEW.status = 'COMPLETED') EXECUTE FUNCTION audit()");
}

START_TEST(jobs_run_on_while_the_server_restarts)
{
	struct testdb *db = must_have_db();

	must_audit(db);
	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 4)");
	settings(db, "[queue mail]\nhandler = %s\n", script("slow", "echo >> starts.txt; while [ ! -e on ]; do sleep 0.02; done; echo $UNSTUCK_JOB_ID"));
	struct proc *p = must_start(NULL, "unstuck-worker", "--drain");
	must_happen(file_exists("starts.txt") && text_count(read_file("starts.txt"), "\n") == 4, 5000);
	server_stop();
	must_say(p, "event=db_lost");
	write_file("on", "");
	must_happen(procs_alive() <= 2, 5000);	/* the handlers are over; their results wait */
	server_start();
	must_say(p, "event=db_back results_waiting=4");
	must_exit(p, 0, 20000);
	must_equal(db, "SELECT count(*) || ' ' || sum(attempts) FROM unstuck.jobs WHERE status = 'COMPLETED' AND result::text = id::text", "4 4");
	must_equal(db, "SELECT count(*) FROM audit", "4");
	ck_assert_uint_eq(text_count(read_file("starts.txt"), "\n"), 4);
}
END_TEST

START_TEST(killed_backends_cost_no_job_and_store_none_twice)
{
	struct testdb *db = must_have_db();
	int killed = 0;

	must_audit(db);
	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 400)");
	settings(db, "[worker]\nheartbeat = 100ms\nconcurrency = 8\n[queue mail]\nhandler = echo 1\n");
	struct proc *p = must_start(NULL, "unstuck-worker", "--drain");
	must_say(p, "event=job_done");
	while (proc_running(p) && killed < 25) {
		killed += kill_backends(db, "application_name = 'unstuck-worker'");
		usleep(20000);
	}
	must_exit(p, 0, 40000);
	ck_assert_int_ge(killed, 5);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED' AND failures = 0", "400");
	must_equal(db, "SELECT count(*) || ' ' || count(DISTINCT id) FROM audit", "400 400");
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "0");
}
END_TEST

START_TEST(a_claim_whose_reply_was_lost_is_given_back)
{
	struct testdb *db = must_have_db();

	settings(db, "[worker]\nheartbeat = 100ms\n[queue mail]\nhandler = sleep 30\n");
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	must_start(NULL, "unstuck-worker", "--concurrency", "2");
	must_become(db, "SELECT status FROM unstuck.jobs", "PROCESSING", 5000);
	/* What a lost reply leaves behind: a row that the worker holds and does not know. */
	must_sql(db, "INSERT INTO unstuck.jobs (queue, status, claim_id, worker_id, claimed_at, attempts, run_at)"
	             " SELECT 'mail', 'PROCESSING', nextval('unstuck.claim_seq'), worker_id, now(), 1, now() FROM unstuck.workers");
	must_become(db, "SELECT status || ' ' || attempts || ' ' || (claim_id > 2) FROM unstuck.jobs WHERE id = 2", "PROCESSING 1 true", 5000);
}
END_TEST

/* The old backend of a connection that is gone may commit its claim long after, while the worker is idle. */
START_TEST(a_claim_that_commits_late_is_given_back_by_an_idle_worker)
{
	struct testdb *db = must_have_db();

	settings(db, "[worker]\nheartbeat = 100ms\n[queue mail]\nhandler = echo 1\n");
	must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT count(*) FROM unstuck.workers WHERE beat_n >= 5", "1", 10000);
	must_sql(db, "INSERT INTO unstuck.jobs (queue, status, claim_id, worker_id, claimed_at, attempts, run_at)"
	             " SELECT 'mail', 'PROCESSING', nextval('unstuck.claim_seq'), worker_id, now(), 1, now() FROM unstuck.workers");
	must_become(db, "SELECT status || ' ' || attempts || ' ' || (claim_id > 1) FROM unstuck.jobs", "COMPLETED 1 true", 5000);
}
END_TEST

/* A claim of an older connection commits while the worker says goodbye: that has to wait for it, and to see it. */
START_TEST(a_claim_that_commits_during_the_goodbye_is_given_back)
{
	struct testdb *db = must_have_db();
	PGconn *old = testdb_connect(db);

	settings(db, "[worker]\nheartbeat = 100ms\n[queue mail]\nhandler = echo 1\n");
	struct proc *p = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT count(*) FROM unstuck.workers", "1", 10000);
	PQclear(PQexec(old, "BEGIN; SELECT FROM unstuck.workers FOR KEY SHARE;"
	               "INSERT INTO unstuck.jobs (queue, status, claim_id, worker_id, claimed_at, attempts, run_at)"
	               " SELECT 'mail', 'PROCESSING', nextval('unstuck.claim_seq'), worker_id, now(), 1, now() FROM unstuck.workers"));
	proc_signal(p, SIGTERM);
	must_become(db, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'unstuck-worker' AND wait_event_type = 'Lock'", "1", 10000);
	PQclear(PQexec(old, "COMMIT"));
	PQfinish(old);
	must_exit(p, 0, 10000);
	must_equal(db, "SELECT status FROM unstuck.jobs", "PENDING");
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "0");
}
END_TEST

START_TEST(a_killed_worker_takes_its_handlers_with_it_and_another_recovers_the_jobs)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 3)");
	settings(db, "[worker]\nheartbeat = 100ms\nworker_timeout = 400ms\nrecover_every = 200ms\n[queue mail]\nhandler = %s\n",
	         script("slow", "[ -e on ] || exec sleep 50; echo 1"));
	struct proc *dead = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "3", 5000);
	must_happen(procs_alive() == 4, 5000);
	proc_signal(dead, SIGKILL);
	must_happen(procs_alive() == 0, 2000);
	write_file("on", "");
	struct proc *heir = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED' AND recoveries = 1 AND attempts = 2 AND failures = 0", "3", 10000);
	must_say(heir, "event=worker_lost");
	must_say(heir, "event=recovered queue=mail");
	must_equal(db, "SELECT count(*) FROM unstuck.recoveries WHERE reason = 'worker_lost'", "3");
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "1");
}
END_TEST

START_TEST(a_frozen_worker_that_wakes_up_stores_nothing_twice)
{
	struct testdb *db = must_have_db();

	must_audit(db);
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[worker]\nheartbeat = 100ms\nworker_timeout = 400ms\nrecover_every = 200ms\n[queue mail]\nhandler = %s\n",
	         script("slow", "echo >> starts.txt; while [ ! -e on$UNSTUCK_ATTEMPT ]; do sleep 0.02; done; echo $UNSTUCK_ATTEMPT; echo > done$UNSTUCK_ATTEMPT"));
	struct proc *frozen = must_start(NULL, "unstuck-worker");
	must_happen(file_exists("starts.txt"), 5000);
	proc_signal(frozen, SIGSTOP);
	struct proc *other = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT status || attempts FROM unstuck.jobs", "PROCESSING2", 10000);
	write_file("on1", "");
	must_happen(file_exists("done1"), 5000);
	proc_signal(frozen, SIGCONT);
	must_say(frozen, "event=declared_dead");
	must_become(db, "SELECT count(*) FROM unstuck.late_results WHERE reason = 'fenced'", "1", 5000);
	write_file("on2", "");
	must_become(db, "SELECT status || ' ' || result FROM unstuck.jobs", "COMPLETED 2", 5000);
	must_equal(db, "SELECT count(*) FROM audit", "1");
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "2");
	proc_signal(other, SIGTERM);
	must_exit(other, 0, 3000);
}
END_TEST

START_TEST(a_job_lost_to_another_worker_is_ended_at_once)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[worker]\nheartbeat = 100ms\nworker_timeout = 400ms\nrecover_every = 200ms\n[queue mail]\nhandler = %s\n",
	         script("slow", "echo $$ > pid$UNSTUCK_ATTEMPT; exec sleep 50"));
	struct proc *frozen = must_start(NULL, "unstuck-worker");
	must_happen(file_exists("pid1") && atoi(read_file("pid1")) > 0, 5000);
	proc_signal(frozen, SIGSTOP);
	must_start(NULL, "unstuck-worker");
	must_happen(file_exists("pid2") && atoi(read_file("pid2")) > 0, 10000);
	ck_assert(pid_alive(atoi(read_file("pid1"))));
	proc_signal(frozen, SIGCONT);
	must_say(frozen, "event=claim_lost queue=mail job=1");
	must_happen(!pid_alive(atoi(read_file("pid1"))), 2000);
	ck_assert(pid_alive(atoi(read_file("pid2"))));
	must_equal(db, "SELECT status || attempts FROM unstuck.jobs", "PROCESSING2");
}
END_TEST

START_TEST(a_result_recovered_by_mistake_still_counts_while_nobody_took_the_job)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[worker]\nheartbeat = 100ms\n[queue mail]\nhandler = %s\n",
	         script("slow", "while [ ! -e on ]; do sleep 0.02; done; echo 1"));
	struct proc *p = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT status FROM unstuck.jobs", "PROCESSING", 5000);
	proc_signal(p, SIGTSTP);
	must_say(p, "event=quiet");
	must_sql(db, "UPDATE unstuck.jobs SET status = 'PENDING'");
	write_file("on", "");
	must_become(db, "SELECT status || attempts FROM unstuck.jobs", "COMPLETED1", 5000);
}
END_TEST

START_TEST(a_stop_without_the_database_ends_in_time_and_says_what_is_open)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[worker]\ngraceful_timeout = 1s\nforce_delay = 1s\n[queue mail]\nhandler = %s\n",
	         script("slow", "while [ ! -e on ]; do sleep 0.02; done; echo 1"));
	struct proc *p = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT status FROM unstuck.jobs", "PROCESSING", 5000);
	server_stop();
	must_say(p, "event=db_lost");
	write_file("on", "");
	must_happen(procs_alive() == 1, 5000);	/* the result is in the worker's hands */
	proc_signal(p, SIGTERM);
	must_say(p, "event=stopping");
	proc_signal(p, SIGTERM);
	must_exit(p, 75, 15000);
	ck_assert_ptr_nonnull(strstr(proc_err(p), "event=spooled results=1"));
	ck_assert_ptr_nonnull(strstr(proc_err(p), "results=forced/"));
	server_start();
}
END_TEST

START_TEST(a_start_waits_for_the_database_when_told_to)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[queue mail]\nhandler = true\n");
	server_stop();
	must_run(69, NULL, "unstuck-worker", "--drain");
	struct proc *p = must_start(NULL, "unstuck-worker", "--drain", "--wait", "30s");
	usleep(300000);
	ck_assert(proc_running(p));
	server_start();
	must_exit(p, 0, 10000);
	must_equal(db, "SELECT status FROM unstuck.jobs", "COMPLETED");
}
END_TEST

START_TEST(an_outage_is_no_reason_to_reset_living_workers)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 4)");
	settings(db, "[worker]\nheartbeat = 200ms\nworker_timeout = 600ms\nrecover_every = 100ms\nconcurrency = 2\n[queue mail]\nhandler = sleep 5\n");
	struct proc *a = must_start(NULL, "unstuck-worker"), *b = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "4", 5000);
	server_stop();
	must_say(a, "event=db_lost");
	usleep(1500000);	/* every beat is now older than the worker_timeout */
	server_start();
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED' AND attempts = 1 AND recoveries = 0", "4", 20000);
	must_equal(db, "SELECT count(*) FROM unstuck.recoveries", "0");
	proc_signal(b, SIGTERM);
	must_exit(b, 0, 5000);
}
END_TEST

/* The server takes claims and no results (its disk is full, say): what is claimed stays bounded. */
START_TEST(no_more_is_claimed_while_results_are_refused)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 60);"
	             "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no space' USING ERRCODE = '53100'; END $$;"
	             "CREATE TRIGGER full_disk BEFORE UPDATE ON unstuck.jobs FOR EACH ROW WHEN (NEW.status = 'COMPLETED') EXECUTE FUNCTION full_disk()");
	settings(db, "[worker]\nconcurrency = 2\n[queue mail]\nhandler = true\nspool = %s\n", _i ? "always" : "outage");
	p = must_start(NULL, "unstuck-worker");
	must_say(p, "event=write_refused");
	usleep(1000000);	/* long enough for all of them */
	must_equal(db, "SELECT count(*) > 30 FROM unstuck.jobs WHERE status = 'PENDING'", "t");
	must_sql(db, "DROP TRIGGER full_disk ON unstuck.jobs");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED' AND attempts = 1", "60", 30000);
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 10000);
}
END_TEST

START_TEST(a_poison_job_fails_after_three_resets)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[worker]\nheartbeat = 100ms\nworker_timeout = 300ms\nrecover_every = 0\npoll_interval = 50ms\n[queue mail]\nhandler = %s\n",
	         script("poison", "echo >> starts.txt; kill -KILL $PPID; exec sleep 50"));
	for (int i = 0; i < 4; i++) {
		struct proc *p = must_start(NULL, "unstuck-worker", "-q");

		must_exit(p, 128 + SIGKILL, 10000);
		must_become(db, "SELECT count(*) FROM unstuck.workers WHERE beat_at < clock_timestamp() - interval '310 ms'", "1", 5000);
		must_run(0, NULL, "unstuck-recover", "--yes");
	}
	must_equal(db, "SELECT status || ' ' || recoveries || ' ' || attempts FROM unstuck.jobs", "FAILED 4 4");
	ck_assert_uint_eq(text_count(read_file("starts.txt"), "\n"), 4);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("faults");
	TCase *tc = story_case(s, "database");

	tcase_add_test(tc, jobs_run_on_while_the_server_restarts);
	tcase_add_test(tc, killed_backends_cost_no_job_and_store_none_twice);
	tcase_add_test(tc, a_claim_whose_reply_was_lost_is_given_back);
	tcase_add_test(tc, a_claim_that_commits_late_is_given_back_by_an_idle_worker);
	tcase_add_test(tc, a_claim_that_commits_during_the_goodbye_is_given_back);
	tcase_add_test(tc, a_stop_without_the_database_ends_in_time_and_says_what_is_open);
	tcase_add_test(tc, a_start_waits_for_the_database_when_told_to);
	tcase_add_test(tc, an_outage_is_no_reason_to_reset_living_workers);
	tc = story_case(s, "workers");
	tcase_add_test(tc, a_killed_worker_takes_its_handlers_with_it_and_another_recovers_the_jobs);
	tcase_add_test(tc, a_frozen_worker_that_wakes_up_stores_nothing_twice);
	tcase_add_test(tc, a_job_lost_to_another_worker_is_ended_at_once);
	tcase_add_test(tc, a_result_recovered_by_mistake_still_counts_while_nobody_took_the_job);
	tcase_add_loop_test(tc, no_more_is_claimed_while_results_are_refused, 0, 2);
	tcase_add_test(tc, a_poison_job_fails_after_three_resets);
	return check_main(s);
}
