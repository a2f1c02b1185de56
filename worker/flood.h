/*
 * flood.h - at most stderr_rate lines of a queue's handlers are logged; that the others are not is said once, and
 * how many they were when the window is over. last_error has the end of a failed handler's stderr in any case.
 */
#ifndef FLOOD_H
#define FLOOD_H

#include "worker.h"

bool flood_passes(struct queue *q, usec_t now);	/* one more line; false: it is counted only */
usec_t flood_advance(struct worker *w, usec_t now);	/* tells of windows that are over */
void flood_tell_all(struct worker *w);			/* before the last line of the log */

#endif
