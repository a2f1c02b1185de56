/*
 * it_batches.c - jobs claimed many at a time: they are found while they run, their rows of unstuck.batches go,
 * they start in order, and the place where a claim begins hides nobody.
 */
#include "story.h"

#include <stdio.h>
#include <stdlib.h>

#include "queue_story.h"
#include "worker_story.h"

#define W1 "11111111-1111-4111-8111-111111111111"
#define BATCHES "SELECT count(*) FROM unstuck.batches"
#define RUNNING "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'"

static void must_hold(const char *text, const char *part)
{
	ck_assert_msg(strstr(text, part) != NULL, "\"%s\" is not in:\n%s", part, text);
}

/* A handler that waits until the test makes the file "go", and notes in order.txt what it does. */
#define WAITER script("waiter", "while read -r l; do echo \"$l\" >> order.txt; until [ -e go ]; do sleep 0.02; done;" \
	" i=${l#*id\\\":\\\"}; echo \"{\\\"id\\\":\\\"${i%%\\\"*}\\\",\\\"ok\\\":true}\"; done")

#define serve(db, n) \
	settings(db, "[worker]\nheartbeat = 200ms\nworker_timeout = 600ms\n[queue mail]\nmode = serve\nconcurrency = 1\npipeline = %d\nbatch = %d\n" \
	             "handler = %s\n", n, n, WAITER)

/* ---- a batch while it runs ---- */

START_TEST(a_batch_is_there_while_its_jobs_run_and_goes_behind_the_last)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 40)");
	serve(db, 30);
	p = must_start(NULL, "unstuck-worker");
	must_become(db, RUNNING " AND batch IS NOT NULL", "30", 10000);
	must_equal(db, "SELECT bool_and(cardinality(ids) BETWEEN 10 AND 30) AND sum(cardinality(ids)) = 30 FROM unstuck.batches", "t");
	must_equal(db, RUNNING " AND alone", "0");
	write_filef("go", "%s", "");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED' AND batch IS NULL", "40", 20000);
	must_become(db, BATCHES, "0", 5000);		/* the worker lives on */
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "1");
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 10000);
}
END_TEST

START_TEST(a_few_jobs_are_no_batch)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 9)");
	serve(db, 9);
	p = must_start(NULL, "unstuck-worker");
	must_become(db, RUNNING " AND alone", "9", 10000);
	must_equal(db, BATCHES, "0");
	write_filef("go", "%s", "");
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 10000);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'", "9");
}
END_TEST

/* Killed with a batch in hand; another worker, or recover, finds all of it and leaves no row behind. */
START_TEST(the_batch_of_a_dead_worker_is_put_back_whole)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 25)");
	serve(db, 25);
	p = must_start(NULL, "unstuck-worker");
	must_become(db, RUNNING " AND batch IS NOT NULL", "25", 10000);
	must_sql(db, "UPDATE unstuck.jobs SET status = 'CANCELLED', batch = NULL WHERE id = 7");	/* one has ended meanwhile */
	proc_signal(p, SIGKILL);
	must_exit(p, 128 + SIGKILL, 5000);
	if (_i == 0) {
		must_become(db, "SELECT beat_at < now() - interval '700 ms' FROM unstuck.workers", "t", 5000);
		must_run(0, NULL, "unstuck-recover", "--yes");
	} else {
		settings(db, "[worker]\nheartbeat = 200ms\nworker_timeout = 600ms\nrecover_every = 300ms\n[queue mail]\nhandler = true\n");
		p = must_start(NULL, "unstuck-worker");
		must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'", "24", 20000);
		must_become(db, BATCHES, "0", 5000);
		proc_signal(p, SIGTERM);
		must_exit(p, 0, 10000);
	}
	must_equal(db, RUNNING, "0");
	must_equal(db, "SELECT count(*) FROM unstuck.recoveries WHERE action = 'reset' AND reason = 'worker_lost'", "24");
	must_equal(db, BATCHES, "0");
}
END_TEST

START_TEST(a_stop_releases_a_batch_and_leaves_no_row)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 30)");
	serve(db, 30);
	p = must_start(NULL, "unstuck-worker", "--graceful-timeout", "100ms", "--force-delay", "100ms");
	must_become(db, RUNNING " AND batch IS NOT NULL", "30", 10000);
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 10000);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PENDING' AND batch IS NULL", "30");
	must_equal(db, BATCHES, "0");
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "0");
}
END_TEST

/* Its row is PROCESSING still, and is found by its batch alone. */
START_TEST(the_batch_of_a_row_that_could_not_be_written_stays)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 20);"
	             "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not this one'; END$$;"
	             "CREATE TRIGGER refuse BEFORE UPDATE ON unstuck.jobs FOR EACH ROW WHEN (NEW.id = 7 AND NEW.status = 'FAILED')"
	             " EXECUTE FUNCTION public.refuse()");
	settings(db, "[worker]\nheartbeat = 200ms\nworker_timeout = 600ms\n[queue mail]\nmode = serve\nconcurrency = 1\npipeline = 20\nbatch = 20\n"
	             "handler = %s\n",
	         script("seven", "while read -r l; do i=${l#*id\\\":\\\"}; i=${i%%\\\"*}; ok='true'; [ $i != 7 ] || ok='false,\"retry\":false';"
	                         " echo \"{\\\"id\\\":\\\"$i\\\",\\\"ok\\\":$ok}\"; done"));
	p = must_start(NULL, "unstuck-worker");
	must_say(p, "event=write_failed");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'", "19", 10000);
	must_sql(db, "SELECT unstuck.enqueue('mail')");		/* whatever it would forget goes before the result of this one */
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'", "20", 10000);
	proc_signal(p, SIGKILL);
	must_exit(p, 128 + SIGKILL, 5000);
	must_equal(db, BATCHES, "1");
	must_become(db, "SELECT beat_at < now() - interval '700 ms' FROM unstuck.workers", "t", 5000);
	must_run(0, NULL, "unstuck-recover", "--yes");
	must_equal(db, "SELECT status FROM unstuck.jobs WHERE id = 7", "PENDING");
	must_equal(db, BATCHES, "0");
}
END_TEST

/* ---- rows set by hand ---- */

static const char *const before[] = {
	"PENDING", "COMPLETED", "FAILED", "CANCELLED", "released", "recovered",
};

START_TEST(a_row_set_to_processing_by_hand_is_found_whatever_it_was)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = queue_story(db, "[queue mail]\nhandler = true\n");

	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 20)");
	must_sql(db, "INSERT INTO unstuck.workers (worker_id, host, pid, version, heartbeat_s, timeout_s) VALUES ('" W1 "', 'h', 1, '1', 10, 60)");
	if (strcmp(before[_i], "PENDING") != 0)
		ask(q, STMT_CLAIM, "20", W1);
	if (strcmp(before[_i], "released") == 0)
		ask(q, STMT_RELEASE_ALL, W1);
	else if (strcmp(before[_i], "COMPLETED") == 0)
		must_sql(db, "UPDATE unstuck.jobs SET status = 'PROCESSING', batch = NULL WHERE id = 3; UPDATE unstuck.jobs SET status = 'COMPLETED', batch = NULL");
	else if (strcmp(before[_i], "CANCELLED") == 0)
		must_sql(db, "SELECT unstuck.cancel(id) FROM unstuck.jobs");
	else if (strcmp(before[_i], "FAILED") == 0)
		must_sql(db, "UPDATE unstuck.jobs SET status = 'FAILED', batch = NULL");
	must_sql(db, "DELETE FROM unstuck.workers");
	settings(db, "[queue mail]\nhandler = true\n");
	if (strcmp(before[_i], "recovered") == 0)
		must_run(0, NULL, "unstuck-recover", "--yes");
	must_sql(db, "UPDATE unstuck.jobs SET status = 'PROCESSING', worker_id = gen_random_uuid(), claimed_at = now() - interval '2 h',"
	             " updated_at = now() - interval '2 h' WHERE id IN (3, 4)");
	must_hold(proc_out(must_run(0, NULL, "unstuck-recover", "--dry-run", "--json")), "\"stuck\": 2");
	must_run(0, NULL, "unstuck-recover", "--yes");
	must_equal(db, "SELECT string_agg(status, ' ') FROM unstuck.jobs WHERE id IN (3, 4)", "PENDING PENDING");
}
END_TEST

/* ---- order, and where a claim begins ---- */

/* Enqueued against their order, and handed to one process that takes them all at once. */
START_TEST(jobs_of_a_batch_start_in_order)
{
	struct testdb *db = must_have_db();
	struct buf want = BUF_INIT, got = BUF_INIT;
	const char *line;

	must_sql(db, "INSERT INTO unstuck.jobs (queue, priority, run_at)"
	             " SELECT 'mail', -(g %% 3), now() - g * interval '1 min' FROM generate_series(1, 60) AS g");
	write_filef("go", "%s", "");
	serve(db, 60);
	must_run(0, NULL, "unstuck-worker", "--drain");
	buf_adds(&want, sql_value(db, "SELECT string_agg(id::text, ' ' ORDER BY priority, run_at, id) FROM unstuck.jobs"));
	for (line = read_file("order.txt"); (line = strstr(line, "{\"id\":\"")) != NULL; line += 7)
		buf_addf(&got, "%s%d", got.len ? " " : "", atoi(line + 7));
	ck_assert_str_eq(buf_text(&got), buf_text(&want));
	buf_release(&want);
	buf_release(&got);
}
END_TEST

/* A claim that begins at a mark sees what lies behind it; from the start it sees the urgent one and the older one too. */
START_TEST(a_mark_hides_nothing_from_a_look_at_the_whole_queue)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = queue_story(db, "[queue mail]\nhandler = true\n");
	const char *mark;

	must_sql(db, "INSERT INTO unstuck.workers (worker_id, host, pid, version, heartbeat_s, timeout_s) VALUES ('" W1 "', 'h', 1, '1', 10, 60)");
	must_sql(db, "SELECT unstuck.enqueue('mail', run_at => now() - interval '1 min') FROM generate_series(1, 4);"
	             "SELECT unstuck.enqueue('mail', priority => 2), unstuck.enqueue('mail', priority => 1)");
	mark = ask_column(q, "mark", STMT_CLAIM, "1", W1);
	must_equal(db, "SELECT id FROM unstuck.jobs WHERE status = 'PROCESSING'", "1");
	must_sql(db, "SELECT unstuck.enqueue('mail', priority => -1);"
	             "SELECT unstuck.enqueue('mail', run_at => now() - interval '1 h')");
	must_answer(ask_column(q, "id", STMT_CLAIM, "1", W1, mark), "2");
	must_answer(ask_column(q, "id", STMT_CLAIM, "1", W1), "7");
	must_answer(ask_column(q, "id", STMT_CLAIM, "1", W1), "8");
	ask(q, STMT_CLAIM, "9", W1, mark);		/* the rest, through the priorities behind */
	must_equal(db, RUNNING, "8");
}
END_TEST

/* Under load claims begin at the mark, and an urgent job comes all the same. */
START_TEST(an_urgent_job_does_not_wait_for_the_backlog)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 3000)");
	settings(db, "[queue mail]\nmode = serve\nconcurrency = 1\npipeline = 10\nbatch = 10\nhandler = %s\n",
	         script("slow", "while read -r l; do sleep 0.002; i=${l#*id\\\":\\\"}; echo \"{\\\"id\\\":\\\"${i%%\\\"*}\\\",\\\"ok\\\":true}\"; done"));
	p = must_start(NULL, "unstuck-worker", "-q");
	must_become(db, "SELECT count(*) > 100 FROM unstuck.jobs WHERE status = 'COMPLETED'", "t", 20000);
	must_sql(db, "SELECT unstuck.enqueue('mail', priority => -1)");
	must_become(db, "SELECT status FROM unstuck.jobs WHERE priority = -1", "COMPLETED", 20000);
	must_equal(db, "SELECT count(*) > 500 FROM unstuck.jobs WHERE status = 'PENDING'", "t");
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 20000);
}
END_TEST

/* ---- from version 1 of the schema ---- */

START_TEST(a_schema_of_version_1_is_brought_up_with_its_jobs)
{
	struct testdb *db = must_have_empty_db();

	must_run(0, NULL, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", source_path("tests/data/sql/schema_version_1.sql"), db->url);
	must_sql(db, "INSERT INTO unstuck.jobs (queue, status, unique_key, result, worker_id, claimed_at, updated_at)"
	             " SELECT 'mail', s, 'k' || n, '1', gen_random_uuid(), now() - interval '2 h', now() - interval '2 h'"
	             "   FROM unnest('{PENDING,PROCESSING,COMPLETED,FAILED,CANCELLED}'::text[]) WITH ORDINALITY AS x(s, n)");
	settings(db, "[queue mail]\nhandler = true\n");
	must_hold(proc_err(must_run(78, NULL, "unstuck-worker", "--drain")), "unstuckctl init");
	must_hold(proc_out(must_run(0, NULL, "unstuckctl", "init")), "upgraded from version 1 to 4");
	must_hold(proc_out(must_run(0, NULL, "unstuckctl", "init")), "already at version 4");
	must_equal(db, "SELECT string_agg(status || waiting::int || alone::int || coalesce(open_key, '-'), ' ' ORDER BY id) FROM unstuck.jobs",
	           "PENDING10k1 PROCESSING01k2 COMPLETED00- FAILED00- CANCELLED00-");
	must_equal(db, "SELECT unstuck.enqueue('mail', unique_key => 'k2')", "2");
	must_run(0, NULL, "unstuck-recover", "--yes");
	must_run(0, NULL, "unstuck-worker", "--drain");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'", "3");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("batches");
	TCase *tc = queue_case(s, "batches");

	tcase_add_test(tc, a_batch_is_there_while_its_jobs_run_and_goes_behind_the_last);
	tcase_add_test(tc, a_few_jobs_are_no_batch);
	tcase_add_loop_test(tc, the_batch_of_a_dead_worker_is_put_back_whole, 0, 2);
	tcase_add_test(tc, a_stop_releases_a_batch_and_leaves_no_row);
	tcase_add_test(tc, the_batch_of_a_row_that_could_not_be_written_stays);
	tcase_add_loop_test(tc, a_row_set_to_processing_by_hand_is_found_whatever_it_was, 0, (int)ARRAY_SIZE(before));
	tcase_add_test(tc, jobs_of_a_batch_start_in_order);
	tcase_add_test(tc, a_mark_hides_nothing_from_a_look_at_the_whole_queue);
	tcase_add_test(tc, an_urgent_job_does_not_wait_for_the_backlog);
	tcase_add_test(tc, a_schema_of_version_1_is_brought_up_with_its_jobs);
	return check_main(s);
}
