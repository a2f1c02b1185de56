/*
 * spool.h - the local directory where results wait for the database.
 *
 * Nothing that a handler printed is lost, whatever happens to the database or to this process:
 *
 *   out.<n>      the stdout of one child, from its first byte: a head that says whose it is, then
 *                what it prints, as it prints it. One file a child at a time, used again and again.
 *   segment.<n>  what jobs came to, record behind record. Those that gathered while a sync was under
 *                way are written with one write and one fdatasync.
 *
 * An entry:
 *                                   spool_done()
 *   GATHERED --advance--> SYNCING --ok--> SEALED ----> GONE (its segment is emptied when all in it are)
 *                 ^          |                 \
 *                 +--failed--+                  +-- the process dies --> replayed (replay.c)
 *
 * Only a SEALED one is told to the caller, and only what was told counts: what is GATHERED or SYNCING
 * may be lost with the process, and its job is then still PROCESSING in the database. That the
 * database has an entry is not written down one by one: a replay stores it again, the fence refuses
 * it, and classify says "already". So at worst a whole segment is replayed for nothing.
 *
 * A write or sync that fails acknowledges nothing. The file is given up, what was in the batch is
 * written to a new one after a pause; meanwhile the spool is not FINE and says why, and the owner
 * claims no more.
 *
 * One thread of its own writes and syncs (spool_sync.c): open the spool after daemon(). Not thread-safe
 * itself. Not here: files (spool_read.c), dead instances (replay.c).
 */
#ifndef SPOOL_H
#define SPOOL_H

#include <stdbool.h>
#include <stdint.h>
#include "clock.h"
#include "error.h"
#include "spool_record.h"
#include "spool_sync.h"

enum spool_health {
	SPOOL_FINE,
	SPOOL_LOW,		/* less room than the reserve: results still fit, claim no more */
	SPOOL_FAILING,		/* entries could not be written; trying again */
	SPOOL_BROKEN,		/* a sync failed: entries are written elsewhere, but the disk has lost data; end after draining */
};

struct spool_options {
	const char *dir;
	const char *database;	/* as replay_database() tells it; NULL: not known */
	uint64_t reserve;	/* bytes kept for what is under way; 0: none */
	/* Entries up to and including this number are on the disk. From within spool_advance() and spool_sync(). */
	void (*sealed)(void *arg, uint64_t upto);
	/* Once with each change. text: what happened and what to do; NULL when it is FINE again. */
	void (*changed)(void *arg, enum spool_health health, const char *text);
	void *arg;
	const struct spool_io *io;	/* NULL: the real one */
};

struct spool;

MUST_CHECK struct spool *spool_open(const struct spool_options *o, struct error *err);
/* What is not done stays for a replay; an instance with nothing left is removed. Entries that stay are returned. */
size_t spool_close(struct spool *s);
const char *spool_instance(const struct spool *s);

/* ---- entries ---- */

/* Gathered; its number, counted from 1. The record is copied. */
uint64_t spool_seal(struct spool *s, const struct spool_record *r);
/* The database has it (stored, already, late, or it is not wanted there any more). Once for each entry, at any time. */
void spool_done(struct spool *s, uint64_t entry);
/* Take what has ended, start what can be. When to call again at the latest; and when spool_fd() is readable. */
usec_t spool_advance(struct spool *s, usec_t now);
/* Nobody waits for a seal just now: one sync in that time is enough. 0, as it is at first: one follows the other. */
void spool_set_pace(struct spool *s, usec_t pace);
int spool_fd(const struct spool *s);
/* Without a loop: wait until all that was gathered is sealed. -1 after a try that failed. */
int spool_flush(struct spool *s, struct error *err);

size_t spool_entries(const struct spool *s);	/* not done */
uint64_t spool_sealed(const struct spool *s);	/* up to and including this one */

/* ---- room and health ---- */

/* Look at the directory and the room, every second or so. The directory is made again when it has disappeared. */
void spool_check(struct spool *s);
enum spool_health spool_health(const struct spool *s);
uint64_t spool_room(const struct spool *s);	/* bytes free, at the last look, the reserve not counted */
uint64_t spool_bytes(const struct spool *s);	/* of the segments now */

/* ---- output files ---- */

struct spool_out;

/*
 * A file for the stdout of a child, its head written: r as for OUTPUT. fd is
 * the child's stdout, close-on-exec; close it in this process once the child has it.
 */
MUST_CHECK struct spool_out *spool_out_open(struct spool *s, const struct spool_record *r, int *fd, struct error *err);
/*
 * For a file whose record says attended: where the end of who prints is to be noted, and a description of its own, locked
 * as that of the child is, for who attends it: to be closed by the caller. -1: err.
 */
struct spool_note {
	int fd;
	uint64_t at;		/* of the note; the output begins behind it */
	int64_t claim_id;
	uint32_t seed;
};
int spool_out_note(struct spool *s, const struct spool_out *o, struct spool_note *out, struct error *err);
uint64_t spool_out_size(const struct spool_out *o);	/* bytes printed so far */
int spool_out_read(const struct spool_out *o, struct buf *into, uint64_t most, struct error *err);	/* the first, appended */
/* A process still has it as its stdout: a child, or a grandchild that it left. */
bool spool_out_held(struct spool_out *o);
/* Its job's entry is sealed or stored, or nothing was worth keeping: the file is free. */
void spool_out_done(struct spool *s, struct spool_out *o);

#endif
