/*
 * it_http.c - what a worker tells over HTTP, to a client that behaves and to those that do not.
 */
#include "story.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "buf.h"
#include "metrics_text.h"
#include "worker_story.h"

static struct testdb *db;

/* ---- a client ---- */

static int port;			/* 0: the unix socket "h" of the test */

static int connect_to_worker(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "h" };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(port ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, port ? (struct sockaddr *)&in : (struct sockaddr *)&un, port ? sizeof in : sizeof un) == 0)
		return fd;
	close(fd);
	return -1;
}

static int must_connect(void)
{
	int fd = connect_to_worker();

	ck_assert_msg(fd >= 0, "nobody listens");
	return fd;
}

/* Until the other end closes, or what is there holds the text; adds to got. */
static bool read_until(int fd, struct buf *got, const char *text, unsigned ms)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	uint64_t until = story_until(ms);
	size_t looked = 0;		/* the text does not begin before */
	char part[65536];
	ssize_t n;

	while (text == NULL || strstr(buf_text(got) + looked, text) == NULL) {
		if (text != NULL && got->len > strlen(text))
			looked = got->len - strlen(text);
		if (poll(&ready, 1, 10) == 0) {
			if (!story_wait(until))
				return false;
			continue;
		}
		n = read(fd, part, sizeof part);
		if (n <= 0)
			return text == NULL;
		buf_add(got, part, (size_t)n);
	}
	return true;
}

/* A whole answer. */
static const char *talk(const char *request)
{
	struct buf got = BUF_INIT;
	int fd = must_connect();
	const char *text;

	ck_assert_int_eq(write(fd, request, strlen(request)), (ssize_t)strlen(request));
	ck_assert_msg(read_until(fd, &got, NULL, 10000), "no end of the answer: %s", buf_text(&got));
	close(fd);
	text = story_text("%s", buf_text(&got));
	buf_release(&got);
	return text;
}

static const char *ask_for(const char *method, const char *path)
{
	return talk(story_text("%s %s HTTP/1.1\r\nHost: localhost\r\n\r\n", method, path));
}

static const char *get(const char *path)
{
	return ask_for("GET", path);
}

static const char *body(const char *answer)
{
	const char *at = strstr(answer, "\r\n\r\n");

	ck_assert_msg(at != NULL, "no head in: %s", answer);
	return at + 4;
}

static int status(const char *answer)
{
	ck_assert_msg(strncmp(answer, "HTTP/1.1 ", 9) == 0, "not HTTP: %s", answer);
	return atoi(answer + 9);
}

static void must_have(const char *text, const char *what)
{
	ck_assert_msg(strstr(text, what) != NULL, "no \"%s\" in: %s", what, text);
}

static void must_lack(const char *text, const char *what)
{
	ck_assert_msg(strstr(text, what) == NULL, "\"%s\" in: %s", what, text);
}

/* ---- the state ---- */

static json_t *last_state;

static json_t *state(void)
{
	const char *answer = get("/api/state");

	ck_assert_int_eq(status(answer), 200);
	json_decref(last_state);
	last_state = json_loads(body(answer), 0, NULL);
	ck_assert_msg(last_state != NULL, "no JSON: %s", answer);
	return last_state;
}

/* "queues.0.depth.PENDING" of it, as text. */
static const char *at(const json_t *doc, const char *path)
{
	char *name, *rest, *copy = story_text("%s", path), *text;

	for (name = strtok_r(copy, ".", &rest); name != NULL; name = strtok_r(NULL, ".", &rest))
		doc = json_is_array(doc) ? json_array_get(doc, (size_t)atoi(name)) : json_object_get(doc, name);
	if (doc == NULL)
		return "not there";
	if (json_is_string(doc))
		return json_string_value(doc);
	text = json_dumps(doc, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
	copy = story_text("%s", text);
	free(text);
	return copy;
}

#define must_be(path, expected) do { \
		const char *got_ = at(last_state, path); \
		ck_assert_msg(strcmp(got_, expected) == 0, "%s is %s, not %s", path, got_, expected); \
	} while (0)

/* Ask until it is so. */
static void must_come_to(const char *path, const char *expected)
{
	uint64_t until = story_until(30000);	/* a reading that took long is followed by a rest */

	while (strcmp(at(state(), path), expected) != 0)
		if (!story_wait(until))
			ck_abort_msg("%s is still %s, not %s", path, at(last_state, path), expected);
}

/* ---- a worker ---- */

static struct proc *start(void)
{
	struct proc *p = must_start(NULL, "unstuck-worker");

	must_become(db, "SELECT count(*) FROM unstuck.workers", "1", 10000);
	must_say(p, "event=http_listening");
	must_happen(status(get("/ready")) == 200, 10000);
	return p;
}

static struct proc *start_with(const char *queues)
{
	port = 0;
	settings(db, "[worker]\npoll_interval = 50ms\nforce_delay = 100ms\n[http]\nlisten = unix:%s\n%s", test_path("h"), queues);
	return start();
}

static void stop(struct proc *p)
{
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 10000);
	must_have(proc_err(p), " http=completed/");
}

static int free_port(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof in;

	ck_assert(bind(fd, (struct sockaddr *)&in, sizeof in) == 0 && getsockname(fd, (struct sockaddr *)&in, &len) == 0);
	close(fd);
	return ntohs(in.sin_port);
}

static struct proc *start_on_port(const char *host, const char *queues)
{
	port = free_port();
	settings(db, "[worker]\npoll_interval = 50ms\n[http]\nlisten = %s:%d\n%s", host, port, queues);
	return start();
}

/* ---- the routes ---- */

START_TEST(each_route_answers_and_nothing_else_does)
{
	struct proc *p, *curl;

	db = must_have_db();
	p = start_on_port("127.0.0.1", "[queue mail]\nhandler = true\n");
	ck_assert_str_eq(body(get("/live")), "live\n");
	ck_assert_str_eq(body(get("/ready?x=1")), "ready\n");
	must_have(get("/"), "Content-Type: text/html; charset=utf-8\r\n");
	must_have(get("/"), "<!DOCTYPE html>");
	must_have(get("/"), "Content-Security-Policy: default-src 'none';");
	must_have(get("/metrics"), "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
	must_have(get("/api/state"), "Content-Type: application/json\r\n");
	ck_assert_int_eq(status(get("/api/stat")), 404);
	ck_assert_int_eq(status(get("/live/")), 404);
	ck_assert_int_eq(status(get("//live")), 404);
	must_have(get("/live"), "\r\nX-Content-Type-Options: nosniff\r\n");
	must_have(get("/live"), "\r\nCache-Control: no-store\r\n");
	must_have(get("/live"), "\r\nContent-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n");

	/* HEAD has the head of it all. */
	must_have(ask_for("HEAD", "/live"), "\r\nContent-Length: 5\r\n");
	ck_assert_str_eq(body(ask_for("HEAD", "/live")), "");
	ck_assert_str_eq(body(ask_for("HEAD", "/events")), "");
	ck_assert_int_eq(status(ask_for("HEAD", "/metrics")), 200);

	/* Other methods. */
	ck_assert_int_eq(status(ask_for("POST", "/live")), 405);
	must_have(ask_for("DELETE", "/api/state"), "\r\nAllow: GET, HEAD\r\n");
	ck_assert_int_eq(status(ask_for("OPTIONS", "/")), 405);
	ck_assert_int_eq(status(talk("POST /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc")), 405);

	/* Only names that cannot be anybody else's: a page elsewhere could have its own name point here. */
	ck_assert_int_eq(status(talk(story_text("GET /live HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", port))), 200);
	ck_assert_int_eq(status(talk("GET /live HTTP/1.1\r\nHost: [::1]:9187\r\n\r\n")), 200);
	ck_assert_int_eq(status(talk("GET /live HTTP/1.1\r\nHost: LOCALHOST\r\n\r\n")), 200);
	ck_assert_int_eq(status(talk("GET /live HTTP/1.1\r\nHost: evil.example\r\n\r\n")), 403);
	ck_assert_int_eq(status(talk("GET /live HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n")), 403);
	ck_assert_int_eq(status(talk("GET /live HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n")), 403);
	ck_assert_int_eq(status(talk("GET /live HTTP/1.1\r\n\r\n")), 400);
	ck_assert_int_eq(status(talk("GET /live HTTP/1.1\r\nHost:\r\n\r\n")), 403);
	must_have(talk("GET /live HTTP/1.0\r\n\r\n"), " 200 OK\r\n");	/* a load balancer's probe */
	must_have(talk("GET /live HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
	          "this worker does not go by the name that the Host header has\n");

	/* Nonsense. */
	ck_assert_int_eq(status(talk(story_text("GET /live HTTP/1.1\r\nHost: localhost\r\nX: %09000d\r\n\r\n", 1))), 400);
	ck_assert_int_eq(status(talk("nonsense\r\n\r\n")), 400);
	ck_assert_str_eq(body(get("/live")), "live\n");

	curl = must_run(0, NULL, "curl", "-s", "--noproxy", "*", "--max-time", "10", "-w", "%{http_code}",
	                story_text("http://localhost:%d/ready", port));
	ck_assert_str_eq(proc_out(curl), "ready\n200");
	must_run(0, (&(struct proc_options){ .input = body(get("/metrics")) }), "promtool", "check", "metrics");
	stop(p);
	ck_assert_int_eq(connect_to_worker(), -1);
}
END_TEST

START_TEST(an_address_that_others_can_reach_is_warned_of)
{
	struct proc *p;
	char name[256] = "";

	db = must_have_db();
	p = start_on_port("0.0.0.0", "[queue mail]\nhandler = true\n");
	ck_assert_uint_eq(text_count(proc_err(p), "warning event=http_public"), 1);
	ck_assert(gethostname(name, sizeof name - 1) == 0);
	ck_assert_int_eq(status(talk(story_text("GET /live HTTP/1.1\r\nHost: %s:1\r\n\r\n", name))), 200);
	ck_assert_int_eq(status(talk(story_text("GET /live HTTP/1.1\r\nHost: %s.lan\r\n\r\n", name))), 200);
	ck_assert_int_eq(status(talk(story_text("GET /live HTTP/1.1\r\nHost: %s-evil.lan\r\n\r\n", name))), 403);

	/* The address is as it was at the start, and a second worker is refused it. */
	must_run(1, NULL, "unstuck-worker");
	settings(db, "[http]\nlisten = 127.0.0.1:1\n[queue mail]\nhandler = true\n");
	proc_signal(p, SIGHUP);
	must_say(p, "event=reload_needs_restart keys=\"[http] listen\"");
	ck_assert_str_eq(body(get("/live")), "live\n");
	stop(p);
}
END_TEST

START_TEST(a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "h" };
	struct proc *p, *second;
	int left = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;

	db = must_have_db();
	write_file("h", "mine");
	settings(db, "[http]\nlisten = unix:%s\n[queue mail]\nhandler = true\n", test_path("h"));
	second = must_run(78, NULL, "unstuck-worker");
	must_have(proc_err(second), "/h: there is a file, and it is no socket\n");
	ck_assert_str_eq(read_file("h"), "mine");
	unlink("h");

	ck_assert(bind(left, (struct sockaddr *)&un, sizeof un) == 0);
	close(left);
	p = start_with("[queue mail]\nhandler = true\n");
	ck_assert(stat("h", &st) == 0 && S_ISSOCK(st.st_mode));
	ck_assert_uint_eq(st.st_mode & 0777, 0660);
	second = must_run(1, NULL, "unstuck-worker");
	must_have(proc_err(second), "/h: another process listens there\n");
	ck_assert_str_eq(body(get("/live")), "live\n");	/* the one that was refused took nothing away */
	/* No browser gets here, so any name will do. */
	ck_assert_int_eq(status(talk("GET /live HTTP/1.1\r\nHost: unstuck\r\n\r\n")), 200);
	stop(p);
	ck_assert(!file_exists("h"));

	settings(db, "[http]\nlisten = unix:%s\n[queue mail]\nhandler = true\n", test_path("no/where"));
	must_have(proc_err(must_run(78, NULL, "unstuck-worker")), "No such file or directory");
	settings(db, "[http]\nlisten = 192.0.2.1:1234\n[queue mail]\nhandler = true\n");
	must_have(proc_err(must_run(78, NULL, "unstuck-worker")), "[http] listen = 192.0.2.1:1234: Cannot assign");
}
END_TEST

/* ---- what is told ---- */

static const char *sample(const char *metrics, const char *name)
{
	const char *found = strstr(metrics, story_text("\n%s ", name));

	ck_assert_msg(found != NULL, "no %s in: %s", name, metrics);
	found += strlen(name) + 2;
	return story_text("%.*s", (int)strcspn(found, "\n"), found);
}

/* What a status is worth in the database and in what is told. */
static void must_count(const char *path, const char *sql)
{
	const char *expected = sql_value(db, "%s", sql);

	must_be(path, expected);
}

START_TEST(the_numbers_are_those_of_the_database)
{
	const char *metrics;
	struct proc *p;

	db = must_have_db();
	must_have_table(db, 30);
	must_sql(db, "UPDATE videos SET analysis_status = 'COMPLETED' WHERE id > 20; UPDATE videos SET id = id + 1000 WHERE id <= 3;"
	         "UPDATE videos SET analysis_status = 'FAILED' WHERE id = 20;"
	         "INSERT INTO unstuck.jobs (queue, status, finished_at, last_error) SELECT 'mail', 'FAILED', now() - g * interval '1 s', "
	         "  format('<b>%%s</b> \"\\', g) FROM generate_series(1, 25) g;"
	         "INSERT INTO unstuck.jobs (queue, status) SELECT 'mail', 'CANCELLED' FROM generate_series(1, 3);"
	         "INSERT INTO unstuck.jobs (queue, run_at) SELECT 'mail', now() + interval '1 h' FROM generate_series(1, 4);"
	         "INSERT INTO unstuck.jobs (queue, run_at) VALUES ('nobody''s \"own\"', now() - interval '1 h');"
	         "INSERT INTO unstuck.jobs (queue, status, worker_id, claim_id, claimed_at) VALUES"
	         "  ('mail', 'PROCESSING', '22222222-2222-4222-8222-222222222222', 7, now() - interval '1 min');"
	         "INSERT INTO unstuck.late_results (queue, source, job_id, claim_id, worker_id, reason, raw)"
	         "  SELECT 'mail', 'unstuck.jobs', g::text, g, '22222222-2222-4222-8222-222222222222', 'fenced', 'abc' FROM generate_series(1, 2) g;"
	         "UPDATE unstuck.late_results SET adopted_at = now() WHERE job_id = '1'");
	p = start_with(story_text("[queue mail]\nhandler = %s\nmode = serve\n[queue videos]\ntable = public.videos\nstatus = analysis_status\n"
	                          "ready = METADATA_EXTRACTED\nwhere = id < 1000\nhandler = %s 'a b'\ntimeout = 1h\nconcurrency = 1\nbatch = 1\n",
	                          build_path("tests/handlers/obey"), script("waits", "while [ ! -e on ]; do sleep 0.05; done; echo 1")));
	must_become(db, "SELECT count(*) FROM videos WHERE analysis_status = 'PROCESSING'", "1", 10000);
	must_come_to("worker.running", "1");
	must_sql(db, "SELECT unstuck.enqueue('mail', '{\"say\": \"{\\\"id\\\":\\\"%lld\\\",\\\"progress\\\":0.4}\\n\", \"never\": true}')",
	         sql_int(db, "SELECT max(id) + 1 FROM unstuck.jobs"));
	must_come_to("worker.running", "2");
	must_come_to("running.1.progress", "0.4");	/* in the order of their claims */

	/* The first reading may be older than the last change. */
	must_come_to("queues.0.depth.PROCESSING", "2");
	must_come_to("queues.1.depth.PROCESSING", "1");
	must_be("queues.0.queue", "mail");
	must_be("queues.0.kind", "own");
	must_be("queues.0.mode", "serve");
	must_count("queues.0.depth.PENDING", "SELECT count(*) FROM unstuck.jobs WHERE queue = 'mail' AND status = 'PENDING'");
	must_count("queues.0.depth.FAILED", "SELECT count(*) FROM unstuck.jobs WHERE queue = 'mail' AND status = 'FAILED'");
	must_be("queues.0.depth.CANCELLED", "3");
	must_be("queues.0.depth.COMPLETED", "0");
	must_be("queues.0.ready", "0");
	must_be("queues.0.later", "4");
	must_be("queues.0.oldest_pending_age_s", "null");
	ck_assert_double_ge(atof(at(last_state, "queues.0.oldest_processing_age_s")), 60);
	must_be("queues.0.stuck", "1");
	must_be("queues.0.late", "1");
	must_be("queues.0.running", "1");
	must_be("queues.0.error", "null");
	must_be("queues.1.kind", "mapped");
	must_be("queues.1.table", "public.videos");
	must_count("queues.1.depth.PENDING", "SELECT count(*) FROM videos WHERE analysis_status = 'METADATA_EXTRACTED' AND id < 1000");
	must_count("queues.1.depth.COMPLETED", "SELECT count(*) FROM videos WHERE analysis_status = 'COMPLETED'");
	must_be("queues.1.depth.FAILED", "1");
	must_be("queues.1.workers", "1");
	must_be("queues.1.stuck", "0");
	ck_assert_double_gt(atof(at(last_state, "queues.1.oldest_pending_age_s")), 0);
	must_be("queues.2.queue", "nobody's \"own\"");	/* not in the settings, and somebody waits */
	must_be("queues.2.handler", "null");
	must_be("queues.2.ready", "1");
	ck_assert_double_ge(atof(at(last_state, "queues.2.oldest_pending_age_s")), 3600);

	ck_assert_uint_eq(json_array_size(json_object_get(last_state, "failures")), 20);
	must_be("failures.0.queue", "videos");
	must_be("failures.1.error", "<b>1</b> \"\\");
	must_be("failures.19.error", "<b>19</b> \"\\");
	ck_assert_uint_eq(json_array_size(json_object_get(last_state, "late")), 1);
	must_be("late.0.job", "2");
	must_be("late.0.bytes", "3");
	ck_assert_uint_eq(json_array_size(json_object_get(last_state, "stuck")), 1);
	must_be("stuck.0.reason", "worker_lost");
	must_be("stuck.0.worker_id", "22222222-2222-4222-8222-222222222222");
	must_be("recover_command", story_text("unstuck-recover -c %s --dry-run", test_path("unstuck.ini")));
	ck_assert_uint_eq(json_array_size(json_object_get(last_state, "workers")), 1);
	must_count("workers.0.worker_id", "SELECT worker_id FROM unstuck.workers");
	must_be("workers.0.running", "2");
	must_be("workers.0.silent", "false");
	must_be("workers.0.timeout_s", "60.0");
	must_be("worker.state", "running");
	must_be("worker.concurrency", "4");
	must_be("worker.counters.started", "2");
	must_be("worker.database.connected", "true");
	must_be("worker.database.last_error", "null");
	must_be("worker.spool.state", "fine");
	must_be("view.error", "null");

	/* Ours as they are now, the other one as the database has it. */
	ck_assert_uint_eq(json_array_size(json_object_get(last_state, "running")), 3);
	must_be("running.0.queue", "videos");
	must_be("running.0.here", "true");
	must_be("running.0.handler", story_text("%s a b", test_path("waits")));
	must_be("running.0.progress", "null");
	ck_assert(pid_alive(atoi(at(last_state, "running.0.pid"))));
	must_count("running.0.claim_id", "SELECT claim_id FROM unstuck.claims WHERE state = 'ACTIVE'");
	must_be("running.1.queue", "mail");
	ck_assert(pid_alive(atoi(at(last_state, "running.1.pid"))));
	must_be("running.2.here", "false");
	must_be("running.2.claim_id", "7");
	must_be("running.2.pid", "null");

	metrics = get("/metrics");
	ck_assert_str_eq(sample(metrics, "unstuck_up"), "1");
	ck_assert_str_eq(sample(metrics, "unstuck_queue_depth{queue=\"mail\",status=\"FAILED\"}"), "25");
	ck_assert_str_eq(sample(metrics, "unstuck_queue_depth{queue=\"videos\",status=\"PROCESSING\"}"), "1");
	ck_assert_str_eq(sample(metrics, "unstuck_queue_depth{queue=\"nobody's \\\"own\\\"\",status=\"PENDING\"}"), "1");
	ck_assert_str_eq(sample(metrics, "unstuck_stuck{queue=\"mail\"}"), "1");
	ck_assert_str_eq(sample(metrics, "unstuck_oldest_pending_age_seconds{queue=\"mail\"}"), "0");
	ck_assert_double_ge(atof(sample(metrics, "unstuck_oldest_pending_age_seconds{queue=\"nobody's \\\"own\\\"\"}")), 3600);
	must_run(0, (&(struct proc_options){ .input = body(metrics) }), "promtool", "check", "metrics");
	/* Nobody looks for a while, and nothing is read: the same reading, however often one asks at once. */
	ck_assert_str_eq(story_text("%s", at(state(), "view.at")), at(state(), "view.at"));
	write_file("on", "");
	proc_signal(p, SIGTERM);
	must_say(p, "event=stopping");
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 10000);
}
END_TEST

START_TEST(what_happens_to_jobs_is_counted)
{
	const char *text;
	struct proc *p;

	db = must_have_db();
	must_sql(db, "INSERT INTO unstuck.jobs (queue, status, worker_id, claim_id, claimed_at, recoveries)"
	         "  SELECT 'mail', 'PROCESSING', '22222222-2222-4222-8222-222222222222', g, now(), 3 * (g = 9)::int FROM generate_series(7, 9) g");
	port = 0;
	settings(db, "[worker]\nheartbeat = 100ms\nworker_timeout = 1s\nrecover_every = 100ms\nconcurrency = 2\n[http]\nlisten = unix:%s\n"
	             "[queue mail]\nhandler = true\n[queue bad]\nhandler = false\nmax_attempts = 1\n[queue long]\nhandler = sleep 60\n"
	             "[queue fat]\nhandler = echo 12345678\nmax_result = 4\n", test_path("h"));
	p = start();
	text = get("/metrics");
	ck_assert_str_eq(sample(text, "unstuck_jobs_total{queue=\"long\",status=\"CANCELLED\"}"), "0");	/* there from the start */
	must_sql(db, "SELECT unstuck.enqueue('bad'), unstuck.enqueue('fat'), unstuck.enqueue('long')");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status IN ('PENDING', 'PROCESSING')", "1", 10000);
	must_become(db, "SELECT status FROM unstuck.jobs WHERE queue = 'long'", "PROCESSING", 10000);
	must_sql(db, "SELECT unstuck.cancel(id) FROM unstuck.jobs WHERE queue = 'long'");
	must_happen(strcmp(sample(get("/metrics"), "unstuck_jobs_total{queue=\"long\",status=\"CANCELLED\"}"), "1") == 0, 10000);
	text = get("/metrics");
	ck_assert_str_eq(sample(text, "unstuck_jobs_total{queue=\"mail\",status=\"COMPLETED\"}"), "2");
	ck_assert_str_eq(sample(text, "unstuck_jobs_total{queue=\"bad\",status=\"FAILED\"}"), "1");
	ck_assert_str_eq(sample(text, "unstuck_recovered_total{queue=\"mail\",reason=\"worker_lost\"}"), "2");
	ck_assert_str_eq(sample(text, "unstuck_quarantined_total{queue=\"mail\"}"), "1");
	ck_assert_str_eq(sample(text, "unstuck_late_results_total{queue=\"fat\",reason=\"too_large\"}"), "1");
	ck_assert_str_eq(sample(text, "unstuck_job_duration_seconds_count"), "4");
	ck_assert_str_eq(sample(text, "unstuck_job_duration_seconds_bucket{le=\"+Inf\"}"), "4");
	ck_assert_int_ge(atoi(sample(text, "unstuck_claim_latency_seconds_count")), 4);
	ck_assert_str_eq(sample(text, "unstuck_db_reconnects_total"), "0");
	ck_assert_str_eq(sample(text, "unstuck_shutdown_seconds{part=\"jobs\"}"), "0");
	stop(p);
}
END_TEST

/* ---- when it is not well ---- */

START_TEST(without_its_database_it_says_so_at_once)
{
	struct proc *p;

	db = must_have_db();
	must_sql(db, "SELECT unstuck.enqueue('mail', run_at => now() + interval '1 h')");
	p = start_with("[queue mail]\nhandler = true\n");
	must_come_to("queues.0.later", "1");
	server_stop();
	must_happen(status(get("/ready")) == 503, 5000);
	ck_assert_str_eq(body(get("/ready")), "not ready: no database\n");
	ck_assert_str_eq(body(get("/live")), "live\n");
	ck_assert_str_eq(sample(get("/metrics"), "unstuck_up"), "0");
	must_happen(strcmp(at(state(), "view.error"), "null") != 0, 30000);
	must_be("queues.0.later", "1");		/* as it was, with its age */
	must_be("worker.database.connected", "false");
	ck_assert_str_ne(at(last_state, "worker.database.last_error"), "null");
	server_start();
	must_happen(status(get("/ready")) == 200, 20000);
	must_sql(db, "SELECT unstuck.enqueue('mail', run_at => now() + interval '1 h')");
	must_come_to("queues.0.later", "2");
	must_be("view.error", "null");
	must_be("worker.database.connected", "true");
	must_be("worker.database.reconnects", "1");
	stop(p);
}
END_TEST

/* Sends the question and leaves when there is no answer after a moment. Whether it was so. */
static bool leaves_early(void)
{
	struct buf got = BUF_INIT;
	int fd = must_connect();
	bool early;

	ck_assert_int_gt(write(fd, "GET /api/state HTTP/1.1\r\nHost: localhost\r\n\r\n", 44), 0);
	early = !read_until(fd, &got, "\r\n\r\n", 100);
	close(fd);
	buf_release(&got);
	return early;
}

START_TEST(a_table_that_may_not_be_read_costs_its_own_numbers_only)
{
	struct testdb as;
	struct proc *p;

	db = must_have_db();
	must_have_table(db, 3);
	must_sql(db, "CREATE ROLE %1$s_user LOGIN; GRANT unstuck_worker TO %1$s_user; GRANT SELECT, UPDATE ON videos TO %1$s_user;"
	         "INSERT INTO unstuck.late_results (queue, source, job_id, claim_id, worker_id, reason, raw)"
	         "  VALUES ('mail', 'unstuck.jobs', '1', 1, '22222222-2222-4222-8222-222222222222', 'fenced', 'abc');"
	         "UPDATE videos SET analysis_status = 'X'", db->name);
	as = *db;
	as.url = story_text("postgresql:///%s?host=%s&port=5432&user=%s_user", db->name, server_dir(), db->name);
	port = 0;
	settings(&as, "[http]\nlisten = unix:%s\n[queue mail]\nhandler = true\n[queue videos]\ntable = public.videos\n"
	              "status = analysis_status\nready = METADATA_EXTRACTED\nhandler = true\n", test_path("h"));
	p = start();
	must_come_to("late.0.job", "1");
	must_be("view.error", "null");
	must_be("late.0.bytes", "3");
	must_be("queues.1.error", "null");
	must_sql(db, "REVOKE SELECT ON videos FROM %s_user; REVOKE SELECT ON unstuck.late_results FROM unstuck_worker", db->name);
	must_happen(strstr(at(state(), "queues.1.error"), "permission denied for table videos") != NULL, 30000);
	must_be("queues.1.depth.PENDING", "null");
	must_be("queues.1.stuck", "null");
	must_be("queues.0.depth.PENDING", "0");
	must_be("queues.0.error", "null");
	must_have(at(last_state, "view.error"), "permission denied for table late_results");
	must_be("queues.0.late", "null");
	must_lack(get("/metrics"), "unstuck_queue_depth{queue=\"videos\"");
	must_have(get("/metrics"), "unstuck_queue_depth{queue=\"mail\"");

	/* A statement that has to wait: nobody waits for it longer than a second, and who goes before that is no trouble. */
	must_sql(db, "BEGIN; LOCK unstuck.late_results");
	must_happen(leaves_early(), 30000);
	must_have(get("/api/state"), "200 OK");
	ck_assert_str_eq(body(get("/live")), "live\n");
	must_happen(strstr(at(state(), "view.error"), "statement timeout") != NULL, 30000);
	must_sql(db, "COMMIT");
	must_sql(db, "GRANT SELECT ON videos TO %s_user", db->name);
	stop(p);
	must_sql(db, "DROP OWNED BY %1$s_user; DROP ROLE %1$s_user", db->name);
}
END_TEST

START_TEST(it_is_not_ready_while_quiet_and_while_it_stops)
{
	struct buf events = BUF_INIT;
	struct proc *p;
	int fd;

	db = must_have_db();
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	p = start_with(story_text("[queue mail]\nhandler = %s\n", script("waits", "while [ ! -e on ]; do sleep 0.02; done; echo 1")));
	must_come_to("worker.running", "1");
	fd = must_connect();
	ck_assert_int_gt(write(fd, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n", 41), 0);
	ck_assert(read_until(fd, &events, "retry: ", 10000));
	must_have(buf_text(&events), "\r\nContent-Type: text/event-stream\r\n");
	proc_signal(p, SIGTSTP);
	must_happen(status(get("/ready")) == 503, 5000);
	ck_assert_str_eq(body(get("/ready")), "not ready: quiet\n");
	must_be((state(), "worker.state"), "quiet");
	proc_signal(p, SIGCONT);
	must_happen(status(get("/ready")) == 200, 5000);
	proc_signal(p, SIGTERM);
	must_happen(status(get("/ready")) == 503, 5000);
	ck_assert_str_eq(body(get("/ready")), "not ready: stopping\n");
	ck_assert_str_eq(body(get("/live")), "live\n");
	must_be((state(), "worker.state"), "stopping");
	must_happen(atof(sample(get("/metrics"), "unstuck_shutdown_seconds{part=\"jobs\"}")) > 0, 5000);
	write_file("on", "");
	ck_assert_msg(read_until(fd, &events, NULL, 10000), "the stream does not end");
	must_exit(p, 0, 10000);
	must_have(proc_err(p), " http=completed/");
	must_have(buf_text(&events), "event: quiet\n");
	must_have(buf_text(&events), "event: resume\n");
	must_have(buf_text(&events), "event: stopping\n");
	must_have(buf_text(&events), "event: job_done\ndata: {\"ts\":\"");
	must_have(buf_text(&events), "\"event\":\"job_done\",\"queue\":\"mail\",\"job\":\"1\",\"attempt\":1,\"ms\":");
	must_have(buf_text(&events), "event: server_shutdown\n");
	/* The last event, then the end of the chunks. */
	ck_assert_str_eq(strstr(strstr(buf_text(&events), "event: server_shutdown\n"), "\n\n"), "\n\n\r\n0\r\n\r\n");
	ck_assert_int_eq(connect_to_worker(), -1);
	ck_assert(!file_exists("h"));
	buf_release(&events);
	close(fd);
}
END_TEST

/* ---- clients that do not behave ---- */

#define CONNECTIONS 64
#define STREAMS 16

START_TEST(too_many_connections_are_refused_and_those_that_are_served_go_on)
{
	int fds[CONNECTIONS], streams[STREAMS];
	struct buf got = BUF_INIT;
	struct proc *p;

	db = must_have_db();
	p = start_with("[queue mail]\nhandler = true\n");
	for (int i = 0; i < STREAMS; i++) {
		streams[i] = must_connect();
		ck_assert_int_gt(write(streams[i], "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n", 41), 0);
		buf_clear(&got);
		ck_assert(read_until(streams[i], &got, "retry: ", 10000));
	}
	must_have(get("/events"), "503 Service Unavailable");
	must_have(get("/events"), "too many streams of events; 16 are open\n");
	ck_assert_str_eq(body(get("/live")), "live\n");
	for (int i = 0; i < CONNECTIONS - STREAMS; i++)		/* that say nothing */
		fds[i] = must_connect();
	must_happen(status(get("/live")) == 503, 5000);
	must_have(get("/live"), "too many connections; 64 are open\n");
	for (int i = 0; i < CONNECTIONS - STREAMS; i++)
		close(fds[i]);
	must_happen(status(get("/live")) == 200, 5000);
	for (int i = 0; i < STREAMS; i++)
		close(streams[i]);
	must_happen(status(ask_for("HEAD", "/events")) == 200, 5000);
	/* More than are ever taken: the rest waits in line, and is served when there is room. */
	for (int i = 0; i < CONNECTIONS; i++)
		fds[i] = must_connect();
	for (int i = 0; i < CONNECTIONS; i++)
		close(fds[i]);
	must_happen(status(get("/live")) == 200, 5000);
	buf_release(&got);
	stop(p);
}
END_TEST

/* 12 times 1000 lines, the next when the quick reader has the last: so only the slow one lags. */
#define CHATTY "n=0; while [ $n -lt 12 ]; do awk -v n=$n 'BEGIN { for (i = 1; i <= 1000; i++) printf \"%%0150d line %%d.%%d.\\n\", 0, n, i }' >&2;" \
	" while [ ! -e step.$n ]; do sleep 0.01; done; n=$((n + 1)); done; echo 1"

START_TEST(a_slow_reader_of_events_is_cut_off_and_a_quick_one_is_not)
{
	struct buf quick = BUF_INIT, late = BUF_INIT;
	int slow, fd;
	struct proc *p;

	db = must_have_db();
	port = 0;
	settings(db, "[worker]\nstderr_rate = 1000000/s\n[http]\nlisten = unix:%s\n[queue mail]\nhandler = %s\n", test_path("h"),
	         script("chatty", story_text(CHATTY)));
	p = start();
	slow = must_connect();
	fd = must_connect();
	ck_assert_int_gt(write(slow, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n", 41), 0);
	ck_assert_int_gt(write(fd, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n", 41), 0);
	ck_assert(read_until(fd, &quick, "retry: ", 10000));
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	for (int step = 0; step < 12; step++) {
		ck_assert_msg(read_until(fd, &quick, story_text("line %d.1000.", step), 20000), "the quick reader was cut off");
		write_file(story_text("step.%d", step), "");
	}
	ck_assert_msg(read_until(fd, &quick, "event: job_done\n", 20000), "the quick reader was cut off");
	ck_assert_uint_eq(text_count(buf_text(&quick), "event: handler_stderr\n"), 12000);
	ck_assert_msg(read_until(slow, &late, NULL, 10000), "the slow one is not cut off");
	ck_assert_uint_lt(late.len, quick.len);
	must_lack(buf_text(&late), "event: job_done\n");
	buf_release(&quick);
	buf_release(&late);
	close(slow);
	close(fd);
	stop(p);
}
END_TEST

/* ---- what is in docs/ ---- */

/* Every word that begins with unstuck_ is a metric, or one of a histogram's series. */
static void must_name_metrics(const char *file)
{
	const char *text = read_file(source_path(file));
	struct buf known = BUF_INIT;

	metrics_markdown(&known);
	ck_assert(strstr(text, "unstuck_") != NULL);
	for (const char *at_ = strstr(text, "unstuck_"); at_ != NULL; at_ = strstr(at_ + 1, "unstuck_")) {
		size_t len = strspn(at_, "abcdefghijklmnopqrstuvwxyz_");
		static const char *const series[] = { "_bucket", "_sum", "_count" };

		for (size_t i = 0; i < 3; i++) {
			size_t n = strlen(series[i]);

			if (len > n && strncmp(at_ + len - n, series[i], n) == 0)
				len -= n;
		}
		ck_assert_msg(strstr(buf_text(&known), story_text("| `%.*s` |", (int)len, at_)) != NULL, "%s names %.*s, which is no metric",
		              file, (int)len, at_);
	}
	buf_release(&known);
}

START_TEST(the_dashboard_and_the_alerts_name_what_there_is)
{
	struct buf page = BUF_INIT;
	json_t *dashboard = json_load_file(source_path("docs/grafana.json"), 0, NULL);

	ck_assert(json_array_size(json_object_get(dashboard, "panels")) > 0);
	json_decref(dashboard);
	must_name_metrics("docs/grafana.json");
	must_name_metrics("docs/alerts.yml");
	must_run(0, NULL, "promtool", "check", "rules", source_path("docs/alerts.yml"));
	must_run(0, NULL, "promtool", "test", "rules", source_path("tests/data/alerts_test.yml"));
	metrics_markdown(&page);
	ck_assert_msg(strcmp(read_file(source_path("docs/metrics.md")), buf_text(&page)) == 0,
	              "docs/metrics.md is not what the table says: run make docs");
	buf_release(&page);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("http");
	TCase *tc = story_case(s, "routes");

	tcase_add_test(tc, each_route_answers_and_nothing_else_does);
	tcase_add_test(tc, an_address_that_others_can_reach_is_warned_of);
	tcase_add_test(tc, a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not);
	tc = story_case(s, "told");
	tcase_add_test(tc, the_numbers_are_those_of_the_database);
	tcase_add_test(tc, what_happens_to_jobs_is_counted);
	tc = story_case(s, "unwell");
	tcase_add_test(tc, without_its_database_it_says_so_at_once);
	tcase_add_test(tc, a_table_that_may_not_be_read_costs_its_own_numbers_only);
	tcase_add_test(tc, it_is_not_ready_while_quiet_and_while_it_stops);
	tc = story_case(s, "clients");
	tcase_add_test(tc, too_many_connections_are_refused_and_those_that_are_served_go_on);
	tcase_add_test(tc, a_slow_reader_of_events_is_cut_off_and_a_quick_one_is_not);
	tc = story_case(s, "docs");
	tcase_add_test(tc, the_dashboard_and_the_alerts_name_what_there_is);
	return check_main(s);
}
