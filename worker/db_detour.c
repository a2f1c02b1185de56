/*
 * db_detour.c - see db_detour.h.
 */
#include "db_detour.h"

#include <string.h>
#include "buf.h"

/* These go together: the first host has the first port. */
static const char *const host_lists[] = { "host", "hostaddr", "port" };

static bool is_host_list(const char *keyword)
{
	for (size_t i = 0; i < ARRAY_SIZE(host_lists); i++)
		if (strcmp(keyword, host_lists[i]) == 0)
			return true;
	return false;
}

/* "a,b,c" becomes "b,c,a". The caller frees it. */
static char *list_turned(const char *list)
{
	const char *comma = strchr(list, ',');

	return comma ? xasprintf("%s,%.*s", comma + 1, (int)(comma - list), list) : xstrdup(list);
}

/* ---- the words of a connection again ---- */

static void way_add(struct conninfo *way, const char *keyword, char *value)
{
	way->keywords = xrealloc(way->keywords, (way->len + 2) * sizeof *way->keywords);
	way->values = xrealloc(way->values, (way->len + 2) * sizeof *way->values);
	way->keywords[way->len] = xstrdup(keyword);
	way->values[way->len++] = value;
	way->keywords[way->len] = way->values[way->len] = NULL;
}

void db_detour_plan(struct conninfo *way, PGconn *conn)
{
	PQconninfoOption *options = PQconninfo(conn);

	conninfo_release(way);
	for (const PQconninfoOption *o = options; o && o->keyword; o++)
		if (o->val)
			way_add(way, o->keyword, is_host_list(o->keyword) ? list_turned(o->val) : xstrdup(o->val));
	PQconninfoFree(options);
}

void db_detour_beside(struct conninfo *way, PGconn *conn, const char *application)
{
	PQconninfoOption *options = PQconninfo(conn);
	const char *address = PQhostaddr(conn);

	conninfo_release(way);
	if (!options)
		return;
	for (const PQconninfoOption *o = options; o->keyword; o++)
		if (o->val && !is_host_list(o->keyword) && strcmp(o->keyword, "fallback_application_name") != 0)
			way_add(way, o->keyword, xstrdup(o->val));
	way_add(way, "host", xstrdup(PQhost(conn)));
	if (address && *address)	/* a socket has none */
		way_add(way, "hostaddr", xstrdup(address));
	way_add(way, "port", xstrdup(PQport(conn)));
	way_add(way, "fallback_application_name", xstrdup(application));
	PQconninfoFree(options);
}
