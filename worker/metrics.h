/*
 * metrics.h - what is counted as it happens: a few additions for each job, whether or not anybody asks.
 *
 * Counters are of this process and belong to a queue's name, so that they go on over a reload. Not here: what they
 * look like for Prometheus (metrics_text.c).
 */
#ifndef METRICS_H
#define METRICS_H

#include "late.h"
#include "worker.h"

enum final { FINAL_COMPLETED, FINAL_FAILED, FINAL_CANCELLED, FINALS };
extern const char *const final_name[FINALS];

/* Why a job was recovered: words of ours, the last for what is none of them. */
#define RECOVER_REASONS 3
extern const char *const recover_reason[RECOVER_REASONS];

struct queue_counts {
	LIST_ENTRY(queue_counts) link;
	char *queue;
	uint64_t ended[FINALS], late[LATE_REASONS], recovered[RECOVER_REASONS], quarantined;
};

#define BUCKETS_MAX 16
struct histogram {
	const double *upto;		/* seconds, ascending; the last bucket is what is longer */
	size_t len;
	uint64_t count[BUCKETS_MAX + 1];
	double sum;
};

struct metrics {
	LIST_HEAD(, queue_counts) queues;
	struct histogram job_duration, claim_latency;
};

struct metrics *metrics_new(void);
void metrics_free(struct metrics *m);
struct queue_counts *metrics_of(struct metrics *m, const char *queue);	/* made when it is new */

void metrics_ended(struct queue *q, enum final f);	/* the database has it */
void metrics_ran(struct queue *q, usec_t took);		/* a handler, whatever came of it */
void metrics_claimed(struct worker *w, usec_t took);	/* a claim was answered */
void metrics_late(struct queue *q, enum late_reason reason);	/* bytes went to unstuck.late_results */
void metrics_recovered(struct queue *q, const char *action, const char *reason);

#endif
