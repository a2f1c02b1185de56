/*
 * tell.h - messages of a run: lines on stderr, or log events when it is scheduled.
 */
#ifndef TELL_H
#define TELL_H

#include "error.h"
#include "run.h"

/* Worth knowing; not under -q. */
void tell_note(const struct recover *ask, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Something is wrong: always told. queue may be NULL. */
void tell_error(const struct recover *ask, const char *queue, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same for an error of the database, with what can be done about it. */
void tell_cause(const struct recover *ask, const char *queue, const struct error *why);

bool is_scheduled(const struct recover *ask);
bool is_quiet(const struct recover *ask);

/* "; grant it ..." for errors that have a known remedy, else "". */
const char *remedy_for(const char *sqlstate);

#endif
