/*
 * print_manual.c - fills a page of docs/man with what the tables hold: `make man`.
 *
 * Built once for each program, from that program's own main(): at its first step, cli_parse(), which the linker
 * hands to us, it shows its tables of commands, options and examples. So the programs carry nothing of this.
 *
 * "@name@" in a page is replaced by what the table of directives below makes; the page itself is scdoc(5).
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli_rows.h"
#include "setting.h"
#include "version.h"

int __wrap_cli_parse(struct cli *cli, void *unused, int argc, char **argv);

static _Noreturn void die(const char *page, const char *what)
{
	fprintf(stderr, "print_manual: %s: %s\n", page, what);
	exit(EXIT_FAILURE);
}

/* ---- scdoc ---- */

/* Text that means nothing to scdoc, but for `this`, which becomes bold. */
static void put_text(const char *text)
{
	bool at_start = true;

	for (; *text != '\0'; text++) {
		if (*text == '`') {
			putchar('*');
		} else {
			if (strchr("\\*_+", *text) != NULL || (at_start && strchr("#-|[].", *text) != NULL))
				putchar('\\');
			putchar(*text);
		}
		at_start = *text == '\n';
	}
}

static void put_bold(const char *text)
{
	putchar('*');
	put_text(text);
	putchar('*');
}

static void put_underlined(const char *text)
{
	putchar('_');
	put_text(text);
	putchar('_');
}

/* A phrase of a table as a sentence. A name in small letters ("exec: ...") stays as it is. */
static void put_sentence(const char *phrase)
{
	char *text = xstrdup(phrase);
	size_t word = strcspn(text, " ,;:");

	if (memchr(text, '_', word) == NULL && text[word] != ':')
		text[0] = (char)toupper((unsigned char)text[0]);
	put_text(text);
	putchar('.');
	free(text);
}

/* What has been put is a term; this is said about it. */
static void explain(const char *phrase)
{
	fputs("\n\t", stdout);
	put_sentence(phrase);
	fputs("\n\n", stdout);
}

/* ---- command lines ---- */

/* "QUEUE [PAYLOAD | -]": names underlined, what is typed as it is bold. */
static void put_arguments(const char *arguments)
{
	while (*arguments != '\0') {
		size_t len = strcspn(arguments, " []|.");
		char *word = xstrndup(arguments, len);

		if (len > 0 && isupper((unsigned char)*word))
			put_underlined(word);
		else if (len > 0)
			put_bold(word);
		free(word);
		arguments += len;
		if (*arguments != '\0')
			printf(*arguments == ' ' ? " " : "\\%c", *arguments);
		arguments += *arguments != '\0';
	}
}

static void put_usage(const struct cli *cli, const struct command_row *c)
{
	put_bold(cli->program);
	if (c->name != NULL) {
		putchar(' ');
		put_bold(c->name);
	}
	fputs(" \\[_OPTIONS_\\]", stdout);
	if (c->arguments[0] != '\0') {
		putchar(' ');
		put_arguments(c->arguments);
	}
}

static void put_options(const struct option_row *rows)
{
	for (; rows != NULL && rows->name != NULL; rows++) {
		if (rows->letter != 0)
			printf("*-%c*, ", rows->letter);
		fputs("*--", stdout);
		put_text(rows->name);
		putchar('*');
		if (rows->arg != NULL) {
			putchar(' ');
			put_underlined(rows->arg);
		}
		explain(rows->help);
	}
}

/* ---- directives ---- */

static void version(const struct cli *cli, const char *arg)
{
	(void)cli;
	(void)arg;
	fputs(unstuck_version, stdout);
}

static void synopsis(const struct cli *cli, const char *arg)
{
	(void)arg;
	for (size_t i = 0; i < cli->commands_len; i++) {
		put_usage(cli, &cli->commands[i]);
		fputs(i + 1 < cli->commands_len ? "++\n" : "\n", stdout);
	}
}

static void commands(const struct cli *cli, const char *arg)
{
	(void)arg;
	for (size_t i = 0; i < cli->commands_len; i++) {
		const struct command_row *c = &cli->commands[i];

		printf("## %s\n\n", c->name);
		put_usage(cli, c);
		fputs("\n\n", stdout);
		put_sentence(c->help);
		if (cli->default_command != NULL && strcmp(c->name, cli->default_command) == 0)
			fputs(" It may be left out.", stdout);
		fputs("\n\n", stdout);
		put_options(c->options);
	}
}

static void options(const struct cli *cli, const char *arg)
{
	(void)arg;
	if (cli_is_single(cli))
		put_options(cli->commands[0].options);
	put_options(cli_common_rows);
}

static void examples(const struct cli *cli, const char *arg)
{
	(void)arg;
	for (const struct example_row *e = cli->examples; e != NULL && e->line != NULL; e++) {
		put_sentence(e->what);
		fputs("\n\n```\n", stdout);
		for (const char *c = e->line; *c != '\0'; c++)
			printf(*c == '\\' ? "\\%c" : "%c", *c);
		fputs("\n```\n\n", stdout);
	}
}

static void statuses(const struct cli *cli, const char *arg)
{
	(void)cli;
	(void)arg;
	for (const struct exit_status_row *row = exit_statuses; row->means != NULL; row++) {
		printf("*%d*", (int)row->status);
		explain(row->means);
	}
}

static void events(const struct cli *cli, const char *arg)
{
	(void)cli;
	(void)arg;
	for (const struct event_row *e = log_events; e->name != NULL; e++) {
		put_bold(e->name);
		printf(" (%s)", e->levels);
		explain(e->means);
	}
}

static void settings(const struct cli *cli, const char *arg)
{
	(void)cli;
	(void)arg;
	put_text(settings_intro);
}

static void put_setting(const struct setting *row)
{
	struct buf text = BUF_INIT;

	put_bold(row->key);
	fputs(" = ", stdout);
	setting_expected(row, &text);
	put_text(buf_text(&text));
	buf_clear(&text);
	setting_explained(row, &text);
	buf_adds(&text, ". Default: ");
	setting_default(row, &text);
	explain(buf_text(&text));
	buf_release(&text);
}

static void section(const struct cli *cli, const char *arg)
{
	struct buf text = BUF_INIT;

	(void)cli;
	for (size_t i = 0; setting_sections[i] != NULL; i++)
		if (strcmp(setting_sections[i], arg) == 0)
			setting_section(i, &text);
	if (text.len == 0)
		die(arg, "no such section of settings");
	put_text(buf_text(&text));
	putchar('\n');
	for (size_t i = 0; i < setting_rows_len; i++)
		if (strcmp(setting_rows[i].section, arg) == 0)
			put_setting(&setting_rows[i]);
	buf_release(&text);
}

static const struct {
	const char *name;
	void (*put)(const struct cli *cli, const char *arg);
} directives[] = {
	{ "version", version },		/* of the programs */
	{ "synopsis", synopsis },	/* each command in a line */
	{ "commands", commands },	/* each command with its options */
	{ "options", options },		/* those of every command; with those of a program without commands */
	{ "examples", examples },
	{ "statuses", statuses },	/* exit statuses */
	{ "events", events },		/* of the log */
	{ "settings", settings },	/* what is to know of all settings */
	{ "section", section },		/* "@section worker@": the settings of one section */
};

/* ---- a page ---- */

/* text: behind an @. How long the directive there is, its second @ included; 0: there is none. */
static size_t directive_length(const char *text)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz ");

	return len > 0 && text[len] == '@' ? len + 1 : 0;
}

static void put_directive(const struct cli *cli, const char *page, const char *text, size_t len)
{
	char *word = xstrndup(text, len - 1), *arg = word + strcspn(word, " ");
	bool known = false;

	if (*arg != '\0')
		*arg++ = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(directives); i++) {
		if (strcmp(directives[i].name, word) != 0)
			continue;
		directives[i].put(cli, arg);
		known = true;
	}
	if (!known)
		die(page, "a directive that is not known");
	free(word);
}

static char *read_page(const char *path)
{
	FILE *f = fopen(path, "r");
	struct buf page = BUF_INIT;
	char block[4096];
	size_t n;

	if (f == NULL)
		die(path, strerror(errno));
	while ((n = fread(block, 1, sizeof block, f)) > 0)
		buf_add(&page, block, n);
	fclose(f);
	return buf_give(&page);
}

int __wrap_cli_parse(struct cli *cli, void *unused, int argc, char **argv)
{
	char *page;

	(void)unused;
	if (argc != 2)
		die("usage", "PROGRAM PAGE >FILLED");
	page = read_page(argv[1]);
	for (const char *p = page; *p != '\0'; p++) {
		size_t len = *p == '@' ? directive_length(p + 1) : 0;

		if (len == 0)
			putchar(*p);
		else
			put_directive(cli, argv[1], p + 1, len);
		p += len;
	}
	free(page);
	if (fflush(stdout) != 0)
		die(argv[1], strerror(errno));
	return EXIT_DONE;
}
