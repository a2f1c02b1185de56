/*
 * init.c - create the schema unstuck, or bring it up to this program's version.
 *
 * One transaction under an advisory lock: two inits at once make one schema. The
 * roles belong to the whole server, so another database's init may touch them at
 * the same moment: that part is tried again. Without the right to create roles
 * it is left out and said.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "buf.h"
#include "ctl.h"
#include "sqltext.h"

#define ROLES_TRIES 5

/* Several statements; texts of ours only. */
static int exec_text(struct ctl *ctl, struct error *err, const char *sql)
{
	PGresult *res = PQexec(ctl->session.conn, sql);
	ExecStatusType status = PQresultStatus(res);
	int rc = 0;

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		rc = pg_error(err, ctl->session.conn, res);
	PQclear(res);
	return rc;
}

static int read_number(struct ctl *ctl, const char *sql, int *out)
{
	char *text = NULL;
	int rc = session_value(&ctl->session, &ctl->err, &text, sql, 0, NULL);

	*out = text != NULL ? atoi(text) : 0;
	free(text);
	return rc;
}

/* 0 when there is no schema. */
static int read_version(struct ctl *ctl, int *version)
{
	int there;

	*version = 0;
	if (read_number(ctl, sqltext("ctl", "has_version"), &there) < 0 || !there)
		return ctl->err.kind == ERR_NONE ? 0 : -1;
	return read_number(ctl, sqltext("session", "version"), version);
}

/* Somebody else was at the same roles at the same moment. */
static bool roles_raced(const struct error *err)
{
	return strcmp(err->sqlstate, "42710") == 0 || strcmp(err->sqlstate, "23505") == 0 ||
	       strstr(err->text, "tuple concurrently") != NULL;
}

static int make_roles(struct ctl *ctl)
{
	for (int i = 0; i < ROLES_TRIES; i++) {
		struct error err = ERROR_INIT;

		if (exec_text(ctl, &ctl->err, "SAVEPOINT roles") < 0)
			return -1;
		if (exec_text(ctl, &err, sqltext("roles", NULL)) == 0)
			return exec_text(ctl, &ctl->err, "RELEASE SAVEPOINT roles");
		if (i + 1 == ROLES_TRIES || !roles_raced(&err)) {
			ctl->err = err;
			return error_prefix(&ctl->err, "roles");
		}
		if (exec_text(ctl, &ctl->err, "ROLLBACK TO SAVEPOINT roles") < 0)
			return -1;
	}
	return 0;
}

/* Between BEGIN and COMMIT. */
static int bring_up(struct ctl *ctl, int *before, int *after, int *may_roles)
{
	if (exec_text(ctl, &ctl->err, sqltext("ctl", "init_lock")) < 0 || read_version(ctl, before) < 0)
		return -1;
	if (*before > SCHEMA_VERSION)
		return error_set(&ctl->err, ERR_SETTINGS, "schema unstuck is version %d, this program knows %d: use a newer unstuckctl",
		                 *before, SCHEMA_VERSION);
	if (*before < SCHEMA_VERSION && exec_text(ctl, &ctl->err, sqltext("schema", NULL)) < 0)
		return error_prefix(&ctl->err, "schema unstuck");
	if (read_version(ctl, after) < 0 || read_number(ctl, sqltext("ctl", "may_create_roles"), may_roles) < 0)
		return -1;
	return *may_roles ? make_roles(ctl) : 0;
}

static void tell(struct ctl *ctl, int before, int after, int may_roles)
{
	if (before == after)
		printf("schema unstuck: already at version %d\n", after);
	else if (before == 0)
		printf("schema unstuck: version %d created\n", after);
	else
		printf("schema unstuck: upgraded from version %d to %d\n", before, after);
	if (may_roles)
		puts("roles: unstuck_enqueue, unstuck_worker, unstuck_recover, unstuck_read");
	else
		cli_complain(&ctl->cli, "note: user %s may not create roles, so none were made or granted anything (sql/roles.sql)",
		             PQuser(ctl->session.conn));
}

enum exit_status init_run(struct ctl *ctl)
{
	int before = 0, after = 0, may_roles = 0;

	if (ctl->opt.print) {
		fputs(sqltext("schema", NULL), stdout);
		fputs(sqltext("roles", NULL), stdout);
		return EXIT_DONE;
	}
	if (ctl_connect(ctl) < 0 || exec_text(ctl, &ctl->err, "BEGIN") < 0)
		return ctl_failed(ctl);
	if (bring_up(ctl, &before, &after, &may_roles) < 0 || exec_text(ctl, &ctl->err, "COMMIT") < 0)
		return ctl_failed(ctl);		/* the session's end rolls back */
	tell(ctl, before, after, may_roles);
	return EXIT_DONE;
}
