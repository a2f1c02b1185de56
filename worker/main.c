/*
 * main.c - options, settings, the checks of a start, worker_run(), the exit status.
 */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "inherit.h"
#include "checks.h"
#include "cli.h"
#include "daemon.h"
#include "log.h"
#include "log_syslog.h"
#include "manage.h"
#include "pidfile.h"
#include "reload.h"
#include "replay.h"
#include "signals.h"
#include "words.h"
#include "worker.h"

#define WAIT_PAUSE_NS (250 * 1000 * 1000)	/* between two tries of a start to reach the database */

struct options {
	bool drain, daemon, force, json, live, ready;
	uint64_t max_jobs;
	usec_t wait, timeout;
};

static const struct option_row run_options[] = {
	{ "drain", 0, OPT_FLAG, offsetof(struct options, drain), NULL,
	  "work until nothing is ready to run, then exit 0", NULL, 0 },
	{ "max-jobs", 0, OPT_COUNT, offsetof(struct options, max_jobs), "N", "leave after N jobs", NULL, 1 },
	{ "concurrency", 'n', OPT_SETTING, 0, "N", "handlers running at once", "worker.concurrency", 0 },
	{ "graceful-timeout", 0, OPT_SETTING, 0, "D", "how long running jobs may finish after a stop signal",
	  "worker.graceful_timeout", 0 },
	{ "force-delay", 0, OPT_SETTING, 0, "D", "between TERM and KILL of a handler", "worker.force_delay", 0 },
	{ "daemon", 0, OPT_FLAG, offsetof(struct options, daemon), NULL,
	  "go to the background; comes back with 0 when the worker is ready, else with its status", NULL, 0 },
	{ "pidfile", 0, OPT_SETTING, 0, "FILE", "write and lock FILE", "worker.pidfile", 0 },
	{ "log-file", 0, OPT_SETTING, 0, "FILE", "log there instead of stderr; syslog is the system's log", "unstuck.log_file", 0 },
	{ "wait", 0, OPT_TIME, offsetof(struct options, wait), "D",
	  "keep trying that long when the database cannot be reached at start", NULL, 0 },
	{ .name = NULL },
};

#define PIDFILE_OPTION \
	{ "pidfile", 0, OPT_SETTING, 0, "FILE", "the pidfile of the worker that is meant; no settings are read then", "worker.pidfile", 0 }

static const struct option_row stop_options[] = {
	PIDFILE_OPTION,
	{ "timeout", 0, OPT_TIME, offsetof(struct options, timeout), "D",
	  "wait no longer than that; then the status is 1, and the worker goes on stopping", NULL, 0 },
	{ "force", 0, OPT_FLAG, offsetof(struct options, force), NULL, "skip the grace period of running jobs", NULL, 0 },
	{ .name = NULL },
};

static const struct option_row status_options[] = {
	PIDFILE_OPTION,
	{ "json", 0, OPT_FLAG, offsetof(struct options, json), NULL, "one JSON document", NULL, 0 },
	{ "live", 0, OPT_FLAG, offsetof(struct options, live), NULL, "1 unless its loop answers: a probe", NULL, 0 },
	{ "ready", 0, OPT_FLAG, offsetof(struct options, ready), NULL, "1 unless it claims jobs: a probe", NULL, 0 },
	{ .name = NULL },
};

static const struct option_row tell_options[] = {
	PIDFILE_OPTION,
	{ .name = NULL },
};

static const struct command_row commands[] = {
	{ "run", "[QUEUE...]", "run the jobs of the queues named, or of all in the settings", run_options, 0,
	  SIZE_MAX },
	{ "check", "[QUEUE...]", "check settings, tables, columns, indexes and permissions; change nothing", NULL, 0,
	  SIZE_MAX },
	{ "stop", "", "stop the worker of the pidfile and wait until it has left", stop_options, 0, 0 },
	{ "status", "", "tell what it is doing; 0 running, 1 dead but its pidfile is there, 3 not running", status_options,
	  0, 0 },
	{ "reload", "", "have it read its settings again", tell_options, 0, 0 },
	{ "quiet", "", "have it claim no more, finish what runs and stay", tell_options, 0, 0 },
	{ "resume", "", "have it work on after quiet", tell_options, 0, 0 },
};

static const struct example_row examples[] = {
	{ "unstuck-worker check", "what would keep the queues of the settings from working" },
	{ "unstuck-worker run mail --concurrency 8", "one queue, eight handlers at once, until ^C" },
	{ "unstuck-worker run --drain", "work until nothing is ready, then end: for cron and tests" },
	{ "unstuck-worker run --daemon --log-file /var/log/unstuck/worker.log", "in the background; back when jobs can be claimed" },
	{ "unstuck-worker status --json", "what the one of the pidfile is doing, for a script" },
	{ "unstuck-worker stop --timeout 5m", "let running jobs finish, wait five minutes at most" },
	{ .line = NULL },
};

/* The commands about a worker that runs. */
static const struct {
	const char *name;
	int (*run)(struct cli *cli, const struct manage_options *o);
} managers[] = {
	{ "stop", manage_stop }, { "status", manage_status }, { "reload", manage_reload },
	{ "quiet", manage_quiet }, { "resume", manage_resume },
};

/* The queues asked for by name, or all. */
static bool is_wanted(const struct cli *cli, const char *name)
{
	for (size_t i = 0; i < cli->args_len; i++)
		if (strcmp(cli->args[i], name) == 0)
			return true;
	return cli->args_len == 0;
}

static bool are_names_known(const struct cli *cli, const struct settings *set)
{
	const char **names = xcalloc(set->queues_len + 1, sizeof *names);
	bool known = true;

	for (size_t i = 0; i < set->queues_len; i++)
		names[i] = set->queues[i].name;
	for (size_t i = 0; i < cli->args_len && known; i++) {
		const char *near;

		known = false;
		for (size_t k = 0; k < set->queues_len; k++)
			known |= strcmp(cli->args[i], names[k]) == 0;
		if (known)
			continue;
		near = words_nearest(cli->args[i], names, set->queues_len);
		cli_complain(cli, "no [queue %s] in the settings%s%s%s", cli->args[i],
		             near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
	}
	free(names);
	return known;
}

static int open_session(struct session *session, const struct settings *set, usec_t wait, struct error *err)
{
	usec_t until = clock_now() + wait;

	while (session_open(session, set->database_url, "unstuck-worker", err) < 0) {
		if (err->kind != ERR_NO_DB || clock_now() >= until || signals_stop_waits())
			return -1;
		nanosleep(&(struct timespec){ .tv_nsec = WAIT_PAUSE_NS }, NULL);
		*err = (struct error)ERROR_INIT;
	}
	return 0;
}

/*
 * Make the queues ready. One that cannot work is refused by name; the others run
 * on. Returns how many are ready; why is only set when the database went away.
 */
static size_t open_queues(struct queue **queues, const struct cli *cli, const struct settings *set,
                          struct session *session, struct error *why)
{
	size_t n = 0;

	for (size_t i = 0; i < set->queues_len && why->kind == ERR_NONE; i++) {
		struct error err = ERROR_INIT;

		if (!is_wanted(cli, set->queues[i].name))
			continue;
		queues[n] = queue_new(&set->queues[i], set->concurrency, session, &err);
		if (queues[n] != NULL)
			n++;
		else if (err.kind == ERR_NO_DB)
			*why = err;
		else
			log_event(LOG_ERROR, "queue_refused", LS("queue", set->queues[i].name), LS("error", err.text));
	}
	return n;
}

static bool is_spool_needed(struct queue *const *queues, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (queue_spools_always(queues[i]->set))
			return true;
	return false;
}

/*
 * The lock first, by the caller, so that a second start is refused before anything is forked; as a daemon
 * it is written again, with the number of the process that stays. -1: go on; else the status to leave with.
 */
static int take_place(struct cli *cli, const struct options *opt, const struct settings *set, int *lock)
{
	struct error err = ERROR_INIT;
	int status = -1;

	if (opt->daemon || set->pidfile_set)
		*lock = pidfile_take(set->pidfile, &err);
	if (err.kind == ERR_NONE && opt->daemon) {
		status = daemon_start(&err);
		if (status < 0)
			pidfile_write(set->pidfile, *lock, &err);
	}
	if (err.kind == ERR_NONE)
		return status;
	cli_complain(cli, "%s", err.text);
	return (int)error_exit_status(&err);
}

static int run(struct cli *cli, const struct options *opt, const struct settings *set, int lock)
{
	struct worker_options wo = {
		.drain = opt->drain, .max_jobs = opt->max_jobs, .background = opt->daemon, .pidfile = lock >= 0 ? set->pidfile : NULL,
		.cli = cli, .wanted = is_wanted, .ready = daemon_ready,
	};
	struct queue **queues = xcalloc(set->queues_len + 1, sizeof(struct queue *));
	struct session session = { .conn = NULL };
	struct error err = ERROR_INIT;
	char *database = NULL;
	size_t n = 0;
	int status = EXIT_SETTINGS;

	signals_hold();
	if (open_session(&session, set, opt->wait, &err) < 0) {
		if (signals_stop_waits()) {	/* nothing has begun, so nothing is to be handed back */
			log_event(LOG_INFO, "shutdown", LS("reason", "signal"), LS("while", "waiting for the database"),
			          LS("error", err.text));
			err = (struct error)ERROR_INIT;
			status = EXIT_DONE;
		}
		goto out;
	}
	if (!session.has_schema) {
		error_set(&err, ERR_SETTINGS, "this database has no unstuck schema (or an older one); run: unstuckctl init");
		goto out;
	}
	n = open_queues(queues, cli, set, &session, &err);
	if (err.kind == ERR_NONE && n != 0)
		inherit_at_start(set, is_spool_needed(queues, n), &session, &err);
	wo.database = database = replay_database(&session);
	session_close(&session);
	if (err.kind != ERR_NONE)
		goto out;
	if (n == 0) {
		error_set(&err, ERR_SETTINGS, "no queue can work; `unstuck-worker check` says what each one needs");
		goto out;
	}
	status = (int)worker_run(set, queues, n, &wo, &err);
	queues = NULL;
	n = 0;
out:
	if (err.kind != ERR_NONE) {
		cli_complain(cli, "%s", err.text);
		status = (int)error_exit_status(&err);
	}
	session_close(&session);
	free(database);
	for (size_t i = 0; i < n; i++)
		queue_free(queues[i]);
	free(queues);
	return status;
}

static int run_in_place(struct cli *cli, const struct options *opt, const struct settings *set)
{
	int lock = -1, status = take_place(cli, opt, set, &lock);

	if (status >= 0)
		return status;
	status = run(cli, opt, set, lock);
	pidfile_leave(set->pidfile, lock);
	if (daemon_is_awaited() && status == EXIT_DONE) {
		cli_complain(cli, "the worker was stopped before it was ready");
		status = EXIT_FAILED;
	}
	daemon_over(status);
	if (reload_left_a_thread() || inherit_left_a_thread())
		_exit(status);	/* it uses what an exit() takes away */
	return status;
}

/* The flag names the worker; else the settings do, and are read for that. */
static int manage(struct cli *cli, const struct options *opt)
{
	struct manage_options o = { .timeout = opt->timeout, .force = opt->force, .json = opt->json, .live = opt->live, .ready = opt->ready };
	struct settings set = { .path = NULL };
	int status = -1;

	for (const struct flag_setting *f = cli->flags; f->key != NULL; f++)
		if (strcmp(f->key, "worker.pidfile") == 0)
			o.pidfile = f->value;
	if (o.pidfile == NULL) {
		status = cli_load_settings(cli, &set);
		o.pidfile = set.pidfile;
		if (status >= 0)
			cli_complain(cli, "the settings say which worker is meant; where they are wrong, --pidfile FILE does");
	}
	for (size_t i = 0; status < 0 && i < ARRAY_SIZE(managers); i++)
		if (strcmp(managers[i].name, cli->command->name) == 0)
			status = managers[i].run(cli, &o);
	settings_release(&set);
	return status;
}

static bool is_about_a_running_one(const struct cli *cli)
{
	for (size_t i = 0; i < ARRAY_SIZE(managers); i++)
		if (strcmp(managers[i].name, cli->command->name) == 0)
			return true;
	return false;
}

/* A daemon that was given no file logs to the system. */
static int open_log(struct cli *cli, const struct options *opt, const struct settings *set, struct error *err)
{
	int level = set->log_level - cli->common.verbose;
	bool to_system = opt->daemon && set->log_file[0] == '\0';

	level = level < LOG_DEBUG ? LOG_DEBUG : level > LOG_ERROR ? LOG_ERROR : level;
	if (opt->daemon)
		daemon_close_strangers();
	if ((to_system || strcmp(set->log_file, LOG_TO_SYSLOG) == 0) && !log_syslog_is_there())
		cli_complain(cli, "nobody listens at /dev/log: what is logged is lost until somebody does; --log-file FILE keeps it");
	log_set_rotation(set->log_rotate == ROTATE_DAILY ? set->log_keep : 0);
	return log_open((enum log_level)level, (enum log_format)set->log_format, to_system ? LOG_TO_SYSLOG : set->log_file, err);
}

static int settings_are_usable(struct cli *cli, const struct settings *set)
{
	struct problems p = PROBLEMS_INIT;
	int status = -1;

	if (set->queues_len == 0)
		problems_add(&p, "no queue is configured; write a [queue NAME] section with a handler into %s",
		             set->path[0] ? set->path : "unstuck.ini");
	for (size_t i = 0; i < p.len; i++)
		cli_complain(cli, "%s", p.text[i]);
	if (p.len != 0)
		status = EXIT_SETTINGS;
	problems_release(&p);
	return status;
}

int main(int argc, char **argv)
{
	struct options opt = { .drain = false };
	struct settings set;
	struct error err = ERROR_INIT;
	struct cli cli = {
		.program = "unstuck-worker",
		.summary = "Runs the jobs in a PostgreSQL table through any executable and stores every result once.",
		.commands = commands, .commands_len = ARRAY_SIZE(commands), .default_command = "run",
		.examples = examples,
	};
	int status;

	setlocale(LC_ALL, "");
	status = cli_parse(&cli, &opt, argc, argv);
	if (status >= 0)
		return status;
	if (is_about_a_running_one(&cli))
		return manage(&cli, &opt);
	status = cli_load_settings(&cli, &set);
	if (status < 0)
		status = settings_are_usable(&cli, &set);
	if (status < 0 && !are_names_known(&cli, &set))
		status = EXIT_USAGE;
	if (status < 0) {
		if (open_log(&cli, &opt, &set, &err) < 0) {
			cli_complain(&cli, "%s", err.text);
			status = EXIT_SETTINGS;
		} else if (strcmp(cli.command->name, "check") == 0) {
			status = (int)checks_run(&cli, &set, is_wanted);
		} else {
			status = run_in_place(&cli, &opt, &set);
		}
	}
	settings_release(&set);
	return status;
}
