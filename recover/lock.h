/*
 * lock.h - runs that write never overlap: one advisory lock a database.
 */
#ifndef LOCK_H
#define LOCK_H

#include "error.h"
#include "pg.h"

enum lock_answer {
	LOCK_TAKEN,	/* ours until the session ends */
	LOCK_BUSY,	/* another run has it */
	LOCK_POOLED,	/* a pooler is in between: a session's lock would stay behind on its connection */
};

int lock_take(struct session *s, enum lock_answer *out, struct error *err);

#endif
