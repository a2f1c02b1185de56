/*
 * exec.h - a job becomes a child; a child's end becomes an outcome.
 *
 * Lives here: the handler's environment, time limits, ending a child by TERM
 * and then KILL, judging its end. Not here: processes and pipes (child.c),
 * writing the outcome (store.c).
 */
#ifndef EXEC_H
#define EXEC_H

#include "worker.h"

void exec_start(struct worker *w, struct job *j);	/* or gives it back when no process is to be had */
void exec_give_back(struct worker *w, struct job *j, const char *why);	/* not started: released */
void exec_end(struct worker *w, struct job *j, enum job_ending why);	/* TERM, and KILL after force_delay */
void exec_end_all(struct worker *w, enum job_ending why);
void exec_kill_all(struct worker *w);			/* KILL now */
usec_t exec_advance(struct worker *w, usec_t now);	/* time limits; returns the next */

#endif
