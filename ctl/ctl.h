/*
 * ctl.h - what the subcommands of unstuckctl share: options, settings, one
 * blocking session, and how to print.
 *
 * One file a subcommand. Each returns the exit status; when it is not
 * EXIT_DONE, ctl->err may hold the reason, which main.c tells.
 */
#ifndef CTL_H
#define CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cli.h"
#include "clock.h"
#include "error.h"
#include "pg.h"
#include "settings.h"

struct options {
	bool print;			/* init */
	const char *priority;		/* enqueue; text as given, NULL when not */
	const char *run_at;
	usec_t delay;			/* USEC_NEVER: not given */
	const char *unique_key;
	const char *max_attempts;
	bool lines;
	const char *queue;		/* jobs, retry; NULL: not given */
	const char *status;
	uint64_t limit;
	bool all_failed;		/* retry */
	usec_t min_age;			/* doctor */
	usec_t every;			/* top */
	bool once;
	usec_t older_than;		/* purge; USEC_NEVER: not given */
	bool dry_run;
};

struct ctl {
	struct cli cli;
	struct options opt;
	struct settings settings;
	struct session session;
	struct error err;
};

enum exit_status init_run(struct ctl *ctl);
enum exit_status enqueue_run(struct ctl *ctl);
enum exit_status jobs_run(struct ctl *ctl);
enum exit_status show_run(struct ctl *ctl);
enum exit_status cancel_run(struct ctl *ctl);
enum exit_status retry_run(struct ctl *ctl);
enum exit_status queues_run(struct ctl *ctl);
enum exit_status workers_run(struct ctl *ctl);
enum exit_status late_run(struct ctl *ctl);
enum exit_status purge_run(struct ctl *ctl);
enum exit_status spool_run(struct ctl *ctl);
enum exit_status doctor_run(struct ctl *ctl);
enum exit_status top_run(struct ctl *ctl);

/* Connect as the settings say. -1: ctl->err. */
int ctl_connect(struct ctl *ctl);
/* The same, and the schema must be there at our version (else ERR_SETTINGS: run unstuckctl init). */
int ctl_connect_schema(struct ctl *ctl);
/*
 * From now on no statement takes longer than 5 s, nor waits longer than half a second for a lock. Behind a pooler, where
 * that would become the setting of some other client, all stays as it is, and *pooled tells. -1: ctl->err.
 */
int ctl_limit_statements(struct ctl *ctl, bool *pooled);
/* Set ctl->err unless it tells a cause, and give the exit status for it. */
enum exit_status ctl_fail(struct ctl *ctl, enum error_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The exit status for the error that ctl->err holds. */
enum exit_status ctl_failed(const struct ctl *ctl);

/* A JSON string of a text from outside, bytes that are no UTF-8 as \xNN; NULL: null. */
json_t *ctl_json_text(const char *text);

/* A job id of the command line, checked: digits, at least 1, fits bigint. -1: ctl->err. */
int ctl_job_id(struct ctl *ctl, const char *text);
int ctl_id(struct ctl *ctl, const char *text, const char *what);	/* the same of something else: "late result" */

#endif
