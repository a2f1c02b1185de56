/*
 * db.c - one asynchronous libpq connection, always in pipeline mode.
 *
 * Lives here: connecting and coming back, the queue of unanswered requests,
 * matching what the server says to them, deadlines.
 * Not here:   a single request (db_request.c), SQL text (sql/), what an error
 *             means for a job (store.c), logging.
 *
 * Callbacks of the event loop note facts: an answer, or why the connection is of
 * no more use (db_doom). What follows from that is done in one place, db_turn().
 */
#include "db.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "buf.h"
#include "db_detour.h"
#include "db_request.h"
#include "ident.h"
#include "pg.h"

#define CHANNELS_MAX 2
#define CONNECT_TIME (10 * SEC)
#define ANSWER_TIME (45 * SEC)
#define BACKOFF_FIRST (100 * MSEC)
#define BACKOFF_LAST (10 * SEC)
#define BACKOFF_SPREAD 0.5
#define STEADY_TIME (30 * SEC)	/* ready for this long: the next loss is a new one */

struct db {
	struct event_base *base;
	struct db_events events;
	void *arg;

	struct conninfo conninfo;
	struct error conninfo_error;	/* ERR_NONE unless the URL is wrong */
	struct conninfo detour;		/* the same with its hosts in another order; empty once we are connected */
	char *listen[CHANNELS_MAX];	/* LISTEN statements, then NULL */

	enum db_state state;
	usec_t since;			/* when it was entered */
	usec_t retry_at;		/* in DB_WAITING */
	usec_t backoff;			/* before the next jitter */
	uint64_t readies;

	PGconn *conn;			/* NULL in DB_WAITING and DB_CLOSED */
	struct event *io;		/* connecting: one poll; later: readable */
	struct event *out;		/* writable, while PQflush() left something */
	struct event *turn;		/* makes db_turn() run in this loop turn */
	struct error why;		/* set: the connection is of no more use */

	struct db_request *head, **tail;	/* unanswered, in the order sent */
	struct db_request *unwritten;	/* the first that libpq does not have yet; the rest follow it */
	bool alone;			/* a request with a BEGIN of its own is under way: write nothing behind it */
	size_t pending;
	usec_t heard;			/* when the server last answered, or had nothing to answer */
	struct error refusal;		/* of the head, until its sync */
	size_t refused_at;

	usec_t connect_time, answer_time;
	usec_t backoff_last;

	struct db_plans *plans;
	bool prepare, may_unprepare;	/* prepare statements; until a pooler shows that it is useless */
};

static const char *const state_name[DB_STATES] = {
	[DB_CONNECTING] = "connecting",
	[DB_SETTING_UP] = "setting_up",
	[DB_READY] = "ready",
	[DB_WAITING] = "waiting",
	[DB_CLOSED] = "closed",
};

static const bool db_may[DB_STATES][DB_STATES] = {
	[DB_CONNECTING] = { [DB_SETTING_UP] = true, [DB_WAITING] = true, [DB_CLOSED] = true },
	[DB_SETTING_UP] = { [DB_READY] = true, [DB_WAITING] = true, [DB_CLOSED] = true },
	[DB_READY]      = { [DB_WAITING] = true, [DB_CLOSED] = true },
	[DB_WAITING]    = { [DB_CONNECTING] = true, [DB_CLOSED] = true },
};

static void db_enter(struct db *db, enum db_state next);

/* ---- facts ---- */

/* Something changed: db_turn() runs before the loop sleeps. */
static void db_touch(struct db *db)
{
	if (db->state != DB_CLOSED)
		event_active(db->turn, EV_TIMEOUT, 1);
}

/* The connection is of no more use; the first reason stays. */
static void db_doom(struct db *db, const struct error *why)
{
	if (db->why.kind == ERR_NONE)
		db->why = *why;
	db_touch(db);
}

static void db_doom_because(struct db *db, const char *what)
{
	struct error why = ERROR_INIT;

	error_set(&why, ERR_NO_DB, "%s", what);
	db_doom(db, &why);
}

static void db_doom_conn(struct db *db, const PGresult *res)
{
	struct error why = ERROR_INIT;

	pg_error(&why, db->conn, res);
	why.kind = ERR_NO_DB;
	db_doom(db, &why);
}

/* A deadline passed. Says where we are connected or connecting to, without a password. */
static void db_doom_late(struct db *db, const char *what, usec_t limit)
{
	struct error why = ERROR_INIT;
	struct buf where = BUF_INIT;
	char text[USEC_TEXT_MAX];

	pg_describe(&where, db->conn);
	error_set(&why, ERR_NO_DB, "%s within %s (%s)", what, usec_text(limit, text), buf_text(&where));
	buf_release(&where);
	db_doom(db, &why);
}

static bool db_is_doomed(const struct db *db)
{
	return db->conn == NULL || db->why.kind != ERR_NONE;
}

/* ---- sending ---- */

static void db_flush(struct db *db)
{
	int left = PQflush(db->conn);

	if (left < 0)
		db_doom_conn(db, NULL);
	else if (left > 0)
		event_add(db->out, NULL);
	else
		event_del(db->out);
}

/* Hand libpq all that may go out now. */
static void db_write(struct db *db)
{
	while (db->unwritten && !db->alone && !db_is_doomed(db)) {
		struct db_request *r = db->unwritten;

		db->unwritten = r->next;
		db->alone = r->transaction;
		if (!db_request_write(r, db->conn, db->prepare ? db->plans : NULL))
			db_doom_conn(db, NULL);
	}
	if (!db_is_doomed(db))
		db_flush(db);
}

/* At the end of the queue. On a doomed connection it is answered DB_LOST with the others. */
static void db_submit(struct db *db, struct db_request *r)
{
	assert(r->len > 0);
	if (!db->head) {
		db->heard = clock_now();	/* the time to answer begins */
		db_touch(db);
	}
	*db->tail = r;
	db->tail = &r->next;
	db->pending++;
	if (!db->unwritten)
		db->unwritten = r;
	db_write(db);
}

void db_send(struct db *db, struct db_request *r)
{
	assert(db->state == DB_READY);
	db_submit(db, r);
}

/* ---- answering ---- */

const struct db_reply *db_answer_vanished(struct db *db)
{
	static const struct db_reply lost = { .outcome = DB_LOST };

	db_doom_conn(db, NULL);
	db_touch(db);
	return &lost;
}

/* Take the head off the queue and answer it. The callback may send the next one or close db. */
static void db_answer(struct db *db, enum db_outcome outcome, const struct error *error)
{
	struct db_request *r = db->head;
	struct db_reply reply = { .outcome = outcome };

	db->head = r->next;
	if (!db->head)
		db->tail = &db->head;
	db->pending--;

	if (outcome == DB_DONE) {
		reply.results = r->results;
		reply.len = r->got;
	} else {
		reply.error = *error;
		reply.failed = outcome == DB_REFUSED ? db->refused_at : 0;
		reply.len = r->len;
	}
	db->refusal = (struct error)ERROR_INIT;		/* the next head has none yet */
	db_touch(db);
	r->done(r->arg, &reply);
	db_request_free(r);
}

/* Nobody knows what became of the requests that are still unanswered. */
static void db_answer_lost(struct db *db, const struct error *why)
{
	while (db->head)
		db_answer(db, DB_LOST, why);
}

static void ignore_answer(void *arg, const struct db_reply *reply)
{
	(void)arg, (void)reply;
}

/*
 * A sync ends no transaction that began with a BEGIN: after an error it would stay
 * open and refuse all that follows. Nothing was written behind it, so libpq is idle
 * now and knows; a ROLLBACK goes before those that wait.
 */
static void db_end_transaction(struct db *db)
{
	struct db_request *rollback;
	PGTransactionStatusType status;

	PQclear(PQgetResult(db->conn));		/* NULL; only then libpq calls itself idle */
	status = PQtransactionStatus(db->conn);
	if (status == PQTRANS_INERROR) {
		rollback = db_request_new(ignore_answer, NULL);
		db_request_add(rollback, "ROLLBACK", 0, NULL, NULL);
		rollback->next = db->head->next;
		db->head->next = rollback;
		if (db->tail == &db->head->next)
			db->tail = &rollback->next;
		db->pending++;
		db->unwritten = rollback;
	} else if (status != PQTRANS_IDLE) {
		db_doom_because(db, "a request left its transaction open");
	}
	db->alone = false;
	db_write(db);
}

/* The sync of the head came back: now, and only now, its outcome is certain. */
static void db_answer_sync(struct db *db)
{
	struct error refusal = db->refusal;

	if (refusal.kind == ERR_NONE && db->head->got != db->head->len)
		db_doom_because(db, "the server did not answer every statement");
	else if (db->head->transaction)
		db_end_transaction(db);
	if (db_is_doomed(db))
		return;		/* answered DB_LOST with the others */
	if (refusal.kind == ERR_NONE) {
		db_answer(db, DB_DONE, NULL);
		return;
	}
	/* A read-only server may be a former primary: look for the new one. */
	if (strcmp(refusal.sqlstate, "25006") == 0)
		db_doom(db, &refusal);
	db_answer(db, DB_REFUSED, &refusal);
}

/* ---- receiving ---- */

static bool is_fatal(const PGresult *res)
{
	const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);

	return severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

/*
 * What was to be prepared behind the error is not. And where the server does not
 * know a name that it was given, or knows it already, a pooler changes servers under
 * us: from now on statements go unnamed (the refused ones are sent again).
 */
static void db_unprepare(struct db *db, const char *sqlstate)
{
	struct db_request *r = db->head;

	for (size_t i = r->got; i < r->len; i++) {
		if (r->statements[i].prepares)
			db_plans_drop(db->plans, r->statements[i].sql);
		r->statements[i].prepares = false;
	}
	/* 0A000: a plan of the user's statement that a change of its table made useless. */
	if (db->prepare && db->may_unprepare
	    && (strcmp(sqlstate, "26000") == 0 || strcmp(sqlstate, "42P05") == 0 || strcmp(sqlstate, "0A000") == 0)) {
		db->prepare = false;
		strcpy(db->refusal.sqlstate, "26000");
	}
}

/* An error of the server: about the statement, or the end of the connection. */
static void db_note_error(struct db *db, const PGresult *res)
{
	const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	if (is_fatal(res) || pg_verdict(sqlstate) == PG_LOST) {
		db_doom_conn(db, res);
		return;
	}
	if (db->refusal.kind != ERR_NONE)
		return;
	pg_error(&db->refusal, db->conn, res);
	db->refused_at = db->head->got;
	db_unprepare(db, sqlstate);
}

static void db_note_unexpected(struct db *db, const PGresult *res)
{
	struct error why = ERROR_INIT;

	error_set(&why, ERR_NO_DB, "unexpected answer of the server: %s", PQresStatus(PQresultStatus(res)));
	db_doom(db, &why);
}

/* One result belongs to the head of the queue; takes res. */
static void db_take_result(struct db *db, PGresult *res)
{
	struct db_request *r = db->head;
	ExecStatusType status = PQresultStatus(res);

	if (!r) {
		db_note_unexpected(db, res);
	} else if (status == PGRES_PIPELINE_SYNC) {
		db_answer_sync(db);
	} else if (status == PGRES_FATAL_ERROR) {
		db_note_error(db, res);
	} else if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY) {
		if (r->got < r->len && r->statements[r->got].prepares) {
			r->statements[r->got].prepares = false;		/* the answer to its Parse */
			PQclear(res);
			return;
		}
		if (r->got < r->len) {
			r->results[r->got++] = res;
			return;
		}
		db_note_unexpected(db, res);
	} else if (status != PGRES_PIPELINE_ABORTED) {
		db_note_unexpected(db, res);	/* COPY, or an answer that is no answer */
	}
	PQclear(res);
}

/*
 * Everything that has arrived. One NULL ends a statement, two in a row say that
 * nothing is under way; libpq only turns idle when it was asked that far.
 */
static void db_take_results(struct db *db)
{
	int nulls = 0;

	while (nulls < 2 && !db_is_doomed(db) && !PQisBusy(db->conn)) {
		PGresult *res = PQgetResult(db->conn);

		nulls = res ? 0 : nulls + 1;
		if (res)
			db_take_result(db, res);
	}
}

static void db_take_notifies(struct db *db)
{
	PGnotify *n;

	while (!db_is_doomed(db) && (n = PQnotifies(db->conn)) != NULL) {
		if (db->events.notified)
			db->events.notified(db->arg, n->relname, n->extra);
		PQfreemem(n);
		db_touch(db);
	}
}

static void db_on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct db *db = arg;

	(void)fd, (void)what;
	if (db_is_doomed(db))
		return;
	if (!PQconsumeInput(db->conn)) {
		db_doom_conn(db, NULL);
		return;
	}
	db->heard = clock_now();
	db_flush(db);		/* while much is being sent, reading is what lets the server take more */
	db_take_results(db);
	db_take_notifies(db);
}

static void db_on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct db *db = arg;

	(void)fd, (void)what;
	if (!db_is_doomed(db))
		db_flush(db);
}

/*
 * Notices are dropped, but the last words of a server that shuts an idle
 * connection come as one: they tell more than the broken socket that follows.
 */
static void db_on_notice(void *arg, const PGresult *res)
{
	struct db *db = arg;

	if (is_fatal(res))
		db_doom_conn(db, res);
}

/* ---- connecting ---- */

static void db_on_set_up(void *arg, const struct db_reply *reply)
{
	struct db *db = arg;

	if (reply->outcome == DB_DONE)
		db_enter(db, DB_READY);
	else if (reply->outcome == DB_REFUSED)
		db_doom(db, &reply->error);
}

static void db_start_set_up(struct db *db)
{
	struct db_request *r = db_request_new(db_on_set_up, db);

	event_free(db->io);
	db->io = event_new(db->base, PQsocket(db->conn), EV_READ | EV_PERSIST, db_on_readable, db);
	db->out = event_new(db->base, PQsocket(db->conn), EV_WRITE, db_on_writable, db);
	db_request_add(r, pg_session_sql(), 0, NULL, NULL);
	for (int i = 0; i < CHANNELS_MAX && db->listen[i]; i++)
		db_request_add(r, db->listen[i], 0, NULL, NULL);
	if (!db->io || !db->out || event_add(db->io, NULL) < 0 || PQsetnonblocking(db->conn, 1) < 0 ||
	    !PQenterPipelineMode(db->conn))
		db_doom_conn(db, NULL);
	db_submit(db, r);
}

static void db_on_connecting(evutil_socket_t fd, short what, void *arg);

/* Wait for what libpq waits for. Its socket may be another one after every poll. */
static void db_watch_connecting(struct db *db, short what)
{
	if (db->io)
		event_free(db->io);
	db->io = event_new(db->base, PQsocket(db->conn), what, db_on_connecting, db);
	if (!db->io || event_add(db->io, NULL) < 0)
		db_doom_conn(db, NULL);
}

static void db_on_connecting(evutil_socket_t fd, short what, void *arg)
{
	struct db *db = arg;

	(void)fd, (void)what;
	if (db_is_doomed(db))
		return;
	switch (PQconnectPoll(db->conn)) {
	case PGRES_POLLING_OK:      db_enter(db, DB_SETTING_UP); break;
	case PGRES_POLLING_READING: db_watch_connecting(db, EV_READ); break;
	case PGRES_POLLING_WRITING: db_watch_connecting(db, EV_WRITE); break;
	case PGRES_POLLING_FAILED:
	case PGRES_POLLING_ACTIVE:  db_doom_conn(db, NULL); break;
	}
}

static void db_start_connecting(struct db *db)
{
	const struct conninfo *way = db->detour.len > 0 ? &db->detour : &db->conninfo;

	if (db->conninfo_error.kind != ERR_NONE) {
		db_doom(db, &db->conninfo_error);
		return;
	}
	db->conn = PQconnectStartParams((const char *const *)way->keywords, (const char *const *)way->values, 0);
	if (!db->conn || PQstatus(db->conn) == CONNECTION_BAD) {
		db_doom_conn(db, NULL);
		return;
	}
	PQsetNoticeReceiver(db->conn, db_on_notice, db);
	db_watch_connecting(db, EV_WRITE);
}

/* ---- states ---- */

static void db_drop(struct db *db)
{
	if (db->io)
		event_free(db->io);
	if (db->out)
		event_free(db->out);
	db->io = db->out = NULL;
	PQfinish(db->conn);
	db->conn = NULL;
	db->unwritten = NULL;
	db->alone = false;
	db_plans_clear(db->plans);
}

static void db_arm_retry(struct db *db)
{
	usec_t pause = usec_min(db->backoff, db->backoff_last);

	db->retry_at = clock_now() + usec_jitter(pause, BACKOFF_SPREAD);
	db->backoff = usec_min(2 * db->backoff, BACKOFF_LAST);
}

static void db_tell_ready(struct db *db)
{
	db->readies++;
	conninfo_release(&db->detour);
	if (db->events.ready)
		db->events.ready(db->arg);
}

/* The only place where the state changes, and what belongs to the change. */
static void db_enter(struct db *db, enum db_state next)
{
	usec_t now = clock_now();

	assert(db_may[db->state][next]);
	if (db->state == DB_READY && now - db->since >= STEADY_TIME)
		db->backoff = BACKOFF_FIRST;
	db->state = next;
	db->since = now;
	db_touch(db);

	switch (next) {
	case DB_CONNECTING: db_start_connecting(db); break;
	case DB_SETTING_UP: db_start_set_up(db); break;
	case DB_READY:      db_tell_ready(db); break;
	case DB_WAITING:    db_drop(db); db_arm_retry(db); break;
	case DB_CLOSED:     db_drop(db); event_del(db->turn); break;
	case DB_STATES:     break;
	}
}

/* Give the connection up: every open request gets its answer, then lost() is called once. */
static void db_lose(struct db *db)
{
	struct error why = db->why;

	db->why = (struct error)ERROR_INIT;
	db_enter(db, DB_WAITING);
	db_answer_lost(db, &why);
	if (db->state == DB_WAITING && db->events.lost)
		db->events.lost(db->arg, &why, db->retry_at - db->since);
}

static usec_t db_deadline(const struct db *db)
{
	switch (db->state) {
	case DB_CONNECTING:
	case DB_SETTING_UP: return db->since + db->connect_time;
	case DB_READY:      return db->head ? db->heard + db->answer_time : USEC_NEVER;
	case DB_WAITING:    return db->retry_at;
	case DB_CLOSED:
	case DB_STATES:     break;
	}
	return USEC_NEVER;
}

static void db_pass_deadline(struct db *db)
{
	switch (db->state) {
	case DB_CONNECTING:
		db_doom_late(db, "no connection", db->connect_time);
		db_detour_plan(&db->detour, db->conn);
		break;
	case DB_SETTING_UP:
		db_doom_late(db, "no session", db->connect_time);
		db_detour_plan(&db->detour, db->conn);
		break;
	case DB_READY:      db_doom_late(db, "no answer", db->answer_time); break;
	case DB_WAITING:    db_enter(db, DB_CONNECTING); break;
	case DB_CLOSED:
	case DB_STATES:     break;
	}
}

/* What follows from all that was noted in this turn of the loop. */
static void db_turn(evutil_socket_t fd, short what, void *arg)
{
	struct db *db = arg;

	(void)fd, (void)what;
	if (db->why.kind == ERR_NONE && clock_now() >= db_deadline(db))
		db_pass_deadline(db);
	if (db->why.kind != ERR_NONE)
		db_lose(db);
	event_del(db->turn);	/* what was touched up to here is told now */
	if (db->state != DB_CLOSED && db->events.changed)
		db->events.changed(db->arg);
}

usec_t db_advance(struct db *db, usec_t now)
{
	usec_t deadline = db_deadline(db);

	if (now < deadline)
		return deadline;
	db_touch(db);		/* changed() comes, and with it the next call */
	return USEC_NEVER;
}

/* ---- life ---- */

void db_listen(struct db *db, const char *channel)
{
	struct buf sql = BUF_INIT;
	int i = 0;

	while (db->listen[i])
		i++;
	assert(i < CHANNELS_MAX);
	buf_adds(&sql, "LISTEN ");
	ident_quote(&sql, channel);
	db->listen[i] = buf_give(&sql);
}

static struct db *db_make(struct event_base *base, const struct db_events *events, void *arg)
{
	struct db *db = xcalloc(1, sizeof *db);

	db->base = base;
	db->events = *events;
	db->arg = arg;
	db->tail = &db->head;
	db->connect_time = CONNECT_TIME;
	db->answer_time = ANSWER_TIME;
	db->backoff_last = BACKOFF_LAST;
	db->backoff = BACKOFF_FIRST;
	db->plans = db_plans_new();
	db->turn = event_new(base, -1, 0, db_turn, db);
	if (!db->turn)
		abort();	/* no memory for an event: as xmalloc() does */
	return db;
}

static struct db *db_begin(struct db *db)
{
	db->state = DB_WAITING;
	db_enter(db, DB_CONNECTING);
	return db;
}

struct db *db_new(struct event_base *base, const char *url, const char *application, const char *listen,
                  const struct db_events *events, void *arg)
{
	struct db *db = db_make(base, events, arg);

	if (listen)
		db_listen(db, listen);
	conninfo_init(&db->conninfo, url, application, &db->conninfo_error);
	return db_begin(db);
}

struct db *db_new_beside(const struct db *other, const char *application, const struct db_events *events, void *arg)
{
	struct db *db = db_make(other->base, events, arg);

	assert(db_is_ready(other));
	db_set_prepare(db, other->prepare, other->may_unprepare);
	db_detour_beside(&db->conninfo, other->conn, application);
	if (db->conninfo.len == 0)
		error_set(&db->conninfo_error, ERR_SYS, "no memory to connect with");
	return db_begin(db);
}

void db_close(struct db *db)
{
	struct error why = ERROR_INIT;

	if (db->state == DB_CLOSED)
		return;
	error_set(&why, ERR_NO_DB, "the connection was closed on purpose");
	db->why = (struct error)ERROR_INIT;
	db_enter(db, DB_CLOSED);
	db_answer_lost(db, &why);
}

void db_free(struct db *db)
{
	if (!db)
		return;
	db_close(db);
	event_free(db->turn);
	conninfo_release(&db->conninfo);
	conninfo_release(&db->detour);
	db_plans_free(db->plans);
	for (int i = 0; i < CHANNELS_MAX; i++)
		free(db->listen[i]);
	free(db);
}

void db_set_prepare(struct db *db, bool prepare, bool may_unprepare)
{
	db->prepare = prepare;
	db->may_unprepare = may_unprepare;
}

void db_set_deadlines(struct db *db, usec_t connect, usec_t answer)
{
	db->connect_time = connect;
	db->answer_time = answer;
	db_touch(db);
}

void db_set_longest_pause(struct db *db, usec_t longest)
{
	db->backoff_last = usec_min(longest < BACKOFF_FIRST ? BACKOFF_FIRST : longest, BACKOFF_LAST);
	db->backoff = usec_min(db->backoff, db->backoff_last);
}

enum db_state db_state(const struct db *db)
{
	return db->state;
}

const char *db_state_name(enum db_state s)
{
	return state_name[s];
}

bool db_is_ready(const struct db *db)
{
	return db->state == DB_READY && !db_is_doomed(db);
}

size_t db_pending(const struct db *db)
{
	return db->pending;
}

uint64_t db_reconnects(const struct db *db)
{
	return db->readies > 1 ? db->readies - 1 : 0;
}
