/*
 * mapping.c - any text as the parts of a mapping that end up in SQL. Whatever is accepted leaves
 * each statement one statement: quotes, comments and brackets closed, nothing behind it.
 *
 * The input is split at newlines: where, order_by, on_success, table, id, status, states...
 */
#include <string.h>
#include "fragment.h"
#include "fuzz.h"
#include "ident.h"
#include "mapping.h"
#include "words.h"

static char *next_part(char **rest)
{
	char *part = strsep(rest, "\n");

	return part != NULL ? part : "";
}

static void fill(char **text, const char *part)
{
	if (*part == '\0')
		return;
	free(*text);
	*text = xstrdup(part);
}

static void statements(const struct mapping *m)
{
	for (int s = 0; s < STATEMENTS; s++) {
		struct error err = ERROR_INIT, why = ERROR_INIT;
		char *sql = mapping_statement(m, (enum statement)s, &err);

		must((sql == NULL) == (err.kind != ERR_NONE));
		if (sql != NULL)
			must(fragment_check(FRAGMENT_STATEMENT, "sql", sql, &why) == 0);
		free(sql);
	}
}

/* What the catalog would say. */
static void resolve(struct mapping *m)
{
	m->tracked = true;
	free(m->schema);
	m->schema = xstrdup("public");
	m->id_type = xstrdup("bigint");
	m->status_type = xstrdup("text");
	if (m->updated_at != NULL)
		m->updated_at_type = xstrdup("timestamp without time zone");
	if (m->result != NULL)
		m->result_type = xstrdup("jsonb");
}

static bool is_allowed(const struct queue_settings *q)
{
	struct error err = ERROR_INIT;

	return (q->where[0] == '\0' || fragment_check(FRAGMENT_CONDITION, "where", q->where, &err) == 0) &&
	       (q->order_by[0] == '\0' || fragment_check(FRAGMENT_ORDER, "order_by", q->order_by, &err) == 0) &&
	       (q->on_success[0] == '\0' || fragment_check(FRAGMENT_STATEMENT, "on_success", q->on_success, &err) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings s = { .path = NULL };
	struct queue_settings *q = settings_add_queue(&s, "q");
	struct mapping m = { .q = NULL };
	struct error err = ERROR_INIT;
	char *text = strndup((const char *)data, size), *rest = text;

	if (!utf8_valid(text, strlen(text)))	/* the file was checked before */
		goto out;
	fill(&q->table, "t");
	fill(&q->where, next_part(&rest));
	fill(&q->order_by, next_part(&rest));
	fill(&q->on_success, next_part(&rest));
	fill(&q->table, next_part(&rest));
	fill(&q->id, next_part(&rest));
	fill(&q->status, next_part(&rest));
	fill(&q->processing, next_part(&rest));
	fill(&q->done, next_part(&rest));
	fill(&q->failed, next_part(&rest));
	fill(&q->reset_to, next_part(&rest));
	fill(&q->timezone, next_part(&rest));
	if (is_allowed(q) && mapping_init(&m, q, &err) == 0) {
		resolve(&m);
		statements(&m);
	}
	mapping_release(&m);
out:
	settings_release(&s);
	free(text);
	return 0;
}
