/*
 * top_view.c - see top_view.h. Widths are those of the terminal's columns, not of bytes.
 */
#include "top_view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include "clock.h"
#include "table.h"

/* ---- cells ---- */

/* The next character of text: its bytes, how they are shown, how wide that is. Returns the bytes, 0 at the end. */
static size_t next_glyph(const char *text, char shown[static 8], size_t *wide)
{
	size_t len = utf8_sequence(text, strlen(text));
	mbstate_t state = { 0 };
	wchar_t c = 0;
	int width = -1;

	if (*text == '\0')
		return 0;
	if (len > 0 && mbrtowc(&c, text, len, &state) == len)
		width = wcwidth(c);
	if (width < 0) {
		*wide = (size_t)snprintf(shown, 8, "\\x%02x", (unsigned char)*text);
		return 1;
	}
	memcpy(shown, text, len);
	shown[len] = '\0';
	*wide = (size_t)width;
	return len;
}

static size_t text_width(const char *text)
{
	char shown[8];
	size_t width = 0, wide, len;

	while ((len = next_glyph(text, shown, &wide)) > 0) {
		width += wide;
		text += len;
	}
	return width;
}

static void pad(struct buf *out, size_t n)
{
	while (n-- > 0)
		buf_addc(out, ' ');
}

void view_cell(struct buf *out, const char *text, size_t width, bool right)
{
	size_t whole = text_width(text), room = whole > width && width > 0 ? width - 1 : whole, used = 0, wide, len;
	char shown[8];

	if (right && whole < width)
		pad(out, width - whole);
	while ((len = next_glyph(text, shown, &wide)) > 0 && used + wide <= room) {
		buf_adds(out, shown);
		used += wide;
		text += len;
	}
	if (whole > width && width > 0) {
		buf_addc(out, '~');
		used++;
	}
	if (!right && used < width)
		pad(out, width - used);
}

/* ---- lines ---- */

void view_release(struct view *v)
{
	for (size_t i = 0; i < v->len; i++)
		free(v->v[i].text);
	free(v->v);
	*v = (struct view)VIEW_INIT;
}

/* Takes what is in text; cut to width, no blanks at its end. */
static void add_line(struct view *v, enum look look, struct buf *text, size_t width)
{
	struct buf cut = BUF_INIT;

	while (text->len > 0 && text->data[text->len - 1] == ' ')
		text->data[--text->len] = '\0';
	view_cell(&cut, buf_text(text), text_width(buf_text(text)) > width ? width : 0, false);
	buf_release(text);
	if (cut.len == 0)
		buf_adds(&cut, "");
	v->v = xrealloc(v->v, (v->len + 1) * sizeof *v->v);
	v->v[v->len++] = (struct view_line){ look, buf_give(&cut) };
}

static void add_text(struct view *v, enum look look, const char *text, size_t width)
{
	struct buf b = BUF_INIT;

	buf_adds(&b, text);
	add_line(v, look, &b, width);
}

/* One column of a section: what it is called, how wide it is, and how it reads its text from an object. */
struct cell {
	const char *title;
	size_t width;		/* 0: the last one, as long as it is */
	bool right;
	const char *key;
	enum { TEXT, COUNT, AGE, SHORT_ID, REASON } kind;
};

static const struct cell queue_cells[] = {
	{ "QUEUE", 24, false, "queue", TEXT }, { "READY", 7, true, "ready", COUNT }, { "LATER", 7, true, "later", COUNT },
	{ "RUN", 6, true, "processing", COUNT }, { "STUCK", 6, true, "stuck", COUNT },
	{ "MAX WAIT", 9, true, "oldest_pending_age_s", AGE }, { "MAX RUN", 0, true, "oldest_processing_age_s", AGE },
};

static const struct cell worker_cells[] = {
	{ "WORKER", 9, false, "worker_id", SHORT_ID }, { "HOST", 24, false, "host", TEXT }, { "PID", 8, true, "pid", COUNT },
	{ "BEAT", 6, true, "beat_age_s", AGE }, { "JOBS", 6, true, "jobs", COUNT }, { "VERSION", 9, true, "version", TEXT },
	{ "STATE", 0, false, "state", TEXT },
};

static const struct cell job_cells[] = {
	{ "QUEUE", 24, false, "queue", TEXT }, { "JOB", 20, true, "job", TEXT }, { "AGE", 6, true, "age_s", AGE },
	{ "WORKER", 9, true, "worker_id", SHORT_ID }, { "STATE", 0, false, "reason", REASON },
};

static void cell_text(struct buf *out, const json_t *value, int kind)
{
	char number[64], age[AGE_TEXT_MAX];

	if (value == NULL || json_is_null(value)) {
		buf_addc(out, '-');
	} else if (kind == AGE) {
		snprintf(number, sizeof number, "%.3f", json_number_value(value));
		buf_adds(out, age_text(number, age));
	} else if (kind == COUNT) {
		buf_addf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	} else if (kind == REASON && strcmp(json_string_value(value), "alive") == 0) {
		buf_adds(out, "running");
	} else {
		buf_addf(out, "%.*s", kind == SHORT_ID ? 8 : 1000, json_string_value(value));
	}
}

/* One column of the terminal stays free behind each. */
static void add_cell(struct buf *line, const struct cell *cell, const char *text)
{
	view_cell(line, text, cell->width > 0 ? cell->width - 1 : 0, cell->right);
	if (cell->width > 0)
		buf_addc(line, ' ');
}

static void add_titles(struct view *v, const struct cell *cells, size_t n, size_t width)
{
	struct buf line = BUF_INIT;

	for (size_t i = 0; i < n; i++)
		add_cell(&line, &cells[i], cells[i].title);
	add_line(v, TITLE, &line, width);
}

static void add_row(struct view *v, enum look look, const struct cell *cells, size_t n, const json_t *o, size_t width)
{
	struct buf line = BUF_INIT, text = BUF_INIT;

	for (size_t i = 0; i < n; i++) {
		const json_t *value = json_object_get(o, cells[i].key);

		buf_clear(&text);
		cell_text(&text, value, cells[i].kind);
		if (strcmp(cells[i].key, "ready") == 0 && json_is_true(json_object_get(o, "capped")))
			buf_addc(&text, '+');
		add_cell(&line, &cells[i], buf_text(&text));
	}
	buf_release(&text);
	add_line(v, look, &line, width);
}

/* ---- the sections ---- */

static bool is_stuck(const json_t *job)
{
	return strcmp(json_string_value(json_object_get(job, "reason")), "alive") != 0;
}

static bool is_silent(const json_t *worker)
{
	return json_is_true(json_object_get(worker, "silent"));
}

static bool is_bad_queue(const json_t *queue)
{
	return json_integer_value(json_object_get(queue, "stuck")) > 0 || json_is_string(json_object_get(queue, "error"));
}

/* Below its row, when there is one. */
static void add_more(struct view *v, const json_t *o, const char *key, size_t width)
{
	const char *text = json_string_value(json_object_get(o, key));
	struct buf line = BUF_INIT;

	if (text == NULL)
		return;
	buf_addf(&line, "  %s", text);
	add_line(v, FAINT, &line, width);
}

/* First those for which bad() holds. */
static void add_rows(struct view *v, const struct cell *cells, size_t n, const json_t *list, bool (*bad)(const json_t *), size_t width)
{
	json_t *o;
	size_t i;

	for (int first = 1; first >= 0; first--)
		json_array_foreach(list, i, o)
			if (bad(o) == (first == 1)) {
				add_row(v, first ? BAD : PLAIN, cells, n, o, width);
				add_more(v, o, "error", width);
			}
}

static size_t count_if(const json_t *list, bool (*is)(const json_t *))
{
	size_t i, n = 0;
	json_t *o;

	json_array_foreach(list, i, o)
		n += is(o);
	return n;
}

static void add_stuck(struct view *v, const json_t *running, size_t width)
{
	json_t *o;
	size_t i;

	if (count_if(running, is_stuck) == 0)
		return;
	add_text(v, TITLE, "STUCK (unstuck-recover --dry-run)", width);
	json_array_foreach(running, i, o)
		if (is_stuck(o)) {
			add_row(v, BAD, job_cells, ARRAY_SIZE(job_cells), o, width);
			add_more(v, o, "observed", width);
		}
	add_text(v, PLAIN, "", width);
}

void view_fill(struct view *v, const json_t *document, size_t width)
{
	const json_t *running = json_object_get(document, "running"), *workers = json_object_get(document, "workers");
	json_t *o;
	size_t i;

	add_stuck(v, running, width);
	add_titles(v, queue_cells, ARRAY_SIZE(queue_cells), width);
	add_rows(v, queue_cells, ARRAY_SIZE(queue_cells), json_object_get(document, "queues"), is_bad_queue, width);
	add_text(v, PLAIN, "", width);
	if (json_array_size(workers) == 0)
		add_text(v, TITLE, "NO WORKER IS REGISTERED", width);
	else
		add_titles(v, worker_cells, ARRAY_SIZE(worker_cells), width);
	add_rows(v, worker_cells, ARRAY_SIZE(worker_cells), workers, is_silent, width);
	if (json_array_size(running) == count_if(running, is_stuck))
		return;
	add_text(v, PLAIN, "", width);
	add_titles(v, job_cells, ARRAY_SIZE(job_cells), width);
	json_array_foreach(running, i, o)
		if (!is_stuck(o))
			add_row(v, PLAIN, job_cells, ARRAY_SIZE(job_cells), o, width);
}

static long long sum_of(const json_t *list, const char *key)
{
	long long sum = 0;
	json_t *o;
	size_t i;

	json_array_foreach(list, i, o)
		sum += json_integer_value(json_object_get(o, key));
	return sum;
}

void view_totals(struct buf *out, const json_t *document)
{
	const json_t *queues = json_object_get(document, "queues"), *workers = json_object_get(document, "workers");
	size_t silent = count_if(workers, is_silent);

	buf_addf(out, "%lld stuck, %lld running, %lld ready in %zu queues, %zu workers", sum_of(queues, "stuck"),
	         sum_of(queues, "processing"), sum_of(queues, "ready"), json_array_size(queues), json_array_size(workers));
	if (silent > 0)
		buf_addf(out, " (%zu silent)", silent);
}
