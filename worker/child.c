/*
 * child.c - one process of ours: its own group, its three pipes, its end.
 *
 * Lives here: its pipes, feeding and reading it without blocking, noticing its
 * exit, killing what is left of its group, reaping.
 * Not here:   becoming another program (launch.c), in a thread of its own (launcher.c), finding it
 *             (child_find.c), what is run and why, time limits (exec.c).
 *
 *   STARTING --- no process is to be had, exec failed ---> failed(), freed
 *    | started()
 *    v
 *   NEW ---------+
 *    | WATCH_AFTER, or stdin is kept
 *    v           |
 *   WATCHED -----+--- exit seen, output ended -------------------------+--> group killed, reaped, over(), freed
 *                |                                                     |
 *                +--- exit seen ---> DRAINING --- output ended, or ----+
 *                                                 CHILD_DRAIN_TIME after the exit
 *
 * Most processes are short: nobody waits for the output of a NEW one, it is read
 * when its exit is seen. What each exit costs does not depend on how many children there are.
 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "attend.h"
#include "buf.h"
#include "cgroup.h"
#include "launch.h"
#include "launcher.h"

#define READ_MAX (64 * 1024)	/* a pipe and turn of the loop: nobody starves the others */
#define LINE_MAX_LEN 4096	/* of stderr */
#define INPUT_KEEP (256 * 1024)	/* an input buffer that had to grow further is given back */
#define OOM_MORE 500		/* children are to be chosen before the worker */
#define LAUNCH_TIME (2 * SEC)	/* at the very end: for what is STARTING */
#define REAP_TIME (2 * SEC)	/* and then for what is killed */
#define WATCH_AFTER (20 * MSEC)	/* what lives longer than this is worth an event for each of its pipes */
#define SEARCH_PAUSE (100 * MSEC)	/* between searches for children that somebody else reaped */
#define HELD_POLL (20 * MSEC)	/* between looks whether a file is still printed into: nothing tells when it ends */
#define PIDS 1024		/* buckets */

enum child_state {
	CHILD_STARTING,	/* with the launchers: its number is not known */
	CHILD_NEW,	/* no event is set for its output */
	CHILD_WATCHED,	/* its output is read as it comes */
	CHILD_DRAINING,	/* exited but not reaped: its number is still ours; output is read as it comes */
	CHILD_STATES
};

struct child {
	struct children *all;
	enum child_state state;
	TAILQ_ENTRY(child) link;	/* in the list of its state */
	LIST_ENTRY(child) same;		/* in the bucket of its number */
	struct child_events events;
	void *arg;

	uint64_t number;	/* in the order of child_start() */
	pid_t pid;		/* 0: STARTING, or reaped */
	int signo;		/* STARTING: for when its number is known; 0: none */
	struct cgroup *cgroup;	/* NULL: none */
	usec_t started, watch_at, ended;

	int in_fd, out_fd, err_fd;	/* -1: closed, or ended */
	struct event *in, *out, *err;
	struct buf input;		/* what stdin has not taken, from input_at on */
	size_t input_at;
	bool keep_stdin;
	bool waited;		/* CHILD_DRAIN_TIME for who else has its output */

	struct buf line;	/* an unfinished line of stderr */
	struct buf tail;	/* the end of stderr, cut to CHILD_TAIL now and then */
};

TAILQ_HEAD(child_list, child);
LIST_HEAD(child_bucket, child);

struct children {
	struct event_base *base;
	struct cgroups *cgroups;	/* NULL: there are none */
	struct launchers *launchers;
	struct event *launched;
	uint64_t begun;			/* children so far */
	pid_t unknown;			/* it has exited, and may be one that was STARTING then: up to the unknown_last-th; 0: nobody */
	uint64_t unknown_last;
	int exits;			/* signalfd of SIGCHLD, which stays blocked: no handler runs for each exit */
	struct event *sigchld;
	struct event *turn;	/* active: children_turn() runs in this loop turn; timer: the next deadline */
	struct child_list list[CHILD_STATES];	/* each in the order of coming to it: the first one's deadline is the next */
	struct child_bucket pids[PIDS];
	size_t count;
	usec_t search_at;	/* USEC_NEVER: no reason to */
	usec_t timer_at;	/* of turn; USEC_NEVER: none is set */
	char oom_score_adj[16];	/* for children; "" when ours cannot be read */
	sigset_t reset;		/* what children do not inherit; known from the first start on */
	bool started;		/* the first one */
	bool files;		/* some child printed into a file */
	char chunk[READ_MAX];
};

/* Look for those that are over before the loop sleeps. */
static void children_touch(struct children *all)
{
	event_active(all->turn, EV_TIMEOUT, 1);
}

/* Its output may have ended. That matters to one that has exited; the others have a SIGCHLD to come. */
static void child_touch(const struct child *c)
{
	if (c->state == CHILD_DRAINING)
		children_touch(c->all);
}

/* A turn at this time at the latest. */
static void children_arm(struct children *all, usec_t at)
{
	usec_t now, in;

	if (at >= all->timer_at)
		return;
	now = clock_now();
	in = at > now ? at - now : 0;
	event_add(all->turn, &(struct timeval){ .tv_sec = (time_t)(in / SEC), .tv_usec = (suseconds_t)(in % SEC) });
	all->timer_at = at;
}

static void child_enter(struct child *c, enum child_state state)
{
	TAILQ_REMOVE(&c->all->list[c->state], c, link);
	TAILQ_INSERT_TAIL(&c->all->list[state], c, link);
	c->state = state;
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

static void child_on_writable(evutil_socket_t fd, short what, void *arg);

/* Only a child that does not read at once needs one. */
static void child_wait_writable(struct child *c)
{
	if (!c->in)
		c->in = event_new(c->all->base, c->in_fd, EV_WRITE, child_on_writable, c);
	if (!c->in || event_add(c->in, NULL) < 0) {
		child_signal(c, SIGKILL);	/* half an input is none */
		pipe_close(&c->in_fd, &c->in);
	}
}

static void child_push(struct child *c)
{
	while (c->in_fd >= 0 && c->input_at < c->input.len) {
		ssize_t n = write(c->in_fd, c->input.data + c->input_at, c->input.len - c->input_at);

		if (n >= 0) {
			c->input_at += (size_t)n;
		} else if (errno == EAGAIN) {
			child_wait_writable(c);
			if (c->in_fd >= 0)
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

/* What fits in the pipe. 0 for an error too: child_push() will find it again. */
static size_t child_write_now(const struct child *c, const char *data, size_t len)
{
	ssize_t n = len > 0 ? write(c->in_fd, data, len) : 0;

	return n > 0 ? (size_t)n : 0;
}

bool child_write(struct child *c, const char *data, size_t len)
{
	size_t at = 0;

	if (!child_is_writable(c))
		return false;
	if (c->input_at > c->input.len / 2) {	/* not each time: a byte is moved once at most */
		memmove(c->input.data, c->input.data + c->input_at, c->input.len - c->input_at);
		c->input.len -= c->input_at;
		c->input_at = 0;
	}
	if (child_unwritten(c) == 0)
		at = child_write_now(c, data, len);
	if (at < len) {
		buf_add(&c->input, data + at, len - at);
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

/* For one that has exited. */
static bool child_is_printing(const struct child *c)
{
	return child_is_reading(c) || (c->events.held && !c->waited && c->events.held(c->arg));
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
		child_touch(c);
	}
	return 0;
}

static void child_read_stdout(struct child *c)
{
	size_t n = child_read(c, &c->out_fd, &c->out);

	if (n > 0 && c->events.output)
		c->events.output(c->arg, c->all->chunk, n);
}

static void child_on_stdout(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	child_read_stdout(arg);
}

void child_stop_reading(struct child *c)
{
	pipe_close(&c->out_fd, &c->out);
	child_touch(c);
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

static void child_read_stderr(struct child *c)
{
	size_t n = child_read(c, &c->err_fd, &c->err);

	child_take_tail(c, c->all->chunk, n);
	child_take_lines(c, c->all->chunk, n);
	if (c->err_fd < 0)
		child_flush_line(c);
}

static void child_on_stderr(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	child_read_stderr(arg);
}

/* An event for each pipe that has not ended. What cannot be watched must not succeed with half its output. */
static void child_watch(struct child *c)
{
	struct { int *fd; struct event **event; event_callback_fn call; } ends[2] = {
		{ &c->out_fd, &c->out, child_on_stdout },
		{ &c->err_fd, &c->err, child_on_stderr },
	};

	for (int i = 0; i < 2; i++) {
		if (*ends[i].fd < 0 || *ends[i].event)
			continue;
		*ends[i].event = event_new(c->all->base, *ends[i].fd, EV_READ | EV_PERSIST, ends[i].call, c);
		if (!*ends[i].event || event_add(*ends[i].event, NULL) < 0) {
			child_signal(c, SIGKILL);
			pipe_close(ends[i].fd, ends[i].event);
		}
	}
}

/* ---- starting ---- */

/* The same above 2, where the new process puts its own. -1 and errno: it stays as it is. */
static int fd_above(int fd)
{
	int high = fd > 2 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (high >= 0 && high != fd)
		close(fd);
	return high;
}

/*
 * A pipe, both ends above 2 and closed in every other program. Only our end is non-blocking: the
 * flag belongs to one end.
 */
static int pipe_open(int fds[2], int ours)
{
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	for (int i = 0; i < 2; i++) {
		int high = fd_above(fds[i]);

		if (high < 0)
			return -1;
		fds[i] = high;
	}
	return fcntl(fds[ours], F_SETFL, O_NONBLOCK);
}

/* The pipes: theirs[] for the new process; where something is there already, it needs none. 0, or -1 and errno. */
static int child_open_pipes(struct child *c, int theirs[3])
{
	struct { int ours, *fd; } ends[3] = { { 1, &c->in_fd }, { 0, &c->out_fd }, { 0, &c->err_fd } };

	for (int i = 0; i < 3; i++) {
		int fds[2] = { -1, -1 };
		int failed;

		if (theirs[i] >= 0) {
			int high = fd_above(theirs[i]);

			if (high < 0)
				return -1;
			theirs[i] = high;
			continue;
		}
		failed = pipe_open(fds, ends[i].ours);
		*ends[i].fd = fds[ends[i].ours];
		theirs[i] = fds[!ends[i].ours];
		if (failed < 0)
			return -1;
	}
	return 0;
}

/* All of the input in a file without a name: who reads it needs nobody to feed it. -1 and errno. */
static int input_file(const struct child_spec *spec)
{
	int fd = memfd_create("input", MFD_CLOEXEC);
	size_t done = 0;

	while (fd >= 0 && done < spec->input_len) {
		ssize_t n = write(fd, spec->input + done, spec->input_len - done);

		if (n <= 0 && errno != EINTR) {
			close(fd);
			return -1;
		}
		done += n > 0 ? (size_t)n : 0;
	}
	if (fd >= 0)
		lseek(fd, 0, SEEK_SET);
	return fd;
}

static void child_free(struct child *c)
{
	cgroup_end(c->all->cgroups, c->cgroup);
	pipe_close(&c->in_fd, &c->in);
	pipe_close(&c->out_fd, &c->out);
	pipe_close(&c->err_fd, &c->err);
	buf_release(&c->input);
	buf_release(&c->line);
	buf_release(&c->tail);
	free(c);
}

static struct child_bucket *children_bucket(struct children *all, pid_t pid)
{
	return &all->pids[(unsigned)pid % PIDS];
}

static struct child *children_find(struct children *all, pid_t pid)
{
	struct child *c;

	LIST_FOREACH(c, children_bucket(all, pid), same)
		if (c->pid == pid)
			return c;
	return NULL;
}

static void children_link(struct children *all, struct child *c)
{
	c->state = CHILD_STARTING;
	c->number = ++all->begun;
	TAILQ_INSERT_TAIL(&all->list[c->state], c, link);
	all->count++;
}

static void children_unlink(struct children *all, struct child *c)
{
	TAILQ_REMOVE(&all->list[c->state], c, link);
	if (c->state != CHILD_STARTING)
		LIST_REMOVE(c, same);
	all->count--;
}

/* What l needs of us: its descriptors, its input, where it is to be. 0, or -1 and errno. */
static int child_prepare(struct child *c, const struct child_spec *spec, struct launch *l)
{
	size_t fed = spec->input_len;

	if (spec->attend != NULL && (l->fds[0] = input_file(spec)) < 0)
		return -1;
	if (child_open_pipes(c, l->fds) < 0)
		return -1;
	if (spec->attend != NULL) {
		l->attend.stderr_end = c->err_fd;	/* and in no cgroup: who starts next must not take it for left behind */
	} else {
		fed = child_write_now(c, spec->input, spec->input_len);	/* most often all of it */
		c->cgroup = cgroup_take(c->all->cgroups);
		l->cgroup = cgroup_procs(c->cgroup);
	}
	if (fed < spec->input_len)
		buf_add(&c->input, spec->input + fed, spec->input_len - fed);
	child_push(c);
	return 0;
}

/* Where a failure leaves all as it was. */
static int child_hand_over(struct child *c, const struct child_spec *spec, struct error *err)
{
	struct launch *l = launch_new(spec->path, spec->argv, spec->envp, spec->attend);
	int failed;

	l->fds[1] = spec->out_fd > 0 ? spec->out_fd : -1;
	l->oom_score_adj = c->all->oom_score_adj;
	l->reset = &c->all->reset;
	l->arg = c;
	if (child_prepare(c, spec, l) < 0)
		failed = error_set(err, ERR_SYS, "%s cannot be started: no pipes: %s", spec->path, strerror(errno));
	else
		failed = launchers_add(c->all->launchers, l, err);
	if (failed < 0)
		launch_free(l);
	return failed;
}

struct child *child_start(struct children *all, const struct child_spec *spec,
                          const struct child_events *events, void *arg, struct error *err)
{
	struct child *c = xcalloc(1, sizeof *c);

	if (!all->started)
		launch_find_signals(&all->reset);
	all->started = true;
	c->all = all;
	c->events = *events;
	c->arg = arg;
	c->in_fd = c->out_fd = c->err_fd = -1;
	c->keep_stdin = spec->keep_stdin;
	c->started = clock_now();
	all->files = all->files || spec->out_fd > 0;
	if (child_hand_over(c, spec, err) < 0) {
		child_free(c);
		return NULL;
	}
	children_link(all, c);
	return c;
}

/* The program runs, or has run. */
static void child_launched(struct child *c, pid_t pid)
{
	struct children *all = c->all;

	c->pid = pid;
	LIST_INSERT_HEAD(children_bucket(all, pid), c, same);
	child_enter(c, CHILD_NEW);
	c->watch_at = clock_now() + WATCH_AFTER;
	if (c->keep_stdin) {
		child_watch(c);
		child_enter(c, CHILD_WATCHED);
	}
	children_arm(all, c->watch_at);
	if (c->signo != 0)
		child_signal(c, c->signo);
	if (c->events.started)
		c->events.started(c->arg);
}

static void child_failed(struct child *c, const struct launch *l)
{
	struct error why = ERROR_INIT;

	launch_failed(l, &why);
	children_unlink(c->all, c);
	if (c->events.failed)
		c->events.failed(c->arg, &why);
	child_free(c);
}

/* What the launchers are through with. false: nothing. */
static bool children_take_launches(struct children *all)
{
	struct launch *l;
	bool any = false;

	for (; (l = launchers_take(all->launchers)) != NULL; any = true) {
		if (l->error == 0)
			child_launched(l->arg, l->pid);
		else
			child_failed(l->arg, l);
		launch_free(l);
	}
	return any;
}

void child_signal(struct child *c, int signo)
{
	if (c->state == CHILD_STARTING && c->signo != SIGKILL)
		c->signo = signo;
	if (c->pid > 0)
		kill(-c->pid, signo);
}

pid_t child_pid(const struct child *c)
{
	return c->pid;
}

/* ---- the end ---- */

/*
 * End what is left of the group while its number is still ours, and of the cgroup, then reap. Its
 * exit was seen, so this does not wait. An unknown end is no success.
 */
static int child_reap(struct child *c)
{
	int status = SIGKILL;

	if (c->pid == 0)
		return status;
	kill(-c->pid, SIGKILL);
	cgroup_end(c->all->cgroups, c->cgroup);
	c->cgroup = NULL;
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

/* It is freed. Only called from the top of the loop, where nobody is in the middle of a child. */
static void child_end(struct child *c)
{
	int status;

	children_unlink(c->all, c);
	status = child_reap(c);
	child_tell_over(c, status);
	child_free(c);
}

/* What it left in its pipes is read, and with it their end: then it is over. */
static void child_exited(struct child *c)
{
	c->ended = clock_now();
	for (int i = 0; i < 2 && c->out_fd >= 0; i++)
		child_read_stdout(c);
	for (int i = 0; i < 2 && c->err_fd >= 0; i++)
		child_read_stderr(c);
	if (!child_is_printing(c)) {
		child_end(c);
		return;
	}
	child_watch(c);		/* more than a pipe holds, or somebody it left behind has it open */
	child_enter(c, CHILD_DRAINING);
	children_arm(c->all, c->ended + CHILD_DRAIN_TIME);
}

static void child_look(struct child *c)
{
	siginfo_t info = { .si_pid = 0 };

	if (waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
		c->pid = 0;	/* somebody else reaped it: neither its number nor its status is ours */
	else if (info.si_pid == 0)
		return;
	child_exited(c);
}

/* Ask about one after the other: for exits that the kernel does not name, because a DRAINING one or nobody stands there. */
static void children_search(struct children *all)
{
	struct child *c, *next;

	all->search_at = USEC_NEVER;
	for (enum child_state state = CHILD_NEW; state <= CHILD_WATCHED; state++)
		for (c = TAILQ_FIRST(&all->list[state]); c; c = next) {
			next = TAILQ_NEXT(c, link);
			child_look(c);
		}
}

/* Whether it, which nobody knows, may be a child: it is a stranger when all that were STARTING as it was first seen are known. */
static bool children_may_know(struct children *all, pid_t pid)
{
	const struct child *first = TAILQ_FIRST(&all->list[CHILD_STARTING]);

	if (all->unknown != pid)
		all->unknown_last = all->begun;
	all->unknown = pid;
	return first && first->number <= all->unknown_last;
}

/*
 * Whoever has exited, as the kernel names them; processes that were given to us (as PID 1, or as a
 * subreaper) are reaped. Nobody is reaped before all of it is over, so a DRAINING child stands before
 * all others until it has gone. So does one that nobody knows while something is STARTING: it may be just that (or it
 * could not become its program, and is its launcher's to reap), and the launchers tell at once. No more in one go than there are: those
 * that over() starts meanwhile have a SIGCHLD of their own.
 */
static void children_take_exits(struct children *all)
{
	size_t seen = 0, max = all->count;

	while (seen <= max) {
		siginfo_t info = { .si_pid = 0 };
		struct child *c;

		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
			info.si_pid = 0;
		if (info.si_pid != all->unknown)
			all->unknown = 0;
		if (info.si_pid == 0)
			break;
		c = children_find(all, info.si_pid);
		if (!c && children_take_launches(all))
			continue;
		if (!c && !children_may_know(all, info.si_pid)) {
			waitpid(info.si_pid, NULL, WNOHANG);
			continue;
		}
		if (!c || c->state == CHILD_DRAINING) {
			children_search(all);
			return;
		}
		child_exited(c);
		seen++;
	}
	if (all->count > 0 && all->search_at == USEC_NEVER) {
		all->search_at = clock_now() + SEARCH_PAUSE;	/* one may have gone behind our back */
		children_arm(all, all->search_at);
	}
}

static void children_on_sigchld(evutil_socket_t fd, short what, void *arg)
{
	struct signalfd_siginfo ignored;	/* which one: the kernel names them when asked, all of them */

	(void)what;
	if (read(fd, &ignored, sizeof ignored) < 0 && errno != EAGAIN)
		return;
	children_take_exits(arg);
}

static void children_on_launched(evutil_socket_t fd, short what, void *arg)
{
	struct children *all = arg;
	uint64_t ignored;

	(void)what;
	if (read(fd, &ignored, sizeof ignored) < 0 && errno != EAGAIN)
		return;
	children_take_launches(all);
	if (all->files && !TAILQ_EMPTY(&all->list[CHILD_DRAINING]))
		children_touch(all);	/* a new process had copies of all descriptors until now: a file may have looked held by them */
	if (all->unknown != 0)
		children_take_exits(all);
}

static usec_t child_deadline(const struct child *c)
{
	return c->state == CHILD_NEW ? c->watch_at : c->ended + CHILD_DRAIN_TIME;
}

usec_t children_advance(struct children *all, usec_t now)
{
	usec_t next = all->search_at;
	struct child *c;

	while ((c = TAILQ_FIRST(&all->list[CHILD_NEW])) != NULL && now >= child_deadline(c)) {
		child_watch(c);
		child_enter(c, CHILD_WATCHED);
	}
	if (c)
		next = usec_min(next, child_deadline(c));
	TAILQ_FOREACH(c, &all->list[CHILD_DRAINING], link) {
		if (now < child_deadline(c)) {	/* NOLINT: who was freed is in no list any more */
			next = usec_min(next, child_deadline(c));
			break;
		}
		/* somebody it left behind holds its output */
		c->waited = true;
		pipe_close(&c->out_fd, &c->out);
		pipe_close(&c->err_fd, &c->err);
		children_touch(all);
	}
	return all->files && c ? usec_min(next, now + HELD_POLL) : next;
}

static void children_turn(evutil_socket_t fd, short what, void *arg)
{
	struct children *all = arg;
	struct child *c, *next;
	bool ended = false;

	(void)fd, (void)what;
	all->timer_at = USEC_NEVER;	/* the loop took it off */
	if (clock_now() >= all->search_at)
		children_search(all);
	for (c = TAILQ_FIRST(&all->list[CHILD_DRAINING]); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (child_is_printing(c))
			continue;
		child_end(c);
		ended = true;
	}
	if (ended)
		children_take_exits(all);	/* those that stood behind it */
	children_arm(all, children_advance(all, clock_now()));
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

static int open_launchers(struct children *all, struct error *err)
{
	all->launchers = launchers_new(err);
	if (!all->launchers)
		return -1;
	all->launched = event_new(all->base, launchers_fd(all->launchers), EV_READ | EV_PERSIST, children_on_launched, all);
	if (!all->launched || event_add(all->launched, NULL) < 0)
		return error_set(err, ERR_SYS, "the start of children cannot be watched");
	return 0;
}

/* Threads that are made later have it blocked too: none takes it away. */
static int open_exits(void)
{
	sigset_t one;

	sigemptyset(&one);
	sigaddset(&one, SIGCHLD);
	signal(SIGCHLD, SIG_DFL);	/* who started us may have ignored it: then there would be no exit to see */
	sigprocmask(SIG_BLOCK, &one, NULL);
	return signalfd(-1, &one, SFD_NONBLOCK | SFD_CLOEXEC);
}

struct children *children_new(struct event_base *base, struct error *err)
{
	struct children *all = xcalloc(1, sizeof *all);

	all->base = base;
	all->search_at = all->timer_at = USEC_NEVER;
	for (int i = 0; i < CHILD_STATES; i++)
		TAILQ_INIT(&all->list[i]);
	read_oom_score_adj(all->oom_score_adj, sizeof all->oom_score_adj);
	signal(SIGPIPE, SIG_IGN);
	all->cgroups = cgroups_open(NULL);
	all->turn = event_new(base, -1, 0, children_turn, all);
	all->exits = open_exits();
	if (all->exits >= 0)
		all->sigchld = event_new(base, all->exits, EV_READ | EV_PERSIST, children_on_sigchld, all);
	if (!all->turn || !all->sigchld || event_add(all->sigchld, NULL) < 0)
		error_set(err, ERR_SYS, "the end of children cannot be watched: %s", strerror(errno));
	else if (open_launchers(all, err) == 0)
		return all;
	children_free(all);
	return NULL;
}

/* Killed already; a process that hangs in the kernel is left to it. */
static void child_reap_until(struct child *c, usec_t deadline)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	while (c->pid > 0 && waitpid(c->pid, NULL, WNOHANG) == 0 && clock_now() < deadline)
		nanosleep(&pause, NULL);
}

static void children_kill(struct children *all)
{
	struct child *c;

	for (int i = 0; i < CHILD_STATES; i++)
		TAILQ_FOREACH(c, &all->list[i], link)
			child_signal(c, SIGKILL);
}

/*
 * What is STARTING is known then. False: it hangs in the kernel, and may look at all of this when it comes back; its launcher ends
 * with us, and with that the process.
 */
static bool children_stop_launchers(struct children *all)
{
	struct launch *l;
	bool stopped;

	if (!all->launchers)
		return true;
	if (all->launched)
		event_free(all->launched);
	stopped = launchers_stop(all->launchers, LAUNCH_TIME);
	for (; (l = launchers_take(all->launchers)) != NULL; launch_free(l))
		if (l->error == 0) {
			struct child *c = l->arg;

			c->pid = l->pid;
			child_signal(c, SIGKILL);
		}
	if (stopped)
		launchers_free(all->launchers);
	return stopped;
}

void children_free(struct children *all)
{
	usec_t deadline;
	struct child *c;
	bool stopped;

	if (!all)
		return;
	children_kill(all);
	stopped = children_stop_launchers(all);
	deadline = clock_now() + REAP_TIME;
	for (int i = 0; i < CHILD_STATES; i++)
		while ((c = TAILQ_FIRST(&all->list[i])) != NULL) {
			children_unlink(all, c);
			child_reap_until(c, deadline);
			child_free(c);
		}
	cgroups_close(all->cgroups);
	if (all->sigchld)
		event_free(all->sigchld);
	if (all->exits >= 0)
		close(all->exits);
	if (all->turn)
		event_free(all->turn);
	if (stopped)
		free(all);
}

size_t children_count(const struct children *all)
{
	return all->count;
}
