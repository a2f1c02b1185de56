/*
 * purge.c - delete what is finished and old, a batch at a time: jobs of Unstuck's own table, what is kept about rows of mapped
 * tables that are done, and then the rows of the ledger that have no job left. Nothing that is unfinished, no row of an
 * application's table, no result that nobody has.
 *
 * Each batch is one statement and one transaction, which begins where the one before ended.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "buf.h"
#include "ctl.h"
#include "ident.h"
#include "progress.h"
#include "sqltext.h"
#include "table.h"

#define BATCH 5000		/* rows looked at */
#define LEDGER_BATCH 100	/* rows of the ledger: each has many jobs */
#define TRIES 5			/* of a batch that may succeed later */
#define NOT_ALLOWED "42501"

enum column { SOURCE, QUEUE, STATUS, N, LAST, KEY, LOOKED, LATE, LEDGER };

struct count {
	char *source, *queue, *status;
	uint64_t n;
};

struct purge {
	struct ctl *ctl;
	char *age;		/* seconds */
	struct count *counts;
	size_t counts_len;
	uint64_t late, ledger;
	struct progress bar;
	size_t looked, total;
};

/* ---- counts ---- */

static void count_row(struct purge *p, const PGresult *res, int row)
{
	const char *source = PQgetvalue(res, row, SOURCE), *queue = PQgetvalue(res, row, QUEUE), *status = PQgetvalue(res, row, STATUS);
	struct count *c = NULL;

	for (size_t i = 0; i < p->counts_len && c == NULL; i++)
		if (strcmp(p->counts[i].source, source) == 0 && strcmp(p->counts[i].queue, queue) == 0
		    && strcmp(p->counts[i].status, status) == 0)
			c = &p->counts[i];
	if (c == NULL) {
		p->counts = xrealloc(p->counts, (p->counts_len + 1) * sizeof *p->counts);
		c = &p->counts[p->counts_len++];
		*c = (struct count){ .source = xstrdup(source), .queue = xstrdup(queue), .status = xstrdup(status) };
	}
	c->n += strtoull(PQgetvalue(res, row, N), NULL, 10);
}

static int by_name(const void *a, const void *b)
{
	const struct count *x = a, *y = b;
	int order = strcmp(x->queue, y->queue);

	if (order == 0)
		order = strcmp(x->source, y->source);
	return order != 0 ? order : strcmp(x->status, y->status);
}

static void purge_release(struct purge *p)
{
	for (size_t i = 0; i < p->counts_len; i++) {
		free(p->counts[i].source);
		free(p->counts[i].queue);
		free(p->counts[i].status);
	}
	free(p->counts);
	free(p->age);
}

/* ---- batches ---- */

static PGresult *batch_insist(struct purge *p, const char *statement, const char *const *params)
{
	struct timespec pause = { .tv_nsec = 100 * 1000 * 1000 };

	for (int tries = 1; ; tries++) {
		struct error why = ERROR_INIT;
		PGresult *res = session_exec(&p->ctl->session, &why, sqltext("ctl", statement), 5, params);

		if (res != NULL)
			return res;
		if (tries == TRIES || pg_verdict(why.sqlstate) != PG_AGAIN) {
			p->ctl->err = why;
			return NULL;
		}
		nanosleep(&pause, NULL);
	}
}

/* Where the next batch begins is taken over into last and key. Returns how many rows were looked at, -1. */
static int64_t batch_take(struct purge *p, const PGresult *res, char **last, char **key)
{
	int n = PQntuples(res) - 1;
	int64_t looked = atoll(PQgetvalue(res, n, LOOKED));

	for (int i = 0; i < n; i++)
		count_row(p, res, i);
	p->late += strtoull(PQgetvalue(res, n, LATE), NULL, 10);
	p->ledger += strtoull(PQgetvalue(res, n, LEDGER), NULL, 10);
	p->looked += (size_t)looked;
	free(*last);
	free(*key);
	*last = xstrdup(PQgetvalue(res, n, LAST));
	*key = xstrdup(PQgetvalue(res, n, KEY));
	return looked;
}

static int purge_table(struct purge *p, const char *statement, const char *first, int batch)
{
	char limit[16], *last = xstrdup(""), *key = xstrdup(first);
	int64_t looked = batch;

	snprintf(limit, sizeof limit, "%d", batch);
	while (looked == batch) {
		const char *params[] = { p->age, p->ctl->opt.queue, last, key, limit };
		PGresult *res = batch_insist(p, statement, params);

		looked = res != NULL ? batch_take(p, res, &last, &key) : -1;
		PQclear(res);
		progress_show(&p->bar, p->looked < p->total ? p->looked : p->total);
	}
	free(last);
	free(key);
	return looked < 0 ? -1 : 0;
}

static size_t size_of(struct ctl *ctl, const char *table)
{
	struct error ignored = ERROR_INIT;
	char *text = NULL;
	size_t n = 0;

	if (session_value(&ctl->session, &ignored, &text, sqltext("ctl", "purge_size"), 1, &table) == 0 && text != NULL)
		n = strtoul(text, NULL, 10);
	free(text);
	return n;
}

static int purge_all(struct purge *p)
{
	PGresult *res = session_exec(&p->ctl->session, &p->ctl->err, sqltext("ctl", "purge_plans"), 0, NULL);
	int rc;

	if (res == NULL)
		return -1;
	PQclear(res);
	p->total = size_of(p->ctl, "unstuck.jobs") + size_of(p->ctl, "unstuck.claims");
	progress_init(&p->bar, p->total, p->ctl->cli.common.verbose >= 0);
	rc = purge_table(p, "purge_jobs", "0", BATCH);
	if (rc == 0)
		rc = purge_table(p, "purge_claims", "", BATCH);
	if (rc == 0)
		rc = purge_table(p, "purge_ledger", "0", LEDGER_BATCH);
	progress_clear(&p->bar);
	return rc;
}

static int preview(struct purge *p)
{
	const char *params[] = { p->age, p->ctl->opt.queue };
	PGresult *res = session_exec(&p->ctl->session, &p->ctl->err, sqltext("ctl", "purge_preview"), 2, params);

	for (int i = 0; i < PQntuples(res); i++)
		count_row(p, res, i);
	PQclear(res);
	return res != NULL ? 0 : -1;
}

/* ---- what is told ---- */

static uint64_t sum_of(const struct purge *p, bool own)
{
	uint64_t n = 0;

	for (size_t i = 0; i < p->counts_len; i++)
		n += (strcmp(p->counts[i].source, "unstuck.jobs") == 0) == own ? p->counts[i].n : 0;
	return n;
}

static int print_json(const struct purge *p)
{
	json_t *list = json_array(), *document;
	int rc;

	for (size_t i = 0; i < p->counts_len; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:I}", "queue", p->counts[i].queue, "table", p->counts[i].source,
		                                      "status", p->counts[i].status, "count", (json_int_t)p->counts[i].n));
	document = json_pack("{s:b, s:f, s:o, s:I, s:I, s:I, s:I}", "dry_run", p->ctl->opt.dry_run,
	                     "older_than_s", (double)p->ctl->opt.older_than / (double)SEC, "purged", list,
	                     "jobs", (json_int_t)sum_of(p, true), "claims", (json_int_t)sum_of(p, false),
	                     "late_results", (json_int_t)p->late, "recoveries", (json_int_t)p->ledger);
	rc = json_dumpf(document, stdout, JSON_REAL_PRECISION(12));
	json_decref(document);
	putchar('\n');
	return rc == 0 ? 0 : error_set(&p->ctl->err, ERR_SYS, "the counts could not be written as JSON");
}

static int print_table(const struct purge *p)
{
	static const struct table_column columns[] = {
		{ .title = "QUEUE", .cut = true }, { .title = "TABLE", .cut = true }, { .title = "STATUS", .state = true },
		{ .title = "PURGED", .right = true },
	};
	static const struct table_column preview_columns[] = {
		{ .title = "QUEUE", .cut = true }, { .title = "TABLE", .cut = true }, { .title = "STATUS", .state = true },
		{ .title = "WOULD GO", .right = true },
	};
	struct table *t = table_new(p->ctl->opt.dry_run ? preview_columns : columns, ARRAY_SIZE(columns), &p->ctl->err);
	char number[24];

	if (t == NULL)
		return -1;
	for (size_t i = 0; i < p->counts_len; i++) {
		table_cell(t, p->counts[i].queue);
		table_cell(t, p->counts[i].source);
		table_cell(t, p->counts[i].status);
		snprintf(number, sizeof number, "%" PRIu64, p->counts[i].n);
		table_cell(t, number);
	}
	table_print(t);
	table_free(t);
	return 0;
}

/* Of mapped tables only what is kept about them: said, so that nobody looks for rows that are missing. */
static void print_people(const struct purge *p)
{
	if (p->counts_len == 0) {
		cli_complain(&p->ctl->cli, "nothing finished is that old");
		return;
	}
	if (print_table(p) < 0 || p->ctl->cli.common.verbose < 0)
		return;
	if (sum_of(p, false) > 0)
		cli_complain(&p->ctl->cli, "of the other tables than unstuck.jobs only rows of unstuck.claims: the application's own stay");
	if (p->late + p->ledger > 0)
		cli_complain(&p->ctl->cli, "and with them %" PRIu64 " adopted late results, %" PRIu64 " rows of unstuck.recoveries", p->late,
		             p->ledger);
}

/* Bytes that no job has are never deleted unasked. */
static void tell_kept(struct ctl *ctl)
{
	struct error ignored = ERROR_INIT;
	char *n = NULL;

	if (ctl->cli.common.verbose >= 0
	    && session_value(&ctl->session, &ignored, &n, sqltext("ctl", "purge_kept"), 1, (const char *const[]){ ctl->opt.queue }) == 0
	    && n != NULL && strcmp(n, "0") != 0)
		cli_complain(&ctl->cli, "%s late results stay that nobody adopted and whose jobs are gone (unstuckctl late); "
		             "who needs none of them: DELETE FROM unstuck.late_results WHERE id IN (...)", n);
	free(n);
}

/* No role of roles.sql may delete jobs. */
static enum exit_status failed(struct ctl *ctl)
{
	static const char tables[] = "unstuck.jobs, unstuck.claims, unstuck.late_results, unstuck.ledger";
	struct error ignored = ERROR_INIT;
	enum exit_status status = ctl_failed(ctl);
	char *owner = NULL, *user;

	if (strcmp(ctl->err.sqlstate, NOT_ALLOWED) != 0)
		return status;
	session_value(&ctl->session, &ignored, &owner, sqltext("ctl", "purge_owner"), 0, NULL);
	user = ident_shown(PQuser(ctl->session.conn));
	snprintf(ctl->err.text, sizeof ctl->err.text, "user %s may not %s: do it as the owner of the schema%s%s, or GRANT SELECT%s ON %s TO %s",
	         PQuser(ctl->session.conn), ctl->opt.dry_run ? "look" : "delete jobs", owner != NULL ? ", " : "", owner != NULL ? owner : "",
	         ctl->opt.dry_run ? "" : ", DELETE", tables, user);
	free(owner);
	free(user);
	return status;
}

enum exit_status purge_run(struct ctl *ctl)
{
	struct purge p = { .ctl = ctl };
	int rc;

	if (ctl->opt.older_than == USEC_NEVER)
		return ctl_fail(ctl, ERR_USAGE, "--older-than D is missing: how long ago a job has to be finished (7d, 12h)");
	if (ctl_connect_schema(ctl) < 0)
		return ctl_failed(ctl);
	p.age = xasprintf("%.6f", (double)ctl->opt.older_than / (double)SEC);
	rc = ctl->opt.dry_run ? preview(&p) : purge_all(&p);
	if (p.counts_len > 1)
		qsort(p.counts, p.counts_len, sizeof *p.counts, by_name);
	if (ctl->cli.common.json)
		print_json(&p);
	else if (rc == 0 || p.counts_len > 0)
		print_people(&p);
	if (rc == 0 && !ctl->opt.dry_run)
		tell_kept(ctl);
	purge_release(&p);
	return rc < 0 ? failed(ctl) : ctl_failed(ctl);
}
