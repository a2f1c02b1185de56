/*
 * error.h - one small error that travels up; the deepest cause wins.
 *
 * Functions return 0 or -1 and fill the struct error they were given. Library
 * code never logs; whoever decides (retry, give up, exit) logs it once.
 */
#ifndef ERROR_H
#define ERROR_H

#include <stdbool.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof *(a))

/* The exit statuses of all programs: an interface. */
enum exit_status {
	EXIT_DONE = 0,		/* done, or nothing to do */
	EXIT_FAILED = 1,	/* failed, or only partly done */
	EXIT_USAGE = 64,	/* wrong options or arguments */
	EXIT_NO_DB = 69,	/* the database cannot be reached */
	EXIT_HELD = 75,		/* stopped, but results or rows could not be handed back */
	EXIT_SETTINGS = 78,	/* wrong settings, mapping, or no schema */
};

enum error_kind { ERR_NONE, ERR_USAGE, ERR_SETTINGS, ERR_NO_DB, ERR_DB, ERR_SYS };

struct error {
	enum error_kind kind;
	char sqlstate[6];	/* of ERR_DB; else "" */
	char text[1024];
};

#define ERROR_INIT { .kind = ERR_NONE }

/* Set err unless it is NULL or already tells a cause. Always returns -1. */
int error_set(struct error *err, enum error_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Put "prefix: " before the text, e.g. the name of a queue. Always returns -1. */
int error_prefix(struct error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Which exit status a program ends with for this error. */
enum exit_status error_exit_status(const struct error *err);

/* What each status means, for --help, the manual and docs/settings.md. */
struct exit_status_row {
	enum exit_status status;
	const char *means;	/* NULL ends the table */
};
extern const struct exit_status_row exit_statuses[];

#endif
