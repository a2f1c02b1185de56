/*
 * it_logs.c - where the log goes, how its file is turned, and what a flood of handler output does to it.
 */
#include "story.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "worker_story.h"

#define DAEMON "run", "--daemon", "--pidfile", "w.pid", "--log-file", "w.log"

static const char *date(int days_ago)
{
	time_t t = time(NULL) - days_ago * 86400;
	char text[16];

	strftime(text, sizeof text, "%Y-%m-%d", gmtime(&t));
	return story_text("%s", text);
}

static void make_older(const char *name)
{
	struct timespec yesterday[2] = { { .tv_sec = time(NULL) - 86400 }, { .tv_sec = time(NULL) - 86400 } };

	ck_assert_int_eq(utimensat(AT_FDCWD, name, yesterday, 0), 0);
}

static void tell(int signo)
{
	kill((pid_t)atoi(read_file("w.pid")), signo);
}

static bool has(const char *file, const char *what)
{
	return file_exists(file) && strstr(read_file(file), what) != NULL;
}

START_TEST(a_log_file_is_turned_when_the_day_is_over_and_old_ones_go)
{
	struct testdb *db = must_have_db();
	const char *yesterday = story_text("w.log.%s", date(1));

	settings(db, "log_rotate = daily\nlog_keep = 2\n[queue mail]\nhandler = true\n");
	write_file("w.log", "of yesterday\n");
	make_older("w.log");
	write_file("w.log.2020-01-01", "a");
	write_file("w.log.2020-01-02", "b");
	write_file("w.log.2020-01-02.gz", "somebody else's");
	write_file("w.log.old", "somebody else's");
	must_run(0, NULL, "unstuck-worker", DAEMON);
	ck_assert_str_eq(read_file(yesterday), "of yesterday\n");
	ck_assert(has("w.log", "event=started") && !has("w.log", "yesterday"));
	ck_assert(!file_exists("w.log.2020-01-01") && file_exists("w.log.2020-01-02"));	/* the newest two stay */
	ck_assert(file_exists("w.log.2020-01-02.gz") && file_exists("w.log.old"));

	/* That day has its file: nothing is overwritten, nothing lost. */
	make_older("w.log");
	tell(SIGUSR1);
	tell(SIGUSR2);
	must_happen(has("w.log", "event=state "), 5000);
	ck_assert(has("w.log", "event=started"));
	ck_assert_str_eq(read_file(yesterday), "of yesterday\n");

	/* A worker that has been up since yesterday. */
	ck_assert_int_eq(unlink(yesterday), 0);
	make_older("w.log");
	tell(SIGUSR1);		/* opened again, as it was then */
	tell(SIGTSTP);
	must_happen(has("w.log", "event=quiet"), 5000);
	ck_assert(has(yesterday, "event=started") && !has("w.log", "event=started"));
	must_run(0, NULL, "unstuck-worker", "stop", "--pidfile", "w.pid");
	ck_assert(has("w.log", "event=shutdown"));
}
END_TEST

START_TEST(two_workers_turn_one_file_once)
{
	struct testdb *db = must_have_db();
	struct proc *p[2];

	settings(db, "log_rotate = daily\nlog_file = both.log\n[queue mail]\nhandler = true\n");
	for (int i = 0; i < 2; i++)
		p[i] = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT count(*) FROM unstuck.workers", "2", 10000);
	make_older("both.log");
	for (int i = 0; i < 2; i++)
		proc_signal(p[i], SIGUSR1);	/* both know the file as yesterday's */
	for (int i = 0; i < 2; i++)
		proc_signal(p[i], SIGTERM);
	for (int i = 0; i < 2; i++)
		must_exit(p[i], 0, 5000);
	const char *all = story_text("%s%s", read_file(story_text("both.log.%s", date(1))), read_file("both.log"));
	ck_assert_uint_eq(text_count(all, "event=started"), 2);
	ck_assert_uint_eq(text_count(all, "event=shutdown"), 2);
	ck_assert_uint_eq(text_count(read_file("both.log"), "event=shutdown"), 2);
}
END_TEST

START_TEST(logrotate_takes_the_file_that_is_shipped)
{
	struct testdb *db = must_have_db();
	const char *conf = read_file(source_path("cron/unstuck.logrotate"));
	struct { const char *from, *to; } put[] = {
		{ "/var/log/unstuck/*.log {", story_text("%s/*.log {", test_path("log")) }, { "/run/unstuck/*.pid", test_path("w.pid") },
		{ "/usr/local/bin", build_path("") }, { "create 0640 unstuck unstuck", "create 0640" }, { "compress\n\tdelay", "delay" },
	};

	for (size_t i = 0; i < sizeof put / sizeof *put; i++) {
		const char *at = strstr(conf, put[i].from);

		ck_assert_msg(at != NULL, "no %s in it", put[i].from);
		conf = story_text("%.*s%s%s", (int)(at - conf), conf, put[i].to, at + strlen(put[i].from));
	}
	mkdir("log", 0700);
	write_file("rotate.conf", conf);
	chmod("rotate.conf", 0644);
	settings(db, "[queue mail]\nhandler = true\n");
	must_run(0, NULL, "unstuck-worker", "run", "--daemon", "--pidfile", "w.pid", "--log-file", "log/w.log");
	struct proc *p = must_run(0, NULL, "logrotate", "--force", "--state", "state", "rotate.conf");
	ck_assert_str_eq(proc_err(p), "");
	ck_assert(has("log/w.log.1", "event=started"));
	must_run(0, NULL, "unstuck-worker", "stop", "--pidfile", "w.pid");
	ck_assert(has("log/w.log", "event=shutdown") && !has("log/w.log.1", "event=shutdown"));
	/* Where nobody runs it is no error either. */
	must_run(0, NULL, "logrotate", "--force", "--state", "state", "rotate.conf");
}
END_TEST

/* ---- syslog ---- */

/* A /dev of its own, whose log is a socket of the test. */
static const char dev_script[] =
	"set -e\n"
	"for f in null zero full random urandom; do touch dev/$f; mount --bind /dev/$f dev/$f; done\n"
	"[ ! -d /dev/shm ] || { mkdir -p dev/shm; mount --bind /dev/shm dev/shm; }\n"
	"mount --rbind dev /dev\n"
	"exec \"$@\"\n";

static const char *syslog_text(int fd)
{
	const char *all = "";
	char data[4000];
	ssize_t n;

	while ((n = recv(fd, data, sizeof data, MSG_DONTWAIT)) > 0)
		all = story_text("%s%.*s\n", all, (int)n, data);
	return all;
}

START_TEST(a_daemon_without_a_file_logs_to_the_system)
{
	struct testdb *db = must_have_db();
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const char *said;

	if (geteuid() != 0 || wait_exit(must_start(NULL, "unshare", "--mount", "true"), 10000) != 0) {
		printf("skipped: syslog (it needs root and mount namespaces)\n");
		return;
	}
	mkdir("dev", 0755);
	strcpy(sa.sun_path, "dev/log");
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	write_file("dev.sh", dev_script);
	settings(db, "[queue mail]\nhandler = true\n");
	struct proc *p = must_run(0, NULL, "unshare", "--mount", "sh", "dev.sh", build_path("unstuck-worker"), "run", "--daemon",
	                          "--pidfile", "w.pid");
	ck_assert_str_eq(proc_err(p), "");
	said = syslog_text(fd);
	/* <daemon.info>, the date as syslog has it, the process, and the line as anywhere else. */
	ck_assert_msg(strncmp(said, "<30>", 4) == 0 && strstr(said, story_text(" unstuck-worker[%s]: 20",
	              strtok(read_file("w.pid"), "\n"))) && strstr(said, " info event=started version="), "%s", said);
	must_run(0, NULL, "unstuck-worker", "stop", "--pidfile", "w.pid");
	said = syslog_text(fd);
	ck_assert_msg(strstr(said, "event=shutdown reason=signal.term") != NULL, "%s", said);
	close(fd);

	/* Nobody listens: said at the start, and no obstacle. */
	p = must_run(0, NULL, "unshare", "--mount", "sh", "dev.sh", build_path("unstuck-worker"), "run", "--drain",
	             "--log-file", "syslog");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "nobody listens at /dev/log"));
}
END_TEST

/* ---- a flood ---- */

START_TEST(a_flood_of_handler_output_is_cut_and_said)
{
	struct testdb *db = must_have_db();
	const char *err, *at;
	size_t shown, dropped = 0;

	must_sql(db, "SELECT unstuck.enqueue('loud', max_attempts => 1), unstuck.enqueue('calm')");
	settings(db, "[worker]\nstderr_rate = 100/m\n[queue loud]\nhandler = %s\n[queue calm]\nhandler = %s\n",
	         script("loud", "seq -f 'line %g' 5000 >&2; exit 1"), script("calm", "echo calm >&2; echo 1"));
	err = proc_err(must_run(0, NULL, "unstuck-worker", "--drain"));
	shown = text_count(err, "event=handler_stderr queue=loud");
	ck_assert_uint_eq(shown, 100);
	ck_assert_uint_eq(text_count(err, "event=handler_stderr_limited queue=loud lines=100 in=1m "), 1);
	at = strstr(err, "event=handler_stderr_dropped queue=loud lines=");
	ck_assert_ptr_nonnull(at);
	dropped = (size_t)atoi(at + strlen("event=handler_stderr_dropped queue=loud lines="));
	ck_assert_uint_eq(shown + dropped, 5000);
	ck_assert_uint_eq(text_count(err, "event=handler_stderr queue=calm"), 1);	/* each queue has its own */
	must_equal(db, "SELECT last_error LIKE '%%line 5000%%' FROM unstuck.jobs WHERE queue = 'loud'", "t");
}
END_TEST

START_TEST(a_flood_that_goes_on_is_said_in_each_window)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('loud')");
	settings(db, "[worker]\nstderr_rate = 10/s\n[queue loud]\nhandler = %s\n",
	         script("loud", "while :; do echo x >&2; sleep 0.01; done"));
	p = must_start(NULL, "unstuck-worker");
	must_happen(text_count(proc_err(p), "event=handler_stderr_dropped queue=loud") >= 2, 10000);
	ck_assert_uint_ge(text_count(proc_err(p), "event=handler_stderr_limited queue=loud"), 2);
	proc_signal(p, SIGTERM);
	proc_signal(p, SIGTERM);
	proc_signal(p, SIGKILL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("logs");
	TCase *tc = story_case(s, "logs");

	tcase_add_test(tc, a_log_file_is_turned_when_the_day_is_over_and_old_ones_go);
	tcase_add_test(tc, two_workers_turn_one_file_once);
	tcase_add_test(tc, logrotate_takes_the_file_that_is_shipped);
	tcase_add_test(tc, a_daemon_without_a_file_logs_to_the_system);
	tcase_add_test(tc, a_flood_of_handler_output_is_cut_and_said);
	tcase_add_test(tc, a_flood_that_goes_on_is_said_in_each_window);
	return check_main(s);
}
