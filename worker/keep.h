/*
 * keep.h - what jobs came to, on this host's disk: the worker's one door to the spool.
 *
 *   spool = always   an outcome is sealed before the database is tried, and a child of exec prints into a file of the spool
 *   spool = outage   an outcome is sealed once it has waited for the database longer than a moment; both modes
 *
 * Either way it stays in memory too, and goes to the database from there. What this process does not get rid of is stored by whoever
 * replays its spool: the next worker on the host before it claims, unstuck-recover, `unstuckctl spool replay`.
 *
 * While the spool itself cannot write, nothing is held back for it: the database is then the safer place.
 */
#ifndef KEEP_H
#define KEEP_H

#include "worker.h"

struct spool_note;

/* Starts a thread: after daemon(). -1: a queue of ours needs the spool and there can be none. */
int keep_open(struct worker *w, struct error *err);
void keep_close(struct worker *w);	/* before the jobs are freed: what is sealed stays on the disk */

/*
 * The stdout of a child, where its queue's results are to be on the disk first: to be closed by the caller. 0: a pipe
 * will do. -1: it must not be started.
 */
int keep_out_open(struct worker *w, struct job *j, struct error *err);
/* For one that is to finish even when we die: where its end is noted; note->fd is to be closed by the caller. */
int keep_out_note(struct worker *w, struct job *j, struct spool_note *note, struct error *err);
uint64_t keep_out_size(const struct job *j);
bool keep_out_held(const struct job *j);	/* somebody still prints into it */
void keep_out_empty(struct worker *w, struct job *j);	/* nothing was printed: the file need not wait for the seal */
int keep_out_read(struct job *j, uint64_t most, struct error *err);	/* into j->out */

/* ENDED. true: it is held back, and store_sealed() follows. */
bool keep_take(struct worker *w, struct job *j);
/* Settled, or of no interest any more: nothing of it is to stay on the disk. */
void keep_forget(struct worker *w, struct job *j);
usec_t keep_advance(struct worker *w, usec_t now);
/* No new jobs while results could not be put anywhere. */
bool keep_is_well(const struct worker *w);
/* ... and there never will be a place again: the disk has lost data. */
bool keep_is_broken(const struct worker *w);
/* The time is over: what waits goes to the disk now. How many are safe there; those that are not are told apart by keep_has(). */
size_t keep_all(struct worker *w);
bool keep_has(const struct worker *w, const struct job *j);
/* The spool as an operator sees it: fine, low, broken (it cannot write), off (there is none), what waits in it. */
struct keep_state {
	const char *name;
	uint64_t entries, bytes;
};
struct keep_state keep_state(const struct worker *w);
size_t keep_count(const struct worker *w);	/* ended jobs that the disk has and the database has not */

#endif
