/*
 * run.c - the order of a run, written once.
 *
 *   connect, lock, choose the queues, replay the spools of dead workers on this host, watch the silent workers,
 *   preview, brake, consent, declare the dead, reset, adopt late results
 *
 * Each step may end the run; the report then says how far it came.
 * Not here: the report itself (report_*.c), doing it again and again (schedule.c).
 */
#include "run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "adoption.h"
#include "confirm.h"
#include "failpoint.h"
#include "lock.h"
#include "log.h"
#include "progress.h"
#include "report.h"
#include "reset.h"
#include "sqltext.h"
#include "spools.h"
#include "stop.h"
#include "stuck.h"
#include "tell.h"

#define BRAKE_MIN 20		/* --max-fraction is about queues with more PROCESSING rows */
#define TOLD_MAX 10		/* refused rows that are told one by one */

struct run_sums run_sums(const struct run *r)
{
	struct run_sums s = { 0 };

	for (size_t i = 0; i < r->targets.len; i++) {
		const struct target *t = &r->targets.v[i];

		s.processing += t->processing;
		s.stuck += t->stuck;
		s.suspects += t->suspects;
		s.reset += t->reset;
		s.failed += t->failed;
		s.skipped += t->skipped;
		s.refused += t->refused;
		s.broken += t->error.kind != ERR_NONE;
		for (size_t k = 0; k < t->rows_len; k++)
			s.planned += t->rows[k].fate == FATE_PLANNED;
	}
	return s;
}

static uint32_t max_recoveries(const struct run *r)
{
	const struct options *opt = r->ask->opt;

	return opt->max_recoveries != COUNT_UNSET ? (uint32_t)opt->max_recoveries : r->ask->settings->max_recoveries;
}

static bool has_yes(const struct run *r)
{
	return r->ask->opt->yes || is_scheduled(r->ask);
}

/* An error of one queue; without a connection it is everybody's. */
static void target_fail(struct run *r, struct target *t, const struct error *why)
{
	if (t->error.kind == ERR_NONE)
		t->error = *why;
	if (PQstatus(r->session.conn) != CONNECTION_OK && r->error.kind == ERR_NONE) {
		r->error = *why;
		r->error.kind = ERR_NO_DB;
	} else {
		tell_cause(r->ask, target_name(t), why);
	}
}

/* ---- connect, lock, choose ---- */

static int stamp(struct run *r)
{
	free(r->checked_at);
	r->checked_at = NULL;
	return session_value(&r->session, &r->error, &r->checked_at,
	                     "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')", 0,
	                     NULL);
}

/* libpq would print them as they come, control characters and all. What matters comes as an error. */
static void drop_notice(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

static int run_connect(struct run *r)
{
	if (session_open(&r->session, r->ask->settings->database_url, "unstuck-recover", &r->error) < 0)
		return -1;
	r->connected = true;
	PQsetNoticeProcessor(r->session.conn, drop_notice, NULL);
	if (stop_watch(r->session.conn, &r->error) < 0)
		return -1;
	return stamp(r);
}

static int run_choose(struct run *r)
{
	if (targets_choose(&r->targets, r->ask->opt, r->ask->cli, r->ask->settings, &r->session, &r->error) < 0)
		return -1;
	for (size_t i = 0; i < r->targets.len; i++)
		if (r->targets.v[i].error.kind != ERR_NONE)
			tell_cause(r->ask, target_name(&r->targets.v[i]), &r->targets.v[i].error);
	return 0;
}

int run_open(struct run *r)
{
	return run_connect(r) < 0 ? -1 : run_choose(r);
}

/* Returns 1 to go on, 0 when another run is at work, -1. */
static int run_lock(struct run *r)
{
	enum lock_answer answer = LOCK_BUSY;

	if (lock_take(&r->session, &answer, &r->error) < 0)
		return -1;
	if (answer == LOCK_POOLED && r->first)
		tell_note(r->ask, "a connection pooler is in between: no lock keeps two runs apart (each row is still "
		                  "checked again); connect to the server itself to have one");
	r->locked = answer == LOCK_BUSY;
	return r->locked ? 0 : 1;
}

/* ---- what is there ---- */

static void say_watching(void *arg, size_t workers, double seconds)
{
	const struct run *r = arg;

	tell_note(r->ask, "%zu worker%s silent and not watched yet: watching for %.0f s before deciding", workers,
	          workers == 1 ? " is" : "s are", seconds + 0.5);
}

static void note_setup(struct run *r)
{
	if (r->first && !r->session.has_schema)
		tell_note(r->ask, "no schema unstuck here: age alone decides, no ledger, no poison limit; "
		                  "unstuckctl init adds them");
}

/* A preview that had to read all of a large table says what would make it quick. */
static void note_index(struct run *r, struct target *t)
{
	struct findings found = FINDINGS_INIT;
	struct error ignored = ERROR_INIT;

	if (r->dry_run && mapping_check_recover(&t->mapping, &r->session, &found, &ignored) == 0)
		for (size_t i = 0; i < found.len; i++)
			tell_note(r->ask, "queue %s: %s", target_name(t), found.v[i].text);
	findings_release(&found);
}

/* What makes the preview of a queue less certain than it looks. */
static void note_doubts(struct run *r, struct target *t)
{
	bool matters = false;
	struct error ignored = ERROR_INIT;

	if (!r->first)
		return;
	note_index(r, t);
	if (target_zone_matters(t, &r->session, &matters, &ignored) == 0 && matters)
		tell_note(r->ask, "queue %s: %s.%s is a timestamp without time zone and is read as UTC; say the "
		                  "application's zone with %s if that is wrong", target_name(t), t->mapping.source,
		          t->mapping.updated_at,
		          t->mapping.q->line > 0 ? "timezone = ..." : "--timezone");
	if (t->ageless > 0)
		tell_note(r->ask, "queue %s: %zu PROCESSING row%s known to no worker and without a time in %s: their age "
		                  "cannot be told, they stay as they are", target_name(t), t->ageless,
		          t->ageless == 1 ? " is" : "s are",
		          t->mapping.updated_at != NULL ? t->mapping.updated_at : "any column");
}

/* Find the stuck rows of all queues; an error stays with its queue. */
static int run_preview(struct run *r)
{
	const struct options *opt = r->ask->opt;
	size_t room = opt->limit != COUNT_UNSET ? (size_t)opt->limit : SIZE_MAX;

	if (stamp(r) < 0)
		return -1;
	for (size_t i = 0; i < r->targets.len && !stop_asked(); i++) {
		struct target *t = &r->targets.v[i];
		struct error why = ERROR_INIT;
		struct stuck_question ask = {
			.ignore_liveness = opt->ignore_liveness,
			.alive = r->ask->cli->common.verbose > 0,
			.suspects = r->dry_run,
			.max_recoveries = max_recoveries(r),
			.room = room,
			.detail = LISTED_MAX,
		};

		if (!target_is_open(t))
			continue;
		if (stuck_find(&r->session, t, &ask, &why) < 0) {
			if (stop_asked())
				break;
			target_fail(r, t, &why);
			if (r->error.kind != ERR_NONE)
				return -1;
			continue;
		}
		room -= t->stuck < room ? t->stuck : room;
		note_doubts(r, t);
	}
	return 0;
}

/* ---- may it be done? ---- */

static size_t planned_of(const struct target *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->rows_len; i++)
		n += t->rows[i].fate == FATE_PLANNED ||
		     (t->rows[i].fate == FATE_LISTED && t->rows[i].action != ACTION_NONE);
	return n;
}

/* Too large a share of a queue at once is more likely a mistake than so many deaths. */
static void run_brake(struct run *r)
{
	double most = r->ask->opt->max_fraction;

	for (size_t i = 0; most >= 0 && i < r->targets.len; i++) {
		const struct target *t = &r->targets.v[i];
		size_t planned = planned_of(t);

		if (t->processing <= BRAKE_MIN || (double)planned <= most * (double)t->processing)
			continue;
		r->refused = true;
		tell_error(r->ask, target_name(t), "%zu of %zu PROCESSING rows (%.0f%%) would be reset, more than "
		           "--max-fraction %g%%: nothing %s changed; look why, then raise it or go by --limit",
		           planned, t->processing, 100 * (double)planned / (double)t->processing, 100 * most,
		           r->dry_run ? "would be" : "was");
	}
}

static void count_actions(const struct run *r, size_t *reset, size_t *fail)
{
	*reset = *fail = 0;
	for (size_t i = 0; i < r->targets.len; i++)
		for (size_t k = 0; k < r->targets.v[i].rows_len; k++) {
			const struct stuck_row *row = &r->targets.v[i].rows[k];

			*reset += row->fate == FATE_PLANNED && row->action == ACTION_RESET;
			*fail += row->fate == FATE_PLANNED && row->action == ACTION_FAIL;
		}
}

/* Show what would be done, and ask. Under --json stdout is for the document alone. */
static bool run_consent(struct run *r)
{
	size_t reset, fail;

	if (has_yes(r))
		return true;
	count_actions(r, &reset, &fail);
	if (isatty(STDIN_FILENO) || !r->ask->opt->json) {
		report_table(r->ask->opt->json ? stderr : stdout, r);
		r->previewed = true;
	}
	switch (confirm_ask(reset, fail)) {
	case CONSENT_YES:
		return true;
	case CONSENT_NO:
		tell_note(r->ask, "nothing was changed");
		break;
	case CONSENT_NOBODY:
		r->unasked = true;
		tell_error(r->ask, NULL, "%zu row%s stuck, and no terminal to ask on: nothing was changed; "
		           "say --yes to do it or --dry-run to look", reset + fail, reset + fail == 1 ? " is" : "s are");
		break;
	case CONSENT_STOPPED:
		r->stopped = true;
		break;
	}
	return false;
}

/* ---- do it ---- */

/* What the callbacks of a reset need. */
struct apply {
	struct run *run;
	struct progress bar;
	size_t before;		/* rows dealt with in the queues before this one */
	size_t told;
};

static void on_progress(void *arg, size_t rows)
{
	struct apply *a = arg;

	progress_show(&a->bar, a->before + rows);
}

static void on_refused(void *arg, const struct target *t, const struct stuck_row *row, const struct error *why)
{
	struct apply *a = arg;

	if (a->told++ >= TOLD_MAX)
		return;
	progress_clear(&a->bar);
	tell_error(a->run->ask, target_name(t), "row %s cannot be reset: %s%s", row->id, why->text,
	           remedy_for(why->sqlstate));
}

static void tell_lost(struct run *r)
{
	for (size_t i = 0; i < r->lost.len; i++) {
		const struct lost_worker *w = &r->lost.v[i];

		if (is_scheduled(r->ask))
			log_event(LOG_WARNING, "worker_lost", LS("worker", w->worker_id), LS("host", w->host),
			          LN("pid", strtol(w->pid, NULL, 10)), LN("silent_s", w->silent_s));
		else if (run_sums(r).stuck > 0 || !is_quiet(r->ask))
			cli_complain(r->ask->cli, "worker %s on %s (pid %s) silent for %.0f s and watched: declared dead",
			             w->worker_id, w->host, w->pid, w->silent_s);
	}
}

static void reset_all(struct run *r)
{
	struct apply a = { .run = r };
	struct reset_order order = {
		.ignore_liveness = r->ask->opt->ignore_liveness,
		.max_recoveries = max_recoveries(r),
		.batch = r->ask->opt->batch != COUNT_UNSET ? (uint32_t)r->ask->opt->batch : r->ask->settings->recover_batch,
		.progress = on_progress,
		.refused = on_refused,
		.arg = &a,
	};

	progress_init(&a.bar, run_sums(r).planned, !is_scheduled(r->ask) && !is_quiet(r->ask));
	for (size_t i = 0; i < r->targets.len && !stop_asked() && r->error.kind == ERR_NONE; i++) {
		struct target *t = &r->targets.v[i];
		struct error why = ERROR_INIT;

		if (!target_is_open(t) || t->rows_len == 0)
			continue;
		if (reset_target(&r->session, t, &order, &why) < 0) {
			progress_clear(&a.bar);
			target_fail(r, t, &why);
		}
		a.before += t->reset + t->failed + t->skipped + t->refused;
	}
	progress_clear(&a.bar);
	if (a.told > TOLD_MAX)
		tell_error(r->ask, NULL, "... and %zu more rows could not be reset", a.told - TOLD_MAX);
}

/* What is left of batches whose jobs were all put back; where it fails the next one does it. */
static void sweep(struct run *r)
{
	struct error ignored = ERROR_INIT;

	if (r->session.has_schema && r->error.kind == ERR_NONE && !stop_asked())
		PQclear(session_exec(&r->session, &ignored, sqltext("workers", "sweep"), 0, NULL));
}

static int run_apply(struct run *r)
{
	if (watch_declare_dead(&r->session, &r->lost, &r->error) < 0)
		return -1;
	FAILPOINT(recover_declared);
	tell_lost(r);
	r->applied = true;
	reset_all(r);
	sweep(r);
	FAILPOINT(recover_done);
	return r->error.kind == ERR_NONE ? adoption_run(r) : -1;
}

static int run_steps(struct run *r)
{
	int go;

	if (run_connect(r) < 0)
		return -1;
	note_setup(r);
	if (!r->dry_run && (go = run_lock(r)) <= 0)
		return go;
	FAILPOINT(recover_locked);
	if (run_choose(r) < 0 || spools_replay(r) < 0)
		return -1;
	if (!r->dry_run && !r->ask->opt->ignore_liveness &&
	    watch_silent(&r->session, say_watching, r, &r->error) < 0)
		return -1;
	FAILPOINT(recover_watched);
	if (stop_asked() || run_preview(r) < 0)
		return r->error.kind == ERR_NONE ? 0 : -1;
	FAILPOINT(recover_listed);
	run_brake(r);
	if (r->dry_run && !stop_asked())
		return adoption_run(r);
	if (stop_asked() || r->refused)
		return 0;
	if (run_sums(r).planned > 0 ? !run_consent(r) : !has_yes(r))
		return 0;
	return run_apply(r);
}

/* A database that is away is an event of its own, told once. */
static void tell_end(struct run *r)
{
	if (!is_scheduled(r->ask) || r->error.kind != ERR_NO_DB)
		tell_cause(r->ask, NULL, &r->error);
	else if (!r->told_away)
		log_event(LOG_WARNING, "db_lost", LS("error", r->error.text));
}

enum exit_status run_recover(struct run *r)
{
	int rc = run_steps(r);

	if (stop_asked()) {
		r->stopped = true;	/* an error now is most likely our own cancel */
		if (!is_scheduled(r->ask))
			tell_error(r->ask, NULL, "stopped by a signal before all was done");
	} else if (rc < 0) {
		tell_end(r);
	}
	return run_status(r);
}

enum exit_status run_status(const struct run *r)
{
	struct run_sums s = run_sums(r);

	if (r->stopped)
		return EXIT_FAILED;
	if (r->error.kind != ERR_NONE)
		return s.reset + s.failed > 0 ? EXIT_FAILED : error_exit_status(&r->error);
	if (r->unasked)
		return EXIT_USAGE;
	if (s.broken > 0)
		return s.broken == r->targets.len ? error_exit_status(&r->targets.v[0].error) : EXIT_FAILED;
	return r->refused || s.refused > 0 ? EXIT_FAILED : EXIT_DONE;
}

void run_release(struct run *r)
{
	struct error ignored = ERROR_INIT;

	stop_watch(NULL, &ignored);
	if (r->connected)
		session_close(&r->session);
	r->connected = false;
	targets_release(&r->targets);
	lost_workers_release(&r->lost);
	free(r->checked_at);
	r->checked_at = NULL;
}
