/*
 * control_address.c - see control_address.h.
 */
#include "control_address.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"

char *control_path(const char *pidfile)
{
	return xasprintf("%s.sock", pidfile);
}

int control_address(const char *pidfile, struct sockaddr_un *sa, int *dir)
{
	char *path = control_path(pidfile), *copy = xstrdup(path);
	const char *name = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;

	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	*dir = open(dirname(copy), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (strlen(path) < sizeof sa->sun_path)
		strcpy(sa->sun_path, path);
	else
		snprintf(sa->sun_path, sizeof sa->sun_path, "/proc/self/fd/%d/%s", *dir, name);
	free(copy);
	free(path);
	return *dir < 0 ? -1 : 0;
}
