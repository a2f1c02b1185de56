/*
 * redis_dial.h - Redis for a program that may wait a moment for it: connected, let in, the database chosen.
 *
 * The worker's own connection, which waits for nothing, is worker/redis_link.h.
 */
#ifndef REDIS_DIAL_H
#define REDIS_DIAL_H

#include "clock.h"
#include "error.h"
#include "redis_url.h"

struct redisContext;

/* Each step takes at most `patience`. NULL: err, which says where (without the password) and why. Ended by redisFree(). */
struct redisContext *redis_dial(const struct redis_url *url, usec_t patience, struct error *err);
/* One command and its answer, which is of no interest but for an error. argv[0] is its name; no argument is in err. */
int redis_tell(struct redisContext *c, int argc, const char *const *argv, struct error *err);

#endif
