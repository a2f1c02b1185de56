/*
 * redis.h - what Redis is to a worker: never the authority. Everything that goes over it is a hint, or (rate.h) a
 * permission that is waited for.
 *
 * Up to two connections: one for commands, and with wake = redis one that hears `unstuck:wake`. Without redis_url
 * there is none, and every function here does nothing.
 */
#ifndef REDIS_H
#define REDIS_H

#include <jansson.h>
#include "redis_link.h"
#include "worker.h"

int redis_open(struct worker *w, struct error *err);
void redis_close(struct worker *w);
usec_t redis_advance(struct worker *w, usec_t now);

bool redis_is_used(const struct worker *w);
bool redis_is_ready(const struct worker *w);		/* commands can be sent */
bool redis_is_lost(const struct worker *w);		/* and that was said */
const char *redis_last_error(const struct worker *w);	/* NULL: none since it was connected */
/* false: fn will not be called. */
bool redis_send(struct worker *w, redis_answer_fn *fn, void *arg, int argc, const char *const *argv);
json_t *redis_status(const struct worker *w);		/* as `status` shows a connection; only when used */

/* The part of the shutdown: what is under way is answered; the connection stays for the report (announce.h). */
void redis_leave(struct worker *w);
bool redis_has_left(const struct worker *w);
void redis_cut(struct worker *w);

#endif
