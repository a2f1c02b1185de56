/*
 * line.c - jobs that are claimed and wait for a handler process, and how many there should be.
 *
 * Handlers that are quicker than the database would wait for it after each job. So some jobs are claimed
 * before they are needed: what the processes of the queue do in two round trips of a claim, or in AHEAD_TIME. With jobs that
 * take longer than that it is none: what waits here could be run by another worker.
 *
 * Not here: processes (exec.c, serve.c), the claim itself (claim.c).
 */
#include "line.h"

#include "handler.h"

#define AHEAD_TIME (50 * MSEC)
#define WAIT_MAX (1 * SEC)	/* a job that nobody had room for in this time is given back */

/* ---- the line ---- */

static void line_enter(struct job *j)
{
	j->started_at = clock_now();
	j->queue->waiting++;
}

void line_add(struct job *j)
{
	TAILQ_INSERT_TAIL(&j->queue->line, j, link);
	line_enter(j);
}

void line_return(struct job *j)
{
	TAILQ_INSERT_HEAD(&j->queue->line, j, link);
	line_enter(j);
}

void line_leave(struct job *j)
{
	TAILQ_REMOVE(&j->queue->line, j, link);
	j->queue->waiting--;
}

void line_give_back(struct queue *q, const char *why)
{
	struct job *j;

	while ((j = TAILQ_FIRST(&q->line)) != NULL) {
		line_leave(j);
		handler_give_back(q->worker, j, why);
	}
}

/* Nobody had room for too long: another worker may have. And next time we know better. */
usec_t line_advance(struct queue *q, usec_t now)
{
	const struct job *j = TAILQ_FIRST(&q->line);

	if (j == NULL)
		return USEC_NEVER;
	if (now < j->started_at + WAIT_MAX)
		return j->started_at + WAIT_MAX;
	if (q->job_took < WAIT_MAX)
		q->job_took = WAIT_MAX;
	q->claim_at = now + WAIT_MAX;
	q->empty = false;
	line_give_back(q, "the handlers are busy with others");
	return USEC_NEVER;
}

/* ---- how many ---- */

void line_note_time(struct queue *q, usec_t took)
{
	if (took == 0)
		took = 1;
	q->job_took = q->job_took == 0 ? took : (15 * q->job_took + took + 15) / 16;
}

uint32_t line_slots(const struct queue *q)
{
	uint32_t soon = q->in_use + q->waiting + q->asked;

	if (soon > q->reserved)
		soon = q->reserved;
	return soon > q->in_use ? soon : q->in_use;
}

/* capacity / job_took is how fast the processes are. */
static uint32_t line_ahead(const struct queue *q, uint32_t capacity)
{
	usec_t time = 2 * q->claim_took, ahead;

	if (q->job_took == 0)
		return 0;
	if (time < AHEAD_TIME)
		time = AHEAD_TIME;
	ahead = capacity * time / q->job_took;
	return ahead < q->set->batch ? (uint32_t)ahead : q->set->batch;
}

/*
 * When other queues would claim and have no slot, we keep our share of the slots: the processes
 * above it get no more jobs, and their slots are free when they have answered.
 */
uint32_t line_room(struct queue *q, uint32_t free_slots)
{
	struct worker *w = q->worker;
	uint32_t slots = line_slots(q) + free_slots, share = w->set->concurrency / (uint32_t)w->queues_len;
	uint32_t capacity, ahead;

	if (w->hungry > (q->hungry ? 1U : 0U) && slots > share)
		slots = share;
	if (slots > q->limit)
		slots = q->limit;
	if (slots > q->reserved && q->waiting != 0)
		worker_changed(w);	/* for those in line */
	q->reserved = slots;
	capacity = q->how->capacity(q);
	ahead = line_ahead(q, capacity);
	if (q->waiting > ahead / 2 || capacity + ahead <= q->busy)
		return 0;
	return capacity + ahead - q->busy;
}
