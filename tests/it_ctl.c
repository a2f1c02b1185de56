/*
 * it_ctl.c - unstuckctl against a real database: what it promises on the command line.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include "story.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof *(a))

static const char *out_line(struct proc *p)
{
	const char *text = proc_out(p);

	return story_text("%.*s", (int)strcspn(text, "\n"), text);
}

/* unstuckctl with the settings of the test's database, to the end. */
static struct proc *ctl_at(struct testdb *db, int status, const char *input, const char *const *words)
{
	const char *argv[24] = { "unstuckctl", "-d", db->url };
	size_t n = 3;

	while (*words != NULL && n < ARRAY_LEN(argv) - 1)
		argv[n++] = *words++;
	return proc_must_exit(proc_start(&(struct proc_options){ .input = input }, argv), status, 60000);
}
#define must_ctl(db, status, ...) (story_at(__FILE__, __LINE__), ctl_at(db, status, NULL, WORDS(__VA_ARGS__)))
#define must_feed(db, status, input, ...) (story_at(__FILE__, __LINE__), ctl_at(db, status, input, WORDS(__VA_ARGS__)))

static void must_hold(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		story_fail("expected \"%s\" in \"%s\"", part, text);
}

/* Every number as a real: jansson's integers are too small for some of ours. */
static json_t *must_json(struct proc *p)
{
	json_error_t error;
	json_t *document = json_loads(proc_out(p), JSON_DECODE_INT_AS_REAL, &error);

	if (document == NULL)
		story_fail("no JSON document: %s in %s", error.text, proc_out(p));
	return document;
}

static const char *text_at(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	if (text == NULL)
		story_fail("\"%s\" is no string in %s", key, json_dumps(object, JSON_ENCODE_ANY));
	return text;
}

/* ---- init ---- */

START_TEST(init_creates_the_schema_once_and_says_so)
{
	struct testdb *db = must_have_empty_db();

	must_hold(proc_out(must_ctl(db, 0, "init")), "schema unstuck: version 4 created\n");
	must_hold(proc_out(must_ctl(db, 0, "init")), "schema unstuck: already at version 4\n");
	must_equal(db, "SELECT count(*) FROM unstuck.schema_version", "1");
	must_equal(db, "SELECT count(*) FROM pg_roles WHERE rolname IN ('unstuck_enqueue', 'unstuck_worker',"
	           " 'unstuck_recover', 'unstuck_read')", "4");
}
END_TEST

START_TEST(inits_at_the_same_time_make_one_schema)
{
	struct testdb *db = must_have_empty_db();
	struct proc *inits[4];
	size_t created = 0;

	for (size_t i = 0; i < ARRAY_LEN(inits); i++)
		inits[i] = must_start(NULL, "unstuckctl", "-d", db->url, "init");
	for (size_t i = 0; i < ARRAY_LEN(inits); i++) {
		must_exit(inits[i], 0, 30000);
		created += text_count(proc_out(inits[i]), "version 4 created");
	}
	ck_assert_uint_eq(created, 1);
}
END_TEST

/* Roles belong to the server, so the databases' advisory locks do not help here. */
START_TEST(inits_of_several_databases_do_not_trip_over_the_roles)
{
	struct proc *inits[4];

	for (size_t i = 0; i < ARRAY_LEN(inits); i++)
		inits[i] = must_start(NULL, "unstuckctl", "-d", must_have_empty_db()->url, "init");
	for (size_t i = 0; i < ARRAY_LEN(inits); i++)
		must_exit(inits[i], 0, 30000);
}
END_TEST

START_TEST(init_print_shows_sql_that_psql_runs)
{
	struct testdb *db = must_have_empty_db();
	struct proc *print = must_ctl(db, 0, "init", "--print");

	must_equal(db, "SELECT to_regnamespace('unstuck') IS NULL", "t");
	must_run(0, (&(struct proc_options){ .input = proc_out(print) }), "psql", "-X", "-q", "-1", "-v",
	         "ON_ERROR_STOP=1", db->url);
	must_equal(db, "SELECT max(version) FROM unstuck.schema_version", "4");
	must_ctl(db, 0, "enqueue", "q");
}
END_TEST

START_TEST(init_without_the_right_to_create_roles_leaves_them_and_says_so)
{
	struct testdb *db = must_have_empty_db();
	const char *url = story_text("postgresql:///%s?host=%s&user=plain", db->name, server_dir());
	struct proc *init;

	must_sql(db, "DROP ROLE IF EXISTS plain; CREATE ROLE plain LOGIN; GRANT CREATE ON DATABASE \"%s\" TO plain", db->name);
	init = must_run(0, NULL, "unstuckctl", "-d", url, "init");
	must_hold(proc_out(init), "version 4 created");
	must_hold(proc_err(init), "user plain may not create roles");
	must_run(0, NULL, "unstuckctl", "-d", url, "enqueue", "q");
	must_sql(db, "DROP OWNED BY plain; DROP ROLE plain");
}
END_TEST

START_TEST(init_without_any_right_names_the_reason)
{
	struct testdb *db = must_have_empty_db();
	const char *url = story_text("postgresql:///%s?host=%s&user=nobody_here", db->name, server_dir());

	must_sql(db, "DROP ROLE IF EXISTS nobody_here; CREATE ROLE nobody_here LOGIN");
	must_hold(proc_err(must_run(1, NULL, "unstuckctl", "-d", url, "init")), "permission denied for database");
	must_sql(db, "DROP ROLE nobody_here");
}
END_TEST

START_TEST(a_newer_schema_is_left_alone)
{
	struct testdb *db = must_have_db();

	must_sql(db, "INSERT INTO unstuck.schema_version VALUES (99)");
	must_hold(proc_err(must_ctl(db, 78, "init")), "version 99, this program knows 4: use a newer unstuckctl");
	must_hold(proc_err(must_ctl(db, 78, "jobs")), "version 99, this program knows 4: use a newer unstuckctl");
}
END_TEST

START_TEST(without_the_schema_every_command_names_init)
{
	static const char *const commands[][3] = {
		{ "enqueue", "q" }, { "jobs" }, { "show", "1" }, { "cancel", "1" }, { "retry", "1" }, { "queues" }, { "workers" },
	};
	struct testdb *db = must_have_empty_db();

	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		must_hold(proc_err(must_ctl(db, 78, commands[i][0], commands[i][1])), "run `unstuckctl init`");
}
END_TEST

START_TEST(without_a_database_the_status_is_69_and_no_password_is_shown)
{
	struct proc *p = must_run(69, NULL, "unstuckctl", "-d", "postgresql://me:s3cret@127.0.0.1:1/app", "jobs");

	must_hold(proc_err(p), "127.0.0.1");
	ck_assert_ptr_null(strstr(proc_err(p), "s3cret"));
}
END_TEST

/* ---- enqueue ---- */

START_TEST(enqueue_prints_the_id_and_stores_what_was_asked)
{
	struct testdb *db = must_have_db();
	struct proc *p = must_ctl(db, 0, "enqueue", "mail", "{\"to\": \"a\"}", "--priority", "-7", "--run-at",
	                          "2031-02-03T04:05:06+01:00", "--unique-key", "k", "--max-attempts", "9");

	ck_assert_str_eq(proc_out(p), story_text("%s\n", sql_value(db, "SELECT id FROM unstuck.jobs")));
	must_equal(db, "SELECT concat_ws(' ', queue, payload, priority, run_at AT TIME ZONE 'UTC', unique_key, max_attempts, status)"
	           " FROM unstuck.jobs", "mail {\"to\": \"a\"} -7 2031-02-03 03:05:06 k 9 PENDING");
}
END_TEST

START_TEST(a_payload_comes_from_the_argument_or_stdin_or_is_empty)
{
	struct testdb *db = must_have_db();

	must_ctl(db, 0, "enqueue", "q");
	must_ctl(db, 0, "enqueue", "q", "5");
	must_feed(db, 0, "{\"a\":\n 12345678901234567890.10}\n", "enqueue", "q", "-");
	must_equal(db, "SELECT string_agg(payload::text, '|' ORDER BY id) FROM unstuck.jobs",
	           "{}|5|{\"a\": 12345678901234567890.10}");
}
END_TEST

START_TEST(the_same_unique_key_gives_the_unfinished_job)
{
	struct testdb *db = must_have_db();
	const char *first = out_line(must_ctl(db, 0, "enqueue", "q", "--unique-key", "k"));

	ck_assert_str_eq(out_line(must_ctl(db, 0, "enqueue", "q", "--unique-key", "k")), first);
	must_sql(db, "UPDATE unstuck.jobs SET status = 'COMPLETED'");
	ck_assert_str_ne(out_line(must_ctl(db, 0, "enqueue", "q", "--unique-key", "k")), first);
}
END_TEST

START_TEST(a_delay_counts_from_now)
{
	struct testdb *db = must_have_db();

	must_ctl(db, 0, "enqueue", "q", "--delay", "1h30m");
	must_equal(db, "SELECT run_at - now() BETWEEN interval '89 min' AND interval '90 min' FROM unstuck.jobs", "t");
}
END_TEST

static const struct { const char *words[6]; const char *reason; } wrong_words[] = {
	{ { "enqueue" }, "QUEUE" },
	{ { "enqueue", "q", "{\"a\": nope}" }, "payload refused: invalid input syntax for type json: Token \"nope\" is invalid.: line 1" },
	{ { "enqueue", "q", "" }, "payload refused" },
	{ { "enqueue", "q", "\"\\u0000\"" }, "payload refused: unsupported Unicode escape sequence" },
	{ { "enqueue", "q", "\xff" }, "payload refused" },
	{ { "enqueue", "" }, "name is not empty" },
	{ { "top", "--every", "1ms" }, "--every: expected at least 250ms" },
	{ { "enqueue", "a]b" }, "no control characters and no ]" },
	{ { "enqueue", "a\nb" }, "no control characters and no ]" },
	{ { "enqueue", "q", "--priority", "high" }, "--priority: \"high\" is not a whole number" },
	{ { "enqueue", "q", "--priority", "2147483648" }, "--priority: \"2147483648\"" },
	{ { "enqueue", "q", "--max-attempts", "0" }, "--max-attempts: \"0\"" },
	{ { "enqueue", "q", "--run-at", "soon" }, "--run-at: invalid input syntax for type timestamp with time zone: \"soon\"" },
	{ { "enqueue", "q", "--delay", "soon" }, "soon" },
	{ { "enqueue", "q", "--delay", "1s", "--run-at", "now" }, "--run-at and --delay: only one" },
	{ { "enqueue", "q", "{}", "--lines" }, "--lines reads the payloads from stdin" },
	{ { "jobs", "--status", "DONE" }, "\"DONE\" is no status" },
	{ { "jobs", "--status", "complete" }, "did you mean COMPLETED?" },
	{ { "jobs", "--limit", "0" }, "limit" },
	{ { "show", "x" }, "\"x\" is no job id" },
	{ { "show", "0" }, "\"0\" is no job id" },
	{ { "show", "99999999999999999999" }, "is no job id" },
	{ { "cancel", "1", "two" }, "\"two\" is no job id" },
	{ { "retry" }, "which jobs?" },
	{ { "retry", "--queue", "q" }, "--queue goes with --all-failed" },
	{ { "retry", "--all-failed" }, "--queue" },
	{ { "retry", "--all-failed", "--queue", "q", "1" }, "without ids" },
	{ { "unknown" }, "unknown" },
};

START_TEST(wrong_words_are_refused_by_name)
{
	struct testdb *db = must_have_db();

	must_hold(proc_err(ctl_at(db, 64, NULL, wrong_words[_i].words)), wrong_words[_i].reason);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs", "0");
}
END_TEST

START_TEST(bad_json_on_stdin_stores_nothing)
{
	struct testdb *db = must_have_db();

	must_hold(proc_err(must_feed(db, 1, "{\"a\": 1,\n \"b\" 2}", "enqueue", "q", "-")), "line 2");
	must_hold(proc_err(must_feed(db, 1, "", "enqueue", "q", "-")), "standard input is empty");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs", "0");
}
END_TEST

START_TEST(a_queue_of_another_table_takes_no_jobs_here)
{
	struct testdb *db = must_have_db();

	write_file("unstuck.ini", "[queue videos]\ntable = public.videos\nhandler = /bin/true\nstatus = s\nready = A\n"
	           "processing = B\ndone = C\nfailed = D\nreset_to = A\n[queue mails]\nhandler = /bin/true\n");
	must_hold(proc_err(must_ctl(db, 64, "enqueue", "videos")), "works on table public.videos: insert a row there");
	must_hold(proc_err(must_ctl(db, 0, "enqueue", "mail")), "did you mean mails?");
}
END_TEST

/* ---- enqueue --lines ---- */

START_TEST(lines_are_stored_each_as_one_job)
{
	struct testdb *db = must_have_db();
	struct proc *p = must_feed(db, 0, "{\"a\": 1}\n\"back\\\\slash\\ttab\"\r\n[\t2]\n3", "enqueue", "q", "--lines",
	                           "--priority", "4", "--max-attempts", "2", "--delay", "1h");

	ck_assert_str_eq(proc_out(p), "4\n");
	must_equal(db, "SELECT string_agg(payload::text, ' ' ORDER BY id) FROM unstuck.jobs",
	           "{\"a\": 1} \"back\\\\slash\\ttab\" [2] 3");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE queue = 'q' AND priority = 4 AND max_attempts = 2"
	           " AND run_at BETWEEN now() + interval '59 min' AND now() + interval '1 hour'", "4");
	ck_assert_str_eq(proc_out(must_feed(db, 0, "", "enqueue", "q", "--lines")), "0\n");
}
END_TEST

static const struct { const char *lines, *reason; } bad_lines[] = {
	{ "1\n2\n{x\n4\n", "line 3: invalid input syntax for type json: Token \"x\" is invalid.: {x; nothing was stored" },
	{ "1\n\n3\n", "line 2: invalid input syntax for type json" },
	{ "1\n\"\xff\"\n", "line 2: invalid byte sequence" },
	{ "1\n2\n3\n{", "line 4: " },
};

START_TEST(a_bad_line_is_named_and_nothing_is_stored)
{
	struct testdb *db = must_have_db();

	must_hold(proc_err(must_feed(db, 1, bad_lines[_i].lines, "enqueue", "q", "--lines")), bad_lines[_i].reason);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs", "0");
}
END_TEST

START_TEST(a_nul_byte_in_a_line_is_named)
{
	struct testdb *db = must_have_db();
	struct proc *p = must_run(1, NULL, "sh", "-c", "printf '1\\n\"a\\0b\"\\n' | \"$0\" -d \"$1\" enqueue q --lines",
	                          build_path("unstuckctl"), db->url);

	must_hold(proc_err(p), "line 2: holds a NUL byte; nothing was stored");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs", "0");
}
END_TEST

START_TEST(many_lines_wake_the_workers_once)
{
	struct testdb *db = must_have_db();
	PGconn *conn = testdb_connect(db);
	size_t heard = 0;
	PGnotify *note;

	PQclear(PQexec(conn, "LISTEN unstuck"));
	must_run(0, NULL, "sh", "-c", "seq 50000 | \"$0\" -d \"$1\" enqueue q --lines", build_path("unstuckctl"), db->url);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs", "50000");
	PQclear(PQexec(conn, "SELECT 1"));	/* notes of committed transactions come with it */
	while ((note = PQnotifies(conn)) != NULL) {
		ck_assert_str_eq(note->extra, "q");
		PQfreemem(note);
		heard++;
	}
	ck_assert_uint_eq(heard, 1);
	PQfinish(conn);
}
END_TEST

START_TEST(who_may_only_enqueue_can_load_lines_and_cancel)
{
	struct testdb *db = must_have_empty_db();
	const char *url = story_text("postgresql:///%s?host=%s&user=producer", db->name, server_dir());

	must_ctl(db, 0, "init");
	must_sql(db, "DROP ROLE IF EXISTS producer; CREATE ROLE producer LOGIN IN ROLE unstuck_enqueue");
	must_run(0, NULL, "unstuckctl", "-d", url, "enqueue", "q");
	must_run(0, (&(struct proc_options){ .input = "1\n2\n" }), "unstuckctl", "-d", url, "enqueue", "q", "--lines");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs", "3");
	must_hold(proc_out(must_run(0, NULL, "unstuckctl", "-d", url, "cancel", "1")), "1 cancelled\n");
	must_hold(proc_err(must_run(1, NULL, "unstuckctl", "-d", url, "cancel", "1")), "only a job that waits or runs");
	must_hold(proc_out(must_run(0, NULL, "unstuckctl", "-d", url, "retry", "1")), "1 put back\n");
	must_hold(proc_err(must_run(1, NULL, "unstuckctl", "-d", url, "jobs")), "permission denied for table jobs");
	must_sql(db, "DROP ROLE producer");
}
END_TEST

/* ---- jobs, show ---- */

START_TEST(jobs_in_json_keep_every_digit)
{
	struct testdb *db = must_have_db();
	struct proc *p;
	json_t *document, *job;

	must_sql(db, "SELECT unstuck.enqueue('q', '{\"n\": 12345678901234567890123.10, \"t\": \"\\u001b\\u00e4\"}')");
	p = must_ctl(db, 0, "jobs", "--json");
	must_hold(proc_out(p), "12345678901234567890123.10");
	document = must_json(p);
	ck_assert_uint_eq(json_array_size(json_object_get(document, "jobs")), 1);
	job = json_array_get(json_object_get(document, "jobs"), 0);
	ck_assert_str_eq(text_at(job, "id"), sql_value(db, "SELECT id FROM unstuck.jobs"));
	ck_assert_str_eq(text_at(job, "status"), "PENDING");
	ck_assert(json_is_null(json_object_get(job, "result")));
	ck_assert_uint_eq(json_object_size(job), 19);
	json_decref(document);
}
END_TEST

START_TEST(jobs_are_filtered_by_queue_and_status)
{
	struct testdb *db = must_have_db();
	json_t *document;

	must_sql(db, "SELECT unstuck.enqueue('a'), unstuck.enqueue('a'), unstuck.enqueue('b');"
	         "UPDATE unstuck.jobs SET status = 'FAILED', last_error = 'exit 3' WHERE id = (SELECT min(id) FROM unstuck.jobs)");
	document = must_json(must_ctl(db, 0, "jobs", "--queue", "a", "--status", "failed", "--json"));
	ck_assert_uint_eq(json_array_size(json_object_get(document, "jobs")), 1);
	json_decref(document);
	must_hold(proc_out(must_ctl(db, 0, "jobs", "--status", "FAILED")), "exit 3");
	document = must_json(must_ctl(db, 0, "jobs", "--queue", "none", "--json"));
	ck_assert_uint_eq(json_array_size(json_object_get(document, "jobs")), 0);
	json_decref(document);
}
END_TEST

START_TEST(jobs_beyond_the_limit_are_mentioned)
{
	struct testdb *db = must_have_db();
	struct proc *p;
	json_t *document;

	must_sql(db, "SELECT unstuck.enqueue('q') FROM generate_series(1, 60)");
	p = must_ctl(db, 0, "jobs");
	ck_assert_uint_eq(text_count(proc_out(p), "\n"), 51);
	must_hold(proc_err(p), "the newest 50");
	p = must_ctl(db, 0, "jobs", "--limit", "60", "--json");
	ck_assert_str_eq(proc_err(p), "");
	document = must_json(p);
	ck_assert_uint_eq(json_array_size(json_object_get(document, "jobs")), 60);
	json_decref(document);
}
END_TEST

START_TEST(long_cells_are_cut_on_a_terminal_only)
{
	struct testdb *db = must_have_db();
	const char *argv[] = { "unstuckctl", "-d", db->url, "jobs", NULL };
	struct proc *screen;

	must_sql(db, "SELECT unstuck.enqueue('q', to_jsonb(repeat('x', 300) || 'end'))");
	must_hold(proc_out(must_ctl(db, 0, "jobs")), "xxend");
	screen = proc_must_exit(proc_start(&(struct proc_options){ .tty = TTY_OUT }, argv), 0, 60000);
	must_hold(proc_out(screen), "xxx");
	ck_assert_ptr_null(strstr(proc_out(screen), "end"));
}
END_TEST

START_TEST(a_payload_cannot_write_on_the_terminal)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('q');"
	         "UPDATE unstuck.jobs SET status = 'FAILED', last_error = E'\\x1b[31mred\\nline\\u009b'");
	ck_assert_ptr_null(strchr(proc_out(must_ctl(db, 0, "jobs")), '\x1b'));
	ck_assert_ptr_null(strchr(proc_out(must_ctl(db, 0, "show", "1")), '\x1b'));
	ck_assert_ptr_null(strstr(proc_out(must_ctl(db, 0, "show", "1")), "\xc2\x9b"));
}
END_TEST

START_TEST(show_tells_every_column)
{
	static const char *const columns[] = {
		"id", "queue", "status", "priority", "run_at", "attempts", "failures", "recoveries", "max_attempts", "unique_key",
		"last_error", "claim_id", "worker_id", "claimed_at", "created_at", "updated_at", "finished_at", "payload", "result",
	};
	struct testdb *db = must_have_db();
	json_t *job;
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('q', '{\"a\": [1, 2]}')");
	p = must_ctl(db, 0, "show", "1");
	job = must_json(must_ctl(db, 0, "show", "1", "--json"));
	for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
		must_hold(story_text("\n%s", proc_out(p)), story_text("\n%s ", columns[i]));
		ck_assert_ptr_nonnull(json_object_get(job, columns[i]));
	}
	must_hold(proc_out(p), "\"a\": [\n");
	json_decref(job);
	must_hold(proc_err(must_ctl(db, 1, "show", "2")), "there is no job 2");
}
END_TEST

START_TEST(half_a_list_is_never_success)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('q')");
	must_hold(proc_err(must_run(1, NULL, "sh", "-c", "\"$0\" -d \"$1\" jobs --json >/dev/full", build_path("unstuckctl"),
	                            db->url)), "writing to standard output");
}
END_TEST

/* ---- cancel, retry ---- */

START_TEST(cancel_ends_what_waits_or_runs_and_names_the_rest)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('q') FROM generate_series(1, 3);"
	         "UPDATE unstuck.jobs SET status = 'PROCESSING' WHERE id = 2; UPDATE unstuck.jobs SET status = 'COMPLETED' WHERE id = 3");
	p = must_ctl(db, 1, "cancel", "1", "2", "3", "4");
	must_hold(proc_out(p), "1 cancelled\n");
	must_hold(proc_out(p), "2 cancelled (it was running");
	must_hold(proc_err(p), "3: is COMPLETED: only a job that waits or runs can be cancelled");
	must_hold(proc_err(p), "4: there is no such job");
	must_equal(db, "SELECT string_agg(status, ' ' ORDER BY id) FROM unstuck.jobs", "CANCELLED CANCELLED COMPLETED");
}
END_TEST

START_TEST(retry_puts_failed_and_cancelled_jobs_back)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('q') FROM generate_series(1, 3);"
	         "UPDATE unstuck.jobs SET status = CASE id WHEN 1 THEN 'FAILED' WHEN 2 THEN 'CANCELLED' ELSE 'PENDING' END");
	ck_assert_str_eq(proc_out(must_ctl(db, 0, "retry", "1", "2")), "1 put back\n2 put back\n");
	p = must_ctl(db, 1, "retry", "3");
	must_hold(proc_err(p), "3: is PENDING: only a FAILED or CANCELLED job can be put back");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PENDING'", "3");
}
END_TEST

START_TEST(a_retry_does_not_break_a_unique_key)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('q', unique_key => 'k'); UPDATE unstuck.jobs SET status = 'FAILED';"
	         "SELECT unstuck.enqueue('q', unique_key => 'k')");
	must_hold(proc_err(must_ctl(db, 1, "retry", "1")), "1: is FAILED: another unfinished job has its unique_key");
}
END_TEST

START_TEST(all_that_failed_in_a_queue_is_put_back)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('q') FROM generate_series(1, 2500); SELECT unstuck.enqueue('other');"
	         "UPDATE unstuck.jobs SET status = 'FAILED'; UPDATE unstuck.jobs SET status = 'CANCELLED' WHERE id = 1");
	ck_assert_str_eq(proc_out(must_ctl(db, 0, "retry", "--all-failed", "--queue", "q")), "2499 put back\n");
	must_equal(db, "SELECT string_agg(status || ' ' || n, ', ' ORDER BY status)"
	           " FROM (SELECT status, count(*) AS n FROM unstuck.jobs GROUP BY 1) AS s",
	           "CANCELLED 1, FAILED 1, PENDING 2499");
}
END_TEST

/* ---- queues, workers ---- */

static json_t *queue_named(json_t *document, const char *name)
{
	json_t *queue;
	size_t i;

	json_array_foreach(json_object_get(document, "queues"), i, queue)
		if (strcmp(text_at(queue, "queue"), name) == 0)
			return queue;
	story_fail("no queue %s in %s", name, json_dumps(document, 0));
}

static int count_at(json_t *queue, const char *status)
{
	return (int)json_number_value(json_object_get(json_object_get(queue, "counts"), status));
}

START_TEST(queues_are_counted_by_status_with_their_ages)
{
	struct testdb *db = must_have_db();
	json_t *document, *q;

	must_sql(db, "SELECT unstuck.enqueue('q') FROM generate_series(1, 5);"
	         "UPDATE unstuck.jobs SET run_at = now() - interval '10 min' WHERE id = 1;"
	         "UPDATE unstuck.jobs SET status = 'PROCESSING', claimed_at = now() - interval '1 hour', worker_id = gen_random_uuid()"
	         " WHERE id = 2; UPDATE unstuck.jobs SET status = 'FAILED' WHERE id = 3;"
	         "UPDATE unstuck.jobs SET run_at = now() + interval '1 day' WHERE id = 4");
	write_file("unstuck.ini", "[queue idle]\nhandler = /bin/true\n");
	document = must_json(must_ctl(db, 0, "queues", "--json"));
	q = queue_named(document, "q");
	ck_assert_int_eq(count_at(q, "PENDING"), 3);
	ck_assert_int_eq(count_at(q, "PROCESSING"), 1);
	ck_assert_int_eq(count_at(q, "FAILED"), 1);
	ck_assert_int_eq(count_at(q, "COMPLETED"), 0);
	ck_assert(json_number_value(json_object_get(q, "oldest_pending_age_s")) >= 600);
	ck_assert(json_number_value(json_object_get(q, "oldest_processing_age_s")) >= 3600);
	ck_assert_int_eq((int)json_number_value(json_object_get(q, "workers")), 1);
	q = queue_named(document, "idle");
	ck_assert_int_eq(count_at(q, "PENDING"), 0);
	ck_assert(json_is_null(json_object_get(q, "oldest_pending_age_s")));
	json_decref(document);
	must_hold(proc_out(must_ctl(db, 0, "queues")), "10m");
}
END_TEST

static void write_videos_settings(const char *more)
{
	write_filef("unstuck.ini", "[queue videos]\ntable = public.videos\nstatus = analysis_status\n"
	            "ready = METADATA_EXTRACTED METADATA_EXTRACTING\nprocessing = PROCESSING\ndone = VIDEO_ANALYSIS_COMPLETED\n"
	            "failed = ANALYSIS_FAILED\nreset_to = METADATA_EXTRACTING\nwhere = source_id <> 'yt-none'\nhandler = /bin/true\n%s",
	            more);
}

START_TEST(a_mapped_table_is_counted_in_the_same_words)
{
	struct testdb *db = must_have_db();
	json_t *document, *videos;

	must_have_table(db, 10);
	must_sql(db, "UPDATE videos SET analysis_status = 'METADATA_EXTRACTING' WHERE id = 1;"
	         "UPDATE videos SET analysis_status = 'PROCESSING', updated_at = now() AT TIME ZONE 'UTC' - interval '121 min' WHERE id = 2;"
	         "UPDATE videos SET analysis_status = 'VIDEO_ANALYSIS_COMPLETED' WHERE id IN (3, 4);"
	         "UPDATE videos SET analysis_status = 'ANALYSIS_FAILED' WHERE id = 5;"
	         "UPDATE videos SET analysis_status = 'UPLOADED' WHERE id = 6; UPDATE videos SET source_id = 'yt-none' WHERE id = 7");
	write_videos_settings("");
	document = must_json(must_ctl(db, 0, "queues", "--json"));
	videos = queue_named(document, "videos");
	ck_assert_str_eq(text_at(videos, "table"), "public.videos");
	ck_assert_int_eq(count_at(videos, "PENDING"), 4);
	ck_assert_int_eq(count_at(videos, "PROCESSING"), 1);
	ck_assert_int_eq(count_at(videos, "COMPLETED"), 2);
	ck_assert_int_eq(count_at(videos, "FAILED"), 1);
	ck_assert_int_eq((int)json_number_value(json_object_get(videos, "other")), 2);
	ck_assert(json_number_value(json_object_get(videos, "oldest_processing_age_s")) >= 7199);
	json_decref(document);
}
END_TEST

START_TEST(a_queue_that_cannot_be_counted_hides_no_other)
{
	struct testdb *db = must_have_db();
	json_t *document;
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('q')");
	write_videos_settings("");
	p = must_ctl(db, 1, "queues", "--json");
	must_hold(proc_err(p), "queue videos: ");
	document = must_json(p);
	ck_assert_int_eq(count_at(queue_named(document, "q"), "PENDING"), 1);
	json_decref(document);
}
END_TEST

START_TEST(workers_tell_who_is_silent)
{
	struct testdb *db = must_have_db();
	json_t *document, *worker;
	struct proc *p;

	must_hold(proc_err(must_ctl(db, 0, "workers")), "no worker is registered");
	must_sql(db, "INSERT INTO unstuck.workers (worker_id, host, pid, version, state, heartbeat_s, timeout_s, started_at, beat_at) VALUES"
	         " (gen_random_uuid(), 'alpha', 11, '1', 'running', 10, 60, now() - interval '2 days', now()),"
	         " (gen_random_uuid(), 'beta', 12, '1', 'running', 10, 60, now() - interval '1 day', now() - interval '5 min')");
	document = must_json(must_ctl(db, 0, "workers", "--json"));
	worker = json_array_get(json_object_get(document, "workers"), 0);
	ck_assert_str_eq(text_at(worker, "host"), "alpha");
	ck_assert(json_is_false(json_object_get(worker, "silent")));
	worker = json_array_get(json_object_get(document, "workers"), 1);
	ck_assert(json_is_true(json_object_get(worker, "silent")));
	ck_assert(json_number_value(json_object_get(worker, "beat_age_s")) >= 300);
	json_decref(document);
	p = must_ctl(db, 0, "workers");
	must_hold(proc_out(p), "silent");
	must_hold(proc_out(p), "5m");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ctl");
	TCase *init = story_case(s, "init"), *enqueue = story_case(s, "enqueue"), *lines = story_case(s, "lines");
	TCase *lists = story_case(s, "lists"), *changes = story_case(s, "changes");

	tcase_add_test(init, init_creates_the_schema_once_and_says_so);
	tcase_add_test(init, inits_at_the_same_time_make_one_schema);
	tcase_add_test(init, inits_of_several_databases_do_not_trip_over_the_roles);
	tcase_add_test(init, init_print_shows_sql_that_psql_runs);
	tcase_add_test(init, init_without_the_right_to_create_roles_leaves_them_and_says_so);
	tcase_add_test(init, init_without_any_right_names_the_reason);
	tcase_add_test(init, a_newer_schema_is_left_alone);
	tcase_add_test(init, without_the_schema_every_command_names_init);
	tcase_add_test(init, without_a_database_the_status_is_69_and_no_password_is_shown);

	tcase_add_test(enqueue, enqueue_prints_the_id_and_stores_what_was_asked);
	tcase_add_test(enqueue, a_payload_comes_from_the_argument_or_stdin_or_is_empty);
	tcase_add_test(enqueue, the_same_unique_key_gives_the_unfinished_job);
	tcase_add_test(enqueue, a_delay_counts_from_now);
	tcase_add_loop_test(enqueue, wrong_words_are_refused_by_name, 0, (int)ARRAY_LEN(wrong_words));
	tcase_add_test(enqueue, bad_json_on_stdin_stores_nothing);
	tcase_add_test(enqueue, a_queue_of_another_table_takes_no_jobs_here);

	tcase_add_test(lines, lines_are_stored_each_as_one_job);
	tcase_add_loop_test(lines, a_bad_line_is_named_and_nothing_is_stored, 0, (int)ARRAY_LEN(bad_lines));
	tcase_add_test(lines, a_nul_byte_in_a_line_is_named);
	tcase_add_test(lines, many_lines_wake_the_workers_once);
	tcase_add_test(lines, who_may_only_enqueue_can_load_lines_and_cancel);

	tcase_add_test(lists, jobs_in_json_keep_every_digit);
	tcase_add_test(lists, jobs_are_filtered_by_queue_and_status);
	tcase_add_test(lists, jobs_beyond_the_limit_are_mentioned);
	tcase_add_test(lists, long_cells_are_cut_on_a_terminal_only);
	tcase_add_test(lists, a_payload_cannot_write_on_the_terminal);
	tcase_add_test(lists, show_tells_every_column);
	tcase_add_test(lists, half_a_list_is_never_success);
	tcase_add_test(lists, queues_are_counted_by_status_with_their_ages);
	tcase_add_test(lists, a_mapped_table_is_counted_in_the_same_words);
	tcase_add_test(lists, a_queue_that_cannot_be_counted_hides_no_other);
	tcase_add_test(lists, workers_tell_who_is_silent);

	tcase_add_test(changes, cancel_ends_what_waits_or_runs_and_names_the_rest);
	tcase_add_test(changes, retry_puts_failed_and_cancelled_jobs_back);
	tcase_add_test(changes, a_retry_does_not_break_a_unique_key);
	tcase_add_test(changes, all_that_failed_in_a_queue_is_put_back);
	return check_main(s);
}
