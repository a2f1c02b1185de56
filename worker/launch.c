/*
 * launch.c - from vfork() to execve(): a new process that is somebody else.
 *
 * The new process borrows our memory until it is another program, and we stand
 * still until then: nothing is copied, and an errno comes back through struct
 * launch. Hence only async-signal-safe calls, and all signals blocked until none
 * of our handlers is left in it.
 */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- in the new process ---- */

static void launch_fail(struct launch *l, int error) __attribute__((noreturn));
static void launch_fail(struct launch *l, int error)
{
	l->error = error;
	_exit(127);
}

/* Best effort: what may not be raised here leaves the choice to the kernel. */
static void launch_set_oom_score(const struct launch *l)
{
	int fd = -1;
	ssize_t ignored;

	if (l->oom_score_adj[0] != '\0')
		fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	ignored = write(fd, l->oom_score_adj, strlen(l->oom_score_adj));
	(void)ignored;
	close(fd);
}

/* Best effort too: its group is ended in any case. */
static void launch_enter_cgroup(const struct launch *l)
{
	ssize_t ignored;

	if (l->cgroup < 0)
		return;
	ignored = write(l->cgroup, "0", 1);
	(void)ignored;
}

static void launch_reset_signals(const struct launch *l)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int signo = 1; signo < NSIG; signo++)
		if (sigismember(l->reset, signo) == 1)
			sigaction(signo, &plain, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void launch_exec(struct launch *l) __attribute__((noreturn));
static void launch_exec(struct launch *l)
{
	if ((!l->in_group && setpgid(0, 0) < 0) || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		launch_fail(l, errno);
	if (getppid() != l->parent)
		launch_fail(l, ESRCH);	/* we died before the line above */
	launch_enter_cgroup(l);
	for (int i = 0; i < 3; i++)
		if (dup2(l->fds[i], i) < 0)
			launch_fail(l, errno);
	close_range(3, ~0U, 0);		/* ours are close-on-exec anyway; this is for what others opened */
	launch_set_oom_score(l);
	launch_reset_signals(l);
	execve(l->path, l->argv, l->envp);
	launch_fail(l, errno);
}

/* ---- on our side ---- */

void launch_find_signals(sigset_t *out)
{
	struct sigaction now;

	sigemptyset(out);
	for (int signo = 1; signo < NSIG; signo++)
		if (sigaction(signo, NULL, &now) == 0 && now.sa_handler != SIG_DFL)
			sigaddset(out, signo);
}

/* A function of its own: no variable of the caller may live in a register that the new process changes. */
__attribute__((noinline)) static pid_t launch_vfork(struct launch *l)
{
	pid_t pid = vfork(); /* NOLINT: fork() would copy our page tables for every job */

	if (pid == 0)
		launch_exec(l);
	return pid;
}

int launch_failed(const struct launch *l, int error, struct error *err)
{
	if (err == NULL)
		return -1;	/* between fork() and exec nothing may be put into words */
	if (error == ENOEXEC)
		return error_set(err, ERR_SYS, "%s is not executable: no #! line?", l->path);
	if (error == ENOENT && access(l->path, F_OK) == 0)
		return error_set(err, ERR_SYS, "%s cannot be started: the interpreter in its #! line is missing",
		                 l->path);
	return error_set(err, ERR_SYS, "%s cannot be started: %s", l->path, strerror(error));
}

int launch(struct launch *l, pid_t *pid, struct error *err)
{
	sigset_t all, before;
	int error;

	l->error = 0;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	*pid = launch_vfork(l);
	error = *pid < 0 ? errno : l->error;
	if (*pid > 0 && error != 0)
		while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
			;
	sigprocmask(SIG_SETMASK, &before, NULL);
	return error == 0 ? 0 : launch_failed(l, error, err);
}
