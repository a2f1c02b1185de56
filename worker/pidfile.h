/*
 * pidfile.h - the lock is the truth, the number only a hint.
 */
#ifndef PIDFILE_H
#define PIDFILE_H

#include "error.h"

/* Lock path and write our pid into it. Returns the descriptor that holds the lock (close-on-exec), or -1. */
int pidfile_take(const char *path, struct error *err);
void pidfile_leave(const char *path, int fd);	/* unlinks while still locked */

#endif
