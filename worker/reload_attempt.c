/*
 * reload_attempt.c - see reload_attempt.h. Not here: what is done with it (reload.c).
 */
#include "reload_attempt.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "settings_diff.h"

#define PATIENCE_NS (500 * 1000 * 1000)	/* for a thread that is at work when we stop */

/* ---- generations ---- */

void generation_drop(struct generation *gen)
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
	if (set->queues_len == 0)
		problems_add(&a->problems, "no queue is configured");
	settings_keep_fixed(set, a->old, note_fixed, a);
	for (size_t i = 0; i < set->queues_len; i++)
		if (set->queues[i].rate.n != 0 && set->redis_url[0] == '\0')
			problems_add(&a->problems, "queue %s: rate needs Redis, and redis_url takes a restart", set->queues[i].name);
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

static void *attempt_run(void *arg)
{
	struct attempt *a = arg;

	read_settings(a);
	if (a->problems.len == 0 && a->queues_len != 0)
		make_queues(a);
	eventfd_write(a->done, 1);
	return NULL;
}

void attempt_free(struct attempt *a)
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

/* ---- life ---- */

struct attempt *attempt_new(const struct worker *w)
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
int attempt_start(struct attempt *a)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&a->thread, NULL, attempt_run, a);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

void attempt_join(struct attempt *a)
{
	pthread_join(a->thread, NULL);
}

bool attempt_join_soon(struct attempt *a)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += PATIENCE_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	return pthread_timedjoin_np(a->thread, NULL, &until) == 0;
}
