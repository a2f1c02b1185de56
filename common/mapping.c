/*
 * mapping.c - names and states of a queue's table out of its settings, no database.
 *
 * Not here: what the catalog says (mapping_resolve.c, mapping_check.c), the
 * statements (mapping_sql.c).
 */
#include "mapping.h"

#include <stdlib.h>
#include <string.h>
#include "fragment.h"
#include "ident.h"
#include "words.h"

static int parse_name(char **out, const char *key, const char *text, struct error *err)
{
	if (*text == '\0')
		return error_set(err, ERR_SETTINGS, "%s: expected the name of a column", key);
	*out = ident_parse(text, err);
	return *out != NULL ? 0 : error_prefix(err, "%s: ", key);
}

/* One that need not be there. */
static int parse_optional(char **out, const char *key, const char *text, struct error *err)
{
	return *text == '\0' ? 0 : parse_name(out, key, text, err);
}

static int parse_names(char ***out, const char *key, char *const *texts, struct error *err)
{
	size_t n = words_count(texts);

	*out = xcalloc(n + 1, sizeof **out);
	for (size_t i = 0; i < n; i++)
		if (parse_name(&(*out)[i], key, texts[i], err) < 0)
			return -1;
	return 0;
}

static bool is_one_of(const char *word, char *const *words)
{
	for (; *words != NULL; words++)
		if (strcmp(word, *words) == 0)
			return true;
	return false;
}

/* Two states with one word could not be told apart; a done that is ready would run for ever. */
static int check_states(const struct queue_settings *q, struct error *err)
{
	const struct {
		const char *key, *word;
	} ends[] = { { "processing", q->processing }, { "done", q->done }, { "failed", q->failed } };

	if (*q->processing == '\0')
		return error_set(err, ERR_SETTINGS, "processing: expected the status of a row that is worked on");
	if (*q->reset_to == '\0')
		return error_set(err, ERR_SETTINGS, "reset_to: expected the status that a stuck row gets");
	if (strcmp(q->reset_to, q->processing) == 0)
		return error_set(err, ERR_SETTINGS, "reset_to and processing are both %s", q->processing);
	if (q->ready[0] == NULL)
		return 0;	/* recovered only: nothing else is written */
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		if (*ends[i].word != '\0' && is_one_of(ends[i].word, q->ready))
			return error_set(err, ERR_SETTINGS, "%s is %s, which is also one of ready", ends[i].key, ends[i].word);
		if (i > 0 && strcmp(ends[i].word, q->processing) == 0)
			return error_set(err, ERR_SETTINGS, "%s and processing are both %s", ends[i].key, q->processing);
	}
	if (strcmp(q->done, q->reset_to) == 0)
		return error_set(err, ERR_SETTINGS, "done and reset_to are both %s", q->done);
	return 0;
}

static int init_mapped(struct mapping *m, struct error *err)
{
	const struct queue_settings *q = m->q;

	if (ident_parse_qualified(q->table, &m->schema, &m->table, err) < 0)
		return error_prefix(err, "table: ");
	if (parse_name(&m->id, "id", q->id, err) < 0 || parse_name(&m->status, "status", q->status, err) < 0 ||
	    parse_optional(&m->updated_at, "updated_at", q->updated_at, err) < 0 ||
	    parse_optional(&m->result, "result", q->result, err) < 0 ||
	    parse_names(&m->payload, "payload", q->payload, err) < 0 || parse_names(&m->show, "show", q->show, err) < 0)
		return -1;
	if (check_states(q, err) < 0 || fragment_check(FRAGMENT_CONDITION, "where", q->where, err) < 0 ||
	    fragment_check(FRAGMENT_ORDER, "order_by", q->order_by, err) < 0 ||
	    fragment_check(FRAGMENT_STATEMENT, "on_success", q->on_success, err) < 0)
		return -1;
	if (*q->result != '\0' && *q->on_success != '\0')
		return error_set(err, ERR_SETTINGS, "result and on_success: only one of them");
	m->source = m->schema != NULL ? xasprintf("%s.%s", m->schema, m->table) : xstrdup(m->table);
	return 0;
}

int mapping_init(struct mapping *m, const struct queue_settings *q, struct error *err)
{
	*m = (struct mapping){ .q = q, .own = *q->table == '\0' };
	if (m->own) {
		m->source = xstrdup("unstuck.jobs");
		if (parse_names(&m->show, "show", q->show, err) < 0)
			return -1;
	} else if (init_mapped(m, err) < 0) {
		return -1;
	}
	m->queue = xstrdup(*q->name != '\0' ? q->name : m->source);
	return 0;
}

void mapping_release(struct mapping *m)
{
	char **texts[] = {
		&m->source, &m->queue, &m->schema, &m->table, &m->id, &m->status, &m->updated_at, &m->result,
		&m->id_type, &m->status_type, &m->updated_at_type, &m->result_type,
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		free(*texts[i]);
		*texts[i] = NULL;
	}
	words_free(m->payload);
	words_free(m->show);
	m->payload = m->show = NULL;
}
