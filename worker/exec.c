/*
 * exec.c - mode = exec: a job becomes a child; a child's end becomes an outcome.
 *
 * How an end is judged, first row that fits:
 *
 *   claim lost                      exit 0: the result is offered, and kept as late; else nothing for the job
 *   printed too much                failed for good, bytes kept
 *   exit 0                          done; failed for good when the output cannot be stored
 *   ended by us for a stop          released
 *   ended by us for its time limit  failed, retried
 *   TERM, INT, KILL by a stranger   released when we are told to stop within a second, else failed
 *   exit 75                         later
 *   exit 65                         failed for good
 *   anything else                   failed, retried
 *
 * Where the end was not its own (we or a stranger sent a signal), what it had printed is kept as late, "unfinished": it may
 * have been whole, and only its way out was too long.
 */
#include "exec.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attend.h"
#include "failpoint.h"
#include "keep.h"
#include "line.h"
#include "log.h"
#include "outcome.h"
#include "printed.h"
#include "rate.h"

#define LOOK_EVERY (100 * MSEC)		/* at how much was printed into files */
#define START_PAUSE (1 * SEC)		/* after a process could not be had */
#define EXIT_LATER 75			/* EX_TEMPFAIL: try again later */
#define EXIT_NEVER 65			/* EX_DATAERR: never try again */

/* ---- environment ---- */

static char **exec_env(const struct job *j, struct buf *own)
{
	const struct queue_settings *set = j->queue->set;
	char text[WALL_TEXT_MAX];

	handler_env_add(own, "UNSTUCK_JOB_ID", j->id);
	handler_env_add(own, "UNSTUCK_QUEUE", set->name);
	snprintf(text, sizeof text, "%d", j->attempt);
	handler_env_add(own, "UNSTUCK_ATTEMPT", text);
	snprintf(text, sizeof text, "%lld", (long long)j->claim_id);
	handler_env_add(own, "UNSTUCK_CLAIM_ID", text);
	buf_adds(own, "UNSTUCK_IDEMPOTENCY_KEY=");
	buf_adds(own, set->name);
	buf_addc(own, ':');
	buf_add(own, j->id, strlen(j->id) + 1);
	handler_env_add(own, "UNSTUCK_DEADLINE", wall_text(clock_wall() + set->timeout, text));
	return handler_env(j->queue, own);
}

static void exec_end(struct worker *w, struct job *j, enum job_ending why);

/* ---- judging the end ---- */

static bool exec_runs(const struct job *j)
{
	return j->state == JOB_RUNNING && j->queue->how == &exec_handler;
}

static void exec_judge_failure(struct job *j, const struct child_end *end, int code)
{
	enum outcome_kind kind = code == EXIT_LATER ? OUTCOME_LATER : code == EXIT_NEVER ? OUTCOME_FAIL : OUTCOME_RETRY;
	char *what;

	if (WIFSIGNALED(end->status))
		what = xasprintf("the handler was ended by signal %d (%s)", WTERMSIG(end->status),
		                 strsignal(WTERMSIG(end->status)));
	else
		what = xasprintf("the handler ended with exit status %d", code);
	outcome_failed(j, kind, outcome_text(what, end));
	free(what);
}

/* What it printed into a file, where it is of use. false: it cannot be read, and the job has failed. */
static bool exec_read_file(struct worker *w, struct job *j, int code)
{
	struct error err = ERROR_INIT;
	uint64_t size = keep_out_size(j);

	if (size == 0)
		keep_out_empty(w, j);
	if (j->file == NULL || (code != 0 && j->ending != ENDING_TOO_LARGE))
		return true;
	if (size > j->queue->set->max_result)
		j->ending = ENDING_TOO_LARGE;
	if (keep_out_read(j, j->queue->set->max_result, &err) == 0)
		return true;
	outcome_failed(j, OUTCOME_RETRY, xasprintf("its output could not be read: %s", err.text));
	return false;
}

static void exec_keep_output(struct job *j)
{
	struct error err = ERROR_INIT;

	if (j->file != NULL) {
		j->cut = keep_out_size(j) > j->queue->set->max_result;
		if (keep_out_read(j, j->queue->set->max_result, &err) < 0)
			log_event(LOG_WARNING, "output_lost", LS("queue", j->queue->set->name), LS("job", j->id), LS("error", err.text));
	}
	outcome_keep(j);
}

/* Its end was not its own, and it has no result. */
static void exec_judge_ended(struct worker *w, struct job *j, const struct child_end *end)
{
	if (j->ending == ENDING_TIMEOUT)
		outcome_timeout(j, end);
	else if (j->ending != ENDING_NONE || worker_stopping(w))
		j->outcome.kind = OUTCOME_RELEASE;	/* refused where the claim is lost */
	else
		exec_judge_failure(j, end, -1);
	exec_keep_output(j);
	if (j->ending == ENDING_LOST && j->outcome.late_reason == LATE_NONE)
		handler_forget(w, j);
	else if (j->ending == ENDING_NONE && !worker_stopping(w))
		handler_hold(w, j);	/* perhaps the stop that killed it is on its way to us */
	else
		handler_over(w, j);
}

static void exec_judge(struct worker *w, struct job *j, const struct child_end *end)
{
	int code = WIFEXITED(end->status) ? WEXITSTATUS(end->status) : -1;
	bool by_us = j->ending != ENDING_NONE && j->ending != ENDING_TOO_LARGE;

	if (code != 0 && (by_us || (j->ending == ENDING_NONE && ended_from_outside(end->status)))) {
		exec_judge_ended(w, j, end);
		return;
	}
	if (!exec_read_file(w, j, code))
		;	/* judged */
	else if (j->ending == ENDING_TOO_LARGE)
		outcome_too_large(j);
	else if (code == 0)
		outcome_printed(j);
	else
		exec_judge_failure(j, end, code);
	handler_over(w, j);
}

/* ---- events of the child: note the fact ---- */

static void exec_on_output(void *arg, const char *data, size_t len)
{
	struct job *j = arg;
	size_t room = j->queue->set->max_result - j->out.len;

	if (len > room) {
		buf_add(&j->out, data, room);
		j->cut = true;
		child_stop_reading(j->child);
		exec_end(j->queue->worker, j, ENDING_TOO_LARGE);
		return;
	}
	buf_add(&j->out, data, len);
}

static bool exec_on_held(void *arg)
{
	return keep_out_held(arg);
}

static void exec_on_line(void *arg, const char *line, size_t len)
{
	const struct job *j = arg;

	handler_log_line(j->queue, j, j->child, line, len);
}

static void exec_on_over(void *arg, const struct child_end *end)
{
	struct job *j = arg;
	struct worker *w = j->queue->worker;

	FAILPOINT(child_end);
	w->running--;
	j->queue->in_use--;
	j->child = NULL;
	line_note_time(j->queue, clock_now() - j->started_at);
	if (j->killed)
		w->count.killed++;
	exec_judge(w, j, end);
	worker_changed(w);
}

/* ---- start and end ---- */

static void exec_on_started(void *arg)
{
	struct job *j = arg;

	FAILPOINT(after_start);
	rate_started(j);
	log_event(LOG_DEBUG, "job_start", LS("queue", j->queue->set->name), LS("job", j->id), LN("attempt", j->attempt),
	          LN("pid", child_pid(j->child)));
}

/* No process is to be had, so not for those in line either. Those that are on their way as well may fail too: that is told once. */
static void exec_not_started(struct worker *w, struct job *j, const struct error *why)
{
	struct queue *q = j->queue;
	usec_t now = clock_now();

	if (now >= q->told_at)
		log_event(LOG_ERROR, "handler_not_started", LS("queue", q->set->name), LS("job", j->id),
		          LS("error", why->text), LS("next", "the job is released; trying again in 1s"));
	q->told_at = q->claim_at = now + START_PAUSE;
	q->empty = false;
	if (j->ending == ENDING_LOST) {
		rate_unused(j);
		handler_forget(w, j);
	} else {
		handler_give_back(w, j, why->text);
	}
	line_give_back(q, "no handler process can be started");
}

static void exec_on_failed(void *arg, const struct error *why)
{
	struct job *j = arg;
	struct worker *w = j->queue->worker;

	w->running--;
	j->queue->in_use--;
	w->count.started--;
	j->started = false;
	j->child = NULL;
	exec_not_started(w, j, why);
	worker_changed(w);
}

static const struct child_events exec_events = {
	.started = exec_on_started, .failed = exec_on_failed, .output = exec_on_output, .held = exec_on_held,
	.line = exec_on_line, .over = exec_on_over,
};

/* Attended where the queue wants that. */
static struct child *exec_start_child(struct worker *w, struct job *j, struct child_spec spec, struct error *err)
{
	const struct queue_settings *set = j->queue->set;
	struct attend attend = {
		.limit = set->timeout, .force = w->set->force_delay, .most = 2 * (uint64_t)set->max_result,
	};

	if (FAILS_AT(before_start)) {
		error_set(err, ERR_SYS, "a test wants no handler to start");
		return NULL;
	}
	spec.out_fd = keep_out_open(w, j, err);
	if (spec.out_fd < 0)
		return NULL;
	if (set->on_worker_death == DEATH_FINISH && j->file != NULL) {
		spec.attend = &attend;
		if (keep_out_note(w, j, &attend.note, err) < 0) {
			close(spec.out_fd);
			return NULL;
		}
	}
	return child_start(w->children, &spec, &exec_events, j, err);
}

/* It runs from now on as far as all others are concerned, until its start turns out to have failed. */
static void exec_start(struct worker *w, struct job *j)
{
	struct queue *q = j->queue;
	struct buf own = BUF_INIT;
	char **env = exec_env(j, &own);
	struct child_spec spec = {
		.path = q->handler, .argv = q->set->handler, .envp = env,
		.input = j->payload, .input_len = j->payload_len,
	};
	struct error err = ERROR_INIT;

	j->child = exec_start_child(w, j, spec, &err);
	free(env);
	buf_release(&own);
	if (j->child == NULL) {
		exec_not_started(w, j, &err);
		return;
	}
	free(j->payload);
	j->payload = NULL;
	j->state = JOB_RUNNING;
	j->started = true;
	j->started_at = clock_now();
	j->end_at = j->started_at + q->set->timeout;
	w->next_end = usec_min(w->next_end, j->end_at);
	if (j->file != NULL)
		w->look_at = usec_min(w->look_at, j->started_at + LOOK_EVERY);
	w->running++;
	q->in_use++;
	w->count.started++;
}

static void exec_hand_out(struct queue *q)
{
	struct job *j;

	while (q->in_use < q->reserved && (j = TAILQ_FIRST(&q->line)) != NULL) {
		line_leave(j);
		exec_start(q->worker, j);
	}
}

static void exec_end(struct worker *w, struct job *j, enum job_ending why)
{
	if (!exec_runs(j) || j->ending != ENDING_NONE)
		return;
	j->ending = why;
	child_signal(j->child, SIGTERM);
	j->end_at = clock_now() + w->set->force_delay;
	w->next_end = usec_min(w->next_end, j->end_at);
}

static void exec_end_all(struct worker *w, enum job_ending why)
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

static void exec_kill_all(struct worker *w)
{
	struct job *j;

	TAILQ_FOREACH(j, &w->jobs, all)
		if (exec_runs(j) && !j->killed) {
			if (j->ending == ENDING_NONE)
				j->ending = ENDING_STOP;
			exec_kill(j);
		}
}

/*
 * Nothing tells that a file has grown. Who prints too much is ended as the end of a pipe would end it, and
 * who prints on after that is killed: it fills the disk.
 */
static void exec_look_at_file(struct worker *w, struct job *j)
{
	uint64_t size = keep_out_size(j), max = j->queue->set->max_result;

	if (size > max && j->ending == ENDING_NONE) {
		child_signal(j->child, SIGPIPE);
		exec_end(w, j, ENDING_TOO_LARGE);
	} else if (size > 2 * max && !j->killed) {
		exec_kill(j);
	}
}

static usec_t exec_look_at_files(struct worker *w, usec_t now)
{
	bool any = false;
	struct job *j;

	if (now < w->look_at)
		return w->look_at;
	TAILQ_FOREACH(j, &w->jobs, all) {
		if (!exec_runs(j) || j->file == NULL)
			continue;
		any = true;
		exec_look_at_file(w, j);
	}
	w->look_at = any ? now + LOOK_EVERY : USEC_NEVER;
	return w->look_at;
}

static usec_t exec_advance_limits(struct worker *w, usec_t now)
{
	struct job *j;

	if (now < w->next_end)
		return w->next_end;
	w->next_end = USEC_NEVER;
	TAILQ_FOREACH(j, &w->jobs, all) {
		if (!exec_runs(j))
			continue;
		if (now >= j->end_at) {
			if (j->ending == ENDING_NONE)
				exec_end(w, j, ENDING_TIMEOUT);
			else
				exec_kill(j);
		}
		w->next_end = usec_min(w->next_end, j->end_at);
	}
	return w->next_end;
}

static usec_t exec_advance(struct worker *w, usec_t now)
{
	usec_t next = exec_look_at_files(w, now);

	for (size_t i = 0; i < w->queues_len; i++)
		if (w->queues[i]->how == &exec_handler)
			exec_hand_out(w->queues[i]);
	return usec_min(next, exec_advance_limits(w, now));
}

/* ---- the door ---- */

static uint32_t exec_capacity(const struct queue *q)
{
	return q->reserved;
}

/* Its processes are its jobs. */
static bool exec_is_idle(const struct worker *w)
{
	(void)w;
	return true;
}

const struct handler exec_handler = {
	.end = exec_end, .capacity = exec_capacity,
	.end_all = exec_end_all, .kill_all = exec_kill_all, .advance = exec_advance, .is_idle = exec_is_idle,
};
