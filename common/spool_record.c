/*
 * spool_record.c - a record to bytes and back.
 */
#include "spool_record.h"

#include <assert.h>
#include <string.h>
#include "crc32c.h"

enum { FLAG_STARTED = 1, FLAG_ERROR = 2, FLAG_REASON = 4, FLAG_TEXT = 8, FLAG_ATTENDED = 16 };
enum { AT_HEAD_SUM = 8, AT_BODY_SUM = 12, AT_VERSION = 16, AT_KIND = 18, AT_FLAGS = 19, AT_ATTEMPT = 20, AT_CLAIM = 24,
       AT_DELAY = 32, AT_TIME = 40, AT_BYTES = 48, AT_TEXTS = 56 };

const char *spool_kind_name(enum spool_kind k)
{
	static const char *const names[SPOOL_KINDS] = {
		[SPOOL_DONE] = "done", [SPOOL_RETRY] = "retry", [SPOOL_FAIL] = "fail", [SPOOL_LATER] = "later",
		[SPOOL_RELEASE] = "release", [SPOOL_OUTPUT] = "output", [SPOOL_END] = "end",
	};

	return names[k];
}

uint32_t spool_seed(const char *instance)
{
	return crc32c(0, instance, strlen(instance));
}

static void put(char *at, uint64_t n, int bytes)
{
	for (int i = 0; i < bytes; i++)
		at[i] = (char)(n >> 8 * i);
}

static uint64_t get(const char *at, int bytes)
{
	uint64_t n = 0;

	for (int i = 0; i < bytes; i++)
		n |= (uint64_t)(unsigned char)at[i] << 8 * i;
	return n;
}

static uint32_t head_sum(const char *head, uint32_t seed)
{
	return crc32c(seed, head + AT_BODY_SUM, SPOOL_HEAD - AT_BODY_SUM);
}

static void add_text(struct buf *out, const char *text)
{
	if (text != NULL)
		buf_add(out, text, strnlen(text, SPOOL_TEXTS_MAX / 8));
	buf_addc(out, '\0');
}

/* The heads of a file's outputs are alike in length, as a rule: so it need not be cut where nobody printed anything. */
static void add_filler(struct buf *out, size_t len)
{
	static const char filler[SPOOL_OUTPUT_UNIT] = { [0 ... SPOOL_OUTPUT_UNIT - 1] = ' ' };

	buf_add(out, filler, (SPOOL_OUTPUT_UNIT - len % SPOOL_OUTPUT_UNIT) % SPOOL_OUTPUT_UNIT);
}

void spool_encode(struct buf *out, const struct spool_record *r, uint32_t seed)
{
	size_t start = out->len, texts;
	char head[SPOOL_HEAD] = SPOOL_MAGIC;

	assert(r->bytes_len <= SPOOL_BYTES_MAX);
	buf_reserve(out, SPOOL_HEAD + r->bytes_len + SPOOL_OUTPUT_UNIT);
	buf_add(out, head, SPOOL_HEAD);
	add_text(out, r->source);
	add_text(out, r->queue);
	add_text(out, r->job_id);
	add_text(out, r->worker_id);
	add_text(out, r->error);
	if (r->kind == SPOOL_OUTPUT && r->reason == NULL)
		add_filler(out, out->len - start + 1 + (r->attended ? SPOOL_HEAD : 0));
	add_text(out, r->reason);
	texts = out->len - start - SPOOL_HEAD;
	if (r->bytes_len > 0)
		buf_add(out, r->bytes, r->bytes_len);

	put(head + AT_BODY_SUM, crc32c(seed, out->data + start + SPOOL_HEAD, texts + r->bytes_len), 4);
	put(head + AT_VERSION, SPOOL_VERSION, 2);
	put(head + AT_KIND, r->kind, 1);
	put(head + AT_FLAGS, (r->started ? FLAG_STARTED : 0U) | (r->error != NULL ? FLAG_ERROR : 0U) |
	    (r->reason != NULL ? FLAG_REASON : 0U) | (r->text ? FLAG_TEXT : 0U) | (r->attended ? FLAG_ATTENDED : 0U), 1);
	put(head + AT_ATTEMPT, r->attempt, 4);
	put(head + AT_CLAIM, (uint64_t)r->claim_id, 8);
	put(head + AT_DELAY, r->delay, 8);
	put(head + AT_TIME, r->at, 8);
	put(head + AT_BYTES, r->bytes_len, 8);
	put(head + AT_TEXTS, texts, 4);
	put(head + AT_HEAD_SUM, head_sum(head, seed), 4);
	memcpy(out->data + start, head, SPOOL_HEAD);
}

void spool_encode_end(char out[static SPOOL_HEAD], int64_t claim_id, int status, uint64_t printed, uint32_t seed)
{
	static const char blank[SPOOL_HEAD] = SPOOL_MAGIC;

	memcpy(out, blank, SPOOL_HEAD);
	put(out + AT_BODY_SUM, crc32c(seed, "", 0), 4);
	put(out + AT_VERSION, SPOOL_VERSION, 2);
	put(out + AT_KIND, SPOOL_END, 1);
	put(out + AT_ATTEMPT, (uint32_t)status, 4);
	put(out + AT_CLAIM, (uint64_t)claim_id, 8);
	put(out + AT_BYTES, printed, 8);
	put(out + AT_HEAD_SUM, head_sum(out, seed), 4);
}

enum spool_head spool_decode_head(const char head[static SPOOL_HEAD], uint32_t seed, struct spool_record *r,
                                  size_t *texts_len, size_t *bytes_len)
{
	uint64_t kind = get(head + AT_KIND, 1), flags = get(head + AT_FLAGS, 1);

	if (memcmp(head, SPOOL_MAGIC, SPOOL_MAGIC_LEN) != 0 || get(head + AT_HEAD_SUM, 4) != head_sum(head, seed))
		return SPOOL_HEAD_BAD;
	*texts_len = get(head + AT_TEXTS, 4);
	*bytes_len = get(head + AT_BYTES, 8);
	if (*texts_len > SPOOL_TEXTS_MAX || *bytes_len > SPOOL_BYTES_MAX)
		return SPOOL_HEAD_BAD;
	if (get(head + AT_VERSION, 2) != SPOOL_VERSION)
		return SPOOL_HEAD_NEWER;
	if (kind == 0 || kind >= SPOOL_KINDS)
		return SPOOL_HEAD_BAD;
	*r = (struct spool_record){
		.kind = (enum spool_kind)kind,
		.started = flags & FLAG_STARTED,
		.text = flags & FLAG_TEXT,
		.attended = flags & FLAG_ATTENDED,
		.claim_id = (int64_t)get(head + AT_CLAIM, 8),
		.attempt = (uint32_t)get(head + AT_ATTEMPT, 4),
		.delay = get(head + AT_DELAY, 8),
		.at = get(head + AT_TIME, 8),
	};
	return SPOOL_HEAD_OK;
}

bool spool_decode_body(struct spool_record *r, const char head[static SPOOL_HEAD], const char *body,
                       size_t texts_len, size_t bytes_len, uint32_t seed)
{
	const char **const texts[] = { &r->source, &r->queue, &r->job_id, &r->worker_id, &r->error, &r->reason };
	const char *at = body, *end = body + texts_len;
	uint64_t flags = get(head + AT_FLAGS, 1);

	if (get(head + AT_BODY_SUM, 4) != crc32c(seed, body, texts_len + bytes_len))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		const char *nul = memchr(at, '\0', (size_t)(end - at));

		if (nul == NULL)
			return false;
		*texts[i] = at;
		at = nul + 1;
	}
	if (!(flags & FLAG_ERROR))
		r->error = NULL;
	if (!(flags & FLAG_REASON))
		r->reason = NULL;
	r->bytes = end;
	r->bytes_len = bytes_len;
	return at == end;
}
