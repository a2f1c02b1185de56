/*
 * mapped.c - see mapped.h. Not here: the statements of workers and recover (common/mapping_sql.c).
 */
#include "mapped.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ident.h"
#include "sqltext.h"

static void put_updated_at(struct buf *sql, const struct mapping *m)
{
	if (m->updated_at == NULL) {
		buf_adds(sql, "NULL::timestamptz");
		return;
	}
	buf_adds(sql, "t.");
	ident_quote(sql, m->updated_at);
	if (m->updated_at_zoned)
		return;
	buf_adds(sql, " AT TIME ZONE ");
	literal_quote(sql, m->q->timezone);
}

static void put_ready(struct buf *sql, const struct queue_settings *q)
{
	for (size_t i = 0; q->ready[i] != NULL; i++) {
		buf_adds(sql, i > 0 ? ", " : "");
		literal_quote(sql, q->ready[i]);
	}
	if (q->ready[0] == NULL)
		buf_adds(sql, "NULL");
}

static void put_name(struct buf *sql, const struct mapping *m, const char *name, size_t len)
{
	if (strncmp(name, "table", len) == 0) {
		ident_quote(sql, m->schema);
		buf_addc(sql, '.');
		ident_quote(sql, m->table);
	} else if (strncmp(name, "status", len) == 0) {
		ident_quote(sql, m->status);
	} else if (strncmp(name, "updated_at", len) == 0) {
		put_updated_at(sql, m);
	} else if (strncmp(name, "where", len) == 0) {
		buf_adds(sql, *m->q->where != '\0' ? m->q->where : "true");
	} else if (strncmp(name, "ready", len) == 0) {
		put_ready(sql, m->q);
	} else {
		fprintf(stderr, "unstuckctl: unknown name in sql/ctl.sql: %.*s\n", (int)len, name);
		abort();
	}
}

char *mapped_sql(const struct mapping *m, const char *section)
{
	const char *text = sqltext("ctl", section), *open;
	struct buf sql = BUF_INIT;

	while ((open = strchr(text, '{')) != NULL) {
		size_t len = strcspn(open + 1, "}");

		buf_add(&sql, text, (size_t)(open - text));
		put_name(&sql, m, open + 1, len);
		text = open + 1 + len + 1;
	}
	buf_adds(&sql, text);
	return buf_give(&sql);
}
