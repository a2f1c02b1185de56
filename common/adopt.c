/*
 * adopt.c - see adopt.h.
 *
 * Not here: the rules, which are the statements' (sql/), the worker's own passes (worker/adoption.c).
 */
#include "adopt.h"

#include <stdlib.h>
#include <string.h>
#include "on_success.h"

#define LISTED 20		/* at a time: a row may hold a whole result */

bool adopt_is_refusal(const char *sqlstate)
{
	return pg_verdict(sqlstate) == PG_DATA && strncmp(sqlstate, "42", 2) != 0;	/* 42: rights, or a statement that does not fit */
}

static int run(struct session *session, const char *sql, struct error *why)
{
	PGresult *res = session_exec(session, why, sql, 0, NULL);

	PQclear(res);
	return res != NULL ? 0 : -1;
}

static PGresult *ask(struct session *session, const struct mapping *m, enum statement s, int n, const char *const *params, struct error *why)
{
	char *sql = mapping_statement(m, s, why);
	PGresult *res = sql != NULL ? session_exec(session, why, sql, n, params) : NULL;

	free(sql);
	return res;
}

/* In the transaction, if there is one. */
static enum adopted adopt_row(struct session *session, const struct mapping *m, const char *late, bool by_hand, struct error *why)
{
	const char *params[] = { late, by_hand ? "t" : "f" };
	PGresult *res = ask(session, m, STMT_ADOPT, 2, params, why);
	enum adopted what = ADOPTED;

	if (res == NULL)
		what = ADOPT_FAILED;
	else if (PQntuples(res) == 0)
		what = ADOPT_NOT;
	else if (*m->q->on_success != '\0' && on_success_run(m, session, PQgetvalue(res, 0, 0), PQgetvalue(res, 0, 1), why) < 0)
		what = ADOPT_FAILED;
	PQclear(res);
	return what;
}

enum adopted adopt_one(struct session *session, const struct mapping *m, const char *late, bool by_hand, struct error *why)
{
	bool in_transaction = *m->q->on_success != '\0';
	enum adopted what;

	if (in_transaction && run(session, "BEGIN", why) < 0)
		return ADOPT_FAILED;
	what = adopt_row(session, m, late, by_hand, why);
	if (in_transaction && what == ADOPTED && run(session, "COMMIT", why) < 0)
		what = ADOPT_FAILED;
	if (in_transaction && what != ADOPTED)
		run(session, "ROLLBACK", NULL);
	return what == ADOPT_FAILED && adopt_is_refusal(why->sqlstate) ? ADOPT_REFUSED : what;
}

/* -1: the queue cannot go on. */
static int adopt_listed(struct session *session, const struct mapping *m, const char *late, const char *job_id,
                        adopt_told_fn *told, void *arg, struct error *err)
{
	struct error why = ERROR_INIT;
	PGresult *res;

	switch (adopt_one(session, m, late, false, &why)) {
	case ADOPTED:
		told(arg, late, job_id, NULL);
		return 0;
	case ADOPT_NOT:
		return 0;
	case ADOPT_REFUSED:
		res = ask(session, m, STMT_SPOIL, 1, &late, err);
		PQclear(res);
		told(arg, late, job_id, &why);
		return res != NULL ? 0 : -1;
	case ADOPT_FAILED:
		break;
	}
	*err = why;
	return -1;
}

int adopt_queue(struct session *session, const struct mapping *m, adopt_told_fn *told, void *arg, struct error *err)
{
	char *behind = xstrdup("0");
	int rc = 0, n = 1;

	while (rc == 0 && n > 0) {
		char *limit = xasprintf("%d", LISTED);
		const char *params[] = { behind, limit };
		PGresult *res = ask(session, m, STMT_ADOPTABLE, 2, params, err);

		free(limit);
		rc = res != NULL ? 0 : -1;
		n = PQntuples(res);
		for (int i = 0; i < n && rc == 0; i++)
			rc = adopt_listed(session, m, PQgetvalue(res, i, 0), PQgetvalue(res, i, 1), told, arg, err);
		if (n > 0) {
			free(behind);
			behind = xstrdup(PQgetvalue(res, n - 1, 0));
		}
		PQclear(res);
	}
	free(behind);
	return rc;
}

int adopt_count(struct session *session, const struct mapping *m, size_t *out, struct error *err)
{
	char *sql = mapping_statement(m, STMT_ADOPTABLE, err), *count_sql, *count = NULL;
	const char *params[] = { "0", NULL };
	int rc;

	if (sql == NULL)
		return -1;
	count_sql = xasprintf("SELECT count(*) FROM (%s) AS a", sql);
	rc = session_value(session, err, &count, count_sql, 2, params);
	if (rc == 0)
		*out = count != NULL ? strtoul(count, NULL, 10) : 0;
	free(count);
	free(count_sql);
	free(sql);
	return rc;
}
