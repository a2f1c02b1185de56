/*
 * cli_rows.h - between cli.c and cli_help.c: the options of every program.
 */
#ifndef CLI_ROWS_H
#define CLI_ROWS_H

#include "cli.h"

#define CLI_COMMON_ROWS 6
extern const struct option_row cli_common_rows[CLI_COMMON_ROWS + 1];

/* The row of a command; of a program without commands, its only row. NULL: none. */
const struct command_row *cli_command(const struct cli *cli, const char *name);

/* Help for one command, or for the program with its commands when command is NULL, to stdout. */
void cli_print_help(const struct cli *cli, const struct command_row *command);

#endif
