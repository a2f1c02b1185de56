/*
 * cli_help.c - --help from the tables of commands and options.
 *
 * Not here: parsing (cli.c).
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "buf.h"
#include "cli_rows.h"

#define WIDTH 80	/* of the whole text */
#define COLUMN 30	/* where the second column starts at the latest */
#define BELOW 6		/* what an example does stands below it, from here on */

/* Words from column at on, wrapped at blanks to where column is; ends the line. */
static void print_words(const char *text, size_t column)
{
	size_t at = column;

	while (*text != '\0') {
		size_t len = strcspn(text, " ");

		if (at > column && at + 1 + len > WIDTH) {
			printf("\n%*s", (int)column, "");
			at = column;
		} else if (at > column) {
			putchar(' ');
			at++;
		}
		printf("%.*s", (int)len, text);
		at += len;
		text += len;
		text += strspn(text, " ");
	}
	putchar('\n');
}

/* "left   text", or the text below what is too wide. */
static void print_pair(const char *left, const char *text, size_t column)
{
	size_t at = (size_t)printf("  %s", left);

	if (at + 2 > column) {
		putchar('\n');
		at = 0;
	}
	printf("%*s", (int)(column - at), "");
	print_words(text, column);
}

/* "-c, --config FILE" */
static void option_text(struct buf *out, const struct option_row *row)
{
	if (row->letter != 0)
		buf_addf(out, "-%c, ", row->letter);
	else
		buf_adds(out, "    ");
	buf_addf(out, "--%s", row->name);
	if (row->arg != NULL)
		buf_addf(out, " %s", row->arg);
}

static void widen(size_t *column, size_t len)
{
	if (len + 4 > *column && len + 4 <= COLUMN)
		*column = len + 4;
}

static size_t column_of_options(const struct option_row *rows)
{
	struct buf text = BUF_INIT;
	size_t column = 0;

	for (const struct option_row *r = rows; r->name != NULL; r++) {
		buf_clear(&text);
		option_text(&text, r);
		widen(&column, text.len);
	}
	buf_release(&text);
	return column ? column : COLUMN;
}

static void print_options(const char *title, const struct option_row *rows)
{
	struct buf text = BUF_INIT;
	size_t column;

	if (rows == NULL || rows->name == NULL)
		return;
	column = column_of_options(rows);
	printf("\n%s\n", title);
	for (const struct option_row *r = rows; r->name != NULL; r++) {
		buf_clear(&text);
		option_text(&text, r);
		print_pair(buf_text(&text), r->help, column);
	}
	buf_release(&text);
}

static void print_commands(const struct cli *cli)
{
	struct buf text = BUF_INIT;
	size_t column = 0;

	for (size_t i = 0; i < cli->commands_len; i++)
		widen(&column, strlen(cli->commands[i].name) + 1 + strlen(cli->commands[i].arguments));
	if (column == 0)
		column = COLUMN;
	puts("\nCommands:");
	for (size_t i = 0; i < cli->commands_len; i++) {
		const struct command_row *c = &cli->commands[i];

		buf_clear(&text);
		buf_addf(&text, "%s%s%s", c->name, c->arguments[0] ? " " : "", c->arguments);
		print_pair(buf_text(&text), c->help, column);
	}
	buf_release(&text);
	if (cli->default_command != NULL)
		printf("Without a command: %s.\n", cli->default_command);
	printf("%s COMMAND --help tells the options of a command.\n", cli->program);
}

/* "unstuckctl jobs --json" is one of jobs. */
static bool is_example_of(const struct cli *cli, const struct example_row *e, const struct command_row *command)
{
	const char *word = strstr(e->line, cli->program);
	size_t len = strlen(command->name);

	if (word == NULL)
		return false;
	word += strlen(cli->program) + 1;
	return strcspn(word, " ") == len && strncmp(word, command->name, len) == 0;
}

static void print_examples(const struct cli *cli, const struct command_row *command)
{
	bool any = false;

	for (const struct example_row *e = cli->examples; e != NULL && e->line != NULL; e++) {
		if (command != NULL && command->name != NULL && !is_example_of(cli, e, command))
			continue;
		if (!any)
			puts("\nExamples:");
		any = true;
		print_pair(e->line, e->what, BELOW);
	}
}

static bool has_durations(const struct option_row *rows)
{
	for (; rows != NULL && rows->name != NULL; rows++)
		if (rows->arg != NULL && strcmp(rows->arg, "D") == 0)
			return true;
	return false;
}

static void print_statuses(void)
{
	puts("\nExit statuses:");
	for (const struct exit_status_row *row = exit_statuses; row->means != NULL; row++)
		printf("  %2d  %s\n", (int)row->status, row->means);
}

static void print_usage(const struct cli *cli, const struct command_row *c)
{
	if (c == NULL)
		printf("Usage: %s %s [OPTIONS] [ARGUMENTS]\n", cli->program, cli->default_command ? "[COMMAND]" : "COMMAND");
	else
		printf("Usage: %s%s%s [OPTIONS]%s%s\n", cli->program, c->name ? " " : "", c->name ? c->name : "",
		       c->arguments[0] ? " " : "", c->arguments);
}

/* A phrase of the tables. */
static void print_sentence(const char *phrase)
{
	char *text = xasprintf("%c%s.", toupper((unsigned char)phrase[0]), phrase + 1);

	print_words(text, 0);
	free(text);
}

static void print_end(const struct cli *cli)
{
	print_statuses();
	printf("\nThe manual: man %s; man 5 unstuck.ini has the settings.\n", cli->program);
}

void cli_print_help(const struct cli *cli, const struct command_row *command)
{
	bool single = command != NULL && command->name != NULL;	/* one of several */
	const struct command_row *with = command;
	struct buf title = BUF_INIT;

	print_usage(cli, command);
	if (single)
		print_sentence(command->help);
	else
		print_words(cli->summary, 0);
	if (command == NULL) {
		print_commands(cli);
		if (cli->default_command != NULL)
			with = cli_command(cli, cli->default_command);
	}
	buf_adds(&title, "Options");
	if (command == NULL && with != NULL)
		buf_addf(&title, " of %s", with->name);
	buf_addc(&title, ':');
	if (with != NULL)
		print_options(buf_text(&title), with->options);
	print_options(cli->commands_len > 1 ? "Options of every command:" : "Common options:", cli_common_rows);
	if (with != NULL && has_durations(with->options))
		puts("\nD is a duration: 90 (seconds), 250ms, 90s, 15m, 1h30m, 2d.");
	print_examples(cli, command);
	if (!single)
		print_end(cli);
	buf_release(&title);
}
