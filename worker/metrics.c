/*
 * metrics.c - see metrics.h.
 */
#include "metrics.h"

#include <stdlib.h>
#include <string.h>

const char *const final_name[FINALS] = {
	[FINAL_COMPLETED] = "COMPLETED", [FINAL_FAILED] = "FAILED", [FINAL_CANCELLED] = "CANCELLED",
};
const char *const recover_reason[RECOVER_REASONS] = { "worker_lost", "timeout", "other" };

static const double job_seconds[] = { 0.005, 0.02, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400 };
static const double claim_seconds[] = { 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5 };

/* ---- life ---- */

struct metrics *metrics_new(void)
{
	struct metrics *m = xcalloc(1, sizeof *m);

	LIST_INIT(&m->queues);
	m->job_duration = (struct histogram){ .upto = job_seconds, .len = ARRAY_SIZE(job_seconds) };
	m->claim_latency = (struct histogram){ .upto = claim_seconds, .len = ARRAY_SIZE(claim_seconds) };
	return m;
}

void metrics_free(struct metrics *m)
{
	struct queue_counts *c;

	if (m == NULL)
		return;
	while ((c = LIST_FIRST(&m->queues)) != NULL) {
		LIST_REMOVE(c, link);
		free(c->queue);
		free(c);
	}
	free(m);
}

struct queue_counts *metrics_of(struct metrics *m, const char *queue)
{
	struct queue_counts *c;

	LIST_FOREACH(c, &m->queues, link)
		if (strcmp(c->queue, queue) == 0)
			return c;
	c = xcalloc(1, sizeof *c);
	c->queue = xstrdup(queue);
	LIST_INSERT_HEAD(&m->queues, c, link);
	return c;
}

/* ---- counting ---- */

/* Looked up once for each queue. */
static struct queue_counts *counts(struct queue *q)
{
	if (q->counts == NULL)
		q->counts = metrics_of(q->worker->metrics, q->set->name);
	return q->counts;
}

static void observe(struct histogram *h, usec_t took)
{
	double seconds = (double)took / (double)SEC;
	size_t i = 0;

	while (i < h->len && seconds > h->upto[i])
		i++;
	h->count[i]++;
	h->sum += seconds;
}

/* The last word is for all others. */
static size_t index_of(const char *const *words, size_t len, const char *word)
{
	size_t i = 0;

	while (i < len - 1 && strcmp(words[i], word) != 0)
		i++;
	return i;
}

void metrics_ended(struct queue *q, enum final f)
{
	counts(q)->ended[f]++;
}

void metrics_ran(struct queue *q, usec_t took)
{
	observe(&q->worker->metrics->job_duration, took);
}

void metrics_claimed(struct worker *w, usec_t took)
{
	observe(&w->metrics->claim_latency, took);
}

void metrics_late(struct queue *q, enum late_reason reason)
{
	counts(q)->late[reason]++;
}

void metrics_recovered(struct queue *q, const char *action, const char *reason)
{
	if (strcmp(action, "fail") == 0)
		counts(q)->quarantined++;
	else
		counts(q)->recovered[index_of(recover_reason, RECOVER_REASONS, reason)]++;
}
