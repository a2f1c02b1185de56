/*
 * attend.h - a process between the worker and a handler that is to finish even when the worker dies.
 *
 *   worker --fork--> attendant --vfork, exec--> handler
 *
 * It leads the handler's group, so that a signal to the group is one to the handler (nothing but KILL reaches the
 * attendant itself). It learns how the handler ended, notes that in the handler's output file, and ends in the same way: the
 * worker sees no difference. When the worker is gone it also reads what the handler says on stderr, so that it does not
 * die of that, keeps its time limit, ends it when who replays the spool says that nobody wants its result any more, and syncs the
 * note. Then whoever replays the spool knows as much as the worker would.
 *
 * Not here: becoming the handler (launch.c), what the note means (common/replay*).
 */
#ifndef ATTEND_H
#define ATTEND_H

#include "clock.h"
#include "spool.h"

struct launch;

struct attend {
	struct spool_note note;
	int stderr_end;		/* where the handler's stderr is read */
	usec_t limit, force;	/* the time it may take, and from TERM to KILL; looked at only when the worker is gone */
	uint64_t most;		/* bytes of output, the same */
};

/* As launch(), of one that is attended. */
int attend(struct launch *l);

#endif
