/*
 * db_request.c - one request: its statements and parameters, then its results.
 *
 * Not here: the order of requests and what their answers mean (db.c).
 */
#include "db_request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "buf.h"

struct db_request *db_request_new(db_done_fn *done, void *arg)
{
	struct db_request *r = xcalloc(1, sizeof *r);

	r->done = done;
	r->arg = arg;
	return r;
}

void db_request_add(struct db_request *r, const char *sql, int n, char *const *params, const Oid *types)
{
	struct statement *s;
	size_t len = (size_t)n;

	if (r->len == 0)
		r->transaction = strncasecmp(sql, "BEGIN", 5) == 0;
	if (r->len == r->cap) {
		r->cap = r->cap ? 2 * r->cap : 2;
		r->statements = xrealloc(r->statements, r->cap * sizeof *r->statements);
	}
	s = &r->statements[r->len++];
	*s = (struct statement){ .sql = sql, .n = n };
	if (n == 0)
		return;
	s->params = xmalloc(len * (sizeof *s->params + sizeof *s->types));
	memcpy(s->params, params, len * sizeof *s->params);
	if (types) {
		s->types = (Oid *)(s->params + len);
		memcpy(s->types, types, len * sizeof *s->types);
	}
}

static void statement_release(struct statement *s)
{
	for (int i = 0; s->params && i < s->n; i++)
		free(s->params[i]);
	free(s->params);
	s->params = NULL;
}

static bool statement_write(struct statement *s, PGconn *conn, struct db_plans *plans)
{
	const char *const *values = (const char *const *)s->params;
	const char *name = NULL;
	int ok = 1;

	if (plans != NULL && s->n > 0)
		name = db_plans_name(plans, s->sql, &s->prepares);
	if (s->prepares)
		ok = PQsendPrepare(conn, name, s->sql, s->n, s->types);
	if (ok && name != NULL)
		ok = PQsendQueryPrepared(conn, name, s->n, values, NULL, NULL, 0);
	else if (ok)
		ok = PQsendQueryParams(conn, s->sql, s->n, s->types, values, NULL, NULL, 0);
	statement_release(s);	/* libpq has its own copy now */
	return ok;
}

bool db_request_write(struct db_request *r, PGconn *conn, struct db_plans *plans)
{
	r->results = xcalloc(r->len, sizeof(PGresult *));
	for (size_t i = 0; i < r->len; i++)
		if (!statement_write(&r->statements[i], conn, plans))
			return false;
	return PQpipelineSync(conn);
}

void db_request_free(struct db_request *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->len; i++)
		statement_release(&r->statements[i]);
	for (size_t i = 0; i < r->got; i++)
		PQclear(r->results[i]);
	free(r->statements);
	free(r->results);
	free(r);
}
