/*
 * it_notify.c - what systemd would be told, told to a socket of the test's own.
 */
#include "story.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "worker_story.h"

static int manager = -1;
static char *heard;		/* all that was told, a blank line between */

/* name as NOTIFY_SOCKET has it. */
static void listen_at(const char *name)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	size_t len = strlen(name);

	ck_assert_uint_lt(len, sizeof sa.sun_path);
	memcpy(sa.sun_path, name, len);
	if (name[0] == '@')
		sa.sun_path[0] = '\0';
	manager = story_closes(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
	ck_assert_int_eq(bind(manager, (struct sockaddr *)&sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)), 0);
	heard = story_text("%s", "");
}

/* What has come since the last look. */
static const char *listen_now(void)
{
	const char *news = "";
	char data[2000];
	ssize_t n;

	while ((n = recv(manager, data, sizeof data, 0)) > 0)
		news = story_text("%s%.*s\n", news, (int)n, data);
	heard = story_text("%s%s", heard, news);
	return news;
}

static bool is_told(const char *what)
{
	listen_now();
	return strstr(heard, what) != NULL;
}

#define must_be_told(what) must_happen(is_told(what), 10000)

static struct proc *start_with(const char *socket, const char *watchdog)
{
	return must_start((&(struct proc_options){ .env = WORDS(story_text("NOTIFY_SOCKET=%s", socket),
	                                                        story_text("WATCHDOG_USEC=%s", watchdog)) }),
	                  "unstuck-worker");
}

START_TEST(ready_comes_when_claims_can_be_made_and_stopping_with_the_time_it_needs)
{
	struct testdb *db = must_have_db();
	const char *name = _i ? story_text("@unstuck-test-%d", (int)getpid()) : test_path("notify");
	struct proc *p;

	listen_at(name);
	settings(db, "[queue mail]\nhandler = %s\n", script("slow", "while [ ! -e on ]; do sleep 0.02; done; echo 1"));
	must_sql(db, "ALTER TABLE unstuck.workers ADD CONSTRAINT nobody CHECK (pid < 0)");
	p = start_with(name, "");
	must_say(p, "event=register_failed");
	must_be_told("STATUS=starting: 0 jobs running");
	ck_assert_msg(!is_told("READY=1"), "%s", heard);
	must_sql(db, "ALTER TABLE unstuck.workers DROP CONSTRAINT nobody");
	must_be_told("READY=1\nSTATUS=running: 0 jobs running, 0 results waiting, 0 done, 0 failed; database ready\n");
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "1");
	ck_assert_msg(!is_told("MAINPID") && !is_told("WATCHDOG"), "%s", heard);
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	must_be_told("STATUS=running: 1 jobs running");
	proc_signal(p, SIGTERM);
	must_be_told("STOPPING=1\nSTATUS=stopping: 1 jobs running");
	must_be_told("EXTEND_TIMEOUT_USEC=20000000\n");
	heard = story_text("%s", "");
	must_be_told("EXTEND_TIMEOUT_USEC=20000000\n");	/* again, for as long as it drains */
	write_file("on", "");
	must_exit(p, 0, 5000);
	ck_assert_uint_eq(text_count(heard, "READY=1"), 0);
}
END_TEST

START_TEST(a_reload_is_told_with_its_begin_and_its_end)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	listen_at(test_path("notify"));
	settings(db, "[queue mail]\nhandler = true\n");
	p = start_with(test_path("notify"), "");
	must_be_told("READY=1");
	heard = story_text("%s", "");
	if (_i)		/* it ends too where nothing comes of it */
		settings(db, "[queue mail]\nhandler = true\nbatch = x\n");
	proc_signal(p, SIGHUP);
	must_be_told("READY=1\n");
	ck_assert_ptr_nonnull(strstr(heard, "RELOADING=1\nMONOTONIC_USEC="));
	ck_assert(strstr(heard, "RELOADING=1") < strstr(heard, "READY=1"));
	must_say(p, _i ? "event=reload_failed" : "event=reloaded");
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 5000);
}
END_TEST

START_TEST(a_daemon_says_which_process_is_the_one)
{
	struct testdb *db = must_have_db();

	listen_at(test_path("notify"));
	settings(db, "[queue mail]\nhandler = true\n");
	must_run(0, (&(struct proc_options){ .env = WORDS(story_text("NOTIFY_SOCKET=%s", test_path("notify"))) }),
	         "unstuck-worker", "run", "--daemon", "--pidfile", "w.pid", "--log-file", "w.log");
	/* Told before the one who started it came back: systemd must not think that it ended. */
	ck_assert_msg(is_told(story_text("READY=1\nMAINPID=%d\n", atoi(read_file("w.pid")))), "%s", heard);
	must_run(0, NULL, "unstuck-worker", "stop", "--pidfile", "w.pid");
}
END_TEST

/* How often the watchdog was told in so many milliseconds. */
static size_t watchdogs_in(unsigned ms)
{
	uint64_t until = story_until(ms);
	size_t n = text_count(listen_now(), "WATCHDOG=1\n");

	while (story_wait(until))
		n += text_count(listen_now(), "WATCHDOG=1\n");
	return n;
}

START_TEST(the_watchdog_is_told_while_the_loop_turns)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	listen_at(test_path("notify"));
	settings(db, "[worker]\npoll_interval = 1h\n[queue mail]\nhandler = true\n");
	p = start_with(test_path("notify"), "400000");
	must_be_told("READY=1");
	listen_now();
	ck_assert_uint_ge(watchdogs_in(2000), 8);	/* every 200 ms would be 10 */
	proc_signal(p, SIGSTOP);
	must_happen(watchdogs_in(300) == 0, 3000);
	ck_assert_uint_eq(watchdogs_in(1000), 0);
	proc_signal(p, SIGCONT);
	must_happen(watchdogs_in(300) > 0, 3000);
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 5000);
}
END_TEST

/* The process is alive, its children are, only the loop does not turn: it waits for who reads its log. */
START_TEST(a_hung_loop_stops_the_watchdog)
{
	struct testdb *db = must_have_db();
	uint64_t until = story_until(20000);
	char data[4096];
	struct proc *p;
	int log;

	listen_at(test_path("notify"));
	ck_assert_int_eq(mkfifo("log", 0600), 0);
	log = open("log", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	ck_assert_int_ge(fcntl(log, F_SETPIPE_SZ, 4096), 4096);
	settings(db, "[worker]\npoll_interval = 1h\n[queue mail]\nhandler = true\n");
	p = must_start((&(struct proc_options){ .env = WORDS(story_text("NOTIFY_SOCKET=%s", test_path("notify")),
	                                                     "WATCHDOG_USEC=400000") }),
	               "sh", "-c", story_text("exec %s 2>log", build_path("unstuck-worker")));
	must_be_told("READY=1");
	while (watchdogs_in(300) > 0 && story_wait(until))
		for (int i = 0; i < 10; i++) {
			proc_signal(p, SIGUSR2);	/* a line for each */
			usleep(2000);
		}
	ck_assert(proc_running(p));
	ck_assert_uint_eq(watchdogs_in(1500), 0);
	/* And when somebody reads it goes on. */
	until = story_until(5000);
	while (watchdogs_in(300) == 0 && story_wait(until))
		while (read(log, data, sizeof data) > 0)
			;
	ck_assert_uint_gt(watchdogs_in(1000), 0);
	proc_signal(p, SIGTERM);
	until = story_until(5000);
	while (proc_running(p) && story_wait(until))
		while (read(log, data, sizeof data) > 0)
			;
	must_exit(p, 0, 1);
	close(log);
}
END_TEST

START_TEST(a_watchdog_of_somebody_else_and_a_socket_of_nobody_are_left_alone)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	listen_at(test_path("notify"));
	settings(db, "[queue mail]\nhandler = env\noutput = text\nenv = NOTIFY_SOCKET\n");
	p = must_start((&(struct proc_options){ .env = WORDS(story_text("NOTIFY_SOCKET=%s", test_path("notify")),
	                                                     "WATCHDOG_USEC=200000", "WATCHDOG_PID=1") }), "unstuck-worker");
	must_be_told("READY=1");
	ck_assert_uint_eq(watchdogs_in(500), 0);
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 5000);
	p = start_with("/nowhere/at/all", "200000");
	must_become(db, "SELECT count(*) FROM unstuck.workers", "1", 5000);
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 5000);
	must_run(0, (&(struct proc_options){ .env = WORDS("NOTIFY_SOCKET=vsock:2:9") }), "unstuck-worker", "--drain");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("notify");
	TCase *tc = story_case(s, "systemd");

	tcase_add_loop_test(tc, ready_comes_when_claims_can_be_made_and_stopping_with_the_time_it_needs, 0, 2);
	tcase_add_loop_test(tc, a_reload_is_told_with_its_begin_and_its_end, 0, 2);
	tcase_add_test(tc, a_daemon_says_which_process_is_the_one);
	tcase_add_test(tc, the_watchdog_is_told_while_the_loop_turns);
	tcase_add_test(tc, a_hung_loop_stops_the_watchdog);
	tcase_add_test(tc, a_watchdog_of_somebody_else_and_a_socket_of_nobody_are_left_alone);
	return check_main(s);
}
