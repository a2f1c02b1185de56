/*
 * reload.h - reading the settings again while jobs run.
 *
 * A queue whose section is as it was goes on as it is. One that is new or changed is made anew, and what it was
 * before drains: it claims no more, its jobs end under the settings they started under, and then it is freed.
 * Settings live as long as the last queue that was made from them. Anything wrong changes nothing.
 *
 * Reading, connecting and looking at tables may take long: a thread of its own does that, and the loop takes over
 * what it made. A stop waits for no reload.
 */
#ifndef RELOAD_H
#define RELOAD_H

#include "worker.h"

/* How a reload ended, for who asked: NULL, or what was wrong (borrowed for the call). kind: of the error. */
typedef void reload_told_fn(void *arg, enum error_kind kind, const char *text);

void reload_open(struct worker *w);	/* and takes over the first queues' texts */
void reload_close(struct worker *w);	/* the queues, and the settings that were read later */
struct generation *reload_generation(struct worker *w);	/* of w->set, one reference more; NULL: the first ones */
bool reload_left_a_thread(void);	/* it hangs, in a connect say: leave by _exit() */

void reload(struct worker *w);		/* begins; asked for while one runs: once more after it */
void reload_when_told(struct worker *w, reload_told_fn *fn, void *arg);	/* fn is called once, when one has ended */
void reload_forget(struct worker *w, const void *arg);			/* who asked is gone */
void reload_advance(struct worker *w);	/* frees what has drained */

#endif
