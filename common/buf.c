/*
 * buf.c - the growing buffer, memory that is there or ends the program, and UTF-8.
 *
 * Not here: quoting for SQL (ident.c) or for the log (log.c).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "buf.h"

/* Nothing of ours can be trusted to work now: no stdio, no exit handlers. */
static void __attribute__((noreturn)) out_of_memory(void)
{
	static const char line[] = "out of memory\n";
	ssize_t ignored = write(STDERR_FILENO, line, sizeof line - 1);

	(void)ignored;
	_exit(EXIT_FAILED);
}

void *xmalloc(size_t size)
{
	void *p = malloc(size ? size : 1);

	if (!p)
		out_of_memory();
	return p;
}

void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size ? size : 1);

	if (!p)
		out_of_memory();
	return p;
}

void *xrealloc(void *p, size_t size)
{
	void *moved = realloc(p, size ? size : 1);

	if (!moved)
		out_of_memory();
	return moved;
}

char *xstrdup(const char *s)
{
	return xstrndup(s, strlen(s));
}

char *xstrndup(const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *copy = xmalloc(len + 1);

	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

char *xasprintf(const char *fmt, ...)
{
	struct buf b = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&b, fmt, ap);
	va_end(ap);
	return buf_give(&b);
}

void buf_release(struct buf *b)
{
	free(b->data);
	*b = (struct buf)BUF_INIT;
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	if (b->data)
		b->data[0] = '\0';
}

void buf_reserve(struct buf *b, size_t more)
{
	size_t need, cap;

	if (__builtin_add_overflow(b->len + 1, more, &need) || need > SIZE_MAX / 2)
		out_of_memory();
	if (need <= b->cap)
		return;
	cap = b->cap ? b->cap : 64;
	while (cap < need)
		cap *= 2;
	b->data = xrealloc(b->data, cap);
	b->cap = cap;
	b->data[b->len] = '\0';
}

void buf_add(struct buf *b, const void *data, size_t len)
{
	if (len >= b->cap - b->len)
		buf_reserve(b, len);
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_adds(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

void buf_addc(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_add_number(struct buf *b, int64_t n)
{
	char digits[24], *at = digits + sizeof digits;
	uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;

	do
		*--at = (char)('0' + rest % 10);
	while ((rest /= 10) != 0);
	if (n < 0)
		*--at = '-';
	buf_add(b, at, (size_t)(digits + sizeof digits - at));
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(b, fmt, ap);
	va_end(ap);
}

void buf_vaddf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	int len;

	va_copy(again, ap);
	buf_reserve(b, 0);
	len = vsnprintf(b->data + b->len, b->cap - b->len, fmt, ap);
	if (len < 0)
		out_of_memory();
	if ((size_t)len >= b->cap - b->len) {
		buf_reserve(b, (size_t)len);
		vsnprintf(b->data + b->len, b->cap - b->len, fmt, again);
	}
	va_end(again);
	b->len += (size_t)len;
}

const char *buf_text(const struct buf *b)
{
	return b->data ? b->data : "";
}

char *buf_give(struct buf *b)
{
	char *text = b->data ? b->data : xstrdup("");

	*b = (struct buf)BUF_INIT;
	return text;
}

/*
 * By the first byte: the length, and the range of the second byte. It is the
 * second byte that rules out overlong forms, surrogates and what is above U+10FFFF.
 */
static const struct sequence {
	unsigned char first, last;	/* of the first byte */
	unsigned char len, low, high;
} sequences[] = {
	{ 0x00, 0x7F, 1, 0, 0 },
	{ 0xC2, 0xDF, 2, 0x80, 0xBF },
	{ 0xE0, 0xE0, 3, 0xA0, 0xBF },
	{ 0xE1, 0xEC, 3, 0x80, 0xBF },
	{ 0xED, 0xED, 3, 0x80, 0x9F },
	{ 0xEE, 0xEF, 3, 0x80, 0xBF },
	{ 0xF0, 0xF0, 4, 0x90, 0xBF },
	{ 0xF1, 0xF3, 4, 0x80, 0xBF },
	{ 0xF4, 0xF4, 4, 0x80, 0x8F },
};

static const struct sequence *sequence_of(unsigned char first)
{
	for (size_t i = 0; i < ARRAY_SIZE(sequences); i++)
		if (first >= sequences[i].first && first <= sequences[i].last)
			return &sequences[i];
	return NULL;
}

size_t utf8_sequence(const char *data, size_t len)
{
	const unsigned char *p = (const unsigned char *)data;
	const struct sequence *s = len ? sequence_of(p[0]) : NULL;

	if (!s || s->len > len)
		return 0;
	if (s->len > 1 && (p[1] < s->low || p[1] > s->high))
		return 0;
	for (size_t i = 2; i < s->len; i++)
		if ((p[i] & 0xC0) != 0x80)
			return 0;
	return s->len;
}

/* Eight bytes of ASCII without NUL: most text is, and is passed eight at a time. */
static bool is_plain(const char *data)
{
	const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
	uint64_t v;

	memcpy(&v, data, sizeof v);
	return ((v | (v - ones)) & tops) == 0;
}

bool utf8_valid(const char *data, size_t len)
{
	while (len) {
		size_t n = len >= 8 && is_plain(data) ? 8 : utf8_sequence(data, len);

		if (n == 0 || *data == '\0')
			return false;
		data += n;
		len -= n;
	}
	return true;
}

void buf_add_line(struct buf *out, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)data[i];

		if (c < 0x20 || c == 0x7f)
			buf_addf(out, "\\x%02x", c);
		else
			buf_addc(out, (char)c);
	}
}

void utf8_clean(struct buf *out, const char *data, size_t len, size_t max)
{
	buf_reserve(out, 0);
	while (len) {
		size_t n = *data ? utf8_sequence(data, len) : 0;
		char hex[8];
		const char *piece = data;
		size_t piece_len = n;

		if (n == 0) {
			n = 1;
			piece_len = (size_t)snprintf(hex, sizeof hex, "\\x%02x", (unsigned char)*data);
			piece = hex;
		}
		if (piece_len > max)
			return;
		buf_add(out, piece, piece_len);
		max -= piece_len;
		data += n;
		len -= n;
	}
}
