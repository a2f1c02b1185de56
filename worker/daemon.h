/*
 * daemon.h - `run --daemon`: the caller comes back when the worker is ready, with 0,
 * or when it has ended, with its status.
 */
#ifndef DAEMON_H
#define DAEMON_H

#include <stdbool.h>
#include "error.h"

/*
 * Fork twice; before any connection, thread or event loop. Returns -1 in the daemon, and in the caller
 * the status to leave with. The daemon stays in its directory (handlers may be
 * named from there) and keeps the caller's stderr until it is ready.
 */
int daemon_start(struct error *err);
void daemon_close_strangers(void);	/* descriptors that the caller left open: not ours to keep */

void daemon_ready(void);		/* tells the caller 0 and lets go of its terminal; else nothing */
bool daemon_is_awaited(void);		/* the caller is still there, and we are not ready */
void daemon_over(int status);		/* never got ready: what the caller ends with */

#endif
