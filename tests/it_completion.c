/*
 * it_completion.c - the completion in a real bash, on a terminal, keys and all: with bash-completion, which loads
 * it by itself, and without.
 */
#include <unistd.h>
#include "story.h"

#define LOADER "/usr/share/bash-completion/bash_completion"

/* ^T notes the line as it stands and empties it. */
static const char *const rc =
	"PS1='$ '\n"
	"bind 'set completion-query-items 0'\n"
	"bind 'set bell-style none'\n"
	"note() { printf '%s\\n' \"$READLINE_LINE\" >>lines; READLINE_LINE=; }\n"
	"bind -x '\"\\C-t\": note'\n";

#define ONE "\t"	/* complete, as far as it is clear */
#define ALL "\033*"	/* put all that is possible */

static const struct {
	const char *typed, *key, *want;
} cases[] = {
	/* commands */
	{ "unstuckctl enq", ONE, "unstuckctl enqueue " },
	{ "unstuckctl show 1 jo", ONE, "unstuckctl show 1 jo" },
	{ "unstuckctl -v -c some.ini enq", ONE, "unstuckctl -v -c some.ini enqueue " },
	{ "unstuckctl --status FAILED jo", ONE, "unstuckctl --status FAILED jobs " },
	{ "unstuckctl spool ", ONE, "unstuckctl spool replay " },
	{ "unstuckctl nonsense ", ONE, "unstuckctl nonsense " },
	{ "unstuck-worker re", ALL, "unstuck-worker reload resume " },
	/* options */
	{ "unstuckctl retry --", ALL, "unstuckctl retry --all-failed --config --database-url --help --queue --quiet --verbose --version " },
	{ "unstuckctl --", ALL, "unstuckctl --config --database-url --help --quiet --verbose --version " },
	{ "unstuck-worker stop --t", ONE, "unstuck-worker stop --timeout " },
	{ "unstuck-worker --max", ONE, "unstuck-worker --max-jobs " },
	{ "unstuck-recover --max-", ALL, "unstuck-recover --max-fraction --max-recoveries " },
	{ "unstuck-recover videos -n --st", ONE, "unstuck-recover videos -n --status-column " },
	{ "unstuckctl queues --st", ONE, "unstuckctl queues --st" },
	/* values of a closed set */
	{ "unstuckctl jobs --status ", ALL, "unstuckctl jobs --status CANCELLED COMPLETED FAILED PENDING PROCESSING " },
	{ "unstuckctl jobs --status=F", ONE, "unstuckctl jobs --status=FAILED " },
	{ "unstuckctl jobs -s C", ALL, "unstuckctl jobs -s CANCELLED COMPLETED " },
	/* queues, whatever they are called */
	{ "unstuckctl enqueue ", ALL, "unstuckctl enqueue \\$\\(touch\\ made\\) bulk:low bulk:mail\\ out it\\'s mail " },
	{ "unstuckctl enqueue mail ", ONE, "unstuckctl enqueue mail " },
	{ "unstuckctl jobs --queue ma", ONE, "unstuckctl jobs --queue mail " },
	{ "unstuckctl jobs --queue=ma", ONE, "unstuckctl jobs --queue=mail " },
	{ "unstuckctl jobs -Q it", ONE, "unstuckctl jobs -Q it\\'s " },
	{ "unstuckctl jobs -Q \"it", ONE, "unstuckctl jobs -Q \"it's\" " },
	{ "unstuckctl jobs -Q 'it", ONE, "unstuckctl jobs -Q 'it'\\''s' " },
	{ "unstuckctl jobs -Q bulk:m", ONE, "unstuckctl jobs -Q bulk:mail\\ out " },
	{ "unstuckctl jobs -Q bulk:mail\\ o", ONE, "unstuckctl jobs -Q bulk:mail\\ out " },
	{ "unstuckctl jobs --queue=bulk:l", ONE, "unstuckctl jobs --queue=bulk:low " },
	{ "unstuckctl jobs -Q \"bulk:mail o", ONE, "unstuckctl jobs -Q \"bulk:mail out\" " },
	{ "unstuckctl jobs -Q \"$", ONE, "unstuckctl jobs -Q \"\\$(touch made)\" " },
	{ "unstuckctl -c other.ini enqueue ", ONE, "unstuckctl -c other.ini enqueue elsewhere " },
	{ "unstuckctl enqueue -c ~/other.ini ", ONE, "unstuckctl enqueue -c ~/other.ini elsewhere " },
	{ "UNSTUCK_CONFIG=x unstuckctl enqueue mai", ONE, "UNSTUCK_CONFIG=x unstuckctl enqueue mail " },
	{ "true && unstuck-worker run mail ma", ONE, "true && unstuck-worker run mail mail " },
	{ "unstuck-worker ma", ONE, "unstuck-worker mail " },
	{ "unstuck-worker check -- ma", ONE, "unstuck-worker check -- mail " },
	{ "unstuck-recover -n ma", ONE, "unstuck-recover -n mail " },
	{ "unstuckctl enqueue -c broken.ini ", ONE, "unstuckctl enqueue -c broken.ini works " },
	/* files */
	{ "unstuckctl -c oth", ONE, "unstuckctl -c other.ini " },
	{ "unstuckctl --config=oth", ONE, "unstuckctl --config=other.ini " },
	{ "unstuck-worker --log-file a\\ f", ONE, "unstuck-worker --log-file a\\ file " },
	/* nothing is known */
	{ "unstuckctl cancel ", ONE, "unstuckctl cancel " },
	{ "unstuck-recover --timeout ", ONE, "unstuck-recover --timeout " },
	{ "unstuckctl jobs -Q 'un\"closed ", ONE, "unstuckctl jobs -Q 'un\"closed " },
	/* through another program: bash-completion alone can tell where ours begins */
	{ "sudo -u nobody unstuckctl jobs --st", ONE, "sudo -u nobody unstuckctl jobs --status " },
};
#define CASES (sizeof cases / sizeof *cases)	/* the last one with bash-completion only */

/* Where bash-completion looks for what it loads. */
static void install_for_the_user(void)
{
	static const char *const programs[] = { "unstuck-worker", "unstuck-recover", "unstuckctl" };

	for (size_t i = 0; i < sizeof programs / sizeof *programs; i++)
		must_run(0, NULL, "install", "-D", "-m", "644", source_path("scripts/completion.bash"),
		         story_text("home/bash-completion/completions/%s", programs[i]));
}

static struct proc *start_bash(const char *load)
{
	write_file("unstuck.ini", "[queue mail]\nhandler = cat\n[queue bulk:low]\nhandler = cat\n[queue bulk:mail out]\nhandler = cat\n"
	                          "[queue it's]\nhandler = cat\n[queue $(touch made)]\nhandler = cat\n");
	write_file("other.ini", "[queue elsewhere]\nhandler = cat\n");
	write_file("broken.ini", "[worker]\nconcurrency = many\n[queue works]\nhandler = cat\n");
	write_file("a file", "");
	write_filef("rc", "%sPATH=%s:$PATH\n%s\necho ready >>lines\n", rc, build_path(""), load);
	struct proc *bash = proc_start(&(struct proc_options){ .tty = TTY_ALL, .columns = 400,
		.env = WORDS("TERM=dumb", "LC_ALL=C", story_text("HOME=%s", test_dir()),
		             story_text("BASH_COMPLETION_USER_DIR=%s", test_path("home/bash-completion"))) },
		WORDS("bash", "--noprofile", "--rcfile", test_path("rc"), "-i"));

	must_happen(file_exists("lines"), 20000);
	return bash;
}

/* All is typed ahead, as a fast user would; each line comes back as the shell has made it. */
static void check_cases(struct proc *bash, size_t n)
{
	char *keys = story_text("%s", ""), *line;

	unlink("lines");
	for (size_t i = 0; i < n; i++)
		keys = story_text("%s%s%s\024", keys, cases[i].typed, cases[i].key);
	must_type(bash, keys);
	must_happen(file_exists("lines") && text_count(read_file("lines"), "\n") >= n, 40000);
	line = read_file("lines");
	for (size_t i = 0; i < n; i++) {
		size_t len = strcspn(line, "\n");

		ck_assert_str_eq(story_text("%.*s", (int)len, line), cases[i].want);
		line += len + 1;
	}
	ck_assert(!file_exists("made"));
}

static void leave(struct proc *bash)
{
	must_type(bash, "exit 0\n");
	must_exit(bash, 0, 20000);
}

START_TEST(in_a_bash_of_its_own)
{
	struct proc *bash = start_bash(story_text(". %s", source_path("scripts/completion.bash")));

	check_cases(bash, CASES - 1);
	leave(bash);
}
END_TEST

START_TEST(with_bash_completion)
{
	if (access(LOADER, R_OK) != 0) {
		printf("skipped: the completion with bash-completion (it is not here)\n");
		return;
	}
	install_for_the_user();
	struct proc *bash = start_bash(". " LOADER);

	check_cases(bash, CASES);
	leave(bash);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("completion");
	TCase *tc = story_case(s, "bash");

	tcase_add_test(tc, in_a_bash_of_its_own);
	tcase_add_test(tc, with_bash_completion);
	return check_main(s);
}
