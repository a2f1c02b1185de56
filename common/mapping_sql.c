/*
 * mapping_sql.c - the statements of a queue: the templates of sql/, filled.
 *
 * {name} is a row of the table below; {@name} is another section, of the same
 * file or of queue_shared.sql. What is filled in is never looked through again,
 * so no text of the user's can be taken for a place to fill.
 * Not here: quoting (ident.c), what the user's SQL may hold (fragment.c).
 */
#include "mapping.h"

#include <stdlib.h>
#include <string.h>
#include "ident.h"
#include "late.h"
#include "sqltext.h"
#include "words.h"

static const char *const names[STATEMENTS] = {
	[STMT_CLAIM] = "claim", [STMT_CLAIM_NEW] = "claim_new", [STMT_BEFORE_CLAIM] = "before_claim", [STMT_COMPLETE] = "complete", [STMT_COMPLETE_ALL] = "complete_all", [STMT_COMPLETE_NULL] = "complete_null",
	[STMT_COMPLETE_PLACED] = "complete_placed", [STMT_FAIL] = "fail",
	[STMT_LATE] = "late", [STMT_FORGET] = "forget", [STMT_RELEASE] = "release", [STMT_RELEASE_ALL] = "release_all",
	[STMT_CLASSIFY] = "classify", [STMT_ADOPTABLE] = "adoptable", [STMT_ADOPT] = "adopt", [STMT_ADOPT_ALL] = "adopt_all", [STMT_SPOIL] = "spoil", [STMT_STATUS] = "status",
	[STMT_HELD] = "held", [STMT_STUCK] = "stuck", [STMT_RESET] = "reset", [STMT_RESET_FREE] = "reset_free",
	[STMT_PROCESSING] = "processing", [STMT_AGELESS] = "ageless",
};

/* Which sections a table with nothing of ours in its database has. */
static const bool without_schema[STATEMENTS] = {
	[STMT_STUCK] = true, [STMT_RESET] = true, [STMT_PROCESSING] = true, [STMT_AGELESS] = true,
};

/* The results of an application's table go where its mapping says. */
static const bool own_only[STATEMENTS] = { [STMT_COMPLETE_NULL] = true, [STMT_RESET_FREE] = true };
/* Nothing is known of the indexes of an application's table; and only there is on_success. */
static const bool mapped_only[STATEMENTS] = { [STMT_BEFORE_CLAIM] = true, [STMT_CLAIM_NEW] = true, [STMT_COMPLETE_PLACED] = true, [STMT_ADOPT_ALL] = true };

/* Sections that lie in queue_shared.sql, for both kinds. */
static const char *const shared[] = { "late", "late_open", "late_next", "late_row", "spoil", "keep_raws", "judged", "old", "observed", "listed",
	"may_reset", "entered" };

struct fill {
	const struct mapping *m;
	const char *file;
	size_t pick;		/* inside "pick": which of the ready statuses */
	bool by_place;		/* rows are picked by their places, not by their keys */
	struct buf *out;
	struct error *err;
};

static int fill_section(struct fill *f, const char *section);

const char *statement_name(enum statement s)
{
	return names[s];
}

/* ---- names ---- */

static int put(struct fill *f, const char *text)
{
	buf_adds(f->out, text);
	return 0;
}

static int put_name(struct fill *f, const char *name)
{
	ident_quote(f->out, name);
	return 0;
}

static int put_literal(struct fill *f, const char *text)
{
	literal_quote(f->out, text);
	return 0;
}

/* A state that the statement needs and the settings may not have. */
static int put_state(struct fill *f, const char *key, const char *word)
{
	if (*word == '\0')
		return error_set(f->err, ERR_SETTINGS, "%s: expected a status", key);
	return put_literal(f, word);
}

static int put_queue(struct fill *f) { return put_literal(f, f->m->queue); }
static int put_source(struct fill *f) { return put_literal(f, f->m->source); }
static int put_id(struct fill *f) { return put_name(f, f->m->id); }
static int put_id_type(struct fill *f) { return put(f, f->m->id_type); }
static int put_status(struct fill *f) { return put_name(f, f->m->status); }
static int put_status_type(struct fill *f) { return put(f, f->m->status_type); }
static int put_processing(struct fill *f) { return put_state(f, "processing", f->m->q->processing); }
static int put_done(struct fill *f) { return put_state(f, "done", f->m->q->done); }
static int put_failed(struct fill *f) { return put_state(f, "failed", f->m->q->failed); }
static int put_reset_to(struct fill *f) { return put_state(f, "reset_to", f->m->q->reset_to); }

static int put_table(struct fill *f)
{
	if (f->m->schema != NULL) {
		ident_quote(f->out, f->m->schema);
		buf_addc(f->out, '.');
	}
	return put_name(f, f->m->table);
}

/* The table as a value: '"public"."videos"'::regclass. */
static int put_regclass(struct fill *f)
{
	struct buf name = BUF_INIT;

	ident_quote(&name, f->m->schema);
	buf_addc(&name, '.');
	ident_quote(&name, f->m->table);
	put_literal(f, buf_text(&name));
	buf_release(&name);
	return put(f, "::regclass");
}

static int put_max_attempts(struct fill *f)
{
	buf_addf(f->out, "%u", f->m->q->max_attempts);
	return 0;
}

/* Without a status for it no row can be given up: it is put back for ever. */
static int put_may_fail(struct fill *f)
{
	return put(f, *f->m->q->failed != '\0' ? "true" : "false");
}

static int put_failed_or_reset_to(struct fill *f)
{
	return *f->m->q->failed != '\0' ? put_failed(f) : put_reset_to(f);
}

/* The statuses of a row that nobody works on: the ready ones and what we reset to. */
static int put_waiting(struct fill *f)
{
	const struct queue_settings *q = f->m->q;

	put_literal(f, q->reset_to);
	for (size_t i = 0; q->ready[i] != NULL; i++) {
		if (strcmp(q->ready[i], q->reset_to) == 0)
			continue;
		put(f, ", ");
		put_literal(f, q->ready[i]);
	}
	return 0;
}

/* The statuses to claim from. */
static int put_all_ready(struct fill *f)
{
	for (size_t i = 0; f->m->q->ready[i] != NULL; i++) {
		put(f, i > 0 ? ", " : "");
		put_literal(f, f->m->q->ready[i]);
	}
	return 0;
}

/* Where there is no such status, no row has it. */
static int put_status_or_null(struct fill *f, const char *word)
{
	return *word != '\0' ? put_literal(f, word) : put(f, "NULL");
}

static int put_done_or_null(struct fill *f) { return put_status_or_null(f, f->m->q->done); }
static int put_failed_or_null(struct fill *f) { return put_status_or_null(f, f->m->q->failed); }

/* Where a late result may go: rows that wait, or are given up. */
static int put_adoptable(struct fill *f)
{
	put_waiting(f);
	if (*f->m->q->failed == '\0')
		return 0;
	put(f, ", ");
	return put_failed(f);
}

static int put_as_text(struct fill *f)
{
	return put(f, f->m->q->output == OUTPUT_TEXT ? "true" : "false");
}

/* Only on_success needs the bytes beforehand. */
static int put_late_raw(struct fill *f)
{
	return put(f, *f->m->q->on_success != '\0' ? "l.raw" : "NULL::bytea");
}

static int put_unasked(struct fill *f)
{
	const char *gap = "";

	for (enum late_reason r = LATE_NONE + 1; r < LATE_REASONS; r++)
		if (late_is_adopted_unasked(r)) {
			put(f, gap);
			put_literal(f, late_name(r));
			gap = ", ";
		}
	return 0;
}

/* The version that a row has when this statement has written it. */
static int put_xid(struct fill *f)
{
	return put(f, "pg_current_xact_id()::xid::text");
}

static int put_and_untouched(struct fill *f)
{
	return put(f, f->m->q->strict ? " AND k.row_token = l.row_token" : "");
}

/* A result has to be JSON wherever it goes. on_success gets it as such: alone, it is all that gets it. */
static int put_and_readable(struct fill *f)
{
	if (f->m->result == NULL && *f->m->q->on_success != '\0')
		return put(f, "\n     AND $3::text[] IS NULL");
	return put(f, "\n     AND (SELECT every(u.result::jsonb IS NOT NULL) FROM unnest($3::text[]) AS u(result))");
}

static int put_placed(struct fill *f)
{
	return fill_section(f, f->m->result != NULL || f->m->partitioned ? "placed_by_key" : "placed_by_place");
}

/* ---- columns ---- */

static int put_set_updated_at(struct fill *f)
{
	if (f->m->updated_at == NULL)
		return 0;
	put(f, ", ");
	put_name(f, f->m->updated_at);
	put(f, " = clock_timestamp()");
	if (f->m->updated_at_zoned)
		return 0;
	put(f, " AT TIME ZONE ");
	return put_literal(f, f->m->q->timezone);
}

/* When the row was last touched, as a timestamptz; null when nobody knows. */
static int put_touched(struct fill *f)
{
	if (f->m->updated_at == NULL)
		return put(f, "NULL::timestamptz");
	put(f, f->m->updated_at_zoned ? "t." : "(t.");
	put_name(f, f->m->updated_at);
	if (f->m->updated_at_zoned)
		return 0;
	put(f, " AT TIME ZONE ");
	put_literal(f, f->m->q->timezone);
	return put(f, ")");
}

static int put_set_result(struct fill *f)
{
	if (f->m->result == NULL)
		return 0;
	put(f, ", ");
	put_name(f, f->m->result);
	put(f, " = m.result::");
	return put(f, f->m->result_type);
}

/* A JSON object of these columns. "o.*" and not "o": a column may be called o. */
static int put_object(struct fill *f, char *const *columns)
{
	put(f, "(SELECT row_to_json(o.*) FROM (SELECT ");
	for (size_t i = 0; columns[i] != NULL; i++) {
		put(f, i > 0 ? ", " : "");
		put(f, f->m->own ? "j." : "t.");
		put_name(f, columns[i]);
	}
	return put(f, ") AS o)");
}

static int put_payload(struct fill *f)
{
	return f->m->payload[0] != NULL ? put_object(f, f->m->payload) : put(f, "row_to_json(t.*)");
}

static int put_show(struct fill *f)
{
	return f->m->show[0] != NULL ? put_object(f, f->m->show) : put(f, "'{}'::json");
}

/* ---- claim: a chain of picks, one for each ready status ---- */

/* Rows that come by their places are put in the order of the key: so that has to be the run order. */
static bool may_claim_by_place(const struct mapping *m)
{
	return !m->partitioned && *m->q->order_by == '\0' && m->q->ready[0] != NULL && m->q->ready[1] == NULL;
}

/* The newline ends a comment that the condition may end with. */
static int put_and_where(struct fill *f)
{
	if (*f->m->q->where == '\0')
		return 0;
	put(f, "\n              AND (");
	put(f, f->m->q->where);
	return put(f, "\n              )");
}

static int put_order_by(struct fill *f)
{
	if (*f->m->q->order_by != '\0') {
		put(f, f->m->q->order_by);
		return put(f, "\n           ");
	}
	put(f, "t.");
	return put_id(f);
}

static int put_pick(struct fill *f)
{
	buf_addf(f->out, "picked_%zu", f->pick + 1);
	return 0;
}

static int put_picked(struct fill *f)
{
	buf_addf(f->out, "picked_%zu", words_count(f->m->q->ready));
	return 0;
}

static int put_picked_before(struct fill *f)
{
	if (f->pick > 0)
		buf_addf(f->out, "(SELECT ids FROM picked_%zu)", f->pick);
	else
		buf_addf(f->out, "'{}'::%s[]", f->by_place ? "tid" : f->m->id_type);
	return 0;
}

static int put_ready(struct fill *f)
{
	return put_literal(f, f->m->q->ready[f->pick]);
}

static int put_pick_what(struct fill *f)
{
	return f->by_place ? put(f, "ctid") : put_id(f);
}

static int put_picks(struct fill *f)
{
	char *const *ready = f->m->q->ready;

	if (ready[0] == NULL)
		return error_set(f->err, ERR_SETTINGS, "ready: expected at least one status to claim from");
	for (f->pick = 0; ready[f->pick] != NULL; f->pick++) {
		put(f, f->pick > 0 ? ", " : "");
		if (fill_section(f, "pick") < 0)
			return -1;
	}
	f->pick = 0;
	return 0;
}

static int put_picks_new(struct fill *f)
{
	f->by_place = may_claim_by_place(f->m);
	return put_picks(f);
}

static int put_claimed_new(struct fill *f)
{
	return fill_section(f, f->by_place ? "claimed_by_place" : "claimed_by_key");
}

/* ---- filling ---- */

static const struct place {
	const char *name;
	int (*put)(struct fill *f);
} places[] = {
	{ "adoptable", put_adoptable },
	{ "all_ready", put_all_ready },
	{ "and_readable", put_and_readable },
	{ "and_untouched", put_and_untouched },
	{ "and_where", put_and_where },
	{ "as_text", put_as_text },
	{ "claimed_new", put_claimed_new },
	{ "done", put_done },
	{ "done_or_null", put_done_or_null },
	{ "failed", put_failed },
	{ "failed_or_null", put_failed_or_null },
	{ "failed_or_reset_to", put_failed_or_reset_to },
	{ "id", put_id },
	{ "id_type", put_id_type },
	{ "late_raw", put_late_raw },
	{ "max_attempts", put_max_attempts },
	{ "may_fail", put_may_fail },
	{ "order_by", put_order_by },
	{ "payload", put_payload },
	{ "pick", put_pick },
	{ "pick_what", put_pick_what },
	{ "picked", put_picked },
	{ "picked_before", put_picked_before },
	{ "picks", put_picks },
	{ "picks_new", put_picks_new },
	{ "placed", put_placed },
	{ "processing", put_processing },
	{ "queue", put_queue },
	{ "ready", put_ready },
	{ "regclass", put_regclass },
	{ "reset_to", put_reset_to },
	{ "set_result", put_set_result },
	{ "set_updated_at", put_set_updated_at },
	{ "show", put_show },
	{ "source", put_source },
	{ "status", put_status },
	{ "status_type", put_status_type },
	{ "table", put_table },
	{ "touched", put_touched },
	{ "unasked", put_unasked },
	{ "waiting", put_waiting },
	{ "xid", put_xid },
};

static int fill_place(struct fill *f, const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (strlen(places[i].name) == len && strncmp(places[i].name, name, len) == 0)
			return places[i].put(f);
	return error_set(f->err, ERR_SYS, "no {%.*s} in a template of %s", (int)len, name, f->file);
}

static int fill_include(struct fill *f, const char *name, size_t len)
{
	char *section = xstrndup(name, len);
	int rc = fill_section(f, section);

	free(section);
	return rc;
}

/* A { that is no place stands for itself: '{}'. */
static size_t place_length(const char *p)
{
	size_t at = p[0] == '@', len = strspn(p + at, "abcdefghijklmnopqrstuvwxyz_");

	return len > 0 && p[at + len] == '}' ? at + len : 0;
}

static int fill_text(struct fill *f, const char *p)
{
	for (; *p != '\0'; p++) {
		size_t len = *p == '{' ? place_length(p + 1) : 0;

		if (len == 0) {
			buf_addc(f->out, *p);
			continue;
		}
		if (p[1] == '@' ? fill_include(f, p + 2, len - 1) < 0 : fill_place(f, p + 1, len) < 0)
			return -1;
		p += len + 1;
	}
	while (f->out->len > 0 && f->out->data[f->out->len - 1] == '\n')	/* of a section's last line */
		f->out->data[--f->out->len] = '\0';
	return 0;
}

static int fill_section(struct fill *f, const char *section)
{
	const char *file = f->file;

	for (size_t i = 0; i < ARRAY_SIZE(shared); i++)
		if (strcmp(shared[i], section) == 0)
			file = "queue_shared";
	return fill_text(f, sqltext(file, section));
}

/* NULL when it cannot be filled; else the caller frees it. */
static char *fill_whole(struct fill *f, const char *section)
{
	if (fill_section(f, section) == 0)
		return buf_give(f->out);
	buf_release(f->out);
	return NULL;
}

bool mapping_has(const struct mapping *m, enum statement s)
{
	if (s == STMT_COMPLETE_PLACED && m->q->strict)
		return false;		/* it does not compare versions */
	return m->own ? !mapped_only[s] : !own_only[s];
}

char *mapping_statement(const struct mapping *m, enum statement s, struct error *err)
{
	struct buf out = BUF_INIT;
	struct fill f = { .m = m, .out = &out, .err = err };

	if (!mapping_has(m, s)) {
		error_set(err, ERR_SYS, "%s has no statement %s", m->source, names[s]);
		return NULL;
	}
	f.file = m->own ? "queue_own" : m->tracked ? "queue_mapped" : "queue_adhoc";
	if (!m->own && !m->tracked && !without_schema[s]) {
		error_set(err, ERR_SETTINGS, "there is no schema unstuck in this database: run unstuckctl init");
		return NULL;
	}
	if (!m->own && m->id_type == NULL) {
		error_set(err, ERR_SYS, "%s was not looked up in the database", m->source);
		return NULL;
	}
	return fill_whole(&f, names[s]);
}

char *mapping_section(const struct mapping *m, const char *section, struct error *err)
{
	struct buf out = BUF_INIT;
	struct fill f = { .m = m, .file = m->own ? "queue_own" : "queue_mapped", .out = &out, .err = err };

	return fill_whole(&f, section);
}
