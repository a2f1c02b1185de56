/*
 * exec.h - mode = exec: a job becomes a child; a child's end becomes an outcome.
 *
 * Lives here: what a job's environment says, time limits, ending a child by TERM
 * and then KILL, judging its end. Not here: processes and pipes (child.c),
 * what an outcome is made of (outcome.c), writing it (store.c).
 */
#ifndef EXEC_H
#define EXEC_H

#include "handler.h"

extern const struct handler exec_handler;

#endif
