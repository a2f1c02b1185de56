/*
 * presence.c - being registered in unstuck.workers. Not here: what is held (reconcile.c),
 * judging other workers (rescue.c).
 */
#include "presence.h"

#include <event2/util.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "failpoint.h"
#include "log.h"
#include "reconcile.h"
#include "sqltext.h"
#include "store.h"
#include "version.h"

#define LEAVE_PAUSE (200 * MSEC)

/* A version 4 uuid: never reused, never derived from host or pid. */
static void presence_draw_id(worker_id id)
{
	unsigned char b[16];

	if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
		abort();	/* cannot fail for 16 bytes once the kernel's pool is ready */
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	snprintf(id, WORKER_ID_LEN + 1,
	         "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
	         b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7],
	         b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

void presence_init(struct worker *w)
{
	w->presence = ABSENT;
	presence_draw_id(w->id);
}

/* ---- register ---- */

static void presence_registered(void *arg, const struct db_reply *reply)
{
	struct worker *w = arg;

	if (FAILS_AT(register_reply))
		reply = db_answer_vanished(w->db);
	if (reply->outcome == DB_DONE) {
		w->presence = PRESENT;
		w->beat_at = clock_now() + w->set->heartbeat;
		return;
	}
	w->presence = ABSENT;
	if (reply->outcome == DB_REFUSED) {
		log_event(LOG_ERROR, "register_failed", LS("error", reply->error.text),
		          LS("next", "no claims until it succeeds; trying again"));
		w->beat_at = clock_now() + SEC;
	}
}

static void presence_register(struct worker *w)
{
	char host[256] = "";
	struct db_request *r = db_request_new(presence_registered, w);
	char *params[6];

	if (gethostname(host, sizeof host - 1) != 0)
		snprintf(host, sizeof host, "unknown");
	params[0] = xstrdup(w->id);
	params[1] = xstrdup(host);
	params[2] = xasprintf("%d", (int)getpid());
	params[3] = xstrdup(unstuck_version);
	params[4] = xasprintf("%.3f", (double)w->set->heartbeat / (double)SEC);
	params[5] = xasprintf("%.3f", (double)w->set->worker_timeout / (double)SEC);
	w->presence = REGISTERING;
	FAILPOINT(before_register);
	db_request_add(r, sqltext("workers", "register"), 6, params, NULL);
	db_send(w->db, r);
	FAILPOINT(after_register);
}

/* ---- beat ---- */

static void presence_beaten(void *arg, const struct db_reply *reply)
{
	struct worker *w = arg;

	w->beating = false;
	if (reply->outcome == DB_REFUSED)
		log_event(LOG_WARNING, "beat_failed", LS("error", reply->error.text), LS("next", "trying again"));
	if (reply->outcome != DB_DONE || PQntuples(reply->results[0]) != 0)
		return;
	if (w->presence != PRESENT)
		return;
	log_event(LOG_WARNING, "declared_dead", LS("worker", w->id),
	          LS("next", "going on under a new id; results of jobs in flight count only while nobody else took them"));
	presence_draw_id(w->id);
	w->presence = ABSENT;
	w->beat_at = 0;
}

static void presence_beat(struct worker *w, usec_t now)
{
	struct db_request *r = db_request_new(presence_beaten, w);
	char *params[] = { xstrdup(w->id), xstrdup(worker_state_name(worker_state(w))) };

	w->beating = true;
	w->beat_at = now + w->set->heartbeat;
	db_request_add(r, sqltext("workers", "beat"), 2, params, NULL);
	db_send(w->db, r);
	reconcile(w);	/* also with nothing in flight: a claim whose connection is long gone may commit at any time */
}

void presence_hurry(struct worker *w)
{
	w->beat_at = 0;
}

void presence_connected(struct worker *w)
{
	w->beat_at = 0;
	w->beating = false;
}

/* ---- goodbye ---- */

static void presence_left(void *arg, const struct db_reply *reply)
{
	struct worker *w = arg;

	if (FAILS_AT(goodbye_reply))
		reply = db_answer_vanished(w->db);
	if (reply->outcome == DB_DONE && PQntuples(reply->results[1]) != 0) {
		w->presence = GONE;
		return;
	}
	/* Lost, or something is still held (a claim that committed late): again, until the deadline of this part. */
	w->presence = PRESENT;
	w->leave_at = clock_now() + LEAVE_PAUSE;
	if (reply->outcome == DB_DONE && store_is_empty(w))	/* a row whose result is still to be stored is not given back */
		worker_release_all(w);
}

static void presence_leave(struct worker *w)
{
	struct db_request *r = db_request_new(presence_left, w);
	char *first[] = { xstrdup(w->id) }, *then[] = { xstrdup(w->id) };

	w->presence = LEAVING;
	FAILPOINT(before_goodbye);
	db_request_add(r, sqltext("workers", "leave"), 1, first, NULL);
	db_request_add(r, sqltext("workers", "unregister"), 1, then, NULL);
	db_send(w->db, r);
	FAILPOINT(after_goodbye);
}

usec_t presence_advance(struct worker *w, usec_t now)
{
	if (!db_is_ready(w->db))
		return USEC_NEVER;
	if (w->presence == ABSENT && !worker_stopping(w)) {
		if (now < w->beat_at)
			return w->beat_at;
		presence_register(w);
	} else if (w->presence == PRESENT && w->leaving) {
		if (now < w->leave_at)
			return w->leave_at;
		presence_leave(w);
	} else if (w->presence == PRESENT && !w->beating) {
		if (now < w->beat_at)
			return w->beat_at;
		presence_beat(w, now);
		return w->beat_at;
	}
	return USEC_NEVER;
}

bool presence_is_over(const struct worker *w)
{
	return w->presence == GONE || w->presence == ABSENT;
}
