/*
 * batch.h - the jobs that one claim took together: a row of unstuck.batches as long as one of them runs.
 */
#ifndef BATCH_H
#define BATCH_H

#include "job.h"

struct db_request;

/* A batch is kept by its jobs. Rows of an application's table, and of a small claim, have none (NULL). */
struct batch *batch_new(struct queue *q, int64_t number, const char *worker, size_t jobs);
void batch_leave(struct batch *b);	/* one of its jobs is settled; the last one leaves the batch to batch_forget() */

bool batch_is_due(const struct queue *q);	/* some have no job left */
void batch_forget(struct queue *q, struct db_request *r);	/* adds the statement to r when some are due */
void batches_release(struct queue *q);

#endif
