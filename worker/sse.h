/*
 * sse.h - the streams of /events: every event of the log from info on, as it is logged.
 *
 *   event: job_done
 *   data: {"ts":"...","level":"info","event":"job_done","queue":...}
 *
 * What is logged in one turn of the loop is written once, at its end, to all streams. A reader that is too slow is cut
 * off; its browser connects again by itself. Not here: who may read (http.c).
 */
#ifndef SSE_H
#define SSE_H

#include <event2/http.h>
#include "worker.h"

struct sse;

struct sse *sse_new(struct worker *w);
void sse_free(struct sse *s);		/* after the server: its streams are gone */

/* Takes the request; its headers are set. The stream begins. */
void sse_add(struct sse *s, struct evhttp_request *req);
size_t sse_count(const struct sse *s);
usec_t sse_advance(struct sse *s, usec_t now);
void sse_end(struct sse *s);		/* server_shutdown is the last event; no stream begins any more */

#endif
