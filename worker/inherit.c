/*
 * inherit.c - see inherit.h.
 *
 * The thread works on the settings in force when it began (their generation is held) and on a session of its own; what it
 * has to say is gathered and logged by the loop.
 */
#include "inherit.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "reload.h"
#include "reload_attempt.h"
#include "replay.h"
#include "spool_dir.h"

#define PATIENCE_NS (500 * 1000 * 1000)	/* for a thread that is at work when we end */
#define PAUSE (5 * MINUTE)		/* after a replay that left something and nothing of it runs */

struct inherit {
	struct worker *w;
	struct event *ended;
	int fd;				/* eventfd: the thread is over */
	bool busy, failed;
	usec_t look_at, pause_until;
	size_t left;			/* dead ones whose rest cannot be stored now: not before the pause is over */

	/* the thread's until it is over */
	pthread_t thread;
	struct generation *gen;
	struct replay replay;
	char *url;
	struct error err;
	char **told;
	size_t told_len;
};

static bool thread_left;

/* ---- what was found ---- */

static void tell_replay(void *arg, const char *text)
{
	(void)arg;
	log_event(LOG_WARNING, "replay", LS("what", text));
}

static void tell_counts(const struct replay_counts *c)
{
	if (c->records != 0)
		log_event(LOG_INFO, "replayed", LN("dead", c->instances), LN("records", c->records), LN("stored", c->stored),
		          LN("already", c->already), LN("late", c->late), LN("refused", c->refused), LN("dropped", c->dropped),
		          LN("kept", c->kept));
}

int inherit_at_start(const struct settings *set, bool needed, struct session *session, struct error *err)
{
	struct replay r = { .dir = set->spool_dir, .settings = set, .session = session, .tell = tell_replay };
	struct error why = ERROR_INIT;
	int rc = replay_run(&r, &why);

	tell_counts(&r.count);
	if (rc == 0)
		return 0;
	if (why.kind == ERR_NO_DB) {
		*err = why;
		return -1;
	}
	if (needed)
		return error_set(err, ERR_SETTINGS, "%s; a queue with spool = always needs that directory: set spool_dir in [worker] "
		                 "to one that this user can write to, or spool = outage in the queues", why.text);
	log_event(LOG_WARNING, "replay_failed", LS("error", why.text), LS("next", "what dead workers left there stays"));
	return 0;
}

/* Of this database, as far as is known. */
static bool is_dead(const struct worker *w, int base, const char *name)
{
	struct spool_instance in;
	bool dead = false;

	if (spool_instance_open(&in, base, name, NULL) == 0 && !spool_instance_alive(&in)) {
		char *database = spool_instance_database(&in);

		dead = database == NULL || w->opt->database == NULL || strcmp(database, w->opt->database) == 0;
		free(database);
	}
	spool_instance_close(&in);
	return dead;
}

static size_t count_dead(const struct worker *w)
{
	struct spool_names names;
	bool missing;
	size_t dead = 0;
	int base = spool_base_open(w->set->spool_dir, false, &missing, NULL);

	if (base >= 0 && spool_names_read(&names, base, "", NULL) == 0) {
		for (size_t i = 0; i < names.len; i++)
			dead += is_dead(w, base, names.v[i]);
		spool_names_release(&names);
	}
	if (base >= 0)
		close(base);
	return dead;
}

/* ---- the thread ---- */

static void keep_told(void *arg, const char *text)
{
	struct inherit *a = arg;

	a->told = xrealloc(a->told, (a->told_len + 1) * sizeof *a->told);
	a->told[a->told_len++] = xstrdup(text);
}

static void *inherit_run(void *arg)
{
	struct session session = { .conn = NULL };
	struct inherit *a = arg;
	struct error why = ERROR_INIT;

	a->replay.session = &session;
	if (session_open(&session, a->url, "unstuck-worker", &a->err) == 0 && replay_run(&a->replay, &why) < 0)
		a->err = why;
	session_close(&session);
	eventfd_write(a->fd, 1);
	return NULL;
}

/* No signal is the thread's: they are the loop's. */
static int start_thread(struct inherit *a)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&a->thread, NULL, inherit_run, a);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

static void forget_work(struct inherit *a)
{
	for (size_t i = 0; i < a->told_len; i++)
		free(a->told[i]);
	free(a->told);
	a->told = NULL;
	a->told_len = 0;
	free(a->url);
	a->url = NULL;
	generation_drop(a->gen);
	a->gen = NULL;
}

/* ---- the loop's side ---- */

void inherit_look(struct worker *w)
{
	struct inherit *a = w->inherit;
	usec_t now = clock_now();
	size_t dead;

	a->look_at = now + w->set->heartbeat;
	if (a->busy)
		return;
	a->failed = false;
	dead = count_dead(w);
	if (dead == 0 || (dead == a->left && now < a->pause_until))
		return;
	a->gen = reload_generation(w);
	a->url = xstrdup(w->set->database_url);
	a->replay = (struct replay){ .dir = w->set->spool_dir, .settings = w->set, .tell = keep_told, .arg = a };
	a->err = (struct error)ERROR_INIT;
	a->busy = start_thread(a) == 0;
	if (!a->busy)
		forget_work(a);
}

static void on_ended(evutil_socket_t fd, short what, void *arg)
{
	struct inherit *a = arg;
	eventfd_t n;

	(void)what;
	if (eventfd_read(fd, &n) < 0 || !a->busy)
		return;
	pthread_join(a->thread, NULL);
	a->busy = false;
	a->failed = a->err.kind != ERR_NONE;
	for (size_t i = 0; i < a->told_len; i++)
		tell_replay(NULL, a->told[i]);
	tell_counts(&a->replay.count);
	if (a->failed)
		log_event(LOG_WARNING, "replay_failed", LS("error", a->err.text), LS("next", "tried again before anything is recovered"));
	a->left = a->failed || a->replay.count.running != 0 ? 0 : count_dead(a->w);
	a->pause_until = clock_now() + PAUSE;
	forget_work(a);
	worker_changed(a->w);
}

bool inherit_is_idle(const struct worker *w)
{
	return !w->inherit->busy;
}

bool inherit_has_failed(const struct worker *w)
{
	return w->inherit->failed;
}

usec_t inherit_advance(struct worker *w, usec_t now)
{
	struct inherit *a = w->inherit;

	if (worker_stopping(w) || !db_is_ready(w->db))
		return USEC_NEVER;
	if (w->inherit_due || now >= a->look_at)
		inherit_look(w);
	w->inherit_due = false;
	return a->look_at;
}

void inherit_open(struct worker *w)
{
	struct inherit *a = xcalloc(1, sizeof *a);

	w->inherit = a;
	a->w = w;
	a->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	a->ended = event_new(w->base, a->fd, EV_READ | EV_PERSIST, on_ended, a);
	if (a->ended != NULL)
		event_add(a->ended, NULL);
}

bool inherit_left_a_thread(void)
{
	return thread_left;
}

/* A replay that is cut off here goes on with the next worker. */
static bool join_soon(struct inherit *a)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += PATIENCE_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	return pthread_timedjoin_np(a->thread, NULL, &until) == 0;
}

void inherit_close(struct worker *w)
{
	struct inherit *a = w->inherit;

	if (a == NULL)
		return;
	w->inherit = NULL;
	if (a->ended != NULL)
		event_free(a->ended);
	if (a->busy && !join_soon(a)) {
		thread_left = true;
		return;
	}
	forget_work(a);
	if (a->fd >= 0)
		close(a->fd);
	free(a);
}
