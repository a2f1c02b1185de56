/*
 * state.c - see state.h. Not here: the lists that the database fills (state_lists.c).
 */
#include "state.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keep.h"
#include "redis.h"
#include "state_lists.h"
#include "version.h"
#include "view.h"

struct state {
	struct worker *w;
	char host[256];
	enum worker_state state;
	usec_t since, started;		/* wall clock */
};

/* ---- this worker ---- */

static json_t *counters_json(const struct worker *w)
{
	const struct { const char *name; uint64_t n; } counters[] = {
		{ "started", w->count.started }, { "finished", w->count.finished }, { "done", w->count.done },
		{ "failed", w->count.failed }, { "retried", w->count.retried }, { "released", w->count.released },
		{ "killed", w->count.killed }, { "late", w->count.late }, { "recovered", w->count.recovered },
		{ "spooled", keep_count(w) },
	};
	json_t *doc = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		json_object_set_new(doc, counters[i].name, json_integer((json_int_t)counters[i].n));
	return doc;
}

static json_t *database_json(const struct worker *w)
{
	return json_pack("{s:b, s:I, s:o}", "connected", db_is_ready(w->db), "reconnects", (json_int_t)db_reconnects(w->db),
	                 "last_error", w->db_error.kind != ERR_NONE ? state_string(w->db_error.text) : json_null());
}

static json_t *redis_json(const struct worker *w)
{
	const char *why = redis_last_error(w);

	if (!redis_is_used(w))
		return json_null();
	return json_pack("{s:b, s:o}", "connected", redis_is_ready(w), "last_error", why != NULL ? state_string(why) : json_null());
}

static json_t *spool_json(const struct worker *w)
{
	struct keep_state k = keep_state(w);

	return json_pack("{s:s, s:I, s:I}", "state", k.name, "entries", (json_int_t)k.entries, "bytes", (json_int_t)k.bytes);
}

static json_t *worker_json(const struct state *s)
{
	const struct worker *w = s->w;
	char since[WALL_TEXT_MAX], started[WALL_TEXT_MAX];

	return json_pack("{s:s, s:o, s:i, s:s, s:s, s:s, s:s, s:f, s:I, s:I, s:o, s:o, s:o, s:o}",
		"worker_id", w->id, "host", state_string(s->host), "pid", (int)getpid(), "version", unstuck_version,
		"state", worker_state_name(worker_state(w)), "since", wall_text(s->since, since),
		"started_at", wall_text(s->started, started), "uptime_s", (double)(clock_wall() - s->started) / (double)SEC,
		"concurrency", (json_int_t)w->set->concurrency, "running", (json_int_t)w->running,
		"counters", counters_json(w), "database", database_json(w), "redis", redis_json(w),
		"spool", spool_json(w));
}

/* ---- the reading ---- */

static json_t *view_json(const struct view *v)
{
	json_t *at = json_null(), *age = json_null();
	char text[WALL_TEXT_MAX];

	if (view_at(v) != 0) {
		at = json_string(wall_text(view_wall(v), text));
		age = json_real((double)(clock_now() - view_at(v)) / (double)SEC);
	}
	return json_pack("{s:o, s:o, s:o}", "at", at, "age_s", age,
	                 "error", view_error(v) != NULL ? state_string(view_error(v)) : json_null());
}

/* As a shell reads it. */
static void quote(struct buf *out, const char *word)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./=:@%+,";

	if (*word != '\0' && word[strspn(word, plain)] == '\0') {
		buf_adds(out, word);
		return;
	}
	buf_addc(out, '\'');
	for (; *word != '\0'; word++) {
		if (*word == '\'')
			buf_adds(out, "'\\''");
		else
			buf_addc(out, *word);
	}
	buf_addc(out, '\'');
}

/* To be copied into a shell anywhere on this host. What to do with stuck jobs; null where there are none. */
static json_t *command_json(const struct worker *w, const json_t *stuck)
{
	struct buf line = BUF_INIT;
	json_t *command;
	char *path;

	if (json_array_size(stuck) == 0)
		return json_null();
	buf_adds(&line, "unstuck-recover");
	if (w->set->path[0] != '\0') {
		path = realpath(w->set->path, NULL);
		buf_adds(&line, " -c ");
		quote(&line, path != NULL ? path : w->set->path);
		free(path);
	}
	buf_adds(&line, " --dry-run");
	command = state_string(buf_text(&line));
	buf_release(&line);
	return command;
}

char *state_text(struct state *s, struct view *v)
{
	json_t *stuck = state_stuck(v), *doc;
	char at[WALL_TEXT_MAX], *text;

	doc = json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
		"at", wall_text(clock_wall(), at), "worker", worker_json(s), "view", view_json(v), "queues", state_queues(s->w, v),
		"workers", state_workers(v), "running", state_running(s->w, v), "recover_command", command_json(s->w, stuck),
		"stuck", stuck, "failures", state_failures(v), "late", state_late(v));
	text = doc != NULL ? json_dumps(doc, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
	json_decref(doc);
	return text;
}

/* ---- life ---- */

void state_note(struct state *s)
{
	if (s->state == worker_state(s->w))
		return;
	s->state = worker_state(s->w);
	s->since = clock_wall();
}

struct state *state_new(struct worker *w)
{
	struct state *s = xcalloc(1, sizeof *s);

	s->w = w;
	s->state = worker_state(w);
	s->since = s->started = clock_wall();
	if (gethostname(s->host, sizeof s->host - 1) != 0)
		strcpy(s->host, "unknown");
	return s;
}

void state_free(struct state *s)
{
	free(s);
}
