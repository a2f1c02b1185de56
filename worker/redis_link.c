/*
 * redis_link.c - see redis_link.h. On hiredis 0.14, which has no time limits of its own for what it does not wait
 * for, looks names up while we wait, and frees its context by itself when the connection ends.
 *
 * Its callbacks note facts; what follows from the end of a connection happens in redis_link_advance().
 */
#include "redis_link.h"

#include <assert.h>
#include <fcntl.h>
#include <hiredis/adapters/libevent.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resolve.h"

#define CONNECT_TIME (3 * SEC)		/* for each of the states before READY */
#define ANSWER_TIME (2 * SEC)		/* without any answer while one is due */
#define PING_EVERY (5 * SEC)		/* when nothing else is heard */
#define PENDING_MAX 1000		/* unanswered commands */
#define BACKOFF_FIRST (100 * MSEC)
#define BACKOFF_LAST (3 * SEC)
#define BACKOFF_SPREAD 0.5
#define STEADY_TIME (30 * SEC)		/* ready for this long: the next loss is a new one */

struct redis_link {
	struct event_base *base;
	const struct redis_url *url;
	const char *channel;
	struct redis_events events;
	void *arg;

	enum redis_state state;
	usec_t since;			/* when it was entered */
	usec_t retry_at;		/* in WAITING */
	usec_t backoff;			/* before the next jitter */
	uint64_t readies;

	struct resolve *resolve;	/* in RESOLVING */
	struct event *resolved;
	struct addresses found;		/* of the host, and the next to try */
	size_t next;

	redisAsyncContext *context;	/* NULL: none, or hiredis is taking it away */
	struct error why;		/* set: the connection is of no more use */
	size_t pending;
	usec_t heard;			/* when the last answer came, or there was none to wait for */
};

struct command {
	struct redis_link *l;
	redis_answer_fn *fn;
	void *arg;
};

static const char *const state_name[REDIS_STATES] = {
	[REDIS_RESOLVING] = "resolving", [REDIS_CONNECTING] = "connecting", [REDIS_GREETING] = "greeting",
	[REDIS_READY] = "ready", [REDIS_WAITING] = "waiting", [REDIS_CLOSED] = "closed",
};

static const bool may[REDIS_STATES][REDIS_STATES] = {
	[REDIS_RESOLVING]  = { [REDIS_CONNECTING] = true, [REDIS_WAITING] = true, [REDIS_CLOSED] = true },
	[REDIS_CONNECTING] = { [REDIS_CONNECTING] = true, [REDIS_GREETING] = true, [REDIS_WAITING] = true, [REDIS_CLOSED] = true },
	[REDIS_GREETING]   = { [REDIS_READY] = true, [REDIS_WAITING] = true, [REDIS_CLOSED] = true },
	[REDIS_READY]      = { [REDIS_WAITING] = true, [REDIS_CLOSED] = true },
	[REDIS_WAITING]    = { [REDIS_RESOLVING] = true, [REDIS_CONNECTING] = true, [REDIS_CLOSED] = true },
};

static void link_enter(struct redis_link *l, enum redis_state next);

/* ---- facts ---- */

/* The connection is of no more use; the first reason stays. */
static void link_doom(struct redis_link *l, const char *what)
{
	struct buf where = BUF_INIT;

	redis_describe(&where, l->url);
	error_set(&l->why, ERR_SYS, "%s: %s", buf_text(&where), what);
	buf_release(&where);
	l->events.changed(l->arg);
}

static bool link_is_doomed(const struct redis_link *l)
{
	return l->why.kind != ERR_NONE;
}

/* ---- commands ---- */

static void on_answer(redisAsyncContext *context, void *reply, void *arg)
{
	struct command *c = arg;
	struct redis_link *l = c->l;

	(void)context;
	l->pending--;
	if (reply != NULL)
		l->heard = clock_now();
	if (c->fn != NULL)
		c->fn(c->arg, reply);
	free(c);
	if (l->state != REDIS_CLOSED)
		l->events.changed(l->arg);
}

/* false: hiredis is taking the context away, and says so by itself. */
static bool link_command(struct redis_link *l, redis_answer_fn *fn, void *arg, int argc, const char *const *argv)
{
	struct command *c = xmalloc(sizeof *c);

	*c = (struct command){ l, fn, arg };
	if (l->pending++ == 0)
		l->heard = clock_now();
	if (redisAsyncCommandArgv(l->context, on_answer, c, argc, (const char **)(uintptr_t)argv, NULL) == REDIS_OK)
		return true;
	l->pending--;
	free(c);
	return false;
}

bool redis_link_send(struct redis_link *l, redis_answer_fn *fn, void *arg, int argc, const char *const *argv)
{
	if (l->state != REDIS_READY || l->context == NULL || link_is_doomed(l) || l->pending >= PENDING_MAX)
		return false;
	return link_command(l, fn, arg, argc, argv);
}

/* ---- the channel ---- */

/* ["subscribe", channel, n] or ["message", channel, text]. The first is also the answer to what asks whether it is alive. */
static void on_channel(redisAsyncContext *context, void *data, void *arg)
{
	const redisReply *reply = data;
	struct redis_link *l = arg;

	if (reply == NULL || context->data == NULL)
		return;
	l->heard = clock_now();
	if (reply->type == REDIS_REPLY_ERROR) {
		link_doom(l, reply->str);
	} else if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 && reply->element[0]->str != NULL) {
		if (strcmp(reply->element[0]->str, "subscribe") == 0) {
			l->pending = 0;
			if (l->state == REDIS_GREETING)
				link_enter(l, REDIS_READY);
		} else if (reply->element[2]->str != NULL && l->state == REDIS_READY) {
			l->events.message(l->arg, reply->element[2]->str);
		}
	}
	l->events.changed(l->arg);
}

static void link_subscribe(struct redis_link *l)
{
	const char *argv[] = { "SUBSCRIBE", l->channel };

	l->pending = 1;
	l->heard = clock_now();
	redisAsyncCommandArgv(l->context, on_channel, l, 2, argv, NULL);
}

/* ---- being let in ---- */

static void on_greeted(void *arg, const redisReply *reply)
{
	struct redis_link *l = arg;

	if (reply == NULL || link_is_doomed(l))
		return;
	if (reply->type == REDIS_REPLY_ERROR)
		link_doom(l, reply->str);
}

/* The PING behind all that: Redis may not be loaded yet, or may want a password. */
static void on_let_in(void *arg, const redisReply *reply)
{
	struct redis_link *l = arg;

	on_greeted(l, reply);
	if (reply == NULL || link_is_doomed(l))
		return;
	if (l->channel != NULL)
		link_subscribe(l);
	else
		link_enter(l, REDIS_READY);
}

static void link_greet(struct redis_link *l)
{
	char db[16];

	snprintf(db, sizeof db, "%u", l->url->db);
	if (l->url->password != NULL)
		link_command(l, on_greeted, l, 2, (const char *const[]){ "AUTH", l->url->password });
	if (l->url->db != 0)
		link_command(l, on_greeted, l, 2, (const char *const[]){ "SELECT", db });
	link_command(l, on_let_in, l, 1, (const char *const[]){ "PING" });
}

/* ---- connecting ---- */

static void on_connect(const redisAsyncContext *context, int status)
{
	struct redis_link *l = context->data;

	if (l == NULL)
		return;
	if (status == REDIS_OK) {
		link_enter(l, REDIS_GREETING);
		return;
	}
	l->context = NULL;
	link_doom(l, context->c.errstr);
}

static void on_disconnect(const redisAsyncContext *context, int status)
{
	struct redis_link *l = context->data;

	(void)status;
	if (l == NULL)
		return;
	l->context = NULL;
	link_doom(l, context->c.errstr[0] != '\0' ? context->c.errstr : "the connection was closed");
}

static void link_connect(struct redis_link *l)
{
	redisAsyncContext *c = l->url->path != NULL ? redisAsyncConnectUnix(l->url->path)
	                                            : redisAsyncConnect(l->found.text[l->next++], l->url->port);

	if (c == NULL || c->err != 0) {
		link_doom(l, c != NULL ? c->errstr : "no memory");
		if (c != NULL)
			redisAsyncFree(c);
		return;
	}
	fcntl(c->c.fd, F_SETFD, FD_CLOEXEC);	/* hiredis does not: handlers would have it */
	c->data = l;
	l->context = c;
	redisLibeventAttach(c, l->base);
	redisAsyncSetConnectCallback(c, on_connect);
	redisAsyncSetDisconnectCallback(c, on_disconnect);
}

static void on_resolved(evutil_socket_t fd, short what, void *arg)
{
	struct redis_link *l = arg;
	struct error err = ERROR_INIT;
	struct resolve *r = l->resolve;

	(void)fd, (void)what;
	event_free(l->resolved);
	l->resolved = NULL;
	l->resolve = NULL;
	if (resolve_take(r, &l->found, &err) == 0)
		link_enter(l, REDIS_CONNECTING);
	else
		link_doom(l, err.text);
}

static void link_resolve(struct redis_link *l)
{
	l->found.len = l->next = 0;
	l->resolve = resolve_start(l->url->host);
	l->resolved = event_new(l->base, resolve_fd(l->resolve), EV_READ, on_resolved, l);
	event_add(l->resolved, NULL);
}

/* ---- states ---- */

/* Gives every unanswered command its NULL. */
static void link_drop(struct redis_link *l)
{
	redisAsyncContext *c = l->context;

	if (l->resolved != NULL)
		event_free(l->resolved);
	resolve_drop(l->resolve);
	l->resolved = NULL;
	l->resolve = NULL;
	l->context = NULL;
	if (c != NULL) {
		c->data = NULL;
		redisAsyncFree(c);
	}
	l->pending = 0;
}

static void link_arm_retry(struct redis_link *l)
{
	l->retry_at = clock_now() + usec_jitter(l->backoff, BACKOFF_SPREAD);
	l->backoff = usec_min(2 * l->backoff, BACKOFF_LAST);
}

static void link_tell_ready(struct redis_link *l)
{
	l->readies++;
	l->found.len = l->next = 0;	/* the next time it may live elsewhere */
	l->events.ready(l->arg);
}

static void link_enter(struct redis_link *l, enum redis_state next)
{
	usec_t now = clock_now();

	assert(may[l->state][next]);
	if (l->state == REDIS_READY && now - l->since >= STEADY_TIME)
		l->backoff = BACKOFF_FIRST;
	l->state = next;
	l->since = now;

	switch (next) {
	case REDIS_RESOLVING:  link_resolve(l); break;
	case REDIS_CONNECTING: link_connect(l); break;
	case REDIS_GREETING:   link_greet(l); break;
	case REDIS_READY:      link_tell_ready(l); break;
	case REDIS_WAITING:    link_drop(l); link_arm_retry(l); break;
	case REDIS_CLOSED:     link_drop(l); break;
	case REDIS_STATES:     break;
	}
}

static void link_start(struct redis_link *l)
{
	link_enter(l, l->url->path == NULL && l->next == l->found.len ? REDIS_RESOLVING : REDIS_CONNECTING);
}

/* The host may have another address; else it is lost. */
static void link_lose(struct redis_link *l)
{
	struct error why = l->why;

	l->why = (struct error)ERROR_INIT;
	if (l->state == REDIS_CONNECTING && l->next < l->found.len) {
		link_drop(l);
		link_enter(l, REDIS_CONNECTING);
		return;
	}
	link_enter(l, REDIS_WAITING);
	l->events.lost(l->arg, &why, l->retry_at - l->since);
}

static usec_t link_deadline(const struct redis_link *l)
{
	switch (l->state) {
	case REDIS_RESOLVING:
	case REDIS_CONNECTING:
	case REDIS_GREETING: return l->since + CONNECT_TIME;
	case REDIS_READY:    return l->heard + (l->pending != 0 ? ANSWER_TIME : PING_EVERY);
	case REDIS_WAITING:  return l->retry_at;
	case REDIS_CLOSED:
	case REDIS_STATES:   break;
	}
	return USEC_NEVER;
}

static void link_pass_deadline(struct redis_link *l)
{
	switch (l->state) {
	case REDIS_RESOLVING:  link_doom(l, "the name service does not answer"); break;
	case REDIS_CONNECTING: link_doom(l, "no connection in time"); break;
	case REDIS_GREETING:   link_doom(l, "no answer in time"); break;
	case REDIS_READY:
		if (l->pending != 0)
			link_doom(l, "no answer in time");
		else if (l->channel != NULL)
			link_subscribe(l);
		else
			link_command(l, NULL, NULL, 1, (const char *const[]){ "PING" });
		break;
	case REDIS_WAITING:    link_start(l); break;
	case REDIS_CLOSED:
	case REDIS_STATES:     break;
	}
}

usec_t redis_link_advance(struct redis_link *l, usec_t now)
{
	if (l->state == REDIS_CLOSED)
		return USEC_NEVER;
	if (!link_is_doomed(l) && now >= link_deadline(l))
		link_pass_deadline(l);
	if (link_is_doomed(l))
		link_lose(l);
	return link_deadline(l);
}

/* ---- life ---- */

struct redis_link *redis_link_new(struct event_base *base, const struct redis_url *url, const char *channel,
                                  const struct redis_events *events, void *arg)
{
	struct redis_link *l = xcalloc(1, sizeof *l);

	l->base = base;
	l->url = url;
	l->channel = channel;
	l->events = *events;
	l->arg = arg;
	l->backoff = BACKOFF_FIRST;
	l->state = REDIS_WAITING;
	link_start(l);
	return l;
}

void redis_link_close(struct redis_link *l)
{
	if (l->state != REDIS_CLOSED)
		link_enter(l, REDIS_CLOSED);
}

void redis_link_free(struct redis_link *l)
{
	if (l == NULL)
		return;
	redis_link_close(l);
	free(l);
}

bool redis_link_is_ready(const struct redis_link *l)
{
	return l->state == REDIS_READY && !link_is_doomed(l);
}

enum redis_state redis_link_state(const struct redis_link *l)
{
	return l->state;
}

const char *redis_state_name(enum redis_state s)
{
	return state_name[s];
}

size_t redis_link_pending(const struct redis_link *l)
{
	return l->pending;
}

uint64_t redis_link_reconnects(const struct redis_link *l)
{
	return l->readies > 1 ? l->readies - 1 : 0;
}
