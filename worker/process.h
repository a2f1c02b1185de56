/*
 * process.h - one handler process of a serve queue, and what all of a queue's share.
 *
 *   UP --stop and no job left: EOF--> LEAVING --+
 *    |                                          +--> ENDING (TERM) --force_delay--> KILLED
 *    +--time limit, lost claim, broken stream---+
 *   from each of them: it ends, tells what became of the jobs it held, and is freed.
 */
#ifndef PROCESS_H
#define PROCESS_H

#include "jsonl.h"
#include "worker.h"

enum process_state { PROCESS_UP, PROCESS_LEAVING, PROCESS_ENDING, PROCESS_KILLED };

struct process {
	TAILQ_ENTRY(process) link;
	struct serve *s;
	struct child *child;
	enum process_state state;
	enum job_ending ending;		/* ENDING, KILLED: why; NONE: fault */
	char *fault;			/* what was wrong with its stream; counts as a crash */
	usec_t until;			/* LEAVING: TERM then; ENDING: KILL then */

	struct jobs held;		/* in order of start */
	uint32_t held_len;
	uint32_t lost;			/* of them: whose claim is no longer ours */
	bool in_use;			/* counted in queue.in_use: holds a job, or is being ended */
	struct job **table;		/* held by hash of the id, chained */

	struct buf out;			/* requests not written yet, of the last `unsent` of held */
	uint32_t unsent;
	struct jsonl_lines in;
	uint32_t ignored;		/* lines in a row that were no answer to a job it holds */
	bool answered;			/* once: it works */
};

TAILQ_HEAD(processes, process);

struct serve {			/* the processes of one queue */
	struct queue *q;
	struct processes processes;
	uint32_t len;
	usec_t now;			/* of this turn of the loop */
	usec_t start_at;		/* no process is started before */
	unsigned crashes;		/* in a row */
	size_t mask;			/* tables have mask + 1 places */
	struct buf id;			/* scratch: an id that had escapes */
};

/* NULL: none can be had; said in the log, and the next try has to wait (start_at). */
struct process *process_start(struct serve *s);
void process_free(struct process *p);		/* only after its child is gone */

uint32_t process_limit(const struct process *p);	/* jobs that may be outstanding at it */
bool process_takes(const struct process *p);		/* one more, now */
struct job **process_place(const struct process *p, const char *id, size_t len);	/* of its job of that id; else NULL is there */
void process_give(struct process *p, struct job *j, const char *deadline);	/* process_write() follows */
void process_write(struct process *p);		/* what it was given; back to the line when it closed its stdin */

void process_end(struct process *p, enum job_ending why);	/* TERM, and KILL after force_delay */
void process_kill(struct process *p);
usec_t process_advance(struct process *p, usec_t now);		/* its time limits; returns the next */

#endif
