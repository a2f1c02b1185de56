/*
 * resolve.c - see resolve.h. getaddrinfo() is what the machine is set up for (hosts, DNS, LDAP), and it blocks.
 */
#include "resolve.h"

#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"

struct resolve {
	atomic_int refs;		/* the thread's and the asker's; the last one frees */
	int done;			/* eventfd */
	char *host;
	struct addresses found;		/* both: the thread's until it is done */
	int error;			/* of getaddrinfo() */
};

void resolve_drop(struct resolve *r)
{
	if (r == NULL || atomic_fetch_sub(&r->refs, 1) != 1)
		return;
	close(r->done);
	free(r->host);
	free(r);
}

int resolve_fd(const struct resolve *r)
{
	return r->done;
}

static void look_up(struct resolve *r, int flags)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags };
	struct addrinfo *list = NULL, *a;

	r->error = getaddrinfo(r->host, NULL, &hints, &list);
	for (a = r->error == 0 ? list : NULL; a != NULL && r->found.len < RESOLVE_MAX; a = a->ai_next)
		if (getnameinfo(a->ai_addr, a->ai_addrlen, r->found.text[r->found.len], RESOLVE_TEXT, NULL, 0, NI_NUMERICHOST) == 0)
			r->found.len++;
	if (list != NULL)
		freeaddrinfo(list);
}

static void *resolve_run(void *arg)
{
	struct resolve *r = arg;

	look_up(r, 0);
	eventfd_write(r->done, 1);
	resolve_drop(r);
	return NULL;
}

/* Detached, and no signal is its own: they are the asker's. */
static int start_thread(struct resolve *r)
{
	pthread_attr_t attr;
	sigset_t all, before;
	pthread_t thread;
	int error;

	atomic_store(&r->refs, 2);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	error = pthread_create(&thread, &attr, resolve_run, r);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error != 0)
		atomic_store(&r->refs, 1);
	return error;
}

struct resolve *resolve_start(const char *host)
{
	struct resolve *r = xcalloc(1, sizeof *r);

	atomic_init(&r->refs, 1);
	r->done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->host = xstrdup(host);
	look_up(r, AI_NUMERICHOST);
	if (r->error != EAI_NONAME || start_thread(r) != 0)
		eventfd_write(r->done, 1);
	return r;
}

int resolve_take(struct resolve *r, struct addresses *out, struct error *err)
{
	int status = 0;

	*out = r->found;
	if (r->error != 0)
		status = error_set(err, ERR_SYS, "host %s: %s", r->host, gai_strerror(r->error));
	else if (out->len == 0)
		status = error_set(err, ERR_SYS, "host %s has no address", r->host);
	resolve_drop(r);
	return status;
}

int resolve_wait(const char *host, usec_t patience, struct addresses *out, struct error *err)
{
	struct resolve *r = resolve_start(host);
	struct pollfd over = { .fd = r->done, .events = POLLIN };
	usec_t until = clock_now() + patience, now;

	while ((now = clock_now()) < until && poll(&over, 1, (int)((until - now) / MSEC) + 1) < 0)
		;
	if (over.revents != 0)
		return resolve_take(r, out, err);
	resolve_drop(r);
	return error_set(err, ERR_SYS, "host %s: the name service does not answer", host);
}
