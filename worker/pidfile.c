/*
 * pidfile.c - see pidfile.h. A stale file is no obstacle: nobody holds its lock.
 */
#include "pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"

#define LOCK_TRIES 10
#define LOCK_PAUSE_NS (10 * 1000 * 1000)	/* somebody who only looks holds it for less */

/* Whoever owns the directory can put another file in our place: that must be us or root. */
static int use_directory(const char *path, struct error *err)
{
	char *copy = xstrdup(path);
	const char *dir = dirname(copy);
	struct stat st;
	int status = 0;

	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		status = error_set(err, ERR_SYS, "pidfile %s: its directory %s cannot be made: %s; name another with --pidfile",
		                   path, dir, strerror(errno));
	else if (stat(dir, &st) == 0 && st.st_uid != geteuid() && st.st_uid != 0)
		status = error_set(err, ERR_SYS, "pidfile %s: its directory %s belongs to another user; name another with --pidfile",
		                   path, dir);
	free(copy);
	return status;
}

static pid_t number_in(int fd)
{
	char text[24] = "";

	return pread(fd, text, sizeof text - 1, 0) > 0 ? (pid_t)strtol(text, NULL, 10) : 0;
}

static bool is_still_there(const char *path, int fd)
{
	struct stat ours, there;

	return fstat(fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_dev == there.st_dev
	       && ours.st_ino == there.st_ino;
}

static int refuse(const char *path, int fd, struct error *err)
{
	pid_t pid = number_in(fd);
	char by[32] = "";

	if (pid > 0)
		snprintf(by, sizeof by, " (pid %d)", (int)pid);
	return error_set(err, ERR_SYS, "pidfile %s: another worker holds it%s; stop that one or name another with --pidfile",
	                 path, by);
}

int pidfile_write(const char *path, int fd, struct error *err)
{
	char text[24];
	int len = snprintf(text, sizeof text, "%d\n", (int)getpid());

	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)len, 0) != len)
		return error_set(err, ERR_SYS, "pidfile %s: %s", path, strerror(errno));
	return 0;
}

int pidfile_take(const char *path, struct error *err)
{
	int fd = -1, kept = -1;

	if (use_directory(path, err) < 0)
		return -1;
	for (int i = 0; kept < 0; i++) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
		if (fd < 0) {
			error_set(err, ERR_SYS, "pidfile %s: %s; name another with --pidfile", path, strerror(errno));
			goto out;
		}
		if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
			/* The one before may have unlinked it between our two calls: then we locked nothing. */
			if (is_still_there(path, fd))
				break;
		} else if (i == LOCK_TRIES) {
			refuse(path, fd, err);
			goto out;
		} else {
			nanosleep(&(struct timespec){ .tv_nsec = LOCK_PAUSE_NS }, NULL);
		}
		close(fd);
		fd = -1;
	}
	if (pidfile_write(path, fd, err) < 0)
		goto out;
	kept = fd;
	fd = -1;
out:
	if (fd >= 0)
		close(fd);
	return kept;
}

void pidfile_leave(const char *path, int fd)
{
	if (fd < 0)
		return;
	unlink(path);
	close(fd);
}

int pidfile_look(const char *path, pid_t *pid, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	enum pidfile found;

	*pid = 0;
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return PIDFILE_NONE;
	if (fd < 0)
		return error_set(err, ERR_SYS, "pidfile %s: %s", path, strerror(errno));
	found = flock(fd, LOCK_SH | LOCK_NB) == 0 ? PIDFILE_STALE : PIDFILE_HELD;
	*pid = number_in(fd);
	close(fd);
	return found;
}
