/*
 * reload.c - see reload.h.
 *
 *   reload() --thread: file, checks, database--> take_over() --> old queues drain --> freed
 *
 * Lives here: the thread and what it makes, who owns settings, what drains.
 * Not here:   where settings come from (settings.c), what makes a queue (queue.c).
 */
#include "reload.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "claim.h"
#include "cli.h"
#include "handler.h"
#include "log.h"
#include "notify.h"
#include "settings_diff.h"

#define MARKERS 2
#define LEAVE_TIME_NS (500 * 1000 * 1000)	/* for a thread that is at work when we stop */

/* Settings that were read after the start. Held by w->set and by each queue made from them. */
struct generation {
	struct settings set;
	unsigned refs;
};

/* What the thread works on; nobody else looks at it before `done`. */
struct attempt {
	const struct worker_options *opt;
	const struct settings *old;		/* like running: only until the database is asked */
	struct generation *gen;
	struct problems problems;
	enum error_kind kind;
	struct buf fixed;			/* names of what takes a restart */

	struct {
		const struct queue_settings *set;
		bool was_refused;		/* as it is, at the start */
		struct queue *made;
		struct error why;		/* not made */
	} *queues;				/* to be made */
	size_t queues_len;
	const struct queue_settings **running;	/* of the queues that run */
	size_t running_len;
	int done;				/* eventfd */
};

struct reload_asker {
	struct reload_asker *next;
	reload_told_fn *fn;
	void *arg;
};

struct reload {
	struct worker *w;
	struct attempt *attempt;		/* NULL: none under way */
	pthread_t thread;
	struct event *done;
	bool again;
	struct reload_asker *askers;
	struct generation *gen;			/* of w->set; NULL: the first settings, which main owns */
	bool limits_due;			/* limits of queues are to be set again */
	bool marked;				/* a request is under way behind those of queues that have drained */
	char **texts;				/* statements: their addresses name them on the connection, so they stay */
	size_t texts_len;
};

static bool thread_left;

/* ---- texts ---- */

/* Takes text; the same text always has the same address. */
static char *keep_text(struct reload *r, char *text)
{
	if (text == NULL)
		return NULL;
	for (size_t i = 0; i < r->texts_len; i++)
		if (strcmp(r->texts[i], text) == 0) {
			free(text);
			return r->texts[i];
		}
	r->texts = xrealloc(r->texts, (r->texts_len + 1) * sizeof *r->texts);
	return r->texts[r->texts_len++] = text;
}

static void keep_texts(struct reload *r, struct queue *q)
{
	for (enum statement s = 0; s < STATEMENTS; s++)
		q->sql[s] = keep_text(r, q->sql[s]);
	q->on_success = q->set->on_success[0] != '\0' ? keep_text(r, xstrdup(q->set->on_success)) : NULL;
}

/* They are not the queue's to free. */
static void drop_queue(struct queue *q)
{
	for (enum statement s = 0; s < STATEMENTS; s++)
		q->sql[s] = NULL;
	queue_free(q);
}

/* ---- generations ---- */

static void generation_drop(struct generation *gen)
{
	if (gen == NULL || --gen->refs != 0)
		return;
	settings_release(&gen->set);
	free(gen);
}

/* ---- in the thread ---- */

static void note_fixed(void *arg, const struct setting *row)
{
	struct attempt *a = arg;

	buf_addf(&a->fixed, "%s[%s] %s", a->fixed.len ? ", " : "", row->section, row->key);
}

static bool is_running_as(const struct attempt *a, const struct queue_settings *set)
{
	for (size_t i = 0; i < a->running_len; i++)
		if (queue_settings_equal(a->running[i], set))
			return true;
	return false;
}

static bool was_there_before(const struct attempt *a, const struct queue_settings *set)
{
	for (size_t i = 0; i < a->old->queues_len; i++)
		if (queue_settings_equal(&a->old->queues[i], set))
			return true;
	return false;
}

static void read_settings(struct attempt *a)
{
	struct settings *set = &a->gen->set;

	a->kind = ERR_SETTINGS;
	if (settings_load(set, a->opt->cli->common.config, a->opt->cli->flags, &a->problems) < 0)
		return;
	settings_check_available(set, &a->problems);
	if (set->queues_len == 0)
		problems_add(&a->problems, "no queue is configured");
	settings_keep_fixed(set, a->old, note_fixed, a);
	a->queues = xcalloc(set->queues_len + 1, sizeof *a->queues);
	for (size_t i = 0; i < set->queues_len; i++)
		if (a->opt->wanted(a->opt->cli, set->queues[i].name) && !is_running_as(a, &set->queues[i])) {
			a->queues[a->queues_len].was_refused = was_there_before(a, &set->queues[i]);
			a->queues[a->queues_len++].set = &set->queues[i];
		}
}

/* One that was refused before and is as it was is refused again; any other has to work, or nothing changes. */
static void make_queues(struct attempt *a)
{
	struct session session = { .conn = NULL };
	struct error err = ERROR_INIT;

	if (session_open(&session, a->gen->set.database_url, "unstuck-worker", &err) < 0) {
		a->kind = err.kind;
		problems_add(&a->problems, "%s", err.text);
		return;
	}
	for (size_t i = 0; i < a->queues_len; i++) {
		struct error *why = &a->queues[i].why;

		a->queues[i].made = queue_new(a->queues[i].set, a->gen->set.concurrency, &session, why);
		if (a->queues[i].made != NULL || (a->queues[i].was_refused && why->kind != ERR_NO_DB))
			continue;
		a->kind = why->kind;
		problems_add(&a->problems, "queue %s: %s", a->queues[i].set->name, why->text);
	}
	session_close(&session);
}

static void *reload_thread(void *arg)
{
	struct attempt *a = arg;

	read_settings(a);
	if (a->problems.len == 0 && a->queues_len != 0)
		make_queues(a);
	eventfd_write(a->done, 1);
	return NULL;
}

static void attempt_free(struct attempt *a)
{
	for (size_t i = 0; i < a->queues_len; i++)
		queue_free(a->queues[i].made);
	free(a->running);
	free(a->queues);
	problems_release(&a->problems);
	buf_release(&a->fixed);
	generation_drop(a->gen);
	close(a->done);
	free(a);
}

/* ---- taking over ---- */

static bool is_set_in(const struct queue *q, const struct settings *set, const struct worker_options *opt)
{
	for (size_t i = 0; i < set->queues_len; i++)
		if (queue_settings_equal(q->set, &set->queues[i]))
			return opt->wanted(opt->cli, q->set->name);
	return false;
}

static bool has_section(const struct settings *set, const char *name)
{
	for (size_t i = 0; i < set->queues_len; i++)
		if (strcmp(set->queues[i].name, name) == 0)
			return true;
	return false;
}

static void add_name(struct buf *list, const char *name)
{
	buf_addf(list, "%s%s", list->len ? "," : "", name);
}

static bool drains(const struct worker *w, const char *name)
{
	for (size_t i = 0; i < w->queues_len; i++)
		if (w->queues[i]->draining && strcmp(w->queues[i]->set->name, name) == 0)
			return true;
	return false;
}

static void drain_queues(struct worker *w, const struct settings *set, struct buf *removed)
{
	for (size_t i = 0; i < w->queues_len; i++) {
		struct queue *q = w->queues[i];

		if (q->draining || is_set_in(q, set, w->opt))
			continue;
		q->draining = true;
		q->empty = true;
		if (q->hungry) {
			q->hungry = false;
			w->hungry--;
		}
		if (!has_section(set, q->set->name))
			add_name(removed, q->set->name);
	}
}

static void add_queues(struct reload *r, struct attempt *a, struct buf *changed, struct buf *added)
{
	struct worker *w = r->w;

	w->queues = xrealloc(w->queues, (w->queues_len + a->queues_len + 1) * sizeof(struct queue *));
	for (size_t i = 0; i < a->queues_len; i++) {
		struct queue *q = a->queues[i].made;

		if (q == NULL) {
			log_event(LOG_ERROR, "queue_refused", LS("queue", a->queues[i].set->name),
			          LS("error", a->queues[i].why.text));
			continue;
		}
		a->queues[i].made = NULL;
		q->worker = w;
		q->generation = a->gen;
		a->gen->refs++;
		keep_texts(r, q);
		w->queues[w->queues_len++] = q;
		handler_open_queue(q);
		add_name(drains(w, q->set->name) ? changed : added, q->set->name);
	}
}

static void take_over(struct reload *r, struct attempt *a)
{
	struct buf removed = BUF_INIT, changed = BUF_INIT, added = BUF_INIT;
	const struct settings *old = r->w->set, *set = &a->gen->set;
	struct worker *w = r->w;
	int level = set->log_level - w->opt->cli->common.verbose;

	drain_queues(w, set, &removed);
	add_queues(r, a, &changed, &added);
	if (set->recover_every != old->recover_every)
		w->rescue_at = set->recover_every == 0 ? USEC_NEVER : clock_now() + usec_jitter(set->recover_every, 0.5);
	w->set = set;
	r->limits_due = true;
	generation_drop(r->gen);
	r->gen = a->gen;
	a->gen = NULL;
	log_set_level((enum log_level)(level < LOG_DEBUG ? LOG_DEBUG : level > LOG_ERROR ? LOG_ERROR : level));
	log_set_rotation(set->log_rotate == ROTATE_DAILY ? set->log_keep : 0);
	if (a->fixed.len != 0)
		log_event(LOG_WARNING, "reload_needs_restart", LS("keys", buf_text(&a->fixed)),
		          LS("next", "their values at the start stay in force"));
	log_event(LOG_INFO, "reloaded", LS("settings", set->path), LS("added", buf_text(&added)),
	          LS("changed", buf_text(&changed)), LS("removed", buf_text(&removed)), LN("concurrency", set->concurrency));
	buf_release(&removed);
	buf_release(&changed);
	buf_release(&added);
	claim_wake(w, NULL);
}

static void tell_askers(struct reload *r, enum error_kind kind, const char *text)
{
	struct reload_asker *asker;

	while ((asker = r->askers) != NULL) {
		r->askers = asker->next;
		asker->fn(asker->arg, kind, text);
		free(asker);
	}
}

static void on_done(evutil_socket_t fd, short what, void *arg)
{
	struct reload *r = arg;
	struct attempt *a = r->attempt;

	(void)fd, (void)what;
	pthread_join(r->thread, NULL);
	event_free(r->done);
	r->done = NULL;
	r->attempt = NULL;
	if (worker_stopping(r->w)) {
		tell_askers(r, ERR_SYS, "the worker is stopping");
	} else if (a->problems.len != 0) {
		for (size_t i = 0; i < a->problems.len; i++)
			log_event(LOG_ERROR, "reload_failed", LS("error", a->problems.text[i]),
			          LS("next", "the settings in force stay"));
		if (!r->again)
			tell_askers(r, a->kind, a->problems.text[0]);
	} else {
		take_over(r, a);
		if (!r->again)
			tell_askers(r, ERR_NONE, "");
	}
	attempt_free(a);
	notify_reloading(r->w, false);
	if (r->again && !worker_stopping(r->w)) {
		r->again = false;
		reload(r->w);
	}
	worker_changed(r->w);
}

/* ---- beginning ---- */

static struct attempt *attempt_new(struct worker *w)
{
	struct attempt *a = xcalloc(1, sizeof *a);

	a->opt = w->opt;
	a->old = w->set;
	a->gen = xcalloc(1, sizeof *a->gen);
	a->gen->refs = 1;
	a->running = xcalloc(w->queues_len + 1, sizeof(struct queue_settings *));
	for (size_t i = 0; i < w->queues_len; i++)
		if (!w->queues[i]->draining)
			a->running[a->running_len++] = w->queues[i]->set;
	a->done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return a;
}

/* No signal is the thread's: they are the loop's. */
static int start_thread(struct reload *r)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&r->thread, NULL, reload_thread, r->attempt);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

void reload(struct worker *w)
{
	struct reload *r = w->reload;
	int error;

	if (r->attempt != NULL) {
		r->again = true;
		return;
	}
	r->attempt = attempt_new(w);
	r->done = event_new(w->base, r->attempt->done, EV_READ, on_done, r);
	event_add(r->done, NULL);
	error = start_thread(r);
	if (error != 0) {
		log_event(LOG_ERROR, "reload_failed", LS("error", strerror(error)), LS("next", "the settings in force stay"));
		tell_askers(r, ERR_SYS, strerror(error));
		event_free(r->done);
		r->done = NULL;
		attempt_free(r->attempt);
		r->attempt = NULL;
		return;
	}
	notify_reloading(w, true);
}

void reload_when_told(struct worker *w, reload_told_fn *fn, void *arg)
{
	struct reload_asker *asker = xmalloc(sizeof *asker);

	*asker = (struct reload_asker){ w->reload->askers, fn, arg };
	w->reload->askers = asker;
	reload(w);
}

void reload_forget(struct worker *w, const void *arg)
{
	for (struct reload_asker **at = &w->reload->askers; *at != NULL;) {
		struct reload_asker *asker = *at;

		if (asker->arg == arg) {
			*at = asker->next;
			free(asker);
		} else {
			at = &asker->next;
		}
	}
}

/* ---- draining ---- */

static bool has_drained(const struct queue *q)
{
	return q->draining && q->busy == 0 && q->asked == 0 && q->waiting == 0 && q->ended_len == 0 && q->writes == 0
	       && handler_queue_is_idle(q);
}

static void free_drained(struct worker *w)
{
	size_t kept = 0;

	for (size_t i = 0; i < w->queues_len; i++) {
		struct queue *q = w->queues[i];

		if (q->rounds < MARKERS) {
			w->queues[kept++] = q;
			continue;
		}
		log_event(LOG_INFO, "queue_drained", LS("queue", q->set->name));
		handler_close_queue(q);
		generation_drop(q->generation);
		drop_queue(q);
	}
	w->queues_len = kept;
	w->claim_first = 0;
}

/*
 * Answers come in the order of the requests, so none that was asked before the marker is still to come. But an
 * answer may have led to another question about the queue; that one is answered before the second marker.
 */
static void on_marker(void *arg, const struct db_reply *reply)
{
	struct worker *w = arg;

	(void)reply;
	w->reload->marked = false;
	for (size_t i = 0; i < w->queues_len; i++)
		w->queues[i]->rounds += w->queues[i]->drained;
	if (!w->rescue_busy)	/* its pass counts queues */
		free_drained(w);
	worker_changed(w);
}

static void send_marker(struct worker *w)
{
	struct db_request *r;
	bool any = false;

	for (size_t i = 0; i < w->queues_len; i++) {
		w->queues[i]->drained = has_drained(w->queues[i]);
		any |= w->queues[i]->drained;
	}
	if (!any || w->rescue_busy || !db_is_ready(w->db))
		return;
	w->reload->marked = true;
	r = db_request_new(on_marker, w);
	db_request_add(r, "SELECT 1", 0, NULL, NULL);
	db_send(w->db, r);
}

/* What still runs of a queue's former self takes its places. */
static void set_limits(struct worker *w)
{
	for (size_t i = 0; i < w->queues_len; i++) {
		struct queue *q = w->queues[i];
		uint32_t used = 0, limit = q->set->concurrency != 0 ? q->set->concurrency : w->set->concurrency;

		for (size_t k = 0; k < w->queues_len; k++)
			if (w->queues[k]->draining && strcmp(w->queues[k]->set->name, q->set->name) == 0)
				used += w->queues[k]->how->slots(w->queues[k]);
		if (!q->draining)
			q->limit = used < limit ? limit - used : 0;
	}
}

void reload_advance(struct worker *w)
{
	bool draining = false;

	if (w->reload->gen == NULL)
		return;		/* nothing was ever read again */
	for (size_t i = 0; i < w->queues_len; i++)
		draining |= w->queues[i]->draining;
	if (draining || w->reload->limits_due)
		set_limits(w);
	w->reload->limits_due = draining;	/* once more when the last one is gone */
	if (draining && !w->reload->marked && !worker_stopping(w))
		send_marker(w);
}

/* ---- life ---- */

void reload_open(struct worker *w)
{
	w->reload = xcalloc(1, sizeof *w->reload);
	w->reload->w = w;
	for (size_t i = 0; i < w->queues_len; i++)
		keep_texts(w->reload, w->queues[i]);
}

/* A thread at work: it is in the database's hands by now and knows nothing of ours but its attempt. */
static void leave_thread(struct reload *r)
{
	struct timespec until;

	if (r->attempt == NULL)
		return;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += LEAVE_TIME_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	if (pthread_timedjoin_np(r->thread, NULL, &until) == 0)
		attempt_free(r->attempt);
	else
		thread_left = true;
	event_free(r->done);
}

bool reload_left_a_thread(void)
{
	return thread_left;
}

void reload_close(struct worker *w)
{
	struct reload *r = w->reload;

	if (r != NULL)
		leave_thread(r);
	for (size_t i = 0; i < w->queues_len; i++) {
		if (r != NULL)
			generation_drop(w->queues[i]->generation);
		if (r != NULL)
			drop_queue(w->queues[i]);
		else
			queue_free(w->queues[i]);
	}
	free(w->queues);
	if (r == NULL)
		return;
	generation_drop(r->gen);
	for (size_t i = 0; i < r->texts_len; i++)
		free(r->texts[i]);
	free(r->texts);
	while (r->askers != NULL) {
		struct reload_asker *asker = r->askers;

		r->askers = asker->next;
		free(asker);
	}
	free(r);
	w->reload = NULL;
}
