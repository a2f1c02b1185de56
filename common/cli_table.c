/*
 * cli_table.c - rows of options made into what getopt_long() wants, and the options of every program.
 *
 * Not here: what an option's value means (cli.c).
 */
#include <stdlib.h>
#include <string.h>
#include "cli_rows.h"

const struct option_row cli_common_rows[] = {
	{ .name = "config", .letter = 'c', .kind = OPT_TEXT, .arg = "FILE",
	  .help = "settings file (default $UNSTUCK_CONFIG, ./unstuck.ini, /etc/unstuck/unstuck.ini)" },
	{ .name = "database-url", .letter = 'd', .kind = OPT_SETTING, .arg = "URL", .key = "unstuck.database_url",
	  .help = "the database (default $DATABASE_URL, the settings, then libpq's own variables and files)" },
	{ .name = "verbose", .letter = 'v', .kind = OPT_FLAG, .help = "say more; twice for still more" },
	{ .name = "quiet", .letter = 'q', .kind = OPT_FLAG, .help = "say less" },
	{ .name = "help", .letter = 'h', .kind = OPT_FLAG, .help = "this text; behind a command, its own" },
	{ .name = "version", .letter = 'V', .kind = OPT_FLAG, .help = "the version" },
	{ .name = NULL },
};

static bool table_has(const struct cli_table *t, const char *name)
{
	for (size_t i = 0; i < t->len; i++)
		if (strcmp(t->rows[i]->name, name) == 0)
			return true;
	return false;
}

static void table_add(struct cli_table *t, const struct option_row *rows)
{
	for (; rows != NULL && rows->name != NULL; rows++) {
		if (table_has(t, rows->name))
			continue;
		t->rows = xrealloc(t->rows, (t->len + 1) * sizeof *t->rows);
		t->longs = xrealloc(t->longs, (t->len + 2) * sizeof *t->longs);
		t->rows[t->len] = rows;
		t->longs[t->len] = (struct option){ rows->name, rows->arg ? required_argument : no_argument, NULL,
		                                    CLI_LONG + (int)t->len };
		t->longs[++t->len] = (struct option){ NULL, 0, NULL, 0 };
		if (rows->letter != 0)
			buf_addf(&t->letters, "%c%s", rows->letter, rows->arg ? ":" : "");
	}
}

void cli_table_init(struct cli_table *t, const struct cli *cli, const struct command_row *command)
{
	*t = (struct cli_table){ .letters = BUF_INIT };
	buf_adds(&t->letters, "-:");
	table_add(t, cli_common_rows);
	if (command != NULL)
		table_add(t, command->options);
	for (size_t i = 0; command == NULL && i < cli->commands_len; i++)
		table_add(t, cli->commands[i].options);
	opterr = 0;
	optind = 0;	/* glibc: from the start, and forget everything */
}

void cli_table_release(struct cli_table *t)
{
	free(t->rows);
	free(t->longs);
	buf_release(&t->letters);
}

int cli_table_next(const struct cli_table *t, int argc, char **argv)
{
	return getopt_long(argc, argv, buf_text(&t->letters), t->longs, NULL);
}

const struct option_row *cli_table_row(const struct cli_table *t, int c)
{
	if (c >= CLI_LONG)
		return (size_t)(c - CLI_LONG) < t->len ? t->rows[c - CLI_LONG] : NULL;
	for (size_t i = 0; i < t->len; i++)
		if (t->rows[i]->letter != 0 && t->rows[i]->letter == c)
			return t->rows[i];
	return NULL;
}

bool cli_is_single(const struct cli *cli)
{
	return cli->commands_len == 1 && cli->commands[0].name == NULL;
}

const struct command_row *cli_command(const struct cli *cli, const char *name)
{
	for (size_t i = 0; i < cli->commands_len; i++)
		if (cli->commands[i].name == NULL || strcmp(cli->commands[i].name, name) == 0)
			return &cli->commands[i];
	return NULL;
}

int cli_first_word(const struct cli *cli, int argc, char **argv)
{
	struct cli_table t;
	int c;

	cli_table_init(&t, cli, NULL);
	while ((c = cli_table_next(&t, argc, argv)) != -1 && c != 1)
		;
	cli_table_release(&t);
	return c == 1 ? optind - 1 : 0;
}
