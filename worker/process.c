/*
 * process.c - one handler process of a serve queue.
 *
 * Lives here: the jobs it holds, what it is told and what it answers, its end and what that means
 *             for them.
 * Not here:   which process gets which job, how many there are (serve.c), the text of the lines (jsonl.c).
 */
#include "process.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "answer.h"
#include "failpoint.h"
#include "handler.h"
#include "line.h"
#include "log.h"
#include "outcome.h"
#include "printed.h"
#include "rate.h"

#define LINE_MORE (64 * 1024)		/* a line may be longer than max_result by this */
#define OUT_KEEP (256 * 1024)		/* an output buffer that had to grow further is given back */
#define PAUSE (100 * MSEC)		/* before a process is started again; doubles */
#define PAUSE_MAX (30 * SEC)
#define IGNORED_TOLD 10			/* lines in a row that are logged one by one */
#define IGNORED_MAX 10000		/* and after so many the stream is broken */
#define LINE_SHOWN 200			/* of a line that is ignored, in the log */

/* ---- the jobs a process holds ---- */

static size_t hash(const char *id, size_t len)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)id[i]) * 16777619u;
	return h ^ h >> 15;
}

struct job **process_place(const struct process *p, const char *id, size_t len)
{
	struct job **at = &p->table[hash(id, len) & p->s->mask];

	while (*at != NULL && (strncmp((*at)->id, id, len) != 0 || (*at)->id[len] != '\0'))
		at = &(*at)->chain;
	return at;
}

static void process_count(struct process *p)
{
	bool in_use = p->held_len != 0 || p->state >= PROCESS_ENDING;

	if (in_use != p->in_use)
		p->s->q->in_use += in_use ? 1 : -1U;
	p->in_use = in_use;
}

static void process_hold(struct process *p, struct job *j)
{
	struct job **at = process_place(p, j->id, strlen(j->id));

	j->chain = NULL;
	*at = j;
	j->process = p;
	j->child = p->child;
	TAILQ_INSERT_TAIL(&p->held, j, link);
	p->held_len++;
	p->s->q->worker->running++;
	process_count(p);
}

static void process_drop(struct process *p, struct job *j)
{
	struct job **at = process_place(p, j->id, strlen(j->id));

	*at = j->chain;
	j->process = NULL;
	j->child = NULL;
	TAILQ_REMOVE(&p->held, j, link);
	p->held_len--;
	p->lost -= j->ending == ENDING_LOST;
	p->s->q->worker->running--;
	process_count(p);
}

/* ---- ending a process ---- */

void process_end(struct process *p, enum job_ending why)
{
	if (p->state >= PROCESS_ENDING)
		return;
	p->state = PROCESS_ENDING;
	p->ending = why;
	p->until = clock_now() + p->s->q->worker->set->force_delay;
	process_count(p);
	child_signal(p->child, SIGTERM);
}

/* Its stream cannot be trusted any more: that is a crash, only that it did not notice. */
static void process_fault(struct process *p, char *what)
{
	if (p->fault != NULL || p->state >= PROCESS_ENDING) {
		free(what);
		return;
	}
	p->fault = what;
	child_stop_reading(p->child);
	process_end(p, ENDING_NONE);
}

void process_kill(struct process *p)
{
	const struct queue *q = p->s->q;
	struct job *j;

	if (p->state == PROCESS_KILLED)
		return;
	p->state = PROCESS_KILLED;
	process_count(p);
	if (p->held_len == 0 && worker_stopping(q->worker))
		q->worker->idle_killed = true;
	log_event(LOG_WARNING, "handler_killed", LS("queue", q->set->name), LN("pid", child_pid(p->child)),
	          LN("jobs", p->held_len));
	TAILQ_FOREACH(j, &p->held, link) {
		j->killed = true;
		log_event(LOG_WARNING, "job_killed", LS("queue", q->set->name), LS("job", j->id),
		          LN("attempt", j->attempt), LN("pid", child_pid(p->child)));
	}
	child_signal(p->child, SIGKILL);
}

/* ---- answers ---- */

/* A line that answers nothing fails nothing. Told one by one at first, then ever more rarely. */
static void process_ignore(struct process *p, const char *line, size_t len, const char *why)
{
	struct buf text = BUF_INIT;

	p->ignored++;
	if (p->ignored <= IGNORED_TOLD || (p->ignored & (p->ignored - 1)) == 0) {
		utf8_clean(&text, line, len, LINE_SHOWN);
		log_event(LOG_WARNING, "answer_ignored", LS("queue", p->s->q->set->name), LN("pid", child_pid(p->child)),
		          LS("why", why), LN("in_a_row", p->ignored), LN("bytes", len), LS("line", buf_text(&text)));
		buf_release(&text);
	}
	if (p->ignored >= IGNORED_MAX)
		process_fault(p, xasprintf("it wrote %d lines in a row that answer no job", IGNORED_MAX));
}

static struct job *process_find(struct process *p, const struct jsonl_text *id)
{
	struct buf *plain = &p->s->id;

	if (memchr(id->at, '\\', id->len) == NULL)
		return *process_place(p, id->at + 1, id->len - 2);
	return jsonl_string(id, plain) ? *process_place(p, buf_text(plain), plain->len) : NULL;
}

static void process_on_line(void *arg, const char *line, size_t len)
{
	struct process *p = arg;
	struct worker *w = p->s->q->worker;
	struct jsonl_answer a;
	const char *why;
	struct job *j;

	if (p->fault != NULL)
		return;
	why = jsonl_scan(line, len, &a);
	j = why == NULL ? process_find(p, &a.id) : NULL;
	if (j == NULL) {
		process_ignore(p, line, len, why != NULL ? why : "no job of this id is outstanding at this process");
		return;
	}
	p->ignored = 0;
	if (a.progress.at != NULL)
		answer_progress(j, &a.progress);
	w->progress_told += a.progress.at != NULL;
	if (a.ok.at == NULL)
		return;
	p->answered = true;
	FAILPOINT(child_end);
	line_note_time(p->s->q, p->s->now > j->started_at ? p->s->now - j->started_at : 0);
	process_drop(p, j);
	if (jsonl_is(&a.ok, "true")) {
		answer_done(j, &a.result);
	} else if (j->ending == ENDING_LOST) {
		handler_forget(w, j);
		return;
	} else {
		answer_failed(j, &a);
	}
	handler_over(w, j);
}

/* A line that is too long: its job fails alone when the line says whose it is, else it is a crash. */
static void process_overflow(struct process *p)
{
	struct jsonl_answer a;
	const char *line = buf_text(&p->in.part), *from = line;
	struct job *j = NULL;

	jsonl_scan(line, p->in.part.len, &a);
	if (a.id.len > 1 && *a.id.at == '"')
		j = process_find(p, &a.id);
	else if (a.result.at != NULL && p->held_len == 1)
		j = TAILQ_FIRST(&p->held);	/* the id would have come behind the result */
	if (j == NULL) {
		process_fault(p, xasprintf("it wrote a line longer than %zu bytes", p->in.max));
		return;
	}
	process_drop(p, j);
	if (a.result.at != NULL)
		from = a.result.at;
	buf_add(&j->out, from, p->in.part.len - (size_t)(from - line));
	outcome_too_large(j);
	handler_over(p->s->q->worker, j);
	child_stop_reading(p->child);
	process_end(p, ENDING_TOO_LARGE);
}

/* ---- events of the child ---- */

static void process_on_output(void *arg, const char *data, size_t len)
{
	struct process *p = arg;

	p->s->now = clock_now();
	if (!jsonl_lines_add(&p->in, data, len, process_on_line, p))
		process_overflow(p);
	worker_changed(p->s->q->worker);
}

static void process_on_stderr(void *arg, const char *line, size_t len)
{
	const struct process *p = arg;

	handler_log_line(p->s->q, NULL, p->child, line, len);
}

static void process_on_drained(void *arg)
{
	const struct process *p = arg;

	worker_changed(p->s->q->worker);
}

static char *process_what_happened(const struct process *p, int status)
{
	if (p->fault != NULL)
		return xasprintf("the handler process was ended: %s", p->fault);
	if (WIFSIGNALED(status))
		return xasprintf("the handler process ended with signal %d (%s)", WTERMSIG(status),
		                 strsignal(WTERMSIG(status)));
	return xasprintf("the handler process ended with exit status %d", WEXITSTATUS(status));
}

/* Several that end at once are one incident. */
static void serve_crashed(struct serve *s, usec_t now)
{
	usec_t pause = PAUSE << (s->crashes < 9 ? s->crashes : 9);

	if (now < s->start_at)
		return;
	s->crashes++;
	s->start_at = now + usec_min(pause, PAUSE_MAX);
}

static void process_judge_job(const struct process *p, struct job *j, const struct child_end *end, const char *what)
{
	struct worker *w = p->s->q->worker;
	bool strangers = p->state < PROCESS_ENDING && ended_from_outside(end->status);

	if (j->killed)
		w->count.killed++;
	if (j->ending == ENDING_LOST) {
		handler_forget(w, j);
		return;
	}
	if (j->ending == ENDING_TIMEOUT) {
		outcome_timeout(j, end);
	} else if (p->ending != ENDING_NONE || (strangers && worker_stopping(w))) {
		j->outcome.kind = OUTCOME_RELEASE;
	} else {
		outcome_failed(j, OUTCOME_RETRY, outcome_text(what, end));
		if (strangers) {
			handler_hold(w, j);	/* perhaps the stop that killed it is on its way to us */
			return;
		}
	}
	handler_over(w, j);
}

/* Told by itself: it was asked to, or had nothing to do and left in peace. */
static bool process_left(const struct process *p, int status)
{
	return p->fault == NULL && (p->state != PROCESS_UP || (status == 0 && p->held_len == 0));
}

static void process_tell_end(const struct process *p, int status, const char *what)
{
	const struct serve *s = p->s;
	char pause[USEC_TEXT_MAX];
	usec_t wait = s->start_at > s->now ? s->start_at - s->now : 0;

	if (process_left(p, status))
		log_event(LOG_DEBUG, "handler_ended", LS("queue", s->q->set->name), LN("pid", child_pid(p->child)),
		          LS("how", what));
	else
		log_event(LOG_WARNING, "handler_ended", LS("queue", s->q->set->name), LN("pid", child_pid(p->child)),
		          LS("how", what), LN("jobs", p->held_len), LN("crashes", s->crashes),
		          LS("next", "started again when there is a job"), LS("not_before", usec_text(wait, pause)));
}

void process_free(struct process *p)
{
	TAILQ_REMOVE(&p->s->processes, p, link);
	p->s->len--;
	p->s->q->in_use -= p->in_use;
	jsonl_lines_release(&p->in);
	buf_release(&p->out);
	free(p->table);
	free(p->fault);
	free(p);
}

static void process_on_over(void *arg, const struct child_end *end)
{
	struct process *p = arg;
	struct serve *s = p->s;
	char *what = process_what_happened(p, end->status);
	struct job *j;

	s->now = clock_now();
	if (!process_left(p, end->status))
		serve_crashed(s, s->now);
	process_tell_end(p, end->status, what);
	while ((j = TAILQ_FIRST(&p->held)) != NULL) {
		process_drop(p, j);
		process_judge_job(p, j, end, what);
	}
	free(what);
	process_free(p);
	worker_changed(s->q->worker);
}

/* ---- starting ---- */

static void serve_not_started(struct serve *s, const struct error *why)
{
	char pause[USEC_TEXT_MAX];

	serve_crashed(s, s->now);
	log_event(LOG_ERROR, "handler_not_started", LS("queue", s->q->set->name), LS("error", why->text),
	          LS("next", "no job is used up; trying again"), LS("in", usec_text(s->start_at - s->now, pause)));
}

static void process_on_started(void *arg)
{
	const struct process *p = arg;

	log_event(LOG_DEBUG, "handler_started", LS("queue", p->s->q->set->name), LN("pid", child_pid(p->child)));
}

/* What it was given has reached nobody. */
static void process_on_failed(void *arg, const struct error *why)
{
	struct process *p = arg;
	struct serve *s = p->s;
	struct worker *w = s->q->worker;
	struct job *j;

	s->now = clock_now();
	serve_not_started(s, why);
	while ((j = TAILQ_FIRST(&p->held)) != NULL) {
		bool lost = j->ending == ENDING_LOST;

		process_drop(p, j);
		j->started = false;
		w->count.started--;
		if (lost)
			handler_forget(w, j);
		else
			handler_give_back(w, j, why->text);
	}
	process_free(p);
	worker_changed(w);
}

static const struct child_events process_events = {
	.started = process_on_started, .failed = process_on_failed, .output = process_on_output, .line = process_on_stderr,
	.drained = process_on_drained, .over = process_on_over,
};

/* It takes jobs at once: they wait in its stdin until it has started. */
struct process *process_start(struct serve *s)
{
	struct queue *q = s->q;
	struct process *p = xcalloc(1, sizeof *p);
	struct buf own = BUF_INIT;
	char **env;
	struct child_spec spec = { .path = q->handler, .argv = q->set->handler, .input = "", .keep_stdin = true };
	struct error err = ERROR_INIT;

	handler_env_add(&own, "UNSTUCK_QUEUE", q->set->name);
	spec.envp = env = handler_env(q, &own);
	p->child = child_start(q->worker->children, &spec, &process_events, p, &err);
	free(env);
	buf_release(&own);
	if (p->child == NULL) {
		free(p);
		serve_not_started(s, &err);
		return NULL;
	}
	p->s = s;
	p->in.max = q->set->max_result + LINE_MORE;
	p->table = xcalloc(s->mask + 1, sizeof(struct job *));
	TAILQ_INIT(&p->held);
	TAILQ_INSERT_TAIL(&s->processes, p, link);
	s->len++;
	return p;
}

/* ---- giving it jobs ---- */

/* After a crash one job is risked at a time, until the new process has answered one. */
uint32_t process_limit(const struct process *p)
{
	return p->answered || p->s->crashes == 0 ? p->s->q->set->pipeline : 1;
}

bool process_takes(const struct process *p)
{
	return p->state == PROCESS_UP && p->held_len < process_limit(p) && child_is_writable(p->child)
	       && child_unwritten(p->child) + p->out.len < CHILD_WRITE_MAX;
}

void process_give(struct process *p, struct job *j, const char *deadline)
{
	const struct serve *s = p->s;
	struct jsonl_request r = {
		.id = j->id, .queue = s->q->set->name, .attempt = j->attempt, .claim_id = j->claim_id,
		.deadline = deadline, .payload = j->payload, .payload_len = j->payload_len,
	};

	jsonl_add_request(&p->out, &r);
	j->state = JOB_RUNNING;
	j->started = true;
	j->started_at = s->now;
	j->end_at = s->now + s->q->set->timeout;
	process_hold(p, j);
	p->unsent++;
	s->q->worker->count.started++;
	rate_started(j);
	log_event(LOG_DEBUG, "job_start", LS("queue", s->q->set->name), LS("job", j->id), LN("attempt", j->attempt),
	          LN("pid", child_pid(p->child)));
}

/* It closed its stdin: what it was not given yet is for another one. */
static void process_take_back(struct process *p)
{
	struct serve *s = p->s;
	struct job *j;

	for (; p->unsent > 0; p->unsent--) {
		j = TAILQ_LAST(&p->held, jobs);
		process_drop(p, j);
		j->state = JOB_CLAIMED;
		j->started = false;
		j->end_at = USEC_NEVER;
		s->q->worker->count.started--;
		line_return(j);
	}
	process_fault(p, xstrdup("it closed its stdin"));
}

void process_write(struct process *p)
{
	struct job *j;

	if (p->out.len == 0)
		return;
	if (FAILS_AT(before_start) || !child_write(p->child, p->out.data, p->out.len))
		process_take_back(p);
	FAILPOINT(after_start);
	for (j = TAILQ_LAST(&p->held, jobs); p->unsent > 0; p->unsent--, j = TAILQ_PREV(j, jobs, link)) {
		free(j->payload);
		j->payload = NULL;
	}
	if (p->out.cap > OUT_KEEP)
		buf_release(&p->out);
	else
		buf_clear(&p->out);
}

/* ---- time ---- */

/*
 * The oldest job is the one that took too long. Others that were given with it may only have waited
 * behind it, so they are released with the rest.
 */
static usec_t process_expire(struct process *p, usec_t now)
{
	struct job *j = TAILQ_FIRST(&p->held);

	if (now < j->end_at)
		return j->end_at;
	if (j->ending == ENDING_NONE)
		j->ending = ENDING_TIMEOUT;
	process_end(p, ENDING_TIMEOUT);
	return p->until;
}

usec_t process_advance(struct process *p, usec_t now)
{
	switch (p->state) {
	case PROCESS_UP:
		if ((worker_stopping(p->s->q->worker) || p->s->q->draining) && p->held_len == p->lost) {
			p->state = PROCESS_LEAVING;
			p->until = now + p->s->q->worker->set->force_delay;
			child_close_stdin(p->child);
			return p->until;
		}
		return p->held_len != 0 ? process_expire(p, now) : USEC_NEVER;
	case PROCESS_LEAVING:
		if (now >= p->until)
			process_end(p, ENDING_STOP);
		return p->until;
	case PROCESS_ENDING:
		if (now < p->until)
			return p->until;
		process_kill(p);
		break;
	case PROCESS_KILLED:
		break;
	}
	return USEC_NEVER;
}
