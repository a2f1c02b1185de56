/*
 * it_recover.c - stories about unstuck-recover: what it shows, what it does, and
 * above all what it leaves alone.
 */
#include <jansson.h>
#include "story.h"

/* ---- the scene ---- */

#define MAPPING \
	"[queue videos]\ntable = public.videos\nstatus = analysis_status\nready = METADATA_EXTRACTED\n" \
	"processing = PROCESSING\ndone = DONE\nfailed = ANALYSIS_FAILED\nreset_to = METADATA_EXTRACTING\n" \
	"timezone = UTC\nshow = source_id\ntimeout = 1h\nhandler = /bin/true\n"

static void settings(struct testdb *db, const char *rest)
{
	write_filef("unstuck.ini", "[unstuck]\ndatabase_url = %s\n%s", db->url, rest);
}

/* A database with public.videos, its mapping in unstuck.ini, and so many rows PROCESSING for two hours. */
static struct testdb *videos(int rows, int stuck)
{
	struct testdb *db = must_have_db();

	must_have_table(db, rows);
	settings(db, MAPPING);
	must_sql(db, "UPDATE videos SET analysis_status = 'PROCESSING',"
	             " updated_at = (now() AT TIME ZONE 'UTC') - interval '2 hours' + id * interval '1 second'"
	             " WHERE id <= %d", stuck);
	return db;
}

/* A job of our own table that this worker holds. Returns its id. */
static const char *held_job(struct testdb *db, const char *worker)
{
	return sql_value(db, "INSERT INTO unstuck.jobs (queue, status, claim_id, worker_id, claimed_at, attempts)"
	                     " VALUES ('mail', 'PROCESSING', nextval('unstuck.claim_seq'), '%s', now(), 1) RETURNING id",
	                 worker);
}

#define W1 "11111111-1111-4111-8111-111111111111"
#define W2 "22222222-2222-4222-8222-222222222222"

/* A registered worker that beat last so many seconds ago; seen: somebody saw it silent so many seconds ago, or NULL. */
static void worker(struct testdb *db, const char *id, double silent, double heartbeat, double timeout, const char *seen)
{
	must_sql(db, "INSERT INTO unstuck.workers (worker_id, host, pid, version, state, heartbeat_s, timeout_s, beat_at,"
	             " beat_n, seen_n, seen_at) VALUES ('%s', 'farm', 4711, '1', 'running', %f, %f,"
	             " clock_timestamp() - interval '%f s', 7, %s, clock_timestamp() - interval '%s s')", id, heartbeat,
	         timeout, silent, seen != NULL ? "7" : "NULL", seen != NULL ? seen : "0");
}

/* Everything that anybody could change, row versions included. */
static const char *everything(struct testdb *db)
{
	return sql_value(db, "SELECT md5(string_agg(x, E'\\n' ORDER BY x)) FROM ("
	                     "SELECT v.xmin || v::text FROM videos v UNION ALL "
	                     "SELECT w.xmin || w::text FROM unstuck.workers w UNION ALL "
	                     "SELECT j.xmin || j::text FROM unstuck.jobs j UNION ALL "
	                     "SELECT c.xmin || c::text FROM unstuck.claims c UNION ALL "
	                     "SELECT l.xmin || l::text FROM unstuck.ledger l) AS t(x)");
}

static json_t *report_of(struct proc *p)
{
	json_error_t why;
	json_t *doc = json_loads(proc_out(p), JSON_REJECT_DUPLICATES, &why);

	if (doc == NULL)
		story_fail("not one JSON document: %s\n%s\n%s", why.text, proc_out(p), proc_err(p));
	return doc;
}

static json_int_t number(const json_t *doc, const char *key)
{
	const json_t *v = json_object_get(doc, key);

	if (!json_is_integer(v))
		story_fail("no number %s in the report", key);
	return json_integer_value(v);
}

static const char *text(const json_t *doc, const char *key)
{
	const json_t *v = json_object_get(doc, key);

	if (!json_is_string(v))
		story_fail("no text %s in the report", key);
	return json_string_value(v);
}

static json_t *queue_of(const json_t *doc, size_t i)
{
	return json_array_get(json_object_get(doc, "queues"), i);
}

static json_t *row_of(const json_t *doc, size_t queue, size_t row)
{
	json_t *r = json_array_get(json_object_get(queue_of(doc, queue), "rows"), row);

	if (r == NULL)
		story_fail("no row %zu in queue %zu of the report", row, queue);
	return r;
}

static void must_count(const json_t *doc, const char *key, json_int_t expected)
{
	if (number(doc, key) != expected)
		story_fail("%s is %lld, not %lld", key, (long long)number(doc, key), (long long)expected);
}

#define must_hold(text_, what) (story_at(__FILE__, __LINE__), must_hold_at(text_, what, true))
#define must_lack(text_, what) (story_at(__FILE__, __LINE__), must_hold_at(text_, what, false))
static void must_hold_at(const char *all, const char *what, bool wanted)
{
	if ((strstr(all, what) != NULL) != wanted)
		story_fail("%s \"%s\" in:\n%s", wanted ? "no" : "there is", what, all);
}

static const struct proc_options at_terminal = { .tty = TTY_ALL, .columns = 200 };

#define STATUS(id) "SELECT analysis_status FROM videos WHERE id = " #id
#define PROCESSING "SELECT count(*) FROM videos WHERE analysis_status = 'PROCESSING'"

/* ---- the preview ---- */

START_TEST(a_dry_run_changes_nothing)
{
	struct testdb *db = videos(5, 3);

	worker(db, W1, 100, 1, 5, NULL);
	held_job(db, W1);
	settings(db, MAPPING "[queue mail]\nhandler = /bin/true\n");
	const char *before = everything(db);
	struct proc *p = must_run(0, NULL, "unstuck-recover", "--dry-run");

	must_hold(proc_out(p), "[dry-run] videos (public.videos): 3 processing, 3 stuck");
	must_hold(proc_out(p), "yt-1");
	must_hold(proc_out(p), "worker_suspect");
	must_hold(proc_out(p), "[dry-run] nothing was changed; this does it: unstuck-recover --yes\n");
	must_run(0, NULL, "unstuck-recover", "-n", "--json");
	must_run(0, NULL, "unstuck-recover", "-nv");
	must_run(2, NULL, "unstuck-recover", "--check", "--critical", "3");
	ck_assert_str_eq(everything(db), before);
}
END_TEST

static void must_have_keys(const json_t *object, const char *const *keys)
{
	size_t n = 0;

	for (; keys[n] != NULL; n++)
		if (json_object_get(object, keys[n]) == NULL)
			story_fail("no key %s", keys[n]);
	if (json_object_size(object) != n)
		story_fail("%zu keys, not %zu", json_object_size(object), n);
}

START_TEST(the_json_report_has_the_keys_of_the_manual_and_no_others)
{
	struct testdb *db = videos(5, 2);
	struct proc *p = must_run(0, NULL, "unstuck-recover", "--dry-run", "--json");
	json_t *doc = report_of(p), *queue = queue_of(doc, 0), *row = row_of(doc, 0, 0);

	must_have_keys(doc, WORDS("dry_run", "locked", "checked_at", "stuck", "reset", "failed", "skipped", "queues"));
	must_have_keys(queue, WORDS("queue", "table", "timeout_s", "processing", "stuck", "reset", "failed", "skipped",
	                            "rows"));
	must_have_keys(row, WORDS("id", "since", "age_s", "worker", "reason", "action", "show"));
	ck_assert(json_is_true(json_object_get(doc, "dry_run")));
	ck_assert(json_is_false(json_object_get(doc, "locked")));
	must_count(doc, "stuck", 2);
	ck_assert_str_eq(text(queue, "queue"), "videos");
	ck_assert_str_eq(text(queue, "table"), "public.videos");
	must_count(queue, "timeout_s", 3600);
	must_count(queue, "processing", 2);
	ck_assert_str_eq(text(row, "id"), "1");		/* oldest first */
	ck_assert_str_eq(text(row, "reason"), "timeout");
	ck_assert_str_eq(text(row, "action"), "reset");
	ck_assert_str_eq(text(json_object_get(row, "show"), "source_id"), "yt-1");
	ck_assert(json_is_null(json_object_get(row, "worker")));
	ck_assert_int_ge(number(row, "age_s"), 7190);
	ck_assert_int_le(number(row, "age_s"), 7300);
	ck_assert_str_eq(text(row, "since"),
	                 sql_value(db, "SELECT to_char(updated_at, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM videos WHERE id = 1"));
	must_equal(db, story_text("SELECT abs(extract(epoch FROM now() - '%s'::timestamptz)) < 30", text(doc, "checked_at")),
	           "t");
	json_decref(doc);
}
END_TEST

START_TEST(numbers_of_the_shown_columns_come_through_untouched)
{
	struct testdb *db = must_have_empty_db();

	must_sql(db, "CREATE TABLE t (id int PRIMARY KEY, s text, updated_at timestamptz, big numeric, j json);"
	             "INSERT INTO t VALUES (1, 'run', now() - interval '1 day', 92233720368547758089.10, E'{\"a\":\\n 0.1}')");
	struct proc *p = must_run(0, NULL, "unstuck-recover", "-d", db->url, "--table", "t", "--status-column", "s",
	                          "--processing", "run", "--reset-to", "new", "--show", "big, j", "-n", "--json");

	must_hold(proc_out(p), "92233720368547758089.10");
	must_hold(proc_out(p), "0.1}");
	ck_assert_uint_eq(text_count(proc_out(p), "\n"), 1);	/* one document, one line */
}
END_TEST

START_TEST(people_see_25_rows_and_programs_1000_and_all_are_counted)
{
	videos(1200, 1100);
	struct proc *p = must_run(0, NULL, "unstuck-recover", "-n");

	ck_assert_uint_eq(text_count(proc_out(p), " yt-"), 25);
	must_hold(proc_out(p), "and 1075 more, --json lists 1000");
	p = must_run(0, NULL, "unstuck-recover", "-n", "--json");
	json_t *doc = report_of(p);
	must_count(doc, "stuck", 1100);
	ck_assert_uint_eq(json_array_size(json_object_get(queue_of(doc, 0), "rows")), 1000);
	json_decref(doc);
}
END_TEST

START_TEST(control_characters_of_a_row_never_reach_the_terminal)
{
	struct testdb *db = videos(1, 1);

	must_sql(db, "UPDATE videos SET source_id = E'a\\x1b[31mb\\nc', updated_at = updated_at");
	struct proc *p = must_run(0, NULL, "unstuck-recover", "-n");

	must_lack(proc_out(p), "\x1b");
	must_hold(proc_out(p), "a\\x1b[31mb");
}
END_TEST

START_TEST(a_dry_run_never_repeats_a_password)
{
	struct testdb *db = videos(1, 1);
	const char *url = story_text("%s&password=hunter2", db->url);
	struct proc *p = must_run(0, NULL, "unstuck-recover", "-d", url, "--dry-run", "--timeout=1m", "videos");

	must_lack(proc_out(p), "hunter2");
	must_lack(proc_err(p), "hunter2");
	must_hold(proc_out(p), "unstuck-recover --yes -d \"$DATABASE_URL\" --timeout=1m videos\n");
	p = must_run(0, NULL, "unstuck-recover", "-d", db->url, "-n", "--on-stuck", "mail -s 'it''s stuck' me");
	must_hold(proc_out(p), "--on-stuck 'mail -s '\\''it'\\'''\\''s stuck'\\'' me'\n");
}
END_TEST

/* ---- consent ---- */

START_TEST(what_is_asked_is_what_is_done)
{
	struct testdb *db = videos(6, 4);
	struct proc *p = must_start(&at_terminal, "unstuck-recover");

	must_print(p, "Reset 4 rows? [y/N]");
	must_sql(db, "UPDATE videos SET analysis_status = 'DONE' WHERE id = 1");	/* finished meanwhile */
	must_sql(db, "UPDATE videos SET title = 'touched' WHERE id = 2");		/* still old, but another version */
	must_sql(db, "UPDATE videos SET analysis_status = 'PROCESSING', updated_at = '2001-01-01' WHERE id = 5");
	must_type(p, "y\n");
	must_exit(p, 0, 10000);
	must_hold(proc_out(p), "recovered 2 (2 reset, 0 failed), 2 skipped");
	must_equal(db, STATUS(1), "DONE");
	must_equal(db, STATUS(2), "PROCESSING");
	must_equal(db, STATUS(3), "METADATA_EXTRACTING");
	must_equal(db, STATUS(4), "METADATA_EXTRACTING");
	must_equal(db, STATUS(5), "PROCESSING");	/* was not listed, whatever it looks like now */
	must_equal(db, "SELECT count(*) FROM unstuck.recoveries WHERE reason = 'timeout' AND action = 'reset'", "2");
}
END_TEST

static const struct {
	const char *answer;
	const char *left;	/* PROCESSING afterwards */
} answers[] = {
	{ "n\n", "2" }, { "\n", "2" }, { "yesterday\n", "2" }, { "no y\n", "2" },
	{ "yes\n", "0" }, { " Y \n", "0" },
};

START_TEST(only_y_or_yes_is_consent)
{
	struct testdb *db = videos(3, 2);
	struct proc *p = must_start(&at_terminal, "unstuck-recover");

	must_print(p, "[y/N]");
	must_type(p, answers[_i].answer);
	must_exit(p, 0, 10000);
	must_equal(db, PROCESSING, answers[_i].left);
	if (strcmp(answers[_i].left, "0") != 0)
		must_hold(proc_out(p), "nothing was changed");
}
END_TEST

START_TEST(with_no_terminal_and_no_yes_it_refuses)
{
	struct testdb *db = videos(3, 2);
	struct proc *p = must_run(64, &(struct proc_options){ .input = "y\n" }, "unstuck-recover");

	must_hold(proc_err(p), "--yes");
	must_hold(proc_err(p), "--dry-run");
	must_equal(db, PROCESSING, "2");
	p = must_run(64, NULL, "unstuck-recover", "--json");
	json_t *doc = report_of(p);
	must_count(doc, "stuck", 2);
	must_count(doc, "reset", 0);
	json_decref(doc);
	must_sql(db, "UPDATE videos SET analysis_status = 'DONE'");
	must_run(0, NULL, "unstuck-recover");
}
END_TEST

START_TEST(json_on_a_terminal_keeps_stdout_for_the_document)
{
	struct testdb *db = videos(3, 2);
	struct proc *p = must_start(&(struct proc_options){ .tty = TTY_IN | TTY_ERR }, "unstuck-recover", "--json");

	must_say(p, "[y/N]");
	must_hold(proc_err(p), "yt-1");
	must_type(p, "yes\n");
	must_exit(p, 0, 10000);
	json_t *doc = report_of(p);
	must_count(doc, "reset", 2);
	json_decref(doc);
	must_equal(db, PROCESSING, "0");
}
END_TEST

START_TEST(an_interrupt_at_the_question_changes_nothing)
{
	struct testdb *db = videos(3, 2);
	struct proc *p = must_start(&at_terminal, "unstuck-recover");

	must_print(p, "[y/N]");
	proc_signal(p, SIGINT);
	must_exit(p, 1, 5000);
	must_equal(db, PROCESSING, "2");
}
END_TEST

START_TEST(quiet_says_nothing_when_nothing_is_stuck_and_something_when_it_is)
{
	struct testdb *db = videos(3, 0);
	struct proc *p = must_run(0, NULL, "unstuck-recover", "--yes", "--quiet");

	ck_assert_str_eq(proc_out(p), "");
	ck_assert_str_eq(proc_err(p), "");
	p = must_run(0, NULL, "unstuck-recover", "--yes");
	must_hold(proc_out(p), "nothing is stuck\n");
	must_sql(db, "UPDATE videos SET analysis_status = 'PROCESSING', updated_at = '2001-01-01' WHERE id = 2");
	p = must_run(0, NULL, "unstuck-recover", "--yes", "--quiet");
	must_hold(proc_out(p), "yt-2");
	must_hold(proc_out(p), "recovered 1 (1 reset, 0 failed), 0 skipped");
}
END_TEST

/* ---- options ---- */

static const struct {
	const char *words[12];
	const char *says;
} wrong[] = {
	{ { "--timeout", "soon" }, "--timeout soon" },
	{ { "-t", "-1" }, "--timeout -1" },
	{ { "--every", "0" }, "--every" },
	{ { "--limit", "0" }, "--limit 0" },
	{ { "--batch", "x" }, "--batch x" },
	{ { "--batch", "0" }, "--batch 0" },
	{ { "--max-recoveries", "many" }, "--max-recoveries many" },
	{ { "--max-fraction", "2" }, "--max-fraction 2" },
	{ { "--max-fraction", "some" }, "--max-fraction some" },
	{ { "--warning", "3" }, "--check" },
	{ { "--check", "--every", "1m" }, "--every" },
	{ { "--check", "--json" }, "--json" },
	{ { "--dry-rnu" }, "--dry-run" },
	{ { "--status-column", "s" }, "--table" },
	{ { "--table", "t", "--processing", "a", "--reset-to", "b" }, "--status-column" },
	{ { "--table", "t", "--status-column", "s", "--reset-to", "b" }, "--processing" },
	{ { "--table", "t", "--status-column", "s", "--processing", "a" }, "--reset-to" },
	{ { "--table", "t", "--status-column", "s", "--processing", "a", "--reset-to", "b", "videos" }, "videos" },
	{ { "vidoes" }, "videos" },
	{ { "--on-stuck", "open 'quote", "--yes" }, "quote" },
};

START_TEST(wrong_options_are_refused_by_name)
{
	struct testdb *db = videos(2, 1);
	const char *argv[16] = { "unstuck-recover" };

	for (size_t i = 0; i < 12 && wrong[_i].words[i] != NULL; i++)
		argv[i + 1] = wrong[_i].words[i];
	struct proc *p = proc_must_exit(proc_start(NULL, argv), 64, 10000);

	must_hold(proc_err(p), wrong[_i].says);
	ck_assert_uint_eq(text_count(proc_err(p), "\n"), 1);
	must_equal(db, PROCESSING, "1");
}
END_TEST

START_TEST(limit_acts_on_the_oldest_and_counts_all)
{
	struct testdb *db = videos(10, 5);
	struct proc *p = must_run(0, NULL, "unstuck-recover", "--yes", "--limit", "3", "--batch", "2", "--json");
	json_t *doc = report_of(p);

	must_count(doc, "stuck", 5);
	must_count(doc, "reset", 3);
	must_count(doc, "skipped", 0);
	ck_assert_uint_eq(json_array_size(json_object_get(queue_of(doc, 0), "rows")), 3);
	json_decref(doc);
	must_equal(db, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM videos WHERE analysis_status = 'PROCESSING'", "4 5");
}
END_TEST

START_TEST(a_batch_is_a_transaction)
{
	struct testdb *db = videos(10, 10);

	must_run(0, NULL, "unstuck-recover", "--yes", "--batch", "4");
	must_equal(db, "SELECT string_agg(n::text, ' ' ORDER BY n) FROM (SELECT count(*) AS n FROM videos GROUP BY xmin) t",
	           "2 4 4");
}
END_TEST

/* A trigger makes each row slow: batches of 1000 would hold the first row locked for more than a second. */
START_TEST(a_large_batch_gets_smaller_where_rows_would_be_locked_for_long)
{
	struct testdb *db = videos(800, 800);

	must_sql(db, "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.001); RETURN NEW; END $$;"
	             "CREATE TRIGGER slow BEFORE UPDATE ON videos FOR EACH ROW EXECUTE FUNCTION slow()");
	must_run(0, NULL, "unstuck-recover", "--yes");
	must_equal(db, "SELECT max(n) FROM (SELECT count(*) AS n FROM videos GROUP BY xmin) t", "250");
}
END_TEST

START_TEST(the_age_is_the_flag_else_the_queues_else_the_sections)
{
	struct testdb *db = videos(3, 1);
	const char *tell = "unstuck-recover";
	json_t *doc;

	settings(db, "[recover]\ntimeout = 30m\n" MAPPING);
	doc = report_of(must_run(0, NULL, tell, "-n", "--json"));
	must_count(queue_of(doc, 0), "timeout_s", 3600);
	json_decref(doc);
	doc = report_of(must_run(0, NULL, tell, "-n", "--json", "-t", "3h"));
	must_count(queue_of(doc, 0), "timeout_s", 10800);
	must_count(doc, "stuck", 0);
	json_decref(doc);
	settings(db, "[recover]\ntimeout = 30m\n[queue mail]\nhandler = /bin/true\n");
	doc = report_of(must_run(0, NULL, tell, "-n", "--json"));
	must_count(queue_of(doc, 0), "timeout_s", 1800);
	json_decref(doc);
}
END_TEST

START_TEST(the_brake_refuses_a_mass_reset)
{
	struct testdb *db = videos(30, 30);

	must_sql(db, "UPDATE videos SET updated_at = now() AT TIME ZONE 'UTC' WHERE id > 15");	/* 15 of 30 are stuck */
	struct proc *p = must_run(1, NULL, "unstuck-recover", "--yes", "--max-fraction", "40%", "--json");
	json_t *doc = report_of(p);

	must_hold(proc_err(p), "15 of 30");
	must_count(doc, "stuck", 15);
	must_count(doc, "reset", 0);
	json_decref(doc);
	must_equal(db, PROCESSING, "30");
	must_run(1, NULL, "unstuck-recover", "--dry-run", "--max-fraction", "0.4");
	must_run(0, NULL, "unstuck-recover", "--yes", "--max-fraction", "0.4", "--limit", "12");
	must_equal(db, PROCESSING, "18");	/* 20 or fewer are never braked */
	must_run(0, NULL, "unstuck-recover", "--yes", "--max-fraction", "0");
	must_equal(db, PROCESSING, "15");
}
END_TEST

START_TEST(no_settings_and_no_flags_means_every_queue_of_our_own_table)
{
	struct testdb *db = must_have_db();
	const struct proc_options with_url = { .env = WORDS(story_text("DATABASE_URL=%s", db->url)) };

	must_sql(db, "SELECT unstuck.enqueue('letters')");
	held_job(db, W1);
	json_t *doc = report_of(must_run(0, &with_url, "unstuck-recover", "-n", "--json"));
	ck_assert_uint_eq(json_array_size(json_object_get(doc, "queues")), 2);
	ck_assert_str_eq(text(queue_of(doc, 0), "queue"), "letters");
	ck_assert_str_eq(text(queue_of(doc, 1), "queue"), "mail");
	ck_assert_str_eq(text(queue_of(doc, 1), "table"), "unstuck.jobs");
	ck_assert_str_eq(text(row_of(doc, 1, 0), "reason"), "worker_lost");
	ck_assert_str_eq(text(row_of(doc, 1, 0), "worker"), W1);
	json_decref(doc);
	must_run(0, &with_url, "unstuck-recover", "-n", "mail");
	struct proc *p = must_run(64, &with_url, "unstuck-recover", "-n", "male");
	must_hold(proc_err(p), "male");
}
END_TEST

START_TEST(two_queues_on_the_same_rows_recover_them_once)
{
	struct testdb *db = videos(3, 2);

	settings(db, MAPPING "[queue clips]\ntable = videos\nstatus = analysis_status\nready = METADATA_EXTRACTED\n"
	                     "processing = PROCESSING\ndone = DONE\nfailed = ANALYSIS_FAILED\n"
	                     "reset_to = METADATA_EXTRACTED\nhandler = /bin/true\n");
	json_t *doc = report_of(must_run(0, NULL, "unstuck-recover", "--yes", "--json"));
	must_count(doc, "stuck", 2);
	must_count(doc, "reset", 2);
	must_count(doc, "skipped", 0);
	json_decref(doc);
	must_equal(db, "SELECT count(*) FROM unstuck.recoveries", "2");
	must_sql(db, "UPDATE videos SET analysis_status = 'PROCESSING', updated_at = '2001-01-01' WHERE id = 3");
	must_run(0, NULL, "unstuck-recover", "--yes", "clips");
	must_equal(db, STATUS(3), "METADATA_EXTRACTED");
}
END_TEST

/* ---- proofs of death ---- */

START_TEST(a_row_of_a_living_worker_is_left_alone_however_old)
{
	struct testdb *db = must_have_db();

	settings(db, "[queue mail]\nhandler = /bin/true\n");
	worker(db, W1, 1, 10, 60, NULL);
	const char *id = held_job(db, W1);
	must_sql(db, "UPDATE unstuck.jobs SET claimed_at = now() - interval '3 days', updated_at = now() - interval '3 days'");
	must_run(0, NULL, "unstuck-recover", "--yes");
	must_equal(db, story_text("SELECT status FROM unstuck.jobs WHERE id = %s", id), "PROCESSING");

	json_t *doc = report_of(must_run(0, NULL, "unstuck-recover", "-n", "-v", "--json"));
	must_count(doc, "stuck", 0);
	ck_assert_str_eq(text(row_of(doc, 0, 0), "reason"), "alive");
	ck_assert_str_eq(text(row_of(doc, 0, 0), "action"), "none");
	json_decref(doc);

	doc = report_of(must_run(0, NULL, "unstuck-recover", "--yes", "--ignore-liveness", "--json"));
	must_count(doc, "reset", 1);
	ck_assert_str_eq(text(row_of(doc, 0, 0), "reason"), "forced");
	json_decref(doc);
	must_equal(db, story_text("SELECT status FROM unstuck.jobs WHERE id = %s", id), "PENDING");
}
END_TEST

START_TEST(a_silent_worker_that_nobody_watched_is_watched_first)
{
	struct testdb *db = must_have_db();

	settings(db, "[queue mail]\nhandler = /bin/true\n");
	worker(db, W1, 100, 0.5, 2, NULL);
	held_job(db, W1);
	json_t *doc = report_of(must_run(0, NULL, "unstuck-recover", "-n", "--json"));
	ck_assert_str_eq(text(row_of(doc, 0, 0), "reason"), "worker_suspect");
	json_decref(doc);

	struct proc *p = must_run(0, NULL, "unstuck-recover", "--yes", "--json");
	must_hold(proc_err(p), "watching for 1 s");
	must_hold(proc_err(p), W1 " on farm (pid 4711) silent for 10");
	ck_assert(proc_took(p) >= 1.0);
	doc = report_of(p);
	must_count(doc, "reset", 1);
	ck_assert_str_eq(text(row_of(doc, 0, 0), "reason"), "worker_lost");
	json_decref(doc);
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "0");
	must_equal(db, "SELECT status FROM unstuck.jobs", "PENDING");
}
END_TEST

START_TEST(a_worker_that_was_watched_already_is_declared_at_once)
{
	struct testdb *db = must_have_db();

	settings(db, "[queue mail]\nhandler = /bin/true\n");
	must_become(db, "SELECT now() - pg_postmaster_start_time() > interval '300 ms'", "t", 5000);
	worker(db, W1, 100, 0.1, 60, "50");	/* watched for two of its heartbeats, and the server is up that long */
	held_job(db, W1);
	struct proc *p = must_run(0, NULL, "unstuck-recover", "--yes");

	must_lack(proc_err(p), "watching");
	must_equal(db, "SELECT status FROM unstuck.jobs", "PENDING");
}
END_TEST

START_TEST(a_worker_that_beats_while_it_is_watched_keeps_its_rows)
{
	struct testdb *db = must_have_db();

	settings(db, "[queue mail]\nhandler = /bin/true\n");
	worker(db, W1, 100, 1, 2, NULL);
	worker(db, W2, 100, 1, 2, NULL);
	const char *kept = held_job(db, W1), *lost = held_job(db, W2);
	struct proc *p = must_start(NULL, "unstuck-recover", "--yes");

	must_say(p, "2 workers are silent");
	must_sql(db, "UPDATE unstuck.workers SET beat_at = clock_timestamp(), beat_n = beat_n + 1 WHERE worker_id = '" W1 "'");
	must_exit(p, 0, 10000);
	must_equal(db, story_text("SELECT status FROM unstuck.jobs WHERE id = %s", kept), "PROCESSING");
	must_equal(db, story_text("SELECT status FROM unstuck.jobs WHERE id = %s", lost), "PENDING");
	must_equal(db, "SELECT worker_id FROM unstuck.workers", W1);
}
END_TEST

START_TEST(after_an_outage_of_the_database_nobody_alive_is_reset)
{
	struct testdb *db = must_have_db();

	settings(db, "[queue mail]\nhandler = /bin/true\n");
	/* the watch before the outage counts for nothing: the server was away all the time since */
	worker(db, W1, 300, 1, 2, "200");
	for (int i = 0; i < 5; i++)
		held_job(db, W1);
	server_restart();
	json_t *doc = report_of(must_run(0, NULL, "unstuck-recover", "-n", "--json"));
	ck_assert_str_eq(text(row_of(doc, 0, 0), "reason"), "worker_suspect");
	json_decref(doc);
	struct proc *p = must_start(NULL, "unstuck-recover", "--yes");
	must_say(p, "watching for");
	must_become(db, "SELECT 1", "1", 10000);	/* the test's own connection is new as well */
	must_sql(db, "UPDATE unstuck.workers SET beat_at = clock_timestamp(), beat_n = beat_n + 1");	/* it is back too */
	must_exit(p, 0, 10000);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "5");
	must_equal(db, "SELECT count(*) FROM unstuck.recoveries", "0");
}
END_TEST

START_TEST(a_worker_that_comes_back_at_the_question_keeps_its_rows)
{
	struct testdb *db = must_have_db();

	settings(db, "[queue mail]\nhandler = /bin/true\n");
	worker(db, W1, 100, 0.2, 2, NULL);
	held_job(db, W1);
	struct proc *p = must_start(&at_terminal, "unstuck-recover");

	must_print(p, "[y/N]");
	must_sql(db, "UPDATE unstuck.workers SET beat_at = clock_timestamp(), beat_n = beat_n + 1");
	must_type(p, "y\n");
	must_exit(p, 0, 10000);
	must_hold(proc_out(p), "recovered 0 (0 reset, 0 failed), 1 skipped");
	must_equal(db, "SELECT status FROM unstuck.jobs", "PROCESSING");
}
END_TEST

START_TEST(real_workers_the_killed_one_loses_its_job_and_the_living_one_does_not)
{
	struct testdb *db = must_have_db();
	const char *handler = write_script("long", "#!/bin/sh\nexec sleep 600\n");

	settings(db, story_text("[worker]\nheartbeat = 200ms\nworker_timeout = 1s\nrecover_every = 0\nconcurrency = 1\n"
	                        "[queue mail]\nhandler = %s\n", handler));
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	struct proc *killed = must_start(NULL, "unstuck-worker", "run");
	must_become(db, "SELECT string_agg(status, ' ') FROM unstuck.jobs", "PROCESSING", 10000);
	const char *lost = sql_value(db, "SELECT id FROM unstuck.jobs");
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	must_start(NULL, "unstuck-worker", "run");
	must_become(db, "SELECT string_agg(status, ' ') FROM unstuck.jobs", "PROCESSING PROCESSING", 10000);

	must_run(0, NULL, "unstuck-recover", "--yes");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "2");
	proc_signal(killed, SIGKILL);
	must_become(db, "SELECT count(*) FROM unstuck.workers WHERE beat_at < now() - interval '1 s'", "1", 10000);
	json_t *doc = report_of(must_run(0, NULL, "unstuck-recover", "--yes", "--json"));
	must_count(doc, "reset", 1);
	ck_assert_str_eq(text(row_of(doc, 0, 0), "id"), lost);
	ck_assert_str_eq(text(row_of(doc, 0, 0), "reason"), "worker_lost");
	json_decref(doc);
	must_equal(db, story_text("SELECT status FROM unstuck.jobs WHERE id = %s", lost), "PENDING");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "1");
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "1");
}
END_TEST

/* ---- poison ---- */

START_TEST(a_job_is_reset_three_times_and_then_failed)
{
	struct testdb *db = videos(1, 0);

	for (int i = 1; i <= 4; i++) {
		must_sql(db, "UPDATE videos SET analysis_status = 'PROCESSING', updated_at = '2001-01-01'");
		json_t *doc = report_of(must_run(0, NULL, "unstuck-recover", "--yes", "--json"));
		must_count(doc, "reset", i <= 3);
		must_count(doc, "failed", i == 4);
		ck_assert_str_eq(text(row_of(doc, 0, 0), "action"), i <= 3 ? "reset" : "fail");
		json_decref(doc);
		must_equal(db, STATUS(1), i <= 3 ? "METADATA_EXTRACTING" : "ANALYSIS_FAILED");
	}
	must_equal(db, "SELECT string_agg(action, ' ' ORDER BY id) FROM unstuck.recoveries", "reset reset reset fail");
}
END_TEST

START_TEST(the_poison_limit_of_our_own_table_is_the_flags_number)
{
	struct testdb *db = must_have_db();

	settings(db, "[queue mail]\nhandler = /bin/true\n");
	const char *id = held_job(db, W1);
	must_run(0, NULL, "unstuck-recover", "--yes", "--max-recoveries", "1");
	must_equal(db, "SELECT status FROM unstuck.jobs", "PENDING");
	must_sql(db, "UPDATE unstuck.jobs SET status = 'PROCESSING', worker_id = '" W2 "', claim_id = claim_id + 1");
	struct proc *p = must_run(0, NULL, "unstuck-recover", "--yes", "--max-recoveries", "1");
	must_hold(proc_out(p), "recovered 1 (0 reset, 1 failed), 0 skipped");
	must_equal(db, story_text("SELECT status || ' ' || recoveries FROM unstuck.jobs WHERE id = %s", id), "FAILED 2");
}
END_TEST

/* ---- rows that cannot be had ---- */

START_TEST(a_locked_row_holds_up_nobody)
{
	struct testdb *db = videos(5, 5);
	PGconn *other = testdb_connect(db);

	PQclear(PQexec(other, "BEGIN; SELECT FROM videos WHERE id = 1 FOR UPDATE"));
	struct proc *p = must_run(0, NULL, "unstuck-recover", "--yes", "--batch", "2");
	must_hold(proc_out(p), "recovered 4 (4 reset, 0 failed), 1 skipped");
	PQfinish(other);
	must_equal(db, STATUS(1), "PROCESSING");
	must_equal(db, PROCESSING, "1");
}
END_TEST

/* Jobs that a dead worker held. */
static struct testdb *must_have_dead_jobs(int n)
{
	struct testdb *db = must_have_db();

	settings(db, "[queue mail]\nhandler = /bin/true\n");
	must_sql(db, "INSERT INTO unstuck.jobs (queue, status, worker_id, claimed_at) SELECT 'mail', 'PROCESSING', '" W1 "', now()"
	             " FROM generate_series(1, %d)", n);
	return db;
}

START_TEST(a_locked_job_of_the_own_table_holds_up_nobody)
{
	struct testdb *db = must_have_dead_jobs(5);
	PGconn *other = testdb_connect(db);

	PQclear(PQexec(other, "BEGIN; SELECT FROM unstuck.jobs WHERE id = 2 FOR UPDATE"));
	must_hold(proc_out(must_run(0, NULL, "unstuck-recover", "--yes", "--batch", "4")), "recovered 4 (4 reset, 0 failed), 1 skipped");
	PQfinish(other);
	must_equal(db, "SELECT string_agg(id::text, ' ') FROM unstuck.jobs WHERE status = 'PROCESSING'", "2");
	must_run(0, NULL, "unstuck-recover", "--yes");	/* the mark of a lock that is over */
	must_equal(db, "SELECT string_agg(status, ' ') FROM unstuck.jobs", "PENDING PENDING PENDING PENDING PENDING");
	must_equal(db, "SELECT string_agg(job_id, ' ' ORDER BY id) FROM unstuck.recoveries", "1 3 4 5 2");
}
END_TEST

/* As if the row had been locked between the look at it and the write. */
START_TEST(a_job_that_is_locked_just_then_costs_the_others_nothing)
{
	struct testdb *db = must_have_dead_jobs(5);

	must_sql(db, "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id = 3 AND current_setting('lock_timeout') = '20ms'"
	             " THEN RAISE EXCEPTION 'canceling statement due to lock timeout' USING ERRCODE = '55P03'; END IF; RETURN NEW; END $$;"
	             "CREATE TRIGGER late BEFORE UPDATE ON unstuck.jobs FOR EACH ROW EXECUTE FUNCTION late()");
	must_hold(proc_out(must_run(0, NULL, "unstuck-recover", "--yes")), "recovered 5 (5 reset, 0 failed), 0 skipped");
	must_equal(db, "SELECT count(*) || ' ' || count(DISTINCT job_id) FROM unstuck.recoveries", "5 5");
}
END_TEST

START_TEST(what_was_told_is_still_so_after_a_crash)
{
	struct testdb *db = must_have_dead_jobs(2);

	must_hold(proc_out(must_run(0, NULL, "unstuck-recover", "--yes")), "recovered 2 (2 reset, 0 failed), 0 skipped");
	server_crash();
	server_start();
	must_become(db, "SELECT string_agg(status, ' ') || (SELECT count(*) FROM unstuck.recoveries) FROM unstuck.jobs", "PENDING PENDING2", 10000);
}
END_TEST

START_TEST(a_row_that_cannot_be_reset_is_reported_and_holds_up_nobody)
{
	struct testdb *db = videos(50, 40);

	must_sql(db, "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
	             " IF NEW.id IN (1, 7, 23) THEN RAISE 'row %% is under legal hold', NEW.id; END IF; RETURN NEW; END $$;"
	             "CREATE TRIGGER no BEFORE UPDATE ON videos FOR EACH ROW EXECUTE FUNCTION no()");
	struct proc *p = must_run(1, NULL, "unstuck-recover", "--yes", "--json");
	json_t *doc = report_of(p);

	must_hold(proc_err(p), "row 7 cannot be reset: row 7 is under legal hold");
	must_count(doc, "stuck", 40);
	must_count(doc, "reset", 37);
	must_count(doc, "skipped", 0);
	json_decref(doc);
	must_equal(db, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM videos WHERE analysis_status = 'PROCESSING'", "1 7 23");
	p = must_run(1, NULL, "unstuck-recover", "--yes");
	must_hold(proc_out(p), "3 could not be reset");
}
END_TEST

START_TEST(a_missing_permission_is_one_clear_line)
{
	struct testdb *db = videos(200, 150);

	must_sql(db, "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'looker') THEN"
	             " CREATE ROLE looker LOGIN; END IF; END $$;"
	             "GRANT USAGE ON SCHEMA unstuck TO looker; GRANT SELECT ON ALL TABLES IN SCHEMA unstuck TO looker;"
	             "GRANT SELECT ON videos TO looker; GRANT ALL ON unstuck.workers TO looker");
	const char *url = story_text("%s&user=looker", db->url);
	struct proc *p = must_start(NULL, "unstuck-recover", "-d", url, "--yes");
	int status = wait_exit(p, 20000);

	if (status != 1 && status != 78)
		story_fail("status %d\n%s", status, proc_err(p));
	must_hold(proc_err(p), "permission");
	ck_assert_uint_le(text_count(proc_err(p), "\n"), 12);
	must_equal(db, PROCESSING, "150");
}
END_TEST

START_TEST(a_queue_without_its_table_does_not_hold_up_the_others)
{
	struct testdb *db = videos(3, 2);

	settings(db, "[queue ghosts]\ntable = ghosts\nstatus = s\nready = a\nprocessing = b\ndone = c\nfailed = d\n"
	             "reset_to = a\nhandler = /bin/true\n" MAPPING);
	struct proc *p = must_run(1, NULL, "unstuck-recover", "--yes", "--json");
	json_t *doc = report_of(p);

	must_hold(proc_err(p), "ghosts");
	ck_assert_ptr_nonnull(json_object_get(queue_of(doc, 0), "error"));
	ck_assert_ptr_null(json_object_get(queue_of(doc, 1), "error"));
	must_count(queue_of(doc, 1), "reset", 2);
	json_decref(doc);
	must_equal(db, PROCESSING, "0");
}
END_TEST

START_TEST(errors_end_with_the_status_of_the_manual)
{
	struct testdb *db = must_have_empty_db();
	struct proc *p;

	settings(db, "[queue mail]\nhandler = /bin/true\n");
	p = must_run(78, NULL, "unstuck-recover", "--yes");
	must_hold(proc_err(p), "unstuckctl init");
	p = must_run(3, NULL, "unstuck-recover", "--check");
	must_hold(proc_out(p), "UNSTUCK UNKNOWN - ");
	p = must_run(69, NULL, "unstuck-recover", "-d", "host=/nowhere dbname=x", "--yes");
	ck_assert_uint_eq(text_count(proc_err(p), "\n"), 1);
	must_run(69, NULL, "unstuck-recover", "-d", "host=/nowhere dbname=x", "--every", "1s");
	p = must_run(3, NULL, "unstuck-recover", "-d", "host=/nowhere dbname=x", "--check");
	must_hold(proc_out(p), "UNSTUCK UNKNOWN - ");
	write_filef("unstuck.ini", "[recover]\ntimeot = 1h\n");
	p = must_run(78, NULL, "unstuck-recover", "--yes");
	must_hold(proc_err(p), "timeout");
	must_run(3, NULL, "unstuck-recover", "--check");
	write_filef("unstuck.ini", "[unstuck]\ndatabase_url = %s\n", db->url);
	p = must_run(64, NULL, "unstuck-recover", "--yes");
	must_hold(proc_err(p), "--table");
}
END_TEST

/* ---- any table, nothing installed ---- */

#define ADHOC(db, ...) "unstuck-recover", "-d", (db)->url, __VA_ARGS__

START_TEST(any_table_can_be_recovered_with_nothing_installed)
{
	struct testdb *db = must_have_empty_db();

	must_have_table(db, 4);
	must_sql(db, "UPDATE videos SET analysis_status = 'PROCESSING', updated_at = '2001-01-01' WHERE id IN (1, 2)");
	must_sql(db, "UPDATE videos SET analysis_status = 'PROCESSING' WHERE id = 3");
	struct proc *p = must_run(0, NULL, ADHOC(db, "--table", "public.videos", "--status-column", "analysis_status",
	                                         "--processing", "PROCESSING", "--reset-to", "METADATA_EXTRACTING",
	                                         "--show", "source_id,title", "--yes", "--json"));
	json_t *doc = report_of(p);

	must_hold(proc_err(p), "age alone decides");
	must_count(doc, "reset", 2);
	ck_assert_str_eq(text(row_of(doc, 0, 0), "reason"), "timeout");
	ck_assert_str_eq(text(json_object_get(row_of(doc, 0, 0), "show"), "title"), "Video 1");
	json_decref(doc);
	must_equal(db, STATUS(1), "METADATA_EXTRACTING");
	must_equal(db, STATUS(3), "PROCESSING");
	must_equal(db, "SELECT (now() AT TIME ZONE 'UTC') - updated_at < interval '1 minute' FROM videos WHERE id = 1", "t");
	must_equal(db, "SELECT count(*) FROM pg_namespace WHERE nspname = 'unstuck'", "0");
}
END_TEST

static const struct {
	const char *type, *key;
} keys[] = {
	{ "uuid", "0b5e7e0a-3d0a-4c56-9f3b-3a3a5b1f7a11" },
	{ "text", "it's \"odd\", {isn't} \\ it?" },
	{ "numeric", "12345678901234567890.5" },
	{ "timestamptz", "2020-02-02 02:02:02+00" },
};

START_TEST(odd_identifiers_and_any_key_work)
{
	struct testdb *db = must_have_empty_db();

	must_sql(db, "CREATE SCHEMA \"My Shop\"; CREATE TABLE \"My Shop\".\"Order\" (\"Order Nr\" %s PRIMARY KEY,"
	             " \"group\" text, \"Last \"\"Touched\"\"\" timestamptz, \"a,b\" int);"
	             "INSERT INTO \"My Shop\".\"Order\" VALUES ($q$%s$q$, 'in work', '2001-01-01', 5)", keys[_i].type,
	         keys[_i].key);
	struct proc *p = must_run(0, NULL, ADHOC(db, "--table", "\"My Shop\".\"Order\"", "--id-column", "\"Order Nr\"",
	                                         "--status-column", "group", "--processing", "in work", "--reset-to", "it's new",
	                                         "--updated-column", "\"Last \"\"Touched\"\"\"", "--show", "\"a,b\"",
	                                         "--yes", "--json"));
	json_t *doc = report_of(p);

	must_count(doc, "reset", 1);
	ck_assert_str_eq(text(row_of(doc, 0, 0), "id"), keys[_i].key);
	must_count(json_object_get(row_of(doc, 0, 0), "show"), "a,b", 5);
	json_decref(doc);
	must_equal(db, "SELECT \"group\" FROM \"My Shop\".\"Order\"", "it's new");
}
END_TEST

static const char *const zones[] = { "UTC", "Asia/Tokyo", "America/New_York" };

/* The table is the application's, in the zone of Berlin; the session's zone is anything. */
START_TEST(a_timestamp_without_time_zone_is_read_in_the_applications_zone)
{
	struct testdb *db = must_have_empty_db();
	const struct proc_options in_zone = { .env = WORDS(story_text("PGTZ=%s", zones[_i])) };

	must_sql(db, "ALTER DATABASE %s SET TimeZone = '%s'", db->name, zones[_i]);
	must_sql(db, "CREATE TABLE t (id int PRIMARY KEY, s text, updated_at timestamp);"
	             "INSERT INTO t VALUES (1, 'run', now() AT TIME ZONE 'Europe/Berlin'),"
	             " (2, 'run', (now() - interval '50 minutes') AT TIME ZONE 'Europe/Berlin'),"
	             " (3, 'run', (now() - interval '70 minutes') AT TIME ZONE 'Europe/Berlin')");
	json_t *doc = report_of(must_run(0, &in_zone, ADHOC(db, "--table", "t", "--status-column", "s", "--processing", "run",
	                                                   "--reset-to", "new", "--timezone", "Europe/Berlin", "--yes",
	                                                   "--json")));
	must_count(doc, "reset", 1);
	ck_assert_str_eq(text(row_of(doc, 0, 0), "id"), "3");
	ck_assert_int_ge(number(row_of(doc, 0, 0), "age_s"), 4190);
	ck_assert_int_le(number(row_of(doc, 0, 0), "age_s"), 4300);
	json_decref(doc);
	must_equal(db, "SELECT s || ' ' || (abs(extract(epoch FROM (now() AT TIME ZONE 'Europe/Berlin') - updated_at)) < 60)"
	               " FROM t WHERE id = 3", "new true");
}
END_TEST

START_TEST(an_assumed_zone_is_told_when_it_matters)
{
	struct testdb *db = must_have_empty_db();

	must_sql(db, "CREATE TABLE t (id int PRIMARY KEY, s text, updated_at timestamp);"
	             "INSERT INTO t VALUES (1, 'run', now() AT TIME ZONE 'UTC')");
	struct proc *p = must_run(0, NULL, ADHOC(db, "--table", "t", "--status-column", "s", "--processing", "run",
	                                         "--reset-to", "new", "-n"));
	must_lack(proc_err(p), "time zone");
	must_sql(db, "UPDATE t SET updated_at = now() AT TIME ZONE 'Asia/Tokyo'");	/* nine hours ahead */
	p = must_run(0, NULL, ADHOC(db, "--table", "t", "--status-column", "s", "--processing", "run", "--reset-to", "new",
	                            "-n"));
	must_hold(proc_err(p), "read as UTC");
	must_hold(proc_err(p), "--timezone");
}
END_TEST

START_TEST(a_table_without_a_time_needs_one)
{
	struct testdb *db = must_have_empty_db();

	must_sql(db, "CREATE TABLE t (id int PRIMARY KEY, s text, touched timestamptz);"
	             "INSERT INTO t VALUES (1, 'run', '2001-01-01'), (2, 'run', NULL)");
	struct proc *p = must_run(78, NULL, ADHOC(db, "--table", "t", "--status-column", "s", "--processing", "run",
	                                          "--reset-to", "new", "--yes"));
	must_hold(proc_err(p), "--updated-column");
	p = must_run(0, NULL, ADHOC(db, "--table", "t", "--status-column", "s", "--processing", "run", "--reset-to", "new",
	                            "--updated-column", "touched", "--yes"));
	must_hold(proc_out(p), "recovered 1 (1 reset, 0 failed), 0 skipped");
	must_hold(proc_err(p), "1 PROCESSING row is known to no worker and without a time in touched");
	must_equal(db, "SELECT string_agg(s, ' ' ORDER BY id) FROM t", "new run");
	must_run(78, NULL, ADHOC(db, "--table", "nothing", "--status-column", "s", "--processing", "run", "--reset-to", "new"));
	p = must_run(78, NULL, ADHOC(db, "--table", "t", "--status-column", "state", "--processing", "run", "--reset-to", "new"));
	must_hold(proc_err(p), "state");
}
END_TEST

START_TEST(with_the_schema_flags_use_the_ledger_and_the_limit_too)
{
	struct testdb *db = videos(1, 1);

	for (int i = 0; i < 2; i++) {
		must_sql(db, "UPDATE videos SET analysis_status = 'PROCESSING', updated_at = '2001-01-01'");
		must_run(0, NULL, ADHOC(db, "--table", "videos", "--status-column", "analysis_status", "--processing",
		                        "PROCESSING", "--reset-to", "AGAIN", "--failed", "BROKEN", "--max-recoveries", "1",
		                        "--yes"));
	}
	must_equal(db, STATUS(1), "BROKEN");
	must_equal(db, "SELECT string_agg(source || ' ' || action, ', ' ORDER BY id) FROM unstuck.recoveries",
	           "public.videos reset, public.videos fail");
}
END_TEST

/* ---- several at once, again and again ---- */

START_TEST(two_runs_never_overlap)
{
	struct testdb *db = videos(3, 2);
	struct proc *first = must_start(&at_terminal, "unstuck-recover");

	must_print(first, "[y/N]");
	struct proc *second = must_run(0, NULL, "unstuck-recover", "--yes", "--json");
	json_t *doc = report_of(second);
	ck_assert(json_is_true(json_object_get(doc, "locked")));
	must_count(doc, "reset", 0);
	json_decref(doc);
	second = must_run(0, NULL, "unstuck-recover", "--yes");
	must_hold(proc_out(second), "another recover is running in this database");
	must_run(0, NULL, "unstuck-recover", "--dry-run");	/* looking needs no lock */
	must_equal(db, PROCESSING, "2");
	must_type(first, "y\n");
	must_exit(first, 0, 10000);
	must_equal(db, PROCESSING, "0");
}
END_TEST

START_TEST(many_at_once_reset_each_row_once)
{
	struct testdb *db = videos(300, 300);
	struct proc *p[8];

	for (size_t i = 0; i < 8; i++)
		p[i] = must_start(NULL, "unstuck-recover", "--yes", "--batch", "10");
	for (size_t i = 0; i < 8; i++)
		must_exit(p[i], 0, 20000);
	must_equal(db, PROCESSING, "0");
	must_equal(db, "SELECT count(*) || ' ' || count(DISTINCT job_id) FROM unstuck.recoveries", "300 300");
}
END_TEST

START_TEST(scheduled_it_stays_and_term_ends_it)
{
	struct testdb *db = videos(4, 1);
	struct proc *p = must_start(NULL, "unstuck-recover", "--every", "200ms");

	must_become(db, PROCESSING, "0", 10000);
	must_say(p, "event=recovered queue=videos stuck=1 reset=1 failed=0 skipped=0");
	must_sql(db, "UPDATE videos SET analysis_status = 'PROCESSING', updated_at = '2001-01-01' WHERE id = 2");
	must_become(db, PROCESSING, "0", 10000);
	must_happen(text_count(proc_err(p), "event=recovered") == 2, 5000);
	ck_assert_str_eq(proc_out(p), "");
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 5000);
	must_hold(proc_err(p), "event=shutdown");

	p = must_start(NULL, "unstuck-recover", "--every", "1h");
	must_say(p, "event=started");
	must_become(db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
	                " AND application_name = 'unstuck-recover'", "0", 5000);
	uint64_t until = story_until(2000);
	proc_signal(p, SIGTERM);	/* idle: at once */
	while (proc_running(p))
		if (!story_wait(until))
			story_fail("still sleeping");
	must_exit(p, 0, 100);
}
END_TEST

/* With no settings the queues are those that have something open; a long history is not read for that. */
START_TEST(the_queues_of_the_own_table_are_found_by_its_indexes)
{
	struct testdb *db = must_have_db();
	const char *scans = "SELECT seq_scan FROM pg_stat_user_tables WHERE relid = 'unstuck.jobs'::regclass", *before;

	must_sql(db, "INSERT INTO unstuck.jobs (queue, status) SELECT 'old', 'COMPLETED' FROM generate_series(1, 20000);"
	             "INSERT INTO unstuck.jobs (queue, status, batch) VALUES ('waits', 'PENDING', NULL), ('runs', 'PROCESSING', NULL), ('batched', 'PROCESSING', 1);"
	             "INSERT INTO unstuck.batches SELECT 'batched', gen_random_uuid(), 1, ARRAY[max(id)] FROM unstuck.jobs; ANALYZE unstuck.jobs");
	before = sql_value(db, "%s", scans);
	struct proc *p = must_run(0, NULL, "unstuck-recover", "-d", db->url, "-n");
	must_hold(proc_out(p), "batched");
	must_hold(proc_out(p), "runs");
	must_hold(proc_out(p), "waits");
	must_lack(proc_out(p), "old");
	must_sql(db, "SELECT pg_stat_clear_snapshot()");
	must_equal(db, scans, before);
}
END_TEST

START_TEST(scheduled_it_survives_an_outage)
{
	struct testdb *db = videos(4, 1);
	struct proc *p = must_start(NULL, "unstuck-recover", "--every", "200ms");

	must_say(p, "event=recovered");
	server_crash();
	must_say(p, "event=db_lost");
	server_start();
	must_become(db, "SELECT 1", "1", 10000);	/* the test's own connection is new as well */
	must_sql(db, "UPDATE videos SET analysis_status = 'PROCESSING', updated_at = '2001-01-01' WHERE id = 2");
	must_become(db, PROCESSING, "0", 20000);
	must_say(p, "event=db_back");			/* told at the end of the round that has reset the row */
	ck_assert_uint_eq(text_count(proc_err(p), "event=db_lost"), 1);
	proc_signal(p, SIGINT);
	must_exit(p, 0, 5000);
}
END_TEST

START_TEST(a_signal_stops_between_batches_and_the_report_says_how_far)
{
	struct testdb *db = videos(400, 400);

	must_sql(db, "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02);"
	             " RETURN NEW; END $$; CREATE TRIGGER slow BEFORE UPDATE ON videos FOR EACH ROW EXECUTE FUNCTION slow()");
	struct proc *p = must_start(NULL, "unstuck-recover", "--yes", "--batch", "5", "--json");

	must_become(db, "SELECT count(*) >= 10 FROM unstuck.recoveries", "t", 10000);
	proc_signal(p, SIGTERM);
	must_exit(p, 1, 3000);
	json_t *doc = report_of(p);
	must_equal(db, "SELECT count(*) FROM unstuck.recoveries", story_text("%lld", (long long)number(doc, "reset")));
	must_equal(db, PROCESSING, story_text("%lld", 400 - (long long)number(doc, "reset")));
	ck_assert_int_lt(number(doc, "reset"), 400);
	json_decref(doc);
}
END_TEST

START_TEST(a_signal_ends_the_watch)
{
	struct testdb *db = must_have_db();

	settings(db, "[queue mail]\nhandler = /bin/true\n");
	worker(db, W1, 1000, 100, 300, NULL);
	held_job(db, W1);
	struct proc *p = must_start(NULL, "unstuck-recover", "--yes");

	must_say(p, "watching for 200 s");
	proc_signal(p, SIGINT);
	must_exit(p, 1, 3000);
	must_equal(db, "SELECT status FROM unstuck.jobs", "PROCESSING");
}
END_TEST

/* ---- monitoring ---- */

static const struct {
	const char *warning, *critical;
	int status;
	const char *line;
} checks[] = {
	{ NULL, NULL, 1, "UNSTUCK WARNING - 3 stuck, 4 processing | stuck=3;1;10;0 processing=4;;;0\n" },
	{ "4", NULL, 0, "UNSTUCK OK - 3 stuck, 4 processing | stuck=3;4;10;0 processing=4;;;0\n" },
	{ "3", "5", 1, "UNSTUCK WARNING - 3 stuck, 4 processing | stuck=3;3;5;0 processing=4;;;0\n" },
	{ NULL, "3", 2, "UNSTUCK CRITICAL - 3 stuck, 4 processing | stuck=3;1;3;0 processing=4;;;0\n" },
};

START_TEST(check_is_one_nagios_line)
{
	struct testdb *db = videos(5, 3);
	const char *argv[8] = { "unstuck-recover", "--check" };
	size_t n = 2;

	must_sql(db, "UPDATE videos SET analysis_status = 'PROCESSING' WHERE id = 5");
	if (checks[_i].warning != NULL)
		argv[n++] = "--warning", argv[n++] = checks[_i].warning;
	if (checks[_i].critical != NULL)
		argv[n++] = "--critical", argv[n++] = checks[_i].critical;
	struct proc *p = proc_must_exit(proc_start(NULL, argv), checks[_i].status, 10000);

	ck_assert_str_eq(proc_out(p), checks[_i].line);
	must_equal(db, PROCESSING, "4");
}
END_TEST

START_TEST(check_counts_suspects_and_names_them)
{
	struct testdb *db = must_have_db();

	settings(db, "[queue mail]\nhandler = /bin/true\n");
	worker(db, W1, 100, 10, 60, NULL);
	held_job(db, W1);
	struct proc *p = must_run(1, NULL, "unstuck-recover", "--check");

	must_hold(proc_out(p), "UNSTUCK WARNING - 1 stuck, 1 processing, 1 of them only suspected");
	must_sql(db, "DELETE FROM unstuck.workers");
	p = must_run(1, NULL, "unstuck-recover", "--check");
	must_hold(proc_out(p), "UNSTUCK WARNING - 1 stuck");
	settings(db, "[queue ghosts]\ntable = ghosts\nstatus = s\nready = a\nprocessing = b\ndone = c\nfailed = d\n"
	             "reset_to = a\nhandler = /bin/true\n");
	p = must_run(3, NULL, "unstuck-recover", "--check");
	must_hold(proc_out(p), "UNSTUCK UNKNOWN - queue ghosts");
}
END_TEST

START_TEST(on_stuck_gets_the_report_after_the_reset)
{
	struct testdb *db = videos(3, 2);
	const char *script = write_script("alert", "#!/bin/sh\ncat >got.new && mv got.new got\necho noise\n");
	struct proc *p;

	must_run(0, NULL, "unstuck-recover", "--dry-run", "--on-stuck", script);
	ck_assert(!file_exists("got"));
	p = must_run(0, NULL, "unstuck-recover", "--yes", "--json", "--on-stuck", script);
	json_t *doc = json_loads(read_file("got"), 0, NULL);
	must_count(doc, "reset", 2);
	json_decref(doc);
	json_decref(report_of(p));		/* what the command prints is not in it */
	must_hold(proc_err(p), "noise");
	must_equal(db, PROCESSING, "0");

	must_sql(db, "UPDATE videos SET analysis_status = 'PROCESSING', updated_at = '2001-01-01' WHERE id = 2");
	p = must_run(0, NULL, "unstuck-recover", "--yes", "--on-stuck", "/bin/false --really");
	must_hold(proc_err(p), "warning: on_stuck: /bin/false ended with status 1");
	must_equal(db, PROCESSING, "0");
	settings(db, story_text("[recover]\non_stuck = %s\n" MAPPING, script));
	must_run(0, NULL, "unstuck-recover", "--yes");		/* nothing stuck: not run */
	must_sql(db, "UPDATE videos SET analysis_status = 'PROCESSING', updated_at = '2001-01-01' WHERE id = 2");
	must_run(0, NULL, "unstuck-recover", "--yes");
	doc = json_loads(read_file("got"), 0, NULL);
	must_count(doc, "reset", 1);
	json_decref(doc);
}
END_TEST

START_TEST(a_hanging_on_stuck_command_goes_with_the_program)
{
	videos(2, 1);
	const char *script = write_script("hang", "#!/bin/sh\necho up >up\nsleep 1000 & wait\n");
	struct proc *p = must_start(NULL, "unstuck-recover", "--yes", "--on-stuck", script);

	must_happen(file_exists("up"), 10000);
	proc_signal(p, SIGTERM);
	wait_exit(p, 5000);
	must_hold(proc_err(p), "was killed");
	must_happen(procs_alive() == 0, 5000);
}
END_TEST

/* ---- the terminal ---- */

START_TEST(many_rows_get_a_progress_bar_on_a_terminal_only)
{
	struct testdb *db = videos(1300, 600);
	struct proc *p = must_run(0, &at_terminal, "unstuck-recover", "--yes", "--batch", "50");

	must_hold(proc_out(p), "] 600 of 600");
	must_sql(db, "UPDATE videos SET analysis_status = 'PROCESSING', updated_at = '2001-01-01'");
	p = must_run(0, NULL, "unstuck-recover", "--yes", "--batch", "50");
	must_lack(proc_err(p), "1300 of 1300");
	must_lack(proc_out(p), "1300 of 1300");
}
END_TEST

START_TEST(no_color_is_honoured)
{
	struct testdb *db = videos(1, 1);
	const struct proc_options plain = { .tty = TTY_ALL, .columns = 200, .env = WORDS("NO_COLOR=1", "TERM=xterm") };
	const struct proc_options colour = { .tty = TTY_ALL, .columns = 200, .env = WORDS("NO_COLOR", "TERM=xterm") };

	(void)db;
	struct proc *p = must_run(0, &colour, "unstuck-recover", "-n", "--max-recoveries", "0");
	must_hold(proc_out(p), "\x1b[");
	p = must_run(0, &plain, "unstuck-recover", "-n", "--max-recoveries", "0");
	must_lack(proc_out(p), "\x1b[");
}
END_TEST

#define ADD(test) tcase_add_test(tc, test)
#define ADD_EACH(test, table) tcase_add_loop_test(tc, test, 0, (int)(sizeof(table) / sizeof *(table)))

START_TEST(without_a_failed_status_nothing_is_given_up)
{
	struct testdb *db = must_have_db();

	must_sql(db, "CREATE TYPE st AS ENUM ('READY', 'PROCESSING'); CREATE TABLE plain (id int PRIMARY KEY, status st, updated_at timestamptz);"
	             "INSERT INTO plain VALUES (1, 'READY')");
	for (int i = 0; i < 5; i++) {
		must_sql(db, "UPDATE plain SET status = 'PROCESSING', updated_at = now() - interval '2 hours'");
		must_run(0, NULL, "unstuck-recover", "-d", db->url, "--yes", "--table", "plain", "--status-column", "status",
		         "--processing", "PROCESSING", "--reset-to", "READY");
		must_equal(db, "SELECT status FROM plain", "READY");
	}
	must_equal(db, "SELECT count(*) || min(action) || max(action) FROM unstuck.recoveries", "5resetreset");
}
END_TEST

START_TEST(a_large_table_without_an_index_is_named)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "CREATE TABLE big (id bigserial PRIMARY KEY, status text, updated_at timestamptz, filler text);"
	             "INSERT INTO big (status, updated_at, filler) SELECT 'DONE', now(), repeat('x', 500) FROM generate_series(1, 20000);"
	             "ANALYZE big");
	p = must_run(0, NULL, "unstuck-recover", "-d", db->url, "--dry-run", "--table", "big", "--status-column", "status",
	             "--processing", "PROCESSING", "--reset-to", "READY");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "CREATE INDEX CONCURRENTLY ON public.big (\"updated_at\")"
	                                          " WHERE \"status\" = 'PROCESSING'"));
	must_sql(db, "CREATE INDEX ON public.big (\"updated_at\") WHERE \"status\" = 'PROCESSING'");
	p = must_run(0, NULL, "unstuck-recover", "-d", db->url, "--dry-run", "--table", "big", "--status-column", "status",
	             "--processing", "PROCESSING", "--reset-to", "READY");
	ck_assert_ptr_null(strstr(proc_err(p), "CREATE INDEX"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("recover");
	TCase *tc = story_case(s, "preview");

	ADD(a_large_table_without_an_index_is_named);
	ADD(without_a_failed_status_nothing_is_given_up);
	ADD(a_dry_run_changes_nothing);
	ADD(the_json_report_has_the_keys_of_the_manual_and_no_others);
	ADD(numbers_of_the_shown_columns_come_through_untouched);
	ADD(people_see_25_rows_and_programs_1000_and_all_are_counted);
	ADD(control_characters_of_a_row_never_reach_the_terminal);
	ADD(a_dry_run_never_repeats_a_password);

	tc = story_case(s, "consent");
	ADD(what_is_asked_is_what_is_done);
	ADD_EACH(only_y_or_yes_is_consent, answers);
	ADD(with_no_terminal_and_no_yes_it_refuses);
	ADD(json_on_a_terminal_keeps_stdout_for_the_document);
	ADD(an_interrupt_at_the_question_changes_nothing);
	ADD(quiet_says_nothing_when_nothing_is_stuck_and_something_when_it_is);

	tc = story_case(s, "options");
	ADD_EACH(wrong_options_are_refused_by_name, wrong);
	ADD(limit_acts_on_the_oldest_and_counts_all);
	ADD(a_batch_is_a_transaction);
	ADD(the_queues_of_the_own_table_are_found_by_its_indexes);
	ADD(a_large_batch_gets_smaller_where_rows_would_be_locked_for_long);
	ADD(the_age_is_the_flag_else_the_queues_else_the_sections);
	ADD(the_brake_refuses_a_mass_reset);
	ADD(no_settings_and_no_flags_means_every_queue_of_our_own_table);
	ADD(two_queues_on_the_same_rows_recover_them_once);

	tc = story_case(s, "death");
	ADD(a_row_of_a_living_worker_is_left_alone_however_old);
	ADD(a_silent_worker_that_nobody_watched_is_watched_first);
	ADD(a_worker_that_was_watched_already_is_declared_at_once);
	ADD(a_worker_that_beats_while_it_is_watched_keeps_its_rows);
	ADD(after_an_outage_of_the_database_nobody_alive_is_reset);
	ADD(a_worker_that_comes_back_at_the_question_keeps_its_rows);
	ADD(real_workers_the_killed_one_loses_its_job_and_the_living_one_does_not);
	ADD(a_job_is_reset_three_times_and_then_failed);
	ADD(the_poison_limit_of_our_own_table_is_the_flags_number);

	tc = story_case(s, "trouble");
	ADD(a_locked_row_holds_up_nobody);
	ADD(a_locked_job_of_the_own_table_holds_up_nobody);
	ADD(a_job_that_is_locked_just_then_costs_the_others_nothing);
	ADD(what_was_told_is_still_so_after_a_crash);
	ADD(a_row_that_cannot_be_reset_is_reported_and_holds_up_nobody);
	ADD(a_missing_permission_is_one_clear_line);
	ADD(a_queue_without_its_table_does_not_hold_up_the_others);
	ADD(errors_end_with_the_status_of_the_manual);

	tc = story_case(s, "adhoc");
	ADD(any_table_can_be_recovered_with_nothing_installed);
	ADD_EACH(odd_identifiers_and_any_key_work, keys);
	ADD_EACH(a_timestamp_without_time_zone_is_read_in_the_applications_zone, zones);
	ADD(an_assumed_zone_is_told_when_it_matters);
	ADD(a_table_without_a_time_needs_one);
	ADD(with_the_schema_flags_use_the_ledger_and_the_limit_too);

	tc = story_case(s, "schedule");
	ADD(two_runs_never_overlap);
	ADD(many_at_once_reset_each_row_once);
	ADD(scheduled_it_stays_and_term_ends_it);
	ADD(scheduled_it_survives_an_outage);
	ADD(a_signal_stops_between_batches_and_the_report_says_how_far);
	ADD(a_signal_ends_the_watch);

	tc = story_case(s, "monitoring");
	ADD_EACH(check_is_one_nagios_line, checks);
	ADD(check_counts_suspects_and_names_them);
	ADD(on_stuck_gets_the_report_after_the_reset);
	ADD(a_hanging_on_stuck_command_goes_with_the_program);
	ADD(many_rows_get_a_progress_bar_on_a_terminal_only);
	ADD(no_color_is_honoured);

	return check_main(s);
}
