/*
 * queue.h - a queue at run time: its settings, its statements, its handler, and
 * the few numbers that claim.c and store.c keep for each.
 */
#ifndef QUEUE_H
#define QUEUE_H

#include "job.h"
#include "mapping.h"

struct worker;
struct handler;
struct serve;
struct generation;
struct gate;
struct queue_counts;

struct queue {
	struct worker *worker;			/* whose queue it is */
	const struct queue_settings *set;	/* borrowed from the settings (reload.c sees that they stay) */
	struct mapping map;
	char *sql[STATEMENTS];		/* what this mapping can have; else NULL */
	char *handler;			/* executable, resolved */
	const char *on_success;		/* the statement of the settings; NULL: none (reload.c) */
	uint32_t limit;			/* handler processes of this queue at once */

	/* handler.c */
	const struct handler *how;	/* exec or serve */
	char **env;			/* of its processes, without what each has of its own */
	struct serve *serve;		/* serve.c: its processes; NULL for exec */

	/* exec.c */
	usec_t told_at;			/* that no process is to be had: not again before */

	/* line.c */
	struct jobs line;		/* claimed and not started: no process is free yet */
	uint32_t waiting;		/* of busy: that many */
	uint32_t reserved;		/* slots of the worker that this queue may use */
	uint32_t in_use;		/* that it uses: processes at work (exec.c, process.c) */
	usec_t job_took;		/* from start to end, a running mean; 0: not known */

	/* reload.c */
	struct generation *generation;	/* the settings it was made from; NULL: the first ones */
	bool draining;			/* taken out, or made anew: claims no more, and is freed when its last job is gone */
	bool drained;			/* nothing of it is left but answers on their way: no new question about it */
	unsigned rounds;		/* markers that were answered since */

	struct queue_counts *counts;	/* metrics.c; of its name, and the worker's */

	/* flood.c: lines of stderr */
	usec_t flood_until;		/* the end of the window */
	uint32_t flood_lines;		/* logged within it */
	uint64_t flood_dropped;		/* not logged, and not told yet */

	struct gate *gate;		/* rate.c; NULL: no rate */

	/* claim.c */
	uint32_t busy;			/* jobs claimed whose handler is not over */
	uint32_t asked;			/* rows asked for by the claim under way; 0: none */
	bool woken;			/* told of new jobs while a claim was under way */
	bool overtaken;			/* results were stored beside it, on the second connection: it may not have seen what that made ready */
	usec_t claim_at;		/* not before; 0: now */
	unsigned claim_errors;		/* in a row; grows the pause */
	bool empty;			/* the last claim found fewer than it asked for */
	bool unsure;			/* the answer of a claim was lost: it may hold what nobody has seen (reconcile.c) */
	bool hungry;			/* would claim, but other queues have all the processes */
	usec_t asked_at;		/* when the claim under way was sent */
	usec_t claim_took;		/* a claim's round trip, as of late; 0: not known yet */
	char *mark;			/* where the last claim ended; NULL: look from the start of the queue */
	usec_t whole_at;		/* not later than this the next claim looks from the start */
	unsigned met_known;		/* rows that had been claimed before, in a row: grows by doubling */
	unsigned known;			/* so many claims expect them */

	/* batch.c */
	TAILQ_HEAD(, batch) batches;	/* without jobs, to be forgotten */

	/* keep.c */
	size_t keeping;			/* outcomes that are not to be written before they are on the disk */

	/* adoption.c */
	bool adoption_due;		/* look for late results that may be adopted ... */
	usec_t adopt_at;		/* ... not before */
	bool adopt_told;		/* that it cannot: once, until it can again */

	/* store.c */
	struct jobs ended;		/* outcomes waiting to be written */
	size_t ended_len;
	unsigned writes;		/* requests under way */
	usec_t write_at;		/* after a refusal: not before */
	usec_t ended_at;		/* when the first of those that wait came */
	unsigned write_errors;
	unsigned misses;		/* of places, in a row: grows by doubling */
	unsigned unplaced;		/* so many batches go without them */
};

/* Resolve table and handler and make the statements. NULL: this queue cannot work; err says why and the remedy. */
struct queue *queue_new(const struct queue_settings *set, uint32_t worker_concurrency, struct session *session,
                        struct error *err);
void queue_free(struct queue *q);

#endif
