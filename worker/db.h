/*
 * db.h - one asynchronous libpq connection, always in pipeline mode.
 *
 * A request is one or more statements and one sync: one transaction. Requests
 * are answered in the order they were sent, each exactly once, never inside
 * the call that sent it, and a success only after its sync came back (a
 * deferred constraint fails there). Not here: what a job is.
 *
 *      +--------------------- retry timer (jittered backoff) -------------------+
 *      v                                                                        |
 *   CONNECTING --connected--> SETTING_UP --session set--> READY                  |
 *      |                          |                         |                   |
 *      +------ refused, late -----+------- lost, late ------+-------> WAITING --+
 *
 *   any state -- db_close() --> CLOSED
 */
#ifndef DB_H
#define DB_H

#include <event2/event.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include "clock.h"
#include "error.h"

enum db_state { DB_CONNECTING, DB_SETTING_UP, DB_READY, DB_WAITING, DB_CLOSED, DB_STATES };

enum db_outcome {
	DB_DONE,	/* committed; results hold one PGresult a statement */
	DB_REFUSED,	/* the server answered with an error: nothing was done */
	DB_LOST,	/* no answer: nobody knows; ask again after the reconnect */
};

struct db_reply {
	enum db_outcome outcome;
	PGresult *const *results;	/* DB_DONE: borrowed until the callback returns */
	size_t len;			/* statements of the request */
	size_t failed;			/* DB_REFUSED: which statement; len when it was the commit by the sync */
	struct error error;		/* DB_REFUSED, DB_LOST; sqlstate where there is one */
};

typedef void db_done_fn(void *arg, const struct db_reply *reply);

struct db_request;
struct db_request *db_request_new(db_done_fn *done, void *arg);
void db_request_free(struct db_request *r);	/* one that was never sent */

/*
 * Add a statement. sql is borrowed until the answer. params: n text values, each
 * taken (free()d by us; NULL is SQL null); the array itself is only read now.
 * types: n Oids or NULL, only read now. A request holds at least one statement.
 *
 * The statements up to the sync are one transaction without more words. One that
 * must not be ended from within (a procedure that commits) begins with BEGIN
 * and ends with COMMIT; then nothing is sent behind it before its answer, and
 * after an error a ROLLBACK goes first.
 */
void db_request_add(struct db_request *r, const char *sql, int n, char *const *params, const Oid *types);

/*
 * Callbacks run from the event loop only, or from within db_close(). They may
 * send requests and close db, but not free it.
 */
struct db;
struct db_events {
	void (*ready)(void *arg);				/* connected (again), session set */
	void (*lost)(void *arg, const struct error *why, usec_t retry_in);	/* after all DB_LOST answers */
	void (*notified)(void *arg, const char *channel, const char *payload);
	void (*changed)(void *arg);	/* once a loop turn, after any of these, any answers, any new state or deadline */
};

/* listen: a channel to LISTEN on after each connect, or NULL. url as in settings; events is copied. Starts connecting. */
struct db *db_new(struct event_base *base, const char *url, const char *application, const char *listen,
                  const struct db_events *events, void *arg);
/*
 * Another connection to the very server that `other` is connected to (it is ready), which prepares statements as that
 * one does by now. It listens to nothing.
 */
struct db *db_new_beside(const struct db *other, const char *application, const struct db_events *events, void *arg);
/* Another channel, before the loop runs. */
void db_listen(struct db *db, const char *channel);
void db_close(struct db *db);		/* unanswered requests are answered DB_LOST here; lost() is not called */
void db_free(struct db *db);		/* closes it first; never from within a callback */

bool db_is_ready(const struct db *db);
enum db_state db_state(const struct db *db);
const char *db_state_name(enum db_state s);
size_t db_pending(const struct db *db);		/* requests sent and not answered */
uint64_t db_reconnects(const struct db *db);
void db_send(struct db *db, struct db_request *r);	/* takes r; only when ready */

/* The answer that is given just now never came, and the connection is gone: for failpoints. */
const struct db_reply *db_answer_vanished(struct db *db);

/*
 * Deadlines: connecting (10 s), session set-up (10 s), 45 s without any answer
 * while one is due, retry. Returns when to call again (monotonic). Calls nothing
 * back itself: what a passed deadline leads to happens in the next loop turn.
 */
usec_t db_advance(struct db *db, usec_t now);
/*
 * Prepare statements that have parameters, once a connection (default: no).
 * may_unprepare: go on without when a pooler between makes them useless; what
 * was refused for that reason (26000) is to be sent again.
 */
void db_set_prepare(struct db *db, bool prepare, bool may_unprepare);
/* The longest pause between two tries to connect, before jitter; 100 ms to 10 s, by default 10 s. */
void db_set_longest_pause(struct db *db, usec_t longest);
void db_set_deadlines(struct db *db, usec_t connect, usec_t answer);	/* for tests */

#endif
