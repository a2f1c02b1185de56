/*
 * chaos.h - a stage with workers, an own queue and an application's table, in exec and in serve mode; faults;
 * and a judge who believes only what the handlers wrote down (tests/handlers/witness.c), the database and the spool.
 *
 * A test sets a stage, lets things happen, calls chaos_settle() and chaos_judge(). tests/chaos/verdict.sql has the rules.
 */
#ifndef CHAOS_H
#define CHAOS_H

#include <stdint.h>
#include "proxy.h"
#include "story.h"

#define LANES_MAX 8
#define QUEUES 4		/* own_exec, own_serve, map_exec, map_serve */

enum fault {
	FAULT_KILL, FAULT_STOP, FAULT_TERM, FAULT_HURRY,		/* workers: KILL; STOP and CONT; TERM; TERM twice */
	FAULT_BACKEND, FAULT_CRASH,					/* the server: one session, all of it */
	FAULT_CUT, FAULT_PAUSE, FAULT_REFUSE, FAULT_SWALLOW,		/* the way to it */
	FAULT_RECOVER,							/* unstuck-recover besides */
	FAULT_OUTCOME,							/* a handler that fails, crashes, hangs, prints rubbish, kills its worker */
	FAULTS,
};

struct lane {			/* one worker after another, each over the same way to the database */
	struct proc *worker;	/* NULL: none now */
	uint64_t started;	/* of the wall clock, in microseconds, as all times here */
	uint64_t start_at;	/* the next one */
	bool ready;		/* the worker was seen in unstuck.workers */
	uint64_t undo_at;	/* of the fault that it is under; 0: none */
	enum fault under;
};

struct chaos {
	struct testdb *db;
	struct proxy *proxy;
	struct lane lanes[LANES_MAX];
	int lanes_len;
	const char *log;		/* what was written down */
	int log_fd;
	uint64_t random;
	unsigned faults[FAULTS];
	unsigned exits_clean, exits_held, exits_early, exits_killed, left_processing;
	struct proc *recover;	/* the one that runs besides */
};

/* Settings of all queues and workers are the same. limit: of a run (3s at least: verdict.sql); extra: lines for the section [worker]. */
struct chaos *chaos_begin(int lanes, uint64_t seed, const char *limit, const char *extra);
uint64_t chaos_now(void);
uint32_t chaos_random(struct chaos *c, uint32_t below);
const char *chaos_queue(int queue);
/* A statement of the judge's own session: the first value; NULL while the server is away. Overwritten by the next call. */
const char *chaos_ask(struct chaos *c, const char *sql);
/* A line of ours beside those of the handlers. */
void chaos_note(struct chaos *c, char kind, const char *queue, const char *job, int worker);
/* Lines of this kind, as they are now. */
size_t chaos_lines(struct chaos *c, char kind);

/* One job; several with modes drawn by lot, acknowledged together or not at all. */
void chaos_add(struct chaos *c, int queue, const char *mode, int ms);
void chaos_load(struct chaos *c, int jobs);

void chaos_start(struct chaos *c, int lane, const char *const *env);
/* Notes how workers ended, starts those that are due. */
void chaos_tend(struct chaos *c, bool restart);
/* Faults from a mask (1 << FAULT_...) for so long, over a load that comes in batches. */
unsigned chaos_faults(const char *names);	/* those that occur in a text ("kill, server crash"); NULL, "": all */
void chaos_rage(struct chaos *c, double seconds, unsigned faults);

/* Faults are over: all jobs come to an end, all workers leave, one recovery goes over what is left. */
void chaos_settle(struct chaos *c);
/* Prints the figures, and fails the test when a rule is broken. */
void chaos_judge(struct chaos *c);

#endif
