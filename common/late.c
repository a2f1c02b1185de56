/*
 * late.c - the reasons of late results.
 *
 * Not here: keeping them (sql/queue_shared.sql), adopting them (adopt.c).
 */
#include "late.h"

#include <stddef.h>
#include <string.h>

static const struct {
	const char *name;
	bool success;		/* in itself: named as the verdict of classify that came for it */
	bool unasked;
} reasons[LATE_REASONS] = {
	[LATE_FENCED] = { "fenced", true, true },
	[LATE_FAILED] = { "failed", true, true },
	[LATE_CANCELLED] = { "cancelled", true, false },
	[LATE_MISSING] = { "missing", true, false },
	[LATE_BAD_DATA] = { "bad_data", false, false },
	[LATE_TOO_LARGE] = { "too_large", false, false },
	[LATE_UNFINISHED] = { "unfinished", false, false },
};

const char *late_name(enum late_reason r)
{
	return reasons[r].name;
}

bool late_is_adopted_unasked(enum late_reason r)
{
	return reasons[r].unasked;
}

enum late_reason late_of_verdict(const char *verdict)
{
	for (enum late_reason r = LATE_NONE + 1; r < LATE_REASONS; r++)
		if (reasons[r].success && strcmp(reasons[r].name, verdict) == 0)
			return r;
	return LATE_FENCED;
}
