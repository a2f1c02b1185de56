/*
 * presence.h - being registered in unstuck.workers: the proof of life.
 *
 *   ABSENT --send--> REGISTERING --ok--> PRESENT --leaving, nothing held--> LEAVING --ok--> GONE
 *     ^                   |                 |
 *     +---- lost ---------+                 |
 *     +---- a beat found no row: declared dead; a new id is drawn
 *
 * One row a worker, not a job: the cost does not grow with jobs in flight, and the
 * user's table is not touched. Each beat is followed by reconcile (reconcile.h)
 * while jobs are in flight.
 */
#ifndef PRESENCE_H
#define PRESENCE_H

#include "worker.h"

void presence_init(struct worker *w);			/* draws the first id */
void presence_connected(struct worker *w);		/* after each connect: beat and reconcile at once */
void presence_hurry(struct worker *w);		/* the same now: somebody says that a job of ours is no longer wanted */
usec_t presence_advance(struct worker *w, usec_t now);
bool presence_is_over(const struct worker *w);		/* no row of ours is left */

#endif
