/*
 * on_success.c - see on_success.h. Not here: the fence before it (sql/queue_mapped.sql).
 */
#include "on_success.h"

int on_success_run(const struct mapping *m, struct session *session, const char *job_id, const char *result, struct error *why)
{
	const Oid types[] = { m->id_type_oid, JSONB_OID };
	const char *params[] = { job_id, result };
	PGresult *res = PQexecParams(session->conn, m->q->on_success, 2, types, params, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(res);
	int rc = 0;

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		rc = pg_error(why, session->conn, res);
	PQclear(res);
	return rc;
}
