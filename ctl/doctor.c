/*
 * doctor.c - unstuckctl doctor: the table of checks, in the order in which they are made, and how findings are told.
 *
 * Not here: the checks (doctor_*.c, sql/doctor.sql).
 */
#include "doctor.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ident.h"
#include "sqltext.h"
#include "table.h"
#include "version.h"

enum need { NEED_HOST, NEED_DATABASE, NEED_SCHEMA };
enum param { PARAM_NONE, PARAM_VERSION, PARAM_MIN_AGE };

/* Findings come from a statement (sql), or from a function: of all, or of each queue in turn. */
static const struct check {
	const char *name;
	const char *looks_at;
	enum need need;
	const char *sql;
	enum param param;
	void (*run)(struct doctor *d);
	void (*examine)(struct doctor *d, struct patient *p);
} checks[] = {
	{ "spool", "results on this host that wait for the database", NEED_HOST, .run = check_spool },
	{ "disk", "room for the spool", NEED_HOST, .run = check_disk },
	{ "server", "the server's version", NEED_DATABASE, .run = check_server_version },
	{ "pooler", "LISTEN through a pooler", NEED_DATABASE, .run = check_pooler },
	{ "clock", "this host's clock against the server's", NEED_DATABASE, .run = check_clock },
	{ "durability", "fsync, full_page_writes, synchronous_commit", NEED_DATABASE, .sql = "durability" },
	{ "writable", "standby and read-only servers", NEED_DATABASE, .sql = "writable" },
	{ "connections", "connections against their limits", NEED_DATABASE, .sql = "connections" },
	{ "hidden", "what this user may not see", NEED_DATABASE, .sql = "hidden" },
	{ "xmin", "old transactions, prepared ones, replication slots", NEED_DATABASE, .sql = "xmin", .param = PARAM_MIN_AGE },
	{ "schema", "the schema unstuck and its version", NEED_DATABASE, .run = check_schema },
	{ "permissions", "rights on the tables of unstuck", NEED_SCHEMA, .run = check_schema_rights },
	{ "table", "columns, rights, indexes and time zones of a queue's table", NEED_DATABASE, .examine = check_table },
	{ "ids", "keys near the end of their type", NEED_DATABASE, .examine = check_ids },
	{ "stuck", "stuck jobs", NEED_DATABASE, .examine = check_stuck },
	{ "ageless", "PROCESSING rows whose age nobody knows", NEED_DATABASE, .examine = check_ageless },
	{ "vacuum", "dead rows and autovacuum", NEED_DATABASE, .run = check_vacuum },
	{ "workers", "silent and dead workers", NEED_SCHEMA, .run = check_workers },
	{ "versions", "workers of other versions", NEED_SCHEMA, .sql = "versions", .param = PARAM_VERSION },
	{ "waiting", "jobs that nobody serves", NEED_SCHEMA, .run = check_waiting },
	{ "timeouts", "timeouts against how long jobs took", NEED_SCHEMA, .run = check_timeouts },
	{ "leftovers", "claims and batches of workers that are gone", NEED_SCHEMA, .sql = "leftovers" },
	{ "late", "late results that nobody adopted", NEED_SCHEMA, .sql = "late" },
};

static const struct { const char *name, *colour; } severities[] = {
	[NOTE]    = { "note",    "\033[36m" },
	[WARNING] = { "warning", "\033[33m" },
	[ERROR]   = { "error",   "\033[31m" },
};

/* ---- telling ---- */

static char *one_line(const char *fmt, va_list ap)
{
	struct buf text = BUF_INIT, line = BUF_INIT;

	buf_vaddf(&text, fmt, ap);
	buf_add_line(&line, buf_text(&text), text.len);
	buf_release(&text);
	if (line.len == 0)
		buf_adds(&line, "");
	return buf_give(&line);
}

void doctor_tell(struct doctor *d, enum severity severity, const char *fmt, ...)
{
	struct diagnosis *f;
	va_list ap;

	d->found = xrealloc(d->found, (d->found_len + 1) * sizeof *d->found);
	f = &d->found[d->found_len++];
	*f = (struct diagnosis){ .severity = severity, .check = d->check };
	if (d->patient != NULL)
		f->queue = xstrdup(d->patient->set->name);
	va_start(ap, fmt);
	f->what = one_line(fmt, ap);
	va_end(ap);
}

void doctor_remedy(struct doctor *d, const char *fmt, ...)
{
	struct diagnosis *f = &d->found[d->found_len - 1];
	va_list ap;

	free(f->remedy);
	va_start(ap, fmt);
	f->remedy = one_line(fmt, ap);
	va_end(ap);
}

static enum severity severity_of(const char *name)
{
	for (enum severity s = NOTE; s < ERROR; s++)
		if (strcmp(severities[s].name, name) == 0)
			return s;
	return ERROR;
}

int doctor_take(struct doctor *d, const struct error *err)
{
	const char *state = err->sqlstate;

	if (err->kind == ERR_NO_DB)
		return error_set(&d->ctl->err, err->kind, "%s", err->text);
	doctor_tell(d, WARNING, "could not be looked at: %s", err->text);
	if (strcmp(state, "42501") == 0)
		doctor_remedy(d, "GRANT unstuck_read TO %s;", d->user);
	else if (strcmp(state, "57014") == 0 || strcmp(state, "55P03") == 0)
		doctor_remedy(d, "see who holds it: SELECT * FROM pg_stat_activity WHERE xact_start IS NOT NULL ORDER BY xact_start;");
	else
		doctor_remedy(d, "the server's log has the statement");
	return 0;
}

PGresult *doctor_ask(struct doctor *d, const char *sql, int n, const char *const *params)
{
	struct error err = ERROR_INIT;
	PGresult *res = session_exec(&d->ctl->session, &err, sql, n, params);

	if (res == NULL)
		doctor_take(d, &err);
	return res;
}

void doctor_tell_rows(struct doctor *d, const char *section, const char *param)
{
	PGresult *res = doctor_ask(d, sqltext("doctor", section), param != NULL, &param);

	for (int i = 0; i < PQntuples(res); i++) {
		doctor_tell(d, severity_of(PQgetvalue(res, i, 0)), "%s", PQgetvalue(res, i, 1));
		doctor_remedy(d, "%s", PQgetvalue(res, i, 2));
	}
	PQclear(res);
}

char *doctor_word(const char *text)
{
	struct buf b = BUF_INIT;

	buf_addc(&b, '\'');
	for (; *text != '\0'; text++)
		if (*text == '\'')
			buf_adds(&b, "'\\''");
		else
			buf_addc(&b, *text);
	buf_addc(&b, '\'');
	return buf_give(&b);
}

/* ---- the examination ---- */

static void run_sql(struct doctor *d, const struct check *c)
{
	char age[32];

	snprintf(age, sizeof age, "%.3f", (double)d->ctl->opt.min_age / (double)SEC);
	switch (c->param) {
	case PARAM_NONE:
		doctor_tell_rows(d, c->sql, NULL);
		break;
	case PARAM_VERSION:
		doctor_tell_rows(d, c->sql, unstuck_version);
		break;
	case PARAM_MIN_AGE:
		doctor_tell_rows(d, c->sql, age);
		break;
	}
}

static void run_check(struct doctor *d, const struct check *c)
{
	d->check = c->name;
	if (c->sql != NULL)
		run_sql(d, c);
	else if (c->run != NULL)
		c->run(d);
	for (size_t i = 0; c->examine != NULL && i < d->patients_len && !doctor_over(d); i++) {
		d->patient = &d->patients[i];
		c->examine(d, &d->patients[i]);
	}
	d->patient = NULL;
}

static bool is_possible(const struct doctor *d, const struct check *c)
{
	switch (c->need) {
	case NEED_HOST:
		return true;
	case NEED_DATABASE:
		return d->ctl->session.conn != NULL;
	case NEED_SCHEMA:
		return d->ctl->session.conn != NULL && d->ctl->session.has_schema;
	}
	return false;
}

static int connect_patiently(struct doctor *d)
{
	struct ctl *ctl = d->ctl;

	if (session_connect(&ctl->session, ctl->settings.database_url, ctl->cli.program, &ctl->err) < 0)
		return -1;
	d->user = ident_quoted(PQuser(ctl->session.conn));
	return ctl_limit_statements(ctl, &d->pooled);
}

/* A database that is not there leaves what this host alone can tell, and the error. */
static void examine(struct doctor *d)
{
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		if (checks[i].need != NEED_HOST && d->ctl->session.conn == NULL && connect_patiently(d) < 0)
			return;
		if (is_possible(d, &checks[i]))
			run_check(d, &checks[i]);
		if (doctor_over(d))
			return;
	}
}

static void add_patient(struct doctor *d, const struct queue_settings *set)
{
	d->patients = xrealloc(d->patients, (d->patients_len + 1) * sizeof *d->patients);
	d->patients[d->patients_len++] = (struct patient){ .set = set };
}

static int find_patients(struct doctor *d)
{
	struct settings *s = &d->ctl->settings;
	const struct cli *cli = &d->ctl->cli;

	for (size_t i = 0; i < cli->args_len; i++) {
		const struct queue_settings *set = settings_queue(s, cli->args[i]);

		if (set == NULL)
			return error_set(&d->ctl->err, ERR_USAGE, "there is no [queue %s] in the settings", cli->args[i]);
		add_patient(d, set);
	}
	for (size_t i = 0; cli->args_len == 0 && i < s->queues_len; i++)
		add_patient(d, &s->queues[i]);
	return 0;
}

static void doctor_release(struct doctor *d)
{
	for (size_t i = 0; i < d->patients_len; i++)
		mapping_release(&d->patients[i].map);
	free(d->patients);
	for (size_t i = 0; i < d->found_len; i++) {
		free(d->found[i].queue);
		free(d->found[i].what);
		free(d->found[i].remedy);
	}
	free(d->found);
	free(d->config);
	free(d->user);
}

/* ---- printing ---- */

static size_t count_of(const struct doctor *d, enum severity severity, const char *check)
{
	size_t n = 0;

	for (size_t i = 0; i < d->found_len; i++)
		n += d->found[i].severity == severity && (check == NULL || strcmp(d->found[i].check, check) == 0);
	return n;
}

static void print_json(const struct doctor *d)
{
	json_t *list = json_array(), *document;

	for (size_t i = 0; i < d->found_len; i++) {
		const struct diagnosis *f = &d->found[i];

		json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:o, s:o}", "severity", severities[f->severity].name,
		                                      "check", f->check, "queue", ctl_json_text(f->queue),
		                                      "what", ctl_json_text(f->what), "remedy", ctl_json_text(f->remedy)));
	}
	document = json_pack("{s:o, s:I, s:I, s:I}", "findings", list, "errors", (json_int_t)count_of(d, ERROR, NULL),
	                     "warnings", (json_int_t)count_of(d, WARNING, NULL), "notes", (json_int_t)count_of(d, NOTE, NULL));
	json_dumpf(document, stdout, 0);
	putchar('\n');
	json_decref(document);
}

static void print_finding(const struct diagnosis *f, bool colour)
{
	printf("%s%-7s%s  %s: %s", colour ? severities[f->severity].colour : "", severities[f->severity].name,
	       colour ? "\033[0m" : "", f->check, f->queue != NULL ? "queue " : "");
	if (f->queue != NULL)
		print_safe(f->queue, 0);
	printf("%s", f->queue != NULL ? ": " : "");
	print_safe(f->what, 0);
	if (f->remedy != NULL) {
		fputs("\n         -> ", stdout);
		print_safe(f->remedy, 0);
	}
	putchar('\n');
}

/* The worst first, each kind in the order of the checks. */
static void print_text(const struct doctor *d)
{
	bool colour = cli_colour(STDOUT_FILENO);
	int verbose = d->ctl->cli.common.verbose;

	for (size_t i = 0; verbose > 0 && i < ARRAY_SIZE(checks); i++)
		if (is_possible(d, &checks[i]) && count_of(d, ERROR, checks[i].name) + count_of(d, WARNING, checks[i].name)
		    + count_of(d, NOTE, checks[i].name) == 0)
			printf("ok       %s: %s\n", checks[i].name, checks[i].looks_at);
	for (int s = ERROR; s >= (verbose < 0 ? WARNING : NOTE); s--)
		for (size_t i = 0; i < d->found_len; i++)
			if ((int)d->found[i].severity == s)
				print_finding(&d->found[i], colour);
	if (verbose >= 0 && !doctor_over(d))
		printf("%zu errors, %zu warnings, %zu notes\n", count_of(d, ERROR, NULL), count_of(d, WARNING, NULL),
		       count_of(d, NOTE, NULL));
}

enum exit_status doctor_run(struct ctl *ctl)
{
	struct doctor d = { .ctl = ctl };
	char *path = doctor_word(ctl->settings.path);
	bool bad;

	d.config = *ctl->settings.path != '\0' ? xasprintf(" -c %s", path) : xstrdup("");
	free(path);
	if (find_patients(&d) == 0) {
		examine(&d);
		if (ctl->cli.common.json)
			print_json(&d);
		else
			print_text(&d);
	}
	bad = count_of(&d, ERROR, NULL) + count_of(&d, WARNING, NULL) > 0;
	doctor_release(&d);
	if (doctor_over(&d))
		return ctl_failed(ctl);
	return bad ? EXIT_FAILED : EXIT_DONE;
}
