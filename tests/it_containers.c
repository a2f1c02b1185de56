/*
 * it_containers.c - what the files in deploy/ rely on, run for real where no container can be built: the
 * worker as PID 1, its probes, quiet and then TERM, commands without a shell; and what must fit together in them.
 */
#include "story.h"

#include <stdio.h>
#include <unistd.h>

#include "worker_story.h"

static bool has_namespaces(void)
{
	if (geteuid() == 0 && wait_exit(proc_start(NULL, WORDS("unshare", "--pid", "--fork", "--mount-proc", "true")), 10000) == 0)
		return true;
	printf("skipped: the worker as PID 1 (it needs root and pid namespaces)\n");
	return false;
}

/* The only child of a process, as we number it. */
static pid_t child_of(pid_t pid)
{
	char line[64] = "";
	FILE *f = fopen(story_text("/proc/%d/task/%d/children", (int)pid, (int)pid), "re");

	if (f == NULL || fgets(line, sizeof line, f) == NULL)
		line[0] = '\0';
	if (f != NULL)
		fclose(f);
	return (pid_t)atoi(line);
}

static size_t zombies_below(pid_t pid)
{
	struct proc *ps = must_start(NULL, "ps", "--ppid", story_text("%d", (int)pid), "-o", "stat=");

	wait_exit(ps, 5000);	/* 1 where there is no child at all */
	return text_count(proc_out(ps), "Z");
}

#define inside(status, pid, ...) must_run(status, NULL, "nsenter", "--pid", "--mount", "--target", \
	story_text("%d", (int)(pid)), build_path("unstuck-worker"), __VA_ARGS__, "--pidfile", test_path("w.pid"))

START_TEST(the_worker_is_pid_1_and_reaps_what_handlers_leave)
{
	if (!has_namespaces())
		return;
	struct testdb *db = must_have_db();
	struct proc *p;
	pid_t worker;

	/* Each leaves a process behind, in a session of its own, that ends a moment later. */
	must_sql(db, "SELECT unstuck.enqueue('mail') FROM generate_series(1, 8)");
	settings(db, "[queue mail]\nhandler = %s\n[queue slow]\nhandler = %s\n",
	         script("leaves", "left=left.$UNSTUCK_JOB_ID\n"
	                          "setsid sh -c \"echo > $left; sleep 0.3; echo >> gone\" </dev/null >/dev/null 2>&1 &\n"
	                          "while [ ! -e $left ]; do sleep 0.01; done; echo 1"),
	         script("slow", "while [ ! -e on ]; do sleep 0.02; done; echo 1"));
	p = must_start(NULL, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", build_path("unstuck-worker"), "run",
	               "--pidfile", test_path("w.pid"));
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'", "8", 20000);
	must_equal(db, "SELECT pid FROM unstuck.workers", "1");
	worker = child_of(proc_pid(p));
	must_happen(file_exists("gone") && text_count(read_file("gone"), "\n") == 8, 10000);
	must_happen(zombies_below(worker) == 0, 5000);

	/* The probes, as a container's exec runs them. */
	inside(0, worker, "status", "--live");
	inside(0, worker, "status", "--ready");

	/* From outside its number is of somebody else: nobody is signalled. A namespace between keeps us safe. */
	struct proc *out = must_run(1, NULL, "unshare", "--pid", "--fork", "--mount-proc", build_path("unstuck-worker"), "stop",
	                            "--pidfile", test_path("w.pid"));
	ck_assert_ptr_nonnull(strstr(proc_err(out), "it may be in another container"));
	ck_assert(pid_alive(worker));

	/* preStop, then TERM: what runs finishes, nothing is claimed. */
	must_sql(db, "SELECT unstuck.enqueue('slow')");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "1", 5000);
	inside(0, worker, "quiet");
	must_say(p, "event=quiet");
	inside(1, worker, "status", "--ready");
	inside(0, worker, "status", "--live");
	must_sql(db, "SELECT unstuck.enqueue('mail')");
	kill(worker, SIGTERM);
	must_say(p, "event=stopping");
	write_file("on", "");
	must_exit(p, 0, 10000);
	must_equal(db, "SELECT string_agg(queue || status, ' ' ORDER BY id) FROM unstuck.jobs WHERE id > 8", "slowCOMPLETED mailPENDING");
	must_equal(db, "SELECT count(*) FROM unstuck.workers", "0");
}
END_TEST

/* PID 1 has no default for a signal: a TERM that comes before anybody waits for it must not be lost. */
START_TEST(term_to_pid_1_while_it_waits_for_the_database)
{
	if (!has_namespaces())
		return;
	struct proc *p;

	write_file("unstuck.ini", "[unstuck]\ndatabase_url = postgresql:///x?host=/nowhere\n[queue mail]\nhandler = true\n");
	p = must_start(NULL, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", build_path("unstuck-worker"), "run",
	               "--wait", "1h", "--pidfile", test_path("w.pid"));
	must_happen(file_exists("w.pid"), 5000);
	kill(child_of(proc_pid(p)), SIGTERM);
	must_exit(p, 0, 5000);
	ck_assert_ptr_nonnull(strstr(proc_err(p), "event=shutdown"));
}
END_TEST

/* ---- the files ---- */

static char *deployed(const char *name)
{
	return read_file(source_path(story_text("deploy/%s", name)));
}

/* The number behind a word in a file. */
static int number_behind(const char *text, const char *word)
{
	const char *at = strstr(text, word);

	ck_assert_msg(at != NULL, "no %s", word);
	return atoi(at + strlen(word));
}

START_TEST(what_kills_waits_longer_than_the_worker_may_take)
{
	/* The defaults: 300 s and 10 s, and 10 s for the database to take what is left. */
	ck_assert_int_ge(number_behind(deployed("kubernetes.yaml"), "terminationGracePeriodSeconds: "), 300 + 10 + 10);
	ck_assert_int_eq(number_behind(deployed("kubernetes.yaml"), "graceful_timeout = "), 300);
	ck_assert_int_eq(number_behind(deployed("kubernetes.yaml"), "force_delay = "), 10);
	ck_assert_int_ge(number_behind(deployed("compose.yaml"), "worker:\n    <<: *unstuck\n    # graceful_timeout (300 s) and force_delay"
	                               " (10 s), and then some.\n    stop_grace_period: "), 300 + 10 + 10);
	ck_assert_ptr_nonnull(strstr(deployed("kubernetes.yaml"), "concurrencyPolicy: Forbid\n"));
}
END_TEST

/* A shell between would get the signal. In every file a command is a list of words. */
START_TEST(no_command_goes_through_a_shell)
{
	static const struct { const char *file, *key; } commands[] = {
		{ "Dockerfile", "\nENTRYPOINT " }, { "Dockerfile", "\nCMD " }, { "Dockerfile", "\tCMD " },
		{ "compose.yaml", " command: " }, { "compose.yaml", " entrypoint: " }, { "compose.yaml", " test: " },
		{ "kubernetes.yaml", " command: " }, { "kubernetes.yaml", " args: " },
	};

	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		const char *text = deployed(commands[i].file), *at = text;
		size_t n = 0;

		for (; (at = strstr(at, commands[i].key)) != NULL; n++) {
			at += strlen(commands[i].key);
			ck_assert_msg(*at == '[', "%s: %.40s", commands[i].file, at);
			ck_assert_msg(strncmp(at, "[\"/bin/sh\"", 10) != 0 && strncmp(at, "[\"sh\"", 5) != 0, "%.40s", at);
		}
		ck_assert_msg(n > 0, "no%s in %s", commands[i].key, commands[i].file);
	}
}
END_TEST

START_TEST(the_documents_are_good_yaml)
{
	struct proc *p = must_run(0, NULL, "yamllint", "--strict", "-d",
	                          "{extends: default, rules: {line-length: disable, document-start: disable, truthy: {check-keys: false}}}",
	                          source_path("deploy/compose.yaml"), source_path("deploy/kubernetes.yaml"));

	ck_assert_str_eq(proc_out(p), "");
}
END_TEST

/* Every library that a program of ours asks for is in a package that the image installs. */
START_TEST(the_image_has_the_libraries)
{
	struct proc *p = must_run(0, NULL, "sh", "-c", story_text(
		"for program in worker recover ctl; do\n"
		"	[ $program = ctl ] || program=-$program\n"
		"	for lib in $(readelf -d %s$program | sed -n 's/.*NEEDED.*\\[\\(.*\\)\\]/\\1/p'); do\n"
		"		path=$(ldconfig -p | sed -n \"s/^\\t$lib (libc6,.*=> //p\" | head -n 1)\n"
		"		dpkg -S \"$(realpath \"$path\")\" \"$path\" 2>/dev/null | sed -n 's/:.*//p' | head -n 1\n"
		"	done\n"
		"done | sort -u\n", build_path("unstuck")));
	const char *image = deployed("Dockerfile"), *packages = proc_out(p);
	size_t n = 0;

	for (char *name = strtok(story_text("%s", packages), "\n"); name != NULL; name = strtok(NULL, "\n"), n++)
		ck_assert_msg(strcmp(name, "libc6") == 0 || strstr(name, "san") != NULL || strstr(name, "gcc") != NULL
		              || strstr(image, story_text(" %s ", name)) != NULL, "the image lacks %s", name);
	ck_assert_msg(n >= 5, "%s", packages);
}
END_TEST

/* The settings in the files are settings. */
START_TEST(the_settings_in_the_files_are_right)
{
	struct testdb *db = must_have_db();
	const char *text = deployed("kubernetes.yaml"), *from = strstr(text, "unstuck.ini: |\n"), *ini = "";
	const char *url = story_text("DATABASE_URL=%s", db->url);

	ck_assert_ptr_nonnull(from);
	from += strlen("unstuck.ini: |\n");
	while (strncmp(from, "---", 3) != 0) {
		const char *end = strchr(from, '\n') + 1;

		ini = story_text("%s%.*s", ini, (int)(end - from - (*from == ' ' ? 4 : 0)), from + (*from == ' ' ? 4 : 0));
		from = end;
	}
	write_file("k8s.ini", ini);
	must_run(0, (&(struct proc_options){ .env = WORDS(url) }), "unstuck-worker", "check", "-c", "k8s.ini");
	must_run(0, (&(struct proc_options){ .env = WORDS(url) }), "unstuck-worker", "check", "-c", source_path("deploy/unstuck.ini"));
	/* And every option that they give. */
	must_run(0, (&(struct proc_options){ .env = WORDS(url) }), "unstuck-worker", "run", "--wait", "5m", "--pidfile", "w.pid",
	         "-c", "k8s.ini", "--drain");
	must_run(3, NULL, "unstuck-worker", "status", "--ready", "--pidfile", "w.pid");
	must_run(0, (&(struct proc_options){ .env = WORDS(url) }), "unstuck-recover", "--yes", "--quiet", "-c", "k8s.ini");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("containers");
	TCase *tc = story_case(s, "containers");

	tcase_add_test(tc, the_worker_is_pid_1_and_reaps_what_handlers_leave);
	tcase_add_test(tc, term_to_pid_1_while_it_waits_for_the_database);
	tcase_add_test(tc, what_kills_waits_longer_than_the_worker_may_take);
	tcase_add_test(tc, no_command_goes_through_a_shell);
	tcase_add_test(tc, the_documents_are_good_yaml);
	tcase_add_test(tc, the_image_has_the_libraries);
	tcase_add_test(tc, the_settings_in_the_files_are_right);
	return check_main(s);
}
