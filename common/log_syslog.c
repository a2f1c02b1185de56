/*
 * log_syslog.c - see log_syslog.h. Not the C library's: its syslog() waits while the log's reader does not read.
 */
#include "log_syslog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"

#define FACILITY (3 << 3)	/* daemon */

static int fd = -1;

static bool is_open(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };

	if (fd >= 0)
		return true;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0) {
		close(fd);
		fd = -1;
	}
	return fd >= 0;
}

bool log_syslog_is_there(void)
{
	return is_open();
}

/* "<30>Jan  1 00:00:00 unstuck-worker[42]: line" */
static void add_head(struct buf *out, int severity)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t now = time(NULL);
	struct tm tm;

	localtime_r(&now, &tm);
	buf_addf(out, "<%d>%.3s %2d %02d:%02d:%02d unstuck-worker[%d]: ", FACILITY | severity, months + 3 * tm.tm_mon,
	         tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)getpid());
}

void log_syslog_send(int severity, const char *line, size_t len)
{
	struct buf out = BUF_INIT;

	add_head(&out, severity);
	buf_add(&out, line, len);
	/* The log's daemon may have been restarted: once more on a new socket. */
	for (int i = 0; i < 2 && is_open(); i++) {
		if (send(fd, out.data, out.len, MSG_NOSIGNAL) >= 0 || errno == EAGAIN || errno == EMSGSIZE)
			break;
		close(fd);
		fd = -1;
	}
	buf_release(&out);
}
