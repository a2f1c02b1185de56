/*
 * it_spool_worker.c - what a worker keeps on its disk: results outlive the database, the worker, and both,
 * are stored once, and their handlers are not run again.
 */
#include "story.h"

#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker_story.h"

/* Both modes of running and both modes of the spool. */
static const struct { const char *mode, *spool; } ways[] = {
	{ "exec", "" }, { "exec", "spool = outage\n" }, { "serve", "" }, { "serve", "spool = always\n" },
};
#define WAYS (int)(sizeof ways / sizeof *ways)
#define IS_ALWAYS(i) ((i) == 0 || (i) == 3)

/* Notes each start, waits for the file "on", gives its id as the result. */
static const char *handler(const char *mode)
{
	if (strcmp(mode, "exec") == 0)
		return script("slow", "echo >> starts.txt; while [ ! -e on ]; do sleep 0.02; done; echo \"{\\\"n\\\": $UNSTUCK_JOB_ID}\"");
	return script("server", "while read -r line; do id=${line#*\\\"id\\\":\\\"}; id=${id%%\\\"*}; echo >> starts.txt\n"
	                        "while [ ! -e on ]; do sleep 0.02; done\n"
	                        "echo \"{\\\"id\\\":\\\"$id\\\",\\\"ok\\\":true,\\\"result\\\":{\\\"n\\\": $id}}\"; done");
}

static size_t starts(void)
{
	return file_exists("starts.txt") ? text_count(read_file("starts.txt"), "\n") : 0;
}

/* Entries of the spool in this state, as `unstuckctl spool` lists them. */
static size_t entries(struct testdb *db, const char *state)
{
	struct proc *p = must_run(0, NULL, "unstuckctl", "-d", db->url, "spool", "--json");

	return text_count(proc_out(p), story_text("\"state\": \"%s\"", state));
}

/* Every change into the final state, so that a second one cannot hide. */
static void must_audit(struct testdb *db, const char *table, const char *column, const char *done)
{
	must_sql(db, "CREATE TABLE audit (id bigint); CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS"
	             " $$BEGIN INSERT INTO audit VALUES (NEW.id); RETURN NEW; END$$;"
	             "CREATE TRIGGER audit AFTER UPDATE ON %s FOR EACH ROW WHEN (NEW.%s = '%s') EXECUTE FUNCTION audit()",
	         table, column, done);
}

/* ---- the database goes, then the worker ---- */

START_TEST(results_outlive_a_stop_without_the_database)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_audit(db, "unstuck.jobs", "status", "COMPLETED");
	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 3)");
	settings(db, "[worker]\nconcurrency = 3\ngraceful_timeout = 1s\nforce_delay = 1s\n[queue mail]\nmode = %s\n%shandler = %s\n",
	         ways[_i].mode, ways[_i].spool, handler(ways[_i].mode));
	p = must_start(NULL, "unstuck-worker");
	must_happen(starts() == 3, 10000);
	server_stop();
	must_say(p, "event=db_lost");
	write_file("on", "");
	must_say(p, "event=spooled results=3");	/* without being told to stop */
	proc_signal(p, SIGTERM);
	must_say(p, "event=stopping");
	proc_signal(p, SIGTERM);
	must_exit(p, 75, 15000);
	ck_assert_ptr_nonnull(strstr(proc_err(p), "spooled=3"));
	ck_assert_ptr_null(strstr(proc_err(p), "event=result_not_stored"));
	server_start();
	p = must_run(0, NULL, "unstuck-worker", "--drain");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "event=replayed dead=1 records=3 stored=3"));
	must_equal(db, "SELECT string_agg(status || attempts || failures || recoveries || (result = jsonb_build_object('n', id)), ' ')"
	               " FROM unstuck.jobs", "COMPLETED100true COMPLETED100true COMPLETED100true");
	must_equal(db, "SELECT count(*) FROM audit", "3");
	must_equal(db, "SELECT count(*) FROM unstuck.late_results", "0");
	ck_assert_uint_eq(starts(), 3);
	ck_assert_uint_eq(entries(db, "sealed"), 0);
}
END_TEST

/* A stop at once after the end of a handler: nothing had the time to be overdue. */
START_TEST(a_hurried_stop_seals_what_has_just_ended)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[queue mail]\nmode = %s\n%shandler = %s\n", ways[_i].mode, ways[_i].spool, handler(ways[_i].mode));
	p = must_start(NULL, "unstuck-worker");
	must_happen(starts() == 1, 10000);
	server_stop();
	must_say(p, "event=db_lost");
	proc_signal(p, SIGTERM);
	must_say(p, "event=stopping");
	write_file("on", "");
	must_happen(procs_alive() == 1, 5000);
	proc_signal(p, SIGTERM);
	must_exit(p, 75, 15000);
	ck_assert_ptr_nonnull(strstr(proc_err(p), "spooled=1"));
	server_start();
	must_run(0, NULL, "unstuckctl", "spool", "replay");
	must_equal(db, "SELECT status || attempts || result FROM unstuck.jobs", "COMPLETED1{\"n\": 1}");
}
END_TEST

START_TEST(results_that_waited_are_stored_when_the_database_is_back)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_audit(db, "unstuck.jobs", "status", "COMPLETED");
	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 3)");
	settings(db, "[worker]\nconcurrency = 3\n[queue mail]\nmode = %s\n%shandler = %s\n", ways[_i].mode, ways[_i].spool,
	         handler(ways[_i].mode));
	p = must_start(NULL, "unstuck-worker", "--drain");
	must_happen(starts() == 3, 10000);
	server_stop();
	must_say(p, "event=db_lost");
	write_file("on", "");
	must_say(p, "event=spooled results=3");
	ck_assert_uint_eq(entries(db, "sealed"), 3);
	server_start();
	must_exit(p, 0, 20000);
	must_say(p, "event=spool_empty");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "spooled=0"));
	must_equal(db, "SELECT count(*) || ' ' || sum(attempts) FROM unstuck.jobs WHERE status = 'COMPLETED'", "3 3");
	must_equal(db, "SELECT count(*) FROM audit", "3");
	ck_assert_uint_eq(starts(), 3);
	ck_assert_uint_eq(entries(db, "sealed"), 0);
}
END_TEST

/* ---- the worker is killed ---- */

START_TEST(results_outlive_a_killed_worker)
{
	struct testdb *db = must_have_db();
	PGconn *locker = testdb_connect(db);
	struct proc *p;

	must_audit(db, "unstuck.jobs", "status", "COMPLETED");
	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 3)");
	settings(db, "[worker]\nconcurrency = 3\n[queue mail]\nmode = %s\n%shandler = %s\n", ways[_i].mode, ways[_i].spool,
	         handler(ways[_i].mode));
	p = must_start(NULL, "unstuck-worker");
	must_happen(starts() == 3, 10000);
	PQclear(PQexec(locker, "BEGIN; SELECT FROM unstuck.jobs FOR UPDATE"));
	write_file("on", "");
	must_happen(entries(db, "sealed") == 3, 10000);
	proc_signal(p, SIGKILL);
	must_exit(p, 128 + SIGKILL, 5000);
	kill_backends(db, "application_name = 'unstuck-worker'");
	must_become(db, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'unstuck-worker'", "0", 5000);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "3");
	PQfinish(locker);
	p = must_run(0, NULL, "unstuck-worker", "--drain");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "event=replayed dead=1 records=3 stored=3"));
	must_equal(db, "SELECT count(*) || ' ' || sum(attempts + recoveries) FROM unstuck.jobs WHERE status = 'COMPLETED'", "3 3");
	must_equal(db, "SELECT count(*) FROM audit", "3");
	ck_assert_uint_eq(starts(), 3);
}
END_TEST

/* Its table, and a statement of the user's in the same transaction: that runs once too. */
START_TEST(a_mapped_result_is_replayed_with_its_on_success)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "CREATE TABLE videos (id bigint PRIMARY KEY, status text, updated_at timestamptz);"
	             "CREATE TABLE copies (id bigint, result jsonb); INSERT INTO videos SELECT g, 'PENDING', now() FROM generate_series(1, 2) AS g");
	must_audit(db, "videos", "status", "COMPLETED");
	settings(db, "[worker]\nconcurrency = 2\n[queue mail]\nmode = %s\n%shandler = %s\ntable = videos\nready = PENDING\n"
	             "processing = PROCESSING\ndone = COMPLETED\nfailed = FAILED\n"
	             "on_success = INSERT INTO copies VALUES ($1, $2)\n", ways[_i].mode, ways[_i].spool, handler(ways[_i].mode));
	p = must_start(NULL, "unstuck-worker");
	must_happen(starts() == 2, 10000);
	server_stop();
	must_say(p, "event=db_lost");
	write_file("on", "");
	must_say(p, "event=spooled results=2");
	proc_signal(p, SIGKILL);
	must_exit(p, 128 + SIGKILL, 5000);
	server_start();
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT string_agg(status, ' ' ORDER BY id) FROM videos", "COMPLETED COMPLETED");
	must_equal(db, "SELECT string_agg(id || ' ' || result, ',' ORDER BY id) FROM copies", "1 {\"n\": 1},2 {\"n\": 2}");
	must_equal(db, "SELECT count(*) FROM audit", "2");
	ck_assert_uint_eq(starts(), 2);
}
END_TEST

/* The living one recovers the rows of the dead one; first it stores what that left. */
START_TEST(a_sibling_stores_what_a_killed_worker_left_before_it_recovers)
{
	struct testdb *db = must_have_db();
	struct proc *dead, *heir;

	must_sql(db, "SELECT unstuck.enqueue('mail'), unstuck.enqueue('mail')");
	settings(db, "[worker]\nconcurrency = 2\nheartbeat = 100ms\nworker_timeout = 400ms\nrecover_every = 200ms\n[queue mail]\nhandler = %s\n",
	         handler("exec"));
	dead = must_start(NULL, "unstuck-worker");
	must_happen(starts() == 2, 10000);
	heir = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT count(*) FROM unstuck.workers", "2", 5000);
	proc_signal(heir, SIGSTOP);	/* so that it is not the first to find the database again */
	server_stop();
	must_say(dead, "event=db_lost");
	write_file("on", "");
	must_say(dead, "event=spooled results=2");
	proc_signal(dead, SIGKILL);
	must_exit(dead, 128 + SIGKILL, 5000);
	server_start();
	proc_signal(heir, SIGCONT);
	must_say(heir, "event=replayed dead=1 records=2 stored=2");
	must_become(db, "SELECT count(*) || ' ' || sum(attempts + recoveries) FROM unstuck.jobs WHERE status = 'COMPLETED'", "2 2", 10000);
	ck_assert_uint_eq(starts(), 2);
	proc_signal(heir, SIGTERM);
	must_exit(heir, 0, 5000);
}
END_TEST

START_TEST(a_worker_that_dies_beside_a_living_one_loses_nothing)
{
	struct testdb *db = must_have_db();
	PGconn *locker = testdb_connect(db);
	struct proc *dead, *heir;

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[worker]\nheartbeat = 100ms\nworker_timeout = 600ms\nrecover_every = 200ms\n[queue mail]\nhandler = %s\n", handler("exec"));
	dead = must_start(NULL, "unstuck-worker");
	must_happen(starts() == 1, 10000);
	heir = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT count(*) FROM unstuck.workers", "2", 5000);
	PQclear(PQexec(locker, "BEGIN; SELECT FROM unstuck.jobs FOR UPDATE"));
	write_file("on", "");
	must_happen(entries(db, "sealed") == 1, 10000);
	proc_signal(heir, SIGSTOP);	/* until the old connection is gone: it would store the result */
	proc_signal(dead, SIGKILL);
	must_exit(dead, 128 + SIGKILL, 5000);
	kill_backends(db, "wait_event_type = 'Lock'");
	must_become(db, "SELECT count(*) FROM pg_locks WHERE NOT granted", "0", 5000);
	PQfinish(locker);
	proc_signal(heir, SIGCONT);
	must_become(db, "SELECT status || attempts || recoveries || failures FROM unstuck.jobs", "COMPLETED100", 20000);
	must_say(heir, "event=replayed dead=1 records=1");
	ck_assert_uint_eq(starts(), 1);
}
END_TEST

/* Two applications on one host, and nobody set spool_dir. */
START_TEST(results_of_another_database_are_left_for_its_own_worker)
{
	struct testdb *db = must_have_db(), *other = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[queue mail]\nhandler = %s\n", handler("exec"));
	p = must_start(NULL, "unstuck-worker");
	must_happen(starts() == 1, 10000);
	server_stop();
	must_say(p, "event=db_lost");
	write_file("on", "");
	must_say(p, "event=spooled results=1");
	proc_signal(p, SIGKILL);
	must_exit(p, 128 + SIGKILL, 5000);
	server_start();
	p = must_run(0, NULL, "unstuck-worker", "-d", other->url, "--drain");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "is of another database and stays"));
	must_equal(other, "SELECT count(*) FROM unstuck.late_results", "0");
	ck_assert_uint_eq(entries(db, "sealed"), 1);
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT status || attempts FROM unstuck.jobs", "COMPLETED1");
	ck_assert_uint_eq(entries(db, "sealed"), 0);
	must_run(0, NULL, "rmdir", "spool");	/* nothing is left of either */
}
END_TEST

/* ---- output files ---- */

/* A paid answer that was printed and not yet judged is no result; it is not lost either. */
START_TEST(what_a_handler_printed_outlives_a_killed_worker)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[queue mail]\nhandler = %s\n", script("deadly", "echo >> starts.txt; echo '{\"paid\": 1}'; kill -KILL $PPID; exec sleep 50"));
	p = must_start(NULL, "unstuck-worker");
	must_exit(p, 128 + SIGKILL, 10000);
	must_happen(procs_alive() == 0, 5000);
	ck_assert_uint_eq(entries(db, "unsealed"), 1);
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT reason || ' ' || convert_from(raw, 'UTF8') FROM unstuck.late_results", "unfinished {\"paid\": 1}\n");
	must_equal(db, "SELECT status FROM unstuck.jobs", "PROCESSING");	/* for recover: nobody knows whether it was all */
	ck_assert_uint_eq(entries(db, "unsealed"), 0);
}
END_TEST

static const char *const floods[] = { "yes", "trap '' PIPE TERM; while :; do echo 0123456789012345678901234567890123456789; done" };

START_TEST(who_prints_too_much_is_ended_before_the_disk_is_full)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[queue mail]\nhandler = %s\nmax_result = 64KB\n", script("flood", floods[_i]));
	p = must_run(0, NULL, "unstuck-worker", "--drain");
	ck_assert(proc_took(p) < 8);	/* well before force_delay */
	must_equal(db, "SELECT status || failures FROM unstuck.jobs", "FAILED1");
	must_equal(db, "SELECT reason || ' ' || octet_length(raw) FROM unstuck.late_results", "too_large 65536");
}
END_TEST

START_TEST(what_a_grandchild_still_prints_belongs_to_the_result)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[queue mail]\nhandler = %s\n", script("parent", "printf '[1,'; (sleep 0.3; echo '2]') 2>&- &"));
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT status || ' ' || result FROM unstuck.jobs", "COMPLETED [1, 2]");
}
END_TEST

/* The files are used again and again: nobody gets the words of another. */
START_TEST(a_short_output_after_a_long_one_is_whole)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 60)");
	settings(db, "[worker]\nconcurrency = 3\n[queue mail]\nhandler = %s\n",
	         script("sizes", "[ $((UNSTUCK_JOB_ID % 2)) = 0 ] || exec seq -s, -f %.0f $((UNSTUCK_JOB_ID * 0)) 0; "
	                         "printf '['; seq -s, 1 $((UNSTUCK_JOB_ID * 100)); echo ']'"));
	must_run(0, NULL, "unstuck-worker", "-q", "--drain");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED' AND id % 2 = 0 AND jsonb_array_length(result) = id * 100", "30");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED' AND id % 2 = 1 AND result = '0'", "30");
	ck_assert_uint_eq(entries(db, "unsealed") + entries(db, "sealed"), 0);
}
END_TEST

static const char *const stdouts[] = { "", "on_worker_death = finish\n", "spool = outage\n" };

START_TEST(a_handler_may_open_its_stdout_by_name)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 4)");
	settings(db, "[worker]\nconcurrency = 1\n[queue mail]\n%shandler = %s\n", stdouts[_i],
	         script("named", "[ $((UNSTUCK_JOB_ID % 2)) = 0 ] || exec seq 1; echo '{\"n\": 1}' > /dev/stdout"));
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT string_agg(result::text, ' ' ORDER BY id) FROM unstuck.jobs", "1 {\"n\": 1} 1 {\"n\": 1}");
	must_run(0, NULL, "rmdir", "spool");
}
END_TEST

/* ---- the disk ---- */

START_TEST(a_directory_that_cannot_be_used_is_refused_where_it_is_needed)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	write_file("spool", "a file");
	settings(db, "[queue mail]\nhandler = echo 1\n");
	p = must_run(78, NULL, "unstuck-worker", "--drain");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "spool_dir"));
	ck_assert_ptr_nonnull(strstr(proc_err(p), "spool = outage"));
	ck_assert_uint_eq(text_count(proc_err(p), "\n"), 1);
	must_equal(db, "SELECT status FROM unstuck.jobs", "PENDING");
	p = must_run(78, NULL, "unstuck-worker", "check");
	ck_assert_ptr_nonnull(strstr(proc_out(p), "error   spool"));

	settings(db, "[queue mail]\nhandler = echo 1\nspool = outage\n");
	p = must_run(0, NULL, "unstuck-worker", "check");
	ck_assert_ptr_nonnull(strstr(proc_out(p), "warning spool"));
	p = must_run(0, NULL, "unstuck-worker", "--drain");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "event=spool_failed"));
	must_equal(db, "SELECT status FROM unstuck.jobs", "COMPLETED");
}
END_TEST

START_TEST(nothing_is_claimed_while_the_directory_is_gone_and_results_go_to_the_database)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[worker]\nconcurrency = 1\n[queue mail]\nmode = %s\n%shandler = %s\n", ways[_i].mode, ways[_i].spool,
	         handler(ways[_i].mode));
	p = must_start(NULL, "unstuck-worker");
	must_happen(starts() == 1, 10000);
	ck_assert_int_eq(rename("spool", "elsewhere"), 0);
	write_file("spool", "a file");
	must_say(p, "event=spool_failed");
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	write_file("on", "");
	must_become(db, "SELECT string_agg(status, ' ' ORDER BY id) FROM unstuck.jobs", "COMPLETED PENDING", 10000);
	ck_assert_int_eq(unlink("spool"), 0);
	must_say(p, "event=spool_fine");
	must_become(db, "SELECT string_agg(status, ' ' ORDER BY id) FROM unstuck.jobs", "COMPLETED COMPLETED", 10000);
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 10000);
	ck_assert_uint_eq(starts(), 2);
}
END_TEST

START_TEST(a_full_disk_stops_claims_and_loses_nothing)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	mkdir("spool", 0700);
	/* In a mount table of this test's own. */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "spool", "tmpfs", 0, "size=10m,mode=0700") < 0) {
		printf("skipped: a full disk (cannot mount)\n");
		return;
	}
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[worker]\nconcurrency = 1\n[queue mail]\nhandler = %s\nmax_result = 1MB\n", handler("exec"));
	p = must_start(NULL, "unstuck-worker");
	must_happen(starts() == 1, 10000);	/* 4 MB are reserved, 6 MB are free */
	must_run(0, NULL, "dd", "if=/dev/zero", "of=spool/filler", "bs=1M", "count=4");
	must_say(p, "event=spool_low");
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	write_file("on", "");
	must_become(db, "SELECT string_agg(status, ' ' ORDER BY id) FROM unstuck.jobs", "COMPLETED PENDING", 10000);
	ck_assert_int_eq(unlink("spool/filler"), 0);
	must_say(p, "event=spool_fine");
	must_become(db, "SELECT string_agg(status, ' ' ORDER BY id) FROM unstuck.jobs", "COMPLETED COMPLETED", 10000);
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 10000);
	ck_assert_int_eq(umount2("spool", MNT_DETACH), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("spool of a worker");
	TCase *tc = story_case(s, "database");

	tcase_add_loop_test(tc, results_outlive_a_stop_without_the_database, 0, WAYS);
	tcase_add_loop_test(tc, a_hurried_stop_seals_what_has_just_ended, 0, WAYS);
	tcase_add_loop_test(tc, results_that_waited_are_stored_when_the_database_is_back, 0, WAYS);
	tc = story_case(s, "worker");
	tcase_add_loop_test(tc, results_outlive_a_killed_worker, 0, WAYS);
	tcase_add_loop_test(tc, a_mapped_result_is_replayed_with_its_on_success, 0, WAYS);
	tcase_add_test(tc, a_sibling_stores_what_a_killed_worker_left_before_it_recovers);
	tcase_add_test(tc, a_worker_that_dies_beside_a_living_one_loses_nothing);
	tcase_add_test(tc, results_of_another_database_are_left_for_its_own_worker);
	tc = story_case(s, "output");
	tcase_add_test(tc, what_a_handler_printed_outlives_a_killed_worker);
	tcase_add_loop_test(tc, who_prints_too_much_is_ended_before_the_disk_is_full, 0, 2);
	tcase_add_test(tc, what_a_grandchild_still_prints_belongs_to_the_result);
	tcase_add_test(tc, a_short_output_after_a_long_one_is_whole);
	tcase_add_loop_test(tc, a_handler_may_open_its_stdout_by_name, 0, 3);
	tc = story_case(s, "disk");
	tcase_add_test(tc, a_directory_that_cannot_be_used_is_refused_where_it_is_needed);
	tcase_add_loop_test(tc, nothing_is_claimed_while_the_directory_is_gone_and_results_go_to_the_database, 0, WAYS);
	tcase_add_test(tc, a_full_disk_stops_claims_and_loses_nothing);
	return check_main(s);
}
