/*
 * cli.h - an option table drives getopt_long, --help and the complaints.
 *
 * Lives here: parsing words of the command line. Not here: what they mean.
 */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stddef.h>
#include "error.h"
#include "settings.h"

enum option_kind {
	OPT_FLAG,	/* into bool */
	OPT_TEXT,	/* into const char * */
	OPT_COUNT,	/* into uint64_t; min checked */
	OPT_TIME,	/* into usec_t */
	OPT_SHARE,	/* into double: 0.5 or 50% */
	OPT_SETTING,	/* a setting by its key: goes to the flags of settings_load() */
};

struct option_row {
	const char *name;	/* long name, without dashes; NULL ends the table */
	char letter;		/* 0: none */
	enum option_kind kind;
	size_t offset;		/* into the program's options struct */
	const char *arg;	/* its name in --help: "D", "N"; of some a shell can complete the value: cli_complete.c; NULL for flags */
	const char *help;	/* a phrase, in small letters, no full stop */
	const char *key;	/* OPT_SETTING: "worker.concurrency"; OPT_FLAG may have one too (value "yes") */
	uint64_t min;
};

/* One subcommand; a program without any has one row with name NULL. */
struct command_row {
	const char *name;
	const char *arguments;		/* "[QUEUE...]" for the usage line; what stands there in small letters is typed as it is */
	const char *help;		/* a phrase, as of an option */
	const struct option_row *options;	/* besides the common ones; may be NULL */
	size_t min_args, max_args;	/* positional */
};

/* What a user may want to type. Its second word is the command whose help shows it too. */
struct example_row {
	const char *line;	/* NULL ends the table */
	const char *what;	/* for people: "every FAILED job of a queue, once more" */
};

/*
 * What every program takes: -c, -d, -v, -q, --help, --version. json is set by a
 * command's own row {"json", OPT_FLAG}, whose offset may be 0.
 */
struct cli_common {
	const char *config;
	const char *database_url;	/* our copy: it is blanked in argv; also in flags */
	int verbose;			/* -v adds, -q subtracts */
	bool json;
};

#define CLI_MAX_FLAGS 16
struct cli {
	const char *program;		/* "unstuck-worker" */
	const char *summary;		/* one sentence for --help */
	const struct command_row *commands;
	size_t commands_len;
	const char *default_command;	/* when the first word is none; NULL: one must be given */
	const struct example_row *examples;	/* may be NULL */

	/* filled by cli_parse() */
	struct cli_common common;
	const struct command_row *command;
	struct flag_setting flags[CLI_MAX_FLAGS + 1];	/* for settings_load(): -d included */
	char **args;			/* positional, borrowed from argv (which they are moved in) */
	size_t args_len;
};

/*
 * Returns -1 to go on; otherwise the exit status to leave with at once (0 after
 * --help or --version, which were printed; EXIT_USAGE after one line on stderr).
 * Options are accepted before and after the subcommand. options: the program's
 * struct that the offsets point into, set to its defaults by the caller. The
 * value of OPT_SETTING is checked here already: a wrong one is EXIT_USAGE.
 *
 * "--complete" in place of all else is how a shell asks what may come next
 * (cli_complete.c); it is answered on stdout, and 0 returned.
 */
int cli_parse(struct cli *cli, void *options, int argc, char **argv);

/* "unstuck-recover: text" on stderr, one line, control characters escaped. */
void cli_complain(const struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* settings_load() with the parsed flags; tells every problem on stderr. -1 to go on, else the exit status. */
int cli_load_settings(struct cli *cli, struct settings *s);

bool cli_colour(int fd);	/* a terminal, and NO_COLOR is not set */

#endif
