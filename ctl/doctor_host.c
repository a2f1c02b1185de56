/*
 * doctor_host.c - this host: what waits in its spool, and the room there is for more. Needs no database.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "doctor.h"
#include "spool_walk.h"

/* Twice the largest reserve of a worker, which claims nothing below it. */
#define ROOM_TOLD ((uint64_t)128 << 20)

struct counts {
	size_t waiting, damaged;
};

static void count(void *arg, const struct spool_entry *e)
{
	struct counts *n = arg;

	if (e->state == SPOOL_DAMAGED)
		n->damaged++;
	else if (!e->alive)
		n->waiting++;
}

void check_spool(struct doctor *d)
{
	const char *dir = d->ctl->settings.spool_dir;
	struct error err = ERROR_INIT;
	struct counts n = { 0 };

	if (spool_walk(dir, count, &n, &err) < 0) {
		doctor_tell(d, WARNING, "the spool could not be looked at: %s", err.text);
		doctor_remedy(d, "run this as the user who runs the workers, or correct spool_dir in [worker]");
	}
	if (n.waiting > 0) {
		doctor_tell(d, WARNING, "results of workers that are gone wait in %s on this host: %zu", dir, n.waiting);
		doctor_remedy(d, "unstuckctl%s spool replay", d->config);
	}
	if (n.damaged > 0) {
		doctor_tell(d, WARNING, "bytes in %s are damaged, a result may be lost; stretches: %zu", dir, n.damaged);
		doctor_remedy(d, "unstuckctl%s spool; look at the disk; remove damaged.* when they are of no more use", d->config);
	}
}

/* The directory, or the nearest one above it that is there. */
static int room_of(const char *dir, struct statvfs *out)
{
	char *path = xstrdup(dir), *slash;
	int rc;

	while ((rc = statvfs(*path != '\0' ? path : "/", out)) < 0 && errno == ENOENT && (slash = strrchr(path, '/')) != NULL)
		*slash = '\0';
	free(path);
	return rc;
}

void check_disk(struct doctor *d)
{
	const char *dir = d->ctl->settings.spool_dir;
	struct statvfs v;

	if (room_of(dir, &v) < 0)
		return;	/* told by the check of the spool, or by the worker that has to make it */
	if ((uint64_t)v.f_bavail * v.f_frsize < ROOM_TOLD) {
		doctor_tell(d, WARNING, "%llu MB are free for the spool, %s: a worker claims nothing when its reserve (4 to 64 MB) does "
		            "not fit", (unsigned long long)v.f_bavail * v.f_frsize >> 20, dir);
		doctor_remedy(d, "free space on that disk, or name another spool_dir in [worker]");
	} else if (v.f_files > 0 && v.f_favail < 1000) {
		doctor_tell(d, WARNING, "%llu inodes are free for the spool, %s", (unsigned long long)v.f_favail, dir);
		doctor_remedy(d, "remove small files on that disk, or name another spool_dir in [worker]");
	}
}
