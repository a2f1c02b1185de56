/*
 * redis_link.h - one connection to Redis that nobody waits for: commands, or the messages of one channel.
 *
 * A command is answered once, in the order sent, never inside the call that sent it; with NULL when the
 * connection is lost before. Not here: what the commands are for.
 *
 *      +----------------------- retry timer (jittered backoff) -----------------------+
 *      v                                                                              |
 *   RESOLVING --address--> CONNECTING --connected--> GREETING --let in--> READY       |
 *      |                       |                        |                  |          |
 *      +------- unknown -------+----- refused, late ----+--- lost, late ---+-----> WAITING
 *
 *   any state -- redis_link_close() --> CLOSED
 *
 * Several addresses of a host are tried one after the other before it is lost. A unix socket is not resolved.
 */
#ifndef REDIS_LINK_H
#define REDIS_LINK_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include "clock.h"
#include "error.h"
#include "redis_url.h"

enum redis_state { REDIS_RESOLVING, REDIS_CONNECTING, REDIS_GREETING, REDIS_READY, REDIS_WAITING, REDIS_CLOSED, REDIS_STATES };

struct redis_link;
struct redisReply;

/* reply: borrowed for the call, may be an error of the server; NULL: lost, nobody knows whether it was done. */
typedef void redis_answer_fn(void *arg, const struct redisReply *reply);

/* Called from the event loop or from redis_link_advance(); they may send, but neither close nor free. */
struct redis_events {
	void (*ready)(void *arg);					/* connected (again), let in; subscribed */
	void (*lost)(void *arg, const struct error *why, usec_t retry_in);	/* after all answers of NULL */
	void (*message)(void *arg, const char *text);			/* of the channel */
	void (*changed)(void *arg);					/* redis_link_advance() has something to do */
};

/* url is borrowed. channel: what to SUBSCRIBE to, and then it takes no commands; NULL: commands. Starts connecting. */
struct redis_link *redis_link_new(struct event_base *base, const struct redis_url *url, const char *channel,
                                  const struct redis_events *events, void *arg);
void redis_link_close(struct redis_link *l);	/* what is unanswered is answered NULL here; lost() is not called */
void redis_link_free(struct redis_link *l);

/* false: not ready, or too much is unanswered: fn will not be called. */
bool redis_link_send(struct redis_link *l, redis_answer_fn *fn, void *arg, int argc, const char *const *argv);
usec_t redis_link_advance(struct redis_link *l, usec_t now);	/* deadlines, and what was noted; returns the next */

bool redis_link_is_ready(const struct redis_link *l);
enum redis_state redis_link_state(const struct redis_link *l);
const char *redis_state_name(enum redis_state s);
size_t redis_link_pending(const struct redis_link *l);
uint64_t redis_link_reconnects(const struct redis_link *l);

#endif
