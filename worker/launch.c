/*
 * launch.c - from vfork() to execve(): a new process that is somebody else.
 *
 * The new process borrows our memory until it is another program: nothing is copied, and an errno
 * comes back through struct launch. The thread that makes it stands still until then, the others go on: so
 * nothing is touched but struct launch and the stack of that thread, no lock is taken and nothing
 * allocated (async-signal-safe calls only), and all signals are blocked until none of our handlers is left in it.
 */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "buf.h"

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

static size_t words_size(char *const *words, size_t *n)
{
	size_t size = 0;

	for (*n = 0; words[*n] != NULL; (*n)++)
		size += strlen(words[*n]) + 1;
	return size;
}

static char *put_text(char **at, const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = memcpy(*at, text, size);

	*at += size;
	return copy;
}

struct launch *launch_new(const char *path, char *const *argv, char *const *envp, const struct attend *attend)
{
	size_t args, vars;
	size_t texts = strlen(path) + 1 + words_size(argv, &args) + words_size(envp, &vars);
	struct launch *l = xmalloc(sizeof *l + (args + vars + 2) * sizeof(char *) + texts);
	char **words = (char **)(l + 1), *at = (char *)(words + args + vars + 2);

	*l = (struct launch){
		.argv = words, .envp = words + args + 1, .fds = { -1, -1, -1 }, .cgroup = -1, .parent = getpid(),
		.attended = attend != NULL, .attend = { .note.fd = -1 },
	};
	if (attend != NULL)
		l->attend = *attend;
	l->path = put_text(&at, path);
	for (size_t i = 0; i < args; i++)
		l->argv[i] = put_text(&at, argv[i]);
	for (size_t i = 0; i < vars; i++)
		l->envp[i] = put_text(&at, envp[i]);
	l->argv[args] = l->envp[vars] = NULL;
	return l;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void launch_close(struct launch *l)
{
	for (int i = 0; i < 3; i++)
		close_fd(&l->fds[i]);
	close_fd(&l->attend.note.fd);
}

void launch_free(struct launch *l)
{
	launch_close(l);
	free(l);
}

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
	pid_t pid = vfork(); /* NOLINT: fork() would copy our page tables for every job; what it may touch: see above */

	if (pid == 0)
		launch_exec(l);
	return pid;
}

int launch(struct launch *l)
{
	l->error = 0;
	l->pid = launch_vfork(l);
	if (l->pid < 0)
		l->error = errno;
	else if (l->error != 0)
		while (waitpid(l->pid, NULL, 0) < 0 && errno == EINTR)
			;
	return l->error == 0 ? 0 : -1;
}

int launch_failed(const struct launch *l, struct error *err)
{
	int error = l->error;

	if (error == ENOEXEC)
		return error_set(err, ERR_SYS, "%s is not executable: no #! line?", l->path);
	if (error == ENOENT && access(l->path, F_OK) == 0)
		return error_set(err, ERR_SYS, "%s cannot be started: the interpreter in its #! line is missing",
		                 l->path);
	return error_set(err, ERR_SYS, "%s cannot be started: %s", l->path, strerror(error));
}
