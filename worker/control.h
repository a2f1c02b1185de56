/*
 * control.h - a unix socket beside the pidfile, on which the worker tells what it is
 * doing: one line asks, one JSON document answers, and the connection is closed.
 *
 *   status    state, since when, jobs in flight, connections, counters, last errors
 *   reload    read the settings again; answered when that has ended, one way or the other
 *
 * For its own user only (mode 0600). Never holds a secret: what it tells is what
 * the log tells. Not here: stop, quiet, resume; they are signals (signals.c).
 */
#ifndef CONTROL_H
#define CONTROL_H

#include "worker.h"

int control_open(struct worker *w, const char *pidfile, struct error *err);
void control_close(struct worker *w);	/* the socket's file is gone afterwards */
void control_note(struct worker *w);	/* once a turn: since when the state is what it is */

#endif
