/*
 * cgroup.c - see cgroup.h.
 *
 *   <own>/unstuck-worker.<pid>.<random>/   locked (flock) as long as we live
 *         job.<n>/                         one child at a time, used again and again
 */
#include "cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"

#define PREFIX "unstuck-worker."
#define REMOVE_TRIES 200		/* of 5 ms: what was killed has to be gone */

struct cgroup {
	SLIST_ENTRY(cgroup) link;
	unsigned number;
	int procs, kill;
};

struct cgroups {
	int own, dir;			/* our own cgroup, and the one that we made in it */
	char name[64];
	unsigned next;
	SLIST_HEAD(, cgroup) unused;
};

/* ---- where ---- */

/* Where cgroup v2 is mounted. NULL: nowhere; the caller frees. */
static char *find_mount(void)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[4096], root[1024], point[1024], *found = NULL;

	while (f != NULL && found == NULL && fgets(line, sizeof line, f) != NULL)
		if (strstr(line, " - cgroup2 ") != NULL
		    && sscanf(line, "%*s %*s %*s %1023s %1023s", root, point) == 2 && strcmp(root, "/") == 0)
			found = xstrdup(point);
	if (f != NULL)
		fclose(f);
	return found;
}

/* Our own, unless it is the root: that is nobody's to make others in. */
static char *find_own(void)
{
	char line[4096], *mount = find_mount(), *own = NULL;
	FILE *f = fopen("/proc/self/cgroup", "re");

	while (f != NULL && mount != NULL && own == NULL && fgets(line, sizeof line, f) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::/", 4) == 0 && line[4] != '\0')
			own = xasprintf("%s%s", mount, line + 3);
	}
	if (f != NULL)
		fclose(f);
	free(mount);
	return own;
}

/* ---- one ---- */

static int open_in(int dir, const char *name, const char *file)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", name, file);
	return openat(dir, path, O_WRONLY | O_CLOEXEC);
}

/* Everything below it too. */
static void kill_all(int dir, const char *name)
{
	int fd = open_in(dir, name, "cgroup.kill");
	ssize_t ignored;

	if (fd < 0)
		return;
	ignored = write(fd, "1", 1);
	(void)ignored;
	close(fd);
}

static void remove_dir(int dir, const char *name)
{
	for (int i = 0; i < REMOVE_TRIES && unlinkat(dir, name, AT_REMOVEDIR) < 0; i++)
		usleep(5000);
}

/* With the jobs in it, which are empty or being killed. */
static void remove_all(int own, const char *name)
{
	int fd = openat(own, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL)
		if (strncmp(e->d_name, "job.", 4) == 0)
			remove_dir(fd, e->d_name);
	if (d != NULL)
		closedir(d);
	remove_dir(own, name);
}

static void cgroup_free(struct cgroup *g)
{
	if (g->procs >= 0)
		close(g->procs);
	if (g->kill >= 0)
		close(g->kill);
	free(g);
}

struct cgroup *cgroup_take(struct cgroups *all)
{
	struct cgroup *g = all != NULL ? SLIST_FIRST(&all->unused) : NULL;
	char name[32];

	if (all == NULL)
		return NULL;
	if (g != NULL) {
		SLIST_REMOVE_HEAD(&all->unused, link);
		return g;
	}
	g = xcalloc(1, sizeof *g);
	g->number = all->next++;
	snprintf(name, sizeof name, "job.%u", g->number);
	if (mkdirat(all->dir, name, 0755) < 0) {
		free(g);
		return NULL;
	}
	g->procs = open_in(all->dir, name, "cgroup.procs");
	g->kill = open_in(all->dir, name, "cgroup.kill");
	if (g->procs >= 0 && g->kill >= 0)
		return g;
	cgroup_free(g);
	unlinkat(all->dir, name, AT_REMOVEDIR);
	return NULL;
}

int cgroup_procs(const struct cgroup *g)
{
	return g != NULL ? g->procs : -1;
}

void cgroup_end(struct cgroups *all, struct cgroup *g)
{
	if (g == NULL)
		return;
	if (write(g->kill, "1", 1) == 1)
		SLIST_INSERT_HEAD(&all->unused, g, link);
	else
		cgroup_free(g);
}

/* ---- all of them ---- */

/* What workers that were killed left here. */
static void sweep(int own)
{
	int fd = openat(own, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL) {
		int dead;

		if (strncmp(e->d_name, PREFIX, strlen(PREFIX)) != 0)
			continue;
		dead = openat(own, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dead >= 0 && flock(dead, LOCK_EX | LOCK_NB) == 0) {
			kill_all(own, e->d_name);
			remove_all(own, e->d_name);
		}
		if (dead >= 0)
			close(dead);
	}
	if (d != NULL)
		closedir(d);
}

/* It is there unlocked for a moment: whoever sweeps it then takes an empty one, and we have none. */
static int make_dir(struct cgroups *all)
{
	snprintf(all->name, sizeof all->name, PREFIX "%d.%08x", (int)getpid(), arc4random());
	if (mkdirat(all->own, all->name, 0755) < 0)
		return -1;
	all->dir = openat(all->own, all->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return all->dir >= 0 && flock(all->dir, LOCK_EX | LOCK_NB) == 0 ? 0 : -1;
}

struct cgroups *cgroups_open(const char *own)
{
	struct cgroups *all = xcalloc(1, sizeof *all);
	char *found = own != NULL ? xstrdup(own) : find_own();

	SLIST_INIT(&all->unused);
	all->dir = -1;
	all->own = found != NULL ? open(found, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	free(found);
	if (all->own >= 0) {
		sweep(all->own);
		if (make_dir(all) == 0) {
			struct cgroup *first = cgroup_take(all);	/* it may be there and not be for us */

			if (first != NULL) {
				SLIST_INSERT_HEAD(&all->unused, first, link);
				return all;
			}
		}
	}
	cgroups_close(all);
	return NULL;
}

void cgroups_close(struct cgroups *all)
{
	struct cgroup *g;

	if (all == NULL)
		return;
	while ((g = SLIST_FIRST(&all->unused)) != NULL) {
		SLIST_REMOVE_HEAD(&all->unused, link);
		cgroup_free(g);
	}
	if (all->dir >= 0) {
		kill_all(all->own, all->name);
		remove_all(all->own, all->name);
		close(all->dir);
	}
	if (all->own >= 0)
		close(all->own);
	free(all);
}
