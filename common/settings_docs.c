/*
 * settings_docs.c - the table of settings as a page: docs/settings.md.
 *
 * Not here: the rows (settings_table.c), the manual page of the same (scripts/print_manual.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "setting.h"
#include "settings_check.h"

static const char *const title =
"# Settings\n"
"\n"
"This page is made from the table of settings by `make docs`.\n"
"\n";

const char *const settings_intro =
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

void setting_default(const struct setting *row, struct buf *out)
{
	if (row->def_text == NULL && row->def != NULL)
		buf_addf(out, "`%s`", row->def);
	else
		buf_adds(out, row->def_text != NULL ? row->def_text : "none");
}

void setting_explained(const struct setting *row, struct buf *out)
{
	buf_addf(out, "%s%s", row->help, row->fixed ? "; takes a restart" : "");
}

static void add_row(struct buf *out, const struct setting *row)
{
	static void (*const columns[])(const struct setting *row, struct buf *out) = {
		setting_expected, setting_default, setting_explained
	};
	struct buf cell = BUF_INIT;

	buf_addf(out, "| `%s` |", row->key);
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
		buf_clear(&cell);
		columns[i](row, &cell);
		add_cell(out, buf_text(&cell));
	}
	buf_addc(out, '\n');
	buf_release(&cell);
}

void setting_section(size_t section, struct buf *out)
{
	const char *name = setting_sections[section];
	char *variable = NULL;

	if (section_intro[section] != NULL) {
		buf_adds(out, section_intro[section]);
		return;
	}
	for (size_t i = 0; variable == NULL; i++)
		if (strcmp(setting_rows[i].section, name) == 0)
			variable = settings_variable(&setting_rows[i]);
	buf_addf(out, "In the environment: `%s` and so on.\n", variable);
	free(variable);
}

static void add_section(struct buf *out, size_t section)
{
	const char *name = setting_sections[section];

	buf_addf(out, "\n## [%s%s]\n\n", name, strcmp(name, "queue") == 0 ? " NAME" : "");
	setting_section(section, out);
	buf_adds(out, "\n| key | value | default | what it does |\n|---|---|---|---|\n");
	for (size_t i = 0; i < setting_rows_len; i++)
		if (strcmp(setting_rows[i].section, name) == 0)
			add_row(out, &setting_rows[i]);
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
	buf_adds(out, title);
	buf_adds(out, settings_intro);
	for (size_t i = 0; setting_sections[i] != NULL; i++)
		add_section(out, i);
	add_statuses(out);
}

void settings_print_markdown(void)
{
	struct buf page = BUF_INIT;

	settings_markdown(&page);
	fputs(buf_text(&page), stdout);
	buf_release(&page);
}
