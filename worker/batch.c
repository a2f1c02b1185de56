/*
 * batch.c - counting the jobs of a batch that have not ended, and forgetting it behind the last.
 *
 * A row of unstuck.batches (claim_batches) that outlives its jobs harms nobody: it names jobs that do not run in
 * it any more, and is swept (sql/workers.sql). So nothing is done when a forget fails.
 */
#include "batch.h"

#include <stdlib.h>
#include <string.h>

#include "db.h"
#include "queue.h"

struct batch {
	struct queue *queue;
	int64_t number;
	worker_id worker;	/* the identity that claimed it */
	size_t jobs;
	bool kept;
	TAILQ_ENTRY(batch) link;	/* in queue->batches once it has none left */
};

struct batch *batch_new(struct queue *q, int64_t number, const char *worker, size_t jobs)
{
	struct batch *b = xcalloc(1, sizeof *b);

	b->queue = q;
	b->number = number;
	memcpy(b->worker, worker, sizeof b->worker);
	b->jobs = jobs;
	return b;
}

void batch_leave(struct batch *b)
{
	if (b == NULL || --b->jobs != 0)
		return;
	if (b->kept)
		free(b);
	else
		TAILQ_INSERT_TAIL(&b->queue->batches, b, link);
}

void batch_keep(struct batch *b)
{
	if (b != NULL)
		b->kept = true;
}

bool batch_is_due(const struct queue *q)
{
	return !TAILQ_EMPTY(&q->batches);
}

/* One statement for all of one identity: there is one but after a declaration of death. */
void batch_forget(struct queue *q, struct db_request *r)
{
	struct batch *b = TAILQ_FIRST(&q->batches), *next;
	struct buf numbers = BUF_INIT;
	worker_id worker;
	char *params[2];

	if (b == NULL)
		return;
	memcpy(worker, b->worker, sizeof worker);
	for (; b != NULL; b = next) {
		next = TAILQ_NEXT(b, link);
		if (strcmp(b->worker, worker) != 0)
			continue;
		buf_addf(&numbers, "%c%lld", numbers.len == 0 ? '{' : ',', (long long)b->number);
		TAILQ_REMOVE(&q->batches, b, link);
		free(b);
	}
	buf_addc(&numbers, '}');
	params[0] = xstrdup(worker);
	params[1] = buf_give(&numbers);
	db_request_add(r, q->sql[STMT_FORGET], 2, params, NULL);
}

void batches_release(struct queue *q)
{
	struct batch *b;

	while ((b = TAILQ_FIRST(&q->batches)) != NULL) {
		TAILQ_REMOVE(&q->batches, b, link);
		free(b);
	}
}
