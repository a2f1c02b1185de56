/*
 * job.h - one claimed row and what became of it: the vocabulary of the worker.
 *
 *   CLAIMED --start--> RUNNING --over--> ENDED --written--> (freed)
 *      |                  |                ^
 *      |                  +-- killed by a stranger's signal --> HELD --+
 *      +-- not started (stopping, no process to be had) --------------+
 *
 * HELD waits a second to learn whether the signal that ended the child belongs
 * to a stop that reaches us too; then it is ENDED.
 */
#ifndef JOB_H
#define JOB_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include "buf.h"
#include "clock.h"
#include "late.h"

#define WORKER_ID_LEN 36
#define PLACE_MAX 24			/* "(4294967295,65535)" */
typedef char worker_id[WORKER_ID_LEN + 1];	/* a uuid as text */

struct queue;
struct batch;
struct child;
struct grant;
struct process;
struct spool_out;

enum job_state { JOB_CLAIMED, JOB_RUNNING, JOB_HELD, JOB_ENDED };

/* Why we end a child before it ended itself. The first reason stays. */
enum job_ending {
	ENDING_NONE,
	ENDING_TIMEOUT,		/* ran longer than the queue's timeout */
	ENDING_TOO_LARGE,	/* printed more than max_result */
	ENDING_STOP,		/* the worker stops and its grace period is over */
	ENDING_LOST,		/* the claim is no longer ours */
};

enum outcome_kind {
	OUTCOME_DONE,		/* result holds JSON text */
	OUTCOME_RETRY,		/* failed; again while the budget lasts */
	OUTCOME_FAIL,		/* failed for good */
	OUTCOME_LATER,		/* exit status 75: no failure, again after the backoff */
	OUTCOME_RELEASE,	/* given back; counts nothing */
};

struct outcome {
	enum outcome_kind kind;
	struct buf result;	/* DONE: the text to store */
	struct buf raw;		/* the handler's bytes, where they must be kept as they are */
	char *error;		/* RETRY, FAIL, LATER: what happened; valid UTF-8 */
	enum late_reason late_reason;	/* of raw (with RETRY, FAIL, RELEASE), or of a result that came too late; else LATE_NONE */
	usec_t delay;		/* RETRY, LATER */
};

struct job {
	TAILQ_ENTRY(job) all;		/* jobs of the worker, until written */
	TAILQ_ENTRY(job) link;		/* the list it is in: serve.c's, and once ENDED the store's */
	struct queue *queue;
	char *id;			/* the key as text; behind the struct */
	int64_t claim_id;
	worker_id worker;		/* the identity it was claimed under: the other half of the token */
	int attempt;
	int failures;			/* before this attempt */
	char row_place[PLACE_MAX];	/* where its row and its claim lie (tid); "": not known, or not there any more */
	char claim_place[PLACE_MAX];
	char *payload;
	size_t payload_len;

	enum job_state state;
	bool started;			/* a handler ran: an attempt counts */
	enum { DOUBT_NONE, DOUBT_HELD, DOUBT_ASKED } doubt;	/* reconcile.c: not in what the database says we hold; asked about */
	enum job_ending ending;
	bool killed;			/* KILL was needed */
	struct child *child;		/* RUNNING */
	struct process *process;	/* serve: RUNNING; who holds it */
	struct grant *grant;		/* rate.c: it may start; NULL: it has started, or its queue has no rate */
	struct batch *batch;		/* claimed with many others; else NULL */
	struct job *chain;		/* serve: the next one with the same place in its process's table */
	double progress;		/* serve: the last one told, 0 to 1 as a rule; NAN: never told */
	struct spool_out *file;		/* exec with spool = always: what stdout goes to; else NULL */
	struct buf out;			/* stdout so far, or read back; serve: the result */
	bool cut;			/* more was printed than max_result: out is not whole */
	usec_t started_at;		/* serve: CLAIMED: since when it waits for a process */
	usec_t ended_at;		/* ENDED */
	usec_t end_at;			/* RUNNING: time limit; then when KILL follows; HELD: when to judge */
	int status;			/* HELD: as waitpid() gave it */

	struct outcome outcome;
	uint64_t entry;			/* of the spool (keep.c); 0: none */
	bool kept_back;			/* until that is sealed */
	int sends;			/* times its outcome was written without an answer that settled it */
};

TAILQ_HEAD(jobs, job);

/* For loops that may free the job they look at. */
#define JOBS_FOREACH_SAFE(j, head, field, next) \
	for ((j) = TAILQ_FIRST(head); (j) != NULL && ((next) = TAILQ_NEXT(j, field), true); (j) = (next))

struct job *job_new(struct queue *q, const char *id, int64_t claim_id, const worker_id worker);
void job_free(struct job *j);

const char *outcome_kind_name(enum outcome_kind k);	/* as the fail statement takes it: retry fail later */

#endif
