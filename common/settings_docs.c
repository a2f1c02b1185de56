/*
 * settings_docs.c - the table of settings as a page and as help.
 *
 * Lives here: docs/settings.md, the lines of --help.
 * Not here:   the rows (settings_table.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "setting.h"
#include "settings_check.h"

static const char *const intro =
"# Settings\n"
"\n"
"This page is made from the table of settings by `make docs`.\n"
"\n"
"A setting is taken from a flag, else the environment, else the file, else its default. The file is\n"
"the one of `-c`, else `$UNSTUCK_CONFIG`, else `./unstuck.ini`, else `/etc/unstuck/unstuck.ini`; without\n"
"a file, flags and environment do. A variable that is empty counts as not set. The database's address is also\n"
"`DATABASE_URL`.\n"
"\n"
"The file has `[sections]` and lines `key = value`. A line that starts with `#` or `;` is a comment; in a value a\n"
"blank and `;` start one, ` #` does not. A line that is indented deeper than its key goes on the value. Quotes stay\n"
"part of a value, except where a command or states are split into words. An unknown section or key, a wrong value, or\n"
"anything that stands twice is an error with its line, and all errors are told at once.\n"
"\n"
"Durations are `90` (seconds), `250ms`, `90s`, `15m`, `1h`, `1h30m`, `2d`. Sizes are `100`, `64KB`, `1MB`, in steps of 1024.\n"
"Columns and tables are SQL identifiers: what is not lower-case words stands in double quotes.\n";

static const char *const section_intro[] = {
	NULL, NULL, NULL, NULL,
	"`[queue NAME]`, once for each queue; NAME is any text without control characters and `]`.\n"
	"A queue without `table` is on Unstuck's own table.\n"
};

/* | would end the cell. */
static void add_cell(struct buf *out, const char *text)
{
	buf_adds(out, " ");
	for (; *text != '\0'; text++) {
		if (*text == '|')
			buf_addc(out, '\\');
		buf_addc(out, *text);
	}
	buf_adds(out, " |");
}

static void add_default(struct buf *out, const struct setting *row)
{
	if (row->def_text != NULL)
		add_cell(out, row->def_text);
	else if (row->def != NULL)
		buf_addf(out, " `%s` |", row->def);
	else
		add_cell(out, "none");
}

static void add_help(struct buf *out, const struct setting *row)
{
	struct buf help = BUF_INIT;

	buf_addf(&help, "%s%s", row->help, row->fixed ? "; takes a restart" : "");
	add_cell(out, buf_text(&help));
	buf_release(&help);
}

static void add_row(struct buf *out, const struct setting *row)
{
	struct buf expected = BUF_INIT;

	setting_expected(row, &expected);
	buf_addf(out, "| `%s` |", row->key);
	add_cell(out, buf_text(&expected));
	add_default(out, row);
	add_help(out, row);
	buf_addc(out, '\n');
	buf_release(&expected);
}

static void add_section(struct buf *out, const char *section, const char *text)
{
	bool queue = strcmp(section, "queue") == 0;
	char *variable = NULL;

	for (size_t i = 0; !queue && variable == NULL; i++)
		if (strcmp(setting_rows[i].section, section) == 0)
			variable = settings_variable(&setting_rows[i]);
	buf_addf(out, "\n## [%s%s]\n\n", section, queue ? " NAME" : "");
	if (text != NULL)
		buf_addf(out, "%s\n", text);
	if (variable != NULL)
		buf_addf(out, "In the environment: `%s` and so on.\n\n", variable);
	buf_adds(out, "| key | value | default | what it does |\n|---|---|---|---|\n");
	for (size_t i = 0; i < setting_rows_len; i++)
		if (strcmp(setting_rows[i].section, section) == 0)
			add_row(out, &setting_rows[i]);
	free(variable);
}

static void add_statuses(struct buf *out)
{
	buf_adds(out, "\n## Exit statuses\n\nOf all programs, except `unstuck-recover --check`, which has 0 OK, 1 WARNING, "
	         "2 CRITICAL, 3 UNKNOWN.\n\n| status | meaning |\n|---|---|\n");
	for (const struct exit_status_row *row = exit_statuses; row->means != NULL; row++)
		buf_addf(out, "| %d | %s |\n", (int)row->status, row->means);
}

void settings_markdown(struct buf *out)
{
	buf_adds(out, intro);
	for (size_t i = 0; setting_sections[i] != NULL; i++)
		add_section(out, setting_sections[i], section_intro[i]);
	add_statuses(out);
}

void settings_print_markdown(void)
{
	struct buf page = BUF_INIT;

	settings_markdown(&page);
	fputs(buf_text(&page), stdout);
	buf_release(&page);
}
