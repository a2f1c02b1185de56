/*
 * targets.c - which queues a run is about, and their mappings.
 *
 * Not here: looking for stuck rows (stuck.c).
 */
#include "target.h"

#include <stdlib.h>
#include <string.h>
#include "buf.h"
#include "ident.h"
#include "words.h"

const char *action_name(enum action a)
{
	switch (a) {
	case ACTION_RESET: return "reset";
	case ACTION_FAIL:  return "fail";
	case ACTION_NONE:  break;
	}
	return "none";
}

const char *target_name(const struct target *t)
{
	const struct mapping *m = &t->mapping;

	if (m->queue != NULL)
		return m->queue;
	return *m->q->name != '\0' ? m->q->name : m->q->table;
}

bool target_is_open(const struct target *t)
{
	return t->error.kind == ERR_NONE && t->same_as == NULL;
}

static void target_release(struct target *t)
{
	for (size_t i = 0; i < t->rows_len; i++) {
		struct stuck_row *r = &t->rows[i];

		free(r->id);
		free(r->token);
		free(r->since);
		free(r->worker);
		free(r->show);
		free(r->observed);
	}
	free(t->rows);
	mapping_release(&t->mapping);
}

void targets_release(struct targets *t)
{
	for (size_t i = 0; i < t->len; i++)
		target_release(&t->v[i]);
	free(t->v);
	*t = (struct targets){ NULL, 0 };
}

/* ---- names of queues ---- */

struct names {
	char **v;
	size_t len;
};

static void names_add(struct names *n, const char *name)
{
	for (size_t i = 0; i < n->len; i++)
		if (strcmp(n->v[i], name) == 0)
			return;
	n->v = xrealloc(n->v, (n->len + 1) * sizeof *n->v);
	n->v[n->len++] = xstrdup(name);
}

static void names_release(struct names *n)
{
	for (size_t i = 0; i < n->len; i++)
		free(n->v[i]);
	free(n->v);
}

/* Every queue with unfinished jobs, by hopping from name to name in two indexes instead of reading all rows. */
static const char all_queues_sql[] =
	"WITH RECURSIVE alone(queue) AS (\n"
	"  SELECT min(j.queue) FROM unstuck.jobs AS j WHERE j.alone\n"
	"  UNION ALL\n"
	"  SELECT (SELECT min(j.queue) FROM unstuck.jobs AS j WHERE j.alone AND j.queue > a.queue)\n"
	"    FROM alone AS a WHERE a.queue IS NOT NULL\n"
	"), waiting(queue) AS (\n"
	"  SELECT min(j.queue) FROM unstuck.jobs AS j WHERE j.waiting\n"
	"  UNION ALL\n"
	"  SELECT (SELECT min(j.queue) FROM unstuck.jobs AS j WHERE j.waiting AND j.queue > w.queue)\n"
	"    FROM waiting AS w WHERE w.queue IS NOT NULL\n"
	")\n"
	"SELECT queue FROM alone WHERE queue IS NOT NULL\n"
	" UNION SELECT queue FROM waiting WHERE queue IS NOT NULL\n"
	" UNION SELECT b.queue FROM unstuck.batches AS b ORDER BY 1";

static int names_from_database(struct names *n, struct session *session, struct error *err)
{
	PGresult *res = session_exec(session, err, all_queues_sql, 0, NULL);

	if (res == NULL)
		return -1;
	for (int i = 0; i < PQntuples(res); i++)
		names_add(n, PQgetvalue(res, i, 0));
	PQclear(res);
	return 0;
}

/* The file wins; a queue that is in no file may still have jobs in our own table. */
static int is_queue_known(const char *name, struct settings *settings, struct session *session, bool *out,
                          struct error *err)
{
	char *found = NULL;

	*out = settings_queue(settings, name) != NULL;
	if (*out || !session->has_schema)
		return 0;
	if (session_value(session, err, &found, "SELECT EXISTS (SELECT FROM unstuck.jobs WHERE queue = $1)", 1,
	                  &name) < 0)
		return -1;
	*out = found != NULL && strcmp(found, "t") == 0;
	free(found);
	return 0;
}

static int unknown_queue(const char *name, const struct settings *settings, struct error *err)
{
	const char **all = xcalloc(settings->queues_len + 1, sizeof *all), *near;

	for (size_t i = 0; i < settings->queues_len; i++)
		all[i] = settings->queues[i].name;
	near = words_nearest(name, all, settings->queues_len);
	if (near != NULL)
		error_set(err, ERR_USAGE, "no queue is called %s; is it %s?", name, near);
	else
		error_set(err, ERR_USAGE, "no queue is called %s, neither in the settings nor in unstuck.jobs", name);
	free(all);
	return -1;
}

static int names_from_arguments(struct names *n, const struct cli *cli, struct settings *settings,
                                struct session *session, struct error *err)
{
	for (size_t i = 0; i < cli->args_len; i++) {
		bool known = false;

		if (is_queue_known(cli->args[i], settings, session, &known, err) < 0)
			return -1;
		if (!known)
			return unknown_queue(cli->args[i], settings, err);
		names_add(n, cli->args[i]);
	}
	return 0;
}

/* ---- a queue made of flags ---- */

static void keep(char **field, const char *text)
{
	if (text == NULL)
		return;
	free(*field);
	*field = xstrdup(text);
}

/* Split "a, "b,c"" at the commas outside double quotes into identifiers as written. */
static char **columns_split(const char *text)
{
	char **out = xcalloc(strlen(text) + 2, sizeof *out);
	size_t n = 0;

	while (*text != '\0') {
		const char *start = text + strspn(text, " \t,"), *end = start;

		for (bool quoted = false; *end != '\0' && (quoted || *end != ','); end++)
			if (*end == '"')
				quoted = !quoted;
		text = end;
		while (end > start && (end[-1] == ' ' || end[-1] == '\t'))
			end--;
		if (end > start)
			out[n++] = xstrndup(start, (size_t)(end - start));
	}
	return out;
}

/* The one that an earlier round made, or NULL; a queue of the file may have the same name. */
static struct queue_settings *adhoc_find(struct settings *settings, const struct adhoc *a)
{
	for (size_t i = 0; i < settings->queues_len; i++)
		if (*settings->queues[i].name == '\0' && strcmp(settings->queues[i].table, a->table) == 0)
			return &settings->queues[i];
	return NULL;
}

static const struct queue_settings *adhoc_queue(struct settings *settings, const struct adhoc *a)
{
	struct queue_settings *q = adhoc_find(settings, a);

	if (q != NULL)
		return q;
	q = settings_add_queue(settings, "");	/* its mapping takes the table's name */
	keep(&q->table, a->table);
	keep(&q->status, a->status_column);
	keep(&q->processing, a->processing);
	keep(&q->reset_to, a->reset_to);
	keep(&q->failed, a->failed != NULL ? a->failed : "");	/* none: nothing is given up */
	keep(&q->id, a->id_column);
	keep(&q->updated_at, a->updated_column);
	keep(&q->timezone, a->timezone);
	q->updated_at_set = a->updated_column != NULL;
	q->timezone_set = a->timezone != NULL;
	if (a->show != NULL) {
		words_free(q->show);
		q->show = columns_split(a->show);
	}
	return q;
}

/* ---- mappings ---- */

/* A schema of another version knows owners that we could not see: going by age would shoot the living. */
static int schema_check(const struct target *t, const struct session *session, struct error *err)
{
	if (session->has_schema)
		return 0;
	if (session->schema_version != 0)
		return error_set(err, ERR_SETTINGS,
		                 "the schema unstuck here is of version %d, not of this program's: run unstuckctl init",
		                 session->schema_version);
	if (t->mapping.own)
		return error_set(err, ERR_SETTINGS, "there is no schema unstuck in this database: run unstuckctl init");
	return 0;
}

static usec_t age_limit(const struct queue_settings *q, const struct options *opt, const struct settings *settings)
{
	if (opt->timeout != USEC_NEVER)
		return opt->timeout;
	return q->timeout_set ? q->timeout : settings->recover_timeout;
}

static void target_init(struct target *t, const struct queue_settings *q, const struct options *opt,
                        const struct settings *settings, struct session *session)
{
	struct mapping *m = &t->mapping;

	t->timeout = age_limit(q, opt, settings);
	m->q = q;
	if (mapping_init(m, q, &t->error) < 0 || schema_check(t, session, &t->error) < 0 ||
	    mapping_resolve(m, session, &t->error) < 0)
		return;
	if (!m->own && !m->tracked && m->updated_at == NULL)
		error_set(&t->error, ERR_SETTINGS,
		          "%s has no column updated_at, and without the schema unstuck only age can decide: "
		          "name a column that says when a row was last changed (--updated-column)", m->source);
}

/* Two queues may map one table: its rows belong to the first one then. */
static const char *same_rows_as(const struct targets *all, const struct mapping *m)
{
	for (size_t i = 0; i < all->len; i++) {
		const struct mapping *o = &all->v[i].mapping;

		if (target_is_open(&all->v[i]) && !m->own && !o->own && strcmp(o->source, m->source) == 0 &&
		    strcmp(o->status, m->status) == 0 && strcmp(o->q->processing, m->q->processing) == 0)
			return target_name(&all->v[i]);
	}
	return NULL;
}

static int choose_names(struct names *names, const struct cli *cli, struct settings *settings,
                        struct session *session, struct error *err)
{
	if (cli->args_len > 0)
		return names_from_arguments(names, cli, settings, session, err);
	for (size_t i = 0; i < settings->queues_len; i++)
		if (settings->queues[i].line > 0)
			names_add(names, settings->queues[i].name);
	if (names->len > 0)
		return 0;
	if (session->has_schema)
		return names_from_database(names, session, err);
	return error_set(err, ERR_USAGE, "nothing says what to recover: name a table with --table, or a settings file "
	                 "with -c, or create Unstuck's own table with unstuckctl init");
}

int targets_choose(struct targets *all, const struct options *opt, const struct cli *cli, struct settings *settings,
                   struct session *session, struct error *err)
{
	struct names names = { NULL, 0 };
	int rc = -1;

	if (opt->adhoc.table != NULL) {
		all->v = xcalloc(1, sizeof *all->v);
		target_init(&all->v[all->len++], adhoc_queue(settings, &opt->adhoc), opt, settings, session);
		return 0;
	}
	if (choose_names(&names, cli, settings, session, err) < 0)
		goto out;
	for (size_t i = 0; i < names.len; i++)	/* all of them first: adding moves the array */
		if (settings_queue(settings, names.v[i]) == NULL)
			settings_add_queue(settings, names.v[i]);
	all->v = xcalloc(names.len + 1, sizeof *all->v);
	for (size_t i = 0; i < names.len; i++) {
		struct target *t = &all->v[all->len];

		target_init(t, settings_queue(settings, names.v[i]), opt, settings, session);
		if (t->error.kind == ERR_NONE)
			t->same_as = same_rows_as(all, &t->mapping);
		all->len++;
	}
	rc = 0;
out:
	names_release(&names);
	return rc;
}

/* ---- the zone of a timestamp without time zone ---- */

/*
 * UTC was assumed. It matters when the server's own zone is another one just now,
 * or when a row in question claims to have been changed in the future.
 */
static const char zone_sql[] =
	"SELECT coalesce((SELECT now() AT TIME ZONE s.reset_val <> now() AT TIME ZONE 'UTC' FROM pg_settings s\n"
	"                  WHERE s.name = 'TimeZone'), false)\n"
	"    OR coalesce((SELECT max(%s) > now() AT TIME ZONE 'UTC' + interval '5 minutes'\n"
	"                   FROM %s WHERE %s = %s), false)";

int target_zone_matters(const struct target *t, struct session *session, bool *out, struct error *err)
{
	const struct mapping *m = &t->mapping;
	struct buf table = BUF_INIT, updated = BUF_INIT, status = BUF_INIT, state = BUF_INIT;
	char *sql, *answer = NULL;
	int rc;

	*out = false;
	if (m->own || m->updated_at == NULL || m->updated_at_zoned || m->q->timezone_set || t->processing == 0)
		return 0;
	ident_quote(&table, m->schema);
	buf_addc(&table, '.');
	ident_quote(&table, m->table);
	ident_quote(&updated, m->updated_at);
	ident_quote(&status, m->status);
	literal_quote(&state, m->q->processing);
	sql = xasprintf(zone_sql, buf_text(&updated), buf_text(&table), buf_text(&status), buf_text(&state));
	rc = session_value(session, err, &answer, sql, 0, NULL);
	*out = rc == 0 && answer != NULL && strcmp(answer, "t") == 0;
	free(answer);
	free(sql);
	buf_release(&table);
	buf_release(&updated);
	buf_release(&status);
	buf_release(&state);
	return rc;
}
