/*
 * adoption.c - see adoption.h. One queue at a time: list, then a transaction for each that was listed.
 *
 * Not here: storing late results (store.c), the rules (sql/).
 */
#include "adoption.h"

#include <stdlib.h>
#include <string.h>

#include "adopt.h"
#include "log.h"
#include "on_success.h"

#define LISTED 10			/* at a time: a row may hold a whole result */
#define REST (1 * SEC)			/* between two looks at a queue, however many runs fail */

struct look {				/* at one queue */
	struct worker *w;
	struct queue *q;
	char *behind;			/* the last late result of the list before */
	bool full;			/* there may be more behind it */
	size_t under_way;		/* requests of this list */
};

struct adopting {			/* one late result */
	struct look *look;
	char *late, *job;
};

static void look_list(struct look *l);

void adoption_due(struct queue *q)
{
	q->adoption_due = true;
}

void adoption_due_all(struct worker *w)
{
	for (size_t i = 0; i < w->queues_len; i++)
		adoption_due(w->queues[i]);
}

static bool look_may_go_on(const struct look *l)
{
	return db_is_ready(l->w->db) && !worker_stopping(l->w) && !l->q->drained;
}

static void look_over(struct look *l)
{
	l->w->adopting = false;
	l->q->adopt_at = clock_now() + REST;
	free(l->behind);
	free(l);
}

static void look_next(struct look *l)
{
	if (l->under_way != 0)
		return;
	if (l->full && look_may_go_on(l))
		look_list(l);
	else
		look_over(l);
}

/* ---- one ---- */

static void adopting_free(struct adopting *a)
{
	free(a->late);
	free(a->job);
	free(a);
}

static void spoiled(void *arg, const struct db_reply *reply)
{
	(void)arg, (void)reply;		/* else the next look finds it again */
}

/* It is no result after all: nobody tries it again unasked. */
static void spoil(struct adopting *a, const char *error)
{
	struct queue *q = a->look->q;
	struct db_request *r;
	char *params[] = { NULL };

	log_event(LOG_WARNING, "late_refused", LS("queue", q->set->name), LS("job", a->job), LS("late", a->late), LS("error", error),
	          LS("next", "its bytes stay in unstuck.late_results"));
	if (!db_is_ready(q->worker->db))
		return;
	params[0] = xstrdup(a->late);
	r = db_request_new(spoiled, NULL);
	db_request_add(r, q->sql[STMT_SPOIL], 1, params, NULL);
	db_send(q->worker->db, r);
}

/* The fence of a queue with on_success is an error, of one without an empty answer: then the job is not in such a state. */
static bool was_adopted(const struct queue *q, const struct db_reply *reply)
{
	return reply->outcome == DB_DONE && (q->on_success != NULL || PQntuples(reply->results[0]) != 0);
}

static bool was_fenced(const struct queue *q, const struct db_reply *reply)
{
	return reply->outcome == DB_DONE
	       || (q->on_success != NULL && reply->failed == 1 && strcmp(reply->error.sqlstate, "22012") == 0);
}

static void adopting_answered(void *arg, const struct db_reply *reply)
{
	struct adopting *a = arg;
	struct look *l = a->look;

	if (was_adopted(l->q, reply))
		log_event(LOG_INFO, "late_adopted", LS("queue", l->q->set->name), LS("job", a->job), LS("late", a->late));
	else if (reply->outcome == DB_LOST)
		adoption_due(l->q);		/* whether it was or not: a second try changes nothing */
	else if (!was_fenced(l->q, reply) && adopt_is_refusal(reply->error.sqlstate))
		spoil(a, reply->error.text);
	else if (!was_fenced(l->q, reply))
		log_event(LOG_WARNING, "adopt_failed", LS("queue", l->q->set->name), LS("job", a->job), LS("late", a->late),
		          LS("error", reply->error.text), LS("next", "again when recover_every comes round"));
	adopting_free(a);
	l->under_way--;
	look_next(l);
}

/* The bytes as text for $2 of on_success. NULL: they hold a NUL. */
static char *text_of(const char *hex)
{
	size_t len;
	unsigned char *bytes = PQunescapeBytea((const unsigned char *)hex, &len);
	char *text = bytes != NULL && memchr(bytes, '\0', len) == NULL ? xstrndup((const char *)bytes, len) : NULL;

	PQfreemem(bytes);
	return text;
}

static void adopt_with_statement(struct adopting *a, struct db_request *r, char **params, char *result)
{
	const struct queue *q = a->look->q;
	const Oid types[] = { q->map.id_type_oid, JSONB_OID };
	char *of_user[] = { xstrdup(a->job), result };

	db_request_add(r, "BEGIN", 0, NULL, NULL);
	db_request_add(r, q->sql[STMT_ADOPT_ALL], 2, params, NULL);
	db_request_add(r, q->on_success, 2, of_user, types);
	db_request_add(r, "COMMIT", 0, NULL, NULL);
}

static void adopt_send(struct look *l, const PGresult *rows, int row)
{
	struct adopting *a = xcalloc(1, sizeof *a);
	char *params[] = { NULL, NULL }, *result = NULL;
	struct db_request *r;

	a->look = l;
	a->late = xstrdup(PQgetvalue(rows, row, 0));
	a->job = xstrdup(PQgetvalue(rows, row, 1));
	if (l->q->on_success != NULL && (result = text_of(PQgetvalue(rows, row, 3))) == NULL) {
		spoil(a, "the bytes hold a NUL; JSON text was expected");
		adopting_free(a);
		return;
	}
	params[0] = xstrdup(a->late);
	params[1] = xstrdup("f");
	r = db_request_new(adopting_answered, a);
	if (result != NULL)
		adopt_with_statement(a, r, params, result);
	else
		db_request_add(r, l->q->sql[STMT_ADOPT], 2, params, NULL);
	l->under_way++;
	db_send(l->w->db, r);
}

/* ---- a queue ---- */

static void look_listed(void *arg, const struct db_reply *reply)
{
	struct look *l = arg;
	int n = 0;

	if (reply->outcome == DB_REFUSED)
		log_event(LOG_WARNING, "adopt_failed", LS("queue", l->q->set->name), LS("error", reply->error.text),
		          LS("next", "again when recover_every comes round"));
	else if (reply->outcome == DB_LOST)
		adoption_due(l->q);
	else if (look_may_go_on(l))
		n = PQntuples(reply->results[0]);
	l->full = n == LISTED;
	if (n != 0) {
		free(l->behind);
		l->behind = xstrdup(PQgetvalue(reply->results[0], n - 1, 0));
	}
	l->under_way = 1;	/* this one: an answer may come before the last is sent */
	for (int i = 0; i < n; i++)
		adopt_send(l, reply->results[0], i);
	l->under_way--;
	look_next(l);
}

static void look_list(struct look *l)
{
	struct db_request *r = db_request_new(look_listed, l);
	char *params[] = { xstrdup(l->behind), xasprintf("%d", LISTED) };

	db_request_add(r, l->q->sql[STMT_ADOPTABLE], 2, params, NULL);
	db_send(l->w->db, r);
}

/* NULL: none yet, *next is when. */
static struct queue *queue_that_is_due(const struct worker *w, usec_t now, usec_t *next)
{
	*next = USEC_NEVER;
	for (size_t i = 0; i < w->queues_len; i++) {
		struct queue *q = w->queues[i];

		if (!q->adoption_due || q->drained)
			continue;
		if (now >= q->adopt_at)
			return q;
		*next = usec_min(*next, q->adopt_at);
	}
	return NULL;
}

usec_t adoption_advance(struct worker *w, usec_t now)
{
	struct queue *q;
	struct look *l;
	usec_t next;

	if (w->adopting || w->presence != PRESENT || worker_stopping(w) || !db_is_ready(w->db))
		return USEC_NEVER;
	q = queue_that_is_due(w, now, &next);
	if (q == NULL)
		return next;
	l = xcalloc(1, sizeof *l);
	l->w = w;
	l->q = q;
	l->behind = xstrdup("0");
	q->adoption_due = false;
	w->adopting = true;
	look_list(l);
	return USEC_NEVER;
}
