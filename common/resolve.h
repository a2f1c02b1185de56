/*
 * resolve.h - the addresses of a host, without waiting for the name service: a thread of its own asks it, and
 * whoever does not want to wait any longer leaves it alone there.
 */
#ifndef RESOLVE_H
#define RESOLVE_H

#include <stddef.h>
#include "clock.h"
#include "error.h"

#define RESOLVE_MAX 8		/* addresses that are kept of a host */
#define RESOLVE_TEXT 64

struct addresses {
	char text[RESOLVE_MAX][RESOLVE_TEXT];	/* numeric, with its scope */
	size_t len;
};

struct resolve;

struct resolve *resolve_start(const char *host);	/* an address is its own answer: no thread */
int resolve_fd(const struct resolve *r);		/* readable when it is over */
/* Only when it is over. 0 and at least one address, or -1 and err. Ends r. */
int resolve_take(struct resolve *r, struct addresses *out, struct error *err);
void resolve_drop(struct resolve *r);			/* at any time; NULL is fine */
/* All of the above: at most so long. */
int resolve_wait(const char *host, usec_t patience, struct addresses *out, struct error *err);

#endif
