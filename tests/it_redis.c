/*
 * it_redis.c - Redis as a worker uses it, and as it does without: a real server that is killed, stopped, flushed.
 */
#include "story.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "rate_script.h"
#include "redis_server.h"
#include "worker_story.h"

static struct testdb *db;

/* redis_url, then what the test wants of [worker] and its queues. */
#define told(...) settings(db, "redis_url = %s\n[worker]\npidfile = %s\n%s", redis_server_url(), test_path("w.pid"), story_text(__VA_ARGS__))
#define DONE(n) must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'", n, 10000)

static struct proc *start(void)
{
	struct proc *p = must_start(NULL, "unstuck-worker", "-v");

	must_become(db, "SELECT count(*) FROM unstuck.workers", "1", 10000);
	return p;
}

static void stop(struct proc *p)
{
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 10000);
}

static void must_have(const char *text, const char *what)
{
	ck_assert_msg(strstr(text, what) != NULL, "no \"%s\" in: %s", what, text);
}

static bool is_empty(void)
{
	return strcmp(sql_value(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PENDING'"), "0") == 0;
}

/* ---- waking ---- */

START_TEST(a_word_on_the_channel_wakes_a_worker_that_looks_once_an_hour)
{
	struct proc *p;

	db = must_have_db();
	must_have_redis("p@ss/word");
	told("wake = redis\npoll_interval = 1h\n[queue mail]\nhandler = true\n[queue other]\nhandler = true\n");
	p = start();
	must_say(p, "event=redis_connected");
	must_happen(strcmp(redis_say("PUBSUB", "NUMSUB", "unstuck:wake"), "unstuck:wake 1") == 0, 10000);
	must_run(0, NULL, "unstuckctl", "enqueue", "mail");
	DONE("1");
	must_run(0, (&(struct proc_options){ .input = "{}\n{}\n" }), "unstuckctl", "enqueue", "mail", "--lines");
	DONE("3");
	/* Any client may say it; and only what is said is heard: the database is not listened to. */
	must_sql(db, "SELECT unstuck.enqueue('other')");
	redis_say("PUBLISH", "unstuck:wake", "nobody's");
	redis_say("PUBLISH", "unstuck:wake", "mail");
	must_equal(db, "SELECT status FROM unstuck.jobs WHERE queue = 'other'", "PENDING");
	redis_say("PUBLISH", "unstuck:wake", "other");
	DONE("4");

	redis_server_kill();
	must_say(p, "event=redis_lost");
	must_have(proc_err(must_run(0, NULL, "unstuckctl", "enqueue", "mail")), "warning: enqueued, but Redis could not be told");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'", "4");
	must_have_redis("p@ss/word");
	must_say(p, "event=redis_back");
	DONE("5");	/* what was not heard */
	stop(p);
	ck_assert_uint_eq(text_count(proc_err(p), "event=redis_lost"), 1 + text_count(proc_err(p), "debug event=redis_lost"));
	ck_assert_uint_eq(text_count(proc_err(p), "event=redis_back"), 1);
	ck_assert_ptr_null(strstr(proc_err(p), "p@ss"));
}
END_TEST

START_TEST(without_redis_the_database_is_enough)
{
	struct proc *p;

	db = must_have_db();
	must_have_redis("right");
	settings(db, "redis_url = unix://:wrong-one@%s\n[worker]\npidfile = %s\nwake = redis\npoll_interval = 50ms\n"
	             "[queue mail]\nhandler = true\n", test_path("redis.sock"), test_path("w.pid"));
	p = start();
	must_say(p, "event=redis_lost error=\"unix://");
	must_have(proc_err(p), "WRONGPASS");
	must_have(proc_out(must_run(0, NULL, "unstuck-worker", "check")), "warning redis: unix://");
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	DONE("1");
	must_have(proc_out(must_run(0, NULL, "unstuck-worker", "status", "--json")), "\"error\":\"unix://");
	ck_assert_ptr_null(strstr(proc_err(p), "wrong-one"));
	stop(p);
	must_have(proc_err(p), " redis=completed/");
	told("[queue mail]\nhandler = true\n");
	must_have(proc_out(must_run(0, NULL, "unstuck-worker", "check")), "ok      redis: unix://");
}
END_TEST

/* ---- a Redis that hangs ---- */

START_TEST(one_that_hangs_holds_up_neither_jobs_nor_the_stop)
{
	struct proc *p, *redis;

	db = must_have_db();
	redis = must_have_redis(NULL);
	told("wake = redis\npoll_interval = 50ms\nheartbeat = 100ms\n[queue mail]\nhandler = true\n");
	p = start();
	must_happen(strncmp(redis_say("KEYS", "unstuck:worker:*"), "unstuck:worker:", 15) == 0, 10000);
	proc_signal(redis, SIGSTOP);
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	DONE("1");
	if (_i == 0) {		/* while nothing is known of it yet */
		proc_signal(p, SIGTERM);
	} else {
		must_say(p, "no answer in time");
		must_have(proc_err(must_run(0, NULL, "unstuckctl", "enqueue", "mail")), "warning: enqueued, but Redis could not be told");
		DONE("2");
		proc_signal(p, SIGTERM);
	}
	must_exit(p, 0, 5000);
	must_have(proc_err(p), _i == 0 ? " redis=forced/" : " redis=completed/");
	must_have(proc_err(p), " database=completed/");
	proc_signal(redis, SIGCONT);
}
END_TEST

/* ---- rates ---- */

static int by_number(const void *a, const void *b)
{
	long long x = *(const long long *)a, y = *(const long long *)b;

	return (x > y) - (x < y);
}

/* Milliseconds of the wall clock, of all event=job_start lines of these workers. Returns how many. */
static size_t starts(struct proc *const *p, size_t workers, long long *at, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < workers; i++) {
		const char *text = proc_err(p[i]), *found = text;

		while ((found = strstr(found, " debug event=job_start ")) != NULL && n < max) {
			struct tm tm = { .tm_isdst = 0 };
			int ms = 0;

			sscanf(found - 24, "%d-%d-%dT%d:%d:%d.%dZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
			       &tm.tm_sec, &ms);
			tm.tm_year -= 1900;
			tm.tm_mon--;
			at[n++] = (long long)timegm(&tm) * 1000 + ms;
			found++;
		}
	}
	qsort(at, n, sizeof *at, by_number);
	return n;
}

START_TEST(no_window_has_more_starts_than_the_rate_over_all_workers)
{
	struct proc *p[2];
	long long at[100];
	size_t n;

	db = must_have_db();
	must_have_redis(NULL);
	told("poll_interval = 100ms\n[queue mail]\nhandler = true\nconcurrency = 3\nrate = 20/s\n");
	write_filef("second.ini", "%s", read_file("unstuck.ini"));
	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 40)");
	p[0] = must_start(NULL, "unstuck-worker", "-v");
	p[1] = must_start(NULL, "unstuck-worker", "-v", "--pidfile", "second.pid");
	must_happen(is_empty(), 20000);
	DONE("40");
	stop(p[0]);
	stop(p[1]);
	must_equal(db, "SELECT sum(attempts) FROM unstuck.jobs", "40");
	n = starts(p, 2, at, 100);
	ck_assert_uint_eq(n, 40);
	for (size_t i = 20; i < n; i++)		/* the times are cut to milliseconds */
		ck_assert_msg(at[i] - at[i - 20] >= 999, "start %zu came %lld ms after start %zu", i, at[i] - at[i - 20], i - 20);
	ck_assert_ptr_nonnull(strstr(proc_err(p[0]), "event=job_start"));
	ck_assert_ptr_nonnull(strstr(proc_err(p[1]), "event=job_start"));
	ck_assert_ptr_null(strstr(proc_err(p[0]), "permit"));
	must_have(redis_say("HGET", "unstuck:rate:mail:1:book", "open"), "0");	/* all was told */
}
END_TEST

START_TEST(a_queue_with_a_rate_waits_for_redis_and_says_so_once)
{
	struct proc *p;

	db = must_have_db();
	settings(db, "redis_url = unix://%s\n[worker]\npidfile = %s\npoll_interval = 50ms\n[queue mail]\nhandler = true\nrate = 100/s\n"
	             "[queue free]\nhandler = true\n", test_path("redis.sock"), test_path("w.pid"));
	must_sql(db, "SELECT unstuck.enqueue('mail'), unstuck.enqueue('free')");
	p = start();
	must_say(p, "event=rate_held queue=mail why=\"Redis is away\"");
	DONE("1");
	must_equal(db, "SELECT status FROM unstuck.jobs WHERE queue = 'mail'", "PENDING");
	must_have_redis(NULL);
	must_say(p, "event=rate_resumed queue=mail");
	DONE("2");
	redis_server_kill();
	must_say(p, "event=redis_lost");
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	must_happen(text_count(proc_err(p), "event=rate_held") == 2, 10000);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'", "2");
	stop(p);
	ck_assert_uint_eq(text_count(proc_err(p), "event=rate_held"), 2);
	ck_assert_uint_eq(text_count(proc_err(p), "event=rate_resumed"), 1);
}
END_TEST

START_TEST(what_redis_lost_is_waited_for)
{
	long long at[20];
	struct proc *p;
	size_t n;

	db = must_have_db();
	must_have_redis(NULL);
	told("poll_interval = 50ms\n[queue mail]\nhandler = true\nrate = 5/s\n");
	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 5)");
	p = start();
	DONE("5");
	redis_say("SCRIPT", "FLUSH");
	redis_say("FLUSHALL");
	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 3)");
	must_say(p, "event=rate_held queue=mail why=\"Redis lost what it had counted");
	DONE("8");
	must_say(p, "event=rate_resumed queue=mail");
	stop(p);
	n = starts(&p, 1, at, 20);
	ck_assert_uint_eq(n, 8);
	ck_assert_msg(at[5] - at[4] >= 999, "%lld ms", at[5] - at[4]);
}
END_TEST

/* One step of the counting: "granted wait epoch seq held". told: grants with what became of them. */
#define step(key, knows, seq, want, id, ...) redis_say("EVAL", rate_script, "2", key, key ":book", "3", window, "300000", knows, seq, \
	story_text("E%d", epoch++), want, id __VA_OPT__(,) __VA_ARGS__)
#define must_grant(n, ...) do { \
		text = step(__VA_ARGS__); \
		ck_assert_msg(atoi(text) == (n), "%s", text); \
	} while (0)
#define HELD(text) (strcmp((text) + strlen(text) - 2, " 1") == 0)

START_TEST(permits_are_counted_until_they_are_told_or_their_time_is_over)
{
	const char *window = "60000000", *text;
	int epoch = 1;

	must_have_redis(NULL);
	must_grant(2, "a", "", "0", "2", "x");
	must_grant(1, "a", "", "0", "2", "y");
	must_grant(0, "a", "", "0", "1", "z");
	ck_assert_msg(atoll(text + 2) <= 100000, "%s", text);	/* some may come back soon */
	must_grant(2, "a", "", "0", "3", "z", "x", "0", "2");	/* told and asked in one step */
	must_grant(0, "a", "", "0", "1", "u", "y", "1", "0", "z", "2", "0");
	ck_assert_msg(atoll(text + 2) > 59000000, "%s", text);	/* all were starts: one window from now on */
	must_grant(0, "a", "", "0", "1", "u", "z", "0", "2", "nobody's", "0", "3");	/* twice, or never granted: nothing comes of it */

	/* An old copy, one key of two, nothing at all: a window and a lease have to pass, for those who know. */
	must_grant(1, "b", "", "0", "1", "x");
	must_grant(0, "b", "E7", "7", "1", "y");
	ck_assert_msg(HELD(text) && atoll(text + 2) > 59000000, "%s", text);
	must_grant(1, "c", "", "0", "1", "x");
	redis_say("DEL", "c");
	must_grant(0, "c", "", "0", "1", "y");
	ck_assert_msg(HELD(text), "%s", text);
	must_grant(1, "d", "", "0", "1", "x");
	redis_say("FLUSHALL");
	must_grant(1, "d", "", "0", "1", "x");		/* who knows nothing begins anew */
	must_grant(0, "d", "E11", "1", "1", "y");
	ck_assert_msg(HELD(text), "%s", text);

	/* Its worker died: the lease and the window. And nothing is left that nobody would ever take away. */
	window = "100000";
	must_grant(3, "e", "", "0", "3", "x");
	must_grant(0, "e", "", "0", "1", "y");
	must_happen(atoi(step("e", "", "0", "3", "y")) == 3, 5000);
	must_grant(0, "e", "", "0", "1", "z", "y", "3", "0");
	must_happen(atoi(step("e", "", "0", "0", "z")) == 0 && strcmp(redis_say("ZCARD", "e"), "0") == 0, 5000);
	ck_assert_str_eq(redis_say("HMGET", "e:book", "total", "open"), "0 0");
	ck_assert_int_gt(atoi(redis_say("TTL", "e:book")), 80000);
}
END_TEST

/* ---- what others see ---- */

/* What the worker itself tells over HTTP, on the socket "h" of the test. */
static const char *state_told(void)
{
	static const char request[] = "GET /api/state HTTP/1.0\r\nHost: localhost\r\n\r\n";
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "h" };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const char *text = "";
	char part[4096];
	ssize_t n;

	ck_assert_int_eq(connect(fd, (struct sockaddr *)&un, sizeof un), 0);
	ck_assert_int_eq(write(fd, request, strlen(request)), (ssize_t)strlen(request));
	while ((n = read(fd, part, sizeof part)) > 0)
		text = story_text("%s%.*s", text, (int)n, part);
	close(fd);
	return text;
}

START_TEST(what_runs_is_shown_with_its_progress_and_expires)
{
	static const char serve[] = "read -r line; echo '{\"id\":\"1\",\"progress\":0.25}'; while [ ! -e on ]; do sleep 0.02; done; "
	                            "echo '{\"id\":\"1\",\"ok\":true}'; read -r line";
	const char *key, *text;
	struct proc *p;

	db = must_have_db();
	must_have_redis(NULL);
	told("heartbeat = 100ms\nworker_timeout = 3s\n[http]\nlisten = unix:%s\n[queue mail]\nhandler = %s\nmode = serve\n", test_path("h"), script("serve", serve));
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	p = start();
	key = story_text("unstuck:worker:%s", sql_value(db, "SELECT worker_id FROM unstuck.workers"));
	must_happen(strstr(redis_say("GET", key), "\"progress\":0.25") != NULL, 10000);
	text = redis_say("GET", key);
	must_equal(db, story_text("SELECT concat_ws(' ', e ->> 'state', e ->> 'running', e #>> '{jobs,0,queue}', e #>> '{jobs,0,job}',"
	                          " e #>> '{jobs,0,attempt}', (e #>> '{jobs,0,started_at}')::timestamptz BETWEEN now() - interval '1 minute'"
	                          " AND now(), (e ->> 'pid')::int > 1) FROM (SELECT '%s'::jsonb AS e) x", text),
	           "running 1 mail 1 1 t t");
	ck_assert(atoi(redis_say("PTTL", key)) > 0 && atoi(redis_say("PTTL", key)) <= 3000);
	must_have(state_told(), "\"redis\":{\"connected\":true,\"last_error\":null}");
	write_file("on", "");
	DONE("1");
	must_happen(strstr(redis_say("GET", key), "\"jobs\":[]") != NULL, 10000);
	stop(p);
	ck_assert_str_eq(redis_say("EXISTS", key), "0");
}
END_TEST

static const char *next_notice(PGconn *conn)
{
	PGnotify *n = NULL;
	const char *text;

	must_happen(PQconsumeInput(conn) == 1 && (n = PQnotifies(conn)) != NULL, 10000);
	text = story_text("%s", n->extra);
	PQfreemem(n);
	return text;
}

START_TEST(a_stop_is_told_by_redis_in_the_same_words_as_by_the_database)
{
	PGconn *conn;
	struct proc *p;

	db = must_have_db();
	must_have_redis(NULL);
	conn = testdb_connect(db);
	PQclear(PQexec(conn, "LISTEN unstuck_events"));
	settings(db, "redis_url = redis://localhost:%d/2\n[worker]\n[queue mail]\nhandler = true\n", redis_server_port());
	p = start();
	must_say(p, "event=redis_connected");
	must_have(redis_say("CLIENT", "LIST"), " db=2 ");
	redis_listen("unstuck:events");
	stop(p);
	for (int i = 0; i < 2; i++) {
		const char *heard = redis_heard();

		ck_assert_ptr_nonnull(heard);
		must_have(heard, i == 0 ? "\"event\":\"stopping\"" : "\"event\":\"shutdown\"");
		ck_assert_str_eq(heard, next_notice(conn));
	}
	PQfinish(conn);
}
END_TEST

/* ---- settings read again ---- */

START_TEST(a_rate_can_be_changed_and_an_address_needs_a_restart)
{
	struct proc *p;

	db = must_have_db();
	must_have_redis(NULL);
	told("poll_interval = 50ms\n[queue mail]\nhandler = true\nrate = 1/h\n");
	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 3)");
	p = start();
	DONE("1");
	settings(db, "redis_url = redis://:geheim99@127.0.0.1:1\n[worker]\npidfile = %s\nwake = redis\npoll_interval = 50ms\n[queue mail]\nhandler = true\nrate = 1000/s\n",
	         test_path("w.pid"));
	must_run(0, NULL, "unstuck-worker", "reload");
	must_have(proc_err(p), "event=reload_needs_restart keys=\"[unstuck] redis_url, [worker] wake\"");
	DONE("3");
	stop(p);
	ck_assert_ptr_null(strstr(proc_err(p), "geheim99"));
	/* And a rate that came with an address has none. */
	settings(db, "[worker]\npidfile = %s\n[queue mail]\nhandler = true\n", test_path("w.pid"));
	p = start();
	told("[queue mail]\nhandler = true\nrate = 1/s\n");
	must_have(proc_err(must_run(78, NULL, "unstuck-worker", "reload")), "queue mail: rate needs Redis, and redis_url takes a restart");
	stop(p);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("redis");
	TCase *tc = story_case(s, "redis");

	tcase_add_test(tc, a_word_on_the_channel_wakes_a_worker_that_looks_once_an_hour);
	tcase_add_test(tc, without_redis_the_database_is_enough);
	tcase_add_loop_test(tc, one_that_hangs_holds_up_neither_jobs_nor_the_stop, 0, 2);
	tcase_add_test(tc, no_window_has_more_starts_than_the_rate_over_all_workers);
	tcase_add_test(tc, permits_are_counted_until_they_are_told_or_their_time_is_over);
	tcase_add_test(tc, a_queue_with_a_rate_waits_for_redis_and_says_so_once);
	tcase_add_test(tc, what_redis_lost_is_waited_for);
	tcase_add_test(tc, what_runs_is_shown_with_its_progress_and_expires);
	tcase_add_test(tc, a_stop_is_told_by_redis_in_the_same_words_as_by_the_database);
	tcase_add_test(tc, a_rate_can_be_changed_and_an_address_needs_a_restart);
	return check_main(s);
}
