/*
 * failpoint.h - named steps at which a test makes a program fail, and a clock that a test moves.
 *
 * Only in the test build (make FAIL=1, below build/fail); elsewhere a step is nothing. There the environment says
 *
 *	UNSTUCK_FAIL=point:action[:n],...	at the n-th time (1); n = 0: each time
 *	UNSTUCK_CLOCK=FILE			see failpoint_clock()
 *
 *	abort      SIGKILL to itself
 *	exit       exit status FAILPOINT_EXIT at once, nothing is tidied up
 *	error      the step reports failure; only where it can (FAILS_AT below)
 *	sleep:ms   the step takes so long
 *	stop       SIGSTOP to itself
 *
 * What is no such point or action is refused with exit status 64 before main() begins.
 */
#ifndef FAILPOINT_H
#define FAILPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAILPOINT_EXIT 70

/* X(point, whether it can report failure, where). In which story a test fails at it: worker, replay, rescue, recover, question. */
#define FAILPOINTS(X) \
	X(before_register, false, worker) \
	X(after_register,  false, worker)	/* sent; the answer is on its way */ \
	X(register_reply,  true,  worker) \
	X(before_claim,    false, worker) \
	X(after_claim,     false, worker) \
	X(claim_reply,     true,  worker) \
	X(before_start,    true,  worker)	/* of a handler, or of a job at a serve process */ \
	X(before_launch,   true,  worker)	/* in a thread (launcher.c) */ \
	X(after_launch,    false, worker)	/* the process is there, and the loop does not know yet */ \
	X(after_start,     false, worker) \
	X(child_end,       false, worker)	/* it has ended, or answered; not judged yet */ \
	X(before_seal,     false, worker) \
	X(spool_write,     true,  worker)	/* in the spool's thread */ \
	X(spool_sync,      true,  worker) \
	X(spool_synced,    false, worker)	/* on the disk, and nobody told */ \
	X(after_seal,      false, worker) \
	X(before_store,    false, worker) \
	X(after_store,     false, worker) \
	X(store_reply,     true,  worker) \
	X(before_drop,     false, worker)	/* the database has it, the spool does not know yet */ \
	X(after_drop,      false, worker) \
	X(reconcile_reply, true,  worker) \
	X(before_release,  false, worker)	/* of all rows at the end */ \
	X(after_release,   false, worker) \
	X(release_reply,   true,  worker) \
	X(before_goodbye,  false, worker) \
	X(after_goodbye,   false, worker) \
	X(goodbye_reply,   true,  worker) \
	X(before_exit,     false, worker) \
	X(replay_locked,   false, replay)	/* the instance of a dead process is ours */ \
	X(replay_record,   false, replay) \
	X(replay_stored,   false, replay)	/* the records of a file; its file is still there */ \
	X(replay_removed,  false, replay)	/* the file; the instance is still there */ \
	X(rescue_declared, true,  rescue)	/* by a worker: the dead are, nothing is reset */ \
	X(before_rescue,   false, rescue) \
	X(rescue_reply,    true,  rescue) \
	X(recover_locked,  false, recover) \
	X(recover_watched, false, recover) \
	X(recover_listed,  false, recover) \
	X(recover_asked,   false, question)	/* the question is on the terminal; nobody reads the answer yet */ \
	X(recover_declared, false, recover) \
	X(before_reset,    false, recover)	/* of one batch */ \
	X(after_reset,     false, recover) \
	X(recover_done,    false, recover)	/* nothing was said yet */

enum failpoint {
#define X(name, can_fail, where) FAIL_##name,
	FAILPOINTS(X)
#undef X
	FAILPOINTS_LEN
};

#ifdef UNSTUCK_FAILPOINTS

/* This point was reached. true: its step is to report failure. From any thread. */
bool failpoint_hit(enum failpoint p);
/*
 * Microseconds to add to the monotonic clock (0) or to the wall clock (1). The file has both numbers, in
 * milliseconds; what it says now counts. No file: nothing is added.
 */
int64_t failpoint_clock(int which);

#define FAILPOINT(p) ((void)failpoint_hit(FAIL_##p))
#define FAILS_AT(p) failpoint_hit(FAIL_##p)
#define CLOCK_MOVED(which) ((uint64_t)failpoint_clock(which))

#else

#define FAILPOINT(p) ((void)FAIL_##p)
#define FAILS_AT(p) ((void)FAIL_##p, false)
#define CLOCK_MOVED(which) 0

#endif
#endif
