/*
 * worker.h - struct worker owns everything; worker_advance() decides.
 *
 * Every part of the worker sees this struct; each file changes only what is
 * marked as its own. Callbacks note a fact and let worker_advance() look at the
 * whole state, so that no combination of events can be forgotten.
 */
#ifndef WORKER_H
#define WORKER_H

#include <event2/event.h>
#include "child.h"
#include "db.h"
#include "job.h"
#include "queue.h"
#include "settings.h"
#include "shutdown.h"

struct counters {
	uint64_t started, finished, done, failed, retried, released, killed, late, recovered, unsaved;
};

/* presence.c: whether this process is registered in unstuck.workers, and under which id. */
enum presence { ABSENT, REGISTERING, PRESENT, LEAVING, GONE };

struct inherit;
struct control;
struct http;
struct keep;
struct lanes;
struct metrics;
struct notify;
struct redis;
struct reload;
struct cli;
struct worker_options;

/* As an operator sees it. */
enum worker_state { WORKER_STARTING, WORKER_RUNNING, WORKER_QUIET, WORKER_STOPPING };

struct worker {
	const struct settings *set;
	const struct worker_options *opt;
	struct event_base *base;
	struct event *tick;		/* the next deadline */
	struct event *turn;		/* something happened (two events: arming one would take the other back) */
	struct db *db;
	struct lanes *lanes;		/* lanes.c: a second connection under load */
	struct children *children;
	struct control *control;	/* control.c; NULL: nobody can ask */
	struct http *http;		/* http.c; NULL: [http] listen is off */
	struct reload *reload;
	struct keep *keep;		/* keep.c: the spool */
	struct metrics *metrics;	/* metrics.c */
	struct inherit *inherit;		/* inherit.c: what dead workers left */
	bool inherit_due;			/* inherit.c: the database is back, others may have died meanwhile */
	struct notify *notify;		/* notify.c; NULL: nobody wants to be told */
	struct redis *redis;		/* redis.c; NULL: no redis_url */
	struct queue **queues;		/* ours; in no order that means anything */
	size_t queues_len;

	struct jobs jobs;		/* all jobs in flight, until written */
	size_t jobs_len;
	size_t running;			/* jobs that a handler works on (exec.c, serve.c) */
	usec_t next_end;		/* the earliest end_at of all jobs (exec.c) */
	usec_t look_at;			/* at the sizes of output files (exec.c) */
	size_t held;			/* jobs HELD (handler.c), and when the first is to be judged */
	usec_t held_until;
	bool idle_killed;		/* the stop had to kill a process that held no job (serve.c) */

	/* claim.c */
	size_t claim_first;		/* whose turn it is to claim first */
	uint32_t asked;			/* rows asked for by claims under way */
	uint32_t hungry;		/* queues that are */
	bool claim_lost;		/* the answer of one was, once: only a goodbye says for sure that it left nothing */
	bool quiet;			/* TSTP: claim no more, stay up */
	uint64_t max_jobs;		/* 0: no limit */
	bool drain;

	/* presence.c */
	enum presence presence;
	worker_id id;
	usec_t beat_at;
	bool beating;
	bool leaving;			/* the shutdown has come to this part */
	usec_t leave_at;

	/* live.c: what Redis shows of us */
	usec_t live_at, live_told_at;
	uint64_t live_mark;
	enum worker_state live_state;
	uint64_t progress_told;		/* times a handler told its progress (process.c) */

	uint64_t questions;		/* rate.c: asked of Redis */

	/* rescue.c */
	usec_t rescue_at;
	size_t rescue_queue;		/* queues_len: none under way */
	uint32_t rescue_skip;		/* rows that this pass could not reset */
	bool rescue_busy;
	bool rescue_waits;		/* for what the dead left to be stored (inherit.c) */

	/* adoption.c */
	bool adopting;			/* a look is under way */

	/* worker.c */
	struct shutdown shutdown;
	unsigned stop_signals;
	usec_t hurried_at;		/* of the second signal; USEC_NEVER */
	unsigned releasing;		/* release_all requests under way */
	bool released, release_failed;
	uint64_t killed_before;		/* count.killed when the stop began */
	unsigned announcing;		/* NOTIFY requests under way (announce.c) */
	unsigned publishing;		/* the same to Redis */
	bool db_complained;
	usec_t begun_at;
	struct error db_error;		/* why the connection was lost, the last time */
	bool ready;			/* registered, once: claims could be made */
	struct counters count;
};

/* The queues are ready (queue_new), and taken. Runs until the shutdown is over. */
struct worker_options {
	bool drain;
	uint64_t max_jobs;		/* 0: no limit */
	bool background;		/* as a daemon */
	const char *pidfile;		/* that we hold; NULL: none, and nobody can ask us */
	const struct cli *cli;		/* where the settings came from, and come from again */
	bool (*wanted)(const struct cli *cli, const char *queue);
	const char *database;		/* as replay_database() tells it */
	void (*ready)(void);		/* claims can be made, for the first time */
};
enum exit_status worker_run(const struct settings *set, struct queue **queues, size_t queues_len,
                            const struct worker_options *opt, struct error *err);

void worker_changed(void *arg);	/* something happened: advance, at the latest when the loop turns */
void worker_stop(struct worker *w, const char *reason);
/*
 * Give back whatever the database says is ours, known or not. Only after every
 * child is reaped, else two runs of a job could overlap.
 */
void worker_release_all(struct worker *w);
bool worker_stopping(const struct worker *w);
enum worker_state worker_state(const struct worker *w);
const char *worker_state_name(enum worker_state s);
struct job *worker_find_job(const struct worker *w, int64_t claim_id, const char *worker);
void worker_forget_job(struct worker *w, struct job *j);	/* frees it */

#endif
