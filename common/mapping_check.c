/*
 * mapping_check.c - what works but not well, and what only shows when the
 * statements are prepared: user's SQL, rights, indexes, zones. Changes nothing.
 *
 * Not here: names and types (mapping_resolve.c).
 */
#include "mapping.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "catalog.h"
#include "ident.h"
#include "sqltext.h"

#define JSONB_OID 3802

void findings_add(struct findings *f, enum finding_level level, const char *fmt, ...)
{
	struct buf text = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&text, fmt, ap);
	va_end(ap);
	f->v = xrealloc(f->v, (f->len + 1) * sizeof *f->v);
	f->v[f->len++] = (struct finding){ .level = level, .text = xstrdup(buf_text(&text)), .what = xstrdup(buf_text(&text)) };
	buf_release(&text);
}

void findings_remedy(struct findings *f, const char *fmt, ...)
{
	struct finding *last = &f->v[f->len - 1];
	struct buf text = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&text, fmt, ap);
	va_end(ap);
	last->remedy = buf_give(&text);
	free(last->text);
	last->text = xasprintf("%s: %s", last->what, last->remedy);
}

void findings_release(struct findings *f)
{
	for (size_t i = 0; i < f->len; i++) {
		free(f->v[i].text);
		free(f->v[i].what);
		free(f->v[i].remedy);
	}
	free(f->v);
	*f = (struct findings)FINDINGS_INIT;
}

struct check {
	const struct mapping *m;
	struct session *session;
	struct findings *out;
	struct error *err;	/* only: the database went away */
	struct buf table;	/* quoted, with its schema */
	char *oid;
	bool processing_slow;	/* no index finds its PROCESSING rows */
};

/* ---- asking ---- */

static char *literal(const char *text)
{
	struct buf b = BUF_INIT;

	literal_quote(&b, text);
	return buf_give(&b);
}

/* 0 prepared; 1 refused, the reason in why; -1 no database any more. */
static int prepare(struct check *c, const char *sql, int n, const Oid *types, struct error *why)
{
	PGresult *res = PQprepare(c->session->conn, "", sql, n, types);
	int rc = 0;

	if (PQresultStatus(res) != PGRES_COMMAND_OK) {
		rc = 1;
		pg_error(why, c->session->conn, res);
		if (why->kind == ERR_NO_DB)
			rc = error_set(c->err, why->kind, "%s", why->text);
	}
	PQclear(res);
	return rc;
}

/* One number; 0 when it cannot be had (that has been, or will be, told by another finding). */
static int ask_count(struct check *c, const char *sql, unsigned long *out)
{
	struct error why = ERROR_INIT;
	char *text = NULL;
	int rc = session_value(c->session, &why, &text, sql, 0, NULL);

	*out = text != NULL ? strtoul(text, NULL, 10) : 0;
	free(text);
	return rc < 0 && why.kind == ERR_NO_DB ? error_set(c->err, why.kind, "%s", why.text) : 0;
}

/* ---- the statements ---- */

/* Whether a part of the claim is at fault on its own. */
static int blame(struct check *c, const char *key, const char *fmt, const char *text, bool *found)
{
	struct error why = ERROR_INIT;
	char *head = xasprintf(fmt, c->table.data), *sql = xasprintf("%s%s\n", head, text);
	int rc = *text != '\0' ? prepare(c, sql, 0, NULL, &why) : 0;

	if (rc == 1) {
		findings_add(c->out, FINDING_ERROR, "%s: %s", key, why.text);
		*found = true;
		rc = 0;
	}
	free(head);
	free(sql);
	return rc;
}

static int check_statement(struct check *c, enum statement s)
{
	struct error why = ERROR_INIT;
	char *sql = mapping_statement(c->m, s, &why);
	bool blamed = false;
	int rc = sql != NULL ? prepare(c, sql, 0, NULL, &why) : 1;

	if (sql == NULL && !c->m->tracked)
		return 0;	/* told once, for all of them */
	free(sql);
	if (rc <= 0)
		return rc;
	if (s == STMT_CLAIM && !c->m->own) {
		if (blame(c, "where", "SELECT 1 FROM %s AS t WHERE ", c->m->q->where, &blamed) < 0 ||
		    blame(c, "order_by", "SELECT 1 FROM %s AS t ORDER BY ", c->m->q->order_by, &blamed) < 0)
			return -1;
	}
	if (!blamed)
		findings_add(c->out, FINDING_ERROR, "statement %s: %s", statement_name(s), why.text);
	return 0;
}

/* EXPLAIN asks for the rights without running anything; a CALL or the like cannot be asked. */
static int check_on_success_rights(struct check *c, const char *sql)
{
	const Oid types[] = { c->m->id_type_oid, JSONB_OID };
	const char *const params[] = { NULL, NULL };
	char *explain = xasprintf("EXPLAIN %s", sql);
	PGresult *res = PQexecParams(c->session->conn, explain, 2, types, params, NULL, NULL, 0);
	struct error why = ERROR_INIT;
	int rc = 0;

	if (PQresultStatus(res) != PGRES_TUPLES_OK) {
		pg_error(&why, c->session->conn, res);
		if (why.kind == ERR_NO_DB)
			rc = error_set(c->err, why.kind, "%s", why.text);
		else if (strcmp(why.sqlstate, "42501") == 0)
			findings_add(c->out, FINDING_ERROR, "on_success: %s (user %s)", why.text, PQuser(c->session->conn));
	}
	PQclear(res);
	free(explain);
	return rc;
}

/* Of the unnamed statement, just prepared. The server takes any $3 for a text that nobody would give. */
static bool wants_more_than_two(struct check *c)
{
	PGresult *res = PQdescribePrepared(c->session->conn, "");
	bool more = PQresultStatus(res) == PGRES_COMMAND_OK && PQnparams(res) > 2;

	PQclear(res);
	return more;
}

static int check_on_success(struct check *c)
{
	const Oid types[] = { c->m->id_type_oid, JSONB_OID };
	const char *sql = c->m->q->on_success;
	struct error why = ERROR_INIT;
	int rc;

	if (c->m->own || *sql == '\0')
		return 0;
	rc = prepare(c, sql, 2, types, &why);
	if (rc < 0)
		return -1;
	if (rc == 1)
		findings_add(c->out, FINDING_ERROR, "on_success: %s", why.text);
	else if (wants_more_than_two(c))
		findings_add(c->out, FINDING_ERROR, "on_success: there are only $1, the id, and $2, the result");
	else
		return check_on_success_rights(c, sql);
	return 0;
}

static int check_statements(struct check *c)
{
	if (!c->m->tracked) {
		findings_add(c->out, FINDING_ERROR, "there is no schema unstuck in this database");
		findings_remedy(c->out, "run unstuckctl init");
	}
	for (enum statement s = 0; s < STATEMENTS; s++)
		if (mapping_has(c->m, s) && s != STMT_CLAIM_NEW && check_statement(c, s) < 0)
			return -1;	/* what could be said of claim_new has been said of claim */
	return check_on_success(c);
}

/* ---- rights on the columns that only a worker needs ---- */

static void check_column_right(struct check *c, const struct column *col, bool update)
{
	const char *right = update ? "UPDATE" : "SELECT";
	char *name, *user;

	if (col == NULL || (update ? col->may_update : col->may_select))
		return;
	name = ident_quoted(col->name);
	user = ident_shown(PQuser(c->session->conn));
	findings_add(c->out, FINDING_ERROR, "no permission to %s column %s of %s", right, col->name, c->m->source);
	findings_remedy(c->out, "GRANT %s (%s) ON %s TO %s", right, name, c->m->source, user);
	free(name);
	free(user);
}

static int check_rights(struct check *c)
{
	const struct mapping *m = c->m;
	struct catalog cat;

	if (catalog_load(&cat, c->session, c->oid, c->err) < 0)
		return -1;
	for (size_t i = 0; m->payload[i] != NULL; i++)
		check_column_right(c, catalog_find(&cat, m->payload[i]), false);
	for (size_t i = 0; m->payload[0] == NULL && i < cat.len; i++)
		check_column_right(c, &cat.columns[i], false);
	if (m->result != NULL)
		check_column_right(c, catalog_find(&cat, m->result), true);
	catalog_release(&cat);
	return 0;
}

/* ---- indexes ---- */

static bool is_slow(const char *line)
{
	static const char *const slow[] = { "Seq Scan", "Parallel Seq Scan", "Sort", "Incremental Sort", "Filter:" };
	const char *p = line + strspn(line, " ->");

	for (size_t i = 0; i < ARRAY_SIZE(slow); i++)
		if (strncmp(p, slow[i], strlen(slow[i])) == 0 && strncmp(p, "Sort Key", 8) != 0)
			return true;
	return false;
}

/* Whether an index alone finds the rows, in their order. Asked of the planner, which knows what it can use. */
static int ask_plan(struct check *c, const char *sql, bool *slow)
{
	char *explain = xasprintf("EXPLAIN (COSTS OFF) %s", sql);
	struct error why = ERROR_INIT;
	PGresult *res = NULL;

	*slow = false;
	PQclear(session_exec(c->session, &why, "BEGIN READ ONLY", 0, NULL));
	PQclear(session_exec(c->session, &why, sqltext("mapping", "plan_only"), 0, NULL));
	res = session_exec(c->session, &why, explain, 0, NULL);
	for (int i = 0; i < PQntuples(res); i++)
		*slow = *slow || is_slow(PQgetvalue(res, i, 0));
	PQclear(res);
	PQclear(session_exec(c->session, NULL, "ROLLBACK", 0, NULL));
	free(explain);
	return why.kind == ERR_NO_DB ? error_set(c->err, why.kind, "%s", why.text) : 0;
}

/* Takes what. */
static void tell_index(struct check *c, const char *columns, const char *status, const char *state, char *what)
{
	findings_add(c->out, FINDING_WARNING, "%s", what);
	findings_remedy(c->out, "CREATE INDEX CONCURRENTLY ON %s (%s) WHERE %s = %s", c->m->source, columns, status, state);
	free(what);
}

static int check_recover_index(struct check *c)
{
	const struct mapping *m = c->m;
	char *status = ident_quoted(m->status), *state = literal(m->q->processing);
	char *column = ident_quoted(m->updated_at != NULL ? m->updated_at : m->id);
	char *sql = xasprintf("SELECT t.xmin FROM %s AS t WHERE t.%s = %s", c->table.data, status, state);
	bool slow;
	int rc = ask_plan(c, sql, &slow);

	if (slow)
		tell_index(c, column, status, state, xasprintf("no index finds the rows in %s: recover reads all of %s",
		                                               m->q->processing, m->source));
	c->processing_slow = slow;
	free(status);
	free(state);
	free(column);
	free(sql);
	return rc;
}

/* state: what the status is compared with. */
static int ask_claim_plan(struct check *c, const char *status, const char *state, const char *order, bool *slow)
{
	char *sql = xasprintf("SELECT t.xmin FROM %s AS t WHERE t.%s = %s ORDER BY %s\n LIMIT 1", c->table.data, status, state, order);
	int rc = ask_plan(c, sql, slow);

	free(sql);
	return rc;
}

/*
 * Asked twice: an index of the ready rows alone fits the literal only, and one that begins with the status is of use to the planner
 * only when it does not know that nearly all rows are ready now.
 */
static int check_claim_index(struct check *c, const char *ready)
{
	const struct mapping *m = c->m;
	char *status = ident_quoted(m->status), *state = literal(ready), *key = ident_quoted(m->id);
	char *any = xasprintf("(SELECT %s::%s)", state, m->status_type);
	const char *order = *m->q->order_by != '\0' ? m->q->order_by : key;
	bool slow = false;
	int rc = ask_claim_plan(c, status, state, order, &slow);

	if (rc == 0 && slow)
		rc = ask_claim_plan(c, status, any, order, &slow);
	if (slow)
		tell_index(c, order, status, state, xasprintf("no index finds the rows in %s in their order: every claim reads "
		                                              "or sorts many rows of %s", ready, m->source));
	free(status);
	free(state);
	free(any);
	free(key);
	return rc;
}

static int check_indexes(struct check *c)
{
	char *const *ready = c->m->q->ready;

	for (size_t i = 0; ready[i] != NULL; i++)
		if (check_claim_index(c, ready[i]) < 0)
			return -1;
	return check_recover_index(c);
}

/* Few pages are read faster than a hint about them. */
static int ask_large(struct check *c, bool *out)
{
	const char *param = c->table.data;
	char *large = NULL;
	int rc = session_value(c->session, c->err, &large,
	                       "SELECT relpages > 1000 FROM pg_catalog.pg_class WHERE oid = $1::text::regclass", 1, &param);

	*out = large != NULL && strcmp(large, "t") == 0;
	free(large);
	return rc;
}

/* ---- time ---- */

static int check_future(struct check *c)
{
	const struct mapping *m = c->m;
	char *status = ident_quoted(m->status), *state = literal(m->q->processing), *updated = ident_quoted(m->updated_at);
	char *zone = literal(m->q->timezone);
	char *sql = xasprintf("SELECT count(*) FROM %s AS t WHERE t.%s = %s AND t.%s > now() %s%s + interval '5 minutes'",
	                      c->table.data, status, state, updated, m->updated_at_zoned ? "" : "AT TIME ZONE ",
	                      m->updated_at_zoned ? "" : zone);
	unsigned long n;
	int rc = ask_count(c, sql, &n);

	if (n > 0)
		findings_add(c->out, FINDING_WARNING, "%lu rows in %s have %s in the future%s%s: they would not count as stuck",
		             n, m->q->processing, m->updated_at, m->updated_at_zoned ? "" : "; is timezone not ",
		             m->updated_at_zoned ? "" : m->q->timezone);
	free(status);
	free(state);
	free(updated);
	free(zone);
	free(sql);
	return rc;
}

static void tell_zone(struct check *c)
{
	const struct mapping *m = c->m;

	findings_add(c->out, FINDING_WARNING, "column %s of %s has no time zone; %s is assumed", m->updated_at, m->source,
	             m->q->timezone);
	findings_remedy(c->out, "set timezone to that in which the application writes it");
}

static int check_time(struct check *c)
{
	const struct mapping *m = c->m;
	bool large;

	if (m->updated_at == NULL) {
		findings_add(c->out, FINDING_WARNING, "%s has no updated_at: rows in %s of which no worker is known have no age and "
		             "are never recovered", m->source, m->q->processing);
		findings_remedy(c->out, "ALTER TABLE %s ADD COLUMN updated_at timestamptz DEFAULT now()", m->source);
		return 0;
	}
	if (!m->updated_at_zoned && !m->q->timezone_set)
		tell_zone(c);
	if (ask_large(c, &large) < 0)
		return -1;
	return large && c->processing_slow ? 0 : check_future(c);
}

/* ---- what may surprise ---- */

static bool is_ready(const struct queue_settings *q, const char *word)
{
	for (size_t i = 0; q->ready[i] != NULL; i++)
		if (strcmp(q->ready[i], word) == 0)
			return true;
	return false;
}

static void check_states(struct check *c)
{
	const struct queue_settings *q = c->m->q;

	if (q->ready[0] != NULL && !is_ready(q, q->reset_to))
		findings_add(c->out, FINDING_WARNING, "reset_to = %s is none of ready: this queue does not claim again what was put back",
		             q->reset_to);
}

static int check_triggers(struct check *c)
{
	const char *param = c->oid;
	char *triggers = NULL;
	int rc;

	if (!c->m->q->strict)
		return 0;
	rc = session_value(c->session, c->err, &triggers, sqltext("mapping", "row_triggers"), 1, &param);
	if (rc == 0 && triggers != NULL)
		findings_add(c->out, FINDING_WARNING, "strict: if an AFTER UPDATE trigger of %s (%s) writes the row again in a block with "
		             "EXCEPTION, every result is refused", c->m->source, triggers);
	free(triggers);
	return rc;
}

static int check_mapped(struct check *c)
{
	const struct mapping *m = c->m;

	ident_quote(&c->table, m->schema);
	buf_addc(&c->table, '.');
	ident_quote(&c->table, m->table);
	if (session_value(c->session, c->err, &c->oid, "SELECT $1::text::regclass::oid", 1,
	                  &(const char *){ c->table.data }) < 0)
		return -1;
	if (check_statements(c) < 0 || check_rights(c) < 0)
		return -1;
	check_states(c);
	return check_indexes(c) < 0 || check_time(c) < 0 || check_triggers(c) < 0 ? -1 : 0;
}

int mapping_check_recover(const struct mapping *m, struct session *session, struct findings *out, struct error *err)
{
	struct check c = { .m = m, .session = session, .out = out, .err = err, .table = BUF_INIT };
	bool large = false;
	int rc = 0;

	if (m->own)
		return 0;
	ident_quote(&c.table, m->schema);
	buf_addc(&c.table, '.');
	ident_quote(&c.table, m->table);
	rc = ask_large(&c, &large);
	if (rc == 0 && large)
		rc = check_recover_index(&c);
	buf_release(&c.table);
	return rc;
}

static bool is_clean(const struct findings *f, size_t from)
{
	for (size_t i = from; i < f->len; i++)
		if (f->v[i].level != FINDING_OK)
			return false;
	return true;
}

int mapping_check(const struct mapping *m, struct session *session, struct findings *out, struct error *err)
{
	struct check c = { .m = m, .session = session, .out = out, .err = err, .table = BUF_INIT };
	size_t before = out->len;
	int rc = m->own ? check_statements(&c) : check_mapped(&c);

	if (rc == 0 && is_clean(out, before))
		findings_add(out, FINDING_OK, "%s: every statement, column and permission is fine", m->source);
	buf_release(&c.table);
	free(c.oid);
	return rc;
}
