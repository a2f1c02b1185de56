/*
 * test_redis_url.c - where Redis is, taken apart; and what people are shown of it.
 */
#include <string.h>
#include "check_main.h"
#include "leftovers.h"
#include "redis_url.h"

static const struct {
	const char *text, *host, *path, *password;
	unsigned port, db;
	const char *shown;
} good[] = {
	{ "", NULL, NULL, NULL, 6379, 0, "" },
	{ "redis://h", "h", NULL, NULL, 6379, 0, "redis://h:6379" },
	{ "redis://h/", "h", NULL, NULL, 6379, 0, "redis://h:6379" },
	{ "redis://10.0.0.1:1/7", "10.0.0.1", NULL, NULL, 1, 7, "redis://10.0.0.1:1/7" },
	{ "redis://:p%40s%2Fs%25@h:65535", "h", NULL, "p@s/s%", 65535, 0, "redis://h:65535" },
	{ "redis://:p@ss/w:d@h:6379/15", "h", NULL, "p@ss/w:d", 6379, 15, "redis://h:6379/15" },
	{ "redis://:@h", "h", NULL, "", 6379, 0, "redis://h:6379" },
	{ "redis://:pw@[::1]:6380", "::1", NULL, "pw", 6380, 0, "redis://[::1]:6380" },
	{ "redis://[fe80::1%25eth0]", "fe80::1%eth0", NULL, NULL, 6379, 0, "redis://[fe80::1%eth0]:6379" },
	{ "unix:///run/redis.sock", NULL, "/run/redis.sock", NULL, 6379, 0, "unix:///run/redis.sock" },
	{ "unix://:a:b@c@/r%20x", NULL, "/r x", "a:b@c", 6379, 0, "unix:///r x" },
	{ "unix:///a@/b", NULL, "/a@/b", NULL, 6379, 0, "unix:///a@/b" },
};

static void must_be(const char *got, const char *wanted)
{
	ck_assert((got == NULL) == (wanted == NULL));
	if (wanted != NULL)
		ck_assert_str_eq(got, wanted);
}

START_TEST(a_url_is_taken_apart)
{
	struct buf shown = BUF_INIT;
	struct error err = ERROR_INIT;
	struct redis_url url;

	ck_assert_int_eq(redis_url_parse(&url, good[_i].text, &err), 0);
	must_be(url.host, good[_i].host);
	must_be(url.path, good[_i].path);
	must_be(url.password, good[_i].password);
	ck_assert_uint_eq(url.port, good[_i].port);
	ck_assert_uint_eq(url.db, good[_i].db);
	redis_describe(&shown, &url);
	ck_assert_str_eq(buf_text(&shown), good[_i].shown);
	buf_release(&shown);
	redis_url_release(&url);
}
END_TEST

static const char *const bad[] = {
	"h", "redis:/h", "rediss://h", "redis://", "redis://:secret99@", "redis://secret99@h", "redis://:secret99@h:0",
	"redis://:secret99@h:65536", "redis://:secret99@h:x", "redis://:secret99@h:", "redis://:secret99@h/1x",
	"redis://:secret99@h/2147483648", "redis://:secret99%4@h", "redis://:secret99%zz@h", "redis://:secret99%00@h",
	"redis://:secret99@[::1", "redis://:secret99@[]", "redis://:secret99@[::1]x", "redis://:secret99", "unix://", "unix:///",
	"unix://secret99@/x", "unix://:secret99@x", "unix://:secret99/x", "unix://x", "redis://h h", " redis://h",
	"unix:///aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
};

START_TEST(a_wrong_one_is_refused_without_a_word_of_it)
{
	struct error err = ERROR_INIT;
	struct redis_url url;

	ck_assert_int_eq(redis_url_parse(&url, bad[_i], &err), -1);
	ck_assert_int_eq(err.kind, ERR_SETTINGS);
	ck_assert_ptr_null(strstr(err.text, "secret99"));
	ck_assert(url.path == NULL && url.host == NULL && url.password == NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("redis_url");
	TCase *tc = unit_case(s, "urls");

	tcase_add_loop_test(tc, a_url_is_taken_apart, 0, ARRAY_SIZE(good));
	tcase_add_loop_test(tc, a_wrong_one_is_refused_without_a_word_of_it, 0, ARRAY_SIZE(bad));
	return check_main(s);
}
