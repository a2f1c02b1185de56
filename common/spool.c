/*
 * spool.c - one instance of the spool as a whole: its directory, room and health.
 *
 * Not here: entries and segments (spool_segment.c), output files (spool_out.c).
 */
#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "spool_dir.h"
#include "spool_out.h"
#include "spool_segment.h"

#define FLUSH_TRIES 3

struct spool {
	struct spool_options opt;
	char *path, *database;
	int base;
	struct spool_instance in;
	struct spool_log *log;
	struct spool_outs *outs;
	bool reserved;			/* the reserve file has its bytes, or needs none */
	uint64_t room;
	bool low, failing, broken;
	bool gone;			/* the directory, and it could not be made again */
	enum spool_health told;
	char text[1024];		/* of the last failure */
};

/* ---- health ---- */

enum spool_health spool_health(const struct spool *s)
{
	return s->broken ? SPOOL_BROKEN : s->failing || s->gone ? SPOOL_FAILING : s->low ? SPOOL_LOW : SPOOL_FINE;
}

/* Each change once. The text of LOW is made here, that of a failure where it happened. */
static void tell_health(struct spool *s)
{
	enum spool_health is = spool_health(s);

	if (is == s->told)
		return;
	s->told = is;
	if (is == SPOOL_LOW)
		snprintf(s->text, sizeof s->text, "%s has %llu MB free, less than the reserve of %llu MB: free space on "
		         "that disk; no job is claimed until then", s->path, (unsigned long long)(s->room >> 20),
		         (unsigned long long)(s->opt.reserve >> 20));
	if (s->opt.changed != NULL)
		s->opt.changed(s->opt.arg, is, is == SPOOL_FINE ? NULL : s->text);
}

static bool is_full(int error)
{
	return error == ENOSPC || error == EDQUOT;
}

/* ---- room ---- */

/* Real space, where the file system can do that; elsewhere statvfs alone has to tell. */
static void take_reserve(struct spool *s)
{
	int fd;

	s->reserved = s->opt.reserve == 0;
	if (s->reserved)
		return;
	fd = openat(s->in.dir, SPOOL_RESERVE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	s->reserved = fallocate(fd, 0, 0, (off_t)s->opt.reserve) == 0 || errno == EOPNOTSUPP || errno == ENOSYS;
	close(fd);
	if (!s->reserved)
		unlinkat(s->in.dir, SPOOL_RESERVE, 0);
}

static void look_at_room(struct spool *s)
{
	struct statvfs v;

	if (fstatvfs(s->in.dir, &v) < 0)
		return;
	s->room = (uint64_t)v.f_bavail * v.f_frsize;
	if (!s->reserved && s->room >= 2 * s->opt.reserve)
		take_reserve(s);
	s->low = !s->reserved || s->room < s->opt.reserve;
}

uint64_t spool_room(const struct spool *s)
{
	return s->room;
}

/* ---- what the segments tell ---- */

static void on_sealed(void *arg, uint64_t upto)
{
	struct spool *s = arg;

	s->failing = false;
	if (s->opt.sealed != NULL)
		s->opt.sealed(s->opt.arg, upto);
}

static void on_failed(void *arg, const struct spool_order *o, usec_t retry_at)
{
	struct spool *s = arg;
	bool lost = strcmp(o->what, "sync") == 0 && !is_full(o->error);

	(void)retry_at;
	if (o->len == 0)
		return;			/* an empty file that stays: nobody misses anything */
	if (is_full(o->error) && s->reserved && s->opt.reserve > 0) {
		unlinkat(s->in.dir, SPOOL_RESERVE, 0);	/* this is what it was kept for */
		s->reserved = false;
		s->low = true;
	}
	snprintf(s->text, sizeof s->text, "cannot %s %s/%s/%s: %s; the results wait in memory and are tried again in "
	         "another file%s", o->what, s->path, s->in.name, o->name, strerror(o->error),
	         is_full(o->error) ? "; free space on that disk" : lost ? "; the disk may be failing: look at the kernel's log, "
	         "and put spool_dir on another one" : "");
	s->failing = true;
	s->broken = s->broken || lost;
}

/* ---- life ---- */

static int open_parts(struct spool *s, struct error *err)
{
	const struct spool_log_events events = { .sealed = on_sealed, .failed = on_failed, .arg = s };
	const struct spool_io *io = s->opt.io != NULL ? s->opt.io : &spool_io_real;

	s->base = spool_base_open(s->path, true, NULL, err);
	if (s->base < 0 || spool_instance_create(&s->in, s->base, err) < 0)
		return -1;
	if (s->database != NULL && spool_instance_set_database(&s->in, s->database, err) < 0)
		return -1;
	s->log = spool_log_new(s->in.dir, spool_seed(s->in.name), io, &events, err);
	if (s->log == NULL)
		return -1;
	s->outs = spool_outs_new(s->in.dir, spool_seed(s->in.name));
	take_reserve(s);
	look_at_room(s);
	return 0;
}

static void release(struct spool *s)
{
	if (s->log != NULL)
		spool_log_free(s->log);
	if (s->outs != NULL)
		spool_outs_free(s->outs);
	spool_instance_close(&s->in);
	if (s->base >= 0)
		close(s->base);
	free(s->path);
	free(s->database);
	free(s);
}

struct spool *spool_open(const struct spool_options *o, struct error *err)
{
	struct spool *s = xcalloc(1, sizeof *s);

	s->opt = *o;
	s->path = xstrdup(o->dir);
	s->database = o->database != NULL ? xstrdup(o->database) : NULL;
	s->base = -1;
	s->in = (struct spool_instance)SPOOL_INSTANCE_INIT;
	if (open_parts(s, err) == 0)
		return s;
	if (s->in.dir >= 0)
		spool_instance_remove(&s->in, s->base);
	release(s);
	return NULL;
}

size_t spool_close(struct spool *s)
{
	size_t left;

	spool_flush(s, NULL);
	left = spool_log_entries(s->log);
	spool_log_clear(s->log);
	spool_outs_clear(s->outs);
	spool_instance_remove(&s->in, s->base);
	release(s);
	return left;
}

const char *spool_instance(const struct spool *s)
{
	return s->in.name;
}

/* ---- entries ---- */

uint64_t spool_seal(struct spool *s, const struct spool_record *r)
{
	return spool_log_add(s->log, r);
}

void spool_done(struct spool *s, uint64_t entry)
{
	spool_log_done(s->log, entry);
}

usec_t spool_advance(struct spool *s, usec_t now)
{
	usec_t next = spool_log_advance(s->log, now);

	tell_health(s);
	return next;
}

void spool_set_pace(struct spool *s, usec_t pace)
{
	spool_log_set_pace(s->log, pace);
}

int spool_fd(const struct spool *s)
{
	return spool_log_fd(s->log);
}

int spool_flush(struct spool *s, struct error *err)
{
	int failures = 0;

	while (spool_log_waits(s->log) && failures < FLUSH_TRIES)
		failures += !spool_log_step(s->log);
	tell_health(s);
	if (spool_log_waits(s->log))
		return error_set(err, ERR_SYS, "spool: %s", s->text);
	return 0;
}

size_t spool_entries(const struct spool *s)
{
	return spool_log_entries(s->log);
}

uint64_t spool_sealed(const struct spool *s)
{
	return spool_log_sealed(s->log);
}

uint64_t spool_bytes(const struct spool *s)
{
	return spool_log_bytes(s->log);
}

/* ---- the directory ---- */

/* What spool_dir leads to now is what was opened, and our directory is in it. */
static bool is_in_place(const struct spool *s)
{
	struct stat base, opened, in, held;

	return stat(s->path, &base) == 0 && fstat(s->base, &opened) == 0 && base.st_ino == opened.st_ino &&
	       base.st_dev == opened.st_dev && fstatat(s->base, s->in.name, &in, AT_SYMLINK_NOFOLLOW) == 0 &&
	       fstat(s->in.dir, &held) == 0 && in.st_ino == held.st_ino && in.st_dev == held.st_dev;
}

static int make_again(struct spool *s, struct error *err)
{
	int base = spool_base_open(s->path, true, NULL, err);
	struct spool_instance in = SPOOL_INSTANCE_INIT;
	int rc;

	if (base < 0)
		return -1;
	memcpy(in.name, s->in.name, sizeof in.name);
	if (spool_instance_recreate(&in, base, err) < 0
	    || (s->database != NULL && spool_instance_set_database(&in, s->database, err) < 0)) {
		spool_instance_close(&in);
		close(base);
		return -1;
	}
	rc = spool_log_move(s->log, in.dir, err);
	spool_outs_move(s->outs, in.dir);
	spool_instance_close(&s->in);
	close(s->base);
	s->in = in;
	s->base = base;
	take_reserve(s);
	return rc;
}

static void restore_directory(struct spool *s)
{
	struct error why = ERROR_INIT;
	bool made = make_again(s, &why) == 0, told = s->gone;

	s->gone = !made;
	if (told && !made)
		return;
	snprintf(s->text, sizeof s->text, "the directory of %.200s/%s has disappeared or was replaced: keep cleaners and other "
	         "programs away from it; %s%.400s", s->path, s->in.name, made ? "it was made again, with all that still waits" :
	         "it could not be made again: ", made ? "" : why.text);
	s->failing = true;
	s->told = SPOOL_FINE;
	tell_health(s);
	s->failing = false;
}

void spool_check(struct spool *s)
{
	if (is_in_place(s)) {
		s->gone = false;
		look_at_room(s);
		spool_outs_tidy(s->outs);
	} else {
		restore_directory(s);
	}
	tell_health(s);
}

/* ---- output files ---- */

struct spool_out *spool_out_open(struct spool *s, const struct spool_record *r, int *fd, struct error *err)
{
	return spool_outs_take(s->outs, r, fd, err);
}

int spool_out_note(struct spool *s, const struct spool_out *o, struct spool_note *out, struct error *err)
{
	return spool_outs_note(s->outs, o, out, err);
}

void spool_out_done(struct spool *s, struct spool_out *o)
{
	spool_outs_give(s->outs, o);
}
