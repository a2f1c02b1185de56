/*
 * jsonl.h - JSON lines between the worker and a handler process: pure text.
 *
 * One pass over the bytes, no tree: payloads and results are never decoded or
 * encoded again, so what one side wrote is what the other side reads. Not here:
 * processes (serve.c); whether a result can be stored (the database says).
 */
#ifndef JSONL_H
#define JSONL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "buf.h"

/* ---- to the handler ---- */

struct jsonl_request {
	const char *id, *queue;
	int attempt;
	int64_t claim_id;
	const char *deadline;		/* RFC 3339 */
	const char *payload;		/* valid JSON text */
	size_t payload_len;
};

/*
 * {"id":…,"queue":…,"attempt":…,"claim_id":…,"key":"queue:id","deadline":…,"payload":…} and a newline.
 * A line break in the payload (valid JSON has them between tokens only) becomes a blank.
 */
void jsonl_add_request(struct buf *out, const struct jsonl_request *r);

/* ---- from the handler: bytes to lines ---- */

struct jsonl_lines {
	size_t max;			/* bytes of a line without its newline */
	struct buf part;		/* the line that has not ended yet */
};

typedef void jsonl_line_fn(void *arg, const char *line, size_t len);

/* Calls fn for each line that ends in data. false: one is longer than max; part is its first max bytes. */
bool jsonl_lines_add(struct jsonl_lines *l, const char *data, size_t len, jsonl_line_fn *fn, void *arg);
void jsonl_lines_release(struct jsonl_lines *l);

/* ---- from the handler: a line to an answer ---- */

struct jsonl_text {			/* raw JSON text in the line (strings with their quotes); at NULL: not there */
	const char *at;
	size_t len;			/* 0: the line ended within it */
};

struct jsonl_answer {
	struct jsonl_text id, ok, result, error, retry, delay, progress;
};

/*
 * The members of the object in line; of a name that is there twice the last one counts. NULL, or
 * why it is no answer (a phrase); what was found until then is in a all the same.
 */
const char *jsonl_scan(const char *line, size_t len, struct jsonl_answer *a);

bool jsonl_is(const struct jsonl_text *t, const char *word);	/* exactly this text: true, null */
/* The string's characters into out (cleared first). false: not a string, or an escape is wrong. */
bool jsonl_string(const struct jsonl_text *t, struct buf *out);

#endif
