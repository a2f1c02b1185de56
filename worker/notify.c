/*
 * notify.c - see notify.h. A few lines over a datagram socket, in place of a library.
 */
#include "notify.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "store.h"

#define STATUS_EVERY (1 * SEC)		/* no more often, however fast the counts change */
#define EXTEND_EVERY (5 * SEC)		/* while draining */
#define EXTEND_BY (20 * SEC)

struct notify {
	int fd;
	struct sockaddr_un to;
	socklen_t to_len;
	enum worker_state told;		/* the last state that was told */
	char status[160];		/* as it was told last, and when */
	usec_t status_at;
	usec_t extended_at;
	usec_t watchdog, watchdog_at;	/* half of WATCHDOG_USEC, USEC_NEVER without; when it is due */
};

/* The system's or somebody's own; '@' stands for the NUL of an abstract name. */
static bool notify_address(struct notify *n, const char *name)
{
	size_t len = strlen(name);

	if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof n->to.sun_path)
		return false;
	n->to.sun_family = AF_UNIX;
	memcpy(n->to.sun_path, name, len);
	if (name[0] == '@')
		n->to.sun_path[0] = '\0';
	n->to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	return true;
}

/* 0 when it is not for us. */
static usec_t watchdog_time(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	char *end;
	unsigned long long t;

	if (usec == NULL || (pid != NULL && strtol(pid, NULL, 10) != (long)getpid()))
		return 0;
	t = strtoull(usec, &end, 10);
	return *end == '\0' && end != usec ? (usec_t)t : 0;
}

void notify_open(struct worker *w)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct notify *n;
	usec_t watchdog;

	if (name == NULL)
		return;
	n = xcalloc(1, sizeof *n);
	n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (n->fd < 0 || !notify_address(n, name)) {
		if (n->fd >= 0)
			close(n->fd);
		free(n);
		return;
	}
	watchdog = watchdog_time();
	n->watchdog = watchdog != 0 ? watchdog / 2 : USEC_NEVER;
	n->watchdog_at = n->watchdog;	/* long past */
	if (watchdog == 0)
		n->watchdog_at = USEC_NEVER;
	w->notify = n;
}

void notify_close(struct worker *w)
{
	if (w->notify == NULL)
		return;
	close(w->notify->fd);
	free(w->notify);
	w->notify = NULL;
}

static void notify_send(const struct notify *n, const struct buf *text)
{
	ssize_t sent = sendto(n->fd, text->data, text->len, MSG_NOSIGNAL, (const struct sockaddr *)&n->to, n->to_len);

	(void)sent;	/* nobody there, or nobody reading: not our work to wait for */
}

static void status_text(const struct worker *w, char *out, size_t size)
{
	snprintf(out, size, "%s: %zu jobs running, %zu results waiting, %" PRIu64 " done, %" PRIu64 " failed; database %s",
	         worker_state_name(worker_state(w)), w->running, store_waiting(w), w->count.done, w->count.failed,
	         db_state_name(db_state(w->db)));
}

/* The state that it has come to, each once. */
static void add_state(const struct worker *w, struct buf *text)
{
	struct notify *n = w->notify;
	enum worker_state now = worker_state(w);

	if (now == n->told)
		return;
	if (n->told == WORKER_STARTING && now != WORKER_STOPPING) {
		buf_adds(text, "READY=1\n");
		if (w->opt->background)		/* not the process that was started */
			buf_addf(text, "MAINPID=%d\n", (int)getpid());
	}
	if (now == WORKER_STOPPING)
		buf_adds(text, "STOPPING=1\n");
	n->told = now;
	n->status_at = 0;
}

static void add_status(const struct worker *w, struct buf *text, usec_t now)
{
	struct notify *n = w->notify;
	char status[sizeof n->status];

	status_text(w, status, sizeof status);
	if (strcmp(status, n->status) == 0)
		return;
	strcpy(n->status, status);
	n->status_at = now;
	buf_addf(text, "STATUS=%s\n", status);
}

usec_t notify_advance(struct worker *w, usec_t now)
{
	struct notify *n = w->notify;
	struct buf text = BUF_INIT;
	usec_t next;

	if (n == NULL)
		return USEC_NEVER;
	add_state(w, &text);
	if (n->status_at == 0 || now >= n->status_at + STATUS_EVERY)
		add_status(w, &text, now);
	if (n->told == WORKER_STOPPING && now >= n->extended_at + EXTEND_EVERY) {
		buf_addf(&text, "EXTEND_TIMEOUT_USEC=%" PRIu64 "\n", EXTEND_BY);
		n->extended_at = now;
	}
	if (now >= n->watchdog_at) {
		buf_adds(&text, "WATCHDOG=1\n");
		n->watchdog_at = now + n->watchdog;
	}
	if (text.len != 0)
		notify_send(n, &text);
	buf_release(&text);

	next = n->watchdog_at;
	if (n->told == WORKER_STOPPING)
		next = usec_min(next, n->extended_at + EXTEND_EVERY);
	/* The counts that changed within the second are told at its end. */
	if (now < n->status_at + STATUS_EVERY) {
		char status[sizeof n->status];

		status_text(w, status, sizeof status);
		if (strcmp(status, n->status) != 0)
			next = usec_min(next, n->status_at + STATUS_EVERY);
	}
	return next;
}

void notify_reloading(struct worker *w, bool begins)
{
	struct buf text = BUF_INIT;

	if (w->notify == NULL || w->notify->told == WORKER_STARTING)
		return;
	if (begins)
		buf_addf(&text, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\n", clock_now());
	else
		buf_adds(&text, "READY=1\n");
	notify_send(w->notify, &text);
	buf_release(&text);
}
