/*
 * doctor_table.c - the table of a queue: rights, names, statements, indexes, time zones, keys.
 *
 * Not here: what is checked for a worker's start too (common/mapping.h).
 */
#include <stdlib.h>
#include <string.h>
#include "doctor.h"
#include "ident.h"
#include "sqltext.h"

/* ---- rights, all of them in one GRANT ---- */

static void add_name(struct buf *list, const char *name)
{
	if (name != NULL)
		array_add(list, name, strlen(name));
}

static void add_names(struct buf *list, char *const *names)
{
	for (; *names != NULL; names++)
		add_name(list, *names);
}

/* Every column that the mapping names. */
static void needed_columns(const struct mapping *m, struct buf *read, struct buf *written)
{
	array_begin(read);
	array_begin(written);
	add_name(read, m->id);
	add_name(read, m->status);
	add_name(read, m->updated_at);
	add_names(read, m->payload);
	add_names(read, m->show);
	add_name(written, m->status);
	add_name(written, m->updated_at);
	add_name(written, m->result);
	array_end(read);
	array_end(written);
}

/* true: nothing is lacking. */
static bool table_rights(struct doctor *d, const struct mapping *m, const char *oid)
{
	struct buf read = BUF_INIT, written = BUF_INIT;
	bool fine = false;
	PGresult *res;

	needed_columns(m, &read, &written);
	res = doctor_ask(d, sqltext("doctor", "table_rights"), 3,
	                 (const char *const[]){ oid, m->payload[0] != NULL ? buf_text(&read) : NULL, buf_text(&written) });
	if (res != NULL && PQntuples(res) == 1 && !PQgetisnull(res, 0, 0)) {
		doctor_tell(d, ERROR, "user %s lacks on %s: %s", PQuser(d->ctl->session.conn), m->source, PQgetvalue(res, 0, 0));
		doctor_remedy(d, "%s", PQgetvalue(res, 0, 1));
	} else if (res != NULL) {
		fine = true;
	}
	PQclear(res);
	buf_release(&read);
	buf_release(&written);
	return fine;
}

/* Asked before anything is resolved, which would tell only the first right that is lacking. */
static bool may_use(struct doctor *d, const struct mapping *m)
{
	PGresult *res = doctor_ask(d, sqltext("mapping", "table"), 2, (const char *const[]){ m->schema, m->table });
	bool fine = res != NULL;
	char *schema;

	if (PQntuples(res) == 1 && strcmp(PQgetvalue(res, 0, 3), "t") != 0) {
		doctor_tell(d, ERROR, "user %s lacks USAGE on schema %s", PQuser(d->ctl->session.conn), PQgetvalue(res, 0, 1));
		schema = ident_quoted(PQgetvalue(res, 0, 1));
		doctor_remedy(d, "GRANT USAGE ON SCHEMA %s TO %s;", schema, d->user);
		free(schema);
		fine = false;
	} else if (PQntuples(res) == 1) {
		fine = table_rights(d, m, PQgetvalue(res, 0, 0));
	}	/* else: resolving tells what is wrong with the name */
	PQclear(res);
	return fine;
}

/* EXPLAIN asks for the rights on what where and order_by read. */
static bool may_claim(struct doctor *d, const struct mapping *m)
{
	const struct queue_settings *q = m->q;
	struct error err = ERROR_INIT;
	struct buf sql = BUF_INIT;
	PGresult *res;

	buf_adds(&sql, "EXPLAIN SELECT 1 FROM ");
	ident_quote(&sql, m->schema);
	buf_addc(&sql, '.');
	ident_quote(&sql, m->table);
	buf_addf(&sql, " AS t WHERE (%s\n)", *q->where != '\0' ? q->where : "true");
	if (*q->order_by != '\0')
		buf_addf(&sql, " ORDER BY %s\n", q->order_by);
	res = session_exec(&d->ctl->session, &err, buf_text(&sql), 0, NULL);
	PQclear(res);
	buf_release(&sql);
	if (err.kind == ERR_NO_DB || pg_verdict(err.sqlstate) == PG_AGAIN) {
		doctor_take(d, &err);		/* locked: every other question would wait as long */
		return false;
	}
	if (strcmp(err.sqlstate, "42501") != 0)
		return true;			/* what else is wrong with them the statements will tell */
	doctor_tell(d, ERROR, "where and order_by read what user %s may not: %s", PQuser(d->ctl->session.conn), err.text);
	doctor_remedy(d, "GRANT SELECT ON %s TO %s;", m->source, d->user);
	return false;
}

/* ---- everything else ---- */

static void tell_findings(struct doctor *d, struct patient *p)
{
	struct findings found = FINDINGS_INIT;
	struct error err = ERROR_INIT;

	if (mapping_check(&p->map, &d->ctl->session, &found, &err) < 0)
		doctor_take(d, &err);
	for (size_t i = 0; i < found.len; i++) {
		const struct finding *f = &found.v[i];

		if (f->level == FINDING_OK)
			continue;
		doctor_tell(d, f->level == FINDING_ERROR ? ERROR : WARNING, "%s", f->what);
		if (f->remedy != NULL)
			doctor_remedy(d, "%s", f->remedy);
		else
			doctor_remedy(d, "correct [queue %s]", p->set->name);
	}
	findings_release(&found);
}

static void find_quick(struct doctor *d, struct patient *p)
{
	struct findings slow = FINDINGS_INIT;
	struct error err = ERROR_INIT;

	if (mapping_check_recover(&p->map, &d->ctl->session, &slow, &err) < 0)
		doctor_take(d, &err);
	p->quick = err.kind == ERR_NONE && slow.len == 0;
	findings_release(&slow);
}

void check_table(struct doctor *d, struct patient *p)
{
	struct session *s = &d->ctl->session;
	struct error err = ERROR_INIT;

	if (*p->set->table == '\0' && !s->has_schema)
		return;		/* told once, for all */
	if (mapping_init(&p->map, p->set, &err) < 0 ||
	    (!p->map.own && !may_use(d, &p->map)) || doctor_over(d) || mapping_resolve(&p->map, s, &err) < 0) {
		if (err.kind == ERR_NO_DB)
			doctor_take(d, &err);
		else if (err.kind != ERR_NONE && (s->has_schema || s->schema_version == 0)) {
			doctor_tell(d, ERROR, "%s", err.text);
			doctor_remedy(d, "correct [queue %s]%s%s", p->set->name, *d->ctl->settings.path ? " in " : "", d->ctl->settings.path);
		}
		return;
	}
	p->resolved = p->map.own || may_claim(d, &p->map);
	if (!p->resolved)
		return;
	find_quick(d, p);
	if (!doctor_over(d))
		tell_findings(d, p);
}

/* ---- keys ---- */

static double type_end(const char *type)
{
	static const struct { const char *type; double end; } ends[] = {
		{ "smallint", 32767 }, { "integer", 2147483647 }, { "bigint", 9223372036854775807.0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (strcmp(ends[i].type, type) == 0)
			return ends[i].end;
	return 0;
}

static char *quoted_table(const struct mapping *m)
{
	struct buf b = BUF_INIT;

	ident_quote(&b, m->schema);
	buf_addc(&b, '.');
	ident_quote(&b, m->table);
	return buf_give(&b);
}

static double largest_id(struct doctor *d, const char *table, const char *id)
{
	char *sql = xasprintf("SELECT max(t.%s) FROM %s AS t", id, table);
	PGresult *res = doctor_ask(d, sql, 0, NULL);
	double largest = PQntuples(res) == 1 ? strtod(PQgetvalue(res, 0, 0), NULL) : 0;

	PQclear(res);
	free(sql);
	return largest;
}

/* sequence: of the column, as a name of SQL; NULL: none. */
static void judge_ids(struct doctor *d, const struct mapping *m, double used, double end, const char *sequence)
{
	char *id;

	if (used <= 0.8 * end)
		return;
	doctor_tell(d, used > 0.95 * end ? ERROR : WARNING, "%s of %s has come to %.0f of %.0f: inserts will fail", m->id, m->source,
	            used, end);
	id = ident_quoted(m->id);
	if (sequence != NULL)
		doctor_remedy(d, "ALTER TABLE %s ALTER COLUMN %s TYPE bigint; ALTER SEQUENCE %s AS bigint; (rewrites and locks the table, "
		              "unless it is bigint already)", m->source, id, sequence);
	else
		doctor_remedy(d, "ALTER TABLE %s ALTER COLUMN %s TYPE bigint; (rewrites and locks the table)", m->source, id);
	free(id);
}

/* The end is that of the column's type or of its sequence, whichever comes first. */
void check_ids(struct doctor *d, struct patient *p)
{
	const struct mapping *m = &p->map;
	double end, used;
	char *table, *id;
	PGresult *res = NULL;

	if (!p->resolved || m->own || type_end(m->id_type) == 0)
		return;
	table = quoted_table(m);
	id = ident_quoted(m->id);
	end = type_end(m->id_type);
	used = largest_id(d, table, id);
	if (!doctor_over(d))
		res = doctor_ask(d, sqltext("doctor", "sequence"), 2, (const char *const[]){ table, m->id });
	if (PQntuples(res) == 1) {
		double most = strtod(PQgetvalue(res, 0, 1), NULL), last = strtod(PQgetvalue(res, 0, 2), NULL);

		end = most < end ? most : end;
		used = last > used ? last : used;
	}
	judge_ids(d, m, used, end, PQntuples(res) == 1 ? PQgetvalue(res, 0, 0) : NULL);
	PQclear(res);
	free(table);
	free(id);
}
