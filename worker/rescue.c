/*
 * rescue.c - one pass every recover_every: declare dead workers, then for each queue list
 * stuck rows and reset exactly those, a batch at a time, until nothing moves.
 *
 * Rows that could not be reset (locked, changed) are skipped over in the
 * listing, so that a full batch of them does not hide the rest.
 */
#include "rescue.h"

#include <stdlib.h>
#include <string.h>

#include "adoption.h"
#include "failpoint.h"
#include "inherit.h"
#include "log.h"
#include "metrics.h"
#include "sqltext.h"

static void rescue_list(struct worker *w);

static void rescue_swept(void *arg, const struct db_reply *reply)
{
	(void)arg, (void)reply;		/* the next pass sweeps again */
}

static void rescue_pass_over(struct worker *w)
{
	struct db_request *r;

	if (db_is_ready(w->db) && !worker_stopping(w)) {
		r = db_request_new(rescue_swept, NULL);
		db_request_add(r, sqltext("workers", "sweep"), 0, NULL, NULL);
		db_send(w->db, r);
	}
	adoption_due_all(w);
	w->rescue_queue = w->queues_len;
	w->rescue_busy = false;
	w->rescue_at = w->set->recover_every == 0 ? USEC_NEVER : clock_now() + usec_jitter(w->set->recover_every, 0.1);
}

static void rescue_next_queue(struct worker *w)
{
	w->rescue_skip = 0;
	if (++w->rescue_queue >= w->queues_len || worker_stopping(w) || !db_is_ready(w->db))
		rescue_pass_over(w);
	else
		rescue_list(w);
}

static usec_t rescue_timeout(const struct worker *w, const struct queue *q)
{
	return q->set->timeout_set ? q->set->timeout : w->set->recover_timeout;
}

static char *rescue_seconds(usec_t t)
{
	return xasprintf("%.3f", (double)t / (double)SEC);
}

static bool rescue_refused(struct worker *w, const struct db_reply *reply, const char *what)
{
	if (reply->outcome == DB_DONE)
		return false;
	if (reply->outcome == DB_REFUSED)
		log_event(LOG_WARNING, "recover_failed", LS("queue", w->queues[w->rescue_queue]->set->name),
		          LS("what", what), LS("error", reply->error.text));
	return true;
}

/* ---- reset what was listed ---- */

static void rescue_reset_done(void *arg, const struct db_reply *reply)
{
	struct worker *w = arg;
	struct queue *q = w->queues[w->rescue_queue];
	int n;

	if (FAILS_AT(rescue_reply))
		reply = db_answer_vanished(w->db);
	if (rescue_refused(w, reply, "reset")) {
		rescue_next_queue(w);
		return;
	}
	n = PQntuples(reply->results[0]);
	for (int i = 0; i < n; i++) {
		const char *action = PQgetvalue(reply->results[0], i, 1), *reason = PQgetvalue(reply->results[0], i, 2);

		metrics_recovered(q, action, reason);
		log_event(LOG_WARNING, "recovered", LS("queue", q->set->name), LS("job", PQgetvalue(reply->results[0], i, 0)),
		          LS("action", action), LS("reason", reason));
	}
	w->count.recovered += (uint64_t)n;
	if (n != 0)
		q->claim_at = 0;
	w->rescue_skip -= (uint32_t)n;
	rescue_list(w);
}

static void rescue_listed(void *arg, const struct db_reply *reply)
{
	struct worker *w = arg;
	struct queue *q = w->queues[w->rescue_queue];
	struct buf ids = BUF_INIT, tokens = BUF_INIT;
	const PGresult *rows;
	struct db_request *r;
	char *params[5];
	int n = 0;

	if (rescue_refused(w, reply, "list") || worker_stopping(w)) {
		rescue_next_queue(w);
		return;
	}
	rows = reply->results[0];
	array_begin(&ids);
	array_begin(&tokens);
	for (int i = 0; i < PQntuples(rows); i++, n++) {
		array_add(&ids, PQgetvalue(rows, i, 0), (size_t)PQgetlength(rows, i, 0));
		array_add(&tokens, PQgetvalue(rows, i, 1), (size_t)PQgetlength(rows, i, 1));
	}
	array_end(&ids);
	array_end(&tokens);
	w->rescue_skip += (uint32_t)n;	/* those that are reset are taken off again */
	params[0] = buf_give(&ids);
	params[1] = buf_give(&tokens);
	if (n == 0) {
		free(params[0]);
		free(params[1]);
		rescue_next_queue(w);
		return;
	}
	params[2] = rescue_seconds(rescue_timeout(w, q));
	params[3] = xstrdup("f");
	params[4] = xasprintf("%u", w->set->max_recoveries);
	r = db_request_new(rescue_reset_done, w);
	db_request_add(r, q->sql[STMT_RESET], 5, params, NULL);
	FAILPOINT(before_rescue);
	db_send(w->db, r);
}

static void rescue_list(struct worker *w)
{
	struct queue *q = w->queues[w->rescue_queue];
	struct db_request *r = db_request_new(rescue_listed, w);
	char *params[] = {
		rescue_seconds(rescue_timeout(w, q)), xstrdup("f"), xstrdup("f"),
		xasprintf("%u", w->set->recover_batch), xasprintf("%u", w->rescue_skip),
		xasprintf("%u", w->set->max_recoveries),
	};

	db_request_add(r, q->sql[STMT_STUCK], 6, params, NULL);
	db_send(w->db, r);
}

/* ---- declare the dead first ---- */

static void rescue_declared(void *arg, const struct db_reply *reply)
{
	struct worker *w = arg;

	w->rescue_queue = 0;
	if (FAILS_AT(rescue_declared))
		reply = db_answer_vanished(w->db);
	if (rescue_refused(w, reply, "declare dead workers")) {
		rescue_pass_over(w);
		return;
	}
	for (int i = 0; i < PQntuples(reply->results[0]); i++)
		log_event(LOG_WARNING, "worker_lost", LS("worker", PQgetvalue(reply->results[0], i, 0)),
		          LS("host", PQgetvalue(reply->results[0], i, 1)),
		          LS("pid", PQgetvalue(reply->results[0], i, 2)),
		          LS("silent_s", PQgetvalue(reply->results[0], i, 3)));
	w->rescue_skip = 0;
	rescue_list(w);
}

void rescue_init(struct worker *w, usec_t now)
{
	w->rescue_queue = w->queues_len;
	w->rescue_at = w->set->recover_every == 0 ? USEC_NEVER : now + usec_jitter(w->set->recover_every, 0.5);
}

usec_t rescue_advance(struct worker *w, usec_t now)
{
	struct db_request *r;

	if (w->rescue_busy || w->presence != PRESENT || worker_stopping(w) || !db_is_ready(w->db))
		return USEC_NEVER;
	if (now < w->rescue_at)
		return w->rescue_at;
	if (!w->rescue_waits)	/* a row whose result lies here is not stuck */
		inherit_look(w);
	w->rescue_waits = !inherit_is_idle(w);
	if (w->rescue_waits)
		return USEC_NEVER;
	if (inherit_has_failed(w)) {
		w->rescue_at = now + w->set->recover_every;
		return w->rescue_at;
	}
	w->rescue_busy = true;
	w->rescue_queue = 0;
	r = db_request_new(rescue_declared, w);
	db_request_add(r, sqltext("workers", "dead"), 0, NULL, NULL);
	db_send(w->db, r);
	return USEC_NEVER;
}

bool rescue_is_idle(const struct worker *w)
{
	return !w->rescue_busy;
}
