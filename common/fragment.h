/*
 * fragment.h - SQL that the user wrote (where, order_by, on_success), looked over
 * before it is put into a statement of ours.
 *
 * It only has to stay where it is put: a fragment that is whole (quotes,
 * comments and brackets closed, no statement's end) cannot change the statement
 * around it. Whether it means anything is for the server to say.
 */
#ifndef FRAGMENT_H
#define FRAGMENT_H

#include "error.h"

enum fragment_kind {
	FRAGMENT_CONDITION,	/* put between brackets: where */
	FRAGMENT_ORDER,		/* put after ORDER BY; no LIMIT, OFFSET, FETCH, FOR of its own */
	FRAGMENT_STATEMENT,	/* a statement of its own: on_success. $1 and $2 and a last ; are fine */
};

/* 0, or -1 and err that names the setting and what is wrong with it. */
int fragment_check(enum fragment_kind kind, const char *setting, const char *text, struct error *err);

#endif
