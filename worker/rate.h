/*
 * rate.h - at most N starts of a queue in any window, over the whole fleet.
 *
 * Redis counts. A claim asks first for as many permits as it would claim; each job it gets has one, and starts
 * only with it. What no job was there for goes back at once; a start is told, and counts for one window from then on.
 *
 *   ask --granted--> at hand --claim--> with a job --start--> told: counts for one window
 *    |                  |                   |
 *    +-- none: wait     +-- not needed -----+-- given back unstarted --> told: free again
 *
 * A permit that nobody tells of (its worker died, Redis was away) counts for its lease and one window: no later than the
 * lease the worker would have started its job. So the starts of any window are never more than N, whatever was
 * slow between grant and start. While Redis is away nothing of the queue is claimed.
 *
 * The counts have a name (a random epoch) and a number that only grows. A worker that knew others than those it finds says so:
 * Redis was flushed, or came back with an old copy, and the queue waits for one window.
 */
#ifndef RATE_H
#define RATE_H

#include "worker.h"

struct grant;

void rate_open_queue(struct queue *q);
void rate_close_queue(struct queue *q);

/* Of `want` jobs, how many may be claimed now. 0: *next is when to ask again, unless something happens before. */
uint32_t rate_allows(struct queue *q, uint32_t want, usec_t now, usec_t *next);
bool rate_is_at_hand(const struct queue *q);		/* rate_allows() would not say 0 */
/* The permits of a claim of n jobs, for rate_give_job() and then rate_end_claim(). NULL where the queue has no rate. */
struct grant *rate_spend(struct queue *q, uint32_t n);
void rate_give_job(struct grant *g, struct job *j);
void rate_end_claim(struct grant *g);			/* what no job was there for goes back */

void rate_started(struct job *j);
void rate_unused(struct job *j);			/* it leaves; no matter when it has none */
void rate_check_line(struct queue *q, usec_t now);	/* gives back what may not be started any more */
void rate_settle(struct worker *w);			/* tells Redis what became of permits: after the claims of a turn */

#endif
