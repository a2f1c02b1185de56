/*
 * reload.c - see reload.h.
 *
 *   reload() --thread: file, checks, database--> take_over() --> old queues drain --> freed
 *
 * Lives here: who owns settings and statements, taking over what was read, what drains.
 * Not here:   reading (reload_attempt.c), what makes a queue (queue.c).
 */
#include "reload.h"

#include <stdlib.h>
#include <string.h>

#include "claim.h"
#include "cli.h"
#include "handler.h"
#include "line.h"
#include "log.h"
#include "notify.h"
#include "reload_attempt.h"
#include "settings_diff.h"

#define MARKERS 2	/* see on_marker() */

struct reload_asker {
	struct reload_asker *next;
	reload_told_fn *fn;
	void *arg;
};

struct reload {
	struct worker *w;
	struct attempt *attempt;		/* NULL: none under way */
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
	attempt_join(a);
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
	error = attempt_start(r->attempt);
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
	       && q->keeping == 0 && handler_queue_is_idle(q);
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
				used += line_slots(w->queues[k]);
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
	if (r->attempt == NULL)
		return;
	if (attempt_join_soon(r->attempt))
		attempt_free(r->attempt);
	else
		thread_left = true;
	event_free(r->done);
}

struct generation *reload_generation(struct worker *w)
{
	struct generation *gen = w->reload->gen;

	if (gen != NULL)
		gen->refs++;
	return gen;
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
