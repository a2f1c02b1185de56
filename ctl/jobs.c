/*
 * jobs.c - the newest jobs of Unstuck's own table, as a table or as JSON.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "buf.h"
#include "ctl.h"
#include "sqltext.h"
#include "table.h"
#include "words.h"

static const char *const statuses[] = { "PENDING", "PROCESSING", "COMPLETED", "FAILED", "CANCELLED" };

/* The status as stored, for a word in any case. NULL and ctl->err when there is none. */
static const char *read_status(struct ctl *ctl, const char *word)
{
	char *upper = xstrdup(word);
	const char *near = NULL;

	for (char *p = upper; *p != '\0'; p++)
		*p = (char)toupper((unsigned char)*p);
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
		if (strcmp(upper, statuses[i]) == 0) {
			free(upper);
			return statuses[i];
		}
	near = words_nearest(upper, statuses, ARRAY_SIZE(statuses));
	error_set(&ctl->err, ERR_USAGE,
	          "--status: \"%s\" is no status%s%s%s: expected PENDING, PROCESSING, COMPLETED, FAILED or CANCELLED",
	          word, near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
	free(upper);
	return NULL;
}

static void print_json(const PGresult *res, int rows)
{
	fputs("{\"jobs\": [", stdout);
	for (int i = 0; i < rows; i++)
		printf("%s%s", i > 0 ? ",\n " : "", PQgetvalue(res, i, 0));
	puts("]}");
}

/* "3s ago"-like age, or for a job that waits for its time "in 5m". */
static void print_row(struct table *t, const PGresult *res, int row)
{
	char age[AGE_TEXT_MAX], wait[AGE_TEXT_MAX + 4], tries[64];

	for (int c = 0; c < 4; c++)
		table_cell(t, PQgetvalue(res, row, c));
	if (strcmp(PQgetvalue(res, row, 5), "0") == 0)
		snprintf(tries, sizeof tries, "%s", PQgetvalue(res, row, 4));
	else
		snprintf(tries, sizeof tries, "%s (%s recovered)", PQgetvalue(res, row, 4), PQgetvalue(res, row, 5));
	table_cell(t, tries);
	table_cell(t, age_text(PQgetvalue(res, row, 6), age));
	if (PQgetisnull(res, row, 7)) {
		table_cell(t, "");
	} else {
		snprintf(wait, sizeof wait, "in %s", age_text(PQgetvalue(res, row, 7), age));
		table_cell(t, wait);
	}
	table_cell(t, PQgetvalue(res, row, 8));
}

static int print_table(struct ctl *ctl, const PGresult *res, int rows)
{
	static const struct table_column columns[] = {
		{ .title = "ID", .right = true }, { .title = "QUEUE", .cut = true }, { .title = "STATUS", .state = true },
		{ .title = "PRIO", .right = true }, { .title = "ATTEMPTS", .right = true }, { .title = "AGE", .right = true },
		{ .title = "RUNS" }, { .title = "PAYLOAD OR ERROR", .cut = true },
	};
	struct table *t = table_new(columns, ARRAY_SIZE(columns), &ctl->err);

	if (t == NULL)
		return -1;
	for (int i = 0; i < rows; i++)
		print_row(t, res, i);
	table_print(t);
	table_free(t);
	return 0;
}

enum exit_status jobs_run(struct ctl *ctl)
{
	const char *status = NULL;
	char *limit = NULL;
	PGresult *res = NULL;
	int rows, shown;

	if (ctl->opt.status != NULL && (status = read_status(ctl, ctl->opt.status)) == NULL)
		return ctl_failed(ctl);
	if (ctl->opt.limit > INT32_MAX - 1)
		ctl->opt.limit = INT32_MAX - 1;
	if (ctl_connect_schema(ctl) < 0)
		return ctl_failed(ctl);

	limit = xasprintf("%" PRIu64, ctl->opt.limit + 1);	/* one more, to know that there are more */
	if (ctl->cli.common.json)
		res = session_exec(&ctl->session, &ctl->err, sqltext("ctl", "job_objects"), 4,
		                   (const char *const[]){ ctl->opt.queue, status, NULL, limit });
	else
		res = session_exec(&ctl->session, &ctl->err, sqltext("ctl", "jobs"), 3,
		                   (const char *const[]){ ctl->opt.queue, status, limit });
	free(limit);
	if (res == NULL)
		return ctl_failed(ctl);
	rows = PQntuples(res);
	shown = (uint64_t)rows > ctl->opt.limit ? (int)ctl->opt.limit : rows;
	if (ctl->cli.common.json)
		print_json(res, shown);
	else if (rows == 0)
		cli_complain(&ctl->cli, "no jobs");
	else if (print_table(ctl, res, shown) < 0)
		rows = shown;
	if (rows > shown && ctl->cli.common.verbose >= 0)
		cli_complain(&ctl->cli, "the newest %d; there are more (--limit N)", shown);
	PQclear(res);
	return ctl_failed(ctl);
}
