/*
 * setting.h - one row of the table of settings, and what can be done with a row.
 *
 * For the settings*.c files and their tests; programs include settings.h.
 */
#ifndef SETTING_H
#define SETTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "buf.h"
#include "error.h"
#include "settings.h"

enum setting_kind {
	SET_TEXT,	/* char *, one line */
	SET_PATH,	/* char *, of a file or directory */
	SET_SQL,	/* char *, may span lines */
	SET_STATE,	/* char *, a status; quotes around the whole are taken off */
	SET_COLUMN,	/* char *, an identifier as written */
	SET_TABLE,	/* char *, [schema.]table as written */
	SET_DATABASE,	/* char *, a connection string: secret */
	SET_REDIS,	/* char *, redis://... or unix://...: secret */
	SET_LISTEN,	/* char *, host:port or unix:/path */
	SET_COMMAND,	/* char **, words as a shell would split them */
	SET_STATES,	/* char **, the same */
	SET_NAMES,	/* char **, names of environment variables */
	SET_COLUMNS,	/* char **, identifiers as written, between commas or blanks */
	SET_COUNT,	/* uint32_t */
	SET_TIME,	/* usec_t */
	SET_SIZE,	/* uint64_t */
	SET_BOOL,	/* bool */
	SET_CHOICE,	/* int */
	SET_RATE,	/* struct rate */
	SETTING_KINDS
};

struct choice {
	const char *name;	/* NULL ends the list */
	int value;
};

struct setting {
	const char *section;	/* "queue" stands for every [queue NAME] */
	const char *key;
	enum setting_kind kind;
	size_t offset;		/* in struct settings or struct queue_settings */
	size_t set_offset;	/* of a bool that says that the user set it; 0: none */
	const char *def;	/* as a user would write it; NULL: nothing */
	char *(*def_give)(void);	/* in place of def where the default depends on the user */
	const char *def_text;	/* the default in words, where def is not what a reader should see */
	uint64_t min, max;	/* both allowed */
	bool off;		/* 0 is allowed too, and turns it off */
	bool fixed;		/* a running worker cannot take it over */
	bool mapped;		/* only of a queue with a table of its own */
	const struct choice *choices;
	const char *help;	/* a phrase for docs/settings.md and the manual */
};

extern const struct setting setting_rows[];
extern const size_t setting_rows_len;
#define SETTING_ROWS_MAX 64	/* no table is longer: for arrays of names */

/* The sections in the order of the table: "unstuck" ... "queue"; NULL at the end. */
extern const char *const setting_sections[];

const struct setting *setting_find(const char *section, const char *key);	/* NULL: none */
const struct setting *setting_of(const char *dotted);	/* "worker.batch"; none of a queue */
bool setting_is_secret(const struct setting *row);

/*
 * Parse text and put it in its place in base (a struct settings or struct
 * queue_settings), which must hold a value or zeros. -1 and err with "expected
 * ..." leaves the old value. err never holds a secret.
 */
int setting_put(const struct setting *row, void *base, const char *text, struct error *err);
void setting_put_default(const struct setting *row, void *base);
void setting_release(const struct setting *row, void *base);

/* "a whole number from 1 to 1024": what may be written, for messages and docs. */
void setting_expected(const struct setting *row, struct buf *out);

/* The digits that *text starts with, which is then behind them. -1: none, or too many for 64 bits. */
int setting_digits(const char **text, uint64_t *out);

/* text on one line and not endless, for a message. */
void setting_show(struct buf *out, const char *text);

/*
 * For pages: what to know of all settings, of a section (an index into setting_sections), of one row its default
 * and what it does. `like this` is what a user may type.
 */
extern const char *const settings_intro;
void setting_section(size_t section, struct buf *out);
void setting_default(const struct setting *row, struct buf *out);
void setting_explained(const struct setting *row, struct buf *out);

/* The settings and the table as one page of Markdown. */
void settings_markdown(struct buf *out);

#endif
