/*
 * redis.c - see redis.h. Not here: a connection (redis_link.c); rates (rate.c), presence (live.c), events (announce.c).
 */
#include "redis.h"

#include <stdlib.h>
#include <string.h>

#include "claim.h"
#include "live.h"
#include "log.h"

#define WAKE_CHANNEL "unstuck:wake"

struct redis {
	struct worker *w;
	struct redis_url url;
	struct redis_link *commands;
	struct redis_link *channel;	/* NULL: nothing to hear */
	bool lost;			/* and said so */
	bool leaving;
	char *last_error;		/* NULL: none since all are connected */
};

/* ---- events ---- */

static bool all_ready(const struct redis *r)
{
	return redis_link_is_ready(r->commands) && (r->channel == NULL || redis_link_is_ready(r->channel));
}

/* One of the connections. What was told meanwhile was not heard, and what was held back may go on. */
static void on_ready(void *arg)
{
	struct redis *r = arg;
	struct buf where = BUF_INIT;

	live_due(r->w);
	claim_wake(r->w, NULL);
	worker_changed(r->w);
	if (!all_ready(r))
		return;
	free(r->last_error);
	r->last_error = NULL;
	redis_describe(&where, &r->url);
	if (r->lost)
		log_event(LOG_INFO, "redis_back", LS("redis", buf_text(&where)));
	else
		log_event(LOG_DEBUG, "redis_connected", LS("redis", buf_text(&where)));
	buf_release(&where);
	r->lost = false;
}

static void on_lost(void *arg, const struct error *why, usec_t retry_in)
{
	struct redis *r = arg;
	char in[USEC_TEXT_MAX];

	free(r->last_error);
	r->last_error = xstrdup(why->text);
	log_event(r->lost ? LOG_DEBUG : LOG_WARNING, "redis_lost", LS("error", why->text),
	          LS("next", "the worker goes on without; queues with a rate wait"),
	          LS("again_in", usec_text(retry_in / MSEC * MSEC, in)));
	r->lost = true;
}

static void on_message(void *arg, const char *text)
{
	const struct redis *r = arg;

	claim_wake(r->w, text);
}

static void on_changed(void *arg)
{
	const struct redis *r = arg;

	worker_changed(r->w);
}

static const struct redis_events events = {
	.ready = on_ready, .lost = on_lost, .message = on_message, .changed = on_changed,
};

/* ---- for the others ---- */

bool redis_is_used(const struct worker *w)
{
	return w->redis != NULL;
}

bool redis_is_ready(const struct worker *w)
{
	return w->redis != NULL && redis_link_is_ready(w->redis->commands);
}

bool redis_is_lost(const struct worker *w)
{
	return w->redis != NULL && w->redis->lost;
}

const char *redis_last_error(const struct worker *w)
{
	return w->redis != NULL ? w->redis->last_error : NULL;
}

bool redis_send(struct worker *w, redis_answer_fn *fn, void *arg, int argc, const char *const *argv)
{
	return w->redis != NULL && redis_link_send(w->redis->commands, fn, arg, argc, argv);
}

/* Of two connections the one that is worse off says how it is. */
json_t *redis_status(const struct worker *w)
{
	const struct redis *r = w->redis;
	const struct redis_link *l = r->channel != NULL && redis_link_is_ready(r->commands) ? r->channel : r->commands;
	struct buf where = BUF_INIT;
	json_t *doc;

	redis_describe(&where, &r->url);
	doc = json_pack("{s:s, s:s, s:s, s:I, s:I, s:s?}", "name", "redis", "state", redis_state_name(redis_link_state(l)),
	                "address", buf_text(&where), "requests", (json_int_t)redis_link_pending(r->commands),
	                "reconnects", (json_int_t)redis_link_reconnects(r->commands), "error", r->last_error);
	buf_release(&where);
	return doc;
}

/* ---- the part of the shutdown ---- */

void redis_leave(struct worker *w)
{
	struct redis *r = w->redis;

	if (r == NULL)
		return;
	r->leaving = true;
	live_leave(w);
	if (r->channel != NULL)
		redis_link_close(r->channel);
}

bool redis_has_left(const struct worker *w)
{
	return !redis_is_ready(w) || redis_link_pending(w->redis->commands) == 0;
}

void redis_cut(struct worker *w)
{
	redis_link_close(w->redis->commands);
}

/* ---- life ---- */

int redis_open(struct worker *w, struct error *err)
{
	struct redis *r;

	if (w->set->redis_url[0] == '\0')
		return 0;
	r = w->redis = xcalloc(1, sizeof *r);
	r->w = w;
	if (redis_url_parse(&r->url, w->set->redis_url, err) < 0)
		return -1;
	r->commands = redis_link_new(w->base, &r->url, NULL, &events, r);
	if (w->set->wake == WAKE_REDIS)
		r->channel = redis_link_new(w->base, &r->url, WAKE_CHANNEL, &events, r);
	return 0;
}

usec_t redis_advance(struct worker *w, usec_t now)
{
	struct redis *r = w->redis;
	usec_t next;

	if (r == NULL)
		return USEC_NEVER;
	next = redis_link_advance(r->commands, now);
	if (r->channel != NULL)
		next = usec_min(next, redis_link_advance(r->channel, now));
	return next;
}

void redis_close(struct worker *w)
{
	struct redis *r = w->redis;

	if (r == NULL)
		return;
	redis_link_free(r->commands);
	redis_link_free(r->channel);
	redis_url_release(&r->url);
	free(r->last_error);
	free(r);
	w->redis = NULL;
}
