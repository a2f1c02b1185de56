/*
 * testdb.c - a database for a test, and asking it.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "sqltext.h"
#include "testdb.h"

#define TEMPLATE "unstuck_template"

static struct testdb *databases;

static void no_notice(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

static PGconn *connect_to(const char *name)
{
	const char *url = story_text("postgresql:///%s?host=%s&port=5432&user=postgres&application_name=test", name,
	                             server_dir());
	PGconn *conn = PQconnectdb(url);

	if (PQstatus(conn) != CONNECTION_OK)
		story_fail("%s: %s", name, PQerrorMessage(conn));
	PQsetNoticeProcessor(conn, no_notice, NULL);
	return conn;
}

/* NULL and the message in *why when the statement failed. */
static PGresult *try_exec(PGconn *conn, const char *sql, const char **why)
{
	PGresult *res = PQexec(conn, sql);
	ExecStatusType status = PQresultStatus(res);

	if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY)
		return res;
	*why = story_text("%s", PQresultErrorMessage(res)[0] != '\0' ? PQresultErrorMessage(res) : PQerrorMessage(conn));
	PQclear(res);
	return NULL;
}

static void exec(PGconn *conn, const char *sql)
{
	const char *why = "";
	PGresult *res = try_exec(conn, sql, &why);

	if (res == NULL)
		story_fail("%s\nin: %.2000s", why, sql);
	PQclear(res);
}

static char *first_value(PGresult *res)
{
	if (PQntuples(res) == 0 || PQnfields(res) == 0)
		return story_text("%s", "");
	return story_text("%s", PQgetisnull(res, 0, 0) ? "NULL" : PQgetvalue(res, 0, 0));
}

/* The connection, made again when the server has been away. */
static bool alive(struct testdb *db)
{
	if (db->lost || PQstatus(db->conn) != CONNECTION_OK)
		PQreset(db->conn);
	db->lost = PQstatus(db->conn) != CONNECTION_OK;
	return !db->lost;
}

static const char *try_value(struct testdb *db, const char *sql, const char **why)
{
	if (!alive(db)) {
		*why = story_text("%s", PQerrorMessage(db->conn));
		return NULL;
	}
	PGresult *res = try_exec(db->conn, sql, why);
	if (res == NULL)
		return NULL;
	const char *value = first_value(res);
	PQclear(res);
	return value;
}

const char *testdb_value(struct testdb *db, const char *sql)
{
	const char *why = "", *value = try_value(db, sql, &why);

	if (value == NULL)
		story_fail("%s\nin: %.2000s", why, sql);
	return value;
}

void testdb_sql(struct testdb *db, const char *sql)
{
	testdb_value(db, sql);
}

void testdb_must_equal(struct testdb *db, const char *sql, const char *expected)
{
	const char *got = testdb_value(db, sql);

	if (strcmp(got, expected) != 0)
		story_fail("%s\ngave \"%s\", not \"%s\"", sql, got, expected);
}

void testdb_must_become(struct testdb *db, const char *sql, const char *expected, unsigned ms)
{
	uint64_t until = story_until(ms);
	const char *why = "", *got;

	do {
		got = try_value(db, sql, &why);
		if (got != NULL && strcmp(got, expected) == 0)
			return;
	} while (story_wait(until));
	if (got == NULL)
		story_fail("%s\nwas not \"%s\" after %u ms: %s", sql, expected, ms, why);
	story_fail("%s\nwas \"%s\" after %u ms, not \"%s\"", sql, got, ms, expected);
}

const char *testdb_must_refuse(struct testdb *db, const char *sqlstate, const char *sql)
{
	if (!alive(db))
		story_fail("%s", PQerrorMessage(db->conn));
	PGresult *res = PQexec(db->conn, sql);
	const char *got = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	char *message = story_text("%s", PQresultErrorMessage(res));

	if (got == NULL || strcmp(got, sqlstate) != 0)
		story_fail("%s\nshould fail with %s, got %s %s", sql, sqlstate, got != NULL ? got : "success", message);
	PQclear(res);
	return message;
}

/* libpq learns of the end of a server only when it uses the connection. */
void testdb_order(enum server_order order)
{
	keeper_order(order);
	for (struct testdb *db = databases; db != NULL && order != SERVER_START; db = db->next)
		db->lost = true;
}

/* ---- databases ---- */

/* Made under another name, so that a test that dies half-way leaves no half template. */
static void make_template(PGconn *admin)
{
	PGresult *res = PQexec(admin, "SELECT 1 FROM pg_database WHERE datname = '" TEMPLATE "'");
	bool there = PQntuples(res) > 0;

	PQclear(res);
	if (there)
		return;
	exec(admin, "DROP DATABASE IF EXISTS " TEMPLATE "_new");
	exec(admin, "CREATE DATABASE " TEMPLATE "_new TEMPLATE template0");
	PGconn *conn = connect_to(TEMPLATE "_new");
	exec(conn, sqltext("schema", NULL));
	exec(conn, sqltext("roles", NULL));
	PQfinish(conn);
	exec(admin, "ALTER DATABASE " TEMPLATE "_new RENAME TO " TEMPLATE);
}

struct testdb *testdb_new(bool with_schema)
{
	static unsigned count;
	struct testdb *db = story_memory(sizeof *db);

	keeper_order(SERVER_START);
	PGconn *admin = connect_to("postgres");
	if (with_schema)
		make_template(admin);
	db->name = story_text("t%d_%u", (int)getpid(), ++count);
	exec(admin, story_text("CREATE DATABASE %s TEMPLATE %s", db->name, with_schema ? TEMPLATE : "template0"));
	PQfinish(admin);

	db->url = story_text("postgresql:///%s?host=%s&port=5432&user=postgres", db->name, server_dir());
	db->conn = connect_to(db->name);
	db->next = databases;
	databases = db;
	return db;
}

PGconn *testdb_connect(struct testdb *db)
{
	return connect_to(db->name);
}

void testdb_videos(struct testdb *db, int rows)
{
	testdb_sql(db, "CREATE TABLE public.videos (id bigserial PRIMARY KEY, source_id text NOT NULL, title text,"
	               " analysis_status text NOT NULL DEFAULT 'METADATA_EXTRACTED', duration int,"
	               " updated_at timestamp(0) without time zone DEFAULT (now() AT TIME ZONE 'UTC'));"
	               "CREATE INDEX ON public.videos (analysis_status)");
	testdb_sql(db, story_text("INSERT INTO public.videos (source_id, title, duration)"
	                          " SELECT 'yt-' || i, 'Video ' || i, i FROM generate_series(1, %d) i", rows));
}

int testdb_kill_backends(struct testdb *db, const char *condition)
{
	return atoi(testdb_value(db, story_text("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
	                                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
	                                        " AND (%s)", condition != NULL ? condition : "true")));
}

void testdb_end(void)
{
	if (databases == NULL)
		return;
	/* A database of a test that stopped the server goes with the server. */
	if (server_running()) {
		PGconn *admin = connect_to("postgres");

		for (struct testdb *db = databases; db != NULL; db = db->next)
			exec(admin, story_text("DROP DATABASE %s WITH (FORCE)", db->name));
		PQfinish(admin);
	}
	for (; databases != NULL; databases = databases->next)
		PQfinish(databases->conn);
}
