/*
 * it_top.c - unstuckctl top on a real terminal of 80x24, and where there is none.
 */
#include "story.h"

#include <fcntl.h>
#include <jansson.h>
#include <locale.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>
#include "worker_story.h"

#define W1 "11111111-1111-4111-8111-111111111111"
#define W2 "22222222-2222-4222-8222-222222222222"
#define LEFT "\033[?1049l"	/* the screen that was there before */
#define TAKEN "\033[?1049h"

/* ---- the screen ---- */

/* What is on it: the last whole frame, without colours, line by line with \n. */
static const char *screen_of(struct proc *p)
{
	const char *text = proc_out(p), *at = text, *frame = "", *end = text;
	char *out, *to;

	while ((at = strstr(at, "\033[H")) != NULL) {
		const char *over = strstr(at, "\033[J");

		if (over != NULL) {
			frame = at;
			end = over;
		}
		at += 3;
	}
	out = to = story_text("%.*s", (int)(frame == text || *frame != '\0' ? end - frame : 0), frame);
	for (const char *s = out; *s != '\0'; s++) {
		if (*s == '\033')
			s += 1 + strcspn(s + 1, "ABCDEFGHJKhlm");
		else if (*s != '\r')
			*to++ = *s;
	}
	*to = '\0';
	return out;
}

static int widest_of(const char *screen)
{
	int widest = 0;

	setlocale(LC_CTYPE, "C.UTF-8");
	while (*screen != '\0') {
		const char *line = story_text("%.*s", (int)strcspn(screen, "\n"), screen);
		wchar_t wide[2000];
		size_t n = mbstowcs(wide, line, 2000);
		int width = n == (size_t)-1 ? 9999 : wcswidth(wide, n);

		widest = width < 0 ? 9999 : width > widest ? width : widest;
		screen += strcspn(screen, "\n");
		screen += *screen == '\n';
	}
	return widest;
}

#define must_show(p, text) must_happen(strstr(screen_of(p), text) != NULL || (proc_running(p) ? 0 : \
	(story_fail("ended; screen:\n%s", screen_of(p)), 0)), 20000)

static void must_fit(struct proc *p, int columns, size_t rows)
{
	const char *screen = screen_of(p);

	if (widest_of(screen) > columns || text_count(screen, "\n") + 1 != rows)
		story_fail("%d columns, %zu lines:\n%s", widest_of(screen), text_count(screen, "\n") + 1, screen);
}

static int terminal_of(struct proc *p)
{
	int fd = open(story_text("/proc/%d/fd/0", (int)proc_pid(p)), O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		story_fail("no terminal");
	return fd;
}

static bool is_cooked(int terminal)
{
	struct termios t;

	return tcgetattr(terminal, &t) == 0 && (t.c_lflag & ICANON) != 0 && (t.c_lflag & ECHO) != 0;
}

static struct proc *start_top(struct testdb *db, const char *const *env)
{
	setenv("TERM", "xterm", 1);
	struct proc *p = must_start((&(struct proc_options){ .tty = TTY_ALL, .env = env }), "unstuckctl", "-d", db->url, "top", "--every",
	                            "250ms");

	must_show(p, "q quit");
	return p;
}

/* ---- the stories ---- */

static void add_work(struct testdb *db)
{
	must_sql(db, "INSERT INTO unstuck.workers (worker_id, host, pid, version, state, heartbeat_s, timeout_s) VALUES"
	             " ('" W1 "', 'one', 11, '1', 'running', 10, 3600);"
	             "SELECT unstuck.enqueue('mail') FROM generate_series(1, 7); SELECT unstuck.enqueue('mail', run_at => now() + interval '1h');"
	             "INSERT INTO unstuck.jobs (queue, status, worker_id, claimed_at) VALUES ('mail', 'PROCESSING', '" W1 "', now() - interval '65s'),"
	             " ('mail', 'PROCESSING', '" W2 "', now() - interval '3h')");
	write_file("unstuck.ini", "[queue mail]\nhandler = /bin/true\n[queue videos]\ntable = videos\nstatus = analysis_status\n"
	           "timezone = UTC\nready = METADATA_EXTRACTED\nhandler = /bin/true\n");
}

START_TEST(where_there_is_no_terminal_it_is_one_look)
{
	struct testdb *db = must_have_db();
	struct proc *p;
	json_t *document, *queue, *jobs;

	must_have_table(db, 5);
	add_work(db);
	must_sql(db, "SELECT unstuck.enqueue('other')");
	p = must_run(0, NULL, "unstuckctl", "-d", db->url, "top");
	ck_assert_ptr_eq(strchr(proc_out(p), '\033'), NULL);
	ck_assert_ptr_ne(strstr(proc_out(p), "1 stuck, 2 running, 13 ready in 3 queues, 1 workers\n"), NULL);
	ck_assert_ptr_ne(strstr(proc_out(p), "worker " W2 " is not registered; job claimed 10800 s ago"), NULL);
	p = must_run(0, NULL, "unstuckctl", "-d", db->url, "top", "--json");
	document = json_loads(proc_out(p), 0, NULL);
	queue = json_array_get(json_object_get(document, "queues"), 0);
	ck_assert_str_eq(json_string_value(json_object_get(queue, "queue")), "mail");
	ck_assert_int_eq(json_integer_value(json_object_get(queue, "ready")), 7);
	ck_assert_int_eq(json_integer_value(json_object_get(queue, "later")), 1);
	ck_assert_int_eq(json_integer_value(json_object_get(queue, "processing")), 2);
	ck_assert_int_eq(json_integer_value(json_object_get(queue, "stuck")), 1);
	jobs = json_object_get(document, "running");
	ck_assert_str_eq(json_string_value(json_object_get(json_array_get(jobs, 0), "reason")), "worker_lost");
	ck_assert_str_eq(json_string_value(json_object_get(json_array_get(jobs, 1), "reason")), "alive");
	queue = json_array_get(json_object_get(document, "queues"), 1);
	ck_assert_str_eq(json_string_value(json_object_get(queue, "table")), "public.videos");
	ck_assert_int_eq(json_integer_value(json_object_get(queue, "ready")), 5);
	json_decref(document);
	p = must_run(0, (&(struct proc_options){ .tty = TTY_ALL, .env = WORDS("TERM=dumb") }), "unstuckctl", "-d", db->url, "top");
	ck_assert_ptr_eq(strchr(proc_out(p), '\033'), NULL);
	must_run(69, NULL, "unstuckctl", "-d", "postgresql:///x?host=/nowhere", "top");
	must_run(78, NULL, "unstuckctl", "-d", must_have_empty_db()->url, "top");
}
END_TEST

START_TEST(it_fits_follows_and_leaves_the_terminal_as_it_was)
{
	struct testdb *db = must_have_db();
	struct proc *p;
	int terminal;

	must_have_table(db, 5);
	add_work(db);
	/* Names that are wide, long, or would move the cursor. */
	must_sql(db, "INSERT INTO unstuck.jobs (queue) VALUES (repeat('漢字', 30)), (repeat('long', 50)), (E'bad\\u009b2Jname')");
	p = start_top(db, NULL);
	terminal = terminal_of(p);
	must_show(p, "1 stuck, 2 running, 15 ready in 5 queues, 1 workers");
	must_show(p, "漢字漢字漢字漢字漢字漢~");	/* two columns each, so that 23 are full */
	must_show(p, "longlonglonglonglonglo~");
	must_show(p, "bad\\xc2\\x9b2Jname");
	must_fit(p, 80, 24);
	const char *screen = screen_of(p);
	ck_assert(strstr(screen, "STUCK") < strstr(screen, "QUEUE") && strstr(screen, "STUCK") != NULL);
	ck_assert(!is_cooked(terminal));

	/* It follows, on its own. */
	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 4)");
	must_show(p, "19 ready");
	must_sql(db, "INSERT INTO unstuck.jobs (queue, status, worker_id, claimed_at) SELECT 'mail', 'PROCESSING', '" W1 "', now()"
	             " FROM generate_series(1, 40)");
	must_show(p, "42 running");
	must_show(p, "lines 1 to 20 of");
	must_type(p, "\033[B");
	must_show(p, "lines 2 to 21 of");
	must_type(p, "\033[6~");
	must_show(p, "lines 21 to 40 of");
	must_type(p, "\033[A\033[F");
	must_show(p, "lines 37 to 56 of 56");
	must_fit(p, 80, 24);
	must_type(p, "g");
	must_show(p, "lines 1 to 20 of");

	/* Another size. */
	ck_assert_int_eq(ioctl(terminal, TIOCSWINSZ, &(struct winsize){ .ws_col = 50, .ws_row = 10 }), 0);
	must_show(p, "lines 1 to 6 of");
	must_fit(p, 50, 10);

	/* Put aside, and taken up again. */
	must_type(p, "\032");
	must_happen(strstr(proc_out(p), LEFT) != NULL && is_cooked(terminal), 10000);
	ck_assert_uint_eq(text_count(proc_out(p), TAKEN), 1);
	proc_signal(p, SIGCONT);
	must_happen(text_count(proc_out(p), TAKEN) == 2 && !is_cooked(terminal), 10000);
	must_type(p, "xy\033[99~q");
	must_exit(p, 0, 10000);
	ck_assert(is_cooked(terminal));
	ck_assert_uint_eq(text_count(proc_out(p), LEFT), 2);
	close(terminal);
}
END_TEST

static const int ends[] = { SIGTERM, SIGHUP, SIGINT, SIGSEGV };

/* A crash that a sanitizer catches ends with its own status. */
START_TEST(a_signal_restores_the_terminal)
{
	struct testdb *db = must_have_db();
	struct proc *p[sizeof ends / sizeof *ends];

	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
		p[i] = start_top(db, WORDS("NO_COLOR=1"));
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		int terminal = terminal_of(p[i]);

		proc_signal(p[i], ends[i]);
		must_exit(p[i], ends[i] == SIGINT ? 0 : 128 + ends[i], 10000);
		ck_assert(is_cooked(terminal));
		const char *left = strstr(proc_out(p[i]), LEFT);
		ck_assert(left != NULL && strstr(left, "\033[H") == NULL);
		ck_assert_ptr_null(strstr(proc_out(p[i]), "\033[7m"));	/* nor any colour */
		close(terminal);
	}
	must_happen(procs_alive() == 0, 10000);
}
END_TEST

START_TEST(a_database_that_goes_away_and_comes_back)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	p = start_top(db, NULL);
	must_show(p, "1 ready in 1 queues");
	server_crash();
	must_show(p, "s OLD: ");
	must_show(p, "1 ready in 1 queues");	/* what is known stays */
	must_fit(p, 80, 24);
	server_start();
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	must_show(p, "2 ready in 1 queues");
	ck_assert_ptr_null(strstr(screen_of(p), " OLD: "));
	must_type(p, "q");
	must_exit(p, 0, 10000);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("top");
	TCase *tc = story_case(s, "top");

	tcase_add_test(tc, where_there_is_no_terminal_it_is_one_look);
	tcase_add_test(tc, it_fits_follows_and_leaves_the_terminal_as_it_was);
	tcase_add_test(tc, a_signal_restores_the_terminal);
	tcase_add_test(tc, a_database_that_goes_away_and_comes_back);
	return check_main(s);
}
