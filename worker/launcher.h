/*
 * launcher.h - threads that start processes, so that the loop goes on meanwhile.
 *
 * Whoever makes a process by vfork() stands still until that is another program: half a millisecond on a busy
 * machine, and as long as the kernel likes where the program lies on a disk that does not answer. That is a launcher's
 * time. All else about a process (pipes, signals, its end) is the loop's (child.c).
 *
 *   add() --> to do --> a launcher's hands --> over --> take()
 *
 * A launch belongs to the launchers from add() to take().
 */
#ifndef LAUNCHER_H
#define LAUNCHER_H

#include "clock.h"
#include "launch.h"

struct launchers;

struct launchers *launchers_new(struct error *err);	/* no thread yet: the first launch makes the first */
/*
 * No more begins: what was to do is over, with ECANCELED; what is under way gets so long. False: it hangs in the kernel, and the
 * launchers are left to it. With the threads go all the processes that they made.
 */
MUST_CHECK bool launchers_stop(struct launchers *all, usec_t patience);
void launchers_free(struct launchers *all);		/* stopped; NULL is fine */

int launchers_fd(const struct launchers *all);		/* an eventfd: readable when a launch is over; take() until there is none */
/* -1 and err: there is no thread to be had; l stays the caller's. */
MUST_CHECK int launchers_add(struct launchers *all, struct launch *l, struct error *err);
struct launch *launchers_take(struct launchers *all);	/* one that is over (pid, or error); NULL: none */

#endif
