/*
 * options.c - the option table of recover, and which options go together.
 *
 * Not here: parsing (common/cli.c), what the options mean for a run (run.c).
 */
#include "options.h"

#include <limits.h>
#include <stddef.h>
#include "words.h"

#define AT(field) offsetof(struct options, field)

const struct option_row recover_options[] = {
	{ .name = "dry-run", .letter = 'n', .kind = OPT_FLAG, .offset = AT(dry_run),
	  .help = "list what would be done, change nothing" },
	{ .name = "yes", .letter = 'y', .kind = OPT_FLAG, .offset = AT(yes),
	  .help = "do not ask; without it and without a terminal nothing is reset" },
	{ .name = "timeout", .letter = 't', .kind = OPT_TIME, .offset = AT(timeout), .arg = "D",
	  .help = "age from which a PROCESSING row of no known worker is stuck (default: the queue's, else 1h)" },
	{ .name = "every", .kind = OPT_TIME, .offset = AT(every), .arg = "D",
	  .help = "stay, and recover every so often; implies --yes" },
	{ .name = "limit", .kind = OPT_COUNT, .offset = AT(limit), .arg = "N", .min = 1,
	  .help = "reset at most N rows in all" },
	{ .name = "batch", .kind = OPT_COUNT, .offset = AT(batch), .arg = "N", .min = 1,
	  .help = "at most N rows a transaction (default 1000)" },
	{ .name = "max-recoveries", .kind = OPT_COUNT, .offset = AT(max_recoveries), .arg = "N",
	  .help = "a job recovered this often without finishing is failed (default 3)" },
	{ .name = "max-fraction", .kind = OPT_SHARE, .offset = AT(max_fraction), .arg = "P",
	  .help = "refuse when more than this share (0.5, 50%) of a queue with more than 20 PROCESSING rows would be reset" },
	{ .name = "ignore-liveness", .kind = OPT_FLAG, .offset = AT(ignore_liveness),
	  .help = "go by age alone, even where the owner is alive" },
	{ .name = "check", .kind = OPT_FLAG, .offset = AT(check),
	  .help = "monitoring: one Nagios line, change nothing; exit status 0 to 3" },
	{ .name = "warning", .kind = OPT_COUNT, .offset = AT(warning), .arg = "N", .min = 1,
	  .help = "with --check: WARNING from N stuck rows (default 1)" },
	{ .name = "critical", .kind = OPT_COUNT, .offset = AT(critical), .arg = "N", .min = 1,
	  .help = "with --check: CRITICAL from N stuck rows (default 10)" },
	{ .name = "on-stuck", .kind = OPT_TEXT, .offset = AT(on_stuck), .arg = "CMD",
	  .help = "run CMD, the JSON report on its stdin, when something is stuck" },
	{ .name = "table", .kind = OPT_TEXT, .offset = AT(adhoc.table), .arg = "T",
	  .help = "recover this table, with no settings file and nothing installed; needs the next three" },
	{ .name = "status-column", .kind = OPT_TEXT, .offset = AT(adhoc.status_column), .arg = "C",
	  .help = "its column with the status" },
	{ .name = "processing", .kind = OPT_TEXT, .offset = AT(adhoc.processing), .arg = "S",
	  .help = "the status of a row that is being worked on" },
	{ .name = "reset-to", .kind = OPT_TEXT, .offset = AT(adhoc.reset_to), .arg = "S",
	  .help = "the status that a stuck row gets" },
	{ .name = "id-column", .kind = OPT_TEXT, .offset = AT(adhoc.id_column), .arg = "C",
	  .help = "its key (default id)" },
	{ .name = "updated-column", .kind = OPT_TEXT, .offset = AT(adhoc.updated_column), .arg = "C",
	  .help = "its time of the last change (default updated_at)" },
	{ .name = "timezone", .kind = OPT_TEXT, .offset = AT(adhoc.timezone), .arg = "Z",
	  .help = "the zone of a timestamp without time zone (default UTC)" },
	{ .name = "failed", .kind = OPT_TEXT, .offset = AT(adhoc.failed), .arg = "S",
	  .help = "the status of a row that was recovered too often" },
	{ .name = "show", .kind = OPT_TEXT, .offset = AT(adhoc.show), .arg = "C,...",
	  .help = "columns to list with each row" },
	{ .name = "json", .kind = OPT_FLAG, .offset = AT(json), .help = "one JSON document on stdout" },
	{ .name = NULL }
};

/* Flags that make a queue: all of the needed ones, or none at all. */
static int adhoc_check(const struct adhoc *a, const struct cli *cli)
{
	const struct {
		const char *flag, *value;
		bool needed;
	} flags[] = {
		{ "--status-column", a->status_column, true },
		{ "--processing", a->processing, true },
		{ "--reset-to", a->reset_to, true },
		{ "--id-column", a->id_column, false },
		{ "--updated-column", a->updated_column, false },
		{ "--timezone", a->timezone, false },
		{ "--failed", a->failed, false },
		{ "--show", a->show, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		if (a->table == NULL && flags[i].value != NULL) {
			cli_complain(cli, "%s belongs to --table: name the table", flags[i].flag);
			return EXIT_USAGE;
		}
		if (a->table != NULL && flags[i].needed && (flags[i].value == NULL || *flags[i].value == '\0')) {
			cli_complain(cli, "--table also needs %s", flags[i].flag);
			return EXIT_USAGE;
		}
	}
	if (a->table != NULL && cli->args_len > 0) {
		cli_complain(cli, "--table recovers that table alone: leave out the queue %s", cli->args[0]);
		return EXIT_USAGE;
	}
	return -1;
}

/* A command that cannot be split into words must not be found out after the reset. */
static int command_check(const char *command, const struct cli *cli)
{
	struct error err = ERROR_INIT;
	char **argv = words_split(command, &err);
	int status = -1;

	if (argv == NULL || argv[0] == NULL) {
		cli_complain(cli, "--on-stuck: %s", argv == NULL ? err.text : "expected a command");
		status = EXIT_USAGE;
	}
	words_free(argv);
	return status;
}

int options_check(const struct options *opt, const struct cli *cli)
{
	const struct {
		bool wrong;
		const char *why;
	} rules[] = {
		{ opt->check && opt->every != USEC_NEVER, "--check looks once: not with --every" },
		{ opt->check && opt->json, "--check prints its own line: not with --json" },
		{ !opt->check && (opt->warning != COUNT_UNSET || opt->critical != COUNT_UNSET),
		  "--warning and --critical belong to --check" },
		{ opt->every == 0, "--every: expected more than 0" },
		{ opt->batch != COUNT_UNSET && opt->batch > 100000, "--batch: expected 1 to 100000" },
		{ opt->max_recoveries != COUNT_UNSET && opt->max_recoveries > INT_MAX,
		  "--max-recoveries: expected at most 2147483647" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		if (rules[i].wrong) {
			cli_complain(cli, "%s", rules[i].why);
			return EXIT_USAGE;
		}
	if (opt->on_stuck != NULL && command_check(opt->on_stuck, cli) >= 0)
		return EXIT_USAGE;
	return adhoc_check(&opt->adhoc, cli);
}
