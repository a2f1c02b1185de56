/*
 * db_request.h - what db.c sees of a request; db.h is for everybody else.
 */
#ifndef DB_REQUEST_H
#define DB_REQUEST_H

#include "db.h"
#include "db_plans.h"

struct statement {
	const char *sql;	/* borrowed */
	int n;
	char **params;		/* n, owned, then n types in the same block; NULL when n is 0 or once written */
	Oid *types;		/* NULL: the server infers them */
	bool prepares;		/* written with a Parse of its own, which has not been answered yet */
};

struct db_request {
	struct db_request *next;
	db_done_fn *done;
	void *arg;
	struct statement *statements;
	size_t len, cap;
	PGresult **results;	/* got of them, room for len once written */
	size_t got;
	bool transaction;	/* begins with BEGIN */
};

/*
 * All statements and the sync, into libpq's buffer. plans: prepare what has
 * parameters, once a connection; NULL: unnamed statements. false: the connection is of no more use.
 */
bool db_request_write(struct db_request *r, PGconn *conn, struct db_plans *plans);

#endif
