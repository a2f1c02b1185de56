/*
 * story.h - everything a test needs. How to write one:
 *
 *	#include "story.h"
 *
 *	START_TEST(a_stopped_worker_leaves_nothing_behind)
 *	{
 *		struct testdb *db = must_have_db();	// own database, schema in it
 *
 *		must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, %d)", 10);
 *		write_filef("unstuck.ini", "[unstuck]\ndatabase_url = %s\n[queue mail]\nhandler = %s\n",
 *		            db->url, source_path("tests/handlers/slow"));
 *		struct proc *worker = must_start(NULL, "unstuck-worker", "run");
 *		must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "4", 5000);
 *		proc_signal(worker, SIGTERM);
 *		must_exit(worker, 0, 5000);
 *		must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "0");
 *	}
 *	END_TEST
 *
 *	int main(void)
 *	{
 *		Suite *s = suite_create("worker");
 *		TCase *tc = story_case(s, "stopping");
 *
 *		tcase_add_test(tc, a_stopped_worker_leaves_nothing_behind);
 *		return check_main(s);
 *	}
 *
 * A test runs in a process and an empty directory of its own (its cwd), with no
 * UNSTUCK_*, PG* or DATABASE_URL from outside, 60 s at most. What it started is
 * told to end (TERM), what it made is removed; a process that is left then, or a
 * descriptor of its own, fails it. The server starts with the first must_have_db()
 * of the program and is there again for the next test when one has stopped it.
 * Variables: UNSTUCK_BUILD (programs, default build), UNSTUCK_SOURCE (default .),
 * CK_TIMEOUT_MULTIPLIER, CK_RUN_CASE, KEEP_TEST_FILES=1 (leaves logs and data).
 */
#ifndef STORY_H
#define STORY_H

#include <check.h>
#include <signal.h>
#include <string.h>
#include "check_main.h"
#include "files.h"
#include "keeper.h"
#include "leftovers.h"
#include "proc.h"
#include "scene.h"
#include "testdb.h"

/* A test case with all of the above around each of its tests, added to the suite. */
TCase *story_case(Suite *suite, const char *name);

#endif
