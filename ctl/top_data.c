/*
 * top_data.c - one look at queues, workers and running jobs.
 *
 * Not here: how it is shown (top_view.c).
 */
#include "top_data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "mapped.h"
#include "mapping.h"
#include "sqltext.h"
#include "workers.h"

#define COUNTED 10000
#define LISTED "200"

struct queue {
	struct settings of_its_own;	/* of a queue that the settings do not name */
	struct mapping map;
	char *error;			/* why nothing is known of it; NULL: all is */
	char *running, *processing, *waiting;	/* statements; waiting: of a mapped table */
};

struct top_data {
	struct ctl *ctl;
	struct queue **queues;
	size_t len;
};

/* ---- the queues ---- */

/* What cannot be read would be tried again with each look: it is said, and left alone. */
static void prepare(struct top_data *t, struct queue *q)
{
	struct findings slow = FINDINGS_INIT;
	struct error err = ERROR_INIT;

	if (mapping_resolve(&q->map, &t->ctl->session, &err) == 0
	    && mapping_check_recover(&q->map, &t->ctl->session, &slow, &err) == 0 && slow.len > 0)
		error_set(&err, ERR_SETTINGS, "%s; see unstuckctl doctor", slow.v[0].what);
	findings_release(&slow);
	if (err.kind == ERR_NONE) {
		q->running = mapping_statement(&q->map, STMT_STUCK, &err);
		q->processing = mapping_statement(&q->map, STMT_PROCESSING, &err);
		q->waiting = q->map.own ? NULL : mapped_sql(&q->map, "mapped_waiting");
	}
	if (err.kind == ERR_NO_DB)
		error_set(&t->ctl->err, err.kind, "%s", err.text);
	else if (err.kind != ERR_NONE)
		q->error = xstrdup(err.text);
}

/* set NULL: a queue that only the database knows. */
static struct queue *add_queue(struct top_data *t, const struct queue_settings *set, const char *name)
{
	struct queue *q = xcalloc(1, sizeof *q);
	struct error err = ERROR_INIT;

	t->queues = xrealloc(t->queues, (t->len + 1) * sizeof(struct queue *));
	t->queues[t->len++] = q;
	if (set == NULL)
		set = settings_add_queue(&q->of_its_own, name);
	if (mapping_init(&q->map, set, &err) == 0)
		prepare(t, q);
	else
		q->error = xstrdup(err.text);
	return q;
}

static bool has_queue(const struct top_data *t, const char *name)
{
	for (size_t i = 0; i < t->len; i++)
		if (strcmp(t->queues[i]->map.q->name, name) == 0)
			return true;
	return false;
}

/* Of unstuck.jobs, and not in the settings. A queue on a table of the same name does not hide it: that is a name of ours only. */
static void find_others(struct top_data *t, const PGresult *names)
{
	for (int i = 0; i < PQntuples(names) && t->ctl->err.kind == ERR_NONE; i++)
		if (!has_queue(t, PQgetvalue(names, i, 0)))
			add_queue(t, NULL, PQgetvalue(names, i, 0));
}

struct top_data *top_data_open(struct ctl *ctl)
{
	struct top_data *t;
	bool pooled;

	if (ctl_connect_schema(ctl) < 0 || ctl_limit_statements(ctl, &pooled) < 0) {
		session_close(&ctl->session);
		return NULL;
	}
	t = xcalloc(1, sizeof *t);
	t->ctl = ctl;
	for (size_t i = 0; i < ctl->settings.queues_len && ctl->err.kind == ERR_NONE; i++)
		add_queue(t, &ctl->settings.queues[i], NULL);
	if (ctl->err.kind == ERR_NONE)
		return t;
	top_data_close(t);
	return NULL;
}

void top_data_close(struct top_data *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->len; i++) {
		struct queue *q = t->queues[i];

		mapping_release(&q->map);
		settings_release(&q->of_its_own);
		free(q->error);
		free(q->running);
		free(q->processing);
		free(q->waiting);
		free(q);
	}
	free(t->queues);
	session_close(&t->ctl->session);
	free(t);
}

/* ---- a look ---- */

static json_t *text_or_null(const PGresult *res, int row, const char *column)
{
	int c = PQfnumber(res, column);

	return c < 0 || PQgetisnull(res, row, c) ? json_null() : ctl_json_text(PQgetvalue(res, row, c));
}

static json_t *number_or_null(const PGresult *res, int row, const char *column)
{
	int c = PQfnumber(res, column);

	return c < 0 || PQgetisnull(res, row, c) ? json_null() : json_real(strtod(PQgetvalue(res, row, c), NULL));
}

static long long number_at(const PGresult *res, int row, const char *column)
{
	int c = PQfnumber(res, column);

	return c < 0 ? 0 : atoll(PQgetvalue(res, row, c));
}

/* An error of one queue is shown with it; only a lost database ends the look. */
static PGresult *ask(struct top_data *t, json_t *queue, const char *sql, int n, const char *const *params)
{
	struct error err = ERROR_INIT;
	PGresult *res = session_exec(&t->ctl->session, &err, sql, n, params);

	if (res != NULL)
		return res;
	if (err.kind == ERR_NO_DB)
		error_set(&t->ctl->err, err.kind, "%s", err.text);
	else
		json_object_set_new(queue, "error", ctl_json_text(err.text));
	return NULL;
}

/* Those of each queue come oldest first; the stuck ones go before all. */
static void add_running(json_t *stuck, json_t *alive, json_t *queue, const PGresult *res)
{
	long long n = 0;

	for (int i = 0; i < PQntuples(res); i++) {
		const char *reason = PQgetvalue(res, i, PQfnumber(res, "reason"));
		bool well = strcmp(reason, "alive") == 0;

		n += !well;
		json_array_append_new(well ? alive : stuck, json_pack("{s:O, s:o, s:o, s:o, s:o, s:s, s:o}",
			"queue", json_object_get(queue, "queue"), "job", text_or_null(res, i, "id"), "since", text_or_null(res, i, "since"),
			"age_s", number_or_null(res, i, "age_s"), "worker_id", text_or_null(res, i, "worker"), "reason", reason,
			"observed", text_or_null(res, i, "observed")));
	}
	if (PQntuples(res) > 0)
		json_object_set_new(queue, "oldest_processing_age_s", number_or_null(res, 0, "age_s"));
	json_object_set_new(queue, "stuck", json_integer(n));
}

static void look_at_running(struct top_data *t, struct queue *q, json_t *o, json_t *stuck, json_t *alive)
{
	const struct queue_settings *set = q->map.q;
	usec_t age = set->timeout_set ? set->timeout : t->ctl->settings.recover_timeout;
	char timeout[32], poison[16];
	PGresult *res;

	snprintf(timeout, sizeof timeout, "%.3f", (double)age / (double)SEC);
	snprintf(poison, sizeof poison, "%u", t->ctl->settings.max_recoveries);
	res = ask(t, o, q->running, 6, (const char *const[]){ timeout, "f", "t", LISTED, "0", poison });
	if (res == NULL)
		return;
	add_running(stuck, alive, o, res);
	PQclear(res);
	res = ask(t, o, q->processing, 0, NULL);	/* those too that are not listed, or of which nothing is known */
	if (PQntuples(res) == 1)
		json_object_set_new(o, "processing", json_integer(atoll(PQgetvalue(res, 0, 0))));
	PQclear(res);
}

static void put_waiting(json_t *o, long long n, long long due, json_t *oldest)
{
	json_object_set_new(o, "ready", json_integer(due < COUNTED ? due : COUNTED));
	json_object_set_new(o, "later", json_integer(n - due));
	json_object_set_new(o, "capped", json_boolean(n > COUNTED));
	json_object_set_new(o, "oldest_pending_age_s", oldest);
}

static void look_at_waiting(struct top_data *t, struct queue *q, json_t *o, const PGresult *own)
{
	char most[32];
	PGresult *res;

	if (q->map.own) {
		put_waiting(o, 0, 0, json_null());
		for (int i = 0; i < PQntuples(own); i++)
			if (strcmp(PQgetvalue(own, i, 0), q->map.q->name) == 0)
				put_waiting(o, number_at(own, i, "n"), number_at(own, i, "due"), number_or_null(own, i, "oldest"));
		return;
	}
	snprintf(most, sizeof most, "%d", COUNTED + 1);
	res = ask(t, o, q->waiting, 1, (const char *const[]){ most });
	if (PQntuples(res) == 1)
		put_waiting(o, number_at(res, 0, "n"), number_at(res, 0, "n"), number_or_null(res, 0, "oldest"));
	PQclear(res);
}

/* One look at the queues: what was asked for all of them at once, and where the jobs go. */
struct look {
	PGresult *waiting, *running, *workers;
	json_t *stuck, *alive;
};

static bool is_named(const PGresult *names, const char *name)
{
	for (int i = 0; i < PQntuples(names); i++)
		if (strcmp(PQgetvalue(names, i, 0), name) == 0)
			return true;
	return false;
}

static json_t *look_at_queue(struct top_data *t, struct queue *q, const struct look *l)
{
	json_t *o = json_pack("{s:o, s:o, s:n, s:n, s:b, s:n, s:n, s:n, s:n, s:o}", "queue", ctl_json_text(q->map.q->name),
	                      "table", ctl_json_text(q->map.source), "ready", "later", "capped", 0, "processing", "stuck",
	                      "oldest_pending_age_s", "oldest_processing_age_s", "error", ctl_json_text(q->error));

	if (q->error != NULL)
		return o;
	look_at_waiting(t, q, o, l->waiting);
	if (q->map.own && !is_named(l->running, q->map.q->name))
		json_object_update_new(o, json_pack("{s:i, s:i}", "processing", 0, "stuck", 0));
	else if (t->ctl->err.kind == ERR_NONE)
		look_at_running(t, q, o, l->stuck, l->alive);
	return o;
}

static int by_age(const void *a, const void *b)
{
	double x = json_number_value(json_object_get(*(json_t *const *)a, "age_s"));
	double y = json_number_value(json_object_get(*(json_t *const *)b, "age_s"));

	return (x < y) - (x > y);
}

/* Over all queues, the oldest first. */
static void append_sorted(json_t *list, json_t *from)
{
	size_t n = json_array_size(from);
	json_t **all = xcalloc(n + 1, sizeof *all);

	for (size_t i = 0; i < n; i++)
		all[i] = json_array_get(from, i);
	qsort(all, n, sizeof *all, by_age);
	for (size_t i = 0; i < n; i++)
		json_array_append(list, all[i]);
	free(all);
}

static json_t *document_of(struct top_data *t, struct look *l)
{
	json_t *queues = json_array(), *running = json_array(), *document;
	struct buf where = BUF_INIT;
	char *at = NULL;

	for (size_t i = 0; i < t->len && t->ctl->err.kind == ERR_NONE; i++)
		json_array_append_new(queues, look_at_queue(t, t->queues[i], l));
	append_sorted(running, l->stuck);
	append_sorted(running, l->alive);
	if (t->ctl->err.kind == ERR_NONE)
		session_value(&t->ctl->session, &t->ctl->err, &at, sqltext("ctl", "server_time"), 0, NULL);
	pg_describe(&where, t->ctl->session.conn);
	document = json_pack("{s:s?, s:s, s:o, s:o, s:o}", "at", at, "database", buf_text(&where), "queues", queues,
	                     "workers", workers_json(l->workers), "running", running);
	buf_release(&where);
	free(at);
	return document;
}

json_t *top_data_look(struct top_data *t)
{
	struct session *s = &t->ctl->session;
	struct error *err = &t->ctl->err;
	struct look l = { .stuck = json_array(), .alive = json_array() };
	json_t *document = NULL;
	char most[32];

	snprintf(most, sizeof most, "%d", COUNTED + 1);
	if ((l.waiting = session_exec(s, err, sqltext("ctl", "waiting"), 1, (const char *const[]){ most })) != NULL
	    && (l.running = session_exec(s, err, sqltext("ctl", "running_queues"), 0, NULL)) != NULL
	    && (l.workers = session_exec(s, err, sqltext("ctl", "workers"), 0, NULL)) != NULL) {
		find_others(t, l.waiting);
		find_others(t, l.running);
		document = document_of(t, &l);
	}
	json_decref(l.stuck);
	json_decref(l.alive);
	PQclear(l.waiting);
	PQclear(l.running);
	PQclear(l.workers);
	if (err->kind == ERR_NONE)
		return document;
	json_decref(document);
	return NULL;
}
