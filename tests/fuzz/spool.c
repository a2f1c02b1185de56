/*
 * spool.c - any bytes as a file of the spool. The first byte of the input says how it is used.
 *
 * Sums keep chance bytes out, so two of the ways put right ones in: a head and a body of any
 * content must be refused or read without harm, and among damaged records
 * every whole one must be found.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "crc32c.h"
#include "fuzz.h"
#include "spool_read.h"

#define SEED 9u

static volatile uint32_t sum_of_all;

struct seen {
	uint64_t size, at;
	size_t records;
	uint64_t claims[8];
};

static void on_record(void *arg, const struct spool_record *r, uint64_t offset)
{
	struct seen *s = arg;

	must(offset >= s->at && offset + SPOOL_HEAD + r->bytes_len <= s->size);
	s->at = offset + SPOOL_HEAD + r->bytes_len;
	must(strlen(r->source) + strlen(r->queue) + strlen(r->job_id) + strlen(r->worker_id) < SPOOL_TEXTS_MAX);
	must(r->error == NULL || strlen(r->error) < SPOOL_TEXTS_MAX);
	sum_of_all ^= crc32c(0, r->bytes, r->bytes_len);	/* all of it can be read */
	must(spool_kind_name(r->kind) != NULL);
	if (s->records < 8)
		s->claims[s->records] = (uint64_t)r->claim_id;
	s->records++;
}

static void on_output(void *arg, const struct spool_record *head, int fd, uint64_t offset, uint64_t bytes)
{
	struct seen *s = arg;
	struct error err = ERROR_INIT;
	struct buf out = BUF_INIT;

	(void)head;
	must(offset + bytes == s->size);
	must(spool_read_bytes(&out, fd, offset, bytes, &err) == 0);
	buf_release(&out);
	s->at = s->size;
}

static void on_damage(void *arg, const struct spool_damage *d)
{
	struct seen *s = arg;

	must(d->bytes > 0 && d->offset >= s->at && d->offset + d->bytes <= s->size);
	s->at = d->offset + d->bytes;
}

static struct seen read_all(const char *data, size_t size)
{
	struct seen s = { .size = size };
	const struct spool_reader reader = { on_record, on_output, on_damage, &s };
	struct error err = ERROR_INIT;
	static int fd = -1;

	if (fd < 0)
		fd = memfd_create("spool", MFD_CLOEXEC);
	must(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
	must(spool_read(&reader, fd, SEED, &err) == 0);
	return s;
}

static void put(char *at, uint32_t n)
{
	for (int i = 0; i < 4; i++)
		at[i] = (char)(n >> 8 * i);
}

/* The input as a head and a body of its own making, the sums right. */
static void with_right_sums(char *data, size_t size)
{
	static const char magic[] = { SPOOL_MAGIC };

	if (size < SPOOL_HEAD)
		return;
	for (size_t i = 0; i < SPOOL_MAGIC_LEN; i++)
		data[i] = magic[i];
	put(data + 12, crc32c(SEED, data + SPOOL_HEAD, size - SPOOL_HEAD));
	put(data + 8, crc32c(SEED, data + 12, SPOOL_HEAD - 12));
	read_all(data, size);
}

/* Three records with the input as bytes, one byte of them changed: the other two are found. */
static void with_one_wrong_byte(const char *data, size_t size)
{
	struct buf all = BUF_INIT;
	size_t ends[3], at, hit, expected = 0;
	struct seen s;

	if (size < 4)
		return;
	for (int i = 0; i < 3; i++) {
		struct spool_record r = {
			.kind = SPOOL_DONE, .source = "s", .queue = "q", .job_id = "1", .claim_id = i, .worker_id = "w",
			.bytes = data + 4, .bytes_len = size - 4,
		};

		spool_encode(&all, &r, SEED);
		ends[i] = all.len;
	}
	at = ((size_t)(unsigned char)data[0] << 16 | (size_t)(unsigned char)data[1] << 8 | (unsigned char)data[2]) % all.len;
	all.data[at] = (char)(all.data[at] ^ (data[3] != 0 ? data[3] : 1));
	hit = (size_t)(at >= ends[0]) + (at >= ends[1]);
	s = read_all(all.data, all.len);
	must(s.records == 2);
	for (size_t i = 0; i < 3; i++)
		if (i != hit)
			must(s.claims[expected++] == i);
	buf_release(&all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy;

	if (size < 1)
		return 0;
	copy = malloc(size);
	memcpy(copy, data + 1, size - 1);
	switch (data[0] % 3) {
	case 0:
		read_all(copy, size - 1);
		break;
	case 1:
		with_right_sums(copy, size - 1);
		break;
	default:
		with_one_wrong_byte(copy, size - 1);
	}
	free(copy);
	return 0;
}
