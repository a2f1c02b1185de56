/*
 * inifile.h - an INI file as lists of sections and keys, with line numbers.
 *
 * Lives here: lines, comments, indented lines that go on, syntax faults.
 * Not here:   which sections and keys there are (settings.c).
 *
 * "#" and ";" start a comment line; in a value only a blank before ";" does. A
 * line indented deeper than its key goes on the value; the parts are joined by
 * "\n". Lines may be of any length. Values keep their quotes.
 */
#ifndef INIFILE_H
#define INIFILE_H

#include <stdbool.h>
#include <stddef.h>
#include "error.h"

#define INIFILE_MAX_BYTES ((size_t)1024 * 1024)
#define INIFILE_MAX_SECTIONS 2000
#define INIFILE_MAX_FAULTS 200

struct ini_entry {
	char *key, *value;
	int line;
};

struct ini_section {
	char *name;		/* trimmed, never "" */
	int line;
	struct ini_entry *entries;	/* in the order of the file; keys may repeat */
	size_t len;
};

struct ini_fault {
	int line;		/* INIFILE_NO_LINE: of no line; told after the others */
	size_t order;		/* of telling, among those of one line */
	char *text;
};
#define INIFILE_NO_LINE 0x7fffffff

struct inifile {
	struct ini_section *sections;
	size_t len;
	struct ini_fault *faults;
	size_t faults_len;
};
#define INIFILE_INIT { NULL, 0, NULL, 0 }

/* Reads the whole file. -1 and err when it cannot be read or is too large; a wrong line is a fault. */
int inifile_load(struct inifile *f, const char *path, struct error *err);
void inifile_parse(struct inifile *f, const char *data, size_t len);
void inifile_release(struct inifile *f);

/* Syntax faults are told by the parser, others by whoever reads the lists. No more than INIFILE_MAX_FAULTS are kept. */
void inifile_fault(struct inifile *f, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);
void inifile_sort_faults(struct inifile *f);	/* by line, then as told */

/* UTF-8 without control characters (tab and newline are none here). */
bool inifile_is_text(const char *data, size_t len);

#endif
