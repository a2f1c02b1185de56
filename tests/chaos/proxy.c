/*
 * proxy.c - see proxy.h. One process, one poll() loop, and a socket to the test for orders.
 */
#include "proxy.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "files.h"
#include "scene.h"

#define LANES 16
#define LINKS 128
#define SOCKET_NAME ".s.PGSQL.5432"

struct order {
	int lane, order, links;
	char text[64];
};

struct way {			/* one direction of a link; read only when all was written */
	int from, to;
	size_t len, done;
	char data[16384];
};

struct link {
	bool used, swallows, caught;
	int lane;
	struct way out, in;	/* to the server, from it */
};

struct proxy {
	int line;
	pid_t pid;
};

static char target[108];
static int listening[LANES], lanes_len;
static enum proxy_order mode[LANES];
static char wanted[LANES][64];
static struct link links[LINKS];

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
	return a;
}

static void link_close(struct link *l)
{
	if (l->out.from >= 0)
		close(l->out.from);
	close(l->out.to);
	l->used = false;
}

/* The client is cut off; the server gets all that was sent, and then its end. (A close with replies unread would cost it that.) */
static void link_cut_off(struct link *l)
{
	shutdown(l->out.to, SHUT_WR);
	close(l->out.from);
	l->out.from = l->in.to = -1;
	l->in.len = 0;
}

static void link_open(int lane)
{
	struct sockaddr_un a = address(target);
	int client = accept4(listening[lane], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), server;

	if (client < 0)
		return;
	server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (mode[lane] != PROXY_REFUSE && connect(server, (struct sockaddr *)&a, sizeof a) == 0)
		for (size_t i = 0; i < LINKS; i++)
			if (!links[i].used) {
				links[i].used = true;
				links[i].swallows = mode[lane] == PROXY_SWALLOW;
				links[i].caught = false;
				links[i].lane = lane;
				links[i].out.from = links[i].in.to = client;
				links[i].in.from = links[i].out.to = server;
				links[i].out.len = links[i].in.len = 0;
				return;
			}
	close(client);
	close(server);
}

/* Read when there is nothing to write, else write. False: the link is over. */
static bool way_move(struct link *l, struct way *w, bool is_reply)
{
	ssize_t n;

	if (w->len == 0) {
		n = recv(w->from, w->data, sizeof w->data, MSG_DONTWAIT);
		if (n <= 0)
			return n < 0 && (errno == EAGAIN || errno == EINTR);
		if (is_reply && l->swallows) {
			if (l->caught && l->out.from >= 0)
				link_cut_off(l);
			return true;
		}
		w->len = (size_t)n;
		w->done = 0;
		if (!is_reply && mode[l->lane] == PROXY_CATCH && memmem(w->data, w->len, wanted[l->lane], strlen(wanted[l->lane])) != NULL) {
			l->swallows = l->caught = true;
			mode[l->lane] = PROXY_PASS;	/* once */
		}
	}
	n = send(w->to, w->data + w->done, w->len - w->done, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	w->done += (size_t)n;
	if (w->done == w->len)
		w->len = 0;
	return true;
}

static int obey(const struct order *o)
{
	int n = 0;

	for (size_t i = 0; i < LINKS; i++) {
		struct link *l = &links[i];

		if (!l->used || l->lane != o->lane)
			continue;
		n++;
		if (o->order == PROXY_CUT || o->order == PROXY_REFUSE || (o->order == PROXY_PASS && l->swallows))
			link_close(l);
		else if (o->order == PROXY_SWALLOW)
			l->swallows = true;
	}
	if (o->order != PROXY_CUT && o->order != PROXY_LOOK)
		mode[o->lane] = (enum proxy_order)o->order;
	memcpy(wanted[o->lane], o->text, sizeof o->text);
	return n;
}

static void take_order(int line)
{
	struct order o;

	if (recv(line, &o, sizeof o, 0) != (ssize_t)sizeof o)
		_exit(0);
	o.links = obey(&o);
	send(line, &o, sizeof o, MSG_NOSIGNAL);
}

static _Noreturn void run(int line)
{
	static struct pollfd fds[1 + LANES + 2 * LINKS];
	static struct { struct link *l; bool is_reply; } whose[1 + LANES + 2 * LINKS];

	for (;;) {
		nfds_t n = 0;

		fds[n++] = (struct pollfd){ .fd = line, .events = POLLIN };
		for (int i = 0; i < lanes_len; i++)
			fds[n++] = (struct pollfd){ .fd = mode[i] == PROXY_PAUSE ? -1 : listening[i], .events = POLLIN };
		for (size_t i = 0; i < LINKS; i++) {
			struct link *l = &links[i];

			for (int k = 0; l->used && mode[l->lane] != PROXY_PAUSE && k < 2; k++) {
				struct way *w = k ? &l->in : &l->out;

				if (w->from < 0)
					continue;
				whose[n].l = l;
				whose[n].is_reply = k;
				fds[n++] = w->len == 0 ? (struct pollfd){ .fd = w->from, .events = POLLIN }
				                       : (struct pollfd){ .fd = w->to, .events = POLLOUT };
			}
		}
		if (poll(fds, n, -1) < 0)
			continue;
		/* An order changes what the others mean: they are looked at again. */
		if (fds[0].revents != 0) {
			take_order(line);
			continue;
		}
		for (nfds_t i = 1; i < n; i++) {
			if (fds[i].revents == 0)
				continue;
			if (i <= (nfds_t)lanes_len)
				link_open((int)i - 1);
			else if (whose[i].l->used && !way_move(whose[i].l, whose[i].is_reply ? &whose[i].l->in : &whose[i].l->out, whose[i].is_reply))
				link_close(whose[i].l);
		}
	}
}

const char *proxy_dir(int lane)
{
	return test_path(story_text("lane%d", lane));
}

static int open_lane(int lane)
{
	struct sockaddr_un a = address(story_text("%s/%s", proxy_dir(lane), SOCKET_NAME));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	mkdir(proxy_dir(lane), 0755);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 64) < 0)
		story_fail("%s: %s", a.sun_path, strerror(errno));
	return fd;
}

static void proxy_end(void *arg)
{
	const struct proxy *p = arg;

	close(p->line);
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
}

struct proxy *proxy_start(const char *dir, int lanes)
{
	struct proxy *p = story_memory(sizeof *p);
	pid_t parent = getpid();
	int pair[2];

	snprintf(target, sizeof target, "%s/%s", dir, SOCKET_NAME);
	lanes_len = lanes;
	for (int i = 0; i < lanes; i++)
		listening[i] = open_lane(i);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		story_fail("socketpair: %s", strerror(errno));
	p->pid = fork();
	if (p->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		close(pair[0]);
		run(pair[1]);
	}
	close(pair[1]);
	for (int i = 0; i < lanes; i++)
		close(listening[i]);
	p->line = pair[0];
	story_after(proxy_end, p);
	return p;
}

pid_t proxy_pid(const struct proxy *p)
{
	return p->pid;
}

int proxy_order(struct proxy *p, int lane, enum proxy_order order, const char *text)
{
	struct order o = { .lane = lane, .order = (int)order };

	if (text != NULL)
		snprintf(o.text, sizeof o.text, "%s", text);
	if (send(p->line, &o, sizeof o, MSG_NOSIGNAL) != (ssize_t)sizeof o || recv(p->line, &o, sizeof o, 0) != (ssize_t)sizeof o)
		story_fail("the proxy has gone");
	return o.links;
}
