/*
 * report_json.c - the report as one JSON document.
 *
 * jansson writes our own fields. What the user's columns hold ("show") comes as
 * JSON text from the server and passes through untouched: reading and writing
 * it again would change big and fractional numbers.
 */
#include "report.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Text of the database is valid UTF-8 unless its encoding is SQL_ASCII. */
static json_t *text_value(const char *text)
{
	struct buf clean = BUF_INIT;
	json_t *v;

	if (text == NULL)
		return json_null();
	v = json_string(text);
	if (v == NULL) {
		utf8_clean(&clean, text, strlen(text), strlen(text) * 4);
		v = json_string(buf_text(&clean));
		buf_release(&clean);
	}
	return v;
}

static json_t *count_value(size_t n)
{
	return json_integer((json_int_t)n);
}

/* Whole seconds as an integer, anything else as a fraction. */
static json_t *seconds_value(usec_t t)
{
	return t % SEC == 0 ? json_integer((json_int_t)(t / SEC)) : json_real((double)t / (double)SEC);
}

/* Write object without its closing brace; json takes the object. */
static void open_object(struct buf *out, json_t *object)
{
	char *text = json_dumps(object, JSON_REAL_PRECISION(15));

	buf_add(out, text, strlen(text) - 1);
	free(text);
	json_decref(object);
}

/* A column of type json may hold line breaks between its values: ours is one line. */
static void add_on_one_line(struct buf *out, const char *json)
{
	for (; *json != '\0'; json++)
		buf_addc(out, *json == '\n' || *json == '\r' ? ' ' : *json);
}

static const char *action_done(const struct run *r, const struct stuck_row *row)
{
	if (r->applied && row->fate != FATE_DONE)
		return action_name(ACTION_NONE);
	return action_name(row->action);
}

static void add_row(struct buf *out, const struct run *r, const struct stuck_row *row)
{
	open_object(out, json_pack("{s:o, s:o, s:I, s:o, s:s, s:s}", "id", text_value(row->id), "since",
	                           text_value(row->since), "age_s", (json_int_t)row->age_s, "worker",
	                           text_value(row->worker), "reason", row->reason, "action", action_done(r, row)));
	buf_adds(out, ", \"show\": ");
	add_on_one_line(out, row->show != NULL && *row->show != '\0' ? row->show : "{}");
	buf_addc(out, '}');
}

static void add_target(struct buf *out, const struct run *r, const struct target *t, size_t *room)
{
	json_t *o = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "queue", text_value(target_name(t)), "table",
	                      text_value(t->mapping.source), "timeout_s", seconds_value(t->timeout), "processing",
	                      count_value(t->processing), "stuck", count_value(t->stuck), "reset",
	                      count_value(t->reset), "failed", count_value(t->failed), "skipped",
	                      count_value(t->skipped));

	if (t->error.kind != ERR_NONE)
		json_object_set_new(o, "error", text_value(t->error.text));
	open_object(out, o);
	buf_adds(out, ", \"rows\": [");
	for (size_t i = 0; i < t->rows_len && *room > 0; i++, (*room)--) {
		if (i > 0)
			buf_adds(out, ", ");
		add_row(out, r, &t->rows[i]);
	}
	buf_adds(out, "]}");
}

void report_json(struct buf *out, const struct run *r)
{
	struct run_sums sums = run_sums(r);
	size_t room = LISTED_MAX;

	open_object(out, json_pack("{s:b, s:b, s:o, s:o, s:o, s:o, s:o}", "dry_run", r->dry_run, "locked", r->locked,
	                           "checked_at", text_value(r->checked_at), "stuck", count_value(sums.stuck), "reset",
	                           count_value(sums.reset), "failed", count_value(sums.failed), "skipped",
	                           count_value(sums.skipped)));
	buf_adds(out, ", \"queues\": [");
	for (size_t i = 0; i < r->targets.len; i++) {
		if (i > 0)
			buf_adds(out, ", ");
		add_target(out, r, &r->targets.v[i], &room);
	}
	buf_adds(out, "]}");
}
