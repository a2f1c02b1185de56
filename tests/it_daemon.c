/*
 * it_daemon.c - the worker as a daemon: start, pidfile, the commands that act on it, and signals at
 * moments that are not convenient.
 */
#include "story.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker_story.h"

#define DAEMON "run", "--daemon", "--pidfile", "w.pid", "--log-file", "w.log"
#define IS_DONE(status, ...) must_run(status, NULL, "unstuck-worker", __VA_ARGS__)

static pid_t daemon_pid(void)
{
	return (pid_t)atoi(read_file("w.pid"));
}

static const char *status_of(int status)
{
	return proc_out(IS_DONE(status, "status", "--pidfile", "w.pid"));
}

static const char *status_json(void)
{
	return proc_out(IS_DONE(0, "status", "--json", "--pidfile", "w.pid"));
}

static void must_have(const char *text, const char *what)
{
	ck_assert_msg(strstr(text, what) != NULL, "no \"%s\" in: %s", what, text);
}

#define must_log(text) must_happen(strstr(read_file("w.log"), text) != NULL, 10000)

START_TEST(a_daemon_comes_back_when_it_is_ready_and_leaves_nothing)
{
	struct testdb *db = must_have_db();
	pid_t pid;

	settings(db, "[queue mail]\nhandler = %s\n", script("slow", "while [ ! -e on ]; do sleep 0.02; done"));
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	IS_DONE(0, DAEMON);
	/* Ready means registered: no waiting here. */
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "1");
	pid = daemon_pid();
	ck_assert_int_ne(getsid(pid), pid);	/* no session leader: it can never get a terminal */
	ck_assert_int_ne(getsid(pid), getsid(0));
	must_equal(db, "SELECT pid FROM unstuck.workers", story_text("%d", (int)pid));
	must_become(db, "SELECT status FROM unstuck.jobs", "PROCESSING", 5000);
	must_have(status_of(0), story_text("running (pid %d) since 20", (int)pid));
	must_have(status_of(0), "database: ready, 0 reconnects");
	must_have(status_of(0), "jobs: 1 running of 4, 0 results waiting\n  mail 1: running for ");
	must_have(status_json(), "{\"state\":\"running\",\"since\":\"20");
	must_have(status_json(), "\"jobs\":[{\"queue\":\"mail\",\"id\":\"1\",\"attempt\":1,\"claim_id\":");
	ck_assert_msg(strstr(status_json(), db->name) == NULL, "the database's address is in it");
	write_file("on", "");
	must_become(db, "SELECT status FROM unstuck.jobs", "COMPLETED", 5000);
	must_have(proc_out(IS_DONE(0, "stop", "--pidfile", "w.pid")), story_text("stopped (pid %d)", (int)pid));
	ck_assert(!pid_alive(pid) && !file_exists("w.pid") && !file_exists("w.pid.sock"));
	must_have(read_file("w.log"), "event=shutdown reason=signal.term");
	must_have(status_of(3), "not running");
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "0");
	ck_assert_uint_eq(procs_alive(), 0);
}
END_TEST

START_TEST(a_second_start_is_refused_by_name_and_a_stale_file_is_no_obstacle)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	settings(db, "[queue mail]\nhandler = true\n");
	/* The number of a process that lives, and that is no worker. */
	write_file("w.pid", story_text("%d\n", (int)getpid()));
	must_have(status_of(1), "dead: nobody holds the pidfile");
	must_have(proc_err(IS_DONE(1, "quiet", "--pidfile", "w.pid")), "no worker holds the pidfile w.pid");
	must_have(proc_out(IS_DONE(0, "stop", "--pidfile", "w.pid")), "dead");
	IS_DONE(0, DAEMON);
	p = IS_DONE(1, DAEMON);
	must_have(proc_err(p), story_text("pidfile w.pid: another worker holds it (pid %d)", (int)daemon_pid()));
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "1");
	kill(daemon_pid(), SIGKILL);
	must_happen(!pid_alive(daemon_pid()), 5000);
	must_have(status_of(1), "dead");
	ck_assert(file_exists("w.pid.sock"));
	IS_DONE(0, DAEMON);	/* over the socket that was left, too */
	must_have(status_of(0), "running");
	IS_DONE(0, "stop", "--pidfile", "w.pid");
}
END_TEST

START_TEST(of_many_starts_at_once_one_wins)
{
	struct testdb *db = must_have_db();
	struct proc *p[8];
	int won = 0;

	settings(db, "[queue mail]\nhandler = true\n");
	write_file("w.pid", "1\n");
	for (int i = 0; i < 8; i++)
		p[i] = must_start(NULL, "unstuck-worker", DAEMON);
	for (int i = 0; i < 8; i++) {
		int status = wait_exit(p[i], 20000);

		won += status == 0;
		ck_assert_msg(status == 0 || (status == 1 && strstr(proc_err(p[i]), "another worker holds it")), "%d %s", status,
		              proc_err(p[i]));
	}
	ck_assert_int_eq(won, 1);
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "1");
	IS_DONE(0, "stop", "--pidfile", "w.pid");
	ck_assert_uint_eq(procs_alive(), 0);
}
END_TEST

START_TEST(another_user_is_told_that_it_runs_and_nothing_more)
{
	struct testdb *db = must_have_db();
	const struct proc_options nobody = { .unprivileged = true };
	struct proc *p;

	if (geteuid() != 0)
		return;
	settings(db, "[queue mail]\nhandler = true\n");
	IS_DONE(0, DAEMON);
	chmod(test_dir(), 0755);
	must_have(proc_out(must_run(0, &nobody, "unstuck-worker", "status", "--pidfile", "w.pid")), "only its own user is told more");
	p = must_run(1, &nobody, "unstuck-worker", "stop", "--pidfile", "w.pid");
	must_have(proc_err(p), "or that is another user's");
	must_have(status_of(0), "running");
	IS_DONE(0, "stop", "--pidfile", "w.pid");
}
END_TEST

START_TEST(without_a_daemon_or_a_set_key_no_pidfile_is_written)
{
	struct testdb *db = must_have_db();
	const char *run = story_text("XDG_RUNTIME_DIR=%s", test_dir());
	struct proc *p;

	settings(db, "[queue mail]\nhandler = true\n");
	/* An ordinary user's default is below XDG_RUNTIME_DIR; root's is not, so it is set. */
	p = must_start((&(struct proc_options){ .env = WORDS(run) }), "unstuck-worker");
	must_become(db, "SELECT count(*) FROM unstuck.workers", "1", 5000);
	ck_assert(!file_exists("unstuck/worker.pid"));
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 5000);
	settings(db, "[worker]\npidfile = %s\n[queue mail]\nhandler = true\n", test_path("made/w.pid"));
	p = must_start(NULL, "unstuck-worker");
	must_happen(file_exists("made/w.pid"), 5000);
	must_become(db, "SELECT count(*) FROM unstuck.workers", "1", 5000);
	must_have(proc_out(IS_DONE(0, "status")), "running");
	IS_DONE(0, "stop");
	must_exit(p, 0, 5000);
}
END_TEST

START_TEST(a_failed_start_says_why_and_with_which_status)
{
	struct testdb *db = must_have_db(), *empty = must_have_empty_db();

	settings(empty, "[queue mail]\nhandler = true\n");
	must_have(proc_err(IS_DONE(78, DAEMON)), "unstuckctl init");
	ck_assert(!file_exists("w.pid"));
	settings(db, "[queue mail]\nhandler = /nowhere/handler\n");
	must_have(proc_err(IS_DONE(78, DAEMON)), "no queue can work");
	must_have(read_file("w.log"), "event=queue_refused queue=mail");
	settings(db, "[queue mail]\nhandler = true\nbatch = x\n");
	must_have(proc_err(IS_DONE(78, DAEMON)), "batch = x: expected");
	must_have(proc_err(IS_DONE(78, "status")), "--pidfile FILE does");
	write_file("unstuck.ini", "[unstuck]\ndatabase_url = postgresql:///x?host=/nowhere\n[queue mail]\nhandler = true\n");
	must_have(proc_err(IS_DONE(69, DAEMON)), "/nowhere");
	settings(db, "[queue mail]\nhandler = true\n");
	must_have(proc_err(IS_DONE(78, "run", "--daemon", "--pidfile", "w.pid", "--log-file", "no/such/dir/log")), "log file");
	/* Not ready because nobody can register. */
	must_sql(db, "ALTER TABLE unstuck.workers ADD CONSTRAINT nobody CHECK (pid < 0)");
	struct proc *p = must_start(NULL, "unstuck-worker", DAEMON);
	must_happen(file_exists("w.log") && strstr(read_file("w.log"), "event=register_failed") != NULL, 10000);
	must_have(status_of(0), "starting (pid ");
	must_have(status_of(0), "register_failed error=");
	proc_signal(p, SIGINT);		/* the caller gives up: so does what it started */
	must_exit(p, 1, 5000);
	must_have(proc_err(p), "the worker was stopped before it was ready");
	must_have(read_file("w.log"), "event=shutdown reason=signal.term");
	ck_assert(!file_exists("w.pid"));
	must_happen(procs_alive() == 0, 5000);
}
END_TEST

START_TEST(stop_waits_says_for_what_and_can_be_forced)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	settings(db, "[worker]\ngraceful_timeout = 1h\nforce_delay = 100ms\n[queue mail]\nhandler = sleep 50\n");
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	IS_DONE(0, DAEMON);
	must_become(db, "SELECT status FROM unstuck.jobs", "PROCESSING", 5000);
	p = IS_DONE(1, "stop", "--timeout", "300ms", "--pidfile", "w.pid");
	must_have(proc_err(p), "is still running after 300ms");
	must_have(status_of(0), "stopping (pid ");
	p = must_start(NULL, "unstuck-worker", "stop", "--pidfile", "w.pid");
	must_say(p, "stopping, 1 jobs running, 0 results waiting");
	IS_DONE(0, "stop", "--force", "--pidfile", "w.pid");
	must_exit(p, 0, 5000);
	must_have(read_file("w.log"), "the grace period is skipped");
	must_equal(db, "SELECT status || attempts || failures FROM unstuck.jobs", "PENDING10");
	/* And one that nobody has told to stop yet. */
	IS_DONE(0, DAEMON);
	must_become(db, "SELECT status FROM unstuck.jobs", "PROCESSING", 5000);
	IS_DONE(0, "stop", "--force", "--pidfile", "w.pid");
	must_equal(db, "SELECT status || attempts || failures FROM unstuck.jobs", "PENDING20");
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "0");
}
END_TEST

START_TEST(quiet_and_resume_are_commands)
{
	struct testdb *db = must_have_db();

	settings(db, "[worker]\npoll_interval = 50ms\n[queue mail]\nhandler = true\n");
	IS_DONE(0, DAEMON);
	IS_DONE(0, "quiet", "--pidfile", "w.pid");
	must_log("event=quiet");
	must_have(status_json(), "{\"state\":\"quiet\"");
	IS_DONE(0, "status", "--live", "--pidfile", "w.pid");
	IS_DONE(1, "status", "--ready", "--pidfile", "w.pid");
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	must_become(db, "SELECT status FROM unstuck.jobs WHERE created_at < clock_timestamp() - interval '300 ms'", "PENDING", 3000);
	IS_DONE(0, "resume", "--pidfile", "w.pid");
	must_become(db, "SELECT status FROM unstuck.jobs", "COMPLETED", 5000);
	must_have(status_of(0), "running");
	IS_DONE(0, "status", "--ready", "--pidfile", "w.pid");
	IS_DONE(0, "stop", "--pidfile", "w.pid");
}
END_TEST

START_TEST(a_hung_worker_is_told_from_a_busy_one)
{
	struct testdb *db = must_have_db();

	settings(db, "[queue mail]\nhandler = true\n");
	IS_DONE(0, DAEMON);
	kill(daemon_pid(), SIGSTOP);
	must_have(status_of(0), "unknown (pid ");
	must_have(status_of(0), "it does not answer");
	IS_DONE(1, "status", "--live", "--pidfile", "w.pid");
	kill(daemon_pid(), SIGCONT);
	must_have(status_of(0), "running");
	IS_DONE(0, "stop", "--pidfile", "w.pid");
}
END_TEST

/* The lock is held, and no number is in the file yet, or one of nobody. */
START_TEST(a_locked_pidfile_with_a_wrong_number_signals_nobody)
{
	int fd = open("w.pid", O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	must_have(proc_err(IS_DONE(1, "stop", "--pidfile", "w.pid")), "of no process here");
	ck_assert_int_eq((int)write(fd, "4000000\n", 8), 8);
	must_have(proc_err(IS_DONE(1, "stop", "--pidfile", "w.pid")), "(4000000) is of no process here");
	close(fd);
}
END_TEST

START_TEST(a_pidfile_is_not_put_where_others_rule)
{
	struct testdb *db = must_have_db();

	if (geteuid() != 0)
		return;
	settings(db, "[queue mail]\nhandler = true\n");
	mkdir("theirs", 0777);
	ck_assert_int_eq(chown("theirs", 65534, 65534), 0);
	must_have(proc_err(IS_DONE(1, "--pidfile", "theirs/w.pid")), "belongs to another user");
	ck_assert_int_eq(symlink("elsewhere", "w.pid"), 0);
	IS_DONE(1, "--pidfile", "w.pid");
	ck_assert(!file_exists("elsewhere"));
}
END_TEST

/* ---- signals ---- */

START_TEST(two_terms_at_once_are_one_orderly_stop)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[worker]\ngraceful_timeout = 1s\nforce_delay = 100ms\n[queue mail]\nhandler = sleep 50\n");
	p = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT status FROM unstuck.jobs", "PROCESSING", 5000);
	proc_signal(p, SIGTERM);
	proc_signal(p, SIGTERM);	/* the kernel may make one of the two: then the grace period is not skipped */
	must_exit(p, 0, 5000);
	must_equal(db, "SELECT status || attempts || failures FROM unstuck.jobs", "PENDING10");
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "0");
	ck_assert_uint_eq(text_count(proc_err(p), "event=shutdown"), 1);
}
END_TEST

START_TEST(term_before_the_database_is_there_ends_the_start)
{
	struct proc *p;

	write_file("unstuck.ini", "[unstuck]\ndatabase_url = postgresql:///x?host=/nowhere\n[queue mail]\nhandler = true\n");
	p = must_start(NULL, "unstuck-worker", "run", "--wait", "1h", "--pidfile", "w.pid");
	must_happen(file_exists("w.pid"), 5000);
	must_have(status_of(0), "starting (pid ");
	/* None of these has an effect yet, and none ends it. */
	proc_signal(p, SIGHUP);
	proc_signal(p, SIGUSR1);
	proc_signal(p, SIGUSR2);
	proc_signal(p, SIGTSTP);
	must_have(status_of(0), "starting (pid ");
	IS_DONE(0, "stop", "--pidfile", "w.pid");
	must_exit(p, 0, 3000);
	must_have(proc_err(p), "event=shutdown reason=signal");
	ck_assert(!file_exists("w.pid"));
}
END_TEST

START_TEST(a_start_waits_for_the_database_and_no_longer_than_told)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	settings(db, "[queue mail]\nhandler = true\n");
	server_stop();
	p = IS_DONE(69, "run", "--wait", "600ms");
	ck_assert(proc_took(p) > 0.5 && proc_took(p) < 5);
	p = must_start(NULL, "unstuck-worker", DAEMON, "--wait", "30s");
	must_happen(file_exists("w.pid"), 5000);
	ck_assert(proc_running(p));
	server_start();
	must_exit(p, 0, 15000);
	must_have(status_of(0), "running");
	IS_DONE(0, "stop", "--pidfile", "w.pid");
}
END_TEST

START_TEST(term_while_the_database_is_away)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	settings(db, "[queue mail]\nhandler = true\n");
	p = must_start(NULL, "unstuck-worker", "--pidfile", "w.pid");
	must_become(db, "SELECT count(*) FROM unstuck.workers", "1", 5000);
	server_stop();
	must_say(p, "event=db_lost");
	must_happen(strstr(status_of(0), "database: waiting") != NULL, 10000);
	proc_signal(p, SIGTERM);
	wait_exit(p, 15000);
	must_have(proc_err(p), "event=shutdown reason=signal.term");
	must_have(proc_err(p), " presence=forced/");
	server_start();
}
END_TEST

START_TEST(a_stop_key_on_a_terminal_makes_it_quiet)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[queue mail]\nhandler = %s\n", script("slow", "while [ ! -e on ]; do sleep 0.02; done"));
	p = must_start((&(struct proc_options){ .tty = TTY_ALL }), "unstuck-worker");
	must_become(db, "SELECT status FROM unstuck.jobs", "PROCESSING", 5000);
	must_type(p, "\032");	/* ^Z: to the whole foreground group */
	must_say(p, "event=quiet");
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	write_file("on", "");
	must_become(db, "SELECT string_agg(status, ' ' ORDER BY id) FROM unstuck.jobs", "COMPLETED PENDING", 5000);
	proc_signal(p, SIGCONT);
	must_become(db, "SELECT string_agg(status, ' ' ORDER BY id) FROM unstuck.jobs", "COMPLETED COMPLETED", 5000);
	must_type(p, "\003");
	must_exit(p, 0, 5000);
	must_have(proc_out(p), "reason=signal.int");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("daemon");
	TCase *tc = story_case(s, "daemon");

	tcase_add_test(tc, a_daemon_comes_back_when_it_is_ready_and_leaves_nothing);
	tcase_add_test(tc, a_second_start_is_refused_by_name_and_a_stale_file_is_no_obstacle);
	tcase_add_test(tc, of_many_starts_at_once_one_wins);
	tcase_add_test(tc, another_user_is_told_that_it_runs_and_nothing_more);
	tcase_add_test(tc, without_a_daemon_or_a_set_key_no_pidfile_is_written);
	tcase_add_test(tc, a_failed_start_says_why_and_with_which_status);
	tcase_add_test(tc, stop_waits_says_for_what_and_can_be_forced);
	tcase_add_test(tc, quiet_and_resume_are_commands);
	tcase_add_test(tc, a_hung_worker_is_told_from_a_busy_one);
	tcase_add_test(tc, a_locked_pidfile_with_a_wrong_number_signals_nobody);
	tcase_add_test(tc, a_pidfile_is_not_put_where_others_rule);

	tc = story_case(s, "signals");
	tcase_add_test(tc, two_terms_at_once_are_one_orderly_stop);
	tcase_add_test(tc, term_before_the_database_is_there_ends_the_start);
	tcase_add_test(tc, a_start_waits_for_the_database_and_no_longer_than_told);
	tcase_add_test(tc, term_while_the_database_is_away);
	tcase_add_test(tc, a_stop_key_on_a_terminal_makes_it_quiet);
	return check_main(s);
}
