/*
 * mapping_resolve.c - a mapping against the catalog: the first thing that cannot
 * work is the error, with its remedy.
 *
 * Not here: what works but not well (mapping_check.c).
 */
#include "mapping.h"

#include <stdlib.h>
#include <string.h>
#include "catalog.h"
#include "ident.h"
#include "sqltext.h"
#include "words.h"

/* ---- the table ---- */

static void no_such_table(const struct mapping *m, struct session *session, struct error *err)
{
	const char *param = m->schema, **found, *near;
	PGresult *res = session_exec(session, NULL, sqltext("mapping", "tables"), 1, &param);
	int n = PQntuples(res);

	found = xcalloc((size_t)n + 1, sizeof *found);
	for (int i = 0; i < n; i++)
		found[i] = PQgetvalue(res, i, 0);
	near = words_nearest(m->table, found, (size_t)n);
	if (near != NULL)
		error_set(err, ERR_SETTINGS, "table: there is no table %s; is it %s?", m->source, near);
	else if (m->schema == NULL)
		error_set(err, ERR_SETTINGS, "table: there is no table %s in the search_path; write schema.table", m->source);
	else
		error_set(err, ERR_SETTINGS, "table: there is no table %s in this database", m->source);
	free(found);
	PQclear(res);
}

static int no_usage(const char *schema, const PGconn *conn, struct error *err)
{
	char *name = ident_shown(schema), *user = ident_shown(PQuser(conn));

	error_set(err, ERR_SETTINGS, "no permission for schema %s: GRANT USAGE ON SCHEMA %s TO %s", schema, name, user);
	free(name);
	free(user);
	return -1;
}

static int check_relation(const struct mapping *m, const PGresult *res, const PGconn *conn, struct error *err)
{
	const char *kind = PQgetvalue(res, 0, 2);

	if (strcmp(PQgetvalue(res, 0, 3), "t") != 0)
		return no_usage(m->schema, conn, err);
	if (*kind == 'r' || *kind == 'p')
		return 0;
	return error_set(err, ERR_SETTINGS,
	                 "table: %s is a %s: its rows cannot be locked one by one; name the table behind it",
	                 PQgetvalue(res, 0, 4), *kind == 'f' ? "foreign table" : "view");
}

/* Which table is meant; from here on it is named with its schema. *oid: caller frees. */
static int resolve_table(struct mapping *m, struct session *session, char **oid, struct error *err)
{
	const char *params[] = { m->schema, m->table };
	PGresult *res = session_exec(session, err, sqltext("mapping", "table"), 2, params);
	int rc = -1;

	if (res == NULL)
		return -1;
	if (PQntuples(res) == 0) {
		no_such_table(m, session, err);
		goto out;
	}
	if (m->schema == NULL)
		m->schema = xstrdup(PQgetvalue(res, 0, 1));
	if (check_relation(m, res, session->conn, err) < 0)
		goto out;
	free(m->source);
	m->source = xstrdup(PQgetvalue(res, 0, 4));
	m->partitioned = *PQgetvalue(res, 0, 2) == 'p' || *PQgetvalue(res, 0, 5) == 't';
	*oid = xstrdup(PQgetvalue(res, 0, 0));
	rc = 0;
out:
	PQclear(res);
	return rc;
}

/* ---- columns ---- */

static const struct column *column_named(const struct catalog *c, const struct mapping *m, const char *key,
                                         const char *name, struct error *err)
{
	const struct column *found = catalog_find(c, name);
	const char **all, *near;

	if (found != NULL)
		return found;
	all = xcalloc(c->len + 1, sizeof *all);
	for (size_t i = 0; i < c->len; i++)
		all[i] = c->columns[i].name;
	near = words_nearest(name, all, c->len);
	if (near != NULL)
		error_set(err, ERR_SETTINGS, "%s: %s has no column %s; is it %s?", key, m->source, name, near);
	else
		error_set(err, ERR_SETTINGS, "%s: %s has no column %s", key, m->source, name);
	free(all);
	return NULL;
}

static int columns_exist(const struct catalog *c, const struct mapping *m, const char *key, char *const *list,
                         struct error *err)
{
	for (size_t i = 0; list[i] != NULL; i++)
		if (column_named(c, m, key, list[i], err) == NULL)
			return -1;
	return 0;
}

static int resolve_id(struct mapping *m, const struct catalog *c, struct error *err)
{
	const struct column *col = column_named(c, m, "id", m->id, err);

	if (col == NULL)
		return -1;
	if (!col->is_key)
		return error_set(err, ERR_SETTINGS,
		                 "id: column %s of %s is no key: it needs a primary key or a unique index of its own "
		                 "(CREATE UNIQUE INDEX ON %s (%s))", m->id, m->source, m->source, m->id);
	if (strchr("ACP", col->category) != NULL)
		return error_set(err, ERR_SETTINGS, "id: column %s of %s is of type %s, which cannot be a job's id",
		                 m->id, m->source, col->declared);
	m->id_type = xstrdup(col->base);
	m->id_type_oid = col->base_oid;
	return 0;
}

static int resolve_updated_at(struct mapping *m, const struct catalog *c, struct session *session, struct error *err)
{
	const struct column *col = m->updated_at != NULL ? catalog_find(c, m->updated_at) : NULL;
	struct error why = ERROR_INIT;
	const char *zone = m->q->timezone;
	char *now = NULL;

	if (m->updated_at == NULL)
		return 0;
	if (col == NULL && m->q->updated_at_set)
		return column_named(c, m, "updated_at", m->updated_at, err) == NULL ? -1 : 0;
	if (col == NULL) {		/* only our default: a table may do without */
		free(m->updated_at);
		m->updated_at = NULL;
		return 0;
	}
	m->updated_at_zoned = strcmp(col->type_name, "timestamptz") == 0;
	if (!m->updated_at_zoned && strcmp(col->type_name, "timestamp") != 0)
		return error_set(err, ERR_SETTINGS, "updated_at: column %s of %s is of type %s; expected a timestamp "
		                 "(name another column, or none: updated_at =)", m->updated_at, m->source, col->declared);
	m->updated_at_type = xstrdup(col->declared);
	if (m->updated_at_zoned)
		return 0;
	if (session_value(session, &why, &now, sqltext("mapping", "zone"), 1, &zone) < 0)
		return why.kind == ERR_NO_DB ? error_set(err, why.kind, "%s", why.text)
		                             : error_set(err, ERR_SETTINGS, "timezone: the server does not know %s", zone);
	free(now);
	return 0;
}

static int resolve_result(struct mapping *m, const struct catalog *c, struct error *err)
{
	static const char *const types[] = { "jsonb", "json", "text", "varchar" };
	const struct column *col;

	if (m->result == NULL)
		return 0;
	col = column_named(c, m, "result", m->result, err);
	if (col == NULL)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(col->type_name, types[i]) == 0) {
			m->result_type = xstrdup(types[i]);
			return 0;
		}
	return error_set(err, ERR_SETTINGS, "result: column %s of %s is of type %s; expected jsonb, json or text",
	                 m->result, m->source, col->declared);
}

/* ---- states ---- */

static int state_refused(const struct mapping *m, const struct column *col, struct session *session, const char *key,
                         const char *word, struct error *err)
{
	char oid[16], *labels = NULL;
	const char *param = oid;

	if (col->category != 'E')
		return error_set(err, ERR_SETTINGS, "%s: %s does not fit column %s of %s, of type %s", key, word, m->status,
		                 m->source, col->declared);
	snprintf(oid, sizeof oid, "%u", col->base_oid);
	session_value(session, NULL, &labels, sqltext("mapping", "labels"), 1, &param);
	error_set(err, ERR_SETTINGS, "%s: %s is no value of type %s of column %s (it has %s)", key, word, col->base, m->status,
	          labels != NULL ? labels : "none");
	free(labels);
	return -1;
}

/* The column has to take the word as it is: no cut, no other spelling. */
static int check_state(const struct mapping *m, const struct column *col, struct session *session, const char *key,
                       const char *word, struct error *err)
{
	struct error why = ERROR_INIT;
	char *same = NULL, *sql;
	int rc;

	if (*word == '\0')
		return 0;
	sql = xasprintf("SELECT $1::text::%s::text = $1::text", col->declared);
	rc = session_value(session, &why, &same, sql, 1, &word);
	if (rc < 0 && why.kind == ERR_NO_DB)
		error_set(err, why.kind, "%s", why.text);
	else if (rc < 0 || same == NULL || strcmp(same, "t") != 0)
		rc = state_refused(m, col, session, key, word, err);
	free(same);
	free(sql);
	return rc;
}

static int resolve_status(struct mapping *m, const struct catalog *c, struct session *session, struct error *err)
{
	const struct queue_settings *q = m->q;
	const struct column *col = column_named(c, m, "status", m->status, err);
	bool works = q->ready[0] != NULL;

	if (col == NULL)
		return -1;
	m->status_type = xstrdup(col->declared);
	for (size_t i = 0; q->ready[i] != NULL; i++)
		if (check_state(m, col, session, "ready", q->ready[i], err) < 0)
			return -1;
	if (check_state(m, col, session, "processing", q->processing, err) < 0 ||
	    check_state(m, col, session, "reset_to", q->reset_to, err) < 0 ||
	    check_state(m, col, session, "failed", q->failed, err) < 0)
		return -1;
	return works ? check_state(m, col, session, "done", q->done, err) : 0;
}

/* ---- permissions ---- */

static int check_column_right(const struct mapping *m, const struct catalog *c, const char *name, bool update,
                              const PGconn *conn, struct error *err)
{
	const struct column *col = name != NULL ? catalog_find(c, name) : NULL;
	const char *right = update ? "UPDATE" : "SELECT";
	char *quoted, *user;

	if (col == NULL || (update ? col->may_update : col->may_select))
		return 0;
	quoted = ident_quoted(name);
	user = ident_shown(PQuser(conn));
	error_set(err, ERR_SETTINGS, "no permission to %s column %s of %s: GRANT %s (%s) ON %s TO %s", right, name, m->source,
	          right, quoted, m->source, user);
	free(quoted);
	free(user);
	return -1;
}

/* What recover and the worker both need; the worker's own needs are told by mapping_check(). */
static int check_rights(const struct mapping *m, const struct catalog *c, const PGconn *conn, struct error *err)
{
	const char *const read[] = { m->id, m->status, m->updated_at }, *const written[] = { m->status, m->updated_at };

	for (size_t i = 0; i < ARRAY_SIZE(read); i++)
		if (check_column_right(m, c, read[i], false, conn, err) < 0)
			return -1;
	for (size_t i = 0; m->show[i] != NULL; i++)
		if (check_column_right(m, c, m->show[i], false, conn, err) < 0)
			return -1;
	for (size_t i = 0; i < ARRAY_SIZE(written); i++)
		if (check_column_right(m, c, written[i], true, conn, err) < 0)
			return -1;
	return 0;
}

static int check_schema_rights(const struct mapping *m, struct session *session, struct error *err)
{
	const char *own = m->own ? "t" : "f";
	char *missing = NULL, *user = ident_shown(PQuser(session->conn));
	int rc = session_value(session, err, &missing, sqltext("mapping", "rights"), 1, &own);

	if (rc == 0 && missing != NULL)
		rc = error_set(err, ERR_SETTINGS, "no permission to %s: GRANT unstuck_worker (or, to recover, unstuck_recover) TO %s",
		               missing, user);
	free(missing);
	free(user);
	return rc;
}

/* ---- the whole ---- */

/* A schema of another version knows owners that we could not see. */
static int check_schema(const struct mapping *m, const struct session *session, struct error *err)
{
	if (session->has_schema)
		return 0;
	if (session->schema_version != 0)
		return error_set(err, ERR_SETTINGS, "the schema unstuck is of version %d, not of this program's: run unstuckctl init "
		                 "of the newer of the two", session->schema_version);
	if (m->own)
		return error_set(err, ERR_SETTINGS, "there is no schema unstuck in this database: run unstuckctl init");
	return 0;
}

static int resolve_own(struct mapping *m, struct session *session, struct error *err)
{
	struct catalog c;
	char *oid = NULL;
	int rc;

	if (m->show[0] == NULL)
		return 0;
	if (session_value(session, err, &oid, sqltext("mapping", "own_table"), 0, NULL) < 0)
		return -1;
	rc = catalog_load(&c, session, oid, err);
	if (rc == 0)
		rc = columns_exist(&c, m, "show", m->show, err);
	catalog_release(&c);
	free(oid);
	return rc;
}

static int resolve_mapped(struct mapping *m, struct session *session, struct error *err)
{
	struct catalog c = CATALOG_INIT;
	char *oid = NULL;
	int rc = -1;

	if (resolve_table(m, session, &oid, err) < 0 || catalog_load(&c, session, oid, err) < 0)
		goto out;
	if (resolve_id(m, &c, err) < 0 || resolve_status(m, &c, session, err) < 0 ||
	    resolve_updated_at(m, &c, session, err) < 0 || resolve_result(m, &c, err) < 0 ||
	    columns_exist(&c, m, "payload", m->payload, err) < 0 || columns_exist(&c, m, "show", m->show, err) < 0 ||
	    check_rights(m, &c, session->conn, err) < 0)
		goto out;
	rc = 0;
out:
	catalog_release(&c);
	free(oid);
	return rc;
}

int mapping_resolve(struct mapping *m, struct session *session, struct error *err)
{
	m->tracked = session->has_schema;
	if (check_schema(m, session, err) < 0)
		return -1;
	if (m->tracked && check_schema_rights(m, session, err) < 0)
		return -1;
	return m->own ? resolve_own(m, session, err) : resolve_mapped(m, session, err);
}
