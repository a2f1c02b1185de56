/*
 * cgroup.h - a cgroup (v2) for each child, below our own: whatever it leaves behind is ended with it, sessions and
 * groups of their own included.
 *
 * Only where our own cgroup is not the root of all and may be written to: as a systemd unit with Delegate=yes, as a
 * user with a manager of its own. A worker that was killed cannot end what it left: the next one to start in the same
 * cgroup does, by the lock that the dead one no longer holds.
 */
#ifndef CGROUP_H
#define CGROUP_H

struct cgroups;
struct cgroup;

/* NULL: there is none to be had, which is no error. own: the directory of our own cgroup, or NULL to find it. */
struct cgroups *cgroups_open(const char *own);
void cgroups_close(struct cgroups *all);	/* ends all that is in them; NULL is fine */

/* An empty one; NULL: none is to be had (or all is NULL). */
struct cgroup *cgroup_take(struct cgroups *all);
/* A process that writes "0" to it is in it from then on. Close-on-exec; borrowed. */
int cgroup_procs(const struct cgroup *g);
/* End all that is in it; it will be used again. NULL is fine. */
void cgroup_end(struct cgroups *all, struct cgroup *g);

#endif
