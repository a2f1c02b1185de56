/*
 * replay.h - the spools of dead processes on this host, stored in the database.
 *
 * Whoever gets the lock of an instance may: unstuckctl spool replay, unstuck-recover. Every record
 * goes through the statements of its queue, fenced by its claim as a worker's own write is; what is
 * not stored is classified:
 *
 *   already                            the database has it
 *   mine, reset                        once more
 *   fenced failed cancelled missing    the bytes go to late_results
 *
 * so a replay may be repeated, at any time, by anybody. Output that nobody judged is never
 * a result: its bytes go to late_results as "unfinished". Output of a handler that was attended, and finished after its
 * worker, is judged by the note of its end; one that runs on for a job that was cancelled, or is gone, is ended.
 * A result that the database refuses fails its job for good and its bytes are kept. Results go many to a transaction;
 * what such a one does not store is a transaction of its own, as is everything else.
 *
 * An instance of another database is left alone: two may be worked on from one host.
 *
 * What cannot be stored now (its queue is not in the settings, the server refuses for the moment) stays
 * in its file. A file with nothing left is removed, one with bytes that are no record is
 * renamed to damaged.<file>, an instance with nothing left is removed.
 */
#ifndef REPLAY_H
#define REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include "error.h"
#include "pg.h"
#include "settings.h"

struct replay_counts {
	size_t instances;	/* dead ones with something in them */
	size_t records;		/* in them; of these... */
	size_t stored;		/* results, failures, releases */
	size_t already;		/* the database had it */
	size_t late;		/* its claim was lost: the bytes are in late_results */
	size_t refused;		/* the database refused the result: the job has failed, the bytes are in late_results */
	size_t dropped;		/* nothing of value: a failure or a release that came too late, output without a byte */
	size_t kept;		/* could not be stored now */
	size_t running;		/* output of a process that still runs */
	size_t elsewhere;	/* dead instances of another database */
	size_t damaged;		/* stretches of bytes that are no record */
};

struct replay {
	const char *dir;			/* spool_dir */
	const struct settings *settings;	/* its queues */
	struct session *session;
	void (*tell)(void *arg, const char *text);	/* one line about what is out of the ordinary */
	void *arg;
	struct replay_counts count;
};

/* What tells this database from every other, for spool_open(); the caller frees. NULL: the server does not tell. */
char *replay_database(struct session *s);

/* -1: the directory cannot be read, or the database went away (ERR_NO_DB); counts say how far it came. */
int replay_run(struct replay *r, struct error *err);

/* How many records and dead instances there are; nothing is changed, no database needed. */
int replay_look(const char *dir, struct replay_counts *out, struct error *err);

#endif
