/*
 * it_late.c - stories about results that came too late: kept, listed, and adopted when nobody else runs the job.
 */
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>
#include "late.h"
#include "queue_story.h"
#include "worker_story.h"

#define HOUR_S "3600"
#define W1_IS_LOST "DELETE FROM unstuck.workers WHERE worker_id = '" W1 "'"

static void must_hold(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		story_fail("expected \"%s\" in \"%s\"", part, text);
}

static struct queue_story *start(struct testdb *db, const struct kind *kind, int jobs)
{
	add_worker(db, W1);
	add_worker(db, W2);
	return queue_of_kind(db, kind, jobs);
}

static void late_result(struct queue_story *q, const char *key, const char *claim, const char *worker, const char *reason, const char *bytes)
{
	struct buf hex = BUF_INIT;

	buf_adds(&hex, "\\x");
	for (; *bytes != '\0'; bytes++)
		buf_addf(&hex, "%02x", (unsigned char)*bytes);
	ask(q, STMT_LATE, array_of(key), array_of(claim), worker, array_of(reason), array_of(buf_text(&hex)));
	buf_release(&hex);
}

/* What W1 made of job n comes after W2 has it. Gives W2's claim; *first is W1's. */
static const char *taken_over(struct queue_story *q, int n, const char **first)
{
	const char *key = key_of(q, n);

	*first = claim_one(q, n, W1);
	must_sql(q->db, W1_IS_LOST);
	ask(q, STMT_RESET, array_of(key), array_of(ask_column(q, "token", STMT_STUCK, HOUR_S, "f", "f", NIL, "0", "3")), HOUR_S, "f", "3");
	must_sql(q->db, "UPDATE unstuck.jobs SET run_at = created_at");	/* before its successors */
	add_worker(q->db, W1);
	const char *claim = claim_one(q, n, W2);
	late_result(q, key, *first, W1, "fenced", "{\"a\": 1}");
	return claim;
}

#define fail_as(q, key, claim, kind) \
	ask(q, STMT_FAIL, array_of(key), array_of(claim), W2, array_of(kind), array_of("no"), array_of("3600"), "{NULL}", "{NULL}")
#define adoptable(q) ask_column(q, "late", STMT_ADOPTABLE, "0", "10")
#define adopt(q, late) ask_column(q, "id", STMT_ADOPT, late, "f")
#define adopt_by_hand(q, late) ask_column(q, "id", STMT_ADOPT, late, "t")
#define verdict(q, key, claim, worker) ask_column(q, "verdict", STMT_CLASSIFY, array_of(key), array_of(claim), worker)

/* ---- the rules, over the kinds of tables ---- */

static const int tried[] = { 0, 1, 4 };		/* own, mapped, mapped and strict */

START_TEST(a_late_success_counts_when_the_newer_run_has_failed)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = start(db, &kinds[tried[_i]], 2);

	for (int n = 1; n <= 2; n++) {	/* the first waits for another try, the second has failed for good */
		const char *first, *second = taken_over(q, n, &first), *key = key_of(q, n), *late = story_text("%d", n);

		must_answer(adoptable(q), "");
		must_answer(adopt(q, late), "");
		must_answer(adopt_by_hand(q, late), "");
		must_answer(seen(q, n, "status"), "PROCESSING");
		fail_as(q, key, second, n == 1 ? "retry" : "fail");
		must_answer(adoptable(q), late);
		must_answer(adopt(q, late), key);
		must_answer(seen(q, n, "status, replace(result, ' ', ''), coalesce(last_error, '-')"), "COMPLETED {\"a\":1} -");
		must_answer(adoptable(q), "");
		must_answer(adopt(q, late), "");
		must_answer(adopt_by_hand(q, late), "");
		/* its own worker, which did not hear of it, and the other one, whose result would be another */
		must_answer(verdict(q, key, first, W1), "already");
		must_answer(verdict(q, key, second, W2), "fenced");
		must_answer(ask(q, STMT_COMPLETE, array_of(key), array_of(second), array_of("2"), W2), "");
	}
	must_answer(ask(q, STMT_CLAIM, "5", W2), "");
	must_equal(db, "SELECT count(*) FROM unstuck.late_results WHERE adopted_at IS NOT NULL", "2");
}
END_TEST

START_TEST(a_late_success_does_not_count_where_the_newer_run_succeeded)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = start(db, &kinds[_i], 1);
	const char *first, *second = taken_over(q, 1, &first), *key = key_of(q, 1);

	ask(q, STMT_COMPLETE, array_of(key), array_of(second), array_of("2"), W2);
	must_answer(adoptable(q), "");
	must_answer(adopt(q, "1"), "");
	must_answer(adopt_by_hand(q, "1"), "");
	must_answer(seen(q, 1, "status, result"), "COMPLETED 2");
}
END_TEST

START_TEST(a_result_after_the_poison_limit_counts)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = start(db, &kinds[_i], 1);
	const char *key = key_of(q, 1), *claim = claim_one(q, 1, W1);

	must_sql(db, W1_IS_LOST);
	ask(q, STMT_RESET, array_of(key), array_of(ask_column(q, "token", STMT_STUCK, HOUR_S, "f", "f", NIL, "0", "0")), HOUR_S, "f", "0");
	must_answer(seen(q, 1, "status"), "FAILED");
	must_answer(verdict(q, key, claim, W1), "failed");
	late_result(q, key, claim, W1, "failed", "7");
	must_answer(adopt(q, adoptable(q)), key);
	must_answer(seen(q, 1, "status, result"), "COMPLETED 7");
	must_answer(verdict(q, key, claim, W1), "already");
}
END_TEST

/* A person's word, or the application's: a new run takes nothing from the time before by itself. */
START_TEST(a_job_that_was_put_back_by_hand_takes_no_result_of_before_unasked)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = start(db, &kinds[_i], 1);
	const char *first, *second = taken_over(q, 1, &first), *key = key_of(q, 1), *third;

	fail_as(q, key, second, "fail");
	must_answer(adoptable(q), "1");
	if (q->map.own)
		must_equal(db, "SELECT unstuck.retry(1)", "t");
	else
		must_sql(db, "UPDATE %s SET status = 'PENDING'", q->map.source);
	must_answer(adoptable(q), "");
	must_answer(adopt(q, "1"), "");
	third = claim_one(q, 1, W2);
	fail_as(q, key, third, "later");
	must_answer(seen(q, 1, "status"), "PENDING");
	must_answer(adoptable(q), "");
	must_answer(adopt(q, "1"), "");
	must_answer(adopt_by_hand(q, "1"), key);
	must_answer(seen(q, 1, "status, replace(result, ' ', '')"), "COMPLETED {\"a\":1}");
}
END_TEST

START_TEST(bytes_that_are_no_result_stay_and_are_not_tried_again)
{
	static const char *const bad[] = { "{broken", "\"\\u0000\"", "\xff" };
	static const char *const states[] = { "22P02", "22P05", "22021" };
	struct testdb *db = must_have_db();
	struct queue_story *q = start(db, &kinds[_i], 1);
	const char *key = key_of(q, 1), *claim = claim_one(q, 1, W2);

	fail_as(q, key, claim, "fail");
	for (int i = 0; i < 3; i++) {
		late_result(q, key, claim, story_text("%d%s", i + 1, &W1[1]), "fenced", bad[i]);
		must_answer(ask_refused(q, STMT_ADOPT, story_text("%d", i + 1), "f"), states[i]);
		ask(q, STMT_SPOIL, story_text("%d", i + 1));
	}
	must_answer(adoptable(q), "");
	must_equal(db, "SELECT string_agg(reason, ' ') FROM unstuck.late_results WHERE adopted_at IS NULL", "bad_data bad_data bad_data");
	must_answer(seen(q, 1, "status"), "FAILED");
}
END_TEST

/* ---- races ---- */

static void begin(struct queue_story *q) { PQclear(PQexec(q->session.conn, "BEGIN")); }
static void commit(struct queue_story *q) { PQclear(PQexec(q->session.conn, "COMMIT")); }

/* Sends a statement that has to wait for another session. */
static void send(struct testdb *db, struct queue_story *q, const char *sql, const char *const *params, int n)
{
	if (PQsendQueryParams(q->session.conn, sql, n, NULL, params, NULL, NULL, 0) != 1)
		story_fail("%s", PQerrorMessage(q->session.conn));
	must_become(db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'", "1", 20000);
}

static const char *answer(struct queue_story *q)
{
	PGresult *res = PQgetResult(q->session.conn);
	const char *text;

	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		story_fail("%s", PQresultErrorMessage(res));
	text = PQntuples(res) > 0 ? story_text("%s", PQgetvalue(res, 0, 0)) : "";
	PQclear(res);
	PQclear(PQgetResult(q->session.conn));
	return text;
}

START_TEST(a_claim_and_an_adoption_exclude_each_other)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = start(db, &kinds[_i], 2), *other = another_session(q);
	const char *first, *one = taken_over(q, 1, &first), *two = taken_over(q, 2, &first);

	ask(q, STMT_RELEASE, array_of(key_of(q, 1), key_of(q, 2)), array_of(one, two), W2, array_of("t", "t"));
	/* the claim was first */
	begin(other);
	claim_one(other, 1, W2);
	send(db, q, q->sql[STMT_ADOPT], PARAMS("1", "f"), 2);
	commit(other);
	must_answer(answer(q), "");
	must_answer(seen(q, 1, "status"), "PROCESSING");
	must_equal(db, "SELECT count(*) FROM unstuck.late_results WHERE adopted_at IS NOT NULL", "0");
	/* the adoption was first */
	begin(other);
	must_answer(adopt(other, "2"), key_of(q, 2));
	must_answer(ask(q, STMT_CLAIM, "5", W2), "");
	must_answer(adopt_by_hand(q, "2"), "");		/* nor does it wait for the other one */
	commit(other);
	must_answer(seen(q, 2, "status"), "COMPLETED");
	session_close(&other->session);
}
END_TEST

START_TEST(a_retry_and_an_adoption_exclude_each_other)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = start(db, &kinds[0], 2), *other = another_session(q);
	const char *first, *one = taken_over(q, 1, &first), *two = taken_over(q, 2, &first);

	fail_as(q, "1", one, "fail");
	fail_as(q, "2", two, "fail");
	begin(other);
	PQclear(PQexec(other->session.conn, "SELECT unstuck.retry(1)"));
	send(db, q, q->sql[STMT_ADOPT], PARAMS("1", "f"), 2);
	commit(other);
	must_answer(answer(q), "");
	must_answer(seen(q, 1, "status"), "PENDING");
	begin(other);
	must_answer(adopt(other, "2"), "2");
	send(db, q, "SELECT unstuck.retry(2)", PARAMS(), 0);
	commit(other);
	must_answer(answer(q), "f");
	must_answer(seen(q, 2, "status"), "COMPLETED");
	session_close(&other->session);
}
END_TEST

#define STORM 40

/* Everybody adopts everything, by hand and not. */
static int adopt_all(struct queue_story *q, int number)
{
	struct error err = ERROR_INIT;

	for (int i = 0; i < 2 * STORM; i++) {
		char id[16];
		const char *params[] = { id, number % 2 == 0 ? "t" : "f" };
		PGresult *res;

		snprintf(id, sizeof id, "%d", number < 2 ? i + 1 : 2 * STORM - i);
		res = session_exec(&q->session, &err, q->sql[STMT_ADOPT], 2, params);
		if (res == NULL)
			return 1;
		for (int k = 0; k < PQntuples(res); k++)
			PQclear(session_exec(&q->session, &err, "INSERT INTO told VALUES ($1, $2)", 2, (const char *[]){ PQgetvalue(res, k, 0), id }));
		PQclear(res);
	}
	return err.kind != ERR_NONE;
}

START_TEST(of_many_late_results_each_job_takes_one_whoever_adopts)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = start(db, &kinds[_i], STORM);
	struct buf keys = BUF_INIT, claims = BUF_INIT, reasons = BUF_INIT, raws = BUF_INIT;

	must_sql(db, "CREATE TABLE told (job text PRIMARY KEY, late text UNIQUE)");
	ask(q, STMT_CLAIM, "500", W2);
	for (int n = 1; n <= STORM; n++) {
		buf_addf(&claims, "%s%d", n > 1 ? "," : "{", n);
		buf_addf(&reasons, "%sfenced", n > 1 ? "," : "{");
		buf_addf(&raws, "%s\"\\\\x37\"", n > 1 ? "," : "{");
	}
	buf_adds(&claims, "}");
	buf_adds(&reasons, "}");
	buf_adds(&raws, "}");
	for (int w = 0; w < 2; w++)
		ask(q, STMT_LATE, keys_of(q, 1, STORM), buf_text(&claims), w == 0 ? W1 : W2, buf_text(&reasons), buf_text(&raws));
	ask(q, STMT_RELEASE_ALL, W2);
	in_processes(4, adopt_all, q);
	must_equal(db, "SELECT count(*) FROM told", story_text("%d", STORM));
	must_equal(db, "SELECT count(*) || ' ' || count(DISTINCT job_id) FROM unstuck.late_results WHERE adopted_at IS NOT NULL",
	           story_text("%d %d", STORM, STORM));
	must_equal(db, "SELECT count(*) FROM seen WHERE status = 'COMPLETED'", story_text("%d", STORM));
	buf_release(&keys);
	buf_release(&claims);
	buf_release(&reasons);
	buf_release(&raws);
}
END_TEST

/* ---- unstuckctl late ---- */

static struct proc *ctl_at(struct testdb *db, int status, const char *const *words)
{
	const char *argv[16] = { "unstuckctl", "-d", db->url };
	size_t n = 3;

	if (file_exists("queue.ini")) {
		argv[n++] = "-c";
		argv[n++] = "queue.ini";
	}
	while (*words != NULL)
		argv[n++] = *words++;
	return proc_must_exit(proc_start(NULL, argv), status, 60000);
}
#define must_ctl(db, status, ...) (story_at(__FILE__, __LINE__), ctl_at(db, status, WORDS(__VA_ARGS__)))

static const char *id_of(struct testdb *db, const char *status)
{
	return sql_value(db, "INSERT INTO unstuck.jobs (queue, status) VALUES ('mail', '%s') RETURNING id", status);
}

/* As a fixture would: only what the manual names. */
static const char *late_of(struct testdb *db, const char *job, const char *reason, const char *raw)
{
	return sql_value(db, "INSERT INTO unstuck.late_results (queue, job_id, claim_id, worker_id, reason, raw)"
	                     " VALUES ('mail', '%s', (SELECT count(*) FROM unstuck.late_results), gen_random_uuid(), '%s', %s) RETURNING id",
	                 job, reason, raw);
}

START_TEST(late_lists_the_newest_first_and_shows_bytes_as_they_are)
{
	struct testdb *db = must_have_db();
	struct proc *p = must_ctl(db, 0, "late");
	json_t *list, *row;

	ck_assert_str_eq(proc_out(p), "");
	must_hold(proc_err(p), "no late results");
	late_of(db, id_of(db, "FAILED"), "fenced", "'\\x7b7d'");
	late_of(db, id_of(db, "FAILED"), "bad_data", "'\\x00ff0a41'");
	must_sql(db, "UPDATE unstuck.late_results SET adopted_at = now() WHERE id = 1; UPDATE unstuck.late_results SET received_at = now() + interval '1 h'");
	p = must_ctl(db, 0, "late");
	must_hold(proc_out(p), "ID QUEUE JOB REASON   BYTES RECEIVED ADOPTED\n 2 mail  2   bad_data     4       0s       -\n 1 mail  1   fenced");
	list = json_loads(proc_out(must_ctl(db, 0, "late", "--json")), 0, NULL);
	ck_assert_uint_eq(json_array_size(json_object_get(list, "late")), 2);
	row = json_array_get(json_object_get(list, "late"), 0);
	ck_assert_str_eq(json_string_value(json_object_get(row, "id")), "2");
	ck_assert_str_eq(json_string_value(json_object_get(row, "job")), "2");
	ck_assert_str_eq(json_string_value(json_object_get(row, "reason")), "bad_data");
	ck_assert_int_eq(json_integer_value(json_object_get(row, "bytes")), 4);
	ck_assert(json_is_null(json_object_get(row, "adopted_at")));
	json_decref(list);
	p = must_ctl(db, 0, "late", "--limit", "1");
	must_hold(proc_err(p), "the newest 1; there are more");
	ck_assert_uint_eq(text_count(proc_out(p), "mail"), 1);
	ck_assert_str_eq(proc_out(must_ctl(db, 0, "late", "--queue", "other")), "");
	must_run(0, NULL, "sh", "-c", story_text("'%s' -d '%s' late show 2 > raw", build_path("unstuckctl"), db->url));
	size_t len;
	ck_assert(memcmp(read_file_at("raw", &len), "\0\xff\nA", 4) == 0);
	ck_assert_uint_eq(len, 4);
	must_hold(proc_err(must_ctl(db, 1, "late", "show", "99")), "there is no late result 99");
	must_hold(proc_err(must_ctl(db, 64, "late", "show", "x")), "\"x\" is no late result id");
	must_hold(proc_err(must_ctl(db, 64, "late", "adopt")), "expected show ID, adopt ID...");
	must_hold(proc_err(must_ctl(db, 64, "late", "drop", "1")), "late drop: expected");
	must_hold(proc_err(must_ctl(db, 64, "late", "show", "1", "--json")), "--json goes with the list only");
}
END_TEST

static const struct { const char *status, *reason, *raw, *said; } refusals[] = {
	{ "PROCESSING", "fenced", "'1'", "1: job 1 of queue mail is PROCESSING: another run is under way: adopt it when that has failed" },
	{ "COMPLETED", "fenced", "'1'", "1: job 1 of queue mail is COMPLETED: it has a result, which stays" },
	{ "CANCELLED", "cancelled", "'1'", "1: job 1 of queue mail is CANCELLED: nobody wants its result" },
	{ NULL, "missing", "'1'", "1: job 1 of queue mail is gone: nothing is there to store it in" },
	{ "FAILED", "bad_data", "'{broken'", "1: is no result for queue mail: invalid input syntax for type json" },
	{ "PENDING", "unfinished", "'{\"half\": '", "late show 1 prints the bytes" },
	{ "FAILED", "fenced", "'\\xff'", "1: is no result for queue mail: invalid byte sequence" },
	{ "FAILED", "too_large", "'1'", "1: is larger than max_result and was not kept whole: raise that and run job 1 again" },
};

START_TEST(what_cannot_be_adopted_is_told_with_the_reason)
{
	struct testdb *db = must_have_db();

	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		struct proc *p;

		must_sql(db, "TRUNCATE unstuck.jobs, unstuck.late_results RESTART IDENTITY");
		if (refusals[i].status != NULL)
			id_of(db, refusals[i].status);
		late_of(db, "1", refusals[i].reason, refusals[i].raw);
		p = must_ctl(db, 1, "late", "adopt", "1");
		must_hold(proc_err(p), refusals[i].said);
		ck_assert_str_eq(proc_out(p), "");
		if (refusals[i].status != NULL)
			must_equal(db, "SELECT status FROM unstuck.jobs", refusals[i].status);
		must_equal(db, "SELECT count(*) FROM unstuck.late_results WHERE adopted_at IS NULL", "1");
	}
}
END_TEST

START_TEST(a_person_adopts_what_is_valid_and_hears_of_each)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	late_of(db, id_of(db, "FAILED"), "unfinished", "'{\"paid\": true}\n'");
	late_of(db, id_of(db, "PENDING"), "bad_data", "'[2]'");
	late_of(db, id_of(db, "COMPLETED"), "fenced", "'3'");
	late_of(db, "1", "fenced", "'4'");
	p = must_ctl(db, 1, "late", "adopt", "1", "2", "3", "4", "1", "9");
	ck_assert_str_eq(proc_out(p), "1 adopted: job 1 of queue mail is COMPLETED\n2 adopted: job 2 of queue mail is COMPLETED\n");
	must_hold(proc_err(p), "unstuckctl: 3: job 3 of queue mail is COMPLETED");
	must_hold(proc_err(p), "unstuckctl: 4: job 1 of queue mail is COMPLETED");
	must_hold(proc_err(p), "unstuckctl: 1: was adopted at 2");
	must_hold(proc_err(p), "unstuckctl: 9: there is no such late result");
	must_equal(db, "SELECT string_agg(coalesce(result::text, '-') || (finished_at IS NOT NULL), ' ' ORDER BY id) FROM unstuck.jobs",
	           "{\"paid\": true}true [2]true -false");
	/* who may only look */
	must_sql(db, "CREATE ROLE %s_look LOGIN IN ROLE unstuck_read", db->name);
	must_hold(proc_err(must_run(1, NULL, "unstuckctl", "-d", story_text("postgresql:///%s?host=%s&user=%s_look", db->name, server_dir(), db->name),
	                            "late", "adopt", "4")), story_text("GRANT unstuck_worker (or, to recover, unstuck_recover) TO %s_look", db->name));
	must_sql(db, "DROP OWNED BY %s_look; DROP ROLE %s_look", db->name, db->name);
	/* output = text: what the handler printed is a string; what was judged a success is one already */
	write_file("queue.ini", "[queue mail]\nhandler = cat\noutput = text\n");
	late_of(db, id_of(db, "FAILED"), "unfinished", "'two\nlines\n'");
	late_of(db, id_of(db, "FAILED"), "fenced", "'\"a text\"'");
	must_ctl(db, 0, "late", "adopt", "5", "6");
	must_equal(db, "SELECT string_agg(result #>> '{}', '|' ORDER BY id) FROM unstuck.jobs WHERE id > 3", "two\nlines|a text");
}
END_TEST

#define FILMS \
	"CREATE TABLE films (id text PRIMARY KEY, state text, updated_at timestamptz DEFAULT now());" \
	"CREATE TABLE stored (id text PRIMARY KEY, note text NOT NULL);" \
	"INSERT INTO films SELECT chr(96 + g), 'READY' FROM generate_series(1, 3) AS g;"
#define FILMS_INI "[queue films]\ntable = films\nstatus = state\nready = READY\nhandler = cat\nmax_attempts = 1\n" \
	"on_success = INSERT INTO stored VALUES ($1, $2 ->> 'note')\n"

START_TEST(adoption_runs_on_success_in_the_same_transaction)
{
	struct testdb *db = must_have_db();
	struct queue_story *q;
	const char *first;
	struct proc *p;

	must_sql(db, FILMS);
	add_worker(db, W1);
	q = queue_story(db, FILMS_INI);
	first = ask_column(q, "claim_id", STMT_CLAIM, "1", W1);
	ask(q, STMT_FAIL, "{a}", array_of(first), W1, "{fail}", "{no}", "{0}", "{NULL}", "{NULL}");
	late_result(q, "a", first, W2, "fenced", "{\"other\": 1}");	/* no note: a constraint refuses it */
	late_result(q, "a", "99", W2, "fenced", "{\"note\": \"fine\"}");
	p = must_ctl(db, 1, "late", "adopt", "1");
	must_hold(proc_err(p), "1: is no result for queue films: null value in column \"note\"");
	must_equal(db, "SELECT state || ' ' || (SELECT count(*) FROM stored) FROM films WHERE id = 'a'", "FAILED 0");
	ck_assert_str_eq(proc_out(must_ctl(db, 0, "late", "adopt", "2")), "2 adopted: job a of queue films is COMPLETED\n");
	must_equal(db, "SELECT state || ' ' || note FROM films NATURAL JOIN stored", "COMPLETED fine");
	must_equal(db, "SELECT state FROM unstuck.claims", "DONE");
	/* without its settings nobody knows the table */
	must_sql(db, "UPDATE unstuck.late_results SET adopted_at = NULL WHERE id = 2");
	must_run(0, NULL, "mv", "queue.ini", "away.ini");
	must_hold(proc_err(must_ctl(db, 1, "late", "adopt", "2")), "2: queue films on public.films is not in the settings: name the right file with -c");
	must_run(0, NULL, "mv", "away.ini", "queue.ini");
	must_sql(db, "UPDATE films SET state = 'WITHDRAWN' WHERE id = 'a'");
	must_hold(proc_err(must_ctl(db, 1, "late", "adopt", "2")), "job a of queue films is in status WITHDRAWN: only one that waits or has failed takes it");
}
END_TEST

/* ---- by themselves ---- */

/*
 * Job 1 of the own table and film a: the first worker freezes with their results under way, the second one's runs fail for good.
 * Then the first wakes up. The other films are only in the way.
 */
START_TEST(workers_adopt_what_a_frozen_one_brings_after_the_newer_run_failed)
{
	struct testdb *db = must_have_db();
	const char *handler = script("job", "echo > started_$UNSTUCK_QUEUE$UNSTUCK_ATTEMPT; [ $UNSTUCK_ATTEMPT = 1 ] || exit 65\n"
	                                    "while [ ! -e on ]; do sleep 0.02; done; echo '{\"note\": \"paid\"}'; echo > done_$UNSTUCK_QUEUE");

	must_sql(db, FILMS "DELETE FROM films WHERE id > 'a'; SELECT unstuck.enqueue('mail')");
	settings(db, "[worker]\nheartbeat = 100ms\nworker_timeout = 400ms\nrecover_every = 200ms\n[queue mail]\nhandler = %s\n%s", handler,
	         story_text("%.*shandler = %s\n%s", (int)(strstr(FILMS_INI, "handler") - FILMS_INI), FILMS_INI, handler,
	                    strchr(strstr(FILMS_INI, "handler"), '\n') + 1));
	struct proc *frozen = must_start(NULL, "unstuck-worker"), *other;
	must_happen(file_exists("started_mail1") && file_exists("started_films1"), 20000);
	proc_signal(frozen, SIGSTOP);
	other = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT status || ' ' || state FROM unstuck.jobs, films", "FAILED FAILED", 30000);
	write_file("on", "");
	must_happen(file_exists("done_mail") && file_exists("done_films"), 20000);
	proc_signal(frozen, SIGCONT);
	must_become(db, "SELECT status || ' ' || state || ' ' || (result ->> 'note') || ' ' || note FROM unstuck.jobs, films, stored",
	            "COMPLETED COMPLETED paid paid", 30000);
	must_equal(db, "SELECT string_agg(queue || ' ' || reason || ' ' || (adopted_at IS NOT NULL), ', ' ORDER BY queue) FROM unstuck.late_results",
	           "films fenced true, mail fenced true");
	must_happen(text_count(proc_err(frozen), "event=late_adopted") + text_count(proc_err(other), "event=late_adopted") == 2, 20000);
	must_equal(db, "SELECT attempts FROM unstuck.jobs", "2");
}
END_TEST

/* The result is there already when the newer run fails: its next try, an hour from now, is not waited for. */
START_TEST(a_worker_adopts_when_its_own_run_fails)
{
	struct testdb *db = must_have_db();
	struct proc *worker;

	must_sql(db, "SELECT unstuck.enqueue('mail'); UPDATE unstuck.jobs SET attempts = 1");
	settings(db, "[worker]\nrecover_every = 0\n[queue mail]\nbackoff = 1h\nhandler = %s\n",
	         script("job", "echo > started; while [ ! -e on ]; do sleep 0.02; done; exit 1"));
	worker = must_start(NULL, "unstuck-worker");
	must_happen(file_exists("started"), 20000);
	late_of(db, "1", "fenced", "'{broken'");
	late_of(db, "1", "fenced", "'\"paid\"'");
	write_file("on", "");
	must_become(db, "SELECT status || ' ' || result || ' ' || failures FROM unstuck.jobs", "COMPLETED \"paid\" 1", 20000);
	must_say(worker, "event=late_adopted queue=mail job=1 late=2");
	must_say(worker, "event=late_refused queue=mail job=1 late=1");
	must_become(db, "SELECT reason FROM unstuck.late_results WHERE id = 1", "bad_data", 20000);
}
END_TEST

START_TEST(recover_adopts_with_its_role_and_tells_beforehand)
{
	struct testdb *db = must_have_db();
	const char *url = story_text("postgresql:///%s?host=%s&user=%s_rec", db->name, server_dir(), db->name);
	struct queue_story *q;
	const char *claim;
	struct proc *p;

	must_sql(db, FILMS "CREATE ROLE %s_rec LOGIN IN ROLE unstuck_recover; GRANT SELECT, UPDATE (state, updated_at) ON films TO %s_rec", db->name, db->name);
	add_worker(db, W1);
	q = queue_story(db, FILMS_INI "[queue mail]\nhandler = cat\n");
	claim = ask_column(q, "claim_id", STMT_CLAIM, "1", W1);
	ask(q, STMT_FAIL, "{a}", array_of(claim), W1, "{fail}", "{no}", "{0}", "{NULL}", "{NULL}");
	late_result(q, "a", claim, W2, "fenced", "{\"note\": \"fine\"}");
	late_of(db, id_of(db, "FAILED"), "fenced", "'{\"a\": 1}'");
	late_of(db, id_of(db, "FAILED"), "unfinished", "'2'");

	p = must_run(0, NULL, "unstuck-recover", "-d", url, "-c", "queue.ini", "--dry-run");
	must_hold(proc_err(p), "queue mail: 1 late result of jobs that do not run would be adopted (unstuckctl late)");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'FAILED'", "2");
	must_run(0, NULL, "unstuck-recover", "-d", url, "-c", "queue.ini");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'FAILED'", "2");
	p = must_run(0, NULL, "unstuck-recover", "-d", url, "-c", "queue.ini", "--yes");
	must_hold(proc_err(p), "queue mail: 1 late result adopted: its job is COMPLETED");
	must_hold(proc_err(p), "queue films: late results stay where they are, for the workers: permission denied");
	must_equal(db, "SELECT string_agg(status || coalesce(result::text, ''), ' ' ORDER BY id) FROM unstuck.jobs", "COMPLETED{\"a\": 1} FAILED");
	/* where it may do what on_success does, it does */
	must_sql(db, "GRANT INSERT ON stored TO %s_rec", db->name);
	p = must_run(0, NULL, "unstuck-recover", "-d", url, "-c", "queue.ini", "--yes");
	must_hold(proc_err(p), "queue films: 1 late result adopted");
	must_equal(db, "SELECT state || ' ' || note FROM films NATURAL JOIN stored", "COMPLETED fine");
	session_close(&q->session);
	must_sql(db, "DROP OWNED BY %s_rec; DROP ROLE %s_rec", db->name, db->name);
}
END_TEST

/* ---- reasons, cancel ---- */

START_TEST(the_reasons_are_one_table)
{
	static const char *const names[LATE_REASONS] = { NULL, "fenced", "failed", "cancelled", "missing", "bad_data", "too_large", "unfinished" };

	for (enum late_reason r = LATE_NONE + 1; r < LATE_REASONS; r++) {
		ck_assert_str_eq(late_name(r), names[r]);
		ck_assert_int_eq(late_is_adopted_unasked(r), r == LATE_FENCED || r == LATE_FAILED);
	}
	ck_assert_ptr_null(late_name(LATE_NONE));
	ck_assert_int_eq(late_of_verdict("failed"), LATE_FAILED);
	ck_assert_int_eq(late_of_verdict("cancelled"), LATE_CANCELLED);
	ck_assert_int_eq(late_of_verdict("missing"), LATE_MISSING);
	ck_assert_int_eq(late_of_verdict("fenced"), LATE_FENCED);
}
END_TEST

/* No beat for ten minutes: the worker is told. */
START_TEST(a_cancelled_job_is_ended_at_once)
{
	struct testdb *db = must_have_db();
	struct proc *worker;

	must_sql(db, "SELECT unstuck.enqueue('mail'), unstuck.enqueue('mail')");
	settings(db, "[worker]\nheartbeat = 10m\nworker_timeout = 1h\n[queue mail]\nhandler = sleep 600\n");
	worker = must_start(NULL, "unstuck-worker");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "2", 20000);
	must_happen(procs_alive() == 3, 20000);
	must_hold(proc_out(must_ctl(db, 0, "cancel", "1")), "1 cancelled (it was running: its worker ends it");
	must_happen(procs_alive() == 2, 20000);
	must_say(worker, "event=claim_lost queue=mail job=1");
	must_equal(db, "SELECT string_agg(status || failures, ' ' ORDER BY id) FROM unstuck.jobs", "CANCELLED0 PROCESSING0");
	proc_signal(worker, SIGKILL);
}
END_TEST

/* Of the time before nobody knows which claims were of before a retry: a person has to say so. */
START_TEST(a_schema_of_version_2_is_brought_up_and_its_late_results_wait_for_a_person)
{
	struct testdb *db = must_have_empty_db();
	const char *count = "SELECT count(*) FROM unstuck.late_results AS l CROSS JOIN LATERAL unstuck.adopt(l.id)";

	must_run(0, NULL, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", source_path("tests/data/sql/schema_version_2.sql"), db->url);
	must_sql(db, "INSERT INTO unstuck.jobs (queue, status, claim_id, finished_at) VALUES ('mail', 'FAILED', nextval('unstuck.claim_seq'), now());"
	             "INSERT INTO unstuck.late_results (queue, source, job_id, claim_id, worker_id, reason, raw)"
	             " VALUES ('mail', 'unstuck.jobs', '1', 1, gen_random_uuid(), 'fenced', '1')");
	must_hold(proc_err(must_ctl(db, 78, "late")), "schema unstuck is version 2, this program needs 4: run `unstuckctl init`");
	must_hold(proc_out(must_ctl(db, 0, "init")), "upgraded from version 2 to 4");
	must_hold(proc_out(must_ctl(db, 0, "init")), "already at version 4");
	must_equal(db, count, "0");
	must_ctl(db, 0, "late", "adopt", "1");
	must_equal(db, "SELECT status FROM unstuck.jobs", "COMPLETED");
	late_of(db, id_of(db, "FAILED"), "fenced", "'2'");
	must_equal(db, count, "1");
	must_equal(db, "SELECT string_agg(first_claim::text, ' ' ORDER BY id) FROM unstuck.jobs", "2 0");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("late");
	TCase *rules = queue_case(s, "rules"), *races = queue_case(s, "races"), *ctl = queue_case(s, "unstuckctl late"),
	      *unasked = queue_case(s, "unasked");

	tcase_add_loop_test(rules, a_late_success_counts_when_the_newer_run_has_failed, 0, (int)ARRAY_SIZE(tried));
	tcase_add_loop_test(rules, a_late_success_does_not_count_where_the_newer_run_succeeded, 0, 2);
	tcase_add_loop_test(rules, a_result_after_the_poison_limit_counts, 0, 2);
	tcase_add_loop_test(rules, a_job_that_was_put_back_by_hand_takes_no_result_of_before_unasked, 0, 2);
	tcase_add_loop_test(rules, bytes_that_are_no_result_stay_and_are_not_tried_again, 0, 2);
	tcase_add_test(rules, the_reasons_are_one_table);
	tcase_add_loop_test(races, a_claim_and_an_adoption_exclude_each_other, 0, 2);
	tcase_add_test(races, a_retry_and_an_adoption_exclude_each_other);
	tcase_add_loop_test(races, of_many_late_results_each_job_takes_one_whoever_adopts, 0, 2);
	tcase_add_test(ctl, late_lists_the_newest_first_and_shows_bytes_as_they_are);
	tcase_add_test(ctl, what_cannot_be_adopted_is_told_with_the_reason);
	tcase_add_test(ctl, a_person_adopts_what_is_valid_and_hears_of_each);
	tcase_add_test(ctl, adoption_runs_on_success_in_the_same_transaction);
	tcase_add_test(unasked, workers_adopt_what_a_frozen_one_brings_after_the_newer_run_failed);
	tcase_add_test(unasked, a_worker_adopts_when_its_own_run_fails);
	tcase_add_test(unasked, recover_adopts_with_its_role_and_tells_beforehand);
	tcase_add_test(unasked, a_cancelled_job_is_ended_at_once);
	tcase_add_test(ctl, a_schema_of_version_2_is_brought_up_and_its_late_results_wait_for_a_person);
	return check_main(s);
}
