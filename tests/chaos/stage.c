/*
 * stage.c - the stage: database, lanes, workers, load; and how all comes to an end.
 *
 * Not here: what goes wrong meanwhile (nemesis.c), the rules (verdict.c).
 */
#include "chaos.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SETTLE_MS 60000

static const char *const queues[QUEUES] = { "own_exec", "own_serve", "map_exec", "map_serve" };

const char *chaos_queue(int queue)
{
	return queues[queue];
}

uint64_t chaos_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint32_t chaos_random(struct chaos *c, uint32_t below)
{
	c->random ^= c->random << 13;
	c->random ^= c->random >> 7;
	c->random ^= c->random << 17;
	return (uint32_t)((c->random >> 16) % below);
}

/* ---- the judge's own session and lines ---- */

const char *chaos_ask(struct chaos *c, const char *sql)
{
	static char value[4096];
	PGconn *conn = c->db->conn;

	if (c->db->lost || PQstatus(conn) != CONNECTION_OK)
		PQreset(conn);
	c->db->lost = PQstatus(conn) != CONNECTION_OK;
	if (c->db->lost)
		return NULL;
	PGresult *res = PQexec(conn, sql);
	bool done = PQresultStatus(res) == PGRES_TUPLES_OK || PQresultStatus(res) == PGRES_COMMAND_OK;
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	if (!done && state != NULL && strncmp(state, "57P", 3) != 0)
		story_fail("%s\nin: %.2000s", PQerrorMessage(conn), sql);
	if (!done)
		c->db->lost = true;
	value[0] = '\0';
	if (done && PQntuples(res) > 0)
		snprintf(value, sizeof value, "%s", PQgetvalue(res, 0, 0));
	PQclear(res);
	return done ? value : NULL;
}

void chaos_note(struct chaos *c, char kind, const char *queue, const char *job, int worker)
{
	char line[256];
	int n = snprintf(line, sizeof line, "%c\t%llu\t%s\t%s\t0\t0\t%d\t\n", kind, (unsigned long long)chaos_now(), queue, job, worker);

	if (write(c->log_fd, line, (size_t)n) != n)
		story_fail("the log cannot be written");
}

size_t chaos_lines(struct chaos *c, char kind)
{
	const char start[] = { kind, '\t', '\0' };
	size_t n = 0;
	FILE *f = fopen(c->log, "re");
	char line[512];

	while (f != NULL && fgets(line, sizeof line, f) != NULL)
		n += strncmp(line, start, 2) == 0;
	if (f != NULL)
		fclose(f);
	return n;
}

/* ---- the stage ---- */

static const char *queue_section(int queue, const char *log, const char *limit)
{
	bool serves = queue % 2 == 1;

	return story_text("[queue %s]\nhandler = %s %s%s\nmode = %s\nspool = %s\nconcurrency = 3\nbatch = 5\ntimeout = %s\nmax_attempts = 8\n"
	                  "backoff = 20ms\nbackoff_max = 100ms\nmax_result = 64KB\n%s%s",
	                  queues[queue], build_path("tests/handlers/witness"), log, serves ? " serve" : "", serves ? "serve" : "exec",
	                  queue == 1 ? "outage" : "always", limit, serves ? "pipeline = 3\n" : "",
	                  queue < 2 ? "" : story_text("table = public.work\nready = READY\nwhere = kind = '%s'\n"
	                                              "on_success = INSERT INTO results VALUES ($1, $2 ->> 'nonce')\n",
	                                              serves ? "serve" : "exec"));
}

static const char *lane_file(int lane)
{
	return test_path(story_text("lane%d.ini", lane));
}

static unsigned beat_ms(void)
{
	const char *text = getenv("CHAOS_BEAT");

	return text != NULL && atoi(text) > 0 ? (unsigned)atoi(text) : 100;
}

static void write_settings(const struct chaos *c, int lane, const char *host, const char *limit, const char *extra)
{
	const char *text = story_text("[unstuck]\ndatabase_url = postgresql:///%s?host=%s&port=5432&user=postgres\n"
	                              "[worker]\nconcurrency = 6\npoll_interval = 100ms\nheartbeat = %ums\nworker_timeout = %ums\n"
	                              "recover_every = 300ms\ngraceful_timeout = 1s\nforce_delay = 30s\nspool_dir = %s\n%s"
	                              "[recover]\nmax_recoveries = 1000000\n", c->db->name, host, beat_ms(), 4 * beat_ms(), test_path("spool"), extra);

	for (int i = 0; i < QUEUES; i++)
		text = story_text("%s%s", text, queue_section(i, c->log, limit));
	write_file_at(lane_file(lane), text, 0644);
}

/* One file of settings more than there are lanes: of unstuck-recover, which goes straight to the server. */
struct chaos *chaos_begin(int lanes, uint64_t seed, const char *limit, const char *extra)
{
	struct chaos *c = story_memory(sizeof *c);

	c->db = must_have_db();
	testdb_sql(c->db, read_file_at(source_path("tests/chaos/stage.sql"), NULL));
	c->lanes_len = lanes;
	c->random = seed * 0x9e3779b97f4a7c15 + 0x2545f4914f6cdd1d;
	c->log = test_path("said.txt");
	c->log_fd = story_closes(open(c->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644));
	if (c->log_fd < 0)
		story_fail("%s cannot be written", c->log);
	c->proxy = proxy_start(server_dir(), lanes);
	for (int i = 0; i < lanes; i++)
		write_settings(c, i, proxy_dir(i), limit, extra);
	write_settings(c, lanes, server_dir(), limit, extra);
	return c;
}

/* ---- load ---- */

static const struct {
	const char *mode;
	unsigned share;		/* of a thousand */
	bool is_fault;
} modes[] = {
	{ "once", 40, true }, { "later", 20, true }, { "fail", 8, true }, { "never", 10, true }, { "bad", 15, true }, { "big", 10, true },
	{ "crash", 15, true }, { "hang", 3, true }, { "kill", 4, true }, { "ok", 875, false },
};

static size_t draw_mode(struct chaos *c)
{
	unsigned at = chaos_random(c, 1000);
	size_t i = 0;

	for (; i < sizeof modes / sizeof *modes - 1 && at >= modes[i].share; i++)
		at -= modes[i].share;
	return i;
}

static void acknowledged(struct chaos *c, PGresult *res, const char *queue)
{
	for (int i = 0; i < PQntuples(res); i++)
		chaos_note(c, 'A', queue, PQgetvalue(res, i, 0), 0);
}

static const char *add_statement(int queue, const char *rows)
{
	static char sql[8192];

	if (queue < 2)
		snprintf(sql, sizeof sql, "SELECT unstuck.enqueue('%s', jsonb_build_object('mode', v.mode, 'ms', v.ms)) FROM (VALUES %s) AS v(mode, ms)",
		         queues[queue], rows);
	else
		snprintf(sql, sizeof sql, "INSERT INTO work (kind, mode, ms) SELECT '%s', v.* FROM (VALUES %s) AS v RETURNING id",
		         queue == 2 ? "exec" : "serve", rows);
	return sql;
}

static bool add(struct chaos *c, int queue, const char *rows)
{
	PGresult *res = !c->db->lost ? PQexec(c->db->conn, add_statement(queue, rows)) : NULL;
	bool done = PQresultStatus(res) == PGRES_TUPLES_OK;

	if (done)
		acknowledged(c, res, queues[queue]);
	PQclear(res);
	return done;
}

void chaos_add(struct chaos *c, int queue, const char *mode, int ms)
{
	if (!add(c, queue, story_text("('%s', %d)", mode, ms)))
		story_fail("%s", PQerrorMessage(c->db->conn));
}

void chaos_load(struct chaos *c, int jobs)
{
	char rows[4096];
	size_t len = 0;
	int queue = (int)chaos_random(c, QUEUES);
	unsigned bad = 0;

	for (int i = 0; i < jobs && len < sizeof rows - 64; i++) {
		size_t m = draw_mode(c);

		bad += modes[m].is_fault;
		len += (size_t)snprintf(rows + len, sizeof rows - len, "%s('%s', %u)", i ? ", " : "", modes[m].mode, chaos_random(c, 30));
	}
	if (add(c, queue, rows))
		c->faults[FAULT_OUTCOME] += bad;
}

/* ---- workers ---- */

void chaos_start(struct chaos *c, int lane, const char *const *env)
{
	struct lane *l = &c->lanes[lane];
	const struct proc_options options = { .env = env };

	l->started = chaos_now();
	l->start_at = 0;
	l->ready = false;
	l->worker = proc_start(&options, WORDS("unstuck-worker", "-c", lane_file(lane), "--log-file", test_path(story_text("lane%d.log", lane)), "run", "--wait", "1h"));
}

/*
 * Who leaves with 0 says that nothing of its is PROCESSING. Looked at here: a recovery would hide it. Whoever declared it dead
 * before has to see to what it held under that name.
 */
static void check_clean_exit(struct chaos *c, const struct lane *l)
{
	char sql[512];
	const char *left;

	snprintf(sql, sizeof sql, "SELECT count(*) || ' (' || string_agg(concat_ws(' ', j.queue, j.id, l.ended), ', ') || ')'"
	         " FROM chaos.jobs AS j JOIN chaos.lives AS l USING (worker_id) WHERE j.status = 'PROCESSING' AND l.ended IS DISTINCT FROM 'declared dead' AND l.pid = %d AND extract(epoch FROM l.at) * 1000000 > %llu",
	         (int)proc_pid(l->worker), (unsigned long long)l->started);
	left = chaos_ask(c, sql);
	if (left == NULL || *left == '\0')
		return;
	c->left_processing += (unsigned)atoi(left);
	fprintf(stderr, "worker %d has left, and its are %s\n", (int)proc_pid(l->worker), left);
}

static void note_exit(struct chaos *c, struct lane *l)
{
	int status = proc_wait(l->worker, 0);

	switch (status) {
	case 0:
		c->exits_clean++;
		check_clean_exit(c, l);
		break;
	case 75:
		c->exits_held++;
		break;
	case 69:
		c->exits_early++;	/* no database at the start */
		break;
	case 128 + SIGKILL:
		c->exits_killed++;
		break;
	case 128 + SIGTERM:
	case 128 + SIGINT:
		c->exits_early++;	/* before it had set a handler: nothing was claimed */
		break;
	default:
		proc_must_exit(l->worker, 0, 0);
	}
	l->worker = NULL;
}

void chaos_tend(struct chaos *c, bool restart)
{
	uint64_t now = chaos_now();

	for (int i = 0; i < c->lanes_len; i++) {
		struct lane *l = &c->lanes[i];

		if (l->worker != NULL && !proc_running(l->worker)) {
			note_exit(c, l);
			l->start_at = now + chaos_random(c, 200) * 1000;
		}
		if (l->worker == NULL && l->start_at != 0 && restart && now >= l->start_at)
			chaos_start(c, i, NULL);
	}
	if (c->recover != NULL && !proc_running(c->recover))
		c->recover = NULL;
}

/* ---- the end ---- */

static unsigned patience(void)
{
	const char *text = getenv("CHAOS_PATIENCE");

	return text != NULL ? (unsigned)atoi(text) * 1000 : SETTLE_MS;
}

static void wait_until_done(struct chaos *c)
{
	uint64_t until = story_until(patience());
	const char *left;

	do {
		chaos_tend(c, true);
		left = chaos_ask(c, "SELECT count(*) FROM chaos.jobs WHERE status IN ('PENDING', 'PROCESSING')");
		if (left != NULL && strcmp(left, "0") == 0)
			return;
		usleep(20000);	/* the judge's own questions are to cost little */
	} while (story_wait(until));
	story_fail("jobs are still open: %s", chaos_ask(c, "SELECT count(*) || ', ' || string_agg(j.queue || ' ' || j.id || ' ' || j.status || ' ' || j.mode, ', ')"
	           " FROM (SELECT * FROM chaos.jobs WHERE status IN ('PENDING', 'PROCESSING') LIMIT 10) AS j"));
}

static bool workers_left(struct chaos *c)
{
	chaos_tend(c, false);
	for (int i = 0; i < c->lanes_len; i++)
		if (c->lanes[i].worker != NULL)
			return true;
	return false;
}

void chaos_settle(struct chaos *c)
{
	server_start();
	for (int i = 0; i < c->lanes_len; i++)
		proxy_order(c->proxy, i, PROXY_PASS, NULL);
	chaos_tend(c, true);
	wait_until_done(c);
	for (int i = 0; i < c->lanes_len; i++)
		if (c->lanes[i].worker != NULL)
			proc_signal(c->lanes[i].worker, SIGTERM);
	must_happen(!workers_left(c), 30000);
	if (c->recover != NULL)
		wait_exit(c->recover, 30000);
	/* What a worker left that was killed at the very end. It is watched for two heartbeats. */
	must_run(0, NULL, "unstuck-recover", "-c", lane_file(c->lanes_len), "--yes");
	must_happen(strcmp(sql_value(c->db, "SELECT count(*) FROM unstuck.workers"), "0") == 0
	            || (proc_must_exit(proc_start(NULL, WORDS("unstuck-recover", "-c", lane_file(c->lanes_len), "--yes")), 0, 30000), false), 30000);
}
