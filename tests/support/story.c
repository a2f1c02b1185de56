/*
 * story.c - what happens before and after each test.
 *
 * After one that went well, what it started and did not end is told to end as anybody would, and then nothing may be left.
 *
 * Unchecked fixtures run in the process that runs the suite, checked ones in the
 * process of the test. A failed test has no teardown: the suite cleans up.
 */
#include <stdio.h>
#include <unistd.h>
#include "story.h"

extern char **environ;

static void suite_begin(void)
{
	files_find_roots();
	keeper_start();
	procs_adopt(keeper_pid());
}

static void suite_end(void)
{
	procs_end();
}

/* The settings of whoever runs the tests must not reach the programs. */
static void clear_environment(void)
{
	static const char *const prefixes[] = { "UNSTUCK_", "PG", "XDG_", "DATABASE_URL", "NOTIFY_SOCKET", "NO_COLOR",
	                                        "TZ=", "LC_", "LANG", "COLUMNS", "MAKE", "MFLAGS" };
	size_t i = 0;

	while (environ[i] != NULL) {
		char name[256];
		bool gone = false;

		for (size_t k = 0; k < sizeof prefixes / sizeof *prefixes; k++)
			gone = gone || strncmp(environ[i], prefixes[k], strlen(prefixes[k])) == 0;
		if (!gone || snprintf(name, sizeof name, "%.*s", (int)strcspn(environ[i], "="), environ[i]) >= 256)
			i++;
		else
			unsetenv(name);	/* the rest of the list moves up */
	}
	setenv("LANG", "C.UTF-8", 1);
	setenv("HOME", test_dir(), 1);
}

static void test_begin(void)
{
	leftovers_begin();
	files_begin(keeper_dir());
	clear_environment();
}

static void test_end(void)
{
	procs_stop();
	story_end();
	leftovers_no_process();
	procs_forget();
	testdb_end();
	files_end();
	leftovers_no_descriptor();
	story_forget();
}

TCase *story_case(Suite *suite, const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_add_unchecked_fixture(tc, suite_begin, suite_end);
	tcase_add_checked_fixture(tc, test_begin, test_end);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(suite, tc);
	return tc;
}
