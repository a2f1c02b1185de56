/*
 * test_pg.c - what the errors of the server mean, where to connect and what is
 * never told of it, arrays, and the embedded SQL.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "check_main.h"
#include "leftovers.h"
#include "pg.h"
#include "sqltext.h"
#include "words.h"

/* ---- errors of the server, connections, arrays ---- */

START_TEST(an_sqlstate_says_whether_the_same_may_succeed_later)
{
	static const struct {
		const char *states;
		enum pg_verdict verdict;
	} cases[] = {
		{ "08000 08006 08P01 57P01 57P02 57P03 57P05 40003 25P03", PG_LOST },
		{ "40001 40P01 53100 53200 53300 55P03 55006 57014 25006 25P02 58030 XX000 XX001 28000 28P01 3D000 F0000 26000 42P05",
		  PG_AGAIN },
		{ "22P02 22P05 22003 22012 23505 23514 23P01 42501 42703 42P01 54000 54001 P0001 P0002 0A000 21000 44000 2F000", PG_DATA },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = ERROR_INIT;
		char **states = words_split(cases[i].states, &err);


		for (size_t s = 0; states[s] != NULL; s++)
			ck_assert_msg(pg_verdict(states[s]) == cases[i].verdict, "%s", states[s]);
		words_free(states);
	}
	ck_assert_int_eq(pg_verdict(""), PG_LOST);
	ck_assert_int_eq(pg_verdict(NULL), PG_LOST);
}
END_TEST

static const char *value_of(const struct conninfo *ci, const char *keyword)
{
	for (size_t i = 0; i < ci->len; i++)
		if (strcmp(ci->keywords[i], keyword) == 0)
			return ci->values[i];
	return "";
}

START_TEST(a_connection_gets_our_defaults_where_the_user_named_none)
{
	struct conninfo ci;
	struct error err = ERROR_INIT;

	unsetenv("PGCONNECT_TIMEOUT");
	ck_assert_int_eq(conninfo_init(&ci, "postgresql://me:p%40ss@a,b:5433/app?connect_timeout=3&target_session_attrs=read-write",
	                               "unstuck-worker", &err), 0);
	ck_assert_str_eq(value_of(&ci, "host"), "a,b");
	ck_assert_str_eq(value_of(&ci, "password"), "p@ss");
	ck_assert_str_eq(value_of(&ci, "target_session_attrs"), "read-write");
	ck_assert_str_eq(value_of(&ci, "connect_timeout"), "3");
	ck_assert_str_eq(value_of(&ci, "keepalives_idle"), "30");
	ck_assert_str_eq(value_of(&ci, "tcp_user_timeout"), "30000");
	ck_assert_str_eq(value_of(&ci, "fallback_application_name"), "unstuck-worker");
	ck_assert_ptr_null(ci.keywords[ci.len]);
	conninfo_release(&ci);

	setenv("PGCONNECT_TIMEOUT", "7", 1);
	ck_assert_int_eq(conninfo_init(&ci, "", "x", &err), 0);
	ck_assert_str_eq(value_of(&ci, "connect_timeout"), "");		/* libpq takes its own */
	ck_assert_str_eq(value_of(&ci, "host"), "");
	conninfo_release(&ci);
}
END_TEST

START_TEST(a_setting_of_the_service_file_wins_over_our_default)
{
	char path[] = "/tmp/unstuck-service.XXXXXX";
	int fd = mkstemp(path);
	struct conninfo ci;
	struct error err = ERROR_INIT;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_gt(dprintf(fd, "[app]\nhost=x\nkeepalives_idle=77\n"), 0);
	setenv("PGSERVICEFILE", path, 1);
	ck_assert_int_eq(conninfo_init(&ci, "service=app", "x", &err), 0);
	ck_assert_str_eq(value_of(&ci, "keepalives_idle"), "");
	ck_assert_str_eq(value_of(&ci, "service"), "app");
	ck_assert_ptr_null(getenv("PGSERVICE"));
	conninfo_release(&ci);
	close(fd);
	unlink(path);
}
END_TEST

START_TEST(a_wrong_url_is_refused_and_nothing_of_it_told)
{
	static const char *const urls[] = {
		"postgres://me:s3cret%zz@h/db", "postgres://me:s3cr@et@h/db", "postgres://me:s3cret@h:5432:s3cret/db",
		"host=h password=a s3cret", "mysql://me:s3cret@h/db", "s3cret",
	};

	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		struct conninfo ci;
		struct error err = ERROR_INIT;

		ck_assert_msg(conninfo_init(&ci, urls[i], "x", &err) == -1, "%s was taken", urls[i]);
		ck_assert_int_eq(err.kind, ERR_SETTINGS);
		ck_assert_msg(strstr(err.text, "database_url") != NULL && strstr(err.text, "3cr") == NULL &&
		              strstr(err.text, "et@") == NULL, "%s", err.text);
		conninfo_release(&ci);
	}
}
END_TEST

START_TEST(an_array_holds_any_text)
{
	struct buf b = BUF_INIT;

	array_begin(&b);
	array_add(&b, "a\"b\\c", 5);
	array_add(&b, NULL, 0);
	array_add(&b, "", 0);
	array_add(&b, "{x,y}", 5);
	array_end(&b);
	ck_assert_str_eq(b.data, "{\"a\\\"b\\\\c\",NULL,\"\",\"{x,y}\"}");
	buf_release(&b);
}
END_TEST

START_TEST(a_text_of_sql_is_there_whole_and_in_sections)
{
	ck_assert_ptr_nonnull(strstr(sqltext("schema", NULL), "CREATE SCHEMA IF NOT EXISTS unstuck;"));
	ck_assert_ptr_nonnull(strstr(sqltext("schema", NULL), "'[[:cntrl:]\\]]'"));
	ck_assert_int_eq(strncmp(sqltext("workers", "register"), "INSERT INTO unstuck.workers", 27), 0);
	ck_assert_ptr_null(strstr(sqltext("workers", "register"), "--"));
	ck_assert_ptr_null(strchr(sqltext("workers", "register"), ';'));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pg");
	TCase *pg = unit_case(s, "pg");

	tcase_add_test(pg, an_sqlstate_says_whether_the_same_may_succeed_later);
	tcase_add_test(pg, a_connection_gets_our_defaults_where_the_user_named_none);
	tcase_add_test(pg, a_setting_of_the_service_file_wins_over_our_default);
	tcase_add_test(pg, a_wrong_url_is_refused_and_nothing_of_it_told);
	tcase_add_test(pg, an_array_holds_any_text);
	tcase_add_test(pg, a_text_of_sql_is_there_whole_and_in_sections);
	return check_main(s);
}
