/*
 * db_plans.c - a small table from a statement's address to its name on the server.
 *
 * Not here: when a pooler makes preparing useless (db.c).
 */
#include "db_plans.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "buf.h"

#define PLANS 1024	/* a power of two; statements of some hundred queues */

struct plan {
	const char *sql;	/* NULL: free */
	bool there;
	char name[PLAN_NAME_MAX];
};

struct db_plans {
	uint64_t prefix;
	size_t len;
	struct plan plans[PLANS];
};

struct db_plans *db_plans_new(void)
{
	struct db_plans *p = xcalloc(1, sizeof *p);

	if (getrandom(&p->prefix, sizeof p->prefix, 0) != (ssize_t)sizeof p->prefix)
		p->prefix = (uintptr_t)p;
	return p;
}

void db_plans_free(struct db_plans *p)
{
	free(p);
}

void db_plans_clear(struct db_plans *p)
{
	for (size_t i = 0; i < PLANS; i++)
		p->plans[i].there = false;
}

static struct plan *plan_slot(struct db_plans *p, const char *sql)
{
	size_t i = ((uintptr_t)sql >> 4) * 0x9E3779B97F4A7C15u >> 54;

	while (p->plans[i % PLANS].sql != NULL && p->plans[i % PLANS].sql != sql)
		i++;
	return &p->plans[i % PLANS];
}

const char *db_plans_name(struct db_plans *p, const char *sql, bool *fresh)
{
	struct plan *plan = plan_slot(p, sql);

	if (plan->sql == NULL) {
		if (p->len >= PLANS / 2)
			return NULL;
		plan->sql = sql;
		snprintf(plan->name, sizeof plan->name, "unstuck_%016llx_%zu", (unsigned long long)p->prefix, p->len++);
	}
	*fresh = !plan->there;
	plan->there = true;
	return plan->name;
}

void db_plans_drop(struct db_plans *p, const char *sql)
{
	plan_slot(p, sql)->there = false;
}
