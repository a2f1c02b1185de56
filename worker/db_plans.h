/*
 * db_plans.h - which statements are prepared on the connection in use.
 *
 * A statement is known by the address of its text, which outlives the
 * connection. Names begin with random digits: behind a pooler another program's
 * statement of the same name would be run instead of ours.
 */
#ifndef DB_PLANS_H
#define DB_PLANS_H

#include <stdbool.h>

#define PLAN_NAME_MAX 40

struct db_plans;
struct db_plans *db_plans_new(void);
void db_plans_free(struct db_plans *p);
void db_plans_clear(struct db_plans *p);	/* a new connection: nothing is prepared */

/* The name for sql; *fresh: it has to be prepared first (from now on it counts as prepared). NULL: too many. */
const char *db_plans_name(struct db_plans *p, const char *sql, bool *fresh);
void db_plans_drop(struct db_plans *p, const char *sql);	/* preparing it failed */

#endif
