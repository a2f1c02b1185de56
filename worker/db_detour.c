/*
 * db_detour.c - another order of the hosts, after one that kept us waiting.
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

void db_detour_plan(struct conninfo *way, PGconn *conn)
{
	PQconninfoOption *options = PQconninfo(conn);
	size_t n = 0;

	conninfo_release(way);
	while (options && options[n].keyword)
		n++;
	way->keywords = xcalloc(n + 1, sizeof *way->keywords);
	way->values = xcalloc(n + 1, sizeof *way->values);
	for (const PQconninfoOption *o = options; o && o->keyword; o++) {
		if (!o->val)
			continue;
		way->keywords[way->len] = xstrdup(o->keyword);
		way->values[way->len++] = is_host_list(o->keyword) ? list_turned(o->val) : xstrdup(o->val);
	}
	PQconninfoFree(options);
}
