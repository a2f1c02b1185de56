/*
 * it_pooler.c - the worker and recover behind a real pgbouncer in transaction mode, which
 * changes the server's session under it between any two requests.
 */
#include "story.h"

#include <unistd.h>

#include "worker_story.h"

/* A pgbouncer in front of the test's server, as the server's user. Returns the URL through it. */
static const char *must_have_pooler(struct testdb *db)
{
	const char *dir = story_text("%s/pooler", keeper_dir());

	must_run(0, NULL, "sh", "-c", story_text("rm -rf %s && mkdir %s && chmod 777 %s", dir, dir, dir));
	write_filef("pgbouncer.ini", "[databases]\n* = host=%s user=postgres\n[pgbouncer]\nlisten_addr =\n"
	            "unix_socket_dir = %s\nlisten_port = 6432\nauth_type = any\npool_mode = transaction\n"
	            "default_pool_size = 3\nmin_pool_size = 3\nmax_client_conn = 50\nignore_startup_parameters = extra_float_digits\n"
	            "server_round_robin = 1\nlogfile =\npidfile =\n", server_dir(), dir);
	must_run(0, NULL, "cp", test_path("pgbouncer.ini"), story_text("%s/p.ini", dir));
	struct proc *p = getuid() == 0
		? must_start(NULL, "setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--inh-caps=-all",
		             "pgbouncer", story_text("%s/p.ini", dir))
		: must_start(NULL, "pgbouncer", story_text("%s/p.ini", dir));
	must_say(p, "process up");
	return story_text("postgresql:///%s?host=%s&port=6432&user=postgres", db->name, dir);
}

START_TEST(both_kinds_of_queue_work_behind_a_pooler)
{
	static const char *const prepare[] = { "auto", "no" };
	struct testdb *db = must_have_db();
	const char *url = must_have_pooler(db);

	must_have_table(db, 60);
	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 200);"
	             "CREATE TABLE analysis_results (video_id bigint PRIMARY KEY, n int CHECK (n <> 7))");
	write_filef("unstuck.ini", "[unstuck]\ndatabase_url = %s\n[worker]\nprepare = %s\nheartbeat = 100ms\npoll_interval = 100ms\n"
	            "[queue mail]\nhandler = echo 1\n[queue videos]\ntable = public.videos\nstatus = analysis_status\n"
	            "ready = METADATA_EXTRACTED\non_success = INSERT INTO analysis_results VALUES ($1, ($2 ->> 'n')::int)\nhandler = %s\n",
	            url, prepare[_i], script("n", "printf '{\"n\": %s}' $UNSTUCK_JOB_ID"));
	struct proc *a = must_start(NULL, "unstuck-worker"), *b = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED' AND failures = 0", "200", 30000);
	must_become(db, "SELECT count(*) FROM videos v JOIN analysis_results r ON r.video_id = v.id"
	                " WHERE analysis_status = 'COMPLETED'", "59", 30000);
	must_become(db, "SELECT analysis_status FROM videos WHERE id = 7", "FAILED", 5000);
	proc_signal(a, SIGTERM);
	proc_signal(b, SIGTERM);
	must_exit(a, 0, 5000);
	must_exit(b, 0, 5000);
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "0");
}
END_TEST

/* Two of the worker's connections share what the pooler has, and learn at once that preparing is useless. */
START_TEST(under_load_both_connections_go_through_the_pooler)
{
	static const char *const prepare[] = { "auto", "no" };
	struct testdb *db = must_have_db();
	const char *url = must_have_pooler(db);
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail', jsonb_build_object('n', g)) FROM generate_series(1, 8000) g");
	write_filef("unstuck.ini", "[unstuck]\ndatabase_url = %s\n[worker]\nprepare = %s\nconcurrency = 1\n"
	            "[queue mail]\nmode = serve\npipeline = 500\nbatch = 500\nhandler = %s\n", url, prepare[_i], build_path("tests/handlers/obey"));
	p = must_run(0, NULL, "unstuck-worker", "--drain");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "event=db_second_open"));
	ck_assert_ptr_null(strstr(proc_err(p), "event=db_second_failed"));
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED' AND attempts = 1 AND result = payload", "8000");
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "0");
}
END_TEST

START_TEST(recover_does_without_what_it_prepared)
{
	struct testdb *db = must_have_db();
	const char *url = must_have_pooler(db);

	settings(db, "[queue mail]\nhandler = true\n");
	must_sql(db, "INSERT INTO unstuck.jobs (queue, status, worker_id, claimed_at)"
	             " SELECT 'mail', 'PROCESSING', gen_random_uuid(), now() FROM generate_series(1, 50)");
	must_run(0, NULL, "unstuck-recover", "--yes", "--batch", "10", "-d", url);
	must_equal(db, "SELECT count(*) || ' ' || max(recoveries) FROM unstuck.jobs WHERE status = 'PENDING'", "50 1");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pooler");
	TCase *tc = story_case(s, "transaction mode");

	tcase_add_loop_test(tc, both_kinds_of_queue_work_behind_a_pooler, 0, 2);
	tcase_add_loop_test(tc, under_load_both_connections_go_through_the_pooler, 0, 2);
	tcase_add_test(tc, recover_does_without_what_it_prepared);
	return check_main(s);
}
