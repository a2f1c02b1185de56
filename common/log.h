/*
 * log.h - one event is one line, always: text (key=value) or JSON.
 *
 * 2026-01-01T00:00:00.000Z info event=job_done queue=videos job=42 attempt=1 ms=812
 *
 * Text from outside is escaped, so a value can neither end the line nor forge a
 * key. Only programs log, at the edge; common/ itself logs nothing above debug.
 */
#ifndef LOG_H
#define LOG_H

#include <stdbool.h>
#include <stdint.h>
#include "buf.h"
#include "error.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

struct log_field {
	const char *key;	/* NULL ends the list */
	const char *text;	/* NULL: number counts */
	int64_t number;
};

static inline const char *log_text(const char *text)	/* NULL is logged as empty */
{
	return text ? text : "";
}

#define LS(key_, text_) ((struct log_field){ .key = (key_), .text = log_text(text_) })
#define LN(key_, number_) ((struct log_field){ .key = (key_), .number = (int64_t)(number_) })

/* log_event(LOG_INFO, "job_done", LS("queue", q), LN("ms", ms)); where nobody listens its values are not even found. */
#define log_event(level, event, ...) \
	do { \
		if (log_is_heard(level)) \
			log_write(level, event, (const struct log_field[]){ __VA_ARGS__ __VA_OPT__(,) { .key = NULL } }); \
	} while (0)

void log_write(enum log_level level, const char *event, const struct log_field *fields);

/* log_events.c: all of them, for people. */
struct event_row {
	const char *name;	/* NULL ends the table */
	const char *levels;	/* "info, warning" */
	const char *means;	/* a phrase */
};
extern const struct event_row log_events[];

/*
 * Until set: text, info, stderr. path "" or NULL is stderr, LOG_TO_SYSLOG the system's log. -1 when the file
 * cannot be opened.
 */
#define LOG_TO_SYSLOG "syslog"
int log_open(enum log_level level, enum log_format format, const char *path, struct error *err);
int log_reopen(struct error *err);	/* USR1: after a rotation */
void log_set_level(enum log_level level);
/* A log file is turned when the day (UTC) is over, and so many old ones are kept. 0: never. */
void log_set_rotation(unsigned keep);
bool log_wants(enum log_level level);		/* it is written */
bool log_is_heard(enum log_level level);	/* it is written, or somebody watches */

/* Told of every event from this level on, whatever the level that is written. It must not log. fields: only until it returns. */
typedef void log_watch_fn(void *arg, enum log_level level, const char *event, const struct log_field *fields);
void log_watch(enum log_level level, log_watch_fn *fn, void *arg);
void log_unwatch(log_watch_fn *fn, void *arg);
/* The event of now as log_format = json has it: one object, no newline. Appended. */
void log_add_json(struct buf *line, enum log_level level, const char *event, const struct log_field *fields);

#endif
