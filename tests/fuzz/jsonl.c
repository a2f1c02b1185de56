/*
 * jsonl.c - any bytes as what a handler process prints, in pieces of any size.
 *
 * The lines do not depend on the pieces; what is found lies within its line. And
 * any payload goes out as exactly one line.
 */
#include <string.h>
#include "fuzz.h"
#include "jsonl.h"

#define MAX 200

static void check_text(const struct jsonl_text *t, const char *line, size_t len)
{
	struct buf out = BUF_INIT;

	if (t->at == NULL)
		return;
	must(t->at >= line && t->at + t->len <= line + len);
	jsonl_is(t, "true");
	if (jsonl_string(t, &out))
		must(t->len >= 2 && out.len <= 2 * t->len);
	buf_release(&out);
}

static void on_line(void *arg, const char *line, size_t len)
{
	struct buf *all = arg;
	struct jsonl_answer a;
	char *exact = malloc(len + 1);		/* so that reading behind the end is seen */

	memcpy(exact, line, len);
	must(len <= MAX && memchr(line, '\n', len) == NULL);
	exact = realloc(exact, len > 0 ? len : 1);
	jsonl_scan(exact, len, &a);
	check_text(&a.id, exact, len);
	check_text(&a.ok, exact, len);
	check_text(&a.result, exact, len);
	check_text(&a.error, exact, len);
	check_text(&a.retry, exact, len);
	check_text(&a.delay, exact, len);
	check_text(&a.progress, exact, len);
	free(exact);
	buf_add(all, line, len);
	buf_addc(all, '\n');
}

static bool lines_of(const char *data, size_t size, size_t piece, struct buf *all)
{
	struct jsonl_lines l = { .max = MAX };
	bool fine = true;

	for (size_t at = 0; fine && at < size; at += piece)
		fine = jsonl_lines_add(&l, data + at, size - at < piece ? size - at : piece, on_line, all);
	jsonl_lines_release(&l);
	return fine;
}

static void request(const char *data, size_t size)
{
	const struct jsonl_request r = {
		.id = "1", .queue = "q", .attempt = 1, .claim_id = 2, .deadline = "d", .payload = data, .payload_len = size,
	};
	struct buf out = BUF_INIT;

	jsonl_add_request(&out, &r);
	must(memchr(out.data, '\n', out.len) == out.data + out.len - 1);
	buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = BUF_INIT, pieces = BUF_INIT;
	size_t piece;
	bool fine, fine_too;

	if (size < 1)
		return 0;
	piece = (size_t)data[0] % 32 + 1;
	fine = lines_of((const char *)data + 1, size - 1, size, &whole);
	fine_too = lines_of((const char *)data + 1, size - 1, piece, &pieces);
	must(fine == fine_too && whole.len == pieces.len);
	must(whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0);
	request((const char *)data + 1, size - 1);
	buf_release(&whole);
	buf_release(&pieces);
	return 0;
}
