/*
 * view.h - what the database knows of all queues, workers and jobs, for people and monitoring.
 *
 * Read over a connection of its own, so that no claim ever waits for it; only while somebody asks, and never more
 * often than VIEW_FRESH; each statement short of time, so that a slow one costs its own answer only. What was read
 * is kept, with its age, until the next time.
 *
 *   nobody asks: no connection --ask--> connecting --> reading --> fresh --VIEW_FRESH--> stale --ask--> reading
 *
 * Not here: what is made of it (view_queues.c, state.c, metrics_text.c).
 */
#ifndef VIEW_H
#define VIEW_H

#include <libpq-fe.h>
#include "worker.h"

#define VIEW_FRESH (2 * SEC)
#define VIEW_ROWS 10000		/* unfinished rows counted of a queue and status; beyond that an estimate */
#define VIEW_PAGES 1000		/* pages of a table counted; beyond that all is an estimate */
#define VIEW_NEWEST 10000	/* the newest rows, that failures and late results are looked for in */

/* The statements: their columns are told in sql/view.sql and queue_mapped.sql. */
enum view_list {
	VIEW_COUNTS, VIEW_OPEN, VIEW_STUCK, VIEW_RUNNING, VIEW_WORKERS, VIEW_FAILURES, VIEW_LATE, VIEW_LATE_COUNTS,
	VIEW_LATE_BYTES, VIEW_LISTS
};

struct view_part {		/* one statement's answer */
	enum view_list list;
	char *queue;		/* that it is about; NULL: all */
	PGresult *rows;		/* NULL: none, and error says why */
	char *error;
};

struct view;
struct view_queue;

struct view *view_new(struct worker *w);
void view_free(struct view *v);
/* Somebody wants to know. true: what there is is not fresh, and a new reading is under way. */
bool view_ask(struct view *v);
bool view_is_reading(const struct view *v);
usec_t view_advance(struct view *v, usec_t now);
void view_stop(struct view *v);		/* the connection is closed, nothing is read any more */

/* ---- what was read last. All borrowed, until the next view_advance() ---- */

usec_t view_at(const struct view *v);		/* clock_now() of it; 0: never */
usec_t view_wall(const struct view *v);		/* the wall clock of it */
const char *view_error(const struct view *v);	/* why the last try read nothing, or not all of it; NULL */
const struct view_part *view_parts(const struct view *v, size_t *len);
const struct view_queue *view_queues(const struct view *v, size_t *len);	/* view_queues.h */

#endif
