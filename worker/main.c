/*
 * main.c - options, settings, the checks of a start, worker_run(), the exit status.
 */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "checks.h"
#include "cli.h"
#include "log.h"
#include "pidfile.h"
#include "signals.h"
#include "words.h"
#include "worker.h"

struct options {
	bool drain;
	uint64_t max_jobs;
	usec_t wait;
};

static const struct option_row run_options[] = {
	{ "drain", 0, OPT_FLAG, offsetof(struct options, drain), NULL,
	  "work until nothing is ready to run, then exit 0", NULL, 0 },
	{ "max-jobs", 0, OPT_COUNT, offsetof(struct options, max_jobs), "N", "leave after N jobs", NULL, 1 },
	{ "concurrency", 'n', OPT_SETTING, 0, "N", "handlers running at once", "worker.concurrency", 0 },
	{ "graceful-timeout", 0, OPT_SETTING, 0, "D", "how long running jobs may finish after a stop signal",
	  "worker.graceful_timeout", 0 },
	{ "force-delay", 0, OPT_SETTING, 0, "D", "between TERM and KILL of a handler", "worker.force_delay", 0 },
	{ "pidfile", 0, OPT_SETTING, 0, "FILE", "write and lock FILE", "worker.pidfile", 0 },
	{ "log-file", 0, OPT_SETTING, 0, "FILE", "log there instead of stderr", "unstuck.log_file", 0 },
	{ "wait", 0, OPT_TIME, offsetof(struct options, wait), "D",
	  "keep trying that long when the database cannot be reached at start", NULL, 0 },
	{ .name = NULL },
};

static const struct command_row commands[] = {
	{ "run", "[QUEUE...]", "run the jobs of the queues named, or of all in the settings", run_options, 0,
	  SIZE_MAX },
	{ "check", "[QUEUE...]", "check settings, tables, columns, indexes and permissions; change nothing", NULL, 0,
	  SIZE_MAX },
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
		if (err->kind != ERR_NO_DB || clock_now() >= until)
			return -1;
		nanosleep(&(struct timespec){ .tv_nsec = 500 * 1000 * 1000 }, NULL);
		*err = (struct error)ERROR_INIT;
	}
	return 0;
}

/*
 * Make the queues ready. One that cannot work is refused by name; the others run
 * on. Returns how many are ready; why is only set when the database went away.
 */
static size_t open_queues(struct queue *queues, const struct cli *cli, const struct settings *set,
                          struct session *session, struct error *why)
{
	size_t n = 0;

	for (size_t i = 0; i < set->queues_len && why->kind == ERR_NONE; i++) {
		struct error err = ERROR_INIT;

		if (!is_wanted(cli, set->queues[i].name))
			continue;
		memset(&queues[n], 0, sizeof queues[n]);
		if (queue_init(&queues[n], &set->queues[i], set->concurrency, session, &err) == 0) {
			n++;
			continue;
		}
		if (err.kind == ERR_NO_DB)
			*why = err;
		else
			log_event(LOG_ERROR, "queue_refused", LS("queue", set->queues[i].name), LS("error", err.text));
		queue_release(&queues[n]);
	}
	return n;
}

static int run(struct cli *cli, const struct options *opt, const struct settings *set)
{
	struct worker_options wo = { .drain = opt->drain, .max_jobs = opt->max_jobs };
	struct queue *queues = xcalloc(set->queues_len + 1, sizeof *queues);
	struct session session = { .conn = NULL };
	struct error err = ERROR_INIT;
	size_t n = 0;
	int lock = -1, status = EXIT_SETTINGS;

	if (set->pidfile_set && (lock = pidfile_take(set->pidfile, &err)) < 0)
		goto out;
	if (open_session(&session, set, opt->wait, &err) < 0)
		goto out;
	if (!session.has_schema) {
		error_set(&err, ERR_SETTINGS, "this database has no unstuck schema (or an older one); run: unstuckctl init");
		goto out;
	}
	n = open_queues(queues, cli, set, &session, &err);
	session_close(&session);
	if (err.kind != ERR_NONE)
		goto out;
	if (n == 0) {
		error_set(&err, ERR_SETTINGS, "no queue can work; `unstuck-worker check` says what each one needs");
		goto out;
	}
	status = (int)worker_run(set, queues, n, &wo, &err);
out:
	if (err.kind != ERR_NONE) {
		cli_complain(cli, "%s", err.text);
		status = (int)error_exit_status(&err);
	}
	session_close(&session);
	for (size_t i = 0; i < n; i++)
		queue_release(&queues[i]);
	free(queues);
	pidfile_leave(set->pidfile, lock);
	return status;
}

static int settings_are_usable(struct cli *cli, const struct settings *set)
{
	struct problems p = PROBLEMS_INIT;
	int status = -1;

	settings_check_available(set, &p);
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
	};
	int level, status;

	setlocale(LC_ALL, "");
	status = cli_parse(&cli, &opt, argc, argv);
	if (status >= 0)
		return status;
	status = cli_load_settings(&cli, &set);
	if (status < 0)
		status = settings_are_usable(&cli, &set);
	if (status < 0 && !are_names_known(&cli, &set))
		status = EXIT_USAGE;
	if (status < 0) {
		level = set.log_level - cli.common.verbose;
		level = level < LOG_DEBUG ? LOG_DEBUG : level > LOG_ERROR ? LOG_ERROR : level;
		if (log_open((enum log_level)level, (enum log_format)set.log_format, set.log_file, &err) < 0) {
			cli_complain(&cli, "%s", err.text);
			status = EXIT_SETTINGS;
		} else if (strcmp(cli.command->name, "check") == 0) {
			status = (int)checks_run(&cli, &set, is_wanted);
		} else {
			status = run(&cli, &opt, &set);
		}
	}
	settings_release(&set);
	return status;
}
