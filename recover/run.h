/*
 * run.h - one run from the lock to the report: what was asked, what was found,
 * what was done.
 */
#ifndef RUN_H
#define RUN_H

#include <stdbool.h>
#include "cli.h"
#include "error.h"
#include "options.h"
#include "pg.h"
#include "settings.h"
#include "target.h"
#include "watch.h"

#define LISTED_MAX 1000		/* rows that a report lists, over all queues */

/* What stays the same over all runs of a program. Borrowed. */
struct recover {
	const struct options *opt;
	struct cli *cli;
	struct settings *settings;
	char **words;		/* of the command line, as given; [0] is the program */
};

struct run {
	const struct recover *ask;
	struct session session;
	bool connected;
	bool first;		/* of this program: notes about the set-up are told only now */
	bool told_away;		/* the round before already said that the database is away */
	bool dry_run, locked;
	bool stopped;		/* a signal came before all was done */
	bool applied;		/* consent was given, and what was planned was tried */
	bool refused;		/* by --max-fraction */
	bool unasked;		/* no --yes and nobody to ask */
	bool previewed;		/* the table was shown before the question */
	char *checked_at;	/* RFC 3339, the server's clock */
	struct targets targets;
	struct lost_workers lost;
	struct error error;	/* of the run as a whole */
};

#define RUN_INIT(ask_) { .ask = (ask_), .session = { .conn = NULL }, .first = true }

/* Sums over all queues. */
struct run_sums {
	size_t processing, stuck, suspects, reset, failed, skipped, refused, planned;
	size_t broken;		/* queues that could not be looked at, or not to the end */
};
struct run_sums run_sums(const struct run *r);

/* Connect and choose the queues: the common beginning of a run and of --check. */
int run_open(struct run *r);
/* Once, to the end: tells people on stderr as it goes, prints no report. */
enum exit_status run_recover(struct run *r);
void run_release(struct run *r);

/* What this run ends with, from its errors and counts. */
enum exit_status run_status(const struct run *r);

#endif
