/*
 * retry.c - put FAILED or CANCELLED jobs back: those named, or all that failed in a queue.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "buf.h"
#include "change.h"
#include "sqltext.h"

/* In batches, so that no transaction holds a whole queue. */
static enum exit_status retry_failed(struct ctl *ctl)
{
	uint64_t count = 0;
	char *last = NULL;

	if (ctl_connect_schema(ctl) < 0)
		return ctl_failed(ctl);
	last = xstrdup("0");
	for (;;) {
		const char *params[] = { ctl->opt.queue, last };
		PGresult *res = session_exec(&ctl->session, &ctl->err, sqltext("ctl", "retry_failed"), 2, params);
		bool end = res == NULL || PQgetisnull(res, 0, 0);

		if (!end) {
			free(last);
			last = xstrdup(PQgetvalue(res, 0, 0));
			count += strtoull(PQgetvalue(res, 0, 1), NULL, 10);
		}
		PQclear(res);
		if (end)
			break;
	}
	free(last);
	printf("%" PRIu64 " put back\n", count);
	return ctl_failed(ctl);
}

static const char *refused(const char *status)
{
	if (status != NULL && (strcmp(status, "FAILED") == 0 || strcmp(status, "CANCELLED") == 0))
		return "another unfinished job has its unique_key";
	return "only a FAILED or CANCELLED job can be put back";
}

enum exit_status retry_run(struct ctl *ctl)
{
	static const struct change retry = {
		.statement = "retry", .done = "put back", .refused = refused,
	};

	if (!ctl->opt.all_failed && ctl->opt.queue != NULL)
		return ctl_fail(ctl, ERR_USAGE, "--queue goes with --all-failed");
	if (!ctl->opt.all_failed && ctl->cli.args_len == 0)
		return ctl_fail(ctl, ERR_USAGE, "which jobs? Expected ids, or --all-failed --queue Q");
	if (ctl->opt.all_failed && (ctl->cli.args_len > 0 || ctl->opt.queue == NULL))
		return ctl_fail(ctl, ERR_USAGE, "--all-failed goes with --queue Q and without ids");
	return ctl->opt.all_failed ? retry_failed(ctl) : change_jobs(ctl, &retry);
}
