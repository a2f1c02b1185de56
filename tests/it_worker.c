/*
 * it_worker.c - the worker's promises: what runs, what is stored, and what an
 * operator relies on. Stopping is in it_stop.c, faults are in it_fault.c.
 */
#include "story.h"

#include <stdio.h>

#include "worker_story.h"

/* ---- running ---- */

START_TEST(a_drain_runs_every_job_and_ends)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail', jsonb_build_object('n', g)) FROM generate_series(1, 40) g");
	settings(db, "[queue mail]\nhandler = %s\n", script("echo", "cat"));
	must_run(0, NULL, "unstuck-worker", "run", "--drain");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED' AND result = payload"
	               " AND attempts = 1 AND failures = 0 AND finished_at IS NOT NULL AND last_error IS NULL", "40");
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "0");
	must_equal(db, "SELECT count(DISTINCT claim_id) FROM unstuck.jobs", "40");
}
END_TEST

START_TEST(a_result_passes_through_untouched)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail', '{\"big\": 123456789012345678901234567890, \"f\": 0.10}')");
	settings(db, "[queue mail]\nhandler = %s\n", script("echo", "cat"));
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT result::text FROM unstuck.jobs", "{\"f\": 0.10, \"big\": 123456789012345678901234567890}");
}
END_TEST

START_TEST(empty_output_is_null_and_text_output_is_a_string)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('a'), unstuck.enqueue('b')");
	settings(db, "[queue a]\nhandler = true\n[queue b]\noutput = text\nhandler = %s\n",
	         script("talk", "printf 'he said \"x\"\\nand left\\n'"));
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT result::text FROM unstuck.jobs WHERE queue = 'a'", "null");
	must_equal(db, "SELECT result::text FROM unstuck.jobs WHERE queue = 'b'", "\"he said \\\"x\\\"\\nand left\"");
}
END_TEST

START_TEST(a_handler_gets_a_clean_environment)
{
	struct testdb *db = must_have_db();
	const char *url = story_text("DATABASE_URL=%s", db->url);
	const char *const env[] = { url, "SECRET=1", "API_KEY=k", "PGPASSWORD=geheim", NULL };
	struct proc_options with = { .env = env };
	const char *got;

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	write_filef("unstuck.ini", "[queue mail]\nenv = API_KEY\nhandler = %s\n",
	            script("env", "env | sort > env.txt; ls /proc/self/fd | wc -l > fds.txt"));
	must_run(0, &with, "unstuck-worker", "--drain");
	got = read_file("env.txt");
	ck_assert_ptr_nonnull(strstr(got, "API_KEY=k\n"));
	ck_assert_ptr_nonnull(strstr(got, "UNSTUCK_ATTEMPT=1\n"));
	ck_assert_ptr_nonnull(strstr(got, "UNSTUCK_IDEMPOTENCY_KEY=mail:1\n"));
	ck_assert_ptr_nonnull(strstr(got, "UNSTUCK_JOB_ID=1\n"));
	ck_assert_ptr_nonnull(strstr(got, "UNSTUCK_QUEUE=mail\n"));
	ck_assert_ptr_nonnull(strstr(got, "UNSTUCK_CLAIM_ID="));
	ck_assert_ptr_nonnull(strstr(got, "UNSTUCK_DEADLINE=20"));
	ck_assert_ptr_null(strstr(got, "SECRET"));
	ck_assert_ptr_null(strstr(got, "PGPASSWORD"));
	ck_assert_ptr_null(strstr(got, "DATABASE_URL"));
}
END_TEST

START_TEST(smaller_priority_first_then_older_and_not_before_its_time)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail', '{\"n\":3}', priority => 5),"
	             " unstuck.enqueue('mail', '{\"n\":1}', priority => -1), unstuck.enqueue('mail', '{\"n\":2}'),"
	             " unstuck.enqueue('mail', '{\"n\":9}', run_at => now() + interval '1 hour')");
	settings(db, "[queue mail]\nconcurrency = 1\nhandler = %s\n", script("log", "cat >> order.txt; echo >> order.txt"));
	must_run(0, NULL, "unstuck-worker", "--drain");
	ck_assert_str_eq(read_file("order.txt"), "{\"n\": 1}\n{\"n\": 2}\n{\"n\": 3}\n");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PENDING'", "1");
}
END_TEST

START_TEST(no_more_handlers_run_than_the_limits_say)
{
	struct testdb *db = must_have_db();
	int most = 0, all, a;

	must_sql(db, "SELECT unstuck.enqueue('a') FROM generate_series(1, 12)");
	must_sql(db, "SELECT unstuck.enqueue('b') FROM generate_series(1, 12)");
	const char *count = script("count", "mkdir run.$UNSTUCK_QUEUE.$$; echo $(ls -d run.* | wc -l) $(ls -d run.a.* 2>/dev/null | wc -l)"
	                                    " >> seen.txt; sleep 0.05; rmdir run.$UNSTUCK_QUEUE.$$");
	settings(db, "[worker]\nconcurrency = 3\n[queue a]\nconcurrency = 2\nhandler = %s\n[queue b]\nhandler = %s\n", count, count);
	must_run(0, NULL, "unstuck-worker", "--drain");
	for (const char *line = read_file("seen.txt"); sscanf(line, "%d %d", &all, &a) == 2; line = strchr(line, '\n') + 1) {
		ck_assert_int_le(all, 3);
		ck_assert_int_le(a, 2);
		most = all > most ? all : most;
	}
	ck_assert_int_eq(most, 3);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'", "24");
}
END_TEST

START_TEST(max_jobs_ends_the_worker_after_so_many)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 10)");
	settings(db, "[queue mail]\nhandler = true\n");
	p = must_run(0, NULL, "unstuck-worker", "--max-jobs", "7");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "reason=max_jobs"));
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'", "7");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PENDING'", "3");
}
END_TEST

START_TEST(an_enqueue_wakes_an_idle_worker)
{
	struct testdb *db = must_have_db();

	settings(db, "[worker]\npoll_interval = 1h\n[queue mail]\nhandler = true\n");
	must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT count(*) FROM unstuck.workers", "1", 5000);
	must_become(db, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'unstuck-worker'"
	                " AND state = 'idle' AND query NOT LIKE '%%listen%%'", "1", 5000);
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	must_become(db, "SELECT status FROM unstuck.jobs", "COMPLETED", 3000);
}
END_TEST

/* ---- failing ---- */

START_TEST(a_failed_job_is_retried_until_its_budget_is_spent)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail', max_attempts => 3)");
	settings(db, "[worker]\npoll_interval = 50ms\n[queue mail]\nbackoff = 10ms\nhandler = %s\n",
	         script("bad", "echo try >> tries.txt; echo 'the disk\tis full' >&2; exit 3"));
	must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT status FROM unstuck.jobs", "FAILED", 10000);
	must_equal(db, "SELECT attempts || ' ' || failures FROM unstuck.jobs", "3 3");
	must_equal(db, "SELECT last_error FROM unstuck.jobs", "the handler ended with exit status 3: the disk\tis full");
	ck_assert_str_eq(read_file("tries.txt"), "try\ntry\ntry\n");
}
END_TEST

START_TEST(exit_65_never_and_75_later_without_a_failure)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('never'), unstuck.enqueue('later')");
	settings(db, "[queue never]\nhandler = sh -c 'exit 65'\n[queue later]\nbackoff = 1h\nhandler = sh -c 'exit 75'\n");
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT status || ' ' || failures FROM unstuck.jobs WHERE queue = 'never'", "FAILED 1");
	must_equal(db, "SELECT status || ' ' || failures || ' ' || (run_at > now() + interval '40 minutes')"
	               " FROM unstuck.jobs WHERE queue = 'later'", "PENDING 0 true");
}
END_TEST

START_TEST(a_handler_over_its_time_is_ended_with_all_its_processes)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail', max_attempts => 1)");
	settings(db, "[worker]\nforce_delay = 200ms\n[queue mail]\ntimeout = 300ms\nhandler = %s\n",
	         script("deaf", "trap '' TERM; (trap '' TERM; sleep 50) & sleep 50; sleep 50; sleep 50"));
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT status FROM unstuck.jobs", "FAILED");
	must_equal(db, "SELECT last_error LIKE '%%longer than its timeout of 300ms%%' FROM unstuck.jobs", "t");
	must_happen(procs_alive() == 0, 2000);
}
END_TEST

START_TEST(a_stranger_that_kills_a_handler_makes_it_a_failure)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail', max_attempts => 1)");
	settings(db, "[queue mail]\nhandler = sh -c 'kill -KILL $$'\n");
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT status || ' ' || failures FROM unstuck.jobs", "FAILED 1");
}
END_TEST

static const struct { const char *name, *what; } outputs[] = {
	{ "no json", "printf 'hello {'" },
	{ "nul", "printf '\"a\\000b\"'" },
	{ "nul escape", "printf '\"\\\\u0000\"'" },
	{ "lone surrogate", "printf '\"\\\\ud800\"'" },
	{ "no utf-8", "printf '\"\\377\\376\"'" },
	{ "huge number", "printf 1e400000" },
	{ "deep", "i=0; while [ $i -lt 2000 ]; do printf '[[[[[[[[[[[[[[[[[[[['; i=$((i+1)); done" },
	{ "too large", "head -c 200000 /dev/zero | tr '\\0' 1" },
	{ "endless", "yes" },
};

START_TEST(output_that_cannot_be_stored_fails_that_job_alone)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail', CASE WHEN g = 4 THEN '{\"bad\":1}' ELSE '{}' END::jsonb)"
	             " FROM generate_series(1, 8) g");
	settings(db, "[queue mail]\nmax_result = 100KB\nhandler = %s\n",
	         script("mixed", story_text("read p; case $p in *bad*) %s;; *) echo '{\"ok\":true}';; esac", outputs[_i].what)));
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT string_agg(status, ' ' ORDER BY id) FROM unstuck.jobs",
	           "COMPLETED COMPLETED COMPLETED FAILED COMPLETED COMPLETED COMPLETED COMPLETED");
	must_equal(db, "SELECT failures || ' ' || (last_error <> '') FROM unstuck.jobs WHERE id = 4", "1 true");
	must_equal(db, "SELECT count(*) FROM unstuck.late_results WHERE queue = 'mail' AND job_id = '4'"
	               " AND octet_length(raw) > 0", "1");
}
END_TEST

START_TEST(rejected_bytes_are_kept_as_they_were)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[queue mail]\nhandler = %s\n", script("raw", "printf 'a\\000\\377{\\n '"));
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT encode(raw, 'hex') || ' ' || reason FROM unstuck.late_results", "6100ff7b0a20 bad_data");
}
END_TEST

START_TEST(log_lines_cannot_be_forged_by_a_handler)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[queue mail]\nhandler = %s\n",
	         script("forge", "printf 'x\" event=shutdown reason=drained\\r\\033[2Jy\\n' >&2"));
	p = must_run(0, NULL, "unstuck-worker", "--drain");
	ck_assert_uint_eq(text_count(proc_err(p), "\n20"), text_count(proc_err(p), "\n") - 1);
	ck_assert_uint_eq(text_count(proc_err(p), " event=handler_stderr "), 1);
	ck_assert_ptr_null(strchr(proc_err(p), '\033'));
	ck_assert_ptr_null(strchr(proc_err(p), '\r'));
}
END_TEST

/* ---- mapped tables ---- */

static const char videos_mapping[] =
	"[queue videos]\ntable = public.videos\nstatus = analysis_status\nready = METADATA_EXTRACTED METADATA_EXTRACTING\n"
	"done = VIDEO_ANALYSIS_COMPLETED\nfailed = ANALYSIS_FAILED\nreset_to = METADATA_EXTRACTING\n"
	"payload = source_id, duration\n";

START_TEST(a_mapped_row_and_its_result_change_in_one_transaction)
{
	struct testdb *db = must_have_db();

	must_have_table(db, 20);
	must_sql(db, "CREATE TABLE analysis_results (video_id bigint PRIMARY KEY, short_summary text NOT NULL,"
	             " seen text, at_xid xid8 DEFAULT pg_current_xact_id());"
	             "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
	             " INSERT INTO xids VALUES (NEW.id, pg_current_xact_id()); RETURN NEW; END$$;"
	             "CREATE TABLE xids (id bigint, xid xid8);"
	             "CREATE TRIGGER t AFTER UPDATE ON videos FOR EACH ROW"
	             " WHEN (NEW.analysis_status = 'VIDEO_ANALYSIS_COMPLETED') EXECUTE FUNCTION f()");
	settings(db, "%son_success = INSERT INTO analysis_results (video_id, short_summary)\n"
	             "  VALUES ($1, $2 ->> 'source_id')\nhandler = cat\n", videos_mapping);
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT count(*) FROM videos v JOIN analysis_results r ON r.video_id = v.id"
	               " AND r.short_summary = v.source_id JOIN xids x ON x.id = v.id AND x.xid = r.at_xid"
	               " WHERE analysis_status = 'VIDEO_ANALYSIS_COMPLETED'"
	               " AND abs(extract(epoch FROM updated_at - (now() AT TIME ZONE 'UTC'))) < 60", "20");
	must_equal(db, "SELECT count(*) FROM xids", "20");
	must_equal(db, "SELECT count(*) FROM unstuck.claims WHERE state = 'DONE'", "20");
}
END_TEST

/* A worker bets that the rows of a batch are new. Where one is not, nothing is told and nothing lost. */
START_TEST(rows_with_and_without_an_older_claim_are_claimed_together)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_have_table(db, 90);
	must_sql(db, "INSERT INTO unstuck.claims (source, job_id, queue, claim_id, state, attempts)"
	             " SELECT 'public.videos', g, 'videos', nextval('unstuck.claim_seq'), 'RELEASED', 1 FROM generate_series(5, 90, 40) g");
	settings(db, "[worker]\nconcurrency = 30\n%sbatch = 30\nhandler = true\n", videos_mapping);
	p = must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT count(*) FROM videos WHERE analysis_status = 'VIDEO_ANALYSIS_COMPLETED'", "90");
	must_equal(db, "SELECT string_agg(job_id, ' ' ORDER BY job_id) FROM unstuck.claims WHERE attempts = 2", "45 5 85");
	must_equal(db, "SELECT count(*) || ' ' || sum(attempts) FROM unstuck.claims WHERE state = 'DONE'", "90 93");
	ck_assert_ptr_null(strstr(proc_err(p), "claim_failed"));
}
END_TEST

/* A place says nothing where tables inherit: the same one is in each of them. */
START_TEST(rows_of_tables_that_inherit_are_claimed_once_each_and_no_more_than_asked_for)
{
	struct testdb *db = must_have_db();

	must_sql(db, "CREATE TABLE films (id bigint PRIMARY KEY, status text, result jsonb); CREATE TABLE shorts (PRIMARY KEY (id)) INHERITS (films);"
	             "INSERT INTO films SELECT g, 'READY' FROM generate_series(1, 50) g; INSERT INTO shorts SELECT g, 'READY' FROM generate_series(51, 100) g");
	settings(db, "[worker]\nconcurrency = 25\n[queue films]\ntable = films\nready = READY\ndone = DONE\nfailed = FAILED\n"
	             "reset_to = READY\nresult = result\nbatch = 25\nhandler = cat\n");
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT count(*) FROM films WHERE status = 'DONE' AND (result ->> 'id')::bigint = id", "100");
	must_equal(db, "SELECT sum(n) || ' ' || max(attempts) || ' ' || (max(n) <= 25)"
	               " FROM (SELECT count(*) AS n, max(attempts) AS attempts FROM unstuck.claims WHERE state = 'DONE' GROUP BY batch) b", "100 1 true");
}
END_TEST

/* So the row does not lie where the claim has left it. */
START_TEST(rows_that_a_trigger_writes_again_are_completed_the_long_way)
{
	struct testdb *db = must_have_db();

	must_have_table(db, 20);
	must_sql(db, "CREATE TABLE analysis_results (video_id bigint PRIMARY KEY, source text NOT NULL);"
	             "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
	             " UPDATE videos SET title = 'running' WHERE id = NEW.id; RETURN NULL; END$$;"
	             "CREATE TRIGGER t AFTER UPDATE OF analysis_status ON videos FOR EACH ROW"
	             " WHEN (NEW.analysis_status = 'PROCESSING') EXECUTE FUNCTION f()");
	settings(db, "%son_success = INSERT INTO analysis_results VALUES ($1, $2 ->> 'source_id')\nhandler = cat\n", videos_mapping);
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT count(*) FROM videos v JOIN analysis_results r ON r.video_id = v.id AND r.source = v.source_id"
	               " WHERE analysis_status = 'VIDEO_ANALYSIS_COMPLETED' AND title = 'running'", "20");
	must_equal(db, "SELECT count(*) || ' ' || sum(attempts) FROM unstuck.claims WHERE state = 'DONE'", "20 20");
	must_equal(db, "SELECT count(*) FROM unstuck.claim_batches", "0");
}
END_TEST

START_TEST(one_bad_row_of_on_success_fails_alone)
{
	struct testdb *db = must_have_db();

	must_have_table(db, 12);
	must_sql(db, "CREATE TABLE analysis_results (video_id bigint PRIMARY KEY, n int CHECK (n <> 7));"
	             "CREATE TABLE parents (id bigint PRIMARY KEY); INSERT INTO parents SELECT g FROM generate_series(1, 11) g;"
	             "ALTER TABLE analysis_results ADD FOREIGN KEY (video_id) REFERENCES parents DEFERRABLE INITIALLY DEFERRED");
	settings(db, "%son_success = INSERT INTO analysis_results VALUES ($1, ($2 ->> 'n')::int)\nhandler = %s\n",
	         videos_mapping, script("n", "printf '{\"n\": %s}' $UNSTUCK_JOB_ID"));
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM videos WHERE analysis_status = 'ANALYSIS_FAILED'", "7 12");
	must_equal(db, "SELECT count(*) FROM videos v JOIN analysis_results r ON r.video_id = v.id"
	               " WHERE analysis_status = 'VIDEO_ANALYSIS_COMPLETED'", "10");
	must_equal(db, "SELECT string_agg(job_id || convert_from(raw, 'UTF8'), ' ' ORDER BY job_id) FROM unstuck.late_results",
	           "12{\"n\": 12} 7{\"n\": 7}");
}
END_TEST

static const struct { const char *column, *check; } result_types[] = {
	{ "jsonb", "result = '{\"a\": 1}'::jsonb" },
	{ "json", "result::text = '{\"a\": 1}'" },
	{ "text", "result::jsonb = '{\"a\": 1}'::jsonb" },
};

START_TEST(a_result_column_of_any_text_type_is_written)
{
	struct testdb *db = must_have_db();

	must_have_table(db, 5);
	must_sql(db, "ALTER TABLE videos ADD result %s", result_types[_i].column);
	settings(db, "%sresult = result\nhandler = %s\n", videos_mapping,
	         script("one", "[ $UNSTUCK_JOB_ID = 3 ] && echo '{nonsense' || printf '{\"a\": 1}'"));
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, story_text("SELECT count(*) FROM videos WHERE %s", result_types[_i].check), "4");
	must_equal(db, "SELECT analysis_status || coalesce(result::text, ' null') FROM videos WHERE id = 3", "ANALYSIS_FAILED null");
}
END_TEST

static const struct { const char *type, *value; } key_types[] = {
	{ "bigint", "g" }, { "int", "g" }, { "uuid", "md5(g::text)::uuid" }, { "text", "'key \"' || g || ''' \\,{}'" },
	{ "varchar(40)", "'k' || g" }, { "numeric", "g + 0.5" }, { "date", "date '2026-01-01' + g" },
};

START_TEST(any_key_type_and_odd_names_work)
{
	struct testdb *db = must_have_db();

	must_sql(db, "CREATE SCHEMA \"My App\"; CREATE TYPE mood AS ENUM ('to do', 'doing', 'done', 'bad');"
	             "CREATE TABLE \"My App\".\"Order\"\"s\" (\"select\" %s PRIMARY KEY, \"Sta tus\" mood NOT NULL, \"UpdatedAt\" timestamptz,"
	             " \"Result\" jsonb);"
	             "INSERT INTO \"My App\".\"Order\"\"s\" SELECT %s, 'to do' FROM generate_series(1, 9) g",
	         key_types[_i].type, key_types[_i].value);
	settings(db, "[queue odd ; not a comment]\n");
	write_filef("unstuck.ini", "[unstuck]\ndatabase_url = %s\n[queue it's \"odd\"]\ntable = \"My App\".\"Order\"\"s\"\nid = select\n"
	            "status = \"Sta tus\"\nready = 'to do'\nprocessing = doing\ndone = done\nfailed = bad\nupdated_at = \"UpdatedAt\"\n"
	            "result = \"Result\"\norder_by = select DESC\nhandler = cat\n", db->url);
	(void)0;
	must_run(78, NULL, "unstuck-worker", "--drain");	/* a bare reserved word is no column in the user's own SQL */
	write_filef("unstuck.ini", "[unstuck]\ndatabase_url = %s\n[queue it's \"odd\"]\ntable = \"My App\".\"Order\"\"s\"\nid = select\n"
	            "status = \"Sta tus\"\nready = 'to do'\nprocessing = doing\ndone = done\nfailed = bad\nupdated_at = \"UpdatedAt\"\n"
	            "result = \"Result\"\norder_by = \"select\" DESC\nhandler = cat\n", db->url);
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT count(*) FROM \"My App\".\"Order\"\"s\" WHERE \"Sta tus\" = 'done' AND \"Result\" ->> 'select' = \"select\"::text"
	               " AND \"UpdatedAt\" > now() - interval '1 minute'", "9");
}
END_TEST

START_TEST(ready_states_are_taken_in_their_order_and_where_holds)
{
	struct testdb *db = must_have_db();

	must_have_table(db, 6);
	must_sql(db, "UPDATE videos SET analysis_status = 'METADATA_EXTRACTING' WHERE id <= 3; UPDATE videos SET duration = 99 WHERE id = 5");
	settings(db, "%sconcurrency = 1\nwhere = duration IS DISTINCT FROM 99 -- not those\norder_by = id DESC\nhandler = %s\n",
	         videos_mapping, script("order", "echo $UNSTUCK_JOB_ID >> order.txt; cat"));
	must_run(0, NULL, "unstuck-worker", "--drain");
	ck_assert_str_eq(read_file("order.txt"), "6\n4\n3\n2\n1\n");
	must_equal(db, "SELECT analysis_status FROM videos WHERE id = 5", "METADATA_EXTRACTED");
}
END_TEST

START_TEST(a_row_deleted_or_changed_under_way_keeps_its_result_as_late)
{
	struct testdb *db = must_have_db();

	must_have_table(db, 2);
	settings(db, "[worker]\nheartbeat = 10s\n%shandler = %s\n", videos_mapping, script("wait", "echo >> go.txt; while [ ! -e on ]; do sleep 0.02; done; cat"));
	struct proc *worker = must_start(NULL, "unstuck-worker", "--drain");
	must_become(db, "SELECT count(*) FROM videos WHERE analysis_status = 'PROCESSING'", "2", 5000);
	must_sql(db, "DELETE FROM videos WHERE id = 1; UPDATE videos SET analysis_status = 'WITHDRAWN' WHERE id = 2");
	write_file("on", "");
	must_exit(worker, 0, 20000);
	must_equal(db, "SELECT string_agg(job_id || ' ' || reason, ', ' ORDER BY job_id) FROM unstuck.late_results", "1 missing, 2 fenced");
	must_equal(db, "SELECT analysis_status FROM videos WHERE id = 2", "WITHDRAWN");
}
END_TEST

START_TEST(a_cancelled_job_is_ended_within_a_heartbeat)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[worker]\nheartbeat = 200ms\n[queue mail]\nhandler = sleep 60\n");
	must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT status FROM unstuck.jobs", "PROCESSING", 5000);
	must_equal(db, "SELECT unstuck.cancel(1)", "t");
	must_happen(procs_alive() == 1, 3000);
	must_equal(db, "SELECT status || ' ' || failures FROM unstuck.jobs", "CANCELLED 0");
}
END_TEST

/* ---- bad input ---- */

START_TEST(a_queue_that_cannot_work_is_refused_and_the_others_run)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('good'), unstuck.enqueue('bad')");
	settings(db, "[queue good]\nhandler = true\n[queue bad]\nhandler = /no/such/program --x\n");
	p = must_run(0, NULL, "unstuck-worker", "--drain");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "event=queue_refused queue=bad error=\"handler: /no/such/program"));
	must_equal(db, "SELECT string_agg(status, ' ' ORDER BY id) FROM unstuck.jobs", "COMPLETED PENDING");
	p = must_run(78, NULL, "unstuck-worker", "check");
	ck_assert_ptr_nonnull(strstr(proc_out(p), "/no/such/program"));
	must_run(78, NULL, "unstuck-worker", "run", "bad");
}
END_TEST

static const struct { const char *with, *says; } mappings[] = {
	{ "table = public.nosuch\nready = A\nhandler = true\n", "nosuch" },
	{ "table = videos\nready = A\nstatus = analysis_statu\nhandler = true\n", "analysis_status" },
	{ "table = nokey\nready = A\nhandler = true\n", "unique" },
	{ "table = aview\nready = A\nstatus = analysis_status\nhandler = true\n", "view" },
	{ "table = videos\nready = A\nstatus = analysis_status\ntimezone = Mars/Olympus\nhandler = true\n", "Mars/Olympus" },
	{ "table = videos\nready = A\nstatus = analysis_status\non_success = INSERT INTO nowhere VALUES ($1)\nhandler = true\n", "on_success" },
	{ "table = videos\nready = A\nstatus = analysis_status\nwhere = true) OR (true\nhandler = true\n", "where" },
	{ "table = videos\nready = A\nstatus = analysis_status\norder_by = nothere\nhandler = true\n", "order_by" },
};

START_TEST(a_mapping_that_cannot_work_is_refused_with_its_reason)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_have_table(db, 1);
	must_sql(db, "CREATE TABLE nokey (id int, status text, updated_at timestamptz); CREATE VIEW aview AS SELECT * FROM videos");
	settings(db, "[queue q]\n%s", mappings[_i].with);
	p = must_run(78, NULL, "unstuck-worker", "--drain");
	ck_assert_msg(strstr(proc_err(p), mappings[_i].says) != NULL, "no \"%s\" in: %s", mappings[_i].says, proc_err(p));
	p = must_run(78, NULL, "unstuck-worker", "check");
	ck_assert_msg(strstr(proc_out(p), mappings[_i].says) != NULL, "check says no \"%s\": %s", mappings[_i].says, proc_out(p));
}
END_TEST

START_TEST(a_start_without_database_or_schema_says_so)
{
	struct testdb *db = must_have_empty_db();
	struct proc *p;

	settings(db, "[queue q]\nhandler = true\n");
	p = must_run(78, NULL, "unstuck-worker");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "unstuckctl init"));
	p = must_run(69, NULL, "unstuck-worker", "-d", "postgresql://me:geheim@127.0.0.1:1/nothing");
	ck_assert_ptr_null(strstr(proc_err(p), "geheim"));
	ck_assert_uint_eq(text_count(proc_err(p), "\n"), 1);
	must_run(64, NULL, "unstuck-worker", "--no-such-option");
	must_run(64, NULL, "unstuck-worker", "run", "nosuchqueue");
}
END_TEST

START_TEST(a_full_process_table_releases_the_job_and_goes_on)
{
	struct testdb *db = must_have_db();

	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 6)");
	settings(db, "[worker]\nconcurrency = 6\n[queue mail]\nhandler = sleep 0.2\n");
	struct proc *p = must_run(0, NULL, "sh", "-c", story_text("ulimit -n 26; exec %s --drain", build_path("unstuck-worker")));
	ck_assert_ptr_nonnull(strstr(proc_err(p), "event=handler_not_started"));
	must_equal(db, "SELECT count(*) || ' ' || sum(attempts) || ' ' || sum(failures) FROM unstuck.jobs WHERE status = 'COMPLETED'", "6 6 0");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("worker");
	TCase *tc = story_case(s, "running");

	tcase_add_test(tc, a_drain_runs_every_job_and_ends);
	tcase_add_test(tc, a_result_passes_through_untouched);
	tcase_add_test(tc, empty_output_is_null_and_text_output_is_a_string);
	tcase_add_test(tc, a_handler_gets_a_clean_environment);
	tcase_add_test(tc, smaller_priority_first_then_older_and_not_before_its_time);
	tcase_add_test(tc, no_more_handlers_run_than_the_limits_say);
	tcase_add_test(tc, max_jobs_ends_the_worker_after_so_many);
	tcase_add_test(tc, an_enqueue_wakes_an_idle_worker);

	tc = story_case(s, "failing");
	tcase_add_test(tc, a_failed_job_is_retried_until_its_budget_is_spent);
	tcase_add_test(tc, exit_65_never_and_75_later_without_a_failure);
	tcase_add_test(tc, a_handler_over_its_time_is_ended_with_all_its_processes);
	tcase_add_test(tc, a_stranger_that_kills_a_handler_makes_it_a_failure);
	tcase_add_loop_test(tc, output_that_cannot_be_stored_fails_that_job_alone, 0, (int)(sizeof outputs / sizeof *outputs));
	tcase_add_test(tc, rejected_bytes_are_kept_as_they_were);
	tcase_add_test(tc, log_lines_cannot_be_forged_by_a_handler);

	tc = story_case(s, "mapped");
	tcase_add_test(tc, a_mapped_row_and_its_result_change_in_one_transaction);
	tcase_add_test(tc, rows_that_a_trigger_writes_again_are_completed_the_long_way);
	tcase_add_test(tc, rows_with_and_without_an_older_claim_are_claimed_together);
	tcase_add_test(tc, rows_of_tables_that_inherit_are_claimed_once_each_and_no_more_than_asked_for);
	tcase_add_test(tc, one_bad_row_of_on_success_fails_alone);
	tcase_add_loop_test(tc, a_result_column_of_any_text_type_is_written, 0, (int)(sizeof result_types / sizeof *result_types));
	tcase_add_loop_test(tc, any_key_type_and_odd_names_work, 0, (int)(sizeof key_types / sizeof *key_types));
	tcase_add_test(tc, ready_states_are_taken_in_their_order_and_where_holds);
	tcase_add_test(tc, a_row_deleted_or_changed_under_way_keeps_its_result_as_late);
	tcase_add_test(tc, a_cancelled_job_is_ended_within_a_heartbeat);

	tc = story_case(s, "bad input");
	tcase_add_test(tc, a_queue_that_cannot_work_is_refused_and_the_others_run);
	tcase_add_loop_test(tc, a_mapping_that_cannot_work_is_refused_with_its_reason, 0, (int)(sizeof mappings / sizeof *mappings));
	tcase_add_test(tc, a_start_without_database_or_schema_says_so);
	tcase_add_test(tc, a_full_process_table_releases_the_job_and_goes_on);
	return check_main(s);
}
