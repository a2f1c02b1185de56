/*
 * table.c - lists for people through libsmartcols; texts from outside made harmless.
 *
 * Not here: JSON (PostgreSQL or jansson makes it).
 */
#include <libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "buf.h"
#include "cli.h"
#include "table.h"

struct table {
	struct libscols_table *scols;
	struct libscols_line *line;
	const struct table_column *columns;
	size_t columns_len, at;		/* at: the next cell of line */
};

static void no_memory(void)
{
	fputs("unstuckctl: out of memory\n", stderr);
	abort();
}

struct table *table_new(const struct table_column *columns, size_t n, struct error *err)
{
	struct table *t = xcalloc(1, sizeof *t);

	t->columns = columns;
	t->columns_len = n;
	t->scols = scols_new_table();
	if (t->scols == NULL) {
		free(t);
		error_set(err, ERR_SYS, "out of memory for a table");
		return NULL;
	}
	scols_table_enable_colors(t->scols, cli_colour(STDOUT_FILENO));
	for (size_t i = 0; i < n; i++) {
		int flags = (columns[i].right ? SCOLS_FL_RIGHT : 0) | (columns[i].cut ? SCOLS_FL_TRUNC : 0);

		if (scols_table_new_column(t->scols, columns[i].title, columns[i].cut ? 0.1 : 0, flags) == NULL)
			no_memory();
	}
	return t;
}

void table_free(struct table *t)
{
	if (t == NULL)
		return;
	scols_unref_table(t->scols);
	free(t);
}

static const char *state_colour(const char *state)
{
	static const struct { const char *state, *colour; } colours[] = {
		{ "FAILED", "red" }, { "silent", "red" }, { "PROCESSING", "yellow" }, { "COMPLETED", "green" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(colours); i++)
		if (strcmp(colours[i].state, state) == 0)
			return colours[i].colour;
	return NULL;
}

void table_cell(struct table *t, const char *text)
{
	if (t->at == 0) {
		t->line = scols_table_new_line(t->scols, NULL);
		if (t->line == NULL)
			no_memory();
	}
	if (scols_line_set_data(t->line, t->at, text == NULL ? "-" : text) < 0)
		no_memory();
	if (text != NULL && t->columns[t->at].state && state_colour(text) != NULL)
		scols_cell_set_color(scols_line_get_cell(t->line, t->at), state_colour(text));
	t->at = (t->at + 1) % t->columns_len;
}

void table_print(struct table *t)
{
	scols_print_table(t->scols);
}

char *age_text(const char *seconds, char out[static AGE_TEXT_MAX])
{
	static const struct { double seconds; char letter; } units[] = {
		{ 2 * 86400, 'd' }, { 2 * 3600, 'h' }, { 120, 'm' }, { 0, 's' },
	};
	static const double size[] = { 86400, 3600, 60, 1 };
	double s;

	if (seconds == NULL || *seconds == '\0')
		return strcpy(out, "-");
	s = strtod(seconds, NULL);
	if (s < 0)
		s = 0;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (s >= units[i].seconds) {
			snprintf(out, AGE_TEXT_MAX, "%.0f%c", (double)(long long)(s / size[i]), units[i].letter);
			break;
		}
	return out;
}

void print_safe(const char *text, size_t indent)
{
	const unsigned char *p = (const unsigned char *)text;

	for (; *p != '\0'; p++)
		if (*p == '\n')
			printf("\n%*s", (int)indent, "");
		else if ((*p < 0x20 && *p != '\t') || *p == 0x7f)
			printf("\\x%02x", *p);
		else if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)	/* U+0080 to U+009F: terminals obey some */
			printf("\\x%02x", *++p);
		else
			putchar(*p);
}
