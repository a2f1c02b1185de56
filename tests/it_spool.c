/*
 * it_spool.c - spools that dead workers left, replayed into a real database.
 */
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "queue_story.h"
#include "spool.h"

#define RESULT "{\"a\": \"x\"}"

/* ---- a spool as a worker leaves it ---- */

static struct spool *must_open(void)
{
	struct error err = ERROR_INIT;
	struct spool *s = spool_open(&(struct spool_options){ .dir = test_path("spool") }, &err);

	if (s == NULL)
		story_fail("%s", err.text);
	return s;
}

static struct spool_record record_of(struct queue_story *q, int n, const char *claim, enum spool_kind kind, const char *bytes)
{
	return (struct spool_record){
		.kind = kind, .started = true, .source = q->map.source, .queue = "q", .job_id = key_of(q, n),
		.claim_id = strtoll(claim, NULL, 10), .worker_id = W1, .attempt = 1, .at = clock_wall(),
		.bytes = bytes, .bytes_len = strlen(bytes),
	};
}

static void seal(struct spool *s, struct queue_story *q, int n, const char *claim, const char *bytes)
{
	struct spool_record r = record_of(q, n, claim, SPOOL_DONE, bytes);

	spool_seal(s, &r);
}

/* One more process that is dead, and what it left. */
static void leave(struct spool *s)
{
	struct error err = ERROR_INIT;

	if (spool_flush(s, &err) < 0)
		story_fail("%s", err.text);
	spool_close(s);
}

static struct proc *ctl(struct testdb *db, int status, const char *const *words)
{
	const char *argv[16] = { "unstuckctl", "-d", db->url, "-c", test_path("queue.ini") };
	size_t n = 5;
	const struct proc_options options = {
		.env = WORDS(story_text("UNSTUCK_WORKER_SPOOL_DIR=%s", test_path("spool"))),
	};

	while (*words != NULL)
		argv[n++] = *words++;
	return proc_must_exit(proc_start(&options, argv), status, 60000);
}
#define must_ctl(db, status, ...) (story_at(__FILE__, __LINE__), ctl(db, status, WORDS(__VA_ARGS__)))

static void must_count(struct proc *p, const char *counts)
{
	if (strstr(proc_out(p), counts) == NULL)
		story_fail("expected \"%s\" in \"%s\" (%s)", counts, proc_out(p), proc_err(p));
}

static size_t instances_left(void)
{
	struct proc *p = must_start(NULL, "ls", test_path("spool"));

	must_exit(p, 0, 10000);
	return text_count(proc_out(p), "\n");
}

/* ---- over every kind of table ---- */

START_TEST(a_result_is_stored_once)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = queue_of_kind(db, &kinds[_i], 2);
	struct spool *s = must_open();
	const char *one, *two;

	add_worker(db, W1);
	one = claim_one(q, 1, W1);
	two = claim_one(q, 2, W1);
	seal(s, q, 1, one, RESULT);
	seal(s, q, 2, two, "[1, \"\\u00fc\"]");
	leave(s);
	must_count(must_ctl(db, 0, "spool", "replay"), "instances=1 records=2 stored=2 already=0 late=0 refused=0 dropped=0 kept=0");
	must_answer(seen(q, 1, "status, result::jsonb->>'a'"), "COMPLETED x");
	must_answer(seen(q, 2, "status, result::jsonb->>1"), "COMPLETED \xc3\xbc");
	ck_assert_uint_eq(instances_left(), 0);
	/* again, from another copy: nothing changes */
	s = must_open();
	seal(s, q, 1, one, RESULT);
	seal(s, q, 2, two, "\"another\"");
	leave(s);
	must_count(must_ctl(db, 0, "spool", "replay"), "records=2 stored=0 already=2 late=0");
	must_answer(seen(q, 2, "status, result::jsonb->>1"), "COMPLETED \xc3\xbc");
	must_equal(db, "SELECT count(*) FROM unstuck.late_results", "0");
	must_count(must_ctl(db, 0, "spool", "replay"), "instances=0 records=0");
}
END_TEST

START_TEST(a_result_of_a_lost_claim_is_kept_byte_for_byte)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = queue_of_kind(db, &kinds[_i], 2);
	struct spool *s = must_open();
	const char *one;

	add_worker(db, W1);
	add_worker(db, W2);
	one = claim_one(q, 1, W1);
	ask(q, STMT_RELEASE, array_of(key_of(q, 1)), array_of(one), W1, array_of("t"));
	claim_one(q, 1, W2);
	seal(s, q, 1, one, " {\"a\":\t1}\n\xc3\xbc'\\\"");
	leave(s);
	must_count(must_ctl(db, 0, "spool", "replay"), "records=1 stored=0 already=0 late=1 refused=0 dropped=0 kept=0");
	must_answer(seen(q, 1, "status, result"), "PROCESSING");
	must_equal(db, "SELECT reason || convert_from(raw, 'UTF8') FROM unstuck.late_results", "fenced {\"a\":\t1}\n\xc3\xbc'\\\"");
	must_equal(db, "SELECT count(*) FROM unstuck.late_results WHERE worker_id = '" W1 "' AND queue = 'q'", "1");
	ck_assert_uint_eq(instances_left(), 0);
}
END_TEST

/* Nobody has taken it since: the handler's work is not done twice. */
START_TEST(a_result_counts_after_a_recovery_that_nobody_took_up)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = queue_of_kind(db, &kinds[_i], 1);
	struct spool *s = must_open();
	const char *one;

	add_worker(db, W1);
	one = claim_one(q, 1, W1);
	ask(q, STMT_RELEASE, array_of(key_of(q, 1)), array_of(one), W1, array_of("t"));
	seal(s, q, 1, one, RESULT);
	leave(s);
	must_count(must_ctl(db, 0, "spool", "replay"), "stored=1");
	must_answer(seen(q, 1, "status"), "COMPLETED");
}
END_TEST

START_TEST(bad_data_in_one_does_not_stop_the_others)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = queue_of_kind(db, &kinds[_i], 3);
	struct spool *s = must_open();
	struct proc *p;

	add_worker(db, W1);
	seal(s, q, 1, claim_one(q, 1, W1), RESULT);
	seal(s, q, 2, claim_one(q, 2, W1), "{broken");
	seal(s, q, 3, claim_one(q, 3, W1), RESULT);
	leave(s);
	p = must_ctl(db, 0, "spool", "replay");
	must_count(p, "records=3 stored=2 already=0 late=0 refused=1 dropped=0 kept=0");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "has failed: the result was refused by the database: "));
	must_answer(seen(q, 1, "status"), "COMPLETED");
	must_answer(seen(q, 2, "status, result"), "FAILED");
	must_answer(seen(q, 3, "status"), "COMPLETED");
	must_equal(db, "SELECT reason || ' ' || convert_from(raw, 'UTF8') FROM unstuck.late_results", "bad_data {broken");
	ck_assert_uint_eq(instances_left(), 0);
}
END_TEST

START_TEST(failures_and_releases_are_replayed_too)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = queue_of_kind(db, &kinds[_i], 3);
	struct spool *s = must_open();
	struct spool_record r;

	add_worker(db, W1);
	r = record_of(q, 1, claim_one(q, 1, W1), SPOOL_RETRY, "");
	r.error = "exit status 1: \xc3\xbc";
	r.delay = HOUR;
	spool_seal(s, &r);
	r = record_of(q, 2, claim_one(q, 2, W1), SPOOL_FAIL, "too large");
	r.error = "the output is larger than max_result";
	r.reason = "too_large";
	spool_seal(s, &r);
	r = record_of(q, 3, claim_one(q, 3, W1), SPOOL_RELEASE, "");
	r.started = false;
	spool_seal(s, &r);
	r.claim_id++;			/* of a claim that was never: nothing of value */
	spool_seal(s, &r);
	leave(s);
	must_count(must_ctl(db, 0, "spool", "replay"), "records=4 stored=3 already=0 late=0 refused=0 dropped=1 kept=0");
	must_answer(seen(q, 1, "status, failures, last_error"), "PENDING 1 exit status 1: \xc3\xbc");
	must_answer(seen(q, 2, "status, failures"), "FAILED 1");
	must_answer(seen(q, 3, "status, attempts, failures"), "PENDING 0 0");
	must_equal(db, "SELECT reason || ' ' || convert_from(raw, 'UTF8') FROM unstuck.late_results", "too_large too large");
}
END_TEST

/* After a long outage: hundreds in a transaction, a bad one and one of a lost claim among them. */
START_TEST(many_results_are_stored_together)
{
	enum { MANY = 1500 };
	struct testdb *db = must_have_db();
	struct queue_story *q = queue_of_kind(db, &kinds[0], MANY);
	struct spool *s = must_open();
	struct spool_record r;
	const char *old;

	add_worker(db, W1);
	old = claim_one(q, 1, W1);
	ask(q, STMT_RELEASE, array_of("1"), array_of(old), W1, array_of("t"));
	for (int i = 0; i < MANY; i += CLAIM_MAX)
		ask(q, STMT_CLAIM, story_text("%d", CLAIM_MAX), W1);
	seal(s, q, 1, old, "\"old\"");		/* same job, same worker, another claim: never taken for the one behind it */
	for (int i = 1; i <= MANY; i++) {
		char id[16], result[32];

		snprintf(id, sizeof id, "%d", i);
		snprintf(result, sizeof result, i == 700 ? "{broken" : "{\"n\": %d}", i);
		r = (struct spool_record){
			.kind = SPOOL_DONE, .source = "unstuck.jobs", .queue = "q", .job_id = id,
			.claim_id = sql_int(db, "SELECT claim_id FROM unstuck.jobs WHERE id = %d", i), .worker_id = W1,
			.at = clock_wall(), .bytes = result, .bytes_len = strlen(result),
		};
		spool_seal(s, &r);
	}
	leave(s);
	must_count(must_ctl(db, 0, "spool", "replay"), "records=1501 stored=1499 already=0 late=1 refused=1 dropped=0 kept=0");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED' AND (result ->> 'n')::bigint = id", "1499");
	must_equal(db, "SELECT status FROM unstuck.jobs WHERE id = 700", "FAILED");
	must_equal(db, "SELECT string_agg(job_id || ' ' || reason || ' ' || convert_from(raw, 'UTF8'), ', ' ORDER BY job_id)"
	           " FROM unstuck.late_results", "1 fenced \"old\", 700 bad_data {broken");
	ck_assert_uint_eq(instances_left(), 0);
}
END_TEST

/* ---- output of a worker that was killed ---- */

START_TEST(output_that_nobody_judged_is_no_result)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = queue_of_kind(db, &kinds[0], 3);
	struct spool *s = must_open();
	struct spool_record r[3];
	struct error err = ERROR_INIT;
	struct proc *p;
	int fd[3];

	add_worker(db, W1);
	for (int i = 0; i < 3; i++) {
		r[i] = record_of(q, i + 1, claim_one(q, i + 1, W1), SPOOL_OUTPUT, "");
		ck_assert_ptr_nonnull(spool_out_open(s, &r[i], &fd[i], &err));
	}
	ck_assert_int_eq(write(fd[0], "{\"half\": ", 9), 9);
	ck_assert_int_eq(write(fd[2], RESULT, strlen(RESULT)), (ssize_t)strlen(RESULT));
	seal(s, q, 3, story_text("%lld", (long long)r[2].claim_id), RESULT);	/* judged: its output file is of no interest */
	close(fd[1]);
	close(fd[2]);
	leave(s);
	/* the first one's handler still runs */
	p = must_ctl(db, 0, "spool", "--json");
	ck_assert_uint_eq(text_count(proc_out(p), "\"writing\""), 1);
	p = must_ctl(db, 0, "spool", "replay");
	must_count(p, "records=2 stored=1 already=0 late=0 refused=0 dropped=1 kept=0 running=1");
	ck_assert_uint_eq(instances_left(), 1);
	close(fd[0]);
	must_count(must_ctl(db, 0, "spool", "replay"), "records=1 stored=0 already=0 late=1");
	must_equal(db, "SELECT job_id || reason || convert_from(raw, 'UTF8') FROM unstuck.late_results", "1unfinished{\"half\": ");
	must_answer(seen(q, 1, "status"), "PROCESSING");
	ck_assert_uint_eq(instances_left(), 0);
}
END_TEST

/* ---- a statement of the user's ---- */

static const char on_success_ini[] =
	"[queue q]\nhandler = /bin/cat\ntable = videos\nready = PENDING\nprocessing = PROCESSING\ndone = COMPLETED\n"
	"failed = FAILED\non_success = INSERT INTO results VALUES ($1, $2 ->> 'a')\n";

START_TEST(on_success_is_in_the_same_transaction)
{
	struct testdb *db = must_have_db();
	struct queue_story *q;
	struct spool *s = must_open();
	const char *claims[4];

	must_sql(db, "CREATE TABLE videos (id bigint PRIMARY KEY, status text, updated_at timestamptz);"
	         "CREATE TABLE results (id bigint PRIMARY KEY, a text NOT NULL CHECK (a <> 'bad'));"
	         "INSERT INTO videos SELECT g, 'PENDING', now() FROM generate_series(1, 3) AS g");
	q = queue_story(db, on_success_ini);
	add_worker(db, W1);
	add_worker(db, W2);
	for (int i = 1; i <= 3; i++) {
		claims[i] = ask_column(q, "claim_id", STMT_CLAIM, "1", W1);
		struct spool_record r = {
			.kind = SPOOL_DONE, .source = q->map.source, .queue = "q", .job_id = story_text("%d", i),
			.claim_id = strtoll(claims[i], NULL, 10), .worker_id = W1, .at = clock_wall(),
			.bytes = i == 2 ? "{\"a\": \"bad\"}" : "{\"a\": \"x\"}",
		};
		r.bytes_len = strlen(r.bytes);
		spool_seal(s, &r);
		if (i == 1)
			spool_seal(s, &r);	/* twice: the second time it is there already */
	}
	ask(q, STMT_RELEASE, array_of("3"), array_of(claims[3]), W1, array_of("t"));
	ask(q, STMT_CLAIM, "1", W2);
	leave(s);
	must_count(must_ctl(db, 0, "spool", "replay"), "records=4 stored=1 already=1 late=1 refused=1 dropped=0 kept=0");
	must_equal(db, "SELECT string_agg(id || status, ' ' ORDER BY id) FROM videos", "1COMPLETED 2FAILED 3PROCESSING");
	must_equal(db, "SELECT string_agg(id || a, ' ' ORDER BY id) FROM results", "1x");
	must_equal(db, "SELECT string_agg(job_id || reason, ' ' ORDER BY job_id) FROM unstuck.late_results", "2bad_data 3fenced");
}
END_TEST

/* ---- what cannot be stored now ---- */

/* A replay by a user who may fail a job, and may not do what the worker's user may: no fault of the result's. */
START_TEST(a_missing_right_fails_no_job)
{
	struct testdb *db = must_have_db();
	const char *role = story_text("replays_%d", (int)getpid());
	struct spool *s = must_open();
	struct queue_story *q;
	struct spool_record r;
	struct proc *p;

	must_sql(db, "CREATE TABLE videos (id bigint PRIMARY KEY, status text, updated_at timestamptz);"
	         "CREATE TABLE results (id bigint PRIMARY KEY, a text); INSERT INTO videos VALUES (1, 'PENDING', now());"
	         "CREATE ROLE %s LOGIN; GRANT unstuck_worker TO %s; GRANT SELECT, UPDATE ON videos TO %s", role, role, role);
	q = queue_story(db, on_success_ini);
	add_worker(db, W1);
	r = (struct spool_record){
		.kind = SPOOL_DONE, .source = q->map.source, .queue = "q", .job_id = "1", .worker_id = W1, .at = clock_wall(),
		.claim_id = strtoll(ask_column(q, "claim_id", STMT_CLAIM, "1", W1), NULL, 10), .bytes = RESULT,
		.bytes_len = strlen(RESULT),
	};
	spool_seal(s, &r);
	leave(s);
	p = proc_must_exit(proc_start(&(struct proc_options){
		.env = WORDS(story_text("UNSTUCK_WORKER_SPOOL_DIR=%s", test_path("spool"))) },
		WORDS("unstuckctl", "-d", story_text("host=%s dbname=%s user=%s", server_dir(), db->name, role), "-c",
		      test_path("queue.ini"), "spool", "replay")), 75, 60000);
	must_count(p, "records=1 stored=0 already=0 late=0 refused=0 dropped=0 kept=1");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "job 1 of queue q stays in the spool: permission denied"));
	must_equal(db, "SELECT status FROM videos", "PROCESSING");
	must_sql(db, "DROP OWNED BY %s; DROP ROLE %s", role, role);
	must_count(must_ctl(db, 0, "spool", "replay"), "stored=1");
	must_equal(db, "SELECT a FROM results", "x");
}
END_TEST

START_TEST(an_unknown_queue_is_kept_and_named)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = queue_of_kind(db, &kinds[0], 1);
	struct spool *s = must_open();
	struct spool_record r;
	struct proc *p;

	add_worker(db, W1);
	seal(s, q, 1, claim_one(q, 1, W1), RESULT);
	r = record_of(q, 1, "1", SPOOL_DONE, RESULT);
	r.queue = "of another file";
	spool_seal(s, &r);
	r.queue = "q";
	r.source = "public.elsewhere";
	spool_seal(s, &r);
	leave(s);
	for (int i = 0; i < 2; i++) {
		p = must_ctl(db, 75, "spool", "replay");
		must_count(p, i == 0 ? "records=3 stored=1 already=0" : "records=3 stored=0 already=1");
		must_count(p, "kept=2");
		ck_assert_ptr_nonnull(strstr(proc_err(p), "results of queue of another file on unstuck.jobs stay in the spool"));
		ck_assert_ptr_nonnull(strstr(proc_err(p), "results of queue q on public.elsewhere stay in the spool"));
	}
	ck_assert_uint_eq(instances_left(), 1);
}
END_TEST

START_TEST(without_the_database_all_stays)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = queue_of_kind(db, &kinds[0], 1);
	struct spool *s = must_open();
	struct proc *p;

	add_worker(db, W1);
	seal(s, q, 1, claim_one(q, 1, W1), RESULT);
	leave(s);
	server_stop();
	must_ctl(db, 69, "spool", "replay");
	p = must_ctl(db, 0, "spool", "--json");		/* listing needs none */
	ck_assert_ptr_nonnull(strstr(proc_out(p), "\"state\": \"sealed\""));
	server_start();
	must_count(must_ctl(db, 0, "spool", "replay"), "stored=1");
}
END_TEST

/* A server that takes no writes for a while, a statement of a lock's holder: not a word of it is lost. */
START_TEST(a_server_that_refuses_for_now_keeps_it_in_the_spool)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = queue_of_kind(db, &kinds[0], 1);
	struct spool *s = must_open();
	struct proc *p;

	add_worker(db, W1);
	seal(s, q, 1, claim_one(q, 1, W1), RESULT);
	leave(s);
	must_sql(db, "ALTER DATABASE %s SET default_transaction_read_only = on", db->name);
	p = must_ctl(db, 75, "spool", "replay");
	must_count(p, "records=1 stored=0 already=0 late=0 refused=0 dropped=0 kept=1");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "job 1 of queue q stays in the spool: "));
	must_sql(db, "SET default_transaction_read_only = off; ALTER DATABASE %s RESET default_transaction_read_only", db->name);
	must_count(must_ctl(db, 0, "spool", "replay"), "stored=1");
}
END_TEST

START_TEST(the_living_are_left_alone)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = queue_of_kind(db, &kinds[0], 1);
	struct spool *s = must_open();
	struct error err = ERROR_INIT;
	struct proc *p;

	add_worker(db, W1);
	seal(s, q, 1, claim_one(q, 1, W1), RESULT);
	ck_assert_int_eq(spool_flush(s, &err), 0);
	must_count(must_ctl(db, 0, "spool", "replay"), "instances=0 records=0");
	must_answer(seen(q, 1, "status"), "PROCESSING");
	p = must_ctl(db, 0, "spool");
	ck_assert_ptr_nonnull(strstr(proc_out(p), " alive "));
	spool_close(s);
	must_count(must_ctl(db, 0, "spool", "replay"), "stored=1");
}
END_TEST

START_TEST(what_cannot_be_read_is_put_aside)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = queue_of_kind(db, &kinds[0], 2);
	struct spool *s = must_open();
	struct proc *p;
	char *file;
	int fd;

	add_worker(db, W1);
	seal(s, q, 1, claim_one(q, 1, W1), RESULT);
	seal(s, q, 2, claim_one(q, 2, W1), RESULT);
	file = story_text("%s/%s/segment.0", test_path("spool"), spool_instance(s));
	leave(s);
	fd = open(file, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(pwrite(fd, "?", 1, 70), 1);
	close(fd);
	p = must_ctl(db, 0, "spool", "replay");
	must_count(p, "records=1 stored=1");
	must_count(p, "damaged=1");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "segment.0 at offset 0: a record whose sum is wrong ("));
	ck_assert_ptr_nonnull(strstr(proc_err(p), "what could not be read is left in "));
	must_answer(seen(q, 2, "status"), "COMPLETED");
	p = must_ctl(db, 0, "spool", "--json");
	ck_assert_ptr_nonnull(strstr(proc_out(p), "\"kind\": \"damaged\""));
	must_count(must_ctl(db, 0, "spool", "replay"), "records=0");
	ck_assert_uint_eq(instances_left(), 1);
}
END_TEST

/* Its worker is dead, its row is PROCESSING: not stuck, for its result is here. */
START_TEST(recover_replays_before_it_looks)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = queue_of_kind(db, &kinds[0], 2);
	const struct proc_options options = {
		.env = WORDS(story_text("UNSTUCK_WORKER_SPOOL_DIR=%s", test_path("spool"))),
	};
	struct spool *s = must_open();
	struct proc *p;

	add_worker(db, W1);
	seal(s, q, 1, claim_one(q, 1, W1), RESULT);
	claim_one(q, 2, W1);
	leave(s);
	must_sql(db, "DELETE FROM unstuck.workers");
	p = must_run(0, &options, "unstuck-recover", "-d", db->url, "-c", test_path("queue.ini"), "--dry-run");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "1 record of 1 dead process in "));
	must_answer(seen(q, 1, "status"), "PROCESSING");
	p = must_run(0, &options, "unstuck-recover", "-d", db->url, "-c", test_path("queue.ini"), "--yes");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "1 record of 1 dead process replayed from "));
	ck_assert_ptr_nonnull(strstr(proc_err(p), ": 1 stored, 0 there already, 0 late, 0 refused, 0 dropped, 0 kept"));
	must_answer(seen(q, 1, "status, attempts, recoveries"), "COMPLETED 1 0");
	must_answer(seen(q, 2, "status, attempts, recoveries"), "PENDING 1 1");
	ck_assert_uint_eq(instances_left(), 0);
	p = must_run(0, &options, "unstuck-recover", "-d", db->url, "-c", test_path("queue.ini"), "--yes");
	ck_assert_ptr_null(strstr(proc_err(p), "replayed"));
}
END_TEST

START_TEST(the_list_says_what_waits)
{
	struct testdb *db = must_have_db();
	struct queue_story *q = queue_of_kind(db, &kinds[0], 1);
	struct spool *s = must_open();
	struct proc *p;
	json_t *document, *e;

	seal(s, q, 1, "77", RESULT);
	leave(s);
	p = must_ctl(db, 0, "spool", "--json");
	document = json_loads(proc_out(p), 0, NULL);
	e = json_array_get(json_object_get(document, "entries"), 0);
	ck_assert_str_eq(json_string_value(json_object_get(e, "job")), "1");
	ck_assert_str_eq(json_string_value(json_object_get(e, "queue")), "q");
	ck_assert_str_eq(json_string_value(json_object_get(e, "worker_id")), W1);
	ck_assert_str_eq(json_string_value(json_object_get(e, "kind")), "done");
	ck_assert_str_eq(json_string_value(json_object_get(e, "file")), "segment.0");
	ck_assert(json_is_false(json_object_get(e, "alive")));
	ck_assert_int_eq(json_integer_value(json_object_get(e, "claim_id")), 77);
	ck_assert_int_eq(json_integer_value(json_object_get(e, "bytes")), (json_int_t)strlen(RESULT));
	ck_assert(json_real_value(json_object_get(e, "age_s")) < 600);
	json_decref(document);
	must_ctl(db, 64, "spool", "repaly");
	must_ctl(db, 0, "spool");
	chmod("spool", 0777);
	p = must_ctl(db, 78, "spool");
	ck_assert_ptr_nonnull(strstr(proc_err(p), "chmod 700"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("spool");
	TCase *tables = queue_case(s, "tables"), *others = queue_case(s, "others");

	tcase_add_loop_test(tables, a_result_is_stored_once, 0, kinds_len);
	tcase_add_loop_test(tables, a_result_of_a_lost_claim_is_kept_byte_for_byte, 0, kinds_len);
	tcase_add_loop_test(tables, a_result_counts_after_a_recovery_that_nobody_took_up, 0, kinds_len);
	tcase_add_loop_test(tables, bad_data_in_one_does_not_stop_the_others, 0, kinds_len);
	tcase_add_loop_test(tables, failures_and_releases_are_replayed_too, 0, kinds_len);
	tcase_add_test(others, many_results_are_stored_together);
	tcase_add_test(others, a_missing_right_fails_no_job);
	tcase_add_test(others, output_that_nobody_judged_is_no_result);
	tcase_add_test(others, on_success_is_in_the_same_transaction);
	tcase_add_test(others, an_unknown_queue_is_kept_and_named);
	tcase_add_test(others, without_the_database_all_stays);
	tcase_add_test(others, a_server_that_refuses_for_now_keeps_it_in_the_spool);
	tcase_add_test(others, the_living_are_left_alone);
	tcase_add_test(others, what_cannot_be_read_is_put_aside);
	tcase_add_test(others, recover_replays_before_it_looks);
	tcase_add_test(others, the_list_says_what_waits);
	return check_main(s);
}
