/*
 * db_detour.h - where a connection goes, with other hosts: in another order, after one that kept us waiting, or only the one
 * that it is connected to.
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

/*
 * To the very address that conn is connected to (a name may lead elsewhere by now), under this name of a program.
 * Left empty when there is no memory for it: then nobody may connect by it.
 */
void db_detour_beside(struct conninfo *way, PGconn *conn, const char *application);

#endif
