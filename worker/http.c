/*
 * http.c - see http.h.
 *
 * Lives here: the routes, who is let in, limits, answers that wait for the database.
 *
 * libevent's server neither counts connections nor says when one is gone. So each one's bufferevent is made and
 * referenced here (http_connected); evhttp takes its callbacks away when it is done with it, which http_sweep() sees.
 */
#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "http_listen.h"
#include "log.h"
#include "metrics_text.h"
#include "page.h"
#include "sse.h"
#include "state.h"
#include "view.h"

#define CONNECTIONS_MAX 64		/* from here on each request is refused with 503 ... */
#define CONNECTIONS_HARD 96		/* ... and from here on nobody is accepted until one goes */
#define STREAMS_MAX 16			/* of /events; they stay */
#define HEADERS_MAX 8192
#define BODY_MAX 65536			/* read and thrown away, so that a POST learns that it is a 405 */
#define IDLE_SECONDS 10			/* for who asks slowly, or reads slowly */
#define LEAVE_LOOK (10 * MSEC)		/* at what is still to be written, while leaving */
#define SWEEP_EVERY (1 * SEC)
#define ACCEPT_PAUSE (1 * SEC)		/* after an error of accept(): no descriptors, say */
#define VIEW_WAIT (1 * SEC)		/* an answer waits so long for the database at most */

#define TEXT "text/plain; charset=utf-8"

struct route {
	const char *path;
	void (*answer)(struct http *h, struct evhttp_request *req);
	bool needs_view;		/* waits a moment for what the database knows */
};

struct waiter {				/* a request whose answer waits for the view */
	TAILQ_ENTRY(waiter) link;
	struct http *h;
	struct evhttp_request *req;
	const struct route *route;
	usec_t until;
};

struct http {
	struct worker *w;
	struct http_listen at;
	char *name;			/* of this host; "" unless others may reach us */
	struct evhttp *server;
	struct evhttp_bound_socket *bound[HTTP_LISTEN_MAX];
	size_t bound_len;
	bool leaving;
	bool paused;			/* not accepting: all places are taken, or accept() failed */
	usec_t resume_at;
	struct bufferevent *open[CONNECTIONS_HARD];
	size_t open_len;
	TAILQ_HEAD(, waiter) waiters;
	struct sse *sse;
	struct view *view;
	struct state *state;
};

/* ---- answers ---- */

static const struct { const char *name, *value; } headers[] = {
	{ "Connection", "close" },
	{ "Cache-Control", "no-store" },
	{ "X-Content-Type-Options", "nosniff" },
	{ "X-Frame-Options", "DENY" },
	{ "Referrer-Policy", "no-referrer" },
	{ "Cross-Origin-Resource-Policy", "same-origin" },
};

static void add_headers(struct evhttp_request *req, const char *type, const char *policy)
{
	struct evkeyvalq *out = evhttp_request_get_output_headers(req);

	for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
		evhttp_add_header(out, headers[i].name, headers[i].value);
	evhttp_add_header(out, "Content-Type", type);
	evhttp_add_header(out, "Content-Security-Policy", policy != NULL ? policy : "default-src 'none'; frame-ancestors 'none'");
}

/* HEAD is told the length of what it does not get. */
static void answer(struct evhttp_request *req, int code, const char *text, size_t len)
{
	struct evbuffer *body = evbuffer_new();
	char length[24];

	if (evhttp_request_get_command(req) == EVHTTP_REQ_HEAD) {
		snprintf(length, sizeof length, "%zu", len);
		evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Length", length);
	} else if (body != NULL) {
		evbuffer_add(body, text, len);
	}
	evhttp_send_reply(req, code, NULL, body);
	if (body != NULL)
		evbuffer_free(body);
}

static void answer_text(struct evhttp_request *req, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void answer_text(struct evhttp_request *req, int code, const char *fmt, ...)
{
	struct buf text = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&text, fmt, ap);
	va_end(ap);
	buf_addc(&text, '\n');
	add_headers(req, TEXT, NULL);
	answer(req, code, text.data, text.len);
	buf_release(&text);
}

/* ---- routes ---- */

const char *http_not_ready(const struct worker *w)
{
	switch (worker_state(w)) {
	case WORKER_STARTING: return "starting";
	case WORKER_STOPPING: return "stopping";
	case WORKER_QUIET:    return "quiet";
	case WORKER_RUNNING:  break;
	}
	return db_is_ready(w->db) ? NULL : "no database";
}

static void tell_live(struct http *h, struct evhttp_request *req)
{
	(void)h;			/* the loop turns: else nobody would answer */
	answer_text(req, HTTP_OK, "live");
}

static void tell_ready(struct http *h, struct evhttp_request *req)
{
	const char *why = http_not_ready(h->w);

	if (why == NULL)
		answer_text(req, HTTP_OK, "ready");
	else
		answer_text(req, HTTP_SERVUNAVAIL, "not ready: %s", why);
}

static void tell_metrics(struct http *h, struct evhttp_request *req)
{
	struct buf text = BUF_INIT;

	metrics_text(&text, h->w, h->view);
	add_headers(req, "text/plain; version=0.0.4; charset=utf-8", NULL);
	answer(req, HTTP_OK, text.data, text.len);
	buf_release(&text);
}

static void tell_state(struct http *h, struct evhttp_request *req)
{
	char *text = state_text(h->state, h->view);

	if (text == NULL) {
		answer_text(req, HTTP_INTERNAL, "the state could not be written as JSON");
		return;
	}
	add_headers(req, "application/json", NULL);
	answer(req, HTTP_OK, text, strlen(text));
	free(text);
}

static void tell_events(struct http *h, struct evhttp_request *req)
{
	if (h->leaving) {
		answer_text(req, HTTP_SERVUNAVAIL, "stopping");
		return;
	}
	if (sse_count(h->sse) >= STREAMS_MAX) {
		answer_text(req, HTTP_SERVUNAVAIL, "too many streams of events; %d are open", STREAMS_MAX);
		return;
	}
	add_headers(req, "text/event-stream", NULL);
	if (evhttp_request_get_command(req) == EVHTTP_REQ_HEAD)
		evhttp_send_reply(req, HTTP_OK, NULL, NULL);
	else
		sse_add(h->sse, req);
}

static void tell_page(struct http *h, struct evhttp_request *req)
{
	(void)h;
	add_headers(req, "text/html; charset=utf-8", page_policy);
	answer(req, HTTP_OK, page_html, strlen(page_html));
}

static const struct route routes[] = {
	{ "/",          tell_page,    false },
	{ "/live",      tell_live,    false },
	{ "/ready",     tell_ready,   false },
	{ "/metrics",   tell_metrics, true },
	{ "/api/state", tell_state,   true },
	{ "/events",    tell_events,  false },
};

/* ---- answers that wait ---- */

static void waiter_free(struct waiter *a)
{
	TAILQ_REMOVE(&a->h->waiters, a, link);
	free(a);
}

/* The client is gone: evhttp leaves the request to us, unless all is being torn down. */
static void on_waiter_gone(struct evhttp_connection *conn, void *arg)
{
	struct waiter *a = arg;

	(void)conn;
	if (evhttp_request_get_connection(a->req) == NULL)
		evhttp_send_reply_end(a->req);	/* frees it */
	waiter_free(a);
}

static void wait_for_view(struct http *h, struct evhttp_request *req, const struct route *route)
{
	struct waiter *a = xcalloc(1, sizeof *a);

	*a = (struct waiter){ .h = h, .req = req, .route = route, .until = clock_now() + VIEW_WAIT };
	TAILQ_INSERT_TAIL(&h->waiters, a, link);
	evhttp_connection_set_closecb(evhttp_request_get_connection(req), on_waiter_gone, a);
	worker_changed(h->w);
}

static usec_t answer_waiters(struct http *h, usec_t now)
{
	bool waits = view_is_reading(h->view);
	struct waiter *a, *next;
	usec_t due = USEC_NEVER;

	for (a = TAILQ_FIRST(&h->waiters); a != NULL; a = next) {
		struct evhttp_request *req = a->req;
		const struct route *route = a->route;

		next = TAILQ_NEXT(a, link);
		if (waits && now < a->until) {
			due = usec_min(due, a->until);
			continue;
		}
		evhttp_connection_set_closecb(evhttp_request_get_connection(req), NULL, NULL);
		waiter_free(a);
		route->answer(h, req);
	}
	return due;
}

/* ---- who is let in ---- */

static bool is_address(const char *host)
{
	unsigned char bytes[16];

	return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

/* This host by its name, short or with its domain. */
static bool is_our_name(const char *name, const char *host)
{
	size_t len = strlen(name);

	return len != 0 && strncasecmp(host, name, len) == 0 && (host[len] == '\0' || host[len] == '.');
}

/*
 * A page elsewhere that has its own name point to this address could read us with its visitor's browser: so only names
 * that nobody else can have are answered.
 */
static bool is_host_ours(const struct http *h, const char *value)
{
	char host[256];
	size_t len;

	if (h->at.is_unix)
		return true;		/* no browser gets here */
	if (*value == '[')
		len = strcspn(++value, "]");
	else
		len = strcspn(value, ":");
	if (len == 0 || len >= sizeof host)
		return false;
	memcpy(host, value, len);
	host[len] = '\0';
	return is_address(host) || strcasecmp(host, "localhost") == 0 || strcasecmp(host, h->at.host) == 0
	       || is_our_name(h->name, host);
}

static bool let_in(struct http *h, struct evhttp_request *req)
{
	const char *host = evhttp_find_header(evhttp_request_get_input_headers(req), "Host");

	if (h->open_len > CONNECTIONS_MAX) {
		answer_text(req, HTTP_SERVUNAVAIL, "too many connections; %d are open", CONNECTIONS_MAX);
	} else if (host == NULL && req->minor != 0) {	/* probes of load balancers speak 1.0 without one, browsers never */
		answer_text(req, HTTP_BADREQUEST, "a Host header is needed");
	} else if (host != NULL && !is_host_ours(h, host)) {
		answer_text(req, 403, "this worker does not go by the name that the Host header has");
	} else if ((evhttp_request_get_command(req) & (EVHTTP_REQ_GET | EVHTTP_REQ_HEAD)) == 0) {
		evhttp_add_header(evhttp_request_get_output_headers(req), "Allow", "GET, HEAD");
		answer_text(req, HTTP_BADMETHOD, "GET and HEAD only: nothing here changes anything");
	} else {
		return true;
	}
	return false;
}

static void on_request(struct evhttp_request *req, void *arg)
{
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(req));
	struct http *h = arg;

	if (!let_in(h, req))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (path == NULL || strcmp(path, routes[i].path) != 0)
			continue;
		if (routes[i].needs_view && view_ask(h->view))
			wait_for_view(h, req, &routes[i]);
		else
			routes[i].answer(h, req);
		return;
	}
	answer_text(req, HTTP_NOTFOUND, "there are / /live /ready /metrics /api/state /events");
}

/* ---- connections ---- */

static void http_pause(struct http *h, bool pause)
{
	if (h->paused == pause)
		return;
	h->paused = pause;
	for (size_t i = 0; i < h->bound_len; i++) {
		struct evconnlistener *l = evhttp_bound_socket_get_listener(h->bound[i]);

		if (pause)
			evconnlistener_disable(l);
		else
			evconnlistener_enable(l);
	}
}

/* Let go of the connections that evhttp is done with; their descriptors are closed here. */
static void http_sweep(struct http *h, bool all)
{
	size_t kept = 0;

	for (size_t i = 0; i < h->open_len; i++) {
		bufferevent_event_cb on_event = NULL;

		bufferevent_getcb(h->open[i], NULL, NULL, &on_event, NULL);
		if (on_event != NULL && !all)
			h->open[kept++] = h->open[i];
		else
			bufferevent_decref(h->open[i]);
	}
	h->open_len = kept;
	if (h->open_len < CONNECTIONS_HARD && h->resume_at == 0)
		http_pause(h, false);
}

static struct bufferevent *http_connected(struct event_base *base, void *arg)
{
	struct bufferevent *bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	struct http *h = arg;

	http_sweep(h, false);
	if (bev == NULL || h->open_len == CONNECTIONS_HARD)
		return bev;		/* the last one that accept() had in hand */
	bufferevent_incref(bev);
	h->open[h->open_len++] = bev;
	if (h->open_len == CONNECTIONS_HARD)
		http_pause(h, true);
	worker_changed(h->w);
	return bev;
}

static void on_accept_error(struct evconnlistener *l, void *arg)
{
	struct http *h = arg;

	(void)l;
	log_event(LOG_WARNING, "http_accept_failed", LS("error", strerror(EVUTIL_SOCKET_ERROR())), LS("next", "trying again"));
	h->resume_at = clock_now() + ACCEPT_PAUSE;
	http_pause(h, true);
	worker_changed(h->w);
}

/* ---- life ---- */

static int serve_at(struct http *h, struct error *err)
{
	for (size_t i = 0; i < h->at.len; i++) {
		struct evconnlistener *l = evconnlistener_new(h->w->base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC,
		                                              0, h->at.fds[i]);

		if (l == NULL || (h->bound[h->bound_len] = evhttp_bind_listener(h->server, l)) == NULL) {
			if (l != NULL)
				evconnlistener_free(l);
			return error_set(err, ERR_SYS, "[http] listen: no listener could be made");
		}
		h->at.fds[i] = -1;	/* the listener's now */
		h->bound_len++;
		evconnlistener_set_error_cb(l, on_accept_error);
	}
	return 0;
}

static struct evhttp *new_server(struct http *h)
{
	struct evhttp *s = evhttp_new(h->w->base);

	if (s == NULL)
		return NULL;
	evhttp_set_allowed_methods(s, 0xffff);	/* those that we do not have get an answer of ours */
	evhttp_set_max_headers_size(s, HEADERS_MAX);
	evhttp_set_max_body_size(s, BODY_MAX);
	evhttp_set_timeout(s, IDLE_SECONDS);
	evhttp_set_bevcb(s, http_connected, h);
	evhttp_set_gencb(s, on_request, h);
	return s;
}

static void warn_if_public(struct http *h, const char *address)
{
	char name[256] = "";

	if (!h->at.is_public)
		return;
	if (gethostname(name, sizeof name - 1) == 0) {
		free(h->name);
		h->name = xstrdup(name);
	}
	log_event(LOG_WARNING, "http_public", LS("listen", address),
	          LS("meaning", "other hosts can reach it, and it asks for no password"),
	          LS("next", "127.0.0.1 or unix: keeps it to this host; else let a firewall say who may"));
}

int http_open(struct worker *w, struct error *err)
{
	const char *address = w->set->http_listen;
	struct http *h;

	if (address[0] == '\0')
		return 0;
	w->http = h = xcalloc(1, sizeof *h);
	h->w = w;
	h->name = xstrdup("");
	TAILQ_INIT(&h->waiters);
	h->view = view_new(w);
	h->sse = sse_new(w);
	h->state = state_new(w);
	if (http_listen_open(&h->at, address, err) < 0)
		return -1;
	h->server = new_server(h);
	if (h->server == NULL)
		return error_set(err, ERR_SYS, "[http] listen: no server could be made");
	if (serve_at(h, err) < 0)
		return -1;
	warn_if_public(h, address);
	log_event(LOG_INFO, "http_listening", LS("listen", address));
	return 0;
}

usec_t http_advance(struct worker *w, usec_t now)
{
	struct http *h = w->http;
	usec_t next;

	if (h == NULL || h->server == NULL)
		return USEC_NEVER;
	if (h->resume_at != 0 && now >= h->resume_at)
		h->resume_at = 0;
	http_sweep(h, false);
	state_note(h->state);
	next = view_advance(h->view, now);
	next = usec_min(next, answer_waiters(h, now));
	next = usec_min(next, sse_advance(h->sse, now));
	if (h->resume_at != 0)
		next = usec_min(next, h->resume_at);
	if (h->leaving)
		next = usec_min(next, now + LEAVE_LOOK);
	return h->open_len != 0 ? usec_min(next, now + SWEEP_EVERY) : next;
}

/* ---- the shutdown ---- */

static void stop_listening(struct http *h)
{
	for (size_t i = 0; i < h->bound_len; i++)
		evhttp_del_accept_socket(h->server, h->bound[i]);
	h->bound_len = 0;
	http_listen_close(&h->at);
}

void http_leave(struct worker *w)
{
	struct http *h = w->http;

	if (h == NULL)
		return;
	h->leaving = true;
	stop_listening(h);
	view_stop(h->view);
	sse_end(h->sse);
	worker_changed(w);
}

/* Who has asked nothing yet is not waited for. */
bool http_is_over(const struct worker *w)
{
	const struct http *h = w->http;

	if (h == NULL || h->server == NULL)
		return true;
	if (!TAILQ_EMPTY(&h->waiters))
		return false;
	for (size_t i = 0; i < h->open_len; i++)
		if (evbuffer_get_length(bufferevent_get_output(h->open[i])) != 0)
			return false;
	return true;
}

void http_cut(struct worker *w)
{
	struct http *h = w->http;

	if (h == NULL || h->server == NULL)
		return;
	stop_listening(h);
	evhttp_free(h->server);		/* with its connections; their closing callbacks run */
	h->server = NULL;
	http_sweep(h, true);
}

void http_close(struct worker *w)
{
	struct http *h = w->http;

	if (h == NULL)
		return;
	http_cut(w);
	http_listen_close(&h->at);
	sse_free(h->sse);
	view_free(h->view);
	state_free(h->state);
	free(h->name);
	free(h);
	w->http = NULL;
}
