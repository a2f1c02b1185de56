/*
 * target.h - one queue of a run: its table, what was found there, what became of it.
 *
 * targets_choose() decides which queues a run is about: those named, the one
 * made of flags, all of the settings, or all that have jobs in unstuck.jobs.
 */
#ifndef TARGET_H
#define TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include "clock.h"
#include "error.h"
#include "mapping.h"
#include "options.h"
#include "pg.h"
#include "settings.h"

enum action { ACTION_RESET, ACTION_FAIL, ACTION_NONE };

/* What became of a row. Only a PLANNED one is ever sent to be reset. */
enum fate {
	FATE_LISTED,	/* not to be touched: its owner is alive, or only suspected dead */
	FATE_PLANNED,
	FATE_DONE,	/* its action was done */
	FATE_SKIPPED,	/* it changed since, or somebody has it locked */
	FATE_REFUSED,	/* the database refused: an error */
};

struct stuck_row {
	char *id, *token;
	const char *reason;		/* static: SPEC's words and "alive" */
	enum action action;
	enum fate fate;
	/* only of rows that will be listed; else NULL */
	char *since, *worker, *show, *observed;
	double age_s;
};

struct target {
	struct mapping mapping;
	usec_t timeout;			/* age of an untracked row */
	struct error error;		/* why nothing (more) could be done here; ERR_NONE: fine */
	const char *same_as;		/* the queue before it that maps the same rows and has them; else NULL */

	size_t processing;
	size_t stuck;			/* found, listed or not; of these... */
	size_t suspects;		/* ...a worker is silent, but not watched long enough (dry run, check) */
	size_t ageless;			/* PROCESSING, of no known worker and without an age: never stuck */
	size_t reset, failed, skipped, refused;

	struct stuck_row *rows;
	size_t rows_len, rows_cap;
};

struct targets {
	struct target *v;
	size_t len;
};

/*
 * Fill all for this run. A queue that cannot be looked at (no table, no schema)
 * stays in the list with its error. -1: nothing can be chosen at all.
 * Queues that are in no file are added to the settings.
 */
int targets_choose(struct targets *all, const struct options *opt, const struct cli *cli,
                   struct settings *settings, struct session *session, struct error *err);
void targets_release(struct targets *t);
bool target_is_open(const struct target *t);	/* no error, and rows of its own */

const char *target_name(const struct target *t);
const char *action_name(enum action a);

/* A queue on a "timestamp without time zone" whose zone was only assumed: does that matter here? */
int target_zone_matters(const struct target *t, struct session *session, bool *out, struct error *err);

#endif
