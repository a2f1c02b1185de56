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
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
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

/* One line of stdin without its blanks; only the first size - 1 bytes are kept. false: EOF or a signal. */
static bool read_line(char *line, size_t size)
{
	size_t len = 0;
	ssize_t n;
	char c;

	while ((n = read(STDIN_FILENO, &c, 1)) == 1 && c != '\n')
		if (len < size - 1 && !(len == 0 && isspace((unsigned char)c)))
			line[len++] = c;
	while (len > 0 && isspace((unsigned char)line[len - 1]))
		len--;
	line[len] = '\0';
	return n == 1;
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
	if (!read_line(answer, sizeof answer))
		ask("\n");
	if (stop_asked())
		return CONSENT_STOPPED;
	return strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0 ? CONSENT_YES : CONSENT_NO;
}
