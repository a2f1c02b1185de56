/*
 * spool_segment.h - the segments of one instance: gathering entries, writing them in batches,
 * emptying a file when all in it are done.
 *
 * Not here: health and room (spool.c), the thread (spool_sync.c).
 */
#ifndef SPOOL_SEGMENT_H
#define SPOOL_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>
#include "buf.h"
#include "clock.h"
#include "spool_record.h"
#include "spool_sync.h"

struct spool_log_events {
	void (*sealed)(void *arg, uint64_t upto);
	/* A batch could not be written, and waits in memory for the next try, at retry_at. */
	void (*failed)(void *arg, const struct spool_order *o, usec_t retry_at);
	void *arg;
};

struct spool_log;

MUST_CHECK struct spool_log *spool_log_new(int dir, uint32_t seed, const struct spool_io *io,
                                           const struct spool_log_events *events, struct error *err);
/* Waits for the order under way. Files stay; spool_log_clear() first removes those with nothing left in them. */
void spool_log_free(struct spool_log *l);
void spool_log_clear(struct spool_log *l);

uint64_t spool_log_add(struct spool_log *l, const struct spool_record *r);
void spool_log_done(struct spool_log *l, uint64_t entry);
usec_t spool_log_advance(struct spool_log *l, usec_t now);
/* A batch is begun this long after the last one at the earliest; 0, and in spool_log_step(): as soon as that has ended. */
void spool_log_set_pace(struct spool_log *l, usec_t pace);
/* One try, waited for. false: it failed, or there was nothing to do. */
bool spool_log_step(struct spool_log *l);
void spool_log_retry_now(struct spool_log *l);
/* The directory is another one now: what is left in the old files is copied there. */
int spool_log_move(struct spool_log *l, int dir, struct error *err);

int spool_log_fd(const struct spool_log *l);
bool spool_log_waits(const struct spool_log *l);	/* something is gathered or under way */
uint64_t spool_log_sealed(const struct spool_log *l);
uint64_t spool_log_last(const struct spool_log *l);	/* the number of the last entry; 0: none */
size_t spool_log_entries(const struct spool_log *l);	/* not done */
uint64_t spool_log_bytes(const struct spool_log *l);

#endif
