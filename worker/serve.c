/*
 * serve.c - mode = serve: persistent handler processes that speak JSON lines.
 *
 * Lives here: how many processes a queue has, who gets which job, how far to claim ahead.
 * Not here:   one process and what it answers (process.c), the text of the lines (jsonl.c).
 *
 * Callbacks note facts; serve_advance() hands out jobs, many lines a write. What a process holds
 * is in order of start, so the first one's time limit is the process's: no timer a job.
 */
#include "serve.h"

#include <stdlib.h>
#include <string.h>

#include "line.h"
#include "log.h"
#include "process.h"

#define WRITE_AT (64 * 1024)		/* bytes that make a write of their own */
#define HEALTHY (30 * SEC)		/* without a crash: the pause begins anew */

/* ---- handing out ---- */

/* A process that was started after a crash has not answered yet: one at a time. */
static bool serve_is_trying(const struct serve *s)
{
	const struct process *p;

	TAILQ_FOREACH(p, &s->processes, link)
		if (p->state == PROCESS_UP && !p->answered)
			return true;
	return false;
}

/* So many more processes may be started now, when `used` of our slots are taken. */
static uint32_t serve_startable(const struct serve *s, uint32_t used)
{
	uint32_t taken = used > s->q->in_use ? used : s->q->in_use;
	uint32_t slots = s->q->reserved > taken ? s->q->reserved - taken : 0;
	uint32_t places = s->q->limit > s->len ? s->q->limit - s->len : 0;

	if (s->now < s->start_at)
		return 0;
	if (places > slots)
		places = slots;
	if (s->crashes == 0)
		return places;
	return places != 0 && !serve_is_trying(s) ? 1 : 0;
}

/*
 * The process with the fewest jobs; an idle or a new one while our slots last. An answer
 * names an id only: one process never holds two jobs of the same id (the first one's claim was lost).
 */
static struct process *serve_pick(struct serve *s, const struct job *j)
{
	struct process *p, *best = NULL;
	uint32_t used = 0;
	size_t len = strlen(j->id);

	TAILQ_FOREACH(p, &s->processes, link) {
		if (p->state == PROCESS_LEAVING || (p->state == PROCESS_UP && used == s->q->reserved))
			continue;
		used++;
		if (!process_takes(p) || (p->held_len == 0 && s->q->in_use >= s->q->reserved)
		    || (best != NULL && p->held_len >= best->held_len)
		    || *process_place(p, j->id, len) != NULL)
			continue;
		best = p;
		if (p->held_len == 0)
			break;
	}
	if ((best == NULL || best->held_len != 0) && serve_startable(s, used) != 0) {
		p = process_start(s);
		if (p != NULL)
			return p;
	}
	return best;
}

static void serve_hand_out(struct serve *s)
{
	char deadline[WALL_TEXT_MAX];
	struct process *p;
	struct job *j = TAILQ_FIRST(&s->q->line);

	if (j == NULL)
		return;
	wall_text(clock_wall() + s->q->set->timeout, deadline);
	for (; j != NULL; j = TAILQ_FIRST(&s->q->line)) {
		p = serve_pick(s, j);
		if (p == NULL)
			break;
		line_leave(j);
		process_give(p, j, deadline);
		if (p->out.len >= WRITE_AT)
			process_write(p);
	}
	TAILQ_FOREACH(p, &s->processes, link)
		process_write(p);
	if (s->len == 0 && s->q->waiting != 0) {
		s->q->claim_at = s->start_at;
		s->q->empty = false;
		line_give_back(s->q, "no handler process can be started");
	}
}

/* ---- time ---- */

static usec_t serve_advance_queue(struct serve *s, usec_t now)
{
	usec_t next = USEC_NEVER;
	struct process *p;

	s->now = now;
	serve_hand_out(s);
	TAILQ_FOREACH(p, &s->processes, link)
		next = usec_min(next, process_advance(p, now));
	if (now < s->start_at)
		next = usec_min(next, s->start_at);
	else if (s->crashes != 0 && now >= s->start_at + HEALTHY)
		s->crashes = 0;
	return next;
}

static usec_t serve_advance(struct worker *w, usec_t now)
{
	usec_t next = USEC_NEVER;

	for (size_t i = 0; i < w->queues_len; i++)
		if (w->queues[i]->serve != NULL)
			next = usec_min(next, serve_advance_queue(w->queues[i]->serve, now));
	return next;
}

/* ---- room ---- */

/* Jobs that can be outstanding at our processes: those that run, and those that may be started. */
static uint32_t serve_capacity(const struct queue *q)
{
	const struct serve *s = q->serve;
	uint32_t used = 0, jobs = 0;
	const struct process *p;

	TAILQ_FOREACH(p, &s->processes, link) {
		if (p->state == PROCESS_LEAVING || (p->state == PROCESS_UP && used == s->q->reserved))
			continue;
		used++;
		jobs += process_takes(p) ? process_limit(p) : p->held_len;
	}
	return jobs + serve_startable(s, used) * (s->crashes != 0 ? 1 : s->q->set->pipeline);
}

/* ---- the door ---- */

static void serve_open(struct queue *q)
{
	struct serve *s = xcalloc(1, sizeof *s);

	s->q = q;
	TAILQ_INIT(&s->processes);
	while (s->mask + 1 < 2 * (size_t)q->set->pipeline)
		s->mask = 2 * s->mask + 1;
	q->serve = s;
}

static void serve_close(struct queue *q)
{
	struct serve *s = q->serve;
	struct process *p, *next;

	for (p = TAILQ_FIRST(&s->processes); p != NULL; p = next) {
		next = TAILQ_NEXT(p, link);
		process_free(p);
	}
	buf_release(&s->id);
	free(s);
	q->serve = NULL;
}

/* Only its process could be told, so it is ended when it holds nothing else; else the answer comes late. */
static void serve_end(struct worker *w, struct job *j, enum job_ending why)
{
	struct process *p = j->process;

	(void)w;
	if (j->state != JOB_RUNNING || j->ending != ENDING_NONE)
		return;
	j->ending = why;
	p->lost += why == ENDING_LOST;
	if (p->held_len == 1)
		process_end(p, why);
}

static void serve_end_all(struct worker *w, enum job_ending why)
{
	struct process *p;

	for (size_t i = 0; i < w->queues_len; i++)
		if (w->queues[i]->serve != NULL)
			TAILQ_FOREACH(p, &w->queues[i]->serve->processes, link)
				process_end(p, why);
}

static void serve_kill_all(struct worker *w)
{
	struct process *p;

	for (size_t i = 0; i < w->queues_len; i++) {
		if (w->queues[i]->serve == NULL)
			continue;
		TAILQ_FOREACH(p, &w->queues[i]->serve->processes, link) {
			process_end(p, ENDING_STOP);
			process_kill(p);
		}
	}
}

static bool serve_has_processes(const struct queue *q)
{
	return q->serve->len != 0;
}

static bool serve_is_idle(const struct worker *w)
{
	for (size_t i = 0; i < w->queues_len; i++)
		if (w->queues[i]->serve != NULL && w->queues[i]->serve->len != 0)
			return false;
	return true;
}

const struct handler serve_handler = {
	.open = serve_open, .close = serve_close, .end = serve_end, .capacity = serve_capacity,
	.end_all = serve_end_all, .kill_all = serve_kill_all, .advance = serve_advance,
	.is_idle = serve_is_idle, .has_processes = serve_has_processes,
};
