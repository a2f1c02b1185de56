/*
 * cli_rows.h - between the cli*.c files: the options of every program, and what getopt_long() wants of a table.
 */
#ifndef CLI_ROWS_H
#define CLI_ROWS_H

#include <getopt.h>
#include "buf.h"
#include "cli.h"

#define CLI_COMMON_ROWS 6
extern const struct option_row cli_common_rows[CLI_COMMON_ROWS + 1];

/* The options that may stand in one command line. */
#define CLI_LONG 256	/* cli_table_next() gives a long option as this and its index */
struct cli_table {
	const struct option_row **rows;
	size_t len;
	struct option *longs;
	struct buf letters;
};

/* The common ones and those of the command, or of all commands when it is NULL; starts getopt_long() anew. */
void cli_table_init(struct cli_table *t, const struct cli *cli, const struct command_row *command);
void cli_table_release(struct cli_table *t);
/* As getopt_long(), in argv's order: a word comes as 1, an option without the argument that it needs as ':'. */
int cli_table_next(const struct cli_table *t, int argc, char **argv);
const struct option_row *cli_table_row(const struct cli_table *t, int c);	/* c or optopt; NULL: none */

bool cli_is_single(const struct cli *cli);	/* a program without commands */
/* The row of a command; of a program without commands, its only row. NULL: none. */
const struct command_row *cli_command(const struct cli *cli, const char *name);
/* Where in argv the first word is that is no option and no option's argument, of whatever command. 0: none. */
int cli_first_word(const struct cli *cli, int argc, char **argv);

/* Help for one command, or for the program with its commands when command is NULL, to stdout. */
void cli_print_help(const struct cli *cli, const struct command_row *command);

/*
 * What may stand where the cursor is, to stdout. stdin: the command up to there, and on a line of its own the end of
 * it that the shell will replace; not as arguments, which others can see, for a password may be in them.
 * First comes "words", then each of them on a line; or "files" alone, which the shell knows itself.
 */
#define CLI_COMPLETE "--complete"
void cli_print_completions(const struct cli *cli);

#endif
