/*
 * settings_table.c - the rows: every setting that there is.
 *
 * Lives here: names, kinds, defaults, ranges, help. A new setting is one row
 * here and one member in settings.h.
 * Not here:   reading a value (settings_parse.c), where values come from (settings.c).
 */
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "inifile.h"
#include "setting.h"

static const struct choice log_levels[] = {
	{ "debug", LOG_DEBUG }, { "info", LOG_INFO }, { "warning", LOG_WARNING }, { "error", LOG_ERROR }, { NULL, 0 }
};
static const struct choice log_formats[] = { { "text", LOG_TEXT }, { "json", LOG_JSON }, { NULL, 0 } };
static const struct choice rotations[] = { { "no", ROTATE_NO }, { "daily", ROTATE_DAILY }, { NULL, 0 } };
static const struct choice prepares[] = {
	{ "auto", PREPARE_AUTO }, { "yes", PREPARE_YES }, { "no", PREPARE_NO }, { NULL, 0 }
};
static const struct choice wakes[] = {
	{ "notify", WAKE_NOTIFY }, { "redis", WAKE_REDIS }, { "poll", WAKE_POLL }, { NULL, 0 }
};
static const struct choice modes[] = { { "exec", MODE_EXEC }, { "serve", MODE_SERVE }, { NULL, 0 } };
static const struct choice outputs[] = { { "json", OUTPUT_JSON }, { "text", OUTPUT_TEXT }, { NULL, 0 } };
static const struct choice deaths[] = { { "kill", DEATH_KILL }, { "finish", DEATH_FINISH }, { NULL, 0 } };
static const struct choice spools[] = { { "always", SPOOL_ALWAYS }, { "outage", SPOOL_OUTAGE }, { NULL, 0 } };

/* An absolute path in the environment, or NULL. */
static const char *path_in_env(const char *name)
{
	const char *path = getenv(name);

	return path && path[0] == '/' && inifile_is_text(path, strlen(path)) ? path : NULL;
}

static char *default_spool_dir(void)
{
	const char *state = path_in_env("XDG_STATE_HOME"), *home = path_in_env("HOME");
	const struct passwd *pw;

	if (geteuid() == 0)
		return xstrdup("/var/lib/unstuck/spool");
	if (state)
		return xasprintf("%s/unstuck/spool", state);
	if (!home && (pw = getpwuid(geteuid())) != NULL)
		home = pw->pw_dir;
	return xasprintf("%s/.local/state/unstuck/spool", home ? home : "");
}

static char *default_pidfile(void)
{
	const char *run = path_in_env("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		return xstrdup("/run/unstuck/worker.pid");
	if (run)
		return xasprintf("%s/unstuck/worker.pid", run);
	return xasprintf("/tmp/unstuck-%u/worker.pid", (unsigned)geteuid());
}

#define IN(section_, key_, kind_, member_) .section = section_, .key = key_, .kind = kind_, \
	.offset = offsetof(struct settings, member_)
#define QUEUE(member_, kind_) .section = "queue", .key = #member_, .kind = kind_, \
	.offset = offsetof(struct queue_settings, member_)
#define QUEUE_MAPPED(member_, kind_) QUEUE(member_, kind_), .mapped = true

const struct setting setting_rows[] = {
	{ IN("unstuck", "database_url", SET_DATABASE, database_url), .fixed = true,
	  .def_text = "`DATABASE_URL`, else libpq's own `PG*` variables, service and password files",
	  .help = "where the database is; several hosts and target_session_attrs work" },
	{ IN("unstuck", "redis_url", SET_REDIS, redis_url), .fixed = true, .help = "Redis for wake-ups, rates, presence and events; never needed but for rates" },
	{ IN("unstuck", "log_level", SET_CHOICE, log_level), .def = "info", .choices = log_levels,
	  .help = "the least level that is logged" },
	{ IN("unstuck", "log_format", SET_CHOICE, log_format), .fixed = true, .def = "text", .choices = log_formats,
	  .help = "key=value, or one JSON object a line" },
	{ IN("unstuck", "log_file", SET_PATH, log_file), .fixed = true, .def_text = "stderr; the system's log for a daemon",
	  .help = "file to append the log to; `syslog` is the system's log" },
	{ IN("unstuck", "log_rotate", SET_CHOICE, log_rotate), .def = "no", .choices = rotations,
	  .help = "daily: the log file becomes FILE.YYYY-MM-DD when the day (UTC) is over; no: leave it to logrotate and USR1" },
	{ IN("unstuck", "log_keep", SET_COUNT, log_keep), .def = "7", .min = 1, .max = 10000,
	  .help = "old log files that log_rotate = daily keeps" },

	{ IN("worker", "concurrency", SET_COUNT, concurrency), .def = "4", .min = 1, .max = 1024,
	  .help = "handlers running at once, over all queues" },
	{ IN("worker", "poll_interval", SET_TIME, poll_interval), .def = "2s", .min = 10 * MSEC, .max = HOUR,
	  .help = "look for jobs at least this often (jittered)" },
	{ IN("worker", "wake", SET_CHOICE, wake), .fixed = true, .def = "notify", .choices = wakes,
	  .help = "what else wakes the worker: notify is LISTEN, redis the channel unstuck:wake" },
	{ IN("worker", "prepare", SET_CHOICE, prepare), .fixed = true, .def = "auto", .choices = prepares,
	  .help = "prepare statements; auto stops where a pooler makes it useless" },
	{ IN("worker", "connections", SET_COUNT, connections), .def = "2", .min = 1, .max = 2,
	  .help = "sessions of the database for jobs and results, at most; 2: under load results are written on one while the other claims" },
	{ IN("worker", "graceful_timeout", SET_TIME, graceful_timeout), .def = "300s", .min = 0, .max = 7 * DAY,
	  .help = "how long running jobs may finish after a stop signal" },
	{ IN("worker", "force_delay", SET_TIME, force_delay), .def = "10s", .min = 0, .max = HOUR,
	  .help = "between TERM and KILL of a handler" },
	{ IN("worker", "stderr_rate", SET_RATE, stderr_rate), .def = "1000/s", .max = 1000000000,
	  .help = "lines that handlers write to stderr and that are logged, at most, for each queue; the rest is counted" },
	{ IN("worker", "heartbeat", SET_TIME, heartbeat), .fixed = true, .def = "10s", .min = 100 * MSEC, .max = HOUR,
	  .help = "how often a worker says that it is alive" },
	{ IN("worker", "worker_timeout", SET_TIME, worker_timeout), .fixed = true, .def = "60s", .min = 300 * MSEC, .max = DAY,
	  .help = "a worker silent this long is suspected dead; at least 3 heartbeats" },
	{ IN("worker", "recover_every", SET_TIME, recover_every), .def = "1m", .min = 100 * MSEC, .max = 7 * DAY, .off = true,
	  .help = "every worker also recovers its own queues" },
	{ IN("worker", "spool_dir", SET_PATH, spool_dir), .fixed = true, .def_give = default_spool_dir,
	  .def_text = "`/var/lib/unstuck/spool`; as an ordinary user `$XDG_STATE_HOME/unstuck/spool`, "
	              "else `~/.local/state/unstuck/spool`",
	  .help = "directory where results wait for the database" },
	{ IN("worker", "pidfile", SET_PATH, pidfile), .fixed = true, .set_offset = offsetof(struct settings, pidfile_set),
	  .def_give = default_pidfile,
	  .def_text = "`/run/unstuck/worker.pid`; as an ordinary user `$XDG_RUNTIME_DIR/unstuck/worker.pid`, "
	              "else `/tmp/unstuck-UID/worker.pid`",
	  .help = "written and locked when this key is set, or with --daemon or --pidfile" },

	{ IN("recover", "timeout", SET_TIME, recover_timeout), .def = "1h", .min = 100 * MSEC, .max = 3650 * DAY,
	  .help = "age from which an untracked PROCESSING row is stuck, where neither -t nor the queue's timeout says" },
	{ IN("recover", "batch", SET_COUNT, recover_batch), .def = "1000", .min = 1, .max = 100000,
	  .help = "rows a transaction; fewer, down to 250, where they would be locked for more than 15 ms" },
	{ IN("recover", "max_recoveries", SET_COUNT, max_recoveries), .def = "3", .min = 0, .max = 1000000,
	  .help = "a job recovered this often without finishing is FAILED the next time" },
	{ IN("recover", "on_stuck", SET_COMMAND, on_stuck),
	  .help = "command that gets the JSON report on stdin when something is stuck" },

	{ IN("http", "listen", SET_LISTEN, http_listen), .fixed = true, .def_text = "off", .help = "address for health, metrics and state" },

	{ QUEUE(handler, SET_COMMAND), .help = "the program that does a job" },
	{ QUEUE(mode, SET_CHOICE), .def = "exec", .choices = modes,
	  .help = "exec: a process per job; serve: persistent processes, JSON lines" },
	{ QUEUE(concurrency, SET_COUNT), .def_text = "that of `[worker]`", .min = 1, .max = 1024,
	  .help = "at most this many of the worker's slots" },
	{ QUEUE(batch, SET_COUNT), .def = "10", .min = 1, .max = 10000, .help = "rows claimed at a time" },
	{ QUEUE(timeout, SET_TIME), .set_offset = offsetof(struct queue_settings, timeout_set),
	  .def = "15m", .min = 100 * MSEC, .max = 3650 * DAY,
	  .help = "a handler running longer is ended, the attempt failed; where set, also recover's age for untracked rows" },
	{ QUEUE(max_attempts, SET_COUNT), .def = "5", .min = 1, .max = 1000000, .help = "failures after which a job is FAILED" },
	{ QUEUE(backoff, SET_TIME), .def = "10s", .min = 0, .max = 365 * DAY,
	  .help = "first retry delay; doubles, jittered, up to backoff_max" },
	{ QUEUE(backoff_max, SET_TIME), .def = "1h", .min = 0, .max = 365 * DAY, .help = "longest retry delay" },
	{ QUEUE(rate, SET_RATE), .def_text = "none", .max = 1000000000,
	  .help = "at most this many starts in any window of that length, over the whole fleet; needs redis_url" },
	{ QUEUE(max_result, SET_SIZE), .def = "1MB", .min = 1, .max = 255 * 1024 * 1024,
	  .help = "a larger result fails the job" },
	{ QUEUE(output, SET_CHOICE), .def = "json", .choices = outputs, .help = "text is stored as a JSON string" },
	{ QUEUE(spool, SET_CHOICE), .choices = spools, .def_text = "always for exec, outage for serve",
	  .help = "always: a result is on disk before the database is tried; outage: only when the database cannot take it" },
	{ QUEUE(on_worker_death, SET_CHOICE), .def = "kill", .choices = deaths,
	  .help = "finish: a handler runs on when its worker is killed, and who comes next stores its result; needs mode = exec and spool = always" },
	{ QUEUE(pipeline, SET_COUNT), .def = "1", .min = 1, .max = 1000, .help = "serve: jobs outstanding at one process" },
	{ QUEUE(env, SET_NAMES), .help = "extra variables to hand to the handler" },

	{ QUEUE(table, SET_TABLE), .def_text = "Unstuck's own", .help = "a table that is already there; the keys below are for such a queue" },
	{ QUEUE_MAPPED(id, SET_COLUMN), .def = "id", .help = "its key, of any type" },
	{ QUEUE_MAPPED(status, SET_COLUMN), .def = "status", .help = "the column of the states" },
	{ QUEUE_MAPPED(ready, SET_STATES), .def_text = "none: must be set", .help = "states to claim from, in this order" },
	{ QUEUE_MAPPED(processing, SET_STATE), .def = "PROCESSING", .help = "the state of a claimed row" },
	{ QUEUE_MAPPED(done, SET_STATE), .def = "COMPLETED", .help = "the state of a finished row" },
	{ QUEUE_MAPPED(failed, SET_STATE), .def = "FAILED", .help = "the state of a row that failed for good" },
	{ QUEUE_MAPPED(reset_to, SET_STATE), .def_text = "the first of `ready`", .help = "what recover and release write" },
	{ QUEUE_MAPPED(updated_at, SET_COLUMN), .set_offset = offsetof(struct queue_settings, updated_at_set),
	  .def = "updated_at", .help = "written with every change of the state; where set, it must exist" },
	{ QUEUE_MAPPED(timezone, SET_TEXT), .set_offset = offsetof(struct queue_settings, timezone_set),
	  .def = "UTC", .help = "of an updated_at without time zone" },
	{ QUEUE_MAPPED(where, SET_SQL), .help = "extra condition on claims" },
	{ QUEUE_MAPPED(order_by, SET_SQL), .def_text = "the key", .help = "order of claims" },
	{ QUEUE_MAPPED(payload, SET_COLUMNS), .def_text = "all", .help = "columns handed to the handler" },
	{ QUEUE_MAPPED(result, SET_COLUMN), .help = "column of jsonb, json or text to put the result in" },
	{ QUEUE_MAPPED(on_success, SET_SQL),
	  .help = "statement run in the transaction of the state: $1 is the id, $2 the result as jsonb; in place of result" },
	{ QUEUE_MAPPED(show, SET_COLUMNS), .help = "columns that recover lists" },
	{ QUEUE_MAPPED(strict, SET_BOOL), .def = "no",
	  .help = "also refuse a result when any other program touched the row" },
};
const size_t setting_rows_len = ARRAY_SIZE(setting_rows);
_Static_assert(ARRAY_SIZE(setting_rows) <= SETTING_ROWS_MAX, "SETTING_ROWS_MAX");

const char *const setting_sections[] = { "unstuck", "worker", "recover", "http", "queue", NULL };

const struct setting *setting_find(const char *section, const char *key)
{
	for (size_t i = 0; i < setting_rows_len; i++)
		if (strcmp(setting_rows[i].section, section) == 0 && strcmp(setting_rows[i].key, key) == 0)
			return &setting_rows[i];
	return NULL;
}

const struct setting *setting_of(const char *dotted)
{
	for (size_t i = 0; i < setting_rows_len; i++) {
		size_t len = strlen(setting_rows[i].section);

		if (strncmp(dotted, setting_rows[i].section, len) == 0 && dotted[len] == '.' &&
		    strcmp(dotted + len + 1, setting_rows[i].key) == 0)
			return strcmp(setting_rows[i].section, "queue") != 0 ? &setting_rows[i] : NULL;
	}
	return NULL;
}

bool setting_is_secret(const struct setting *row)
{
	return row->kind == SET_DATABASE || row->kind == SET_REDIS;
}
