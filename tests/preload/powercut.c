/*
 * powercut.c - preloaded into a program: keeps beside a directory what would be left of it after a power cut, that is
 * what was synced and nothing else.
 *
 *	POWERCUT_OF=DIR POWERCUT_TO=IMAGE LD_PRELOAD=powercut.so ...
 *
 * A sync of a file keeps its bytes as IMAGE/f<inode>; one of a directory keeps its names as IMAGE/d<inode>, links to these. So
 * IMAGE/d<inode of DIR> is what comes back, with the names and the bytes of their last syncs: cp -rL. Stricter than file
 * systems are: a name is not kept by the sync of its file.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *image(char kind, ino_t ino, const char *name)
{
	static _Thread_local char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/%c%llu%s%s", getenv("POWERCUT_TO"), kind, (unsigned long long)ino, *name ? "/" : "", name);
	return path;
}

static void keep_file(const char *from, ino_t ino)
{
	char data[65536];
	int in = open(from, O_RDONLY | O_CLOEXEC), out = open(image('f', ino, ""), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n;

	while (in >= 0 && (n = read(in, data, sizeof data)) > 0)
		if (write(out, data, (size_t)n) != n)
			abort();
	close(in);
	close(out);
}

static void forget_names(const char *dir)
{
	char path[PATH_MAX];
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL)
		if (snprintf(path, sizeof path, "%s/%s", dir, e->d_name) < PATH_MAX && e->d_name[0] != '.')
			unlink(path);
	if (d != NULL)
		closedir(d);
}

static void keep_names(const char *from, ino_t ino)
{
	char target[64];
	DIR *d = opendir(from);
	struct dirent *e;

	mkdir(image('d', ino, ""), 0700);
	forget_names(image('d', ino, ""));
	while (d != NULL && (e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;	/* hidden: not there yet, for whoever looks */
		if (e->d_type == DT_DIR)
			mkdir(image('d', e->d_ino, ""), 0700);
		else
			close(open(image('f', e->d_ino, ""), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
		snprintf(target, sizeof target, "../%c%llu", e->d_type == DT_DIR ? 'd' : 'f', (unsigned long long)e->d_ino);
		if (symlink(target, image('d', ino, e->d_name)) < 0)
			abort();
	}
	if (d != NULL)
		closedir(d);
}

static void keep(int fd)
{
	const char *of = getenv("POWERCUT_OF");
	char link[64], path[PATH_MAX];
	struct stat st;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof path - 1);
	if (n <= 0 || of == NULL || fstat(fd, &st) < 0)
		return;
	path[n] = '\0';
	if (strncmp(path, of, strlen(of)) != 0)
		return;
	if (S_ISDIR(st.st_mode))
		keep_names(path, st.st_ino);
	else
		keep_file(path, st.st_ino);
}

static int pass_on(const char *name, int fd)
{
	int (*next)(int) = (int (*)(int))(uintptr_t)dlsym(RTLD_NEXT, name);

	return next(fd);
}

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */
int fsync(int fd)
{
	int rc = pass_on("fsync", fd);

	if (rc == 0)
		keep(fd);
	return rc;
}

int fdatasync(int fd)
{
	int rc = pass_on("fdatasync", fd);

	if (rc == 0)
		keep(fd);
	return rc;
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
