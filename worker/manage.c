/*
 * manage.c - see manage.h. Not here: the worker's side (signals.c, control.c).
 */
#include "manage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "control_address.h"
#include "pidfile.h"

#define NUMBER_TIME (1 * SEC)		/* from the lock to the number in the file */
#define ANSWER_TIME 3			/* seconds that a loop may take to answer */
#define RELOAD_TIME 60			/* seconds: it may have to wait for the database */
#define TELL_FIRST (1 * SEC)		/* what we wait for is told then, and so often */
#define TELL_EVERY (5 * SEC)
#define STATUS_DEAD 1			/* LSB: dead, and a pidfile is there */
#define STATUS_NOT_RUNNING 3

struct target {
	int found;			/* enum pidfile; -1: cannot be looked at */
	pid_t pid;
	int pidfd;			/* -1: this kernel has none */
};

static void nap(usec_t t)
{
	nanosleep(&(struct timespec){ .tv_sec = (time_t)(t / SEC), .tv_nsec = (long)(t % SEC * 1000) }, NULL);
}

/* After the pidfd was opened the lock is still held and the number the same: then it is that process. */
static int target_find(struct target *t, const char *pidfile, struct error *err)
{
	usec_t until = clock_now() + NUMBER_TIME;
	pid_t again;

	for (;;) {
		*t = (struct target){ .pidfd = -1 };
		t->found = pidfile_look(pidfile, &t->pid, err);
		if (t->found != PIDFILE_HELD)
			return t->found;
		if (t->pid > 0)
			t->pidfd = (int)syscall(SYS_pidfd_open, t->pid, 0);
		if (t->pid > 0 && (t->pidfd >= 0 || errno != ESRCH) && pidfile_look(pidfile, &again, err) == PIDFILE_HELD
		    && again == t->pid)
			return t->found;
		if (t->pidfd >= 0)
			close(t->pidfd);
		if (clock_now() >= until)
			return error_set(err, ERR_SYS, "pidfile %s is locked, but the number in it (%d) is of no process here",
			                 pidfile, (int)t->pid);
		nap(20 * MSEC);
	}
}

static void target_release(struct target *t)
{
	if (t->pidfd >= 0)
		close(t->pidfd);
}

/* Does that process have the pidfile open? The number may be of another container's, where ours is somebody else. */
static bool target_holds(const struct target *t, const char *pidfile)
{
	char *dir = xasprintf("/proc/%d/fd", (int)t->pid);
	struct stat ours, theirs;
	struct dirent *e;
	bool holds = false;
	DIR *d = opendir(dir);

	while (d != NULL && !holds && stat(pidfile, &ours) == 0 && (e = readdir(d)) != NULL)
		holds = fstatat(dirfd(d), e->d_name, &theirs, 0) == 0 && theirs.st_ino == ours.st_ino
		        && theirs.st_dev == ours.st_dev;
	if (d != NULL)
		closedir(d);
	free(dir);
	return holds || access("/proc/self", F_OK) != 0;	/* without /proc the number has to do */
}

static int target_signal(const struct target *t, const char *pidfile, int signo, struct error *err)
{
	int status;

	if (!target_holds(t, pidfile))
		return error_set(err, ERR_SYS, "pidfile %s is held, but not by the process %d here, or that is another user's: it may "
		                 "be in another container; act on it as its user, and from there", pidfile, (int)t->pid);
	status = t->pidfd >= 0 ? (int)syscall(SYS_pidfd_send_signal, t->pidfd, signo, NULL, 0) : kill(t->pid, signo);

	if (status < 0 && errno != ESRCH)
		return error_set(err, ERR_SYS, "the worker (pid %d) cannot be told: %s", (int)t->pid, strerror(errno));
	return 0;
}

/* ---- asking it ---- */

/* The answer, or NULL and errno: ENOENT or ECONNREFUSED when nobody listens yet, EAGAIN when nobody answers, ECONNRESET when it left. */
static json_t *ask(const char *pidfile, const char *question, int seconds)
{
	struct timeval patience = { .tv_sec = seconds };
	struct sockaddr_un sa;
	struct buf text = BUF_INIT;
	json_t *doc = NULL;
	char data[4096];
	ssize_t n = -1;
	int dir = -1, saved, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || control_address(pidfile, &sa, &dir) < 0)
		goto out;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	if (connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0 || send(fd, question, strlen(question), MSG_NOSIGNAL) < 0)
		goto out;
	while ((n = recv(fd, data, sizeof data, 0)) > 0 && text.len < CONTROL_TOO_LONG)
		buf_add(&text, data, (size_t)n);
	if (n == 0)
		doc = json_loads(buf_text(&text), 0, NULL);
	if (n == 0 && doc == NULL)
		errno = ECONNRESET;	/* it left while we asked */
out:
	saved = errno;
	if (fd >= 0)
		close(fd);
	if (dir >= 0)
		close(dir);
	buf_release(&text);
	errno = saved;
	return doc;
}

static const char *text_of(const json_t *doc, const char *key)
{
	const char *text = json_string_value(json_object_get(doc, key));

	return text != NULL ? text : "";
}

static long long number_of(const json_t *doc, const char *key)
{
	return (long long)json_integer_value(json_object_get(doc, key));
}

/* ---- status ---- */

/* One that says nothing itself: what can be known from outside. */
static json_t *silent_status(const struct target *t)
{
	const char *state = "unknown", *why = "it does not answer";

	if (errno == ENOENT || errno == ECONNREFUSED) {
		state = "starting";
		why = "it does not listen yet";
	} else if (errno == ECONNRESET || errno == EPIPE) {
		state = "stopping";
		why = "it left while it was asked";
	} else if (errno == EACCES || errno == EPERM) {
		state = "running";
		why = "only its own user is told more";
	}
	return json_pack("{s:s, s:i, s:s}", "state", state, "pid", (int)t->pid, "why", why);
}

static void print_age(double seconds)
{
	char text[USEC_TEXT_MAX];

	printf("%s", usec_text((usec_t)(seconds < 0 ? 0 : seconds) * SEC, text));
}

/* Text from the worker, on one line and with nothing in it that a terminal obeys. */
static void print_text(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			printf("\\x%02x", (unsigned)*text);
		else
			putchar(*text);
}

static void print_status(const json_t *doc)
{
	const json_t *jobs = json_object_get(doc, "jobs"), *errors = json_object_get(doc, "last_errors"), *item;
	const json_t *connections = json_object_get(doc, "connections");
	size_t i;

	printf("%s (pid %lld)", text_of(doc, "state"), number_of(doc, "pid"));
	if (text_of(doc, "since")[0] != '\0')
		printf(" since %s, started %s, version %s", text_of(doc, "since"), text_of(doc, "started_at"),
		       text_of(doc, "version"));
	if (text_of(doc, "why")[0] != '\0')
		printf(": %s", text_of(doc, "why"));
	putchar('\n');
	json_array_foreach(connections, i, item)
		printf("%s: %s, %lld reconnects, %lld requests under way%s%s\n", text_of(item, "name"), text_of(item, "state"),
		       number_of(item, "reconnects"), number_of(item, "requests"), text_of(item, "error")[0] != '\0' ? "; " : "",
		       text_of(item, "error"));
	if (jobs != NULL)
		printf("jobs: %lld running of %lld, %lld results waiting\n", number_of(doc, "running"),
		       number_of(doc, "concurrency"), number_of(doc, "results_waiting"));
	json_array_foreach(jobs, i, item) {
		printf("  ");
		print_text(text_of(item, "queue"));
		printf(" ");
		print_text(text_of(item, "id"));
		printf(": %s for ", text_of(item, "state"));
		print_age(json_number_value(json_object_get(item, "age_s")));
		printf(", attempt %lld\n", number_of(item, "attempt"));
	}
	if (json_array_size(errors) != 0)
		printf("last errors:\n");
	json_array_foreach(errors, i, item) {
		printf("  %s %s ", text_of(item, "at"), text_of(item, "event"));
		print_text(text_of(item, "text"));
		putchar('\n');
	}
}

static int tell_not_running(const struct manage_options *o, const struct target *t)
{
	bool dead = t->found == PIDFILE_STALE;
	json_t *doc;

	if (o->json) {
		doc = json_pack("{s:s, s:s}", "state", dead ? "dead" : "not running", "pidfile", o->pidfile);
		json_dumpf(doc, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(doc);
	} else if (dead) {
		printf("dead: nobody holds the pidfile %s, which was left behind\n", o->pidfile);
	} else {
		printf("not running: there is no pidfile %s\n", o->pidfile);
	}
	return dead ? STATUS_DEAD : STATUS_NOT_RUNNING;
}

static int fail(struct cli *cli, const struct error *err)
{
	cli_complain(cli, "%s", err->text);
	return (int)error_exit_status(err);
}

int manage_status(struct cli *cli, const struct manage_options *o)
{
	struct error err = ERROR_INIT;
	struct target t;
	int status = EXIT_DONE;
	json_t *doc;

	if (target_find(&t, o->pidfile, &err) < 0)
		return fail(cli, &err);
	if (t.found != PIDFILE_HELD)
		return tell_not_running(o, &t);
	doc = ask(o->pidfile, "status\n", ANSWER_TIME);
	if (doc == NULL)
		doc = silent_status(&t);
	if (o->json) {
		json_dumpf(doc, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
		putchar('\n');
	} else {
		print_status(doc);
	}
	if ((o->ready && strcmp(text_of(doc, "state"), "running") != 0) || (o->live && strcmp(text_of(doc, "state"), "unknown") == 0))
		status = EXIT_FAILED;
	json_decref(doc);
	target_release(&t);
	return status;
}

/* ---- stop ---- */

static bool is_over(const struct manage_options *o, const struct target *t)
{
	struct pollfd gone = { .fd = t->pidfd, .events = POLLIN };
	struct error ignored = ERROR_INIT;
	pid_t pid;

	poll(&gone, t->pidfd >= 0, 50);
	return pidfile_look(o->pidfile, &pid, &ignored) != PIDFILE_HELD || pid != t->pid;
}

static void tell_waiting(struct cli *cli, const struct manage_options *o, const struct target *t)
{
	json_t *doc = ask(o->pidfile, "status\n", 1);

	if (cli->common.verbose >= 0 && doc != NULL)
		cli_complain(cli, "waiting for pid %d: %s, %lld jobs running, %lld results waiting", (int)t->pid,
		             text_of(doc, "state"), number_of(doc, "running"), number_of(doc, "results_waiting"));
	else if (cli->common.verbose >= 0)
		cli_complain(cli, "waiting for pid %d, which does not answer", (int)t->pid);
	json_decref(doc);
}

static bool is_stopping(const struct manage_options *o)
{
	json_t *doc = ask(o->pidfile, "status\n", 1);
	bool stopping = doc != NULL && strcmp(text_of(doc, "state"), "stopping") == 0;

	json_decref(doc);
	return stopping;
}

/*
 * TERM, unless it is stopping already: the second one would skip the grace period. That one is for --force, and
 * two that are under way at once are one to the kernel: so when the first has come to something, or nothing can
 * be known about that.
 */
static int send_stop(const struct manage_options *o, const struct target *t, struct error *err)
{
	usec_t until = clock_now() + ANSWER_TIME * SEC;

	if (!is_stopping(o)) {
		if (target_signal(t, o->pidfile, SIGTERM, err) < 0)
			return -1;
		while (o->force && !is_over(o, t) && !is_stopping(o) && clock_now() < until)
			;
	}
	return o->force && !is_over(o, t) ? target_signal(t, o->pidfile, SIGTERM, err) : 0;
}

int manage_stop(struct cli *cli, const struct manage_options *o)
{
	usec_t begun = clock_now(), tell_at = begun + TELL_FIRST;
	struct error err = ERROR_INIT;
	char waited[USEC_TEXT_MAX];
	int status = EXIT_DONE;
	struct target t;

	if (target_find(&t, o->pidfile, &err) < 0)
		return fail(cli, &err);
	if (t.found != PIDFILE_HELD) {
		if (cli->common.verbose >= 0)
			tell_not_running(&(struct manage_options){ .pidfile = o->pidfile }, &t);
		return EXIT_DONE;
	}
	if (send_stop(o, &t, &err) < 0) {
		status = fail(cli, &err);
		goto out;
	}
	while (!is_over(o, &t)) {
		usec_t now = clock_now();

		if (o->timeout != 0 && now - begun >= o->timeout) {
			cli_complain(cli, "pid %d is still running after %s; it goes on stopping (--force skips the grace period)",
			             (int)t.pid, usec_text(o->timeout, waited));
			status = EXIT_FAILED;
			goto out;
		}
		if (now >= tell_at) {
			tell_waiting(cli, o, &t);
			tell_at = now + TELL_EVERY;
		}
	}
	if (cli->common.verbose >= 0)
		printf("stopped (pid %d) after %s\n", (int)t.pid, usec_text(clock_now() - begun, waited));
out:
	target_release(&t);
	return status;
}

/* ---- the others are a signal each ---- */

static int tell_by(struct cli *cli, const struct manage_options *o, int signo, const char *done)
{
	struct error err = ERROR_INIT;
	struct target t;

	if (target_find(&t, o->pidfile, &err) < 0)
		return fail(cli, &err);
	if (t.found != PIDFILE_HELD) {
		cli_complain(cli, "no worker holds the pidfile %s", o->pidfile);
		return EXIT_FAILED;
	}
	if (target_signal(&t, o->pidfile, signo, &err) == 0 && cli->common.verbose >= 0)
		printf("%s (pid %d)\n", done, (int)t.pid);
	target_release(&t);
	return err.kind != ERR_NONE ? fail(cli, &err) : EXIT_DONE;
}

/* Asked for at its socket, so that what comes of it is known here too; HUP for one that does not listen. */
int manage_reload(struct cli *cli, const struct manage_options *o)
{
	struct error err = ERROR_INIT;
	int status = EXIT_DONE;
	struct target t;
	json_t *doc;

	if (target_find(&t, o->pidfile, &err) < 0)
		return fail(cli, &err);
	target_release(&t);
	if (t.found != PIDFILE_HELD) {
		cli_complain(cli, "no worker holds the pidfile %s", o->pidfile);
		return EXIT_FAILED;
	}
	doc = ask(o->pidfile, "reload\n", RELOAD_TIME);
	if (doc == NULL && (errno == ECONNRESET || errno == EPIPE)) {
		cli_complain(cli, "the worker (pid %d) left while it was asked", (int)t.pid);
		return EXIT_FAILED;
	}
	if (doc == NULL)
		return tell_by(cli, o, SIGHUP, "told to read its settings again; its log says what came of it");
	if (!json_is_true(json_object_get(doc, "reloaded"))) {
		cli_complain(cli, "%s; the settings in force stay", text_of(doc, "error"));
		status = number_of(doc, "kind") == ERR_SETTINGS ? EXIT_SETTINGS : EXIT_FAILED;
	} else if (cli->common.verbose >= 0) {
		printf("reloaded (pid %d)\n", (int)t.pid);
	}
	json_decref(doc);
	return status;
}

int manage_quiet(struct cli *cli, const struct manage_options *o)
{
	return tell_by(cli, o, SIGTSTP, "told to claim no more");
}

int manage_resume(struct cli *cli, const struct manage_options *o)
{
	return tell_by(cli, o, SIGCONT, "told to work on");
}
