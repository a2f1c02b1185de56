/*
 * replay_store.c - one record of a dead process into the database.
 *
 * Not here: SQL text (sql/), files (replay.c).
 */
#include "replay_store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "failpoint.h"
#include "late.h"
#include "mapping.h"
#include "on_success.h"

#define TRIES_MAX 5		/* a row that is ours, and yet is not stored this often, is refused */
#define NOT_ALLOWED "42501"	/* to this user, who may be another one than the worker's: no fault of the result */
#define BATCH_MAX 100
#define BATCH_BYTES ((size_t)4 << 20)

/* A queue of the settings as far as it was needed. */
struct replay_queue {
	enum { QUEUE_UNTRIED, QUEUE_READY, QUEUE_UNUSABLE } state;
	struct mapping map;
};

enum settled { SETTLED, KEPT };

/* Records of one queue and one worker. */
struct batch {
	struct mapping *map;
	struct spool_record v[BATCH_MAX];
	size_t len, bytes;
};

struct replay_store {
	struct replay *r;
	struct error *err;
	struct replay_queue *queues;	/* as many as the settings have */
	char **unknown;			/* names of queues that were told */
	size_t unknown_len;
	bool lost;			/* the database is gone: all that follows is kept */
	size_t kept;			/* since the last flush */
	struct batch batch;		/* results that are stored next */
};

/* ---- queues ---- */

static void tell_unknown(struct replay_store *w, const char *queue, const char *source, const char *why)
{
	for (size_t i = 0; i < w->unknown_len; i++)
		if (strcmp(w->unknown[i], queue) == 0)
			return;
	w->unknown = xrealloc(w->unknown, (w->unknown_len + 1) * sizeof *w->unknown);
	w->unknown[w->unknown_len++] = xstrdup(queue);
	replay_tell(w->r, "results of queue %s on %s stay in the spool: %s", queue, source, why);
}

static void queue_resolve(struct replay_store *w, struct replay_queue *q, const struct queue_settings *set)
{
	struct error why = ERROR_INIT;

	if (mapping_init(&q->map, set, &why) == 0 && mapping_resolve(&q->map, w->r->session, &why) == 0) {
		q->state = QUEUE_READY;
		return;
	}
	q->state = QUEUE_UNUSABLE;
	tell_unknown(w, set->name, "its table", why.text);
}

/* The queue of a record. NULL: it is not in these settings, or is on another table. */
static struct mapping *find_queue(struct replay_store *w, const struct spool_record *r)
{
	const struct settings *s = w->r->settings;

	for (size_t i = 0; i < s->queues_len; i++) {
		if (strcmp(s->queues[i].name, r->queue) != 0)
			continue;
		if (w->queues[i].state == QUEUE_UNTRIED)
			queue_resolve(w, &w->queues[i], &s->queues[i]);
		if (w->queues[i].state == QUEUE_UNUSABLE)
			return NULL;
		if (strcmp(w->queues[i].map.source, r->source) == 0)
			return &w->queues[i].map;
		tell_unknown(w, r->queue, r->source, "the settings have that queue on another table");
		return NULL;
	}
	tell_unknown(w, r->queue, r->source, "no such queue in the settings; name the right file with -c");
	return NULL;
}

/* ---- statements ---- */

static void add_text(struct buf *b, const char *text)
{
	array_add(b, text, text != NULL ? strlen(text) : 0);
}

static void add_raw(struct buf *b, const struct spool_record *r)
{
	static const char digits[] = "0123456789abcdef";
	struct buf hex = BUF_INIT;

	buf_reserve(&hex, 2 * r->bytes_len + 2);
	buf_adds(&hex, "\\x");
	for (size_t i = 0; i < r->bytes_len; i++) {
		unsigned char c = (unsigned char)r->bytes[i];

		buf_addc(&hex, digits[c >> 4]);
		buf_addc(&hex, digits[c & 15]);
	}
	array_add(b, hex.data, hex.len);
	buf_release(&hex);
}

static void field_id(struct buf *b, const struct spool_record *r) { add_text(b, r->job_id); }
static void field_kind(struct buf *b, const struct spool_record *r) { add_text(b, spool_kind_name(r->kind)); }
static void field_error(struct buf *b, const struct spool_record *r) { add_text(b, r->error); }
static void field_claim(struct buf *b, const struct spool_record *r) { array_add_number(b, r->claim_id); }
static void field_reason(struct buf *b, const struct spool_record *r) { add_text(b, r->reason); }
static void field_started(struct buf *b, const struct spool_record *r) { add_text(b, r->started ? "t" : "f"); }
static void field_result(struct buf *b, const struct spool_record *r) { array_add(b, r->bytes, r->bytes_len); }
static void field_late(struct buf *b, const struct spool_record *r) { add_raw(b, r); }

static void field_delay(struct buf *b, const struct spool_record *r)
{
	char text[32];

	snprintf(text, sizeof text, "%.6f", (double)r->delay / (double)SEC);
	add_text(b, text);
}

static void field_raw(struct buf *b, const struct spool_record *r)
{
	if (r->reason != NULL)
		add_raw(b, r);
	else
		add_text(b, NULL);
}

typedef void field_fn(struct buf *b, const struct spool_record *r);
#define PARAMS_MAX 8

/* The parameters of each statement in order; NULL stands for the worker's id. */
static const struct {
	int n;
	field_fn *fields[PARAMS_MAX];
} forms[STATEMENTS] = {
	[STMT_COMPLETE]     = { 4, { field_id, field_claim, field_result, NULL } },
	[STMT_COMPLETE_ALL] = { 4, { field_id, field_claim, field_result, NULL } },
	[STMT_FAIL]         = { 8, { field_id, field_claim, NULL, field_kind, field_error, field_delay, field_reason, field_raw } },
	[STMT_RELEASE]      = { 4, { field_id, field_claim, NULL, field_started } },
	[STMT_CLASSIFY]     = { 3, { field_id, field_claim, NULL } },
	[STMT_LATE]         = { 5, { field_id, field_claim, NULL, field_reason, field_late } },
};

static char *array_of(field_fn *field, const struct spool_record *r, size_t len)
{
	struct buf b = BUF_INIT;

	array_begin(&b);
	for (size_t i = 0; i < len; i++)
		field(&b, &r[i]);
	array_end(&b);
	return buf_give(&b);
}

/* For so many records. The rows; NULL and err. */
static PGresult *run_many(struct replay_store *w, const struct mapping *m, enum statement s, const struct spool_record *r, size_t len,
                          struct error *err)
{
	char *sql = mapping_statement(m, s, err), *params[PARAMS_MAX];
	PGresult *res;

	if (sql == NULL)
		return NULL;
	assert(forms[s].n > 0);
	for (int i = 0; i < forms[s].n; i++)
		params[i] = forms[s].fields[i] != NULL ? array_of(forms[s].fields[i], r, len) : xstrdup(r->worker_id);
	res = session_exec(w->r->session, err, sql, forms[s].n, (const char *const *)params);
	for (int i = 0; i < forms[s].n; i++)
		free(params[i]);
	free(sql);
	return res;
}

static PGresult *run(struct replay_store *w, const struct mapping *m, enum statement s, const struct spool_record *r, struct error *err)
{
	return run_many(w, m, s, r, 1, err);
}

static int run_text(struct replay_store *w, const char *sql, struct error *err)
{
	PGresult *res = session_exec(w->r->session, err, sql, 0, NULL);

	PQclear(res);
	return res != NULL ? 0 : -1;
}

/* ---- how a record is settled ---- */

/*
 * Nothing was stored, and the server's words say whether the same may succeed later. DATA is for
 * the caller to deal with; else the record is kept.
 */
static bool is_data_error(struct replay_store *w, const struct error *why)
{
	if (PQstatus(w->r->session->conn) == CONNECTION_OK && pg_verdict(why->sqlstate) == PG_DATA)
		return strcmp(why->sqlstate, NOT_ALLOWED) != 0;
	if (PQstatus(w->r->session->conn) != CONNECTION_OK || pg_verdict(why->sqlstate) == PG_LOST) {
		w->lost = true;
		error_set(w->err, ERR_NO_DB, "%s", why->text);
		w->err->kind = ERR_NO_DB;
	}
	return false;
}

static enum settled keep(struct replay_store *w, const struct spool_record *r, const struct error *why)
{
	if (!w->lost)
		replay_tell(w->r, "job %s of queue %s stays in the spool: %s", r->job_id, r->queue, why->text);
	return KEPT;
}

static enum settled store_late(struct replay_store *w, const struct mapping *m, const struct spool_record *r, const char *reason)
{
	struct spool_record late = *r;
	struct error why = ERROR_INIT;
	PGresult *rows;

	late.reason = reason;
	rows = run(w, m, STMT_LATE, &late, &why);
	PQclear(rows);
	if (rows == NULL) {
		is_data_error(w, &why);
		return keep(w, r, &why);
	}
	w->r->count.late++;
	return SETTLED;
}

/* Whose the row is now. NULL: why; else the caller frees it. */
static char *ask_verdict(struct replay_store *w, const struct mapping *m, const struct spool_record *r, struct error *why)
{
	PGresult *rows = run(w, m, STMT_CLASSIFY, r, why);
	char *verdict;

	if (rows == NULL)
		return NULL;
	verdict = xstrdup(PQntuples(rows) == 1 ? PQgetvalue(rows, 0, 1) : "missing");
	PQclear(rows);
	return verdict;
}

/* FAIL, RETRY, LATER; the bytes of one with a reason are kept by the same statement, whoever has the row. */
static enum settled store_failure(struct replay_store *w, const struct mapping *m, const struct spool_record *r, size_t *count)
{
	struct error why = ERROR_INIT;
	PGresult *rows = run(w, m, STMT_FAIL, r, &why);

	if (rows == NULL) {
		is_data_error(w, &why);
		return keep(w, r, &why);
	}
	if (PQntuples(rows) == 1)
		(*count)++;
	else if (r->reason != NULL)
		w->r->count.late++;
	else
		w->r->count.dropped++;
	PQclear(rows);
	return SETTLED;
}

/* The database will never take this result: the job fails for good, and its bytes are kept. */
static enum settled reject(struct replay_store *w, const struct mapping *m, const struct spool_record *r, const char *why)
{
	struct spool_record failed = *r;
	struct buf text = BUF_INIT;
	enum settled s;

	buf_adds(&text, "the result was refused by the database: ");
	utf8_clean(&text, why, strlen(why), 4096);
	failed.kind = SPOOL_FAIL;
	failed.error = buf_text(&text);
	failed.reason = late_name(LATE_BAD_DATA);
	s = store_failure(w, m, &failed, &w->r->count.refused);
	if (s == SETTLED)
		replay_tell(w->r, "job %s of queue %s has failed: %s", r->job_id, r->queue, buf_text(&text));
	buf_release(&text);
	return s;
}

enum stored { STORED, NOT_STORED, STORE_FAILED };

/* The fence, the user's statement, one commit. */
static enum stored complete_with_statement(struct replay_store *w, const struct mapping *m, const struct spool_record *r,
                                           struct error *why)
{
	PGresult *rows;
	char *result;
	int rc;

	if (run_text(w, "BEGIN", why) < 0)
		return STORE_FAILED;
	rows = run(w, m, STMT_COMPLETE_ALL, r, why);
	PQclear(rows);
	result = xstrndup(r->bytes, r->bytes_len);
	rc = rows != NULL ? on_success_run(m, w->r->session, r->job_id, result, why) : -1;
	free(result);
	if (rc == 0 && run_text(w, "COMMIT", why) == 0)
		return STORED;
	run_text(w, "ROLLBACK", NULL);
	return rows == NULL && strcmp(why->sqlstate, "22012") == 0 ? NOT_STORED : STORE_FAILED;
}

static enum stored complete(struct replay_store *w, const struct mapping *m, const struct spool_record *r, struct error *why)
{
	PGresult *rows;
	int n;

	if (m->q->on_success[0] != '\0')
		return complete_with_statement(w, m, r, why);
	rows = run(w, m, STMT_COMPLETE, r, why);
	if (rows == NULL)
		return STORE_FAILED;
	n = PQntuples(rows);
	PQclear(rows);
	return n == 1 ? STORED : NOT_STORED;
}

/* It is not stored: by the row's state, unless that is ours. reason: under which bytes are kept; LATE_NONE: by the state. */
static enum settled settle_unstored(struct replay_store *w, const struct mapping *m, const struct spool_record *r,
                                    enum late_reason reason, bool *ours)
{
	struct error why = ERROR_INIT;
	char *verdict = ask_verdict(w, m, r, &why);
	enum settled s = SETTLED;

	*ours = false;
	if (verdict == NULL) {
		is_data_error(w, &why);
		return keep(w, r, &why);
	}
	if (strcmp(verdict, "mine") == 0 || strcmp(verdict, "reset") == 0)
		*ours = true;
	else if (strcmp(verdict, "already") == 0)
		w->r->count.already++;
	else
		s = store_late(w, m, r, late_name(reason != LATE_NONE ? reason : late_of_verdict(verdict)));
	free(verdict);
	return s;
}

static enum settled store_result(struct replay_store *w, const struct mapping *m, const struct spool_record *r)
{
	for (int tries = 0; tries < TRIES_MAX; tries++) {
		struct error why = ERROR_INIT;
		enum stored s = complete(w, m, r, &why);
		enum settled settled;
		bool ours;

		if (s == STORED) {
			w->r->count.stored++;
			return SETTLED;
		}
		if (s == STORE_FAILED && !is_data_error(w, &why))
			return keep(w, r, &why);
		settled = settle_unstored(w, m, r, LATE_NONE, &ours);
		if (!ours)
			return settled;
		if (s == STORE_FAILED)
			return reject(w, m, r, why.text);
	}
	return reject(w, m, r, "the row is ours, and yet it was not changed (a trigger or a rule of the table?)");
}

/* Bytes of one with a reason are kept first, whoever has the row. */
static enum settled store_release(struct replay_store *w, const struct mapping *m, const struct spool_record *r)
{
	struct error why = ERROR_INIT;
	PGresult *rows;

	if (r->reason != NULL && store_late(w, m, r, r->reason) == KEPT)
		return KEPT;
	rows = run(w, m, STMT_RELEASE, r, &why);
	if (rows == NULL) {
		is_data_error(w, &why);
		return keep(w, r, &why);
	}
	if (PQntuples(rows) == 1)
		w->r->count.stored++;
	else
		w->r->count.dropped++;
	PQclear(rows);
	return SETTLED;
}

/* Its handler's end was never seen: perhaps a whole result, perhaps half of one. */
static enum settled store_unfinished(struct replay_store *w, const struct mapping *m, const struct spool_record *r)
{
	enum settled s = SETTLED;
	bool ours = false;

	if (r->bytes_len == 0)
		w->r->count.dropped++;
	else
		s = settle_unstored(w, m, r, LATE_UNFINISHED, &ours);
	return ours ? store_late(w, m, r, late_name(LATE_UNFINISHED)) : s;
}

static enum settled settle(struct replay_store *w, const struct mapping *m, const struct spool_record *r)
{
	switch (r->kind) {
	case SPOOL_DONE:
		return store_result(w, m, r);
	case SPOOL_RETRY:
	case SPOOL_FAIL:
	case SPOOL_LATER:
		return store_failure(w, m, r, &w->r->count.stored);
	case SPOOL_RELEASE:
		return store_release(w, m, r);
	case SPOOL_OUTPUT:
		return store_unfinished(w, m, r);
	case SPOOL_END:
	case SPOOL_KINDS:
		break;
	}
	return KEPT;
}

/* ---- results together ---- */

/* A copy in one piece of memory, which begins with the source. */
static struct spool_record record_copy(const struct spool_record *r)
{
	struct spool_record copy = *r;
	size_t sizes[] = { strlen(r->source) + 1, strlen(r->queue) + 1, strlen(r->job_id) + 1, strlen(r->worker_id) + 1 };
	char *at = xmalloc(sizes[0] + sizes[1] + sizes[2] + sizes[3] + r->bytes_len + 1);

	copy.source = memcpy(at, r->source, sizes[0]);
	copy.queue = memcpy(at += sizes[0], r->queue, sizes[1]);
	copy.job_id = memcpy(at += sizes[1], r->job_id, sizes[2]);
	copy.worker_id = memcpy(at += sizes[2], r->worker_id, sizes[3]);
	copy.bytes = memcpy(at + sizes[3], r->bytes, r->bytes_len);
	copy.error = copy.reason = NULL;	/* a result has none */
	return copy;
}

static void batch_drop(struct batch *b, size_t i)
{
	free((void *)(uintptr_t)b->v[i].source);
	b->v[i] = b->v[--b->len];
}

/* All in one statement; those that this does not store, one by one. */
static void batch_store(struct replay_store *w)
{
	struct batch *b = &w->batch;
	struct error why = ERROR_INIT;
	PGresult *rows = b->len > 1 && !w->lost ? run_many(w, b->map, STMT_COMPLETE, b->v, b->len, &why) : NULL;

	for (int i = 0; rows != NULL && i < PQntuples(rows); i++)
		for (size_t k = 0; k < b->len; k++)
			if (strcmp(b->v[k].job_id, PQgetvalue(rows, i, 0)) == 0) {
				w->r->count.stored++;
				batch_drop(b, k);
				break;
			}
	PQclear(rows);
	for (; b->len > 0; batch_drop(b, 0))
		if (w->lost || store_result(w, b->map, &b->v[0]) == KEPT) {
			w->kept++;
			w->r->count.kept++;
		}
	b->bytes = 0;
}

/* Together means: stored by one statement, and told apart by their ids afterwards. */
static bool batch_takes(const struct batch *b, const struct mapping *m, const struct spool_record *r)
{
	if (b->len == BATCH_MAX || b->bytes + r->bytes_len > BATCH_BYTES || b->map != m)
		return false;
	for (size_t i = 0; i < b->len; i++)
		if (strcmp(b->v[i].job_id, r->job_id) == 0 || strcmp(b->v[i].worker_id, r->worker_id) != 0)
			return false;
	return true;
}

static void batch_add(struct replay_store *w, struct mapping *m, const struct spool_record *r)
{
	struct batch *b = &w->batch;

	if (!batch_takes(b, m, r))
		batch_store(w);
	b->map = m;
	b->v[b->len++] = record_copy(r);
	b->bytes += r->bytes_len;
}

/* ---- the door ---- */

struct replay_store *replay_store_new(struct replay *r, struct error *err)
{
	struct replay_store *w = xcalloc(1, sizeof *w);

	w->r = r;
	w->err = err;
	w->queues = xcalloc(r->settings->queues_len + 1, sizeof *w->queues);
	return w;
}

void replay_store_free(struct replay_store *w)
{
	for (size_t i = 0; i < w->r->settings->queues_len; i++)
		if (w->queues[i].state != QUEUE_UNTRIED)
			mapping_release(&w->queues[i].map);
	for (size_t i = 0; i < w->unknown_len; i++)
		free(w->unknown[i]);
	free(w->unknown);
	free(w->queues);
	free(w);
}

void replay_store_take(struct replay_store *w, const struct spool_record *r)
{
	struct mapping *m = w->lost ? NULL : find_queue(w, r);

	w->r->count.records++;
	FAILPOINT(replay_record);
	if (m != NULL && r->kind == SPOOL_DONE && m->q->on_success[0] == '\0') {
		batch_add(w, m, r);
		return;
	}
	if (m != NULL && settle(w, m, r) == SETTLED)
		return;
	w->kept++;
	w->r->count.kept++;
}

bool replay_store_is_unwanted(struct replay_store *w, const struct spool_record *r)
{
	struct mapping *m = w->lost ? NULL : find_queue(w, r);
	struct error why = ERROR_INIT;
	char *verdict = m != NULL ? ask_verdict(w, m, r, &why) : NULL;
	bool unwanted = verdict != NULL && !late_is_adopted_unasked(late_of_verdict(verdict));

	if (m != NULL && verdict == NULL)
		is_data_error(w, &why);		/* notes that the database is gone */
	free(verdict);
	return unwanted;
}

size_t replay_store_flush(struct replay_store *w)
{
	size_t kept;

	batch_store(w);
	kept = w->kept;
	w->kept = 0;
	return kept;
}

bool replay_store_lost(const struct replay_store *w)
{
	return w->lost;
}
