/*
 * confirm.c - the question before anything is changed.
 *
 * The question goes to the terminal even where stdout and stderr do not; the
 * answer comes from stdin. Not here: what --yes means (run.c).
 */
#include "confirm.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "failpoint.h"
#include "stop.h"

static void ask(const char *question)
{
	int fd = isatty(STDERR_FILENO) ? STDERR_FILENO : open("/dev/tty", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		fd = STDERR_FILENO;
	dprintf(fd, "%s", question);
	if (fd != STDERR_FILENO)
		close(fd);
}

/* A signal between the question and the read would leave a bare read() waiting for ever: sleep on the pipe of the stop flag too. */
static bool can_read(void)
{
	struct pollfd p[] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .fd = stop_fd(), .events = POLLIN } };

	while (!stop_asked() && poll(p, 2, -1) < 0 && errno == EINTR)
		;
	return !stop_asked();
}

/* One line of stdin without its blanks; only the first size - 1 bytes are kept. false: EOF or a signal. */
static bool read_line(char *line, size_t size)
{
	size_t len = 0;
	char c = '\0';

	while (can_read() && read(STDIN_FILENO, &c, 1) == 1 && c != '\n')
		if (len < size - 1 && !(len == 0 && isspace((unsigned char)c)))
			line[len++] = c;
	while (len > 0 && isspace((unsigned char)line[len - 1]))
		len--;
	line[len] = '\0';
	return c == '\n';
}

enum consent confirm_ask(size_t reset, size_t fail)
{
	char question[160], answer[8];

	if (!isatty(STDIN_FILENO))
		return CONSENT_NOBODY;
	if (fail == 0)
		snprintf(question, sizeof question, "Reset %zu row%s? [y/N] ", reset, reset == 1 ? "" : "s");
	else
		snprintf(question, sizeof question, "Reset %zu row%s and fail %zu for good? [y/N] ", reset,
		         reset == 1 ? "" : "s", fail);
	if (stop_asked())
		return CONSENT_STOPPED;
	ask(question);
	FAILPOINT(recover_asked);
	if (!read_line(answer, sizeof answer))
		ask("\n");
	if (stop_asked())
		return CONSENT_STOPPED;
	return strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0 ? CONSENT_YES : CONSENT_NO;
}
