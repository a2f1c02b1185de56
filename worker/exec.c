/*
 * exec.c - a job becomes a child; a child's end becomes an outcome.
 *
 * How an end is judged, first row that fits:
 *
 *   claim lost                      exit 0: the result is offered, and kept as late; else forgotten
 *   printed too much                failed for good, bytes kept
 *   exit 0                          done; failed for good when the output cannot be stored
 *   ended by us for a stop          released
 *   ended by us for its time limit  failed, retried
 *   TERM, INT, KILL by a stranger   released when we are told to stop within a second, else failed
 *   exit 75                         later
 *   exit 65                         failed for good
 *   anything else                   failed, retried
 */
#include "exec.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <jansson.h>

#include "claim.h"
#include "log.h"
#include "store.h"
#include "words.h"

#define SIGNAL_DOUBT (1 * SEC)		/* how long a stranger's signal may turn out to be a stop */
#define START_PAUSE (1 * SEC)		/* after a process could not be had */
#define EXIT_LATER 75			/* EX_TEMPFAIL: try again later */
#define EXIT_NEVER 65			/* EX_DATAERR: never try again */

/* ---- environment ---- */

static const char *const env_always[] = { "PATH", "LANG", "TZ", "HOME" };

static void env_pass(char **env, size_t *n, const char *name)
{
	const char *value = getenv(name);

	if (value != NULL)
		env[(*n)++] = xasprintf("%s=%s", name, value);
}

/* A clean environment: nothing of ours but what is listed here (the database's address never is). */
static char **exec_env(const struct job *j)
{
	const struct queue_settings *set = j->queue->set;
	char deadline[WALL_TEXT_MAX];
	char **env = xcalloc(ARRAY_SIZE(env_always) + words_count(set->env) + 7, sizeof *env);
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(env_always); i++)
		env_pass(env, &n, env_always[i]);
	for (char **name = set->env; *name != NULL; name++)
		env_pass(env, &n, *name);
	env[n++] = xasprintf("UNSTUCK_JOB_ID=%s", j->id);
	env[n++] = xasprintf("UNSTUCK_QUEUE=%s", set->name);
	env[n++] = xasprintf("UNSTUCK_ATTEMPT=%d", j->attempt);
	env[n++] = xasprintf("UNSTUCK_CLAIM_ID=%lld", (long long)j->claim_id);
	env[n++] = xasprintf("UNSTUCK_IDEMPOTENCY_KEY=%s:%s", set->name, j->id);
	env[n++] = xasprintf("UNSTUCK_DEADLINE=%s", wall_text(clock_wall() + set->timeout, deadline));
	return env;
}

/* ---- outcomes ---- */

static usec_t exec_backoff(const struct job *j)
{
	const struct queue_settings *set = j->queue->set;
	usec_t delay = set->backoff;

	for (int i = 0; i < j->failures && delay < set->backoff_max; i++)
		delay *= 2;
	return usec_jitter(usec_min(delay, set->backoff_max), 0.1);
}

/* The handler's own words, if it left any, behind ours. */
static char *exec_error_text(const char *what, const struct child_end *end)
{
	struct buf b = BUF_INIT;
	size_t len = end->tail_len;

	buf_adds(&b, what);
	while (len > 0 && isspace((unsigned char)end->tail[len - 1]))
		len--;
	if (len > 0) {
		buf_adds(&b, ": ");
		utf8_clean(&b, end->tail, len, 2 * CHILD_TAIL);
	}
	return buf_give(&b);
}

static void outcome_failed(struct job *j, enum outcome_kind kind, char *error)
{
	j->outcome.kind = kind;
	j->outcome.error = error;
	j->outcome.delay = kind == OUTCOME_FAIL ? 0 : exec_backoff(j);
}

static void outcome_rejected(struct job *j, const char *reason, char *error)
{
	outcome_failed(j, OUTCOME_FAIL, error);
	j->outcome.late_reason = reason;
	j->outcome.raw = j->out;
	j->out = (struct buf)BUF_INIT;
}

/* Output becomes the JSON text to store. Whether it is JSON is for the database to say, which knows best. */
static void outcome_done(struct job *j)
{
	const char *data = buf_text(&j->out);
	size_t len = j->out.len;

	j->outcome.kind = OUTCOME_DONE;
	if (!utf8_valid(data, len)) {
		outcome_rejected(j, "bad_data",
		                 xstrdup("the output holds a NUL byte or is no valid UTF-8; JSON text was expected"));
		return;
	}
	while (len > 0 && isspace((unsigned char)data[len - 1]))
		len--;
	if (j->queue->set->output == OUTPUT_TEXT) {
		json_t *text = json_stringn(data, len);
		char *dumped = text != NULL ? json_dumps(text, JSON_ENCODE_ANY) : NULL;

		buf_adds(&j->outcome.result, dumped != NULL ? dumped : "null");
		free(dumped);
		json_decref(text);
		buf_release(&j->out);
	} else if (len == 0) {
		buf_adds(&j->outcome.result, "null");
	} else {
		j->outcome.result = j->out;
		j->out = (struct buf)BUF_INIT;
	}
}

static void exec_over(struct worker *w, struct job *j)
{
	j->queue->busy--;
	j->end_at = USEC_NEVER;
	j->state = JOB_ENDED;
	store_take(w, j);
}

static bool is_strangers(int status)
{
	return WIFSIGNALED(status)
	       && (WTERMSIG(status) == SIGTERM || WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGKILL);
}

static char *exec_what_happened(const struct job *j, int status)
{
	char limit[USEC_TEXT_MAX];

	if (j->ending == ENDING_TIMEOUT)
		return xasprintf("the handler ran longer than its timeout of %s and was ended",
		                 usec_text(j->queue->set->timeout, limit));
	if (WIFSIGNALED(status))
		return xasprintf("the handler was ended by signal %d (%s)", WTERMSIG(status),
		                 strsignal(WTERMSIG(status)));
	return xasprintf("the handler ended with exit status %d", WEXITSTATUS(status));
}

static void exec_judge(struct worker *w, struct job *j, const struct child_end *end)
{
	int code = WIFEXITED(end->status) ? WEXITSTATUS(end->status) : -1;
	char *what;

	if (j->ending == ENDING_LOST && code != 0) {
		j->queue->busy--;
		worker_forget_job(w, j);
		return;
	}
	if (j->ending == ENDING_TOO_LARGE) {
		outcome_rejected(j, "too_large",
		                 xasprintf("the output is larger than max_result (%llu bytes)",
		                           (unsigned long long)j->queue->set->max_result));
		exec_over(w, j);
		return;
	}
	if (code == 0) {
		outcome_done(j);
		exec_over(w, j);
		return;
	}
	if (j->ending == ENDING_STOP || (j->ending == ENDING_NONE && is_strangers(end->status) && worker_stopping(w))) {
		j->outcome.kind = OUTCOME_RELEASE;
		exec_over(w, j);
		return;
	}
	what = exec_what_happened(j, end->status);
	outcome_failed(j, j->ending != ENDING_NONE ? OUTCOME_RETRY
	                  : code == EXIT_LATER ? OUTCOME_LATER
	                  : code == EXIT_NEVER ? OUTCOME_FAIL : OUTCOME_RETRY,
	               exec_error_text(what, end));
	free(what);
	if (j->ending == ENDING_NONE && is_strangers(end->status)) {
		j->state = JOB_HELD;	/* perhaps the stop that killed it is on its way to us */
		j->end_at = clock_now() + SIGNAL_DOUBT;
		w->next_end = usec_min(w->next_end, j->end_at);
		return;
	}
	exec_over(w, j);
}

/* A second has passed, or we were told to stop: now we know whose signal it was. */
static void exec_judge_held(struct worker *w, struct job *j)
{
	if (worker_stopping(w)) {
		free(j->outcome.error);
		j->outcome.error = NULL;
		j->outcome.kind = OUTCOME_RELEASE;
	}
	exec_over(w, j);
}

/* ---- events of the child: note the fact ---- */

static void exec_on_output(void *arg, const char *data, size_t len)
{
	struct job *j = arg;
	size_t room = j->queue->set->max_result - j->out.len;

	if (len > room) {
		buf_add(&j->out, data, room);
		child_stop_reading(j->child);
		exec_end(j->queue->worker, j, ENDING_TOO_LARGE);
		return;
	}
	buf_add(&j->out, data, len);
}

static void exec_on_line(void *arg, const char *line, size_t len)
{
	const struct job *j = arg;
	struct buf text = BUF_INIT;

	utf8_clean(&text, line, len, 2 * CHILD_TAIL);
	log_event(LOG_INFO, "handler_stderr", LS("queue", j->queue->set->name), LS("job", j->id),
	          LN("attempt", j->attempt), LS("line", buf_text(&text)));
	buf_release(&text);
}

static void exec_on_over(void *arg, const struct child_end *end)
{
	struct job *j = arg;
	struct worker *w = j->queue->worker;

	w->running--;
	j->child = NULL;
	if (j->killed)
		w->count.killed++;
	exec_judge(w, j, end);
	worker_changed(w);
}

static const struct child_events exec_events = {
	.output = exec_on_output, .line = exec_on_line, .over = exec_on_over,
};

/* ---- start and end ---- */

void exec_give_back(struct worker *w, struct job *j, const char *why)
{
	log_event(LOG_DEBUG, "job_not_started", LS("queue", j->queue->set->name), LS("job", j->id), LS("why", why));
	j->outcome.kind = OUTCOME_RELEASE;
	exec_over(w, j);
}

void exec_start(struct worker *w, struct job *j)
{
	struct queue *q = j->queue;
	char **env = exec_env(j);
	struct child_spec spec = {
		.path = q->handler, .argv = q->set->handler, .envp = env,
		.input = j->payload, .input_len = j->payload_len,
	};
	struct error err = ERROR_INIT;

	j->child = child_start(w->children, &spec, &exec_events, j, &err);
	words_free(env);
	if (j->child == NULL) {
		log_event(LOG_ERROR, "handler_not_started", LS("queue", q->set->name), LS("job", j->id),
		          LS("error", err.text), LS("next", "the job is released; trying again in 1s"));
		q->claim_at = clock_now() + START_PAUSE;
		q->empty = false;
		exec_give_back(w, j, err.text);
		return;
	}
	free(j->payload);
	j->payload = NULL;
	j->state = JOB_RUNNING;
	j->started = true;
	j->started_at = clock_now();
	j->end_at = j->started_at + q->set->timeout;
	w->next_end = usec_min(w->next_end, j->end_at);
	w->running++;
	w->count.started++;
	log_event(LOG_DEBUG, "job_start", LS("queue", q->set->name), LS("job", j->id), LN("attempt", j->attempt),
	          LN("pid", child_pid(j->child)));
}

void exec_end(struct worker *w, struct job *j, enum job_ending why)
{
	if (j->state != JOB_RUNNING || j->ending != ENDING_NONE)
		return;
	j->ending = why;
	child_signal(j->child, SIGTERM);
	j->end_at = clock_now() + w->set->force_delay;
	w->next_end = usec_min(w->next_end, j->end_at);
}

void exec_end_all(struct worker *w, enum job_ending why)
{
	struct job *j;

	TAILQ_FOREACH(j, &w->jobs, all)
		exec_end(w, j, why);
}

static void exec_kill(struct job *j)
{
	j->killed = true;
	j->end_at = USEC_NEVER;
	log_event(LOG_WARNING, "job_killed", LS("queue", j->queue->set->name), LS("job", j->id),
	          LN("attempt", j->attempt), LN("pid", child_pid(j->child)));
	child_signal(j->child, SIGKILL);
}

void exec_kill_all(struct worker *w)
{
	struct job *j;

	TAILQ_FOREACH(j, &w->jobs, all)
		if (j->state == JOB_RUNNING && !j->killed) {
			if (j->ending == ENDING_NONE)
				j->ending = ENDING_STOP;
			exec_kill(j);
		}
}

usec_t exec_advance(struct worker *w, usec_t now)
{
	struct job *j, *next;

	if (now < w->next_end && !worker_stopping(w))
		return w->next_end;
	w->next_end = USEC_NEVER;
	JOBS_FOREACH_SAFE(j, &w->jobs, all, next) {
		if (j->state == JOB_HELD && (worker_stopping(w) || now >= j->end_at)) {
			exec_judge_held(w, j);
			continue;
		}
		if (j->state == JOB_RUNNING && now >= j->end_at) {
			if (j->ending == ENDING_NONE)
				exec_end(w, j, ENDING_TIMEOUT);
			else
				exec_kill(j);
		}
		w->next_end = usec_min(w->next_end, j->end_at);
	}
	return w->next_end;
}
