/*
 * proc.h - programs that a test runs: started with the environment, directory
 * and terminal that the test wants, their output kept, and none of them left
 * when the test is over, however it ends.
 *
 * A name without a slash is looked for in $UNSTUCK_BUILD first, then in $PATH.
 * Each process leads a process group of its own (on a terminal, a session).
 */
#ifndef PROC_H
#define PROC_H

#include <stdbool.h>
#include <sys/types.h>
#include "scene.h"

enum { TTY_IN = 1, TTY_OUT = 2, TTY_ERR = 4, TTY_ALL = 7 };

struct proc_options {
	const char *const *env;	/* NULL-terminated: "NAME=value" is set, "NAME" is taken away */
	const char *cwd;	/* default: the test's directory */
	const char *input;	/* text on stdin; default none */
	unsigned tty;		/* which of stdin, stdout, stderr are a terminal */
	int columns;		/* of the terminal; default 80 */
	bool unprivileged;	/* as root: run as nobody */
};
#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

struct proc;

/* must_start(&(struct proc_options){ .tty = TTY_ALL }, "unstuck-recover", "--dry-run"); options may be NULL. */
#define must_start(options, ...) (story_at(__FILE__, __LINE__), proc_start(options, WORDS(__VA_ARGS__)))
/* Run to the end (60 s), and the exit status has to be this one. */
#define must_run(status, options, ...) (story_at(__FILE__, __LINE__), \
	proc_must_exit(proc_start(options, WORDS(__VA_ARGS__)), status, 60000))
/* Wait; a death by signal N is 128 + N. */
#define must_exit(p, status, ms) (story_at(__FILE__, __LINE__), proc_must_exit(p, status, ms))
#define wait_exit(p, ms) (story_at(__FILE__, __LINE__), proc_wait(p, ms))
/* Wait until its stderr (say) or stdout (print) holds the text; 20 s. On a terminal both are the screen. */
#define must_say(p, text) (story_at(__FILE__, __LINE__), proc_must_show(p, text, true, 20000))
#define must_print(p, text) (story_at(__FILE__, __LINE__), proc_must_show(p, text, false, 20000))
/* Keys on its terminal. */
#define must_type(p, text) (story_at(__FILE__, __LINE__), proc_type(p, text))

struct proc *proc_start(const struct proc_options *options, const char *const *argv);
int proc_wait(struct proc *p, unsigned ms);
struct proc *proc_must_exit(struct proc *p, int status, unsigned ms);
void proc_must_show(struct proc *p, const char *text, bool on_stderr, unsigned ms);
void proc_type(struct proc *p, const char *text);

pid_t proc_pid(const struct proc *p);
bool proc_running(struct proc *p);
bool proc_stopped(const struct proc *p);		/* by SIGSTOP or its like */
void proc_signal(struct proc *p, int signo);		/* to it alone */
void proc_signal_group(struct proc *p, int signo);	/* to its process group */
/* What it wrote until now; lives as long as the test. */
const char *proc_out(struct proc *p);
const char *proc_err(struct proc *p);
double proc_took(const struct proc *p);		/* seconds from start to end, once it has ended */

/* For story.c, at the end of a test that went well. */
void procs_stop(void);		/* TERM, and again, to all that still run; one that does not end fails the test */
void procs_forget(void);

#endif
