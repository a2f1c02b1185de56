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
	const char *verdict;	/* of classify */
	bool unasked;
	const char *text;
} reasons[LATE_REASONS] = {
	[LATE_FENCED] = { "fenced", "fenced", true, "another run had the job when it came" },
	[LATE_FAILED] = { "failed", "failed", true, "the job had been given up when it came" },
	[LATE_CANCELLED] = { "cancelled", "cancelled", false, "the job had been cancelled when it came" },
	[LATE_MISSING] = { "missing", "missing", false, "the job was gone when it came" },
	[LATE_BAD_DATA] = { "bad_data", NULL, false, "it is no result that the database takes" },
	[LATE_TOO_LARGE] = { "too_large", NULL, false, "it is larger than max_result and not whole" },
	[LATE_UNFINISHED] = { "unfinished", NULL, false, "nobody saw its handler end: it may be half of a result" },
};

const char *late_name(enum late_reason r)
{
	return reasons[r].name;
}

const char *late_text(const char *name)
{
	for (enum late_reason r = LATE_NONE + 1; r < LATE_REASONS; r++)
		if (strcmp(reasons[r].name, name) == 0)
			return reasons[r].text;
	return "";
}

bool late_is_adopted_unasked(enum late_reason r)
{
	return reasons[r].unasked;
}

enum late_reason late_of_verdict(const char *verdict)
{
	for (enum late_reason r = LATE_NONE + 1; r < LATE_REASONS; r++)
		if (reasons[r].verdict != NULL && strcmp(reasons[r].verdict, verdict) == 0)
			return r;
	return LATE_FENCED;
}
