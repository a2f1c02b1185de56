/*
 * stuck.c - the preview: which rows are stuck, and why.
 *
 * Rows arrive one by one, so that a table with a million stuck rows costs a key
 * and a token for each and not a copy of all that could be listed.
 * Not here: deciding what stuck means (the statement), writing (reset.c).
 */
#include "stuck.h"

#include <stdlib.h>
#include <string.h>
#include "buf.h"

enum column { COL_ID, COL_TOKEN, COL_SINCE, COL_AGE, COL_WORKER, COL_REASON, COL_ACTION, COL_SHOW, COL_OBSERVED, COLUMNS };

static const char *const column_names[COLUMNS] = {
	"id", "token", "since", "age_s", "worker", "reason", "action", "show", "observed"
};

static const char *const reasons[] = { "worker_lost", "worker_suspect", "timeout", "forced", "alive" };

static const char *reason_of(const char *text)
{
	for (size_t i = 0; text != NULL && i < ARRAY_SIZE(reasons); i++)
		if (strcmp(reasons[i], text) == 0)
			return reasons[i];
	return "timeout";
}

static enum action action_of(const char *text)
{
	if (strcmp(text, "reset") == 0)
		return ACTION_RESET;
	return strcmp(text, "fail") == 0 ? ACTION_FAIL : ACTION_NONE;
}

/* One question under way. */
struct stuck {
	struct target *t;
	const struct stuck_question *ask;
	size_t planned;
	int at[COLUMNS];	/* column numbers of the answer, once known */
	bool known;
};

static const char *cell(const struct stuck *s, const PGresult *res, enum column c)
{
	return s->at[c] < 0 || PQgetisnull(res, 0, s->at[c]) ? NULL : PQgetvalue(res, 0, s->at[c]);
}

static char *cell_copy(const struct stuck *s, const PGresult *res, enum column c)
{
	const char *text = cell(s, res, c);

	return text != NULL ? xstrdup(text) : NULL;
}

static struct stuck_row *row_add(struct target *t)
{
	if (t->rows_len == t->rows_cap) {
		t->rows_cap = t->rows_cap == 0 ? 64 : 2 * t->rows_cap;
		t->rows = xrealloc(t->rows, t->rows_cap * sizeof *t->rows);
	}
	t->rows[t->rows_len] = (struct stuck_row){ .action = ACTION_NONE };
	return &t->rows[t->rows_len++];
}

static void row_keep(struct stuck *s, const PGresult *res, const char *reason, enum fate fate)
{
	struct stuck_row *row = row_add(s->t);
	const char *action = cell(s, res, COL_ACTION), *age = cell(s, res, COL_AGE);

	row->id = cell_copy(s, res, COL_ID);
	row->token = cell_copy(s, res, COL_TOKEN);
	row->reason = reason;
	row->action = action_of(action != NULL ? action : "");
	row->fate = fate;
	if (s->t->rows_len > s->ask->detail)
		return;
	row->age_s = age != NULL ? strtod(age, NULL) : 0;
	row->since = cell_copy(s, res, COL_SINCE);
	row->worker = cell_copy(s, res, COL_WORKER);
	row->show = cell_copy(s, res, COL_SHOW);
	row->observed = cell_copy(s, res, COL_OBSERVED);
}

static void row_take(struct stuck *s, const PGresult *res)
{
	const char *reason = reason_of(cell(s, res, COL_REASON));

	if (strcmp(reason, "alive") == 0) {
		if (s->t->rows_len < s->ask->detail)
			row_keep(s, res, reason, FATE_LISTED);
		return;
	}
	if (strcmp(reason, "worker_suspect") == 0) {
		s->t->suspects++;
		if (!s->ask->suspects)
			return;
		s->t->stuck++;
		if (s->t->rows_len < s->ask->detail && s->planned < s->ask->room) {
			row_keep(s, res, reason, FATE_LISTED);
			s->planned++;
		}
		return;
	}
	s->t->stuck++;
	if (s->planned < s->ask->room) {
		row_keep(s, res, reason, FATE_PLANNED);
		s->planned++;
	}
}

static void columns_find(struct stuck *s, const PGresult *res)
{
	for (int c = 0; c < COLUMNS; c++)
		s->at[c] = PQfnumber(res, column_names[c]);
	s->known = true;
}

/* Read the answer to the end, whatever happens, so that the session can be used again. */
static int rows_read(struct stuck *s, PGconn *conn, struct error *err)
{
	PGresult *res;
	int rc = 0;

	while ((res = PQgetResult(conn)) != NULL) {
		ExecStatusType status = PQresultStatus(res);

		if (status == PGRES_SINGLE_TUPLE && rc == 0) {
			if (!s->known)
				columns_find(s, res);
			row_take(s, res);
		} else if (status != PGRES_SINGLE_TUPLE && status != PGRES_TUPLES_OK) {
			rc = pg_error(err, conn, res);
		}
		PQclear(res);
	}
	return rc;
}

static int count_rows(struct session *session, const struct target *t, enum statement what, size_t *out,
                      struct error *err)
{
	char *sql = mapping_statement(&t->mapping, what, err), *count = NULL;
	int rc;

	if (sql == NULL)
		return -1;
	rc = session_value(session, err, &count, sql, 0, NULL);
	if (rc == 0)
		*out = count != NULL ? strtoul(count, NULL, 10) : 0;
	free(count);
	free(sql);
	return rc;
}

int stuck_find(struct session *session, struct target *t, const struct stuck_question *ask, struct error *err)
{
	struct stuck s = { .t = t, .ask = ask };
	char timeout[32], recoveries[16], *sql = NULL;
	const char *params[] = { timeout, ask->ignore_liveness ? "t" : "f", ask->alive ? "t" : "f", NULL, "0", recoveries };
	int rc = -1;

	snprintf(timeout, sizeof timeout, "%.6f", (double)t->timeout / (double)SEC);
	snprintf(recoveries, sizeof recoveries, "%u", ask->max_recoveries);
	if (count_rows(session, t, STMT_PROCESSING, &t->processing, err) < 0 ||
	    (sql = mapping_statement(&t->mapping, STMT_STUCK, err)) == NULL)
		goto out;
	if (PQsendQueryParams(session->conn, sql, (int)ARRAY_SIZE(params), NULL, params, NULL, NULL, 0) == 0) {
		pg_error(err, session->conn, NULL);
		goto out;
	}
	PQsetSingleRowMode(session->conn);
	rc = rows_read(&s, session->conn, err);
	if (rc == 0 && t->processing > t->stuck)
		rc = count_rows(session, t, STMT_AGELESS, &t->ageless, err);
out:
	free(sql);
	return rc;
}
