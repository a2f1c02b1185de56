/*
 * store.h - writing outcomes, many per transaction, each exactly once.
 *
 * Group commit without a timer: while one write of a queue is under way,
 * finished jobs gather; when it returns, all that gathered go in the next. Every
 * row is fenced by its token; what was not stored is asked about in a second
 * statement (its own snapshot) and settled by the verdict:
 *
 *   already            our earlier try committed        done
 *   mine, reset        it did not                       send again
 *   fenced failed cancelled missing                     the bytes go to late_results
 *
 * A batch that the server refuses because of its data is sent again row by
 * row, so that the bad row stands alone; that row fails for good and its bytes are
 * kept. Anything else is tried again; nothing is dropped for an outage.
 */
#ifndef STORE_H
#define STORE_H

#include "worker.h"

void store_take(struct worker *w, struct job *j);	/* ENDED, with its outcome; the store frees it when settled */
void store_sealed(struct worker *w, struct job *j);	/* keep.c held it back until now */
usec_t store_advance(struct worker *w, usec_t now);
bool store_is_empty(const struct worker *w);		/* nothing waits and no write is under way */
size_t store_waiting(const struct worker *w);
bool store_is_behind(const struct queue *q);		/* the next write is full already: claims would outrun the results */

#endif
