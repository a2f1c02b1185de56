/*
 * must_pg.h - must.h for programs that talk to the database; a handler that is timed links none of libpq.
 */
#ifndef MUST_PG_H
#define MUST_PG_H

#include <libpq-fe.h>

PGconn *must_connect(const char *url);

/* One or more statements by the simple protocol, each result dropped. */
void must_exec(PGconn *conn, const char *sql);

/* The first value of the first row, as a number; parameter may be NULL. */
double must_ask(PGconn *conn, const char *sql, const char *parameter);

/* res must have this status. Ends the program otherwise. */
void must_be(PGconn *conn, const PGresult *res, ExecStatusType status);

#endif
