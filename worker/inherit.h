/*
 * inherit.h - what workers that died left on this host: stored before anything is recovered, and their handlers that run
 * on kept from being run again.
 *
 * At the start before the first claim; later in a thread, so that the loop does not stand still for it: after an outage,
 * before rows are recovered, and with each heartbeat while there is a dead worker's spool. Not here: how (common/replay.h).
 */
#ifndef INHERIT_H
#define INHERIT_H

#include "worker.h"

struct session;

/*
 * Before the first claim. -1: the database went away, or a queue needs the directory (needed) and it cannot be used.
 */
int inherit_at_start(const struct settings *set, bool needed, struct session *session, struct error *err);

void inherit_open(struct worker *w);
void inherit_close(struct worker *w);	/* waits for the thread, half a second at most */
bool inherit_left_a_thread(void);		/* after inherit_close(): it hangs, and nothing that it works on may be freed */

/* Look for dead ones now, unless a thread is at work already. worker_changed() follows when it is over. */
void inherit_look(struct worker *w);
bool inherit_is_idle(const struct worker *w);
bool inherit_has_failed(const struct worker *w);	/* the last time: the database did not let us */
usec_t inherit_advance(struct worker *w, usec_t now);

#endif
