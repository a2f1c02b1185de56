/*
 * queue.c - making a queue ready to work. Not here: claiming and writing.
 */
#include "queue.h"

#include <stdlib.h>

#include "batch.h"
#include "child.h"

static int queue_statements(struct queue *q, struct error *err)
{
	for (enum statement s = 0; s < STATEMENTS; s++) {
		struct error why = ERROR_INIT;

		if (!mapping_has(&q->map, s))
			continue;
		q->sql[s] = mapping_statement(&q->map, s, &why);
		if (q->sql[s] == NULL)
			return error_set(err, why.kind, "%s", why.text);
	}
	return 0;
}

/* What `check` would call an error refuses the queue at start: a statement that cannot be prepared, a missing right. */
static int queue_check(struct queue *q, struct session *session, struct error *err)
{
	struct findings found = FINDINGS_INIT;
	int failed = mapping_check(&q->map, session, &found, err);

	for (size_t i = 0; failed == 0 && i < found.len; i++)
		if (found.v[i].level == FINDING_ERROR)
			failed = error_set(err, ERR_SETTINGS, "%s", found.v[i].text);
	findings_release(&found);
	return failed;
}

static int queue_init(struct queue *q, const struct queue_settings *set, uint32_t worker_concurrency,
                      struct session *session, struct error *err)
{
	q->set = set;
	q->limit = set->concurrency != 0 ? set->concurrency : worker_concurrency;
	TAILQ_INIT(&q->ended);
	TAILQ_INIT(&q->batches);
	TAILQ_INIT(&q->line);
	q->adoption_due = true;

	if (set->handler[0] == NULL)
		return error_set(err, ERR_SETTINGS,
		                 "has no handler; write handler = /path/to/program in [queue %s]", set->name);
	q->handler = child_find(set->handler[0], err);
	if (q->handler == NULL)
		return error_prefix(err, "handler");
	if (mapping_init(&q->map, set, err) < 0 || mapping_resolve(&q->map, session, err) < 0)
		return -1;
	if (queue_check(q, session, err) < 0)
		return -1;
	return queue_statements(q, err);
}

struct queue *queue_new(const struct queue_settings *set, uint32_t worker_concurrency, struct session *session,
                        struct error *err)
{
	struct queue *q = xcalloc(1, sizeof *q);

	if (queue_init(q, set, worker_concurrency, session, err) == 0)
		return q;
	queue_free(q);
	return NULL;
}

void queue_free(struct queue *q)
{
	if (q == NULL)
		return;
	mapping_release(&q->map);
	for (enum statement s = 0; s < STATEMENTS; s++)
		free(q->sql[s]);
	batches_release(q);
	free(q->handler);
	free(q->mark);
	free(q);
}
