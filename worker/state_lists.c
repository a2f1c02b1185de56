/*
 * state_lists.c - see state_lists.h.
 */
#include "state_lists.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "view_queues.h"

#define TEXT_MAX 4000
#define LIST_MAX 20			/* of failures and of late results */
#define RUNNING_MAX 1000		/* of our own jobs: a pipeline may hold many more */

/* ---- values ---- */

json_t *state_string(const char *text)
{
	struct buf clean = BUF_INIT;
	json_t *value;

	if (text == NULL)
		return json_null();
	utf8_clean(&clean, text, strlen(text), TEXT_MAX);
	value = json_string(buf_text(&clean));
	buf_release(&clean);
	return value;
}

static json_t *number_or_null(int64_t n)
{
	return n == UNKNOWN ? json_null() : json_integer((json_int_t)n);
}

static json_t *seconds_or_null(double seconds)
{
	return isnan(seconds) ? json_null() : json_real(seconds);
}

/* How a column of a statement is told. */
enum as { AS_TEXT, AS_NUMBER, AS_REAL, AS_BOOL };

struct column {
	const char *name;
	enum as as;
};

static json_t *column_json(const PGresult *rows, int row, const struct column *c)
{
	const char *text = view_text(rows, row, c->name);

	if (text == NULL)
		return json_null();
	switch (c->as) {
	case AS_TEXT:   return state_string(text);
	case AS_NUMBER: return json_integer(strtoll(text, NULL, 10));
	case AS_REAL:   return json_real(strtod(text, NULL));
	case AS_BOOL:   return json_boolean(text[0] == 't');
	}
	return json_null();
}

/* A row as an object; queue: of a part that is about one. */
static json_t *row_json(const struct view_part *p, int row, const struct column *columns, size_t len)
{
	json_t *doc = json_object();

	if (p->queue != NULL)
		json_object_set_new(doc, "queue", state_string(p->queue));
	for (size_t i = 0; i < len; i++)
		if (p->queue == NULL || strcmp(columns[i].name, "queue") != 0)
			json_object_set_new(doc, columns[i].name, column_json(p->rows, row, &columns[i]));
	return doc;
}

/* All rows of all parts of a kind. */
static json_t *list_json(const struct view *v, enum view_list list, const struct column *columns, size_t len)
{
	json_t *docs = json_array();
	const struct view_part *parts;
	size_t n;

	parts = view_parts(v, &n);
	for (size_t i = 0; i < n; i++)
		for (int row = 0; parts[i].list == list && parts[i].rows != NULL && row < PQntuples(parts[i].rows); row++)
			json_array_append_new(docs, row_json(&parts[i], row, columns, len));
	return docs;
}

static void shorten(json_t *list, size_t most)
{
	while (json_array_size(list) > most)
		json_array_remove(list, json_array_size(list) - 1);
}

/* ---- queues ---- */

static const struct view_queue *find_view(const struct view *v, const char *name)
{
	const struct view_queue *queues;
	size_t len;

	queues = view_queues(v, &len);
	for (size_t i = 0; i < len; i++)
		if (strcmp(queues[i].name, name) == 0)
			return &queues[i];
	return NULL;
}

static json_t *depth_json(const struct view_queue *q)
{
	json_t *doc = json_object();

	for (enum depth d = 0; d < DEPTHS; d++)
		json_object_set_new(doc, depth_name[d], q != NULL ? number_or_null(q->depth[d]) : json_null());
	return doc;
}

static json_t *numbers_json(const struct view_queue *q)
{
	static const struct view_queue nothing = {
		.ready = UNKNOWN, .later = UNKNOWN, .stuck = UNKNOWN, .late = UNKNOWN, .workers = UNKNOWN,
	};
	const struct view_queue *n = q != NULL ? q : &nothing;

	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "depth", depth_json(q), "ready", number_or_null(n->ready),
		"later", number_or_null(n->later), "oldest_pending_age_s", seconds_or_null(q != NULL ? q->oldest_pending : NAN),
		"oldest_processing_age_s", seconds_or_null(q != NULL ? q->oldest_processing : NAN), "stuck", number_or_null(n->stuck),
		"late", number_or_null(n->late), "workers", number_or_null(n->workers), "error", state_string(n->error));
}

static json_t *handler_json(const struct queue *q)
{
	struct buf line = BUF_INIT;
	json_t *handler;

	for (char **word = q->set->handler; *word != NULL; word++)
		buf_addf(&line, "%s%s", line.len != 0 ? " " : "", *word);
	handler = state_string(buf_text(&line));
	buf_release(&line);
	return handler;
}

static bool runs(const struct job *j)
{
	return j->state == JOB_RUNNING || j->state == JOB_HELD;
}

static size_t running_of(const struct worker *w, const char *queue)
{
	const struct job *j;
	size_t n = 0;

	TAILQ_FOREACH(j, &w->jobs, all)
		n += runs(j) && strcmp(j->queue->set->name, queue) == 0;
	return n;
}

static json_t *our_queue(const struct worker *w, const struct view *v, const struct queue *q)
{
	json_t *doc = json_pack("{s:o, s:o, s:s, s:s, s:o, s:I, s:I}", "queue", state_string(q->set->name),
		"table", state_string(q->map.source), "kind", q->map.own ? "own" : "mapped",
		"mode", q->set->mode == MODE_SERVE ? "serve" : "exec", "handler", handler_json(q),
		"concurrency", (json_int_t)(q->set->concurrency != 0 ? q->set->concurrency : w->set->concurrency),
		"running", (json_int_t)running_of(w, q->set->name));

	json_object_update_new(doc, numbers_json(find_view(v, q->set->name)));
	return doc;
}

/* On Unstuck's own table, and not in our settings: perhaps nobody works on it. */
static json_t *other_queue(const struct view_queue *q)
{
	json_t *doc = json_pack("{s:o, s:s, s:s, s:n, s:n, s:n, s:i}", "queue", state_string(q->name), "table", "unstuck.jobs",
	                        "kind", "own", "mode", "handler", "concurrency", "running", 0);

	json_object_update_new(doc, numbers_json(q));
	return doc;
}

static const struct queue *find_ours(const struct worker *w, const char *name)
{
	for (size_t i = 0; i < w->queues_len; i++)
		if (!w->queues[i]->draining && strcmp(w->queues[i]->set->name, name) == 0)
			return w->queues[i];
	return NULL;
}

json_t *state_queues(const struct worker *w, const struct view *v)
{
	const struct view_queue *others;
	json_t *list = json_array();
	size_t len;

	for (size_t i = 0; i < w->queues_len; i++)
		if (!w->queues[i]->draining)
			json_array_append_new(list, our_queue(w, v, w->queues[i]));
	others = view_queues(v, &len);
	for (size_t i = 0; i < len; i++)
		if (find_ours(w, others[i].name) == NULL)
			json_array_append_new(list, other_queue(&others[i]));
	return list;
}

/* ---- workers ---- */

json_t *state_workers(const struct view *v)
{
	static const struct column columns[] = {
		{ "worker_id", AS_TEXT }, { "host", AS_TEXT }, { "pid", AS_NUMBER }, { "version", AS_TEXT }, { "state", AS_TEXT },
		{ "started_at", AS_TEXT }, { "beat_at", AS_TEXT }, { "beat_age_s", AS_REAL }, { "timeout_s", AS_REAL },
		{ "silent", AS_BOOL }, { "running", AS_NUMBER },
	};

	return list_json(v, VIEW_WORKERS, columns, ARRAY_SIZE(columns));
}

/* ---- running jobs ---- */

static json_t *our_job(const struct job *j, usec_t now, usec_t wall)
{
	usec_t started = wall - (now - j->started_at);
	char claim[24], at[WALL_TEXT_MAX], until[WALL_TEXT_MAX];

	snprintf(claim, sizeof claim, "%lld", (long long)j->claim_id);
	return json_pack("{s:o, s:o, s:i, s:s, s:s, s:b, s:o, s:o, s:s, s:f, s:s, s:o}", "queue", state_string(j->queue->set->name),
		"job", state_string(j->id), "attempt", j->attempt, "claim_id", claim, "worker_id", j->worker, "here", 1,
		"pid", j->child != NULL && child_pid(j->child) != 0 ? json_integer(child_pid(j->child)) : json_null(), "handler", handler_json(j->queue),
		"started_at", wall_text(started, at), "age_s", (double)(now - j->started_at) / (double)SEC,
		"deadline", wall_text(started + j->queue->set->timeout, until), "progress", seconds_or_null(j->progress));
}

/* Of another worker: as the database has it. */
static json_t *their_job(const struct worker *w, const struct view_part *p, int row)
{
	static const struct column columns[] = {
		{ "queue", AS_TEXT }, { "job", AS_TEXT }, { "attempt", AS_NUMBER }, { "claim_id", AS_TEXT }, { "worker_id", AS_TEXT },
		{ "started_at", AS_TEXT }, { "age_s", AS_REAL },
	};
	json_t *doc = row_json(p, row, columns, ARRAY_SIZE(columns));
	const char *name = view_text(p->rows, row, "queue"), *age = view_text(p->rows, row, "age_s");
	const struct queue *q = name != NULL ? find_ours(w, name) : NULL;
	json_t *deadline = json_null();
	char text[WALL_TEXT_MAX];

	if (q != NULL && age != NULL)	/* when its queue's settings are like ours */
		deadline = json_string(wall_text(clock_wall() - (usec_t)(fmax(strtod(age, NULL), 0) * (double)SEC) + q->set->timeout, text));
	json_object_update_new(doc, json_pack("{s:b, s:n, s:n, s:o, s:n}", "here", 0, "pid", "handler", "deadline", deadline, "progress"));
	return doc;
}

json_t *state_running(const struct worker *w, const struct view *v)
{
	usec_t now = clock_now(), wall = clock_wall();
	json_t *list = json_array();
	const struct view_part *parts;
	const struct job *j;
	size_t len;

	TAILQ_FOREACH(j, &w->jobs, all)
		if (runs(j) && json_array_size(list) < RUNNING_MAX)
			json_array_append_new(list, our_job(j, now, wall));
	parts = view_parts(v, &len);
	for (size_t i = 0; i < len; i++)
		for (int row = 0; parts[i].list == VIEW_RUNNING && parts[i].rows != NULL && row < PQntuples(parts[i].rows); row++)
			json_array_append_new(list, their_job(w, &parts[i], row));
	return list;
}

/* ---- what went wrong ---- */

json_t *state_stuck(const struct view *v)
{
	static const struct column columns[] = {
		{ "queue", AS_TEXT }, { "job", AS_TEXT }, { "reason", AS_TEXT }, { "since", AS_TEXT }, { "age_s", AS_NUMBER },
		{ "worker_id", AS_TEXT },
	};
	json_t *list = list_json(v, VIEW_STUCK, columns, ARRAY_SIZE(columns));

	shorten(list, 100);
	return list;
}

/* The newest first; a time that is not known comes last. */
static int by_time(const void *a, const void *b)
{
	const char *x = json_string_value(json_object_get(*(json_t *const *)a, "at"));
	const char *y = json_string_value(json_object_get(*(json_t *const *)b, "at"));

	return strcmp(y != NULL ? y : "", x != NULL ? x : "");
}

json_t *state_failures(const struct view *v)
{
	static const struct column columns[] = {
		{ "queue", AS_TEXT }, { "job", AS_TEXT }, { "at", AS_TEXT }, { "attempts", AS_NUMBER }, { "error", AS_TEXT },
	};
	json_t *found = list_json(v, VIEW_FAILURES, columns, ARRAY_SIZE(columns)), *list = json_array();
	size_t n = json_array_size(found);
	json_t **sorted = xcalloc(n + 1, sizeof(json_t *));

	for (size_t i = 0; i < n; i++)
		sorted[i] = json_array_get(found, i);
	qsort(sorted, n, sizeof(json_t *), by_time);
	for (size_t i = 0; i < n && i < LIST_MAX; i++)
		json_array_append(list, sorted[i]);
	free(sorted);
	json_decref(found);
	return list;
}

static json_t *bytes_of(const struct view *v, const char *id)
{
	const struct view_part *parts;
	size_t len;

	parts = view_parts(v, &len);
	for (size_t i = 0; i < len; i++)
		for (int row = 0; parts[i].list == VIEW_LATE_BYTES && parts[i].rows != NULL && row < PQntuples(parts[i].rows); row++)
			if (strcmp(PQgetvalue(parts[i].rows, row, 0), id) == 0)
				return json_integer(strtoll(PQgetvalue(parts[i].rows, row, 1), NULL, 10));
	return json_null();
}

json_t *state_late(const struct view *v)
{
	static const struct column columns[] = {
		{ "id", AS_TEXT }, { "queue", AS_TEXT }, { "job", AS_TEXT }, { "reason", AS_TEXT }, { "received_at", AS_TEXT },
	};
	json_t *list = list_json(v, VIEW_LATE, columns, ARRAY_SIZE(columns)), *doc;
	size_t i;

	json_array_foreach(list, i, doc)
		json_object_set_new(doc, "bytes", bytes_of(v, json_string_value(json_object_get(doc, "id"))));
	return list;
}
