/*
 * test_child.c - real processes under worker/child.c: what they are given, what
 * they print, how they end, and what must not be left of them.
 */
#include "story.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "buf.h"
#include "child.h"

extern char **environ;

static struct event_base *base;
static struct children *all;

/* What one child told us. */
struct seen {
	struct child *child;
	struct buf out;
	struct buf lines;	/* of stderr, each with a | behind it */
	size_t lines_len, longest;
	struct buf tail;
	int starts, overs, status;
	pid_t pid;		/* as it was when it started */
	const char *why;	/* it did not start */
	usec_t took;
	size_t stop_after;	/* bytes of output; 0: never */
	int chain, chained;	/* start so many more, one after the other, from over() */
};

static void on_started(void *arg)
{
	struct seen *s = arg;

	ck_assert_int_eq(s->starts, s->chained);	/* the first word of a child */
	s->starts++;
	s->pid = child_pid(s->child);
	ck_assert_int_gt(s->pid, 0);
}

static void on_failed(void *arg, const struct error *why)
{
	struct seen *s = arg;

	ck_assert_int_eq(s->starts, s->chained);
	ck_assert_ptr_null(s->why);
	ck_assert_int_eq(why->kind, ERR_SYS);
	s->why = story_text("%s", why->text);
}

static void on_output(void *arg, const char *data, size_t len)
{
	struct seen *s = arg;

	ck_assert_int_eq(s->starts, s->chained + 1);
	ck_assert_uint_gt(len, 0);
	ck_assert_uint_le(len, 64 * 1024);
	ck_assert_int_eq(s->overs, s->chained);	/* over is the last word of a child */
	buf_add(&s->out, data, len);
	if (s->stop_after > 0 && s->out.len > s->stop_after)
		child_stop_reading(s->child);
}

static void on_line(void *arg, const char *line, size_t len)
{
	struct seen *s = arg;

	ck_assert_int_eq(s->overs, s->chained);
	buf_add(&s->lines, line, len);
	buf_addc(&s->lines, '|');
	s->lines_len++;
	s->longest = len > s->longest ? len : s->longest;
}

static struct child *begin_sh(struct seen *s, const char *script, const char *input, bool keep_stdin);

static void on_over(void *arg, const struct child_end *end)
{
	struct seen *s = arg;

	ck_assert_int_eq(s->starts, s->chained + 1);
	s->overs++;
	s->status = end->status;
	s->took = end->took;
	buf_add(&s->tail, end->tail, end->tail_len);
	if (s->chained < s->chain) {
		s->chained++;
		begin_sh(s, "echo again", NULL, false);
	}
}

static const struct child_events events = {
	.started = on_started, .failed = on_failed, .output = on_output, .line = on_line, .over = on_over,
};

/* The loop turns until expr is true. */
#define must_turn_until(expr) do { \
		uint64_t until_ = story_until(20000); \
		story_at(__FILE__, __LINE__); \
		while (!(expr)) { \
			event_base_loop(base, EVLOOP_NONBLOCK); \
			if (!(expr) && !story_wait(until_)) \
				story_fail("still not so: %s", #expr); \
		} \
	} while (0)

/* It is on its way. */
static struct child *begin(struct seen *s, char *const *argv, const char *input, size_t input_len, bool keep_stdin)
{
	struct error err = ERROR_INIT;
	struct child_spec spec = {
		.path = argv[0], .argv = argv, .envp = environ,
		.input = input, .input_len = input_len, .keep_stdin = keep_stdin,
	};

	s->child = child_start(all, &spec, &events, s, &err);
	ck_assert_msg(s->child != NULL, "%s", err.text);
	return s->child;
}

static struct child *begin_sh(struct seen *s, const char *script, const char *input, bool keep_stdin)
{
	char sh[] = "/bin/sh", c[] = "-c", *argv[] = { sh, c, (char *)(uintptr_t)script, NULL };

	return begin(s, argv, input, input ? strlen(input) : 0, keep_stdin);
}

/* It has started. */
static struct child *start(struct seen *s, char *const *argv, const char *input, size_t input_len, bool keep_stdin)
{
	begin(s, argv, input, input_len, keep_stdin);
	must_turn_until(s->starts > 0);
	return s->child;
}

static struct child *start_sh(struct seen *s, const char *script, const char *input, bool keep_stdin)
{
	begin_sh(s, script, input, keep_stdin);
	must_turn_until(s->starts > 0);
	return s->child;
}

/* Why it cannot be started. */
static const char *must_not_start(const char *path)
{
	char *argv[] = { (char *)(uintptr_t)path, NULL };
	struct seen s = { 0 };

	begin(&s, argv, NULL, 0, false);
	must_turn_until(s.why != NULL);
	ck_assert_uint_eq(children_count(all), 0);
	return s.why;
}

static void must_end(struct seen *s, int exit_status)
{
	must_turn_until(s->overs > 0);
	ck_assert_int_eq(s->overs, 1);
	ck_assert_msg(WIFEXITED(s->status) && WEXITSTATUS(s->status) == exit_status,
	              "status %#x, output \"%s\", stderr \"%s\"", (unsigned)s->status, buf_text(&s->out),
	              buf_text(&s->tail));
}

static void must_end_by(struct seen *s, int signo)
{
	must_turn_until(s->overs > 0);
	ck_assert_int_eq(s->overs, 1);
	ck_assert_msg(WIFSIGNALED(s->status) && WTERMSIG(s->status) == signo, "status %#x", (unsigned)s->status);
}

static void seen_release(struct seen *s)
{
	buf_release(&s->out);
	buf_release(&s->lines);
	buf_release(&s->tail);
}

static char process_state(pid_t pid)
{
	char path[64], text[512] = "", *end;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	f = fopen(path, "r");
	if (!f)
		return '-';
	if (!fgets(text, sizeof text, f))
		text[0] = '\0';
	fclose(f);
	end = strrchr(text, ')');
	return end ? end[2] : '-';
}

/* Processes of ours that nobody has reaped. */
static size_t count_dead(void)
{
	const struct dirent *e;
	size_t n = 0;
	DIR *d = opendir("/proc");

	while (d && (e = readdir(d)) != NULL) {
		pid_t pid = (pid_t)atoi(e->d_name);

		n += pid > 0 && waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOHANG | WNOWAIT) == 0
		     && process_state(pid) == 'Z';
	}
	if (d)
		closedir(d);
	return n;
}

static size_t count_fds(const char *of)
{
	char path[64];
	size_t n = 0;
	DIR *d;

	snprintf(path, sizeof path, "/proc/%s/fd", of);
	d = opendir(path);
	if (!d)
		return 0;
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void must_have_no_child_process(void)
{
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
}

static void set_up(void)
{
	struct error err = ERROR_INIT;

	base = event_base_new();
	all = children_new(base, &err);
	ck_assert_msg(all != NULL, "%s", err.text);
}

static void tear_down(void)
{
	children_free(all);
	event_base_free(base);
}

static char *pattern(size_t len)
{
	char *text = story_memory(len + 1);

	for (size_t i = 0; i < len; i++)
		text[i] = "0123456789abcdefghijklmnopqrstuvwxyz\n"[i % 37];
	return text;
}

/* ---- pipes ---- */

START_TEST(what_goes_in_comes_out)
{
	char cat[] = "/bin/cat", *argv[] = { cat, NULL };
	struct seen s = { 0 };
	size_t len = 300 * 1000;
	char *input = pattern(len);

	begin(&s, argv, input, len, false);
	ck_assert_int_eq(s.starts, 0);		/* nothing is told inside the call that starts it */
	must_end(&s, 0);
	ck_assert_uint_eq(s.out.len, len);
	ck_assert_mem_eq(s.out.data, input, len);
	seen_release(&s);
}
END_TEST

START_TEST(much_output_arrives_whole)
{
	struct seen s = { 0 };

	start_sh(&s, "head -c 1400000 /dev/zero", NULL, false);
	must_end(&s, 0);
	ck_assert_uint_eq(s.out.len, 1400000);
	seen_release(&s);
}
END_TEST

START_TEST(stdin_that_nobody_reads_is_no_error)
{
	struct seen closed = { 0 }, unread = { 0 };
	char *input = pattern(300 * 1000);

	start_sh(&closed, "exec <&-; echo closed", input, false);
	start_sh(&unread, "echo unread", input, false);
	must_end(&closed, 0);
	must_end(&unread, 0);
	ck_assert_str_eq(buf_text(&closed.out), "closed\n");
	ck_assert_str_eq(buf_text(&unread.out), "unread\n");
	seen_release(&closed);
	seen_release(&unread);
}
END_TEST

/* The loop does not turn before the child has gone. */
START_TEST(an_input_that_fits_in_the_pipe_needs_nobody_to_feed_it)
{
	struct seen s = { 0 };
	char *input = pattern(60 * 1000);

	begin_sh(&s, "cat | wc -c", input, false);
	must_happen(count_dead() == 1, 5000);
	must_end(&s, 0);
	ck_assert_int_eq(atoi(buf_text(&s.out)), 60 * 1000);
	seen_release(&s);
}
END_TEST

START_TEST(output_arrives_while_the_child_runs_on)
{
	struct seen s = { 0 };
	struct child *c = start_sh(&s, "echo early; echo error >&2; exec sleep 1000", NULL, false);

	must_turn_until(s.out.len > 0 && s.lines_len > 0);
	ck_assert_str_eq(buf_text(&s.out), "early\n");
	ck_assert_str_eq(buf_text(&s.lines), "error|");
	ck_assert_int_eq(s.overs, 0);
	child_signal(c, SIGKILL);
	must_end_by(&s, SIGKILL);
	seen_release(&s);
}
END_TEST

START_TEST(no_input_is_an_empty_stdin)
{
	struct seen s = { 0 };

	start_sh(&s, "wc -c", NULL, false);
	must_end(&s, 0);
	ck_assert_int_eq(atoi(buf_text(&s.out)), 0);
	seen_release(&s);
}
END_TEST

START_TEST(a_kept_stdin_takes_more_until_it_is_closed)
{
	struct seen s = { 0 };
	struct child *c = start_sh(&s, "while read x; do echo \"got $x\"; done; echo end", "one\n", true);

	must_turn_until(strstr(buf_text(&s.out), "got one\n"));
	ck_assert(child_write(c, "two\n", 4));
	must_turn_until(strstr(buf_text(&s.out), "got two\n"));
	ck_assert(child_write(c, "three\n", 6));
	child_close_stdin(c);
	must_end(&s, 0);
	ck_assert_str_eq(buf_text(&s.out), "got one\ngot two\ngot three\nend\n");
	seen_release(&s);
}
END_TEST

START_TEST(a_child_that_does_not_read_fills_its_buffer_and_no_more)
{
	struct seen s = { 0 };
	struct child *c = start_sh(&s, "read x; sleep 100", NULL, true);
	char *chunk = pattern(100 * 1000);
	int taken = 0;

	while (child_write(c, chunk, 100 * 1000))
		ck_assert_int_lt(++taken, 30);
	ck_assert_uint_ge(child_unwritten(c), CHILD_WRITE_MAX);
	ck_assert_uint_lt(child_unwritten(c), CHILD_WRITE_MAX + 100 * 1000);
	child_signal(c, SIGKILL);
	must_end_by(&s, SIGKILL);
	seen_release(&s);
}
END_TEST

START_TEST(every_byte_is_written_in_order_through_a_small_pipe)
{
	struct seen s = { 0 };
	struct child *c = start_sh(&s, "cat", NULL, true);
	char *text = pattern(2000 * 1000);
	size_t at = 0, len = 2000 * 1000;

	while (at < len) {
		size_t n = len - at < 30011 ? len - at : 30011;

		if (child_write(c, text + at, n))
			at += n;
		else
			event_base_loop(base, EVLOOP_ONCE);
	}
	child_close_stdin(c);
	must_end(&s, 0);
	ck_assert_uint_eq(s.out.len, len);
	ck_assert_mem_eq(s.out.data, text, len);
	seen_release(&s);
}
END_TEST

START_TEST(stderr_comes_line_by_line)
{
	struct seen s = { 0 };

	start_sh(&s, "printf 'one\\ntwo' >&2; printf ' and\\n\\nthree' >&2", NULL, false);
	must_end(&s, 0);
	ck_assert_str_eq(buf_text(&s.lines), "one|two and||three|");
	ck_assert_str_eq(buf_text(&s.tail), "one\ntwo and\n\nthree");
	ck_assert_uint_eq(s.out.len, 0);
	seen_release(&s);
}
END_TEST

static const struct { size_t len; bool newline; size_t pieces; } long_lines[] = {
	{ 4095, true, 1 }, { 4096, true, 1 }, { 4097, true, 2 }, { 8192, true, 2 },
	{ 8193, true, 3 }, { 4096, false, 1 }, { 10000, false, 3 }, { 200000, true, 49 },
};

START_TEST(a_long_line_comes_in_pieces_and_only_its_end_is_kept)
{
	struct seen s = { 0 };
	size_t len = long_lines[_i].len, total = len + (long_lines[_i].newline ? 1 : 0);

	start_sh(&s, story_text("head -c %zu /dev/zero | tr '\\0' x >&2%s", len,
	                        long_lines[_i].newline ? "; echo >&2" : ""), NULL, false);
	must_end(&s, 0);
	ck_assert_uint_eq(s.lines_len, long_lines[_i].pieces);
	ck_assert_uint_eq(s.lines.len, len + s.lines_len);
	ck_assert_uint_le(s.longest, 4096);
	ck_assert_uint_eq(s.tail.len, total < CHILD_TAIL ? total : CHILD_TAIL);
	seen_release(&s);
}
END_TEST

START_TEST(the_tail_is_the_end_of_stderr)
{
	struct seen s = { 0 };

	start_sh(&s, "i=0; while [ $i -lt 4000 ]; do echo line $i; i=$((i+1)); done >&2; echo last words >&2", NULL, false);
	must_end(&s, 0);
	ck_assert_uint_eq(s.lines_len, 4001);
	ck_assert_uint_eq(s.tail.len, CHILD_TAIL);
	ck_assert_str_eq(buf_text(&s.tail) + CHILD_TAIL - 21, "line 3999\nlast words\n");
	seen_release(&s);
}
END_TEST

START_TEST(reading_no_more_ends_who_prints_on)
{
	struct seen s = { .stop_after = 200 * 1000 };

	start_sh(&s, "exec yes", NULL, false);
	must_end_by(&s, SIGPIPE);
	ck_assert_uint_lt(s.out.len, 300 * 1000);
	seen_release(&s);
}
END_TEST

/* ---- the end ---- */

/* Behind the back of the loop. */
static void must_reap(struct child *c)
{
	child_signal(c, SIGTERM);
	ck_assert_int_eq(waitpid(child_pid(c), NULL, 0), child_pid(c));
}

START_TEST(a_child_that_closed_its_output_is_not_over)
{
	struct seen s = { 0 };
	struct child *c = start_sh(&s, "exec >&- 2>&-; read x; exit 7", NULL, true);
	const char *pid = story_text("%d", (int)child_pid(c));

	must_turn_until(count_fds(pid) == 1);
	for (int i = 0; i < 5; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	ck_assert_int_eq(s.overs, 0);
	ck_assert_uint_eq(children_count(all), 1);
	ck_assert(child_write(c, "go\n", 3));
	must_end(&s, 7);
	ck_assert_uint_eq(children_count(all), 0);
	seen_release(&s);
}
END_TEST

START_TEST(output_after_the_exit_still_counts)
{
	struct seen s = { 0 };
	struct child *c = start_sh(&s, "exec 3<&0; cat <&3 & exit 3", NULL, true);

	must_turn_until(process_state(child_pid(c)) == 'Z');
	event_base_loop(base, EVLOOP_NONBLOCK);
	ck_assert_int_eq(s.overs, 0);
	ck_assert(child_write(c, "late\n", 5));
	child_close_stdin(c);
	must_end(&s, 3);
	ck_assert_str_eq(buf_text(&s.out), "late\n");
	seen_release(&s);
}
END_TEST

START_TEST(a_grandchild_that_holds_the_pipe_is_ended)
{
	struct seen s = { 0 };
	usec_t before = clock_now();

	start_sh(&s, "sleep 1000 & echo $!; exit 0", NULL, false);
	must_end(&s, 0);
	ck_assert_uint_ge(clock_now() - before, CHILD_DRAIN_TIME);
	ck_assert_uint_lt(clock_now() - before, CHILD_DRAIN_TIME + 5 * SEC);
	ck_assert_uint_lt(s.took, CHILD_DRAIN_TIME);	/* the child's own time */
	must_happen(!pid_alive(atoi(buf_text(&s.out))), 5000);
	seen_release(&s);
}
END_TEST

START_TEST(a_grandchild_that_let_go_of_the_pipe_is_ended_too)
{
	struct seen s = { 0 };

	start_sh(&s, "sleep 1000 >/dev/null 2>&1 & echo $!; exit 0", NULL, false);
	must_end(&s, 0);
	must_happen(!pid_alive(atoi(buf_text(&s.out))), 5000);
	seen_release(&s);
}
END_TEST

static usec_t stopped_at;

static usec_t stopped_clock(void)
{
	return stopped_at;
}

/* It has exited and is not reaped: the kernel names it first. While the clock stands, it stays so. */
START_TEST(one_that_is_held_up_by_a_grandchild_holds_up_nobody)
{
	usec_t (*clock)(void) = clock_now;
	struct seen held = { 0 }, s[5] = { 0 };
	struct child *c;

	stopped_at = clock_now();
	clock_now = stopped_clock;
	c = start_sh(&held, "sleep 1000 & exit 4", NULL, false);
	must_turn_until(process_state(child_pid(c)) == 'Z');
	for (size_t i = 0; i < ARRAY_SIZE(s); i++)
		start_sh(&s[i], "echo hello; exit 5", NULL, false);
	for (size_t i = 0; i < ARRAY_SIZE(s); i++) {
		must_end(&s[i], 5);
		ck_assert_str_eq(buf_text(&s[i].out), "hello\n");
		seen_release(&s[i]);
	}
	ck_assert_int_eq(held.overs, 0);
	clock_now = clock;
	must_end(&held, 4);
	must_turn_until(waitpid(-1, NULL, WNOHANG) == -1);
	seen_release(&held);
}
END_TEST

START_TEST(exits_that_come_together_are_all_seen)
{
	static struct seen s[100];

	for (size_t i = 0; i < ARRAY_SIZE(s); i++)
		begin_sh(&s[i], "echo hello", NULL, false);
	must_happen(count_dead() == ARRAY_SIZE(s), 20000);	/* and none of them is known to have started */
	event_base_loop(base, EVLOOP_NONBLOCK);
	ck_assert_uint_eq(children_count(all), 0);
	for (size_t i = 0; i < ARRAY_SIZE(s); i++) {
		must_end(&s[i], 0);
		ck_assert_str_eq(buf_text(&s[i].out), "hello\n");
		seen_release(&s[i]);
	}
	must_have_no_child_process();
}
END_TEST

/* As some programs leave it to those that they start: the kernel would throw exits away. */
START_TEST(exits_are_seen_where_sigchld_was_ignored)
{
	struct seen s = { 0 };

	tear_down();
	signal(SIGCHLD, SIG_IGN);
	set_up();
	start_sh(&s, "exit 3", NULL, false);
	must_end(&s, 3);
	seen_release(&s);
}
END_TEST

START_TEST(one_that_somebody_else_reaped_is_missed_among_many)
{
	struct seen gone = { 0 }, ended = { 0 }, runs = { 0 };
	struct child *c = start_sh(&gone, "exec sleep 1000", NULL, false), *running;

	running = start_sh(&runs, "exec sleep 1000", NULL, false);
	must_reap(c);
	start_sh(&ended, "exit 6", NULL, false);
	must_end(&ended, 6);
	must_end_by(&gone, SIGKILL);
	ck_assert_int_eq(runs.overs, 0);
	child_signal(running, SIGKILL);
	must_end_by(&runs, SIGKILL);
	seen_release(&gone);
	seen_release(&ended);
	seen_release(&runs);
}
END_TEST

START_TEST(kill_ends_the_group_that_ignores_term)
{
	struct seen s = { 0 };
	struct child *c = start_sh(&s, "trap '' TERM; sleep 1000 & echo $!; while read x; do echo \"got $x\"; done",
	                           NULL, true);
	pid_t grandchild;

	must_turn_until(strchr(buf_text(&s.out), '\n'));
	grandchild = atoi(buf_text(&s.out));
	child_signal(c, SIGTERM);
	ck_assert(child_write(c, "it\n", 3));
	must_turn_until(strstr(buf_text(&s.out), "got it\n"));
	ck_assert(pid_alive(grandchild));
	child_signal(c, SIGKILL);
	must_end_by(&s, SIGKILL);
	must_happen(!pid_alive(grandchild), 5000);
	seen_release(&s);
}
END_TEST

START_TEST(an_exited_child_is_not_reaped_while_its_group_may_be_signalled)
{
	struct seen s = { 0 };
	struct child *c = start_sh(&s, "sleep 1000 & echo $!; exit 4", NULL, false);

	must_turn_until(process_state(child_pid(c)) == 'Z' && strchr(buf_text(&s.out), '\n'));
	event_base_loop(base, EVLOOP_NONBLOCK);
	ck_assert_int_eq(s.overs, 0);
	ck_assert_int_eq(process_state(child_pid(c)), 'Z');
	child_signal(c, SIGTERM);	/* reaches the grandchild, and with it the end of the output */
	must_end(&s, 4);
	ck_assert(!pid_alive(atoi(buf_text(&s.out))));
	seen_release(&s);
}
END_TEST

START_TEST(the_worker_reaps_what_others_left_behind)
{
	struct seen s = { 0 };

	/* setsid: out of our group, so nobody kills it; its parent is gone, so it becomes ours */
	start_sh(&s, "setsid sh -c 'echo $$; exec sleep 0.3' 2>/dev/null & sleep 0.1", NULL, false);
	must_end(&s, 0);
	must_turn_until(waitid(P_ALL, 0, &(siginfo_t){ 0 }, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD);
	seen_release(&s);
}
END_TEST

START_TEST(a_child_that_somebody_else_reaped_did_not_succeed)
{
	struct seen s = { 0 };

	must_reap(start_sh(&s, "exec sleep 1000", NULL, false));
	must_end_by(&s, SIGKILL);
	seen_release(&s);
}
END_TEST

START_TEST(over_may_start_the_next)
{
	struct seen s = { .chain = 20 };

	start_sh(&s, "echo again", NULL, false);
	must_turn_until(s.overs == 21);
	ck_assert_uint_eq(s.out.len, 21 * strlen("again\n"));
	must_have_no_child_process();
	seen_release(&s);
}
END_TEST

START_TEST(nothing_is_left_of_200_children)
{
	struct seen s[10];
	size_t before = count_fds("self");

	for (int round = 0; round < 20; round++) {
		memset(s, 0, sizeof s);
		for (size_t i = 0; i < ARRAY_SIZE(s); i++)
			start_sh(&s[i], "cat; echo error >&2; exit 5", "hello\n", false);
		for (size_t i = 0; i < ARRAY_SIZE(s); i++) {
			must_end(&s[i], 5);
			ck_assert_str_eq(buf_text(&s[i].out), "hello\n");
			seen_release(&s[i]);
		}
	}
	ck_assert_uint_eq(count_fds("self"), before);
	ck_assert_uint_eq(children_count(all), 0);
	must_have_no_child_process();
}
END_TEST

START_TEST(freeing_all_ends_and_reaps_them)
{
	struct seen s[3] = { 0 };
	usec_t before = clock_now();
	pid_t grandchild;

	for (size_t i = 0; i < ARRAY_SIZE(s); i++)
		start_sh(&s[i], "trap '' TERM; sleep 1000 & echo $!; wait", NULL, true);
	must_turn_until(strchr(buf_text(&s[0].out), '\n'));
	grandchild = atoi(buf_text(&s[0].out));
	children_free(all);
	all = NULL;
	ck_assert_uint_lt(clock_now() - before, 5 * SEC);
	must_happen(!pid_alive(grandchild), 5000);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;			/* the grandchildren, which came to this process */
	must_happen(waitpid(-1, NULL, WNOHANG) == -1, 5000);
	for (size_t i = 0; i < ARRAY_SIZE(s); i++) {
		ck_assert_int_eq(s[i].overs, 0);
		seen_release(&s[i]);
	}
}
END_TEST

START_TEST(a_child_dies_with_the_worker)
{
	int fds[2];
	pid_t worker, child = 0;

	ck_assert_int_eq(pipe(fds), 0);
	worker = fork();
	if (worker == 0) {
		char sleep_[] = "/bin/sleep", time_[] = "1000", *argv[] = { sleep_, time_, NULL };
		struct seen s = { 0 };

		if (event_reinit(base) != 0)
			_exit(1);
		start(&s, argv, NULL, 0, false);
		if (write(fds[1], &s.pid, sizeof s.pid) != sizeof s.pid)
			_exit(1);
		for (;;)
			pause();
	}
	ck_assert_int_eq(read(fds[0], &child, sizeof child), sizeof child);
	ck_assert_int_gt(child, 0);
	ck_assert(pid_alive(child));
	kill(worker, SIGKILL);
	must_happen(!pid_alive(child), 5000);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* ---- while it starts ---- */

static const struct { int signals[2], ends_by; } early_signals[] = {
	{ { SIGTERM, 0 }, SIGTERM }, { { SIGKILL, SIGTERM }, SIGKILL }, { { SIGTERM, SIGKILL }, SIGKILL },
};

START_TEST(a_signal_that_comes_before_the_process_reaches_it)
{
	struct seen s = { 0 };
	struct child *c = begin_sh(&s, "exec sleep 1000", NULL, false);

	ck_assert_int_eq(child_pid(c), 0);
	for (int i = 0; i < 2; i++)
		if (early_signals[_i].signals[i] != 0)
			child_signal(c, early_signals[_i].signals[i]);
	must_end_by(&s, early_signals[_i].ends_by);
	ck_assert_int_eq(s.starts, 1);
	seen_release(&s);
}
END_TEST

START_TEST(a_start_that_fails_leaves_the_others_alone)
{
	struct seen s[40] = { 0 };
	size_t before = count_fds("self");
	char nowhere[] = "/no/such/handler", *argv[] = { nowhere, NULL };

	for (size_t i = 0; i < ARRAY_SIZE(s); i++)
		if (i % 2 == 0)
			begin(&s[i], argv, "hello\n", 6, false);
		else
			begin_sh(&s[i], "cat; exit 5", "hello\n", false);
	for (size_t i = 0; i < ARRAY_SIZE(s); i++) {
		if (i % 2 == 0) {
			must_turn_until(s[i].why != NULL);
			ck_assert_int_eq(s[i].starts + s[i].overs, 0);
		} else {
			must_end(&s[i], 5);
			ck_assert_str_eq(buf_text(&s[i].out), "hello\n");
		}
		seen_release(&s[i]);
	}
	ck_assert_uint_eq(count_fds("self"), before);
	ck_assert_uint_eq(children_count(all), 0);
	must_have_no_child_process();
}
END_TEST

START_TEST(freeing_all_ends_those_that_start)
{
	struct seen s[50] = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(s); i++)
		begin_sh(&s[i], "exec sleep 1000", NULL, false);
	children_free(all);
	all = NULL;
	must_have_no_child_process();
	for (size_t i = 0; i < ARRAY_SIZE(s); i++)
		ck_assert_int_eq(s[i].starts + s[i].overs, 0);
}
END_TEST

/* ---- what a child is given ---- */

static long status_field(const char *status, const char *name, int radix)
{
	const char *at = strstr(status, name);

	ck_assert_msg(at != NULL, "no %s in %s", name, status);
	return strtol(at + strlen(name), NULL, radix);
}

START_TEST(a_child_starts_clean)
{
	char cat[] = "/bin/cat", file[] = "/proc/self/status", *argv[] = { cat, file, NULL };
	struct seen s = { 0 };
	sigset_t blocked;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGRTMIN + 3, SIG_IGN);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	start(&s, argv, NULL, 0, false);
	must_end(&s, 0);
	ck_assert_int_eq(status_field(buf_text(&s.out), "\nPid:", 10), s.pid);
	ck_assert_int_eq(status_field(buf_text(&s.out), "\nNSpgid:", 10), s.pid);
	ck_assert_int_eq(status_field(buf_text(&s.out), "\nSigBlk:", 16), 0);
	/* 32 and 33 are the C library's own; posix_spawn() of whoever started us leaves them ignored */
	ck_assert_int_eq(status_field(buf_text(&s.out), "\nSigIgn:", 16) & ~0x180000000L, 0);
	ck_assert_int_eq(status_field(buf_text(&s.out), "\nSigCgt:", 16), 0);
	sigprocmask(SIG_SETMASK, NULL, &blocked);
	ck_assert(sigismember(&blocked, SIGUSR1));	/* ours is as before */
	seen_release(&s);
}
END_TEST

START_TEST(a_child_has_its_three_descriptors_and_no_other)
{
	struct seen s = { 0 };
	int leaky = open("/dev/null", O_RDONLY);	/* not close-on-exec */

	ck_assert_int_gt(leaky, 2);
	start_sh(&s, "ls /proc/$$/fd; :", NULL, false);
	must_end(&s, 0);
	ck_assert_str_eq(buf_text(&s.out), "0\n1\n2\n");
	close(leaky);
	seen_release(&s);
}
END_TEST

START_TEST(a_child_works_when_our_own_standard_descriptors_are_closed)
{
	struct seen s = { 0 };
	int kept[3];

	for (int i = 0; i < 3; i++) {
		kept[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
		close(i);
	}
	start_sh(&s, "cat; echo error >&2", "hello\n", false);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(dup2(kept[i], i), i);
	must_end(&s, 0);
	ck_assert_str_eq(buf_text(&s.out), "hello\n");
	ck_assert_str_eq(buf_text(&s.lines), "error|");
	for (int i = 0; i < 3; i++)
		close(kept[i]);
	seen_release(&s);
}
END_TEST

START_TEST(a_child_is_chosen_before_the_worker_when_memory_runs_out)
{
	struct seen s = { 0 };
	FILE *f = fopen("/proc/self/oom_score_adj", "r");
	int ours = 0;

	ck_assert(f && fscanf(f, "%d", &ours) == 1);
	fclose(f);
	start_sh(&s, "cat /proc/$$/oom_score_adj", NULL, false);
	must_end(&s, 0);
	ck_assert_int_eq(atoi(buf_text(&s.out)), ours + 500 > 1000 ? 1000 : ours + 500);
	seen_release(&s);
}
END_TEST

START_TEST(a_child_gets_its_own_arguments_and_environment)
{
	char sh[] = "other name", c[] = "-c", script[] = "echo \"$0 $1 $A $B\"", zero[] = "zero", one[] = "one two";
	char *argv[] = { sh, c, script, zero, one, NULL };
	char a[] = "A=a value", *envp[] = { a, NULL };
	struct child_spec spec = { .path = "/bin/sh", .argv = argv, .envp = envp };
	struct seen s = { 0 };

	s.child = child_start(all, &spec, &events, &s, NULL);
	ck_assert_ptr_nonnull(s.child);
	must_end(&s, 0);
	ck_assert_str_eq(buf_text(&s.out), "zero one two a value \n");
	seen_release(&s);
}
END_TEST

/* ---- what cannot be started ---- */

START_TEST(a_start_that_fails_says_why)
{
	size_t before = count_fds("self");
	const char *plain, *no_line, *no_interpreter;

	plain = write_file("plain", "#!/bin/sh\n");
	no_line = write_script("no_line", "echo hello\n");
	no_interpreter = write_script("no_interpreter", "#!/no/such/interpreter\n");
	ck_assert_str_eq(must_not_start("/no/such/handler"), "/no/such/handler cannot be started: No such file or directory");
	ck_assert_str_eq(must_not_start(plain), story_text("%s cannot be started: Permission denied", plain));
	ck_assert_str_eq(must_not_start("/tmp"), "/tmp cannot be started: Permission denied");
	ck_assert_str_eq(must_not_start(no_line), story_text("%s is not executable: no #! line?", no_line));
	ck_assert_str_eq(must_not_start(no_interpreter),
	                 story_text("%s cannot be started: the interpreter in its #! line is missing", no_interpreter));
	ck_assert_uint_eq(count_fds("self"), before);
	must_have_no_child_process();
}
END_TEST

/* One more descriptor each time: every place that can run out of them is met once. */
START_TEST(a_start_without_descriptors_fails_and_leaves_none)
{
	struct rlimit before, low;
	size_t used = count_fds("self");
	struct error err = ERROR_INIT;
	struct seen s = { 0 };
	char sh[] = "/bin/true", *argv[] = { sh, NULL };
	struct child_spec spec = { .path = argv[0], .argv = argv, .envp = environ };
	int failed = 0;

	getrlimit(RLIMIT_NOFILE, &before);
	low = before;
	for (size_t extra = 0; extra < 8 && !s.child; extra++) {
		/* used counts the descriptor that was open for counting */
		low.rlim_cur = used - 1 + extra;
		setrlimit(RLIMIT_NOFILE, &low);
		err = (struct error)ERROR_INIT;
		s.child = child_start(all, &spec, &events, &s, &err);
		setrlimit(RLIMIT_NOFILE, &before);
		if (s.child)
			break;
		ck_assert_str_eq(err.text, "/bin/true cannot be started: no pipes: Too many open files");
		ck_assert_uint_eq(count_fds("self"), used);
		failed++;
	}
	ck_assert_int_ge(failed, 3);
	must_end(&s, 0);
	seen_release(&s);
}
END_TEST

/* ---- child_find ---- */

static const struct { const char *name, *found, *why; } finds[] = {
	{ "good",           "DIR/bin/good", NULL },
	{ "second",         "DIR/more/second", NULL },
	{ "both",           "DIR/more/both", NULL },		/* bin/both is not executable */
	{ "./here",         "DIR/./here", NULL },
	{ "bin/good",       "DIR/bin/good", NULL },
	{ "DIR/bin/good",   "DIR/bin/good", NULL },
	{ "here",           NULL, "here: no such program in $PATH" },
	{ "nowhere",        NULL, "nowhere: no such program in $PATH" },
	{ "plain",          NULL, "DIR/bin/plain is not executable (chmod +x?)" },
	{ "bin/plain",      NULL, "bin/plain is not executable (chmod +x?)" },
	{ "DIR/bin",        NULL, "DIR/bin is a directory, expected an executable" },
	{ "bin/nowhere",    NULL, "bin/nowhere: No such file or directory" },
	{ "bin/good/below", NULL, "bin/good/below: Not a directory" },
	{ "",               NULL, "the command is empty, expected an executable" },
};

/* text with DIR replaced by the test's directory. */
static const char *in_dir(const char *text)
{
	if (!text || strncmp(text, "DIR", 3) != 0)
		return text;
	return story_text("%s%s", test_dir(), text + 3);
}

START_TEST(an_executable_is_found_or_the_reason_told)
{
	struct error err = ERROR_INIT;
	char *found;

	mkdir("bin", 0755);
	mkdir("more", 0755);
	mkdir("bin/second", 0755);	/* a directory is no program: go on */
	write_script("bin/good", "#!/bin/sh\n");
	write_script("more/good", "#!/bin/sh\n");
	write_script("more/second", "#!/bin/sh\n");
	write_file("bin/both", "#!/bin/sh\n");
	write_script("more/both", "#!/bin/sh\n");
	write_script("here", "#!/bin/sh\n");
	write_file("bin/plain", "#!/bin/sh\n");
	setenv("PATH", story_text("/no/such/dir:%s/bin:%s/more", test_dir(), test_dir()), 1);

	found = child_find(in_dir(finds[_i].name), &err);
	if (finds[_i].found)
		ck_assert_msg(found && strcmp(found, in_dir(finds[_i].found)) == 0, "%s: %s%s", finds[_i].name,
		              found ? found : "", err.text);
	else
		ck_assert_msg(!found && err.kind == ERR_SETTINGS && strcmp(err.text, in_dir(finds[_i].why)) == 0,
		              "%s: %s%s", finds[_i].name, found ? found : "", err.text);
	free(found);
}
END_TEST

START_TEST(an_empty_entry_of_path_is_the_working_directory)
{
	char *found;

	write_script("here", "#!/bin/sh\n");
	setenv("PATH", "/no/such/dir:", 1);
	found = child_find("here", NULL);
	ck_assert_str_eq(found, story_text("%s/./here", test_dir()));
	free(found);
	unsetenv("PATH");
	found = child_find("sh", NULL);
	ck_assert_str_eq(found, "/usr/bin/sh");
	free(found);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("child");
	TCase *pipes = story_case(suite, "pipes");
	TCase *end = story_case(suite, "end");
	TCase *early = story_case(suite, "early");
	TCase *given = story_case(suite, "given");
	TCase *refused = story_case(suite, "refused");
	TCase *find = story_case(suite, "find");

	tcase_add_checked_fixture(pipes, set_up, tear_down);
	tcase_add_test(pipes, what_goes_in_comes_out);
	tcase_add_test(pipes, much_output_arrives_whole);
	tcase_add_test(pipes, stdin_that_nobody_reads_is_no_error);
	tcase_add_test(pipes, an_input_that_fits_in_the_pipe_needs_nobody_to_feed_it);
	tcase_add_test(pipes, output_arrives_while_the_child_runs_on);
	tcase_add_test(pipes, no_input_is_an_empty_stdin);
	tcase_add_test(pipes, a_kept_stdin_takes_more_until_it_is_closed);
	tcase_add_test(pipes, a_child_that_does_not_read_fills_its_buffer_and_no_more);
	tcase_add_test(pipes, every_byte_is_written_in_order_through_a_small_pipe);
	tcase_add_test(pipes, stderr_comes_line_by_line);
	tcase_add_loop_test(pipes, a_long_line_comes_in_pieces_and_only_its_end_is_kept, 0, ARRAY_SIZE(long_lines));
	tcase_add_test(pipes, the_tail_is_the_end_of_stderr);
	tcase_add_test(pipes, reading_no_more_ends_who_prints_on);

	tcase_add_checked_fixture(end, set_up, tear_down);
	tcase_add_test(end, a_child_that_closed_its_output_is_not_over);
	tcase_add_test(end, output_after_the_exit_still_counts);
	tcase_add_test(end, a_grandchild_that_holds_the_pipe_is_ended);
	tcase_add_test(end, a_grandchild_that_let_go_of_the_pipe_is_ended_too);
	tcase_add_test(end, one_that_is_held_up_by_a_grandchild_holds_up_nobody);
	tcase_add_test(end, exits_that_come_together_are_all_seen);
	tcase_add_test(end, exits_are_seen_where_sigchld_was_ignored);
	tcase_add_test(end, one_that_somebody_else_reaped_is_missed_among_many);
	tcase_add_test(end, kill_ends_the_group_that_ignores_term);
	tcase_add_test(end, an_exited_child_is_not_reaped_while_its_group_may_be_signalled);
	tcase_add_test(end, the_worker_reaps_what_others_left_behind);
	tcase_add_test(end, a_child_that_somebody_else_reaped_did_not_succeed);
	tcase_add_test(end, over_may_start_the_next);
	tcase_add_test(end, nothing_is_left_of_200_children);
	tcase_add_test(end, freeing_all_ends_and_reaps_them);
	tcase_add_test(end, a_child_dies_with_the_worker);

	tcase_add_checked_fixture(early, set_up, tear_down);
	tcase_add_loop_test(early, a_signal_that_comes_before_the_process_reaches_it, 0, ARRAY_SIZE(early_signals));
	tcase_add_test(early, freeing_all_ends_those_that_start);

	tcase_add_checked_fixture(given, set_up, tear_down);
	tcase_add_test(given, a_child_starts_clean);
	tcase_add_test(given, a_child_has_its_three_descriptors_and_no_other);
	tcase_add_test(given, a_child_works_when_our_own_standard_descriptors_are_closed);
	tcase_add_test(given, a_child_is_chosen_before_the_worker_when_memory_runs_out);
	tcase_add_test(given, a_child_gets_its_own_arguments_and_environment);

	tcase_add_checked_fixture(refused, set_up, tear_down);
	tcase_set_tags(refused, "vfork");	/* what a failed start has to say comes through the memory that both share */
	tcase_add_test(refused, a_start_that_fails_says_why);
	tcase_add_test(refused, a_start_that_fails_leaves_the_others_alone);
	tcase_add_test(refused, a_start_without_descriptors_fails_and_leaves_none);

	tcase_add_loop_test(find, an_executable_is_found_or_the_reason_told, 0, ARRAY_SIZE(finds));
	tcase_add_test(find, an_empty_entry_of_path_is_the_working_directory);
	return check_main(suite);
}
