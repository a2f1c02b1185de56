/*
 * it_tree.c - the processes below a worker: what handlers leave behind is ended where there is a cgroup; handlers that are
 * to finish do, when their worker is killed, and their result is stored.
 */
#include "story.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker_story.h"

/* ---- cgroups ---- */

static const char *made;	/* a cgroup of the test's own, with the worker in it */

static void remove_made(void)
{
	if (made != NULL && rmdir(made) < 0)
		printf("%s is left\n", made);
	made = NULL;
}

/* Below where cgroup v2 is mounted, if it may be written to. */
static bool has_cgroup(void)
{
	char line[4096], point[1024];
	FILE *f = fopen("/proc/self/mountinfo", "re");

	while (f != NULL && made == NULL && fgets(line, sizeof line, f) != NULL)
		if (strstr(line, " - cgroup2 ") != NULL && sscanf(line, "%*s %*s %*s / %1023s", point) == 1)
			made = story_text("%s/unstuck-test.%d", point, (int)getpid());
	if (f != NULL)
		fclose(f);
	if (made != NULL && mkdir(made, 0755) == 0 && access(story_text("%s/cgroup.kill", made), W_OK) == 0)
		return true;
	printf("skipped: cgroups (it needs cgroup v2, and to be allowed to make one)\n");
	made = NULL;
	return false;
}

static struct proc *start_in_cgroup(const char *arguments)
{
	return must_start(NULL, "sh", "-c", story_text("echo 0 > %s/cgroup.procs; exec %s %s", made, build_path("unstuck-worker"), arguments));
}

/* Leaves a process that no group signal reaches: it is in a session of its own. */
static const char *leaving(const char *then)
{
	return script("leaves", story_text("setsid sh -c 'echo $$ > left; exec sleep 1000' </dev/null >/dev/null 2>&1 &\n"
	                                   "while [ ! -s left ]; do sleep 0.01; done\n%s", then));
}

static pid_t left(void)
{
	return (pid_t)atoi(read_file("left"));
}

START_TEST(what_a_handler_leaves_is_ended_with_it)
{
	struct testdb *db;
	struct proc *p;

	if (!has_cgroup())
		return;
	db = must_have_db();
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[queue mail]\nhandler = %s\n", leaving("echo 1"));
	p = start_in_cgroup("");
	must_become(db, "SELECT status FROM unstuck.jobs", "COMPLETED", 10000);
	must_happen(!pid_alive(left()), 5000);
	ck_assert(proc_running(p));
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 10000);
	remove_made();		/* nothing is left in it, no cgroup either */
}
END_TEST

START_TEST(what_is_left_of_a_killed_worker_is_ended_by_the_next)
{
	struct testdb *db;
	struct proc *p;

	if (!has_cgroup())
		return;
	db = must_have_db();
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[queue mail]\nhandler = %s\n", leaving("exec sleep 1000"));
	p = start_in_cgroup("");
	must_happen(file_exists("left") && *read_file("left") != '\0', 10000);
	proc_signal(p, SIGKILL);
	must_exit(p, 128 + SIGKILL, 5000);
	must_happen(procs_alive() == 1, 5000);	/* the handler is gone with its worker, what it left is not */
	ck_assert(pid_alive(left()));
	must_exit(start_in_cgroup("--drain"), 0, 10000);
	must_happen(!pid_alive(left()), 5000);
	remove_made();
}
END_TEST

/* ---- on_worker_death = finish ---- */

static size_t starts(void)
{
	return file_exists("starts.txt") ? text_count(read_file("starts.txt"), "\n") : 0;
}

/* Notes its start; goes on when there is a file "on", and says more on stderr than a pipe holds. */
static const char *patient(const char *name, const char *then)
{
	return script(name, story_text("echo >> starts.txt; while [ ! -e on ]; do sleep 0.02; done\n"
	                                    "yes 'a word to nobody' | head -n 20000 >&2\n%s\n", then));
}

#define FINISHING "[worker]\nconcurrency = 20\nheartbeat = 100ms\nworker_timeout = 500ms\nrecover_every = 200ms\nforce_delay = 500ms\n"

static struct testdb *must_have_finishing(const char *queue, const char *then)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail', max_attempts => 2)");
	settings(db, FINISHING "[queue mail]\non_worker_death = finish\nhandler = %s\n%s", patient("patient", then), queue);
	return db;
}

/* A worker that is killed while its handler runs. */
static void must_leave_orphans(size_t n)
{
	struct proc *p = must_start(NULL, "unstuck-worker");

	must_happen(starts() == n, 10000);
	proc_signal(p, SIGKILL);
	must_exit(p, 128 + SIGKILL, 5000);
	ck_assert_uint_ge(procs_alive(), 2 * n);	/* who attends it, and it */
}

START_TEST(a_handler_outlives_its_worker_and_the_next_one_stores_its_result)
{
	struct testdb *db = must_have_finishing("", "echo '{\"paid\": 1}'");
	struct proc *p;

	must_leave_orphans(1);
	p = must_start(NULL, "unstuck-worker");
	/* Much longer than a worker may be silent: somebody beats for the dead one. */
	must_become(db, "SELECT max(beat_n) > 20 FROM unstuck.workers WHERE state = 'finishing'", "t", 20000);
	must_equal(db, "SELECT status || attempts || recoveries FROM unstuck.jobs", "PROCESSING10");
	write_file("on", "");
	must_become(db, "SELECT status || attempts || recoveries || result FROM unstuck.jobs", "COMPLETED10{\"paid\": 1}", 10000);
	must_become(db, "SELECT count(*) FROM unstuck.workers", "1", 10000);
	must_happen(procs_alive() == 1, 5000);
	ck_assert_uint_eq(starts(), 1);
	must_equal(db, "SELECT count(*) FROM unstuck.late_results", "0");
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 10000);
}
END_TEST

static const struct { const char *queue, *then, *becomes; } ends[] = {
	{ "", "echo '[1]'", "COMPLETED0[1]" },
	{ "", ":", "COMPLETED0null" },
	{ "output = text\n", "echo 'two words'", "COMPLETED0\"two words\"" },
	{ "", "(sleep 0.2; echo 2) & echo 1", "COMPLETED01" },	/* what it left is ended, and prints no more */
	{ "", "echo no JSON", "FAILED1 the result was refused by the database" },
	{ "max_result = 4\n", "echo '[1, 2]'", "FAILED1 the output is larger than max_result" },
	{ "", "echo 1; exit 3", "PENDING1 the handler ended with exit status 3; its worker had died" },
	{ "", "exit 65", "FAILED1 the handler ended with exit status 65" },
	{ "", "exit 75", "PENDING0 the handler ended with exit status 75" },
	{ "", "kill -SEGV $$", "PENDING1 the handler was ended by signal 11" },
};

#define ENDS (sizeof ends / sizeof *ends)

/* No other worker on this host: recover stores it, and lets it run until then. */
START_TEST(recover_judges_the_end_of_orphans_as_their_worker_would)
{
	struct testdb *db = must_have_db();
	const char *text = FINISHING;

	for (size_t i = 0; i < ENDS; i++) {
		text = story_text("%s[queue q%zu]\non_worker_death = finish\nhandler = %s\n%s", text, i,
		                  patient(story_text("patient.%zu", i), ends[i].then), ends[i].queue);
		must_sql(db, "SELECT unstuck.enqueue('q%zu', max_attempts => 2)", i);
	}
	settings(db, "%s", text);
	must_leave_orphans(ENDS);
	must_run(0, NULL, "unstuck-recover", "--yes");
	must_equal(db, "SELECT count(*) || ' ' || sum(recoveries) FROM unstuck.jobs WHERE status = 'PROCESSING'", story_text("%zu 0", ENDS));
	write_file("on", "");
	must_happen(procs_alive() == 0, 10000);
	must_run(0, NULL, "unstuck-recover", "--yes");
	for (size_t i = 0; i < ENDS; i++)
		must_equal(db, story_text("SELECT left(status || failures || coalesce(result::text, ' ' || last_error), %zu) FROM unstuck.jobs"
		                          " WHERE queue = 'q%zu'", strlen(ends[i].becomes), i), ends[i].becomes);
	must_equal(db, "SELECT sum(recoveries) FROM unstuck.jobs", "0");
	ck_assert_uint_eq(starts(), ENDS);
}
END_TEST

START_TEST(an_orphan_has_its_time_limit_too)
{
	struct testdb *db = must_have_finishing("timeout = 1s\n", "");

	must_leave_orphans(1);
	must_happen(procs_alive() == 0, 10000);
	must_run(0, NULL, "unstuck-recover", "--yes");
	must_equal(db, "SELECT status || failures || recoveries || last_error FROM unstuck.jobs",
	           "PENDING10the handler ran longer than its timeout of 1s and was ended; its worker had died before, and what it said on stderr is lost");
}
END_TEST

/* Nobody would take its result; the first to look at the spool says so to who attends it. */
START_TEST(an_orphan_whose_job_was_cancelled_is_ended)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail'), unstuck.enqueue('gone'), unstuck.enqueue('deaf')");
	settings(db, FINISHING "[queue mail]\non_worker_death = finish\nhandler = %s\n[queue gone]\non_worker_death = finish\nhandler = %s\n"
	             "[queue deaf]\non_worker_death = finish\nhandler = %s\n",
	         script("half", "echo '{\"half\": 1'; echo >> starts.txt; exec sleep 50"),
	         script("whole", "trap 'echo 1; exit 0' TERM; echo >> starts.txt; while :; do sleep 0.02; done"),
	         script("deaf", "trap '' TERM; echo 2; echo >> starts.txt; while :; do sleep 0.02; done"));
	must_leave_orphans(3);
	must_run(0, NULL, "unstuckctl", "spool", "replay");
	ck_assert_uint_ge(procs_alive(), 6);
	must_sql(db, "SELECT unstuck.cancel(id) FROM unstuck.jobs WHERE queue <> 'gone'; DELETE FROM unstuck.jobs WHERE queue = 'gone'");
	p = _i == 0 ? must_run(0, NULL, "unstuckctl", "spool", "replay") : must_start(NULL, "unstuck-worker");
	must_happen(procs_alive() == (size_t)_i, 10000);
	if (_i == 0) {
		ck_assert_uint_eq(text_count(proc_err(p), "the handler that a dead worker left is ended"), 3);
		must_run(0, NULL, "unstuckctl", "spool", "replay");
	}
	must_become(db, "SELECT string_agg(concat_ws(' ', queue, reason, convert_from(raw, 'UTF8')), ', ' ORDER BY queue) FROM unstuck.late_results",
	            "deaf unfinished 2\n, gone missing 1\n, mail unfinished {\"half\": 1\n", 10000);
	must_equal(db, "SELECT string_agg(status, ' ') FROM unstuck.jobs", "CANCELLED CANCELLED");
}
END_TEST

/* Beside a living worker an attended handler is as any other. */
START_TEST(an_attended_handler_is_as_any_other)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail', to_jsonb(repeat('x', 300000))); SELECT unstuck.enqueue('fail', max_attempts => 1);"
	             "SELECT unstuck.enqueue('slow', max_attempts => 1); SELECT unstuck.enqueue('dead', max_attempts => 1)");
	settings(db, "[worker]\nforce_delay = 300ms\n[queue mail]\non_worker_death = finish\nhandler = %s\n"
	             "[queue fail]\non_worker_death = finish\nhandler = %s\n"
	             "[queue slow]\non_worker_death = finish\ntimeout = 1s\nhandler = %s\n"
	             "[queue dead]\non_worker_death = finish\nhandler = %s\n",
	         script("count", "wc -c"), script("fail", "echo why >&2; exit 4"), script("deaf", "trap '' TERM; while :; do sleep 0.1; done"),
	         script("dead", "kill -SEGV $$"));
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT result FROM unstuck.jobs WHERE queue = 'mail'", "300002");
	must_equal(db, "SELECT last_error FROM unstuck.jobs WHERE queue = 'fail'", "the handler ended with exit status 4: why");
	must_equal(db, "SELECT left(last_error, 43) FROM unstuck.jobs WHERE queue = 'slow'", "the handler ran longer than its timeout of ");
	must_equal(db, "SELECT last_error FROM unstuck.jobs WHERE queue = 'dead'", "the handler was ended by signal 11 (Segmentation fault)");
	ck_assert_uint_eq(procs_alive(), 0);
	must_run(0, NULL, "rmdir", "spool");
}
END_TEST

START_TEST(to_finish_needs_a_file_to_print_into)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	settings(db, "[queue mail]\nmode = serve\non_worker_death = finish\nhandler = true\n");
	p = must_run(78, NULL, "unstuck-worker", "--drain");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "on_worker_death = finish needs mode = exec and spool = always"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tree");
	TCase *tc = story_case(s, "cgroups");

	tcase_add_checked_fixture(tc, NULL, remove_made);
	tcase_add_test(tc, what_a_handler_leaves_is_ended_with_it);
	tcase_add_test(tc, what_is_left_of_a_killed_worker_is_ended_by_the_next);
	tc = story_case(s, "finish");
	tcase_add_test(tc, a_handler_outlives_its_worker_and_the_next_one_stores_its_result);
	tcase_add_test(tc, recover_judges_the_end_of_orphans_as_their_worker_would);
	tcase_add_test(tc, an_orphan_has_its_time_limit_too);
	tcase_add_loop_test(tc, an_orphan_whose_job_was_cancelled_is_ended, 0, 2);
	tcase_add_test(tc, an_attended_handler_is_as_any_other);
	tcase_add_test(tc, to_finish_needs_a_file_to_print_into);
	return check_main(s);
}
