/*
 * http.h - what the worker tells over HTTP: /live /ready /metrics /api/state /events and a page at /.
 *
 * GET and HEAD only: nothing here changes anything. One request a connection. Works while the worker starts,
 * drains and has lost its database, and says so.
 *
 * Not here: sockets (http_listen.c), the texts (metrics_text.c, state.c), the stream of events (sse.c), what the
 * database knows (view.c).
 */
#ifndef HTTP_H
#define HTTP_H

#include "worker.h"

/* Nothing unless [http] listen is set. ERR_SETTINGS or ERR_SYS when it cannot be listened there. */
int http_open(struct worker *w, struct error *err);
void http_close(struct worker *w);
usec_t http_advance(struct worker *w, usec_t now);

/* Why the worker is not ready to work; NULL: it is. */
const char *http_not_ready(const struct worker *w);

/* The shutdown: listen no more, end the streams of events, finish the answers under way. */
void http_leave(struct worker *w);
bool http_is_over(const struct worker *w);
void http_cut(struct worker *w);	/* what is left */

#endif
