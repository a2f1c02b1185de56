/*
 * report_table.c - the report for people: a line and a table for each queue.
 *
 * libsmartcols measures, cuts and escapes; control characters of a payload never
 * reach the terminal. Not here: JSON (report_json.c).
 */
#include "report.h"

#include <jansson.h>
#include <libsmartcols.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PEOPLE_MAX 25		/* rows of a queue that anybody reads */
#define SHOW_MAX 60		/* bytes of a value of the user's */

/* Local time without what nobody reads; as the server wrote it where that fails. */
static char *since_text(const char *rfc)
{
	struct tm tm = { .tm_isdst = 0 };
	char text[32];
	time_t t;

	if (rfc == NULL)
		return xstrdup("unknown");
	if (strptime(rfc, "%Y-%m-%dT%H:%M:%S", &tm) == NULL)
		return xstrdup(rfc);
	t = timegm(&tm);
	localtime_r(&t, &tm);
	strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
	return xstrdup(text);
}

/* "1h30m": two units are enough. */
static char *age_text(const struct stuck_row *row)
{
	char text[USEC_TEXT_MAX];
	usec_t t = row->age_s > 0 ? (usec_t)row->age_s * SEC : 0;

	if (row->since == NULL)
		return xstrdup("");
	if (t >= DAY)
		t -= t % HOUR;
	else if (t >= HOUR)
		t -= t % MINUTE;
	return xstrdup(usec_text(t, text));
}

/* The beginning of a long text, cut between two characters. */
static char *cut_text(const char *text)
{
	size_t len = strlen(text);

	if (len <= SHOW_MAX)
		return xstrdup(text);
	for (len = SHOW_MAX; len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80; len--)
		;
	return xasprintf("%.*s…", (int)len, text);
}

static char *value_text(const json_t *v)
{
	char *dumped, *text;

	if (v == NULL || json_is_null(v))
		return xstrdup("");
	if (json_is_string(v))
		return cut_text(json_string_value(v));
	dumped = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
	text = cut_text(dumped != NULL ? dumped : "");
	free(dumped);
	return text;
}

/* What a row shows, or NULL: numbers beyond jansson's are shown as they came. */
static json_t *show_of(const struct stuck_row *row)
{
	json_error_t ignored;
	json_t *o = row->show != NULL ? json_loads(row->show, JSON_DECODE_ANY, &ignored) : NULL;

	if (!json_is_object(o)) {
		json_decref(o);
		return NULL;
	}
	return o;
}

static void put(struct libscols_line *line, size_t column, char *text)
{
	scols_line_refer_data(line, column, text);	/* takes it */
}

static const struct column {
	const char *name;
	int flags;
} columns[] = {
	{ "ID", 0 },
	{ "SINCE", 0 },
	{ "AGE", SCOLS_FL_RIGHT },
	{ "WORKER", 0 },
	{ "REASON", 0 },
	{ "ACTION", 0 },
};

static const char *action_text(const struct run *r, const struct stuck_row *row)
{
	switch (row->fate) {
	case FATE_SKIPPED: return "skipped";
	case FATE_REFUSED: return "error";
	case FATE_PLANNED:
		if (r->applied)
			return "left";
		break;
	case FATE_LISTED:
	case FATE_DONE:
		break;
	}
	return action_name(row->action);
}

static void add_row(struct libscols_table *table, const struct run *r, const struct target *t,
                    const struct stuck_row *row)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	json_t *show = show_of(row);
	size_t c = ARRAY_SIZE(columns);

	put(line, 0, xstrdup(row->id));
	put(line, 1, since_text(row->since));
	put(line, 2, age_text(row));
	put(line, 3, row->worker != NULL ? xstrndup(row->worker, 8) : xstrdup("-"));
	put(line, 4, xstrdup(row->reason));
	put(line, 5, xstrdup(action_text(r, row)));
	for (char **name = t->mapping.show; name != NULL && *name != NULL; name++)
		put(line, c++, value_text(json_object_get(show, *name)));
	put(line, c, xstrdup(row->observed != NULL ? row->observed : ""));
	if (row->action == ACTION_FAIL)
		scols_line_set_color(line, "red");
	json_decref(show);
}

static void print_rows(FILE *out, const struct run *r, const struct target *t)
{
	struct libscols_table *table = scols_new_table();
	size_t n = t->rows_len < PEOPLE_MAX ? t->rows_len : PEOPLE_MAX;

	if (table == NULL)
		return;
	scols_table_set_stream(table, out);
	scols_table_enable_colors(table, cli_colour(fileno(out)));
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
		scols_table_new_column(table, columns[i].name, 0, columns[i].flags);
	for (char **name = t->mapping.show; name != NULL && *name != NULL; name++)
		scols_table_new_column(table, *name, 0, SCOLS_FL_TRUNC);
	scols_table_new_column(table, "OBSERVED", 0, SCOLS_FL_TRUNC);
	for (size_t i = 0; i < n; i++)
		add_row(table, r, t, &t->rows[i]);
	scols_print_table(table);
	scols_unref_table(table);
	if (t->rows_len > n)
		fprintf(out, "… and %zu more, --json lists %d\n", t->rows_len - n, LISTED_MAX);
}

static void print_target(FILE *out, const struct run *r, const struct target *t)
{
	if (r->dry_run)
		fputs("[dry-run] ", out);
	fputs(target_name(t), out);
	if (t->mapping.source != NULL && strcmp(t->mapping.source, target_name(t)) != 0)
		fprintf(out, " (%s)", t->mapping.source);
	if (t->same_as != NULL) {
		fprintf(out, ": the same rows as %s\n", t->same_as);
		return;
	}
	if (t->error.kind != ERR_NONE && t->rows_len == 0) {
		fputs(": not looked at\n", out);
		return;
	}
	fprintf(out, ": %zu processing, %zu stuck", t->processing, t->stuck);
	if (t->suspects > 0)
		fprintf(out, r->dry_run ? ", %zu of them only suspected: the worker is silent, but not watched long enough"
		                        : ", %zu more suspected: the worker is silent, but not watched long enough",
		        t->suspects);
	fputc('\n', out);
	if (t->rows_len > 0)
		print_rows(out, r, t);
}

void report_table(FILE *out, const struct run *r)
{
	for (size_t i = 0; i < r->targets.len; i++)
		print_target(out, r, &r->targets.v[i]);
	fflush(out);
}

void report_summary(FILE *out, const struct run *r)
{
	struct run_sums s = run_sums(r);

	if (r->locked) {
		fputs("another recover is running in this database\n", out);
	} else if (r->dry_run) {
		struct buf command = BUF_INIT;

		if (s.stuck > 0) {
			report_command(&command, r->ask);
			fprintf(out, "[dry-run] nothing was changed; this does it: %s\n", buf_text(&command));
		} else if (s.broken == 0 && r->error.kind == ERR_NONE && !r->stopped) {
			fputs("[dry-run] nothing is stuck\n", out);
		}
		buf_release(&command);
	} else if (r->applied && s.stuck > 0) {
		fprintf(out, "recovered %zu (%zu reset, %zu failed), %zu skipped", s.reset + s.failed, s.reset, s.failed,
		        s.skipped);
		if (s.refused > 0)
			fprintf(out, ", %zu could not be reset", s.refused);
		if (s.planned > 0)
			fprintf(out, ", %zu not tried", s.planned);
		if (s.stuck > s.reset + s.failed + s.skipped + s.refused + s.planned)
			fprintf(out, ", %zu more stuck beyond --limit",
			        s.stuck - (s.reset + s.failed + s.skipped + s.refused + s.planned));
		fputc('\n', out);
	} else if (s.stuck == 0 && s.broken == 0 && r->error.kind == ERR_NONE && !r->stopped) {
		fputs("nothing is stuck\n", out);
	}
	fflush(out);
}
