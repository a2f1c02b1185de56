/*
 * spool_dir.c - the directories of the spool.
 */
#include "spool_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include "buf.h"

#define DIRECTORY (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* ---- spool_dir ---- */

static int make_parents(const char *path, struct error *err)
{
	char *part = xstrdup(path);
	int rc = 0;

	for (char *p = part + 1; rc == 0 && *part != '\0'; p++) {
		char was = *p;

		if (was != '/' && was != '\0')
			continue;
		*p = '\0';
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			rc = error_set(err, ERR_SYS, "spool_dir: cannot create %s: %s", part, strerror(errno));
		*p = was;
		if (was == '\0')
			break;
	}
	free(part);
	return rc;
}

static int check_owner(int fd, const char *path, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_set(err, ERR_SYS, "spool_dir %s: %s", path, strerror(errno));
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return error_set(err, ERR_SETTINGS, "spool_dir %s can be written by others than its owner: "
		                 "chmod 700 it, or name another directory", path);
	if (st.st_uid != geteuid() && geteuid() != 0)
		return error_set(err, ERR_SETTINGS, "spool_dir %s belongs to user %u, not to the user %u who runs this: "
		                 "run as that user, or name another directory", path, st.st_uid, geteuid());
	return 0;
}

int spool_base_open(const char *path, bool make, bool *missing, struct error *err)
{
	int fd;

	if (missing != NULL)
		*missing = false;
	if (make && make_parents(path, err) < 0)
		return -1;
	fd = open(path, DIRECTORY);
	if (fd < 0 && errno == ENOENT && missing != NULL) {
		*missing = true;
		return -1;
	}
	if (fd < 0)
		return error_set(err, ERR_SYS, "spool_dir: cannot open the directory %s: %s%s", path, strerror(errno),
		                 errno == ELOOP || errno == ENOTDIR ? " (expected a directory, not a link to one)" : "");
	if (check_owner(fd, path, err) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* ---- instances ---- */

/* A version 4 uuid. */
static int draw_name(char out[static SPOOL_INSTANCE_LEN + 1], struct error *err)
{
	unsigned char b[16];

	if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
		return error_set(err, ERR_SYS, "no random bytes: %s", strerror(errno));
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	for (int i = 0, at = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			out[at++] = '-';
		at += sprintf(out + at, "%02x", b[i]);
	}
	return 0;
}

bool spool_is_instance_name(const char *name)
{
	if (strlen(name) != SPOOL_INSTANCE_LEN || strspn(name, "0123456789abcdef-") != SPOOL_INSTANCE_LEN)
		return false;
	return name[8] == '-' && name[13] == '-' && name[18] == '-' && name[23] == '-';
}

static int fail_at(const struct spool_instance *in, const char *what, struct error *err)
{
	return error_set(err, ERR_SYS, "spool: cannot %s %s: %s", what, in->name, strerror(errno));
}

int spool_instance_recreate(struct spool_instance *in, int base, struct error *err)
{
	char hidden[SPOOL_INSTANCE_LEN + 2];

	spool_instance_close(in);
	snprintf(hidden, sizeof hidden, ".%s", in->name);
	if (mkdirat(base, hidden, 0700) < 0)
		return fail_at(in, "create the directory of instance", err);
	in->dir = openat(base, hidden, DIRECTORY);
	if (in->dir < 0)
		return fail_at(in, "open the directory of instance", err);
	in->lock = openat(in->dir, SPOOL_LOCK, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (in->lock < 0 || flock(in->lock, LOCK_EX | LOCK_NB) < 0)
		return fail_at(in, "lock instance", err);
	if (renameat(base, hidden, base, in->name) < 0)
		return fail_at(in, "name the directory of instance", err);
	if (fsync(base) < 0)
		return fail_at(in, "write the directory of instance", err);
	return 0;
}

int spool_instance_create(struct spool_instance *in, int base, struct error *err)
{
	*in = (struct spool_instance)SPOOL_INSTANCE_INIT;
	return draw_name(in->name, err) < 0 ? -1 : spool_instance_recreate(in, base, err);
}

int spool_instance_open(struct spool_instance *in, int base, const char *name, struct error *err)
{
	*in = (struct spool_instance)SPOOL_INSTANCE_INIT;
	if (!spool_is_instance_name(name))
		return -1;
	memcpy(in->name, name, sizeof in->name);
	in->dir = openat(base, name, DIRECTORY);
	if (in->dir >= 0)
		return 0;
	return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? -1 : fail_at(in, "open instance", err);
}

/* The lock that is in the directory now, not one that was removed with an instance of this name. */
static bool is_in_place(const struct spool_instance *in, int lock)
{
	struct stat held, there;

	return fstat(lock, &held) == 0 && fstatat(in->dir, SPOOL_LOCK, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	       held.st_ino == there.st_ino && held.st_dev == there.st_dev;
}

bool spool_instance_lock(struct spool_instance *in)
{
	int lock = openat(in->dir, SPOOL_LOCK, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (lock < 0)
		return false;
	if (flock(lock, LOCK_EX | LOCK_NB) < 0 || !is_in_place(in, lock)) {
		close(lock);
		return false;
	}
	in->lock = lock;
	return true;
}

bool spool_instance_alive(const struct spool_instance *in)
{
	int lock = openat(in->dir, SPOOL_LOCK, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	bool alive;

	if (lock < 0)
		return false;
	alive = flock(lock, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
	close(lock);
	return alive;
}

static bool is_empty(int dir)
{
	struct spool_names all;
	bool empty = true;

	if (spool_names_read(&all, dir, "", NULL) < 0)
		return false;
	for (size_t i = 0; i < all.len; i++)
		empty = empty && (strcmp(all.v[i], SPOOL_LOCK) == 0 || strcmp(all.v[i], SPOOL_DATABASE) == 0);
	spool_names_release(&all);
	return empty;
}

bool spool_instance_remove(struct spool_instance *in, int base)
{
	unlinkat(in->dir, SPOOL_RESERVE, 0);
	if (!is_empty(in->dir))
		return false;
	unlinkat(in->dir, SPOOL_DATABASE, 0);
	unlinkat(in->dir, SPOOL_LOCK, 0);
	return unlinkat(base, in->name, AT_REMOVEDIR) == 0;
}

void spool_instance_close(struct spool_instance *in)
{
	if (in->dir >= 0)
		close(in->dir);
	if (in->lock >= 0)
		close(in->lock);
	in->dir = in->lock = -1;
}

int spool_instance_set_database(const struct spool_instance *in, const char *database, struct error *err)
{
	int fd = openat(in->dir, SPOOL_DATABASE, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	bool written = fd >= 0 && write(fd, database, strlen(database)) == (ssize_t)strlen(database) && fsync(fd) == 0;

	if (!written)
		fail_at(in, "write which database it is for into", err);
	if (fd >= 0)
		close(fd);
	return written ? 0 : -1;
}

char *spool_instance_database(const struct spool_instance *in)
{
	int fd = spool_file_open(in->dir, SPOOL_DATABASE, O_RDONLY);
	char text[SPOOL_DATABASE_MAX];
	ssize_t n = fd >= 0 ? read(fd, text, sizeof text) : 0;

	if (fd >= 0)
		close(fd);
	return n > 0 ? xstrndup(text, (size_t)n) : NULL;
}

/* ---- names and files ---- */

static int by_name(const void *a, const void *b)
{
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

int spool_names_read(struct spool_names *n, int dir, const char *prefix, struct error *err)
{
	int copy = openat(dir, ".", DIRECTORY);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *e;

	*n = (struct spool_names){ NULL, 0 };
	if (d == NULL) {
		error_set(err, ERR_SYS, "spool: cannot read a directory: %s", strerror(errno));
		if (copy >= 0)
			close(copy);
		return -1;
	}
	while (n->len < SPOOL_NAMES_MAX && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
		    strncmp(e->d_name, prefix, strlen(prefix)) != 0)
			continue;
		n->v = xrealloc(n->v, (n->len + 1) * sizeof *n->v);
		n->v[n->len++] = xstrdup(e->d_name);
	}
	closedir(d);
	if (n->len > 0)
		qsort(n->v, n->len, sizeof *n->v, by_name);
	return 0;
}

void spool_names_release(struct spool_names *n)
{
	for (size_t i = 0; i < n->len; i++)
		free(n->v[i]);
	free(n->v);
	*n = (struct spool_names){ NULL, 0 };
}

int spool_file_open(int dir, const char *name, int flags)
{
	int fd = openat(dir, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
		close(fd);
		errno = EINVAL;
		return -1;
	}
	return fd;
}
