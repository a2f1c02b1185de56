/*
 * buf.h - a growing text buffer. Always NUL-terminated, may hold NUL bytes.
 *
 * Memory that cannot be had ends the program at once with one line (xalloc):
 * nothing here returns half a text. Worker and database stay correct after
 * such an end, because every write is one fenced transaction.
 */
#ifndef BUF_H
#define BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "error.h"

struct buf {
	char *data;		/* never NULL after the first add; "" before: use buf_text() */
	size_t len, cap;
};

#define BUF_INIT { NULL, 0, 0 }

void buf_release(struct buf *b);
void buf_clear(struct buf *b);			/* empty, memory kept */
void buf_add(struct buf *b, const void *data, size_t len);
void buf_adds(struct buf *b, const char *text);
void buf_addc(struct buf *b, char c);
void buf_add_number(struct buf *b, int64_t n);
void buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_vaddf(struct buf *b, const char *fmt, va_list ap);
const char *buf_text(const struct buf *b);	/* borrowed; "" when empty */
char *buf_give(struct buf *b);			/* caller frees; b is empty again */
void buf_reserve(struct buf *b, size_t more);	/* room for more bytes after len */

void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* As it is, but control characters as \x0a: one line, for people. */
void buf_add_line(struct buf *out, const char *data, size_t len);

/*
 * Copy text as valid UTF-8 without NUL, at most max bytes, into out: bytes that
 * are no UTF-8 become "\xNN". The result always fits a PostgreSQL text.
 */
void utf8_clean(struct buf *out, const char *data, size_t len, size_t max);
/* Length of the UTF-8 sequence that data starts with: 1 to 4, or 0 when it is none (or len is 0). NUL is one. */
size_t utf8_sequence(const char *data, size_t len);
bool utf8_valid(const char *data, size_t len);	/* and holds no NUL */

#endif
