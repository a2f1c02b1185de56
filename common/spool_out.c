/*
 * spool_out.c - the output files of one instance.
 */
#include "spool_out.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>
#include "spool_dir.h"
#include "spool_read.h"

#define FREE_MAX 256

struct spool_out {
	TAILQ_ENTRY(spool_out) link;
	unsigned number;
	int dir_serial;		/* of the directory that it is in */
	int fd;
	char head[SPOOL_HEAD];	/* what it begins with */
	off_t start;		/* where the output begins */
	off_t size;		/* of the file, once nobody prints into it */
	int64_t claim_id;
	bool attended;
	bool over;		/* nobody prints into it any more, and we hold its lock alone */
	bool named;		/* free, and its head still says whose it was */
};
TAILQ_HEAD(outs, spool_out);

struct spool_outs {
	int dir, dir_serial;
	uint32_t seed;
	unsigned next_number;
	struct outs free, busy;
	size_t free_len;
};

struct spool_outs *spool_outs_new(int dir, uint32_t seed)
{
	struct spool_outs *p = xcalloc(1, sizeof *p);

	p->dir = dir;
	p->seed = seed;
	TAILQ_INIT(&p->free);
	TAILQ_INIT(&p->busy);
	return p;
}

static void out_name(const struct spool_out *o, char name[static 32])
{
	snprintf(name, 32, "out.%u", o->number);
}

static void out_free(struct spool_out *o)
{
	if (o->fd >= 0)
		close(o->fd);
	free(o);
}

static void out_remove(const struct spool_outs *p, struct spool_out *o)
{
	char name[32];

	out_name(o, name);
	if (o->dir_serial == p->dir_serial)
		unlinkat(p->dir, name, 0);
	out_free(o);
}

void spool_outs_free(struct spool_outs *p)
{
	struct spool_out *o;

	while ((o = TAILQ_FIRST(&p->free)) != NULL) {
		TAILQ_REMOVE(&p->free, o, link);
		out_free(o);
	}
	while ((o = TAILQ_FIRST(&p->busy)) != NULL) {
		TAILQ_REMOVE(&p->busy, o, link);
		out_free(o);
	}
	free(p);
}

void spool_outs_clear(struct spool_outs *p)
{
	struct spool_out *o;

	while ((o = TAILQ_FIRST(&p->free)) != NULL) {
		TAILQ_REMOVE(&p->free, o, link);
		out_remove(p, o);
	}
	p->free_len = 0;
}

void spool_outs_move(struct spool_outs *p, int dir)
{
	spool_outs_clear(p);
	p->dir = dir;
	p->dir_serial++;
}

static struct spool_out *out_new(struct spool_outs *p, struct error *err)
{
	struct spool_out *o = xcalloc(1, sizeof *o);
	char name[32];

	o->number = p->next_number++;
	o->dir_serial = p->dir_serial;
	out_name(o, name);
	o->fd = openat(p->dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOATIME | O_CLOEXEC, 0600);
	if (o->fd < 0) {
		error_set(err, ERR_SYS, "spool: cannot create %s: %s", name, strerror(errno));
		free(o);
		return NULL;
	}
	return o;
}

/*
 * The last output is cut off behind the head, not to nothing: some file systems write a file
 * that was cut to nothing at once when it is closed.
 */
static int write_head(struct spool_out *o, const struct spool_record *r, uint32_t seed, struct error *err)
{
	static const char no_end[SPOOL_HEAD];
	struct spool_record head = *r;
	struct buf text = BUF_INIT;
	ssize_t n = 0;

	head.kind = SPOOL_OUTPUT;
	head.bytes = NULL;
	head.bytes_len = 0;
	spool_encode(&text, &head, seed);
	if (head.attended)
		buf_add(&text, no_end, sizeof no_end);
	memcpy(o->head, text.data, sizeof o->head);
	o->claim_id = r->claim_id;
	o->attended = r->attended;
	o->start = (off_t)text.len;
	if (o->size > o->start)
		n = ftruncate(o->fd, o->start);
	if (n >= 0)
		n = pwrite(o->fd, text.data, text.len, 0);
	if (n >= 0 && (size_t)n < text.len)
		errno = ENOSPC;
	if (n < 0 || (size_t)n < text.len)
		error_set(err, ERR_SYS, "spool: cannot write out.%u: %s", o->number, strerror(errno));
	buf_release(&text);
	return err->kind == ERR_NONE ? 0 : -1;
}

/*
 * A handler that opens its stdout by name (> /dev/stdout) may cut the file to nothing. Then the head is
 * gone with what it printed before, and all that is there is its output.
 */
static off_t start_of(const struct spool_out *o)
{
	char head[SPOOL_HEAD];

	return pread(o->fd, head, sizeof head, 0) == (ssize_t)sizeof head && memcmp(head, o->head, sizeof head) == 0 ? o->start : 0;
}

static off_t size_of(const struct spool_out *o)
{
	struct stat st;

	return fstat(o->fd, &st) == 0 ? st.st_size : 0;
}

/*
 * Whether nobody prints into it any more: then it is looked at once more, for good. The lock is kept until the next one is
 * to have it: who was left behind cannot come by one now.
 */
static bool is_over(struct spool_out *o)
{
	if (o->over || flock(o->fd, LOCK_EX | LOCK_NB) < 0)
		return o->over;
	o->over = true;
	o->start = start_of(o);
	o->size = size_of(o);
	return true;
}

/* A description that is not ours: locked for as long as anybody has it. */
static int open_for_others(const struct spool_outs *p, const struct spool_out *o, int how, struct error *err)
{
	char name[32];
	int fd;

	out_name(o, name);
	fd = openat(p->dir, name, how | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, ERR_SYS, "spool: cannot open %s: %s", name, strerror(errno));
	if (flock(fd, LOCK_SH | LOCK_NB) < 0) {
		error_set(err, ERR_SYS, "spool: cannot lock %s: %s", name, strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}

struct spool_out *spool_outs_take(struct spool_outs *p, const struct spool_record *r, int *fd, struct error *err)
{
	struct spool_out *o = TAILQ_FIRST(&p->free);
	struct error why = ERROR_INIT;

	if (o != NULL) {
		TAILQ_REMOVE(&p->free, o, link);
		p->free_len--;
	} else if ((o = out_new(p, &why)) == NULL) {
		error_set(err, why.kind, "%s", why.text);
		return NULL;
	}
	if (o->over)
		flock(o->fd, LOCK_UN);
	o->over = o->named = false;
	if (write_head(o, r, p->seed, &why) < 0 || (*fd = open_for_others(p, o, O_WRONLY | O_APPEND, &why)) < 0) {
		error_set(err, why.kind, "%s", why.text);
		out_remove(p, o);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&p->busy, o, link);
	return o;
}

int spool_outs_note(const struct spool_outs *p, const struct spool_out *o, struct spool_note *out, struct error *err)
{
	*out = (struct spool_note){ .at = (uint64_t)o->start - SPOOL_HEAD, .claim_id = o->claim_id, .seed = p->seed };
	out->fd = open_for_others(p, o, O_RDWR, err);
	return out->fd >= 0 ? 0 : -1;
}

static bool take_name_off(struct spool_out *o)
{
	static const char none[SPOOL_MAGIC_LEN];

	o->named = false;
	return pwrite(o->fd, none, sizeof none, 0) == (ssize_t)sizeof none;
}

/* What it holds is worth nothing any more. The name of one that nobody printed into can wait: most often the next job is near. */
static bool make_free(struct spool_out *o)
{
	o->named = true;
	if (o->size == o->start && o->start != 0 && !o->attended)
		return true;
	if (o->size > SPOOL_OUTPUT_UNIT && ftruncate(o->fd, SPOOL_OUTPUT_UNIT) == 0)
		o->size = SPOOL_OUTPUT_UNIT;
	return take_name_off(o);
}

/* A process that a handler left behind may still print into it: then nobody else gets it. */
void spool_outs_give(struct spool_outs *p, struct spool_out *o)
{
	TAILQ_REMOVE(&p->busy, o, link);
	if (o->dir_serial != p->dir_serial || p->free_len == FREE_MAX || !is_over(o) || !make_free(o)) {
		out_remove(p, o);
		return;
	}
	TAILQ_INSERT_HEAD(&p->free, o, link);
	p->free_len++;
}

void spool_outs_tidy(struct spool_outs *p)
{
	struct spool_out *o, *next;

	for (o = TAILQ_FIRST(&p->free); o != NULL; o = next) {
		next = TAILQ_NEXT(o, link);
		if (!o->named || take_name_off(o))
			continue;
		TAILQ_REMOVE(&p->free, o, link);
		p->free_len--;
		out_remove(p, o);
	}
}

uint64_t spool_out_size(const struct spool_out *o)
{
	off_t start = o->over ? o->start : start_of(o), size = o->over ? o->size : size_of(o);

	return size > start ? (uint64_t)(size - start) : 0;
}

int spool_out_read(const struct spool_out *o, struct buf *into, uint64_t most, struct error *err)
{
	uint64_t size = spool_out_size(o);

	return spool_read_bytes(into, o->fd, (uint64_t)(o->over ? o->start : start_of(o)), size < most ? size : most, err);
}

bool spool_out_held(struct spool_out *o)
{
	return !is_over(o);
}
