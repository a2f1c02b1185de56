/*
 * late.h - why bytes of a handler are in unstuck.late_results and not with their job: one table.
 */
#ifndef LATE_H
#define LATE_H

#include <stdbool.h>

enum late_reason {
	LATE_NONE,		/* they are not */
	/* successes in themselves, whose claim was no longer the current one; by what classify said of the row */
	LATE_FENCED,		/* somebody else had the job by then, or it was given back and changed */
	LATE_FAILED,		/* it had been given up: recovered too often */
	LATE_CANCELLED,
	LATE_MISSING,		/* the row is gone */
	/* no results as they are */
	LATE_BAD_DATA,		/* refused by the database, or no text */
	LATE_TOO_LARGE,		/* larger than max_result; not whole */
	LATE_UNFINISHED,	/* printed by a handler whose end nobody saw, or was another's doing */
	LATE_REASONS
};

const char *late_name(enum late_reason r);	/* as stored; NULL for LATE_NONE */
/* It counts without anybody's word as soon as no other run does: see unstuck.adopt. */
bool late_is_adopted_unasked(enum late_reason r);
/* The reason for a success that was not stored, by the verdict of classify. */
enum late_reason late_of_verdict(const char *verdict);

#endif
