/*
 * it_tree.c - the processes below a worker: what handlers leave behind is ended where there is a cgroup.
 */
#include "story.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker_story.h"

/* ---- cgroups ---- */

static const char *made;	/* a cgroup of the test's own, with the worker in it */

static void remove_made(void)
{
	if (made != NULL && rmdir(made) < 0)
		printf("%s is left\n", made);
	made = NULL;
}

/* Below where cgroup v2 is mounted, if it may be written to. */
static bool has_cgroup(void)
{
	char line[4096], point[1024];
	FILE *f = fopen("/proc/self/mountinfo", "re");

	while (f != NULL && made == NULL && fgets(line, sizeof line, f) != NULL)
		if (strstr(line, " - cgroup2 ") != NULL && sscanf(line, "%*s %*s %*s / %1023s", point) == 1)
			made = story_text("%s/unstuck-test.%d", point, (int)getpid());
	if (f != NULL)
		fclose(f);
	if (made != NULL && mkdir(made, 0755) == 0 && access(story_text("%s/cgroup.kill", made), W_OK) == 0)
		return true;
	printf("skipped: cgroups (it needs cgroup v2, and to be allowed to make one)\n");
	made = NULL;
	return false;
}

static struct proc *start_in_cgroup(const char *arguments)
{
	return must_start(NULL, "sh", "-c", story_text("echo 0 > %s/cgroup.procs; exec %s %s", made, build_path("unstuck-worker"), arguments));
}

/* Leaves a process that no group signal reaches: it is in a session of its own. */
static const char *leaving(const char *then)
{
	return script("leaves", story_text("setsid sh -c 'echo $$ > left; exec sleep 1000' </dev/null >/dev/null 2>&1 &\n"
	                                   "while [ ! -s left ]; do sleep 0.01; done\n%s", then));
}

static pid_t left(void)
{
	return (pid_t)atoi(read_file("left"));
}

START_TEST(what_a_handler_leaves_is_ended_with_it)
{
	struct testdb *db;
	struct proc *p;

	if (!has_cgroup())
		return;
	db = must_have_db();
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[queue mail]\nhandler = %s\n", leaving("echo 1"));
	p = start_in_cgroup("");
	must_become(db, "SELECT status FROM unstuck.jobs", "COMPLETED", 10000);
	must_happen(!pid_alive(left()), 5000);
	ck_assert(proc_running(p));
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 10000);
	remove_made();		/* nothing is left in it, no cgroup either */
}
END_TEST

START_TEST(what_is_left_of_a_killed_worker_is_ended_by_the_next)
{
	struct testdb *db;
	struct proc *p;

	if (!has_cgroup())
		return;
	db = must_have_db();
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[queue mail]\nhandler = %s\n", leaving("exec sleep 1000"));
	p = start_in_cgroup("");
	must_happen(file_exists("left") && *read_file("left") != '\0', 10000);
	proc_signal(p, SIGKILL);
	must_exit(p, 128 + SIGKILL, 5000);
	must_happen(procs_alive() == 1, 5000);	/* the handler is gone with its worker, what it left is not */
	ck_assert(pid_alive(left()));
	must_exit(start_in_cgroup("--drain"), 0, 10000);
	must_happen(!pid_alive(left()), 5000);
	remove_made();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tree");
	TCase *tc = story_case(s, "cgroups");

	tcase_add_checked_fixture(tc, NULL, remove_made);
	tcase_add_test(tc, what_a_handler_leaves_is_ended_with_it);
	tcase_add_test(tc, what_is_left_of_a_killed_worker_is_ended_by_the_next);
	return check_main(s);
}
