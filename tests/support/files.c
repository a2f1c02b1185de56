/*
 * files.c - a directory for each test, and reading and writing files in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "files.h"

static char source_root[PATH_MAX], build_root[PATH_MAX], dir[PATH_MAX / 2];

static void find_root(char root[PATH_MAX], const char *variable, const char *otherwise)
{
	const char *path = getenv(variable);

	if (path == NULL || *path == '\0')
		path = otherwise;
	if (realpath(path, root) == NULL) {
		fprintf(stderr, "$%s: %s: %s\n", variable, path, strerror(errno));
		exit(EXIT_FAILURE);
	}
}

void files_find_roots(void)
{
	if (source_root[0] != '\0')
		return;
	find_root(source_root, "UNSTUCK_SOURCE", ".");
	find_root(build_root, "UNSTUCK_BUILD", "build");
}

const char *test_dir(void)
{
	return dir;
}

static const char *path_in(const char *root, const char *name)
{
	return *name == '/' ? name : story_text("%s%s%s", root, *name != '\0' ? "/" : "", name);
}

const char *test_path(const char *name)
{
	return path_in(dir, name);
}

const char *source_path(const char *name)
{
	return path_in(source_root, name);
}

const char *build_path(const char *name)
{
	return path_in(build_root, name);
}

const char *write_file_at(const char *name, const char *text, unsigned mode)
{
	const char *path = test_path(name);

	/* Tests run as root too: nothing outside their directory, and no link that leads out of it. */
	if (strncmp(path, dir, strlen(dir)) != 0 || strstr(path, "/../") != NULL)
		story_fail("%s is not in the directory of the test", path);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		story_fail("%s: %s", path, strerror(errno));
	for (size_t left = strlen(text); left > 0;) {
		ssize_t n = write(fd, text, left);

		if (n < 0)
			story_fail("%s: %s", path, strerror(errno));
		text += n;
		left -= (size_t)n;
	}
	fchmod(fd, mode);
	close(fd);
	return path;
}

char *read_file_at(const char *name, size_t *len)
{
	const char *path = test_path(name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		story_fail("%s: %s", path, strerror(errno));
	char *text = story_memory((size_t)st.st_size + 1);
	ssize_t n = read(fd, text, (size_t)st.st_size);
	close(fd);
	if (n < 0)
		story_fail("%s: %s", path, strerror(errno));
	text[n] = '\0';
	if (len != NULL)
		*len = (size_t)n;
	return text;
}

bool file_exists(const char *name)
{
	return access(test_path(name), F_OK) == 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	remove(path);
	return 0;
}

void remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void files_begin(const char *base)
{
	snprintf(dir, sizeof dir, "%s/t.XXXXXX", base);
	if (mkdtemp(dir) == NULL || chmod(dir, 0755) < 0 || chdir(dir) < 0)
		story_fail("%s: %s", dir, strerror(errno));
}

void files_end(void)
{
	if (chdir("/") == 0 && getenv("KEEP_TEST_FILES") == NULL)
		remove_tree(dir);
}
