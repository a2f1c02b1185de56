/*
 * shutdown.h - the parts of a worker leave in registered order, each with a
 * graceful request, a test whether it is done, and a forced end.
 *
 * A part that fails or runs out of time never holds up the next. The table of
 * parts is in worker.c; it is also the final report.
 */
#ifndef SHUTDOWN_H
#define SHUTDOWN_H

#include <stdbool.h>
#include <stddef.h>
#include "buf.h"
#include "clock.h"

struct worker;

enum part_state { PART_WAITING, PART_COMPLETED, PART_FAILED, PART_FORCED };

struct part {
	const char *name;
	void (*ask)(struct worker *w);			/* may be NULL */
	enum part_state (*look)(struct worker *w);	/* WAITING, COMPLETED or FAILED */
	void (*force)(struct worker *w);		/* out of time; may be NULL */
	usec_t (*until)(const struct worker *w);	/* deadline, asked each time: a second signal shortens it */
};

#define PARTS_MAX 8

struct shutdown {
	const struct part *parts;
	size_t len, at;
	bool begun;
	char reason[32];		/* signal.term, drained, ... */
	usec_t begun_at, part_at;
	struct { enum part_state state; usec_t took; } report[PARTS_MAX];
};

void shutdown_init(struct shutdown *s, const struct part *parts, size_t len);
void shutdown_begin(struct shutdown *s, struct worker *w, const char *reason, usec_t now);
/* Pass every part that is over or out of time. Returns when to look again; USEC_NEVER at the end. */
usec_t shutdown_advance(struct shutdown *s, struct worker *w, usec_t now);
bool shutdown_is_over(const struct shutdown *s);
const char *part_state_name(enum part_state state);

#endif
