/*
 * cli_help.c - --help from the tables of commands and options.
 *
 * Not here: parsing (cli.c).
 */
#include <stdio.h>
#include <string.h>
#include "buf.h"
#include "cli_rows.h"

#define WIDTH 100	/* of the whole text */
#define COLUMN 30	/* where the second column starts at the latest */

/* "left   text", the text wrapped at blanks below itself. */
static void print_pair(const char *left, const char *text, size_t column)
{
	size_t at = (size_t)printf("  %s", left);

	if (at + 2 > column) {
		putchar('\n');
		at = 0;
	}
	printf("%*s", (int)(column - at), "");
	at = column;
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

static void print_options(const char *title, const struct option_row *rows)
{
	struct buf text = BUF_INIT;
	size_t column = 0;

	if (rows == NULL || rows->name == NULL)
		return;
	for (const struct option_row *r = rows; r->name != NULL; r++) {
		buf_clear(&text);
		option_text(&text, r);
		widen(&column, text.len);
	}
	if (column == 0)
		column = COLUMN;
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
		printf("Without a command it is %s.\n", cli->default_command);
	printf("%s COMMAND --help tells the options of a command.\n", cli->program);
}

static void print_statuses(void)
{
	static const enum exit_status all[] = {
		EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_NO_DB, EXIT_HELD, EXIT_SETTINGS
	};

	puts("\nExit statuses:");
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		printf("  %2d  %s\n", all[i], exit_status_means(all[i]));
}

static void print_usage(const struct cli *cli, const struct command_row *c)
{
	if (c == NULL)
		printf("Usage: %s %s [OPTIONS] [ARGUMENTS]\n", cli->program, cli->default_command ? "[COMMAND]" : "COMMAND");
	else
		printf("Usage: %s%s%s [OPTIONS]%s%s\n", cli->program, c->name ? " " : "", c->name ? c->name : "",
		       c->arguments[0] ? " " : "", c->arguments);
}

void cli_print_help(const struct cli *cli, const struct command_row *command)
{
	const struct command_row *with = command;
	struct buf title = BUF_INIT;

	print_usage(cli, command);
	printf("%s\n", command && command->name ? command->help : cli->summary);
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
	print_options(command != NULL && command->options == NULL ? "Options:" : "Options of every command:", cli_common_rows);
	print_statuses();
	buf_release(&title);
}
