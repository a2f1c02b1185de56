/*
 * lanes.h - which connection takes a write: the worker's first one, or, under load, a second one beside it.
 *
 * A server process uses one core. While it works on a claim, a second one can store the results of the claim before. So
 * when many results are to be written and a claim is under way, or goes now, a second connection is opened, and takes all
 * writes of outcomes from then on; everything else stays on the first. It is closed after a minute without such load. It is
 * never needed: while it is not there (idle, refused, lost), the first takes all.
 *
 *   CLOSED --load--> ASKING --> OPENING --> CHECKING --> OPEN     what is asked, and compared: which server this is
 *     ^                 |          |           |           |
 *     +--- refused, lost, another server, the first one lost or closed, no load for a minute, connections = 1
 *
 * Both are always of the same start of the same server. It connects to the address that the first one is connected to, and
 * whenever that one is lost, it is closed at once: so results never go to a server that claims do not come from. What is
 * unanswered then, or when it is lost itself, comes back as DB_LOST and goes on the first; the fences of the statements and
 * `classify` (store.h) settle what has been committed meanwhile.
 */
#ifndef LANES_H
#define LANES_H

#include "worker.h"

void lanes_open(struct worker *w);	/* no connection yet; before the first one is made */
void lanes_close(struct worker *w);	/* with it; after the first one is gone */

/* Where a write of so many outcomes of q goes now; NULL: nowhere, the first connection is away. */
struct db *lanes_for_write(struct worker *w, struct queue *q, size_t outcomes);
void lanes_first_gone(struct worker *w);	/* lost, or closed: so is the second */
usec_t lanes_advance(struct worker *w, usec_t now);

const struct db *lanes_second(const struct worker *w);	/* for those who show it; NULL: there is none */

#endif
