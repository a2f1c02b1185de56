/*
 * store.c - writing outcomes, many per transaction, each exactly once.
 *
 * Lives here: batches, what an answer means for each job in it.
 * Not here:   SQL text (sql/), judging a handler's end (outcome.c).
 */
#include "store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adoption.h"
#include "batch.h"
#include "claim.h"
#include "failpoint.h"
#include "keep.h"
#include "lanes.h"
#include "log.h"
#include "metrics.h"
#include "on_success.h"

#define WRITE_MAX 500
#define WRITE_BYTES (8 << 20)		/* a batch is closed once its results are larger */
#define SENDS_MAX 5			/* a row that is ours, and yet is not stored this often, is refused */
#define PAUSE (100 * MSEC)		/* after a refusal that may pass; doubles */
#define PAUSE_MAX (10 * SEC)
#define NOT_EVERY_ROW "22012"		/* complete_all, complete_placed: a row was not stored */
#define UNPLACED_MAX 127		/* batches that go the long way before places are tried again */
#define GATHER (50 * MSEC)		/* at most, and only while there is work ahead */

/* RELEASE_LATE: with bytes to keep, in the same transaction. */
enum write_kind { WRITE_COMPLETE, WRITE_COMPLETE_NULL, WRITE_COMPLETE_PLACED, WRITE_FAIL, WRITE_RELEASE, WRITE_RELEASE_LATE, WRITE_CLASSIFY, WRITE_LATE };

struct write {			/* outcomes of one queue and one identity in one request */
	struct worker *w;
	struct queue *q;
	struct db *db;		/* that it was sent on */
	enum write_kind kind;
	struct jobs jobs;
	size_t len;
	size_t bytes;
};

static void write_send(struct write *b);

/* ---- the list ---- */

static void store_put(struct job *j)
{
	if (j->queue->ended_len++ == 0)
		j->queue->ended_at = clock_now();
	TAILQ_INSERT_TAIL(&j->queue->ended, j, link);
}

void store_take(struct worker *w, struct job *j)
{
	if (!keep_take(w, j))
		store_put(j);
}

void store_sealed(struct worker *w, struct job *j)
{
	(void)w;
	store_put(j);
}

size_t store_waiting(const struct worker *w)
{
	size_t n = 0;

	for (size_t i = 0; i < w->queues_len; i++)
		n += w->queues[i]->ended_len + w->queues[i]->keeping;
	return n;
}

bool store_is_behind(const struct queue *q)
{
	return q->writes != 0 && q->ended_len >= WRITE_MAX;
}

bool store_is_empty(const struct worker *w)
{
	for (size_t i = 0; i < w->queues_len; i++)
		if (w->queues[i]->ended_len != 0 || w->queues[i]->writes != 0 || w->queues[i]->keeping != 0)
			return false;
	return true;
}

/* ---- batches ---- */

static struct write *write_new(struct queue *q, enum write_kind kind)
{
	struct write *b = xcalloc(1, sizeof *b);

	b->w = q->worker;
	b->q = q;
	b->kind = kind;
	TAILQ_INIT(&b->jobs);
	return b;
}

static void write_add(struct write *b, struct job *j)
{
	TAILQ_INSERT_TAIL(&b->jobs, j, link);
	b->len++;
	b->bytes += j->outcome.result.len + j->outcome.raw.len;
}

static struct job *write_take_first(struct write *b)
{
	struct job *j = TAILQ_FIRST(&b->jobs);

	TAILQ_REMOVE(&b->jobs, j, link);
	b->len--;
	return j;
}

/* All back to the list, in front, to be sent again. */
static void write_put_back(struct write *b)
{
	struct job *j;

	while ((j = TAILQ_LAST(&b->jobs, jobs)) != NULL) {
		TAILQ_REMOVE(&b->jobs, j, link);
		TAILQ_INSERT_HEAD(&b->q->ended, j, link);
		b->q->ended_len++;
	}
	b->len = 0;
}

static void write_free(struct write *b)
{
	assert(b->len == 0);
	b->q->writes--;
	free(b);
}

static enum write_kind store_kind(const struct job *j)
{
	switch (j->outcome.kind) {
	case OUTCOME_DONE:
		if (mapping_has(&j->queue->map, STMT_COMPLETE_NULL) && strcmp(buf_text(&j->outcome.result), "null") == 0)
			return WRITE_COMPLETE_NULL;
		return j->row_place[0] != '\0' && j->queue->unplaced == 0 ? WRITE_COMPLETE_PLACED : WRITE_COMPLETE;
	case OUTCOME_RELEASE:
		return j->outcome.late_reason != LATE_NONE ? WRITE_RELEASE_LATE : WRITE_RELEASE;
	case OUTCOME_RETRY:
	case OUTCOME_FAIL:
	case OUTCOME_LATER:
		break;
	}
	return WRITE_FAIL;
}

/* The first job that waits, and all that can go with it. */
static struct write *store_gather(struct queue *q)
{
	struct job *j = TAILQ_FIRST(&q->ended), *next;
	struct write *b = write_new(q, store_kind(j));
	const char *identity = j->worker;

	JOBS_FOREACH_SAFE(j, &q->ended, link, next) {
		if (store_kind(j) != b->kind || strcmp(j->worker, identity) != 0)
			continue;
		TAILQ_REMOVE(&q->ended, j, link);
		q->ended_len--;
		write_add(b, j);
		if (b->len == WRITE_MAX || b->bytes >= WRITE_BYTES)
			break;
	}
	return b;
}

static void store_forgotten(void *arg, const struct db_reply *reply)
{
	struct queue *q = arg;

	(void)reply;		/* what is left is swept */
	q->writes--;
}

/* With the next write, or now when there will be none. */
static void store_forget(struct queue *q)
{
	struct db_request *r;

	if (q->busy != 0 || !batch_is_due(q))
		return;
	r = db_request_new(store_forgotten, q);
	batch_forget(q, r);
	q->writes++;
	db_send(lanes_for_write(q->worker, q, 0), r);
}

/*
 * While one write is under way the next ones gather. And while the handlers have work ahead nobody waits for a
 * result, so it goes when more work is fetched: with the claim. Without work ahead it goes at once.
 */
static bool store_may_gather(struct worker *w, struct queue *q, usec_t now)
{
	return q->waiting != 0 && q->ended_len < WRITE_MAX && now < q->ended_at + GATHER && !worker_stopping(w)
	       && !claim_goes_now(w, q, now);
}

usec_t store_advance(struct worker *w, usec_t now)
{
	usec_t next = USEC_NEVER;

	if (!db_is_ready(w->db))
		return next;
	for (size_t i = 0; i < w->queues_len; i++) {
		struct queue *q = w->queues[i];

		if (q->writes != 0)
			continue;
		if (q->ended_len == 0) {
			store_forget(q);
			continue;
		}
		if (now < q->write_at) {
			next = usec_min(next, q->write_at);
			continue;
		}
		if (store_may_gather(w, q, now)) {
			next = usec_min(next, q->ended_at + GATHER);
			continue;
		}
		/* One batch a kind; all in one flush. A send may find the connection gone: what is put back then waits. */
		while (q->ended_len != 0 && db_is_ready(w->db)) {
			struct write *b = store_gather(q);

			q->writes++;
			write_send(b);
		}
	}
	return next;
}

/* ---- how a job is settled ---- */

static int64_t job_ms(const struct job *j)
{
	return j->started ? (int64_t)((clock_now() - j->started_at) / MSEC) : 0;
}

static void count_run(struct job *j)
{
	if (j->started)
		metrics_ran(j->queue, j->ended_at > j->started_at ? j->ended_at - j->started_at : 0);
}

/* The end of a job may have made others ready. In batch mode the last one of a queue is followed by a look. */
static void settle_news(struct worker *w, struct queue *q)
{
	q->empty = false;
	if (w->drain && q->busy == 0)
		claim_due(q, 0);
}

static void settle_done(struct worker *w, struct job *j)
{
	settle_news(w, j->queue);
	w->count.finished++;
	w->count.done++;
	count_run(j);
	metrics_ended(j->queue, FINAL_COMPLETED);
	log_event(LOG_INFO, "job_done", LS("queue", j->queue->set->name), LS("job", j->id), LN("attempt", j->attempt),
	          LN("ms", job_ms(j)));
	worker_forget_job(w, j);
}

/* Its bytes are kept, whatever else becomes of the job. */
static void note_late(struct worker *w, const struct job *j)
{
	if (j->outcome.late_reason == LATE_NONE)
		return;
	w->count.late++;
	metrics_late(j->queue, j->outcome.late_reason);
	log_event(LOG_WARNING, "late_result", LS("queue", j->queue->set->name), LS("job", j->id),
	          LN("claim", j->claim_id), LS("reason", late_name(j->outcome.late_reason)),
	          LS("next", "its bytes are in unstuck.late_results"));
}

static void settle_failed(struct worker *w, struct job *j, bool retried)
{
	char delay[USEC_TEXT_MAX];

	settle_news(w, j->queue);
	if (j->attempt > j->failures + 1)
		adoption_due(j->queue);		/* an earlier run did not fail: it may have ended well, and too late */
	w->count.finished++;
	count_run(j);
	note_late(w, j);
	if (retried) {
		w->count.retried++;
		log_event(LOG_WARNING, "job_retry", LS("queue", j->queue->set->name), LS("job", j->id),
		          LN("attempt", j->attempt), LN("ms", job_ms(j)), LS("error", j->outcome.error),
		          LS("again_in", usec_text(j->outcome.delay / MSEC * MSEC, delay)));
		claim_due(j->queue, clock_now() + j->outcome.delay);
	} else {
		w->count.failed++;
		metrics_ended(j->queue, FINAL_FAILED);
		log_event(LOG_ERROR, "job_failed", LS("queue", j->queue->set->name), LS("job", j->id),
		          LN("attempt", j->attempt), LN("ms", job_ms(j)), LS("error", j->outcome.error));
	}
	worker_forget_job(w, j);
}

static void settle_released(struct worker *w, struct job *j)
{
	w->count.released++;
	j->queue->empty = false;
	if (j->started)
		claim_due(j->queue, 0);		/* its process had to be ended; who gave back one not started says when */
	log_event(LOG_INFO, "job_released", LS("queue", j->queue->set->name), LS("job", j->id),
	          LN("attempt", j->attempt), LS("started", j->started ? "yes" : "no"));
	note_late(w, j);
	worker_forget_job(w, j);
}

static void settle_late(struct worker *w, struct job *j)
{
	note_late(w, j);
	if (late_is_adopted_unasked(j->outcome.late_reason))
		adoption_due(j->queue);
	worker_forget_job(w, j);
}

/* A write that was not for its row any more: nothing of value is lost (a failure, a release). */
static void settle_fenced(struct worker *w, struct job *j)
{
	log_event(LOG_WARNING, "claim_lost", LS("queue", j->queue->set->name), LS("job", j->id),
	          LN("claim", j->claim_id), LS("dropped", outcome_kind_name(j->outcome.kind)));
	worker_forget_job(w, j);
}

/* This row can never be stored: it fails for good, and its bytes are kept. */
static void store_reject(struct job *j, const char *why)
{
	struct buf text = BUF_INIT;

	buf_adds(&text, "the result was refused by the database: ");
	utf8_clean(&text, why, strlen(why), 4096);
	free(j->outcome.error);
	j->outcome.error = buf_give(&text);
	j->outcome.kind = OUTCOME_FAIL;
	j->outcome.late_reason = LATE_BAD_DATA;
	buf_release(&j->outcome.raw);
	j->outcome.raw = j->outcome.result;
	j->outcome.result = (struct buf)BUF_INIT;
	j->sends = 0;
	store_put(j);
}

/* ---- parameters ---- */

static void array_add_text(struct buf *b, const char *text)
{
	array_add(b, text, text != NULL ? strlen(text) : 0);
}

static void array_add_bytes(struct buf *b, const struct buf *raw)
{
	static const char digits[] = "0123456789abcdef";
	struct buf hex = BUF_INIT;

	buf_reserve(&hex, 2 * raw->len + 3);
	buf_adds(&hex, "\\x");
	for (size_t i = 0; i < raw->len; i++) {
		unsigned char c = (unsigned char)raw->data[i];

		buf_addc(&hex, digits[c >> 4]);
		buf_addc(&hex, digits[c & 15]);
	}
	array_add(b, hex.data, hex.len);
	buf_release(&hex);
}

static void field_row_place(struct buf *b, const struct job *j) { array_add_text(b, j->row_place); }
static void field_claim_place(struct buf *b, const struct job *j) { array_add_text(b, j->claim_place); }
static void field_id(struct buf *b, const struct job *j) { array_add_text(b, j->id); }
static void field_claim(struct buf *b, const struct job *j) { array_add_number(b, j->claim_id); }
static void field_kind(struct buf *b, const struct job *j) { array_add_text(b, outcome_kind_name(j->outcome.kind)); }
static void field_error(struct buf *b, const struct job *j) { array_add_text(b, j->outcome.error); }
static void field_reason(struct buf *b, const struct job *j) { array_add_text(b, late_name(j->outcome.late_reason)); }
static void field_started(struct buf *b, const struct job *j) { array_add_text(b, j->started ? "t" : "f"); }

static void field_result(struct buf *b, const struct job *j)
{
	array_add(b, buf_text(&j->outcome.result), j->outcome.result.len);
}

static void field_delay(struct buf *b, const struct job *j)
{
	char text[32];

	snprintf(text, sizeof text, "%.6f", (double)j->outcome.delay / (double)SEC);
	array_add_text(b, text);
}

static void field_raw(struct buf *b, const struct job *j)
{
	if (j->outcome.late_reason == LATE_NONE)
		array_add_text(b, NULL);
	else
		array_add_bytes(b, &j->outcome.raw);
}

/* Of a result that was fine and came too late, or of no result. */
static void field_late_raw(struct buf *b, const struct job *j)
{
	array_add_bytes(b, j->outcome.kind == OUTCOME_DONE ? &j->outcome.result : &j->outcome.raw);
}

typedef void field_fn(struct buf *b, const struct job *j);

/* One array of a field of every job in the batch, as a parameter. */
static char *write_array(const struct write *b, field_fn *field)
{
	struct buf text = BUF_INIT;
	const struct job *j;

	array_begin(&text);
	TAILQ_FOREACH(j, &b->jobs, link)
		field(&text, j);
	array_end(&text);
	return buf_give(&text);
}

/* What each kind of batch sends: its statement and its parameters in order; NULL stands for the worker id. */
static const struct {
	enum statement statement;
	int n;
	field_fn *fields[8];
} write_form[] = {
	[WRITE_COMPLETE] = { STMT_COMPLETE, 4, { field_id, field_claim, field_result, NULL } },
	[WRITE_COMPLETE_NULL] = { STMT_COMPLETE_NULL, 3, { field_id, field_claim, NULL } },
	[WRITE_COMPLETE_PLACED] = { STMT_COMPLETE_PLACED, 6, { field_id, field_claim, field_result, NULL,
	                                                       field_row_place, field_claim_place } },
	[WRITE_FAIL]     = { STMT_FAIL, 8, { field_id, field_claim, NULL, field_kind, field_error, field_delay,
	                                     field_reason, field_raw } },
	[WRITE_RELEASE]  = { STMT_RELEASE, 4, { field_id, field_claim, NULL, field_started } },
	[WRITE_RELEASE_LATE] = { STMT_RELEASE, 4, { field_id, field_claim, NULL, field_started } },
	[WRITE_CLASSIFY] = { STMT_CLASSIFY, 3, { field_id, field_claim, NULL } },
	[WRITE_LATE]     = { STMT_LATE, 5, { field_id, field_claim, NULL, field_reason, field_late_raw } },
};

static bool write_has_on_success(const struct write *b)
{
	return (b->kind == WRITE_COMPLETE || b->kind == WRITE_COMPLETE_PLACED) && b->q->on_success != NULL;
}

/* Every row was stored, or it was an error. */
static bool write_is_all_or_nothing(const struct write *b)
{
	return b->kind == WRITE_COMPLETE_PLACED || write_has_on_success(b);
}

/* Whether only on_success gets the results. */
static bool write_needs_no_results(const struct write *b)
{
	return b->kind == WRITE_COMPLETE_PLACED && b->q->on_success != NULL && b->q->map.result == NULL;
}

/* A statement with the parameters of this kind. */
static void write_add_statement(const struct write *b, struct db_request *r, enum statement s, enum write_kind kind)
{
	char *params[8];
	int n = write_form[kind].n;

	for (int i = 0; i < n; i++) {
		field_fn *field = write_form[kind].fields[i];

		if (field == NULL)
			params[i] = xstrdup(TAILQ_FIRST(&b->jobs)->worker);
		else
			params[i] = field == field_result && write_needs_no_results(b) ? NULL : write_array(b, field);
	}
	db_request_add(r, b->q->sql[s], n, params, NULL);
}

/*
 * Fence all rows, then the user's statement for each, then commit, without a
 * round trip in between: the fence is an error unless every row was ours.
 */
static void write_add_on_success(const struct write *b, struct db_request *r)
{
	const Oid types[] = { b->q->map.id_type_oid, JSONB_OID };
	const struct job *j;

	db_request_add(r, "BEGIN", 0, NULL, NULL);
	write_add_statement(b, r, b->kind == WRITE_COMPLETE ? STMT_COMPLETE_ALL : STMT_COMPLETE_PLACED, b->kind);
	TAILQ_FOREACH(j, &b->jobs, link) {
		char *params[] = { xstrdup(j->id), xstrndup(buf_text(&j->outcome.result), j->outcome.result.len) };

		db_request_add(r, b->q->on_success, 2, params, types);
	}
	batch_forget(b->q, r);
	db_request_add(r, "COMMIT", 0, NULL, NULL);
}

/* ---- answers ---- */

static struct job *write_find(struct write *b, const char *id)
{
	struct job *j;

	TAILQ_FOREACH(j, &b->jobs, link)
		if (strcmp(j->id, id) == 0)
			return j;
	return NULL;
}

/* Call settle for each job that a row of the answer names, and take it out of the batch. */
static void write_each_row(struct write *b, const PGresult *rows,
                           void (*settle)(struct write *b, struct job *j, const char *word))
{
	for (int i = 0; i < PQntuples(rows); i++) {
		struct job *j = write_find(b, PQgetvalue(rows, i, 0));

		if (j == NULL)
			continue;
		TAILQ_REMOVE(&b->jobs, j, link);
		b->len--;
		settle(b, j, PQnfields(rows) > 1 ? PQgetvalue(rows, i, 1) : "");
	}
}

static void row_completed(struct write *b, struct job *j, const char *word)
{
	(void)word;
	settle_done(b->w, j);
}

static void row_failed(struct write *b, struct job *j, const char *status)
{
	settle_failed(b->w, j, strcmp(status, "PENDING") == 0);
}

static void row_released(struct write *b, struct job *j, const char *word)
{
	(void)word;
	settle_released(b->w, j);
}

static void row_classified(struct write *b, struct job *j, const char *verdict)
{
	if (strcmp(verdict, "already") == 0) {
		settle_done(b->w, j);
	} else if (strcmp(verdict, "mine") == 0 || strcmp(verdict, "reset") == 0) {
		if (++j->sends >= SENDS_MAX)
			store_reject(j, "the row is ours, and yet it was not changed (a trigger or a rule of the table?)");
		else
			store_put(j);
	} else {
		struct write *late = write_new(b->q, WRITE_LATE);

		if (strcmp(verdict, "cancelled") == 0 && j->ending != ENDING_LOST)	/* then reconcile.c has counted it */
			metrics_ended(b->q, FINAL_CANCELLED);
		j->outcome.late_reason = late_of_verdict(verdict);
		write_add(late, j);
		b->q->writes++;
		write_send(late);
	}
}

/* The rest of the batch again, as another question. */
static void write_resend_as(struct write *b, enum write_kind kind)
{
	struct write *again = write_new(b->q, kind);

	while (b->len != 0)
		write_add(again, write_take_first(b));
	b->q->writes++;
	write_send(again);
}

static void write_resend_singly(struct write *b)
{
	while (b->len != 0) {
		struct write *one = write_new(b->q, b->kind);

		write_add(one, write_take_first(b));
		b->q->writes++;
		write_send(one);
	}
}

/* What a write left, whose claims are lost. */
static void settle_refused(struct write *b)
{
	while (b->len != 0) {
		struct job *j = write_take_first(b);

		if (j->outcome.late_reason != LATE_NONE)
			settle_late(b->w, j);
		else
			settle_fenced(b->w, j);
	}
}

static void write_done(struct write *b, const struct db_reply *reply)
{
	b->q->write_errors = 0;
	switch (b->kind) {
	case WRITE_COMPLETE_PLACED:
		b->q->misses = 0;
		/* fall through */
	case WRITE_COMPLETE:
	case WRITE_COMPLETE_NULL:
		if (write_is_all_or_nothing(b) || (size_t)PQntuples(reply->results[0]) == b->len)
			while (b->len != 0)
				settle_done(b->w, write_take_first(b));
		else
			write_each_row(b, reply->results[0], row_completed);
		if (b->len != 0)
			write_resend_as(b, WRITE_CLASSIFY);
		break;
	case WRITE_FAIL:
		write_each_row(b, reply->results[0], row_failed);
		settle_refused(b);
		break;
	case WRITE_RELEASE:
	case WRITE_RELEASE_LATE:
		write_each_row(b, reply->results[0], row_released);
		settle_refused(b);
		break;
	case WRITE_CLASSIFY:
		write_each_row(b, reply->results[0], row_classified);
		break;
	case WRITE_LATE:
		while (b->len != 0)
			settle_late(b->w, write_take_first(b));
		break;
	}
}

static void write_again(struct write *b, const struct db_reply *reply)
{
	usec_t pause = PAUSE << (b->q->write_errors < 7 ? b->q->write_errors : 7);

	pause = usec_jitter(usec_min(pause, PAUSE_MAX), 0.2);
	if (reply->outcome == DB_REFUSED) {
		b->q->write_errors++;
		b->q->write_at = clock_now() + pause;
		log_event(LOG_WARNING, "write_refused", LS("queue", b->q->set->name), LN("jobs", b->len),
		          LS("sqlstate", reply->error.sqlstate), LS("error", reply->error.text),
		          LS("next", "the results are kept; trying again"));
	}
	write_put_back(b);
}

/* One row alone, and the server says that its data cannot be. */
static void write_bad_row(struct write *b, const struct db_reply *reply)
{
	struct job *j = TAILQ_FIRST(&b->jobs);

	/* Refused by the fence. The answer to this question may be lost as well, so it is asked as often as that happens. */
	if (write_has_on_success(b) && reply->failed == 1 && strcmp(reply->error.sqlstate, NOT_EVERY_ROW) == 0) {
		write_resend_as(b, WRITE_CLASSIFY);
		return;
	}
	if (write_has_on_success(b) && reply->failed == 1 && j->sends == 0) {
		j->sends++;
		write_resend_as(b, WRITE_CLASSIFY);	/* perhaps it only is not ours any more */
		return;
	}
	write_take_first(b);
	if (b->kind == WRITE_COMPLETE || b->kind == WRITE_COMPLETE_NULL || b->kind == WRITE_COMPLETE_PLACED) {
		store_reject(j, reply->error.text);
		return;
	}
	log_event(LOG_ERROR, "write_failed", LS("queue", b->q->set->name), LS("job", j->id),
	          LS("what", outcome_kind_name(j->outcome.kind)), LS("error", reply->error.text),
	          LS("next", "the row stays PROCESSING until it is released or recovered"));
	b->w->count.unsaved++;
	batch_keep(j->batch);
	worker_forget_job(b->w, j);
}

/* A row does not lie where the claim left it: somebody writes rows while they run, and perhaps makes a habit of it. */
static bool write_has_missed(const struct write *b, const struct db_reply *reply)
{
	return b->kind == WRITE_COMPLETE_PLACED && reply->failed == (write_has_on_success(b) ? 1 : 0)
	       && strcmp(reply->error.sqlstate, NOT_EVERY_ROW) == 0;
}

static void write_the_long_way(struct write *b)
{
	struct queue *q = b->q;
	struct job *j;

	q->misses = q->misses < UNPLACED_MAX ? 2 * q->misses + 1 : UNPLACED_MAX;
	q->unplaced = q->misses;
	TAILQ_FOREACH(j, &b->jobs, link)
		j->row_place[0] = '\0';
	write_resend_as(b, WRITE_COMPLETE);
}

static void write_answered(void *arg, const struct db_reply *reply)
{
	struct write *b = arg;

	if (FAILS_AT(store_reply))
		reply = db_answer_vanished(b->db);
	if (b->db != b->w->db)
		b->q->overtaken = true;
	if (reply->outcome == DB_DONE)
		write_done(b, reply);
	else if (reply->outcome == DB_REFUSED && write_has_missed(b, reply))
		write_the_long_way(b);
	else if (reply->outcome == DB_LOST || pg_verdict(reply->error.sqlstate) != PG_DATA)
		write_again(b, reply);
	else if (b->len > 1)
		write_resend_singly(b);
	else
		write_bad_row(b, reply);
	write_free(b);
}

static void write_send(struct write *b)
{
	struct db_request *r = db_request_new(write_answered, b);

	if (b->kind == WRITE_COMPLETE && b->q->unplaced != 0)
		b->q->unplaced--;
	if (write_has_on_success(b)) {
		write_add_on_success(b, r);
	} else {
		write_add_statement(b, r, write_form[b->kind].statement, b->kind);
		if (b->kind == WRITE_RELEASE_LATE)
			write_add_statement(b, r, STMT_LATE, WRITE_LATE);
		batch_forget(b->q, r);
	}
	b->db = lanes_for_write(b->w, b->q, b->len);
	if (b->db != NULL) {
		FAILPOINT(before_store);
		db_send(b->db, r);
		FAILPOINT(after_store);
		return;
	}
	db_request_free(r);		/* lost meanwhile: wait for the reconnect */
	write_put_back(b);
	write_free(b);
}
