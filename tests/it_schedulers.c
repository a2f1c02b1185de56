/*
 * it_schedulers.c - the files that we ship for cron, supervisord, systemd and
 * pg_cron, each run or judged by the real thing.
 */
#include <glob.h>
#include <stdio.h>
#include <unistd.h>
#include "story.h"

/* The text with every `from` replaced. */
static char *replaced(const char *text, const char *from, const char *to)
{
	char *all = story_text("%s", "");
	const char *p;

	while ((p = strstr(text, from)) != NULL) {
		all = story_text("%s%.*s%s", all, (int)(p - text), text, to);
		text = p + strlen(from);
	}
	return story_text("%s%s", all, text);
}

static char *shipped(const char *name)
{
	return read_file(source_path(name));
}

static char *videos_settings(struct testdb *db)
{
	return story_text("[unstuck]\ndatabase_url = %s\n"
	                  "[queue videos]\n"
	                  "table = public.videos\nstatus = analysis_status\n"
	                  "ready = METADATA_EXTRACTED METADATA_EXTRACTING\nprocessing = PROCESSING\n"
	                  "done = VIDEO_ANALYSIS_COMPLETED\nfailed = ANALYSIS_FAILED\nreset_to = METADATA_EXTRACTING\n"
	                  "show = source_id\nhandler = /bin/true\n",
	                  db->url);
}

static void make_stuck(struct testdb *db, int id)
{
	must_sql(db, "UPDATE public.videos SET analysis_status = 'PROCESSING',"
	             " updated_at = (now() AT TIME ZONE 'UTC') - interval '2 hours' WHERE id = %d", id);
}

/* ---- cron ---- */

/*
 * A mount namespace of its own shows cron our directories in place of the machine's; the wrapper at
 * the place where the shipped line looks for the program notes each run. A minute is half a second.
 */
static const char cron_script[] =
	"set -e\n"
	"mkdir -p spool/crontabs run bin sbin\n"
	"mount --bind cron.d /etc/cron.d\n"
	"mount --bind crontab /etc/crontab\n"
	"mount --bind spool /var/spool/cron\n"
	"mount --bind run /run\n"
	"mount --bind bin /usr/local/bin\n"
	/* /usr/sbin as it is, with our sendmail in it. */
	"mkdir sbin.real\n"
	"mount --bind /usr/sbin sbin.real\n"
	"for program in sbin.real/*; do ln -s \"$PWD/$program\" sbin/; done\n"
	"rm -f sbin/sendmail\n"
	"cp sendmail sbin/sendmail\n"
	"mount --bind sbin /usr/sbin\n"
	"LD_PRELOAD=$FAKETIME_LIBRARY FAKETIME='+0 x120' exec sbin.real/cron -f -L 15\n";

/* With a pid namespace: whatever cron has started ends with it. */
#define IN_NAMESPACES "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"

static const char *faketime_library(void)
{
	glob_t found;
	const char *path = NULL;

	if (glob("/usr/lib/*/faketime/libfaketime.so.1", 0, NULL, &found) == 0)
		path = story_text("%s", found.gl_pathv[0]);
	globfree(&found);
	return path;
}

static bool can_run_cron(void)
{
	if (geteuid() == 0 && faketime_library() != NULL &&
	    wait_exit(proc_start(NULL, WORDS(IN_NAMESPACES, "true")), 10000) == 0)
		return true;
	printf("skipped: the real cron (it needs root, mount namespaces and libfaketime)\n");
	return false;
}

static size_t runs_of_cron(void)
{
	return file_exists("runs") ? text_count(read_file("runs"), "\n") : 0;
}

START_TEST(cron_puts_a_stuck_row_back_and_mails_only_then)
{
	if (!can_run_cron())
		return;
	struct testdb *db = must_have_db();
	struct proc *cron;

	must_have_table(db, 3);
	make_stuck(db, 2);
	write_file("unstuck.ini", videos_settings(db));
	must_run(0, NULL, "mkdir", "cron.d", "bin");
	write_file("crontab", "");
	/* What an administrator writes into the file: where the settings are. The rest is as shipped. */
	write_filef("cron.d/unstuck", "UNSTUCK_CONFIG=%s\n%s", test_path("unstuck.ini"), shipped("cron/unstuck.cron"));
	write_script("bin/unstuck-recover", story_text("#!/bin/sh\n%s \"$@\"\nstatus=$?\necho \"$*: $status\" >>%s\n"
	                                               "exit $status\n",
	                                               build_path("unstuck-recover"), test_path("runs")));
	write_script("sendmail", story_text("#!/bin/sh\ncat >>%s\n", test_path("mail")));
	write_file("cron.sh", cron_script);

	cron = must_start((&(struct proc_options){ .env = WORDS(story_text("FAKETIME_LIBRARY=%s", faketime_library())) }),
	                  IN_NAMESPACES, "sh", "cron.sh");
	must_become(db, "SELECT analysis_status FROM videos WHERE id = 2", "METADATA_EXTRACTING", 30000);
	must_equal(db, "SELECT count(*) FROM unstuck.recoveries WHERE job_id = '2' AND action = 'reset'", "1");
	must_happen(runs_of_cron() >= 1 && file_exists("mail") && strstr(read_file("mail"), "yt-2") != NULL, 20000);
	ck_assert_uint_eq(text_count(read_file("mail"), "Subject: "), 1);

	/* Two more runs find nothing; the second has begun after the first one's mail would have gone. */
	size_t before = runs_of_cron();
	must_happen(runs_of_cron() >= before + 2, 45000);
	ck_assert_uint_eq(text_count(read_file("mail"), "Subject: "), 1);
	ck_assert_uint_eq(text_count(read_file("runs"), "--yes --quiet: 0\n"), runs_of_cron());
	proc_signal(cron, SIGKILL);	/* the first process of a namespace hears nothing else */
	must_exit(cron, 128 + SIGKILL, 5000);
}
END_TEST

/* ---- supervisord ---- */

static const char supervisord_head[] =
	"[unix_http_server]\nfile=%1$s/supervisor.sock\nchmod=0700\n"
	"[supervisord]\nlogfile=%1$s/supervisord.log\npidfile=%1$s/supervisord.pid\nchildlogdir=%1$s\nnodaemon=true\n%2$s"
	"[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
	"[supervisorctl]\nserverurl=unix://%1$s/supervisor.sock\n";

START_TEST(supervisord_starts_restarts_and_stops_the_worker_under_load)
{
	struct testdb *db = must_have_db();
	char *section = shipped("worker/supervisord.conf");

	section = replaced(section, "/usr/local/bin/unstuck-worker", build_path("unstuck-worker"));
	section = replaced(section, "directory=/", story_text("directory=%s", test_dir()));
	section = replaced(section, "/var/log/", story_text("%s/", test_dir()));
	write_file("supervisord.conf", story_text("%s%s", story_text(supervisord_head, test_dir(),
	                                                             geteuid() == 0 ? "user=root\n" : ""), section));
	write_filef("unstuck.ini", "[unstuck]\ndatabase_url = %s\n"
	                           "[worker]\nheartbeat = 500ms\nworker_timeout = 2s\nrecover_every = 1s\ngraceful_timeout = 20s\n"
	                           "[queue load]\nhandler = sleep 0.5\nmax_attempts = 5\n",
	            db->url);
	must_sql(db, "SELECT unstuck.enqueue('load') FROM generate_series(1, 2000)");

	struct proc *supervisord = must_start(NULL, "supervisord", "-c", "supervisord.conf");
	must_become(db, "SELECT count(*) > 0 FROM unstuck.jobs WHERE status = 'COMPLETED'", "t", 20000);
	/* Longer than startsecs: from then on an end is no failed start. */
	must_happen(strstr(read_file("supervisord.log"), "entered RUNNING state") != NULL, 20000);

	/* Killed: another one is there, and the rows of the first come back. */
	const char *worker = sql_value(db, "SELECT worker_id FROM unstuck.workers");
	kill((pid_t)sql_int(db, "SELECT pid FROM unstuck.workers"), SIGKILL);
	must_become(db, story_text("SELECT count(*) FROM unstuck.workers WHERE worker_id <> '%s'", worker), "1", 20000);
	must_become(db, story_text("SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING' AND worker_id = '%s'",
	                           worker), "0", 30000);
	must_become(db, "SELECT count(*) FROM unstuck.workers", "1", 20000);

	/* Stopped while jobs run: they finish, and nothing is left. */
	must_become(db, "SELECT count(*) > 0 FROM unstuck.jobs WHERE status = 'PROCESSING'", "t", 20000);
	must_run(0, NULL, "supervisorctl", "-c", "supervisord.conf", "stop", "all");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "0");
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "0");
	must_equal(db, "SELECT count(*) > 0 FROM unstuck.jobs WHERE status = 'PENDING'", "t");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE failures > 0", "0");
	const char *log = read_file("unstuck-worker.log");
	ck_assert_msg(strstr(log, "event=shutdown reason=signal.term") != NULL, "%s", log);

	proc_signal(supervisord, SIGTERM);
	must_exit(supervisord, 0, 20000);
}
END_TEST

START_TEST(supervisord_waits_longer_than_the_worker_may_take)
{
	const char *section = shipped("worker/supervisord.conf");

	/* The defaults of graceful_timeout and force_delay, and time to hand the rows back. */
	ck_assert_ptr_nonnull(strstr(section, "\nstopwaitsecs=330\n"));
	ck_assert_ptr_nonnull(strstr(section, "\nstopsignal=TERM\n"));
	ck_assert_ptr_nonnull(strstr(section, "\nstopasgroup=false\n"));
	ck_assert_ptr_nonnull(strstr(section, "\nkillasgroup=true\n"));
}
END_TEST

/* ---- systemd ---- */

static const char *const units[] = { "cron/unstuck-recover.service", "cron/unstuck-recover.timer",
                                     "worker/unstuck-worker.service" };

/* All units in one directory, so that the timer finds its service. Returns its systemd-analyze. */
static struct proc *verify_units(const char *unit, const char *wrong, const char *wrong_as)
{
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		const char *text = replaced(shipped(units[i]), "/usr/local/bin", build_path(""));

		write_file(strrchr(units[i], '/') + 1, wrong != NULL ? replaced(text, wrong, wrong_as) : text);
	}
	/* Without the option an unknown key is but a warning. */
	return proc_start(NULL, WORDS("systemd-analyze", "verify", "--man=no", "--recursive-errors=yes",
	                              story_text("./%s", strrchr(unit, '/') + 1)));
}

START_TEST(systemd_takes_the_units)
{
	struct proc *analyze = verify_units(units[_i], NULL, NULL);

	must_exit(analyze, 0, 30000);
	ck_assert_str_eq(proc_err(analyze), "");
}
END_TEST

START_TEST(systemd_would_have_refused_a_wrong_unit)
{
	ck_assert_int_ne(proc_wait(verify_units("worker/unstuck-worker.service", "KillMode=mixed", "KillMode=mixd"), 30000), 0);
	ck_assert_int_ne(proc_wait(verify_units("cron/unstuck-recover.timer", "*:0/10", "*:0/nonsense"), 30000), 0);
}
END_TEST

/* The number that systemd gives: 0 is a fortress, 100 root with everything. */
START_TEST(systemd_finds_the_units_exposed_no_more_than_said)
{
	static const struct { const char *unit; int most; } exposures[] = {
		{ "worker/unstuck-worker.service", 45 }, { "cron/unstuck-recover.service", 30 },
	};
	const char *most = story_text("--threshold=%d", exposures[_i].most);

	must_run(0, NULL, "systemd-analyze", "security", "--offline=yes", "--no-pager", most, source_path(exposures[_i].unit));
	/* And it would say so. */
	ck_assert_int_ne(wait_exit(must_start(NULL, "systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=5",
	                                      source_path(exposures[_i].unit)), 30000), 0);
}
END_TEST

/* In a root of their own: the real programs make the user and its directories there. */
START_TEST(systemd_makes_the_user_and_the_directories)
{
	const char *root = test_path("root");

	if (geteuid() != 0) {
		printf("skipped: sysusers and tmpfiles (they need root)\n");
		return;
	}
	must_run(0, NULL, "mkdir", "-p", "root/etc", "root/run", "root/var/lib", "root/var/log");
	must_run(0, NULL, "systemd-sysusers", story_text("--root=%s", root), source_path("worker/unstuck.sysusers"));
	ck_assert_ptr_nonnull(strstr(read_file("root/etc/passwd"), "unstuck:x:"));
	must_run(0, NULL, "systemd-tmpfiles", "--create", story_text("--root=%s", root), source_path("worker/unstuck.tmpfiles"));
	ck_assert_str_eq(proc_out(must_run(0, NULL, "stat", "-c", "%a", "root/run/unstuck", "root/var/lib/unstuck",
	                                   "root/var/log/unstuck")), "755\n700\n750\n");
}
END_TEST

START_TEST(installed_files_name_the_installed_programs)
{
	const char *root = test_path("root");

	must_run(0, NULL, "make", "-s", "-C", source_path("."), "install", "DESTDIR=", story_text("PREFIX=%s", root),
	         story_text("BUILD=%s", build_path("")));
	static const char *const installed[] = { "share/unstuck/unstuck.cron", "share/unstuck/supervisord.conf",
	                                         "lib/systemd/system/unstuck-recover.service",
	                                         "lib/systemd/system/unstuck-worker.service" };
	for (size_t i = 0; i < sizeof installed / sizeof *installed; i++) {
		const char *text = read_file(story_text("root/%s", installed[i]));

		ck_assert_msg(strstr(text, story_text("%s/bin/unstuck-", root)) != NULL, "%s", text);
		ck_assert_msg(strstr(text, "/usr/local/") == NULL, "%s", text);
	}
	must_run(0, NULL, story_text("%s/bin/unstuck-recover", root), "--version");
	ck_assert(file_exists("root/share/bash-completion/completions/unstuck-recover"));
	ck_assert_int_eq(file_exists("root/share/man/man5/unstuck.ini.5"), access(build_path("man/unstuck.ini.5"), R_OK) == 0);
	must_run(0, NULL, "make", "-s", "-C", source_path("."), "uninstall", "DESTDIR=", story_text("PREFIX=%s", root));
	ck_assert(!file_exists("root/share/unstuck") && !file_exists("root/bin/unstuck-recover"));
	ck_assert(!file_exists("root/share/man/man5/unstuck.ini.5") &&
	          !file_exists("root/share/bash-completion/completions/unstuck-recover"));
	ck_assert(!file_exists("root/lib/systemd/system/unstuck-worker.service") && !file_exists("root/lib/sysusers.d/unstuck.conf"));
}
END_TEST

/* ---- pg_cron ---- */

/* What pg_cron does with cron.schedule(), but for the clock: it keeps the statement, as text. */
static void stand_in_for_pg_cron(struct testdb *db)
{
	must_sql(db, "CREATE SCHEMA cron;"
	             "CREATE TABLE cron.job (jobname text PRIMARY KEY, schedule text, command text);"
	             "CREATE FUNCTION cron.schedule(text, text, text) RETURNS bigint LANGUAGE sql AS"
	             " 'INSERT INTO cron.job VALUES ($1, $2, $3) RETURNING 1::bigint'");
	testdb_sql(db, shipped("cron/pg_cron.sql"));
}

static void run_scheduled(struct testdb *db, const char *job)
{
	testdb_sql(db, testdb_value(db, story_text("SELECT command FROM cron.job WHERE jobname = '%s'", job)));
}

static const char *const ready_to_claim = "SELECT string_agg(id::text, ' ' ORDER BY id) FROM unstuck.jobs WHERE status = 'PENDING'";

START_TEST(pg_cron_puts_back_what_no_living_worker_has)
{
	struct testdb *db = must_have_db();

	stand_in_for_pg_cron(db);
	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 5)");
	must_sql(db, "UPDATE unstuck.jobs SET status = 'PROCESSING', claim_id = id, worker_id = gen_random_uuid(),"
	             " claimed_at = now() - interval '2 hours', updated_at = now() - interval '2 hours'");
	/* 1 is stuck; 2 has just been claimed; 3 has a living worker; 4 was recovered too often; 5 a silent one. */
	must_sql(db, "UPDATE unstuck.jobs SET claimed_at = now() WHERE id = 2;"
	             "UPDATE unstuck.jobs SET recoveries = 3 WHERE id = 4;"
	             "INSERT INTO unstuck.workers (worker_id, host, pid, version, heartbeat_s, timeout_s, beat_at)"
	             " SELECT worker_id, 'h', 1, '1', 10, 60, CASE id WHEN 3 THEN now() ELSE now() - interval '2 hours' END"
	             " FROM unstuck.jobs WHERE id IN (3, 5)");
	run_scheduled(db, "unstuck-jobs");
	must_equal(db, ready_to_claim, "1");	/* not 5: this server has not been up for an hour */
	must_equal(db, "SELECT status FROM unstuck.jobs WHERE id = 4", "FAILED");
	must_equal(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "3");
	must_equal(db, "SELECT string_agg(job_id || action || queue, ' ' ORDER BY job_id) FROM unstuck.recoveries",
	           "1resetmail 4failmail");
	run_scheduled(db, "unstuck-jobs");
	must_equal(db, "SELECT count(*) FROM unstuck.recoveries", "2");
}
END_TEST

START_TEST(pg_cron_puts_back_rows_of_an_application)
{
	struct testdb *db = must_have_db();

	stand_in_for_pg_cron(db);
	must_have_table(db, 5);
	for (int id = 1; id <= 4; id++)
		make_stuck(db, id);
	must_sql(db, "UPDATE public.videos SET analysis_status = 'PROCESSING' WHERE id = 5");
	/* 1 is known to nobody; 2 has a dead worker, 3 a living one; 4 was recovered too often; 5 is fresh. */
	must_sql(db, "INSERT INTO unstuck.claims (source, job_id, queue, claim_id, worker_id, state, recoveries)"
	             " SELECT 'public.videos', id, 'videos', 7, gen_random_uuid(), 'ACTIVE', CASE id WHEN '4' THEN 3 ELSE 0 END"
	             " FROM unnest('{2,3,4}'::text[]) AS id;"
	             "INSERT INTO unstuck.workers (worker_id, host, pid, version, heartbeat_s, timeout_s)"
	             " SELECT worker_id, 'h', 1, '1', 10, 60 FROM unstuck.claims WHERE job_id = '3'");
	run_scheduled(db, "unstuck-videos");
	must_equal(db, "SELECT string_agg(id || analysis_status, ' ' ORDER BY id) FROM public.videos",
	           "1METADATA_EXTRACTING 2METADATA_EXTRACTING 3PROCESSING 4ANALYSIS_FAILED 5PROCESSING");
	must_equal(db, "SELECT string_agg(job_id || state, ' ' ORDER BY job_id) FROM unstuck.claims",
	           "2RECOVERED 3ACTIVE 4DEAD");
	must_equal(db, "SELECT string_agg(job_id || action, ' ' ORDER BY job_id) FROM unstuck.recoveries",
	           "1reset 2reset 4fail");
	must_equal(db, "SELECT updated_at > (now() AT TIME ZONE 'UTC') - interval '1 minute' FROM videos WHERE id = 1", "t");
}
END_TEST

START_TEST(pg_cron_needs_no_schema_of_ours)
{
	struct testdb *db = must_have_empty_db();

	stand_in_for_pg_cron(db);
	must_have_table(db, 3);
	make_stuck(db, 1);
	must_sql(db, "UPDATE public.videos SET analysis_status = 'PROCESSING' WHERE id = 2");
	run_scheduled(db, "unstuck-videos-by-age");
	must_equal(db, "SELECT string_agg(id || analysis_status, ' ' ORDER BY id) FROM public.videos",
	           "1METADATA_EXTRACTING 2PROCESSING 3METADATA_EXTRACTED");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("schedulers");
	TCase *tc = story_case(s, "cron");

	tcase_add_test(tc, cron_puts_a_stuck_row_back_and_mails_only_then);
	tcase_set_timeout(tc, 120);

	tc = story_case(s, "supervisord");
	tcase_add_test(tc, supervisord_waits_longer_than_the_worker_may_take);
	tcase_add_test(tc, supervisord_starts_restarts_and_stops_the_worker_under_load);
	tcase_set_timeout(tc, 120);

	tc = story_case(s, "systemd");
	tcase_add_loop_test(tc, systemd_takes_the_units, 0, (int)(sizeof units / sizeof *units));
	tcase_add_test(tc, systemd_would_have_refused_a_wrong_unit);
	tcase_add_loop_test(tc, systemd_finds_the_units_exposed_no_more_than_said, 0, 2);
	tcase_add_test(tc, systemd_makes_the_user_and_the_directories);
	tcase_add_test(tc, installed_files_name_the_installed_programs);

	tc = story_case(s, "pg_cron");
	tcase_add_test(tc, pg_cron_puts_back_what_no_living_worker_has);
	tcase_add_test(tc, pg_cron_puts_back_rows_of_an_application);
	tcase_add_test(tc, pg_cron_needs_no_schema_of_ours);
	return check_main(s);
}
