/*
 * queue_story.c - mappings and their statements for stories; the kinds of tables.
 */
#include "queue_story.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define STATES "ready = PENDING\nprocessing = PROCESSING\ndone = COMPLETED\nfailed = FAILED\n"
/* How a mapped table shows itself in "seen". */
#define SEEN(table, id, status, result) \
	"CREATE VIEW seen AS SELECT t." id "::text AS id, t." status "::text AS status, k.attempts, k.failures, k.recoveries," \
	" k.claim_id, k.worker_id, k.last_error, t." result "::text AS result, k.state" \
	" FROM " table " AS t LEFT JOIN unstuck.claims AS k ON k.job_id = t." id "::text;"

const struct kind kinds[] = {
	{
		.name = "own",
		.ini = "[queue q]\nhandler = /bin/cat\nmax_attempts = 3\n",
		.setup = "CREATE VIEW seen AS SELECT j.id::text, j.status, j.attempts, j.failures, j.recoveries, j.claim_id,"
		         " j.worker_id, j.last_error, j.result::text FROM unstuck.jobs AS j",
		.add = "INSERT INTO unstuck.jobs (queue, payload) SELECT 'q', jsonb_build_object('n', g) FROM g",
		.key = "g::text",
	}, {
		.name = "bigint key",
		.ini = "[queue q]\nhandler = /bin/cat\nmax_attempts = 3\ntable = videos\nresult = result\n" STATES,
		.setup = "CREATE TABLE videos (id bigint PRIMARY KEY, status text, updated_at timestamptz, result jsonb);"
		         SEEN("videos", "id", "status", "result"),
		.add = "INSERT INTO videos SELECT g, 'PENDING', now() FROM g",
		.key = "g::text",
	}, {
		.name = "odd names, domain key, enum status, local time",
		.ini = "[queue q]\nhandler = /bin/cat\nmax_attempts = 3\ntable = \"Odd \"\"Schema\"\"\".\"Order\"\nid = \"sélect me\"\n"
		       "status = \"user\"\nupdated_at = \"Changed at\"\ntimezone = Europe/Vienna\nresult = select\n"
		       "payload = \"sélect me\" o p t k\n" STATES,
		.setup = "CREATE SCHEMA \"Odd \"\"Schema\"\"\";"
		         "CREATE TYPE \"Odd \"\"Schema\"\"\".\"State\" AS ENUM ('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED');"
		         "CREATE DOMAIN \"Odd \"\"Schema\"\"\".\"Key\" AS text CHECK (VALUE <> '');"
		         "CREATE TABLE \"Odd \"\"Schema\"\"\".\"Order\" (\"sélect me\" \"Odd \"\"Schema\"\"\".\"Key\" PRIMARY KEY,"
		         " \"user\" \"Odd \"\"Schema\"\"\".\"State\", \"Changed at\" timestamp, \"select\" json,"
		         " t int, o int, p int, k int, c int, m int, l int);"
		         SEEN("\"Odd \"\"Schema\"\"\".\"Order\"", "\"sélect me\"", "\"user\"", "\"select\""),
		.add = "INSERT INTO \"Odd \"\"Schema\"\"\".\"Order\" SELECT 'k''ey \"' || lpad(g::text, 6, '0') || '\\{}', 'PENDING',"
		       " now() AT TIME ZONE 'Europe/Vienna' FROM g",
		.key = "'k''ey \"' || lpad(g::text, 6, '0') || '\\{}'",
	}, {
		.name = "uuid key, varchar status, no updated_at",
		.ini = "[queue q]\nhandler = /bin/cat\nmax_attempts = 3\ntable = public.tasks\nid = token\nresult = result\n" STATES,
		.setup = "CREATE TABLE tasks (token uuid PRIMARY KEY, status varchar(10), result text);"
		         SEEN("tasks", "token", "status", "result"),
		.add = "INSERT INTO tasks SELECT md5(g::text)::uuid, 'PENDING' FROM g",
		.key = "md5(g::text)::uuid::text",
	}, {
		.name = "partitioned, char(9) key, strict",
		.ini = "[queue q]\nhandler = /bin/cat\nmax_attempts = 3\ntable = parts\nresult = result\nstrict = yes\n" STATES,
		.setup = "CREATE TABLE parts (id char(9) PRIMARY KEY, status char(12), updated_at timestamp(0), result jsonb)"
		         " PARTITION BY HASH (id);"
		         "CREATE TABLE parts_0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
		         "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
		         SEEN("parts", "id", "status", "result"),
		.add = "INSERT INTO parts SELECT lpad(g::text, 6, '0'), 'PENDING', now() AT TIME ZONE 'UTC' FROM g",
		.key = "lpad(g::text, 6, '0')",
	}, {
		.name = "citext key",
		.ini = "[queue q]\nhandler = /bin/cat\nmax_attempts = 3\ntable = pages\nid = url\nresult = result\n" STATES,
		.setup = "CREATE EXTENSION citext;"
		         "CREATE TABLE pages (url citext PRIMARY KEY, status citext, updated_at timestamptz, result jsonb);"
		         SEEN("pages", "url", "status", "result"),
		.add = "INSERT INTO pages SELECT 'Page ' || lpad(g::text, 6, '0'), 'PENDING', now() FROM g",
		.key = "'Page ' || lpad(g::text, 6, '0')",
	},
};
const int kinds_len = (int)ARRAY_SIZE(kinds);

const char NIL[] = "";

/* ---- mappings ---- */

static struct queue_story *stories;

static struct queue_story *story_new(struct testdb *db)
{
	struct queue_story *q = story_memory(sizeof *q);

	q->db = db;
	q->next = stories;
	stories = q;
	return q;
}

static void stories_end(void)
{
	for (struct queue_story *q = stories; q != NULL; q = q->next) {
		session_close(&q->session);
		if (q->borrows)
			continue;
		for (enum statement s = 0; s < STATEMENTS; s++)
			free(q->sql[s]);
		mapping_release(&q->map);
		settings_release(&q->set);
	}
	stories = NULL;
}

TCase *queue_case(Suite *suite, const char *name)
{
	TCase *tc = story_case(suite, name);

	tcase_add_checked_fixture(tc, NULL, stories_end);
	return tc;
}

static void open_queue(struct queue_story *q, const char *ini, struct error *err)
{
	struct problems problems = PROBLEMS_INIT;
	const char *path = write_filef("queue.ini", "%s", ini);

	if (settings_load(&q->set, path, NULL, &problems) < 0)
		story_fail("%s: %s", path, problems.text[0]);
	if (session_open(&q->session, q->db->url, "story", err) < 0 ||
	    mapping_init(&q->map, &q->set.queues[0], err) < 0 || mapping_resolve(&q->map, &q->session, err) < 0)
		return;
	for (enum statement s = 0; s < STATEMENTS; s++) {
		struct error why = ERROR_INIT;

		q->sql[s] = mapping_statement(&q->map, s, &why);
	}
}

struct queue_story *queue_story(struct testdb *db, const char *ini)
{
	struct queue_story *q = story_new(db);
	struct error err = ERROR_INIT;

	open_queue(q, ini, &err);
	if (err.kind != ERR_NONE)
		story_fail("%s\nin: %s", err.text, ini);
	return q;
}

const char *queue_refused(struct testdb *db, const char *ini)
{
	struct queue_story *q = story_new(db);
	struct error err = ERROR_INIT;

	open_queue(q, ini, &err);
	session_close(&q->session);
	if (err.kind == ERR_NONE)
		story_fail("nothing was refused in: %s", ini);
	return story_text("%s", err.text);
}

struct queue_story *queue_of_kind(struct testdb *db, const struct kind *kind, int jobs)
{
	struct queue_story *q;

	testdb_sql(db, kind->setup);
	testdb_sql(db, story_text("WITH g AS (SELECT g FROM generate_series(1, %d) AS g) %s", jobs, kind->add));
	q = queue_story(db, kind->ini);
	q->kind = kind;
	return q;
}

struct queue_story *another_session(struct queue_story *q)
{
	struct queue_story *other = story_new(q->db), *next = other->next;
	struct error err = ERROR_INIT;

	*other = *q;
	other->next = next;
	other->borrows = true;
	other->session = (struct session){ .conn = NULL };
	if (session_open(&other->session, q->db->url, "another", &err) < 0)
		story_fail("%s", err.text);
	return other;
}

/* ---- keys ---- */

const char *key_of(struct queue_story *q, int n)
{
	return testdb_value(q->db, story_text("SELECT %s FROM (VALUES (%d)) AS g(g)", q->kind->key, n));
}

const char *keys_of(struct queue_story *q, int from, int to)
{
	return testdb_value(q->db, story_text("SELECT array_agg(%s) FROM generate_series(%d, %d, %d) AS g", q->kind->key, from,
	                                      to, to < from ? -1 : 1));
}

const char *seen(struct queue_story *q, int n, const char *columns)
{
	return testdb_value(q->db, story_text("SELECT concat_ws(' ', %s) FROM seen WHERE id = (SELECT %s FROM (VALUES (%d)) AS g(g))",
	                                      columns, q->kind->key, n));
}

const char *text_array(const char *const *texts)
{
	struct buf b = BUF_INIT;
	const char *out;

	array_begin(&b);
	for (; *texts != NULL; texts++)
		array_add(&b, *texts == NIL ? NULL : *texts, strlen(*texts));
	array_end(&b);
	out = story_text("%s", b.data);
	buf_release(&b);
	return out;
}

/* ---- statements ---- */

static PGresult *run(struct queue_story *q, enum statement s, const char *const *params)
{
	const char *values[16] = { NULL };
	int n = 0;

	if (q->sql[s] == NULL)
		story_fail("%s has no statement %s", q->map.source, statement_name(s));
	for (; params[n] != NULL; n++)
		values[n] = params[n] == NIL ? NULL : params[n];
	if ((s == STMT_CLAIM || s == STMT_CLAIM_NEW) && n == 2)
		n++;		/* from the start of the queue */
	return PQexecParams(q->session.conn, q->sql[s], n, NULL, values, NULL, NULL, 0);
}

static const char *rows_text(const PGresult *res)
{
	struct buf b = BUF_INIT;
	const char *out;

	for (int i = 0; i < PQntuples(res); i++)
		for (int c = 0; c < PQnfields(res); c++)
			buf_addf(&b, "%s%s", c > 0 ? "|" : i > 0 ? ";" : "", PQgetvalue(res, i, c));
	out = story_text("%s", buf_text(&b));
	buf_release(&b);
	return out;
}

const char *queue_ask(struct queue_story *q, enum statement s, const char *const *params, const char *column)
{
	PGresult *res = run(q, s, params);
	const char *out;

	if (PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK)
		story_fail("%s: %s\nin: %s", statement_name(s), PQresultErrorMessage(res), q->sql[s]);
	if (column == NULL)
		out = rows_text(res);
	else if (PQntuples(res) == 0 || PQfnumber(res, column) < 0)
		out = "";
	else
		out = story_text("%s", PQgetvalue(res, 0, PQfnumber(res, column)));
	PQclear(res);
	return out;
}

const char *queue_ask_refused(struct queue_story *q, enum statement s, const char *const *params)
{
	PGresult *res = run(q, s, params);
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE), *out;

	out = story_text("%s", state != NULL ? state : "success");
	PQclear(res);
	return out;
}

void add_worker(struct testdb *db, const char *worker)
{
	testdb_sql(db, story_text("INSERT INTO unstuck.workers (worker_id, host, pid, version, state, heartbeat_s, timeout_s)"
	                          " VALUES ('%s', 'farm', 4711, '1', 'running', 10, 60)", worker));
}

const char *claim_one(struct queue_story *q, int n, const char *worker)
{
	PGresult *res = run(q, STMT_CLAIM, WORDS("1", worker));
	const char *out;

	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		story_fail("%s", PQresultErrorMessage(res));
	if (PQntuples(res) != 1 || strcmp(PQgetvalue(res, 0, PQfnumber(res, "id")), key_of(q, n)) != 0)
		story_fail("claimed \"%s\", not job %d", rows_text(res), n);
	out = story_text("%s", PQgetvalue(res, 0, PQfnumber(res, "claim_id")));
	PQclear(res);
	return out;
}

/* ---- many at once ---- */

void in_processes(int n, int (*run_one)(struct queue_story *q, int number), struct queue_story *q)
{
	pid_t pids[64];
	int failed = 0, status;

	for (int i = 0; i < n; i++) {
		fflush(NULL);
		pids[i] = fork();
		if (pids[i] == 0) {
			struct error err = ERROR_INIT;

			if (session_open(&q->session, q->db->url, "process", &err) < 0)
				_exit(99);
			_exit(run_one(q, i));
		}
	}
	for (int i = 0; i < n; i++)
		if (waitpid(pids[i], &status, 0) != pids[i] || status != 0)
			failed++;
	if (failed > 0)
		story_fail("%d of %d processes failed", failed, n);
}
