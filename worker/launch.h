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
#include <sys/queue.h>
#include <sys/types.h>
#include "attend.h"
#include "error.h"

struct launch {
	char *path;			/* this and the next two are copies; they lie behind the struct */
	char **argv;
	char **envp;
	const char *oom_score_adj;	/* as text; "": left alone */
	int fds[3];			/* to be its 0, 1 and 2; all above 2, close-on-exec; ours no more when it is over (-1) */
	int cgroup;			/* where it says that it is in that cgroup; -1: it stays in ours */
	const sigset_t *reset;		/* the signals that are not at their defaults (launch_find_signals) */
	pid_t parent;			/* ours */
	bool in_group;			/* it stays in our process group */
	bool attended;			/* it finishes even when we die */
	struct attend attend;		/* note.fd is closed as fds are */
	void *arg;			/* whose it is */
	STAILQ_ENTRY(launch) next;	/* launcher.c */

	/* what became of it */
	pid_t pid;
	volatile int error;		/* errno of what failed, then there is no process; written by the new process */
};

STAILQ_HEAD(launch_list, launch);

/* Nothing of what is given has to live on. attend: NULL where nobody attends. */
struct launch *launch_new(const char *path, char *const *argv, char *const *envp, const struct attend *attend);
void launch_free(struct launch *l);	/* closes what is not closed */
void launch_close(struct launch *l);	/* its descriptors; they are the new process's */

/*
 * The program runs and pid is known (0), or there is no process and error says why (-1). The calling thread has all signals
 * blocked, and lives as long as the new process: PR_SET_PDEATHSIG goes by the thread, not by the process.
 */
int launch(struct launch *l);

/* What its error means, in words. Returns -1. */
int launch_failed(const struct launch *l, struct error *err);

/* Those that we catch or ignore. Asked once and not for each launch: it takes a system call a signal. */
void launch_find_signals(sigset_t *out);

#endif
