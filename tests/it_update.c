/*
 * it_update.c - an update without a gap, and what many starts and stops leave behind: nothing.
 */
#include "story.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "worker_story.h"

#define IS_DONE(...) must_run(0, NULL, "unstuck-worker", __VA_ARGS__)

static const char *name_of(int i, const char *what)
{
	return story_text("w%d.%s", i, what);
}

/* The version of the i-th worker: every other one is of the next. */
#define START(i) must_run(0, NULL, (i) % 2 == 0 ? "unstuck-worker" : build_path("next/unstuck-worker"), "run", "--daemon", \
                          "--pidfile", name_of(i, "pid"), "--log-file", name_of(i, "log"))

/*
 * One job every 20 ms, all the time; meanwhile three times a worker of another version beside the old one, which
 * is made quiet and told to stop. The poll interval is an hour: a job that waited for it would wait for ever.
 */
START_TEST(an_update_under_load_delays_nothing_and_runs_nothing_twice)
{
	struct testdb *db = must_have_db();
	struct proc *load;

	settings(db, "[worker]\npoll_interval = 1h\nconcurrency = 8\n[queue mail]\nhandler = %s\nconcurrency = 8\n",
	         script("mail", "echo $UNSTUCK_JOB_ID >> runs.txt; sleep 0.1; echo 1"));
	must_sql(db, "CREATE TABLE first_claims (id bigint PRIMARY KEY, waited interval)");
	/* When each job was claimed for the first time. */
	must_sql(db, "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO first_claims VALUES (NEW.id,"
	             " clock_timestamp() - NEW.created_at) ON CONFLICT DO NOTHING; RETURN NULL; END $$;"
	             "CREATE TRIGGER note AFTER UPDATE ON unstuck.jobs FOR EACH ROW WHEN (NEW.status = 'PROCESSING') EXECUTE FUNCTION note()");
	START(0);
	write_file("load.sql", "DO $$ BEGIN FOR i IN 1..300 LOOP PERFORM unstuck.enqueue('mail'); COMMIT; PERFORM pg_sleep(0.02);"
	                       " END LOOP; END $$;");
	load = must_start(NULL, "psql", "-X", "-q", "-d", db->url, "-f", "load.sql");
	for (int i = 0; i < 3; i++) {
		must_become(db, story_text("SELECT count(*) > %d FROM unstuck.jobs", (i + 1) * 60), "t", 20000);
		START(i + 1);
		must_equal(db, "SELECT count(DISTINCT version) FROM unstuck.workers", "2");
		/* Both work for a while before the old one goes. */
		must_become(db, "SELECT count(DISTINCT j.worker_id) FROM unstuck.jobs AS j JOIN unstuck.workers USING (worker_id)", "2", 20000);
		IS_DONE("quiet", "--pidfile", name_of(i, "pid"));
		IS_DONE("stop", "--pidfile", name_of(i, "pid"));
		must_equal(db, "SELECT count(*) FROM unstuck.workers", "1");
	}
	must_exit(load, 0, 30000);
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'", "300", 20000);
	must_equal(db, "SELECT sum(failures) || ' ' || sum(recoveries) FROM unstuck.jobs", "0 0");
	/* Each handler ran once. (attempts would also count one that was claimed and given back before it ran.) */
	ck_assert_uint_eq(text_count(read_file("runs.txt"), "\n"), 300);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE attempts <> 1", "0");
	for (int i = 0; i < 3; i++)
		ck_assert_msg(strstr(read_file(name_of(i, "log")), "killed=0") != NULL, "%d", i);
	/* Every worker had some of it, and nobody waited for a poll. */
	must_equal(db, "SELECT count(DISTINCT worker_id) FROM unstuck.jobs", "4");
	ck_assert_msg(strcmp(sql_value(db, "SELECT max(waited) < interval '%d s' FROM first_claims", 10), "t") == 0, "%s",
	              sql_value(db, "SELECT max(waited) FROM first_claims"));
	IS_DONE("stop", "--pidfile", name_of(3, "pid"));
}
END_TEST

/* ---- many starts and stops ---- */

static size_t files_here(void)
{
	DIR *d = opendir(".");
	struct dirent *e;
	size_t n = 0;

	while ((e = readdir(d)) != NULL)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

/* From TERM until the kernel says that it is gone. */
static double exit_ms(pid_t pid)
{
	struct pollfd gone = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
	double begun = now_ms(), took;

	ck_assert_int_ge(gone.fd, 0);
	kill(pid, SIGTERM);
	ck_assert_int_eq(poll(&gone, 1, 20000), 1);
	took = now_ms() - begun;
	close(gone.fd);
	return took;
}

START_TEST(many_starts_and_stops_leave_nothing)
{
	struct testdb *db = must_have_db();
	double best = 1e9;
	size_t files = 0;

	settings(db, "[queue mail]\nhandler = sleep 0.01\n");
	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 100)");
	for (int i = 0; i < 40; i++) {
		double took;

		IS_DONE("run", "--daemon", "--pidfile", "w.pid", "--log-file", "w.log");
		if (i == 0)
			files = files_here();
		took = exit_ms((pid_t)atoi(read_file("w.pid")));
		best = took < best ? took : best;
		must_happen(!file_exists("w.pid") && !file_exists("w.pid.sock"), 1000);
		ck_assert_uint_eq(files_here() + 2, files);	/* the pidfile and its socket are gone */
	}
	ck_assert_uint_eq(procs_alive(), 0);
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "0");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "0");
	must_become(db, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'unstuck-worker'", "0", 5000);
	must_equal(db, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", "0");
	ck_assert_uint_eq(text_count(read_file("w.log"), "event=shutdown reason=signal.term"), 40);
	/* The best of many: others have the machine too. Sanitizers look for leaks at the end. */
	ck_assert_msg(getenv("CK_TIMEOUT_MULTIPLIER") != NULL && atoi(getenv("CK_TIMEOUT_MULTIPLIER")) > 2 ? best < 1000 : best < 50,
	              "the fastest exit took %.1f ms", best);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("update");
	TCase *tc = story_case(s, "update");

	tcase_add_test(tc, an_update_under_load_delays_nothing_and_runs_nothing_twice);
	tcase_add_test(tc, many_starts_and_stops_leave_nothing);
	tcase_set_timeout(tc, 120);
	return check_main(s);
}
