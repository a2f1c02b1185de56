/*
 * view_queues.c - see view_queues.h.
 */
#include "view_queues.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const depth_name[DEPTHS] = {
	[DEPTH_PENDING] = "PENDING", [DEPTH_PROCESSING] = "PROCESSING", [DEPTH_COMPLETED] = "COMPLETED",
	[DEPTH_FAILED] = "FAILED", [DEPTH_CANCELLED] = "CANCELLED",
};

struct list {
	struct view_queue *v;
	size_t len;
};

const char *view_text(const PGresult *rows, int row, const char *column)
{
	int c = PQfnumber(rows, column);

	return c < 0 || PQgetisnull(rows, row, c) ? NULL : PQgetvalue(rows, row, c);
}

static int64_t number(const PGresult *rows, int row, const char *column)
{
	const char *text = view_text(rows, row, column);

	return text != NULL ? strtoll(text, NULL, 10) : UNKNOWN;
}

/* Clocks of an application may be ahead of the server's. */
static double age(const PGresult *rows, int row, const char *column)
{
	const char *text = view_text(rows, row, column);
	double seconds = text != NULL ? strtod(text, NULL) : NAN;

	return seconds < 0 ? 0 : seconds;
}

static struct view_queue *queue_of(struct list *l, const char *name)
{
	for (size_t i = 0; i < l->len; i++)
		if (strcmp(l->v[i].name, name) == 0)
			return &l->v[i];
	l->v = xrealloc(l->v, (l->len + 1) * sizeof *l->v);
	l->v[l->len] = (struct view_queue){
		.name = xstrdup(name), .ready = UNKNOWN, .later = UNKNOWN, .stuck = UNKNOWN, .late = UNKNOWN, .workers = UNKNOWN,
		.oldest_pending = NAN, .oldest_processing = NAN,
	};
	for (enum depth d = 0; d < DEPTHS; d++)
		l->v[l->len].depth[d] = UNKNOWN;
	return &l->v[l->len++];
}

/* ---- one statement after the other ---- */

/* Of a queue that a part is about or whose name is in the row. */
static struct view_queue *queue_at(struct list *l, const struct view_part *p, int row)
{
	const char *name = p->queue != NULL ? p->queue : view_text(p->rows, row, "queue");

	return queue_of(l, name != NULL ? name : "");
}

static void take_count(struct list *l, const struct view_part *p, int row)
{
	struct view_queue *q = queue_at(l, p, row);
	const char *status = view_text(p->rows, row, "status");

	for (enum depth d = 0; d < DEPTHS; d++)
		if (status != NULL && strcmp(status, depth_name[d]) == 0)
			q->depth[d] = number(p->rows, row, "n");
}

/* Exact up to VIEW_ROWS; from there on the estimate, which is never less. */
static void take_exact(int64_t *depth, int64_t n)
{
	if (n < VIEW_ROWS || *depth < n)
		*depth = n;
}

static void take_open(struct list *l, const struct view_part *p, int row)
{
	struct view_queue *q = queue_at(l, p, row);
	int64_t n = number(p->rows, row, "pending");

	take_exact(&q->depth[DEPTH_PENDING], n);
	take_exact(&q->depth[DEPTH_PROCESSING], number(p->rows, row, "processing"));
	q->ready = number(p->rows, row, "ready");
	q->later = number(p->rows, row, "later");
	if (n != 0 && n < q->depth[DEPTH_PENDING] && q->later != UNKNOWN) {	/* in the same proportion */
		q->ready = (int64_t)((double)q->depth[DEPTH_PENDING] * (double)q->ready / (double)n);
		q->later = q->depth[DEPTH_PENDING] - q->ready;
	}
	q->oldest_pending = age(p->rows, row, "oldest_pending");
	q->oldest_processing = age(p->rows, row, "oldest_processing");
	q->workers = number(p->rows, row, "workers");
}

static void take_stuck(struct list *l, const struct view_part *p, int row)
{
	queue_at(l, p, row)->stuck = number(p->rows, row, "n");
}

static void take_late(struct list *l, const struct view_part *p, int row)
{
	queue_at(l, p, row)->late = number(p->rows, row, "n");
}

static void (*const takers[VIEW_LISTS])(struct list *l, const struct view_part *p, int row) = {
	[VIEW_COUNTS] = take_count, [VIEW_OPEN] = take_open, [VIEW_STUCK] = take_stuck, [VIEW_LATE_COUNTS] = take_late,
};

/* ---- what no row says ---- */

static void zero(int64_t *n)
{
	if (*n == UNKNOWN)
		*n = 0;
}

/* A mapped queue has a statement of its own. */
static bool has_own(const struct view_part *parts, size_t len, enum view_list list, const char *queue)
{
	for (size_t i = 0; i < len; i++)
		if (parts[i].list == list && parts[i].queue != NULL && strcmp(parts[i].queue, queue) == 0)
			return true;
	return false;
}

/* A status that nobody has is 0 where its statement was answered. */
static void fill_zeros(struct list *l, const struct view_part *parts, size_t len, const struct view_part *p)
{
	for (size_t i = 0; i < l->len; i++) {
		struct view_queue *q = &l->v[i];

		if (p->queue != NULL ? strcmp(p->queue, q->name) != 0 : has_own(parts, len, p->list, q->name))
			continue;
		if (p->list == VIEW_COUNTS)
			for (enum depth d = 0; d < DEPTHS; d++)
				zero(&q->depth[d]);
		else if (p->list == VIEW_STUCK)
			zero(&q->stuck);
		else if (p->list == VIEW_LATE_COUNTS)
			zero(&q->late);
	}
}

static void note_error(struct list *l, const struct view_part *p)
{
	if (p->queue != NULL && p->error != NULL)
		queue_of(l, p->queue)->error = p->error;
}

struct view_queue *view_queues_new(const struct view_part *parts, size_t len, size_t *queues_len)
{
	struct list l = { NULL, 0 };

	for (size_t i = 0; i < len; i++) {
		note_error(&l, &parts[i]);
		for (int row = 0; takers[parts[i].list] != NULL && parts[i].rows != NULL && row < PQntuples(parts[i].rows); row++)
			takers[parts[i].list](&l, &parts[i], row);
	}
	for (size_t i = 0; i < len; i++)
		if (parts[i].rows != NULL)
			fill_zeros(&l, parts, len, &parts[i]);
	*queues_len = l.len;
	return l.v;
}

void view_queues_free(struct view_queue *queues, size_t len)
{
	for (size_t i = 0; i < len; i++)
		free(queues[i].name);
	free(queues);
}
