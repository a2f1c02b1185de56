/*
 * announce.c - see announce.h. Not here: the lines in the log (worker.c).
 */
#include "announce.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keep.h"
#include "redis.h"

static const char notify_sql[] = "SELECT pg_notify('unstuck_events', $1)";

/* Only what can go anywhere as it is; something else is nobody's id. */
const char *announce_trace_id(void)
{
	static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:/=+";
	const char *id = getenv("UNSTUCK_TRACE_ID");

	if (id == NULL || id[0] == '\0' || strlen(id) > TRACE_ID_MAX || id[strspn(id, good)] != '\0')
		return NULL;
	return id;
}

static json_t *announcement(const struct worker *w, const char *event)
{
	char host[256] = "";
	json_t *doc;

	if (gethostname(host, sizeof host - 1) != 0 || !utf8_valid(host, strlen(host)))
		strcpy(host, "unknown");
	doc = json_pack("{s:s, s:s, s:s, s:i, s:s}", "event", event, "worker", w->id, "host", host,
	                "pid", (int)getpid(), "reason", w->shutdown.reason);
	if (announce_trace_id() != NULL)
		json_object_set_new(doc, "trace_id", json_string(announce_trace_id()));
	return doc;
}

static void announced(void *arg, const struct db_reply *reply)
{
	struct worker *w = arg;

	(void)reply;	/* nobody waits for it but the stop */
	w->announcing--;
}

static void published(void *arg, const struct redisReply *reply)
{
	struct worker *w = arg;

	(void)reply;
	w->publishing--;
}

/* Takes doc. */
static void announce(struct worker *w, json_t *doc)
{
	char *text = json_dumps(doc, JSON_COMPACT);
	struct db_request *r;

	json_decref(doc);
	if (text != NULL && redis_send(w, published, w, 3, (const char *const[]){ "PUBLISH", "unstuck:events", text }))
		w->publishing++;
	if (text == NULL || !db_is_ready(w->db)) {
		free(text);
		return;
	}
	w->announcing++;
	r = db_request_new(announced, w);
	db_request_add(r, notify_sql, 1, &text, NULL);
	db_send(w->db, r);
}

void announce_stopping(struct worker *w, usec_t deadline)
{
	json_t *doc = announcement(w, "stopping");
	usec_t now = clock_now();
	char text[WALL_TEXT_MAX];

	wall_text(clock_wall() + (deadline > now ? deadline - now : 0), text);
	json_object_set_new(doc, "deadline", json_string(text));
	json_object_set_new(doc, "running", json_integer((json_int_t)w->running));
	announce(w, doc);
}

/* All parts but the one that sends this. */
static json_t *parts_json(const struct shutdown *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->at; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "name", s->parts[i].name,
			"status", part_state_name(s->report[i].state), "ms", (json_int_t)(s->report[i].took / MSEC)));
	return list;
}

void announce_shutdown(struct worker *w)
{
	json_t *doc = announcement(w, "shutdown");

	json_object_update_new(doc, json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}",
		"elapsed_ms", (json_int_t)((clock_now() - w->shutdown.begun_at) / MSEC),
		"finished", (json_int_t)w->count.finished, "released", (json_int_t)w->count.released,
		"killed", (json_int_t)w->count.killed, "spooled", (json_int_t)keep_count(w), "parts", parts_json(&w->shutdown)));
	announce(w, doc);
}

bool announce_is_idle(const struct worker *w)
{
	return w->announcing == 0 && w->publishing == 0;
}

bool announce_waits_for_redis(const struct worker *w)
{
	return w->announcing == 0 && w->publishing != 0;
}
