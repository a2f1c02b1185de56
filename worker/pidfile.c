/*
 * pidfile.c - see pidfile.h. A stale file is no obstacle: nobody holds its lock.
 */
#include "pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

int pidfile_take(const char *path, struct error *err)
{
	int fd = -1, kept = -1;

	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0) {
		error_set(err, ERR_SYS, "pidfile %s: %s; make its directory or name another with --pidfile", path,
		          strerror(errno));
		goto out;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		error_set(err, ERR_SYS, "pidfile %s: another worker holds it; stop that one or name another with --pidfile",
		          path);
		goto out;
	}
	if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0) {
		error_set(err, ERR_SYS, "pidfile %s: %s", path, strerror(errno));
		goto out;
	}
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
