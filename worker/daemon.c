/*
 * daemon.c - see daemon.h.
 *
 *   caller --fork--> in between (setsid) --fork--> daemon
 *     |<------------- a pipe: its pid, then its status -----|
 */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int caller = -1;			/* in the daemon: our end of the pipe, until we are ready */
static volatile sig_atomic_t given_up;	/* in the caller: somebody wants us to end */

/* ---- the caller ---- */

static void on_give_up(int signo)
{
	given_up = signo;
}

/* An int from the pipe; false at its end. A caller that is told to stop stops the worker that it started. */
static bool read_int(int fd, pid_t daemon, int *out)
{
	ssize_t n;

	while ((n = read(fd, out, sizeof *out)) < 0 && errno == EINTR)
		if (given_up && daemon > 0)
			kill(daemon, SIGTERM);
	return n == (ssize_t)sizeof *out;
}

static int wait_until_ready(int fd, pid_t between, struct error *err)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction act = { .sa_handler = on_give_up };
	int pid = 0, status = EXIT_FAILED;

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &act, NULL);
	while (waitpid(between, NULL, 0) < 0 && errno == EINTR)
		;
	if (!read_int(fd, 0, &pid))
		error_set(err, ERR_SYS, "the daemon could not be started");
	else if (!read_int(fd, pid, &status))
		error_set(err, ERR_SYS, "the worker (pid %d) was ended before it was ready", pid);
	return err->kind == ERR_NONE ? status : EXIT_FAILED;
}

/* ---- the daemon ---- */

static void take_null(int fd, int flags)
{
	int null = open("/dev/null", flags | O_CLOEXEC);

	if (null >= 0 && null != fd) {
		dup2(null, fd);
		close(null);
	}
}

static void tell(int number)
{
	ssize_t n = write(caller, &number, sizeof number);

	(void)n;	/* a caller that is gone needs no answer */
}

static void become_daemon(int fd)
{
	signal(SIGPIPE, SIG_IGN);	/* the caller may be gone */
	caller = fd;
	take_null(STDIN_FILENO, O_RDONLY);
	tell((int)getpid());
}

int daemon_start(struct error *err)
{
	int fds[2];
	pid_t between;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_set(err, ERR_SYS, "no pipe: %s", strerror(errno)), (int)EXIT_FAILED;
	between = fork();
	if (between < 0)
		return error_set(err, ERR_SYS, "no process could be made: %s", strerror(errno)), (int)EXIT_FAILED;
	if (between > 0) {
		close(fds[1]);
		return wait_until_ready(fds[0], between, err);
	}
	close(fds[0]);
	/* A session of its own, and not its leader: it can never get a terminal again. */
	if (setsid() < 0)
		_exit(EXIT_FAILED);
	switch (fork()) {
	case 0:
		become_daemon(fds[1]);
		return -1;
	default:
		_exit(EXIT_DONE);
	}
}

void daemon_close_strangers(void)
{
	close_range(STDERR_FILENO + 1, ~0U, 0);
}

void daemon_ready(void)
{
	if (caller < 0)
		return;
	take_null(STDOUT_FILENO, O_WRONLY);
	take_null(STDERR_FILENO, O_WRONLY);
	daemon_over(EXIT_DONE);
}

bool daemon_is_awaited(void)
{
	return caller >= 0;
}

void daemon_over(int status)
{
	if (caller < 0)
		return;
	tell(status);
	close(caller);
	caller = -1;
}
