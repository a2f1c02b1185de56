/*
 * it_ended.c - handlers whose end is not their own: their worker ends them, or a stranger does. What they had printed may be a
 * whole result that was paid for, so it is kept as late ("unfinished"), and counts for nothing until a person says so.
 */
#include "story.h"

#include <unistd.h>

#include "worker_story.h"

#define PAID "{\"paid\": 1}"

/* Where they print: a file of the spool, or a pipe. */
static const char *const spools[] = { "always", "outage" };

/* Prints a result, says that it has, and hangs on its way out. */
static const char *hangs(const char *name, const char *first)
{
	return script(name, story_text("%s\necho '" PAID "'\necho >> said.txt\nexec sleep 50", first));
}

static void must_have_said(size_t n)
{
	must_happen(file_exists("said.txt") && text_count(read_file("said.txt"), "\n") == n, 10000);
}

static void must_keep(struct testdb *db, const char *rows)
{
	must_equal(db, "SELECT string_agg(concat_ws(' ', queue, reason, convert_from(raw, 'UTF8')), ', ' ORDER BY queue) FROM unstuck.late_results", rows);
}

START_TEST(over_its_time)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue(q, max_attempts => 1) FROM unnest('{bad,deaf,exits,loud,mail,silent}'::text[]) AS q");
	settings(db, "[worker]\nconcurrency = 6\nforce_delay = 300ms\n"
	             "[queue mail]\ntimeout = 500ms\nspool = %s\nhandler = %s\n"
	             "[queue deaf]\ntimeout = 500ms\nspool = %s\nhandler = %s\n"
	             "[queue exits]\ntimeout = 500ms\nspool = %s\nhandler = %s\n"
	             "[queue loud]\ntimeout = 500ms\nspool = %s\nmax_result = 100\nhandler = %s\n"
	             "[queue silent]\ntimeout = 500ms\nspool = %s\nhandler = sleep 50\n"
	             "[queue bad]\ntimeout = 500ms\nspool = %s\nhandler = %s\n",
	         spools[_i], hangs("hangs", ""), spools[_i], hangs("deaf", "trap '' TERM"),
	         spools[_i], script("exits", "trap 'echo 2; exit 3' TERM; while :; do sleep 0.02; done"),
	         spools[_i], script("loud", "trap 'printf %0150d 7' TERM; while :; do sleep 0.02; done"), spools[_i],
	         spools[_i], script("bad", "echo 'half of'; exit 1"));
	p = must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT string_agg(DISTINCT status || failures, ' ') FROM unstuck.jobs", "FAILED1");
	/* Not what failed by itself. */
	must_keep(db, story_text("deaf unfinished " PAID "\n, exits unfinished 2\n, loud too_large %0100d, mail unfinished " PAID "\n", 0));
	ck_assert_uint_eq(text_count(proc_err(p), "event=late_result "), 4);
	ck_assert_ptr_nonnull(strstr(proc_err(p), "event=late_result queue=mail job=5 "));
	/* A person may have it. */
	must_run(1, NULL, "unstuckctl", "late", "adopt", sql_value(db, "SELECT id FROM unstuck.late_results WHERE queue = 'loud'"));
	must_run(0, NULL, "unstuckctl", "late", "adopt", sql_value(db, "SELECT id FROM unstuck.late_results WHERE queue = 'mail'"));
	must_equal(db, "SELECT string_agg(queue || result, ' ') FROM unstuck.jobs WHERE status = 'COMPLETED'", "mail" PAID);
}
END_TEST

START_TEST(in_a_stop)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue(q) FROM unnest('{mail,silent}'::text[]) AS q");
	must_sql(db, "CREATE TABLE public.videos (id int PRIMARY KEY, status text, updated_at timestamptz DEFAULT now());"
	             "INSERT INTO videos VALUES (1, 'READY')");
	settings(db, "[queue mail]\nspool = %s\nhandler = %s\n[queue silent]\nspool = %s\nhandler = sleep 50\n"
	             "[queue videos]\ntable = public.videos\nready = READY\nspool = %s\nhandler = %s\n",
	         spools[_i], hangs("hangs", ""), spools[_i], spools[_i], hangs("hangs too", ""));
	p = must_start(NULL, "unstuck-worker");
	must_have_said(2);
	proc_signal(p, SIGTERM);
	must_say(p, "event=stopping");
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 10000);
	must_equal(db, "SELECT string_agg(status || attempts || failures, ' ') FROM unstuck.jobs", "PENDING10 PENDING10");
	must_equal(db, "SELECT string_agg(v.status || ' ' || c.state, ', ') FROM videos AS v, unstuck.claims AS c", "READY RELEASED");
	must_keep(db, "mail unfinished " PAID "\n, videos unfinished " PAID "\n");
	ck_assert_uint_eq(text_count(proc_err(p), "event=late_result "), 2);
	must_run(0, NULL, "rmdir", "spool");
}
END_TEST

/* Given back and kept on the disk, with what it had printed. */
START_TEST(in_a_stop_without_the_database)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[worker]\ngraceful_timeout = 1s\nforce_delay = 1s\nheartbeat = 100ms\nworker_timeout = 300ms\n"
	             "[queue mail]\nspool = %s\nhandler = %s\n", spools[_i], hangs("hangs", ""));
	p = must_start(NULL, "unstuck-worker");
	must_have_said(1);
	server_stop();
	must_say(p, "event=db_lost");
	proc_signal(p, SIGTERM);
	must_say(p, "event=stopping");
	proc_signal(p, SIGTERM);
	must_exit(p, 75, 15000);
	server_start();
	for (int i = 0; i < 2; i++)	/* there is nothing to do twice */
		must_run(0, NULL, "unstuckctl", "spool", "replay");
	must_equal(db, "SELECT status || attempts || failures FROM unstuck.jobs", "PENDING10");
	must_keep(db, "mail unfinished " PAID "\n");
}
END_TEST

START_TEST(because_its_job_is_not_its_own_any_more)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue(q) FROM unnest('{mail,silent}'::text[]) AS q");
	settings(db, "[queue mail]\nspool = %s\nhandler = %s\n[queue silent]\nspool = %s\nhandler = sh -c 'echo >> said.txt; exec sleep 50'\n",
	         spools[_i], hangs("hangs", ""), spools[_i]);
	p = must_start(NULL, "unstuck-worker");
	must_have_said(2);
	must_sql(db, "SELECT unstuck.cancel(id) FROM unstuck.jobs");
	must_say(p, "event=late_result queue=mail job=1 ");
	must_happen(procs_alive() == 1, 10000);
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 10000);
	must_equal(db, "SELECT string_agg(status, ' ') FROM unstuck.jobs", "CANCELLED CANCELLED");
	must_keep(db, "mail unfinished " PAID "\n");
}
END_TEST

/* The kernel's killer of big processes, say. */
START_TEST(by_a_stranger)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail', max_attempts => 1)");
	settings(db, "[queue mail]\nspool = %s\nhandler = %s\n", spools[_i], script("dies", "echo '" PAID "'; kill -KILL $$"));
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT status || failures FROM unstuck.jobs", "FAILED1");
	must_keep(db, "mail unfinished " PAID "\n");
}
END_TEST

/* By who attends it: its worker is dead. */
START_TEST(over_its_time_as_an_orphan)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[worker]\nheartbeat = 100ms\nworker_timeout = 1h\n[queue mail]\non_worker_death = finish\ntimeout = 1s\nhandler = %s\n",
	         hangs("hangs", ""));
	p = must_start(NULL, "unstuck-worker");
	must_have_said(1);
	proc_signal(p, SIGKILL);
	must_exit(p, 128 + SIGKILL, 5000);
	must_happen(procs_alive() == 0, 10000);
	must_run(0, NULL, "unstuckctl", "spool", "replay");
	must_equal(db, "SELECT status || failures || left(last_error, 42) FROM unstuck.jobs", "PENDING1the handler ran longer than its timeout of");
	must_keep(db, "mail unfinished " PAID "\n");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ended");
	TCase *tc = story_case(s, "kept");

	tcase_add_loop_test(tc, over_its_time, 0, 2);
	tcase_add_loop_test(tc, in_a_stop, 0, 2);
	tcase_add_loop_test(tc, in_a_stop_without_the_database, 0, 2);
	tcase_add_loop_test(tc, because_its_job_is_not_its_own_any_more, 0, 2);
	tcase_add_loop_test(tc, by_a_stranger, 0, 2);
	tcase_add_test(tc, over_its_time_as_an_orphan);
	return check_main(s);
}
