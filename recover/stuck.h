/*
 * stuck.h - look for the stuck rows of one queue.
 */
#ifndef STUCK_H
#define STUCK_H

#include "error.h"
#include "pg.h"
#include "target.h"

struct stuck_question {
	bool ignore_liveness;
	bool alive;		/* list rows with a living owner too */
	bool suspects;		/* list rows whose worker is silent but not proven dead */
	uint32_t max_recoveries;
	size_t room;		/* rows that may be planned; more are only counted */
	size_t detail;		/* rows that are kept with all that a report lists */
};

/* Fill t's rows and counts; t must be open. The rows come oldest first. */
int stuck_find(struct session *session, struct target *t, const struct stuck_question *ask, struct error *err);

#endif
