/*
 * handler.h - what claim.c, reconcile.c and worker.c ask of handlers, whichever mode.
 *
 * Slots are the worker's concurrency: each is one handler process at work. Not
 * here: how a job runs (exec.c, serve.c), what its end means (outcome.c).
 */
#ifndef HANDLER_H
#define HANDLER_H

#include "worker.h"

struct handler {		/* one mode; NULL where it has nothing to do */
	void (*open)(struct queue *q);
	void (*close)(struct queue *q);
	void (*end)(struct worker *w, struct job *j, enum job_ending why);
	uint32_t (*capacity)(const struct queue *q);	/* jobs that may run at once in q->reserved slots */
	bool (*has_processes)(const struct queue *q);	/* besides those of its jobs */
	/* all queues of this mode; advance() starts jobs in line too */
	void (*end_all)(struct worker *w, enum job_ending why);
	void (*kill_all)(struct worker *w);
	usec_t (*advance)(struct worker *w, usec_t now);
	bool (*is_idle)(const struct worker *w);
};

void handler_open(struct worker *w);
void handler_close(struct worker *w);	/* after the children are gone */
void handler_open_queue(struct queue *q);
void handler_close_queue(struct queue *q);
bool handler_queue_is_idle(const struct queue *q);	/* it has no process left */

void handler_start(struct worker *w, struct job *j);	/* as soon as a process is free; or gives it back when none is to be had */
void handler_end(struct worker *w, struct job *j, enum job_ending why);	/* may free j when it has not started */
void handler_end_all(struct worker *w, enum job_ending why);	/* TERM, and KILL after force_delay */
void handler_kill_all(struct worker *w);			/* KILL now */
usec_t handler_advance(struct worker *w, usec_t now);		/* time limits; returns the next */
bool handler_is_idle(const struct worker *w);	/* no process is left that has to be waited for */

/* How many more jobs of this queue may be claimed now, the process slots of all queues considered. */
uint32_t handler_room(struct worker *w, struct queue *q);
bool handler_has_slot(const struct worker *w, const struct queue *q);	/* one that it does not use yet */

/* For exec.c and serve.c. */
void handler_over(struct worker *w, struct job *j);	/* its outcome is known: to the store */
void handler_forget(struct worker *w, struct job *j);	/* nothing to write: it is freed */
void handler_give_back(struct worker *w, struct job *j, const char *why);	/* not started: released */
void handler_hold(struct worker *w, struct job *j);	/* judged in a second, when we know whether we are to stop */
/*
 * The environment of a process: what all of the queue's have (PATH, LANG, TZ, HOME and what its `env` names), and its own. The
 * strings are borrowed from both; free() it.
 */
char **handler_env(const struct queue *q, const struct buf *own);
void handler_env_add(struct buf *own, const char *name, const char *value);
/* A line of stderr: of this job, or (j NULL) of a process that has several. */
void handler_log_line(struct queue *q, const struct job *j, const struct child *c, const char *line, size_t len);

#endif
