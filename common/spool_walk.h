/*
 * spool_walk.h - every entry of every instance below spool_dir, to look at: nothing is locked or changed.
 *
 * Of a living instance an entry may be listed that the database has already: its
 * segment is emptied when all in it is done.
 */
#ifndef SPOOL_WALK_H
#define SPOOL_WALK_H

#include <stdbool.h>
#include <stdint.h>
#include "error.h"
#include "spool_record.h"

enum spool_state {
	SPOOL_SEALED,		/* waits for the database */
	SPOOL_WRITING,		/* output of a process that lives */
	SPOOL_UNSEALED,		/* output of one that is gone, and that nobody judged */
	SPOOL_DAMAGED,		/* bytes that are no entry */
};

struct spool_entry {
	const char *instance, *file;
	bool alive;			/* the instance */
	enum spool_state state;
	const struct spool_record *record;	/* NULL: damaged */
	uint64_t bytes;
	const char *what;		/* damaged: a phrase */
};

const char *spool_state_name(enum spool_state s);

/* No directory is no entry. -1: err; what could be read was told. */
int spool_walk(const char *path, void (*entry)(void *arg, const struct spool_entry *e), void *arg, struct error *err);

#endif
