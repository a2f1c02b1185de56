/*
 * reload_attempt.h - one reading of the settings, by a thread: the file, what fits together, and what the
 * database says of the queues that are new or changed.
 *
 * The loop looks at nothing of it before `done` is readable; the thread looks at nothing of the loop's but the settings
 * in force, which do not change, and at those only before it asks the database.
 */
#ifndef RELOAD_ATTEMPT_H
#define RELOAD_ATTEMPT_H

#include <pthread.h>
#include "worker.h"

/* Settings that were read after the start. Held by w->set and by each queue made from them. */
struct generation {
	struct settings set;
	unsigned refs;
};

/* What the thread works on. */
struct attempt {
	const struct worker_options *opt;
	const struct settings *old;		/* like running: only until the database is asked */
	struct generation *gen;
	struct problems problems;
	enum error_kind kind;
	struct buf fixed;			/* names of what takes a restart */

	struct {
		const struct queue_settings *set;
		bool was_refused;		/* as it is, at the start */
		struct queue *made;
		struct error why;		/* not made */
	} *queues;				/* to be made */
	size_t queues_len;
	const struct queue_settings **running;	/* of the queues that run */
	size_t running_len;
	int done;				/* eventfd: readable when it is */
	pthread_t thread;
};

void generation_drop(struct generation *gen);	/* one reference; NULL is fine */

struct attempt *attempt_new(const struct worker *w);
int attempt_start(struct attempt *a);			/* 0, or errno */
void attempt_join(struct attempt *a);			/* after done */
bool attempt_join_soon(struct attempt *a);		/* false: it hangs, and nothing of it may be freed */
void attempt_free(struct attempt *a);			/* with what was not taken out of it */

#endif
