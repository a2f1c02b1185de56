/*
 * launch.h - from vfork() to execve(): a new process that is somebody else.
 *
 * What the child is given (group, descriptors, signals, its end with ours) is
 * child.h's promise; it is kept here.
 */
#ifndef LAUNCH_H
#define LAUNCH_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>
#include "error.h"

struct launch {
	const char *path;
	char *const *argv;
	char *const *envp;
	const char *oom_score_adj;	/* as text; "": left alone */
	int fds[3];			/* to be its 0, 1 and 2; all above 2, close-on-exec */
	int cgroup;			/* where it says that it is in that cgroup; -1: it stays in ours */
	const sigset_t *reset;		/* the signals that are not at their defaults (launch_find_signals) */
	pid_t parent;			/* ours */
	bool in_group;			/* it stays in our process group */
	volatile int error;		/* errno of what failed; written by the new process */
};

/* The program runs (0), or there is no process (-1 and err). Not from two threads at once. */
int launch(struct launch *l, pid_t *pid, struct error *err);

/* What this errno means for it, in words. Returns -1. */
int launch_failed(const struct launch *l, int error, struct error *err);

/* Those that we catch or ignore. Asked once and not for each launch: it takes a system call a signal. */
void launch_find_signals(sigset_t *out);

#endif
