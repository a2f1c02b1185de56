/*
 * test_jsonl.c - the lines between the worker and a handler: requests, cutting a stream, finding an answer.
 */
#include <string.h>
#include "jsonl.h"
#include "story.h"

/* ---- requests ---- */

static const struct {
	struct jsonl_request r;
	const char *expected;
} requests[] = {
	{ { "7", "q", 1, 12, "2026-01-01T00:00:00.000Z", "{\"a\": 1}", 8 },
	  "{\"id\":\"7\",\"queue\":\"q\",\"attempt\":1,\"claim_id\":\"12\",\"key\":\"q:7\","
	  "\"deadline\":\"2026-01-01T00:00:00.000Z\",\"payload\":{\"a\": 1}}\n" },
	{ { "a\"b\\c\n\x01", "my \"q\"", 2147483647, INT64_MAX, "", "null", 4 },
	  "{\"id\":\"a\\\"b\\\\c\\u000a\\u0001\",\"queue\":\"my \\\"q\\\"\",\"attempt\":2147483647,\"claim_id\":\"9223372036854775807\","
	  "\"key\":\"my \\\"q\\\":a\\\"b\\\\c\\u000a\\u0001\",\"deadline\":\"\",\"payload\":null}\n" },
	/* a json column keeps its line breaks: blanks on the way; what is escaped in a string stays */
	{ { "\xc3\xa9", "q", 0, INT64_MIN, "", "{\n\r\n \"a\": \"x\\ny\"\n}", 18 },
	  "{\"id\":\"\xc3\xa9\",\"queue\":\"q\",\"attempt\":0,\"claim_id\":\"-9223372036854775808\",\"key\":\"q:\xc3\xa9\","
	  "\"deadline\":\"\",\"payload\":{    \"a\": \"x\\ny\" }}\n" },
	{ { "1", "q", 1, 0, "", "1.10e+400", 9 },
	  "{\"id\":\"1\",\"queue\":\"q\",\"attempt\":1,\"claim_id\":\"0\",\"key\":\"q:1\",\"deadline\":\"\",\"payload\":1.10e+400}\n" },
};

START_TEST(a_request_is_one_line_with_its_payload_untouched)
{
	struct buf out = BUF_INIT;

	buf_adds(&out, "before\n");
	jsonl_add_request(&out, &requests[_i].r);
	ck_assert_str_eq(buf_text(&out), story_text("before\n%s", requests[_i].expected));
	buf_release(&out);
}
END_TEST

/* ---- lines ---- */

static void note_line(void *arg, const char *line, size_t len)
{
	buf_addf(arg, "<%.*s>", (int)len, line);
}

static const struct {
	const char *stream;
	size_t max;
	const char *expected;
	bool fits;
} streams[] = {
	{ "", 8, "", true },
	{ "a\nbc\n\nd", 8, "<a><bc><>", true },
	{ "12345678\n1\n", 8, "<12345678><1>", true },
	{ "123456789\n", 8, "", false },
	{ "a\n123456789", 8, "<a>", false },
	{ "\n\n\n", 1, "<><><>", true },
	{ "a\r\nb\r\n", 8, "<a\r><b\r>", true },
};

/* However the bytes come: in pieces of every size. */
START_TEST(a_stream_is_cut_into_lines_however_it_arrives)
{
	size_t all = strlen(streams[_i].stream);

	for (size_t piece = 1; piece <= all + 1; piece++) {
		struct jsonl_lines lines = { .max = streams[_i].max };
		struct buf out = BUF_INIT;
		bool fits = true;

		for (size_t at = 0; at < all && fits; at += piece)
			fits = jsonl_lines_add(&lines, streams[_i].stream + at, all - at < piece ? all - at : piece, note_line, &out);
		ck_assert_str_eq(buf_text(&out), streams[_i].expected);
		ck_assert_int_eq(fits, streams[_i].fits);
		if (!fits)
			ck_assert_uint_eq(lines.part.len, streams[_i].max);
		buf_release(&out);
		jsonl_lines_release(&lines);
	}
}
END_TEST

/* ---- answers ---- */

static void add_text(struct buf *out, const char *name, const struct jsonl_text *t)
{
	if (t->at != NULL)
		buf_addf(out, "%s=%.*s ", name, (int)t->len, t->at);
}

/* "id=… ok=… ", or "!why". */
static char *scan_text(const char *line, size_t len)
{
	struct buf out = BUF_INIT;
	struct jsonl_answer a;
	const char *why = jsonl_scan(line, len, &a);
	char *text;

	if (why != NULL) {
		buf_addf(&out, "!%s", why);
	} else {
		add_text(&out, "id", &a.id);
		add_text(&out, "ok", &a.ok);
		add_text(&out, "result", &a.result);
		add_text(&out, "error", &a.error);
		add_text(&out, "retry", &a.retry);
		add_text(&out, "delay", &a.delay);
		add_text(&out, "progress", &a.progress);
	}
	text = story_text("%s", buf_text(&out));
	buf_release(&out);
	return text;
}

#define NO_OBJECT "!it is no JSON object"
#define NO_ID "!it has no \"id\" that is a string"

static const struct {
	const char *line, *expected;
} answers[] = {
	{ "{\"id\":\"7\",\"ok\":true,\"result\":{\"a\":[1,2]}}", "id=\"7\" ok=true result={\"a\":[1,2]} " },
	{ " { \"id\" : \"7\" , \"ok\" : true , \"result\" : 1.50e+2 } \r", "id=\"7\" ok=true result=1.50e+2 " },
	{ "{\"result\":\"a\\\"}{,\\\\\",\"ok\":true,\"id\":\"7\"}", "id=\"7\" ok=true result=\"a\\\"}{,\\\\\" " },
	{ "{\"id\":\"7\",\"ok\":false,\"error\":\"no\",\"retry\":true,\"delay\":\"30s\"}",
	  "id=\"7\" ok=false error=\"no\" retry=true delay=\"30s\" " },
	{ "{\"id\":\"7\",\"progress\":0.4}", "id=\"7\" progress=0.4 " },
	{ "{\"id\":\"7\",\"ok\":true}", "id=\"7\" ok=true " },
	{ "{\"id\":\"\",\"ok\":true,\"x\":{\"id\":\"8\",\"ok\":false},\"ID\":1}", "id=\"\" ok=true " },
	{ "{\"id\":\"7\",\"ok\":true,\"ok\":false}", "id=\"7\" ok=false " },
	{ "{\"id\":\"7\",\"ok\":true,\"result\":[[[{\"a\":\"]\"}]]]}", "id=\"7\" ok=true result=[[[{\"a\":\"]\"}]]] " },
	{ "{\"id\":\"7\",\"ok\":true,\"result\":null}", "id=\"7\" ok=true result=null " },
	/* what is wrong within a result is for the database to say */
	{ "{\"id\":\"7\",\"ok\":true,\"result\":nonsense}", "id=\"7\" ok=true result=nonsense " },
	{ "{\"id\":\"7\",\"ok\":true,\"result\":[1,,}}", "id=\"7\" ok=true result=[1,,} " },

	{ "", NO_OBJECT }, { "  ", NO_OBJECT }, { "hello", NO_OBJECT }, { "7", NO_OBJECT }, { "null", NO_OBJECT },
	{ "[]", NO_OBJECT }, { "{", NO_OBJECT }, { "{}", NO_OBJECT }, { "{\"id\"", NO_OBJECT }, { "{\"id\":", NO_OBJECT },
	{ "{\"id\":\"7", NO_OBJECT }, { "{\"id\":\"7\\", NO_OBJECT }, { "{\"id\":\"7\\\"", NO_OBJECT }, { "{\"id\":\"7\"", NO_OBJECT },
	{ "{\"id\":\"7\",}", NO_OBJECT }, { "{\"id\":\"7\",\"ok\":true", NO_OBJECT }, { "{\"id\":\"7\",\"ok\":true}x", NO_OBJECT },
	{ "{\"id\":\"7\",\"ok\":true}{}", NO_OBJECT }, { "{\"id\":\"7\" \"ok\":true}", NO_OBJECT }, { "{\"id\" \"7\",\"ok\":true}", NO_OBJECT },
	{ "{id:\"7\",\"ok\":true}", NO_OBJECT }, { "{'id':'7','ok':true}", NO_OBJECT }, { "{\"id\":\"7\",\"ok\":true,\"result\":1 2}", NO_OBJECT },
	{ "{\"id\":\"7\",\"ok\":true,\"result\":[}", NO_OBJECT }, { "{\"id\":\"7\",\"ok\":true,\"result\":}", NO_OBJECT },
	{ "{\"ok\":true}", NO_ID }, { "{\"id\":7,\"ok\":true}", NO_ID }, { "{\"id\":null,\"ok\":true}", NO_ID },
	{ "{\"id\":\"7\"}", "!it has neither \"ok\" nor \"progress\"" },
	{ "{\"id\":\"7\",\"ok\":1}", "!\"ok\" is neither true nor false" },
	{ "{\"id\":\"7\",\"ok\":\"true\"}", "!\"ok\" is neither true nor false" },
};

START_TEST(an_answer_is_found_in_its_line)
{
	ck_assert_str_eq(scan_text(answers[_i].line, strlen(answers[_i].line)), answers[_i].expected);
}
END_TEST

START_TEST(a_line_cut_short_tells_whose_it_was)
{
	static const char line[] = "{\"id\":\"7\",\"ok\":true,\"result\":\"aaaa";
	struct jsonl_answer a;

	ck_assert_ptr_nonnull(jsonl_scan(line, strlen(line), &a));
	ck_assert(jsonl_is(&a.id, "\"7\""));
	ck_assert_ptr_eq(a.result.at, line + strlen(line) - 5);
	ck_assert_uint_eq(a.result.len, 0);
}
END_TEST

/* Bytes from outside: every cut and every changed byte of real lines, in memory that ends where they end. */
START_TEST(no_line_makes_the_scanner_read_beyond_it)
{
	static const char bytes[] = "{}[]\":,\\ \t\r\na0\x80\xff";

	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
		size_t all = strlen(answers[i].line);

		for (size_t len = 0; len <= all; len++) {
			char *line = malloc(len + (len == 0));
			struct buf text = BUF_INIT;
			struct jsonl_answer a;

			ck_assert_ptr_nonnull(line);
			for (size_t at = 0; at < len; at++) {
				for (size_t k = 0; k < sizeof bytes; k++) {	/* the NUL too */
					memcpy(line, answers[i].line, len);
					line[at] = bytes[k];
					if (jsonl_scan(line, len, &a) != NULL)
						continue;
					ck_assert(a.id.at > line && a.id.at + a.id.len < line + len);
					jsonl_string(&a.id, &text);
					jsonl_string(&a.error, &text);
				}
			}
			free(line);
			buf_release(&text);
		}
	}
}
END_TEST

/* ---- strings ---- */

static const struct {
	const char *json, *expected;	/* NULL: refused */
} strings[] = {
	{ "\"\"", "" }, { "\"plain\"", "plain" }, { "\"a\\\"\\\\\\/\\b\\f\\n\\r\\tz\"", "a\"\\/\b\f\n\r\tz" },
	{ "\"\\u0041\\u00e9\\u20ac\"", "A\xc3\xa9\xe2\x82\xac" }, { "\"\\uD83D\\uDE00!\"", "\xf0\x9f\x98\x80!" },
	{ "\"\\ud83d\"", "\xef\xbf\xbd" }, { "\"\\ude00x\"", "\xef\xbf\xbdx" }, { "\"\\ud83d\\u0041\"", "\xef\xbf\xbd""A" },
	{ "\"\\x\"", NULL }, { "\"\\u12\"", NULL }, { "\"\\u12g4\"", NULL }, { "7", NULL }, { "null", NULL }, { "\"", NULL },
};

START_TEST(a_string_is_read_with_its_escapes)
{
	struct jsonl_text t = { strings[_i].json, strlen(strings[_i].json) };
	struct buf out = BUF_INIT;
	bool read = jsonl_string(&t, &out);

	ck_assert_int_eq(read, strings[_i].expected != NULL);
	if (read)
		ck_assert_str_eq(buf_text(&out), strings[_i].expected);
	buf_release(&out);
}
END_TEST

/* Time that grows with the square of a line's length would take minutes here. */
START_TEST(a_long_line_of_escapes_is_scanned_in_one_pass)
{
	struct buf line = BUF_INIT;
	struct jsonl_answer a;

	buf_adds(&line, "{\"id\":\"7\",\"ok\":true,\"result\":\"");
	for (int i = 0; i < 4 * 1024 * 1024; i++)
		buf_add(&line, i % 3 ? "\\\"" : "\\n", 2);
	buf_adds(&line, "\"}");
	ck_assert_ptr_null(jsonl_scan(line.data, line.len, &a));
	ck_assert_uint_eq(a.result.len, 8 * 1024 * 1024 + 2);
	buf_release(&line);
}
END_TEST

#define LOOP(tc, test, cases) tcase_add_loop_test(tc, test, 0, (int)(sizeof(cases) / sizeof *(cases)))

int main(void)
{
	Suite *s = suite_create("jsonl");
	TCase *tc = story_case(s, "lines");

	LOOP(tc, a_request_is_one_line_with_its_payload_untouched, requests);
	LOOP(tc, a_stream_is_cut_into_lines_however_it_arrives, streams);
	LOOP(tc, an_answer_is_found_in_its_line, answers);
	tcase_add_test(tc, a_line_cut_short_tells_whose_it_was);
	tcase_add_test(tc, no_line_makes_the_scanner_read_beyond_it);
	LOOP(tc, a_string_is_read_with_its_escapes, strings);
	tcase_add_test(tc, a_long_line_of_escapes_is_scanned_in_one_pass);
	return check_main(s);
}
