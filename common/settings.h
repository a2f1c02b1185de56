/*
 * settings.h - every setting is one row of one table.
 *
 * The rows (settings.c) drive parsing, defaults, ranges, the environment names
 * UNSTUCK_S_K, --help, masking and docs/settings.md. Order of precedence: flag,
 * environment, file, default. All errors of a file are told at once.
 */
#ifndef SETTINGS_H
#define SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "buf.h"
#include "clock.h"
#include "error.h"
#include "log.h"

enum log_rotation { ROTATE_NO, ROTATE_DAILY };
enum prepare { PREPARE_AUTO, PREPARE_YES, PREPARE_NO };
enum wake { WAKE_NOTIFY, WAKE_REDIS, WAKE_POLL };
enum queue_mode { MODE_EXEC, MODE_SERVE };
enum queue_output { OUTPUT_JSON, OUTPUT_TEXT };
enum queue_death { DEATH_KILL, DEATH_FINISH };
enum queue_spool { SPOOL_DEFAULT, SPOOL_ALWAYS, SPOOL_OUTAGE };

struct rate {			/* at most n in any window; n = 0: no limit */
	uint32_t n;
	usec_t per;
};

/* A [queue NAME] section. Texts are "" when not set; word lists are NULL-terminated, never NULL. */
struct queue_settings {
	char *name;
	int line;			/* of its section, for messages; 0: not from a file */

	char **handler;			/* argv; [0] NULL when not set */
	int mode;			/* enum queue_mode */
	uint32_t concurrency;		/* 0: the worker's */
	uint32_t batch;
	usec_t timeout;			/* handler time limit */
	bool timeout_set;		/* by the file: recover's age for untracked rows */
	uint32_t max_attempts;
	usec_t backoff, backoff_max;
	struct rate rate;
	uint64_t max_result;		/* bytes */
	int output;			/* enum queue_output */
	int spool;			/* enum queue_spool */
	int on_worker_death;		/* enum queue_death */
	uint32_t pipeline;
	char **env;			/* names of variables */

	char *table;			/* "" for Unstuck's own table */
	char *id, *status;		/* as written (ident.h reads them) */
	char **ready;			/* words */
	char *processing, *done, *failed, *reset_to;
	char *updated_at;
	bool updated_at_set;		/* named by the user: must exist */
	char *timezone;
	bool timezone_set;
	char *where, *order_by;
	char **payload;			/* column identifiers as written; empty: all */
	char *result, *on_success;
	char **show;			/* column identifiers as written */
	bool strict;
};

struct settings {
	char *path;			/* the file that was read; "" for none */

	char *database_url, *redis_url;
	int log_level, log_format;
	char *log_file;
	int log_rotate;			/* enum log_rotation */
	uint32_t log_keep;

	uint32_t concurrency;
	usec_t poll_interval;
	int wake;
	int prepare;			/* enum prepare */
	uint32_t connections;		/* for jobs and results, at most */
	struct rate stderr_rate;	/* lines of handlers that are logged, a queue */
	usec_t graceful_timeout, force_delay, heartbeat, worker_timeout, recover_every;
	char *spool_dir, *pidfile;
	bool pidfile_set;

	usec_t recover_timeout;
	uint32_t recover_batch, max_recoveries;
	char **on_stuck;		/* argv */

	char *http_listen;

	struct queue_settings *queues;
	size_t queues_len;
};

/* Everything wrong with the settings, one message each ("file:line: what, what was expected"). */
struct problems {
	char **text;
	size_t len;
};
#define PROBLEMS_INIT { NULL, 0 }
void problems_release(struct problems *p);
void problems_add(struct problems *p, const char *fmt, ...) PRINTF_LIKE(2, 3);

/*
 * Defaults, then the file (path, else $UNSTUCK_CONFIG, else ./unstuck.ini, else
 * /etc/unstuck/unstuck.ini; none of the last two existing is fine), then the environment, then the flags.
 * flags: pairs {"worker.concurrency", "4", "--concurrency"} ended by {NULL}.
 * Returns 0, or -1 with at least one problem told. s can be released in any case.
 */
struct flag_setting {
	const char *key;	/* "section.key" */
	const char *value;
	const char *flag;	/* as the user wrote it, for messages */
};
int settings_load(struct settings *s, const char *path, const struct flag_setting *flags,
                  struct problems *problems);
void settings_release(struct settings *s);

/* One setting alone: is value right for "section.key"? 0, or -1 and err with what was expected. */
int settings_check_value(const char *key, const char *value, struct error *err);

/* A result is on the disk before the database is tried: asked for, or the default of its mode. */
bool queue_spools_always(const struct queue_settings *q);

struct queue_settings *settings_queue(struct settings *s, const char *name);	/* NULL: none */
/* A queue with all defaults that belongs to no file (ad hoc recover). Freed with settings_release. */
struct queue_settings *settings_add_queue(struct settings *s, const char *name);

/* docs/settings.md from the table, to stdout; used by `make docs` and checked by a test. */
void settings_print_markdown(void);

uint64_t size_parse_or(const char *text, uint64_t bad);	/* "1MB" "64KB" "100" -> bytes; bad when wrong */
int rate_parse(const char *text, struct rate *out);
int share_parse(const char *text, double *out);			/* "0.5" or "50%" */

#endif
