/*
 * cli.c - the words of the command line, driven by the option tables.
 *
 * Lives here: finding the subcommand, taking the values, the complaints.
 * Not here:   tables for getopt_long (cli_table.c), --help (cli_help.c), completion (cli_complete.c), what the
 *             options mean (each program).
 *
 * Two passes. The first knows the options of all commands, so that it can tell
 * an option's argument from the first word, which may be a command. The second
 * knows the options of that command only, and does the work.
 */
#include <assert.h>
#include <getopt.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "buf.h"
#include "cli_rows.h"
#include "clock.h"
#include "setting.h"
#include "version.h"
#include "words.h"

/* One run over argv. */
struct parse {
	struct cli *cli;
	char *options;			/* the program's struct */
	struct cli_table table;
	int argc;
	char **argv;
	int word;			/* index of the subcommand in argv; 0: none */
};

/* A program parses once; what must live as long as it does stays here. */
static char flag_names[CLI_MAX_FLAGS][48];	/* "--concurrency" */
static char *private_url;			/* of -d, which is blanked in argv */

void cli_complain(const struct cli *cli, const char *fmt, ...)
{
	struct buf text = BUF_INIT, line = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&text, fmt, ap);
	va_end(ap);
	buf_addf(&line, "%s: ", cli->program);
	buf_add_line(&line, buf_text(&text), text.len);
	fprintf(stderr, "%s\n", buf_text(&line));
	buf_release(&text);
	buf_release(&line);
}

/* One line that ends with where to read on. Returns EXIT_USAGE. */
static int PRINTF_LIKE(2, 3) refuse(const struct cli *cli, const char *fmt, ...)
{
	const char *command = cli->command && cli->command->name ? cli->command->name : NULL;
	struct buf text = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&text, fmt, ap);
	va_end(ap);
	cli_complain(cli, "%s; see %s%s%s --help", buf_text(&text), cli->program, command ? " " : "",
	             command ? command : "");
	buf_release(&text);
	return EXIT_USAGE;
}

static int refuse_command(const struct cli *cli, const char *word)
{
	const char **names = xcalloc(cli->commands_len, sizeof *names), *near;
	int status;

	for (size_t i = 0; i < cli->commands_len; i++)
		names[i] = cli->commands[i].name;
	near = words_nearest(word, names, cli->commands_len);
	status = refuse(cli, "no command is called %s%s%s%s", word, near ? " (did you mean " : "", near ? near : "",
	                near ? "?)" : "");
	free(names);
	return status;
}

/* The first pass: sets cli->command, which stays NULL when no word was given and none is the default. */
static int find_command(struct parse *p)
{
	struct cli *cli = p->cli;
	int word;

	cli->command = NULL;
	if (cli_is_single(cli)) {
		cli->command = &cli->commands[0];
		return -1;
	}
	word = cli_first_word(cli, p->argc, p->argv);
	if (word != 0) {
		cli->command = cli_command(cli, p->argv[word]);
		if (cli->command != NULL)
			p->word = word;
		else if (cli->default_command == NULL)
			return refuse_command(cli, p->argv[word]);
	}
	if (cli->command == NULL && cli->default_command != NULL)
		cli->command = cli_command(cli, cli->default_command);
	return -1;
}

static int refuse_unknown(const struct parse *p)
{
	const struct cli *cli = p->cli;
	const char *word = p->argv[optind - 1], *near;
	const char **names = xcalloc(p->table.len, sizeof *names);
	const struct option_row *row = optopt >= CLI_LONG ? cli_table_row(&p->table, optopt) : NULL;
	char *name = xstrndup(word, strcspn(word, "="));
	int status;

	for (size_t i = 0; i < p->table.len; i++)
		names[i] = p->table.rows[i]->name;
	if (row != NULL)
		status = refuse(cli, "--%s takes no argument", row->name);
	else if (optopt != 0)
		status = refuse(cli, "no option is called -%c", optopt);
	else if ((near = words_nearest(name + 2, names, p->table.len)) != NULL)
		status = refuse(cli, "no option is called %s (did you mean --%s?)", name, near);
	else
		status = refuse(cli, "no option is called %s", name);
	free(name);
	free(names);
	return status;
}

static void add_flag(struct cli *cli, const struct option_row *row, const char *value)
{
	size_t i = 0;

	while (i < CLI_MAX_FLAGS && cli->flags[i].key != NULL && strcmp(cli->flags[i].key, row->key) != 0)
		i++;
	assert(i < CLI_MAX_FLAGS);	/* no program has that many rows with a key */
	snprintf(flag_names[i], sizeof flag_names[i], "--%s", row->name);
	cli->flags[i] = (struct flag_setting){ row->key, value, flag_names[i] };
}

/* The value may hold a password, and argv is what ps shows. */
static void take_database_url(struct cli *cli, const struct option_row *row, char *given)
{
	free(private_url);
	private_url = xstrdup(given);
	memset(given, 'x', strlen(given));
	cli->common.database_url = private_url;
	add_flag(cli, row, private_url);
}

static int take_setting(struct cli *cli, const struct option_row *row, char *given)
{
	struct error err = ERROR_INIT;

	if (settings_check_value(row->key, given, &err) < 0)
		return refuse(cli, "--%s %s: %s", row->name, given, err.text);
	add_flag(cli, row, given);
	return -1;
}

static int take_count(struct cli *cli, const struct option_row *row, const char *given, uint64_t *out)
{
	const char *rest = given;
	uint64_t n;

	if (setting_digits(&rest, &n) < 0 || *rest != '\0' || n < row->min)
		return refuse(cli, "--%s %s: expected a whole number, at least %llu", row->name, given,
		              (unsigned long long)row->min);
	*out = n;
	return -1;
}

static int take_time(struct cli *cli, const struct option_row *row, const char *given, usec_t *out)
{
	char least[USEC_TEXT_MAX];

	if (usec_parse(given, out) == 0 && *out >= row->min)
		return -1;
	return refuse(cli, "--%s %s: expected a duration of at least %s, as in 90s, 15m or 1h30m", row->name, given,
	              usec_text(row->min, least));
}

static void take_option_flag(struct parse *p, const struct option_row *row)
{
	bool json = strcmp(row->name, "json") == 0;

	if (json)
		p->cli->common.json = true;
	if (row->key != NULL)
		add_flag(p->cli, row, "yes");
	else if (!json || row->offset != 0)
		*(bool *)(void *)(p->options + row->offset) = true;
}

/* -1 to go on, as cli_parse(). */
static int take_option(struct parse *p, const struct option_row *row, char *given)
{
	void *place = p->options + row->offset;

	switch (row->kind) {
	case OPT_FLAG:
		take_option_flag(p, row);
		return -1;
	case OPT_TEXT:
		*(const char **)place = given;
		return -1;
	case OPT_COUNT:
		return take_count(p->cli, row, given, place);
	case OPT_TIME:
		return take_time(p->cli, row, given, place);
	case OPT_SHARE:
		if (share_parse(given, place) == 0)
			return -1;
		return refuse(p->cli, "--%s %s: expected a share from 0 to 1, as in 0.5 or 50%%", row->name, given);
	case OPT_SETTING:
		return take_setting(p->cli, row, given);
	}
	return -1;
}

static int take_common(struct parse *p, const struct option_row *row, char *given)
{
	struct cli *cli = p->cli;

	switch (row->letter) {
	case 'c':
		cli->common.config = given;
		return -1;
	case 'd':
		take_database_url(cli, row, given);
		return -1;
	case 'v':
		cli->common.verbose++;
		return -1;
	case 'q':
		cli->common.verbose--;
		return -1;
	case 'h':
		cli_print_help(cli, p->word != 0 || cli_is_single(cli) ? cli->command : NULL);
		return EXIT_DONE;
	default:
		printf("%s %s\n", cli->program, unstuck_version);
		return EXIT_DONE;
	}
}

static int take(struct parse *p, int c)
{
	const struct option_row *row;

	if (c == '?')
		return refuse_unknown(p);
	if (c == 1) {
		if (p->word == 0 || optind - 1 != p->word)
			p->argv[1 + p->cli->args_len++] = optarg;	/* a place that was read already */
		return -1;
	}
	row = cli_table_row(&p->table, c == ':' ? optopt : c);
	if (row == NULL)
		return EXIT_USAGE;
	if (c == ':')
		return refuse(p->cli, "--%s needs %s behind it", row->name, row->arg);
	if (row >= cli_common_rows && row < cli_common_rows + CLI_COMMON_ROWS)
		return take_common(p, row, optarg);
	return take_option(p, row, optarg);
}

static int check_arguments(const struct cli *cli)
{
	const struct command_row *c = cli->command;

	if (c == NULL)
		return refuse(cli, "expected a command");
	if (cli->args_len < c->min_args)
		return refuse(cli, "expected %s behind %s", c->arguments, c->name ? c->name : cli->program);
	if (cli->args_len > c->max_args)
		return refuse(cli, "%s: one argument too many", cli->args[c->max_args]);
	return -1;
}

int cli_parse(struct cli *cli, void *options, int argc, char **argv)
{
	struct parse p = { .cli = cli, .options = options, .argc = argc, .argv = argv };
	int c, status;

	json_set_alloc_funcs(xmalloc, free);	/* no half a document: it ends the program as our own would */
	cli->common = (struct cli_common){ .config = NULL };
	memset(cli->flags, 0, sizeof cli->flags);
	cli->args = argv + (argc > 0);
	cli->args_len = 0;
	if (argc == 2 && strcmp(argv[1], CLI_COMPLETE) == 0) {
		cli_print_completions(cli);
		return EXIT_DONE;
	}
	if ((status = find_command(&p)) >= 0)
		return status;

	cli_table_init(&p.table, cli, cli->command);
	while (status < 0 && (c = cli_table_next(&p.table, argc, argv)) != -1)
		status = take(&p, c);
	for (; status < 0 && optind < argc; optind++)
		argv[1 + cli->args_len++] = argv[optind];	/* behind -- */
	cli_table_release(&p.table);
	return status < 0 ? check_arguments(cli) : status;
}

int cli_load_settings(struct cli *cli, struct settings *s)
{
	struct problems problems = PROBLEMS_INIT;
	int status = -1;

	if (settings_load(s, cli->common.config, cli->flags, &problems) < 0)
		status = EXIT_SETTINGS;
	for (size_t i = 0; i < problems.len; i++)
		cli_complain(cli, "%s", problems.text[i]);
	problems_release(&problems);
	return status;
}

bool cli_colour(int fd)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return (no == NULL || no[0] == '\0') && (term == NULL || strcmp(term, "dumb") != 0) && isatty(fd);
}
