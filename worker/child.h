/*
 * child.h - one process of ours: its own group, its three pipes, its end.
 *
 * Own process group; default signal dispositions and an empty mask (SIGPIPE
 * too); only fds 0, 1 and 2; unless it is attended ended by the kernel when the worker dies
 * (PR_SET_PDEATHSIG KILL); more likely than the worker to be chosen when memory runs out.
 * The executable is started directly, no shell. Signals are to be caught and ignored
 * before the first start: later changes of that would reach children.
 *
 * A child is over when it has exited and its output has ended, in either
 * order; a grandchild that keeps the pipe (or out_fd, as far as held() tells) gets CHILD_DRAIN_TIME, then the whole
 * group is killed. The group is killed before the child is reaped, so that its
 * number cannot belong to anybody else. Not here: what a job is.
 */
#ifndef CHILD_H
#define CHILD_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "clock.h"
#include "error.h"

#define CHILD_DRAIN_TIME (1 * SEC)
#define CHILD_TAIL 4096			/* of stderr, kept for last_error */
#define CHILD_WRITE_MAX (1024 * 1024)	/* unwritten bytes from which child_write() refuses more */

struct attend;

struct child_spec {
	const char *path;		/* executable, resolved (child_find) */
	char *const *argv;
	char *const *envp;
	const char *input;		/* written without blocking, what does not fit is copied; then stdin is closed */
	size_t input_len;
	int out_fd;			/* its stdout, not a pipe; closed here in any case. 0: a pipe */
	const struct attend *attend;	/* it finishes even when we die (attend.h); note.fd is closed here in any case, stderr_end is set here; NULL: it dies with us */
	bool keep_stdin;		/* persistent: stdin stays open for child_write() */
};

struct child_end {
	int status;			/* as waitpid() gives it */
	const char *tail;		/* the last CHILD_TAIL bytes of stderr; borrowed */
	size_t tail_len;
	usec_t took;
};

struct child_events {
	void (*started)(void *arg);					/* first: the program runs, its pid is known */
	void (*failed)(void *arg, const struct error *why);		/* or it does not, and nothing else comes; then it is freed, as after over() */
	void (*output)(void *arg, const char *data, size_t len);	/* stdout, as it comes (20 ms after the start, or at the end) */
	bool (*held)(void *arg);					/* out_fd: a process still prints into it */
	void (*line)(void *arg, const char *line, size_t len);		/* stderr, line by line; 4 KiB at most, longer ones in pieces */
	void (*over)(void *arg, const struct child_end *end);		/* last; the child is freed afterwards by children */
	void (*drained)(void *arg);					/* keep_stdin: what had to wait is written */
};
/*
 * Any of them may be NULL. They run from the event loop only, never inside a call
 * made here; they may call everything here but children_free(). A child_signal()
 * from within over() does nothing: the process is reaped.
 */

struct children;
struct child;

/*
 * SIGCHLD is blocked from now on (it is read from a descriptor), SIGPIPE ignored. oom_score_adj + 500 for children where
 * allowed. Every process that is our child (as PID 1: adopted ones too) is reaped
 * here: nobody else in the program may wait for one.
 */
struct children *children_new(struct event_base *base, struct error *err);
void children_free(struct children *all);	/* kills and reaps whatever is left (4 s at most); no callbacks */
size_t children_count(const struct children *all);	/* begun and not over */
/* Deadlines; returns the next. children has a timer of its own: calling it is allowed, not needed. */
usec_t children_advance(struct children *all, usec_t now);

/*
 * It is on its way (launcher.h), and nothing that spec points to is needed any more: started() or failed() (no process to be had,
 * exec failed) tells what became of it. NULL and err when not even that: no descriptors.
 */
MUST_CHECK struct child *child_start(struct children *all, const struct child_spec *spec,
                                     const struct child_events *events, void *arg, struct error *err);
void child_signal(struct child *c, int signo);	/* to its group; before started(): then, one of them, KILL before all others */
pid_t child_pid(const struct child *c);		/* 0: not started yet, or reaped */
void child_stop_reading(struct child *c);	/* too much output: stdout is closed */
/* keep_stdin. Takes all of data (copied) or nothing; false: CHILD_WRITE_MAX waits already, or stdin is closed. */
bool child_write(struct child *c, const char *data, size_t len);
bool child_is_writable(const struct child *c);	/* child_write() would take it */
size_t child_unwritten(const struct child *c);
void child_close_stdin(struct child *c);

/* The executable that argv[0] names, by $PATH or as a path (caller frees), or NULL and err with the reason. */
MUST_CHECK char *child_find(const char *name, struct error *err);

#endif
