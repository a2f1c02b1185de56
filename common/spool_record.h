/*
 * spool_record.h - one record of the spool: what a job came to, as bytes on a disk.
 *
 * A record is a head of fixed size, its texts, its bytes. Both parts have a sum
 * (crc32c) that starts from the seed of the instance, the sum of its name: text that a
 * handler printed cannot be taken for a record, however it looks, because no
 * handler is told the name.
 *
 *   offset  size
 *        0     8  magic
 *        8     4  sum of the head from offset 12
 *       12     4  sum of texts and bytes
 *       16     2  version
 *       18     1  kind
 *       19     1  flags: started, error is there, reason is there, output is text, output is attended
 *       20     4  attempt
 *       24     8  claim id
 *       32     8  delay, microseconds
 *       40     8  when it was written, microseconds since 1970
 *       48     8  length of the bytes
 *       56     4  length of the texts
 *       60     4  0
 *       64        texts: source, queue, job id, worker id, error, reason, each ended by NUL
 *                 bytes
 *
 * Behind the head of an output that is attended there is room for one head more, an END, and then the output. An output
 * begins at a multiple of SPOOL_OUTPUT_UNIT: spaces where the reason would be, and no flag for one, fill up what is before it.
 *
 * Numbers are little-endian. Pure: no files here (spool.c writes, spool_read.c reads).
 */
#ifndef SPOOL_RECORD_H
#define SPOOL_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "buf.h"
#include "clock.h"

#define SPOOL_HEAD 64
#define SPOOL_VERSION 1
#define SPOOL_OUTPUT_UNIT 256
#define SPOOL_TEXTS_MAX ((size_t)1 << 20)
#define SPOOL_BYTES_MAX ((size_t)256 << 20)	/* the largest max_result fits */
#define SPOOL_MAGIC "\x89UNSTK\r\n"
#define SPOOL_MAGIC_LEN 8

enum spool_kind {		/* the numbers are on disks: never change one */
	SPOOL_DONE = 1,		/* bytes: the result, JSON text */
	SPOOL_RETRY = 2,
	SPOOL_FAIL = 3,
	SPOOL_LATER = 4,
	SPOOL_RELEASE = 5,
	SPOOL_OUTPUT = 6,	/* head of an output file: its bytes follow up to the end of the file */
	SPOOL_END = 7,		/* of who printed it: attempt is its wait status, the bytes are those that it had printed */
	SPOOL_KINDS
};
#define SPOOL_OVERDUE (1 << 16)		/* of an END's status: it was ended for its time limit */

struct spool_record {
	enum spool_kind kind;
	bool started;			/* a handler ran: an attempt counts */
	bool text;			/* OUTPUT: output = text */
	bool attended;			/* OUTPUT: who prints is attended (worker/attend.h) and runs on when the worker dies */
	bool ended;			/* as reading it finds: it has, with this wait status, after so many bytes */
	int status;
	uint64_t printed;
	const char *source, *queue;	/* the table as unstuck.claims names it; the queue's name */
	const char *job_id;
	int64_t claim_id;
	const char *worker_id;
	uint32_t attempt;
	const char *error;		/* RETRY, FAIL, LATER; else NULL */
	const char *reason;		/* why bytes that are no result are kept (late.h); else NULL */
	usec_t delay;			/* RETRY, LATER */
	usec_t at;			/* wall clock */
	const char *bytes;
	size_t bytes_len;
};

const char *spool_kind_name(enum spool_kind k);	/* "done": as the fail statement takes them, and for people */

uint32_t spool_seed(const char *instance);

/* Behind what is in out. texts of a record are cut to what fits SPOOL_TEXTS_MAX; bytes must fit. */
void spool_encode(struct buf *out, const struct spool_record *r, uint32_t seed);

/* An END alone, into room that was left for it. Allocates nothing: for a process between fork() and its end. */
void spool_encode_end(char out[static SPOOL_HEAD], int64_t claim_id, int status, uint64_t printed, uint32_t seed);

/* What a head says. */
enum spool_head {
	SPOOL_HEAD_OK,
	SPOOL_HEAD_BAD,		/* no head of this instance */
	SPOOL_HEAD_NEWER,	/* a head of a version that this program does not know: lengths are right */
};
enum spool_head spool_decode_head(const char head[static SPOOL_HEAD], uint32_t seed, struct spool_record *r,
                                  size_t *texts_len, size_t *bytes_len);
/*
 * The rest: r as decode_head() left it; body holds texts and bytes, and r points into it.
 * Of an OUTPUT only the texts. false: the sum or a text is wrong.
 */
bool spool_decode_body(struct spool_record *r, const char head[static SPOOL_HEAD], const char *body,
                       size_t texts_len, size_t bytes_len, uint32_t seed);

#endif
