/*
 * test_inifile.c - the lines of a settings file: sections, values that go on, comments, faults.
 */
#include <stdlib.h>
#include <string.h>
#include "buf.h"
#include "inifile.h"
#include "story.h"

/* Sections, keys and values as one text: "[s]k=v;k=v;" and "!line:fault" for each fault. */
static char *ini_text(const char *data, size_t len)
{
	struct inifile f = INIFILE_INIT;
	struct buf out = BUF_INIT;
	char *text;

	inifile_parse(&f, data, len);
	inifile_sort_faults(&f);
	for (size_t i = 0; i < f.len; i++) {
		buf_addf(&out, "[%s]", f.sections[i].name);
		for (size_t k = 0; k < f.sections[i].len; k++)
			buf_addf(&out, "%s=<%s>", f.sections[i].entries[k].key, f.sections[i].entries[k].value);
	}
	for (size_t i = 0; i < f.faults_len; i++)
		buf_addf(&out, "!%d:%s", f.faults[i].line, f.faults[i].text);
	inifile_release(&f);
	text = story_text("%s", buf_text(&out));
	buf_release(&out);
	return text;
}

#define NO_PAIR "expected \"key = value\" or \"[section]\""

static const struct {
	const char *data, *expected;
} ini_cases[] = {
	{ "", "" },
	{ "\n\n  \n\t\n", "" },
	{ "[a]\nk = v\n", "[a]k=<v>" },
	{ "[a]\nk = v", "[a]k=<v>" },
	{ "[a]\r\nk = v\r\n", "[a]k=<v>" },
	{ "\xef\xbb\xbf[a]\nk=v\n", "[a]k=<v>" },
	{ "[a]\nk: v=w\nl=x:y\n", "[a]k=<v=w>l=<x:y>" },
	{ "[a]\n  k  =   v  \n", "[a]k=<v>" },
	{ "[ a ] ; note\nk=\n[b]# note\n", "[a]k=<>[b]" },
	{ "# c\n; c\n[a]\n  # c\n  ; c\nk=v\n", "[a]k=<v>" },

	/* comments at the end: a blank and ";", nothing else */
	{ "[a]\nk = v ; c\nl = v;c\nm = v # c\nn = ; c\no =; c\np = v\t;c\n",
	  "[a]k=<v>l=<v;c>m=<v # c>n=<>o=<; c>p=<v>" },
	{ "[a]\nk = http://h/#f ; c ; d\n", "[a]k=<http://h/#f>" },

	/* values over several lines */
	{ "[a]\nk = one\n  two\n\tthree\nl = x\n", "[a]k=<one\ntwo\nthree>l=<x>" },
	{ "[a]\nk = one   ; c\n  two   ; c\n  ; c\n\n  # c\n  three\n", "[a]k=<one\ntwo\nthree>" },
	{ "[a]\nk =\n  one\n", "[a]k=<one>" },
	{ "[a]\nk = 1\n  l = 2\n  [b]\n", "[a]k=<1\nl = 2\n[b]>" },
	{ "[a]\n  k = 1\n  l = 2\n    more\n  [b]\n  m = 3\n", "[a]k=<1>l=<2\nmore>[b]m=<3>" },
	{ "[a]\n    k = 1\n  l = 2\n", "[a]k=<1>l=<2>" },
	{ "[a]\nk = 1\n\n[b]\n  more = 2\n", "[a]k=<1>[b]more=<2>" },

	/* names */
	{ "[queue a b ;c]\n[queue \xc3\xbc]\n[queue [x]\n", "[queue a b ;c][queue \xc3\xbc][queue [x]" },
	{ "[queue a name that is longer than the fifty bytes of the parser]\nk=v\n",
	  "[queue a name that is longer than the fifty bytes of the parser]k=<v>" },
	{ "[a]\na_key_that_is_longer_than_the_fifty_bytes_of_the_parser=v\n  w\n",
	  "[a]a_key_that_is_longer_than_the_fifty_bytes_of_the_parser=<v\nw>" },

	/* faults, each with its line; the rest is still read */
	{ "k = v\n[a]\n", "[a]!1:a key stands before the first [section]" },
	{ "[a]\nk\nl = v\n", "[a]l=<v>!2:" NO_PAIR },
	{ "[a]\nk", "[a]!2:" NO_PAIR },
	{ "[a]\nk\n  going on\n  [b]\nl = v\n", "[a]l=<v>!2:" NO_PAIR },
	{ "[a]\nk ;=v\n", "[a]!2:" NO_PAIR },
	{ "[a]\n= v\n  w\nl = x\n", "[a]l=<x>!2:a key is missing before the =" },
	{ "[a\nk = v\n[b]\nl = v\n", "[b]l=<v>!1:a section needs a closing ]" },
	{ "[a] b\nk = v\n", "!1:only a comment may follow the ] of a section" },
	{ "[]\n[ ]\n", "!1:expected the name of a section in UTF-8, without control characters"
	  "!2:expected the name of a section in UTF-8, without control characters" },
	{ "[a]\nk = \xff\nl = \x01\nm = \xc2\x85\n; \xff\nn = v ; \xff\n",
	  "[a]n=<v>!2:expected UTF-8 text without control characters!3:expected UTF-8 text without control characters"
	  "!4:expected UTF-8 text without control characters" },
	{ "[a\xff]\nk=v\n", "!1:expected the name of a section in UTF-8, without control characters" },
	{ "[a]\nk = a\rb\n", "[a]!2:expected UTF-8 text without control characters" },
};

START_TEST(ini_lines)
{
	ck_assert_str_eq(ini_text(ini_cases[_i].data, strlen(ini_cases[_i].data)), ini_cases[_i].expected);
}
END_TEST

START_TEST(ini_a_nul_byte_is_a_fault)
{
	ck_assert_str_eq(ini_text("[a]\nk = v\0w\nl = x\n", 18), "[a]l=<x>!2:the line holds a NUL byte");
	ck_assert_str_eq(ini_text("[a]\n# \0\n", 8), "[a]");
}
END_TEST

/* Around the 200 bytes of the parser's own lines, and far beyond. */
static const int long_lengths[] = { 190, 191, 192, 193, 194, 195, 196, 197, 198, 199, 200, 201, 300, 5000, 300000 };

static char *repeated(char c, int n)
{
	char *text = story_memory((size_t)n + 1);

	memset(text, c, (size_t)n);
	return text;
}

START_TEST(ini_long_lines_are_as_short_ones)
{
	int n = long_lengths[_i];
	const char *v = repeated('v', n), *w = repeated('w', n), *blanks = repeated(' ', n);
	const char *data = story_text("; %s\n[a] ; %s\nk = %s = x ; %s\n  %s ; %s\nl = in\n%s  deep\nm = x\n  %s\n[%s]\nz = x\n",
	                              v, v, v, w, w, v, blanks, w, v);

	ck_assert_str_eq(ini_text(data, strlen(data)),
	                 story_text("[a]k=<%s = x\n%s>l=<in\ndeep>m=<x\n%s>[%s]z=<x>", v, w, w, v));
	data = story_text("[a]\nk = x%s; y\n%s\nl = \"%s\"\n", blanks, blanks, v);
	ck_assert_str_eq(ini_text(data, strlen(data)), story_text("[a]k=<x>l=<\"%s\">", v));
	data = story_text("[a]\n%s\n%s\xff = x\nl = v\n", v, v);
	ck_assert_str_eq(ini_text(data, strlen(data)), "[a]l=<v>!2:" NO_PAIR "!3:expected UTF-8 text without control characters");
}
END_TEST

START_TEST(ini_faults_and_sections_are_bounded)
{
	struct inifile f = INIFILE_INIT;
	struct buf many = BUF_INIT;

	for (int i = 0; i < 5 * INIFILE_MAX_FAULTS; i++)
		buf_adds(&many, "k\n");
	inifile_parse(&f, many.data, many.len);
	ck_assert_uint_eq(f.faults_len, INIFILE_MAX_FAULTS + 1);
	inifile_sort_faults(&f);
	ck_assert_str_eq(f.faults[INIFILE_MAX_FAULTS].text, "more errors than these; correct them first");
	inifile_release(&f);

	buf_clear(&many);
	for (int i = 0; i <= INIFILE_MAX_SECTIONS; i++)
		buf_addf(&many, "[%d]\n", i);
	inifile_parse(&f, many.data, many.len);
	ck_assert_uint_eq(f.len, INIFILE_MAX_SECTIONS);
	ck_assert_str_eq(f.faults[0].text, "more than 2000 sections");
	inifile_release(&f);
	buf_release(&many);
}
END_TEST

/* Bytes that are likely to mean something, in any order: nothing crashes, all ends. */
START_TEST(ini_any_bytes_end_well)
{
	static const char alphabet[] = "[]=:;# \t\n\r\"'\\ab\xff\xc3\xa9\x01,/";
	char data[600];
	unsigned seed = (unsigned)_i;
	size_t len;

	for (int round = 0; round < 2000; round++) {
		len = (size_t)rand_r(&seed) % sizeof data;
		for (size_t i = 0; i < len; i++)
			data[i] = alphabet[(size_t)rand_r(&seed) % sizeof alphabet];	/* NUL too */
		ck_assert_ptr_nonnull(ini_text(data, len));
		story_forget();
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("inifile");
	TCase *ini = story_case(suite, "ini");

	tcase_add_loop_test(ini, ini_lines, 0, ARRAY_SIZE(ini_cases));
	tcase_add_test(ini, ini_a_nul_byte_is_a_fault);
	tcase_add_loop_test(ini, ini_long_lines_are_as_short_ones, 0, ARRAY_SIZE(long_lengths));
	tcase_add_test(ini, ini_faults_and_sections_are_bounded);
	tcase_add_loop_test(ini, ini_any_bytes_end_well, 1, 4);
	return check_main(suite);
}
