/*
 * spool_read.c - records out of files.
 */
#include "spool_read.h"

#include <errno.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE ((size_t)64 * 1024)

struct scan {
	const struct spool_reader *reader;
	int fd;
	uint32_t seed;
	uint64_t size, at;
	struct buf body;
	struct error *err;
};

/* -1 also when the file became shorter meanwhile. */
static int read_at(struct scan *s, char *to, size_t len, uint64_t from)
{
	while (len > 0) {
		ssize_t n = pread(s->fd, to, len, (off_t)from);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return error_set(s->err, ERR_SYS, "spool: cannot read a file: %s", n < 0 ? strerror(errno) : "it became shorter");
		to += n;
		from += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static void tell(const struct scan *s, uint64_t from, uint64_t to, bool torn, const char *what)
{
	if (s->reader->damage != NULL)
		s->reader->damage(s->reader->arg, &(struct spool_damage){ from, to - from, what, torn });
}

/* Where the next magic is, at or behind from; the size of the file when there is none. */
static int find_magic(struct scan *s, uint64_t from, uint64_t *found)
{
	char piece[PIECE];

	while (from + SPOOL_MAGIC_LEN <= s->size) {
		size_t len = s->size - from < PIECE ? (size_t)(s->size - from) : PIECE;
		const char *hit;

		if (read_at(s, piece, len, from) < 0)
			return -1;
		hit = memmem(piece, len, SPOOL_MAGIC, SPOOL_MAGIC_LEN);
		if (hit != NULL) {
			*found = from + (uint64_t)(hit - piece);
			return 0;
		}
		from += len - (SPOOL_MAGIC_LEN - 1);
	}
	*found = s->size;
	return 0;
}

/* Up to the end of the file: what a power cut leaves of a write that nobody was told of. */
static bool is_zero(struct scan *s, uint64_t from)
{
	char piece[PIECE];

	while (from < s->size) {
		size_t len = s->size - from < PIECE ? (size_t)(s->size - from) : PIECE;

		if (read_at(s, piece, len, from) < 0 || piece[0] != 0 || memcmp(piece, piece + 1, len - 1) != 0)
			return false;
		from += len;
	}
	return true;
}

/* The head at s->at is none: on to the next that is one. */
static int skip_garbage(struct scan *s)
{
	uint64_t start = s->at, next = s->at + 1;
	char head[SPOOL_HEAD];
	struct spool_record r;
	size_t texts, bytes;

	for (;; next++) {
		if (find_magic(s, next, &next) < 0)
			return -1;
		if (next + SPOOL_HEAD > s->size) {
			tell(s, start, s->size, s->size - start < SPOOL_HEAD || is_zero(s, start), "no record");
			s->at = s->size;
			return 0;
		}
		if (read_at(s, head, sizeof head, next) < 0)
			return -1;
		if (spool_decode_head(head, s->seed, &r, &texts, &bytes) != SPOOL_HEAD_BAD)
			break;
	}
	tell(s, start, next, false, "no record");
	s->at = next;
	return 0;
}

/* What the room behind the head says of the end. It counts only when all is there that was printed until then: a power cut may lose some. */
static void read_end(struct scan *s, struct spool_record *r, uint64_t at)
{
	char head[SPOOL_HEAD];
	struct spool_record end;
	size_t texts, printed;

	if (s->size < at + SPOOL_HEAD || read_at(s, head, sizeof head, at) < 0
	    || spool_decode_head(head, s->seed, &end, &texts, &printed) != SPOOL_HEAD_OK
	    || end.kind != SPOOL_END || end.claim_id != r->claim_id || printed > s->size - at - SPOOL_HEAD)
		return;
	r->ended = true;
	r->status = (int)end.attempt;
	r->printed = printed;
}

static void take(struct scan *s, const struct spool_record *r, size_t len)
{
	uint64_t behind = s->at + len;

	if (r->kind != SPOOL_OUTPUT) {
		s->reader->record(s->reader->arg, r, s->at);
		s->at = behind;
		return;
	}
	if (r->attended) {
		struct spool_record attended = *r;

		read_end(s, &attended, behind);
		behind = behind + SPOOL_HEAD < s->size ? behind + SPOOL_HEAD : s->size;
		if (s->reader->output != NULL)
			s->reader->output(s->reader->arg, &attended, s->fd, behind, s->size - behind);
	} else if (s->reader->output != NULL)
		s->reader->output(s->reader->arg, r, s->fd, behind, s->size - behind);
	s->at = s->size;
}

static int read_one(struct scan *s)
{
	uint64_t left = s->size - s->at;
	char head[SPOOL_HEAD];
	struct spool_record r;
	enum spool_head is;
	size_t texts, bytes, len;

	if (left < SPOOL_HEAD) {
		tell(s, s->at, s->size, true, "the file ends in the head of a record");
		s->at = s->size;
		return 0;
	}
	if (read_at(s, head, sizeof head, s->at) < 0)
		return -1;
	is = spool_decode_head(head, s->seed, &r, &texts, &bytes);
	if (is == SPOOL_HEAD_BAD)
		return skip_garbage(s);
	len = SPOOL_HEAD + texts + bytes;
	if (len > left) {
		tell(s, s->at, s->size, true, "the file ends in a record");
		s->at = s->size;
		return 0;
	}
	if (is == SPOOL_HEAD_NEWER) {
		tell(s, s->at, s->at + len, false, "a record of a newer version of this program");
		s->at += len;
		return 0;
	}
	buf_clear(&s->body);
	buf_reserve(&s->body, texts + bytes);
	if (read_at(s, s->body.data, texts + bytes, s->at + SPOOL_HEAD) < 0)
		return -1;
	if (!spool_decode_body(&r, head, s->body.data, texts, bytes, s->seed)) {
		tell(s, s->at, s->at + len, false, "a record whose sum is wrong");
		s->at += len;
		return 0;
	}
	take(s, &r, len);
	return 0;
}

int spool_read(const struct spool_reader *reader, int fd, uint32_t seed, struct error *err)
{
	struct scan s = { .reader = reader, .fd = fd, .seed = seed, .body = BUF_INIT, .err = err };
	struct stat st;
	int rc = 0;

	if (fstat(fd, &st) < 0)
		return error_set(err, ERR_SYS, "spool: cannot read a file: %s", strerror(errno));
	s.size = (uint64_t)st.st_size;
	while (rc == 0 && s.at < s.size)
		rc = read_one(&s);
	buf_release(&s.body);
	return rc;
}

int spool_read_bytes(struct buf *out, int fd, uint64_t offset, uint64_t bytes, struct error *err)
{
	struct scan s = { .fd = fd, .err = err };

	if (bytes > SPOOL_BYTES_MAX)
		return error_set(err, ERR_SYS, "spool: an output of %llu bytes is larger than any result may be",
		                 (unsigned long long)bytes);
	buf_reserve(out, (size_t)bytes);
	if (bytes == 0)
		return 0;
	if (read_at(&s, out->data + out->len, (size_t)bytes, offset) < 0)
		return -1;
	out->len += (size_t)bytes;
	out->data[out->len] = '\0';
	return 0;
}

/* Who prints into it holds its lock, shared, through the description that it was given as stdout. */
bool spool_output_over(int fd)
{
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return false;
	flock(fd, LOCK_UN);
	return true;
}

bool spool_output_refuse(int fd)
{
	return fchmod(fd, S_IRUSR) == 0;
}

bool spool_output_refused(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (st.st_mode & S_IWUSR) == 0;
}

bool spool_output_free(int fd)
{
	static const char none[SPOOL_MAGIC_LEN];
	char magic[SPOOL_MAGIC_LEN];

	return pread(fd, magic, sizeof magic, 0) != (ssize_t)sizeof magic || memcmp(magic, none, sizeof none) == 0;
}
