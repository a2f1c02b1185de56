/*
 * options.h - what the command line asks of recover.
 *
 * The table of options (options.c) fills it; options_check() refuses
 * combinations that contradict each other. Not here: the settings file.
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include "cli.h"
#include "clock.h"

#define COUNT_UNSET UINT64_MAX

/* --table and its company: a queue made of flags. NULL: not given. */
struct adhoc {
	const char *table, *status_column, *processing, *reset_to;
	const char *id_column, *updated_column, *timezone, *failed, *show;
};

struct options {
	bool dry_run, yes, ignore_liveness, check, json;
	usec_t timeout;			/* USEC_NEVER: by the settings */
	usec_t every;			/* USEC_NEVER: once */
	uint64_t limit;			/* COUNT_UNSET: none */
	uint64_t batch, max_recoveries;	/* COUNT_UNSET: by the settings */
	double max_fraction;		/* below 0: no brake */
	uint64_t warning, critical;	/* of --check; COUNT_UNSET: 1 and 10 */
	const char *on_stuck;		/* NULL: by the settings */
	struct adhoc adhoc;
};

#define OPTIONS_INIT { \
	.timeout = USEC_NEVER, .every = USEC_NEVER, .limit = COUNT_UNSET, .batch = COUNT_UNSET, \
	.max_recoveries = COUNT_UNSET, .max_fraction = -1, .warning = COUNT_UNSET, .critical = COUNT_UNSET }

extern const struct option_row recover_options[];

/* -1 to go on, else the exit status after one line on stderr. */
int options_check(const struct options *opt, const struct cli *cli);

#endif
