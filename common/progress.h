/*
 * progress.h - a bar on stderr, for long runs on a terminal only.
 */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include "clock.h"

struct progress {
	bool on;
	size_t total;
	usec_t drawn;		/* when last */
};

void progress_init(struct progress *p, size_t total, bool wanted);
void progress_show(struct progress *p, size_t done);
void progress_clear(struct progress *p);	/* before any other line, and at the end */

#endif
