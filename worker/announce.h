/*
 * announce.h - a stop is told to whoever listens: before it starts (`stopping`, with the deadline) and
 * when all but the connection has left (`shutdown`, the report), as one JSON object each.
 *
 *   LISTEN unstuck_events
 *   {"event":"stopping","worker":"...","host":"...","pid":1,"reason":"signal.term","deadline":"2026-...Z","running":2}
 *   {"event":"shutdown",...,"elapsed_ms":812,"finished":5,...,"parts":[{"name":"intake","status":"completed","ms":3},...]}
 *
 * With redis_url the same texts are PUBLISHed on unstuck:events.
 *
 * With UNSTUCK_TRACE_ID in the environment both have a trace_id, and the report in the log too. Best effort: while
 * the database is away nobody is told by it, and while Redis is away nobody by that.
 */
#ifndef ANNOUNCE_H
#define ANNOUNCE_H

#include "worker.h"

#define TRACE_ID_MAX 128

const char *announce_trace_id(void);	/* NULL: none */
void announce_stopping(struct worker *w, usec_t deadline);	/* monotonic: when running jobs will be over at the latest */
void announce_shutdown(struct worker *w);
bool announce_is_idle(const struct worker *w);	/* nothing is under way */
bool announce_waits_for_redis(const struct worker *w);	/* and for nothing else */

#endif
