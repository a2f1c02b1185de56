/*
 * spool_segment.c - the segments of one instance.
 *
 * A segment is CURRENT (the last one, written to), FULL (its entries are not all done), or FREE
 * (kept to be used again). One whose write or sync failed is never written to again.
 */
#include "spool_segment.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#define SEGMENT_BYTES ((off_t)4 << 20)	/* a larger one gets no further batch */
#define FREE_MAX 2
#define BATCH_KEPT ((size_t)1 << 20)	/* memory that is kept for the next batch */
#define PAUSE (200 * MSEC)
#define PAUSE_MAX (10 * SEC)

struct span {			/* entries first to end - 1, of which left are not done */
	uint64_t first, end;
	size_t left;
};

struct segment {
	TAILQ_ENTRY(segment) link;
	unsigned number;
	int fd;			/* -1: not created yet */
	off_t size;
	struct span span;
	bool given_up;		/* a write or sync failed */
};
TAILQ_HEAD(segments, segment);

struct spool_log {
	int dir;
	uint32_t seed;
	struct spool_log_events events;
	struct spool_sync *sync;
	struct buf gathered, batch;
	struct span gathered_span, batch_span;
	struct spool_order order;
	struct segment *target;		/* of the order under way */
	unsigned failures;		/* of this batch, in a row */
	usec_t try_at;
	usec_t pace, next_at;		/* the next batch is not begun before */
	struct segments used, unused;	/* CURRENT last; FREE */
	size_t unused_len;
	unsigned next_number;
	uint64_t sealed;
};

static void segment_name(const struct segment *g, char out[static 32])
{
	snprintf(out, 32, "segment.%u", g->number);
}

static struct segment *segment_new(struct spool_log *l)
{
	struct segment *g = xcalloc(1, sizeof *g);

	g->number = l->next_number++;
	g->fd = -1;
	return g;
}

static void segment_free(struct segment *g)
{
	if (g->fd >= 0)
		close(g->fd);
	free(g);
}

static void segment_remove(const struct spool_log *l, struct segment *g)
{
	char name[32];

	segment_name(g, name);
	if (g->fd >= 0)
		unlinkat(l->dir, name, 0);
	segment_free(g);
}

struct spool_log *spool_log_new(int dir, uint32_t seed, const struct spool_io *io,
                                const struct spool_log_events *events, struct error *err)
{
	struct spool_log *l = xcalloc(1, sizeof *l);

	l->dir = dir;
	l->seed = seed;
	l->events = *events;
	l->gathered_span = l->batch_span = (struct span){ 1, 1, 0 };
	TAILQ_INIT(&l->used);
	TAILQ_INIT(&l->unused);
	l->sync = spool_sync_new(io, err);
	if (l->sync == NULL) {
		free(l);
		return NULL;
	}
	return l;
}

void spool_log_free(struct spool_log *l)
{
	struct segment *g;

	spool_sync_free(l->sync);
	if (l->target != NULL)
		l->target->fd = l->order.fd;
	while ((g = TAILQ_FIRST(&l->used)) != NULL) {
		TAILQ_REMOVE(&l->used, g, link);
		segment_free(g);
	}
	while ((g = TAILQ_FIRST(&l->unused)) != NULL) {
		TAILQ_REMOVE(&l->unused, g, link);
		segment_free(g);
	}
	buf_release(&l->gathered);
	buf_release(&l->batch);
	free(l);
}

/* ---- entries ---- */

uint64_t spool_log_add(struct spool_log *l, const struct spool_record *r)
{
	spool_encode(&l->gathered, r, l->seed);
	l->gathered_span.left++;
	return l->gathered_span.end++;
}

static bool span_done(struct span *s, uint64_t entry)
{
	if (entry < s->first || entry >= s->end)
		return false;
	assert(s->left > 0);
	s->left--;
	return true;
}

void spool_log_done(struct spool_log *l, uint64_t entry)
{
	struct segment *g;

	if (span_done(&l->gathered_span, entry) || span_done(&l->batch_span, entry))
		return;
	TAILQ_FOREACH_REVERSE(g, &l->used, segments, link)
		if (span_done(&g->span, entry))
			return;
	assert(!"an entry that is there and not done");
}

uint64_t spool_log_sealed(const struct spool_log *l)
{
	return l->sealed;
}

uint64_t spool_log_last(const struct spool_log *l)
{
	return l->gathered_span.end - 1;
}

size_t spool_log_entries(const struct spool_log *l)
{
	size_t n = l->gathered_span.left + l->batch_span.left;
	const struct segment *g;

	TAILQ_FOREACH(g, &l->used, link)
		n += g->span.left;
	return n;
}

uint64_t spool_log_bytes(const struct spool_log *l)
{
	const struct segment *g;
	uint64_t n = 0;

	TAILQ_FOREACH(g, &l->used, link)
		n += (uint64_t)g->size;
	return n;
}

/* ---- segments that are done ---- */

static struct segment *current(struct spool_log *l)
{
	struct segment *g = TAILQ_LAST(&l->used, segments);

	return g != NULL && !g->given_up && g->size < SEGMENT_BYTES ? g : NULL;
}

/* Nothing is under way. All that is done and is not the current one goes, or waits to be used again. */
static void sort_out(struct spool_log *l)
{
	struct segment *g, *next, *last = current(l);

	for (g = TAILQ_FIRST(&l->used); g != NULL; g = next) {
		next = TAILQ_NEXT(g, link);
		if (g->span.left > 0 || g == last)
			continue;
		TAILQ_REMOVE(&l->used, g, link);
		if (g->given_up || l->unused_len == FREE_MAX) {
			segment_remove(l, g);
			continue;
		}
		TAILQ_INSERT_TAIL(&l->unused, g, link);
		l->unused_len++;
	}
}

/* One with nothing left in it that is not empty yet. */
static struct segment *to_be_emptied(struct spool_log *l)
{
	struct segment *g = current(l);

	if (g != NULL && g->span.left == 0 && g->size > 0)
		return g;
	TAILQ_FOREACH(g, &l->unused, link)
		if (g->size > 0)
			return g;
	return NULL;
}

static struct segment *next_target(struct spool_log *l)
{
	struct segment *g = current(l);

	if (g != NULL)
		return g;
	g = TAILQ_FIRST(&l->unused);
	if (g != NULL) {
		TAILQ_REMOVE(&l->unused, g, link);
		l->unused_len--;
	} else {
		g = segment_new(l);
	}
	g->span = (struct span){ 0, 0, 0 };
	TAILQ_INSERT_TAIL(&l->used, g, link);
	return g;
}

/* ---- orders ---- */

static void start(struct spool_log *l, struct segment *g, const struct buf *data)
{
	bool unused = g->span.left == 0;	/* whatever is in the file is done */

	l->target = g;
	l->order = (struct spool_order){
		.dir = l->dir, .fd = g->fd, .empty = g->fd >= 0 && unused && g->size > 0, .at = unused ? 0 : g->size,
		.data = buf_text(data), .len = data->len,
	};
	segment_name(g, l->order.name);
	spool_sync_start(l->sync, &l->order);
}

/* What has gathered is the next batch, unless the last one has to be tried again. */
static void fill_batch(struct spool_log *l)
{
	struct buf spare = l->batch;

	if (l->batch.len > 0)
		return;
	if (spare.cap > BATCH_KEPT)
		buf_release(&spare);
	l->batch = l->gathered;
	l->gathered = spare;
	l->batch_span = l->gathered_span;
	l->gathered_span = (struct span){ l->batch_span.end, l->batch_span.end, 0 };
}

static void take_failure(struct spool_log *l, usec_t now)
{
	usec_t pause = PAUSE << (l->failures < 6 ? l->failures : 6);

	l->target->given_up = true;
	l->try_at = l->failures++ == 0 ? now : now + usec_min(pause, PAUSE_MAX);
	l->events.failed(l->events.arg, &l->order, l->try_at);
}

static void take_success(struct spool_log *l)
{
	struct span *to = &l->target->span;

	if (l->order.empty)
		l->target->size = 0;
	if (l->order.len == 0)
		return;
	if (to->left == 0)
		*to = (struct span){ l->batch_span.first, l->batch_span.first, 0 };
	to->end = l->batch_span.end;
	to->left += l->batch_span.left;
	l->target->size += (off_t)l->order.len;
	l->batch_span = (struct span){ to->end, to->end, 0 };
	buf_clear(&l->batch);
	l->failures = 0;
	l->sealed = to->end - 1;
	l->events.sealed(l->events.arg, l->sealed);
}

static bool take_ended(struct spool_log *l, usec_t now, bool wait)
{
	if (spool_sync_ended(l->sync, wait) == NULL)
		return false;
	l->target->fd = l->order.fd;
	if (l->order.error != 0)
		take_failure(l, now);
	else
		take_success(l);
	l->target = NULL;
	return true;
}

static void start_next(struct spool_log *l, usec_t now)
{
	struct segment *g;
	static const struct buf nothing = BUF_INIT;

	sort_out(l);
	if (now >= l->next_at)
		fill_batch(l);
	if (l->batch.len > 0) {
		if (now >= l->try_at) {
			start(l, next_target(l), &l->batch);
			l->next_at = now == USEC_NEVER ? 0 : now + l->pace;
		}
	} else if (l->gathered.len > 0) {
		;	/* soon */
	} else if ((g = to_be_emptied(l)) != NULL) {
		start(l, g, &nothing);
	}
}

usec_t spool_log_advance(struct spool_log *l, usec_t now)
{
	take_ended(l, now, false);
	if (!spool_sync_busy(l->sync))
		start_next(l, now);
	if (spool_sync_busy(l->sync))
		return USEC_NEVER;	/* its end is heard of */
	return l->batch.len > 0 ? l->try_at : l->gathered.len > 0 ? l->next_at : USEC_NEVER;
}

void spool_log_set_pace(struct spool_log *l, usec_t pace)
{
	if (pace < l->pace)
		l->next_at = 0;
	l->pace = pace;
}

bool spool_log_step(struct spool_log *l)
{
	unsigned before = l->failures;

	if (!spool_sync_busy(l->sync))
		start_next(l, USEC_NEVER);
	return take_ended(l, clock_now(), true) && l->failures <= before;
}

void spool_log_retry_now(struct spool_log *l)
{
	l->try_at = 0;
}

bool spool_log_waits(const struct spool_log *l)
{
	return l->gathered.len > 0 || l->batch.len > 0;
}

int spool_log_fd(const struct spool_log *l)
{
	return spool_sync_fd(l->sync);
}

/* ---- the end, and a directory that has gone ---- */

void spool_log_clear(struct spool_log *l)
{
	struct segment *g, *next;

	if (spool_sync_busy(l->sync))
		take_ended(l, clock_now(), true);
	for (g = TAILQ_FIRST(&l->used); g != NULL; g = next) {
		next = TAILQ_NEXT(g, link);
		if (g->span.left > 0)
			continue;
		TAILQ_REMOVE(&l->used, g, link);
		segment_remove(l, g);
	}
	while ((g = TAILQ_FIRST(&l->unused)) != NULL) {
		TAILQ_REMOVE(&l->unused, g, link);
		segment_remove(l, g);
	}
	l->unused_len = 0;
}

/* The name is taken as it is: the number of a segment is never used twice. */
static int copy_to(const struct segment *g, int dir, struct error *err)
{
	char name[32], piece[65536];
	int to, rc = 0;
	ssize_t n;

	segment_name(g, name);
	to = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return error_set(err, ERR_SYS, "spool: cannot create %s: %s", name, strerror(errno));
	for (off_t at = 0; rc == 0 && at < g->size; at += n) {
		size_t len = g->size - at < (off_t)sizeof piece ? (size_t)(g->size - at) : sizeof piece;

		n = pread(g->fd, piece, len, at);
		if (n <= 0 || pwrite(to, piece, (size_t)n, at) != n)
			rc = error_set(err, ERR_SYS, "spool: cannot copy %s: %s", name, strerror(errno));
	}
	if (rc == 0 && fdatasync(to) < 0)
		rc = error_set(err, ERR_SYS, "spool: cannot sync %s: %s", name, strerror(errno));
	if (rc == 0)
		dup3(to, g->fd, O_CLOEXEC);
	close(to);
	return rc;
}

int spool_log_move(struct spool_log *l, int dir, struct error *err)
{
	struct segment *g;
	int rc = 0;

	if (spool_sync_busy(l->sync))
		take_ended(l, clock_now(), true);
	l->dir = dir;
	while ((g = TAILQ_FIRST(&l->unused)) != NULL) {
		TAILQ_REMOVE(&l->unused, g, link);
		segment_free(g);
	}
	l->unused_len = 0;
	TAILQ_FOREACH(g, &l->used, link) {
		if (g->span.left > 0 && g->fd >= 0 && copy_to(g, dir, err) < 0)
			rc = -1;
		g->given_up = true;	/* no further batch in it; copied or not, it is held open until it is done */
	}
	return rc;
}
