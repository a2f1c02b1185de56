/*
 * signals.c - a table of signals and what each does. Not here: SIGCHLD (child.c).
 */
#include "signals.h"

#include <signal.h>

#include "claim.h"
#include "lanes.h"
#include "log.h"
#include "redis.h"
#include "reload.h"
#include "store.h"

static void stop_by(struct worker *w, const char *reason)
{
	w->stop_signals++;
	if (w->stop_signals == 1) {
		worker_stop(w, reason);
	} else if (w->hurried_at == USEC_NEVER) {
		log_event(LOG_WARNING, "stopping", LS("reason", reason), LS("next", "the grace period is skipped"));
		w->hurried_at = clock_now();
		worker_changed(w);
	}
}

static void on_term(struct worker *w)
{
	stop_by(w, "signal.term");
}

static void on_int(struct worker *w)
{
	stop_by(w, "signal.int");
}

static void on_hup(struct worker *w)
{
	if (!worker_stopping(w))
		reload(w);
}

static void on_tstp(struct worker *w)
{
	if (w->quiet)
		return;
	w->quiet = true;
	log_event(LOG_INFO, "quiet", LN("running", w->running));
	w->beat_at = 0;
	worker_changed(w);
}

static void on_cont(struct worker *w)
{
	if (!w->quiet)
		return;
	w->quiet = false;
	log_event(LOG_INFO, "resume", LN("running", w->running));
	claim_wake(w, NULL);
	w->beat_at = 0;
	worker_changed(w);
}

static void on_usr1(struct worker *w)
{
	struct error err = ERROR_INIT;

	(void)w;
	if (log_reopen(&err) < 0)
		log_event(LOG_ERROR, "log_reopen_failed", LS("error", err.text));
}

static void on_usr2(struct worker *w)
{
	const struct db *second = lanes_second(w);
	const struct job *j;

	log_event(LOG_INFO, "state", LS("worker", w->id), LS("database", db_state_name(db_state(w->db))),
	          LN("requests", db_pending(w->db)), LN("reconnects", db_reconnects(w->db)),
	          LS("second", second != NULL ? db_state_name(db_state(second)) : "none"),
	          LS("redis", !redis_is_used(w) ? "none" : redis_is_ready(w) ? "ready" : "away"),
	          LN("running", w->running), LN("results_waiting", store_waiting(w)), LN("started", w->count.started),
	          LN("done", w->count.done), LN("failed", w->count.failed), LN("retried", w->count.retried),
	          LN("released", w->count.released), LN("late", w->count.late),
	          LN("recovered", w->count.recovered));
	TAILQ_FOREACH(j, &w->jobs, all) {
		char age[USEC_TEXT_MAX];

		log_event(LOG_INFO, "state_job", LS("queue", j->queue->set->name), LS("job", j->id),
		          LN("attempt", j->attempt), LS("state", j->state == JOB_RUNNING ? "running" : "ended"),
		          LN("pid", j->child != NULL ? child_pid(j->child) : 0),
		          LS("age", usec_text((clock_now() - j->started_at) / MSEC * MSEC, age)));
	}
}

static const struct {
	int signo;
	void (*act)(struct worker *w);
	const char *name;
} table[] = {
	{ SIGTERM, on_term, "TERM" },	/* claim no more, finish what runs within graceful_timeout, leave; again: leave now */
	{ SIGINT,  on_int,  "INT" },	/* as TERM */
	{ SIGHUP,  on_hup,  "HUP" },	/* read the settings again */
	{ SIGTSTP, on_tstp, "TSTP" },	/* quiet: claim no more, finish what runs, stay up */
	{ SIGCONT, on_cont, "CONT" },	/* work on after TSTP */
	{ SIGUSR1, on_usr1, "USR1" },	/* reopen the log file */
	{ SIGUSR2, on_usr2, "USR2" },	/* log the full state */
};

static struct event *events[ARRAY_SIZE(table)];
static struct worker *the_worker;

static void on_signal(evutil_socket_t signo, short what, void *arg)
{
	(void)what;
	(void)arg;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].signo == (int)signo)
			table[i].act(the_worker);
}

static void all_signals(sigset_t *set)
{
	sigemptyset(set);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		sigaddset(set, table[i].signo);
}

void signals_hold(void)
{
	sigset_t set;

	all_signals(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

bool signals_stop_waits(void)
{
	sigset_t set;

	return sigpending(&set) == 0 && (sigismember(&set, SIGTERM) == 1 || sigismember(&set, SIGINT) == 1);
}

int signals_open(struct worker *w, struct error *err)
{
	sigset_t set;

	the_worker = w;
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		events[i] = evsignal_new(w->base, table[i].signo, on_signal, NULL);
		if (events[i] == NULL || event_add(events[i], NULL) < 0)
			return error_set(err, ERR_SYS, "signal %s cannot be caught", table[i].name);
	}
	all_signals(&set);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	return 0;
}

/* Without its events a signal would end us in the middle of the last few lines. */
void signals_close(void)
{
	signals_hold();
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (events[i] != NULL) {
			event_free(events[i]);
			events[i] = NULL;
		}
}
