/*
 * table.h - a list for people: aligned columns, long cells cut on a terminal only.
 */
#ifndef TABLE_H
#define TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include "error.h"

struct table_column {
	const char *title;
	bool right;		/* numbers */
	bool cut;		/* may be cut to fit the terminal */
	bool state;		/* a status: coloured */
};

struct table;
MUST_CHECK struct table *table_new(const struct table_column *columns, size_t n, struct error *err);
void table_free(struct table *t);
/* One cell after the other, row by row. NULL is shown as "-". */
void table_cell(struct table *t, const char *text);
void table_print(struct table *t);

#define AGE_TEXT_MAX 24
/* "42s", "7m", "3h", "12d" for a number of seconds as text; "" or NULL gives "-". Returns out. */
char *age_text(const char *seconds, char out[static AGE_TEXT_MAX]);

/* To stdout, control characters as \xNN; every newline followed by indent blanks. */
void print_safe(const char *text, size_t indent);

#endif
