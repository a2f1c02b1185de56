/*
 * must_pg.c - see must_pg.h.
 */
#include "must_pg.h"

#include <stdlib.h>
#include "must.h"

PGconn *must_connect(const char *url)
{
	PGconn *conn = PQconnectdb(url);

	if (PQstatus(conn) != CONNECTION_OK)
		die("%s", PQerrorMessage(conn));
	return conn;
}

void must_be(PGconn *conn, const PGresult *res, ExecStatusType status)
{
	if (PQresultStatus(res) != status)
		die("%s instead of %s: %s", PQresStatus(PQresultStatus(res)), PQresStatus(status), PQerrorMessage(conn));
}

void must_exec(PGconn *conn, const char *sql)
{
	PGresult *res = PQexec(conn, sql);

	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		must_be(conn, res, PGRES_COMMAND_OK);
	PQclear(res);
}

double must_ask(PGconn *conn, const char *sql, const char *parameter)
{
	PGresult *res = PQexecParams(conn, sql, parameter != NULL, NULL, &parameter, NULL, NULL, 0);
	double value;

	must_be(conn, res, PGRES_TUPLES_OK);
	value = PQntuples(res) > 0 ? strtod(PQgetvalue(res, 0, 0), NULL) : 0;
	PQclear(res);
	return value;
}
