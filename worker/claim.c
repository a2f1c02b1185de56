/*
 * claim.c - when to claim, how many, and turning claimed rows into jobs.
 *
 * Lives here: the batch size, the pause after an empty claim, decoding rows.
 * Not here:   SQL text (sql/), the connection (db.c), running (handler.c).
 */
#include "claim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handler.h"
#include "log.h"
#include "store.h"

#define POLL_JITTER 0.1
#define ERROR_PAUSE (1 * SEC)
#define ERROR_PAUSE_MAX (30 * SEC)

struct claim {			/* one claim under way */
	struct worker *w;
	struct queue *q;
	worker_id id;		/* who asked: we may be somebody else when the answer comes */
};

bool claim_is_open(const struct worker *w)
{
	return w->presence == PRESENT && !w->quiet && !worker_stopping(w) && db_is_ready(w->db);
}

bool claim_is_idle(const struct worker *w)
{
	return w->asked == 0;
}

bool claim_found_nothing(const struct worker *w)
{
	for (size_t i = 0; i < w->queues_len; i++)
		if (!w->queues[i]->empty && !w->queues[i]->draining)
			return false;
	return true;
}

void claim_due(struct queue *q, usec_t at)
{
	q->claim_at = usec_min(q->claim_at, at);
}

void claim_wake(struct worker *w, const char *queue)
{
	for (size_t i = 0; i < w->queues_len; i++) {
		struct queue *q = w->queues[i];

		if (queue != NULL && strcmp(queue, q->set->name) != 0)
			continue;
		if (q->asked != 0)
			q->woken = true;
		else if (q->claim_errors == 0)
			q->claim_at = 0;
	}
}

/* ---- the answer ---- */

static void claim_failed(struct claim *c, const struct db_reply *reply)
{
	struct queue *q = c->q;
	usec_t pause = ERROR_PAUSE << (q->claim_errors < 5 ? q->claim_errors : 5);

	q->claim_errors++;
	q->claim_at = clock_now() + usec_jitter(usec_min(pause, ERROR_PAUSE_MAX), POLL_JITTER);
	if (reply->outcome == DB_REFUSED) {
		char again[USEC_TEXT_MAX];

		log_event(LOG_ERROR, "claim_failed", LS("queue", q->set->name), LS("error", reply->error.text),
		          LS("next", "trying again"), LS("in", usec_text(usec_min(pause, ERROR_PAUSE_MAX), again)));
	} else {
		q->claim_at = 0;	/* the reconnect is the pause; its reconcile finds what this claim took */
		q->claim_errors = 0;
	}
}

static void claim_take_row(struct claim *c, const PGresult *rows, int i)
{
	struct worker *w = c->w;
	struct job *j = job_new(c->q, PQgetvalue(rows, i, 0), strtoll(PQgetvalue(rows, i, 1), NULL, 10), c->id);

	j->attempt = atoi(PQgetvalue(rows, i, 2));
	j->failures = atoi(PQgetvalue(rows, i, 3));
	j->payload_len = (size_t)PQgetlength(rows, i, 4);
	j->payload = xmalloc(j->payload_len + 1);
	memcpy(j->payload, PQgetvalue(rows, i, 4), j->payload_len + 1);

	TAILQ_INSERT_TAIL(&w->jobs, j, all);
	w->jobs_len++;
	c->q->busy++;

	if (worker_stopping(w))
		handler_give_back(w, j, "the worker is stopping");
	else if (c->q->draining)
		handler_give_back(w, j, "its queue has been taken out of the settings, or changed");
	else
		handler_start(w, j);
}

/* A running mean: how long handlers that are faster than the database would have to wait for it. */
static void claim_note_time(struct queue *q, usec_t took)
{
	q->claim_took = q->claim_took == 0 ? took : (7 * q->claim_took + took) / 8;
}

static void claim_answered(void *arg, const struct db_reply *reply)
{
	struct claim *c = arg;
	struct queue *q = c->q;
	uint32_t asked = q->asked;

	c->w->asked -= asked;
	q->asked = 0;
	claim_note_time(q, clock_now() - q->asked_at);
	if (reply->outcome == DB_DONE) {
		const PGresult *rows = reply->results[0];
		int n = PQntuples(rows);

		if (n > 0)
			log_event(LOG_DEBUG, "claimed", LS("queue", q->set->name), LN("jobs", n));
		q->claim_errors = 0;
		q->empty = (uint32_t)n < asked;
		q->claim_at = q->empty && !q->woken
		        ? clock_now() + usec_jitter(c->w->set->poll_interval, POLL_JITTER) : 0;
		for (int i = 0; i < n; i++)
			claim_take_row(c, rows, i);
	} else {
		claim_failed(c, reply);
	}
	q->woken = false;
	free(c);
}

/* ---- the question ---- */

static void claim_send(struct worker *w, struct queue *q, uint32_t n)
{
	struct claim *c = xcalloc(1, sizeof *c);
	struct db_request *r = db_request_new(claim_answered, c);
	char *params[] = { xasprintf("%u", n), xstrdup(w->id) };

	c->w = w;
	c->q = q;
	memcpy(c->id, w->id, sizeof c->id);
	q->asked = n;
	q->asked_at = clock_now();
	q->empty = false;
	w->asked += n;
	db_request_add(r, q->sql[STMT_CLAIM], 2, params, NULL);
	db_send(w->db, r);
}

/* How many more jobs may be taken on: by the handlers of this queue, of --max-jobs. */
static uint32_t claim_room(struct worker *w, struct queue *q)
{
	uint32_t n = handler_room(w, q);
	uint64_t taken = w->count.started + w->asked;

	if (n > q->set->batch)
		n = q->set->batch;
	if (w->max_jobs == 0)
		return n;
	for (size_t i = 0; i < w->queues_len; i++)
		taken += w->queues[i]->waiting;
	if (taken >= w->max_jobs)
		return 0;
	return n < w->max_jobs - taken ? n : (uint32_t)(w->max_jobs - taken);
}

static void claim_set_hungry(struct worker *w, struct queue *q, bool hungry)
{
	if (q->hungry != hungry)
		w->hungry += hungry ? 1 : -1U;
	q->hungry = hungry;
}

usec_t claim_advance(struct worker *w, usec_t now)
{
	usec_t next = USEC_NEVER;

	if (!claim_is_open(w))
		return next;
	for (size_t i = 0; i < w->queues_len; i++) {
		struct queue *q = w->queues[(w->claim_first + i) % w->queues_len];
		uint32_t n;

		if (q->asked != 0 || q->draining)
			continue;
		n = claim_room(w, q);
		claim_set_hungry(w, q, n == 0 && now >= q->claim_at && !handler_has_slot(w, q));
		if (n == 0)
			continue;	/* a job that ends brings us back here */
		if (now < q->claim_at)
			next = usec_min(next, q->claim_at);
		else
			claim_send(w, q, n);
	}
	if (++w->claim_first >= w->queues_len)
		w->claim_first = 0;
	return next;
}
