/*
 * spool_sync.c - the thread that writes and syncs.
 */
#include "spool_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "buf.h"
#include "failpoint.h"

struct spool_sync {
	const struct spool_io *io;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t wanted;
	struct spool_order *order;	/* under the mutex: what the thread has to do */
	bool quit;			/* under the mutex */
	struct spool_order *under_way;	/* of the owner alone, until it has ended */
	int ended;			/* eventfd */
};

static int real_open(int dir, const char *name, int flags, mode_t mode)
{
	return openat(dir, name, flags, mode);
}

const struct spool_io spool_io_real = {
	.open = real_open, .pwrite = pwrite, .fdatasync = fdatasync, .fsync_dir = fsync,
};

/* ---- in the thread ---- */

static void fail(struct spool_order *o, const char *what)
{
	o->error = errno != 0 ? errno : EIO;
	o->what = what;
	/* What was written of it goes again: its room is needed, and nobody was told of it. */
	if (o->fd >= 0 && ftruncate(o->fd, o->at) < 0)
		return;
}

static bool write_all(const struct spool_io *io, struct spool_order *o)
{
	size_t done = 0;

	while (done < o->len) {
		ssize_t n = FAILS_AT(spool_write) ? 0 : io->pwrite(o->fd, o->data + done, o->len - done, o->at + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n == 0)
				errno = ENOSPC;
			return false;
		}
		done += (size_t)n;
	}
	return true;
}

/* A sync that failed is never asked for again on the same file: the kernel may call lost pages clean. */
static void carry_out(const struct spool_io *io, struct spool_order *o)
{
	bool created = o->fd < 0;

	o->error = 0;
	errno = 0;
	if (created && (o->fd = io->open(o->dir, o->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)) < 0)
		fail(o, "create");
	else if (o->empty && ftruncate(o->fd, 0) < 0)
		fail(o, "empty");
	else if (o->len == 0)
		return;
	else if (!write_all(io, o))
		fail(o, "write");
	else if (FAILS_AT(spool_sync) || io->fdatasync(o->fd) < 0)
		fail(o, "sync");
	else if (created && io->fsync_dir(o->dir) < 0)
		fail(o, "sync the directory of");
}

static void *thread_main(void *arg)
{
	struct spool_sync *s = arg;
	const uint64_t one = 1;

	pthread_mutex_lock(&s->mutex);
	for (;;) {
		struct spool_order *o;

		while (s->order == NULL && !s->quit)
			pthread_cond_wait(&s->wanted, &s->mutex);
		if (s->order == NULL)
			break;
		o = s->order;
		s->order = NULL;
		pthread_mutex_unlock(&s->mutex);
		carry_out(s->io, o);
		FAILPOINT(spool_synced);
		while (write(s->ended, &one, sizeof one) < 0 && errno == EINTR)
			;
		pthread_mutex_lock(&s->mutex);
	}
	pthread_mutex_unlock(&s->mutex);
	return NULL;
}

/* ---- the owner's side ---- */

struct spool_sync *spool_sync_new(const struct spool_io *io, struct error *err)
{
	struct spool_sync *s = xcalloc(1, sizeof *s);
	sigset_t all, before;
	int failed;

	s->io = io;
	s->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->ended < 0) {
		error_set(err, ERR_SYS, "eventfd: %s", strerror(errno));
		free(s);
		return NULL;
	}
	pthread_mutex_init(&s->mutex, NULL);
	pthread_cond_init(&s->wanted, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	failed = pthread_create(&s->thread, NULL, thread_main, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failed != 0) {
		error_set(err, ERR_SYS, "cannot start a thread: %s", strerror(failed));
		close(s->ended);
		free(s);
		return NULL;
	}
	return s;
}

void spool_sync_free(struct spool_sync *s)
{
	if (s == NULL)
		return;
	pthread_mutex_lock(&s->mutex);
	s->quit = true;
	pthread_cond_signal(&s->wanted);
	pthread_mutex_unlock(&s->mutex);
	pthread_join(s->thread, NULL);
	pthread_mutex_destroy(&s->mutex);
	pthread_cond_destroy(&s->wanted);
	close(s->ended);
	free(s);
}

int spool_sync_fd(const struct spool_sync *s)
{
	return s->ended;
}

bool spool_sync_busy(const struct spool_sync *s)
{
	return s->under_way != NULL;
}

void spool_sync_start(struct spool_sync *s, struct spool_order *o)
{
	s->under_way = o;
	pthread_mutex_lock(&s->mutex);
	s->order = o;
	pthread_cond_signal(&s->wanted);
	pthread_mutex_unlock(&s->mutex);
}

struct spool_order *spool_sync_ended(struct spool_sync *s, bool wait)
{
	struct pollfd p = { .fd = s->ended, .events = POLLIN };
	struct spool_order *o = s->under_way;
	uint64_t n;

	if (o == NULL)
		return NULL;
	while (wait && poll(&p, 1, -1) < 0 && errno == EINTR)
		;
	if (read(s->ended, &n, sizeof n) < 0)
		return NULL;
	s->under_way = NULL;
	return o;
}
