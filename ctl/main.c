/*
 * main.c - unstuckctl: the table of commands, and the edge where errors are told.
 *
 * Not here: what a command does (one file each).
 */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "ctl.h"

#define AT(field) offsetof(struct options, field)

static const struct option_row init_options[] = {
	{ .name = "print", .kind = OPT_FLAG, .offset = AT(print), .help = "show the SQL, change nothing" },
	{ .name = NULL },
};

static const struct option_row enqueue_options[] = {
	{ .name = "priority", .letter = 'p', .kind = OPT_TEXT, .offset = AT(priority), .arg = "N",
	  .help = "a smaller number runs first (default 0)" },
	{ .name = "run-at", .kind = OPT_TEXT, .offset = AT(run_at), .arg = "T",
	  .help = "not before this time, 2026-01-31T09:00:00Z (no zone: UTC)" },
	{ .name = "delay", .kind = OPT_TIME, .offset = AT(delay), .arg = "D", .help = "not before so long from now" },
	{ .name = "unique-key", .letter = 'u', .kind = OPT_TEXT, .offset = AT(unique_key), .arg = "K",
	  .help = "while a job of this key is unfinished, give its id instead" },
	{ .name = "max-attempts", .kind = OPT_TEXT, .offset = AT(max_attempts), .arg = "N",
	  .help = "failures until it is FAILED (default: the queue's)" },
	{ .name = "lines", .letter = 'l', .kind = OPT_FLAG, .offset = AT(lines),
	  .help = "each line of stdin is one payload; all or none; prints the count" },
	{ .name = NULL },
};

static const struct option_row jobs_options[] = {
	{ .name = "queue", .letter = 'Q', .kind = OPT_TEXT, .offset = AT(queue), .arg = "QUEUE", .help = "of this queue" },
	{ .name = "status", .letter = 's', .kind = OPT_TEXT, .offset = AT(status), .arg = "STATUS",
	  .help = "PENDING, PROCESSING, COMPLETED, FAILED or CANCELLED" },
	{ .name = "limit", .letter = 'n', .kind = OPT_COUNT, .offset = AT(limit), .arg = "N", .min = 1,
	  .help = "at most so many, the newest (default 50)" },
	{ .name = "json", .kind = OPT_FLAG, .help = "one JSON document" },
	{ .name = NULL },
};

static const struct option_row retry_options[] = {
	{ .name = "all-failed", .kind = OPT_FLAG, .offset = AT(all_failed), .help = "every FAILED job of --queue" },
	{ .name = "queue", .letter = 'Q', .kind = OPT_TEXT, .offset = AT(queue), .arg = "QUEUE",
	  .help = "with --all-failed: of this queue" },
	{ .name = NULL },
};

static const struct option_row doctor_options[] = {
	{ .name = "min-age", .kind = OPT_TIME, .offset = AT(min_age), .arg = "D",
	  .help = "transactions younger than this are no finding (default 5m)" },
	{ .name = "json", .kind = OPT_FLAG, .help = "one JSON document" },
	{ .name = NULL },
};

static const struct option_row late_options[] = {
	{ .name = "queue", .letter = 'Q', .kind = OPT_TEXT, .offset = AT(queue), .arg = "Q", .help = "of this queue" },
	{ .name = "limit", .letter = 'n', .kind = OPT_COUNT, .offset = AT(limit), .arg = "N", .min = 1,
	  .help = "at most so many, the newest (default 50)" },
	{ .name = "json", .kind = OPT_FLAG, .help = "one JSON document" },
	{ .name = NULL },
};

static const struct option_row top_options[] = {
	{ .name = "every", .letter = 'e', .kind = OPT_TIME, .offset = AT(every), .arg = "D",
	  .help = "look again so often (default 2s, at least 250ms)" },
	{ .name = "once", .letter = '1', .kind = OPT_FLAG, .offset = AT(once), .help = "print it once, as when this is no terminal" },
	{ .name = "json", .kind = OPT_FLAG, .help = "once, as one JSON document" },
	{ .name = NULL },
};

static const struct option_row purge_options[] = {
	{ .name = "older-than", .kind = OPT_TIME, .offset = AT(older_than), .arg = "D", .help = "finished longer ago than this; must be given" },
	{ .name = "queue", .letter = 'Q', .kind = OPT_TEXT, .offset = AT(queue), .arg = "Q", .help = "of this queue" },
	{ .name = "dry-run", .letter = 'n', .kind = OPT_FLAG, .offset = AT(dry_run), .help = "count what would go, change nothing" },
	{ .name = "json", .kind = OPT_FLAG, .help = "one JSON document" },
	{ .name = NULL },
};

static const struct option_row list_options[] = {
	{ .name = "json", .kind = OPT_FLAG, .help = "one JSON document" },
	{ .name = NULL },
};

static const struct command_row commands[] = {
	{ "init", "", "create or upgrade the schema unstuck in the database", init_options, 0, 0 },
	{ "enqueue", "QUEUE [PAYLOAD | -]", "add a job and print its id; - reads the payload (JSON) from stdin",
	  enqueue_options, 1, 2 },
	{ "jobs", "", "list jobs, the newest first", jobs_options, 0, 0 },
	{ "show", "ID", "everything about one job", list_options, 1, 1 },
	{ "cancel", "ID...", "cancel jobs that wait or run", NULL, 1, SIZE_MAX },
	{ "retry", "[ID...]", "put FAILED or CANCELLED jobs back", retry_options, 0, SIZE_MAX },
	{ "queues", "", "count jobs by queue and status, with the oldest ages", list_options, 0, 0 },
	{ "workers", "", "list the workers that are registered", list_options, 0, 0 },
	{ "late", "[show ID | adopt ID...]", "list the results that came too late; show prints the bytes of one, adopt stores some in their jobs",
	  late_options, 0, SIZE_MAX },
	{ "purge", "", "delete finished jobs, and what is kept about rows of mapped tables that are done", purge_options, 0, 0 },
	{ "spool", "[replay]", "list the results on this host that wait for the database; replay stores those of dead workers",
	  list_options, 0, 1 },
	{ "doctor", "[QUEUE...]", "look for what is wrong, and say what to do: 0 nothing, 1 something was found", doctor_options, 0, SIZE_MAX },
	{ "top", "", "watch queues, workers and running jobs, the stuck ones first", top_options, 0, 0 },
};

static const struct example_row examples[] = {
	{ "unstuckctl init", "once for each database, and again after an update" },
	{ "unstuckctl enqueue mail '{\"to\": \"ada@example.org\"}'", "add a job; its id is printed" },
	{ "unstuckctl enqueue mail --delay 1h --unique-key digest-7 - <payload.json", "later, and once at a time" },
	{ "unstuckctl enqueue mail --lines <payloads.jsonl", "each line a job, in one transaction" },
	{ "unstuckctl queues", "what waits, runs and failed, and since when" },
	{ "unstuckctl jobs --queue mail --status FAILED", "the newest jobs that failed, with their errors" },
	{ "unstuckctl show 42", "payload, result, attempts and error of one job" },
	{ "unstuckctl retry --all-failed --queue mail", "every failed job of a queue once more" },
	{ "unstuckctl top", "watch it live; q ends it" },
	{ "unstuckctl doctor", "what is wrong or soon will be, each with its remedy" },
	{ "unstuckctl late", "results that came when their job had another run" },
	{ "unstuckctl purge --older-than 30d --dry-run", "how many finished jobs would be deleted" },
	{ "unstuckctl spool replay", "store what dead workers of this host left behind" },
	{ .line = NULL },
};

/* In the order of commands[]. */
static enum exit_status (*const runs[])(struct ctl *ctl) = {
	init_run, enqueue_run, jobs_run, show_run, cancel_run, retry_run, queues_run, workers_run,
	late_run, purge_run, spool_run, doctor_run, top_run,
};
_Static_assert(ARRAY_SIZE(runs) == ARRAY_SIZE(commands), "a function for every command");

/* What was printed must have arrived, else the caller would take half a list for a whole one. */
static enum exit_status flush_output(struct ctl *ctl, enum exit_status status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	return ctl_fail(ctl, ERR_SYS, "writing to standard output: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	struct ctl ctl = {
		.cli = {
			.program = "unstuckctl",
			.summary = "Sets up, fills and shows the queues of Unstuck.",
			.commands = commands,
			.commands_len = ARRAY_SIZE(commands),
			.examples = examples,
		},
		.opt = {
			.delay = USEC_NEVER, .limit = 50, .older_than = USEC_NEVER, .min_age = 5 * MINUTE, .every = 2 * SEC,
		},
		.err = ERROR_INIT,
	};
	int status;

	setlocale(LC_CTYPE, "");
	signal(SIGPIPE, SIG_IGN);
	status = cli_parse(&ctl.cli, &ctl.opt, argc, argv);
	if (status >= 0)
		return status;
	status = cli_load_settings(&ctl.cli, &ctl.settings);
	if (status < 0) {
		status = (int)runs[ctl.cli.command - commands](&ctl);
		status = (int)flush_output(&ctl, (enum exit_status)status);
	}
	if (ctl.err.kind != ERR_NONE)
		cli_complain(&ctl.cli, "%s", ctl.err.text);
	session_close(&ctl.session);
	settings_release(&ctl.settings);
	return status;
}
