/*
 * it_scripts.c - the scripts of the house: the private server, the packages, and
 * the runner of the tests itself, which must not take a crash for a success.
 */
#include <unistd.h>
#include "story.h"

/* ---- scripts/pg.sh ---- */

/* A directory that the server's user can reach. */
static const char *server_place(void)
{
	must_run(0, NULL, "chmod", "755", test_dir());
	return test_path("server");
}

static int processes_with(const char *text)
{
	struct proc *found = proc_start(NULL, WORDS("pgrep", "-c", "-f", text));

	proc_wait(found, 10000);
	return atoi(proc_out(found));
}

START_TEST(a_private_server_starts_answers_and_leaves_nothing)
{
	const char *place = server_place(), *pg = source_path("scripts/pg.sh");
	struct proc *start = must_run(0, NULL, pg, "start", place, "-c", "max_connections=17");

	ck_assert_str_eq(proc_out(start), story_text("postgresql:///postgres?host=%s&user=postgres\n", place));
	const char *url = story_text("%.*s", (int)strlen(proc_out(start)) - 1, proc_out(start));
	struct proc *psql = must_run(0, NULL, "psql", "-XAtd", url, "-c", "SHOW max_connections", "-c", "SHOW listen_addresses",
	                             "-c", "CREATE TABLE kept (i int)");
	ck_assert_str_eq(proc_out(psql), "17\n\nCREATE TABLE\n");

	must_run(0, NULL, pg, "restart", place, "immediate");
	must_run(0, NULL, "psql", "-XAtd", url, "-c", "SHOW max_connections", "-c", "TABLE kept");
	must_run(0, NULL, pg, "halt", place);
	must_run(2, NULL, "psql", "-XAtd", url, "-c", "TABLE kept");
	must_run(0, NULL, pg, "start", place);
	must_run(0, NULL, "psql", "-XAtd", url, "-c", "TABLE kept");

	must_run(0, NULL, pg, "stop", place);
	ck_assert(!file_exists("server"));
	ck_assert_int_eq(processes_with(story_text("%s/data", place)), 0);
	must_run(0, NULL, pg, "stop", place);
}
END_TEST

START_TEST(a_private_server_goes_with_the_process_it_was_for)
{
	const char *place = server_place();
	struct proc *user = must_start(NULL, "sleep", "1000");

	must_run(0, NULL, source_path("scripts/pg.sh"), "start", "--until", story_text("%d", (int)proc_pid(user)), place);
	ck_assert_int_gt(processes_with(story_text("%s/data", place)), 0);
	proc_signal(user, SIGKILL);
	must_exit(user, 137, 5000);
	must_happen(!file_exists("server"), 20000);
	ck_assert_int_eq(processes_with(story_text("%s/data", place)), 0);
}
END_TEST

START_TEST(a_private_server_keeps_its_hands_off_other_directories)
{
	const char *pg = source_path("scripts/pg.sh");

	must_run(0, NULL, "mkdir", "mine");
	write_file("mine/letter", "dear");
	struct proc *start = must_run(1, NULL, pg, "start", test_path("mine"));
	ck_assert_ptr_nonnull(strstr(proc_err(start), "is not empty"));
	must_run(0, NULL, pg, "stop", test_path("mine"));
	ck_assert_str_eq(read_file("mine/letter"), "dear");
	start = must_run(1, NULL, pg, "start", "/tmp/it's mine");
	ck_assert_ptr_nonnull(strstr(proc_err(start), "letters, digits"));
	start = must_run(1, NULL, pg, "start", story_text("/tmp/%0100d", 0));
	ck_assert_ptr_nonnull(strstr(proc_err(start), "too long for a unix socket"));
}
END_TEST

/* ---- scripts/deps.sh ---- */

/* A PATH with these commands and no others: the real ones, or scripts in bin/. */
static const char *only_these(const char *commands)
{
	must_run(0, NULL, "sh", "-c", story_text("mkdir -p bin; for c in %s; do ln -sf \"$(command -v $c)\" bin/; done", commands));
	return story_text("PATH=%s", test_path("bin"));
}

START_TEST(elsewhere_than_on_debian_the_packages_are_named)
{
	const char *path = only_these("sh awk dirname id");
	struct proc *deps = must_run(1, (&(struct proc_options){ .env = WORDS(path) }), "sh", source_path("scripts/deps.sh"));

	ck_assert_ptr_nonnull(strstr(proc_err(deps), " libpq-dev "));
	ck_assert_ptr_nonnull(strstr(proc_err(deps), " shellcheck"));
	deps = must_run(1, (&(struct proc_options){ .env = WORDS(path) }), "sh", source_path("scripts/deps.sh"), "build");
	ck_assert_ptr_nonnull(strstr(proc_err(deps), " libpq-dev "));
	ck_assert_ptr_null(strstr(proc_err(deps), " shellcheck"));
}
END_TEST

/* Stand-ins for dpkg-query, which lacks one package until apt-get has been asked for it. */
static const char *debian_without_check(void)
{
	only_these("sh awk dirname realpath");
	write_script("bin/dpkg-query", "#!/bin/sh\nfor last; do :; done\n"
	                               "[ $last != check ] || [ -e installed ] && echo installed || exit 1\n");
	write_script("bin/apt-get", "#!/bin/sh\necho \"$*\" >>apt\ncase \" $* \" in *' install '*) : >installed ;; esac\n");
	return story_text("PATH=%s", test_path("bin"));
}

START_TEST(what_is_missing_is_installed_and_nothing_else)
{
	/* An ordinary user asks sudo; as root this test would write the machine's policy-rc.d. */
	const char *path = debian_without_check();

	must_run(0, NULL, "chmod", "777", test_dir());
	write_script("bin/id", "#!/bin/sh\necho 1000\n");
	write_script("bin/sudo", "#!/bin/sh\necho \"$*\" >sudo\nshift 3\nexec apt-get install \"$@\"\n");
	struct proc_options options = { .env = WORDS(path) };
	struct proc *deps = must_run(0, &options, "sh", source_path("scripts/deps.sh"));

	ck_assert_str_eq(proc_out(deps), "deps: installing check (a minute or two)\n");
	ck_assert_str_eq(read_file("sudo"), story_text("sh %s --as-root check\n", source_path("scripts/deps.sh")));
	ck_assert_str_eq(read_file("apt"), "install check\n");
	deps = must_run(0, &options, "sh", source_path("scripts/deps.sh"));
	ck_assert_str_eq(proc_out(deps), "");
}
END_TEST

START_TEST(without_root_and_sudo_it_says_what_is_missing)
{
	const char *path = debian_without_check();

	write_script("bin/id", "#!/bin/sh\necho 1000\n");
	struct proc *deps = must_run(1, (&(struct proc_options){ .env = WORDS(path) }), "sh", source_path("scripts/deps.sh"), "test");
	ck_assert_ptr_nonnull(strstr(proc_err(deps), "neither root nor sudo: please install check"));
}
END_TEST

/* ---- tests/run ---- */

static const struct {
	const char *program;	/* what a test program does */
	int status;
	const char *last;
} runs[] = {
	{ "echo '100%: Checks: 3, Failures: 0, Errors: 0'", 0, "3 passed, 0 failed\n" },
	{ "echo '33%: Checks: 3, Failures: 1, Errors: 1'; exit 1", 1, "1 passed, 2 failed\n" },
	{ "echo '100%: Checks: 3, Failures: 0, Errors: 0'; exit 99", 1, "3 passed, 1 failed\n" },
	{ "echo '100%: Checks: 0, Failures: 0, Errors: 0'", 1, "0 passed, 1 failed\n" },
	{ "kill -SEGV $$", 1, "0 passed, 1 failed\n" },
	{ "exec sleep 1000", 1, "0 passed, 1 failed\n" },
	{ "exit 0", 1, "0 passed, 1 failed\n" },
};

static const char *last_line(const char *text)
{
	size_t i = strlen(text);

	while (i > 1 && text[i - 2] != '\n')
		i--;
	return i > 0 ? text + i - 1 : text;
}

START_TEST(the_runner_counts_what_check_counts_and_sees_every_crash)
{
	write_script("test_it", story_text("#!/bin/sh\n%s\n", runs[_i].program));
	struct proc *run = must_run(runs[_i].status, (&(struct proc_options){ .env = WORDS("TEST_PROGRAM_LIMIT=1") }),
	                            source_path("tests/run"), test_path("test_it"));
	ck_assert_str_eq(last_line(proc_out(run)), runs[_i].last);
}
END_TEST

START_TEST(the_runner_adds_up_all_programs)
{
	for (int i = 0; i < 5; i++)
		write_script(story_text("test_%d", i), story_text("#!/bin/sh\n%s\n", runs[i == 3].program));
	struct proc *run = must_run(1, NULL, source_path("tests/run"), test_path("test_0"), test_path("test_1"),
	                            test_path("test_2"), test_path("test_3"), test_path("test_4"));
	ck_assert_str_eq(last_line(proc_out(run)), "13 passed, 2 failed\n");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("scripts");
	TCase *tc = story_case(s, "pg.sh");

	tcase_add_test(tc, a_private_server_starts_answers_and_leaves_nothing);
	tcase_add_test(tc, a_private_server_goes_with_the_process_it_was_for);
	tcase_add_test(tc, a_private_server_keeps_its_hands_off_other_directories);

	tc = story_case(s, "deps.sh");
	tcase_add_test(tc, elsewhere_than_on_debian_the_packages_are_named);
	tcase_add_test(tc, what_is_missing_is_installed_and_nothing_else);
	tcase_add_test(tc, without_root_and_sudo_it_says_what_is_missing);

	tc = story_case(s, "run");
	tcase_add_loop_test(tc, the_runner_counts_what_check_counts_and_sees_every_crash, 0, (int)(sizeof runs / sizeof *runs));
	tcase_add_test(tc, the_runner_adds_up_all_programs);
	return check_main(s);
}
