/*
 * sse.c - see sse.h.
 */
#include "sse.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define BACKLOG_MAX (1024 * 1024)	/* bytes that a reader may lag behind */
#define NEWS_MAX (1024 * 1024)		/* bytes of one turn; what comes on top is counted and told */
#define HEARTBEAT (10 * SEC)		/* a comment, when nothing else was written for so long */
#define WRITE_SECONDS 30		/* for a reader that takes nothing at all */

struct stream {
	LIST_ENTRY(stream) link;
	struct sse *s;
	struct evhttp_request *req;
};

struct sse {
	struct worker *w;
	LIST_HEAD(, stream) streams;
	size_t len;
	struct buf news;		/* of this turn, written at its end */
	uint64_t dropped;		/* of this turn: more than fit */
	usec_t wrote_at;
};

/* ---- the events ---- */

/* Names are ours, and words; a line break could end nothing. */
static void add_event(struct buf *out, const char *event, const char *data)
{
	buf_addf(out, "event: %s\ndata: %s\n\n", event, data);
}

static void on_event(void *arg, enum log_level level, const char *event, const struct log_field *fields)
{
	struct buf line = BUF_INIT;
	struct sse *s = arg;

	if (s->len == 0)
		return;
	if (s->news.len >= NEWS_MAX) {
		s->dropped++;
		return;
	}
	log_add_json(&line, level, event, fields);
	if (s->news.len == 0)
		worker_changed(s->w);
	add_event(&s->news, event, buf_text(&line));
	buf_release(&line);
}

/* ---- streams ---- */

/* Gone by itself, or with the server: evhttp leaves a request to us in the first case only. */
static void on_gone(struct evhttp_connection *conn, void *arg)
{
	struct stream *t = arg;

	(void)conn;
	if (evhttp_request_get_connection(t->req) == NULL)
		evhttp_send_reply_end(t->req);	/* frees it */
	LIST_REMOVE(t, link);
	t->s->len--;
	free(t);
}

static struct evbuffer *output(const struct stream *t)
{
	return bufferevent_get_output(evhttp_connection_get_bufferevent(evhttp_request_get_connection(t->req)));
}

static void write_to(struct stream *t, const char *text, size_t len)
{
	struct evbuffer *chunk;

	if (evbuffer_get_length(output(t)) > BACKLOG_MAX) {
		evhttp_connection_free(evhttp_request_get_connection(t->req));	/* on_gone() follows */
		return;
	}
	chunk = evbuffer_new();
	if (chunk == NULL)
		return;
	evbuffer_add(chunk, text, len);
	evhttp_send_reply_chunk(t->req, chunk);
	evbuffer_free(chunk);
}

static void write_to_all(struct sse *s, const char *text, size_t len)
{
	struct stream *t, *next;

	for (t = LIST_FIRST(&s->streams); t != NULL; t = next) {
		next = LIST_NEXT(t, link);
		write_to(t, text, len);
	}
}

/* It says nothing any more, so only writing has a time limit. */
static void set_limits(struct evhttp_connection *conn)
{
	struct timeval limit = { .tv_sec = WRITE_SECONDS };

	bufferevent_set_timeouts(evhttp_connection_get_bufferevent(conn), NULL, &limit);
}

void sse_add(struct sse *s, struct evhttp_request *req)
{
	static const char hello[] = "retry: 2000\n: the events of this worker from now on\n\n";
	struct stream *t = xcalloc(1, sizeof *t);

	t->s = s;
	t->req = req;
	evhttp_connection_set_closecb(evhttp_request_get_connection(req), on_gone, t);
	evhttp_send_reply_start(req, HTTP_OK, NULL);
	LIST_INSERT_HEAD(&s->streams, t, link);
	if (s->len++ == 0)
		s->wrote_at = clock_now();
	write_to(t, hello, sizeof hello - 1);
	set_limits(evhttp_request_get_connection(req));
}

size_t sse_count(const struct sse *s)
{
	return s->len;
}

usec_t sse_advance(struct sse *s, usec_t now)
{
	static const char heartbeat[] = ": heartbeat\n\n";

	if (s->len == 0)
		return USEC_NEVER;
	if (s->dropped != 0) {
		buf_addf(&s->news, ": %llu events more, too many to tell\n\n", (unsigned long long)s->dropped);
		s->dropped = 0;
	}
	if (s->news.len != 0)
		write_to_all(s, s->news.data, s->news.len);
	else if (now >= s->wrote_at + HEARTBEAT)
		write_to_all(s, heartbeat, sizeof heartbeat - 1);
	else
		return s->wrote_at + HEARTBEAT;
	buf_clear(&s->news);
	s->wrote_at = now;
	return now + HEARTBEAT;
}

/* ---- the end ---- */

static void end_stream(struct stream *t)
{
	struct evhttp_request *req = t->req;

	evhttp_connection_set_closecb(evhttp_request_get_connection(req), NULL, NULL);
	LIST_REMOVE(t, link);
	t->s->len--;
	free(t);
	evhttp_send_reply_end(req);
}

void sse_end(struct sse *s)
{
	static const struct log_field none[] = { { .key = NULL } };
	struct buf line = BUF_INIT, last = BUF_INIT;
	struct stream *t, *next;

	sse_advance(s, clock_now());
	log_add_json(&line, LOG_INFO, "server_shutdown", none);
	add_event(&last, "server_shutdown", buf_text(&line));
	write_to_all(s, last.data, last.len);
	for (t = LIST_FIRST(&s->streams); t != NULL; t = next) {
		next = LIST_NEXT(t, link);
		end_stream(t);
	}
	buf_release(&line);
	buf_release(&last);
}

/* ---- life ---- */

struct sse *sse_new(struct worker *w)
{
	struct sse *s = xcalloc(1, sizeof *s);

	s->w = w;
	LIST_INIT(&s->streams);
	log_watch(LOG_INFO, on_event, s);
	return s;
}

void sse_free(struct sse *s)
{
	if (s == NULL)
		return;
	log_unwatch(on_event, s);
	buf_release(&s->news);
	free(s);
}
