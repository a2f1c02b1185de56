/*
 * main.c - unstuck-recover: read what is asked, pick the mode, end with its status.
 *
 * Modes: once (the default, and --dry-run), --every (schedule.c), --check (nagios.c).
 */
#include <locale.h>
#include <stdint.h>
#include "buf.h"
#include "finish.h"
#include "nagios.h"
#include "run.h"
#include "schedule.h"
#include "stop.h"
#include "words.h"

static const struct command_row commands[] = {
	{ .name = NULL, .arguments = "[QUEUE...]",
	  .help = "Put stuck jobs back: list them, ask, reset exactly those.",
	  .options = recover_options, .max_args = SIZE_MAX },
};

static const struct example_row examples[] = {
	{ "unstuck-recover --dry-run", "what is stuck, since when and why; nothing is changed" },
	{ "unstuck-recover --yes videos", "put back what is stuck in one queue, without asking" },
	{ "unstuck-recover --every 5m", "stay, and do so every five minutes" },
	{ "unstuck-recover --check --warning 1 --critical 50", "one line for Nagios and its relatives" },
	{ "unstuck-recover -d postgresql:///app --table public.videos \\\n"
	  "      --status-column status --processing PROCESSING \\\n"
	  "      --reset-to READY --timeout 1h --dry-run",
	  "any table, with no settings file and nothing installed in the database" },
	{ .line = NULL },
};

static enum exit_status once(const struct recover *ask)
{
	struct run r = RUN_INIT(ask);
	enum exit_status status;

	r.dry_run = ask->opt->dry_run;
	status = run_recover(&r);
	finish_print(&r);
	finish_on_stuck(&r);
	run_release(&r);
	return status;
}

static int run_mode(const struct recover *ask)
{
	if (ask->opt->check)
		return nagios_check(ask);
	if (ask->opt->every != USEC_NEVER)
		return schedule_run(ask);
	return once(ask);
}

/* The words as they were given: parsing moves some, and blanks the database's URL. */
static char **words_copy(int argc, char **argv)
{
	char **copy = xcalloc((size_t)argc + 1, sizeof *copy);

	for (int i = 0; i < argc; i++)
		copy[i] = xstrdup(argv[i]);
	return copy;
}

int main(int argc, char **argv)
{
	struct options opt = OPTIONS_INIT;
	struct settings settings = { .path = NULL };
	struct cli cli = {
		.program = "unstuck-recover",
		.summary = "Finds jobs that are PROCESSING while nobody works on them, shows them, asks, and puts exactly those back.",
		.commands = commands,
		.commands_len = ARRAY_SIZE(commands),
		.examples = examples,
	};
	struct recover ask = { .opt = &opt, .cli = &cli, .settings = &settings, .words = words_copy(argc, argv) };
	struct error err = ERROR_INIT;
	int status;

	setlocale(LC_ALL, "");
	setlocale(LC_NUMERIC, "C");	/* numbers of SQL and JSON have a point */
	if ((status = cli_parse(&cli, &opt, argc, argv)) >= 0 || (status = options_check(&opt, &cli)) >= 0)
		goto out;
	if ((status = cli_load_settings(&cli, &settings)) >= 0) {
		if (opt.check)
			status = nagios_unknown("wrong settings, see stderr");
		goto out;
	}
	if (stop_init(&err) < 0) {
		cli_complain(&cli, "%s", err.text);
		status = error_exit_status(&err);
		goto out;
	}
	status = run_mode(&ask);
out:
	settings_release(&settings);
	words_free(ask.words);
	return status;
}
