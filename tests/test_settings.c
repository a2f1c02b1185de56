/*
 * test_settings.c - the table of settings, where values come from, what is refused
 * and how, docs/settings.md.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "buf.h"
#include "setting.h"
#include "settings.h"
#include "settings_diff.h"
#include "story.h"

#define FILE_NAME "unstuck.ini"

/* ---- loading ---- */

/* Every message on a line of its own. */
static char *load(struct settings *s, const char *path, const struct flag_setting *flags)
{
	struct problems p = PROBLEMS_INIT;
	struct buf out = BUF_INIT;
	int status = settings_load(s, path, flags, &p);
	char *text;

	ck_assert_int_eq(status, p.len > 0 ? -1 : 0);
	for (size_t i = 0; i < p.len; i++)
		buf_addf(&out, "%s\n", p.text[i]);
	problems_release(&p);
	text = story_text("%s", buf_text(&out));
	buf_release(&out);
	return text;
}

static void must_load(struct settings *s, const char *text)
{
	write_file(FILE_NAME, text);
	ck_assert_str_eq(load(s, NULL, NULL), "");
}

static char *words_text(char *const *words)
{
	struct buf out = BUF_INIT;
	char *text;

	for (; *words != NULL; words++)
		buf_addf(&out, "<%s>", *words);
	text = story_text("%s", buf_text(&out));
	buf_release(&out);
	return text;
}

START_TEST(defaults_without_any_file)
{
	struct settings s;
	struct queue_settings *q;

	ck_assert_str_eq(load(&s, NULL, NULL), "");
	ck_assert_str_eq(s.path, "");
	ck_assert_str_eq(s.database_url, "");
	ck_assert_str_eq(s.redis_url, "");
	ck_assert_int_eq(s.log_level, LOG_INFO);
	ck_assert_int_eq(s.log_format, LOG_TEXT);
	ck_assert_str_eq(s.log_file, "");
	ck_assert_uint_eq(s.concurrency, 4);
	ck_assert_uint_eq(s.poll_interval, 2 * SEC);
	ck_assert_int_eq(s.wake, WAKE_NOTIFY);
	ck_assert_uint_eq(s.graceful_timeout, 300 * SEC);
	ck_assert_uint_eq(s.force_delay, 10 * SEC);
	ck_assert_uint_eq(s.heartbeat, 10 * SEC);
	ck_assert_uint_eq(s.worker_timeout, 60 * SEC);
	ck_assert_uint_eq(s.recover_every, MINUTE);
	ck_assert(!s.pidfile_set);
	ck_assert_uint_eq(s.recover_timeout, HOUR);
	ck_assert_uint_eq(s.recover_batch, 1000);
	ck_assert_uint_eq(s.max_recoveries, 3);
	ck_assert_ptr_null(s.on_stuck[0]);
	ck_assert_str_eq(s.http_listen, "");
	ck_assert_uint_eq(s.queues_len, 0);

	q = settings_add_queue(&s, "mail");
	ck_assert_ptr_eq(settings_queue(&s, "mail"), q);
	ck_assert_ptr_null(settings_queue(&s, "post"));
	ck_assert_int_eq(q->line, 0);
	ck_assert_ptr_null(q->handler[0]);
	ck_assert_int_eq(q->mode, MODE_EXEC);
	ck_assert_uint_eq(q->concurrency, 0);
	ck_assert_uint_eq(q->batch, 10);
	ck_assert_uint_eq(q->timeout, 15 * MINUTE);
	ck_assert(!q->timeout_set);
	ck_assert_uint_eq(q->max_attempts, 5);
	ck_assert_uint_eq(q->backoff, 10 * SEC);
	ck_assert_uint_eq(q->backoff_max, HOUR);
	ck_assert_uint_eq(q->rate.n, 0);
	ck_assert_uint_eq(q->max_result, 1024 * 1024);
	ck_assert_int_eq(q->output, OUTPUT_JSON);
	ck_assert_int_eq(q->spool, SPOOL_DEFAULT);
	ck_assert_uint_eq(q->pipeline, 1);
	ck_assert_ptr_null(q->env[0]);
	ck_assert_str_eq(q->table, "");
	ck_assert_str_eq(q->id, "id");
	ck_assert_str_eq(q->status, "status");
	ck_assert_ptr_null(q->ready[0]);
	ck_assert_str_eq(q->processing, "PROCESSING");
	ck_assert_str_eq(q->done, "COMPLETED");
	ck_assert_str_eq(q->failed, "FAILED");
	ck_assert_str_eq(q->reset_to, "");
	ck_assert_str_eq(q->updated_at, "updated_at");
	ck_assert(!q->updated_at_set);
	ck_assert_str_eq(q->timezone, "UTC");
	ck_assert(!q->timezone_set);
	ck_assert_str_eq(q->where, "");
	ck_assert_str_eq(q->order_by, "");
	ck_assert_ptr_null(q->payload[0]);
	ck_assert_str_eq(q->result, "");
	ck_assert_str_eq(q->on_success, "");
	ck_assert_ptr_null(q->show[0]);
	ck_assert(!q->strict);
	settings_release(&s);
}
END_TEST

static const char all_of_programs[] =
"[unstuck]\n"
"database_url = postgresql://a:p@h1,h2/app?target_session_attrs=read-write\n"
"redis_url = redis://:pw@[::1]:6379/3\n"
"log_level = debug\nlog_format = json\nlog_file = /tmp/u.log\n"
"[worker]\n"
"concurrency = 7\npoll_interval = 250ms\nwake = redis\ngraceful_timeout = 0\nforce_delay = 0s\n"
"heartbeat = 1s\nworker_timeout = 3s\nrecover_every = 0\nspool_dir = /tmp/spool\npidfile = /tmp/w.pid\n"
"[recover]\n"
"timeout = 1h30m\nbatch = 5\nmax_recoveries = 0\non_stuck = mail -s 'jobs stuck' ops\n"
"[http]\n"
"listen = 127.0.0.1:9187\n";

static const char all_of_a_queue[] =
"[unstuck]\nredis_url = unix:///run/redis.sock\n"
"[queue my videos; all of them]\n"
"handler = php artisan 'video:analyze one' --size \"2 00\" ; a comment\n"
"mode = serve\nconcurrency = 2\nbatch = 3\ntimeout = 1h\nmax_attempts = 1\nbackoff = 0\nbackoff_max = 0\n"
"rate = 60/m\nmax_result = 64KB\noutput = text\nspool = outage\npipeline = 8\nenv = API_KEY _x HOME2\n"
"table = public.\"Videos\"\nid = \"Odd Id\"\nstatus = analysis_status\n"
"ready = 'IN PROGRESS' METADATA_EXTRACTED\n  METADATA_EXTRACTING\n"
"processing = 'AT WORK'\ndone = ALL DONE\nfailed = \"NOT DONE\"\nreset_to = OLD\n"
"updated_at = changed\ntimezone = Europe/Berlin\n"
"where = deleted_at IS NULL\n    AND note <> '#;' ; why\norder_by = priority DESC, id\n"
"payload = source_id, \"Odd, Col\" duration,\n   x\nresult = outcome\nshow = \"a \"\"b\"\"\",c\nstrict = yes\n";

START_TEST(every_key_of_the_programs)
{
	struct settings s;

	must_load(&s, all_of_programs);
	ck_assert_str_eq(s.path, "./" FILE_NAME);
	ck_assert_str_eq(s.database_url, "postgresql://a:p@h1,h2/app?target_session_attrs=read-write");
	ck_assert_str_eq(s.redis_url, "redis://:pw@[::1]:6379/3");
	ck_assert_int_eq(s.log_level, LOG_DEBUG);
	ck_assert_int_eq(s.log_format, LOG_JSON);
	ck_assert_str_eq(s.log_file, "/tmp/u.log");
	ck_assert_uint_eq(s.concurrency, 7);
	ck_assert_uint_eq(s.poll_interval, 250 * MSEC);
	ck_assert_int_eq(s.wake, WAKE_REDIS);
	ck_assert_uint_eq(s.graceful_timeout, 0);
	ck_assert_uint_eq(s.force_delay, 0);
	ck_assert_uint_eq(s.heartbeat, SEC);
	ck_assert_uint_eq(s.worker_timeout, 3 * SEC);
	ck_assert_uint_eq(s.recover_every, 0);
	ck_assert_str_eq(s.spool_dir, "/tmp/spool");
	ck_assert_str_eq(s.pidfile, "/tmp/w.pid");
	ck_assert(s.pidfile_set);
	ck_assert_uint_eq(s.recover_timeout, 90 * MINUTE);
	ck_assert_uint_eq(s.recover_batch, 5);
	ck_assert_uint_eq(s.max_recoveries, 0);
	ck_assert_str_eq(words_text(s.on_stuck), "<mail><-s><jobs stuck><ops>");
	ck_assert_str_eq(s.http_listen, "127.0.0.1:9187");
	settings_release(&s);
}
END_TEST

START_TEST(every_key_of_a_queue)
{
	struct settings s;
	struct queue_settings *q;

	must_load(&s, all_of_a_queue);
	ck_assert_uint_eq(s.queues_len, 1);
	q = settings_queue(&s, "my videos; all of them");
	ck_assert_ptr_nonnull(q);
	ck_assert_int_eq(q->line, 3);
	ck_assert_str_eq(words_text(q->handler), "<php><artisan><video:analyze one><--size><2 00>");
	ck_assert_int_eq(q->mode, MODE_SERVE);
	ck_assert_uint_eq(q->concurrency, 2);
	ck_assert_uint_eq(q->batch, 3);
	ck_assert_uint_eq(q->timeout, HOUR);
	ck_assert(q->timeout_set);
	ck_assert_uint_eq(q->max_attempts, 1);
	ck_assert_uint_eq(q->backoff, 0);
	ck_assert_uint_eq(q->backoff_max, 0);
	ck_assert_uint_eq(q->rate.n, 60);
	ck_assert_uint_eq(q->rate.per, MINUTE);
	ck_assert_uint_eq(q->max_result, 65536);
	ck_assert_int_eq(q->output, OUTPUT_TEXT);
	ck_assert_int_eq(q->spool, SPOOL_OUTAGE);
	ck_assert_uint_eq(q->pipeline, 8);
	ck_assert_str_eq(words_text(q->env), "<API_KEY><_x><HOME2>");
	ck_assert_str_eq(q->table, "public.\"Videos\"");
	ck_assert_str_eq(q->id, "\"Odd Id\"");
	ck_assert_str_eq(q->status, "analysis_status");
	ck_assert_str_eq(words_text(q->ready), "<IN PROGRESS><METADATA_EXTRACTED><METADATA_EXTRACTING>");
	ck_assert_str_eq(q->processing, "AT WORK");
	ck_assert_str_eq(q->done, "ALL DONE");
	ck_assert_str_eq(q->failed, "NOT DONE");
	ck_assert_str_eq(q->reset_to, "OLD");
	ck_assert_str_eq(q->updated_at, "changed");
	ck_assert(q->updated_at_set);
	ck_assert_str_eq(q->timezone, "Europe/Berlin");
	ck_assert(q->timezone_set);
	ck_assert_str_eq(q->where, "deleted_at IS NULL\nAND note <> '#;'");
	ck_assert_str_eq(q->order_by, "priority DESC, id");
	ck_assert_str_eq(words_text(q->payload), "<source_id><\"Odd, Col\"><duration><x>");
	ck_assert_str_eq(q->result, "outcome");
	ck_assert_str_eq(words_text(q->show), "<\"a \"\"b\"\"\"><c>");
	ck_assert(q->strict);
	settings_release(&s);
}
END_TEST

/* A comment behind an indented line is none of the statement. */
START_TEST(on_success_over_lines_with_a_comment)
{
	struct settings s;

	must_load(&s, "[queue v]\ntable = v\nready = NEW\non_success   = INSERT INTO r (id, t)\n"
	          "               VALUES ($1, $2 ->> 't')   ; $1 id, $2 result jsonb; same transaction\nhandler = x\n");
	ck_assert_str_eq(s.queues[0].on_success, "INSERT INTO r (id, t)\nVALUES ($1, $2 ->> 't')");
	ck_assert_str_eq(s.queues[0].reset_to, "NEW");
	settings_release(&s);
}
END_TEST

static char *repeated(char c, int n)
{
	char *text = story_memory((size_t)n + 1);

	memset(text, c, (size_t)n);
	return text;
}

START_TEST(long_values_arrive_whole)
{
	int n = _i == 0 ? 300 : 5000;
	const char *x = repeated('x', n);
	struct settings s;

	must_load(&s, story_text("[unstuck]\ndatabase_url = postgresql://h/%s ; c\n[queue %s]\nhandler = /bin/sh -c '%s;%s'\n"
	                         "table = t\nready = A\nwhere = a\n     = '%s' ; c\n", x, repeated('q', 900), x, x, x));
	ck_assert_str_eq(s.database_url, story_text("postgresql://h/%s", x));
	ck_assert_str_eq(s.queues[0].name, repeated('q', 900));
	ck_assert_str_eq(words_text(s.queues[0].handler), story_text("</bin/sh><-c><%s;%s>", x, x));
	ck_assert_str_eq(s.queues[0].where, story_text("a\n= '%s'", x));
	settings_release(&s);
}
END_TEST

/* What keys may hold, beside the bad ones below. */
static const struct {
	const char *key, *value;
} good_values[] = {
	{ "unstuck.redis_url", "redis://h" }, { "unstuck.redis_url", "redis://h/" }, { "unstuck.redis_url", "redis://h:1/0" },
	{ "unstuck.redis_url", "redis://:p@ss/w:d@h:6379/15" }, { "unstuck.redis_url", "redis://[fe80::1]:1" },
	{ "unstuck.redis_url", "unix:///a" }, { "unstuck.redis_url", "unix://:p@/a@b" }, { "unstuck.redis_url", "" },
	{ "unstuck.redis_url", "redis://:p%40%25@h" },
	{ "http.listen", "unix:/run/u.sock" }, { "http.listen", "localhost:1" }, { "http.listen", "[::1]:65535" },
	{ "http.listen", "" }, { "worker.concurrency", "1" }, { "worker.concurrency", "1024" },
	{ "worker.heartbeat", "100ms" }, { "worker.recover_every", "0s" }, { "worker.pidfile", "" },
	{ "recover.on_stuck", "" }, { "recover.on_stuck", "sh -c ''" },
};

START_TEST(good_values_are_taken)
{
	struct error err = ERROR_INIT;
	int status = settings_check_value(good_values[_i].key, good_values[_i].value, &err);

	ck_assert_msg(status == 0, "%s = %s: %s", good_values[_i].key, good_values[_i].value, err.text);
}
END_TEST

/* ---- what is refused, and in which words ---- */

#define REDIS_WANTED "expected redis://[:password@]host[:port][/db] or unix://[:password@]/path"
#define LISTEN_WANTED "expected host:port or unix:/path"

static const struct {
	const char *text, *expected;	/* without the name of the file */
} bad_files[] = {
	/* sections and keys */
	{ "[wroker]\nconcurrency = x\n", ":1: [wroker]: no such section; did you mean [worker]?\n" },
	{ "[something]\n", ":1: [something]: no such section; there are [unstuck], [worker], [recover], [http] and [queue NAME]\n" },
	{ "[queue]\n[queue:mail]\n[qeue mail]\n[queue.mail]\n",
	  ":1: [queue]: no such section; did you mean [queue NAME]?\n:2: [queue:mail]: no such section; did you mean [queue NAME]?\n"
	  ":3: [qeue mail]: no such section; did you mean [queue NAME]?\n:4: [queue.mail]: no such section; did you mean [queue NAME]?\n" },
	{ "[worker]\nconcurency = 4\n", ":2: [worker] concurency: no such key; did you mean concurrency?\n" },
	{ "[worker]\ntimeout = 4\n[recover]\nhandler = x\n",
	  ":2: [worker] timeout: no such key; it belongs in [recover]\n:4: [recover] handler: no such key; it belongs in [queue NAME]\n" },
	{ "[http]\nzzzzzz = 4\n", ":2: [http] zzzzzz: no such key\n" },
	{ "[queue a]\nmax_atempts = 4\n", ":2: [queue a] max_atempts: no such key; did you mean max_attempts?\n" },

	/* twice */
	{ "[worker]\nconcurrency = 4\n\nconcurrency = 4\n", ":4: [worker] concurrency is set twice, in lines 2 and 4\n" },
	{ "[worker]\n[http]\n[worker]\n", ":3: [worker] stands twice, in lines 1 and 3\n" },
	{ "[queue a]\nbatch = 1\n[queue b]\n[queue  a]\n", ":4: [queue a] stands twice, in lines 1 and 4\n" },

	/* values */
	{ "[worker]\nconcurrency = banana\n", ":2: [worker] concurrency = banana: expected a whole number from 1 to 1024\n" },
	{ "[worker]\nconcurrency = 0\n", ":2: [worker] concurrency = 0: expected a whole number from 1 to 1024\n" },
	{ "[worker]\nconcurrency =\n", ":2: [worker] concurrency = : expected a whole number from 1 to 1024\n" },
	{ "[worker]\nconcurrency = 99999999999999999999999\n",
	  ":2: [worker] concurrency = 99999999999999999999999: expected a whole number from 1 to 1024\n" },
	{ "[worker]\nheartbeat = 10 s\n", ":2: [worker] heartbeat = 10 s: expected a duration from 100ms to 1h, as in 90s, 15m or 1h30m\n" },
	{ "[worker]\nheartbeat = 0\n", ":2: [worker] heartbeat = 0: expected a duration from 100ms to 1h, as in 90s, 15m or 1h30m\n" },
	{ "[worker]\nrecover_every = 1ms\n",
	  ":2: [worker] recover_every = 1ms: expected a duration from 100ms to 7d (0: off), as in 90s, 15m or 1h30m\n" },
	{ "[worker]\nwake = often\n", ":2: [worker] wake = often: expected notify, redis or poll\n" },
	{ "[worker]\nconcurrency = 2\n  poll_interval = 3s\n",
	  ":2: [worker] concurrency = 2\\npoll_interval = 3s: expected one line; a line that is indented deeper than its key goes on the value\n" },
	{ "[unstuck]\nlog_level = Info\n", ":2: [unstuck] log_level = Info: expected debug, info, warning or error\n" },
	{ "[http]\nlisten = 9187\n", ":2: [http] listen = 9187: " LISTEN_WANTED "\n" },
	{ "[http]\nlisten = h:0\n", ":2: [http] listen = h:0: " LISTEN_WANTED "\n" },
	{ "[http]\nlisten = h:65536\n", ":2: [http] listen = h:65536: " LISTEN_WANTED "\n" },
	{ "[http]\nlisten = :80\n", ":2: [http] listen = :80: " LISTEN_WANTED "\n" },
	{ "[http]\nlisten = [::1]\n", ":2: [http] listen = [::1]: " LISTEN_WANTED "\n" },
	{ "[http]\nlisten = unix:run\n",
	  ":2: [http] listen = unix:run: expected unix: and an absolute path of at most 107 bytes\n" },
	{ "[recover]\non_stuck = ''\n", ":2: [recover] on_stuck = '': the command is an empty word\n" },
	{ "[queue a]\nhandler = run \"x\n", ":2: [queue a] handler = run \"x: a double quote (\") is opened and not closed\n" },
	{ "[queue a]\nmax_attempts = 0\n", ":2: [queue a] max_attempts = 0: expected a whole number from 1 to 1000000\n" },
	{ "[queue a]\ntimeout = 0\n", ":2: [queue a] timeout = 0: expected a duration from 100ms to 3650d, as in 90s, 15m or 1h30m\n" },
	{ "[queue a]\nmax_result = 1TB\n", ":2: [queue a] max_result = 1TB: expected a size from 1 to 255MB, as in 64KB or 1MB\n" },
	{ "[queue a]\nmode = fork\n", ":2: [queue a] mode = fork: expected exec or serve\n" },
	{ "[queue a]\nenv = A B=C\n", ":2: [queue a] env = A B=C: B=C is not the name of a variable: expected letters, digits and _\n" },
	{ "[queue a]\nenv = 1A\n", ":2: [queue a] env = 1A: 1A is not the name of a variable: expected letters, digits and _\n" },
	{ "[unstuck]\nredis_url = redis://h\n[queue a]\nrate = 5\n",
	  ":4: [queue a] rate = 5: expected a number a second, minute or hour, as in 60/m\n" },
	{ "[queue v]\ntable = v\nready = A\nstrict = maybe\nid =\n",
	  ":4: [queue v] strict = maybe: expected yes or no\n:5: [queue v] id: (nothing): expected a name of lower-case letters, digits and _, "
	  "or any other name in double quotes\n" },
	{ "[queue v]\ntable = Videos\nready = A\n",
	  ":2: [queue v] table: Videos: a name with upper-case letters must stand in double quotes, as in \"Videos\"; "
	  "without them it must be lower case\n" },
	{ "[queue v]\ntable = v\nready = A\nshow = a, \"b\n", ":4: [queue v] show: \"b: the double quote is opened and not closed\n" },
	{ "[queue v]\ntable = v\nready = A\ndone = 'A B' C\nfailed =\n",
	  ":4: [queue v] done = 'A B' C: expected one state\n:5: [queue v] failed = : expected one state\n" },

	/* what does not fit together */
	{ "[queue a]\nstatus = x\nready = A\n",
	  ":2: [queue a] status: only for a queue on a table of yours; set table too\n"
	  ":3: [queue a] ready: only for a queue on a table of yours; set table too\n" },
	{ "[queue a]\n\ntable = v\n",
	  ":3: [queue a] table is set and ready is not: write ready = and the states to claim jobs from, as in ready = PENDING\n" },
	{ "[queue a]\nrate = 5/s\n", ":2: [queue a] rate needs Redis: set [unstuck] redis_url, or take rate out\n" },
	{ "[worker]\nwake = redis\n", ":2: [worker] wake = redis needs [unstuck] redis_url\n" },
	{ "[queue v]\ntable = v\nready = A\nresult = r\non_success = SELECT 1\n",
	  ":5: [queue v] result and on_success are both set: the result goes to one of them\n" },
	{ "[worker]\nworker_timeout = 20s\n",
	  ":2: [worker] worker_timeout = 20s: must be at least 3 heartbeats: 30s, with [worker] heartbeat = 10s\n" },
	{ "[worker]\nheartbeat = 30s\n",
	  ":2: [worker] worker_timeout = 1m (its default): must be at least 3 heartbeats: 1m30s, with [worker] heartbeat = 30s\n" },
	{ "[queue v]\ntable = v\nready = A B A\nprocessing = B\nreset_to = B\ndone = A\n",
	  ":3: [queue v] ready: A stands twice\n:4: [queue v] processing = B: is one of ready too; its rows would be claimed again\n"
	  ":5: [queue v] reset_to = B: is the processing state too\n:6: [queue v] done = A: is one of ready too; its rows would be claimed again\n" },
	{ "[queue v]\ntable = v\nready = A\nfailed = PROCESSING\n", ":4: [queue v] failed = PROCESSING: is the processing state too\n" },
	/* a value over two lines is told in one */
	{ "[queue v]\ntable = v\nready = A\npayload = \"a\n  b\"\n", ":4: [queue v] payload: \"a\\x0ab\": a name cannot hold control characters\n" },
};

START_TEST(bad_files_are_refused_in_words)
{
	struct settings s;
	struct buf expected = BUF_INIT;

	write_file(FILE_NAME, bad_files[_i].text);
	for (const char *p = bad_files[_i].expected; *p != '\0'; p = strchr(p, '\n') + 1)
		buf_addf(&expected, "./" FILE_NAME "%.*s\n", (int)strcspn(p, "\n"), p);
	ck_assert_str_eq(load(&s, NULL, NULL), buf_text(&expected));
	settings_release(&s);
	buf_release(&expected);
}
END_TEST

START_TEST(all_errors_are_told_at_once_in_the_order_of_the_file)
{
	struct settings s;

	setenv("UNSTUCK_RECOVER_BATCH", "none", 1);
	write_file(FILE_NAME, "x = 1\n[worker]\nconcurrency = banana\nno pair\n[queue a]\nrate = 3/m\nmode = x\n[htp]\n[queue b\n");
	ck_assert_str_eq(load(&s, NULL, (const struct flag_setting[]){ { "worker.heartbeat", "soon", "--heartbeat" }, { NULL, NULL, NULL } }),
	                 "./unstuck.ini:1: a key stands before the first [section]\n"
	                 "./unstuck.ini:3: [worker] concurrency = banana: expected a whole number from 1 to 1024\n"
	                 "./unstuck.ini:4: expected \"key = value\" or \"[section]\"\n"
	                 "./unstuck.ini:6: [queue a] rate needs Redis: set [unstuck] redis_url, or take rate out\n"
	                 "./unstuck.ini:7: [queue a] mode = x: expected exec or serve\n"
	                 "./unstuck.ini:8: [htp]: no such section; did you mean [http]?\n"
	                 "./unstuck.ini:9: a section needs a closing ]\n"
	                 "UNSTUCK_RECOVER_BATCH = none: expected a whole number from 1 to 100000\n"
	                 "--heartbeat soon: expected a duration from 100ms to 1h, as in 90s, 15m or 1h30m\n");
	settings_release(&s);
}
END_TEST

/* Wherever a secret stands, and whatever is wrong with it or near it. */
static const char *const secret_files[] = {
	"[unstuck]\nredis_url = redis://:hunter2@\n", "[unstuck]\nredis_url = hunter2\n", "[unstuck]\nredis_url = redis://hunter2@h\n",
	"[unstuck]\nredis_url = redis://:hunter2@h:x\n", "[unstuck]\nredis_url = redis://:hunter2\n",
	"[unstuck]\nredis_url = unix://:hunter2@x\n", "[unstuck]\ndatabase_url = a\n  hunter2\n",
	"[unstuck]\ndatabase_url postgresql hunter2\n", "[unstuck]\ndatabase_url = hunter2\ndatabase_url = hunter2\n",
	"[unstuck]\ndatabase_url = hunter2\xff\n", "[unstuck]\nredis_url = \x01hunter2\n",
};

START_TEST(a_secret_is_in_no_message)
{
	struct settings s;
	const char *told;

	write_file(FILE_NAME, secret_files[_i]);
	told = load(&s, NULL, NULL);
	ck_assert_str_ne(told, "");
	ck_assert_ptr_null(strstr(told, "hunter2"));
	settings_release(&s);
}
END_TEST

START_TEST(a_secret_of_the_environment_or_a_flag_is_in_no_message)
{
	const struct flag_setting flags[] = { { "unstuck.database_url", "hunter2\x01", "--database-url" }, { NULL, NULL, NULL } };
	struct settings s;

	setenv("UNSTUCK_UNSTUCK_REDIS_URL", "hunter2", 1);
	ck_assert_str_eq(load(&s, NULL, flags),
	                 "UNSTUCK_UNSTUCK_REDIS_URL: " REDIS_WANTED "\n"
	                 "--database-url: expected UTF-8 text without control characters\n");
	settings_release(&s);
}
END_TEST

static char *many_states(int n)
{
	char *text = story_text("%s", "");

	for (int i = 0; i < n; i++)
		text = story_text("%ss%d ", text, i);
	return text;
}

START_TEST(states_are_bounded)
{
	struct settings s;

	write_file(FILE_NAME, story_text("[queue v]\ntable = v\nready = %s\n", repeated(' ', 10)));
	ck_assert_ptr_nonnull(strstr(load(&s, NULL, NULL), "table is set and ready is not"));
	settings_release(&s);
	write_filef(FILE_NAME, "[queue v]\ntable = v\nready = %sb\n", many_states(100));
	ck_assert_ptr_nonnull(strstr(load(&s, NULL, NULL), "expected at most 100 states"));
	settings_release(&s);
	must_load(&s, story_text("[queue v]\ntable = v\nready = %s\n", many_states(100)));
	settings_release(&s);
}
END_TEST

/* Good files with some bytes changed: whatever becomes of them, it is told and nothing crashes. */
START_TEST(damaged_files_end_well)
{
	static const char bytes[] = "[]=:;# \t\n\r\"'\\0a\xff\x01,/@%";
	unsigned seed = (unsigned)_i;
	struct settings s;

	for (int round = 0; round < 300; round++) {
		char *text = story_text("%s%s", all_of_programs, all_of_a_queue);
		size_t len = strlen(text);

		for (int k = rand_r(&seed) % 20; k >= 0; k--)
			text[(size_t)rand_r(&seed) % len] = bytes[(size_t)rand_r(&seed) % (sizeof bytes - 1)];
		write_file(FILE_NAME, text);
		ck_assert_str_ne(load(&s, NULL, NULL), "");	/* [unstuck] stands twice at least */
		settings_release(&s);
		story_forget();
	}
}
END_TEST

/* ---- where values come from ---- */

START_TEST(flag_before_environment_before_file_before_default)
{
	const struct flag_setting flags[] = {
		{ "worker.concurrency", "9", "--concurrency" }, { "unstuck.database_url", "flag", "-d" }, { NULL, NULL, NULL }
	};
	struct settings s;

	write_file(FILE_NAME, "[unstuck]\ndatabase_url = file\n[worker]\nconcurrency = 7\nheartbeat = 2s\nforce_delay = 1s\n");
	setenv("UNSTUCK_WORKER_CONCURRENCY", "8", 1);
	setenv("UNSTUCK_WORKER_HEARTBEAT", "3s", 1);
	setenv("UNSTUCK_WORKER_FORCE_DELAY", "", 1);	/* as if not set */
	setenv("DATABASE_URL", "env", 1);
	ck_assert_str_eq(load(&s, NULL, flags), "");
	ck_assert_uint_eq(s.concurrency, 9);
	ck_assert_uint_eq(s.heartbeat, 3 * SEC);
	ck_assert_uint_eq(s.force_delay, SEC);
	ck_assert_uint_eq(s.recover_batch, 1000);
	ck_assert_str_eq(s.database_url, "flag");
	settings_release(&s);

	ck_assert_str_eq(load(&s, NULL, NULL), "");
	ck_assert_uint_eq(s.concurrency, 8);
	ck_assert_str_eq(s.database_url, "env");
	settings_release(&s);

	setenv("UNSTUCK_UNSTUCK_DATABASE_URL", "ours", 1);
	ck_assert_str_eq(load(&s, NULL, NULL), "");
	ck_assert_str_eq(s.database_url, "ours");
	settings_release(&s);
}
END_TEST

/* The names that a reader of the manual would try. */
START_TEST(every_key_is_a_variable)
{
	static const char *const pairs[] = {
		"UNSTUCK_UNSTUCK_LOG_LEVEL=error", "UNSTUCK_WORKER_POLL_INTERVAL=1s", "UNSTUCK_RECOVER_MAX_RECOVERIES=9",
		"UNSTUCK_HTTP_LISTEN=unix:/x",
	};
	struct settings s;

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		putenv(story_text("%s", pairs[i]));
	ck_assert_str_eq(load(&s, NULL, NULL), "");
	ck_assert_int_eq(s.log_level, LOG_ERROR);
	ck_assert_uint_eq(s.poll_interval, SEC);
	ck_assert_uint_eq(s.max_recoveries, 9);
	ck_assert_str_eq(s.http_listen, "unix:/x");
	settings_release(&s);
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		unsetenv(story_text("%.*s", (int)strcspn(pairs[i], "="), pairs[i]));
}
END_TEST

START_TEST(an_unknown_variable_is_refused_and_the_handlers_are_not)
{
	struct settings s;

	setenv("UNSTUCK_JOB_ID", "7", 1);
	setenv("UNSTUCK_QUEUE", "q", 1);
	setenv("UNSTUCK_TRACE_ID", "t", 1);
	setenv("UNSTUCK_WORKER_EMPTY", "", 1);
	ck_assert_str_eq(load(&s, NULL, NULL), "");
	settings_release(&s);

	setenv("UNSTUCK_WORKER_CONCURENCY", "7", 1);
	ck_assert_str_eq(load(&s, NULL, NULL), "UNSTUCK_WORKER_CONCURENCY in the environment: no such setting; "
	                 "did you mean UNSTUCK_WORKER_CONCURRENCY?\n");
	settings_release(&s);
}
END_TEST

START_TEST(the_file_of_c_before_the_variable_before_the_directory)
{
	struct settings s;

	write_file(FILE_NAME, "[worker]\nconcurrency = 1\n");
	write_file("env.ini", "[worker]\nconcurrency = 2\n");
	write_file("flag.ini", "[worker]\nconcurrency = 3\n");
	ck_assert_str_eq(load(&s, NULL, NULL), "");
	ck_assert_uint_eq(s.concurrency, 1);
	settings_release(&s);
	setenv("UNSTUCK_CONFIG", "env.ini", 1);
	ck_assert_str_eq(load(&s, NULL, NULL), "");
	ck_assert_uint_eq(s.concurrency, 2);
	ck_assert_str_eq(s.path, "env.ini");
	settings_release(&s);
	ck_assert_str_eq(load(&s, "flag.ini", NULL), "");
	ck_assert_uint_eq(s.concurrency, 3);
	settings_release(&s);
}
END_TEST

START_TEST(a_file_that_was_named_must_be_readable)
{
	struct settings s;

	ck_assert_str_eq(load(&s, "none.ini", NULL), "none.ini: No such file or directory (named by -c)\n");
	settings_release(&s);
	ck_assert_str_eq(load(&s, ".", NULL), ".: Is a directory (named by -c)\n");
	settings_release(&s);
	ck_assert_str_eq(load(&s, "/dev/zero", NULL), "/dev/zero: larger than 1048576 bytes: no settings file (named by -c)\n");
	settings_release(&s);
	setenv("UNSTUCK_CONFIG", "gone.ini", 1);
	ck_assert_str_eq(load(&s, NULL, NULL), "gone.ini: No such file or directory (named by UNSTUCK_CONFIG)\n");
	settings_release(&s);
}
END_TEST

START_TEST(the_heartbeat_rule_names_who_broke_it)
{
	const struct flag_setting flags[] = { { "worker.heartbeat", "40s", "--heartbeat" }, { NULL, NULL, NULL } };
	struct settings s;

	ck_assert_str_eq(load(&s, NULL, flags), "[worker] worker_timeout = 1m (its default): must be at least 3 heartbeats: 2m, "
	                 "with --heartbeat = 40s\n");
	settings_release(&s);
	setenv("UNSTUCK_WORKER_WORKER_TIMEOUT", "29s", 1);
	ck_assert_str_eq(load(&s, NULL, NULL), "UNSTUCK_WORKER_WORKER_TIMEOUT = 29s: must be at least 3 heartbeats: 30s, "
	                 "with [worker] heartbeat = 10s\n");
	settings_release(&s);
}
END_TEST

/* Names of files that depend on the user; the program may run as root or not. */
START_TEST(places_of_the_user)
{
	struct settings s;
	bool root;

	setenv("XDG_STATE_HOME", "/state", 1);
	setenv("XDG_RUNTIME_DIR", "/run/me", 1);
	ck_assert_str_eq(load(&s, NULL, NULL), "");
	ck_assert_str_eq(s.spool_dir, geteuid() == 0 ? "/var/lib/unstuck/spool" : "/state/unstuck/spool");
	ck_assert_str_eq(s.pidfile, geteuid() == 0 ? "/run/unstuck/worker.pid" : "/run/me/unstuck/worker.pid");
	settings_release(&s);
	root = geteuid() == 0;
	ck_assert(!root || seteuid(65534) == 0);
	setenv("XDG_STATE_HOME", "relative", 1);
	unsetenv("XDG_RUNTIME_DIR");
	setenv("HOME", "/home/me", 1);
	ck_assert_str_eq(load(&s, "/dev/null", NULL), "");
	ck_assert_str_eq(s.spool_dir, "/home/me/.local/state/unstuck/spool");
	ck_assert_str_eq(s.pidfile, story_text("/tmp/unstuck-%u/worker.pid", (unsigned)geteuid()));
	settings_release(&s);
	ck_assert(!root || seteuid(0) == 0);
}
END_TEST

/* ---- numbers with units ---- */

static const struct {
	const char *text;
	uint64_t size;
} sizes[] = {
	{ "0", 0 }, { "100", 100 }, { "100B", 100 }, { "64KB", 65536 }, { "64KiB", 65536 }, { "1MB", 1 << 20 }, { "1MiB", 1 << 20 },
	{ "1GB", 1 << 30 }, { "2GiB", (uint64_t)2 << 30 }, { "1mb", 1 << 20 }, { "", 7 }, { "MB", 7 }, { "1 MB", 7 }, { "-1", 7 },
	{ "1.5MB", 7 }, { "1TB", 7 }, { "17179869184GB", 7 }, { "17179869183GB", (uint64_t)17179869183 << 30 },
	{ "99999999999999999999", 7 }, { "1MBx", 7 }, { "0x10", 7 },
};

START_TEST(size_of_text)
{
	ck_assert_uint_eq(size_parse_or(sizes[_i].text, 7), sizes[_i].size);
}
END_TEST

static const struct {
	const char *text;
	uint32_t n;		/* 0: refused */
	usec_t per;
} rates[] = {
	{ "60/m", 60, MINUTE }, { "1/s", 1, SEC }, { "1000000000/h", 1000000000, HOUR }, { "0/s", 0, 0 }, { "1000000001/s", 0, 0 },
	{ "60", 0, 0 }, { "60/d", 0, 0 }, { "60/min", 0, 0 }, { "/s", 0, 0 }, { "-1/s", 0, 0 }, { "1 /s", 0, 0 }, { "", 0, 0 },
	{ "18446744073709551617/s", 0, 0 },
};

START_TEST(rate_of_text)
{
	struct rate r = { 0, 0 };

	ck_assert_int_eq(rate_parse(rates[_i].text, &r), rates[_i].n ? 0 : -1);
	ck_assert_uint_eq(r.n, rates[_i].n);
	ck_assert_uint_eq(r.per, rates[_i].per);
}
END_TEST

static const struct {
	const char *text;
	double share;		/* below 0: refused */
} shares[] = {
	{ "0", 0 }, { "1", 1 }, { "0.5", 0.5 }, { ".25", 0.25 }, { "50%", 0.5 }, { "12.5%", 0.125 }, { "100%", 1 }, { "0%", 0 },
	{ "1.0", 1 }, { "1.1", -1 }, { "101%", -1 }, { "50", -1 }, { "", -1 }, { "%", -1 }, { ".", -1 }, { "0.", -1 }, { "-0.1", -1 },
	{ "0.5%%", -1 }, { "0,5", -1 }, { "nan", -1 }, { "1e-1", -1 }, { "0.99999999999999999999999", -1 },
};

START_TEST(share_of_text)
{
	double share = -1;

	ck_assert_int_eq(share_parse(shares[_i].text, &share), shares[_i].share < 0 ? -1 : 0);
	ck_assert_double_eq_tol(share, shares[_i].share, 1e-12);
}
END_TEST

/* ---- the table itself ---- */

START_TEST(the_table_is_sound)
{
	for (size_t i = 0; i < setting_rows_len; i++) {
		const struct setting *row = &setting_rows[i];
		bool queue = strcmp(row->section, "queue") == 0;
		struct settings s;
		struct error err = ERROR_INIT;
		void *base;

		ck_assert_ptr_eq(setting_find(row->section, row->key), row);
		ck_assert(row->help != NULL && row->help[0] != '\0');
		ck_assert_str_eq(load(&s, "/dev/null", NULL), "");
		base = queue ? (void *)settings_add_queue(&s, "q") : &s;
		if (row->def != NULL)
			ck_assert_msg(setting_put(row, base, row->def, &err) == 0, "[%s] %s: %s", row->section, row->key, err.text);
		settings_release(&s);
	}
}
END_TEST

/* What no row of its kind has by default, and all may have. */
static const char *const other_value[SETTING_KINDS] = {
	[SET_TEXT] = "Europe/Berlin", [SET_PATH] = "/q/q", [SET_SQL] = "q > 1", [SET_STATE] = "QQ", [SET_COLUMN] = "qq",
	[SET_TABLE] = "public.qq", [SET_DATABASE] = "postgresql:///qq", [SET_REDIS] = "redis://qq", [SET_LISTEN] = "127.0.0.1:17",
	[SET_COMMAND] = "q q", [SET_STATES] = "Q R", [SET_NAMES] = "QQ", [SET_COLUMNS] = "q, r", [SET_COUNT] = "17",
	[SET_TIME] = "17m", [SET_SIZE] = "17KB", [SET_BOOL] = "yes", [SET_RATE] = "17/m",
};

static void count_row(void *arg, const struct setting *row)
{
	const struct setting **told = arg;

	ck_assert_ptr_null(*told);
	*told = row;
}

/* Each row is seen by the comparison, alone; and where a running worker cannot take it over, the old value stays. */
START_TEST(a_change_of_any_setting_is_seen)
{
	for (size_t i = 0; i < setting_rows_len; i++) {
		const struct setting *row = &setting_rows[i], *told = NULL;
		bool queue = strcmp(row->section, "queue") == 0;
		const char *value = row->kind == SET_CHOICE ? row->choices[1].name : other_value[row->kind];
		struct error err = ERROR_INIT;
		struct settings a, b;
		void *x, *y;

		if (row->kind == SET_CHOICE && row->def == NULL)
			value = row->choices[0].name;
		ck_assert_str_eq(load(&a, "/dev/null", NULL), "");
		ck_assert_str_eq(load(&b, "/dev/null", NULL), "");
		x = queue ? (void *)settings_add_queue(&a, "q") : &a;
		y = queue ? (void *)settings_add_queue(&b, "q") : &b;
		if (strcmp(row->key, "log_level") == 0 || strcmp(row->key, "wake") == 0)
			value = row->choices[2].name;
		if (strcmp(row->key, "connections") == 0)
			value = "1";
		ck_assert_msg(setting_equal(row, x, y), "%s", row->key);
		ck_assert_msg(setting_put(row, y, value, &err) == 0, "%s = %s: %s", row->key, value, err.text);
		ck_assert_msg(!setting_equal(row, x, y), "%s", row->key);
		if (queue)
			ck_assert(!queue_settings_equal(x, y));
		settings_keep_fixed(&b, &a, count_row, &told);
		ck_assert_msg(told == (row->fixed ? row : NULL), "%s", row->key);
		ck_assert_msg(setting_equal(row, x, y) == row->fixed, "%s", row->key);
		settings_release(&a);
		settings_release(&b);
	}
}
END_TEST

START_TEST(the_page_of_settings_is_up_to_date)
{
	struct buf page = BUF_INIT;

	settings_markdown(&page);
	ck_assert_msg(strcmp(read_file(source_path("docs/settings.md")), buf_text(&page)) == 0,
	              "docs/settings.md is not what the table says: run make docs");
	buf_release(&page);
}
END_TEST

#define LOOP(tc, test, table) tcase_add_loop_test(tc, test, 0, ARRAY_SIZE(table))

int main(void)
{
	Suite *suite = suite_create("settings");
	TCase *loading = story_case(suite, "loading"), *bad = story_case(suite, "bad");
	TCase *sources = story_case(suite, "sources"), *values = story_case(suite, "values");

	tcase_add_test(loading, defaults_without_any_file);
	tcase_add_test(loading, every_key_of_the_programs);
	tcase_add_test(loading, every_key_of_a_queue);
	tcase_add_test(loading, on_success_over_lines_with_a_comment);
	tcase_add_loop_test(loading, long_values_arrive_whole, 0, 2);

	LOOP(bad, bad_files_are_refused_in_words, bad_files);
	tcase_add_test(bad, all_errors_are_told_at_once_in_the_order_of_the_file);
	tcase_add_test(bad, states_are_bounded);
	tcase_add_loop_test(bad, damaged_files_end_well, 1, 4);
	LOOP(bad, a_secret_is_in_no_message, secret_files);
	tcase_add_test(bad, a_secret_of_the_environment_or_a_flag_is_in_no_message);

	tcase_add_test(sources, flag_before_environment_before_file_before_default);
	tcase_add_test(sources, every_key_is_a_variable);
	tcase_add_test(sources, an_unknown_variable_is_refused_and_the_handlers_are_not);
	tcase_add_test(sources, the_file_of_c_before_the_variable_before_the_directory);
	tcase_add_test(sources, a_file_that_was_named_must_be_readable);
	tcase_add_test(sources, the_heartbeat_rule_names_who_broke_it);
	tcase_add_test(sources, places_of_the_user);

	LOOP(values, good_values_are_taken, good_values);
	LOOP(values, size_of_text, sizes);
	LOOP(values, rate_of_text, rates);
	LOOP(values, share_of_text, shares);
	tcase_add_test(values, the_table_is_sound);
	tcase_add_test(values, a_change_of_any_setting_is_seen);
	tcase_add_test(values, the_page_of_settings_is_up_to_date);
	return check_main(suite);
}
