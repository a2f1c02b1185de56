/*
 * it_sql.c - stories about what a queue's statements do to a row and to each other:
 * claims, the fence, retries, releases and recovery, over every kind of table, with
 * real concurrent sessions. Not here: limits and plans (it_plans.c).
 */
#include <stdio.h>
#include <unistd.h>
#include "ident.h"
#include "queue_story.h"
#include "sqltext.h"

#define HOUR_S "3600"

static struct queue_story *start(int kind, int jobs)
{
	struct testdb *db = must_have_db();

	add_worker(db, W1);
	add_worker(db, W2);
	return queue_of_kind(db, &kinds[kind], jobs);
}

#define complete(q, key, claim, worker) ask(q, STMT_COMPLETE, array_of(key), array_of(claim), array_of("{\"a\": 1}"), worker)
#define fail_as(q, key, claim, worker, kind, error, delay) \
	ask(q, STMT_FAIL, array_of(key), array_of(claim), worker, array_of(kind), array_of(error), array_of(delay), "{NULL}", "{NULL}")
#define verdict(q, key, claim, worker) ask_column(q, "verdict", STMT_CLASSIFY, array_of(key), array_of(claim), worker)
#define release(q, key, claim, worker, started) ask(q, STMT_RELEASE, array_of(key), array_of(claim), worker, array_of(started))
#define token_of(q) ask_column(q, "token", STMT_STUCK, HOUR_S, "f", "f", NIL, "0", "3")
#define reset(q, key, token) ask(q, STMT_RESET, array_of(key), array_of(token), HOUR_S, "f", "3")

/* ---- one job's life ---- */

START_TEST(a_job_is_claimed_done_and_done_only_once)
{
	struct queue_story *q = start(_i, 1);
	const char *key = key_of(q, 1), *claim = claim_one(q, 1, W1);

	must_answer(seen(q, 1, "status, attempts, failures"), "PROCESSING 1 0");
	must_answer(ask(q, STMT_CLAIM, "5", W2), "");
	must_answer(ask(q, STMT_HELD, W1), story_text("%s|%s", key, claim));
	must_answer(complete(q, key, claim, W1), key);
	must_answer(seen(q, 1, "status, replace(result, ' ', '')"), "COMPLETED {\"a\":1}");
	must_answer(complete(q, key, claim, W1), "");
	must_answer(verdict(q, key, claim, W1), "already");
	must_answer(ask(q, STMT_HELD, W1), "");
	must_answer(ask(q, STMT_CLAIM, "5", W2), "");
}
END_TEST

START_TEST(every_write_needs_the_token)
{
	struct queue_story *q = start(_i, 1);
	const char *key = key_of(q, 1), *claim = claim_one(q, 1, W1), *other = story_text("%lld", atoll(claim) + 1);

	must_answer(complete(q, key, claim, W2), "");
	must_answer(complete(q, key, other, W1), "");
	must_answer(fail_as(q, key, claim, W2, "fail", "x", "0"), "");
	must_answer(fail_as(q, key, other, W1, "fail", "x", "0"), "");
	must_answer(release(q, key, other, W1, "t"), "");
	must_answer(release(q, key, claim, W2, "t"), "");
	must_answer(verdict(q, key, other, W1), "fenced");
	must_answer(verdict(q, key, claim, W2), "fenced");
	must_answer(verdict(q, key_of(q, 2), claim, W1), "missing");
	must_answer(verdict(q, key, claim, W1), "mine");
	must_answer(seen(q, 1, "status, attempts, failures"), "PROCESSING 1 0");
}
END_TEST

START_TEST(a_result_of_the_last_holder_counts_until_somebody_claims_again)
{
	struct queue_story *q = start(_i, 2);
	const char *first = key_of(q, 1), *second = key_of(q, 2), *one = claim_one(q, 1, W1), *two = claim_one(q, 2, W1);

	ask(q, STMT_RELEASE_ALL, W1);
	must_answer(verdict(q, first, one, W1), "reset");
	must_answer(complete(q, first, one, W1), first);
	must_answer(verdict(q, first, one, W1), "already");
	claim_one(q, 2, W2);
	must_answer(complete(q, second, two, W1), "");
	must_answer(verdict(q, second, two, W1), "fenced");
	must_answer(seen(q, 2, "status, attempts"), "PROCESSING 2");
}
END_TEST

START_TEST(a_job_is_retried_after_its_delay_and_failed_when_its_budget_is_spent)
{
	struct queue_story *q = start(_i, 1);
	const char *key = key_of(q, 1), *claim = claim_one(q, 1, W1);

	must_answer(fail_as(q, key, claim, W1, "later", "busy", "0"), story_text("%s|PENDING", key));
	must_answer(seen(q, 1, "status, attempts, failures, last_error"), "PENDING 1 0 busy");
	claim = claim_one(q, 1, W1);
	must_answer(fail_as(q, key, claim, W1, "retry", "no luck", "3600"), story_text("%s|PENDING", key));
	must_answer(seen(q, 1, "status, attempts, failures"), "PENDING 2 1");
	must_answer(ask(q, STMT_CLAIM, "5", W1), "");

	must_sql(q->db, "UPDATE unstuck.jobs SET run_at = now(); UPDATE unstuck.claims SET not_before = now()");
	claim = claim_one(q, 1, W1);
	must_answer(fail_as(q, key, claim, W1, "retry", "again", "0"), story_text("%s|PENDING", key));
	claim = claim_one(q, 1, W1);
	must_answer(fail_as(q, key, claim, W1, "retry", "for the last time", "0"), story_text("%s|FAILED", key));
	must_answer(seen(q, 1, "status, attempts, failures, last_error"), "FAILED 4 3 for the last time");
	must_answer(verdict(q, key, claim, W1), "failed");
	must_answer(complete(q, key, claim, W1), "");
	must_answer(ask(q, STMT_CLAIM, "5", W1), "");
}
END_TEST

START_TEST(a_failure_for_good_needs_no_budget_and_its_bytes_are_kept_once)
{
	struct queue_story *q = start(_i, 2);
	const char *first = key_of(q, 1), *second = key_of(q, 2), *one = claim_one(q, 1, W1), *two = claim_one(q, 2, W1);
	const char *keys = array_of(first, second), *claims = array_of(one, "1");

	(void)two;
	for (int i = 0; i < 2; i++)
		must_answer(ask(q, STMT_FAIL, keys, claims, W1, array_of("fail", "fail"), array_of("bad", "bad"), array_of("0", "0"),
		                array_of("bad_data", "fenced"), array_of("\\x00ff22", "\\x41")),
		            i == 0 ? story_text("%s|FAILED", first) : "");
	must_answer(seen(q, 1, "status, failures"), "FAILED 1");
	must_answer(seen(q, 2, "status, failures"), "PROCESSING 0");
	must_equal(q->db, "SELECT string_agg(reason || raw::text, ' ' ORDER BY id) FROM unstuck.late_results",
	           "bad_data\\x00ff22 fenced\\x41");
	ask(q, STMT_LATE, keys, array_of(one, "2"), W1, array_of("x", "missing"), array_of("\\x01", "\\x02"));
	ask(q, STMT_LATE, keys, array_of(one, "2"), W1, array_of("x", "missing"), array_of("\\x01", "\\x02"));
	must_equal(q->db, "SELECT count(*) || max(reason) FROM unstuck.late_results", "3missing");
}
END_TEST

START_TEST(a_release_counts_nothing)
{
	struct queue_story *q = start(_i, 3);
	const char *one = claim_one(q, 1, W1), *two = claim_one(q, 2, W1), *first = key_of(q, 1), *second = key_of(q, 2);

	claim_one(q, 3, W2);
	ask(q, STMT_RELEASE, array_of(first, second), array_of(one, two), W1, array_of("t", "f"));
	must_answer(seen(q, 1, "status, attempts, failures, recoveries"), "PENDING 1 0 0");
	must_answer(seen(q, 2, "status, attempts, failures, recoveries"), "PENDING 0 0 0");
	claim_one(q, 1, W1);
	claim_one(q, 2, W1);
	ask(q, STMT_RELEASE_ALL, W1);
	must_answer(seen(q, 1, "status, attempts"), "PENDING 2");
	must_answer(seen(q, 2, "status, attempts"), "PENDING 1");
	must_answer(seen(q, 3, "status, attempts"), "PROCESSING 1");
	must_answer(ask(q, STMT_HELD, W1), "");
}
END_TEST

/* Each keeps its order: the batch is all or nothing, and complete_all fails before on_success would run. */
START_TEST(one_bad_result_stores_none_of_its_batch_and_alone_fails_alone)
{
	struct queue_story *q = start(_i, 2);
	const char *first = key_of(q, 1), *second = key_of(q, 2), *one = claim_one(q, 1, W1), *two = claim_one(q, 2, W1);
	const char *keys = array_of(first, second), *claims = array_of(one, two);

	must_answer(ask_refused(q, STMT_COMPLETE, keys, claims, array_of("{}", "{broken"), W1), "22P02");
	must_answer(ask_refused(q, STMT_COMPLETE, keys, claims, array_of("{}", "\"\\u0000\""), W1), "22P05");
	must_answer(seen(q, 1, "status"), "PROCESSING");
	must_answer(ask(q, STMT_COMPLETE, array_of(first), array_of(one), array_of("{}"), W1), first);
	must_answer(seen(q, 2, "status"), "PROCESSING");
}
END_TEST

START_TEST(complete_all_is_all_or_an_error)
{
	struct queue_story *q = start(_i, 3);
	const char *keys = keys_of(q, 1, 2), *one = claim_one(q, 1, W1), *two = claim_one(q, 2, W1);

	must_answer(ask_refused(q, STMT_COMPLETE_ALL, keys, array_of(one, "1"), array_of("1", "2"), W1), "22012");
	must_answer(ask_refused(q, STMT_COMPLETE_ALL, array_of(key_of(q, 3)), array_of("1"), array_of("1"), W1), "22012");
	must_answer(seen(q, 1, "status"), "PROCESSING");
	ask(q, STMT_COMPLETE_ALL, keys, array_of(one, two), array_of("1", "2"), W1);
	must_answer(seen(q, 1, "status, result"), "COMPLETED 1");
	must_answer(seen(q, 2, "status, result"), "COMPLETED 2");
}
END_TEST

/* A place is a hint: what lies there has to be the batch's own row and claim, running and untouched. */
START_TEST(complete_placed_is_complete_all_where_nobody_has_written)
{
	struct queue_story *q = start(_i, 3);
	const char *key[3], *claim[3], *row[3], *place[3], *keys, *claims, *results = array_of("1", "2");

	if (!mapping_has(&q->map, STMT_COMPLETE_PLACED))
		return;
	for (int i = 0; i < 3; i++) {
		key[i] = key_of(q, i + 1);
		row[i] = ask_column(q, "row_place", STMT_CLAIM, "1", W1);
		claim[i] = sql_value(q->db, "SELECT max(claim_id) FROM unstuck.claims");
		place[i] = sql_value(q->db, "SELECT ctid FROM unstuck.claims WHERE claim_id = %s", claim[i]);
	}
	keys = array_of(key[0], key[1]);
	claims = array_of(claim[0], claim[1]);
#define placed(claims, worker, rows, places) queue_ask_refused(q, STMT_COMPLETE_PLACED, PARAMS(keys, claims, results, worker, rows, places))
	must_answer(placed(array_of(claim[0], claim[2]), W1, array_of(row[0], row[1]), array_of(place[0], place[1])), "22012");
	must_answer(placed(claims, W2, array_of(row[0], row[1]), array_of(place[0], place[1])), "22012");
	must_answer(placed(claims, W1, array_of(row[0], row[1]), array_of(place[0], place[2])), "22012");
	must_answer(placed(claims, W1, array_of(row[0], row[1]), array_of(place[0], place[0])), "22012");
	if (q->map.result == NULL && !q->map.partitioned)
		must_answer(placed(claims, W1, array_of(row[0], row[2]), array_of(place[0], place[1])), "22012");
	release(q, key[1], claim[1], W1, "t");
	must_answer(placed(claims, W1, array_of(row[0], row[1]), array_of(place[0], place[1])), "22012");
	claim[1] = claim_one(q, 2, W1);
	must_answer(placed(claims, W1, array_of(row[0], row[1]), array_of(place[0], place[1])), "22012");
	must_equal(q->db, "SELECT string_agg(status, ' ') FROM seen", "PROCESSING PROCESSING PROCESSING");
	keys = array_of(key[0], key[2]);
	claims = array_of(claim[0], claim[2]);
	ask(q, STMT_COMPLETE_PLACED, keys, claims, results, W1, array_of(row[0], row[2]), array_of(place[0], place[2]));
	must_answer(seen(q, 1, "status"), "COMPLETED");
	must_answer(seen(q, 2, "status"), "PROCESSING");
	must_answer(seen(q, 3, "status, result"), q->map.result != NULL ? "COMPLETED 2" : "COMPLETED ");
	must_answer(verdict(q, key[2], claim[2], W1), "already");
	must_answer(placed(claims, W1, array_of(row[0], row[2]), array_of(place[0], place[2])), "22012");
#undef placed
}
END_TEST

/* Claims made together are found by their batch, until the last of them has ended. */
START_TEST(the_claims_of_a_batch_are_listed_once)
{
	struct queue_story *q = start(_i, 12);
	const char *listed = "SELECT count(*) || ' ' || coalesce(sum(cardinality(job_ids)), 0) FROM unstuck.claim_batches";
	const char *keys, *claims, *rows = "SELECT count(*) FROM unstuck.active_claims WHERE worker_id = '" W1 "'";

	if (q->map.own)
		return;
	ask(q, STMT_CLAIM, "11", W1);
	ask(q, STMT_CLAIM, "1", W1);
	must_equal(q->db, listed, "1 11");
	must_equal(q->db, "SELECT count(*) || ' ' || count(batch) FROM unstuck.claims", "12 11");
	must_equal(q->db, rows, "12");
	ck_assert_uint_eq(text_count(ask(q, STMT_HELD, W1), ";"), 11);
	keys = sql_value(q->db, "SELECT array_agg(job_id ORDER BY claim_id) FROM unstuck.claims WHERE batch IS NOT NULL");
	claims = sql_value(q->db, "SELECT array_agg(claim_id ORDER BY claim_id) FROM unstuck.claims WHERE batch IS NOT NULL");
	ask(q, STMT_RELEASE, sql_value(q->db, "SELECT (array_agg(job_id ORDER BY claim_id))[:1] FROM unstuck.claims WHERE batch IS NOT NULL"),
	    sql_value(q->db, "SELECT (array_agg(claim_id ORDER BY claim_id))[:1] FROM unstuck.claims WHERE batch IS NOT NULL"), W1, "{t}");
	must_equal(q->db, rows, "11");
	ask(q, STMT_COMPLETE, keys, claims, sql_value(q->db, "SELECT array_fill('1'::text, ARRAY[11])"), W1);
	must_equal(q->db, rows, "1");
	must_equal(q->db, listed, "1 11");
	must_sql(q->db, "%s", sqltext("workers", "sweep"));
	must_equal(q->db, listed, "0 0");
	must_equal(q->db, rows, "1");
	ask(q, STMT_RELEASE_ALL, W1);
	must_equal(q->db, rows, "0");
}
END_TEST

/* As CLAIM does: in the order of the key, listed as a batch. Where one had been claimed before, none is. */
START_TEST(new_rows_are_claimed_as_by_claim_and_known_ones_refused)
{
	struct queue_story *q = start(_i, 24);
	bool placed = mapping_has(&q->map, STMT_COMPLETE_PLACED);
	const char *ids[12], *claims[12];
	PGresult *res;

	if (q->map.own)
		return;
	res = PQexecParams(q->session.conn, q->sql[STMT_CLAIM_NEW], 3, NULL, PARAMS("12", W1, NULL), NULL, NULL, 0);
	ck_assert_int_eq(PQntuples(res), 12);
	for (int i = 0; i < 12; i++) {
		ids[i] = story_text("%s", PQgetvalue(res, i, PQfnumber(res, "id")));
		claims[i] = story_text("%s", PQgetvalue(res, i, PQfnumber(res, "claim_id")));
		must_equal(q->db, story_text("SELECT claim_id || ' ' || attempts FROM unstuck.claims WHERE job_id = $k$%s$k$ AND batch = %s",
		                             ids[i], PQgetvalue(res, 0, PQfnumber(res, "batch"))),
		           story_text("%s %s", claims[i], PQgetvalue(res, i, PQfnumber(res, "attempt"))));
		must_equal(q->db, story_text("SELECT ($q$%s$q$::text[])[%d] = ctid::text FROM unstuck.claims WHERE claim_id = %s",
		                             PQgetvalue(res, 0, PQfnumber(res, "claim_places")), i + 1, claims[i]), "t");
	}
	must_equal(q->db, story_text("SELECT array_agg(k ORDER BY k::%s) = array_agg(k ORDER BY n) FROM unnest($k$%s$k$::text[])"
	                             " WITH ORDINALITY AS u(k, n)", q->map.id_type, array_of(ids[0], ids[1], ids[2], ids[3], ids[11])), "t");
	must_equal(q->db, "SELECT count(*) || ' ' || sum(cardinality(job_ids)) || ' ' || max(batch) FROM unstuck.claim_batches",
	           story_text("1 12 %s", PQgetvalue(res, 0, PQfnumber(res, "batch"))));
	if (placed)
		ask(q, STMT_COMPLETE_PLACED, array_of(ids[0], ids[1]), array_of(claims[0], claims[1]), array_of("1", "2"), W1,
		    array_of(PQgetvalue(res, 0, PQfnumber(res, "row_place")), PQgetvalue(res, 1, PQfnumber(res, "row_place"))),
		    sql_value(q->db, "SELECT ($q$%s$q$::text[])[:2]", PQgetvalue(res, 0, PQfnumber(res, "claim_places"))));
	PQclear(res);
	must_equal(q->db, "SELECT count(*) FROM seen WHERE status = 'COMPLETED'", placed ? "2" : "0");
	ask(q, STMT_RELEASE_ALL, W1);
	must_answer(ask_refused(q, STMT_CLAIM_NEW, "20", W1), "23505");
	must_equal(q->db, "SELECT count(*) FROM seen WHERE status = 'PROCESSING'", "0");
	ask(q, STMT_CLAIM, "20", W1);
	must_equal(q->db, "SELECT count(*) FROM seen WHERE status = 'PROCESSING'", "20");
	must_answer(ask(q, STMT_CLAIM_NEW, "2", "33333333-3333-4333-8333-333333333333"), "");	/* who is not there claims nothing */
}
END_TEST

START_TEST(a_batch_is_left_while_a_claim_of_it_runs)
{
	struct queue_story *q = start(_i, 10);

	if (q->map.own)
		return;
	ask(q, STMT_CLAIM, "10", W1);
	must_sql(q->db, "%s", sqltext("workers", "sweep"));
	must_equal(q->db, "SELECT count(*) FROM unstuck.active_claims", "10");
	ask(q, STMT_RELEASE_ALL, W1);
	must_equal(q->db, "SELECT count(*) FROM unstuck.active_claims", "0");
	must_equal(q->db, "SELECT count(*) FROM seen WHERE status = 'PENDING'", "10");
	ask(q, STMT_FORGET, W1, sql_value(q->db, "SELECT array_agg(batch) FROM unstuck.claim_batches"));
	must_equal(q->db, "SELECT count(*) FROM unstuck.claim_batches", "0");
}
END_TEST

/* ---- recovery ---- */

START_TEST(the_jobs_of_a_dead_worker_are_put_back_and_the_fourth_time_failed)
{
	struct queue_story *q = start(_i, 1);
	const char *key = key_of(q, 1);

	for (int times = 0; times < 4; times++) {
		if (times > 0)
			add_worker(q->db, W2);
		claim_one(q, 1, W2);
		must_answer(ask(q, STMT_STUCK, HOUR_S, "f", "f", NIL, "0", "3"), "");
		must_answer(ask_column(q, "reason", STMT_STUCK, HOUR_S, "f", "t", NIL, "0", "3"), "alive");
		must_sql(q->db, "DELETE FROM unstuck.workers WHERE worker_id = '" W2 "'");
		must_answer(ask_column(q, "reason", STMT_STUCK, HOUR_S, "f", "f", NIL, "0", "3"), "worker_lost");
		must_answer(ask_column(q, "worker", STMT_STUCK, HOUR_S, "f", "f", NIL, "0", "3"), W2);
		must_answer(ask_column(q, "action", STMT_STUCK, HOUR_S, "f", "f", NIL, "0", "3"), times < 3 ? "reset" : "fail");
		must_answer(reset(q, key, token_of(q)), story_text("%s|%s|worker_lost", key, times < 3 ? "reset" : "fail"));
		must_answer(ask(q, STMT_STUCK, HOUR_S, "f", "t", NIL, "0", "3"), "");
	}
	must_answer(seen(q, 1, "status, attempts, failures, recoveries"), "FAILED 4 0 4");
	must_equal(q->db, "SELECT last_error LIKE 'worker " W2 " is not registered; job claimed % s ago' FROM seen"
	                  " WHERE last_error IS NOT NULL", "t");
	must_equal(q->db, "SELECT string_agg(action || ' ' || reason || ' ' || (claim_id > 0) || ' ' || worker_id, ', ' ORDER BY id)"
	                  " = 'reset worker_lost true " W2 ", reset worker_lost true " W2 ", reset worker_lost true " W2
	                  ", fail worker_lost true " W2 "' FROM unstuck.recoveries", "t");
}
END_TEST

START_TEST(a_silent_worker_is_suspected_then_lost_and_its_jobs_reset_only_when_it_was_declared_dead)
{
	struct queue_story *q = start(_i, 1);
	const char *key = key_of(q, 1);

	claim_one(q, 1, W1);
	must_sql(q->db, "UPDATE unstuck.workers SET beat_at = now() - interval '74 s', heartbeat_s = 0.001 WHERE worker_id = '" W1 "'");
	must_answer(ask_column(q, "reason", STMT_STUCK, HOUR_S, "f", "f", NIL, "0", "3"), "worker_suspect");
	ck_assert_ptr_nonnull(strstr(ask_column(q, "observed", STMT_STUCK, HOUR_S, "f", "f", NIL, "0", "3"),
	                             "worker " W1 " on farm silent for 7"));
	must_answer(reset(q, key, token_of(q)), "");
	must_sql(q->db, "UPDATE unstuck.workers SET seen_n = beat_n, seen_at = now() - interval '1 s' WHERE worker_id = '" W1 "'");
	must_answer(ask_column(q, "reason", STMT_STUCK, HOUR_S, "f", "f", NIL, "0", "3"), "worker_lost");
	must_answer(reset(q, key, token_of(q)), "");
	must_answer(sql_value(q->db, "%s", sqltext("workers", "dead")), W1);
	must_answer(reset(q, key, token_of(q)), story_text("%s|reset|worker_lost", key));
}
END_TEST

START_TEST(what_changed_or_is_locked_after_the_preview_is_not_reset)
{
	struct queue_story *q = start(_i, 1), *other;
	const char *key = key_of(q, 1), *claim = claim_one(q, 1, W1), *token;

	must_sql(q->db, "DELETE FROM unstuck.workers WHERE worker_id = '" W1 "'");
	token = token_of(q);
	must_answer(reset(q, key, "1"), "");

	/* somebody has it locked: neither waited for nor touched */
	other = another_session(q);
	PQclear(PQexec(other->session.conn, "BEGIN"));
	ask(other, STMT_COMPLETE, array_of(key), array_of(claim), array_of("1"), W1);
	must_answer(reset(q, key, token), "");
	PQclear(PQexec(other->session.conn, "ROLLBACK"));

	/* its owner is there again after all */
	add_worker(q->db, W1);
	must_answer(reset(q, key, token), "");
	must_sql(q->db, "DELETE FROM unstuck.workers WHERE worker_id = '" W1 "'");

	/* released and claimed by another one in between */
	ask(q, STMT_RELEASE_ALL, W1);
	claim_one(q, 1, W2);
	must_sql(q->db, "DELETE FROM unstuck.workers");
	must_answer(reset(q, key, token), "");
	must_answer(reset(q, key, token_of(q)), story_text("%s|reset|worker_lost", key));
	session_close(&other->session);
}
END_TEST

START_TEST(a_result_after_a_recovery_counts_until_somebody_claims_again)
{
	struct queue_story *q = start(_i, 1);
	const char *key = key_of(q, 1), *claim = claim_one(q, 1, W1);

	must_sql(q->db, "DELETE FROM unstuck.workers WHERE worker_id = '" W1 "'");
	must_answer(reset(q, key, token_of(q)), story_text("%s|reset|worker_lost", key));
	must_answer(verdict(q, key, claim, W1), "reset");
	must_answer(complete(q, key, claim, W1), key);
	must_answer(seen(q, 1, "status, recoveries"), "COMPLETED 1");
}
END_TEST

START_TEST(with_liveness_ignored_age_alone_decides)
{
	struct queue_story *q = start(_i, 1);
	const char *key = key_of(q, 1), *token;

	claim_one(q, 1, W1);
	must_answer(ask(q, STMT_STUCK, HOUR_S, "t", "f", NIL, "0", "3"), "");
	must_sql(q->db, "UPDATE unstuck.jobs SET claimed_at = now() - interval '2 h';"
	                "UPDATE unstuck.claims SET claimed_at = now() - interval '2 h'");
	must_answer(ask(q, STMT_STUCK, HOUR_S, "f", "f", NIL, "0", "3"), "");
	must_answer(ask_column(q, "reason", STMT_STUCK, HOUR_S, "t", "f", NIL, "0", "3"), "forced");
	token = ask_column(q, "token", STMT_STUCK, HOUR_S, "t", "f", NIL, "0", "3");
	must_answer(reset(q, key, token), "");
	must_answer(ask(q, STMT_RESET, array_of(key), array_of(token), "99999", "t", "3"), "");
	must_answer(ask(q, STMT_RESET, array_of(key), array_of(token), HOUR_S, "t", "3"), story_text("%s|reset|forced", key));
}
END_TEST

/* ---- the two statements that reset jobs of the own table ---- */

#define NOBODY "33333333-3333-4333-8333-333333333333"
#define LONG_AGO "now() - interval '2 h'"
#define SILENT "UPDATE unstuck.workers SET beat_at = " LONG_AGO ", seen_n = beat_n, seen_at = " LONG_AGO
/* What is reset by its owner's death, and what when age alone decides. */
static const struct { const char *row, *workers, *by_death, *by_age; } situations[] = {
	{ "worker_id = NULL, claimed_at = NULL, updated_at = " LONG_AGO, "", "timeout", "timeout" },
	{ "worker_id = NULL, claimed_at = " LONG_AGO ", updated_at = now()", "", "", "" },
	{ "worker_id = '" NOBODY "', claimed_at = now(), updated_at = " LONG_AGO, "", "worker_lost", "" },
	{ "worker_id = '" NOBODY "', claimed_at = NULL, updated_at = " LONG_AGO, "", "worker_lost", "timeout" },
	{ "worker_id = '" W1 "', claimed_at = " LONG_AGO, "", "", "forced" },
	{ "worker_id = '" W1 "', claimed_at = " LONG_AGO, SILENT, "", "forced" },
	{ "worker_id = '" W1 "', claimed_at = now()", SILENT, "", "" },
};

/* What a statement answers and leaves behind; it is undone. */
static const char *outcome_of(struct queue_story *q, enum statement s, const char *token, const char *ignore, const char *limit)
{
	struct error err = ERROR_INIT;
	char *left = NULL;
	const char *answer;

	PQclear(PQexec(q->session.conn, "BEGIN"));
	answer = ask(q, s, "{1}", array_of(token), HOUR_S, ignore, limit);
	ck_assert_int_eq(session_value(&q->session, &err, &left,
	                 "SELECT concat_ws(' ', j.status, j.recoveries, regexp_replace(j.last_error, '[0-9]+ s', 'N s', 'g'), j.finished_at IS NULL,"
	                 " j.updated_at > now() - interval '1 min', j.run_at = j.created_at, (SELECT r.job_id || r.claim_id || r.action || r.reason"
	                 " FROM unstuck.recoveries AS r)) FROM unstuck.jobs AS j", 0, NULL), 0);
	PQclear(PQexec(q->session.conn, "ROLLBACK"));
	answer = story_text("%s: %s", answer, left);
	free(left);
	return answer;
}

START_TEST(a_free_row_is_judged_as_a_locked_one_is)
{
	struct queue_story *q = start(0, 1);
	bool by_age = _i % 2 == 1;
	const char *limit = _i / 2 % 2 == 1 ? "0" : "3", *ignore = by_age ? "t" : "f", *reason, *token, *free_row, *expected;

	claim_one(q, 1, W1);
	must_sql(q->db, "UPDATE unstuck.jobs SET run_at = created_at");
	for (size_t i = 0; i < ARRAY_SIZE(situations); i++) {
		reason = by_age ? situations[i].by_age : situations[i].by_death;
		must_sql(q->db, "UPDATE unstuck.workers SET beat_at = now(); %s", situations[i].workers);
		must_sql(q->db, "UPDATE unstuck.jobs SET %s", situations[i].row);
		token = sql_value(q->db, "SELECT xmin FROM unstuck.jobs");
		free_row = outcome_of(q, STMT_RESET_FREE, token, ignore, limit);
		ck_assert_str_eq(free_row, outcome_of(q, STMT_RESET, token, ignore, limit));
		expected = reason[0] == '\0' ? ": PROCESSING" : story_text("1|%s|%s", limit[0] == '0' ? "fail" : "reset", reason);
		ck_assert_msg(strstr(free_row, expected) != NULL, "%zu: %s", i, free_row);
	}
}
END_TEST

START_TEST(a_row_with_a_lock_is_left_to_the_statement_that_locks)
{
	struct queue_story *q = start(0, 1), *other;
	const char *token;

	claim_one(q, 1, W1);	/* locked and then written by one transaction: that lock is over */
	must_equal(q->db, "SELECT xmax = xmin FROM unstuck.jobs", "t");
	must_sql(q->db, "DELETE FROM unstuck.workers WHERE worker_id = '" W1 "'");
	token = token_of(q);
	must_answer(ask(q, STMT_RESET_FREE, "{1}", "{7}", HOUR_S, "f", "3"), "");
	PQclear(PQexec(q->session.conn, "BEGIN"));
	must_answer(ask(q, STMT_RESET_FREE, "{1}", array_of(token), HOUR_S, "f", "3"), "1|reset|worker_lost");
	PQclear(PQexec(q->session.conn, "ROLLBACK"));

	must_sql(q->db, "UPDATE unstuck.jobs SET updated_at = now()");
	token = token_of(q);
	other = another_session(q);
	PQclear(PQexec(other->session.conn, "BEGIN; SELECT FROM unstuck.jobs FOR KEY SHARE"));
	must_answer(ask(q, STMT_RESET_FREE, "{1}", array_of(token), HOUR_S, "f", "3"), "");
	PQclear(PQexec(other->session.conn, "ROLLBACK"));
	must_answer(ask(q, STMT_RESET_FREE, "{1}", array_of(token), HOUR_S, "f", "3"), "");
	must_answer(reset(q, "1", token), "1|reset|worker_lost");
	session_close(&other->session);
}
END_TEST

START_TEST(a_row_set_processing_by_hand_goes_by_its_age)
{
	struct queue_story *q = start(_i, 3);
	const struct mapping *m = &q->map;
	struct buf set = BUF_INIT;

	if (m->own) {
		buf_adds(&set, "UPDATE unstuck.jobs SET status = 'PROCESSING', updated_at = now()");
	} else {
		buf_adds(&set, "UPDATE ");
		buf_addf(&set, "%s SET ", m->source);
		ident_quote(&set, m->status);
		buf_adds(&set, " = 'PROCESSING'");
		if (m->updated_at != NULL) {
			buf_adds(&set, ", ");
			ident_quote(&set, m->updated_at);
			buf_addf(&set, " = now()%s%s%s", m->updated_at_zoned ? "" : " AT TIME ZONE '",
			         m->updated_at_zoned ? "" : q->set.queues[0].timezone, m->updated_at_zoned ? "" : "'");
		}
	}
	must_sql(q->db, "%s - interval '0 s'", m->own || m->updated_at != NULL ? set.data : "SELECT now()");
	if (!m->own && m->updated_at == NULL) {		/* nobody knows how old it is: counted, never reset */
		must_sql(q->db, "%s", set.data);
		must_answer(ask(q, STMT_STUCK, "0", "f", "f", NIL, "0", "3"), "");
		must_answer(ask(q, STMT_AGELESS), "3");
	} else {
		must_answer(ask(q, STMT_STUCK, HOUR_S, "f", "f", NIL, "0", "3"), "");
		must_answer(ask(q, STMT_AGELESS), "0");
		must_sql(q->db, "%s - interval '2 h'", set.data);
		must_answer(ask_column(q, "reason", STMT_STUCK, HOUR_S, "f", "f", NIL, "0", "3"), "timeout");
		must_answer(ask_column(q, "worker", STMT_STUCK, HOUR_S, "f", "f", NIL, "0", "3"), "");
		must_answer(ask(q, STMT_PROCESSING), "3");
		must_answer(reset(q, ask_column(q, "id", STMT_STUCK, HOUR_S, "f", "f", NIL, "0", "3"), token_of(q)),
		            story_text("%s|reset|timeout", key_of(q, 1)));
		must_answer(ask(q, STMT_PROCESSING), "2");
		must_equal(q->db, "SELECT min(reason) || count(*) || coalesce(min(worker_id::text), '') FROM unstuck.recoveries",
		           "timeout1");
		claim_one(q, 1, W1);
		must_answer(seen(q, 1, "attempts, recoveries"), "1 1");
		must_sql(q->db, "%s + interval '2 h'", set.data);	/* the future: no age */
		must_answer(ask(q, STMT_STUCK, "1", "f", "f", NIL, "0", "3"), "");
	}
	buf_release(&set);
}
END_TEST

/* ---- many at once ---- */

#define CLAIMERS 8
#define MANY 4000

static int claim_until_empty(struct queue_story *q, int number)
{
	const char *limit = story_text("%d", 1 + number * 3);
	const char *params[] = { limit, W1, NULL };

	for (;;) {
		PGresult *res = PQexecParams(q->session.conn, q->sql[STMT_CLAIM], 3, NULL, params, NULL, NULL, 0);
		int n = PQntuples(res);

		if (PQresultStatus(res) != PGRES_TUPLES_OK || n > 1 + number * 3)
			return 1;
		for (int i = 0; i < n; i++) {
			const char *row[] = { PQgetvalue(res, i, 0), PQgetvalue(res, i, 1) };
			PGresult *noted = PQexecParams(q->session.conn, "INSERT INTO handed_out VALUES ($1, $2::bigint)", 2, NULL, row,
			                               NULL, NULL, 0);
			if (PQresultStatus(noted) != PGRES_COMMAND_OK)
				return 2;
			PQclear(noted);
		}
		PQclear(res);
		if (n == 0)
			return 0;
	}
}

START_TEST(eight_claimers_never_get_a_job_twice)
{
	struct queue_story *q = start(_i, MANY);

	must_sql(q->db, "CREATE TABLE handed_out (id text, claim_id bigint)");
	in_processes(CLAIMERS, claim_until_empty, q);
	must_equal(q->db, "SELECT count(*) || ' ' || count(DISTINCT id) || ' ' || count(DISTINCT claim_id) FROM handed_out",
	           "4000 4000 4000");
	must_equal(q->db, "SELECT count(*) FROM seen JOIN handed_out h USING (id, claim_id) WHERE status = 'PROCESSING'", "4000");
}
END_TEST

/* What each of the processes below writes, again and again, and takes back. */
static struct {
	enum statement statement;
	const char *params[8];
	int n;
} batches[5];

/* Without an order of the locks these deadlock within a second. */
static int write_batches(struct queue_story *q, int number)
{
	PGconn *conn = q->session.conn;

	for (int i = 0; i < 150; i++) {
		PQclear(PQexec(conn, "BEGIN"));
		PGresult *res = PQexecParams(conn, q->sql[batches[number].statement], batches[number].n, NULL,
		                             batches[number].params, NULL, NULL, 0);
		if (PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) != 40)
			return 1;
		PQclear(res);
		PQclear(PQexec(conn, "ROLLBACK"));
	}
	return 0;
}

#define AGGREGATE(what, order) \
	sql_value(q->db, "SELECT array_agg(%s ORDER BY id %s) FROM seen WHERE status = 'PROCESSING'", what, order)

START_TEST(batches_in_opposite_order_do_not_deadlock)
{
	struct queue_story *q = start(_i, 40);
	const char *up, *down, *claims_up, *claims_down, *texts = sql_value(q->db, "SELECT array_fill('1'::text, ARRAY[40])"),
	           *kinds_all = sql_value(q->db, "SELECT array_fill('retry'::text, ARRAY[40])"),
	           *yes = sql_value(q->db, "SELECT array_fill(true, ARRAY[40])"),
	           *nulls = sql_value(q->db, "SELECT array_fill(NULL::text, ARRAY[40])");

	ask(q, STMT_CLAIM, "40", W1);
	up = AGGREGATE("id", "ASC"), down = AGGREGATE("id", "DESC");
	claims_up = AGGREGATE("claim_id", "ASC"), claims_down = AGGREGATE("claim_id", "DESC");
	batches[0].statement = STMT_COMPLETE, batches[0].n = 4;
	memcpy(batches[0].params, WORDS(up, claims_up, texts, W1), 4 * sizeof(char *));
	batches[1].statement = STMT_COMPLETE, batches[1].n = 4;
	memcpy(batches[1].params, WORDS(down, claims_down, texts, W1), 4 * sizeof(char *));
	batches[2].statement = STMT_FAIL, batches[2].n = 8;
	memcpy(batches[2].params, WORDS(down, claims_down, W1, kinds_all, texts, texts, nulls, nulls), 8 * sizeof(char *));
	batches[3].statement = STMT_RELEASE, batches[3].n = 4;
	memcpy(batches[3].params, WORDS(up, claims_up, W1, yes), 4 * sizeof(char *));
	batches[4].statement = STMT_RELEASE_ALL, batches[4].n = 1;
	memcpy(batches[4].params, WORDS(W1), sizeof(char *));
	in_processes(5, write_batches, q);
	must_equal(q->db, "SELECT sum(deadlocks) FROM pg_stat_database", "0");
}
END_TEST

/* ---- plans ---- */

/* A worker prepares its statements, and may poll for weeks before the first jobs come. */
START_TEST(a_plan_made_while_all_was_empty_is_good_when_it_is_full)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = queue_of_kind(db, &kinds[_i], 0);
	struct error err = ERROR_INIT;

	add_worker(db, W1);
	must_sql(db, "ALTER TABLE %s SET (autovacuum_enabled = off); ALTER TABLE unstuck.claims SET (autovacuum_enabled = off)",
	         q->map.source);
	PQclear(session_exec(&q->session, &err, pg_session_sql(), 0, NULL));
	PQclear(session_exec(&q->session, &err, story_text("PREPARE claim AS %s", q->sql[STMT_CLAIM]), 0, NULL));
	for (int i = 0; i < 8; i++)
		PQclear(session_exec(&q->session, &err, "EXECUTE claim (10, '" W1 "', NULL)", 0, NULL));
	must_sql(db, "WITH g AS (SELECT g FROM generate_series(1, 20000) AS g) %s", kinds[_i].add);
	PGresult *res = session_exec(&q->session, &err, "EXPLAIN EXECUTE claim (10, '" W1 "', NULL)", 0, NULL);
	ck_assert_msg(err.kind == ERR_NONE, "%s", err.text);
	for (int i = 0; i < PQntuples(res); i++)
		ck_assert_msg(strstr(PQgetvalue(res, i, 0), "Seq Scan") == NULL, "%s", PQgetvalue(res, i, 0));
	PQclear(res);
}
END_TEST

/* ---- life and death ---- */

START_TEST(a_worker_that_was_declared_dead_cannot_claim)
{
	struct queue_story *q = start(_i, 1);

	must_sql(q->db, "DELETE FROM unstuck.workers WHERE worker_id = '" W1 "'");
	must_answer(ask(q, STMT_CLAIM, "5", W1), "");
	must_answer(seen(q, 1, "status, coalesce(attempts, 0)"), "PENDING 0");
}
END_TEST

/* A claim under way and a declaration of death: one of them wins, and what was claimed is seen by recover. */
START_TEST(a_claim_and_a_declaration_of_death_exclude_each_other)
{
	struct queue_story *q = start(_i, 1), *other = another_session(q);
	PGconn *conn = other->session.conn;

	must_sql(q->db, "UPDATE unstuck.workers SET beat_at = now() - interval '1 d', seen_n = 0, seen_at = now() - interval '1 h',"
	                " heartbeat_s = 0.001 WHERE worker_id = '" W1 "'");
	PQclear(PQexec(conn, "BEGIN"));
	ask(other, STMT_CLAIM, "1", W1);
	must_answer(sql_value(q->db, "%s", sqltext("workers", "dead")), "");
	PQclear(PQexec(conn, "COMMIT"));
	must_answer(sql_value(q->db, "%s", sqltext("workers", "dead")), W1);
	must_answer(ask_column(q, "reason", STMT_STUCK, HOUR_S, "f", "f", NIL, "0", "3"), "worker_lost");

	/* the other way round: the claim waits for the declaration, and then takes nothing */
	reset(q, key_of(q, 1), token_of(q));
	PQclear(PQexec(conn, "BEGIN"));
	PQclear(PQexec(conn, "DELETE FROM unstuck.workers WHERE worker_id = '" W2 "'"));
	const char *params[] = { "1", W2, NULL };
	PQsendQueryParams(q->session.conn, q->sql[STMT_CLAIM], 3, NULL, params, NULL, NULL, 0);
	must_become(q->db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
	            "1", 5000);
	PQclear(PQexec(conn, "COMMIT"));
	PGresult *res = PQgetResult(q->session.conn);
	ck_assert_int_eq(PQresultStatus(res), PGRES_TUPLES_OK);
	ck_assert_int_eq(PQntuples(res), 0);
	PQclear(res);
	PQclear(PQgetResult(q->session.conn));
	must_answer(seen(q, 1, "status"), "PENDING");
	session_close(&other->session);
}
END_TEST

/* A claim by keys finds the row as it is after the lock. One by places leaves it to the next claim: where it lies now it did not see. */
START_TEST(a_row_that_is_written_while_it_is_claimed_is_claimed_once)
{
	enum statement form = _i == 0 ? STMT_CLAIM : STMT_CLAIM_NEW;
	struct testdb *db = must_have_db();
	struct queue_story *q;
	PGresult *res;

	must_sql(db, "CREATE TABLE films (id bigint PRIMARY KEY, status text, title text);"
	             "INSERT INTO films SELECT g, 'READY' FROM generate_series(1, 3) g");
	add_worker(db, W1);
	q = queue_story(db, "[queue q]\nhandler = true\ntable = films\nready = READY\nprocessing = RUNNING\ndone = DONE\nfailed = FAILED\n"
	                    "reset_to = READY\nwhere = pg_advisory_xact_lock_shared(77)::text = ''\n");
	PGconn *holder = testdb_connect(db);
	PQclear(PQexec(holder, "SELECT pg_advisory_lock(77)"));
	PQsendQueryParams(q->session.conn, q->sql[form], 3, NULL, PARAMS("3", W1, NULL), NULL, NULL, 0);
	must_become(db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'", "1", 20000);
	must_sql(db, "UPDATE films SET title = 'written' WHERE id = 2");
	PQfinish(holder);
	res = PQgetResult(q->session.conn);
	ck_assert_msg(PQresultStatus(res) == PGRES_TUPLES_OK, "%s", PQresultErrorMessage(res));
	ck_assert_int_eq(PQntuples(res), form == STMT_CLAIM ? 3 : 2);
	PQclear(res);
	PQclear(PQgetResult(q->session.conn));
	must_equal(db, "SELECT count(*) FROM films WHERE (status = 'RUNNING') <> EXISTS (SELECT FROM unstuck.claims k WHERE k.job_id = id::text)", "0");
	ask(q, form, "3", W1);
	must_equal(db, "SELECT count(*) || ' ' || max(attempts) || ' ' || max(title) FROM unstuck.claims k JOIN films f ON f.id::text = k.job_id"
	               " WHERE f.status = 'RUNNING' AND k.state = 'ACTIVE'", "3 1 written");
}
END_TEST

/* The row that a waiting write sees is the one after the lock, not the one of its snapshot. */
START_TEST(a_write_that_waited_checks_what_it_waited_for)
{
	struct queue_story *q = start(_i, 1), *other = another_session(q);
	const char *key = key_of(q, 1), *claim = claim_one(q, 1, W1), *newer;
	PGconn *conn = other->session.conn;

	PQclear(PQexec(conn, "BEGIN"));
	ask(other, STMT_RELEASE_ALL, W1);
	newer = claim_one(other, 1, W2);
	const char *params[] = { array_of(key), array_of(claim), array_of("\"old\""), W1 };
	PQsendQueryParams(q->session.conn, q->sql[STMT_COMPLETE], 4, NULL, params, NULL, NULL, 0);
	must_become(q->db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
	            "1", 5000);
	PQclear(PQexec(conn, "COMMIT"));
	PGresult *res = PQgetResult(q->session.conn);
	ck_assert_int_eq(PQresultStatus(res), PGRES_TUPLES_OK);
	ck_assert_int_eq(PQntuples(res), 0);
	PQclear(res);
	PQclear(PQgetResult(q->session.conn));
	must_answer(verdict(q, key, claim, W1), "fenced");
	must_answer(complete(q, key, newer, W2), key);
	session_close(&other->session);
}
END_TEST

/* Everything at once, for a while: claimers, a recover that shoots the living, failures, releases. */
#define STORM_JOBS 400
static int storm(struct queue_story *q, int number)
{
	struct error err = ERROR_INIT;
	uint64_t end = story_until(45000);
	const char *worker = story_text("%08d-0000-4000-8000-000000000000", number + 1);

	srandom((unsigned)number + 7);
	for (unsigned turn = 0;; turn++) {
		const char *claim[] = { "5", worker, NULL }, *register_it[] = { worker };
		PGresult *res, *left = session_exec(&q->session, &err,
		                                    "SELECT 1 FROM seen WHERE status IN ('PENDING', 'PROCESSING') LIMIT 1", 0, NULL);
		int n = PQntuples(left);

		PQclear(left);
		if (err.kind != ERR_NONE)
			return 1;
		if (n == 0)
			return 0;
		if (!story_wait(end))
			return 9;
		if (number < 2) {		/* recover: declares anybody dead */
			const char *ask_stuck[] = { "3600", "f", "f", NULL, "0", "1000000" };

			PQclear(session_exec(&q->session, &err, "DELETE FROM unstuck.workers WHERE random() < 0.1", 0, NULL));
			res = session_exec(&q->session, &err, q->sql[STMT_STUCK], 6, ask_stuck);
			for (int i = 0; i < PQntuples(res); i++) {
				const char *apply[] = { text_array(WORDS(PQgetvalue(res, i, 0))), text_array(WORDS(PQgetvalue(res, i, 1))),
				                        "3600", "f", "1000000" };
				if (number == 0 && q->map.own)
					PQclear(session_exec(&q->session, &err, q->sql[STMT_RESET_FREE], 5, apply));
				PQclear(session_exec(&q->session, &err, q->sql[STMT_RESET], 5, apply));
			}
			PQclear(res);
			continue;
		}
		PQclear(session_exec(&q->session, &err, "INSERT INTO unstuck.workers (worker_id, host, pid, version, heartbeat_s,"
		                     " timeout_s) VALUES ($1::uuid, 'h', 1, '1', 10, 60) ON CONFLICT DO NOTHING", 1, register_it));
		res = session_exec(&q->session, &err, q->sql[STMT_CLAIM], 3, claim);
		for (int i = 0; i < PQntuples(res); i++) {
			const char *id = text_array(WORDS(PQgetvalue(res, i, 0))), *token = text_array(WORDS(PQgetvalue(res, i, 1)));
			const char *done[] = { id, token, "{1}", worker };
			const char *failed[] = { id, token, worker, "{retry}", "{x}", "{0}", "{NULL}", "{NULL}" };
			const char *released[] = { id, token, worker, "{t}" };
			long dice = random() % 10;
			PGresult *wrote = dice < 5 ? session_exec(&q->session, &err, q->sql[STMT_COMPLETE], 4, done)
			                : dice < 7 ? session_exec(&q->session, &err, q->sql[STMT_FAIL], 8, failed)
			                : dice < 9 ? session_exec(&q->session, &err, q->sql[STMT_RELEASE], 4, released)
			                           : NULL;

			if (dice < 5 && PQntuples(wrote) == 1)
				PQclear(session_exec(&q->session, &err, "INSERT INTO stored VALUES ($1)", 1,
				                     &(const char *){ PQgetvalue(wrote, 0, 0) }));
			PQclear(wrote);
		}
		PQclear(res);
		if (turn % 7 == 0)
			PQclear(session_exec(&q->session, &err, q->sql[STMT_RELEASE_ALL], 1, register_it));
	}
}

START_TEST(in_a_storm_of_claims_failures_and_false_deaths_each_job_is_stored_once)
{
	struct testdb *db = must_have_db();
	struct queue_story *q;

	must_sql(db, "CREATE TABLE stored (id text)");
	struct kind kind = kinds[_i];
	const char *budget = strstr(kind.ini, "= 3\n");
	kind.ini = story_text("%.*s= 1000000%s", (int)(budget - kind.ini), kind.ini, budget + 3);
	q = queue_of_kind(db, &kind, STORM_JOBS);
	in_processes(6, storm, q);
	must_equal(db, "SELECT count(*) FROM seen WHERE status = 'COMPLETED'", "400");
	must_equal(db, "SELECT count(*) || ' ' || count(DISTINCT id) FROM stored", "400 400");
	must_equal(db, "SELECT count(*) > 0 FROM unstuck.recoveries", "t");
}
END_TEST

static void add_all(TCase *tc, const TTest *const *tests, size_t n, int from, int to)
{
	for (size_t i = 0; i < n; i++)
		tcase_add_loop_test(tc, tests[i], from, to);
}

int main(void)
{
	const TTest *const all[] = {
		a_job_is_claimed_done_and_done_only_once,
		every_write_needs_the_token,
		a_result_of_the_last_holder_counts_until_somebody_claims_again,
		a_job_is_retried_after_its_delay_and_failed_when_its_budget_is_spent,
		a_failure_for_good_needs_no_budget_and_its_bytes_are_kept_once,
		a_release_counts_nothing,
		one_bad_result_stores_none_of_its_batch_and_alone_fails_alone,
		complete_all_is_all_or_an_error, complete_placed_is_complete_all_where_nobody_has_written,
		the_claims_of_a_batch_are_listed_once, new_rows_are_claimed_as_by_claim_and_known_ones_refused, a_batch_is_left_while_a_claim_of_it_runs,
		the_jobs_of_a_dead_worker_are_put_back_and_the_fourth_time_failed,
		a_silent_worker_is_suspected_then_lost_and_its_jobs_reset_only_when_it_was_declared_dead,
		what_changed_or_is_locked_after_the_preview_is_not_reset,
		a_result_after_a_recovery_counts_until_somebody_claims_again,
		with_liveness_ignored_age_alone_decides,
		a_row_set_processing_by_hand_goes_by_its_age,
		a_worker_that_was_declared_dead_cannot_claim,
	};
	const TTest *const concurrent[] = {
		eight_claimers_never_get_a_job_twice,
		batches_in_opposite_order_do_not_deadlock,
		a_claim_and_a_declaration_of_death_exclude_each_other,
		a_write_that_waited_checks_what_it_waited_for,
		in_a_storm_of_claims_failures_and_false_deaths_each_job_is_stored_once,
	};
	Suite *s = suite_create("sql");
	TCase *every_kind = queue_case(s, "every kind of table"), *races = queue_case(s, "races"), *plans = queue_case(s, "plans"),
	      *own = queue_case(s, "own table");

	add_all(every_kind, all, ARRAY_SIZE(all), 0, kinds_len);
	add_all(races, concurrent, ARRAY_SIZE(concurrent), 0, 3);
	tcase_add_loop_test(own, a_free_row_is_judged_as_a_locked_one_is, 0, 4);
	tcase_add_test(own, a_row_with_a_lock_is_left_to_the_statement_that_locks);
	tcase_add_loop_test(races, a_row_that_is_written_while_it_is_claimed_is_claimed_once, 0, 2);
	tcase_add_loop_test(plans, a_plan_made_while_all_was_empty_is_good_when_it_is_full, 0, 2);
	return check_main(s);
}
