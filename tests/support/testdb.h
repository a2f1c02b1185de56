/*
 * testdb.h - a database of its own for a test, on the private server of the test
 * program, and the words to ask it.
 *
 * A database is made from a template that has the schema. The connection here is
 * the test's own; when the server has been away it is made again by itself.
 */
#ifndef TESTDB_H
#define TESTDB_H

#include <libpq-fe.h>
#include "keeper.h"
#include "scene.h"

struct testdb {
	struct testdb *next;
	char *name;
	char *url;		/* for the programs: a user who may do everything */
	PGconn *conn;
	bool lost;		/* conn is of a server that the test has ended */
};

#define must_have_db() (story_at(__FILE__, __LINE__), testdb_new(true))		/* with the schema unstuck */
#define must_have_empty_db() (story_at(__FILE__, __LINE__), testdb_new(false))
#define must_have_table(db, rows) (story_at(__FILE__, __LINE__), testdb_videos(db, rows))

/* One or more statements. Fails the test with the server's message. */
#define must_sql(db, ...) (story_at(__FILE__, __LINE__), testdb_sql(db, story_text(__VA_ARGS__)))
/* The first column of the first row ("" for no row, "NULL" for null); lives as long as the test. */
#define sql_value(db, ...) (story_at(__FILE__, __LINE__), testdb_value(db, story_text(__VA_ARGS__)))
#define sql_int(db, ...) (story_at(__FILE__, __LINE__), strtoll(testdb_value(db, story_text(__VA_ARGS__)), NULL, 10))
/* The statement has to give this value; must_become: within so many milliseconds. */
#define must_equal(db, sql, expected) (story_at(__FILE__, __LINE__), testdb_must_equal(db, sql, expected))
#define must_become(db, sql, expected, ms) (story_at(__FILE__, __LINE__), testdb_must_become(db, sql, expected, ms))
/* The statement has to fail with this SQLSTATE. Returns the message. */
#define must_refuse(db, sqlstate, ...) \
	(story_at(__FILE__, __LINE__), testdb_must_refuse(db, sqlstate, story_text(__VA_ARGS__)))

/* All texts are taken as printf formats only by the macros above: write %% for LIKE's %. */
struct testdb *testdb_new(bool with_schema);
void testdb_sql(struct testdb *db, const char *sql);
const char *testdb_value(struct testdb *db, const char *sql);
void testdb_must_equal(struct testdb *db, const char *sql, const char *expected);
void testdb_must_become(struct testdb *db, const char *sql, const char *expected, unsigned ms);
const char *testdb_must_refuse(struct testdb *db, const char *sqlstate, const char *sql);

/*
 * An application's table: public.videos(id bigserial key, source_id, title, analysis_status,
 * duration, updated_at timestamp(0) without time zone) with so many rows, all METADATA_EXTRACTED.
 */
void testdb_videos(struct testdb *db, int rows);

/* Another connection, also to be used as the asynchronous one; the test closes it. */
PGconn *testdb_connect(struct testdb *db);

/* The server. All come back when it is so. */
#define server_stop() (story_at(__FILE__, __LINE__), testdb_order(SERVER_STOP))
#define server_crash() (story_at(__FILE__, __LINE__), testdb_order(SERVER_CRASH))
#define server_kill() (story_at(__FILE__, __LINE__), testdb_order(SERVER_KILL))
#define server_start() (story_at(__FILE__, __LINE__), testdb_order(SERVER_START))
void testdb_order(enum server_order order);
#define server_restart() (server_crash(), server_start())
/* End every session of this database but the test's own, optionally only those for which the
 * condition on pg_stat_activity holds. Returns how many. */
#define kill_backends(db, condition) (story_at(__FILE__, __LINE__), testdb_kill_backends(db, condition))
int testdb_kill_backends(struct testdb *db, const char *condition);

void testdb_end(void);		/* for story.c: drops the databases of the test */

#endif
