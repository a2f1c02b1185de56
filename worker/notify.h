/*
 * notify.h - what systemd (or who speaks its protocol) is told at $NOTIFY_SOCKET: READY when claims can
 * be made, RELOADING, STOPPING and EXTEND_TIMEOUT_USEC while draining, STATUS with the live counts, and WATCHDOG
 * twice in each WATCHDOG_USEC, by the loop itself, so that one that hangs is found out.
 *
 * Without the variable nothing is done.
 */
#ifndef NOTIFY_H
#define NOTIFY_H

#include "worker.h"

void notify_open(struct worker *w);
void notify_close(struct worker *w);
usec_t notify_advance(struct worker *w, usec_t now);	/* tells what has changed; returns when to call again */
void notify_reloading(struct worker *w, bool begins);	/* READY when it is over, whichever way */

#endif
