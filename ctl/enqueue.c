/*
 * enqueue.c - one job from the command line or stdin.
 *
 * Lives here: reading and checking the options; telling what PostgreSQL refused.
 * Not here:   many jobs at once (lines.c).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "buf.h"
#include "enqueue.h"
#include "sqltext.h"
#include "wake.h"
#include "words.h"

#define PAYLOAD_MAX ((size_t)512 << 20)	/* more cannot be sent as one parameter with certainty */

static int check_int(struct ctl *ctl, const char *option, const char *text, long long min)
{
	long long value;
	char *end;

	if (text == NULL)
		return 0;
	errno = 0;
	value = strtoll(text, &end, 10);
	if (end != text && *end == '\0' && errno == 0 && value >= min && value <= INT32_MAX &&
	    strspn(text, "-+0123456789") == strlen(text))
		return 0;
	return error_set(&ctl->err, ERR_USAGE, "%s: \"%s\" is not a whole number from %lld to %d", option, text, min,
	                 INT32_MAX);
}

/* A queue's name is any text without control characters and ]. */
static int check_queue(struct ctl *ctl, const char *queue)
{
	if (*queue == '\0')
		return error_set(&ctl->err, ERR_USAGE, "a queue's name is not empty");
	for (const char *p = queue; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f || *p == ']')
			return error_set(&ctl->err, ERR_USAGE, "a queue's name has no control characters and no ]");
	if (!utf8_valid(queue, strlen(queue)))
		return error_set(&ctl->err, ERR_USAGE, "the queue's name is not UTF-8");
	return 0;
}

/* A job in Unstuck's table for a queue that works on another table would never run. */
static int check_against_settings(struct ctl *ctl, const char *queue)
{
	const struct queue_settings *q = settings_queue(&ctl->settings, queue);
	const char **names, *near;

	if (q != NULL && *q->table != '\0')
		return error_set(&ctl->err, ERR_USAGE, "queue %s works on table %s: insert a row there", queue, q->table);
	if (q != NULL || ctl->settings.queues_len == 0)
		return 0;
	names = xcalloc(ctl->settings.queues_len, sizeof *names);
	for (size_t i = 0; i < ctl->settings.queues_len; i++)
		names[i] = ctl->settings.queues[i].name;
	near = words_nearest(queue, names, ctl->settings.queues_len);
	if (near != NULL && ctl->cli.common.verbose >= 0)
		cli_complain(&ctl->cli, "note: %s has no queue %s (did you mean %s?)", ctl->settings.path, queue, near);
	free(names);
	return 0;
}

static int check_options(struct ctl *ctl)
{
	const struct options *o = &ctl->opt;

	if (check_queue(ctl, ctl->cli.args[0]) < 0 || check_int(ctl, "--priority", o->priority, INT32_MIN) < 0 ||
	    check_int(ctl, "--max-attempts", o->max_attempts, 1) < 0)
		return -1;
	if (o->run_at != NULL && o->delay != USEC_NEVER)
		return error_set(&ctl->err, ERR_USAGE, "--run-at and --delay: only one of them");
	if (o->lines && o->unique_key != NULL)
		return error_set(&ctl->err, ERR_USAGE, "--unique-key is for one job, not for --lines");
	if (o->lines && ctl->cli.args_len > 1 && strcmp(ctl->cli.args[1], "-") != 0)
		return error_set(&ctl->err, ERR_USAGE, "--lines reads the payloads from stdin, not from an argument");
	return check_against_settings(ctl, ctl->cli.args[0]);
}

/* Caller frees. NULL and ctl->err. */
static char *read_stdin(struct ctl *ctl)
{
	struct buf text = BUF_INIT;
	char chunk[65536];
	ssize_t n;

	while ((n = read(STDIN_FILENO, chunk, sizeof chunk)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			error_set(&ctl->err, ERR_SYS, "reading standard input: %s", strerror(errno));
			goto fail;
		}
		buf_add(&text, chunk, (size_t)n);
		if (text.len > PAYLOAD_MAX) {
			error_set(&ctl->err, ERR_SYS, "the payload is larger than %zu MB", PAYLOAD_MAX >> 20);
			goto fail;
		}
	}
	if (memchr(buf_text(&text), '\0', text.len) != NULL) {
		error_set(&ctl->err, ERR_SYS, "the payload holds a NUL byte: expected JSON");
		goto fail;
	}
	if (text.len == 0) {
		error_set(&ctl->err, ERR_SYS, "standard input is empty: expected a payload (JSON)");
		goto fail;
	}
	return buf_give(&text);
fail:
	buf_release(&text);
	return NULL;
}

static void add_line(struct buf *out, const char *text)
{
	if (text == NULL || *text == '\0')
		return;
	if (out->len > 0)
		buf_adds(out, ": ");
	utf8_clean(out, text, strcspn(text, "\n"), 300);
}

void enqueue_explain(struct buf *out, const PGresult *res, bool with_line)
{
	const char *context = PQresultErrorField(res, PG_DIAG_CONTEXT);

	add_line(out, PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY));
	add_line(out, PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL));
	if (context == NULL || strncmp(context, "JSON data, line ", 16) != 0)
		return;
	context += with_line ? 11 : 16 + strcspn(context + 16, ":") + 2;
	add_line(out, context);
}

bool enqueue_about_time(const char *sqlstate)
{
	static const char *const states[] = { "22007", "22008", "22009", "22023" };

	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (strcmp(sqlstate, states[i]) == 0)
			return true;
	return false;
}

char *enqueue_delay(const struct options *o)
{
	return o->delay == USEC_NEVER ? NULL : xasprintf("%" PRIu64 ".%06" PRIu64, o->delay / SEC, o->delay % SEC);
}

static bool about_json(const char *sqlstate)
{
	static const char *const states[] = { "22P02", "22P05", "22003", "22021", "54001", "54000" };

	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (strcmp(sqlstate, states[i]) == 0)
			return true;
	return false;
}

/* What the server refused, in the words of the command line. */
static void tell_refusal(struct ctl *ctl, const PGresult *res, bool from_stdin)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	struct buf why = BUF_INIT;

	enqueue_explain(&why, res, true);
	if (state == NULL)
		pg_error(&ctl->err, ctl->session.conn, res);
	else if (ctl->opt.run_at != NULL && enqueue_about_time(state))
		error_set(&ctl->err, ERR_USAGE, "--run-at: %s", buf_text(&why));
	else if (about_json(state))
		error_set(&ctl->err, from_stdin ? ERR_DB : ERR_USAGE, "payload refused: %s", buf_text(&why));
	else
		pg_error(&ctl->err, ctl->session.conn, res);
	buf_release(&why);
}

static void enqueue_one(struct ctl *ctl, const char *payload, bool from_stdin)
{
	const struct options *o = &ctl->opt;
	char *delay = enqueue_delay(o);
	const char *params[] = { ctl->cli.args[0], payload, o->run_at, delay, o->priority ? o->priority : "0",
	                         o->unique_key, o->max_attempts };
	PGresult *res = PQexecParams(ctl->session.conn, sqltext("ctl", "enqueue"), (int)ARRAY_SIZE(params), NULL, params,
	                             NULL, NULL, 0);

	if (PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) == 1) {
		puts(PQgetvalue(res, 0, 0));
		wake_tell(ctl, ctl->cli.args[0]);
	} else {
		tell_refusal(ctl, res, from_stdin);
	}
	PQclear(res);
	free(delay);
}

enum exit_status enqueue_run(struct ctl *ctl)
{
	bool from_stdin = ctl->cli.args_len > 1 && strcmp(ctl->cli.args[1], "-") == 0;
	char *payload = NULL;

	if (check_options(ctl) < 0)
		return ctl_failed(ctl);
	if (ctl->opt.lines)
		return enqueue_lines(ctl);
	if (from_stdin)
		payload = read_stdin(ctl);
	else
		payload = xstrdup(ctl->cli.args_len > 1 ? ctl->cli.args[1] : "{}");
	if (payload != NULL && ctl_connect_schema(ctl) == 0)
		enqueue_one(ctl, payload, from_stdin);
	free(payload);
	return ctl_failed(ctl);
}
