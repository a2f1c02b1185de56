/*
 * settings_diff.c - see settings_diff.h. Works on the rows of the table.
 */
#include "settings_diff.h"

#include <stdlib.h>
#include <string.h>

#include "words.h"

static bool same_words(char *const *a, char *const *b)
{
	while (*a != NULL && *b != NULL && strcmp(*a, *b) == 0) {
		a++;
		b++;
	}
	return *a == NULL && *b == NULL;
}

/* Of values that hold no memory; 0 for the others. */
static size_t value_size(enum setting_kind kind)
{
	switch (kind) {
	case SET_COUNT:  return sizeof(uint32_t);
	case SET_TIME:   return sizeof(usec_t);
	case SET_SIZE:   return sizeof(uint64_t);
	case SET_BOOL:   return sizeof(bool);
	case SET_CHOICE: return sizeof(int);
	case SET_RATE:   return sizeof(struct rate);
	case SET_TEXT: case SET_PATH: case SET_SQL: case SET_STATE: case SET_COLUMN: case SET_TABLE: case SET_DATABASE:
	case SET_REDIS: case SET_LISTEN: case SET_COMMAND: case SET_STATES: case SET_NAMES: case SET_COLUMNS:
	case SETTING_KINDS:
		break;
	}
	return 0;
}

static bool holds_words(enum setting_kind kind)
{
	return kind == SET_COMMAND || kind == SET_STATES || kind == SET_NAMES || kind == SET_COLUMNS;
}

static bool was_set(const struct setting *row, const void *base)
{
	return row->set_offset != 0 && *(const bool *)((const char *)base + row->set_offset);
}

bool setting_equal(const struct setting *row, const void *a, const void *b)
{
	const void *x = (const char *)a + row->offset, *y = (const char *)b + row->offset;

	if (was_set(row, a) != was_set(row, b))
		return false;
	if (row->kind == SET_RATE)	/* which has a hole */
		return ((const struct rate *)x)->n == ((const struct rate *)y)->n
		       && ((const struct rate *)x)->per == ((const struct rate *)y)->per;
	if (value_size(row->kind) != 0)
		return memcmp(x, y, value_size(row->kind)) == 0;
	if (holds_words(row->kind))
		return same_words(*(char **const *)x, *(char **const *)y);
	return strcmp(*(char *const *)x, *(char *const *)y) == 0;
}

bool queue_settings_equal(const struct queue_settings *a, const struct queue_settings *b)
{
	for (size_t i = 0; i < setting_rows_len; i++)
		if (strcmp(setting_rows[i].section, "queue") == 0 && !setting_equal(&setting_rows[i], a, b))
			return false;
	return strcmp(a->name, b->name) == 0;
}

/* Of the kinds that are fixed: values and texts. */
static void setting_copy(const struct setting *row, void *to, const void *from)
{
	void *x = (char *)to + row->offset;
	const void *y = (const char *)from + row->offset;

	if (value_size(row->kind) != 0) {
		memcpy(x, y, value_size(row->kind));
	} else {
		free(*(char **)x);
		*(char **)x = xstrdup(*(char *const *)y);
	}
	if (row->set_offset != 0)
		*(bool *)((char *)to + row->set_offset) = was_set(row, from);
}

void settings_keep_fixed(struct settings *new, const struct settings *old, void (*tell)(void *arg, const struct setting *row),
                         void *arg)
{
	for (size_t i = 0; i < setting_rows_len; i++) {
		const struct setting *row = &setting_rows[i];

		if (!row->fixed || setting_equal(row, new, old))
			continue;
		setting_copy(row, new, old);
		tell(arg, row);
	}
}
