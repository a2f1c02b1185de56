/*
 * schedule.c - rounds, each a whole run of its own with its own connection.
 *
 * Nothing is kept between rounds, so a database that went away needs no special
 * care: the next round connects again. TERM and INT end the pause at once and a
 * round between two batches. Not here: what a round does (run.c).
 */
#include "schedule.h"

#include "finish.h"
#include "log.h"
#include "stop.h"
#include "tell.h"

#define JITTER 0.1			/* of the pause, so that several hosts do not march in step */
#define RETRY (10 * SEC)		/* while the database is away, where rounds are further apart */

/* One line for each queue that had something stuck; none when there was nothing. */
static void log_round(const struct run *r)
{
	for (size_t i = 0; i < r->targets.len; i++) {
		const struct target *t = &r->targets.v[i];

		if (t->stuck == 0)
			continue;
		log_event(LOG_INFO, "recovered", LS("queue", target_name(t)), LN("stuck", t->stuck), LN("reset", t->reset),
		          LN("failed", t->failed), LN("skipped", t->skipped), LN("errors", t->refused),
		          LS("dry_run", r->dry_run ? "yes" : "no"));
	}
}

/* Returns whether later rounds make sense: what keeps the first one from beginning at all is not mended by waiting. */
static bool round_run(const struct recover *ask, bool first, bool *away, enum exit_status *status)
{
	struct run r = RUN_INIT(ask);
	bool begun;

	r.first = first;
	r.dry_run = ask->opt->dry_run;
	r.told_away = *away;
	*status = run_recover(&r);
	begun = r.targets.len > 0 || r.locked || r.stopped;
	*away = r.error.kind == ERR_NO_DB && !r.stopped;
	log_round(&r);
	finish_print(&r);
	finish_on_stuck(&r);
	run_release(&r);
	return begun || !first;
}

enum exit_status schedule_run(const struct recover *ask)
{
	const struct settings *s = ask->settings;
	usec_t every = ask->opt->every;
	struct error err = ERROR_INIT;
	enum exit_status status = EXIT_DONE;
	bool away = false;

	if (log_open((enum log_level)s->log_level, (enum log_format)s->log_format, s->log_file, &err) < 0) {
		cli_complain(ask->cli, "%s", err.text);
		return error_exit_status(&err);
	}
	log_event(LOG_INFO, "started", LN("every_ms", every / MSEC));
	for (bool first = true; !stop_asked(); first = false) {
		if (!round_run(ask, first, &away, &status) && status != EXIT_DONE)
			return status;
		stop_sleep(usec_jitter(away ? usec_min(every, RETRY) : every, JITTER));
	}
	log_event(LOG_INFO, "shutdown", LS("reason", "signal"));
	return EXIT_DONE;
}
