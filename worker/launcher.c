/*
 * launcher.c - see launcher.h.
 *
 * The threads end with the worker and not before: with the thread that made it a process is killed (PR_SET_PDEATHSIG). No
 * signal is theirs, they allocate nothing, and fork() (attend.c) in one of them copies that one alone.
 */
#include "launcher.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include "buf.h"
#include "failpoint.h"

#define THREADS 2
#define STACK (256 * 1024)	/* touched: a few pages */

struct launchers {
	int told;			/* eventfd: done was empty and is not any more */
	pthread_t threads[THREADS];
	int len;			/* of them there are */
	pthread_mutex_t lock;		/* for all below */
	pthread_cond_t wanted;
	struct launch_list todo, done;
	int idle;			/* threads without a launch, less the launches to do */
	bool stopping;
};

/* ---- in the threads ---- */

static void carry_out(struct launch *l)
{
	if (FAILS_AT(before_launch))
		l->error = EAGAIN;
	else if (l->attended)
		(void)attend(l);	/* error says it */
	else
		(void)launch(l);
	launch_close(l);	/* here, not by the loop: as few other new processes as can be have copies of them */
	FAILPOINT(after_launch);
}

static void tell(const struct launchers *all)
{
	const uint64_t one = 1;

	while (write(all->told, &one, sizeof one) < 0 && errno == EINTR)
		;
}

/* NULL: no more begins. */
static struct launch *next_launch(struct launchers *all)
{
	struct launch *l = NULL;

	pthread_mutex_lock(&all->lock);
	while (!all->stopping && (l = STAILQ_FIRST(&all->todo)) == NULL)
		pthread_cond_wait(&all->wanted, &all->lock);
	if (l != NULL)
		STAILQ_REMOVE_HEAD(&all->todo, next);
	pthread_mutex_unlock(&all->lock);
	return l;
}

static void hand_back(struct launchers *all, struct launch *l)
{
	bool first;

	pthread_mutex_lock(&all->lock);
	all->idle++;
	first = STAILQ_EMPTY(&all->done);
	STAILQ_INSERT_TAIL(&all->done, l, next);
	pthread_mutex_unlock(&all->lock);
	if (first)
		tell(all);
}

static void *launcher(void *arg)
{
	struct launchers *all = arg;
	struct launch *l;

	while ((l = next_launch(all)) != NULL) {
		carry_out(l);
		hand_back(all, l);
	}
	return NULL;
}

/* ---- in the loop ---- */

struct launchers *launchers_new(struct error *err)
{
	struct launchers *all = xcalloc(1, sizeof *all);

	STAILQ_INIT(&all->todo);
	STAILQ_INIT(&all->done);
	all->told = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (all->told < 0) {
		error_set(err, ERR_SYS, "eventfd: %s", strerror(errno));
		free(all);
		return NULL;
	}
	pthread_mutex_init(&all->lock, NULL);
	pthread_cond_init(&all->wanted, NULL);
	return all;
}

int launchers_fd(const struct launchers *all)
{
	return all->told;
}

/* 0, or an errno. */
static int make_thread(struct launchers *all)
{
	pthread_attr_t attr;
	sigset_t every, before;
	int error;

	sigfillset(&every);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_sigmask(SIG_SETMASK, &every, &before);
	error = pthread_create(&all->threads[all->len], &attr, launcher, all);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return error;
}

/* One more, when all have something to do. One that cannot be had matters only when there is none: an errno then. */
static int see_to_threads(struct launchers *all)
{
	int error;

	if (all->len == THREADS || all->idle > 0)
		return 0;
	error = make_thread(all);
	if (error != 0)
		return all->len == 0 ? error : 0;
	all->len++;
	all->idle++;
	return 0;
}

int launchers_add(struct launchers *all, struct launch *l, struct error *err)
{
	int error;

	pthread_mutex_lock(&all->lock);
	error = see_to_threads(all);
	if (error == 0) {
		STAILQ_INSERT_TAIL(&all->todo, l, next);
		all->idle--;
	}
	pthread_mutex_unlock(&all->lock);
	pthread_cond_signal(&all->wanted);
	if (error != 0)
		return error_set(err, ERR_SYS, "%s cannot be started: no thread: %s", l->path, strerror(error));
	return 0;
}

struct launch *launchers_take(struct launchers *all)
{
	struct launch *l;

	pthread_mutex_lock(&all->lock);
	l = STAILQ_FIRST(&all->done);
	if (l != NULL)
		STAILQ_REMOVE_HEAD(&all->done, next);
	pthread_mutex_unlock(&all->lock);
	return l;
}

static void cancel_all(struct launchers *all)
{
	struct launch *l;

	pthread_mutex_lock(&all->lock);
	all->stopping = true;
	while ((l = STAILQ_FIRST(&all->todo)) != NULL) {
		STAILQ_REMOVE_HEAD(&all->todo, next);
		l->error = ECANCELED;
		STAILQ_INSERT_TAIL(&all->done, l, next);
	}
	pthread_cond_broadcast(&all->wanted);
	pthread_mutex_unlock(&all->lock);
}

bool launchers_stop(struct launchers *all, usec_t patience)
{
	struct timespec until;
	bool ended = true;

	cancel_all(all);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += (long)(patience % SEC) * 1000;
	until.tv_sec += (time_t)(patience / SEC) + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	for (int i = 0; i < all->len; i++)
		ended = pthread_timedjoin_np(all->threads[i], NULL, &until) == 0 && ended;
	return ended;
}

void launchers_free(struct launchers *all)
{
	if (all == NULL)
		return;
	pthread_mutex_destroy(&all->lock);
	pthread_cond_destroy(&all->wanted);
	close(all->told);
	free(all);
}
