/*
 * it_nomem.c - every allocation of a program fails in turn, its own and its libraries': it says so in one line and ends,
 * or goes on. It never crashes, never hangs, and what it stores is right.
 *
 * Here a stride of them; NOMEM_ALL=1 tries each one, alone and with all that follow (minutes); NOMEM_ALL=K those from the K-th on.
 */
#include "story.h"

#include <stdio.h>

#include "worker_story.h"

#define TRIES 24		/* of each scene, spread over all its allocations */
#define AT_ONCE 4

/* The preloaded library and that of the sanitizer want the same names. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAN_PRELOAD 0
#else
#define CAN_PRELOAD 1
#endif

static const char *const enqueue[] = { "unstuckctl", "enqueue", "mail", "{\"a\": [1, 2]}", NULL };
static const char *const queues[] = { "unstuckctl", "queues", "--json", NULL };
static const char *const replay[] = { "unstuckctl", "spool", "replay", NULL };
static const char *const look[] = { "unstuck-recover", "--dry-run", "--json", NULL };
static const char *const recover[] = { "unstuck-recover", "--yes", NULL };
static const char *const worker[] = { "unstuck-worker", "--drain", NULL };
static const char *const *const scenes[] = { enqueue, queues, replay, look, recover, worker };
#define SCENES (int)(sizeof scenes / sizeof *scenes)

static struct proc *start(const char *const *argv, const char *how, unsigned long k)
{
	return proc_start(&(struct proc_options){ .env = WORDS(story_text("LD_PRELOAD=%s", build_path("tests/preload/nomem.so")),
	                                                       story_text("%s=%lu", how, k), story_text("NOMEM_COUNT=%s", test_path("count"))) },
	                  argv);
}

/* A status that the manual has; and one that is not 0 has a word with it. */
static void must_end_well(struct proc *p, unsigned long k)
{
	static const int allowed[] = { 0, 1, 64, 69, 75, 78 };
	uint64_t until = story_until(20000);
	int status;

	while (proc_running(p))
		if (!story_wait(until))
			story_fail("without allocation %lu it does not end, and says: %.3000s", k, proc_err(p));
	status = proc_wait(p, 0);
	for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
		if (status == allowed[i] && (status == 0 || *proc_err(p) != '\0'))
			return;
	story_fail("without allocation %lu it ended with %d and said: %s", k, status, proc_err(p));
}

/* One job that waits, one whose worker is gone, one whose result lies in the spool. */
static struct testdb *must_have_scene(void)
{
	struct testdb *db = must_have_db();

	settings(db, "[worker]\nheartbeat = 100ms\nworker_timeout = 300ms\nrecover_every = 0\ngraceful_timeout = 2s\n"
	             "[queue mail]\nhandler = %s\noutput = text\n[queue other]\nhandler = true\n", script("ok", "echo \"result of $UNSTUCK_JOB_ID\""));
	must_sql(db, "CREATE TABLE audit (id bigint); CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS"
	             " $$BEGIN INSERT INTO audit VALUES (NEW.id); RETURN NEW; END$$;"
	             "CREATE TRIGGER audit AFTER UPDATE ON unstuck.jobs FOR EACH ROW WHEN (NEW.status = 'COMPLETED')"
	             " EXECUTE FUNCTION audit()");
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	must_run(128 + SIGKILL, &(struct proc_options){ .env = WORDS("UNSTUCK_FAIL=before_store:abort") },
	         build_path("fail/unstuck-worker"), "--drain");
	must_sql(db, "SELECT unstuck.enqueue('mail'), unstuck.enqueue('other');"
	             "UPDATE unstuck.jobs SET status = 'PROCESSING', claim_id = 1000, attempts = 1,"
	             " worker_id = '11111111-1111-4111-8111-111111111111' WHERE queue = 'other'");
	return db;
}

static const char *const alone[] = { "NOMEM_AT", "NOMEM_AT" }, *const onwards[] = { "NOMEM_FROM", "NOMEM_FROM" },
	*const by_turns[] = { "NOMEM_AT", "NOMEM_FROM" };

static void must_survive(struct testdb *db, const char *const *argv, const char *const how[2], unsigned long first, unsigned long n,
                         unsigned long step)
{
	struct proc *p[AT_ONCE];

	for (unsigned long k = first; k <= n; k += AT_ONCE * step) {
		must_sql(db, "SELECT unstuck.enqueue('mail')");
		for (unsigned long i = 0; i < AT_ONCE; i++)
			p[i] = start(argv, how[i % 2], k + i * step);
		for (unsigned long i = 0; i < AT_ONCE; i++)
			must_end_well(p[i], k + i * step);
	}
}

START_TEST(every_allocation_may_fail)
{
	const char *all = getenv("NOMEM_ALL"), *const *argv = scenes[_i];
	unsigned long n, first = all != NULL ? strtoul(all, NULL, 10) : 1;
	struct testdb *db = must_have_scene();

	must_end_well(start(argv, "NOMEM_AT", 0), 0);
	n = strtoul(read_file("count"), NULL, 10);
	ck_assert_uint_gt(n, 100);
	/* A worker whose libpq never has any waits for better times: that is not to be waited for. */
	if (all != NULL)
		printf("%s %s: %lu allocations\n", argv[0], argv[1], n);
	if (all == NULL)
		must_survive(db, argv, argv == worker ? alone : by_turns, 1, n, n / TRIES);
	else
		must_survive(db, argv, alone, first, n, 1);
	if (all != NULL && argv != worker)
		must_survive(db, argv, onwards, first, n, 1);
	do {
		must_run(0, NULL, "unstuck-recover", "--yes");
		must_run(0, NULL, "unstuck-worker", "-q", "--drain");
	} while (sql_int(db, "SELECT count(*) FROM unstuck.workers") > 0);
	must_equal(db, "SELECT string_agg(concat_ws(' ', id, status, result, last_error), ', ') FROM unstuck.jobs WHERE status <> 'COMPLETED'"
	               " OR (queue = 'mail' AND result IS DISTINCT FROM to_jsonb('result of ' || id))", "NULL");
	must_equal(db, "SELECT count(*) - count(DISTINCT id) FROM audit", "0");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE queue = 'mail' AND payload NOT IN ('{}', '{\"a\": [1, 2]}')", "0");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("nomem");
	TCase *tc = story_case(s, "allocations");

	tcase_set_timeout(tc, getenv("NOMEM_ALL") != NULL ? 3600 : 120);
	if (CAN_PRELOAD)
		tcase_add_loop_test(tc, every_allocation_may_fail, 0, SCENES);
	else
		printf("skipped: failing allocations (a sanitizer has them)\n");
	return check_main(s);
}
