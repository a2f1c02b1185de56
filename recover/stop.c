/*
 * stop.c - the stop flag, the pipe that wakes sleepers, and the cancel request.
 *
 * The pipe is there because a flag alone can be set between looking at it and
 * going to sleep.
 */
#include "stop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t stop;
static PGcancel *volatile cancel;
static int wake[2] = { -1, -1 };

/* PQcancel() is written for signal handlers. */
static void on_signal(int signo)
{
	int saved = errno;
	char why[256];

	(void)signo;
	stop = 1;
	if (write(wake[1], "", 1) < 0)
		stop = 1;	/* the pipe is full: it is readable, which is all that counts */
	if (cancel != NULL)
		(void)PQcancel(cancel, why, sizeof why);
	errno = saved;
}

int stop_init(struct error *err)
{
	/* no SA_RESTART: the question on the terminal ends with the signal as well */
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESETHAND };

	sigemptyset(&act.sa_mask);
	if (pipe2(wake, O_CLOEXEC | O_NONBLOCK) < 0)
		return error_set(err, ERR_SYS, "pipe: %s", strerror(errno));
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	signal(SIGPIPE, SIG_IGN);	/* a closed pipe is an error of write() here */
	return 0;
}

bool stop_asked(void)
{
	return stop != 0;
}

int stop_fd(void)
{
	return wake[0];
}

bool stop_sleep(usec_t howlong)
{
	usec_t until = clock_now() + howlong;

	for (usec_t now = clock_now(); !stop && now < until; now = clock_now()) {
		struct pollfd p = { .fd = wake[0], .events = POLLIN };

		poll(&p, 1, (int)usec_min((until - now + MSEC - 1) / MSEC, 60 * 1000));
	}
	return stop != 0;
}

int stop_watch(PGconn *conn, struct error *err)
{
	PGcancel *old = cancel, *next = NULL;

	if (conn != NULL && (next = PQgetCancel(conn)) == NULL)
		return error_set(err, ERR_SYS, "no cancel request can be made for this connection");
	cancel = next;
	PQfreeCancel(old);
	return 0;
}
