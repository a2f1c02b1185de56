/*
 * ctl.c - connecting, failing and checking ids, the same way in every command.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "buf.h"
#include "ctl.h"
#include "sqltext.h"

int ctl_connect(struct ctl *ctl)
{
	return session_open(&ctl->session, ctl->settings.database_url, ctl->cli.program, &ctl->err);
}

int ctl_connect_schema(struct ctl *ctl)
{
	if (ctl_connect(ctl) < 0)
		return -1;
	if (ctl->session.has_schema)
		return 0;
	if (ctl->session.schema_version > SCHEMA_VERSION)
		return error_set(&ctl->err, ERR_SETTINGS, "schema unstuck is version %d, this program knows %d: use a newer unstuckctl",
		                 ctl->session.schema_version, SCHEMA_VERSION);
	if (ctl->session.schema_version != 0)
		return error_set(&ctl->err, ERR_SETTINGS, "schema unstuck is version %d, this program needs %d: run `unstuckctl init`",
		                 ctl->session.schema_version, SCHEMA_VERSION);
	return error_set(&ctl->err, ERR_SETTINGS,
	                 "there is no schema unstuck in database %s: run `unstuckctl init` to create it",
	                 PQdb(ctl->session.conn));
}

int ctl_limit_statements(struct ctl *ctl, bool *pooled)
{
	char *pid = NULL;

	if (session_value(&ctl->session, &ctl->err, &pid, "SELECT pg_backend_pid()", 0, NULL) < 0)
		return -1;
	*pooled = pid == NULL || atoi(pid) != PQbackendPID(ctl->session.conn);
	free(pid);
	if (!*pooled)
		PQclear(session_exec(&ctl->session, &ctl->err, sqltext("ctl", "limits"), 0, NULL));
	return ctl->err.kind == ERR_NONE ? 0 : -1;
}

enum exit_status ctl_fail(struct ctl *ctl, enum error_kind kind, const char *fmt, ...)
{
	char text[sizeof ctl->err.text];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	error_set(&ctl->err, kind, "%s", text);
	return error_exit_status(&ctl->err);
}

enum exit_status ctl_failed(const struct ctl *ctl)
{
	return error_exit_status(&ctl->err);
}

int ctl_job_id(struct ctl *ctl, const char *text)
{
	return ctl_id(ctl, text, "job");
}

int ctl_id(struct ctl *ctl, const char *text, const char *what)
{
	size_t digits = strspn(text, "0123456789");

	errno = 0;
	if (digits > 0 && text[digits] == '\0' && strtoll(text, NULL, 10) > 0 && errno == 0)
		return 0;
	return error_set(&ctl->err, ERR_USAGE, "\"%s\" is no %s id: expected a whole number from 1", text, what);
}

json_t *ctl_json_text(const char *text)
{
	struct buf clean = BUF_INIT;
	json_t *j;

	if (text == NULL)
		return json_null();
	utf8_clean(&clean, text, strlen(text), 64 * 1024);
	j = json_string(buf_text(&clean));
	buf_release(&clean);
	return j;
}
