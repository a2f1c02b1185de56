/*
 * lanes.c - see lanes.h.
 *
 * Not here: a connection itself (db.c), what is written (store.c).
 */
#include "lanes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "claim.h"
#include "log.h"
#include "sqltext.h"

#define LOAD 100			/* outcomes in a write: from here on it keeps a server process busy for a while */
#define IDLE_CLOSE MINUTE
#define PAUSE (1 * SEC)			/* after a failure; doubles */
#define PAUSE_MAX MINUTE
#define STEADY_TIME (30 * SEC)		/* open for this long: the next failure is a new one */

enum lane_state { LANE_CLOSED, LANE_ASKING, LANE_OPENING, LANE_CHECKING, LANE_OPEN };

struct lanes {
	struct worker *w;
	enum lane_state state;
	struct db *second;		/* NULL until LANE_OPENING; DB_CLOSED until it is freed */
	char server[64];		/* what the first one said it is connected to */
	usec_t load_at;			/* when there was load, the last time */
	bool wanted;			/* there is load, and nobody has looked yet */
	usec_t open_at;
	usec_t try_at, pause;		/* after a failure: not before */
	bool told;			/* that it failed: once, until it has been open for a while */
};

/* ---- the end of it ---- */

/* Its unanswered writes go back to the store here. Freed later: we may be in one of its callbacks. */
static void second_close(struct lanes *l)
{
	l->state = LANE_CLOSED;
	if (l->second != NULL)
		db_close(l->second);
	worker_changed(l->w);
}

static void second_close_because(struct lanes *l, const char *why)
{
	if (l->state == LANE_OPEN)
		log_event(LOG_INFO, "db_second_closed", LS("why", why));
	second_close(l);
}

static void second_failed(struct lanes *l, const char *why)
{
	char pause[USEC_TEXT_MAX];
	usec_t now = clock_now();

	if (l->state == LANE_OPEN && now - l->open_at >= STEADY_TIME) {
		l->pause = PAUSE;
		l->told = false;
	}
	log_event(l->told ? LOG_DEBUG : LOG_WARNING, "db_second_failed", LS("error", why),
	          LS("next", "the first connection takes all; under load it is tried again"), LS("not_before", usec_text(l->pause, pause)));
	l->told = true;
	l->try_at = now + usec_jitter(l->pause, 0.2);
	l->pause = usec_min(2 * l->pause, PAUSE_MAX);
	second_close(l);
}

/* ---- which server is it ---- */

static void ask_server(struct lanes *l, struct db *db, db_done_fn *answered)
{
	struct db_request *r = db_request_new(answered, l);

	db_request_add(r, sqltext("session", "server"), 0, NULL, NULL);
	db_send(db, r);
}

static void second_checked(void *arg, const struct db_reply *reply)
{
	struct lanes *l = arg;

	if (l->state != LANE_CHECKING || reply->outcome == DB_LOST)
		return;		/* on_second_lost() follows, or it is closed on purpose */
	if (reply->outcome == DB_REFUSED) {
		second_failed(l, reply->error.text);
	} else if (strcmp(PQgetvalue(reply->results[0], 0, 0), l->server) != 0) {
		second_failed(l, "another server answers at the address of the first connection");
	} else {
		l->state = LANE_OPEN;
		l->open_at = l->load_at = clock_now();
		log_event(LOG_INFO, "db_second_open", LS("why", "results are written while more jobs are claimed"));
	}
}

static void on_second_ready(void *arg)
{
	struct lanes *l = arg;

	l->state = LANE_CHECKING;
	ask_server(l, l->second, second_checked);
}

static void on_second_lost(void *arg, const struct error *why, usec_t retry_in)
{
	(void)retry_in;
	second_failed(arg, why->text);
}

static void on_second_changed(void *arg)
{
	worker_changed(((struct lanes *)arg)->w);
}

static void first_answered(void *arg, const struct db_reply *reply)
{
	static const struct db_events events = { .ready = on_second_ready, .lost = on_second_lost, .changed = on_second_changed };
	struct lanes *l = arg;

	l->state = LANE_CLOSED;
	if (reply->outcome == DB_REFUSED)
		second_failed(l, reply->error.text);
	if (reply->outcome != DB_DONE || !db_is_ready(l->w->db) || worker_stopping(l->w))
		return;
	snprintf(l->server, sizeof l->server, "%s", PQgetvalue(reply->results[0], 0, 0));
	l->state = LANE_OPENING;
	l->second = db_new_beside(l->w->db, "unstuck-worker results", &events, l);
}

/* ---- which takes it ---- */

struct db *lanes_for_write(struct worker *w, struct queue *q, size_t outcomes)
{
	struct lanes *l = w->lanes;
	usec_t now = clock_now();

	if (!db_is_ready(w->db))
		return NULL;
	if (outcomes >= LOAD && (!claim_is_idle(w) || claim_goes_now(w, q, now))) {
		l->load_at = now;
		l->wanted = true;
	}
	return l->state == LANE_OPEN && db_is_ready(l->second) ? l->second : w->db;
}

void lanes_first_gone(struct worker *w)
{
	second_close_because(w->lanes, "the first connection is gone");
}

static bool second_may_open(const struct lanes *l, usec_t now)
{
	return l->state == LANE_CLOSED && l->second == NULL && l->w->set->connections > 1 && now >= l->try_at
	       && db_is_ready(l->w->db) && !worker_stopping(l->w);
}

usec_t lanes_advance(struct worker *w, usec_t now)
{
	struct lanes *l = w->lanes;

	if (l->second != NULL && w->set->connections == 1)
		second_close_because(l, "the settings allow one");
	else if (l->state == LANE_OPEN && now >= l->load_at + IDLE_CLOSE)
		second_close_because(l, "there is no load");
	if (l->second != NULL && db_state(l->second) == DB_CLOSED) {
		db_free(l->second);
		l->second = NULL;
	}
	if (l->wanted && second_may_open(l, now)) {
		l->state = LANE_ASKING;
		ask_server(l, w->db, first_answered);
	}
	l->wanted = false;
	if (l->second == NULL)
		return USEC_NEVER;
	return usec_min(db_advance(l->second, now), l->state == LANE_OPEN ? l->load_at + IDLE_CLOSE : USEC_NEVER);
}

const struct db *lanes_second(const struct worker *w)
{
	return w->lanes->second;
}

/* ---- life ---- */

void lanes_open(struct worker *w)
{
	w->lanes = xcalloc(1, sizeof *w->lanes);
	w->lanes->w = w;
	w->lanes->pause = PAUSE;
}

void lanes_close(struct worker *w)
{
	if (w->lanes == NULL)
		return;
	db_free(w->lanes->second);
	free(w->lanes);
	w->lanes = NULL;
}
