/*
 * it_purge.c - stories about unstuckctl purge: what goes, what stays, and that no batch reads a table again.
 */
#include <jansson.h>
#include <stdio.h>
#include "queue_story.h"

static void must_hold(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		story_fail("expected \"%s\" in \"%s\"", part, text);
}

#define purge(db, status, ...) must_run(status, NULL, "unstuckctl", "-d", (db)->url, "purge", __VA_ARGS__)

#define OLD "now() - interval '8 days'"
/* Of each status one in each queue, old (ids 1 to 10) and young (11 to 20). */
#define ALL_KINDS \
	"INSERT INTO unstuck.jobs (queue, status, finished_at, updated_at)" \
	" SELECT q, s, CASE WHEN s IN ('COMPLETED', 'FAILED') THEN t END, t" /* one without a time: set by hand */ \
	"   FROM unnest(ARRAY[" OLD ", now()]) WITH ORDINALITY AS x(t, a), unnest(ARRAY['mail', 'other']) WITH ORDINALITY AS y(q, b)," \
	"        unnest(ARRAY['PENDING', 'PROCESSING', 'COMPLETED', 'FAILED', 'CANCELLED']) WITH ORDINALITY AS z(s, c) ORDER BY a, b, c;"
#define LEFT "SELECT string_agg(id::text, ' ' ORDER BY id) FROM unstuck.jobs"

START_TEST(what_is_finished_and_old_goes_with_what_belongs_to_it)
{
	struct testdb *db = must_have_db();
	struct proc *p;
	json_t *said;

	must_sql(db, ALL_KINDS
	         "INSERT INTO unstuck.late_results (queue, job_id, claim_id, worker_id, reason, raw, adopted_at)"
	         " SELECT 'mail', j, n, gen_random_uuid(), 'fenced', '1', t FROM unnest(ARRAY['3', '4', '13'])"
	         " WITH ORDINALITY AS x(j, n), unnest(ARRAY[now(), NULL]) AS y(t) WHERE (n <> 2) = (t IS NOT NULL);"
	         "INSERT INTO unstuck.recoveries (queue, source, job_id, action, reason) SELECT 'mail', s, j, 'reset', 'timeout'"
	         "  FROM unnest(ARRAY['3', '3', '13']) AS j, unnest(ARRAY['unstuck.jobs', 'public.films']) AS s");
	p = purge(db, 0, "--older-than", "7d", "--dry-run", "--json");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs", "20");
	said = json_loads(proc_out(p), 0, NULL);
	ck_assert_int_eq(json_integer_value(json_object_get(said, "jobs")), 6);
	ck_assert(json_is_true(json_object_get(said, "dry_run")));
	ck_assert_uint_eq(json_array_size(json_object_get(said, "purged")), 6);
	json_decref(said);
	p = purge(db, 0, "--older-than", "7d", "--dry-run");
	must_hold(proc_out(p), "QUEUE TABLE        STATUS    WOULD GO\nmail  unstuck.jobs CANCELLED        1\nmail  unstuck.jobs COMPLETED        1\n");

	p = purge(db, 0, "--older-than", "7d", "--queue", "mail");
	must_hold(proc_out(p), "QUEUE TABLE        STATUS    PURGED\nmail  unstuck.jobs CANCELLED      1\nmail  unstuck.jobs COMPLETED      1\n"
	                       "mail  unstuck.jobs FAILED         1\n");
	must_hold(proc_err(p), "and with them 1 adopted late results, 2 rows of unstuck.recoveries");
	must_hold(proc_err(p), "1 late results stay that nobody adopted and whose jobs are gone");
	must_equal(db, LEFT, "1 2 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20");
	must_equal(db, "SELECT string_agg(job_id, ' ' ORDER BY id) FROM unstuck.late_results", "4 13");
	must_equal(db, "SELECT string_agg(left(source, 1) || job_id, ' ' ORDER BY 1) FROM (SELECT source, job_id FROM unstuck.recoveries ORDER BY 1, 2) AS r",
	           "p13 p3 p3 u13");
	p = purge(db, 0, "--older-than", "7d", "--json");
	said = json_loads(proc_out(p), 0, NULL);
	ck_assert_int_eq(json_integer_value(json_object_get(said, "jobs")), 3);
	ck_assert_str_eq(json_string_value(json_object_get(json_array_get(json_object_get(said, "purged"), 0), "queue")), "other");
	json_decref(said);
	must_equal(db, LEFT, "1 2 6 7 11 12 13 14 15 16 17 18 19 20");
	must_hold(proc_err(purge(db, 0, "--older-than", "7d")), "nothing finished is that old");
}
END_TEST

START_TEST(of_mapped_tables_only_the_claims_of_what_ended_go)
{
	struct testdb *db = must_have_db();
	struct queue_story *q;
	const char *claim;
	struct proc *p;

	add_worker(db, W1);
	q = queue_of_kind(db, &kinds[1], 6);
	claim = claim_one(q, 1, W1);
	ask(q, STMT_COMPLETE, "{1}", array_of(claim), "{1}", W1);
	for (int n = 2; n <= 5; n++)	/* 2 DEAD, 3 DEAD with a result that nobody adopted, 4 RETRY, 5 RELEASED */
		claim = claim_one(q, n, W1), n < 5
			? ask(q, STMT_FAIL, array_of(key_of(q, n)), array_of(claim), W1, n < 4 ? "{fail}" : "{retry}", "{no}", "{9999}", "{NULL}", "{NULL}")
			: ask(q, STMT_RELEASE, "{5}", array_of(claim), W1, "{t}");
	must_sql(db, "UPDATE unstuck.claims SET ended_at = " OLD "; INSERT INTO unstuck.late_results (queue, source, job_id, claim_id, worker_id, reason, raw)"
	             " VALUES ('q', 'public.videos', '3', 1, gen_random_uuid(), 'fenced', '1')");
	must_hold(proc_out(purge(db, 0, "--older-than", "7d", "--dry-run")), "q     public.videos COMPLETED        1\nq     public.videos FAILED           1\n");
	p = purge(db, 0, "--older-than", "7d");
	must_hold(proc_out(p), "q     public.videos COMPLETED      1\nq     public.videos FAILED         1\n");
	must_hold(proc_err(p), "only rows of unstuck.claims: the application's own stay");
	must_equal(db, "SELECT string_agg(job_id || state, ' ' ORDER BY job_id) FROM unstuck.claims", "3DEAD 4RETRY 5RELEASED");
	must_equal(db, "SELECT string_agg(id || status, ' ' ORDER BY id) FROM videos", "1COMPLETED 2FAILED 3FAILED 4PENDING 5PENDING 6PENDING");
	/* a row that is made ready again starts from nothing, as before; an answer to a purged claim is kept as late */
	must_answer(ask_column(q, "verdict", STMT_CLASSIFY, "{1}", "{1}", W1), "missing");
	must_sql(db, "UPDATE videos SET status = 'PENDING' WHERE id = 2");
	claim_one(q, 2, W1);
	must_answer(seen(q, 2, "attempts, failures"), "1 0");
}
END_TEST

START_TEST(a_large_table_goes_in_batches_that_do_not_read_it_again)
{
	struct testdb *db = must_have_db();
	const char *scans = "SELECT coalesce(sum(seq_scan), 0) FROM pg_stat_user_tables WHERE schemaname = 'unstuck'"
	                    " AND relname IN ('jobs', 'late_results', 'ledger', 'claims')";
	const char *before;
	struct proc *p;

	must_sql(db, "INSERT INTO unstuck.jobs (queue, status, finished_at) SELECT 'mail', CASE WHEN g %% 100 = 0 THEN 'PENDING' ELSE 'COMPLETED' END, " OLD
	             " FROM generate_series(1, 12000) AS g; ANALYZE unstuck.jobs");
	before = sql_value(db, "%s", scans);
	p = must_start(&(struct proc_options){ .tty = TTY_ERR }, "unstuckctl", "-d", db->url, "purge", "--older-than", "1d");
	must_exit(p, 0, 60000);
	must_hold(proc_out(p), " 11880\n");
	must_hold(proc_err(p), " of 12000");
	must_sql(db, "SELECT pg_stat_clear_snapshot()");
	must_equal(db, scans, before);
	must_equal(db, "SELECT count(*) || min(status) FROM unstuck.jobs", "120PENDING");
}
END_TEST

START_TEST(a_job_that_is_put_back_meanwhile_stays)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "INSERT INTO unstuck.jobs (queue, status, finished_at) SELECT 'mail', 'FAILED', " OLD " FROM generate_series(1, 2)");
	must_sql(db, "BEGIN");
	must_equal(db, "SELECT unstuck.retry(1)", "t");
	p = must_start(NULL, "unstuckctl", "-d", db->url, "purge", "--older-than", "1d");
	must_become(db, "SELECT count(*) FROM pg_locks WHERE NOT granted", "1", 20000);
	must_sql(db, "COMMIT");
	must_exit(p, 0, 20000);
	must_hold(proc_out(p), "mail  unstuck.jobs FAILED      1\n");
	must_equal(db, "SELECT string_agg(id || status, ' ') FROM unstuck.jobs", "1PENDING");
}
END_TEST

START_TEST(who_may_not_is_told_who_may)
{
	struct testdb *db = must_have_db();
	const char *url = story_text("postgresql:///%s?host=%s&user=%s_look", db->name, server_dir(), db->name);
	struct proc *p;

	must_sql(db, ALL_KINDS "CREATE ROLE %s_look LOGIN IN ROLE unstuck_read", db->name);
	p = must_run(0, NULL, "unstuckctl", "-d", url, "purge", "--older-than", "7d", "--dry-run");
	must_hold(proc_out(p), "WOULD GO");
	p = must_run(1, NULL, "unstuckctl", "-d", url, "purge", "--older-than", "7d");
	must_hold(proc_err(p), story_text("unstuckctl: user %s_look may not delete jobs: do it as the owner of the schema, postgres, or GRANT SELECT, DELETE ON"
	                                  " unstuck.jobs, unstuck.claims, unstuck.late_results, unstuck.ledger TO %s_look\n", db->name, db->name));
	ck_assert_str_eq(proc_out(p), "");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs", "20");
	must_hold(proc_err(must_run(64, NULL, "unstuckctl", "-d", url, "purge")), "--older-than D is missing");
	must_hold(proc_err(must_run(64, NULL, "unstuckctl", "-d", url, "purge", "--older-than", "soon")), "soon");
	must_sql(db, "DROP OWNED BY %s_look; DROP ROLE %s_look", db->name, db->name);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("purge");
	TCase *tc = queue_case(s, "purge");

	tcase_add_test(tc, what_is_finished_and_old_goes_with_what_belongs_to_it);
	tcase_add_test(tc, of_mapped_tables_only_the_claims_of_what_ended_go);
	tcase_add_test(tc, a_large_table_goes_in_batches_that_do_not_read_it_again);
	tcase_add_test(tc, a_job_that_is_put_back_meanwhile_stays);
	tcase_add_test(tc, who_may_not_is_told_who_may);
	return check_main(s);
}
