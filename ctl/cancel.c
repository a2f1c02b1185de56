/*
 * cancel.c - end jobs that wait or run.
 */
#include <string.h>
#include "change.h"

static const char *running_hint(const char *status_before)
{
	return strcmp(status_before, "PROCESSING") == 0 ? " (it was running: its worker ends it, within one heartbeat)" : NULL;
}

static const char *refused(const char *status)
{
	(void)status;
	return "only a job that waits or runs can be cancelled";
}

enum exit_status cancel_run(struct ctl *ctl)
{
	static const struct change cancel = {
		.statement = "cancel", .done = "cancelled", .hint = running_hint, .refused = refused,
	};

	return change_jobs(ctl, &cancel);
}
