/*
 * proc.c - starting, watching and ending the programs of a test.
 *
 * Output goes to files, so that nothing has to be read while waiting. Only a
 * terminal has to be read: pump() does that whenever the test looks.
 * What they leave behind is leftovers.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include "files.h"
#include "leftovers.h"
#include "proc.h"

/* A file that somebody writes, and what we have read of it. */
struct output {
	const char *path;
	const char *text;
	off_t size;
};

struct proc {
	struct proc *next;
	const char *name;
	pid_t pid;
	bool over;		/* reaped; status is set */
	int status;		/* exit status, or 128 + signal */
	int terminal;		/* our end of the pty, or -1 */
	struct output out, err;	/* the screen's file for what is on a terminal */
	const char *screen;
	struct timespec started, ended;
};

static struct proc *procs;
static int number;

/* ---- starting ---- */

static const char *find_program(const char *name)
{
	if (strchr(name, '/') != NULL)
		return name;
	const char *built = build_path(name);

	return access(built, X_OK) == 0 ? built : name;
}

static int open_file(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	if (fd < 0)
		story_fail("%s: %s", path, strerror(errno));
	return fd;
}

static int open_terminal(struct proc *p, const struct proc_options *o)
{
	struct winsize size = { .ws_row = 24, .ws_col = (unsigned short)(o->columns > 0 ? o->columns : 80) };
	int slave;

	if (openpty(&p->terminal, &slave, NULL, NULL, &size) < 0)
		story_fail("no terminal: %s", strerror(errno));
	fcntl(p->terminal, F_SETFD, FD_CLOEXEC);
	fcntl(slave, F_SETFD, FD_CLOEXEC);
	fcntl(p->terminal, F_SETFL, O_NONBLOCK);
	close(open_file(p->screen, O_WRONLY | O_CREAT | O_TRUNC));
	return slave;
}

/* Both in the child: only calls that are allowed after fork, mistakes go to its stderr. */
static _Noreturn void complain(const char *what)
{
	dprintf(STDERR_FILENO, "%s: %s\n", what, strerror(errno));
	_exit(127);
}

static void become_nobody(void)
{
	if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
		complain("cannot become nobody");
}

static _Noreturn void run_child(const struct proc_options *o, const char *program, const char *const *argv,
                                const int fds[3], int slave, pid_t parent)
{
	sigset_t none;

	if (slave >= 0) {
		setsid();
		ioctl(slave, TIOCSCTTY, 0);
	} else {
		setpgid(0, 0);
	}
	for (int i = 0; i < 3; i++)
		dup2(fds[i], i);
	/* Defaults first: Check's own handlers would end the whole test. */
	for (int signo = 1; signo < 32; signo++)
		signal(signo, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (o->cwd != NULL && chdir(o->cwd) < 0)
		complain(o->cwd);
	setenv("UNSTUCK_WORKER_SPOOL_DIR", test_path("spool"), 0);	/* of root it would be one for all tests */
	for (const char *const *e = o->env; e != NULL && *e != NULL; e++)
		putenv((char *)(uintptr_t)*e);
	if (o->unprivileged)
		become_nobody();
	/* After the change of user, which clears it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	execvp(program, (char *const *)(uintptr_t)argv);
	complain(program);
}

struct proc *proc_start(const struct proc_options *options, const char *const *argv)
{
	static const struct proc_options none;
	const struct proc_options *o = options != NULL ? options : &none;
	struct proc *p = story_memory(sizeof *p);
	const char *program = find_program(argv[0]), *input = "/dev/null";
	int slave = -1, fds[3];

	number++;
	*p = (struct proc){ .next = procs, .name = argv[0], .terminal = -1 };
	p->screen = story_text("%s/.%d.screen", test_dir(), number);
	p->out.path = o->tty & TTY_OUT ? p->screen : story_text("%s/.%d.out", test_dir(), number);
	p->err.path = o->tty & TTY_ERR ? p->screen : story_text("%s/.%d.err", test_dir(), number);
	if (o->input != NULL)
		input = write_file_at(story_text(".%d.in", number), o->input, 0644);
	if (o->tty != 0)
		slave = open_terminal(p, o);
	fds[0] = o->tty & TTY_IN ? slave : open_file(input, O_RDONLY);
	fds[1] = o->tty & TTY_OUT ? slave : open_file(p->out.path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND);
	fds[2] = o->tty & TTY_ERR ? slave : open_file(p->err.path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND);
	if (o->unprivileged && geteuid() == 0)
		for (int i = 0; i < 3; i++)
			if (fchown(fds[i], 65534, 65534) < 0 && errno != EPERM && errno != EROFS)
				story_fail("chown: %s", strerror(errno));

	clock_gettime(CLOCK_MONOTONIC, &p->started);
	pid_t parent = getpid();
	sigset_t all, before;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	p->pid = fork();
	if (p->pid == 0)
		run_child(o, program, argv, fds, slave, parent);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (p->pid < 0)
		story_fail("fork: %s", strerror(errno));
	if (slave < 0)
		setpgid(p->pid, p->pid);	/* so that the group is there when we come back */
	for (int i = 0; i < 3; i++)
		if (fds[i] != slave)
			close(fds[i]);
	if (slave >= 0)
		close(slave);
	procs = p;
	return p;
}

/* ---- watching ---- */

/* Move what came on the terminal to the file of the screen. */
static void pump(struct proc *p)
{
	char data[4096];
	ssize_t n;

	if (p->terminal < 0)
		return;
	int fd = open_file(p->screen, O_WRONLY | O_APPEND);
	while ((n = read(p->terminal, data, sizeof data)) > 0)
		if (write(fd, data, (size_t)n) != n)
			break;
	close(fd);
}

bool proc_running(struct proc *p)
{
	int status;

	pump(p);
	if (p->over)
		return false;
	if (waitpid(p->pid, &status, WNOHANG) != p->pid)
		return true;
	pump(p);
	clock_gettime(CLOCK_MONOTONIC, &p->ended);
	p->over = true;
	p->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return false;
}

/* Read again only what has grown: waiting looks a hundred times a second. */
static const char *output_text(struct output *o)
{
	struct stat st;

	if (o->text == NULL || (stat(o->path, &st) == 0 && st.st_size != o->size)) {
		size_t len;

		o->text = read_file_at(o->path, &len);
		o->size = (off_t)len;
	}
	return o->text;
}

const char *proc_out(struct proc *p)
{
	pump(p);
	return output_text(&p->out);
}

const char *proc_err(struct proc *p)
{
	pump(p);
	return output_text(&p->err);
}

static const char *last_of(const char *text, size_t max)
{
	size_t len = strlen(text);

	return len > max ? text + len - max : text;
}

/* What to show of a program that did not do as it should. */
static const char *evidence(struct proc *p)
{
	return story_text("\n--- stdout of %s\n%s\n--- stderr\n%s\n---", p->name, last_of(proc_out(p), 1500),
	                  last_of(proc_err(p), 3000));
}

int proc_wait(struct proc *p, unsigned ms)
{
	uint64_t until = story_until(ms);

	while (proc_running(p))
		if (!story_wait(until))
			story_fail("%s has not ended after %u ms%s", p->name, ms, evidence(p));
	return p->status;
}

struct proc *proc_must_exit(struct proc *p, int status, unsigned ms)
{
	int got = proc_wait(p, ms);

	if (got != status)
		story_fail("%s ended with %d, not %d%s", p->name, got, status, evidence(p));
	return p;
}

void proc_must_show(struct proc *p, const char *text, bool on_stderr, unsigned ms)
{
	uint64_t until = story_until(ms);

	for (;;) {
		bool running = proc_running(p);

		if (strstr(on_stderr ? proc_err(p) : proc_out(p), text) != NULL)
			return;
		if (!running)
			story_fail("%s ended with %d and never said \"%s\"%s", p->name, p->status, text, evidence(p));
		if (!story_wait(until))
			story_fail("%s did not say \"%s\" in %u ms%s", p->name, text, ms, evidence(p));
	}
}

void proc_type(struct proc *p, const char *text)
{
	if (p->terminal < 0 || write(p->terminal, text, strlen(text)) != (ssize_t)strlen(text))
		story_fail("%s: cannot type \"%s\"", p->name, text);
}

pid_t proc_pid(const struct proc *p)
{
	return p->pid;
}

void proc_signal(struct proc *p, int signo)
{
	if (!p->over)
		kill(p->pid, signo);
}

void proc_signal_group(struct proc *p, int signo)
{
	if (!p->over)
		kill(-p->pid, signo);
}

double proc_took(const struct proc *p)
{
	return (double)(p->ended.tv_sec - p->started.tv_sec) + (double)(p->ended.tv_nsec - p->started.tv_nsec) / 1e9;
}

bool proc_stopped(const struct proc *p)
{
	return pid_state(p->pid) == 'T';
}

/* ---- the end ---- */

/* The first that still runs, after all of them were asked to end: once is a stop, twice is one at once. */
static struct proc *still_running(bool ask)
{
	struct proc *first = NULL;

	for (struct proc *p = procs; p != NULL; p = p->next) {
		if (!proc_running(p))
			continue;
		if (ask) {
			proc_signal(p, SIGTERM);
			proc_signal(p, SIGCONT);	/* a frozen one hears nothing */
		}
		first = p;
	}
	return first;
}

void procs_stop(void)
{
	uint64_t until = story_until(15000);
	struct proc *p;

	for (int looks = 0; (p = still_running(looks % 10 == 0)) != NULL; looks++)
		if (!story_wait(until))
			story_fail("%s does not end at TERM%s", p->name, evidence(p));
}

void procs_forget(void)
{
	for (struct proc *p = procs; p != NULL; p = p->next)
		if (p->terminal >= 0)
			close(p->terminal);
	procs = NULL;
	number = 0;
}
