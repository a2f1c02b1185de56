/*
 * catalog.h - the columns of one table as the catalog has them.
 */
#ifndef CATALOG_H
#define CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include "error.h"
#include "pg.h"

struct column {
	char *name;
	char *declared;		/* format_type() */
	char *base;		/* the same of what a domain is made of */
	char *type_name;	/* pg_type's name of the base */
	unsigned base_oid;
	char category;		/* pg_type.typcategory of the base: 'E' enum, 'A' array ... */
	bool may_select, may_update;
	bool is_key;		/* a unique index of this column alone */
};

struct catalog {
	struct column *columns;
	size_t len;
};
#define CATALOG_INIT { NULL, 0 }

int catalog_load(struct catalog *c, struct session *session, const char *oid, struct error *err);
void catalog_release(struct catalog *c);
const struct column *catalog_find(const struct catalog *c, const char *name);	/* NULL: none */

#endif
