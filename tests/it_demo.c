/*
 * it_demo.c - the demo does what its screen says, and cleans up however it ends.
 */
#include <stdio.h>
#include "story.h"

static struct proc *demo(void)
{
	const char *env[] = { story_text("BUILD=%s", build_path(".")), "DEMO_FILES=40", "DEMO_DELAY=0.1", "TERM=dumb", NULL };

	return proc_start(&(struct proc_options){ .env = env, .tty = TTY_ALL }, WORDS("sh", source_path("scripts/demo.sh")));
}

/* The directory that its first headline names. */
static const char *demo_dir(struct proc *p)
{
	const char *at = strstr(proc_out(p), "/tmp/unstuck-demo.");

	if (at == NULL)
		story_fail("no directory in: %s", proc_out(p));
	return story_text("%.*s", (int)strcspn(at, "\x1b\r\n"), at);
}

static void must_count(struct proc *p)
{
	if (strstr(proc_out(p), "\n   40 |        40 |      0 |      40 |          0 |    0") == NULL)
		story_fail("the count is not 40 jobs, 40 results, 0 duplicates, 0 lost: %s", proc_out(p));
}

/* On a terminal: with its progress bar. */
START_TEST(the_demo_ends_with_every_result_once_and_leaves_nothing)
{
	struct proc *p = demo();

	must_exit(p, 0, 60000);
	must_count(p);
	ck_assert_ptr_nonnull(strstr(proc_out(p), "[########################################] 40 of 40 jobs"));
	must_happen(!file_exists(demo_dir(p)), 5000);
	must_happen(procs_alive() == 0, 5000);
}
END_TEST

START_TEST(an_interrupted_demo_leaves_nothing)
{
	struct proc *p = demo();

	must_print(p, " of 40 jobs");
	must_type(p, "\x03");
	must_exit(p, 130, 20000);
	must_happen(!file_exists(demo_dir(p)), 5000);
	must_happen(procs_alive() == 0, 10000);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("demo");
	TCase *tc = story_case(s, "demo");

	tcase_add_test(tc, the_demo_ends_with_every_result_once_and_leaves_nothing);
	tcase_add_test(tc, an_interrupted_demo_leaves_nothing);
	return check_main(s);
}
