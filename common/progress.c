/*
 * progress.c - the bar: [=======       ] 1200 of 5000
 */
#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define WORTH_IT 500			/* fewer rows are done before anybody looks */
#define REDRAW (100 * MSEC)
#define BAR_MAX 50

static int terminal_columns(void)
{
	struct winsize size;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void progress_init(struct progress *p, size_t total, bool wanted)
{
	*p = (struct progress){ .on = wanted && total > WORTH_IT && isatty(STDERR_FILENO), .total = total };
}

void progress_show(struct progress *p, size_t done)
{
	static const char full[BAR_MAX + 1] = "==================================================";
	char numbers[64];
	int width, filled;
	usec_t now = clock_now();

	if (!p->on || (now - p->drawn < REDRAW && done < p->total))
		return;
	p->drawn = now;
	snprintf(numbers, sizeof numbers, "%zu of %zu", done, p->total);
	width = terminal_columns() - (int)strlen(numbers) - 4;
	if (width > BAR_MAX)
		width = BAR_MAX;
	if (width < 1)
		width = 1;
	filled = (int)((double)width * (double)done / (double)p->total);
	fprintf(stderr, "\r[%.*s%*s] %s", filled, full, width - filled, "", numbers);
	fflush(stderr);
}

void progress_clear(struct progress *p)
{
	if (!p->on || p->drawn == 0)
		return;
	fprintf(stderr, "\r%*s\r", terminal_columns() - 1, "");
	fflush(stderr);
}
