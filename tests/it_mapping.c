/*
 * it_mapping.c - stories about queues on an application's own table: what is refused
 * and found beforehand, and how we live with what the application does to its rows.
 */
#include <stdio.h>
#include "queue_story.h"

#define QUEUE "[queue videos]\nhandler = /bin/cat\ntable = videos\nstatus = state\ntimezone = UTC\n"
#define READY "ready = READY\n"
#define KEYS_STUCK "3600", "f", "f", NIL, "0", "3"

/* videos(id, state, title, priority, updated_at) with so many READY rows, and a worker. */
static struct testdb *videos(int rows)
{
	struct testdb *db = must_have_db();

	add_worker(db, W1);
	add_worker(db, W2);
	must_sql(db, "CREATE TABLE videos (id bigint PRIMARY KEY, state varchar(12), title text, priority int NOT NULL DEFAULT 0,"
	             " updated_at timestamp(0) DEFAULT (now() AT TIME ZONE 'UTC'));"
	             "INSERT INTO videos SELECT g, 'READY', 'title ' || g FROM generate_series(1, %d) AS g", rows);
	return db;
}

static const char *claimed(struct queue_story *q, const char *worker)
{
	return ask_column(q, "claim_id", STMT_CLAIM, "1", worker);
}

#define complete(q, id, claim) ask(q, STMT_COMPLETE, array_of(id), array_of(claim), "{1}", W1)
#define verdict(q, id, claim) ask_column(q, "verdict", STMT_CLASSIFY, array_of(id), array_of(claim), W1)

/* ---- refused before anything is claimed ---- */

static const struct {
	const char *ini, *tells;
} refused[] = {
	{ "[queue q]\ntable = vidoes\nstatus = state\n" READY, "table: there is no table vidoes; is it videos?" },
	{ "[queue q]\ntable = nowhere.videos\nstatus = state\n" READY, "table: there is no table nowhere.videos" },
	{ "[queue q]\ntable = seen_videos\nstatus = state\n" READY, "public.seen_videos is a view" },
	{ "[queue q]\ntable = videos\nstatus = stat\n" READY, "status: public.videos has no column stat; is it state?" },
	{ "[queue q]\ntable = videos\nstatus = state\nid = title\n" READY, "id: column title of public.videos is no key" },
	{ "[queue q]\ntable = videos\nstatus = state\nid = priority\n" READY, "CREATE UNIQUE INDEX ON public.videos (priority)" },
	{ QUEUE READY "payload = titel\n", "payload: public.videos has no column titel; is it title?" },
	{ QUEUE READY "show = nothing_like_it\n", "show: public.videos has no column nothing_like_it" },
	{ QUEUE READY "updated_at = changed\n", "updated_at: public.videos has no column changed" },
	{ QUEUE READY "updated_at = priority\n", "updated_at: column priority of public.videos is of type integer; expected a timestamp" },
	{ QUEUE READY "result = priority\n", "result: column priority of public.videos is of type integer" },
	{ QUEUE READY "done = VIDEO_ANALYSIS_COMPLETED\n", "done: VIDEO_ANALYSIS_COMPLETED does not fit column state" },
	{ "[queue q]\ntable = videos\nstatus = state\ntimezone = Mars/Phobos\n" READY, "timezone: the server does not know Mars/Phobos" },
	{ "[queue q]\ntable = moods\nstatus = mood\nready = sad\ndone = happy\nfailed = sad2\nprocessing = busy\n",
	  "failed: sad2 is no value of type mood of column mood (it has sad, busy, happy)" },
};

START_TEST(a_mapping_that_cannot_work_is_refused_with_the_remedy)
{
	struct testdb *db = videos(0);
	const char *ini = refused[_i].ini;

	must_sql(db, "CREATE VIEW seen_videos AS SELECT * FROM videos;"
	             "CREATE UNIQUE INDEX ON videos (title) WHERE state = 'READY';"
	             "CREATE TYPE mood AS ENUM ('sad', 'busy', 'happy'); CREATE TABLE moods (id int PRIMARY KEY, mood mood)");
	const char *told = queue_refused(db, story_text("%s%s", ini, strstr(ini, "handler") ? "" : "handler = /bin/cat\n"));
	if (strstr(told, refused[_i].tells) == NULL)
		story_fail("told: %s\nnot: %s", told, refused[_i].tells);
}
END_TEST

START_TEST(a_missing_right_is_named_with_the_grant_that_mends_it)
{
	struct testdb *db = videos(1), as = *db;
	const char *told;

	must_sql(db, "CREATE ROLE %s_user LOGIN", db->name);
	as.url = story_text("postgresql:///%s?host=%s&port=5432&user=%s_user", db->name, server_dir(), db->name);
	told = queue_refused(&as, QUEUE READY);
	ck_assert_msg(strstr(told, "may not use schema unstuck: GRANT") != NULL, "%s", told);
	must_sql(db, "GRANT unstuck_read TO %s_user", db->name);
	told = queue_refused(&as, QUEUE READY);
	ck_assert_msg(strstr(told, "GRANT unstuck_worker") != NULL, "%s", told);
	must_sql(db, "GRANT unstuck_worker TO %s_user", db->name);
	told = queue_refused(&as, QUEUE READY);
	ck_assert_msg(strstr(told, story_text("GRANT SELECT (\"id\") ON public.videos TO %s_user", db->name)) != NULL, "%s", told);
	must_sql(db, "GRANT SELECT ON videos TO %s_user", db->name);
	told = queue_refused(&as, QUEUE READY);
	ck_assert_msg(strstr(told, "GRANT UPDATE (\"state\") ON public.videos") != NULL, "%s", told);
	must_sql(db, "GRANT UPDATE (state, updated_at) ON videos TO %s_user", db->name);
	struct queue_story *q = queue_story(&as, QUEUE READY);
	ask(q, STMT_CLAIM, "1", W1);
	ask(q, STMT_RELEASE_ALL, W1);
	session_close(&q->session);
	must_sql(db, "DROP OWNED BY %s_user; DROP ROLE %s_user", db->name, db->name);
}
END_TEST

/* ---- check ---- */

/* All findings as "level text" lines. */
static const char *check(struct queue_story *q)
{
	struct findings f = FINDINGS_INIT;
	struct error err = ERROR_INIT;
	struct buf b = BUF_INIT;
	const char *out;

	if (mapping_check(&q->map, &q->session, &f, &err) < 0)
		story_fail("%s", err.text);
	for (size_t i = 0; i < f.len; i++)
		buf_addf(&b, "%c %s\n", "-WE"[f.v[i].level], f.v[i].text);
	out = story_text("%s", buf_text(&b));
	buf_release(&b);
	findings_release(&f);
	return out;
}

#define must_find(text, what) do { if (strstr(text, what) == NULL) story_fail("%s\nis not in:\n%s", what, text); } while (0)

static const struct {
	const char *ini, *finds;
} findings[] = {
	{ "where = deleted_at IS NULL\n", "E where: column \"deleted_at\" does not exist" },
	{ "where = true OR\n", "E where: syntax error" },
	{ "where = true ORDER BY id\n", "E statement claim: syntax error" },
	{ "order_by = prio\n", "E order_by: column \"prio\" does not exist" },
	{ "on_success = INSERT INTO results VALUES ($1, $2)\n", "E on_success: relation \"results\" does not exist" },
	{ "on_success = SELECT $1, $2, $3\n", "E on_success: there are only $1, the id, and $2, the result" },
	{ "on_success = UPDATE videos SET priority = $1, updated_at = $2\n", "E on_success: column \"updated_at\" is of type timestamp" },
	{ "reset_to = AGAIN\n", "W reset_to = AGAIN is none of ready" },
	{ "order_by = priority DESC, id\n", "CREATE INDEX CONCURRENTLY ON public.videos (priority DESC, id) WHERE \"state\" = 'READY'" },
	{ "", "CREATE INDEX CONCURRENTLY ON public.videos (\"updated_at\") WHERE \"state\" = 'PROCESSING'" },
};

START_TEST(check_finds_what_only_shows_when_a_statement_is_prepared)
{
	struct testdb *db = videos(2000);
	struct queue_story *q = queue_story(db, story_text(QUEUE READY "%s", findings[_i].ini));
	const char *before = sql_value(db, "SELECT md5(string_agg(v::text || xmin, '')) FROM videos v");

	must_find(check(q), findings[_i].finds);
	must_equal(db, "SELECT md5(string_agg(v::text || xmin, '')) FROM videos v", before);
}
END_TEST

START_TEST(the_indexes_that_check_names_are_those_that_it_wants)
{
	struct testdb *db = videos(2000);
	struct queue_story *q = queue_story(db, QUEUE "ready = READY NEXT\norder_by = priority DESC, id\n");
	const char *found = check(q), *at = found;

	must_answer(story_text("%zu", text_count(found, "CREATE INDEX")), "3");
	while ((at = strstr(at, "CREATE INDEX")) != NULL) {
		must_sql(db, "%.*s", (int)strcspn(at, "\n"), at);
		at++;
	}
	must_answer(check(q), "- public.videos: every statement, column and permission is fine\n");
}
END_TEST

START_TEST(check_warns_of_a_zone_that_is_only_assumed_and_of_rows_in_the_future)
{
	struct testdb *db = videos(3);
	struct queue_story *q = queue_story(db, "[queue v]\nhandler = /bin/cat\ntable = videos\nstatus = state\n" READY);

	must_find(check(q), "W column updated_at of public.videos has no time zone; UTC is assumed: set timezone");
	must_sql(db, "UPDATE videos SET state = 'PROCESSING', updated_at = now() AT TIME ZONE 'Asia/Tokyo'");
	must_find(check(q), "W 3 rows in PROCESSING have updated_at in the future; is timezone not UTC");
}
END_TEST

START_TEST(check_says_which_right_a_worker_lacks)
{
	struct testdb *db = videos(1), as = *db;
	struct queue_story *q;
	const char *found;

	must_sql(db, "CREATE ROLE %s_user LOGIN; GRANT unstuck_worker TO %s_user; CREATE TABLE results (id bigint, r jsonb);"
	             "GRANT SELECT (id, state, updated_at), UPDATE (state, updated_at) ON videos TO %s_user", db->name, db->name,
	         db->name);
	as.url = story_text("postgresql:///%s?host=%s&port=5432&user=%s_user", db->name, server_dir(), db->name);
	q = queue_story(&as, QUEUE READY "on_success = INSERT INTO results VALUES ($1, $2)\n");
	found = check(q);
	must_find(found, "E no permission to SELECT column title of public.videos: GRANT SELECT (\"title\")");
	must_find(found, "E on_success: permission denied for table results");
	session_close(&q->session);
	must_sql(db, "DROP OWNED BY %s_user; DROP ROLE %s_user", db->name, db->name);
}
END_TEST

/* ---- claims ---- */

START_TEST(ready_statuses_are_claimed_in_their_order_and_together_within_the_limit)
{
	struct testdb *db = videos(10);
	struct queue_story *q = queue_story(db, QUEUE "ready = URGENT READY LATER\norder_by = priority DESC, id -- newest first\n"
	                                              "where = title <> 'no' -- not {id}\npayload = id\n");

	must_sql(db, "UPDATE videos SET state = 'LATER' WHERE id <= 3; UPDATE videos SET state = 'URGENT' WHERE id >= 9;"
	             "UPDATE videos SET priority = 5 WHERE id IN (2, 7); UPDATE videos SET title = 'no' WHERE id = 8");
	must_answer(ask_column(q, "payload", STMT_CLAIM, "1", W1), "{\"id\":9}");
	PGresult *res = PQexecParams(q->session.conn, q->sql[STMT_CLAIM], 3, NULL, (const char *const[]){ "6", W1, NULL }, NULL, NULL, 0);
	char order[64] = "";
	for (int i = 0; i < PQntuples(res); i++)
		snprintf(order + strlen(order), sizeof order - strlen(order), "%s ", PQgetvalue(res, i, 0));
	PQclear(res);
	must_answer(order, "10 7 4 5 6 2 ");
	must_equal(db, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM videos WHERE state <> 'PROCESSING'", "1 3 8");
}
END_TEST

START_TEST(the_payload_is_the_row_as_it_is_after_the_claim)
{
	struct testdb *db = videos(1);
	struct queue_story *q;

	must_sql(db, "ALTER TABLE videos DROP COLUMN updated_at, ADD big numeric, ADD o text");
	must_sql(db, "UPDATE videos SET big = 12345678901234567890.10, o = E'\\u00fc\"\\n'");
	q = queue_story(db, QUEUE READY);
	must_answer(ask_column(q, "payload", STMT_CLAIM, "1", W1),
	            "{\"id\":1,\"state\":\"PROCESSING\",\"title\":\"title 1\",\"priority\":0,\"big\":12345678901234567890.10,\"o\":\"ü\\\"\\n\"}");
}
END_TEST

/* ---- what the application does ---- */

START_TEST(a_row_that_the_application_takes_back_is_no_longer_ours)
{
	struct testdb *db = videos(2);
	struct queue_story *q = queue_story(db, QUEUE READY);
	const char *one = claimed(q, W1), *two = claimed(q, W1);

	must_sql(db, "UPDATE videos SET state = 'READY' WHERE id = 1; DELETE FROM videos WHERE id = 2");
	must_answer(ask(q, STMT_HELD, W1), "");
	must_answer(complete(q, "1", one), "");
	must_answer(verdict(q, "1", one), "fenced");
	must_answer(complete(q, "2", two), "");
	must_answer(verdict(q, "2", two), "missing");
	must_equal(db, story_text("%s", "SELECT count(*) FROM unstuck.claims WHERE state = 'ACTIVE'"), "2");
	must_answer(ask(q, STMT_RELEASE_ALL, W1), "");
	must_equal(db, "SELECT count(*) FROM unstuck.claims WHERE state = 'ACTIVE'", "0");
	must_answer(verdict(q, "1", one), "fenced");
	must_equal(db, "SELECT state FROM videos", "READY");
	claimed(q, W2);
	must_equal(db, "SELECT attempts || ' ' || worker_id FROM unstuck.claims WHERE job_id = '1'", "1 " W2);
}
END_TEST

START_TEST(a_row_that_is_made_ready_again_after_its_end_starts_from_nothing)
{
	struct testdb *db = videos(1);
	struct queue_story *q = queue_story(db, QUEUE READY);
	const char *claim = claimed(q, W1);

	ask(q, STMT_FAIL, "{1}", array_of(claim), W1, "{fail}", "{broken}", "{0}", "{NULL}", "{NULL}");
	must_equal(db, "SELECT state || failures || last_error FROM unstuck.claims", "DEAD1broken");
	must_sql(db, "UPDATE videos SET state = 'READY'");
	claim = claimed(q, W1);
	must_equal(db, "SELECT state || attempts || failures || recoveries FROM unstuck.claims", "ACTIVE100");
	must_answer(complete(q, "1", claim), "1");
	must_sql(db, "UPDATE videos SET state = 'READY'");
	must_answer(complete(q, "1", claim), "");
	must_answer(verdict(q, "1", claim), "already");
	claimed(q, W2);
	must_answer(verdict(q, "1", claim), "fenced");
}
END_TEST

START_TEST(a_retry_waits_unless_the_application_touches_the_row)
{
	struct testdb *db = videos(1);
	struct queue_story *q = queue_story(db, QUEUE READY);
	const char *claim = claimed(q, W1);

	ask(q, STMT_FAIL, "{1}", array_of(claim), W1, "{retry}", "{busy}", "{3600}", "{NULL}", "{NULL}");
	must_equal(db, "SELECT state FROM videos", "READY");
	must_answer(claimed(q, W1), "");
	must_sql(db, "VACUUM FREEZE videos");
	must_answer(claimed(q, W1), "");
	must_sql(db, "UPDATE videos SET state = 'READY'");
	must_equal(db, story_text("SELECT %s > %s", claimed(q, W1), claim), "t");
	must_equal(db, "SELECT attempts || ' ' || failures FROM unstuck.claims", "2 1");
}
END_TEST

START_TEST(strict_refuses_a_result_when_another_program_touched_the_row)
{
	struct testdb *db = videos(2);
	struct queue_story *lax = queue_story(db, QUEUE READY), *strict = queue_story(db, QUEUE READY "strict = yes\n");
	const char *one = claimed(lax, W1), *two = claimed(strict, W1);

	must_sql(db, "UPDATE videos SET title = 'new'");
	must_answer(complete(lax, "1", one), "1");
	must_answer(complete(strict, "2", two), "");
	must_answer(verdict(strict, "2", two), "fenced");
	must_equal(db, "SELECT state FROM videos WHERE id = 2", "PROCESSING");
}
END_TEST

START_TEST(strict_lives_with_triggers_that_write_the_row_again)
{
	struct testdb *db = videos(2);
	struct queue_story *q = queue_story(db, QUEUE READY "strict = yes\n");
	const char *claim;

	must_sql(db, "CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
	             " IF pg_trigger_depth() = 1 THEN UPDATE videos SET title = title || '.' WHERE id = NEW.id; END IF; RETURN NULL; END $$;"
	             "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at := '2000-01-01'; RETURN NEW; END $$;"
	             "CREATE TRIGGER again AFTER UPDATE ON videos FOR EACH ROW EXECUTE FUNCTION again();"
	             "CREATE TRIGGER stamp BEFORE UPDATE ON videos FOR EACH ROW EXECUTE FUNCTION stamp()");
	claim = claimed(q, W1);
	must_answer(complete(q, "1", claim), "1");
	claim = claimed(q, W1);
	ask(q, STMT_RELEASE_ALL, W1);
	must_answer(complete(q, "2", claim), "2");
	must_equal(db, "SELECT string_agg(state || title, ' ' ORDER BY id) FROM videos", "COMPLETEDtitle 1.. COMPLETEDtitle 2...");
}
END_TEST

/* A trigger that drops our UPDATE: nothing may be called stored that was not. */
START_TEST(a_write_that_a_trigger_swallows_is_not_called_done)
{
	struct testdb *db = videos(1);
	struct queue_story *q = queue_story(db, QUEUE READY);
	const char *claim = claimed(q, W1);

	must_sql(db, "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
	             "CREATE TRIGGER no BEFORE UPDATE ON videos FOR EACH ROW EXECUTE FUNCTION no()");
	must_answer(complete(q, "1", claim), "");
	must_answer(verdict(q, "1", claim), "mine");
	must_answer(ask(q, STMT_FAIL, "{1}", array_of(claim), W1, "{fail}", "{x}", "{0}", "{NULL}", "{NULL}"), "");
	must_equal(db, "SELECT state FROM unstuck.claims", "ACTIVE");
}
END_TEST

START_TEST(updated_at_is_written_in_the_zone_of_the_application)
{
	static const char *const zones[] = { "UTC", "America/New_York", "Asia/Tokyo" };
	struct testdb *db = videos(1);

	for (size_t i = 0; i < ARRAY_SIZE(zones); i++) {
		struct queue_story *q = queue_story(db, story_text("[queue v]\nhandler = /bin/cat\ntable = videos\nstatus = state\n" READY
		                                                   "timezone = %s\n", zones[i]));
		struct error err = ERROR_INIT;

		PQclear(session_exec(&q->session, &err, "SET TimeZone = 'Pacific/Auckland'", 0, NULL));
		must_sql(db, "UPDATE videos SET state = 'READY', updated_at = '2000-01-01'; SET TimeZone = 'Asia/Kolkata'");
		claimed(q, W1);
		must_equal(db, story_text("SELECT abs(extract(epoch FROM updated_at - now() AT TIME ZONE '%s')) < 30 FROM videos",
		                          zones[i]), "t");
		ask(q, STMT_RELEASE_ALL, W1);
		/* set by hand an hour and a minute ago, by a program of that zone */
		must_sql(db, "UPDATE videos SET state = 'PROCESSING', updated_at = (now() - interval '61 min') AT TIME ZONE '%s'", zones[i]);
		must_answer(ask_column(q, "reason", STMT_STUCK, KEYS_STUCK), "timeout");
		must_answer(ask(q, STMT_STUCK, "3700", "f", "f", NIL, "0", "3"), "");
	}
}
END_TEST

START_TEST(an_old_answer_does_not_fit_a_row_that_was_processing_by_hand)
{
	struct testdb *db = videos(1);
	struct queue_story *q = queue_story(db, QUEUE READY);
	const char *claim = claimed(q, W1), *token;

	must_answer(complete(q, "1", claim), "1");
	must_sql(db, "UPDATE videos SET state = 'PROCESSING', updated_at = '2000-01-01'");
	token = ask_column(q, "token", STMT_STUCK, KEYS_STUCK);
	must_answer(ask(q, STMT_RESET, "{1}", array_of(token), "3600", "f", "3"), "1|reset|timeout");
	must_answer(complete(q, "1", claim), "");
	must_answer(verdict(q, "1", claim), "fenced");
	must_equal(db, "SELECT recoveries || state FROM unstuck.claims", "1RECOVERED");
}
END_TEST

START_TEST(two_queues_on_one_table_know_their_own_claims)
{
	struct testdb *db = videos(2);
	struct queue_story *a = queue_story(db, QUEUE READY "where = id = 1\n");
	struct queue_story *b = queue_story(db, "[queue other]\nhandler = /bin/cat\ntable = videos\nstatus = state\ntimezone = UTC\n" READY);
	const char *one = claimed(a, W1), *two = claimed(b, W1);

	must_answer(ask(a, STMT_HELD, W1), story_text("1|%s", one));
	must_answer(ask(b, STMT_HELD, W1), story_text("2|%s", two));
	must_answer(ask(a, STMT_RELEASE_ALL, W1), story_text("1|%s", one));
	must_equal(db, "SELECT state FROM videos WHERE id = 2", "PROCESSING");
}
END_TEST

START_TEST(without_a_failed_status_a_row_is_put_back_for_ever)
{
	struct testdb *db = videos(1);
	struct queue_story *q = queue_story(db, QUEUE READY);
	struct error err = ERROR_INIT;

	q->set.queues[0].failed[0] = '\0';	/* as flags without --failed leave it */
	free(q->sql[STMT_STUCK]);
	free(q->sql[STMT_RESET]);
	q->sql[STMT_STUCK] = mapping_statement(&q->map, STMT_STUCK, &err);
	q->sql[STMT_RESET] = mapping_statement(&q->map, STMT_RESET, &err);
	for (int i = 0; i < 5; i++) {
		must_sql(db, "UPDATE videos SET state = 'PROCESSING', updated_at = '2000-01-01'");
		must_answer(ask_column(q, "action", STMT_STUCK, KEYS_STUCK), "reset");
		must_answer(ask(q, STMT_RESET, "{1}", array_of(ask_column(q, "token", STMT_STUCK, KEYS_STUCK)), "3600", "f", "3"),
		            "1|reset|timeout");
	}
}
END_TEST

/* ---- nothing of ours in the database ---- */

START_TEST(without_the_schema_age_alone_decides)
{
	struct testdb *db = must_have_empty_db();
	struct queue_story *q;
	const char *token;

	must_sql(db, "CREATE TABLE videos (id uuid PRIMARY KEY, state text, title text, updated_at timestamp);"
	             "INSERT INTO videos SELECT md5(g::text)::uuid, 'PROCESSING', 't' || g, now() AT TIME ZONE 'UTC' - g * interval '1 h'"
	             " FROM generate_series(0, 3) AS g; INSERT INTO videos VALUES (gen_random_uuid(), 'PROCESSING', 'ageless', NULL)");
	q = queue_story(db, "[queue v]\nhandler = /bin/cat\ntable = videos\nstatus = state\nready = READY\ntimezone = UTC\nshow = title\n");
	ck_assert_ptr_null(q->sql[STMT_CLAIM]);
	must_answer(ask(q, STMT_PROCESSING), "5");
	must_answer(ask(q, STMT_AGELESS), "1");
	must_answer(ask_column(q, "show", STMT_STUCK, "5400", "f", "f", "1", "0", "3"), "{\"title\":\"t3\"}");
	must_answer(ask_column(q, "show", STMT_STUCK, "5400", "f", "f", "1", "1", "3"), "{\"title\":\"t2\"}");
	must_answer(ask(q, STMT_STUCK, "5400", "f", "f", "1", "2", "3"), "");
	token = ask_column(q, "token", STMT_STUCK, "5400", "f", "f", NIL, "0", "3");
	const char *id = ask_column(q, "id", STMT_STUCK, "5400", "f", "f", NIL, "0", "3");
	must_answer(ask(q, STMT_RESET, array_of(id), array_of("7"), "5400", "f", "3"), "");
	must_answer(ask(q, STMT_RESET, array_of(id), array_of(token), "99999", "f", "3"), "");
	must_answer(ask(q, STMT_RESET, array_of(id), array_of(token), "5400", "f", "3"), story_text("%s|reset|timeout", id));
	must_equal(db, "SELECT state || (updated_at > now() AT TIME ZONE 'UTC' - interval '1 min') FROM videos WHERE title = 't3'",
	           "READYtrue");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mapping stories");
	TCase *before = queue_case(s, "beforehand"), *rows = queue_case(s, "the application's rows");

	tcase_add_loop_test(before, a_mapping_that_cannot_work_is_refused_with_the_remedy, 0, ARRAY_SIZE(refused));
	tcase_add_test(before, a_missing_right_is_named_with_the_grant_that_mends_it);
	tcase_add_loop_test(before, check_finds_what_only_shows_when_a_statement_is_prepared, 0, ARRAY_SIZE(findings));
	tcase_add_test(before, the_indexes_that_check_names_are_those_that_it_wants);
	tcase_add_test(before, check_warns_of_a_zone_that_is_only_assumed_and_of_rows_in_the_future);
	tcase_add_test(before, check_says_which_right_a_worker_lacks);
	tcase_add_test(rows, ready_statuses_are_claimed_in_their_order_and_together_within_the_limit);
	tcase_add_test(rows, the_payload_is_the_row_as_it_is_after_the_claim);
	tcase_add_test(rows, a_row_that_the_application_takes_back_is_no_longer_ours);
	tcase_add_test(rows, a_row_that_is_made_ready_again_after_its_end_starts_from_nothing);
	tcase_add_test(rows, a_retry_waits_unless_the_application_touches_the_row);
	tcase_add_test(rows, strict_refuses_a_result_when_another_program_touched_the_row);
	tcase_add_test(rows, strict_lives_with_triggers_that_write_the_row_again);
	tcase_add_test(rows, a_write_that_a_trigger_swallows_is_not_called_done);
	tcase_add_test(rows, updated_at_is_written_in_the_zone_of_the_application);
	tcase_add_test(rows, an_old_answer_does_not_fit_a_row_that_was_processing_by_hand);
	tcase_add_test(rows, two_queues_on_one_table_know_their_own_claims);
	tcase_add_test(rows, without_a_failed_status_a_row_is_put_back_for_ever);
	tcase_add_test(rows, without_the_schema_age_alone_decides);
	return check_main(s);
}
