/*
 * spool_read.h - what is in the files of the spool, whoever wrote them and however they ended.
 *
 * Every record whose sums are right counts. Behind a record that is not, reading goes on at the
 * next one; a record that the end of the file cuts off was never acknowledged to
 * anybody and is dropped. Memory: one record, whose lengths were checked
 * against the file before.
 */
#ifndef SPOOL_READ_H
#define SPOOL_READ_H

#include <stdbool.h>
#include <stdint.h>
#include "spool_dir.h"
#include "spool_record.h"

struct spool_damage {
	uint64_t offset, bytes;
	const char *what;	/* a phrase */
	bool torn;		/* the end of the file is in the middle of a record: what a crash leaves */
};

struct spool_reader {
	void (*record)(void *arg, const struct spool_record *r, uint64_t offset);
	/* The bytes of an output file: its head, and where in the file the bytes are. NULL: not wanted. */
	void (*output)(void *arg, const struct spool_record *head, int fd, uint64_t offset, uint64_t bytes);
	void (*damage)(void *arg, const struct spool_damage *d);
	void *arg;
};

/* All of an open file. -1: it could not be read (errno in err); what was read until then was told. */
int spool_read(const struct spool_reader *reader, int fd, uint32_t seed, struct error *err);

/* The bytes of an output, at most max. -1: err. */
int spool_read_bytes(struct buf *out, int fd, uint64_t offset, uint64_t bytes, struct error *err);

/* An output file that belongs to no job just now: its magic is wiped. */
bool spool_output_free(int fd);
/* Nobody has the file open as its stdout any more. */
bool spool_output_over(int fd);
/*
 * Tell who prints into it without a worker that nobody wants its result any more: attendants look for that. It is a matter of the file's
 * mode alone, so it can meet neither the output nor the note of its end. false: not allowed.
 */
bool spool_output_refuse(int fd);
bool spool_output_refused(int fd);

#endif
