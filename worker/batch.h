/*
 * batch.h - the jobs that one claim took together: a row of unstuck.batches, or claim_batches, as long as one of them runs.
 */
#ifndef BATCH_H
#define BATCH_H

#include "job.h"

struct db_request;

/* A batch is kept by its jobs. Those of a small claim have none (NULL). */
struct batch *batch_new(struct queue *q, int64_t number, const char *worker, size_t jobs);
void batch_leave(struct batch *b);	/* one of its jobs is settled; the last one leaves the batch to batch_forget() */
void batch_keep(struct batch *b);	/* a row of it may still be PROCESSING: it is left to who looks at the rows */
bool batch_is_due(const struct queue *q);	/* some have no job left */
void batch_forget(struct queue *q, struct db_request *r);	/* adds the statement to r when some are due */
void batches_release(struct queue *q);

#endif
