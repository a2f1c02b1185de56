/*
 * reset.c - batches: one statement, one transaction, exactly the listed rows.
 *
 * The statement takes a row only while its token and its reason still hold and
 * nobody has it locked; what it does not return was skipped. Where there is a
 * cheaper one for rows without a lock, that goes first, and the other has what
 * it left. A batch that a row spoils (a trigger, a constraint) is halved until
 * that row stands alone: it is reported, and costs the others nothing. A large
 * batch is made smaller where its rows would be locked for long.
 *
 * Not here: finding the rows (stuck.c), asking (confirm.c), telling (report_*.c).
 */
#include "reset.h"

#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "failpoint.h"
#include "sqltext.h"
#include "stop.h"

#define TRIES 5				/* of a statement that may succeed later */
#define FIRST_PAUSE (50 * MSEC)		/* doubles */
#define HOLD (15 * MSEC)		/* of a batch: on a busy machine the next one may take three times as long, and 50 ms are enough, */
#define SMALL 250			/* but batches of this many are what they were asked to be */
#define HOPELESS 25			/* rows in a row without permission, and none ever done: it is not the rows */
#define LOCK_NOT_AVAILABLE "55P03"

struct reset {
	struct session *session;
	struct target *t;
	const struct reset_order *order;
	char *sql, *free_sql;	/* NULL: no statement for rows that are free */
	struct session_plan plan, free_plan;
	char timeout[32], recoveries[16];
	size_t dealt;		/* rows with a fate */
	size_t denied;		/* rows refused with 42501 in a row */
};

enum outcome {
	OUT_DONE,
	OUT_BAD_ROW,	/* at least one row can never be reset so */
	OUT_BUSY,	/* some rows are in somebody's way: again, then in smaller parts */
	OUT_LATER,	/* the server cannot just now: again, then give up */
	OUT_OVER,	/* no server */
};

static int by_id(const void *a, const void *b)
{
	const struct stuck_row *const *x = a, *const *y = b;

	return strcmp((*x)->id, (*y)->id);
}

static void row_settle(struct reset *r, struct stuck_row *row, enum fate fate)
{
	struct target *t = r->t;

	row->fate = fate;
	r->dealt++;
	t->skipped += fate == FATE_SKIPPED;
	t->refused += fate == FATE_REFUSED;
	t->reset += fate == FATE_DONE && row->action == ACTION_RESET;
	t->failed += fate == FATE_DONE && row->action == ACTION_FAIL;
}

/* The rows that came back were done. */
static void batch_settle(struct reset *r, struct stuck_row **rows, size_t n, const PGresult *res)
{
	int id = PQfnumber(res, "id"), action = PQfnumber(res, "action");
	struct stuck_row key = { .id = NULL }, *wanted = &key, **sorted = xcalloc(n, sizeof *sorted);

	memcpy(sorted, rows, n * sizeof *sorted);
	qsort(sorted, n, sizeof *sorted, by_id);
	for (int i = 0; i < PQntuples(res); i++) {
		key.id = PQgetvalue(res, i, id);
		struct stuck_row **found = bsearch(&wanted, sorted, n, sizeof *sorted, by_id);

		if (found == NULL || (*found)->fate != FATE_PLANNED)
			continue;
		(*found)->action = strcmp(PQgetvalue(res, i, action), "fail") == 0 ? ACTION_FAIL : ACTION_RESET;
		row_settle(r, *found, FATE_DONE);
	}
	free(sorted);
}

static enum outcome outcome_of(const struct error *why)
{
	if (why->kind == ERR_NO_DB)
		return OUT_OVER;
	switch (pg_verdict(why->sqlstate)) {
	case PG_DATA: return OUT_BAD_ROW;
	case PG_LOST: return OUT_OVER;
	case PG_AGAIN: break;
	}
	if (strncmp(why->sqlstate, "40", 2) == 0 || strcmp(why->sqlstate, LOCK_NOT_AVAILABLE) == 0 ||
	    strcmp(why->sqlstate, "57014") == 0)
		return OUT_BUSY;
	return OUT_LATER;
}

static size_t count_planned(struct stuck_row *const *rows, size_t n)
{
	size_t planned = 0;

	for (size_t i = 0; i < n; i++)
		planned += rows[i]->fate == FATE_PLANNED;
	return planned;
}

/* One transaction, of the rows that have no fate yet. */
static enum outcome batch_send(struct reset *r, struct session_plan *plan, struct stuck_row **rows, size_t n, struct error *why)
{
	struct buf ids = BUF_INIT, tokens = BUF_INIT;
	PGresult *res;

	array_begin(&ids);
	array_begin(&tokens);
	for (size_t i = 0; i < n; i++) {
		if (rows[i]->fate != FATE_PLANNED)
			continue;
		array_add(&ids, rows[i]->id, strlen(rows[i]->id));
		array_add(&tokens, rows[i]->token, strlen(rows[i]->token));
	}
	array_end(&ids);
	array_end(&tokens);

	const char *params[] = { buf_text(&ids), buf_text(&tokens), r->timeout,
	                         r->order->ignore_liveness ? "t" : "f", r->recoveries };

	FAILPOINT(before_reset);
	res = session_exec_plan(r->session, why, plan, (int)ARRAY_SIZE(params), params);
	FAILPOINT(after_reset);
	if (res != NULL)
		batch_settle(r, rows, n, res);
	PQclear(res);
	buf_release(&ids);
	buf_release(&tokens);
	return res != NULL ? OUT_DONE : outcome_of(why);
}

/* The rows that are free at once; then what is left: locked by somebody, or changed. */
static enum outcome batch_try(struct reset *r, struct stuck_row **rows, size_t n, struct error *why)
{
	enum outcome out = OUT_DONE;

	if (r->free_sql != NULL)
		out = batch_send(r, &r->free_plan, rows, n, why);
	if (out != OUT_DONE && strcmp(why->sqlstate, LOCK_NOT_AVAILABLE) != 0)
		return out;
	if (count_planned(rows, n) > 0 && (out = batch_send(r, &r->plan, rows, n, why)) != OUT_DONE)
		return out;
	for (size_t i = 0; i < n; i++)
		if (rows[i]->fate == FATE_PLANNED)
			row_settle(r, rows[i], FATE_SKIPPED);
	return OUT_DONE;
}

/* The same, again while it may still succeed. */
static enum outcome batch_insist(struct reset *r, struct stuck_row **rows, size_t n, int tries, struct error *why)
{
	enum outcome out;
	usec_t pause = FIRST_PAUSE;

	for (int i = 0; ; i++) {
		*why = (struct error)ERROR_INIT;
		out = batch_try(r, rows, n, why);
		if (out != OUT_BUSY && out != OUT_LATER)
			return out;
		if (i + 1 >= tries || stop_sleep(usec_jitter(pause, 0.3)))
			return out == OUT_LATER ? OUT_OVER : out;
		pause *= 2;
	}
}

static bool is_hopeless(struct reset *r, const struct error *why)
{
	if (strcmp(why->sqlstate, "42501") != 0)
		r->denied = 0;
	else
		r->denied++;
	return r->denied >= HOPELESS && r->t->reset + r->t->failed == 0;
}

/* A batch, or what is left of one that failed. -1: the queue cannot go on, why says it. */
static int span_reset(struct reset *r, struct stuck_row **rows, size_t n, int tries, struct error *why)
{
	enum outcome out;

	if (stop_asked())
		return 0;
	out = batch_insist(r, rows, n, tries, why);
	if (stop_asked() && out != OUT_DONE)
		return 0;	/* our own cancel: these rows stay as they are */
	if (out == OUT_OVER)
		return -1;
	if (out != OUT_DONE && n > 1) {
		tries = out == OUT_BUSY ? 1 : tries;
		if (span_reset(r, rows, n / 2, tries, why) < 0)
			return -1;
		return span_reset(r, rows + n / 2, n - n / 2, tries, why);
	}
	if (out == OUT_DONE) {
		r->denied = 0;
	} else {
		row_settle(r, rows[0], FATE_REFUSED);
		r->order->refused(r->order->arg, r->t, rows[0], why);
		if (is_hopeless(r, why))
			return -1;
	}
	r->order->progress(r->order->arg, r->dealt);
	return 0;
}

/* How many rows next, after so many took so long: at most twice as many. */
static size_t batch_next(size_t batch, usec_t took, size_t most)
{
	size_t fit = took > 0 ? (size_t)(batch * HOLD / took) : most;

	if (fit > 2 * batch)
		fit = 2 * batch;
	if (fit < SMALL)
		fit = SMALL;
	return fit < most ? fit : most;
}

static int rows_reset(struct reset *r, struct stuck_row **rows, size_t n, struct error *err)
{
	size_t most = r->order->batch, batch = most < SMALL ? most : SMALL;

	for (size_t at = 0, len; at < n && !stop_asked(); at += len) {
		struct error why = ERROR_INIT;
		usec_t begun = clock_now();

		len = n - at < batch ? n - at : batch;
		if (span_reset(r, rows + at, len, TRIES, &why) < 0) {
			*err = why;
			return -1;
		}
		batch = batch_next(batch, clock_now() - begun, most);
	}
	return 0;
}

/* Before anybody is told: what was not waited for is on the disk. A server that forbids to ask for it has it there within a second. */
static int reset_flush(struct reset *r, struct error *err)
{
	struct error why = ERROR_INIT;

	if (r->free_sql == NULL || r->t->reset + r->t->failed == 0)
		return 0;
	PQclear(session_exec(r->session, &why, sqltext("session", "flush"), 0, NULL));
	if (why.kind != ERR_NO_DB)
		return 0;
	*err = why;
	return -1;
}

/* The statements of this queue. */
static int reset_prepare(struct reset *r, struct error *err)
{
	const struct mapping *m = &r->t->mapping;

	r->sql = mapping_statement(m, STMT_RESET, err);
	if (r->sql != NULL && mapping_has(m, STMT_RESET_FREE))
		r->free_sql = mapping_statement(m, STMT_RESET_FREE, err);
	r->plan.sql = r->sql;
	r->free_plan.sql = r->free_sql;
	return r->sql == NULL || (mapping_has(m, STMT_RESET_FREE) && r->free_sql == NULL) ? -1 : 0;
}

int reset_target(struct session *session, struct target *t, const struct reset_order *order, struct error *err)
{
	struct reset r = { .session = session, .t = t, .order = order };
	struct stuck_row **rows = xcalloc(t->rows_len + 1, sizeof *rows);
	size_t n = 0;
	int rc = -1;

	for (size_t i = 0; i < t->rows_len; i++)
		if (t->rows[i].fate == FATE_PLANNED)
			rows[n++] = &t->rows[i];
	snprintf(r.timeout, sizeof r.timeout, "%.6f", (double)t->timeout / (double)SEC);
	snprintf(r.recoveries, sizeof r.recoveries, "%u", order->max_recoveries);
	if (reset_prepare(&r, err) == 0) {
		rc = rows_reset(&r, rows, n, err);
		if (rc == 0 || err->kind != ERR_NO_DB)
			rc = reset_flush(&r, err) < 0 ? -1 : rc;
	}
	free(r.sql);
	free(r.free_sql);
	free(rows);
	return rc;
}
