/*
 * outcome.h - what a handler's end means for its job, the same for both modes.
 *
 * Each fills j->outcome once. Not here: when a handler is over (exec.c, serve.c),
 * writing the outcome (store.c).
 */
#ifndef OUTCOME_H
#define OUTCOME_H

#include "child.h"
#include "queue.h"

/* Done: j->out is what an exec handler printed (trailing blanks are cut, empty is null, text is made JSON). */
void outcome_printed(struct job *j);
/* Done: j->out is the JSON text to store. Failed for good when it cannot be text in the database. */
void outcome_result(struct job *j);
/* RETRY, FAIL or LATER; takes error. The delay is the queue's backoff. */
void outcome_failed(struct job *j, enum outcome_kind kind, char *error);
/* Failed for good because of the bytes in j->out, which are kept under this reason; takes error. */
void outcome_rejected(struct job *j, enum late_reason reason, char *error);
void outcome_too_large(struct job *j);
/* Whatever else its outcome is: what it had printed when it was ended is kept, if that is anything. Perhaps a whole result. */
void outcome_keep(struct job *j);
/* RETRY: it ran longer than the queue's timeout. said: as below. */
void outcome_timeout(struct job *j, const struct child_end *said);

/* what, and behind it the handler's last words on stderr. The caller frees it. */
char *outcome_text(const char *what, const struct child_end *said);

#endif
