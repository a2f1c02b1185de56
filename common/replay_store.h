/*
 * replay_store.h - one record of a dead process into the database; what it came to is counted in the replay.
 */
#ifndef REPLAY_STORE_H
#define REPLAY_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include "replay.h"
#include "spool_record.h"

struct replay_store;

/* err: of a database that goes away. Both are borrowed. */
struct replay_store *replay_store_new(struct replay *r, struct error *err);
void replay_store_free(struct replay_store *w);

/* Now, or with the next flush. The record is copied where that is needed. */
void replay_store_take(struct replay_store *w, const struct spool_record *r);
/* No result of it will count, whatever becomes of its job: that was cancelled, or is gone. false also when that is not known. */
bool replay_store_is_unwanted(struct replay_store *w, const struct spool_record *r);
/* How many of those that were taken since the last flush could not be stored. */
size_t replay_store_flush(struct replay_store *w);
bool replay_store_lost(const struct replay_store *w);	/* the database is gone: all that follows is kept */

/* A line for whoever replays. */
void replay_tell(const struct replay *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
