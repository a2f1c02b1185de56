/*
 * child_find.c - which executable a command names, or why none.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "buf.h"
#include "child.h"

#define PATH_DEFAULT "/usr/local/bin:/usr/bin:/bin"

/* 0 when path is a program that we may run, else errno: ENOENT, EISDIR, EACCES... */
static int executable_problem(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return errno;
	if (S_ISDIR(st.st_mode))
		return EISDIR;
	if (!S_ISREG(st.st_mode) || faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0)
		return EACCES;
	return 0;
}

static int find_error(const char *path, int problem, struct error *err)
{
	switch (problem) {
	case EISDIR: return error_set(err, ERR_SETTINGS, "%s is a directory, expected an executable", path);
	case EACCES: return error_set(err, ERR_SETTINGS, "%s is not executable (chmod +x?)", path);
	default:     return error_set(err, ERR_SETTINGS, "%s: %s", path, strerror(problem));
	}
}

/* Absolute, so that a later change of directory does not matter. */
static char *absolute_path(const char *path)
{
	char *cwd = path[0] == '/' ? NULL : getcwd(NULL, 0);
	char *full = cwd ? xasprintf("%s/%s", cwd, path) : xstrdup(path);

	free(cwd);
	return full;
}

static char *find_as_path(const char *name, struct error *err)
{
	int problem = executable_problem(name);

	if (problem == 0)
		return absolute_path(name);
	find_error(name, problem, err);
	return NULL;
}

/* The first executable of that name. One that is there and may not be run is only told of when no other is. */
static char *find_in(const char *dirs, const char *name, struct error *err)
{
	char *refused = NULL, *found = NULL;
	const char *end;

	do {
		end = strchrnul(dirs, ':');
		char *path = end == dirs ? xasprintf("./%s", name)
		                         : xasprintf("%.*s/%s", (int)(end - dirs), dirs, name);
		int problem = executable_problem(path);

		if (problem == 0)
			found = absolute_path(path);
		else if (problem == EACCES && !refused)
			refused = xstrdup(path);
		free(path);
		dirs = end + 1;
	} while (!found && *end != '\0');
	if (!found && refused)
		find_error(refused, EACCES, err);
	else if (!found)
		error_set(err, ERR_SETTINGS, "%s: no such program in $PATH", name);
	free(refused);
	return found;
}

char *child_find(const char *name, struct error *err)
{
	const char *dirs = getenv("PATH");

	if (name[0] == '\0') {
		error_set(err, ERR_SETTINGS, "the command is empty, expected an executable");
		return NULL;
	}
	if (strchr(name, '/'))
		return find_as_path(name, err);
	return find_in(dirs ? dirs : PATH_DEFAULT, name, err);
}
