/*
 * it_manual.c - the manual pages: clean, shown by man, and true: all options, events, signals and variables are in them.
 */
#include <ctype.h>
#include <stdio.h>
#include <unistd.h>
#include "cli.h"
#include "log.h"
#include "story.h"

static const char *const pages[] = {
	"unstuckctl.1", "unstuck-worker.1", "unstuck-recover.1", "unstuck.ini.5", "unstuck-handler.7",
};
#define PAGES (sizeof pages / sizeof *pages)

/* Where scdoc is not there, there are no pages. */
static bool is_left_out(void)
{
	if (access(build_path("man/unstuckctl.1"), R_OK) == 0)
		return false;
	printf("skipped: the manual pages (they need scdoc)\n");
	return true;
}

static const char *shell(const char *command)
{
	return proc_out(must_run(0, (&(struct proc_options){ .cwd = source_path("") }), "sh", "-c", command));
}

/* The text of a page, on lines wide enough that nothing is broken; what is bold is struck twice, and comes once. */
static const char *text_of(const char *page)
{
	char *text = story_text("%s", proc_out(must_run(0, NULL, "mandoc", "-T", "ascii", "-O", "width=1000",
	                                                build_path(story_text("man/%s", page))))), *to = text;

	for (const char *from = text; *from != '\0'; from++)
		if (from[1] == '\b')
			from++;
		else
			*to++ = *from;
	*to = '\0';
	return text;
}

/* name stands in text, and is not a part of a longer one. */
static bool has_word(const char *text, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = text; (at = strstr(at, name)) != NULL; at += len)
		if ((at == text || !isalnum((unsigned char)at[-1])) && !isalnum((unsigned char)at[len]) && at[len] != '-' && at[len] != '_')
			return true;
	return false;
}

/* Each line of list is a word of text. */
static void must_have_all(const char *text, const char *list, const char *of)
{
	size_t n = 0;

	for (size_t len; *list != '\0'; list += len + (list[len] == '\n')) {
		len = strcspn(list, "\n");
		char *name = story_text("%.*s", (int)len, list);

		ck_assert_msg(has_word(text, name), "%s is not in %s", name, of);
		n++;
	}
	ck_assert_uint_gt(n, 0);
}

START_TEST(mandoc_finds_nothing)
{
	if (is_left_out())
		return;
	for (size_t i = 0; i < PAGES; i++) {
		struct proc *lint = proc_start(NULL, WORDS("mandoc", "-T", "lint", "-W", "warning",
		                                           build_path(story_text("man/%s", pages[i]))));

		proc_wait(lint, 20000);
		ck_assert_str_eq(proc_out(lint), "");
		proc_must_exit(lint, 0, 0);
	}
}
END_TEST

/* Names in --help of a program and of its commands: options to stdout, commands to a file, and the whole to another. */
static const char *const help_lists =
	"commands=$(%1$s --help | sed -n '/^Commands:/,/ COMMAND --help/s/^  \\([a-z][a-z]*\\).*/\\1/p')\n"
	"echo \"$commands\" >%2$s\n"
	"for c in $commands ''; do %1$s $c --help; done >%3$s\n"
	"sed -n 's/^  \\(-., \\|    \\)\\(--[a-z-]*\\).*/\\2/p' %3$s | sort -u\n";

/* groff reads a page, where man-db is, and complains of nothing. */
START_TEST(man_shows_each_page)
{
	if (is_left_out())
		return;
	for (size_t i = 0; i < PAGES; i++) {
		struct proc *man = must_run(0, (&(struct proc_options){ .env = WORDS("MANWIDTH=80", "LC_ALL=C", "MANPAGER", "PAGER") }),
		                            "env", "man", "--warnings", "-l", build_path(story_text("man/%s", pages[i])));

		ck_assert_str_eq(proc_err(man), "");
		ck_assert_ptr_nonnull(strstr(proc_out(man), "\nSEE ALSO\n"));
	}
}
END_TEST

START_TEST(help_fits_80_columns_and_is_in_the_page)
{
	static const char *const programs[] = { "unstuckctl", "unstuck-worker", "unstuck-recover" };

	if (is_left_out())
		return;
	for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
		const char *options = shell(story_text(help_lists, build_path(programs[i]), test_path("commands"), test_path("help")));
		const char *text = text_of(story_text("%s.1", programs[i]));

		ck_assert_str_eq(shell(story_text("awk 'length > 80' %s", test_path("help"))), "");
		must_have_all(text, options, programs[i]);
		if (strcmp(programs[i], "unstuck-recover") != 0)
			must_have_all(text, read_file("commands"), programs[i]);
		for (const struct exit_status_row *row = exit_statuses; row->means != NULL; row++)
			ck_assert_ptr_nonnull(strstr(text, row->means + 1));	/* its first letter is a capital there */
	}
}
END_TEST

START_TEST(all_settings_are_in_the_page)
{
	if (is_left_out())
		return;
	must_have_all(text_of("unstuck.ini.5"), shell("sed -n 's/^| `\\([a-z_]*\\)` .*/\\1/p' docs/settings.md"), "unstuck.ini");
}
END_TEST

/* ---- what the code does without a table ---- */

START_TEST(every_event_is_in_the_table)
{
	const char *logged = shell("cat common/*.c worker/*.c recover/*.c ctl/*.c | awk -f tests/events.awk | LC_ALL=C sort");
	struct proc *sorted;
	char *table = story_text("%s", "");

	for (const struct event_row *e = log_events; e->name != NULL; e++)
		table = story_text("%s%s %s\n", table, e->name, e->levels);
	sorted = must_run(0, (&(struct proc_options){ .input = table, .env = WORDS("LC_ALL=C") }), "sort");
	ck_assert_msg(strcmp(proc_out(sorted), logged) == 0, "common/log_events.c has:\n%s\nthe code logs:\n%s", proc_out(sorted), logged);
}
END_TEST

/* Others read the log by these: they have to stay. */
START_TEST(the_promised_events_are_there)
{
	static const char *const promised[] = {
		"started", "claimed", "job_start", "job_done", "job_retry", "job_failed", "job_released", "job_killed",
		"late_result", "recovered", "worker_lost", "db_lost", "db_back", "spooled", "replayed", "quiet", "resume",
		"reloaded", "reload_failed", "stopping", "shutdown",
	};

	for (size_t i = 0; i < sizeof promised / sizeof *promised; i++) {
		const struct event_row *e = log_events;

		while (e->name != NULL && strcmp(e->name, promised[i]) != 0)
			e++;
		ck_assert_msg(e->name != NULL, "no event %s", promised[i]);
	}
}
END_TEST

/* But not what only a build for tests looks at (failpoint.c). */
START_TEST(all_signals_routes_and_variables_are_in_the_pages)
{
	const char *worker, *all = "";

	if (is_left_out())
		return;
	worker = text_of("unstuck-worker.1");
	for (size_t i = 0; i < PAGES; i++)
		all = story_text("%s%s", all, text_of(pages[i]));
	must_have_all(worker, shell("sed -n 's/^\t{ SIG[A-Z0-9]*, .*\"\\([A-Z0-9]*\\)\" }.*/\\1/p' worker/signals.c"), "unstuck-worker");
	must_have_all(worker, shell("sed -n 's|^\t{ \"\\(/[a-z/]*\\)\", .*|\\1|p' worker/http.c"), "unstuck-worker");
	must_have_all(all, shell("grep -ohE '(getenv|path_in_env)\\(\"[A-Z_]+\"' $(ls common/*.c worker/*.c recover/*.c ctl/*.c | "
	                         "grep -v /failpoint) | sed 's/.*\"\\(.*\\)\"/\\1/' | sort -u"), "any page");
	must_have_all(text_of("unstuck-handler.7"), shell("grep -ohE '(handler_env_add|buf_adds)\\([a-z&]+, \"UNSTUCK_[A-Z_]+' worker/*.c | "
	              "sed 's/.*\"//' | sort -u"), "unstuck-handler");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("manual");
	TCase *tc = story_case(s, "pages");

	tcase_add_test(tc, mandoc_finds_nothing);
	tcase_add_test(tc, man_shows_each_page);
	tcase_add_test(tc, help_fits_80_columns_and_is_in_the_page);
	tcase_add_test(tc, all_settings_are_in_the_page);
	tcase_add_test(tc, every_event_is_in_the_table);
	tcase_add_test(tc, the_promised_events_are_there);
	tcase_add_test(tc, all_signals_routes_and_variables_are_in_the_pages);
	return check_main(s);
}
