/*
 * reset.h - reset exactly the planned rows of one queue, in short transactions.
 */
#ifndef RESET_H
#define RESET_H

#include "error.h"
#include "pg.h"
#include "target.h"

struct reset_order {
	bool ignore_liveness;
	uint32_t max_recoveries;
	uint32_t batch;		/* rows a transaction, at most */
	/* told after each transaction: rows dealt with so far in this queue */
	void (*progress)(void *arg, size_t rows);
	/* told of a row that the database refused, with its reason */
	void (*refused)(void *arg, const struct target *t, const struct stuck_row *row, const struct error *why);
	void *arg;
};

/*
 * Every planned row of t ends as done, skipped or refused; those that a stop or
 * a failure left out stay planned. 0; or -1 and err when the rest of this queue
 * cannot be done, which after ERR_NO_DB holds for all queues.
 */
int reset_target(struct session *session, struct target *t, const struct reset_order *order, struct error *err);

#endif
