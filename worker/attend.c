/*
 * attend.c - see attend.h.
 *
 * The attendant is a fork of the worker and never another program: other threads' locks may be held in it for ever, so it
 * calls what is safe after fork() and nothing else, and allocates nothing.
 */
#include "attend.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch.h"
#include "spool_read.h"

#define LOOK_EVERY_MS 50		/* when the worker is gone */

struct attendant {
	const struct attend *a;
	pid_t worker, handler;
	usec_t until;			/* TERM, then KILL */
	bool ending, overdue;
};

static bool is_alone(const struct attendant *t)
{
	return getppid() != t->worker;
}

/* All but these two. */
static void close_others(int a, int b)
{
	unsigned low = (unsigned)(a < b ? a : b), high = (unsigned)(a < b ? b : a);

	if (low > 0)
		close_range(0, low - 1, 0);
	if (high > low + 1)
		close_range(low + 1, high - 1, 0);
	close_range(high + 1, ~0U, 0);
}

static uint64_t printed(const struct attend *a)
{
	uint64_t start = a->note.at + SPOOL_HEAD;
	struct stat st;

	return fstat(a->note.fd, &st) == 0 && (uint64_t)st.st_size > start ? (uint64_t)st.st_size - start : 0;
}

/* Nobody reads its stderr any more; a full pipe would hold it up, a closed one would kill it. */
static void read_stderr(const struct attendant *t)
{
	char words[4096];

	while (read(t->a->stderr_end, words, sizeof words) > 0)
		;
}

/* A handler that does not go at TERM, or prints without end, has no result: no note is left, and we go with its group. */
static void keep_limits(struct attendant *t)
{
	bool overdue = clock_now() >= t->until;

	if (printed(t->a) > t->a->most || (overdue && t->ending))
		kill(0, SIGKILL);
	if (t->ending || !(overdue || spool_output_refused(t->a->note.fd)))
		return;
	kill(0, SIGTERM);
	t->ending = true;
	t->overdue = overdue;
	t->until = clock_now() + t->a->force;
}

static int wait_for_handler(struct attendant *t)
{
	const struct timespec look = { .tv_nsec = LOOK_EVERY_MS * 1000000L };
	sigset_t news;
	int status;

	sigemptyset(&news);
	sigaddset(&news, SIGCHLD);
	sigaddset(&news, SIGUSR1);
	while (waitpid(t->handler, &status, WNOHANG) != t->handler) {
		if (!is_alone(t)) {
			sigwaitinfo(&news, NULL);
			continue;
		}
		read_stderr(t);
		keep_limits(t);
		sigtimedwait(&news, NULL, &look);
	}
	return status;
}

/* A handler that opened its stdout by name may have cut off the head with all else: then there is no room for a note. */
static bool has_head(const struct attend *a)
{
	char magic[SPOOL_MAGIC_LEN];

	return pread(a->note.fd, magic, sizeof magic, 0) == (ssize_t)sizeof magic && memcmp(magic, SPOOL_MAGIC, sizeof magic) == 0;
}

static bool note_end(const struct attend *a, int status)
{
	char end[SPOOL_HEAD];

	if (!has_head(a))
		return false;
	spool_encode_end(end, a->note.claim_id, status, printed(a), a->note.seed);
	return pwrite(a->note.fd, end, sizeof end, (off_t)a->note.at) == (ssize_t)sizeof end;
}

static _Noreturn void end_as(int status)
{
	const struct rlimit none = { 0, 0 };
	sigset_t one;

	if (WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	setrlimit(RLIMIT_CORE, &none);	/* if there is one to be had, the handler has left it */
	signal(WTERMSIG(status), SIG_DFL);
	kill(getpid(), WTERMSIG(status));
	sigemptyset(&one);
	sigaddset(&one, WTERMSIG(status));
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	_exit(128 + WTERMSIG(status));
}

static _Noreturn void attendant(const struct launch *l, int tell)
{
	const struct attend *a = &l->attend;
	struct attendant t = { .a = a, .worker = l->parent };
	struct launch inner = *l;
	int status;

	prctl(PR_SET_NAME, "unstuck-attend");
	if (setpgid(0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGUSR1) < 0 || is_alone(&t))
		_exit(127);
	inner.parent = getpid();
	inner.in_group = true;
	if (launch(&inner) < 0) {
		int error = inner.error;
		ssize_t ignored = write(tell, &error, sizeof error);

		(void)ignored;
		_exit(127);
	}
	t.handler = inner.pid;
	t.until = clock_now() + a->limit;
	close_others(a->note.fd, a->stderr_end);
	status = wait_for_handler(&t);
	note_end(a, t.overdue ? status | SPOOL_OVERDUE : status);
	if (!is_alone(&t))
		end_as(status);
	fdatasync(a->note.fd);
	kill(0, SIGKILL);	/* what it left in its group, and we are done too */
	_exit(0);
}

/* The handler runs, or this says why not. */
static int read_failure(int fd)
{
	int error = 0;
	ssize_t n;

	do
		n = read(fd, &error, sizeof error);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof error ? error : 0;
}

int attend(struct launch *l)
{
	int tell[2];

	l->error = 0;
	if (pipe2(tell, O_CLOEXEC) < 0) {
		l->error = errno;
		return -1;
	}
	l->pid = fork();
	if (l->pid == 0)
		attendant(l, tell[1]);
	if (l->pid < 0)
		l->error = errno;
	close(tell[1]);
	if (l->pid > 0 && (l->error = read_failure(tell[0])) != 0)
		while (waitpid(l->pid, NULL, 0) < 0 && errno == EINTR)
			;
	close(tell[0]);
	return l->error == 0 ? 0 : -1;
}
