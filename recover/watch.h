/*
 * watch.h - silent workers: watch them for as long as a proof of death takes,
 * and declare those dead that did not move.
 */
#ifndef WATCH_H
#define WATCH_H

#include <stddef.h>
#include "error.h"
#include "pg.h"

struct lost_worker {
	char *worker_id, *host, *pid;
	double silent_s;
};

struct lost_workers {
	struct lost_worker *v;
	size_t len;
};

/* workers silent ones will be watched for so many seconds: said before it happens. */
typedef void watch_say_fn(void *arg, size_t workers, double seconds);

/*
 * Note the beats of the silent workers, and when somebody has not been watched
 * long enough, watch (two of its heartbeats). Ends early when a stop is asked.
 * Without the schema there are no workers: nothing happens.
 */
int watch_silent(struct session *session, watch_say_fn *say, void *arg, struct error *err);

/* The declaration of death: the rows of these workers are nobody's from now on. */
int watch_declare_dead(struct session *session, struct lost_workers *out, struct error *err);
void lost_workers_release(struct lost_workers *l);

#endif
