/*
 * it_db.c - what worker/db.c promises, against a real server: order, exactly one
 * answer, outcomes that are certain, and coming back.
 */
#include "story.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "buf.h"
#include "db.h"

/* Everything that was called back, one line each: "done 1", "refused 2 22012 0", "lost", "ready". */
static struct buf heard;
static struct event_base *base;
static struct event *tick;
static struct db *db;
static struct testdb *server;
static struct error last_error;		/* of an answer */
static struct error why;		/* of the last lost() */
static usec_t retries[64];
static size_t losses, answers, changes;
static bool inside;			/* a call into db.c: nothing may be called back */

static void note(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void note(const char *fmt, ...)
{
	va_list ap;

	ck_assert_msg(!inside, "called back from inside a call");
	va_start(ap, fmt);
	buf_vaddf(&heard, fmt, ap);
	va_end(ap);
	buf_addc(&heard, '\n');
}

static void on_ready(void *arg)
{
	(void)arg;
	ck_assert(db_is_ready(db));
	note("ready");
}

static void on_lost(void *arg, const struct error *error, usec_t retry_in)
{
	(void)arg;
	ck_assert(!db_is_ready(db));
	ck_assert_uint_eq(db_pending(db), 0);	/* all answered before */
	ck_assert_int_ne(error->kind, ERR_NONE);
	ck_assert_msg(error->text[0] && !strchr(error->text, '\n'), "one line: \"%s\"", error->text);
	why = *error;
	if (losses < ARRAY_SIZE(retries))
		retries[losses] = retry_in;
	losses++;
	note("lost");
}

static void on_notified(void *arg, const char *channel, const char *payload)
{
	(void)arg;
	note("notified %s %s", channel, payload);
}

static void on_changed(void *arg)
{
	(void)arg;
	ck_assert(!inside);
	changes++;
}

static const struct db_events events = { on_ready, on_lost, on_notified, on_changed };

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	if (db) {
		inside = true;
		db_advance(db, clock_now());
		inside = false;
	}
}

/* The loop turns, at every tick at least, until expr is true. */
#define must_turn_until(expr) do { \
		usec_t until_ = clock_now() + 30 * SEC; \
		while (!(expr)) { \
			event_base_loop(base, EVLOOP_ONCE); \
			ck_assert_msg(clock_now() < until_, "still not so: %s; heard:\n%s", #expr, buf_text(&heard)); \
		} \
	} while (0)

static void must_hear(const char *expected)
{
	ck_assert_str_eq(buf_text(&heard), expected);
	buf_clear(&heard);
}

/* ---- requests ---- */

static void on_answer(void *arg, const struct db_reply *reply)
{
	const char *name = arg;

	answers++;
	last_error = reply->error;
	switch (reply->outcome) {
	case DB_DONE:
		for (size_t i = 0; i < reply->len; i++)
			ck_assert_ptr_nonnull(reply->results[i]);
		note("done %s %s", name, PQntuples(reply->results[reply->len - 1]) > 0
		                         ? PQgetvalue(reply->results[reply->len - 1], 0, 0) : "-");
		break;
	case DB_REFUSED:
		ck_assert_uint_le(reply->failed, reply->len);
		note("refused %s %s %zu of %zu", name, reply->error.sqlstate, reply->failed, reply->len);
		break;
	case DB_LOST:
		note("lost %s", name);
		break;
	}
}

static struct db_request *request_of(const char *name, const char *const *statements)
{
	struct db_request *r = db_request_new(on_answer, (void *)(uintptr_t)name);

	for (; *statements; statements++)
		db_request_add(r, *statements, 0, NULL, NULL);
	return r;
}

#define send_request(name, ...) send_now(request_of(name, (const char *const[]){ __VA_ARGS__, NULL }))
static void send_now(struct db_request *r)
{
	bool before = inside;

	inside = true;
	db_send(db, r);
	inside = before;
}

/* ---- set-up ---- */

static void connect_db(const char *url, const char *listen)
{
	const struct timeval often = { .tv_usec = 10000 };

	base = event_base_new();
	tick = event_new(base, -1, EV_PERSIST, on_tick, NULL);
	event_add(tick, &often);
	inside = true;
	db = db_new(base, url, "it_db", listen, &events, NULL);
	inside = false;
}

static void must_be_ready(const char *listen)
{
	server = must_have_empty_db();
	connect_db(server->url, listen);
	must_turn_until(db_is_ready(db));
	must_hear("ready\n");
}

/* Everything that was made is freed: a leak fails the run under the address sanitizer. */
static void free_all(void)
{
	db_free(db);
	db = NULL;
	event_free(tick);
	event_base_free(base);
	buf_release(&heard);
}

/* ---- answers ---- */

START_TEST(requests_are_answered_in_the_order_sent)
{
	struct buf expected = BUF_INIT;
	static char names[300][8];

	must_be_ready(NULL);
	for (int i = 0; i < 300; i++) {
		snprintf(names[i], sizeof names[i], "%d", i);
		if (i % 3 == 0)
			send_request(names[i], "SELECT 1", "SELECT 'three'", "SELECT 'last'");
		else
			send_request(names[i], "SELECT pg_backend_pid() IS NOT NULL");
		buf_addf(&expected, "done %d %s\n", i, i % 3 == 0 ? "last" : "t");
	}
	ck_assert_uint_eq(db_pending(db), 300);
	must_turn_until(answers == 300);
	must_hear(buf_text(&expected));
	ck_assert_uint_eq(db_pending(db), 0);
	buf_release(&expected);
	free_all();
}
END_TEST

START_TEST(changed_is_called_once_a_turn_and_not_once_an_answer)
{
	must_be_ready(NULL);
	must_sql(server, "CREATE TABLE t (i int)");
	for (int i = 0; i < 100; i++)		/* few enough for the socket to take them at once */
		send_request("many", "SELECT 1");
	send_request("last", "INSERT INTO t VALUES (1)");
	must_become(server, "SELECT count(*) FROM t", "1", 5000);	/* the other answers have arrived */
	changes = 0;
	must_turn_until(answers == 101);
	ck_assert_uint_ge(changes, 1);
	ck_assert_uint_lt(changes, 30);
	free_all();
}
END_TEST

static void on_values(void *arg, const struct db_reply *reply)
{
	const PGresult *first, *second;

	(void)arg;
	answers++;
	ck_assert_int_eq(reply->outcome, DB_DONE);
	ck_assert_uint_eq(reply->len, 2);
	first = reply->results[0];
	second = reply->results[1];
	ck_assert_str_eq(PQgetvalue(first, 0, 0), "it's \"text\" \\ $1");
	ck_assert(PQgetisnull(first, 0, 1));
	ck_assert_str_eq(PQgetvalue(first, 0, 2), "42");
	ck_assert_str_eq(PQgetvalue(second, 0, 0), "integer");
	ck_assert_str_eq(PQgetvalue(second, 0, 1), "it_db");
}

START_TEST(parameters_are_text_null_and_typed)
{
	struct db_request *r = db_request_new(on_values, NULL);
	char *three[] = { strdup("it's \"text\" \\ $1"), NULL, strdup("41") }, *one[] = { strdup("7") };

	must_be_ready(NULL);
	db_request_add(r, "SELECT $1::text, $2::text, $3::int + 1", 3, three, NULL);
	db_request_add(r, "SELECT pg_typeof($1), current_setting('application_name')", 1, one, (const Oid[]){ 23 });
	memset(three, 0, sizeof three);		/* the arrays are ours again */
	send_now(r);
	must_turn_until(answers == 1);
	free_all();
}
END_TEST

START_TEST(a_request_that_was_never_sent_is_freed)
{
	struct db_request *r = db_request_new(on_answer, NULL);
	char *params[] = { strdup("a"), NULL };

	db_request_add(r, "SELECT $1, $2", 2, params, NULL);
	db_request_free(r);
	db_request_free(NULL);
}
END_TEST

START_TEST(a_session_is_set_up_before_it_is_ready)
{
	must_be_ready(NULL);
	send_request("zone", "SHOW TimeZone");
	send_request("timeout", "SHOW statement_timeout");
	must_turn_until(answers == 2);
	must_hear("done zone UTC\ndone timeout 30s\n");
	free_all();
}
END_TEST

START_TEST(an_error_in_the_middle_undoes_its_request_and_no_other)
{
	must_be_ready(NULL);
	must_sql(server, "CREATE TABLE t (i int)");
	send_request("a", "INSERT INTO t VALUES (1)");
	send_request("b", "INSERT INTO t VALUES (2)", "SELECT 1/0", "INSERT INTO t VALUES (3)");
	send_request("c", "INSERT INTO t VALUES (4)", "SELECT count(*) FROM t");
	send_request("d", "SELECT nothing");
	send_request("e", "SELECT 'e'");
	must_turn_until(answers == 5);
	must_hear("done a -\nrefused b 22012 1 of 3\ndone c 2\nrefused d 42703 0 of 1\ndone e e\n");
	must_equal(server, "SELECT string_agg(i::text, ' ' ORDER BY i) FROM t", "1 4");
	ck_assert(db_is_ready(db));
	free_all();
}
END_TEST

/* The only statement passes; its deferred constraint fails at the sync, which commits. */
START_TEST(a_deferred_constraint_that_fails_at_the_commit_is_refused)
{
	must_be_ready(NULL);
	must_sql(server, "CREATE TABLE p (i int PRIMARY KEY);"
	         "CREATE TABLE c (i int REFERENCES p DEFERRABLE INITIALLY DEFERRED); INSERT INTO p VALUES (1)");
	send_request("single", "INSERT INTO c VALUES (7) RETURNING i");
	send_request("next", "SELECT 'undisturbed'", "SELECT 'too'");
	send_request("two", "INSERT INTO c VALUES (1)", "INSERT INTO c VALUES (8)");
	send_request("good", "INSERT INTO c VALUES (1)");
	send_request("explicit", "BEGIN", "INSERT INTO c VALUES (9)", "COMMIT");
	send_request("last", "SELECT count(*) FROM c");
	must_turn_until(answers == 6);
	must_hear("refused single 23503 1 of 1\n"
	          "done next too\n"
	          "refused two 23503 2 of 2\n"
	          "done good -\n"
	          "refused explicit 23503 2 of 3\n"
	          "done last 1\n");
	ck_assert(db_is_ready(db));
	free_all();
}
END_TEST

/* BEGIN outlives the sync: what follows must neither fail in it nor become a part of it. */
START_TEST(an_explicit_transaction_that_failed_does_not_spoil_the_next)
{
	must_be_ready(NULL);
	must_sql(server, "CREATE TABLE t (i int)");
	send_request("good", "BEGIN", "INSERT INTO t VALUES (1)", "COMMIT");
	send_request("failed", "BEGIN", "INSERT INTO t VALUES (2)", "SELECT 1/0", "COMMIT");
	send_request("next", "INSERT INTO t VALUES (3)", "SELECT 'next'");
	send_request("failed too", "BEGIN", "SELECT 1/0", "COMMIT");
	send_request("good too", "BEGIN", "INSERT INTO t VALUES (4)", "COMMIT");
	send_request("last", "SELECT 'last'");
	must_turn_until(answers == 6);
	must_hear("done good -\nrefused failed 22012 2 of 4\ndone next next\n"
	          "refused failed too 22012 1 of 3\ndone good too -\ndone last last\n");
	must_equal(server, "SELECT string_agg(i::text, ' ' ORDER BY i) FROM t", "1 3 4");
	ck_assert_uint_eq(losses, 0);
	ck_assert_uint_eq(db_pending(db), 0);
	free_all();
}
END_TEST

static void on_answer_again(void *arg, const struct db_reply *reply)
{
	on_answer(arg, reply);
	send_request("again", "BEGIN", "INSERT INTO t VALUES (7)", "COMMIT");
}

START_TEST(a_refused_transaction_may_be_followed_by_another_at_once)
{
	struct db_request *r = db_request_new(on_answer_again, (void *)(uintptr_t)"bad");

	must_be_ready(NULL);
	must_sql(server, "CREATE TABLE t (i int)");
	db_request_add(r, "BEGIN", 0, NULL, NULL);
	db_request_add(r, "SELECT 1/0", 0, NULL, NULL);
	db_request_add(r, "COMMIT", 0, NULL, NULL);
	send_now(r);
	must_turn_until(answers == 2);
	must_hear("refused bad 22012 1 of 3\ndone again -\n");
	must_equal(server, "SELECT count(*) FROM t", "1");
	free_all();
}
END_TEST

START_TEST(a_procedure_cannot_commit_a_part_of_an_explicit_transaction)
{
	must_be_ready(NULL);
	must_sql(server, "CREATE TABLE t (i int); CREATE PROCEDURE p() LANGUAGE plpgsql AS"
	         " $$ BEGIN INSERT INTO t VALUES (2); COMMIT; END $$");
	send_request("call", "BEGIN", "INSERT INTO t VALUES (1)", "CALL p()", "COMMIT");
	send_request("next", "SELECT count(*) FROM t");
	must_turn_until(answers == 2);
	must_hear("refused call 2D000 2 of 4\ndone next 0\n");
	free_all();
}
END_TEST

START_TEST(a_transaction_that_is_left_open_costs_the_connection)
{
	must_be_ready(NULL);
	must_sql(server, "CREATE TABLE t (i int)");
	send_request("open", "BEGIN", "INSERT INTO t VALUES (1)");
	send_request("behind", "SELECT 1");
	must_turn_until(answers == 2);
	must_turn_until(db_is_ready(db));
	must_hear("lost open\nlost behind\nlost\nready\n");
	ck_assert_str_eq(why.text, "a request left its transaction open");
	must_equal(server, "SELECT count(*) FROM t", "0");
	free_all();
}
END_TEST

START_TEST(a_lost_transaction_leaves_nothing_behind)
{
	must_be_ready(NULL);
	must_sql(server, "CREATE TABLE t (i int)");
	send_request("slow", "BEGIN", "INSERT INTO t VALUES (1)", "SELECT pg_sleep(100)", "COMMIT");
	send_request("behind", "SELECT 1");
	must_turn_until(kill_backends(server, "query LIKE '%%pg_sleep%%'") == 1);
	must_turn_until(db_reconnects(db) == 1);
	must_hear("lost slow\nlost behind\nlost\nready\n");
	send_request("after", "SELECT count(*) FROM t");
	must_turn_until(answers == 3);
	must_hear("done after 0\n");
	free_all();
}
END_TEST

START_TEST(an_answer_without_rows_is_an_answer)
{
	must_be_ready(NULL);
	send_request("empty", "");
	send_request("none", "SELECT 1 WHERE false");
	send_request("notice", "DO $$ BEGIN RAISE WARNING 'a warning'; END $$");
	must_turn_until(answers == 3);
	must_hear("done empty -\ndone none -\ndone notice -\n");
	free_all();
}
END_TEST

static int left;

static void on_chain(void *arg, const struct db_reply *reply)
{
	(void)arg;
	ck_assert_int_eq(reply->outcome, DB_DONE);
	answers++;
	if (left-- > 0) {
		struct db_request *r = db_request_new(on_chain, NULL);

		db_request_add(r, "SELECT 1", 0, NULL, NULL);
		send_now(r);
	}
}

START_TEST(an_answer_may_send_the_next_request)
{
	must_be_ready(NULL);
	left = 1000;
	for (int i = 0; i < 3; i++) {
		struct db_request *r = db_request_new(on_chain, NULL);

		db_request_add(r, "SELECT 1", 0, NULL, NULL);
		send_now(r);
	}
	must_turn_until(answers == 1003);
	ck_assert_uint_eq(db_pending(db), 0);
	free_all();
}
END_TEST

static void on_echo(void *arg, const struct db_reply *reply)
{
	(void)arg;
	ck_assert_int_eq(reply->outcome, DB_DONE);
	ck_assert_int_eq(PQgetlength(reply->results[0], 0, 0), 20000);
	answers++;
}

/* 40 MB each way at once: who only writes, or only reads, hangs. */
START_TEST(two_thousand_large_requests_at_once_do_not_block_each_other)
{
	usec_t before;

	must_be_ready(NULL);
	before = clock_now();
	for (int i = 0; i < 2000; i++) {
		struct db_request *r = db_request_new(on_echo, NULL);
		char *text = malloc(20001);

		memset(text, 'a' + i % 26, 20000);
		text[20000] = '\0';
		db_request_add(r, "SELECT $1::text", 1, &text, NULL);
		send_now(r);
	}
	ck_assert_uint_eq(db_pending(db), 2000);
	must_turn_until(answers == 2000);
	if (getenv("CK_VERBOSITY"))
		printf("2000 requests of 20 kB: %d ms\n", (int)((clock_now() - before) / MSEC));
	free_all();
}
END_TEST

/* ---- notifications ---- */

START_TEST(notifications_are_heard_when_idle_and_when_busy)
{
	must_be_ready("unstuck");
	must_sql(server, "NOTIFY unstuck, 'idle'");
	must_turn_until(heard.len > 0);
	must_hear("notified unstuck idle\n");
	send_request("own", "SELECT pg_notify('unstuck', 'busy')", "SELECT 'own'");
	must_turn_until(answers == 1 && strstr(buf_text(&heard), "busy"));
	must_sql(server, "NOTIFY unstuck, 'again'; NOTIFY other, 'not for us'; NOTIFY unstuck, 'last'");
	must_turn_until(strstr(buf_text(&heard), "last"));
	must_hear("done own own\nnotified unstuck busy\nnotified unstuck again\nnotified unstuck last\n");
	free_all();
}
END_TEST

START_TEST(a_channel_of_any_name_is_listened_to_again_after_a_reconnect)
{
	const char *channel = "Odd \"name\"; select";

	must_be_ready(channel);
	kill_backends(server, NULL);
	must_turn_until(db_reconnects(db) == 1);
	must_hear("lost\nready\n");
	must_sql(server, "SELECT pg_notify('%s', 'here')", channel);
	must_turn_until(heard.len > 0);
	must_hear("notified Odd \"name\"; select here\n");
	free_all();
}
END_TEST

/* ---- losing the connection ---- */

START_TEST(an_ended_session_loses_what_was_under_way_and_comes_back)
{
	must_be_ready(NULL);
	send_request("first", "SELECT 1");
	send_request("slow", "SELECT pg_sleep(100)");
	send_request("behind", "SELECT 1", "SELECT 2");
	send_request("last", "SELECT 1");
	must_turn_until(answers == 1);
	must_turn_until(kill_backends(server, "query LIKE '%%pg_sleep%%'") == 1);
	must_turn_until(answers == 4);
	ck_assert_str_eq(last_error.sqlstate, "57P01");
	must_turn_until(db_is_ready(db));
	must_hear("done first 1\nlost slow\nlost behind\nlost last\nlost\nready\n");
	ck_assert_uint_eq(db_reconnects(db), 1);
	ck_assert_str_eq(why.sqlstate, "57P01");
	send_request("after", "SELECT 'fine'");
	must_turn_until(answers == 5);
	must_hear("done after fine\n");
	free_all();
}
END_TEST

START_TEST(an_idle_session_that_is_ended_says_why)
{
	must_be_ready(NULL);
	kill_backends(server, NULL);
	must_turn_until(db_reconnects(db) == 1);
	must_hear("lost\nready\n");
	ck_assert_str_eq(why.sqlstate, "57P01");
	ck_assert_ptr_nonnull(strstr(why.text, "administrator command"));
	free_all();
}
END_TEST

/* Nobody may take a session's own error of this class for a refusal: the server may say it as it goes. */
START_TEST(an_error_that_says_the_connection_is_going_is_a_loss)
{
	must_be_ready(NULL);
	send_request("going", "DO $$ BEGIN RAISE EXCEPTION 'going' USING ERRCODE = '57P03'; END $$");
	send_request("behind", "SELECT 1");
	must_turn_until(answers == 2);
	must_turn_until(db_is_ready(db));
	must_hear("lost going\nlost behind\nlost\nready\n");
	ck_assert_str_eq(why.sqlstate, "57P03");
	free_all();
}
END_TEST

START_TEST(a_server_that_is_away_is_tried_again_ever_more_rarely)
{
	must_be_ready(NULL);
	server_stop();
	must_turn_until(losses >= 4);
	ck_assert_int_eq(db_state(db), DB_WAITING);
	for (size_t i = 0; i < 4; i++) {
		usec_t middle = (100 * MSEC) << i;

		ck_assert_msg(retries[i] >= middle / 2 && retries[i] <= middle * 3 / 2,
		              "retry %zu in %d ms", i, (int)(retries[i] / MSEC));
	}
	ck_assert_int_eq(why.kind, ERR_NO_DB);
	ck_assert_msg(strstr(why.text, "No such file") || strstr(why.text, "refused") || strstr(why.text, "starting"),
	              "%s", why.text);
	server_start();
	must_turn_until(db_is_ready(db));
	ck_assert_uint_eq(db_reconnects(db), 1);
	buf_clear(&heard);
	send_request("after", "SELECT 'fine'");
	must_turn_until(answers == 1);
	must_hear("done after fine\n");
	free_all();
}
END_TEST

START_TEST(the_longest_pause_between_two_tries_can_be_set)
{
	connect_db("host=/no/such/dir", NULL);
	db_set_longest_pause(db, 150 * MSEC);
	must_turn_until(losses == 7);
	for (size_t i = 1; i < 7; i++)
		ck_assert_uint_le(retries[i], 225 * MSEC);
	free_all();
}
END_TEST

START_TEST(a_server_that_crashes_under_a_request_loses_it)
{
	must_be_ready(NULL);
	send_request("slow", "SELECT pg_sleep(100)");
	must_become(server, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'", "1", 5000);
	server_crash();
	must_turn_until(losses >= 2);
	server_start();
	must_turn_until(db_is_ready(db));
	ck_assert_uint_eq(answers, 1);
	ck_assert_ptr_eq(strstr(buf_text(&heard), "lost slow\nlost\n"), buf_text(&heard));
	free_all();
}
END_TEST

START_TEST(a_read_only_server_refuses_and_is_left)
{
	must_be_ready(NULL);
	must_sql(server, "CREATE TABLE t (i int)");
	send_request("read only", "SET default_transaction_read_only = on");
	must_turn_until(answers == 1);
	send_request("write", "INSERT INTO t VALUES (1)");
	send_request("behind", "SELECT 1");
	must_turn_until(answers == 3);
	must_turn_until(db_is_ready(db));
	must_hear("done read only -\nrefused write 25006 0 of 1\nlost behind\nlost\nready\n");
	send_request("write", "INSERT INTO t VALUES (1) RETURNING i");
	must_turn_until(answers == 4);
	must_hear("done write 1\n");
	free_all();
}
END_TEST

START_TEST(copy_is_no_request_and_costs_the_connection_only)
{
	must_be_ready(NULL);
	must_sql(server, "CREATE TABLE t (i int)");
	send_request("copy", "COPY t FROM STDIN");
	send_request("behind", "SELECT 1");
	must_turn_until(answers == 2);
	must_turn_until(db_is_ready(db));
	must_hear("lost copy\nlost behind\nlost\nready\n");
	free_all();
}
END_TEST

/* ---- deadlines ---- */

START_TEST(a_request_without_an_answer_is_lost_in_time)
{
	usec_t before;

	must_be_ready(NULL);
	db_set_deadlines(db, 10 * SEC, 300 * MSEC);
	before = clock_now();
	send_request("hangs", "SELECT pg_sleep(20)");
	send_request("behind", "SELECT 1");
	must_turn_until(answers == 2);
	ck_assert_uint_ge(clock_now() - before, 300 * MSEC);
	ck_assert_uint_lt(clock_now() - before, 5 * SEC);
	must_turn_until(db_is_ready(db));
	must_hear("lost hangs\nlost behind\nlost\nready\n");
	ck_assert_ptr_nonnull(strstr(why.text, "no answer within 300ms (host="));
	free_all();
}
END_TEST

START_TEST(the_time_for_an_answer_starts_anew_with_each_answer)
{
	must_be_ready(NULL);
	db_set_deadlines(db, 10 * SEC, 1 * SEC);
	for (int i = 0; i < 5; i++)
		send_request("slow", "SELECT pg_sleep(0.3)");
	must_turn_until(answers == 5);
	ck_assert_uint_eq(losses, 0);
	ck_assert_uint_eq(db_advance(db, clock_now() + HOUR), USEC_NEVER);	/* idle: no deadline */
	ck_assert(db_is_ready(db));
	free_all();
}
END_TEST

/* A socket that takes connections and never says a word. */
static const char *silent_server(const char *name)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	const char *dir = test_path(name);
	int fd = story_closes(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));

	ck_assert_int_eq(mkdir(dir, 0755), 0);
	snprintf(at.sun_path, sizeof at.sun_path, "%s/.s.PGSQL.5432", dir);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	ck_assert_int_eq(listen(fd, 10), 0);
	return dir;
}

START_TEST(a_server_that_never_speaks_is_given_up_in_time)
{
	usec_t before = clock_now();

	connect_db(story_text("postgresql://me:s3cret@/app?host=%s", silent_server("silent")), NULL);
	db_set_deadlines(db, 200 * MSEC, 45 * SEC);
	must_turn_until(losses == 1);
	ck_assert_uint_ge(clock_now() - before, 200 * MSEC);
	ck_assert_uint_lt(clock_now() - before, 5 * SEC);
	must_hear("lost\n");
	ck_assert_ptr_nonnull(strstr(why.text, "no connection within 200ms (host="));
	ck_assert_ptr_nonnull(strstr(why.text, "user=me"));
	ck_assert_ptr_null(strstr(why.text, "s3cret"));
	must_turn_until(losses == 2);
	free_all();
}
END_TEST

START_TEST(a_silent_host_does_not_hide_the_others)
{
	struct testdb *real = must_have_empty_db();

	server = real;
	connect_db(story_text("postgresql:///%s?host=%s,%s,%s&port=5432&user=postgres", real->name,
	                      silent_server("silent"), silent_server("silent too"), server_dir()), NULL);
	db_set_deadlines(db, 200 * MSEC, 45 * SEC);
	must_turn_until(db_is_ready(db));
	ck_assert_uint_eq(losses, 2);
	send_request("here", "SELECT 'here'");
	must_turn_until(answers == 1);
	must_hear("lost\nlost\nready\ndone here here\n");
	/* the next time the hosts are tried in the order that the user gave */
	kill_backends(real, NULL);
	must_turn_until(losses == 4);
	ck_assert_ptr_nonnull(strstr(why.text, "/silent port="));
	free_all();
}
END_TEST

START_TEST(hosts_that_are_away_are_passed_over)
{
	struct testdb *real = must_have_empty_db();

	connect_db(story_text("host=/no/such/dir,%s dbname=%s user=postgres target_session_attrs=read-write",
	                      server_dir(), real->name), NULL);
	must_turn_until(db_is_ready(db));
	ck_assert_uint_eq(losses, 0);
	free_all();
}
END_TEST

static const struct { const char *url, *says; } wrong[] = {
	{ "postgresql://me:s3cret@/app?host=/no/such/dir", "No such file" },
	{ "postgresql://me:s3cret@127.0.0.1:1/app", "refused" },
	{ "host=/no/such/dir password=s3cret user=me", "No such file" },
	{ "postgresql://me:s3cret%zz@127.0.0.1:1/app", "database_url" },
	{ "postgresql://postgres:s3cret@/no_such_database?host=SERVER", "no_such_database" },
	{ "postgresql://no_such_user:s3cret@/postgres?host=SERVER", "no_such_user" },
};

START_TEST(a_wrong_address_is_told_without_the_password)
{
	const char *server_part = strstr(wrong[_i].url, "SERVER"), *url = wrong[_i].url;

	must_have_empty_db();		/* the server runs */
	if (server_part)
		url = story_text("%.*s%s", (int)(server_part - url), url, server_dir());
	connect_db(url, NULL);
	ck_assert_uint_eq(losses, 0);
	must_turn_until(losses == 2);
	must_hear("lost\nlost\n");
	ck_assert_msg(strstr(why.text, wrong[_i].says) != NULL, "%s", why.text);
	ck_assert_msg(strstr(why.text, "s3cret") == NULL, "%s", why.text);
	ck_assert_int_eq(db_state(db), DB_WAITING);
	free_all();
}
END_TEST

/* ---- closing ---- */

START_TEST(closing_answers_what_is_open_and_calls_nothing_else)
{
	must_be_ready(NULL);
	send_request("a", "SELECT pg_sleep(100)");
	send_request("b", "SELECT 1");
	db_close(db);
	must_hear("lost a\nlost b\n");
	ck_assert_int_eq(db_state(db), DB_CLOSED);
	changes = 0;
	for (int i = 0; i < 5; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	ck_assert_uint_eq(changes, 0);
	ck_assert_uint_eq(losses, 0);
	ck_assert_uint_eq(db_advance(db, clock_now() + DAY), USEC_NEVER);
	db_close(db);
	must_become(server, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'it_db'"
	            " AND query NOT LIKE '%pg_sleep(100)%'", "0", 5000);
	free_all();
}
END_TEST

static void on_answer_close(void *arg, const struct db_reply *reply)
{
	on_answer(arg, reply);
	db_close(db);
}

START_TEST(an_answer_may_close_the_connection)
{
	must_be_ready(NULL);
	for (int i = 0; i < 3; i++) {
		struct db_request *r = db_request_new(on_answer_close, (void *)(uintptr_t)"closing");

		db_request_add(r, "SELECT 1", 0, NULL, NULL);
		send_now(r);
	}
	must_turn_until(answers == 3);
	must_hear("done closing 1\nlost closing\nlost closing\n");
	ck_assert_int_eq(db_state(db), DB_CLOSED);
	free_all();
}
END_TEST

START_TEST(closing_is_possible_in_every_state)
{
	server = must_have_empty_db();
	connect_db(server->url, "unstuck");
	free_all();				/* connecting */
	connect_db(server->url, "unstuck");
	must_turn_until(db_state(db) == DB_SETTING_UP || db_is_ready(db));
	free_all();
	connect_db("host=/no/such/dir", NULL);
	must_turn_until(db_state(db) == DB_WAITING);
	free_all();
	db_free(NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("db");
	TCase *answer = story_case(suite, "answers");
	TCase *notify = story_case(suite, "notifications");
	TCase *losing = story_case(suite, "losing");
	TCase *deadline = story_case(suite, "deadlines");
	TCase *closing = story_case(suite, "closing");

	tcase_add_test(answer, requests_are_answered_in_the_order_sent);
	tcase_add_test(answer, changed_is_called_once_a_turn_and_not_once_an_answer);
	tcase_add_test(answer, parameters_are_text_null_and_typed);
	tcase_add_test(answer, a_request_that_was_never_sent_is_freed);
	tcase_add_test(answer, a_session_is_set_up_before_it_is_ready);
	tcase_add_test(answer, an_error_in_the_middle_undoes_its_request_and_no_other);
	tcase_add_test(answer, a_deferred_constraint_that_fails_at_the_commit_is_refused);
	tcase_add_test(answer, an_explicit_transaction_that_failed_does_not_spoil_the_next);
	tcase_add_test(answer, a_refused_transaction_may_be_followed_by_another_at_once);
	tcase_add_test(answer, a_procedure_cannot_commit_a_part_of_an_explicit_transaction);
	tcase_add_test(answer, a_transaction_that_is_left_open_costs_the_connection);
	tcase_add_test(losing, a_lost_transaction_leaves_nothing_behind);
	tcase_add_test(answer, an_answer_without_rows_is_an_answer);
	tcase_add_test(answer, an_answer_may_send_the_next_request);
	tcase_add_test(answer, two_thousand_large_requests_at_once_do_not_block_each_other);
	tcase_add_test(notify, notifications_are_heard_when_idle_and_when_busy);
	tcase_add_test(notify, a_channel_of_any_name_is_listened_to_again_after_a_reconnect);
	tcase_add_test(losing, an_ended_session_loses_what_was_under_way_and_comes_back);
	tcase_add_test(losing, an_idle_session_that_is_ended_says_why);
	tcase_add_test(losing, an_error_that_says_the_connection_is_going_is_a_loss);
	tcase_add_test(losing, a_server_that_is_away_is_tried_again_ever_more_rarely);
	tcase_add_test(losing, the_longest_pause_between_two_tries_can_be_set);
	tcase_add_test(losing, a_server_that_crashes_under_a_request_loses_it);
	tcase_add_test(losing, a_read_only_server_refuses_and_is_left);
	tcase_add_test(losing, copy_is_no_request_and_costs_the_connection_only);
	tcase_add_test(deadline, a_request_without_an_answer_is_lost_in_time);
	tcase_add_test(deadline, the_time_for_an_answer_starts_anew_with_each_answer);
	tcase_add_test(deadline, a_server_that_never_speaks_is_given_up_in_time);
	tcase_add_test(deadline, a_silent_host_does_not_hide_the_others);
	tcase_add_test(deadline, hosts_that_are_away_are_passed_over);
	tcase_add_loop_test(deadline, a_wrong_address_is_told_without_the_password, 0, ARRAY_SIZE(wrong));
	tcase_add_test(closing, closing_answers_what_is_open_and_calls_nothing_else);
	tcase_add_test(closing, an_answer_may_close_the_connection);
	tcase_add_test(closing, closing_is_possible_in_every_state);
	return check_main(suite);
}
