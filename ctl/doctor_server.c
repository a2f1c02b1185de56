/*
 * doctor_server.c - the server, the way to it, and the schema in it.
 *
 * Not here: what a statement alone can tell (sql/doctor.sql).
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "doctor.h"
#include "sqltext.h"

#define OLDEST_SERVER 130000	/* pg_current_xact_id() */
#define SKEW_TOLD (5 * SEC)	/* ages in logs and in the spool, and updated_at of applications here, are wrong by that */

void doctor_judge_version(struct doctor *d, int version)
{
	if (version >= OLDEST_SERVER)
		return;
	doctor_tell(d, ERROR, "the server is PostgreSQL %d, older than the oldest that is supported, %d", version / 10000,
	            OLDEST_SERVER / 10000);
	doctor_remedy(d, "upgrade it with pg_upgrade");
}

void check_server_version(struct doctor *d)
{
	doctor_judge_version(d, PQserverVersion(d->ctl->session.conn));
}

/* ---- the pooler ---- */

static int backend_pid(struct session *s)
{
	char *text = NULL;
	int pid = session_value(s, NULL, &text, "SELECT pg_backend_pid()", 0, NULL) == 0 && text != NULL ? atoi(text) : 0;

	free(text);
	return pid;
}

/*
 * Whether the pooler changes servers between transactions: then, while a second session of ours holds one
 * in a transaction, that is one which we had, or we get another than before. In session mode neither can be.
 */
static bool changes_servers(struct doctor *d)
{
	struct session *first = &d->ctl->session, second;
	bool changes = false;

	if (session_connect(&second, d->ctl->settings.database_url, d->ctl->cli.program, NULL) < 0)
		return false;
	for (int i = 0; i < 3 && !changes; i++) {
		int before = backend_pid(first), held, after;

		PQclear(session_exec(&second, NULL, "BEGIN", 0, NULL));
		held = backend_pid(&second);
		after = backend_pid(first);
		changes = held == before || after != before;
		PQclear(session_exec(&second, NULL, "ROLLBACK", 0, NULL));
	}
	session_close(&second);
	return changes;
}

void check_pooler(struct doctor *d)
{
	if (!d->pooled || d->ctl->settings.wake != WAKE_NOTIFY || !changes_servers(d))
		return;
	doctor_tell(d, WARNING, "the way to the database is a pooler in transaction mode: LISTEN does not work, so wake = notify "
	            "wakes nobody and new jobs wait for poll_interval; nor can unstuck-recover hold its lock");
	doctor_remedy(d, "database_url past the pooler, or wake = poll in [worker]");
}

/* ---- clocks ---- */

/* The server's time in microseconds; 0 when it cannot be had (the next check will tell). */
static double server_wall(struct doctor *d)
{
	char *text = NULL;
	double wall = 0;

	if (session_value(&d->ctl->session, NULL, &text, "SELECT extract(epoch FROM clock_timestamp()) * 1000000", 0, NULL) == 0
	    && text != NULL)
		wall = strtod(text, NULL);
	free(text);
	return wall;
}

/* Of the quickest of three answers; what the way took may lie on either side of the server's look. */
void check_clock(struct doctor *d)
{
	double skew = 0, doubt = HUGE_VAL;
	char text[USEC_TEXT_MAX];

	for (int i = 0; i < 3; i++) {
		usec_t from = clock_now();
		double here = (double)clock_wall(), server = server_wall(d), half = (double)(clock_now() - from) / 2;

		if (server > 0 && half < doubt) {
			skew = here + half - server;
			doubt = half;
		}
	}
	if (doubt == HUGE_VAL || fabs(skew) - doubt < (double)SKEW_TOLD)
		return;
	doctor_tell(d, WARNING, "the clock of this host is %s %s the server's: ages are right (the server measures them), times in "
	            "logs and what applications here write into updated_at are not",
	            usec_text((usec_t)(fabs(skew) / SEC + 0.5) * SEC, text), skew > 0 ? "ahead of" : "behind");
	doctor_remedy(d, "timedatectl set-ntp true, on the host whose time is wrong");
}

/* ---- the schema ---- */

void check_schema(struct doctor *d)
{
	struct session *s = &d->ctl->session;
	struct error err = ERROR_INIT;

	if (session_find_schema(s, &err) < 0) {
		if (err.kind == ERR_NO_DB) {
			doctor_take(d, &err);
			return;
		}
		doctor_tell(d, ERROR, "%s", err.kind == ERR_SETTINGS ? "this user may not use schema unstuck" : err.text);
		doctor_remedy(d, "GRANT unstuck_worker TO %s;", d->user);
	} else if (s->schema_version == 0) {
		doctor_tell(d, ERROR, "there is no schema unstuck in database %s", PQdb(s->conn));
		doctor_remedy(d, "unstuckctl init");
	} else if (s->schema_version < SCHEMA_VERSION) {
		doctor_tell(d, ERROR, "schema unstuck is version %d, this program needs %d", s->schema_version, SCHEMA_VERSION);
		doctor_remedy(d, "unstuckctl init");
	} else if (s->schema_version > SCHEMA_VERSION) {
		doctor_tell(d, ERROR, "schema unstuck is version %d, this program knows %d", s->schema_version, SCHEMA_VERSION);
		doctor_remedy(d, "update the programs to the version that made the schema");
	}
}

/* What a worker needs, whatever its queues; only where there are queues. */
void check_schema_rights(struct doctor *d)
{
	PGresult *res;

	if (d->patients_len == 0)
		return;
	res = doctor_ask(d, sqltext("doctor", "schema_rights"), 0, NULL);
	if (res != NULL && PQntuples(res) == 1 && !PQgetisnull(res, 0, 0)) {
		doctor_tell(d, ERROR, "no worker can run as user %s, which lacks %s", PQuser(d->ctl->session.conn), PQgetvalue(res, 0, 0));
		doctor_remedy(d, "%s", PQgetvalue(res, 0, 1));
	}
	PQclear(res);
}
