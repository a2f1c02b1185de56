/*
 * cli_complete.c - what may come next in a command line, for the shell that completes it.
 *
 * Lives here: reading a line that is not finished, and which words fit at its end: commands, options, queues of the
 * settings, values of a closed set. All of it comes from the tables; scripts/completion.bash only hands it on.
 * Not here:   parsing a finished line (cli.c).
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli_rows.h"
#include "setting.h"
#include "words.h"

/* A line that is not finished. */
struct typed {
	char **words;		/* as a shell would split it; the last one is where the cursor is, maybe empty */
	size_t len;		/* at least 1 */
	char quote;		/* the quote that is open at its end; 0: none */
};

struct completion {
	const struct cli *cli;
	const char *word;	/* what has been typed of it */
	const char *config;	/* -c; NULL: not given */
	size_t kept;		/* so much of it stands before what the shell replaces */
	char quote;		/* open where the replaced part begins */
	struct buf words;	/* the answer, a line each */
	bool files;		/* the shell is to offer files */
};

/* ---- the line ---- */

/* A letter behind the line begins its last word, or goes on with it; the right quote closes what is open. */
static bool read_line(struct typed *t, const char *line, size_t len)
{
	static const char quotes[] = { 0, '\'', '"' };

	for (size_t i = 0; i < sizeof quotes; i++) {
		char end[] = { 'x', quotes[i], '\0' };
		char *text = xasprintf("%.*s%s", (int)len, line, end);
		struct error err = ERROR_INIT;
		char **words = words_split(text, &err);
		char *last;

		free(text);
		if (words == NULL)
			continue;
		*t = (struct typed){ .words = words, .len = words_count(words), .quote = quotes[i] };
		last = words[t->len - 1];
		last[strlen(last) - 1] = '\0';
		return true;
	}
	return false;
}

/* ---- one word of the answer ---- */

/* As it has to stand in the line, behind what is kept there. */
static void add_word(struct completion *c, const char *word)
{
	static const char plain[] = "+,-./:=@_";

	for (word += c->kept; *word != '\0'; word++) {
		bool special = c->quote == '"' ? strchr("\"\\$`", *word) != NULL :
		               c->quote == 0 && isascii(*word) && !isalnum((unsigned char)*word) && strchr(plain, *word) == NULL;

		if (c->quote == '\'' && *word == '\'')
			buf_adds(&c->words, "'\\'");	/* close, quote, open again */
		else if (special)
			buf_addc(&c->words, '\\');
		buf_addc(&c->words, *word);
	}
	buf_addc(&c->words, '\n');
}

/* head: what of the word stands before the value: "--status=" of "--status=FAILED", else "". */
static void offer(struct completion *c, const char *head, const char *value)
{
	char *word = xasprintf("%s%s", head, value);

	if (strncmp(word, c->word, strlen(c->word)) == 0 && strlen(word) >= c->kept)
		add_word(c, word);
	free(word);
}

/* ---- values ---- */

/* Wrong settings are no reason to offer nothing: what can be read of them counts. */
static void offer_queues(struct completion *c, const char *head)
{
	const char *home = getenv("HOME");
	struct problems problems = PROBLEMS_INIT;
	struct flag_setting none = { .key = NULL };
	struct settings set = { .path = NULL };
	char *path = NULL;

	if (c->config != NULL && strncmp(c->config, "~/", 2) == 0 && home != NULL)
		path = xasprintf("%s%s", home, c->config + 1);
	settings_load(&set, path != NULL ? path : c->config, &none, &problems);
	for (size_t i = 0; i < set.queues_len; i++)
		offer(c, head, set.queues[i].name);
	settings_release(&set);
	problems_release(&problems);
	free(path);
}

static void offer_statuses(struct completion *c, const char *head)
{
	static const char *const statuses[] = { "PENDING", "PROCESSING", "COMPLETED", "FAILED", "CANCELLED" };

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
		offer(c, head, statuses[i]);
}

static void offer_files(struct completion *c, const char *head)
{
	(void)head;
	c->files = true;
}

/* The names that arguments of options and commands have in the tables, and what is known of their values. */
static const struct {
	const char *name;
	void (*offer)(struct completion *c, const char *head);
} values[] = {
	{ "QUEUE", offer_queues }, { "Q", offer_queues }, { "STATUS", offer_statuses }, { "FILE", offer_files }, { "CMD", offer_files },
};

static void offer_values(struct completion *c, const char *head, const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		if (strlen(values[i].name) == len && strncmp(values[i].name, name, len) == 0)
			values[i].offer(c, head);
}

static void offer_values_of(struct completion *c, const char *head, const struct option_row *row)
{
	const struct setting *set = row->kind == OPT_SETTING ? setting_of(row->key) : NULL;

	if (set == NULL || set->choices == NULL) {
		offer_values(c, head, row->arg, strlen(row->arg));
		return;
	}
	for (const struct choice *choice = set->choices; choice->name != NULL; choice++)
		offer(c, head, choice->name);
}

/* ---- arguments, options, commands ---- */

/* A name of "QUEUE [PAYLOAD | -]"; in small letters it is typed as it is. */
static void offer_argument(struct completion *c, const char *name, size_t len)
{
	char *word = xstrndup(name, len);

	if (islower((unsigned char)*word))
		offer(c, "", word);
	else
		offer_values(c, "", word, len);
	free(word);
}

/* What stands at this place, counted from 0. A name with dots may be repeated; behind | a bracket begins anew. */
static void offer_arguments(struct completion *c, const char *arguments, size_t place)
{
	size_t here = 0, bracket = 0;

	while (*arguments != '\0') {
		size_t len = strcspn(arguments, " []|");
		bool repeated = len > 3 && strncmp(arguments + len - 3, "...", 3) == 0;

		if (len == 0) {
			if (*arguments == '[')
				bracket = here;
			else if (*arguments == '|')
				here = bracket;
			arguments++;
			continue;
		}
		if (here == place || (repeated && here < place))
			offer_argument(c, arguments, repeated ? len - 3 : len);
		here++;
		arguments += len;
	}
}

static void offer_options(struct completion *c, const struct option_row *rows)
{
	for (; rows != NULL && rows->name != NULL; rows++)
		offer(c, "--", rows->name);
}

/* The value of "--status=FA", when it is an option's that takes one. */
static void offer_after_equals(struct completion *c, const struct cli_table *t)
{
	size_t len = strcspn(c->word, "=");
	char *head = xstrndup(c->word, len + 1);

	for (size_t i = 0; i < t->len; i++)
		if (t->rows[i]->arg != NULL && strlen(t->rows[i]->name) + 2 == len &&
		    strncmp(t->rows[i]->name, c->word + 2, len - 2) == 0)
			offer_values_of(c, head, t->rows[i]);
	free(head);
}

static void offer_commands(struct completion *c)
{
	for (size_t i = 0; i < c->cli->commands_len; i++)
		offer(c, "", c->cli->commands[i].name);
}

/* argv: the words before the one that is completed. */
static void complete(struct completion *c, int argc, char **argv)
{
	const struct cli *cli = c->cli;
	const struct command_row *command = &cli->commands[0];
	const struct option_row *open = NULL, *row;
	size_t place = 0;
	int word = 0, got;
	struct cli_table t;

	if (!cli_is_single(cli)) {
		word = cli_first_word(cli, argc, argv);
		command = word != 0 ? cli_command(cli, argv[word]) : NULL;
		if (command == NULL) {
			word = 0;
			command = cli->default_command != NULL ? cli_command(cli, cli->default_command) : NULL;
		}
	}
	cli_table_init(&t, cli, word != 0 || cli_is_single(cli) ? command : NULL);
	while ((got = cli_table_next(&t, argc, argv)) != -1) {
		row = cli_table_row(&t, got == ':' ? optopt : got);
		if (got == 1)
			place += word == 0 || optind - 1 != word;
		else if (got == ':')
			open = row;
		else if (row != NULL && row->letter == 'c')
			c->config = optarg;
	}
	place += (size_t)(argc - optind);	/* behind -- */

	if (open != NULL) {
		offer_values_of(c, "", open);
	} else if (c->word[0] == '-' && strchr(c->word, '=') != NULL) {
		offer_after_equals(c, &t);
	} else if (c->word[0] == '-') {
		offer_options(c, command != NULL ? command->options : NULL);
		offer_options(c, cli_common_rows);
	} else {
		if (!cli_is_single(cli) && word == 0 && place == 0)
			offer_commands(c);
		if (command != NULL)
			offer_arguments(c, command->arguments, place);
	}
	cli_table_release(&t);
}

static void answer(const struct cli *cli, const char *line, const char *text)
{
	struct completion c = { .cli = cli, .words = BUF_INIT };
	size_t len = strlen(line), end = strlen(text);
	struct typed whole, kept;

	if (!read_line(&whole, line, len))
		return;
	c.word = whole.words[whole.len - 1];
	if (end <= len && strcmp(line + len - end, text) == 0 && read_line(&kept, line, len - end)) {
		c.kept = strlen(kept.words[kept.len - 1]);
		c.quote = kept.quote;
		words_free(kept.words);
	}
	if (whole.len > 1)
		complete(&c, (int)whole.len - 1, whole.words);
	fputs(c.files && c.words.len == 0 ? "files\n" : "words\n", stdout);
	fputs(buf_text(&c.words), stdout);
	buf_release(&c.words);
	words_free(whole.words);
}

void cli_print_completions(const struct cli *cli)
{
	struct buf asked = BUF_INIT;
	char block[1024], *line, *text;
	size_t n;

	while ((n = fread(block, 1, sizeof block, stdin)) > 0)
		buf_add(&asked, block, n);
	line = buf_give(&asked);
	n = strlen(line);
	if (n > 0 && line[n - 1] == '\n')
		line[n - 1] = '\0';
	text = strrchr(line, '\n');
	if (text != NULL) {
		*text = '\0';
		answer(cli, line, text + 1);
	}
	free(line);
}
