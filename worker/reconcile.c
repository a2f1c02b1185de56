/*
 * reconcile.c - what the database says we hold against what we know.
 *
 * The question and all claims travel on one connection in order; results may travel on another (lanes.h), so they
 * overtake both. What holds when the answer is here:
 *
 * - Every claim sent before the question is known to us, and none that was sent behind it. So a job that is in hand was
 *   claimed before the question. Its result has not been sent, on either connection: what is sent is JOB_ENDED, and that
 *   is never in doubt. So when it is not in the answer, it is not ours any more, and classify says why.
 * - A row of the answer that we do not know is one of two. The reply of its claim was lost: it is given back. Or its
 *   result was settled on the other connection after the answer was read and before it came: its row is not PROCESSING
 *   any more, or has a claim id that was given later. Then the release, which is fenced by both, changes nothing.
 * - Nor can an answer of classify meet a later run of the same job: the reply of that claim comes behind it.
 */
#include "reconcile.h"

#include <stdlib.h>
#include <string.h>

#include "failpoint.h"
#include "handler.h"
#include "log.h"
#include "metrics.h"

struct question {
	struct worker *w;
	struct queue *q;
	worker_id id;
};

/* Its handler is not over, or has not begun. */
static bool is_in_hand(const struct job *j)
{
	return j->state == JOB_RUNNING || j->state == JOB_CLAIMED;
}

/* ---- unknown rows: give them back ---- */

static void unknown_released(void *arg, const struct db_reply *reply)
{
	struct queue *q = arg;

	if (reply->outcome != DB_DONE)
		return;		/* the next beat finds them again */
	for (int i = 0; i < PQntuples(reply->results[0]); i++) {
		q->worker->count.released++;
		log_event(LOG_WARNING, "job_released", LS("queue", q->set->name),
		          LS("job", PQgetvalue(reply->results[0], i, 0)), LS("started", "no"),
		          LS("why", "the reply of its claim was lost"));
	}
	q->claim_at = 0;
	q->empty = q->unsure = false;
}

static void unknown_release(struct question *k, struct buf *ids, struct buf *claims, struct buf *started)
{
	struct db_request *r = db_request_new(unknown_released, k->q);
	char *params[] = { buf_give(ids), buf_give(claims), xstrdup(k->id), buf_give(started) };

	db_request_add(r, k->q->sql[STMT_RELEASE], 4, params, NULL);
	db_send(k->w->db, r);
}

/* ---- rows that we work on and do not hold: ask about them ---- */

static struct job *find_asked(const struct question *k, const char *id)
{
	struct job *j;

	TAILQ_FOREACH(j, &k->w->jobs, all)
		if (j->doubt == DOUBT_ASKED && j->queue == k->q && strcmp(j->worker, k->id) == 0
		    && strcmp(j->id, id) == 0)
			return j;
	return NULL;
}

static void lost_classified(void *arg, const struct db_reply *reply)
{
	struct question *k = arg;
	const PGresult *rows = reply->outcome == DB_DONE ? reply->results[0] : NULL;
	struct job *j;

	for (int i = 0; rows != NULL && i < PQntuples(rows); i++) {
		const char *verdict = PQgetvalue(rows, i, 1);

		j = find_asked(k, PQgetvalue(rows, i, 0));
		/* "reset": recovered by mistake and not taken by anybody: our result still counts. */
		if (j == NULL || !is_in_hand(j) || strcmp(verdict, "mine") == 0
		    || strcmp(verdict, "reset") == 0)
			continue;
		log_event(LOG_WARNING, "claim_lost", LS("queue", k->q->set->name), LS("job", j->id),
		          LN("claim", j->claim_id), LS("verdict", verdict), LS("next", "its handler is ended, or its answer not waited for"));
		if (strcmp(verdict, "cancelled") == 0 && j->ending == ENDING_NONE)
			metrics_ended(k->q, FINAL_CANCELLED);
		handler_end(k->w, j, ENDING_LOST);
	}
	TAILQ_FOREACH(j, &k->w->jobs, all)
		if (j->doubt == DOUBT_ASKED && j->queue == k->q && strcmp(j->worker, k->id) == 0)
			j->doubt = DOUBT_NONE;
	free(k);
}

/* One question for all doubted jobs of the queue that were claimed under the same id as this one. */
static void lost_ask(struct question *k, const struct job *first)
{
	struct question *about = xmalloc(sizeof *about);
	struct buf ids = BUF_INIT, claims = BUF_INIT;
	struct db_request *r;
	struct job *j;
	char *params[3];

	*about = *k;
	memcpy(about->id, first->worker, sizeof about->id);
	array_begin(&ids);
	array_begin(&claims);
	TAILQ_FOREACH(j, &k->w->jobs, all) {
		if (j->doubt != DOUBT_HELD || j->queue != k->q || strcmp(j->worker, about->id) != 0)
			continue;
		j->doubt = DOUBT_ASKED;
		array_add(&ids, j->id, strlen(j->id));
		array_add_number(&claims, j->claim_id);
	}
	array_end(&ids);
	array_end(&claims);
	params[0] = buf_give(&ids);
	params[1] = buf_give(&claims);
	params[2] = xstrdup(about->id);
	r = db_request_new(lost_classified, about);
	db_request_add(r, k->q->sql[STMT_CLASSIFY], 3, params, NULL);
	db_send(k->w->db, r);
}

/* ---- the answer ---- */

/* Also those that were claimed under an id of ours that was declared dead. */
static void mark_doubtful(struct question *k)
{
	struct job *j;

	TAILQ_FOREACH(j, &k->w->jobs, all)
		if (j->queue == k->q && is_in_hand(j) && j->doubt == DOUBT_NONE)
			j->doubt = DOUBT_HELD;
}

static void compare_held(struct question *k, const PGresult *rows)
{
	struct buf ids = BUF_INIT, claims = BUF_INIT, started = BUF_INIT;
	bool unknown = false;
	struct job *j;

	array_begin(&ids);
	array_begin(&claims);
	array_begin(&started);
	mark_doubtful(k);
	for (int i = 0; i < PQntuples(rows); i++) {
		const char *id = PQgetvalue(rows, i, 0), *claim = PQgetvalue(rows, i, 1);

		j = worker_find_job(k->w, strtoll(claim, NULL, 10), k->id);
		if (j != NULL) {
			if (j->doubt == DOUBT_HELD)
				j->doubt = DOUBT_NONE;
			continue;
		}
		unknown = true;
		array_add(&ids, id, strlen(id));
		array_add(&claims, claim, strlen(claim));
		array_add(&started, "f", 1);
	}
	array_end(&ids);
	array_end(&claims);
	array_end(&started);
	k->q->unsure = unknown;
	if (unknown)
		unknown_release(k, &ids, &claims, &started);
	buf_release(&ids);
	buf_release(&claims);
	buf_release(&started);

	TAILQ_FOREACH(j, &k->w->jobs, all)
		if (j->doubt == DOUBT_HELD && j->queue == k->q)
			lost_ask(k, j);
}

static void reconcile_answered(void *arg, const struct db_reply *reply)
{
	struct question *k = arg;

	if (FAILS_AT(reconcile_reply))
		reply = db_answer_vanished(k->w->db);
	if (reply->outcome == DB_DONE)
		compare_held(k, reply->results[0]);
	else if (reply->outcome == DB_REFUSED)
		log_event(LOG_WARNING, "reconcile_failed", LS("queue", k->q->set->name),
		          LS("error", reply->error.text), LS("next", "again with the next beat"));
	free(k);
}

void reconcile(struct worker *w)
{
	for (size_t i = 0; i < w->queues_len; i++) {
		struct question *k;
		struct db_request *r;
		char *params[1];

		if (w->queues[i]->drained)
			continue;
		k = xcalloc(1, sizeof *k);
		r = db_request_new(reconcile_answered, k);
		params[0] = xstrdup(w->id);
		k->w = w;
		k->q = w->queues[i];
		memcpy(k->id, w->id, sizeof k->id);
		db_request_add(r, k->q->sql[STMT_HELD], 1, params, NULL);
		db_send(w->db, r);
	}
}
