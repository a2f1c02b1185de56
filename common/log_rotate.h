/*
 * log_rotate.h - the daily turn of a log file: FILE becomes FILE.2026-01-01, the day that its lines are of (UTC),
 * and the oldest of those are removed.
 */
#ifndef LOG_ROTATE_H
#define LOG_ROTATE_H

#include <stdint.h>
#include "error.h"

/* Since 1970, UTC: of the last line in the file open as fd, or today where it is empty. */
int64_t log_rotate_day_of(int fd);

/*
 * Put path, open as fd and with lines of that day, out of the way, and keep the newest `keep` of those. 1: it is
 * done, or another process did it: open path again. 0: nothing was to be done, or that day has its file already. -1: err.
 */
int log_rotate(const char *path, int fd, int64_t day, unsigned keep, struct error *err);

#endif
