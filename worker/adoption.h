/*
 * adoption.h - late results of our queues that become the results of their jobs, while the worker runs.
 *
 * A queue is looked through when recover_every comes round, when a late result of it has been stored, and when
 * a run has failed that was not the first to start: an earlier one may have succeeded since. The rules are common/adopt.h's.
 */
#ifndef ADOPTION_H
#define ADOPTION_H

#include "worker.h"

void adoption_due(struct queue *q);
void adoption_due_all(struct worker *w);
usec_t adoption_advance(struct worker *w, usec_t now);

#endif
