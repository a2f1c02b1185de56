/*
 * change.h - cancel and retry: one function of the database for each id of the command line.
 */
#ifndef CHANGE_H
#define CHANGE_H

#include "ctl.h"

struct change {
	const char *statement;		/* in sql/ctl.sql: $1 id -> whether it did */
	const char *done;		/* "cancelled" */
	const char *(*refused)(const char *status);	/* why not; status NULL: not known */
	const char *(*hint)(const char *status_before);	/* NULL: none; may give NULL */
};

/* EXIT_FAILED when one of the ids was not done; each is told. */
enum exit_status change_jobs(struct ctl *ctl, const struct change *change);

#endif
