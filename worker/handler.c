/*
 * handler.c - both modes of running jobs behind one door.
 *
 * Lives here: which mode a queue has, the process slots of the worker, what every handler's
 *             environment holds, jobs whose end is not judged yet (HELD).
 * Not here:   processes (exec.c, serve.c), claiming (claim.c).
 */
#include "handler.h"

#include <stdlib.h>
#include <string.h>

#include "exec.h"
#include "line.h"
#include "flood.h"
#include "log.h"
#include "rate.h"
#include "serve.h"
#include "store.h"
#include "words.h"

#define SIGNAL_DOUBT (1 * SEC)		/* how long a stranger's signal may turn out to be a stop */

static const struct handler *const handlers[] = { [MODE_EXEC] = &exec_handler, [MODE_SERVE] = &serve_handler };

/* ---- environment ---- */

static const char *const env_always[] = { "PATH", "LANG", "TZ", "HOME" };

static void env_pass(char **env, size_t *n, const char *name)
{
	const char *value = getenv(name);

	if (value != NULL)
		env[(*n)++] = xstrdup(value - strlen(name) - 1);	/* from its NAME= on: that is how environ has it */
}

/* A clean environment: nothing of ours but what is listed here (the database's address never is). */
static char **env_of(const struct queue_settings *set)
{
	char **env = xcalloc(ARRAY_SIZE(env_always) + words_count(set->env) + 1, sizeof *env);
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(env_always); i++)
		env_pass(env, &n, env_always[i]);
	for (char **name = set->env; *name != NULL; name++)
		env_pass(env, &n, *name);
	return env;
}

char **handler_env(const struct queue *q, const struct buf *own)
{
	size_t n = words_count(q->env), more = 0;
	char **env;

	for (size_t at = 0; at < own->len; at++)
		more += own->data[at] == '\0';
	env = xcalloc(n + more + 1, sizeof *env);
	memcpy(env, q->env, n * sizeof *env);
	for (char *at = own->data; at < own->data + own->len; at += strlen(at) + 1)
		env[n++] = at;
	return env;
}

void handler_env_add(struct buf *own, const char *name, const char *value)
{
	buf_adds(own, name);
	buf_addc(own, '=');
	buf_add(own, value, strlen(value) + 1);
}

/* ---- queues ---- */

void handler_open_queue(struct queue *q)
{
	q->how = handlers[q->set->mode];
	q->env = env_of(q->set);
	if (q->how->open != NULL)
		q->how->open(q);
	rate_open_queue(q);
}

void handler_close_queue(struct queue *q)
{
	rate_close_queue(q);
	if (q->how != NULL && q->how->close != NULL)
		q->how->close(q);
	words_free(q->env);
	q->env = NULL;
}

bool handler_queue_is_idle(const struct queue *q)
{
	return q->how->has_processes == NULL || !q->how->has_processes(q);
}

void handler_open(struct worker *w)
{
	for (size_t i = 0; i < w->queues_len; i++)
		handler_open_queue(w->queues[i]);
}

void handler_close(struct worker *w)
{
	for (size_t i = 0; i < w->queues_len; i++)
		handler_close_queue(w->queues[i]);
}

/* ---- slots ---- */

static uint32_t slots_free(const struct worker *w)
{
	uint32_t used = 0;

	for (size_t i = 0; i < w->queues_len; i++)
		used += line_slots(w->queues[i]);
	return used < w->set->concurrency ? w->set->concurrency - used : 0;
}

uint32_t handler_room(struct worker *w, struct queue *q)
{
	return line_room(q, slots_free(w));
}

bool handler_has_slot(const struct worker *w, const struct queue *q)
{
	return line_slots(q) >= q->limit || slots_free(w) != 0;
}

/* ---- how a job leaves ---- */

void handler_over(struct worker *w, struct job *j)
{
	j->queue->busy--;
	j->end_at = USEC_NEVER;
	j->state = JOB_ENDED;
	store_take(w, j);
}

void handler_forget(struct worker *w, struct job *j)
{
	j->queue->busy--;
	worker_forget_job(w, j);
}

void handler_give_back(struct worker *w, struct job *j, const char *why)
{
	log_event(LOG_DEBUG, "job_not_started", LS("queue", j->queue->set->name), LS("job", j->id), LS("why", why));
	j->outcome.kind = OUTCOME_RELEASE;
	rate_unused(j);
	handler_over(w, j);
}

void handler_hold(struct worker *w, struct job *j)
{
	j->state = JOB_HELD;
	j->end_at = clock_now() + SIGNAL_DOUBT;
	w->held++;
	w->held_until = usec_min(w->held_until, j->end_at);
}

/* A second has passed, or we were told to stop: now we know whose signal it was. */
static void judge_held(struct worker *w, struct job *j)
{
	if (worker_stopping(w)) {
		free(j->outcome.error);
		j->outcome.error = NULL;
		j->outcome.kind = OUTCOME_RELEASE;
	}
	w->held--;
	handler_over(w, j);
}

static usec_t advance_held(struct worker *w, usec_t now)
{
	struct job *j, *next;

	if (w->held == 0 || (now < w->held_until && !worker_stopping(w)))
		return w->held_until;
	w->held_until = USEC_NEVER;
	JOBS_FOREACH_SAFE(j, &w->jobs, all, next) {
		if (j->state != JOB_HELD)
			continue;
		if (worker_stopping(w) || now >= j->end_at)
			judge_held(w, j);
		else
			w->held_until = usec_min(w->held_until, j->end_at);
	}
	return w->held_until;
}

void handler_log_line(struct queue *q, const struct job *j, const struct child *c, const char *line, size_t len)
{
	struct buf text = BUF_INIT;

	if (!flood_passes(q, clock_now()))
		return;
	utf8_clean(&text, line, len, 2 * CHILD_TAIL);
	if (j != NULL)
		log_event(LOG_INFO, "handler_stderr", LS("queue", q->set->name), LS("job", j->id),
		          LN("attempt", j->attempt), LS("line", buf_text(&text)));
	else
		log_event(LOG_INFO, "handler_stderr", LS("queue", q->set->name), LN("pid", child_pid(c)),
		          LS("line", buf_text(&text)));
	buf_release(&text);
}

/* ---- to the mode ---- */

void handler_start(struct worker *w, struct job *j)
{
	(void)w;
	line_add(j);
}

void handler_end(struct worker *w, struct job *j, enum job_ending why)
{
	if (j->state != JOB_CLAIMED) {
		j->queue->how->end(w, j, why);
		return;
	}
	line_leave(j);
	handler_forget(w, j);
}

void handler_end_all(struct worker *w, enum job_ending why)
{
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
		handlers[i]->end_all(w, why);
}

void handler_kill_all(struct worker *w)
{
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
		handlers[i]->kill_all(w);
}

usec_t handler_advance(struct worker *w, usec_t now)
{
	usec_t next = advance_held(w, now);

	for (size_t i = 0; i < w->queues_len; i++)
		if (worker_stopping(w) || w->queues[i]->draining)
			line_give_back(w->queues[i], worker_stopping(w) ? "the worker is stopping" : "its queue drains");
	for (size_t i = 0; i < w->queues_len; i++)
		rate_check_line(w->queues[i], now);
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
		next = usec_min(next, handlers[i]->advance(w, now));
	for (size_t i = 0; i < w->queues_len; i++)
		next = usec_min(next, line_advance(w->queues[i], now));
	return next;
}

bool handler_is_idle(const struct worker *w)
{
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
		if (!handlers[i]->is_idle(w))
			return false;
	return w->held == 0;
}
