/*
 * pg.h - what every libpq connection of ours shares: where to connect, how to
 * say where without a secret, session settings, and a small blocking session
 * for the commands and for the checks at a worker's start.
 *
 * Not here: the worker's asynchronous connection (worker/db.c).
 */
#ifndef PG_H
#define PG_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include "buf.h"
#include "error.h"

struct conninfo {			/* for PQconnectStartParams(), expand_dbname 0 */
	char **keywords, **values;	/* NULL-terminated, owned */
	size_t len;
};

/*
 * The URL or key=value string given (may be ""), else libpq's own PG* variables; to
 * it our keepalives, tcp_user_timeout, connect_timeout and application_name
 * where the user named none. -1: wrong URL (the text never quotes any of it).
 */
int conninfo_init(struct conninfo *ci, const char *url, const char *application, struct error *err);
void conninfo_release(struct conninfo *ci);

/* "host=/tmp/x port=5432 dbname=app user=me" of a connection: never the password. */
void pg_describe(struct buf *out, const PGconn *conn);

/* Turn a failed result or connection into err: one line, SQLSTATE kept, secrets out. Returns -1. */
int pg_error(struct error *err, const PGconn *conn, const PGresult *res);

/* One statement that sets what every session of ours relies on (time zone, timeouts...). */
const char *pg_session_sql(void);

/* What an error of the server means for what was asked. From one table by SQLSTATE. */
enum pg_verdict {
	PG_AGAIN,	/* nothing was done; the same may succeed later (40, 53, 55P03, 57014, 25006, 58, XX...) */
	PG_LOST,	/* the connection is gone or going (08, 57P0x, none): the outcome is unknown */
	PG_DATA,	/* this row can never be stored so (22, 23, 42, 54, P0, ...) */
};
enum pg_verdict pg_verdict(const char *sqlstate);	/* "" or NULL: PG_LOST */

/* ---- the blocking session ---- */
#define SCHEMA_VERSION 4	/* of sql/schema.sql; upgrades raise both */

struct session {
	PGconn *conn;
	bool has_schema;	/* schema unstuck, at our version, is there */
	int schema_version;	/* 0: none */
};

/* Connect, set the session, look for the schema. ERR_NO_DB when it cannot be reached. */
int session_open(struct session *s, const char *url, const char *application, struct error *err);
/* Its two halves: connect and set the session; then look for the schema (ERR_SETTINGS: it may not be read). */
int session_connect(struct session *s, const char *url, const char *application, struct error *err);
int session_find_schema(struct session *s, struct error *err);
void session_close(struct session *s);

/* Text parameters (NULL: SQL null). The caller PQclear()s. NULL and err on any error. */
MUST_CHECK PGresult *session_exec(struct session *s, struct error *err, const char *sql, int n,
                                  const char *const *params);
/*
 * The same for a statement that is sent again and again: it is planned once, by a name that nobody else can have. Behind a pooler, where
 * the next transaction may be another server session's, it goes on without.
 */
struct session_plan {
	const char *sql;	/* borrowed */
	char name[40];		/* "": not yet prepared */
	bool off;
};
MUST_CHECK PGresult *session_exec_plan(struct session *s, struct error *err, struct session_plan *p, int n,
                                       const char *const *params);
/* The same, with the first column of the first row as text (caller frees; NULL value: *out NULL). */
int session_value(struct session *s, struct error *err, char **out, const char *sql, int n,
                  const char *const *params);

/* A PostgreSQL array literal of texts ({"a","b"}); NULL entries become NULL. */
void array_begin(struct buf *b);
void array_add(struct buf *b, const char *text, size_t len);	/* text NULL: SQL null */
void array_add_number(struct buf *b, int64_t n);
void array_end(struct buf *b);

#endif
