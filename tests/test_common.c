/*
 * test_common.c - the lowest rows of common/: errors, time, buffers, words, names, the log.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "buf.h"
#include "check_main.h"
#include "clock.h"
#include "error.h"
#include "ident.h"
#include "leftovers.h"
#include "log.h"
#include "words.h"

#define BYTES(literal) literal, sizeof(literal) - 1

/* ---- error ---- */

START_TEST(error_first_cause_wins)
{
	struct error err = ERROR_INIT;

	ck_assert_int_eq(error_set(&err, ERR_NO_DB, "no %s", "server"), -1);
	ck_assert_int_eq(error_set(&err, ERR_USAGE, "later"), -1);
	ck_assert_int_eq(err.kind, ERR_NO_DB);
	ck_assert_str_eq(err.text, "no server");
	ck_assert_str_eq(err.sqlstate, "");
	ck_assert_int_eq(error_set(NULL, ERR_SYS, "nobody asks"), -1);
	ck_assert_int_eq(error_prefix(NULL, "nobody asks"), -1);
}
END_TEST

START_TEST(error_prefix_goes_before_the_text)
{
	struct error err = ERROR_INIT;

	error_set(&err, ERR_DB, "no such table");
	ck_assert_int_eq(error_prefix(&err, "queue %s", "videos"), -1);
	ck_assert_str_eq(err.text, "queue videos: no such table");
	error_prefix(&err, "%s again", err.text);
	ck_assert_str_eq(err.text, "queue videos: no such table again: queue videos: no such table");
	ck_assert_int_eq(err.kind, ERR_DB);
}
END_TEST

/* Lengths around the size of the text, for the text and for the prefix. */
static const size_t long_lengths[] = { 0, 1, 1019, 1020, 1021, 1022, 1023, 1024, 1025, 5000 };

START_TEST(error_never_overflows)
{
	size_t prefix_len = long_lengths[_i];
	char *prefix = xcalloc(1, prefix_len + 1);

	memset(prefix, 'p', prefix_len);
	for (size_t i = 0; i < ARRAY_SIZE(long_lengths); i++) {
		struct error err = ERROR_INIT;
		char *text = xcalloc(1, long_lengths[i] + 1);
		size_t kept = long_lengths[i] < 1023 ? long_lengths[i] : 1023;

		memset(text, 't', long_lengths[i]);
		error_set(&err, ERR_SYS, "%s", text);
		ck_assert_uint_eq(strlen(err.text), kept);
		error_prefix(&err, "%s", prefix);
		ck_assert_uint_eq(strlen(err.text), prefix_len + 2 + kept < 1023 ? prefix_len + 2 + kept : 1023);
		ck_assert_int_eq(err.text[0], prefix_len ? 'p' : ':');
		free(text);
	}
	free(prefix);
}
END_TEST

START_TEST(error_is_cut_between_characters)
{
	for (size_t pad = 0; pad < 8; pad++) {
		struct error err = ERROR_INIT;
		struct buf text = BUF_INIT;

		for (size_t i = 0; i < pad; i++)
			buf_addc(&text, 'x');
		while (text.len < 1200)
			buf_adds(&text, pad % 2 ? "\xE2\x82\xAC" : "\xF0\x9F\x98\x80");
		error_set(&err, ERR_SYS, "%s", text.data);
		ck_assert(utf8_valid(err.text, strlen(err.text)));
		ck_assert_uint_ge(strlen(err.text), 1020);
		error_prefix(&err, "queue");
		ck_assert(utf8_valid(err.text, strlen(err.text)));
		error_prefix(&err, "%s", text.data);
		ck_assert(utf8_valid(err.text, strlen(err.text)));
		buf_release(&text);
	}
}
END_TEST

static const struct {
	enum error_kind kind;
	enum exit_status status;
} statuses[] = {
	{ ERR_NONE, EXIT_DONE },
	{ ERR_USAGE, EXIT_USAGE },
	{ ERR_SETTINGS, EXIT_SETTINGS },
	{ ERR_NO_DB, EXIT_NO_DB },
	{ ERR_DB, EXIT_FAILED },
	{ ERR_SYS, EXIT_FAILED },
};

START_TEST(error_has_an_exit_status)
{
	struct error err = { .kind = statuses[_i].kind };

	ck_assert_int_eq(error_exit_status(&err), statuses[_i].status);
}
END_TEST

START_TEST(exit_statuses_are_the_interface)
{
	static const int all[] = { 0, 1, 64, 69, 75, 78 };

	ck_assert_int_eq(EXIT_DONE, 0);
	ck_assert_int_eq(EXIT_FAILED, 1);
	ck_assert_int_eq(EXIT_USAGE, 64);
	ck_assert_int_eq(EXIT_NO_DB, 69);
	ck_assert_int_eq(EXIT_HELD, 75);
	ck_assert_int_eq(EXIT_SETTINGS, 78);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		ck_assert_int_eq(exit_statuses[i].status, all[i]);
	ck_assert_ptr_null(exit_statuses[ARRAY_SIZE(all)].means);
}
END_TEST

/* ---- clock ---- */

static const struct {
	const char *text;
	usec_t want;		/* USEC_NEVER: refused */
	const char *back;	/* usec_text(want); NULL: text */
} durations[] = {
	{ "0", 0, "0s" },
	{ "90", 90 * SEC, "1m30s" },
	{ "250ms", 250 * MSEC, NULL },
	{ "90s", 90 * SEC, "1m30s" },
	{ "15m", 15 * MINUTE, NULL },
	{ "1h", HOUR, NULL },
	{ "1h30m", HOUR + 30 * MINUTE, NULL },
	{ "2d", 2 * DAY, NULL },
	{ "1d2h3m4s5ms", DAY + 2 * HOUR + 3 * MINUTE + 4 * SEC + 5 * MSEC, NULL },
	{ "1d5ms", DAY + 5 * MSEC, NULL },
	{ "007s", 7 * SEC, "7s" },
	{ "0h0m0s", 0, "0s" },
	{ "0ms", 0, "0s" },
	{ "1500ms", 1500 * MSEC, "1s500ms" },
	{ "36h", 36 * HOUR, "1d12h" },
	{ "1000000d", USEC_LONGEST, NULL },
	{ "86400000000", USEC_LONGEST, "1000000d" },

	{ "", USEC_NEVER, NULL },
	{ " ", USEC_NEVER, NULL },
	{ "s", USEC_NEVER, NULL },
	{ "-1", USEC_NEVER, NULL },
	{ "+1", USEC_NEVER, NULL },
	{ "1.5h", USEC_NEVER, NULL },
	{ "1,5h", USEC_NEVER, NULL },
	{ " 90", USEC_NEVER, NULL },
	{ "90 ", USEC_NEVER, NULL },
	{ "90 s", USEC_NEVER, NULL },
	{ "1h 30m", USEC_NEVER, NULL },
	{ "90\n", USEC_NEVER, NULL },
	{ "1h30", USEC_NEVER, NULL },
	{ "30m1h", USEC_NEVER, NULL },
	{ "1h1h", USEC_NEVER, NULL },
	{ "5ms3s", USEC_NEVER, NULL },
	{ "1M", USEC_NEVER, NULL },
	{ "1H", USEC_NEVER, NULL },
	{ "1w", USEC_NEVER, NULL },
	{ "1y", USEC_NEVER, NULL },
	{ "1us", USEC_NEVER, NULL },
	{ "1min", USEC_NEVER, NULL },
	{ "10sec", USEC_NEVER, NULL },
	{ "ten", USEC_NEVER, NULL },
	{ "0x10", USEC_NEVER, NULL },
	{ "1e3", USEC_NEVER, NULL },
	{ "never", USEC_NEVER, NULL },
	{ "infinity", USEC_NEVER, NULL },
	{ "\xD9\xA3s", USEC_NEVER, NULL },		/* an Arabic digit */
	{ "1000001d", USEC_NEVER, NULL },
	{ "1000000d1ms", USEC_NEVER, NULL },
	{ "86400000001", USEC_NEVER, NULL },
	{ "18446744073709551615", USEC_NEVER, NULL },	/* 2^64 - 1 seconds: no room as usec */
	{ "18446744073709551616", USEC_NEVER, NULL },	/* 2^64 */
	{ "18446744073709551706s", USEC_NEVER, NULL },	/* 2^64 + 90: would be 90 if it wrapped */
	{ "18446744073710s", USEC_NEVER, NULL },	/* just over 2^64 usec: small if it wrapped */
	{ "213503982335d", USEC_NEVER, NULL },
	{ "99999999999999999999999999999999h", USEC_NEVER, NULL },
};

START_TEST(duration_is_read_or_refused)
{
	usec_t got = 4711;
	int bad = usec_parse(durations[_i].text, &got);

	if (durations[_i].want == USEC_NEVER) {
		ck_assert_int_eq(bad, -1);
		ck_assert_uint_eq(got, 4711);	/* untouched: a bad one is never taken as 0 */
	} else {
		char back[USEC_TEXT_MAX];

		ck_assert_int_eq(bad, 0);
		ck_assert_uint_eq(got, durations[_i].want);
		ck_assert_str_eq(usec_text(got, back), durations[_i].back ? durations[_i].back : durations[_i].text);
	}
}
END_TEST

START_TEST(duration_text_reads_back)
{
	for (int i = 0; i < 20000; i++) {
		usec_t want = ((usec_t)arc4random() << 32 | arc4random()) % (USEC_LONGEST / MSEC) * MSEC, got;
		char text[USEC_TEXT_MAX];

		if (i % 2)
			want >>= arc4random_uniform(40);	/* short ones, too */
		want -= want % MSEC;
		ck_assert_int_eq(usec_parse(usec_text(want, text), &got), 0);
		ck_assert_uint_eq(got, want);
	}
}
END_TEST

static const struct {
	usec_t t;
	const char *want;
} usec_texts[] = {
	{ 0, "0s" },
	{ 999, "0s" },
	{ 1999, "1ms" },
	{ SEC + 1, "1s" },
	{ USEC_NEVER, "never" },
	{ USEC_NEVER - 1, "213503982d8h1m49s551ms" },
};

START_TEST(duration_text)
{
	char text[USEC_TEXT_MAX];

	ck_assert_str_eq(usec_text(usec_texts[_i].t, text), usec_texts[_i].want);
}
END_TEST

static const struct {
	usec_t wall;
	const char *want;
} wall_texts[] = {
	{ 0, "1970-01-01T00:00:00.000Z" },
	{ 999999, "1970-01-01T00:00:00.999Z" },
	{ 1767225600 * SEC, "2026-01-01T00:00:00.000Z" },
	{ 1709164799 * SEC + 7 * MSEC, "2024-02-28T23:59:59.007Z" },
	{ 1709251199 * SEC, "2024-02-29T23:59:59.000Z" },
	{ 253402300799 * SEC, "9999-12-31T23:59:59.000Z" },
};

START_TEST(wall_clock_text)
{
	char text[WALL_TEXT_MAX];

	ck_assert_str_eq(wall_text(wall_texts[_i].wall, text), wall_texts[_i].want);
	ck_assert_uint_lt(strlen(wall_text(UINT64_MAX, text)), WALL_TEXT_MAX);
}
END_TEST

START_TEST(wall_clock_text_is_utc)
{
	char text[WALL_TEXT_MAX];

	setenv("TZ", "America/New_York", 1);
	tzset();
	ck_assert_str_eq(wall_text(0, text), "1970-01-01T00:00:00.000Z");
}
END_TEST

START_TEST(clocks_run)
{
	usec_t before = clock_now();

	while (clock_now() == before)
		;
	ck_assert_uint_gt(clock_now(), before);
	ck_assert_uint_gt(clock_wall(), 1700000000 * SEC);
}
END_TEST

START_TEST(jitter_stays_in_range_and_moves)
{
	usec_t least = USEC_NEVER, most = 0;

	for (int i = 0; i < 10000; i++) {
		usec_t t = usec_jitter(10 * SEC, 0.2);

		ck_assert_uint_ge(t, 8 * SEC);
		ck_assert_uint_le(t, 12 * SEC);
		least = usec_min(least, t);
		most = t > most ? t : most;
	}
	ck_assert_uint_lt(least, 9 * SEC);	/* by chance not: 0.75 to the power of 10000 */
	ck_assert_uint_gt(most, 11 * SEC);
	ck_assert_uint_eq(usec_jitter(0, 0.2), 0);
	ck_assert_uint_eq(usec_jitter(SEC, 0), SEC);
	ck_assert_uint_eq(usec_jitter(USEC_NEVER, 0.2), USEC_NEVER);
	ck_assert_uint_eq(usec_jitter(USEC_NEVER - 1, 1.0), USEC_NEVER - 1);
	ck_assert_uint_le(usec_jitter(SEC, 1.0), 2 * SEC);
}
END_TEST

/* ---- buf ---- */

START_TEST(buf_grows_and_stays_terminated)
{
	struct buf b = BUF_INIT;

	ck_assert_str_eq(buf_text(&b), "");
	buf_add(&b, NULL, 0);
	ck_assert_ptr_nonnull(b.data);
	for (size_t i = 0; i < 10000; i++) {
		buf_addc(&b, (char)('a' + i % 26));
		ck_assert_uint_eq(b.len, i + 1);
		ck_assert_uint_lt(b.len, b.cap);
		ck_assert_int_eq(b.data[b.len], '\0');
	}
	ck_assert_int_eq(b.data[9999], 'a' + 9999 % 26);
	buf_clear(&b);
	ck_assert_str_eq(buf_text(&b), "");
	buf_adds(&b, "again");
	ck_assert_str_eq(buf_text(&b), "again");
	buf_release(&b);
	ck_assert_ptr_null(b.data);
	buf_release(&b);
	buf_clear(&b);
	ck_assert_str_eq(buf_text(&b), "");
}
END_TEST

START_TEST(buf_holds_nul_bytes)
{
	struct buf b = BUF_INIT;

	buf_add(&b, BYTES("a\0b"));
	buf_addc(&b, '\0');
	buf_adds(&b, "c");
	ck_assert_uint_eq(b.len, 5);
	ck_assert_mem_eq(b.data, "a\0b\0c", 6);
	buf_release(&b);
}
END_TEST

START_TEST(buf_formats_any_length)
{
	char big[300];

	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	for (size_t fill = 0; fill < 140; fill++) {	/* every distance to the end of the first sizes */
		struct buf b = BUF_INIT;

		for (size_t i = 0; i < fill; i++)
			buf_addc(&b, '-');
		buf_addf(&b, "%d|%s|%s", 42, "", big);
		ck_assert_uint_eq(b.len, fill + 4 + 299);
		ck_assert_str_eq(b.data + fill + 4, big);
		ck_assert_mem_eq(b.data + fill, "42||", 4);
		buf_release(&b);
	}
}
END_TEST

START_TEST(buf_gives_its_text_away)
{
	struct buf b = BUF_INIT;
	char *text = buf_give(&b);

	ck_assert_str_eq(text, "");
	free(text);
	buf_adds(&b, "mine");
	text = buf_give(&b);
	ck_assert_str_eq(text, "mine");
	ck_assert_uint_eq(b.len, 0);
	ck_assert_ptr_null(b.data);
	free(text);
}
END_TEST

START_TEST(buf_reserves_room_to_write_into)
{
	struct buf b = BUF_INIT;

	buf_adds(&b, "ab");
	buf_reserve(&b, 5000);
	memset(b.data + b.len, 'z', 5000);
	b.len += 5000;
	buf_addc(&b, '!');
	ck_assert_uint_eq(b.len, 5003);
	ck_assert_mem_eq(b.data, "abzz", 4);
	ck_assert_mem_eq(b.data + 5000, "zz!", 4);
	buf_release(&b);
}
END_TEST

START_TEST(copies_are_copies)
{
	char *a = xstrdup("text"), *b = xstrndup("text", 2), *c = xstrndup("text", 99);
	char *d = xasprintf("%s-%0*d", a, 100, 7);
	unsigned char *zero = xcalloc(3, 5);
	char *none = xmalloc(0);

	ck_assert_str_eq(a, "text");
	ck_assert_str_eq(b, "te");
	ck_assert_str_eq(c, "text");
	ck_assert_uint_eq(strlen(d), 105);
	for (size_t i = 0; i < 15; i++)
		ck_assert_int_eq(zero[i], 0);
	ck_assert_ptr_nonnull(none);
	none = xrealloc(none, 8);
	memcpy(none, "1234567", 8);
	ck_assert_str_eq(none, "1234567");
	free(a), free(b), free(c), free(d), free(zero), free(none);
}
END_TEST

/* In a child: memory that cannot be had is one line and exit status 1. */
static void expect_out_of_memory(void (*ask)(void))
{
	char said[200] = "";
	int out[2], status;
	pid_t pid;
	size_t len = 0;
	ssize_t n;

	ck_assert_int_eq(pipe(out), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		dup2(out[1], STDERR_FILENO);
		ask();
		_exit(0);
	}
	close(out[1]);
	while ((n = read(out[0], said + len, sizeof said - 1 - len)) > 0)
		len += (size_t)n;
	close(out[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 1);
	ck_assert_str_eq(said, "out of memory\n");
}

static void reserve_too_much(void)
{
	struct buf b = BUF_INIT;

	buf_adds(&b, "x");
	buf_reserve(&b, SIZE_MAX - 1);
}

START_TEST(memory_that_cannot_be_had_ends_the_program)
{
	expect_out_of_memory(reserve_too_much);
}
END_TEST

static const struct {
	const char *data;
	size_t len;
	bool valid;
	const char *clean;	/* NULL: the same */
} utf8[] = {
	{ BYTES(""), true, NULL },
	{ BYTES("plain \t\n ascii \x7F"), true, NULL },
	{ BYTES("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"), true, NULL },
	{ BYTES("\xC2\x80"), true, NULL },		/* U+0080 */
	{ BYTES("\xDF\xBF"), true, NULL },
	{ BYTES("\xE0\xA0\x80"), true, NULL },		/* U+0800 */
	{ BYTES("\xED\x9F\xBF"), true, NULL },		/* U+D7FF */
	{ BYTES("\xEE\x80\x80"), true, NULL },		/* U+E000 */
	{ BYTES("\xEF\xBF\xBF"), true, NULL },		/* U+FFFF */
	{ BYTES("\xF0\x90\x80\x80"), true, NULL },	/* U+10000 */
	{ BYTES("\xF4\x8F\xBF\xBF"), true, NULL },	/* U+10FFFF */

	{ BYTES("a\0b"), false, "a\\x00b" },
	{ BYTES("\x80"), false, "\\x80" },
	{ BYTES("a\xBFz"), false, "a\\xbfz" },
	{ BYTES("\xC0\x80"), false, "\\xc0\\x80" },	/* overlong NUL */
	{ BYTES("\xC1\xBF"), false, "\\xc1\\xbf" },	/* overlong */
	{ BYTES("\xE0\x80\xAF"), false, "\\xe0\\x80\\xaf" },
	{ BYTES("\xE0\x9F\xBF"), false, "\\xe0\\x9f\\xbf" },
	{ BYTES("\xF0\x80\x80\xAF"), false, "\\xf0\\x80\\x80\\xaf" },
	{ BYTES("\xF0\x8F\xBF\xBF"), false, "\\xf0\\x8f\\xbf\\xbf" },
	{ BYTES("\xED\xA0\x80"), false, "\\xed\\xa0\\x80" },	/* U+D800, a surrogate */
	{ BYTES("\xED\xBF\xBF"), false, "\\xed\\xbf\\xbf" },	/* U+DFFF */
	{ BYTES("\xF4\x90\x80\x80"), false, "\\xf4\\x90\\x80\\x80" },	/* above U+10FFFF */
	{ BYTES("\xF5\x80\x80\x80"), false, "\\xf5\\x80\\x80\\x80" },
	{ BYTES("\xFE\xFF"), false, "\\xfe\\xff" },
	{ BYTES("x\xC3"), false, "x\\xc3" },			/* truncated */
	{ BYTES("x\xE2\x82"), false, "x\\xe2\\x82" },
	{ BYTES("x\xF0\x9F\x98"), false, "x\\xf0\\x9f\\x98" },
	{ BYTES("\xC3" "A"), false, "\\xc3A" },
	{ BYTES("\xE2\x82" "A"), false, "\\xe2\\x82" "A" },
	{ BYTES("\xE2" "A" "\x82"), false, "\\xe2" "A" "\\x82" },
	{ BYTES("\xF0\x9F" "AB"), false, "\\xf0\\x9f" "AB" },
	{ BYTES("\xC3\xA9\xFF\xC3\xA9"), false, "\xC3\xA9\\xff\xC3\xA9" },
};

/* A copy of exactly len bytes, so that reading one too many is seen by the sanitizer. */
static char *exact_copy(const char *data, size_t len)
{
	char *copy = xmalloc(len);

	if (len)
		memcpy(copy, data, len);
	return copy;
}

START_TEST(utf8_is_told_and_cleaned)
{
	char *data = exact_copy(utf8[_i].data, utf8[_i].len);
	struct buf b = BUF_INIT;

	ck_assert_int_eq(utf8_valid(data, utf8[_i].len), utf8[_i].valid);
	buf_adds(&b, ">");
	utf8_clean(&b, data, utf8[_i].len, SIZE_MAX);
	ck_assert_str_eq(b.data + 1, utf8[_i].clean ? utf8[_i].clean : data ? utf8[_i].data : "");
	ck_assert(utf8_valid(b.data, b.len));
	buf_release(&b);
	free(data);
}
END_TEST

START_TEST(utf8_clean_stops_before_max)
{
	struct buf whole = BUF_INIT;

	utf8_clean(&whole, utf8[_i].data, utf8[_i].len, SIZE_MAX);
	for (size_t max = 0; max <= whole.len; max++) {
		struct buf b = BUF_INIT;

		utf8_clean(&b, utf8[_i].data, utf8[_i].len, max);
		ck_assert_uint_le(b.len, max);
		ck_assert_uint_gt(b.len + 4, max);	/* no piece is longer than 4 */
		ck_assert_mem_eq(b.data, whole.data, b.len);
		ck_assert(utf8_valid(b.data, b.len));
		buf_release(&b);
	}
	buf_release(&whole);
}
END_TEST

/* ---- words ---- */

static const struct {
	const char *text;
	const char *want[6];	/* want[0] NULL and not empty_ok: refused */
	const char *error;	/* part of the message */
} commands[] = {
	{ "", { NULL }, NULL },
	{ " \t\r\n ", { NULL }, NULL },
	{ "a", { "a" }, NULL },
	{ "/srv/app/thumbnail --size 200", { "/srv/app/thumbnail", "--size", "200" }, NULL },
	{ "  a \t b\nc\r\nd  ", { "a", "b", "c", "d" }, NULL },
	{ "''", { "" }, NULL },
	{ "\"\"", { "" }, NULL },
	{ "a '' \"\" b", { "a", "", "", "b" }, NULL },
	{ "'a b' \"c d\"", { "a b", "c d" }, NULL },
	{ "a'b c'd\"e f\"g", { "ab cde fg" }, NULL },
	{ "'a\nb'", { "a\nb" }, NULL },
	{ "'\\n $x \"q\" `y`'", { "\\n $x \"q\" `y`" }, NULL },
	{ "\"it's\"", { "it's" }, NULL },
	{ "\"\\\" \\\\ \\$ \\`\"", { "\" \\ $ `" }, NULL },
	{ "\"\\n\\a\\'\"", { "\\n\\a\\'" }, NULL },	/* the backslash stays before anything else */
	{ "a\\ b \\'c\\' \\\"d \\\\ \\n", { "a b", "'c'", "\"d", "\\", "n" }, NULL },
	{ "a\\\nb", { "ab" }, NULL },
	{ "a \\\n b", { "a", "b" }, NULL },
	{ "a\\\n b", { "a", "b" }, NULL },
	{ "a \\\n", { "a" }, NULL },
	{ "\"a\\\nb\"", { "ab" }, NULL },
	{ "echo #not; a & comment", { "echo", "#not;", "a", "&", "comment" }, NULL },
	{ "$HOME *.c `id` ~ >x", { "$HOME", "*.c", "`id`", "~", ">x" }, NULL },
	{ "\xC3\xA9t\xC3\xA9 \xFF", { "\xC3\xA9t\xC3\xA9", "\xFF" }, NULL },

	{ "'", { NULL }, "single quote" },
	{ "a 'b c", { NULL }, "single quote" },
	{ "a'b'c'", { NULL }, "single quote" },
	{ "'a\\'", { "a\\" }, NULL },
	{ "\"", { NULL }, "double quote" },
	{ "a \"b c", { NULL }, "double quote" },
	{ "\"a\\\"", { NULL }, "double quote" },
	{ "\"a\\", { NULL }, "double quote" },
	{ "\"a\\\n", { NULL }, "double quote" },
	{ "\\", { NULL }, "backslash" },
	{ "a b\\", { NULL }, "backslash" },
	{ "a b \\", { NULL }, "backslash" },
};

START_TEST(command_is_split_or_refused)
{
	struct error err = ERROR_INIT;
	char *text = exact_copy(commands[_i].text, strlen(commands[_i].text) + 1);
	char **words = words_split(text, &err);
	size_t n = 0;

	free(text);
	if (commands[_i].error) {
		ck_assert_ptr_null(words);
		ck_assert_int_eq(err.kind, ERR_SETTINGS);
		ck_assert_msg(strstr(err.text, commands[_i].error) != NULL, "said: %s", err.text);
		return;
	}
	ck_assert_ptr_nonnull(words);
	ck_assert_int_eq(err.kind, ERR_NONE);
	for (; commands[_i].want[n]; n++) {
		ck_assert_ptr_nonnull(words[n]);
		ck_assert_str_eq(words[n], commands[_i].want[n]);
	}
	ck_assert_ptr_null(words[n]);
	ck_assert_uint_eq(words_count(words), n);
	words_free(words);
}
END_TEST

START_TEST(many_words)
{
	struct buf text = BUF_INIT;
	struct error err = ERROR_INIT;
	char **words;

	for (int i = 0; i < 1000; i++)
		buf_addf(&text, "w%d ", i);
	words = words_split(text.data, &err);
	ck_assert_uint_eq(words_count(words), 1000);
	ck_assert_str_eq(words[0], "w0");
	ck_assert_str_eq(words[999], "w999");
	words_free(words);
	words_free(NULL);
	ck_assert_uint_eq(words_count(NULL), 0);
	buf_release(&text);
}
END_TEST

static const char *const keys[] = {
	"concurrency", "poll_interval", "wake", "graceful_timeout", "heartbeat", "timeout", "id", "timezone",
};
static const struct {
	const char *word, *want;
} typos[] = {
	{ "concurrency", "concurrency" },
	{ "concurency", "concurrency" },
	{ "concurrrency", "concurrency" },
	{ "cuncurrancy", "concurrency" },
	{ "Concurrency", "concurrency" },
	{ "timeuot", "timeout" },		/* neighbours swapped: one step */
	{ "imteuot", "timeout" },
	{ "tmieuto", "timeout" },
	{ "wkae", "wake" },
	{ "wkea", NULL },			/* two steps are half of four */
	{ "graceful-timeout", "graceful_timeout" },
	{ "heart_beats", "heartbeat" },
	{ "hart_baet", "heartbeat" },		/* three */
	{ "hart_baets", NULL },			/* four */
	{ "di", NULL },				/* one step is half of two */
	{ "id", "id" },
	{ "i", NULL },
	{ "", NULL },
	{ "colour", NULL },
	{ "an_extremely_long_key_that_nobody_has_ever_had_and_that_is_no_typo_of_anything", NULL },
};

START_TEST(nearest_word)
{
	const char *got = words_nearest(typos[_i].word, keys, ARRAY_SIZE(keys));

	ck_assert_pstr_eq(got, typos[_i].want);
	ck_assert_ptr_null(words_nearest(typos[_i].word, keys, 0));
}
END_TEST

START_TEST(nearest_word_takes_the_first_of_equals_and_skips_giants)
{
	static char giant[5000];
	const char *const candidates[] = { giant, "queue_b", "queue_c", "queue_aa" };

	memset(giant, 'q', sizeof giant - 1);
	ck_assert_str_eq(words_nearest("queue_a", candidates, ARRAY_SIZE(candidates)), "queue_b");
	ck_assert_ptr_null(words_nearest(giant, candidates, ARRAY_SIZE(candidates)));
}
END_TEST

/* ---- ident ---- */

#define B63 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk"

static const struct {
	const char *text, *want, *error;
} idents[] = {
	{ "videos", "videos", NULL },
	{ "_x9$", "_x9$", NULL },
	{ "analysis_status", "analysis_status", NULL },
	{ "  videos\t", "videos", NULL },
	{ "select", "select", NULL },
	{ "order", "order", NULL },
	{ "user", "user", NULL },
	{ "\"Videos\"", "Videos", NULL },
	{ " \"Videos\" ", "Videos", NULL },
	{ "\"a b\"", "a b", NULL },
	{ "\"a.b\"", "a.b", NULL },
	{ "\"a\"\"b\"", "a\"b", NULL },
	{ "\"\"\"\"", "\"", NULL },
	{ "\"\"\"a\"\"\"", "\"a\"", NULL },
	{ "\"it's; DROP TABLE x --\"", "it's; DROP TABLE x --", NULL },
	{ "\"\\\"", "\\", NULL },
	{ "\" \"", " ", NULL },
	{ "\"{names}\"", "{names}", NULL },
	{ "\"\xC3\xA9t\xC3\xA9\"", "\xC3\xA9t\xC3\xA9", NULL },
	{ "\"9lives\"", "9lives", NULL },
	{ B63, B63, NULL },
	{ "\"" B63 "\"", B63, NULL },
	{ "\"\"\"" "bcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk" "\"",
	  "\"bcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk", NULL },

	{ "", NULL, "expected a name" },
	{ "   ", NULL, "expected a name" },
	{ "Videos", NULL, "double quotes, as in \"Videos\"" },
	{ "vIDEOS", NULL, "double quotes" },
	{ "9lives", NULL, "in double quotes" },
	{ "$x", NULL, "in double quotes" },
	{ "a-b", NULL, "in double quotes" },
	{ "a b", NULL, "nothing after it" },
	{ "a,b", NULL, "in double quotes" },
	{ "a;drop", NULL, "in double quotes" },
	{ "a\"b\"", NULL, "in double quotes" },
	{ "\xC3\xA9t\xC3\xA9", NULL, "in double quotes" },
	{ "a.b", NULL, "without a dot" },
	{ "\"a\".\"b\"", NULL, "without a dot" },
	{ "\"", NULL, "not closed" },
	{ "\"abc", NULL, "not closed" },
	{ "\"abc\"\"", NULL, "not closed" },
	{ "\"\"", NULL, "between the double quotes" },
	{ "\"a\"b", NULL, "nothing after it" },
	{ "\"a\" b", NULL, "nothing after it" },
	{ "\"a\nb\"", NULL, "control" },
	{ "\"a\tb\"", NULL, "control" },
	{ "\"a\x01\"", NULL, "control" },
	{ "\"a\x7F\"", NULL, "control" },
	{ "a\x01", NULL, "in double quotes" },
	{ "\"a\xFF\"", NULL, "UTF-8" },
	{ "\"\xC3\"", NULL, "UTF-8" },
	{ B63 "x", NULL, "63 bytes" },
	{ "\"" B63 "x\"", NULL, "63 bytes" },
	{ "\"" "\xC3\xA9" "bcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk" "\"", NULL, "63 bytes" },
};

START_TEST(identifier_is_read_or_refused)
{
	struct error err = ERROR_INIT;
	char *text = exact_copy(idents[_i].text, strlen(idents[_i].text) + 1);
	char *got = ident_parse(text, &err);

	ck_assert_pstr_eq(got, idents[_i].want);
	if (idents[_i].error) {
		ck_assert_int_eq(err.kind, ERR_SETTINGS);
		ck_assert_msg(strstr(err.text, idents[_i].error) != NULL, "said: %s", err.text);
	} else {
		ck_assert_int_eq(err.kind, ERR_NONE);
	}
	free(text);
	free(got);
}
END_TEST

START_TEST(identifier_of_any_length_is_refused_in_bounds)
{
	struct error err = ERROR_INIT;
	struct buf text = BUF_INIT;

	for (int i = 0; i < 100000; i++)
		buf_addc(&text, 'a');
	ck_assert_ptr_null(ident_parse(text.data, &err));
	ck_assert(strstr(err.text, "63 bytes"));
	ck_assert_uint_lt(strlen(err.text), 300);
	buf_release(&text);
}
END_TEST

static const struct {
	const char *text, *schema, *name;	/* name NULL: refused */
} tables[] = {
	{ "videos", NULL, "videos" },
	{ "public.videos", "public", "videos" },
	{ " public . videos ", "public", "videos" },
	{ "\"My Schema\".\"My.Table\"", "My Schema", "My.Table" },
	{ "public.\"Order\"", "public", "Order" },
	{ "\"a\"\"b\".c", "a\"b", "c" },
	{ "a.b.c", NULL, NULL },
	{ "a.", NULL, NULL },
	{ ".a", NULL, NULL },
	{ "a..b", NULL, NULL },
	{ ".", NULL, NULL },
	{ "", NULL, NULL },
	{ "public.Videos", NULL, NULL },
	{ "Public.videos", NULL, NULL },
	{ "public.videos x", NULL, NULL },
	{ "public.videos; DROP TABLE x", NULL, NULL },
	{ "public.\"x", NULL, NULL },
	{ "public." B63 "x", NULL, NULL },
};

START_TEST(qualified_name_is_read_or_refused)
{
	struct error err = ERROR_INIT;
	char *schema = NULL, *name = NULL;
	int bad = ident_parse_qualified(tables[_i].text, &schema, &name, &err);

	ck_assert_int_eq(bad, tables[_i].name ? 0 : -1);
	ck_assert_int_eq(err.kind, tables[_i].name ? ERR_NONE : ERR_SETTINGS);
	ck_assert_pstr_eq(schema, tables[_i].schema);
	ck_assert_pstr_eq(name, tables[_i].name);
	free(schema);
	free(name);
}
END_TEST

static const struct {
	const char *text, *ident, *literal;
} quoted[] = {
	{ "videos", "\"videos\"", "'videos'" },
	{ "", "\"\"", "''" },
	{ "a\"b", "\"a\"\"b\"", "'a\"b'" },
	{ "it's", "\"it's\"", "'it''s'" },
	{ "''", "\"''\"", "''''''" },
	{ "a\\b", "\"a\\b\"", "E'a\\\\b'" },
	{ "\\", "\"\\\"", "E'\\\\'" },
	{ "\\'", "\"\\'\"", "E'\\\\'''" },
	{ "'; DROP TABLE x; --", "\"'; DROP TABLE x; --\"", "'''; DROP TABLE x; --'" },
	{ "a\nb", "\"a\nb\"", "'a\nb'" },
	{ "\xC3\xA9", "\"\xC3\xA9\"", "'\xC3\xA9'" },
};

START_TEST(quoting)
{
	struct buf b = BUF_INIT;

	buf_adds(&b, "x=");
	ident_quote(&b, quoted[_i].text);
	ck_assert_str_eq(b.data + 2, quoted[_i].ident);
	buf_clear(&b);
	literal_quote(&b, quoted[_i].text);
	ck_assert_str_eq(b.data, quoted[_i].literal);
	buf_release(&b);
}
END_TEST

static const struct { const char *name, *shown; } shown[] = {
	{ "app_user", "app_user" }, { "_1$", "_1$" }, { "App", "\"App\"" }, { "1st", "\"1st\"" }, { "my-app", "\"my-app\"" },
	{ "x; DROP", "\"x; DROP\"" }, { "", "\"\"" },
};

START_TEST(a_name_to_copy_is_quoted_where_it_must_be)
{
	char *text = ident_shown(shown[_i].name);

	ck_assert_str_eq(text, shown[_i].shown);
	free(text);
}
END_TEST

/* What ident_quote() writes, ident_parse() reads. */
START_TEST(quoted_identifier_reads_back)
{
	struct error err = ERROR_INIT;
	struct buf b = BUF_INIT;
	char *name;

	if (!idents[_i].want)
		return;
	ident_quote(&b, idents[_i].want);
	name = ident_parse(b.data, &err);
	ck_assert_pstr_eq(name, idents[_i].want);
	free(name);
	buf_release(&b);
}
END_TEST

/* ---- log ---- */

static char dir[64], file[96];

static void log_set_up(void)
{
	strcpy(dir, "/tmp/unstuck-log-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(file, sizeof file, "%s/log", dir);
}

static void log_tear_down(void)
{
	char rotated[128];

	log_open(LOG_INFO, LOG_TEXT, NULL, NULL);
	snprintf(rotated, sizeof rotated, "%s.1", file);
	unlink(rotated);
	unlink(file);
	ck_assert_int_eq(rmdir(dir), 0);
}

static char *read_whole(const char *path)
{
	struct buf b = BUF_INIT;
	char part[4096];
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	while ((n = read(fd, part, sizeof part)) > 0)
		buf_add(&b, part, (size_t)n);
	close(fd);
	return buf_give(&b);
}

static void must_open(enum log_level level, enum log_format format)
{
	struct error err = ERROR_INIT;

	ck_assert_int_eq(log_open(level, format, file, &err), 0);
}

#define TS_LEN 24	/* of a timestamp */

static void check_timestamp(const char *text)
{
	static const char form[] = "0000-00-00T00:00:00.000Z";

	for (size_t i = 0; i < TS_LEN; i++) {
		if (form[i] == '0')
			ck_assert_msg(text[i] >= '0' && text[i] <= '9', "timestamp: %.24s", text);
		else
			ck_assert_int_eq(text[i], form[i]);
	}
}

START_TEST(log_line_as_the_manual_has_it)
{
	char *text;

	must_open(LOG_DEBUG, LOG_TEXT);
	log_event(LOG_INFO, "job_done", LS("queue", "videos"), LS("job", "42"), LN("attempt", 1), LN("ms", 812));
	log_event(LOG_DEBUG, "claimed");
	log_event(LOG_WARNING, "a", LN("n", INT64_MIN));
	log_event(LOG_ERROR, "b", LS("none", NULL));
	text = read_whole(file);
	check_timestamp(text);
	ck_assert(strncmp(text + TS_LEN, " info event=job_done queue=videos job=42 attempt=1 ms=812\n", 58) == 0);
	ck_assert_ptr_nonnull(strstr(text, "Z debug event=claimed\n"));
	ck_assert_ptr_nonnull(strstr(text, "Z warning event=a n=-9223372036854775808\n"));
	ck_assert_ptr_nonnull(strstr(text, "Z error event=b none=\"\"\n"));
	free(text);
}
END_TEST

START_TEST(log_object_as_the_manual_has_it)
{
	char *text;

	must_open(LOG_INFO, LOG_JSON);
	log_event(LOG_INFO, "job_done", LS("queue", "vi\"deos"), LN("ms", -812), LS("job", "42"));
	text = read_whole(file);
	ck_assert(strncmp(text, "{\"ts\":\"", 7) == 0);
	check_timestamp(text + 7);
	ck_assert_str_eq(text + 7 + TS_LEN,
	                 "\",\"level\":\"info\",\"event\":\"job_done\",\"queue\":\"vi\\\"deos\",\"ms\":-812,\"job\":\"42\"}\n");
	free(text);
}
END_TEST

static const struct {
	const char *value, *text, *json;	/* json: what stands between the quotes */
} values[] = {
	{ "videos", "videos", "videos" },
	{ "42", "42", "42" },
	{ "public.videos:a/b", "public.videos:a/b", "public.videos:a/b" },
	{ "{}[],#;%", "{}[],#;%", "{}[],#;%" },
	{ "", "\"\"", "" },
	{ " ", "\" \"", " " },
	{ "two words", "\"two words\"", "two words" },
	{ "a=b", "\"a=b\"", "a=b" },
	{ "x event=job_done job=1", "\"x event=job_done job=1\"", "x event=job_done job=1" },
	{ "say \"hi\"", "\"say \\\"hi\\\"\"", "say \\\"hi\\\"" },
	{ "\" forged=1 x=\"", "\"\\\" forged=1 x=\\\"\"", "\\\" forged=1 x=\\\"" },
	{ "\\", "\"\\\\\"", "\\\\" },
	{ "\\\"", "\"\\\\\\\"\"", "\\\\\\\"" },
	{ "it's", "\"it's\"", "it's" },
	{ "a\nb", "\"a\\nb\"", "a\\nb" },
	{ "a\r\nb\tc", "\"a\\x0d\\nb\\tc\"", "a\\u000d\\nb\\tc" },
	{ "\x1B[31mred", "\"\\x1b[31mred\"", "\\u001b[31mred" },
	{ "\x01\x7F", "\"\\x01\\x7f\"", "\\u0001\\u007f" },
	{ "\v\f\b", "\"\\x0b\\x0c\\x08\"", "\\u000b\\u000c\\u0008" },
	{ "\xC3\xA9t\xC3\xA9", "\"\xC3\xA9t\xC3\xA9\"", "\xC3\xA9t\xC3\xA9" },
	{ "\xF0\x9F\x98\x80", "\"\xF0\x9F\x98\x80\"", "\xF0\x9F\x98\x80" },
	{ "\xC2\x85", "\"\\xc2\\x85\"", "\\u0085" },			/* NEL: a line end to some */
	{ "\xC2\x9B" "31m", "\"\\xc2\\x9b31m\"", "\\u009b31m" },	/* CSI in one character */
	{ "\xE2\x80\xA8|\xE2\x80\xA9", "\"\\xe2\\x80\\xa8|\\xe2\\x80\\xa9\"", "\\u2028|\\u2029" },
	{ "\xE2\x80\xAE", "\"\\xe2\\x80\\xae\"", "\\u202e" },		/* right-to-left override */
	{ "\xE2\x81\xA6", "\"\\xe2\\x81\\xa6\"", "\\u2066" },
	{ "a\xFFz", "\"a\\xffz\"", "a\xEF\xBF\xBDz" },
	{ "\xC3", "\"\\xc3\"", "\xEF\xBF\xBD" },
	{ "\xED\xA0\x80", "\"\\xed\\xa0\\x80\"", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD" },
	{ "\xC0\x8A", "\"\\xc0\\x8a\"", "\xEF\xBF\xBD\xEF\xBF\xBD" },	/* overlong newline */
};

START_TEST(log_value_in_text)
{
	char *want = xasprintf(" info event=e v=%s n=1\n", values[_i].text), *text;

	must_open(LOG_INFO, LOG_TEXT);
	log_event(LOG_INFO, "e", LS("v", values[_i].value), LN("n", 1));
	text = read_whole(file);
	ck_assert_str_eq(text + TS_LEN, want);
	free(text);
	free(want);
}
END_TEST

START_TEST(log_value_in_json)
{
	char *want = xasprintf("\",\"level\":\"info\",\"event\":\"e\",\"v\":\"%s\",\"n\":1}\n", values[_i].json), *text;
	json_t *object;

	must_open(LOG_INFO, LOG_JSON);
	log_event(LOG_INFO, "e", LS("v", values[_i].value), LN("n", 1));
	text = read_whole(file);
	ck_assert_str_eq(text + 7 + TS_LEN, want);
	object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	ck_assert_ptr_nonnull(object);
	ck_assert_uint_eq(json_object_size(object), 5);
	if (utf8_valid(values[_i].value, strlen(values[_i].value)))
		ck_assert_str_eq(json_string_value(json_object_get(object, "v")), values[_i].value);
	json_decref(object);
	free(text);
	free(want);
}
END_TEST

/* A reader of key=value: counts the keys of one line, with every quoted value undone. NULL when it is not well formed. */
static const char *read_pairs(const char *p, int *pairs, struct buf *last)
{
	for (*pairs = 0; *p == ' '; (*pairs)++) {
		p++;
		size_t key = strspn(p, "abcdefghijklmnopqrstuvwxyz_");

		if (key == 0 || p[key] != '=')
			return NULL;
		p += key + 1;
		buf_clear(last);
		if (*p != '"') {
			while (*p && *p != ' ' && *p != '\n')
				buf_addc(last, *p++);
			continue;
		}
		for (p++; *p != '"'; p++) {
			unsigned byte;

			if (*p == '\n' || !*p)
				return NULL;
			if (*p != '\\') {
				buf_addc(last, *p);
			} else if (*++p == 'x') {
				if (sscanf(p + 1, "%2x", &byte) != 1)
					return NULL;
				buf_addc(last, (char)byte);
				p += 2;
			} else {
				buf_addc(last, (char)(*p == 'n' ? '\n' : *p == 't' ? '\t' : *p));
			}
		}
		p++;
	}
	return p;
}

static void random_value(char *value, size_t size)
{
	static const char nasty[] = "\"\\=\n\r\t '{},:x\xC3\xA9\xE2\x80\xA8\xFF\xF0\x9F\x98\x80\x1B";
	size_t len = arc4random_uniform((uint32_t)size);

	for (size_t i = 0; i < len; i++)
		value[i] = arc4random_uniform(3) ? nasty[arc4random_uniform(sizeof nasty - 1)]
		                                 : (char)(1 + arc4random_uniform(255));
	value[len] = '\0';
}

START_TEST(log_text_cannot_be_forged)
{
	struct buf last = BUF_INIT;

	for (int i = 0; i < 2000; i++) {
		char value[40], *text;
		const char *end;
		int pairs;

		random_value(value, sizeof value);
		ck_assert(unlink(file) == 0 || errno == ENOENT);
		must_open(LOG_INFO, LOG_TEXT);
		log_event(LOG_INFO, "e", LN("n", 1), LS("v", value));
		text = read_whole(file);
		end = read_pairs(text + TS_LEN + 5, &pairs, &last);
		ck_assert_ptr_nonnull(end);
		ck_assert_str_eq(end, "\n");
		ck_assert_int_eq(pairs, 3);
		ck_assert_str_eq(buf_text(&last), value);	/* and nothing is lost */
		free(text);
	}
	buf_release(&last);
}
END_TEST

START_TEST(log_json_cannot_be_forged)
{
	for (int i = 0; i < 2000; i++) {
		char value[40], *text;
		json_t *object;

		random_value(value, sizeof value);
		ck_assert(unlink(file) == 0 || errno == ENOENT);
		must_open(LOG_INFO, LOG_JSON);
		log_event(LOG_INFO, "e", LN("n", 1), LS("v", value));
		text = read_whole(file);
		ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
		object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
		ck_assert_ptr_nonnull(object);
		ck_assert_uint_eq(json_object_size(object), 5);
		if (utf8_valid(value, strlen(value)))
			ck_assert_str_eq(json_string_value(json_object_get(object, "v")), value);
		json_decref(object);
		free(text);
	}
}
END_TEST

START_TEST(log_value_is_cut_between_characters)
{
	static const char *const units_of[] = { "x", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80" };

	for (size_t pad = 0; pad < 4; pad++) {
		struct buf value = BUF_INIT;
		char *text, *start;
		size_t len;

		for (size_t i = 0; i < pad; i++)
			buf_addc(&value, '-');
		while (value.len < 20000)
			buf_adds(&value, units_of[_i]);
		ck_assert(unlink(file) == 0 || errno == ENOENT);
		must_open(LOG_INFO, pad % 2 ? LOG_JSON : LOG_TEXT);
		log_event(LOG_INFO, "e", LS("v", value.data));
		text = read_whole(file);
		ck_assert(utf8_valid(text, strlen(text)));
		start = strchr(text, '-') ? strstr(text, "v=\"") : NULL;
		start = start ? start + 3 : strstr(text, pad % 2 ? "\"v\":\"" : "v=\"") + (pad % 2 ? 5 : 3);
		len = strlen(start);
		ck_assert_uint_ge(len, 8192 - 3 + 3);
		ck_assert_uint_le(len, 8192 + 3 + 3);
		ck_assert_ptr_nonnull(strstr(text, pad % 2 ? "...\"}\n" : "...\"\n"));
		free(text);
		buf_release(&value);
	}
}
END_TEST

START_TEST(log_value_of_8_kib_is_whole)
{
	struct buf value = BUF_INIT;
	char *text;

	while (value.len < 8192)
		buf_addc(&value, 'x');
	must_open(LOG_INFO, LOG_TEXT);
	log_event(LOG_INFO, "e", LS("v", value.data));
	text = read_whole(file);
	ck_assert_uint_eq(strlen(text), TS_LEN + strlen(" info event=e v=\n") + 8192);
	ck_assert_ptr_null(strstr(text, "..."));
	free(text);
	buf_release(&value);
}
END_TEST

START_TEST(log_level_decides)
{
	static const char *const names[] = { " debug ", " info ", " warning ", " error " };
	char *text;

	must_open((enum log_level)_i, LOG_TEXT);
	for (int level = LOG_DEBUG; level <= LOG_ERROR; level++) {
		ck_assert_int_eq(log_wants((enum log_level)level), level >= _i);
		log_event((enum log_level)level, "e");
	}
	text = read_whole(file);
	for (int level = LOG_DEBUG; level <= LOG_ERROR; level++)
		ck_assert_int_eq(strstr(text, names[level]) != NULL, level >= _i);
	free(text);
	log_set_level(LOG_ERROR);
	ck_assert(!log_wants(LOG_WARNING));
	log_set_level(LOG_DEBUG);
	ck_assert(log_wants(LOG_DEBUG));
}
END_TEST

START_TEST(log_that_cannot_be_written_harms_nothing)
{
	struct error err = ERROR_INIT;

	/* Every write fails here. */
	ck_assert_int_eq(log_open(LOG_INFO, LOG_TEXT, "/dev/full", &err), 0);
	errno = ENOTTY;
	log_event(LOG_INFO, "e", LS("v", "x y"));
	ck_assert_int_eq(errno, ENOTTY);
}
END_TEST

START_TEST(log_file_is_appended_and_reopened_after_a_rotation)
{
	struct error err = ERROR_INIT;
	char rotated[128], *text;

	snprintf(rotated, sizeof rotated, "%s.1", file);
	must_open(LOG_INFO, LOG_TEXT);
	log_event(LOG_INFO, "first");
	must_open(LOG_INFO, LOG_TEXT);
	log_event(LOG_INFO, "second");
	ck_assert_int_eq(rename(file, rotated), 0);
	log_event(LOG_INFO, "third");
	ck_assert_int_eq(log_reopen(&err), 0);
	log_event(LOG_INFO, "fourth");

	text = read_whole(rotated);
	ck_assert_ptr_nonnull(strstr(text, "event=first\n"));
	ck_assert_ptr_nonnull(strstr(text, "event=second\n"));
	ck_assert_ptr_nonnull(strstr(text, "event=third\n"));
	ck_assert_ptr_null(strstr(text, "fourth"));
	free(text);
	text = read_whole(file);
	ck_assert_str_eq(text + TS_LEN, " info event=fourth\n");
	free(text);
}
END_TEST

START_TEST(log_with_a_relative_path_is_found_again_from_elsewhere)
{
	struct error err = ERROR_INIT;
	char *text;

	ck_assert_int_eq(chdir(dir), 0);
	ck_assert_int_eq(log_open(LOG_INFO, LOG_TEXT, "log", &err), 0);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(unlink(file), 0);
	ck_assert_int_eq(log_reopen(&err), 0);
	log_event(LOG_INFO, "e");
	text = read_whole(file);
	ck_assert_str_eq(text + TS_LEN, " info event=e\n");
	free(text);
}
END_TEST

START_TEST(log_file_that_cannot_be_opened_leaves_the_old_one)
{
	struct error err = ERROR_INIT;
	char nowhere[128], *text;

	must_open(LOG_INFO, LOG_TEXT);
	snprintf(nowhere, sizeof nowhere, "%s/no/such/log", dir);
	ck_assert_int_eq(log_open(LOG_DEBUG, LOG_JSON, nowhere, &err), -1);
	ck_assert_int_eq(err.kind, ERR_SETTINGS);
	ck_assert_ptr_nonnull(strstr(err.text, nowhere));
	ck_assert_ptr_nonnull(strstr(err.text, "No such file"));
	log_event(LOG_INFO, "e");
	log_event(LOG_DEBUG, "f");

	text = read_whole(file);
	ck_assert_str_eq(text + TS_LEN, " info event=e\n");
	free(text);
}
END_TEST

START_TEST(log_file_that_cannot_be_reopened_goes_on)
{
	struct error err = ERROR_INIT;
	char rotated[128], *text;

	must_open(LOG_INFO, LOG_TEXT);
	snprintf(rotated, sizeof rotated, "%s.1", file);
	ck_assert_int_eq(rename(file, rotated), 0);
	ck_assert_int_eq(mkdir(file, 0700), 0);
	ck_assert_int_eq(log_reopen(&err), -1);
	ck_assert_int_eq(err.kind, ERR_SYS);
	log_event(LOG_INFO, "e");
	ck_assert_int_eq(rmdir(file), 0);
	text = read_whole(rotated);
	ck_assert_str_eq(text + TS_LEN, " info event=e\n");
	free(text);
}
END_TEST

/* stderr into the file, as systemd would have it. */
static void redirect_stderr(void)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
	close(fd);
}

static void set_journal_stream(long long wrong_by)
{
	struct stat st;
	char *stream;

	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	stream = xasprintf("%ju:%lld", (uintmax_t)st.st_dev, (long long)st.st_ino + wrong_by);
	setenv("JOURNAL_STREAM", stream, 1);
	free(stream);
}

START_TEST(log_to_the_journal_has_priorities)
{
	char *text;

	redirect_stderr();
	set_journal_stream(0);
	log_open(LOG_DEBUG, LOG_TEXT, "", NULL);
	log_event(LOG_DEBUG, "d");
	log_event(LOG_INFO, "i");
	log_event(LOG_WARNING, "w");
	log_event(LOG_ERROR, "e");
	log_open(LOG_DEBUG, LOG_JSON, "", NULL);
	log_event(LOG_ERROR, "j");
	text = read_whole(file);
	ck_assert(strncmp(text, "<7>", 3) == 0);
	ck_assert_ptr_nonnull(strstr(text, "event=d\n<6>"));
	ck_assert_ptr_nonnull(strstr(text, "event=i\n<4>"));
	ck_assert_ptr_nonnull(strstr(text, "event=w\n<3>"));
	ck_assert_ptr_nonnull(strstr(text, "event=e\n{\"ts\""));
	free(text);
}
END_TEST

START_TEST(log_to_what_is_not_the_journal_has_none)
{
	char *text;

	redirect_stderr();
	set_journal_stream(1);
	log_event(LOG_INFO, "i");	/* nothing was opened: text, info, stderr */
	log_event(LOG_DEBUG, "d");
	setenv("JOURNAL_STREAM", "nonsense", 1);
	log_event(LOG_INFO, "k");
	text = read_whole(file);
	check_timestamp(text);
	ck_assert_ptr_null(strchr(text, '<'));
	ck_assert_ptr_nonnull(strstr(text, "event=k\n"));
	ck_assert_ptr_null(strstr(text, "event=d\n"));
	free(text);
}
END_TEST

/* A pipe that is full takes a line in part: the next one still starts on a line of its own. */
START_TEST(log_line_after_a_torn_one_starts_anew)
{
	static char drain[1 << 20];
	int ends[2], size;
	struct buf big = BUF_INIT;
	ssize_t n;

	ck_assert_int_eq(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
	size = fcntl(ends[1], F_SETPIPE_SZ, 4096);
	ck_assert_int_ge(size, 4096);
	ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
	while (big.len < 8000)
		buf_addc(&big, 'x');
	for (int i = 0; i <= size / 8000 + 1; i++)
		log_event(LOG_INFO, "big", LS("v", big.data));	/* more than fits; must not hang */
	while (read(ends[0], drain, sizeof drain) > 0)
		;
	log_event(LOG_INFO, "after");
	n = read(ends[0], drain, sizeof drain - 1);
	ck_assert_int_gt(n, 0);
	drain[n] = '\0';
	ck_assert_int_eq(drain[0], '\n');
	ck_assert_str_eq(drain + 1 + TS_LEN, " info event=after\n");
	log_event(LOG_INFO, "last");
	n = read(ends[0], drain, sizeof drain - 1);
	ck_assert_int_gt(n, 0);
	drain[n] = '\0';
	ck_assert_str_eq(drain + TS_LEN, " info event=last\n");
	buf_release(&big);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

/* Many processes, one file: every line whole. */
START_TEST(log_lines_of_many_processes_do_not_mix)
{
	enum { PROCESSES = 4, LINES = 200 };
	struct buf value = BUF_INIT;
	char *text, *line;
	int lines = 0;

	while (value.len < 5000)
		buf_addc(&value, 'x');
	must_open(LOG_INFO, LOG_TEXT);
	for (int i = 0; i < PROCESSES; i++) {
		pid_t pid = fork();

		ck_assert_int_ge(pid, 0);
		if (pid == 0) {
			for (int j = 0; j < LINES; j++)
				log_event(LOG_INFO, "e", LS("v", value.data));
			_exit(0);
		}
	}
	for (int i = 0; i < PROCESSES; i++) {
		int status;

		ck_assert_int_gt(wait(&status), 0);
		ck_assert_int_eq(status, 0);
	}
	text = read_whole(file);
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), lines++)
		ck_assert_uint_eq(strlen(line), TS_LEN + strlen(" info event=e v=") + 5000);
	ck_assert_int_eq(lines, PROCESSES * LINES);
	free(text);
	buf_release(&value);
}
END_TEST

#define LOOP(tc, test, table) tcase_add_loop_test(tc, test, 0, (int)ARRAY_SIZE(table))

static void error_case(Suite *s)
{
	TCase *tc = unit_case(s, "error");

	tcase_add_test(tc, error_first_cause_wins);
	tcase_add_test(tc, error_prefix_goes_before_the_text);
	LOOP(tc, error_never_overflows, long_lengths);
	tcase_add_test(tc, error_is_cut_between_characters);
	LOOP(tc, error_has_an_exit_status, statuses);
	tcase_add_test(tc, exit_statuses_are_the_interface);
}

static void clock_case(Suite *s)
{
	TCase *tc = unit_case(s, "clock");

	LOOP(tc, duration_is_read_or_refused, durations);
	tcase_add_test(tc, duration_text_reads_back);
	LOOP(tc, duration_text, usec_texts);
	LOOP(tc, wall_clock_text, wall_texts);
	tcase_add_test(tc, wall_clock_text_is_utc);
	tcase_add_test(tc, clocks_run);
	tcase_add_test(tc, jitter_stays_in_range_and_moves);
}

static void buf_case(Suite *s)
{
	TCase *tc = unit_case(s, "buf");

	tcase_add_test(tc, buf_grows_and_stays_terminated);
	tcase_add_test(tc, buf_holds_nul_bytes);
	tcase_add_test(tc, buf_formats_any_length);
	tcase_add_test(tc, buf_gives_its_text_away);
	tcase_add_test(tc, buf_reserves_room_to_write_into);
	tcase_add_test(tc, copies_are_copies);
	tcase_add_test(tc, memory_that_cannot_be_had_ends_the_program);
	LOOP(tc, utf8_is_told_and_cleaned, utf8);
	LOOP(tc, utf8_clean_stops_before_max, utf8);
}

static void words_case(Suite *s)
{
	TCase *tc = unit_case(s, "words");

	LOOP(tc, command_is_split_or_refused, commands);
	tcase_add_test(tc, many_words);
	LOOP(tc, nearest_word, typos);
	tcase_add_test(tc, nearest_word_takes_the_first_of_equals_and_skips_giants);
}

static void ident_case(Suite *s)
{
	TCase *tc = unit_case(s, "ident");

	LOOP(tc, identifier_is_read_or_refused, idents);
	tcase_add_test(tc, identifier_of_any_length_is_refused_in_bounds);
	LOOP(tc, qualified_name_is_read_or_refused, tables);
	LOOP(tc, quoting, quoted);
	LOOP(tc, quoted_identifier_reads_back, idents);
	LOOP(tc, a_name_to_copy_is_quoted_where_it_must_be, shown);
}

static void log_case(Suite *s)
{
	TCase *tc = unit_case(s, "log");

	tcase_add_checked_fixture(tc, log_set_up, log_tear_down);
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, log_line_as_the_manual_has_it);
	tcase_add_test(tc, log_object_as_the_manual_has_it);
	LOOP(tc, log_value_in_text, values);
	LOOP(tc, log_value_in_json, values);
	tcase_add_test(tc, log_text_cannot_be_forged);
	tcase_add_test(tc, log_json_cannot_be_forged);
	tcase_add_loop_test(tc, log_value_is_cut_between_characters, 0, 4);
	tcase_add_test(tc, log_value_of_8_kib_is_whole);
	tcase_add_loop_test(tc, log_level_decides, LOG_DEBUG, LOG_ERROR + 1);
	tcase_add_test(tc, log_that_cannot_be_written_harms_nothing);
	tcase_add_test(tc, log_file_is_appended_and_reopened_after_a_rotation);
	tcase_add_test(tc, log_with_a_relative_path_is_found_again_from_elsewhere);
	tcase_add_test(tc, log_file_that_cannot_be_opened_leaves_the_old_one);
	tcase_add_test(tc, log_file_that_cannot_be_reopened_goes_on);
	tcase_add_test(tc, log_to_the_journal_has_priorities);
	tcase_add_test(tc, log_to_what_is_not_the_journal_has_none);
	tcase_add_test(tc, log_line_after_a_torn_one_starts_anew);
	tcase_add_test(tc, log_lines_of_many_processes_do_not_mix);
}

int main(void)
{
	Suite *s = suite_create("common");

	error_case(s);
	clock_case(s);
	buf_case(s);
	words_case(s);
	ident_case(s);
	log_case(s);
	return check_main(s);
}
