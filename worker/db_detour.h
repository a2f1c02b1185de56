/*
 * db_detour.h - another order of the hosts, after one that kept us waiting.
 */
#ifndef DB_DETOUR_H
#define DB_DETOUR_H

#include "pg.h"

/*
 * Where conn was connecting to, its hosts turned by one, into way (released first).
 * libpq itself would begin with the same host each time and never get to the
 * others, because the deadline is ours, not its own.
 */
void db_detour_plan(struct conninfo *way, PGconn *conn);

#endif
