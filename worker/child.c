/*
 * child.c - one process of ours: its own group, its three pipes, its end.
 *
 * Lives here: its pipes, feeding and reading it without blocking, noticing its
 * exit, killing what is left of its group, reaping.
 * Not here:   becoming another program (launch.c), finding it (child_find.c), what
 *             is run and why, time limits (exec.c).
 *
 *   started --- exit seen (not reaped) ---+
 *      |                                  +--> over: group killed, reaped, over(), freed
 *      +--- stdout and stderr ended ------+
 *           (or CHILD_DRAIN_TIME after the exit)
 *
 * Reading and SIGCHLD note facts; children_turn() decides who is over.
 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "buf.h"
#include "launch.h"

#define READ_MAX (64 * 1024)	/* a pipe and turn of the loop: nobody starves the others */
#define LINE_MAX_LEN 4096	/* of stderr */
#define INPUT_KEEP (256 * 1024)	/* an input buffer that had to grow further is given back */
#define OOM_MORE 500		/* children are to be chosen before the worker */
#define REAP_TIME (2 * SEC)	/* at the very end */

struct child {
	struct children *all;
	struct child *next, *prev;
	struct child_events events;
	void *arg;

	pid_t pid;		/* 0 once reaped */
	bool exited;		/* but not reaped: its number is still ours */
	usec_t started, ended;

	int in_fd, out_fd, err_fd;	/* -1: closed, or ended */
	struct event *in, *out, *err;
	struct buf input;		/* what stdin has not taken, from input_at on */
	size_t input_at;
	bool keep_stdin;

	struct buf line;	/* an unfinished line of stderr */
	struct buf tail;	/* the end of stderr, cut to CHILD_TAIL now and then */
};

struct children {
	struct event_base *base;
	struct event *sigchld;
	struct event *turn;	/* active: children_turn() runs in this loop turn; timer: drain deadline */
	struct child *first;
	size_t count;
	char oom_score_adj[16];	/* for children; "" when ours cannot be read */
	sigset_t reset;		/* what children do not inherit; known from the first start on */
	bool started;		/* the first one */
	char chunk[READ_MAX];
};

/* Something may be over: look at all children before the loop sleeps. */
static void children_touch(struct children *all)
{
	event_active(all->turn, EV_TIMEOUT, 1);
}

static void pipe_close(int *fd, struct event **event)
{
	if (*event)
		event_free(*event);
	*event = NULL;
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* ---- stdin ---- */

static void child_push(struct child *c)
{
	while (c->in_fd >= 0 && c->input_at < c->input.len) {
		ssize_t n = write(c->in_fd, c->input.data + c->input_at, c->input.len - c->input_at);

		if (n >= 0) {
			c->input_at += (size_t)n;
		} else if (errno == EAGAIN) {
			event_add(c->in, NULL);
			return;
		} else if (errno != EINTR) {
			pipe_close(&c->in_fd, &c->in);	/* it does not read all of it: its own business */
		}
	}
	c->input_at = 0;
	buf_clear(&c->input);
	if (!c->keep_stdin)
		pipe_close(&c->in_fd, &c->in);
	if (!c->keep_stdin || c->input.cap > INPUT_KEEP)
		buf_release(&c->input);
}

static void child_on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct child *c = arg;

	(void)fd, (void)what;
	child_push(c);
	if (c->keep_stdin && child_unwritten(c) == 0 && c->events.drained)
		c->events.drained(c->arg);
}

bool child_is_writable(const struct child *c)
{
	return c->in_fd >= 0 && c->keep_stdin && child_unwritten(c) < CHILD_WRITE_MAX;
}

bool child_write(struct child *c, const char *data, size_t len)
{
	if (!child_is_writable(c))
		return false;
	if (c->input_at > c->input.len / 2) {	/* not each time: a byte is moved once at most */
		memmove(c->input.data, c->input.data + c->input_at, c->input.len - c->input_at);
		c->input.len -= c->input_at;
		c->input_at = 0;
	}
	if (child_unwritten(c) == 0) {		/* straight into the pipe; an error is found again by child_push() */
		ssize_t n = write(c->in_fd, data, len);

		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
	if (len > 0) {
		buf_add(&c->input, data, len);
		child_push(c);
	}
	return true;
}

size_t child_unwritten(const struct child *c)
{
	return c->input.len - c->input_at;
}

void child_close_stdin(struct child *c)
{
	c->keep_stdin = false;
	child_push(c);		/* closes it when everything is written */
}

/* ---- stdout and stderr ---- */

static bool child_is_reading(const struct child *c)
{
	return c->out_fd >= 0 || c->err_fd >= 0;
}

/* One chunk. 0: nothing now; at the end of the stream it is closed. */
static size_t child_read(struct child *c, int *fd, struct event **event)
{
	ssize_t n;

	do
		n = read(*fd, c->all->chunk, READ_MAX);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return (size_t)n;
	if (n == 0 || errno != EAGAIN) {
		pipe_close(fd, event);
		children_touch(c->all);
	}
	return 0;
}

static void child_on_stdout(evutil_socket_t fd, short what, void *arg)
{
	struct child *c = arg;
	size_t n = child_read(c, &c->out_fd, &c->out);

	(void)fd, (void)what;
	if (n > 0 && c->events.output)
		c->events.output(c->arg, c->all->chunk, n);
}

void child_stop_reading(struct child *c)
{
	pipe_close(&c->out_fd, &c->out);
	children_touch(c->all);
}

static void child_tell_line(struct child *c, const char *line, size_t len)
{
	if (c->events.line)
		c->events.line(c->arg, line, len);
}

static void child_flush_line(struct child *c)
{
	if (c->line.len > 0)
		child_tell_line(c, c->line.data, c->line.len);
	buf_clear(&c->line);
}

/* Lines as they become complete; whole lines within data are not copied. */
static void child_take_lines(struct child *c, const char *data, size_t len)
{
	while (len > 0) {
		const char *end = memchr(data, '\n', len);
		size_t n = end ? (size_t)(end - data) : len;
		size_t room = LINE_MAX_LEN - c->line.len;

		if (n > room) {
			n = room;
			end = NULL;
		}
		if (end && c->line.len == 0) {
			child_tell_line(c, data, n);
		} else {
			buf_add(&c->line, data, n);
			/* a full piece waits for one byte more: it may be the end of the line */
			if (end || n < len)
				child_flush_line(c);
		}
		data += n + (end != NULL);
		len -= n + (end != NULL);
	}
}

static void child_take_tail(struct child *c, const char *data, size_t len)
{
	buf_add(&c->tail, data, len);
	if (c->tail.len > 4 * CHILD_TAIL) {
		memmove(c->tail.data, c->tail.data + c->tail.len - CHILD_TAIL, CHILD_TAIL);
		c->tail.len = CHILD_TAIL;
		c->tail.data[CHILD_TAIL] = '\0';
	}
}

static void child_on_stderr(evutil_socket_t fd, short what, void *arg)
{
	struct child *c = arg;
	size_t n = child_read(c, &c->err_fd, &c->err);

	(void)fd, (void)what;
	child_take_tail(c, c->all->chunk, n);
	child_take_lines(c, c->all->chunk, n);
	if (c->err_fd < 0)
		child_flush_line(c);
}

/* ---- starting ---- */

/*
 * A pipe, both ends above 2 (the new process puts its own there) and closed in every
 * other program. Only our end is non-blocking: the flag belongs to one end.
 */
static int pipe_open(int fds[2], int ours)
{
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	for (int i = 0; i < 2; i++) {
		int high = fds[i] > 2 ? fds[i] : fcntl(fds[i], F_DUPFD_CLOEXEC, 3);

		if (high < 0)
			return -1;
		if (high != fds[i])
			close(fds[i]);
		fds[i] = high;
	}
	return fcntl(fds[ours], F_SETFL, O_NONBLOCK);
}

/* The three pipes: theirs[] for the new process, our ends watched. 0, or -1 and errno. */
static int child_open_pipes(struct child *c, int theirs[3])
{
	struct { int ours, *fd; struct event **event; event_callback_fn call; short what; } ends[3] = {
		{ 1, &c->in_fd, &c->in, child_on_writable, EV_WRITE },
		{ 0, &c->out_fd, &c->out, child_on_stdout, EV_READ | EV_PERSIST },
		{ 0, &c->err_fd, &c->err, child_on_stderr, EV_READ | EV_PERSIST },
	};

	for (int i = 0; i < 3; i++) {
		int fds[2] = { -1, -1 };
		int failed = pipe_open(fds, ends[i].ours);

		*ends[i].fd = fds[ends[i].ours];
		theirs[i] = fds[!ends[i].ours];
		if (failed < 0)
			return -1;
		*ends[i].event = event_new(c->all->base, *ends[i].fd, ends[i].what, ends[i].call, c);
		if (!*ends[i].event || (i > 0 && event_add(*ends[i].event, NULL) < 0))
			return -1;
	}
	return 0;
}

static void child_free(struct child *c)
{
	pipe_close(&c->in_fd, &c->in);
	pipe_close(&c->out_fd, &c->out);
	pipe_close(&c->err_fd, &c->err);
	buf_release(&c->input);
	buf_release(&c->line);
	buf_release(&c->tail);
	free(c);
}

static void children_link(struct children *all, struct child *c)
{
	c->next = all->first;
	if (all->first)
		all->first->prev = c;
	all->first = c;
	all->count++;
}

static void children_unlink(struct children *all, struct child *c)
{
	if (c->next)
		c->next->prev = c->prev;
	if (c->prev)
		c->prev->next = c->next;
	else
		all->first = c->next;
	c->next = c->prev = NULL;
	all->count--;
}

struct child *child_start(struct children *all, const struct child_spec *spec,
                          const struct child_events *events, void *arg, struct error *err)
{
	struct child *c = xcalloc(1, sizeof *c);
	struct launch l = {
		.path = spec->path, .argv = spec->argv, .envp = spec->envp,
		.oom_score_adj = all->oom_score_adj, .fds = { -1, -1, -1 }, .reset = &all->reset, .parent = getpid(),
	};
	int failed;

	if (!all->started)
		launch_find_signals(&all->reset);
	all->started = true;
	c->all = all;
	c->events = *events;
	c->arg = arg;
	c->in_fd = c->out_fd = c->err_fd = -1;
	failed = child_open_pipes(c, l.fds);
	if (failed < 0)
		error_set(err, ERR_SYS, "%s cannot be started: no pipes: %s", spec->path, strerror(errno));
	else
		failed = launch(&l, &c->pid, err);
	for (int i = 0; i < 3; i++)
		if (l.fds[i] >= 0)
			close(l.fds[i]);
	if (failed < 0) {
		child_free(c);
		return NULL;
	}
	c->started = clock_now();
	c->keep_stdin = spec->keep_stdin;
	buf_add(&c->input, spec->input, spec->input_len);
	children_link(all, c);
	child_push(c);
	return c;
}

void child_signal(struct child *c, int signo)
{
	if (c->pid > 0)
		kill(-c->pid, signo);
}

pid_t child_pid(const struct child *c)
{
	return c->pid;
}

/* ---- the end ---- */

static usec_t child_drain_deadline(const struct child *c)
{
	return c->exited && child_is_reading(c) ? c->ended + CHILD_DRAIN_TIME : USEC_NEVER;
}

/* Exits are only looked at here; a process is reaped when all of it is over. */
static void child_look(struct child *c)
{
	siginfo_t info = { .si_pid = 0 };

	if (c->exited)
		return;
	if (waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
		c->pid = 0;	/* somebody else reaped it: neither its number nor its status is ours */
	else if (info.si_pid == 0)
		return;
	c->exited = true;
	c->ended = clock_now();
	children_touch(c->all);
}

/*
 * End what is left of the group while its number is still ours, then reap. Its
 * exit was seen, so this does not wait. An unknown end is no success.
 */
static int child_reap(struct child *c)
{
	int status = SIGKILL;

	if (c->pid == 0)
		return status;
	kill(-c->pid, SIGKILL);
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	c->pid = 0;
	return status;
}

static void child_tell_over(struct child *c, int status)
{
	struct child_end end = { .status = status, .took = c->ended - c->started };

	child_flush_line(c);
	end.tail_len = c->tail.len < CHILD_TAIL ? c->tail.len : CHILD_TAIL;
	end.tail = buf_text(&c->tail) + c->tail.len - end.tail_len;
	if (c->events.over)
		c->events.over(c->arg, &end);
}

static bool children_have(const struct children *all, pid_t pid)
{
	for (const struct child *c = all->first; c; c = c->next)
		if (c->pid == pid)
			return true;
	return false;
}

/*
 * Reap processes that were given to us (as PID 1, or as a subreaper). One of ours
 * that waits for its end stands before the others: they come when it has gone.
 */
static void children_reap_strays(struct children *all)
{
	for (;;) {
		siginfo_t info = { .si_pid = 0 };

		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0 ||
		    children_have(all, info.si_pid))
			return;
		waitpid(info.si_pid, NULL, WNOHANG);
	}
}

static void children_on_sigchld(evutil_socket_t fd, short what, void *arg)
{
	struct children *all = arg;

	(void)fd, (void)what;
	for (struct child *c = all->first; c; c = c->next)
		child_look(c);
	children_reap_strays(all);
}

usec_t children_advance(struct children *all, usec_t now)
{
	usec_t next = USEC_NEVER;

	for (struct child *c = all->first; c; c = c->next) {
		usec_t deadline = child_drain_deadline(c);

		if (now < deadline) {
			next = usec_min(next, deadline);
			continue;
		}
		/* somebody it left behind holds its output */
		pipe_close(&c->out_fd, &c->out);
		pipe_close(&c->err_fd, &c->err);
		children_touch(all);
	}
	return next;
}

/* Take those that are over out of the list. */
static struct child *children_take_over(struct children *all)
{
	struct child *over = NULL, *next;

	for (struct child *c = all->first; c; c = next) {
		next = c->next;
		if (!c->exited || child_is_reading(c))
			continue;
		children_unlink(all, c);
		c->next = over;
		over = c;
	}
	return over;
}

static void children_turn(evutil_socket_t fd, short what, void *arg)
{
	struct children *all = arg;
	usec_t now = clock_now(), next = children_advance(all, now);
	struct child *over = children_take_over(all);

	(void)fd, (void)what;
	event_del(all->turn);
	if (next != USEC_NEVER) {
		struct timeval wait = { .tv_sec = (time_t)((next - now) / SEC),
		                        .tv_usec = (suseconds_t)((next - now) % SEC) };

		event_add(all->turn, &wait);
	}
	while (over) {
		struct child *c = over;

		over = c->next;
		child_tell_over(c, child_reap(c));
		child_free(c);
		if (!over)
			children_reap_strays(all);
	}
}

/* ---- all of them ---- */

/* Ours and OOM_MORE, as text; "" when it cannot be known. */
static void read_oom_score_adj(char *out, size_t size)
{
	FILE *f = fopen("/proc/self/oom_score_adj", "re");
	int ours;

	if (f && fscanf(f, "%d", &ours) == 1)
		snprintf(out, size, "%d", ours + OOM_MORE > 1000 ? 1000 : ours + OOM_MORE);
	if (f)
		fclose(f);
}

struct children *children_new(struct event_base *base, struct error *err)
{
	struct children *all = xcalloc(1, sizeof *all);

	all->base = base;
	read_oom_score_adj(all->oom_score_adj, sizeof all->oom_score_adj);
	signal(SIGPIPE, SIG_IGN);
	all->turn = event_new(base, -1, 0, children_turn, all);
	all->sigchld = evsignal_new(base, SIGCHLD, children_on_sigchld, all);
	if (!all->turn || !all->sigchld || event_add(all->sigchld, NULL) < 0) {
		error_set(err, ERR_SYS, "the end of children cannot be watched: %s", strerror(errno));
		children_free(all);
		return NULL;
	}
	return all;
}

/* Killed already; a process that hangs in the kernel is left to it. */
static void child_reap_until(struct child *c, usec_t deadline)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	while (c->pid > 0 && waitpid(c->pid, NULL, WNOHANG) == 0 && clock_now() < deadline)
		nanosleep(&pause, NULL);
}

void children_free(struct children *all)
{
	usec_t deadline = clock_now() + REAP_TIME;
	struct child *next;

	if (!all)
		return;
	for (struct child *c = all->first; c; c = c->next)
		child_signal(c, SIGKILL);
	for (struct child *c = all->first; c; c = next) {
		next = c->next;
		child_reap_until(c, deadline);
		child_free(c);
	}
	if (all->sigchld)
		event_free(all->sigchld);
	if (all->turn)
		event_free(all->turn);
	free(all);
}

size_t children_count(const struct children *all)
{
	return all->count;
}
