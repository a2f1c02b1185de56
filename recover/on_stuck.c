/*
 * on_stuck.c - one child, fed and waited for under one deadline.
 *
 * It leads a process group of its own, so that whatever it started goes with it
 * when the time is over. Not here: when to run it (main.c, schedule.c).
 */
#include "on_stuck.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "clock.h"
#include "stop.h"

#define TIME_LIMIT (60 * SEC)

struct command {
	const char *name;
	pid_t pid;
	int pidfd, in;		/* in: -1 once all is written or nobody reads */
	const char *rest;
	size_t rest_len;
};

static int command_start(struct command *c, char *const *argv, struct error *err)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t defaults, none;
	int fds[2], rc;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_set(err, ERR_SYS, "pipe: %s", strerror(errno));
	sigfillset(&defaults);
	sigemptyset(&none);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, fds[0], STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);	/* our stdout is the report's */
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setsigdefault(&attr, &defaults);
	posix_spawnattr_setsigmask(&attr, &none);
	rc = posix_spawnp(&c->pid, argv[0], &files, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	close(fds[0]);
	if (rc != 0) {
		close(fds[1]);
		return error_set(err, ERR_SYS, "%s: %s", argv[0], strerror(rc));
	}
	c->in = fds[1];
	fcntl(c->in, F_SETFL, O_NONBLOCK);
	c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	return 0;
}

static void close_input(struct command *c)
{
	if (c->in >= 0)
		close(c->in);
	c->in = -1;
}

static void feed(struct command *c)
{
	ssize_t n = write(c->in, c->rest, c->rest_len);

	if (n > 0) {
		c->rest += n;
		c->rest_len -= (size_t)n;
	}
	if (c->rest_len == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		close_input(c);		/* a command that does not read it all is fine */
}

/* Feed it until it has ended; false when the time is over or we shall stop. */
static bool command_wait(struct command *c)
{
	usec_t until = clock_now() + TIME_LIMIT;

	for (usec_t now = clock_now(); now < until; now = clock_now()) {
		struct pollfd p[] = {
			{ .fd = c->pidfd, .events = POLLIN },
			{ .fd = c->in, .events = POLLOUT },
			{ .fd = stop_fd(), .events = POLLIN },
		};

		if (poll(p, ARRAY_SIZE(p), (int)((until - now + MSEC - 1) / MSEC)) < 0 && errno != EINTR)
			return false;
		if (p[0].revents != 0)
			return true;
		if (stop_asked())
			return false;
		if (c->in >= 0 && p[1].revents != 0)
			feed(c);
	}
	return false;
}

int on_stuck_run(char *const *argv, const char *report, size_t len, struct error *err)
{
	struct command c = { .name = argv[0], .pidfd = -1, .in = -1, .rest = report, .rest_len = len };
	int status = 0, rc = 0;
	bool ended;

	if (command_start(&c, argv, err) < 0)
		return -1;
	ended = c.pidfd >= 0 && command_wait(&c);
	close_input(&c);
	if (!ended)
		kill(-c.pid, SIGKILL);
	while (waitpid(c.pid, &status, 0) < 0 && errno == EINTR)
		;
	if (c.pidfd >= 0)
		close(c.pidfd);
	if (!ended)
		rc = error_set(err, ERR_SYS, stop_asked() ? "%s was killed: we were told to stop"
		               : "%s was still running after 60 s and was killed", c.name);
	else if (WIFSIGNALED(status))
		rc = error_set(err, ERR_SYS, "%s died of signal %d", c.name, WTERMSIG(status));
	else if (WEXITSTATUS(status) != 0)
		rc = error_set(err, ERR_SYS, "%s ended with status %d", c.name, WEXITSTATUS(status));
	return rc;
}
