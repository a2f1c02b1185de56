/*
 * pidfile.h - the lock is the truth, the number only a hint.
 */
#ifndef PIDFILE_H
#define PIDFILE_H

#include <sys/types.h>
#include "error.h"

/*
 * Lock path (its directory is made when it is missing) and write our pid into it. Returns the
 * descriptor that holds the lock (close-on-exec, shared with what we fork), or -1.
 */
int pidfile_take(const char *path, struct error *err);
int pidfile_write(const char *path, int fd, struct error *err);	/* our pid again: after a fork */
void pidfile_leave(const char *path, int fd);	/* unlinks while still locked */

enum pidfile { PIDFILE_NONE, PIDFILE_STALE, PIDFILE_HELD };
/* Who has it, for the commands. pid: the number in it; 0: none (yet). -1: it cannot be looked at. */
int pidfile_look(const char *path, pid_t *pid, struct error *err);

#endif
