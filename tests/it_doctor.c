/*
 * it_doctor.c - unstuckctl doctor: every finding is provoked, with many in one database at a time, and a database
 * that is well gives none.
 */
#include "story.h"

#include <glob.h>
#include <jansson.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "doctor.h"
#include "spool.h"

#define W1 "11111111-1111-4111-8111-111111111111"
#define W2 "22222222-2222-4222-8222-222222222222"
#define W3 "33333333-3333-4333-8333-333333333333"

/* ---- looking ---- */

static struct proc *doctor_at(const char *url, int status, const char *const *env, const char *const *words)
{
	const char *argv[16] = { "unstuckctl", "-d", url, "doctor", "--json" };
	size_t n = 5;

	while (*words != NULL)
		argv[n++] = *words++;
	return proc_must_exit(proc_start(&(struct proc_options){ .env = env }, argv), status, 60000);
}
#define THEN(...) ((const char *const[]){ __VA_ARGS__ __VA_OPT__(,) NULL })	/* maybe no words */
#define must_doctor(db, status, ...) (story_at(__FILE__, __LINE__), doctor_at((db)->url, status, NULL, THEN(__VA_ARGS__)))

/* A finding, its texts living as long as the test. */
struct told {
	const char *severity, *check, *what, *remedy;
};

static const char *text_at(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return story_text("%s", text != NULL ? text : "");
}

/* Ended by one without a check. */
static struct told *findings_of(struct proc *p)
{
	json_t *document = json_loads(proc_out(p), 0, NULL), *list = json_object_get(document, "findings"), *o;
	struct told *told = story_memory((json_array_size(list) + 1) * sizeof *told);
	size_t i;

	if (list == NULL)
		story_fail("no document: %s", proc_out(p));
	json_array_foreach(list, i, o)
		told[i] = (struct told){ text_at(o, "severity"), text_at(o, "check"), text_at(o, "what"), text_at(o, "remedy") };
	json_decref(document);
	return told;
}

/* A finding of this check whose texts hold these parts. Gives its remedy. */
static const char *finding_in(struct proc *p, const char *severity, const char *check, const char *what, const char *remedy)
{
	for (const struct told *f = findings_of(p); f->check != NULL; f++)
		if (strcmp(f->severity, severity) == 0 && strcmp(f->check, check) == 0 && strstr(f->what, what) != NULL
		    && strstr(f->remedy, remedy) != NULL)
			return f->remedy;
	story_fail("no %s of %s says \"%s\" with \"%s\" in %s", severity, check, what, remedy, proc_out(p));
}
#define must_find(p, severity, check, what, remedy) \
	(story_at(__FILE__, __LINE__), finding_in(p, severity, check, what, remedy))

/* check NULL: of any. */
static size_t count_in(struct proc *p, const char *check)
{
	size_t n = 0;

	for (const struct told *f = findings_of(p); f->check != NULL; f++)
		n += check == NULL || strcmp(f->check, check) == 0;
	return n;
}

static void must_be_well(struct proc *p)
{
	if (count_in(p, NULL) != 0)
		story_fail("found: %s", proc_out(p));
}

/* ---- the server of the tests, as a real one would be ---- */

static void reload(struct testdb *db, const char *name, const char *value)
{
	must_sql(db, "ALTER SYSTEM SET %s = %s", name, value);
	must_sql(db, "SELECT pg_reload_conf()");
	must_become(db, story_text("SHOW %s", name), value, 10000);
}

static struct testdb *must_have_durable_db(bool schema)
{
	struct testdb *db = schema ? must_have_db() : must_have_empty_db();

	reload(db, "fsync", "on");
	reload(db, "full_page_writes", "on");
	reload(db, "autovacuum", "on");
	return db;
}

static const char films[] =
	"CREATE TABLE films (id bigserial PRIMARY KEY, state text, at timestamptz DEFAULT now());"
	"INSERT INTO films (state) SELECT 'READY' FROM generate_series(1, 50);"
	"CREATE INDEX ON films (id) WHERE state = 'READY'; CREATE INDEX ON films (at) WHERE state = 'PROCESSING'";

#define FILMS "[queue films]\ntable = public.films\nstatus = state\nupdated_at = at\nready = READY\nprocessing = PROCESSING\n" \
	"done = DONE\nfailed = FAILED\nreset_to = READY\nhandler = /bin/true\n"

/* seen_n: NULL, or the 3 of its last beat: then it was watched for long enough. */
static void add_worker(struct testdb *db, const char *id, const char *version, const char *beat_age, const char *seen_n)
{
	must_sql(db, "INSERT INTO unstuck.workers (worker_id, host, pid, version, heartbeat_s, timeout_s, beat_at, beat_n, seen_n, seen_at)"
	             " VALUES ('%s', 'far', 7, '%s', 0.1, 60, now() - interval '%s', 3, %s, now() - interval '5 minutes')", id, version,
	         beat_age, seen_n);
}

/* ---- the stories ---- */

START_TEST(a_database_that_is_well_gives_no_finding)
{
	struct testdb *db = must_have_durable_db(true);

	must_sql(db, "%s", films);
	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 50)");
	add_worker(db, W1, UNSTUCK_VERSION, "0s", "NULL");
	write_file("unstuck.ini", "[queue mail]\nhandler = /bin/true\n" FILMS);
	must_be_well(must_doctor(db, 0));
	struct proc *p = must_run(0, NULL, "unstuckctl", "-d", db->url, "doctor", "-v");
	ck_assert(strstr(proc_out(p), "ok       clock: ") != NULL);
	ck_assert(strstr(proc_out(p), "\n0 errors, 0 warnings, 0 notes\n") != NULL);
}
END_TEST

START_TEST(the_table_of_a_queue)
{
	struct testdb *db = must_have_durable_db(true);
	struct proc *p;

	must_sql(db, "CREATE TABLE films (id serial PRIMARY KEY, state text, at timestamp);"
	             "CREATE TABLE no_time (id smallint PRIMARY KEY, state text)");
	must_sql(db, "INSERT INTO films VALUES (1, 'READY', now()), (2, 'PROCESSING', now() - interval '3 hours'), (3, 'PROCESSING', NULL),"
	             " (4, 'PROCESSING', now() + interval '1 day'); SELECT setval('films_id_seq', 2000000000);"
	             "INSERT INTO no_time VALUES (32000, 'READY')");
	must_sql(db, "INSERT INTO unstuck.claims (source, job_id, queue, claim_id, state, claimed_at, ended_at)"
	             " SELECT 'public.films', g::text, 'films', g, 'DONE', now() - interval '20 minutes', now() FROM generate_series(100, 150) g;"
	             "INSERT INTO unstuck.jobs (queue, status, claimed_at, finished_at)"
	             " SELECT 'quick', 'COMPLETED', now() - interval '45s', now() FROM generate_series(1, 100);"
	             "INSERT INTO unstuck.jobs (queue, status, claimed_at, finished_at)"
	             " SELECT 'slow', 'COMPLETED', now() - interval '2h', now() FROM generate_series(1, 100)");
	add_worker(db, W1, UNSTUCK_VERSION, "0s", "NULL");
	write_file("unstuck.ini", FILMS "order_by = id\n[queue no_time]\ntable = no_time\nstatus = state\nready = READY\nprocessing = P\n"
	           "done = D\nfailed = F\nreset_to = READY\nhandler = /bin/true\n"
	           "[queue quick]\nhandler = /bin/true\ntimeout = 50s\n[queue slow]\nhandler = /bin/true\ntimeout = 1d\n"
	           "[queue gone]\ntable = flims\nstatus = state\nready = READY\nprocessing = P\ndone = D\nfailed = F\nreset_to = READY\n"
	           "handler = /bin/true\n[recover]\ntimeout = 1h\n");
	p = must_doctor(db, 1);
	const char *claim = must_find(p, "warning", "table", "rows in READY in their order: every claim reads or sorts many rows of public.films",
	                              "CREATE INDEX CONCURRENTLY ON public.films (id) WHERE \"state\" = 'READY'");
	const char *recover = must_find(p, "warning", "table", "no index finds the rows in PROCESSING: recover reads all of public.films",
	                                "CREATE INDEX CONCURRENTLY ON public.films (\"at\") WHERE \"state\" = 'PROCESSING'");
	must_find(p, "warning", "table", "column at of public.films has no time zone; UTC is assumed", "set timezone to");
	must_find(p, "warning", "table", "1 rows in PROCESSING have at in the future; is timezone not UTC", "");
	must_find(p, "warning", "table", "public.no_time has no updated_at", "ALTER TABLE public.no_time ADD COLUMN updated_at timestamptz");
	must_find(p, "error", "table", "there is no table flims; is it films?", "correct [queue gone] in ./unstuck.ini");
	const char *ids = must_find(p, "warning", "ids", "id of public.films has come to 2000000000 of 2147483647",
	                            "ALTER SEQUENCE public.films_id_seq AS bigint;");
	must_find(p, "error", "ids", "id of public.no_time has come to 32000 of 32767", "TYPE bigint;");
	must_find(p, "error", "stuck", "stuck: 1 (1 timeout), the oldest for 108", "unstuck-recover -c './unstuck.ini' --dry-run 'films'");
	const char *ageless = must_find(p, "warning", "ageless", "rows in PROCESSING without at, of no known worker, that are never recovered: 1",
	                                "UPDATE public.films SET \"at\" = now() AT TIME ZONE 'UTC' WHERE");
	must_find(p, "warning", "timeouts", "99 % of 51 finished jobs took up to 1200.0 s, and timeout = 15m ends them",
	          "timeout = 40m in [queue films]");
	must_find(p, "warning", "timeouts", "took up to 45.0 s, and timeout = 50s ends them", "timeout = 1m30s in [queue quick]");
	ck_assert_uint_eq(count_in(p, "timeouts"), 2);
	ck_assert_uint_eq(count_in(must_doctor(db, 1, "no_time"), "stuck"), 0);
	must_run(64, NULL, "unstuckctl", "-d", db->url, "doctor", "films", "nowhere");

	/* The remedies help. */
	must_sql(db, "%s", claim);
	must_sql(db, "%s", recover);
	must_sql(db, "%s", ageless);
	must_sql(db, "%.*s", (int)(strstr(ids, "(rewrites") - ids), ids);
	p = must_doctor(db, 1, "films");
	must_find(p, "error", "stuck", "stuck: 1 ", "");
	ck_assert_uint_eq(count_in(p, "ids") + count_in(p, "ageless"), 0);
	ck_assert_ptr_null(strstr(proc_out(p), "CREATE INDEX"));
}
END_TEST

START_TEST(recover_that_would_take_a_row_too_early)
{
	struct testdb *db = must_have_durable_db(true);

	must_sql(db, "INSERT INTO unstuck.jobs (queue, status, claimed_at, finished_at)"
	             " SELECT 'slow', 'COMPLETED', now() - interval '2h', now() FROM generate_series(1, 100)");
	write_file("unstuck.ini", "[recover]\ntimeout = 1h\n[queue slow]\nhandler = /bin/true\ntimeout = 3h\n");
	must_be_well(must_doctor(db, 0));	/* the queue's own timeout is the age */
	must_sql(db, "%s", films);
	must_sql(db, "INSERT INTO unstuck.claims (source, job_id, queue, claim_id, state, claimed_at, ended_at)"
	             " SELECT 'public.films', g::text, 'films', g, 'DONE', now() - interval '5 minutes', now() FROM generate_series(100, 150) g");
	write_file("unstuck.ini", "[recover]\ntimeout = 4m\n" FILMS);
	must_find(must_doctor(db, 1), "warning", "timeouts", "took up to 300.0 s, and recover takes a row that no worker holds for stuck after 4m",
	          "timeout = 10m in [recover]");
}
END_TEST

/* Runs what each round tells until nothing is left, as a role that begins with nothing. */
START_TEST(the_remedies_for_rights_are_enough)
{
	struct testdb *db = must_have_durable_db(true);
	const char *user = story_text("%s_user", db->name);
	const char *url = story_text("postgresql:///%s?host=%s&user=%s", db->name, server_dir(), user);
	struct proc *p = NULL;
	bool left = true;

	must_sql(db, "CREATE ROLE %s LOGIN CONNECTION LIMIT 1; CREATE SCHEMA app; CREATE TABLE app.films (\"Id\" bigserial PRIMARY KEY, state text,"
	             " at timestamptz, secret text); CREATE TABLE app.results (id bigint)", user);
	must_sql(db, "CREATE INDEX ON app.films (\"Id\") WHERE state = 'READY'; CREATE INDEX ON app.films (at) WHERE state = 'PROCESSING'");
	must_sql(db, "INSERT INTO unstuck.jobs (queue) VALUES ('mail')");
	write_file("unstuck.ini", "[queue mail]\nhandler = /bin/true\n[queue films]\ntable = app.films\nid = \"Id\"\nstatus = state\nupdated_at = at\n"
	           "payload = state\nwhere = secret IS NULL\nready = READY\nprocessing = PROCESSING\ndone = DONE\nfailed = FAILED\nreset_to = READY\n"
	           "handler = /bin/true\n");
	for (int round = 0; left && round < 8; round++) {
		p = proc_start(NULL, WORDS("unstuckctl", "-d", url, "doctor", "--json"));
		wait_exit(p, 60000);
		left = false;
		for (const struct told *f = findings_of(p); f->check != NULL; f++)
			if (strncmp(f->remedy, "GRANT ", 6) == 0 || strncmp(f->remedy, "ALTER ROLE", 10) == 0) {
				must_sql(db, "%s", f->remedy);
				left = true;
			}
		if (round == 0) {
			must_find(p, "error", "schema", "this user may not use schema unstuck", "GRANT unstuck_worker TO");
			must_find(p, "error", "table", "lacks USAGE on schema app", "GRANT USAGE ON SCHEMA");
			must_find(p, "note", "hidden", "is hidden from user", "GRANT pg_read_all_stats TO");
			must_find(p, "warning", "connections", story_text("1 of 1 connections of user %s", user), "CONNECTION LIMIT 2;");
			must_sql(db, "ALTER ROLE %s CONNECTION LIMIT 20", user);
		} else if (round == 1) {
			must_find(p, "error", "table", "lacks on app.films: SELECT (\"Id\", state, at), UPDATE (state, at)",
			          "GRANT SELECT (\"Id\", state, at), UPDATE (state, at) ON app.films TO");
		} else if (round == 2) {
			must_find(p, "error", "table", "where and order_by read what user", "GRANT SELECT ON app.films TO");
		}
	}
	p = doctor_at(url, 1, NULL, THEN());
	ck_assert_uint_eq(count_in(p, NULL), 1);
	must_find(p, "warning", "waiting", "jobs of queue mail are due, and no worker is registered", "unstuck-worker -c './unstuck.ini' run");

	/* A role that is no member: what it lacks by name. */
	must_sql(db, "REVOKE unstuck_worker FROM %s; GRANT unstuck_read TO %s; ALTER ROLE unstuck_worker RENAME TO nobodys", user, user);
	p = doctor_at(url, 1, NULL, THEN());
	must_sql(db, "ALTER ROLE nobodys RENAME TO unstuck_worker");
	must_find(p, "error", "permissions", "lacks INSERT on unstuck.workers", "GRANT DELETE ON unstuck.workers TO");
	must_sql(db, "DROP OWNED BY %s; DROP ROLE %s", user, user);
}
END_TEST

START_TEST(the_schema)
{
	struct testdb *db = must_have_durable_db(false);
	struct proc *p;

	must_sql(db, "CREATE TABLE films (id bigint PRIMARY KEY, state text, at timestamptz)");
	write_file("unstuck.ini", "[queue mail]\nhandler = /bin/true\n" FILMS);
	p = must_doctor(db, 1);
	must_find(p, "error", "schema", "there is no schema unstuck in database", "unstuckctl init");
	must_find(p, "warning", "table", "no index finds the rows in PROCESSING", "CREATE INDEX CONCURRENTLY");	/* others went on */
	must_run(0, NULL, "unstuckctl", "-d", db->url, "init");
	must_sql(db, "UPDATE unstuck.schema_version SET version = 1");
	must_find(must_doctor(db, 1), "error", "schema", "version 1, this program needs", "unstuckctl init");
	must_sql(db, "UPDATE unstuck.schema_version SET version = 99");
	must_find(must_doctor(db, 1), "error", "schema", "version 99, this program knows", "update the programs");
}
END_TEST

START_TEST(the_server)
{
	struct testdb *db = must_have_durable_db(true);
	PGconn *old = testdb_connect(db), *many[10];
	struct proc *p;

	must_sql(db, "ALTER SYSTEM SET max_prepared_transactions = 5");
	must_sql(db, "ALTER SYSTEM SET wal_level = 'logical'");
	must_sql(db, "ALTER SYSTEM SET superuser_reserved_connections = 90");	/* of 100 */
	PQfinish(old);
	server_stop();
	server_start();
	must_sql(db, "SELECT pg_create_logical_replication_slot('lost', 'test_decoding')");	/* waits for transactions to end */
	reload(db, "fsync", "off");
	reload(db, "full_page_writes", "off");
	reload(db, "autovacuum", "off");
	must_sql(db, "ALTER DATABASE %s SET synchronous_commit = off; ALTER DATABASE %s SET default_transaction_read_only = on;"
	             "ALTER DATABASE %s CONNECTION LIMIT 10", db->name, db->name, db->name);
	old = testdb_connect(db);
	PQclear(PQexec(old, "BEGIN READ WRITE; CREATE TABLE a (); PREPARE TRANSACTION 'it''s'"));
	PQclear(PQexec(old, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 'who  holds it'"));
	for (int i = 0; i < 8; i++)
		many[i] = testdb_connect(db);
	p = must_doctor(db, 1, "--min-age", "0");
	must_find(p, "error", "durability", "fsync is off", "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf();");
	must_find(p, "error", "durability", "full_page_writes is off", "ALTER SYSTEM SET full_page_writes = on;");
	must_find(p, "warning", "durability", "synchronous_commit is off for user postgres", "IN DATABASE");
	must_find(p, "error", "writable", "transactions of user postgres in this database are read-only",
	          "SET default_transaction_read_only = off;");
	must_find(p, "warning", "connections", story_text("of 10 connections of database %s", db->name), "CONNECTION LIMIT 20;");
	must_find(p, "warning", "connections", "of 10 connections of the server", "ALTER SYSTEM SET max_connections = 200; then restart");
	const char *end = must_find(p, "warning", "xmin", "idle in transaction) is ", "SELECT pg_terminate_backend(");
	must_find(p, "warning", "xmin", "SELECT 'who holds it'", story_text("%d", PQbackendPID(old)));
	const char *prepared = must_find(p, "warning", "xmin", "prepared transaction it's of user postgres", "ROLLBACK PREPARED 'it''s';");
	const char *slot = must_find(p, "warning", "xmin", "nobody reads replication slot lost; it holds back vacuum of the catalogs",
	                             "SELECT pg_drop_replication_slot('lost');");
	must_find(p, "warning", "vacuum", "autovacuum is off for the whole server", "ALTER SYSTEM SET autovacuum = on;");
	ck_assert_uint_eq(count_in(must_doctor(db, 1, "--min-age", "1h"), "xmin"), 1);	/* a slot has no age */

	for (int i = 0; i < 8; i++)
		PQfinish(many[i]);
	must_sql(db, "ALTER DATABASE %s RESET ALL; ALTER DATABASE %s CONNECTION LIMIT -1", db->name, db->name);
	must_sql(db, "%s", end);
	must_sql(db, "%s", prepared);
	must_sql(db, "%s", slot);
	PQfinish(old);
	reload(db, "fsync", "on");
	reload(db, "full_page_writes", "on");
	reload(db, "autovacuum", "on");
	must_become(db, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'", "1", 20000);
	must_be_well(must_doctor(db, 0, "--min-age", "0"));

	/* The same server as a standby of nobody. */
	must_sql(db, "ALTER SYSTEM RESET superuser_reserved_connections");
	const char *signal_file = story_text("%s/data/standby.signal", server_dir());
	server_stop();
	must_run(0, NULL, "sh", "-c", story_text(">%s && chmod 666 %s", signal_file, signal_file));
	server_start();
	p = must_doctor(db, 1);
	must_find(p, "error", "writable", "this server is a standby", "target_session_attrs=read-write");
	server_stop();
	must_run(0, NULL, "rm", signal_file);
	server_start();
}
END_TEST

START_TEST(a_server_that_is_too_old)
{
	struct ctl ctl = { .err = ERROR_INIT };
	struct doctor d = { .ctl = &ctl, .check = "server" };

	doctor_judge_version(&d, 130000);
	ck_assert_uint_eq(d.found_len, 0);
	doctor_judge_version(&d, 120022);
	ck_assert_uint_eq(d.found_len, 1);
	ck_assert_str_eq(d.found[0].what, "the server is PostgreSQL 12, older than the oldest that is supported, 13");
	ck_assert_str_eq(d.found[0].remedy, "upgrade it with pg_upgrade");
	free(d.found[0].what);
	free(d.found[0].remedy);
	free(d.found);
}
END_TEST

START_TEST(the_work)
{
	struct testdb *db = must_have_durable_db(true);
	struct proc *p;

	/* Together: autovacuum must not come in between. */
	must_sql(db, "ALTER TABLE unstuck.claims SET (autovacuum_enabled = false); CREATE TABLE films (id bigint PRIMARY KEY, state text, at timestamptz)"
	             " WITH (autovacuum_enabled = off); CREATE INDEX ON films (id) WHERE state = 'READY';"
	             "CREATE INDEX ON films (at) WHERE state = 'PROCESSING'; INSERT INTO films SELECT g, 'DONE' FROM generate_series(1, 12000) g");
	must_sql(db, "DELETE FROM films; SELECT pg_stat_force_next_flush()");
	must_become(db, "SELECT (n_dead_tup > 10000)::text FROM pg_stat_all_tables WHERE relname = 'films'", "true", 20000);
	add_worker(db, W1, "0.0.1", "0s", "NULL");
	add_worker(db, W2, UNSTUCK_VERSION, "10min", "NULL");
	add_worker(db, W3, UNSTUCK_VERSION, "10min", "3");
	must_sql(db, "SELECT unstuck.enqueue('mails') FROM generate_series(1, 1200); SELECT unstuck.enqueue('held') FROM generate_series(1, 3);"
	             "UPDATE unstuck.jobs SET status = 'PROCESSING', worker_id = '" W1 "', claimed_at = now() WHERE id = 1201;"
	             "INSERT INTO unstuck.batches VALUES ('mail', 'aaaaaaaa-0000-4000-8000-000000000000', 1, '{1}');"
	             "INSERT INTO unstuck.claims (source, job_id, queue, claim_id, worker_id, state)"
	             " VALUES ('public.gone', '1', 'gone', 1, 'aaaaaaaa-0000-4000-8000-000000000000', 'ACTIVE')");
	must_sql(db, "INSERT INTO unstuck.jobs (queue, status, worker_id, claimed_at)"
	             " VALUES ('mail', 'PROCESSING', 'aaaaaaaa-0000-4000-8000-000000000000', now()), ('mail', 'PROCESSING', '" W3 "', now()),"
	             " ('mail', 'PROCESSING', '" W2 "', now()), ('mail', 'COMPLETED', NULL, NULL), ('mail', 'FAILED', NULL, NULL);"
	             "INSERT INTO unstuck.late_results (queue, source, job_id, claim_id, worker_id, reason, raw)"
	             " SELECT 'mail', 'unstuck.jobs', id::text, 1, '" W1 "', 'fenced', '1' FROM unstuck.jobs WHERE status IN ('COMPLETED', 'FAILED')");
	write_file("unstuck.ini", "[queue mail]\nhandler = /bin/true\n" FILMS);
	p = must_doctor(db, 1);
	must_find(p, "warning", "workers", "worker " W3 " on far (pid 7) is dead: silent for 6", "unstuck-recover -c './unstuck.ini' --yes");
	must_find(p, "warning", "workers", "worker " W2 " on far (pid 7) is suspected dead: silent for 6", "look at far");
	ck_assert_uint_eq(count_in(p, "workers"), 2);
	must_find(p, "note", "versions", "worker " W1 " on far (pid 7) is version 0.0.1, this program " UNSTUCK_VERSION, "update");
	must_find(p, "warning", "waiting", "queue mails has jobs waiting (more than 1000), and neither these settings nor a worker serve it; is it mail?",
	          "add [queue mails]");
	ck_assert_uint_eq(count_in(p, "waiting"), 1);	/* held is another worker's */
	must_find(p, "error", "stuck", "stuck: 3 (2 worker_lost, 1 worker_suspect)", "--dry-run 'mail'");
	must_find(p, "note", "leftovers", "claims that are ACTIVE of workers that are gone: 1", "DELETE FROM unstuck.claims");
	must_find(p, "note", "leftovers", "rows of unstuck.batches of workers that are gone: 1", "unstuck-recover --yes");
	must_find(p, "warning", "late", "whose jobs have no other: 1", "unstuckctl late");
	must_find(p, "warning", "vacuum", "autovacuum is off for unstuck.claims", "ALTER TABLE unstuck.claims RESET (autovacuum_enabled);");
	const char *vacuum = must_find(p, "warning", "vacuum", "autovacuum is behind: public.films has 12000 dead rows", "VACUUM (ANALYZE) public.films;");
	must_sql(db, "%s", vacuum);
	must_sql(db, "%s", must_find(p, "warning", "vacuum", "autovacuum is off for public.films", "RESET"));
	must_sql(db, "DELETE FROM unstuck.workers WHERE worker_id <> '" W1 "'; SELECT unstuck.enqueue('mail')");
	p = must_doctor(db, 1);
	ck_assert_uint_eq(count_in(p, "workers"), 0);
	ck_assert_uint_eq(count_in(p, "vacuum"), 1);
	must_sql(db, "INSERT INTO unstuck.jobs (queue) SELECT 'q' || g FROM generate_series(1, 30) g; INSERT INTO unstuck.workers (worker_id, host,"
	             " pid, version, heartbeat_s, timeout_s, beat_at) SELECT gen_random_uuid(), 'h', 1, '1', 1, 1, '2020-01-01' FROM generate_series(1, 25)");
	p = must_doctor(db, 1);
	must_find(p, "warning", "waiting", "more queues that nobody serves: 11", "unstuckctl -c './unstuck.ini' queues");
	must_find(p, "warning", "workers", "more workers that are silent: 5", "unstuckctl -c './unstuck.ini' workers");
}
END_TEST

/* Neither doctor nor top reads it for what is stuck; both say what is missing. */
START_TEST(a_large_table_is_left_alone_until_it_has_its_index)
{
	struct testdb *db = must_have_durable_db(true);
	struct proc *p;

	must_sql(db, "CREATE TABLE films (id bigint PRIMARY KEY, state text, at timestamptz, pad text); ALTER TABLE films ALTER pad SET STORAGE PLAIN;"
	             "INSERT INTO films SELECT g, 'READY', now(), repeat('x', 7000) FROM generate_series(1, 1100) g;"
	             "UPDATE films SET state = 'PROCESSING', at = now() - interval '2h' WHERE id = 7; ANALYZE films;"
	             "CREATE INDEX ON films (id) WHERE state = 'READY'");
	write_file("unstuck.ini", FILMS);
	p = must_doctor(db, 1);
	const char *index = must_find(p, "warning", "table", "no index finds the rows in PROCESSING", "CREATE INDEX");
	if (count_in(p, NULL) != 1)
		story_fail("found more: %s", proc_out(p));
	p = must_run(0, NULL, "unstuckctl", "-d", db->url, "top");
	ck_assert_ptr_nonnull(strstr(proc_out(p), "\n  no index finds the rows in PROCESSING: recover reads all of public.films; see unstuckctl doctor\n"));
	must_sql(db, "%s", index);
	must_find(must_doctor(db, 1), "error", "stuck", "stuck: 1 (1 timeout)", "unstuck-recover");
	/* Another index that serves claims, while nearly all rows are ready. */
	must_sql(db, "DROP INDEX films_id_idx; CREATE INDEX ON films (state, id)");
	ck_assert_uint_eq(count_in(must_doctor(db, 1), "table"), 0);
	must_sql(db, "DROP INDEX films_state_id_idx; CREATE INDEX ON films (state)");
	must_find(must_doctor(db, 1), "warning", "table", "no index finds the rows in READY in their order", "CREATE INDEX");
}
END_TEST

/* Every question waits for half a second only, and one that was not answered is a finding. */
START_TEST(a_locked_table_holds_nobody_up)
{
	struct testdb *db = must_have_durable_db(true);
	PGconn *other = testdb_connect(db);
	struct proc *p;

	must_sql(db, "%s", films);
	write_file("unstuck.ini", FILMS);
	PQclear(PQexec(other, "BEGIN; LOCK TABLE films"));
	p = must_doctor(db, 1);
	must_find(p, "warning", "table", "could not be looked at: canceling statement due to lock timeout", "pg_stat_activity");
	PQclear(PQexec(other, "ROLLBACK"));
	must_be_well(must_doctor(db, 0));
	PQfinish(other);
}
END_TEST

/* ---- this host ---- */

static struct spool *must_open_spool(void)
{
	struct error err = ERROR_INIT;
	struct spool *s = spool_open(&(struct spool_options){ .dir = test_path("spool") }, &err);

	if (s == NULL)
		story_fail("%s", err.text);
	return s;
}

/* One result of a process that is gone. */
static void leave_a_result(void)
{
	struct spool *s = must_open_spool();
	struct error err = ERROR_INIT;
	struct spool_record r = { .kind = SPOOL_DONE, .source = "unstuck.jobs", .queue = "mail", .job_id = "1", .claim_id = 1,
	                          .worker_id = W1, .at = clock_wall(), .bytes = "{}", .bytes_len = 2 };

	spool_seal(s, &r);
	if (spool_flush(s, &err) < 0)
		story_fail("%s", err.text);
	spool_close(s);
}

START_TEST(the_spool_is_told_without_a_database_too)
{
	struct testdb *db = must_have_durable_db(true);
	struct spool *alive;
	struct proc *p;

	leave_a_result();
	must_run(0, NULL, "sh", "-c", "for f in spool/*/segment.*; do head -c 5000 /dev/urandom >>$f; done");
	alive = must_open_spool();
	p = must_doctor(db, 1);
	must_find(p, "warning", "spool", story_text("results of workers that are gone wait in %s on this host: 1", test_path("spool")),
	          "unstuckctl spool replay");
	must_find(p, "warning", "spool", "are damaged", "unstuckctl spool");
	p = doctor_at("postgresql:///x?host=/nowhere", 69, NULL, THEN());
	must_find(p, "warning", "spool", "on this host: 1", "replay");
	spool_close(alive);
	ck_assert_int_eq(chmod("spool", 0777), 0);
	must_find(must_doctor(db, 1), "warning", "spool", "the spool could not be looked at: ", "spool_dir in [worker]");
}
END_TEST

START_TEST(a_disk_that_is_nearly_full)
{
	struct testdb *db = must_have_durable_db(true);
	struct proc *p;

	mkdir("spool", 0700);
	mkdir("few", 0700);
	/* In a mount table of this test's own. */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "spool", "tmpfs", 0, "size=10m,mode=0700") < 0 || mount("tmpfs", "few", "tmpfs", 0, "size=200m,nr_inodes=100,mode=0700") < 0) {
		printf("skipped: a full disk (cannot mount)\n");
		return;
	}
	p = must_doctor(db, 1);
	must_find(p, "warning", "disk", "10 MB are free for the spool", "free space on that disk");
	p = doctor_at(db->url, 1, WORDS(story_text("UNSTUCK_WORKER_SPOOL_DIR=%s/not/yet", test_path("few"))), THEN());
	must_find(p, "warning", "disk", "inodes are free for the spool", "remove small files");
}
END_TEST

static const char *faketime_library(void)
{
	glob_t found;
	const char *path = NULL;

	if (glob("/usr/lib/*/faketime/libfaketime.so.1", 0, NULL, &found) == 0)
		path = story_text("%s", found.gl_pathv[0]);
	globfree(&found);
	return path;
}

START_TEST(a_clock_that_is_wrong)
{
	struct testdb *db = must_have_durable_db(true);
	const char *asan = getenv("ASAN_OPTIONS"), *preload;
	struct proc *p;

	if (faketime_library() == NULL) {
		printf("skipped: a wrong clock (no libfaketime)\n");
		return;
	}
	preload = story_text("LD_PRELOAD=%s", faketime_library());
	asan = story_text("ASAN_OPTIONS=%s:verify_asan_link_order=0", asan != NULL ? asan : "");
	p = doctor_at(db->url, 1, WORDS(preload, asan, "FAKETIME=+1h"), THEN());
	must_find(p, "warning", "clock", "ahead of the server's", "timedatectl set-ntp true");
	p = doctor_at(db->url, 1, WORDS(preload, asan, "FAKETIME=-1h"), THEN());
	must_find(p, "warning", "clock", "behind the server's", "timedatectl");
	must_be_well(doctor_at(db->url, 0, WORDS(preload, asan, "FAKETIME=+1s"), THEN()));
}
END_TEST

/* ---- a pooler ---- */

static const char *must_have_pooler(struct testdb *db, const char *mode)
{
	const char *dir = story_text("%s/pooler-%s", keeper_dir(), mode);

	must_run(0, NULL, "sh", "-c", story_text("rm -rf %s && mkdir %s && chmod 777 %s", dir, dir, dir));
	write_filef("pgbouncer.ini", "[databases]\n* = host=%s user=postgres\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = %s\nlisten_port = 6432\n"
	            "auth_type = any\npool_mode = %s\ndefault_pool_size = 3\nmin_pool_size = 3\nignore_startup_parameters = extra_float_digits\n"
	            "server_round_robin = 1\nlogfile =\npidfile =\n", server_dir(), dir, mode);
	must_run(0, NULL, "cp", test_path("pgbouncer.ini"), story_text("%s/p.ini", dir));
	struct proc *p = getuid() == 0
		? must_start(NULL, "setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--inh-caps=-all",
		             "pgbouncer", story_text("%s/p.ini", dir))
		: must_start(NULL, "pgbouncer", story_text("%s/p.ini", dir));
	must_say(p, "process up");
	return story_text("postgresql:///%s?host=%s&port=6432&user=postgres", db->name, dir);
}

START_TEST(a_pooler_that_listens_for_nobody)
{
	struct testdb *db = must_have_durable_db(true);
	const char *url = must_have_pooler(db, "transaction");

	must_find(doctor_at(url, 1, NULL, THEN()), "warning", "pooler", "LISTEN does not work", "wake = poll in [worker]");
	must_be_well(doctor_at(url, 0, WORDS("UNSTUCK_WORKER_WAKE=poll"), THEN()));
	must_be_well(doctor_at(must_have_pooler(db, "session"), 0, NULL, THEN()));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("doctor");
	TCase *well = story_case(s, "well"), *server = story_case(s, "server"), *queues = story_case(s, "queues"),
	      *work = story_case(s, "work"), *host = story_case(s, "host"), *pooler = story_case(s, "pooler");

	tcase_add_test(well, a_database_that_is_well_gives_no_finding);
	tcase_add_test(server, the_server);
	tcase_add_test(server, a_server_that_is_too_old);
	tcase_add_test(server, the_schema);
	tcase_add_test(queues, the_table_of_a_queue);
	tcase_add_test(queues, recover_that_would_take_a_row_too_early);
	tcase_add_test(queues, the_remedies_for_rights_are_enough);
	tcase_add_test(queues, a_large_table_is_left_alone_until_it_has_its_index);
	tcase_add_test(queues, a_locked_table_holds_nobody_up);
	tcase_add_test(work, the_work);
	tcase_add_test(host, the_spool_is_told_without_a_database_too);
	tcase_add_test(host, a_disk_that_is_nearly_full);
	tcase_add_test(host, a_clock_that_is_wrong);
	tcase_add_test(pooler, a_pooler_that_listens_for_nobody);
	return check_main(s);
}
