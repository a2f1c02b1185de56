/*
 * claim.c - when to claim, how many, and turning claimed rows into jobs.
 *
 * Lives here: the batch size, the pause after an empty claim, where in the queue to look, decoding rows.
 * Not here:   SQL text (sql/), the connection (db.c), running (handler.c).
 *
 * A claim begins where the last one ended (its mark): what lies before is claimed already, and as long
 * as some session holds an old snapshot its index entries stay and would be read by each claim. A
 * job that belongs before the mark (a smaller priority, a release) is found by looking
 * from the start again: when a claim got less than it asked for, and else at least every LOOK_WHOLE.
 */
#include "claim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "failpoint.h"
#include "handler.h"
#include "keep.h"
#include "log.h"
#include "metrics.h"
#include "rate.h"
#include "store.h"

#define POLL_JITTER 0.1
#define ERROR_PAUSE (1 * SEC)
#define ERROR_PAUSE_MAX (30 * SEC)
#define LOOK_WHOLE (100 * MSEC)
#define LOOK_SHARE 10			/* a look from the start may take this part of the time ... */
#define LOOK_WHOLE_MAX (5 * SEC)	/* ... but no urgent job waits longer than this for one */
#define NEW_MIN 20			/* fewer rows are claimed without betting that all of them are new */
#define KNOWN_MAX 127			/* claims that do not bet after one that lost */
#define CLAIMED_BEFORE "23505"		/* claim_new: a row has a claim already */

/* The columns of STMT_CLAIM, and of STMT_CLAIM_NEW: it has all places of claims in the last one, of one row. */
enum { CLAIM_JOB, CLAIM_NUMBER, CLAIM_ATTEMPT, CLAIM_FAILURES, CLAIM_PAYLOAD, CLAIM_BATCH, CLAIM_MARK, CLAIM_ORDER,
       CLAIM_ROW_PLACE, CLAIM_CLAIM_PLACE };

struct claim {			/* one claim under way */
	struct worker *w;
	struct queue *q;
	worker_id id;		/* who asked: we may be somebody else when the answer comes */
	bool whole;		/* it looked from the start */
	bool fresh;		/* it bets that nobody has claimed its rows before */
	const char *places;	/* then: of the claims whose rows have not been taken yet */
	struct grant *grant;	/* permits to start what it finds; NULL: none are needed */
};

bool claim_is_open(const struct worker *w)
{
	return w->presence == PRESENT && !w->quiet && !worker_stopping(w) && db_is_ready(w->db) && keep_is_well(w);
}

bool claim_is_idle(const struct worker *w)
{
	return w->asked == 0;
}

bool claim_found_nothing(const struct worker *w)
{
	for (size_t i = 0; i < w->queues_len; i++)
		if ((!w->queues[i]->empty || w->queues[i]->unsure) && !w->queues[i]->draining)
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

/* It bet that all its rows were new, and lost: the next claim looks, and so do more of them the more often that happens. */
static bool claim_has_met_known(const struct claim *c, const struct db_reply *reply)
{
	return c->fresh && reply->outcome == DB_REFUSED && strcmp(reply->error.sqlstate, CLAIMED_BEFORE) == 0;
}

static void claim_expect_known(struct queue *q)
{
	q->met_known = q->met_known < KNOWN_MAX ? 2 * q->met_known + 1 : KNOWN_MAX;
	q->known = q->met_known;
	q->claim_at = 0;
}

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
		q->unsure = true;
		c->w->claim_lost = true;
	}
}

/* An integer as the server writes it. */
static int64_t claim_number(const char *digits)
{
	int64_t n = 0;

	for (; *digits >= '0' && *digits <= '9'; digits++)
		n = 10 * n + (*digits - '0');
	return n;
}

/* Where the claim of row i lies: rows are taken in their order, and so are the places in {"(0,1)","(0,2)"}. */
static void claim_place(struct claim *c, const PGresult *rows, int i, char place[static PLACE_MAX])
{
	const char *from = c->places;
	size_t len;

	if (!c->fresh) {
		snprintf(place, PLACE_MAX, "%s", PQgetvalue(rows, i, CLAIM_CLAIM_PLACE));
		return;
	}
	from += strcspn(from, "(");
	len = strcspn(from, "\"");
	snprintf(place, PLACE_MAX, "%.*s", (int)len, from);
	c->places = from + len;
}

static void claim_take_row(struct claim *c, const PGresult *rows, int i, struct batch *b)
{
	struct worker *w = c->w;
	struct job *j = job_new(c->q, PQgetvalue(rows, i, CLAIM_JOB), claim_number(PQgetvalue(rows, i, CLAIM_NUMBER)), c->id);

	j->batch = b;
	j->attempt = (int)claim_number(PQgetvalue(rows, i, CLAIM_ATTEMPT));
	j->failures = (int)claim_number(PQgetvalue(rows, i, CLAIM_FAILURES));
	j->payload_len = (size_t)PQgetlength(rows, i, CLAIM_PAYLOAD);
	j->payload = xmalloc(j->payload_len + 1);
	memcpy(j->payload, PQgetvalue(rows, i, CLAIM_PAYLOAD), j->payload_len + 1);

	if (mapping_has(&c->q->map, STMT_COMPLETE_PLACED)) {
		snprintf(j->row_place, sizeof j->row_place, "%s", PQgetvalue(rows, i, CLAIM_ROW_PLACE));
		claim_place(c, rows, i, j->claim_place);
		if (j->claim_place[0] == '\0')
			j->row_place[0] = '\0';
	}

	TAILQ_INSERT_TAIL(&w->jobs, j, all);
	w->jobs_len++;
	c->q->busy++;
	rate_give_job(c->grant, j);

	if (worker_stopping(w))
		handler_give_back(w, j, "the worker is stopping");
	else if (c->q->draining)
		handler_give_back(w, j, "its queue has been taken out of the settings, or changed");
	else
		handler_start(w, j);
}

/* What stands in one of the rows only. NULL: in none. */
static const char *claim_find(const PGresult *rows, int column)
{
	for (int i = PQntuples(rows) - 1; i >= 0; i--)
		if (!PQgetisnull(rows, i, column))
			return PQgetvalue(rows, i, column);
	return NULL;
}

/* A row and its key: text, which is all that is to be compared. */
struct claim_key {
	const char *id;
	size_t len;
	int row;
};

static int claim_by_key(const void *a, const void *b)
{
	const struct claim_key *x = a, *y = b;

	return x->len != y->len ? (x->len < y->len ? -1 : 1) : memcmp(x->id, y->id, x->len);
}

static struct claim_key claim_key(const PGresult *rows, int row)
{
	return (struct claim_key){ PQgetvalue(rows, row, CLAIM_JOB), (size_t)PQgetlength(rows, row, CLAIM_JOB), row };
}

static struct claim_key *claim_keys_sorted(const PGresult *rows)
{
	int n = PQntuples(rows);
	struct claim_key *keys = xcalloc((size_t)n, sizeof *keys);

	for (int i = 0; i < n; i++)
		keys[i] = claim_key(rows, i);
	qsort(keys, (size_t)n, sizeof *keys, claim_by_key);
	return keys;
}

/*
 * Rows that come as they lie in the table, in the order of their keys in "{1,2,3}". Most often that is the same; one
 * that is not the next is looked up.
 */
static void claim_take_in_order(struct claim *c, const PGresult *rows, const char *order, struct batch *b)
{
	int n = PQntuples(rows), next = 0;
	struct claim_key *sorted = NULL;

	while (*order != '\0') {
		struct claim_key key = { .id = order + 1 }, here, *found = NULL;

		key.len = strcspn(key.id, ",}");
		order = key.id + key.len;
		order += *order == '}';
		if (next < n) {
			here = claim_key(rows, next);
			found = claim_by_key(&key, &here) == 0 ? &here : NULL;
		}
		if (found == NULL) {
			if (sorted == NULL)
				sorted = claim_keys_sorted(rows);
			found = bsearch(&key, sorted, (size_t)n, sizeof *sorted, claim_by_key);
		}
		if (found == NULL)
			continue;
		claim_take_row(c, rows, found->row, b);
		next = found->row + 1;
	}
	free(sorted);
}

static void claim_take_rows(struct claim *c, const PGresult *rows)
{
	const char *batch = claim_find(rows, CLAIM_BATCH), *order = claim_find(rows, CLAIM_ORDER);
	int n = PQntuples(rows);
	struct batch *b = NULL;

	if (n == 0)
		return;
	log_event(LOG_DEBUG, "claimed", LS("queue", c->q->set->name), LN("jobs", n));
	if (c->fresh && (c->places = claim_find(rows, CLAIM_CLAIM_PLACE)) == NULL)
		c->places = "";
	if (batch != NULL)
		b = batch_new(c->q, claim_number(batch), c->id, (size_t)n);
	if (order != NULL)
		claim_take_in_order(c, rows, order, b);
	else
		for (int i = 0; i < n; i++)
			claim_take_row(c, rows, i, b);
}

/* Where the next claim begins. The longer a look from the start takes, the rarer it is. */
static void claim_set_mark(struct claim *c, const PGresult *rows, bool less, usec_t now)
{
	struct queue *q = c->q;
	usec_t rest = LOOK_SHARE * (now - q->asked_at);
	const char *mark = less ? NULL : claim_find(rows, CLAIM_MARK);

	if (rest < LOOK_WHOLE)
		rest = LOOK_WHOLE;
	if (c->whole)
		q->whole_at = now + usec_min(rest, LOOK_WHOLE_MAX);
	free(q->mark);
	q->mark = mark != NULL ? xstrdup(mark) : NULL;
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

	if (FAILS_AT(claim_reply))
		reply = db_answer_vanished(c->w->db);
	c->w->asked -= asked;
	q->asked = 0;
	claim_note_time(q, clock_now() - q->asked_at);
	metrics_claimed(c->w, clock_now() - q->asked_at);
	if (reply->outcome == DB_DONE) {
		const PGresult *rows = reply->results[reply->len - 1];
		usec_t now = clock_now();
		bool less = (uint32_t)PQntuples(rows) < asked;

		q->claim_errors = 0;
		q->empty = less && c->whole && !q->overtaken;
		claim_set_mark(c, rows, less, now);
		q->claim_at = q->empty && !q->woken ? now + usec_jitter(c->w->set->poll_interval, POLL_JITTER) : 0;
		if (c->fresh && PQntuples(rows) != 0)
			q->met_known /= 2;
		claim_take_rows(c, rows);
	} else if (claim_has_met_known(c, reply)) {
		claim_expect_known(q);
	} else {
		claim_failed(c, reply);
	}
	rate_end_claim(c->grant);
	q->woken = false;
	free(c);
}

/* ---- the question ---- */

/* Whether all rows are taken for new. For few it is not worth a second try. */
static bool claim_may_bet(struct queue *q, uint32_t n)
{
	if (q->sql[STMT_CLAIM_NEW] == NULL || n < NEW_MIN)
		return false;
	if (q->known == 0)
		return true;
	q->known--;
	return false;
}

static void claim_send(struct worker *w, struct queue *q, uint32_t n)
{
	struct claim *c = xcalloc(1, sizeof *c);
	struct db_request *r = db_request_new(claim_answered, c);
	char *params[] = { xasprintf("%u", n), xstrdup(w->id), NULL };

	c->w = w;
	c->q = q;
	c->grant = rate_spend(q, n);
	memcpy(c->id, w->id, sizeof c->id);
	q->asked = n;
	q->asked_at = clock_now();
	c->whole = q->mark == NULL || q->asked_at >= q->whole_at;
	c->fresh = claim_may_bet(q, n);
	if (!c->whole)
		params[2] = xstrdup(q->mark);
	q->empty = q->overtaken = false;
	w->asked += n;
	if (q->sql[STMT_BEFORE_CLAIM] != NULL)
		db_request_add(r, q->sql[STMT_BEFORE_CLAIM], 0, NULL, NULL);
	db_request_add(r, q->sql[c->fresh ? STMT_CLAIM_NEW : STMT_CLAIM], 3, params, NULL);
	FAILPOINT(before_claim);
	db_send(w->db, r);
	FAILPOINT(after_claim);
}

/* How many more jobs may be taken on: by the handlers of this queue, of --max-jobs. */
static uint32_t claim_room(struct worker *w, struct queue *q)
{
	uint32_t n = handler_room(w, q);
	uint64_t taken = w->count.started + w->asked;

	if (q->write_errors != 0 || store_is_behind(q))
		return 0;		/* the database takes no results just now, or not as fast as claims: let no more pile up */
	if (n > q->set->batch)
		n = q->set->batch;
	if (n > CLAIM_MAX)
		n = CLAIM_MAX;
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

bool claim_goes_now(struct worker *w, struct queue *q, usec_t now)
{
	return claim_is_open(w) && q->asked == 0 && !q->draining && now >= q->claim_at && rate_is_at_hand(q)
	       && claim_room(w, q) != 0;
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
		else if ((n = rate_allows(q, n, now, &next)) != 0)
			claim_send(w, q, n);
	}
	if (++w->claim_first >= w->queues_len)
		w->claim_first = 0;
	return next;
}
