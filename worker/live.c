/*
 * live.c - see live.h.
 */
#include "live.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "redis.h"
#include "version.h"

#define TELL_EVERY (1 * SEC)	/* at most, where things change */

/* What an operator would see change; to be compared only. */
static uint64_t live_mark(const struct worker *w)
{
	return w->count.started + w->count.finished + w->running + w->progress_told;
}

static json_t *job_json(const struct job *j, usec_t now)
{
	struct buf id = BUF_INIT;
	char started[WALL_TEXT_MAX];
	json_t *doc;

	utf8_clean(&id, j->id, strlen(j->id), 1000);
	wall_text(clock_wall() - (now - j->started_at), started);
	doc = json_pack("{s:s, s:s, s:i, s:I, s:s, s:o}", "queue", j->queue->set->name, "job", buf_text(&id),
	                "attempt", j->attempt, "claim_id", (json_int_t)j->claim_id, "started_at", started,
	                "progress", isfinite(j->progress) ? json_real(j->progress) : json_null());
	buf_release(&id);
	return doc;
}

static json_t *jobs_json(const struct worker *w, usec_t now)
{
	json_t *list = json_array();
	const struct job *j;

	TAILQ_FOREACH(j, &w->jobs, all) {
		if (j->state != JOB_RUNNING)
			continue;
		if (json_array_size(list) == LIVE_JOBS)
			break;
		json_array_append_new(list, job_json(j, now));
	}
	return list;
}

/* Caller frees; NULL when it cannot be said. */
static char *live_text(const struct worker *w, usec_t now)
{
	char host[256] = "", at[WALL_TEXT_MAX], started[WALL_TEXT_MAX], *text;
	json_t *doc;

	if (gethostname(host, sizeof host - 1) != 0 || !utf8_valid(host, strlen(host)))
		strcpy(host, "unknown");
	doc = json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:i, s:I, s:o}", "worker", w->id, "host", host, "pid", (int)getpid(),
	                "version", unstuck_version, "state", worker_state_name(worker_state(w)),
	                "at", wall_text(clock_wall(), at), "started_at", wall_text(clock_wall() - (now - w->begun_at), started),
	                "concurrency", (int)w->set->concurrency, "running", (json_int_t)w->running, "jobs", jobs_json(w, now));
	text = json_dumps(doc, JSON_COMPACT | JSON_REAL_PRECISION(6));
	json_decref(doc);
	return text;
}

static char *live_key(const struct worker *w)
{
	return xasprintf("unstuck:worker:%s", w->id);
}

static bool live_tell(struct worker *w, usec_t now)
{
	char *key = live_key(w), *text = live_text(w, now), *ttl = xasprintf("%llu", (unsigned long long)(w->set->worker_timeout / MSEC));
	const char *argv[] = { "SET", key, text, "PX", ttl };
	bool told = text != NULL && redis_send(w, NULL, NULL, ARRAY_SIZE(argv), argv);

	free(key);
	free(text);
	free(ttl);
	return told;
}

void live_due(struct worker *w)
{
	w->live_at = 0;
	w->live_told_at = 0;
}

usec_t live_advance(struct worker *w, usec_t now)
{
	if (!redis_is_ready(w) || w->presence != PRESENT || w->leaving)
		return USEC_NEVER;
	if (live_mark(w) != w->live_mark || worker_state(w) != w->live_state)
		w->live_at = usec_min(w->live_at, w->live_told_at + TELL_EVERY);
	if (now < w->live_at)
		return w->live_at;
	if (live_tell(w, now)) {
		w->live_mark = live_mark(w);
		w->live_state = worker_state(w);
		w->live_told_at = now;
	}
	w->live_at = now + w->set->heartbeat;
	return w->live_at;
}

void live_leave(struct worker *w)
{
	char *key = live_key(w);

	redis_send(w, NULL, NULL, 2, (const char *const[]){ "DEL", key });
	free(key);
}
