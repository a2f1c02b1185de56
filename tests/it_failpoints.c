/*
 * it_failpoints.c - killed at each step of its life, or told at it that the step has failed: nothing is lost, nothing
 * is stored twice, and what was on the disk is not run again. The steps are those of common/failpoint.h, all of them.
 *
 * One step is one queue with one job, one spool and one worker; all of them go on at the same time.
 */
#include "story.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "failpoint.h"
#include "queue_story.h"
#include "worker_story.h"

enum where { IN_worker, IN_replay, IN_rescue, IN_recover, IN_question };

static const struct { const char *name; bool can_fail; enum where where; } points[] = {
#define X(name, can_fail, where) { #name, can_fail, IN_##where },
	FAILPOINTS(X)
#undef X
};

/* Between the start of the handler and its sealed result nothing can know what it did: it may run again. */
static bool may_run_again(enum failpoint p)
{
	return (p >= FAIL_after_launch && p <= FAIL_spool_sync) || p == FAIL_reconcile_reply;
}

static const char *failing(const char *program)
{
	return build_path(story_text("fail/%s", program));
}

/* ---- a queue for each step and mode ---- */

#define MODES 2
#define STEPS_MAX (MODES * FAILPOINTS_LEN)

struct step {
	enum failpoint point;
	const char *queue, *spool;
	struct proc *p;
};
static struct step steps[STEPS_MAX];
static size_t steps_len;

static const char *const modes[MODES] = { "exec", "serve" };

/* Each notes its start in starts.QUEUE; a beat and a reconcile fit into its time. */
static const char *handler(size_t mode)
{
	if (mode == 0)
		return script("once", "echo >> starts.$UNSTUCK_QUEUE; sleep 0.4; echo \"{\\\"n\\\": $UNSTUCK_JOB_ID}\"");
	return script("server", "while read -r line; do id=${line#*\\\"id\\\":\\\"}; id=${id%%\\\"*}\n"
	                        "echo >> starts.$UNSTUCK_QUEUE; sleep 0.4\n"
	                        "echo \"{\\\"id\\\":\\\"$id\\\",\\\"ok\\\":true,\\\"result\\\":{\\\"n\\\": $id}}\"; done");
}

/* Every change into the final state, so that a second one cannot hide. */
static struct testdb *must_have_steps(bool (*wanted)(enum failpoint p))
{
	struct testdb *db = must_have_db();
	char *text = story_text("[worker]\nheartbeat = 300ms\nworker_timeout = 900ms\nrecover_every = 0\n"
	                        "graceful_timeout = 5s\n[recover]\ntimeout = 1h\n");

	steps_len = 0;
	for (enum failpoint p = 0; p < FAILPOINTS_LEN; p++)
		for (size_t mode = 0; wanted(p) && mode < MODES; mode++) {
			struct step *s = &steps[steps_len++];

			*s = (struct step){ .point = p, .queue = story_text("%s_%s", points[p].name, modes[mode]) };
			s->spool = story_text("UNSTUCK_WORKER_SPOOL_DIR=%s", test_path(story_text("spool.%s", s->queue)));
			text = story_text("%s[queue %s]\nmode = %s\nspool = always\nhandler = %s\n", text, s->queue, modes[mode], handler(mode));
			must_sql(db, "SELECT unstuck.enqueue('%s')", s->queue);
		}
	settings(db, "%s", text);
	must_sql(db, "CREATE TABLE audit (id bigint); CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS"
	             " $$BEGIN INSERT INTO audit VALUES (NEW.id); RETURN NEW; END$$;"
	             "CREATE TRIGGER audit AFTER UPDATE ON unstuck.jobs FOR EACH ROW WHEN (NEW.status = 'COMPLETED')"
	             " EXECUTE FUNCTION audit()");
	return db;
}

static const char *fail_at(enum failpoint p, const char *action)
{
	return story_text("UNSTUCK_FAIL=%s:%s", points[p].name, action);
}

static struct proc *start_worker(const struct step *s, const char *fail)
{
	return proc_start(&(struct proc_options){ .env = WORDS(s->spool, fail) },
	                  WORDS(failing("unstuck-worker"), "run", s->queue, "--drain"));
}

static void all_must_exit(int status)
{
	for (struct step *s = steps; s < steps + steps_len; s++) {
		if (proc_wait(s->p, 40000) != status)
			printf("at step %s:\n", s->queue);
		must_exit(s->p, status, 40000);
	}
}

/* A worker that has just died is not silent yet. */
static void must_recover(struct testdb *db)
{
	do
		must_run(0, NULL, failing("unstuck-recover"), "--yes");
	while (sql_int(db, "SELECT count(*) FROM unstuck.workers") > 0);
}

/* What every story here ends with. */
static void must_be_whole(struct testdb *db)
{
	must_equal(db, "SELECT string_agg(concat_ws(' ', queue, status, result), ', ') FROM unstuck.jobs"
	               " WHERE status <> 'COMPLETED' OR result <> jsonb_build_object('n', id)", "NULL");
	must_equal(db, "SELECT count(*) - count(DISTINCT id) FROM audit", "0");
	must_equal(db, "SELECT count(*) FROM audit", story_text("%zu", steps_len));
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "0");
	must_equal(db, "SELECT count(*) FROM unstuck.batches", "0");
	for (struct step *s = steps; s < steps + steps_len; s++) {
		size_t starts = text_count(read_file(story_text("starts.%s", s->queue)), "\n");

		if (starts != 1 && (starts != 2 || !may_run_again(s->point)))
			story_fail("%s: its handler ran %zu times", s->queue, starts);
		if (rmdir(strchr(s->spool, '=') + 1) < 0 && errno != ENOENT)
			story_fail("%s: something is left in its spool", s->queue);
	}
}

/* ---- the worker is killed ---- */

static bool of_worker(enum failpoint p)
{
	return points[p].where == IN_worker;
}

START_TEST(a_worker_killed_at_any_step_loses_and_doubles_nothing)
{
	struct testdb *db = must_have_steps(of_worker);

	for (struct step *s = steps; s < steps + steps_len; s++)
		s->p = start_worker(s, fail_at(s->point, "abort"));
	all_must_exit(128 + SIGKILL);
	for (struct step *s = steps; s < steps + steps_len; s++)
		s->p = start_worker(s, NULL);
	all_must_exit(0);
	must_recover(db);
	must_run(0, NULL, failing("unstuck-worker"), "--drain");
	must_be_whole(db);
}
END_TEST

/* A file that nothing was printed into is let go at the end of its job, but not one that holds the note of that end. */
START_TEST(a_noted_end_counts_until_the_result_is_sealed)
{
	struct testdb *db = must_have_db();
	struct proc_options killed = { .env = WORDS(fail_at(FAIL_before_seal, "abort")) };

	must_sql(db, "SELECT unstuck.enqueue('mail')");
	settings(db, "[queue mail]\non_worker_death = finish\nhandler = true\n");
	must_exit(must_start(&killed, failing("unstuck-worker"), "--drain"), 128 + SIGKILL, 20000);
	must_run(0, NULL, "unstuckctl", "spool", "replay");
	must_equal(db, "SELECT status || ' ' || result FROM unstuck.jobs", "COMPLETED null");
}
END_TEST

/* ---- what a replay does is done again ---- */

static bool of_replay(enum failpoint p)
{
	return points[p].where == IN_replay;
}

START_TEST(a_replay_killed_at_any_step_is_done_again)
{
	struct testdb *db = must_have_steps(of_replay);

	for (struct step *s = steps; s < steps + steps_len; s++)
		s->p = start_worker(s, fail_at(FAIL_before_store, "abort"));
	all_must_exit(128 + SIGKILL);
	for (struct step *s = steps; s < steps + steps_len; s++)
		s->p = proc_start(&(struct proc_options){ .env = WORDS(s->spool, fail_at(s->point, "abort")) },
		                  WORDS(failing("unstuckctl"), "spool", "replay"));
	all_must_exit(128 + SIGKILL);
	for (struct step *s = steps; s < steps + steps_len; s++)
		s->p = proc_start(&(struct proc_options){ .env = WORDS(s->spool) }, WORDS(failing("unstuckctl"), "spool", "replay"));
	all_must_exit(0);
	must_recover(db);
	must_be_whole(db);
}
END_TEST

/* ---- a step says that it failed ---- */

static bool can_fail(enum failpoint p)
{
	return of_worker(p) && points[p].can_fail;
}

START_TEST(a_worker_survives_a_failure_at_any_step)
{
	struct testdb *db = must_have_steps(can_fail);

	for (struct step *s = steps; s < steps + steps_len; s++)
		s->p = start_worker(s, fail_at(s->point, "error"));
	for (struct step *s = steps; s < steps + steps_len; s++)	/* after a failed sync no more is claimed: that is not all done */
		must_exit(s->p, s->point == FAIL_spool_sync ? 1 : 0, 40000);
	must_be_whole(db);
	for (struct step *s = steps; s < steps + steps_len; s++)	/* one run was enough */
		must_equal(db, story_text("SELECT attempts FROM unstuck.jobs WHERE queue = '%s'", s->queue), "1");
}
END_TEST

/* ---- recovering is killed ---- */

/* Rows of a worker that nobody knows, more than one batch of them. */
static struct testdb *must_have_stuck(void)
{
	struct testdb *db = must_have_db();

	settings(db, "[worker]\nrecover_every = 200ms\n[recover]\nbatch = 2\n[queue mail]\nhandler = true\n");
	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 5);"
	             "UPDATE unstuck.jobs SET status = 'PROCESSING', claim_id = id, worker_id = '%s', claimed_at = now(), attempts = 1", W1);
	return db;
}

/* Each row was put back once, and the ledger says so. */
static void must_be_recovered(struct testdb *db)
{
	must_equal(db, "SELECT count(*) || ' ' || sum(recoveries) || ' ' || max(recoveries) FROM unstuck.jobs WHERE status = 'PENDING'", "5 5 1");
	must_equal(db, "SELECT count(*) || ' ' || count(DISTINCT job_id) FROM unstuck.recoveries", "5 5");
}

START_TEST(a_recover_killed_at_any_step_is_done_again)
{
	struct testdb *db;

	if (points[_i].where != IN_recover)
		return;
	db = must_have_stuck();
	must_run(128 + SIGKILL, &(struct proc_options){ .env = WORDS(fail_at((enum failpoint)_i, "abort")) },
	         failing("unstuck-recover"), "--yes");
	must_run(0, NULL, failing("unstuck-recover"), "--yes");
	must_be_recovered(db);
}
END_TEST

START_TEST(an_interrupt_just_before_the_answer_is_read_is_heard)
{
	struct testdb *db = must_have_stuck();
	struct proc_options at_terminal = { .tty = TTY_ALL, .env = WORDS(fail_at(FAIL_recover_asked, "stop")) };
	struct proc *p = must_start(&at_terminal, failing("unstuck-recover"));

	must_print(p, "[y/N]");
	must_happen(proc_stopped(p), 10000);
	proc_signal(p, SIGINT);
	proc_signal(p, SIGCONT);
	must_exit(p, 1, 10000);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "5");
}
END_TEST

START_TEST(a_worker_killed_while_it_recovers_has_recovered_each_row_once)
{
	struct testdb *db;

	if (points[_i].where != IN_rescue)
		return;
	db = must_have_stuck();
	must_run(128 + SIGKILL, &(struct proc_options){ .env = WORDS(fail_at((enum failpoint)_i, "abort"), "UNSTUCK_WORKER_POLL_INTERVAL=1h") },
	         failing("unstuck-worker"));
	must_run(0, NULL, failing("unstuck-recover"), "--yes");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE recoveries <> 1", "0");
	must_equal(db, "SELECT count(*) || ' ' || count(DISTINCT job_id) FROM unstuck.recoveries", "5 5");
}
END_TEST

/* ---- a start takes long ---- */

/* As where the program lies on a disk that does not answer. */
static struct proc *start_with_slow_starts(struct testdb *db, int jobs, const char *fail, const char *handler_line)
{
	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, %d)", jobs);
	settings(db, "log_level = debug\n[worker]\nconcurrency = 2\nheartbeat = 300ms\nforce_delay = 300ms\ngraceful_timeout = 300ms\n"
	             "[queue mail]\nhandler = %s\n", handler_line);
	return must_start(&(struct proc_options){ .env = WORDS(story_text("UNSTUCK_FAIL=%s", fail)) }, failing("unstuck-worker"));
}

START_TEST(a_start_that_hangs_holds_up_nobody_and_no_stop)
{
	struct testdb *db = must_have_db();
	struct proc *p = start_with_slow_starts(db, 10, "before_launch:sleep:600000", "true");

	must_become(db, "SELECT string_agg(status || n, ' ' ORDER BY status) FROM (SELECT status, count(*) AS n FROM unstuck.jobs GROUP BY 1) AS s",
	            "COMPLETED9 PROCESSING1", 10000);
	proc_signal(p, SIGTERM);
	must_exit(p, 75, 10000);	/* as with a process that cannot be killed */
	must_equal(db, "SELECT status FROM unstuck.jobs WHERE status <> 'COMPLETED'", "PENDING");
}
END_TEST

START_TEST(a_job_that_starts_is_ended_by_a_stop)
{
	struct testdb *db = must_have_db();
	struct proc *p = start_with_slow_starts(db, 1, "before_launch:sleep:900", script("slow", "exec sleep 1000"));

	must_become(db, "SELECT status FROM unstuck.jobs", "PROCESSING", 10000);
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 10000);
	ck_assert_ptr_nonnull(strstr(proc_err(p), "event=job_start"));
	must_equal(db, "SELECT status || ' ' || failures FROM unstuck.jobs", "PENDING 0");
}
END_TEST

START_TEST(a_job_that_starts_is_ended_when_it_is_cancelled)
{
	struct testdb *db = must_have_db();
	struct proc *p = start_with_slow_starts(db, 1, "before_launch:sleep:900", script("slow", "exec sleep 1000"));

	must_become(db, "SELECT status FROM unstuck.jobs", "PROCESSING", 10000);
	must_run(0, NULL, "unstuckctl", "cancel", "1");
	must_say(p, "event=job_start");
	must_happen(strstr(proc_err(p), "event=claim_lost") != NULL, 10000);
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 10000);
	must_equal(db, "SELECT status FROM unstuck.jobs", "CANCELLED");
}
END_TEST

/* Each of them has ended long before the loop hears that it began. */
START_TEST(an_end_that_is_seen_before_the_start_counts)
{
	struct testdb *db = must_have_db();
	struct proc *p = start_with_slow_starts(db, 6, "after_launch:sleep:200:0", "echo 5");

	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED' AND result = '5' AND attempts = 1", "6", 10000);
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 10000);
	ck_assert_uint_eq(text_count(proc_err(p), "event=job_start"), 6);
}
END_TEST

/* ---- the clock is moved ---- */

/* As after a suspend: every deadline has passed. What people see of the time goes back instead. */
START_TEST(two_hours_pass_at_once)
{
	struct testdb *db = must_have_db();
	struct proc *p;

	must_sql(db, "SELECT unstuck.enqueue('mail', max_attempts => 1)");
	settings(db, "[worker]\nrecover_every = 1h\n[queue mail]\ntimeout = 90m\nhandler = %s\n",
	         script("slow", "echo > started; exec sleep 50"));
	write_file("clock", "0 0");
	p = must_start(&(struct proc_options){ .env = WORDS(story_text("UNSTUCK_CLOCK=%s", test_path("clock"))) }, failing("unstuck-worker"));
	must_happen(file_exists("started"), 10000);
	write_file("clock", "7200000 -86400000");
	must_become(db, "SELECT status || ' ' || last_error FROM unstuck.jobs", "FAILED the handler ran longer than its timeout of 1h30m and was ended", 10000);
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "1", 10000);	/* and it works on */
	proc_signal(p, SIGTERM);
	must_say(p, "event=stopping");
	proc_signal(p, SIGTERM);
	must_exit(p, 0, 10000);
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "0");
}
END_TEST

/* ---- the door itself ---- */

static const struct { const char *fail, *why; } refusals[] = {
	{ "before_lunch:abort", "no such point" },
	{ "before_exit", "the action is" },
	{ "before_exit:explode", "the action is" },
	{ "before_exit:error", "cannot report an error" },
	{ "before_exit:sleep", "sleep:MS" },
	{ "before_exit:sleep:1h", "sleep:MS" },
	{ "before_exit:abort:one", "how often" },
	{ "before_exit:abort:1:2", "point:action[:n]" },
	{ "before_exit:abort,,", "no such point" },
};

START_TEST(a_wrong_plan_is_refused)
{
	struct proc *p = must_run(64, &(struct proc_options){ .env = WORDS(story_text("UNSTUCK_FAIL=%s", refusals[_i].fail)) },
	                          failing("unstuckctl"), "--version");

	ck_assert_ptr_nonnull(strstr(proc_err(p), refusals[_i].why));
}
END_TEST

/* What is installed has no such door. */
START_TEST(an_ordinary_build_knows_nothing_of_it)
{
	static const char *const programs[] = { "unstuck-worker", "unstuck-recover", "unstuckctl" };

	for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
		must_run(1, NULL, "grep", "-qE", "UNSTUCK_(FAIL|CLOCK)", build_path(programs[i]));
		must_run(0, NULL, "grep", "-qE", "UNSTUCK_(FAIL|CLOCK)", failing(programs[i]));
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("failpoints");
	TCase *tc = story_case(s, "killed");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_worker_killed_at_any_step_loses_and_doubles_nothing);
	tcase_add_test(tc, a_noted_end_counts_until_the_result_is_sealed);
	tcase_add_test(tc, a_replay_killed_at_any_step_is_done_again);
	tcase_add_loop_test(tc, a_recover_killed_at_any_step_is_done_again, 0, FAILPOINTS_LEN);
	tcase_add_test(tc, an_interrupt_just_before_the_answer_is_read_is_heard);
	tcase_add_loop_test(tc, a_worker_killed_while_it_recovers_has_recovered_each_row_once, 0, FAILPOINTS_LEN);
	tc = story_case(s, "failing");
	tcase_add_test(tc, a_worker_survives_a_failure_at_any_step);
	tcase_add_test(tc, two_hours_pass_at_once);
	tc = story_case(s, "starting");
	tcase_add_test(tc, a_start_that_hangs_holds_up_nobody_and_no_stop);
	tcase_add_test(tc, a_job_that_starts_is_ended_by_a_stop);
	tcase_add_test(tc, a_job_that_starts_is_ended_when_it_is_cancelled);
	tcase_add_test(tc, an_end_that_is_seen_before_the_start_counts);
	tc = story_case(s, "door");
	tcase_add_loop_test(tc, a_wrong_plan_is_refused, 0, (int)(sizeof refusals / sizeof *refusals));
	tcase_add_test(tc, an_ordinary_build_knows_nothing_of_it);
	return check_main(s);
}
