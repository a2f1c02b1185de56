/*
 * catalog.c - reading one table's columns from the catalog.
 */
#include "catalog.h"

#include <stdlib.h>
#include <string.h>
#include "sqltext.h"

int catalog_load(struct catalog *c, struct session *session, const char *oid, struct error *err)
{
	PGresult *res = session_exec(session, err, sqltext("mapping", "columns"), 1, &oid);

	*c = (struct catalog)CATALOG_INIT;
	if (res == NULL)
		return -1;
	c->columns = xcalloc((size_t)PQntuples(res) + 1, sizeof *c->columns);
	for (int i = 0; i < PQntuples(res); i++)
		c->columns[c->len++] = (struct column){
			.name = xstrdup(PQgetvalue(res, i, 0)),
			.declared = xstrdup(PQgetvalue(res, i, 1)),
			.base = xstrdup(PQgetvalue(res, i, 2)),
			.base_oid = (unsigned)strtoul(PQgetvalue(res, i, 3), NULL, 10),
			.category = *PQgetvalue(res, i, 4),
			.type_name = xstrdup(PQgetvalue(res, i, 5)),
			.may_select = *PQgetvalue(res, i, 6) == 't',
			.may_update = *PQgetvalue(res, i, 7) == 't',
			.is_key = *PQgetvalue(res, i, 8) == 't',
		};
	PQclear(res);
	return 0;
}

void catalog_release(struct catalog *c)
{
	for (size_t i = 0; i < c->len; i++) {
		free(c->columns[i].name);
		free(c->columns[i].declared);
		free(c->columns[i].base);
		free(c->columns[i].type_name);
	}
	free(c->columns);
	*c = (struct catalog)CATALOG_INIT;
}

const struct column *catalog_find(const struct catalog *c, const char *name)
{
	for (size_t i = 0; i < c->len; i++)
		if (strcmp(c->columns[i].name, name) == 0)
			return &c->columns[i];
	return NULL;
}
