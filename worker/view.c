/*
 * view.c - see view.h.
 *
 * A reading is a list of parts, one statement each, every one a transaction of its own: one that is refused (no
 * permission, out of time) leaves the others alone. They are all sent at once; the last answer ends the reading.
 */
#include "view.h"

#include <stdlib.h>
#include <string.h>

#include "sqltext.h"
#include "view_queues.h"

#define STATEMENT_TIME "1s"
#define IDLE_CLOSE MINUTE		/* nobody asked for so long: no connection */
#define REST 9				/* times as long as a reading took is rested after it ... */
#define REST_MAX (10 * SEC)		/* ... at most */
#define SLOW_REST (5 * MINUTE)		/* for the statement of a queue that ran out of time */
#define LIST_MAX "200"
#define STUCK_MAX "100"
#define STUCK_COUNT_MAX "10000"

struct reading {
	struct view_part *parts;
	size_t len;
	char **sql;			/* of each part; NULL: not ours */
	size_t left;			/* unanswered */
};

struct slow {				/* a queue's statement that ran out of time */
	LIST_ENTRY(slow) link;
	char *queue;
	enum view_list list;
	char *error;
	usec_t until;
};

struct view {
	struct worker *w;
	struct db *db;			/* NULL: nobody has asked for a while */
	usec_t asked_at;
	bool wanted;			/* a reading is to begin as soon as it can */
	bool stopped;
	struct reading now;		/* under way */
	usec_t began_at, next_at;

	struct reading last;		/* what is told */
	usec_t at, wall;
	char *error;
	struct view_queue *queues;
	size_t queues_len;
	LIST_HEAD(, slow) slow;
};

/* One part while its request is under way. */
struct question {
	struct view *v;
	size_t part;
};

/* ---- readings ---- */

static void reading_release(struct reading *r)
{
	for (size_t i = 0; i < r->len; i++) {
		free(r->parts[i].queue);
		free(r->parts[i].error);
		PQclear(r->parts[i].rows);
		free(r->sql[i]);
	}
	free(r->parts);
	free(r->sql);
	*r = (struct reading){ .len = 0 };
}

static struct view_part *reading_add(struct reading *r, enum view_list list, const char *queue)
{
	r->parts = xrealloc(r->parts, (r->len + 1) * sizeof *r->parts);
	r->sql = xrealloc(r->sql, (r->len + 1) * sizeof *r->sql);
	r->parts[r->len] = (struct view_part){ .list = list, .queue = queue != NULL ? xstrdup(queue) : NULL };
	r->sql[r->len] = NULL;
	return &r->parts[r->len++];
}

static void set_error(struct view *v, const char *text)
{
	free(v->error);
	v->error = text != NULL ? xstrdup(text) : NULL;
}

/* The first part that is about all queues and could not be read. That the bytes are not ours to read is no error. */
static const char *first_error(const struct reading *r)
{
	for (size_t i = 0; i < r->len; i++)
		if (r->parts[i].error != NULL && r->parts[i].queue == NULL && r->parts[i].list != VIEW_LATE_BYTES)
			return r->parts[i].error;
	return NULL;
}

static void reading_over(struct view *v)
{
	usec_t now = clock_now();

	view_queues_free(v->queues, v->queues_len);
	reading_release(&v->last);
	v->last = v->now;
	v->now = (struct reading){ .len = 0 };
	v->at = now;
	v->wall = clock_wall();
	v->next_at = now + VIEW_FRESH;
	if (REST * (now - v->began_at) > VIEW_FRESH)
		v->next_at = now + usec_min(REST * (now - v->began_at), REST_MAX);
	v->queues = view_queues_new(v->last.parts, v->last.len, &v->queues_len);
	set_error(v, first_error(&v->last));
}

/* The connection went away: what was read before stays what is told. */
static void reading_lost(struct view *v, const char *why)
{
	reading_release(&v->now);
	v->wanted = false;
	v->next_at = clock_now() + VIEW_FRESH;
	set_error(v, why);
}

/* ---- statements that run out of time: not again at once ---- */

static struct slow *find_slow(const struct view *v, enum view_list list, const char *queue)
{
	struct slow *s;

	LIST_FOREACH(s, &v->slow, link)
		if (s->list == list && strcmp(s->queue, queue) == 0)
			return s;
	return NULL;
}

static void note_slow(struct view *v, const struct view_part *p)
{
	struct slow *s = find_slow(v, p->list, p->queue);

	if (s == NULL) {
		s = xcalloc(1, sizeof *s);
		s->list = p->list;
		s->queue = xstrdup(p->queue);
		LIST_INSERT_HEAD(&v->slow, s, link);
	}
	free(s->error);
	s->error = xstrdup(p->error);
	s->until = clock_now() + SLOW_REST;
}

/* ---- answers ---- */

static void on_answer(void *arg, const struct db_reply *reply)
{
	struct question *k = arg;
	struct view *v = k->v;
	struct view_part *p = &v->now.parts[k->part];

	if (reply->outcome == DB_DONE) {
		p->rows = PQcopyResult(reply->results[reply->len - 1], PG_COPYRES_ATTRS | PG_COPYRES_TUPLES);
	} else {
		p->error = xstrdup(reply->error.text);
		if (p->queue != NULL && strcmp(reply->error.sqlstate, "57014") == 0)
			note_slow(v, p);
	}
	free(k);
	if (--v->now.left != 0)
		return;
	if (reply->outcome == DB_LOST)
		reading_lost(v, reply->error.text);
	else
		reading_over(v);
	worker_changed(v->w);
}

/* ---- questions ---- */

/* params as for db_request_add(). Takes sql when it is the reading's own. */
static void ask(struct view *v, enum view_list list, const char *queue, const char *text, char *sql, int n, char **params)
{
	struct slow *slow = queue != NULL ? find_slow(v, list, queue) : NULL;
	struct view_part *p = reading_add(&v->now, list, queue);
	struct question *k;
	struct db_request *r;
	char *limit[] = { NULL };

	v->now.sql[v->now.len - 1] = sql;
	if (slow != NULL && clock_now() < slow->until) {
		p->error = xstrdup(slow->error);
		for (int i = 0; i < n; i++)
			free(params[i]);
		return;
	}
	limit[0] = xstrdup(STATEMENT_TIME);
	k = xmalloc(sizeof *k);
	*k = (struct question){ v, v->now.len - 1 };
	r = db_request_new(on_answer, k);
	db_request_add(r, sqltext("view", "limits"), 1, limit, NULL);
	db_request_add(r, text != NULL ? text : sql, n, params, NULL);
	v->now.left++;
	db_send(v->db, r);
}

static char *count(unsigned long n)
{
	return xasprintf("%lu", n);
}

static void ask_one(struct view *v, enum view_list list, const char *section, char *param)
{
	ask(v, list, NULL, sqltext("view", section), NULL, 1, &param);
}

static char *with_held(const char *section)
{
	return xasprintf("%s%s", sqltext("view", "held"), sqltext("view", section));
}

static void ask_all(struct view *v)
{
	struct worker *w = v->w;
	struct buf names = BUF_INIT;
	char *open[2], *running[] = { xstrdup(w->id), xstrdup(LIST_MAX) }, *workers[] = { xstrdup(LIST_MAX) };

	array_begin(&names);
	for (size_t i = 0; i < w->queues_len; i++)
		if (w->queues[i]->map.own && !w->queues[i]->draining)
			array_add(&names, w->queues[i]->set->name, strlen(w->queues[i]->set->name));
	array_end(&names);
	open[0] = buf_give(&names);
	open[1] = count(VIEW_ROWS);
	ask_one(v, VIEW_COUNTS, "counts", count(VIEW_PAGES));	/* before what is exact */
	ask(v, VIEW_OPEN, NULL, sqltext("view", "open"), NULL, 2, open);
	ask(v, VIEW_RUNNING, NULL, NULL, with_held("running"), 2, running);
	ask(v, VIEW_WORKERS, NULL, NULL, with_held("workers"), 1, workers);
	ask_one(v, VIEW_FAILURES, "failures", count(VIEW_NEWEST));
	ask_one(v, VIEW_LATE, "late", count(VIEW_NEWEST));
	ask_one(v, VIEW_LATE_COUNTS, "late_counts", count(VIEW_NEWEST));
	ask_one(v, VIEW_LATE_BYTES, "late_bytes", count(VIEW_NEWEST));
}

static void ask_section(struct view *v, struct queue *q, enum view_list list, const char *section, unsigned long limit)
{
	struct error err = ERROR_INIT;
	char *sql = mapping_section(&q->map, section, &err), *param;

	if (sql == NULL) {
		reading_add(&v->now, list, q->set->name)->error = xstrdup(err.text);
		return;
	}
	param = count(limit);
	ask(v, list, q->set->name, NULL, sql, 1, &param);
}

static void ask_stuck(struct view *v, struct queue *q)
{
	usec_t timeout = q->set->timeout_set ? q->set->timeout : v->w->set->recover_timeout;
	char *params[] = {
		xasprintf("%.3f", (double)timeout / (double)SEC), xstrdup("f"), xstrdup("f"), xstrdup(STUCK_COUNT_MAX), xstrdup("0"),
		count(v->w->set->max_recoveries),
	};

	ask(v, VIEW_STUCK, q->set->name, NULL,
	    xasprintf("%s%s\n) AS s ORDER BY s.age_s DESC NULLS LAST LIMIT " STUCK_MAX, sqltext("view", "stuck"), q->sql[STMT_STUCK]), 6, params);
}

static void ask_queue(struct view *v, struct queue *q)
{
	if (!q->map.own) {
		ask_section(v, q, VIEW_COUNTS, "view_counts", VIEW_PAGES);
		ask_section(v, q, VIEW_OPEN, "view_open", VIEW_ROWS);
		ask_section(v, q, VIEW_FAILURES, "view_failures", VIEW_NEWEST);
	}
	ask_stuck(v, q);
}

static void read_all(struct view *v, usec_t now)
{
	v->wanted = false;
	v->began_at = now;
	ask_all(v);
	for (size_t i = 0; i < v->w->queues_len; i++)
		if (!v->w->queues[i]->draining)
			ask_queue(v, v->w->queues[i]);
}

/* ---- the connection ---- */

static void on_lost(void *arg, const struct error *why, usec_t retry_in)
{
	struct view *v = arg;

	(void)retry_in;
	if (v->wanted)
		reading_lost(v, why->text);
	else
		set_error(v, why->text);	/* until the next reading */
}

static void on_notified(void *arg, const char *channel, const char *payload)
{
	(void)arg, (void)channel, (void)payload;
}

static void on_changed(void *arg)
{
	worker_changed(((struct view *)arg)->w);
}

static void connect_to(struct view *v)
{
	static const struct db_events events = { .ready = on_changed, .lost = on_lost, .notified = on_notified, .changed = on_changed };

	v->db = db_new(v->w->base, v->w->set->database_url, "unstuck-worker view", NULL, &events, v);
	db_set_longest_pause(v->db, VIEW_FRESH);
}

static void disconnect(struct view *v)
{
	if (v->db == NULL)
		return;
	db_free(v->db);			/* what is unanswered is answered now */
	v->db = NULL;
}

/* ---- asking ---- */

bool view_is_reading(const struct view *v)
{
	return v->wanted || v->now.left != 0;
}

bool view_ask(struct view *v)
{
	usec_t now = clock_now();

	if (v->stopped)
		return false;
	v->asked_at = now;
	if (!view_is_reading(v) && now >= v->next_at)
		v->wanted = true;
	return view_is_reading(v);
}

usec_t view_advance(struct view *v, usec_t now)
{
	usec_t next = USEC_NEVER;

	if (v->stopped)
		return next;
	if (v->wanted && v->db == NULL)
		connect_to(v);
	if (v->db == NULL)
		return next;
	if (!view_is_reading(v) && now >= v->asked_at + IDLE_CLOSE) {
		disconnect(v);
		return next;
	}
	next = usec_min(db_advance(v->db, now), v->asked_at + IDLE_CLOSE);
	if (v->wanted && db_is_ready(v->db))
		read_all(v, now);
	return next;
}

/* ---- what was read ---- */

usec_t view_at(const struct view *v)
{
	return v->at;
}

usec_t view_wall(const struct view *v)
{
	return v->wall;
}

const char *view_error(const struct view *v)
{
	return v->error;
}

const struct view_part *view_parts(const struct view *v, size_t *len)
{
	*len = v->last.len;
	return v->last.parts;
}

const struct view_queue *view_queues(const struct view *v, size_t *len)
{
	*len = v->queues_len;
	return v->queues;
}

/* ---- life ---- */

struct view *view_new(struct worker *w)
{
	struct view *v = xcalloc(1, sizeof *v);

	v->w = w;
	LIST_INIT(&v->slow);
	return v;
}

void view_stop(struct view *v)
{
	v->stopped = true;
	disconnect(v);
	v->wanted = false;
}

void view_free(struct view *v)
{
	struct slow *s;

	if (v == NULL)
		return;
	view_stop(v);
	reading_release(&v->now);
	reading_release(&v->last);
	view_queues_free(v->queues, v->queues_len);
	while ((s = LIST_FIRST(&v->slow)) != NULL) {
		LIST_REMOVE(s, link);
		free(s->queue);
		free(s->error);
		free(s);
	}
	free(v->error);
	free(v);
}
