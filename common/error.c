/*
 * error.c - filling struct error, and what it means for the exit status.
 *
 * Lives here: first cause wins, texts that never overflow, the exit statuses.
 * Not here:   printing or logging an error (cli.c, log.c).
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "error.h"

/* vsnprintf() may have cut a UTF-8 sequence in two: take its first half away. */
static void trim_half_sequence(char *text)
{
	size_t len = strlen(text), back = 0;

	while (back < 3 && back < len && ((unsigned char)text[len - 1 - back] & 0xC0) == 0x80)
		back++;
	if (back == len)
		return;

	unsigned char lead = (unsigned char)text[len - 1 - back];
	size_t wanted = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;

	if (wanted > back + 1)
		text[len - 1 - back] = '\0';
}

int error_set(struct error *err, enum error_kind kind, const char *fmt, ...)
{
	va_list ap;

	if (!err || err->kind != ERR_NONE)
		return -1;
	err->kind = kind;
	err->sqlstate[0] = '\0';
	va_start(ap, fmt);
	if (vsnprintf(err->text, sizeof err->text, fmt, ap) >= (int)sizeof err->text)
		trim_half_sequence(err->text);
	va_end(ap);
	return -1;
}

int error_prefix(struct error *err, const char *fmt, ...)
{
	char prefix[sizeof err->text];
	va_list ap;

	if (!err)
		return -1;
	va_start(ap, fmt);
	if (vsnprintf(prefix, sizeof prefix - 2, fmt, ap) >= (int)sizeof prefix - 2)
		trim_half_sequence(prefix);
	va_end(ap);

	size_t len = strlen(prefix), rest = strlen(err->text);
	size_t room = sizeof err->text - 1 - (len + 2);
	bool cut = rest > room;

	if (cut)
		rest = room;
	memmove(err->text + len + 2, err->text, rest);
	memcpy(err->text, prefix, len);
	memcpy(err->text + len, ": ", 2);
	err->text[len + 2 + rest] = '\0';
	if (cut)
		trim_half_sequence(err->text);
	return -1;
}

enum exit_status error_exit_status(const struct error *err)
{
	switch (err->kind) {
	case ERR_NONE:     return EXIT_DONE;
	case ERR_USAGE:    return EXIT_USAGE;
	case ERR_SETTINGS: return EXIT_SETTINGS;
	case ERR_NO_DB:    return EXIT_NO_DB;
	case ERR_DB:       return EXIT_FAILED;
	case ERR_SYS:      return EXIT_FAILED;
	}
	return EXIT_FAILED;
}

const struct exit_status_row exit_statuses[] = {
	{ EXIT_DONE, "done, or nothing to do" },
	{ EXIT_FAILED, "failed, or only partly done" },
	{ EXIT_USAGE, "wrong options or arguments" },
	{ EXIT_NO_DB, "the database cannot be reached" },
	{ EXIT_HELD, "stopped, but results or rows could not be handed back" },
	{ EXIT_SETTINGS, "wrong settings, or no schema in the database" },
	{ .means = NULL },
};
