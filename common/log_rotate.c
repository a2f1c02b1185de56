/*
 * log_rotate.c - see log_rotate.h. Several processes may write to the same file; one of them turns it, the
 * others find another file in its place.
 */
#include "log_rotate.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"

#define DAY_SECONDS 86400
#define DATE_LEN 10		/* "2026-01-01" */

int64_t log_rotate_day_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && st.st_size > 0)
		return (int64_t)st.st_mtim.tv_sec / DAY_SECONDS;
	return (int64_t)time(NULL) / DAY_SECONDS;
}

static char *dated(const char *path, int64_t day)
{
	time_t t = (time_t)(day * DAY_SECONDS);
	struct tm tm;

	gmtime_r(&t, &tm);
	return xasprintf("%s.%04d-%02d-%02d", path, tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
}

/* base.2026-01-01, and nothing that only looks like it. */
static bool is_dated(const char *name, const char *base)
{
	static const char form[] = ".dddd-dd-dd";
	size_t len = strlen(base);

	if (strncmp(name, base, len) != 0 || strlen(name) != len + 1 + DATE_LEN)
		return false;
	for (size_t i = 0; form[i] != '\0'; i++)
		if (form[i] == 'd' ? name[len + i] < '0' || name[len + i] > '9' : name[len + i] != form[i])
			return false;
	return true;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void remove_oldest(const char *path, unsigned keep)
{
	char *of_dir = xstrdup(path), *of_base = xstrdup(path), **names = NULL;
	const char *dir = dirname(of_dir), *base = basename(of_base);
	DIR *d = opendir(dir);
	struct dirent *e;
	size_t len = 0;

	while (d != NULL && (e = readdir(d)) != NULL) {
		if (!is_dated(e->d_name, base))
			continue;
		names = xrealloc(names, (len + 1) * sizeof *names);
		names[len++] = xstrdup(e->d_name);
	}
	if (len != 0)
		qsort(names, len, sizeof *names, by_name);
	for (size_t i = 0; i < len; i++) {
		if (i + keep < len)
			unlinkat(dirfd(d), names[i], 0);
		free(names[i]);
	}
	if (d != NULL)
		closedir(d);
	free(names);
	free(of_dir);
	free(of_base);
}

int log_rotate(const char *path, int fd, int64_t day, unsigned keep, struct error *err)
{
	struct stat ours, there;
	char *to;
	int status = 1;

	if (fstat(fd, &ours) < 0 || stat(path, &there) < 0 || ours.st_ino != there.st_ino || ours.st_dev != there.st_dev)
		return 1;	/* somebody turned it */
	if (ours.st_size == 0)
		return 0;
	to = dated(path, day);
	if (renameat2(AT_FDCWD, path, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		remove_oldest(path, keep);
	else
		status = errno == EEXIST ? 0 : errno == ENOENT ? 1
		         : error_set(err, ERR_SYS, "log file %s cannot become %s: %s", path, to, strerror(errno));
	free(to);
	return status;
}
