/*
 * lines.c - many jobs at once: each line of stdin is one payload.
 *
 * One COPY in one transaction: all lines or none, and the server names a bad one by its
 * number. The bytes stream through; no line is ever held whole.
 * Not here: one job (enqueue.c).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "enqueue.h"
#include "sqltext.h"
#include "wake.h"

#define PROGRESS_EVERY (250 * MSEC)

struct load {
	struct ctl *ctl;
	struct buf before, after;	/* columns around the payload, as COPY has them */
	struct buf out;			/* not sent yet */
	bool in_line;			/* something of the line was seen */
	uint64_t lines, bytes;
	uint64_t total;			/* bytes of stdin; 0: unknown */
	usec_t shown;			/* when the progress was last drawn; 0: never */
	bool draws;
};

/* One value of COPY's text format. */
static void add_escaped(struct buf *out, const char *data, size_t len)
{
	for (const char *end = data + len; data < end;) {
		const char *p = data;

		while (p < end && *p != '\\' && *p != '\t' && *p != '\r' && *p != '\n')
			p++;
		buf_add(out, data, (size_t)(p - data));
		if (p < end) {
			buf_addc(out, '\\');
			buf_addc(out, *p == '\t' ? 't' : *p == '\r' ? 'r' : *p == '\n' ? 'n' : *p);
			p++;
		}
		data = p;
	}
}

static void draw(struct load *load, bool last)
{
	usec_t now = clock_now();

	if (!load->draws || (!last && now - load->shown < PROGRESS_EVERY))
		return;
	load->shown = now;
	fprintf(stderr, "\r%" PRIu64 " lines", load->lines);
	if (load->total > 0)
		fprintf(stderr, ", %u %%", (unsigned)(load->bytes * 100 / load->total));
	fputs("\033[K", stderr);
	if (last)
		fputs("\r\033[K", stderr);
}

static int send(struct load *load)
{
	PGconn *conn = load->ctl->session.conn;

	if (load->out.len > 0 && PQputCopyData(conn, load->out.data, (int)load->out.len) != 1)
		return pg_error(&load->ctl->err, conn, NULL);
	buf_clear(&load->out);
	return 0;
}

static void end_line(struct load *load)
{
	if (!load->in_line)
		buf_add(&load->out, load->before.data, load->before.len);
	buf_add(&load->out, load->after.data, load->after.len);
	load->in_line = false;
	load->lines++;
}

static int take(struct load *load, const char *data, size_t len)
{
	for (const char *end = data + len; data < end;) {
		const char *newline = memchr(data, '\n', (size_t)(end - data));
		const char *stop = newline != NULL ? newline : end;

		if (memchr(data, '\0', (size_t)(stop - data)) != NULL)
			return error_set(&load->ctl->err, ERR_DB, "line %" PRIu64 ": holds a NUL byte; nothing was stored",
			                 load->lines + 1);
		if (!load->in_line && stop > data) {
			buf_add(&load->out, load->before.data, load->before.len);
			load->in_line = true;
		}
		add_escaped(&load->out, data, (size_t)(stop - data));
		if (newline != NULL)
			end_line(load);
		data = newline != NULL ? newline + 1 : end;
	}
	load->bytes += len;
	draw(load, false);
	return send(load);
}

/* All of stdin to the server; a last line may lack its newline. */
static int pump(struct load *load)
{
	char chunk[65536];
	ssize_t n;

	while ((n = read(STDIN_FILENO, chunk, sizeof chunk)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(&load->ctl->err, ERR_SYS, "reading standard input: %s", strerror(errno));
		if (take(load, chunk, (size_t)n) < 0)
			return -1;
	}
	if (load->in_line)
		end_line(load);
	return send(load);
}

/* What COPY complained about, with the line's number in front. */
static void tell_bad_line(struct load *load, const PGresult *res)
{
	const char *context = PQresultErrorField(res, PG_DIAG_CONTEXT);
	const char *place = context != NULL ? strstr(context, "COPY jobs, line ") : NULL;
	struct buf why = BUF_INIT;

	if (place == NULL) {
		pg_error(&load->ctl->err, load->ctl->session.conn, res);
		return;
	}
	enqueue_explain(&why, res, false);
	error_set(&load->ctl->err, ERR_DB, "line %.*s: %s; nothing was stored", (int)strspn(place + 16, "0123456789"),
	          place + 16, buf_text(&why));
	buf_release(&why);
}

/* Every result of a COPY that was begun, up to the NULL that ends it. */
static int finish_copy(struct load *load)
{
	PGresult *res;

	while ((res = PQgetResult(load->ctl->session.conn)) != NULL) {
		if (PQresultStatus(res) != PGRES_COMMAND_OK)
			tell_bad_line(load, res);
		PQclear(res);
	}
	return load->ctl->err.kind == ERR_NONE ? 0 : -1;
}

static int copy(struct load *load)
{
	PGconn *conn = load->ctl->session.conn;
	PGresult *res = PQexec(conn, sqltext("ctl", "load"));
	int rc = 0;

	if (PQresultStatus(res) != PGRES_COPY_IN)
		rc = pg_error(&load->ctl->err, conn, res);
	PQclear(res);
	if (rc < 0)
		return -1;
	rc = pump(load);
	draw(load, true);
	if (PQputCopyEnd(conn, rc < 0 ? "given up by the client" : NULL) != 1)
		return pg_error(&load->ctl->err, conn, NULL);
	return finish_copy(load);
}

/* The columns that are the same in every line. */
static int prepare(struct load *load)
{
	struct ctl *ctl = load->ctl;
	const struct options *o = &ctl->opt;
	char *delay = enqueue_delay(o), *run_at = NULL;
	const char *params[] = { o->run_at, delay };
	struct stat st;

	if (session_value(&ctl->session, &ctl->err, &run_at, sqltext("ctl", "load_run_at"), 2, params) < 0) {
		if (o->run_at != NULL && enqueue_about_time(ctl->err.sqlstate))
			ctl->err.kind = ERR_USAGE;
		free(delay);
		return -1;
	}
	add_escaped(&load->before, ctl->cli.args[0], strlen(ctl->cli.args[0]));
	buf_addc(&load->before, '\t');
	buf_addf(&load->after, "\t%s\t%s\t%s\n", run_at, o->priority ? o->priority : "0",
	         o->max_attempts ? o->max_attempts : "\\N");
	load->draws = isatty(STDERR_FILENO) && ctl->cli.common.verbose >= 0;
	if (fstat(STDIN_FILENO, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
		load->total = (uint64_t)st.st_size;
	free(run_at);
	free(delay);
	return 0;
}

static int exec(struct ctl *ctl, const char *sql, int n, const char *const *params)
{
	PGresult *res = session_exec(&ctl->session, &ctl->err, sql, n, params);

	PQclear(res);
	return res != NULL ? 0 : -1;
}

/* In a transaction; the session's end rolls back what was not committed. */
static int load_all(struct load *load)
{
	struct ctl *ctl = load->ctl;

	if (exec(ctl, "BEGIN", 0, NULL) < 0 || exec(ctl, sqltext("ctl", "load_patience"), 0, NULL) < 0 ||
	    prepare(load) < 0 || copy(load) < 0)
		return -1;
	if (load->lines > 0 &&
	    exec(ctl, sqltext("ctl", "load_notify"), 1, (const char *const[]){ ctl->cli.args[0] }) < 0)
		return -1;
	return exec(ctl, "COMMIT", 0, NULL);
}

enum exit_status enqueue_lines(struct ctl *ctl)
{
	struct load load = { .ctl = ctl, .before = BUF_INIT, .after = BUF_INIT, .out = BUF_INIT };

	if (ctl_connect_schema(ctl) == 0 && load_all(&load) == 0) {
		printf("%" PRIu64 "\n", load.lines);
		if (load.lines > 0)
			wake_tell(ctl, ctl->cli.args[0]);
	}
	buf_release(&load.before);
	buf_release(&load.after);
	buf_release(&load.out);
	return ctl_failed(ctl);
}
