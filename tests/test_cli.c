/*
 * test_cli.c - the command line: commands, options, what is refused and how, help.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli.h"
#include "story.h"

/* ---- a program with commands ---- */

struct options {
	bool first;		/* offset 0: --json of "list" must not touch it */
	bool drain, json;
	uint64_t max_jobs;
	usec_t timeout;
	double share;
	const char *name;
};
#define AT(member) offsetof(struct options, member)

static const struct option_row run_rows[] = {
	{ .name = "drain", .kind = OPT_FLAG, .offset = AT(drain), .help = "work until nothing is ready" },
	{ .name = "max-jobs", .letter = 'm', .kind = OPT_COUNT, .offset = AT(max_jobs), .arg = "N", .help = "leave after N", .min = 1 },
	{ .name = "concurrency", .letter = 'n', .kind = OPT_SETTING, .arg = "N", .help = "at once", .key = "worker.concurrency" },
	{ .name = "graceful-timeout", .kind = OPT_SETTING, .arg = "D", .help = "grace", .key = "worker.graceful_timeout" },
	{ .name = NULL },
};
static const struct option_row stop_rows[] = {
	{ .name = "timeout", .letter = 't', .kind = OPT_TIME, .offset = AT(timeout), .arg = "D", .help = "wait", .min = SEC },
	{ .name = "share", .kind = OPT_SHARE, .offset = AT(share), .arg = "P", .help = "share" },
	{ .name = "name", .kind = OPT_TEXT, .offset = AT(name), .arg = "NAME", .help = "name" },
	{ .name = "json", .kind = OPT_FLAG, .offset = AT(json), .help = "json" },
	{ .name = NULL },
};
static const struct option_row list_rows[] = {
	{ .name = "json", .kind = OPT_FLAG, .help = "json" },
	{ .name = NULL },
};
static const struct command_row commands[] = {
	{ "run", "[QUEUE...]", "run the jobs of the queues", run_rows, 0, SIZE_MAX },
	{ "stop", "", "stop the worker", stop_rows, 0, 0 },
	{ "list", "ID [MORE]", "list a job", list_rows, 1, 2 },
	{ "check", "", "check all", NULL, 0, 0 },
};

static const struct example_row examples[] = {
	{ "unstuck-test run q1 -n 3", "one queue" },
	{ "tail -f ids | unstuck-test list -",
	  "what comes, one by one, with an explanation that does not fit on a single line" },
	{ .line = NULL },
};

/* One call of cli_parse() and what it wrote. */
struct call {
	struct cli cli;
	struct options opt;
	int status;
	char *out, *err;	/* with the newline */
	char **argv;
};

static struct cli program(const char *default_command)
{
	return (struct cli){ .program = "unstuck-test", .summary = "Tests the command line.", .commands = commands,
	                     .commands_len = ARRAY_SIZE(commands), .default_command = default_command, .examples = examples };
}

/* argv in memory of its own, as a program gets it. */
static char **argv_of(const char *const *words, int *argc)
{
	char **argv;

	for (*argc = 0; words[*argc] != NULL; ++*argc)
		;
	argv = story_memory(((size_t)*argc + 1) * sizeof *argv);
	for (int i = 0; i < *argc; i++)
		argv[i] = story_text("%s", words[i]);
	return argv;
}

static struct call *parse_words(struct cli cli, const char *const *words)
{
	struct call *call = story_memory(sizeof *call);
	int argc, out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);

	call->cli = cli;
	call->argv = argv_of(words, &argc);
	fflush(stdout);
	ck_assert_ptr_nonnull(freopen("out", "w", stdout));
	ck_assert_ptr_nonnull(freopen("err", "w", stderr));
	call->status = cli_parse(&call->cli, &call->opt, argc, call->argv);
	fflush(stdout);
	fflush(stderr);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	close(out);
	close(err);
	call->out = read_file("out");
	call->err = read_file("err");
	return call;
}

#define parse(...) parse_words(program(NULL), WORDS("unstuck-test", __VA_ARGS__))
#define parse_run(...) parse_words(program("run"), WORDS("unstuck-test", __VA_ARGS__))

/* "a b|key=value key=value": positional arguments and flags. */
static const char *words_and_flags(const struct call *call)
{
	char *text = story_text("%s", "");

	for (size_t i = 0; i < call->cli.args_len; i++)
		text = story_text("%s%s%s", text, i ? " " : "", call->cli.args[i]);
	text = story_text("%s|", text);
	for (const struct flag_setting *f = call->cli.flags; f->key != NULL; f++)
		text = story_text("%s%s%s=%s(%s)", text, f > call->cli.flags ? " " : "", f->key, f->value, f->flag);
	return text;
}

START_TEST(options_stand_before_and_behind_the_command)
{
	struct call *c = parse("-v", "-c", "a.ini", "run", "q1", "--max-jobs", "5", "q2", "-vq", "--drain", "-n3");

	ck_assert_str_eq(c->err, "");
	ck_assert_int_eq(c->status, -1);
	ck_assert_str_eq(c->cli.command->name, "run");
	ck_assert_str_eq(c->cli.common.config, "a.ini");
	ck_assert_int_eq(c->cli.common.verbose, 1);
	ck_assert(c->opt.drain);
	ck_assert_uint_eq(c->opt.max_jobs, 5);
	ck_assert_str_eq(words_and_flags(c), "q1 q2|worker.concurrency=3(--concurrency)");
}
END_TEST

START_TEST(options_of_a_command_may_stand_before_it)
{
	struct call *c = parse("--timeout", "90", "--json", "stop", "--share=50%", "--name", "-x");

	ck_assert_str_eq(c->err, "");
	ck_assert_str_eq(c->cli.command->name, "stop");
	ck_assert_uint_eq(c->opt.timeout, 90 * SEC);
	ck_assert_double_eq_tol(c->opt.share, 0.5, 1e-9);
	ck_assert_str_eq(c->opt.name, "-x");
	ck_assert(c->opt.json);
	ck_assert(c->cli.common.json);
	ck_assert(!c->opt.first);
}
END_TEST

START_TEST(json_without_a_place_sets_the_common_one)
{
	struct call *c = parse("list", "7", "--json");

	ck_assert(c->cli.common.json);
	ck_assert(!c->opt.first);
	ck_assert(!parse("list", "7")->cli.common.json);
}
END_TEST

START_TEST(without_a_command_it_is_the_default_one)
{
	struct call *c = parse_run("mail", "--drain");

	ck_assert_str_eq(c->cli.command->name, "run");
	ck_assert_str_eq(words_and_flags(c), "mail|");
	ck_assert(c->opt.drain);
	ck_assert_str_eq(parse_run("--drain", "stop2")->cli.command->name, "run");
	ck_assert_str_eq(parse_run("stop")->cli.command->name, "stop");
	ck_assert_str_eq(parse_words(program("run"), WORDS("unstuck-test"))->cli.command->name, "run");

	/* an option's argument is not the command, nor is a word behind -- */
	c = parse_run("-c", "stop", "--max-jobs", "3", "--", "stop", "-v", "--", "run");
	ck_assert_str_eq(c->cli.command->name, "run");
	ck_assert_str_eq(words_and_flags(c), "stop -v -- run|");
	ck_assert_str_eq(c->cli.common.config, "stop");
}
END_TEST

START_TEST(posixly_correct_changes_nothing)
{
	setenv("POSIXLY_CORRECT", "1", 1);
	ck_assert_str_eq(words_and_flags(parse("run", "q1", "-n", "3", "q2")), "q1 q2|worker.concurrency=3(--concurrency)");
}
END_TEST

START_TEST(a_program_without_commands)
{
	static const struct command_row only[] = { { NULL, "[QUEUE...]", "", run_rows, 0, 1 } };
	struct cli cli = { .program = "unstuck-one", .summary = "One.", .commands = only, .commands_len = 1 };
	struct call *c = parse_words(cli, WORDS("unstuck-one", "run", "-n", "2"));

	ck_assert_int_eq(c->status, -1);
	ck_assert_str_eq(words_and_flags(c), "run|worker.concurrency=2(--concurrency)");
	c = parse_words(cli, WORDS("unstuck-one", "a", "b"));
	ck_assert_int_eq(c->status, EXIT_USAGE);
	ck_assert_str_eq(c->err, "unstuck-one: b: one argument too many; see unstuck-one --help\n");
	c = parse_words(cli, WORDS("unstuck-one", "--help"));
	ck_assert_int_eq(c->status, EXIT_DONE);
	ck_assert_ptr_nonnull(strstr(c->out, "Usage: unstuck-one [OPTIONS] [QUEUE...]\nOne.\n"));
}
END_TEST

START_TEST(the_last_of_two_settings_counts)
{
	ck_assert_str_eq(words_and_flags(parse("run", "-n2", "--graceful-timeout", "1s", "-n", "3")),
	                 "|worker.concurrency=3(--concurrency) worker.graceful_timeout=1s(--graceful-timeout)");
}
END_TEST

/* ps and /proc/PID/cmdline show what argv holds. */
START_TEST(the_database_url_is_blanked_in_argv)
{
	static const char url[] = "postgresql://u:hunter2@h/db";
	struct call *c = parse("run", "-d", url);

	ck_assert_str_eq(c->cli.common.database_url, url);
	ck_assert_str_eq(words_and_flags(c), "|unstuck.database_url=postgresql://u:hunter2@h/db(--database-url)");
	ck_assert_str_eq(c->argv[3], "xxxxxxxxxxxxxxxxxxxxxxxxxxx");
	c = parse("run", "--database-url=postgresql://u:hunter2@h/db", "-dx");
	ck_assert_str_eq(c->argv[2], "--database-url=xxxxxxxxxxxxxxxxxxxxxxxxxxx");
	ck_assert_str_eq(c->cli.common.database_url, "x");
}
END_TEST

/* ---- refused: one line, status 64 ---- */

static const struct {
	const char *words[6];
	const char *expected;
} refused[] = {
	{ { "rnu" }, "no command is called rnu (did you mean run?); see unstuck-test --help" },
	{ { "frobnicate" }, "no command is called frobnicate; see unstuck-test --help" },
	{ { NULL }, "expected a command; see unstuck-test --help" },
	{ { "-v" }, "expected a command; see unstuck-test --help" },
	{ { "run", "--drian" }, "no option is called --drian (did you mean --drain?); see unstuck-test run --help" },
	{ { "run", "--zzzzzzzzz=3" }, "no option is called --zzzzzzzzz; see unstuck-test run --help" },
	{ { "run", "-vZ" }, "no option is called -Z; see unstuck-test run --help" },
	{ { "check", "--drain" }, "no option is called --drain; see unstuck-test check --help" },
	{ { "run", "--drain=yes" }, "--drain takes no argument; see unstuck-test run --help" },
	{ { "run", "--max-jobs" }, "--max-jobs needs N behind it; see unstuck-test run --help" },
	{ { "run", "-m" }, "--max-jobs needs N behind it; see unstuck-test run --help" },
	{ { "run", "-c" }, "--config needs FILE behind it; see unstuck-test run --help" },
	{ { "run", "--max-jobs", "many" }, "--max-jobs many: expected a whole number, at least 1; see unstuck-test run --help" },
	{ { "run", "--max-jobs", "0" }, "--max-jobs 0: expected a whole number, at least 1; see unstuck-test run --help" },
	{ { "run", "--max-jobs", "" }, "--max-jobs : expected a whole number, at least 1; see unstuck-test run --help" },
	{ { "run", "--max-jobs=-1" }, "--max-jobs -1: expected a whole number, at least 1; see unstuck-test run --help" },
	{ { "run", "--max-jobs", "18446744073709551616" },
	  "--max-jobs 18446744073709551616: expected a whole number, at least 1; see unstuck-test run --help" },
	{ { "run", "-n", "banana" },
	  "--concurrency banana: expected a whole number from 1 to 1024; see unstuck-test run --help" },
	{ { "run", "--graceful-timeout", "soon" },
	  "--graceful-timeout soon: expected a duration from 0s to 7d, as in 90s, 15m or 1h30m; see unstuck-test run --help" },
	{ { "stop", "-t", "1.5s" },
	  "--timeout 1.5s: expected a duration of at least 1s, as in 90s, 15m or 1h30m; see unstuck-test stop --help" },
	{ { "stop", "-t", "10ms" },
	  "--timeout 10ms: expected a duration of at least 1s, as in 90s, 15m or 1h30m; see unstuck-test stop --help" },
	{ { "stop", "--share", "150%" }, "--share 150%: expected a share from 0 to 1, as in 0.5 or 50%; see unstuck-test stop --help" },
	{ { "stop", "now" }, "now: one argument too many; see unstuck-test stop --help" },
	{ { "list" }, "expected ID [MORE] behind list; see unstuck-test list --help" },
	{ { "list", "1", "2", "3" }, "3: one argument too many; see unstuck-test list --help" },
	{ { "stop", "a\nb\x1b[2J" }, "a\\x0ab\\x1b[2J: one argument too many; see unstuck-test stop --help" },
};

START_TEST(what_is_wrong_is_refused_by_name)
{
	const char *words[8] = { "unstuck-test" };
	struct call *c;

	for (int i = 0; i < 6; i++)
		words[i + 1] = refused[_i].words[i];
	c = parse_words(program(NULL), words);
	ck_assert_str_eq(c->err, story_text("unstuck-test: %s\n", refused[_i].expected));
	ck_assert_str_eq(c->out, "");
	ck_assert_int_eq(c->status, EXIT_USAGE);
}
END_TEST

START_TEST(no_argv_at_all_is_no_crash)
{
	struct cli cli = program("run");
	char *none[] = { NULL };
	struct options opt = { .first = false };

	ck_assert_int_eq(cli_parse(&cli, &opt, 0, none), -1);
	ck_assert_uint_eq(cli.args_len, 0);
}
END_TEST

/* ---- help and version ---- */

static const char common_help[] =
"\n"
"Options of every command:\n"
"  -c, --config FILE       settings file (default $UNSTUCK_CONFIG, ./unstuck.ini,\n"
"                          /etc/unstuck/unstuck.ini)\n"
"  -d, --database-url URL  the database (default $DATABASE_URL, the settings,\n"
"                          then libpq's own variables and files)\n"
"  -v, --verbose           say more; twice for still more\n"
"  -q, --quiet             say less\n"
"  -h, --help              this text; behind a command, its own\n"
"  -V, --version           the version\n";

static const char duration_help[] =
"\n"
"D is a duration: 90 (seconds), 250ms, 90s, 15m, 1h30m, 2d.\n";

static const char status_help[] =
"\n"
"Exit statuses:\n"
"   0  done, or nothing to do\n"
"   1  failed, or only partly done\n"
"  64  wrong options or arguments\n"
"  69  the database cannot be reached\n"
"  75  stopped, but results or rows could not be handed back\n"
"  78  wrong settings, or no schema in the database\n"
"\n"
"The manual: man unstuck-test; man 5 unstuck.ini has the settings.\n";

START_TEST(help_of_the_program_lists_its_commands)
{
	struct call *c = parse_run("--help");

	ck_assert_int_eq(c->status, EXIT_DONE);
	ck_assert_str_eq(c->err, "");
	ck_assert_str_eq(c->out, story_text(
	                 "Usage: unstuck-test [COMMAND] [OPTIONS] [ARGUMENTS]\n"
	                 "Tests the command line.\n"
	                 "\n"
	                 "Commands:\n"
	                 "  run [QUEUE...]  run the jobs of the queues\n"
	                 "  stop            stop the worker\n"
	                 "  list ID [MORE]  list a job\n"
	                 "  check           check all\n"
	                 "Without a command: run.\n"
	                 "unstuck-test COMMAND --help tells the options of a command.\n"
	                 "\n"
	                 "Options of run:\n"
	                 "      --drain               work until nothing is ready\n"
	                 "  -m, --max-jobs N          leave after N\n"
	                 "  -n, --concurrency N       at once\n"
	                 "      --graceful-timeout D  grace\n%s%s"
	                 "\n"
	                 "Examples:\n"
	                 "  unstuck-test run q1 -n 3\n"
	                 "      one queue\n"
	                 "  tail -f ids | unstuck-test list -\n"
	                 "      what comes, one by one, with an explanation that does not fit on a single\n"
	                 "      line\n%s", common_help, duration_help, status_help));
	ck_assert_int_eq(parse("-h")->status, EXIT_DONE);
}
END_TEST

START_TEST(help_of_a_command_is_its_own)
{
	struct call *c = parse("stop", "--help", "--nonsense");

	ck_assert_int_eq(c->status, EXIT_DONE);
	ck_assert_str_eq(c->out, story_text(
	                 "Usage: unstuck-test stop [OPTIONS]\n"
	                 "Stop the worker.\n"
	                 "\n"
	                 "Options:\n"
	                 "  -t, --timeout D  wait\n"
	                 "      --share P    share\n"
	                 "      --name NAME  name\n"
	                 "      --json       json\n%s%s", common_help, duration_help));
	ck_assert_str_eq(parse("--help", "stop")->out, c->out);
	ck_assert_str_eq(parse("list", "--help")->out, story_text(
	                 "Usage: unstuck-test list [OPTIONS] ID [MORE]\n"
	                 "List a job.\n"
	                 "\n"
	                 "Options:\n"
	                 "      --json  json\n%s"
	                 "\n"
	                 "Examples:\n"
	                 "  tail -f ids | unstuck-test list -\n"
	                 "      what comes, one by one, with an explanation that does not fit on a single\n"
	                 "      line\n", common_help));
}
END_TEST

START_TEST(version)
{
	struct call *c = parse("--version");

	ck_assert_int_eq(c->status, EXIT_DONE);
	ck_assert_str_eq(c->out, "unstuck-test " UNSTUCK_VERSION "\n");
	ck_assert_str_eq(parse_run("-V")->out, c->out);
}
END_TEST

/* ---- completion ---- */

/* What a shell is told for a line: tests/it_completion.c has the rest, in a real one. */
static const struct {
	const char *line, *text, *want;
} completions[] = {
	{ "unstuck-test ", "", "words\nrun\nstop\nlist\ncheck\n" },
	{ "unstuck-test list ", "", "words\none\nall\n" },
	{ "unstuck-test list one ", "", "words\n" },
	{ "unstuck-test list all ", "", "words\n" },
	{ "unstuck-test run x --ma", "--ma", "words\n--max-jobs\n" },
	{ "unstuck-test run x 'y", "z", "words\n" },	/* a shell that says otherwise than its line */
	{ "unstuck-test", "unstuck-test", "words\n" },
	{ "", "", "words\n" },
	{ "unstuck-test run \\", "\\", "words\n" },
	{ "unstuck-test --=", "", "words\n" },
	{ "unstuck-test --config=", "", "files\n" },
	{ "unstuck-test stop --config ", "", "files\n" },
};

START_TEST(a_shell_is_told_what_may_come_next)
{
	static const struct command_row list = { "list", "[one ID | all ID...]", "list a job", list_rows, 0, SIZE_MAX };
	struct command_row rows[] = { commands[0], commands[1], list, commands[3] };
	struct cli cli = program("run");

	cli.commands = rows;
	write_filef("in", "%s\n%s\n", completions[_i].line, completions[_i].text);
	ck_assert_ptr_nonnull(freopen("in", "r", stdin));
	struct call *c = parse_words(cli, WORDS("unstuck-test", "--complete"));
	ck_assert_int_eq(c->status, EXIT_DONE);
	ck_assert_str_eq(c->out, completions[_i].want);
	ck_assert_str_eq(c->err, "");
}
END_TEST

/* ---- with the settings ---- */

START_TEST(problems_of_the_settings_are_status_78)
{
	struct cli cli = program("run");
	struct options opt = { .first = false };
	struct settings s;
	int argc, err;
	char **argv = argv_of(WORDS("unstuck-test", "-c", "s.ini", "-n", "9"), &argc);

	write_file("s.ini", "[worker]\nconcurrency = x\nbatch = 1\n");
	ck_assert_int_eq(cli_parse(&cli, &opt, argc, argv), -1);
	err = dup(STDERR_FILENO);
	ck_assert_ptr_nonnull(freopen("err", "w", stderr));
	ck_assert_int_eq(cli_load_settings(&cli, &s), EXIT_SETTINGS);
	fflush(stderr);
	dup2(err, STDERR_FILENO);
	close(err);
	ck_assert_str_eq(read_file("err"),
	                 "unstuck-test: s.ini:2: [worker] concurrency = x: expected a whole number from 1 to 1024\n"
	                 "unstuck-test: s.ini:3: [worker] batch: no such key; it belongs in [recover]\n");
	settings_release(&s);

	write_file("s.ini", "[worker]\nconcurrency = 2\n");
	ck_assert_int_eq(cli_load_settings(&cli, &s), -1);
	ck_assert_uint_eq(s.concurrency, 9);
	settings_release(&s);
}
END_TEST

START_TEST(colour_only_on_a_terminal)
{
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	ck_assert(!cli_colour(fd[1]));
	close(fd[0]);
	close(fd[1]);

	fd[0] = posix_openpt(O_RDWR | O_NOCTTY);
	ck_assert(grantpt(fd[0]) == 0 && unlockpt(fd[0]) == 0);
	fd[1] = open(ptsname(fd[0]), O_RDWR | O_NOCTTY);
	unsetenv("NO_COLOR");
	setenv("TERM", "xterm", 1);
	ck_assert(cli_colour(fd[1]));
	setenv("NO_COLOR", "1", 1);
	ck_assert(!cli_colour(fd[1]));
	setenv("NO_COLOR", "", 1);
	ck_assert(cli_colour(fd[1]));
	setenv("TERM", "dumb", 1);
	ck_assert(!cli_colour(fd[1]));
	close(fd[0]);
	close(fd[1]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cli");
	TCase *taken = story_case(suite, "taken"), *wrong = story_case(suite, "wrong"), *help = story_case(suite, "help");

	tcase_add_test(taken, options_stand_before_and_behind_the_command);
	tcase_add_test(taken, options_of_a_command_may_stand_before_it);
	tcase_add_test(taken, json_without_a_place_sets_the_common_one);
	tcase_add_test(taken, without_a_command_it_is_the_default_one);
	tcase_add_test(taken, posixly_correct_changes_nothing);
	tcase_add_test(taken, a_program_without_commands);
	tcase_add_test(taken, the_last_of_two_settings_counts);
	tcase_add_test(taken, the_database_url_is_blanked_in_argv);
	tcase_add_loop_test(wrong, what_is_wrong_is_refused_by_name, 0, ARRAY_SIZE(refused));
	tcase_add_test(wrong, no_argv_at_all_is_no_crash);
	tcase_add_test(wrong, problems_of_the_settings_are_status_78);
	tcase_add_test(help, help_of_the_program_lists_its_commands);
	tcase_add_test(help, help_of_a_command_is_its_own);
	tcase_add_test(help, version);
	tcase_add_loop_test(help, a_shell_is_told_what_may_come_next, 0, ARRAY_SIZE(completions));
	tcase_add_test(help, colour_only_on_a_terminal);
	return check_main(suite);
}
