/*
 * pg.c - where to connect, how to say where without a secret, what an error of
 * the server means, and the small blocking session.
 *
 * Not here: the worker's asynchronous connection (worker/db.c), any table.
 */
#include "pg.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "sqltext.h"

#define NO_SUCH_STATEMENT "26000"	/* this server session has not prepared it */

/* ---- where to connect ---- */

/* What we set where the user named nothing: an unreachable server is noticed within half a minute. */
static const struct {
	const char *keyword, *value;
} defaults[] = {
	{ "keepalives_idle", "30" },
	{ "keepalives_interval", "10" },
	{ "keepalives_count", "3" },
	{ "tcp_user_timeout", "30000" },
	{ "connect_timeout", "10" },
};

static const char *option_value(const PQconninfoOption *options, const char *keyword)
{
	for (const PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++)
		if (strcmp(o->keyword, keyword) == 0)
			return o->val;
	return NULL;
}

static void conninfo_add(struct conninfo *ci, const char *keyword, const char *value)
{
	ci->keywords = xrealloc(ci->keywords, (ci->len + 2) * sizeof *ci->keywords);
	ci->values = xrealloc(ci->values, (ci->len + 2) * sizeof *ci->values);
	ci->keywords[ci->len] = xstrdup(keyword);
	ci->values[ci->len++] = xstrdup(value);
	ci->keywords[ci->len] = ci->values[ci->len] = NULL;
}

/* libpq's own defaults, with those of the service that the URL names. */
static PQconninfoOption *libpq_defaults(const char *service)
{
	const char *env = getenv("PGSERVICE");
	char *before = env != NULL ? xstrdup(env) : NULL;
	PQconninfoOption *options;

	if (service != NULL)
		setenv("PGSERVICE", service, 1);
	options = PQconndefaults();
	if (service != NULL && before != NULL)
		setenv("PGSERVICE", before, 1);
	else if (service != NULL)
		unsetenv("PGSERVICE");
	free(before);
	return options;
}

/*
 * libpq's parser takes some wrong URLs, and would later quote a part of the
 * password as a host or a port. Nothing of the text may be told here either.
 */
static int check_parts(const PQconninfoOption *options, struct error *err)
{
	const char *host = option_value(options, "host"), *port = option_value(options, "port");

	if (host != NULL && host[0] != '/' && host[0] != '@' && strchr(host, '@') != NULL)
		return error_set(err, ERR_SETTINGS,
		                 "database_url: the host holds an @ (write @ in a user name or password as %%40)");
	if (port != NULL && port[strspn(port, "0123456789,")] != '\0')
		return error_set(err, ERR_SETTINGS, "database_url: the port is not a number");
	return 0;
}

/* NULL is what want of memory gives too, and its text is translated: so what is wrong has to be so again, and with memory to be had. */
static PQconninfoOption *parse_url(const char *url)
{
	PQconninfoOption *options = NULL;
	char *quoted;

	for (int tries = 0; options == NULL && tries < 2; tries++) {
		free(xmalloc(1024));
		quoted = NULL;
		options = PQconninfoParse(url, &quoted);
		PQfreemem(quoted);	/* quotes the URL, password and all: never told */
	}
	return options;
}

int conninfo_init(struct conninfo *ci, const char *url, const char *application, struct error *err)
{
	PQconninfoOption *options = NULL, *libpq = NULL;
	int rc = -1;

	*ci = (struct conninfo){ NULL, NULL, 0 };
	if (url != NULL && *url != '\0') {
		options = parse_url(url);
		if (options == NULL) {
			error_set(err, ERR_SETTINGS, "database_url: expected postgresql://user@host:port/database or "
			          "key=value words as libpq knows them (special characters in a URL as %%XX)");
			goto out;
		}
		if (check_parts(options, err) < 0)
			goto out;
	}
	libpq = libpq_defaults(option_value(options, "service"));
	for (const PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++)
		if (o->val != NULL)
			conninfo_add(ci, o->keyword, o->val);
	for (size_t i = 0; i < ARRAY_SIZE(defaults); i++)
		if (option_value(options, defaults[i].keyword) == NULL && option_value(libpq, defaults[i].keyword) == NULL)
			conninfo_add(ci, defaults[i].keyword, defaults[i].value);
	if (option_value(options, "fallback_application_name") == NULL)
		conninfo_add(ci, "fallback_application_name", application);
	if (option_value(options, "client_encoding") == NULL)
		conninfo_add(ci, "client_encoding", "UTF8");
	rc = 0;
out:
	PQconninfoFree(options);
	PQconninfoFree(libpq);
	return rc;
}

void conninfo_release(struct conninfo *ci)
{
	for (size_t i = 0; i < ci->len; i++) {
		free(ci->keywords[i]);
		free(ci->values[i]);
	}
	free(ci->keywords);
	free(ci->values);
	*ci = (struct conninfo){ NULL, NULL, 0 };
}

void pg_describe(struct buf *out, const PGconn *conn)
{
	const struct {
		const char *name, *value;
	} parts[] = {
		{ "host", PQhost(conn) }, { "port", PQport(conn) }, { "dbname", PQdb(conn) }, { "user", PQuser(conn) },
	};
	const char *gap = "";

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (parts[i].value == NULL || *parts[i].value == '\0')
			continue;
		buf_addf(out, "%s%s=%s", gap, parts[i].name, parts[i].value);
		gap = " ";
	}
}

/* ---- errors ---- */

/* Any run of blanks and line ends becomes one blank; none at the ends. */
static void add_one_line(struct buf *out, const char *text)
{
	size_t start = out->len;

	for (const char *p = text; *p != '\0'; p++) {
		bool blank = *p == ' ' || *p == '\t' || *p == '\n' || *p == '\r';

		if (!blank)
			buf_addc(out, *p);
		else if (out->len > start && out->data[out->len - 1] != ' ')
			buf_addc(out, ' ');
	}
	while (out->len > start && out->data[out->len - 1] == ' ')
		out->data[--out->len] = '\0';
}

/* libpq 15 quotes no password in what it says about a connection; this holds for those that might. */
static char *without(const char *text, const char *secret)
{
	struct buf out = BUF_INIT;
	size_t len = secret != NULL ? strlen(secret) : 0;
	const char *at;

	while (len > 0 && (at = strstr(text, secret)) != NULL) {
		buf_add(&out, text, (size_t)(at - text));
		buf_adds(&out, "***");
		text = at + len;
	}
	buf_adds(&out, text);
	return buf_give(&out);
}

static void add_message(struct buf *out, const PGconn *conn, const PGresult *res)
{
	const char *primary = res != NULL ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	const char *detail = res != NULL ? PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL) : NULL;
	char *plain;

	if (primary != NULL) {
		add_one_line(out, primary);
		if (detail != NULL) {
			buf_adds(out, " (");
			add_one_line(out, detail);
			buf_adds(out, ")");
		}
		return;
	}
	plain = without(res != NULL && *PQresultErrorMessage(res) != '\0' ? PQresultErrorMessage(res)
	                                                                  : PQerrorMessage(conn), PQpass(conn));
	add_one_line(out, plain);
	free(plain);
}

int pg_error(struct error *err, const PGconn *conn, const PGresult *res)
{
	const char *sqlstate = res != NULL ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
	enum error_kind kind = pg_verdict(sqlstate) == PG_LOST ? ERR_NO_DB : ERR_DB;
	struct buf text = BUF_INIT;

	if (err == NULL || err->kind != ERR_NONE)
		return -1;
	if (sqlstate == NULL && PQstatus(conn) == CONNECTION_OK)
		kind = ERR_DB;		/* an answer that was not expected, the connection is fine */
	add_message(&text, conn, res);
	error_set(err, kind, "%s", text.len > 0 ? text.data : "the connection to the database was lost");
	if (sqlstate != NULL)
		snprintf(err->sqlstate, sizeof err->sqlstate, "%s", sqlstate);
	buf_release(&text);
	return -1;
}

/* The longest prefix decides; what is not here can never be stored as it is. */
static const struct {
	const char *prefix;
	enum pg_verdict verdict;
} verdicts[] = {
	{ "08", PG_LOST },	/* connection exception */
	{ "40003", PG_LOST },	/* statement completion unknown */
	{ "57P", PG_LOST },	/* shutdown, crash, starting up, dropped, idle for too long */
	{ "25P03", PG_LOST },	/* idle in transaction for too long: the session is ended */
	{ "25P04", PG_LOST },	/* transaction for too long: likewise */
	{ "25", PG_AGAIN },	/* read-only (25006): a standby */
	{ "26", PG_AGAIN },	/* prepared statement gone: another server session */
	{ "28", PG_AGAIN },	/* not authorized: mended by an operator */
	{ "3D", PG_AGAIN },	/* no such database */
	{ "42P05", PG_AGAIN },	/* prepared statement already there: another server session */
	{ "40", PG_AGAIN },	/* deadlock, serialization */
	{ "53", PG_AGAIN },	/* no disk, memory, connections */
	{ "55", PG_AGAIN },	/* lock not available, object in use */
	{ "57", PG_AGAIN },	/* cancelled, statement_timeout */
	{ "58", PG_AGAIN },	/* I/O error */
	{ "F0", PG_AGAIN },	/* configuration file */
	{ "XX", PG_AGAIN },	/* internal error, corruption */
};

enum pg_verdict pg_verdict(const char *sqlstate)
{
	enum pg_verdict verdict = PG_DATA;
	size_t longest = 0;

	if (sqlstate == NULL || *sqlstate == '\0')
		return PG_LOST;
	for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++) {
		size_t len = strlen(verdicts[i].prefix);

		if (len > longest && strncmp(sqlstate, verdicts[i].prefix, len) == 0) {
			verdict = verdicts[i].verdict;
			longest = len;
		}
	}
	return verdict;
}

const char *pg_session_sql(void)
{
	return sqltext("session", "session");
}

/* ---- the blocking session ---- */

static int run(struct session *s, struct error *err, const char *sql)
{
	PGresult *res = session_exec(s, err, sql, 0, NULL);

	PQclear(res);
	return res != NULL ? 0 : -1;
}

int session_find_schema(struct session *s, struct error *err)
{
	char *readable = NULL, *version = NULL;
	int rc = -1;

	if (session_value(s, err, &readable, sqltext("session", "schema_version"), 0, NULL) < 0)
		goto out;
	if (readable == NULL) {		/* none, or somebody else's schema of that name */
		rc = 0;
		goto out;
	}
	if (strcmp(readable, "t") != 0) {
		error_set(err, ERR_SETTINGS, "user %s may not use schema unstuck: GRANT one of the roles of sql/roles.sql, "
		          "e.g. unstuck_worker", PQuser(s->conn));
		goto out;
	}
	if (session_value(s, err, &version, sqltext("session", "version"), 0, NULL) < 0)
		goto out;
	s->schema_version = version != NULL ? atoi(version) : 0;
	s->has_schema = s->schema_version == SCHEMA_VERSION;
	rc = 0;
out:
	free(readable);
	free(version);
	return rc;
}

int session_connect(struct session *s, const char *url, const char *application, struct error *err)
{
	struct conninfo ci;
	int rc = -1;

	*s = (struct session){ .conn = NULL };
	if (conninfo_init(&ci, url, application, err) < 0)
		return -1;
	s->conn = PQconnectdbParams((const char *const *)ci.keywords, (const char *const *)ci.values, 0);
	if (s->conn == NULL || PQstatus(s->conn) != CONNECTION_OK) {
		pg_error(err, s->conn, NULL);
		if (err != NULL)
			err->kind = ERR_NO_DB;
		goto out;
	}
	if (run(s, err, pg_session_sql()) < 0 || run(s, err, sqltext("session", "command")) < 0)
		goto out;
	rc = 0;
out:
	conninfo_release(&ci);
	if (rc < 0)
		session_close(s);
	return rc;
}

int session_open(struct session *s, const char *url, const char *application, struct error *err)
{
	if (session_connect(s, url, application, err) < 0)
		return -1;
	if (session_find_schema(s, err) < 0) {
		session_close(s);
		return -1;
	}
	return 0;
}

void session_close(struct session *s)
{
	PQfinish(s->conn);
	*s = (struct session){ .conn = NULL };
}

/* res, or NULL and err where it is an error. */
static PGresult *result_of(struct session *s, struct error *err, PGresult *res)
{
	ExecStatusType status = PQresultStatus(res);

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		return res;
	pg_error(err, s->conn, res);
	PQclear(res);
	return NULL;
}

PGresult *session_exec(struct session *s, struct error *err, const char *sql, int n, const char *const *params)
{
	return result_of(s, err, PQexecParams(s->conn, sql, n, NULL, params, NULL, NULL, 0));
}

/* What is wrong with the statement itself its execution will tell. */
static void plan_prepare(struct session *s, struct session_plan *p)
{
	unsigned long long number;
	PGresult *res = NULL;

	if (getrandom(&number, sizeof number, 0) == (ssize_t)sizeof number) {
		snprintf(p->name, sizeof p->name, "unstuck_%016llx", number);
		res = PQprepare(s->conn, p->name, p->sql, 0, NULL);
	}
	p->off = PQresultStatus(res) != PGRES_COMMAND_OK;
	PQclear(res);
}

PGresult *session_exec_plan(struct session *s, struct error *err, struct session_plan *p, int n, const char *const *params)
{
	struct error why = ERROR_INIT;
	PGresult *res;

	if (p->name[0] == '\0')
		plan_prepare(s, p);
	if (!p->off) {
		res = result_of(s, &why, PQexecPrepared(s->conn, p->name, n, params, NULL, NULL, 0));
		p->off = res == NULL && strcmp(why.sqlstate, NO_SUCH_STATEMENT) == 0;
		if (!p->off) {
			if (res == NULL)
				*err = why;
			return res;
		}
	}
	return session_exec(s, err, p->sql, n, params);
}

int session_value(struct session *s, struct error *err, char **out, const char *sql, int n, const char *const *params)
{
	PGresult *res = session_exec(s, err, sql, n, params);

	*out = NULL;
	if (res == NULL)
		return -1;
	if (PQntuples(res) > 0 && !PQgetisnull(res, 0, 0))
		*out = xstrdup(PQgetvalue(res, 0, 0));
	PQclear(res);
	return 0;
}

/* ---- arrays ---- */

void array_begin(struct buf *b)
{
	buf_addc(b, '{');
}

void array_add(struct buf *b, const char *text, size_t len)
{
	size_t escapes = 0;
	char *p;

	if (b->data[b->len - 1] != '{')
		buf_addc(b, ',');
	if (text == NULL) {
		buf_adds(b, "NULL");
		return;
	}
	for (size_t i = 0; i < len; i++)
		escapes += text[i] == '"' || text[i] == '\\';
	buf_reserve(b, len + escapes + 2);
	p = b->data + b->len;
	*p++ = '"';
	if (escapes == 0)
		p = mempcpy(p, text, len);
	for (size_t i = 0; escapes != 0 && i < len; i++) {
		if (text[i] == '"' || text[i] == '\\')
			*p++ = '\\';
		*p++ = text[i];
	}
	*p++ = '"';
	*p = '\0';
	b->len = (size_t)(p - b->data);
}

void array_add_number(struct buf *b, int64_t n)
{
	if (b->data[b->len - 1] != '{')
		buf_addc(b, ',');
	buf_add_number(b, n);
}

void array_end(struct buf *b)
{
	buf_addc(b, '}');
}
