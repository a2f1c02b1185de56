/*
 * it_chaos.c - the promises under faults, judged from outside: a storm drawn from a seed, and the scenes in which a
 * worker that breaks one promise is sure to be caught (tests/chaos/mutants).
 *
 * CHAOS_SEED, CHAOS_SECONDS, CHAOS_LANES (workers), CHAOS_BEAT (heartbeat in ms, by default 100: a worker is watched for two) and CHAOS_FAULTS (names as in the figures, by default all) are those of the storm.
 */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "chaos.h"

static double number_of(const char *name, double otherwise)
{
	const char *text = getenv(name);

	return text != NULL && *text != '\0' ? atof(text) : otherwise;
}

static unsigned seed, seconds, lanes, faults;

START_TEST(a_storm_loses_nothing_and_doubles_nothing)
{
	struct chaos *c = chaos_begin((int)lanes, seed, "3s", "");

	chaos_rage(c, seconds, faults);
	chaos_settle(c);
	printf("chaos seed=%u seconds=%u lanes=%u\n", seed, seconds, lanes);
	chaos_judge(c);
}
END_TEST


/* ---- scenes: one broken promise each, and no luck ---- */

static bool said(struct chaos *c, char kind, size_t n)
{
	return chaos_lines(c, kind) >= n;
}

/* Until it is so. When not even that comes, the verdict has to tell. */
static void wait_for(struct chaos *c, const char *sql, unsigned ms)
{
	uint64_t until = story_until(ms);

	while (strcmp(testdb_value(c->db, sql), "t") != 0 && story_wait(until))
		;
}

/* Until it has beaten so often again: what it had to ask and to say in between is over. */
static void must_beat(struct chaos *c, const struct lane *l, int times)
{
	const char *sql = story_text("SELECT coalesce(sum(beat_n), 0) FROM unstuck.workers WHERE pid = %d", (int)proc_pid(l->worker));
	long long before = sql_int(c->db, "%s", sql);

	must_happen(testdb_value(c->db, sql)[0] != '\0' && strtoll(testdb_value(c->db, sql), NULL, 10) >= before + times, 20000);
}

/* For who must not be taken for dead on a busy machine. */
static const char *const patient[] = { "UNSTUCK_WORKER_WORKER_TIMEOUT=60s", NULL };

/* The waiting runs from this attempt on may end. */
static void open_from(int attempt)
{
	for (; attempt < 10; attempt++)
		write_file(story_text("open%d", attempt), "");
}

/*
 * A worker is frozen over the end of its job; the job is recovered, and another worker runs it again. Then the first wakes up with its result.
 */
START_TEST(a_frozen_worker_comes_back_with_a_result)
{
	struct chaos *c = chaos_begin(2, 1, "60s", "");
	struct lane *frozen = &c->lanes[0];

	chaos_add(c, _i, "wait", 0);
	chaos_start(c, 0, NULL);
	must_happen(said(c, 'S', 1), 20000);
	proc_signal(frozen->worker, SIGSTOP);
	chaos_start(c, 1, patient);
	must_happen(said(c, 'S', 2), 20000);
	write_file("open1", "");
	must_happen(said(c, 'W', 1), 20000);
	proc_signal(frozen->worker, SIGCONT);
	/* Kept apart, or wrongly taken. */
	wait_for(c, "SELECT EXISTS (SELECT FROM unstuck.late_results) OR EXISTS (SELECT FROM chaos.completed)", 3000);
	open_from(2);
	must_happen(said(c, 'W', 2), 20000);
	chaos_settle(c);
	chaos_judge(c);
}
END_TEST

/* The reply of a claim is lost, and nothing else happens: nobody dies, nobody leaves. */
START_TEST(a_claim_is_not_heard_of)
{
	struct chaos *c = chaos_begin(1, 1, "60s", "prepare = no\n");

	/* Quiet, so that the claim that is caught is the one that takes them. */
	chaos_start(c, 0, NULL);
	must_become(c->db, "SELECT count(*) FROM unstuck.workers", "1", 20000);
	proc_signal(c->lanes[0].worker, SIGTSTP);
	must_become(c->db, "SELECT state FROM unstuck.workers", "quiet", 20000);
	for (int i = 0; i < 3; i++)
		chaos_add(c, _i, "ok", 0);
	proxy_order(c->proxy, 0, PROXY_CATCH, story_text(_i < 2 ? "SELECT '%s', $2::uuid, m.batch" : "c.id, '%s', c.claim_id", chaos_queue(_i)));
	proc_signal(c->lanes[0].worker, SIGCONT);
	wait_for(c, "SELECT count(*) > 0 FROM chaos.claims", 20000);
	must_beat(c, &c->lanes[0], 3);
	chaos_settle(c);
	chaos_judge(c);
	must_equal(c->db, "SELECT count(*) > 1 FROM chaos.claims", "t");	/* once more: it was caught */
}
END_TEST

/* The reply to a result is lost, and then the answer to the question what became of it. */
START_TEST(a_result_is_stored_and_nobody_hears_of_it)
{
	struct chaos *c = chaos_begin(1, 1, "60s", "prepare = no\n");

	for (int i = 0; i < 3; i++)
		chaos_add(c, _i, "wait", 0);
	chaos_start(c, 0, NULL);
	must_happen(said(c, 'S', 3), 20000);
	proxy_order(c->proxy, 0, PROXY_CATCH, "= 'COMPLETED'");
	write_file("open1", "");
	wait_for(c, "SELECT count(*) > 0 FROM chaos.completed", 20000);
	proxy_order(c->proxy, 0, PROXY_CATCH, "AS verdict");
	must_beat(c, &c->lanes[0], 5);
	chaos_settle(c);
	chaos_judge(c);
}
END_TEST

/* The database takes no results for a while. */
static void refuse_endings(struct chaos *c, const char *when)
{
	static const char *const tables[] = { "unstuck.jobs", "work" };

	must_sql(c->db, "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no room' USING ERRCODE = '53100'; END $$");
	for (int i = 0; i < 2; i++)
		must_sql(c->db, "CREATE TRIGGER no_room BEFORE UPDATE ON %s FOR EACH ROW WHEN (%s) EXECUTE FUNCTION no_room()", tables[i], when);
}

static struct chaos *refuse_results(int queue)
{
	struct chaos *c = chaos_begin(1, 1, "60s", "");

	refuse_endings(c, "NEW.status = 'COMPLETED'");
	for (int i = 0; i < 3; i++)
		chaos_add(c, queue, "ok", 0);
	chaos_start(c, 0, NULL);
	must_happen(said(c, 'W', 3), 20000);
	must_beat(c, &c->lanes[0], 5);
	return c;
}

static void take_results(const struct chaos *c)
{
	must_sql(c->db, "DROP FUNCTION no_room() CASCADE");
}

START_TEST(results_wait_for_the_database)
{
	struct chaos *c = refuse_results(_i);

	take_results(c);
	chaos_settle(c);
	chaos_judge(c);
}
END_TEST

START_TEST(results_wait_for_the_database_and_the_worker_is_killed)
{
	struct chaos *c = refuse_results(_i);

	proc_signal(c->lanes[0].worker, SIGKILL);
	must_happen(!proc_running(c->lanes[0].worker), 20000);
	take_results(c);
	chaos_settle(c);
	chaos_judge(c);
}
END_TEST

/* A worker is stopped while its handler will not end yet; another one is there to take what is given back. */
START_TEST(a_handler_outlasts_the_stop)
{
	struct chaos *c = chaos_begin(2, 1, "60s", "");

	chaos_add(c, _i, "deaf", 0);
	chaos_start(c, 0, WORDS("UNSTUCK_WORKER_GRACEFUL_TIMEOUT=100ms", "UNSTUCK_WORKER_FORCE_DELAY=30s", patient[0]));
	must_happen(said(c, 'S', 1), 20000);
	chaos_start(c, 1, patient);
	must_become(c->db, "SELECT count(*) FROM unstuck.workers", "2", 20000);
	chaos_note(c, 'T', "", "", (int)proc_pid(c->lanes[0].worker));
	proc_signal(c->lanes[0].worker, SIGTERM);
	/* Time enough for the other one to begin, if it can. */
	for (uint64_t until = story_until(1000); !said(c, 'S', 2) && story_wait(until);)
		;
	open_from(2);
	write_file("open1", "");
	chaos_settle(c);
	chaos_judge(c);
}
END_TEST

/* Results are sealed, the worker has left and said so (75), and then the power fails. */
START_TEST(the_power_fails_behind_a_worker_that_has_left)
{
	struct chaos *c = chaos_begin(1, 1, "60s", "");
	struct stat st;

	must_run(0, NULL, "mkdir", "-m", "700", "spool", "image");
	must_happen(stat("spool", &st) == 0, 1000);
	for (int i = 0; i < 3; i++)
		chaos_add(c, _i, "wait", 0);
	chaos_start(c, 0, WORDS(story_text("LD_PRELOAD=%s", build_path("tests/preload/powercut.so")), story_text("POWERCUT_OF=%s", test_path("spool")),
	                        story_text("POWERCUT_TO=%s", test_path("image")), "ASAN_OPTIONS=exitcode=99:verify_asan_link_order=0",
	                        "UNSTUCK_WORKER_FORCE_DELAY=1s"));
	must_happen(said(c, 'S', 3), 20000);
	server_stop();
	write_file("open1", "");
	must_happen(said(c, 'W', 3) && procs_alive() == 2, 20000);	/* the worker and the proxy */
	proc_signal(c->lanes[0].worker, SIGTERM);
	usleep(200000);		/* two at once may be one */
	proc_signal(c->lanes[0].worker, SIGTERM);
	must_exit(c->lanes[0].worker, 75, 30000);
	must_run(0, NULL, "mv", "spool", "before");
	must_run(0, NULL, "cp", "-rL", story_text("image/d%llu", (unsigned long long)st.st_ino), "spool");
	open_from(2);
	chaos_settle(c);
	chaos_judge(c);
}
END_TEST

/* Statistics that lie, and only loops to join with: a claim still takes no more than it asked for. */
START_TEST(a_claim_takes_no_more_than_it_asked_for)
{
	struct chaos *c = chaos_begin(1, 1, "60s", "");

	for (int i = 0; i < 4; i++)
		chaos_add(c, _i, "ok", 0);
	must_sql(c->db, "ANALYZE");
	for (int i = 0; i < 60; i++)
		chaos_add(c, _i, "ok", 0);
	must_sql(c->db, "ALTER DATABASE %s SET enable_hashjoin = off; ALTER DATABASE %s SET enable_mergejoin = off;"
	         "ALTER DATABASE %s SET enable_material = off; ALTER DATABASE %s SET enable_hashagg = off; ALTER DATABASE %s SET enable_sort = off",
	         c->db->name, c->db->name, c->db->name, c->db->name, c->db->name);
	chaos_start(c, 0, NULL);
	chaos_settle(c);
	chaos_judge(c);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("chaos");
	TCase *tc = story_case(s, "storm");

	seed = (unsigned)number_of("CHAOS_SEED", 1);
	seconds = (unsigned)number_of("CHAOS_SECONDS", 5);
	lanes = (unsigned)number_of("CHAOS_LANES", 4);
	if (lanes < 1 || lanes > LANES_MAX) {
		fprintf(stderr, "LANES: expected 1 to %d workers\n", LANES_MAX);
		return EXIT_FAILURE;
	}
	faults = chaos_faults(getenv("CHAOS_FAULTS"));
	tcase_set_timeout(tc, seconds + 170);
	tcase_add_test(tc, a_storm_loses_nothing_and_doubles_nothing);

	/* Odd numbers are serve, from 2 on an application's table (chaos_queue). */
	tc = story_case(s, "frozen");
	tcase_add_loop_test(tc, a_frozen_worker_comes_back_with_a_result, 0, 1);
	tcase_add_loop_test(tc, a_frozen_worker_comes_back_with_a_result, 3, 4);
	tc = story_case(s, "unheard");
	tcase_add_loop_test(tc, a_claim_is_not_heard_of, 1, 3);
	tcase_add_loop_test(tc, a_result_is_stored_and_nobody_hears_of_it, 1, 3);
	tc = story_case(s, "refused");
	tcase_add_loop_test(tc, results_wait_for_the_database, 1, 3);
	tcase_add_loop_test(tc, results_wait_for_the_database_and_the_worker_is_killed, 2, 3);
	tc = story_case(s, "stop");
	tcase_add_loop_test(tc, a_handler_outlasts_the_stop, 0, 1);
	tc = story_case(s, "power");
	tcase_add_loop_test(tc, the_power_fails_behind_a_worker_that_has_left, 0, 1);
	tc = story_case(s, "plans");
	tcase_add_loop_test(tc, a_claim_takes_no_more_than_it_asked_for, 0, 1);
	tcase_add_loop_test(tc, a_claim_takes_no_more_than_it_asked_for, 2, 3);
	return check_main(s);
}
