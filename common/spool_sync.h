/*
 * spool_sync.h - one thread that writes and syncs, so that who has a loop to turn never waits for a disk.
 *
 * One order at a time. While it is under way nothing in it may be touched. The thread opens,
 * truncates, writes and syncs; it never forks, takes no signal, and frees nothing.
 */
#ifndef SPOOL_SYNC_H
#define SPOOL_SYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "error.h"

/* The calls that can fail on a full or a broken disk. Tests put their own in place of one. */
struct spool_io {
	int (*open)(int dir, const char *name, int flags, mode_t mode);
	ssize_t (*pwrite)(int fd, const void *data, size_t len, off_t at);
	int (*fdatasync)(int fd);
	int (*fsync_dir)(int dir);
};
extern const struct spool_io spool_io_real;

struct spool_order {
	int dir;
	char name[32];
	int fd;			/* -1: the file is created; set by the thread */
	bool empty;		/* it is truncated first */
	off_t at;
	const char *data;
	size_t len;		/* 0: nothing is written or synced */
	/* the answer */
	int error;		/* errno, 0: done */
	const char *what;	/* the call that failed */
};

struct spool_sync;

MUST_CHECK struct spool_sync *spool_sync_new(const struct spool_io *io, struct error *err);
void spool_sync_free(struct spool_sync *s);		/* waits for the order under way */
int spool_sync_fd(const struct spool_sync *s);		/* readable: an order has ended */
void spool_sync_start(struct spool_sync *s, struct spool_order *o);
/* The order that has ended since; NULL: none. wait: block until there is one, if one is under way. */
struct spool_order *spool_sync_ended(struct spool_sync *s, bool wait);
bool spool_sync_busy(const struct spool_sync *s);

#endif
