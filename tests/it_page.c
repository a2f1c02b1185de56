/*
 * it_page.c - the page at "/", as people see it: a real worker, a real database, a real browser.
 *
 * What the browser saw is left as pictures in $UNSTUCK_BUILD/page/.
 */
#include "story.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "browser.h"
#include "worker_story.h"

#define SOON 20000		/* ms: for what an event or the next question brings */

#define HEADLINE "document.getElementById('headline').textContent"
#define LINK "document.getElementById('link-text').textContent"

#define DEAD "8f3b0e1c-5f7e-4f7d-8d19-08f0c1a2b3c4"	/* a worker that nobody registered */
#define MARKUP "<img src=http://foreign.example/x.png onerror=hit=1>"

/* ---- the scene ---- */

/* Nobody listens there now; the next worker will. */
static int free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) < 0 || getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		ck_abort_msg("no free port");
	close(fd);
	return ntohs(a.sin_port);
}

static struct browser *browser_at(int port)
{
	struct browser *b = must_have_browser();

	browser_look(b, 1280, 900, false);
	browse(b, story_text("http://127.0.0.1:%d/", port));
	must_show(b, LINK, "Live", SOON);
	return b;
}

static void picture(struct browser *b, const char *name)
{
	mkdir(build_path("page"), 0755);
	screenshot(b, build_path(story_text("page/%s.png", name)));
}

/* checks.js on a screen in the light and on a phone in the dark, with a picture of each. */
static void must_be_readable(struct browser *b, const char *name)
{
	const char *checks = read_file(source_path("tests/page/checks.js"));

	for (int phone = 1; phone >= 0; phone--) {
		browser_look(b, phone ? 360 : 1280, 900, phone);
		ck_assert_str_eq(page_value(b, checks), "");
		picture(b, story_text("%s-%s", name, phone ? "360" : "1280"));
	}
}


#define must_have_text(b, id, text) (story_at(__FILE__, __LINE__), section_must_have(b, id, text))

static void section_must_have(struct browser *b, const char *id, const char *text)
{
	const char *js = story_text("document.getElementById('%s').innerText", id), *now;
	uint64_t until = story_until(SOON);

	while (strstr(now = browser_value(b, js, NULL, 0), text) == NULL)
		if (!story_wait(until))
			story_fail("no \"%s\" in %s: %s", text, id, now);
}

/* Every queue's numbers, from the page and from the database, in the same words. */
static const char page_numbers[] =
	"[...document.querySelectorAll('#queues-table tbody tr')].map(row => row.dataset.key + ':' +"
	" ['PENDING', 'PROCESSING', 'COMPLETED', 'FAILED', 'CANCELLED'].map(c =>"
	" row.querySelector(`[data-column=${c}] data`).value).join(',')).sort().join(' ')";

static const char *numbers_in(struct testdb *db)
{
	return sql_value(db,
		"WITH seen AS (SELECT queue, status FROM unstuck.jobs"
		" UNION ALL SELECT 'videos', CASE analysis_status WHEN 'METADATA_EXTRACTED' THEN 'PENDING'"
		"  WHEN 'DONE' THEN 'COMPLETED' WHEN 'ANALYSIS_FAILED' THEN 'FAILED' ELSE analysis_status END FROM public.videos)"
		" SELECT string_agg(line, ' ' ORDER BY line COLLATE \"C\") FROM (SELECT queue || ':' || concat_ws(',',"
		" count(*) FILTER (WHERE status = 'PENDING'), count(*) FILTER (WHERE status = 'PROCESSING'),"
		" count(*) FILTER (WHERE status = 'COMPLETED'), count(*) FILTER (WHERE status = 'FAILED'),"
		" count(*) FILTER (WHERE status = 'CANCELLED')) AS line FROM seen GROUP BY queue) AS lines");
}

/* How many things of a role the accessibility tree has; hidden ones do not count. */
static size_t count_role(const json_t *tree, const char *role)
{
	json_t *node;
	size_t i, n = 0;

	json_array_foreach(json_object_get(tree, "nodes"), i, node)
		n += !json_is_true(json_object_get(node, "ignored")) &&
		     strcmp(json_string_value(json_object_get(json_object_get(node, "role"), "value")), role) == 0;
	return n;
}

static void must_have_roles(struct browser *b)
{
	static const struct { const char *role; size_t least; } roles[] = {
		{ "banner", 1 }, { "main", 1 }, { "contentinfo", 1 }, { "navigation", 1 }, { "heading", 8 }, { "status", 2 },
		{ "table", 6 }, { "columnheader", 30 }, { "row", 14 }, { "rowheader", 8 }, { "cell", 40 }, { "button", 1 }, { "progressbar", 1 },
	};
	json_t *tree = browser_devtools(b, "Accessibility.getFullAXTree", NULL);

	for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
		ck_assert_msg(count_role(tree, roles[i].role) >= roles[i].least, "too few: %s", roles[i].role);
	json_decref(tree);
}

/* Tab goes to the skip link first, which is seen then, and on; where the focus is can be seen, and what is new leaves it there. */
static void must_work_by_keyboard(struct browser *b)
{
	press(b, "Tab");
	must_show(b, "document.activeElement.className + (document.activeElement.getBoundingClientRect().left >= 0)", "skiptrue", SOON);
	press(b, "Tab");
	must_show(b, "document.activeElement.innerText", "Copy command", SOON);
	must_show(b, "getComputedStyle(document.activeElement).outlineStyle", "solid", SOON);
	for (int i = 0; i < 4; i++)
		press(b, "Tab");
	must_show(b, "document.activeElement.hash", "#failures", SOON);
	page_value(b, "window.before = document.activeElement.innerText");
	must_show(b, "before !== document.activeElement.innerText && document.activeElement.hash", "#failures", SOON);
}

/* The page asks its own origin, and only ever asks; what the browser asks itself is no request of the page. */
static void must_only_ask(struct browser *b, int port)
{
	const char *origin = story_text("GET http://127.0.0.1:%d/", port);
	size_t n = 0;

	for (char *line = strtok(story_text("%s", browser_requests(b)), "\n"); line != NULL; line = strtok(NULL, "\n"))
		if (strncmp(line, "GET data:", 9) != 0 && strncmp(line, "GET chrome:", 11) != 0) {
			ck_assert_msg(strncmp(line, origin, strlen(origin)) == 0, "%s", line);
			n++;
		}
	ck_assert_uint_ge(n, 3);	/* itself, its state, its events */
}

/* ---- what it shows ---- */

#define VIDEOS \
	"[queue videos]\ntable = public.videos\nstatus = analysis_status\nready = METADATA_EXTRACTED\nprocessing = PROCESSING\n" \
	"done = DONE\nfailed = ANALYSIS_FAILED\ntimezone = UTC\nhandler = true\n"

/* Jobs of each kind: waiting, for later, running, done, failed for a hostile reason, stuck for two reasons; a late result. */
static void add_jobs(struct testdb *db)
{
	must_sql(db, "SELECT unstuck.enqueue('mail', '{\"x\": \"slow\"}') FROM generate_series(1, 5)");
	must_sql(db, "SELECT unstuck.enqueue('" MARKUP "', '{}', now() + interval '1 day')");
	must_sql(db, "INSERT INTO unstuck.jobs (queue, status, claim_id, worker_id, claimed_at, attempts)"
	             " VALUES ('mail', 'PROCESSING', nextval('unstuck.claim_seq'), '" DEAD "', now() - interval '2 hours', 1)");
	must_sql(db, "UPDATE public.videos SET analysis_status = 'PROCESSING', updated_at = (now() - interval '3 hours') AT TIME ZONE 'UTC'"
	             " WHERE id = 1");
	must_sql(db, "INSERT INTO unstuck.late_results (queue, source, job_id, claim_id, worker_id, reason, raw)"
	             " VALUES ('mail', 'unstuck.jobs', '7', 1, '" DEAD "', '" MARKUP "', 'late bytes')");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "3", SOON);
}

static struct proc *busy_worker(struct testdb *db, int port)
{
	struct proc *p;

	must_have_table(db, 12);
	settings(db, "[worker]\nrecover_every = 0\n[http]\nlisten = 127.0.0.1:%d\n"
	         "[queue mail]\nhandler = %s\nconcurrency = 2\n[queue %s]\nhandler = true\n" VIDEOS, port,
	         script("handler", "read -r line\ncase $line in\n"
	                           "*bad*) printf '%s\\n' '" MARKUP " \342\200\256gnp' '<script>hit=1</script>' >&2; exit 65 ;;\n"
	                           "*slow*) while [ ! -e on ]; do sleep 0.2; done ;;\nesac"), MARKUP);
	must_sql(db, "SELECT unstuck.enqueue('mail', '{\"x\": \"bad\"}'), unstuck.enqueue('mail')");
	p = must_start(NULL, "unstuck-worker", "run");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE finished_at IS NOT NULL", "2", SOON);
	must_become(db, "SELECT count(*) FROM public.videos WHERE analysis_status = 'DONE'", "12", SOON);
	add_jobs(db);
	return p;
}

/* Runs what the page says to type, as it stands there. */
static struct proc *type_command(const char *command)
{
	const char *path = story_text("PATH=%s:%s", build_path(""), getenv("PATH"));

	return must_run(0, (&(struct proc_options){ .env = WORDS(path), .cwd = "/" }), "sh", "-c", command);
}

static const char *with_yes(const char *command)
{
	const char *at = strstr(command, " --dry-run");

	ck_assert_ptr_nonnull(at);
	return story_text("%.*s --yes", (int)(at - command), command);
}

static void must_show_lists(struct browser *b, struct proc *worker)
{
	must_show(b, "document.querySelectorAll('#running-table tbody tr').length", "2", SOON);
	must_have_text(b, "running-table", "/handler");
	must_have_text(b, "workers-table", story_text("pid %d (this one)", (int)proc_pid(worker)));
	must_have_text(b, "stuck-table", DEAD);
	must_have_text(b, "stuck-table", "worker_lost");
	must_have_text(b, "stuck-table", "timeout");
	must_have_text(b, "facts", "0 results waiting");
}

/* What is hostile is text, to the last sign, and what would reorder it is seen. */
static void must_show_as_text(struct browser *b)
{
	must_have_text(b, "queues-table", MARKUP);
	must_have_text(b, "late-table", MARKUP);
	must_have_text(b, "failures-table", MARKUP " \\u202egnp");
	click(b, "#failures-table summary");
	must_have_text(b, "failures-table", "<script>hit=1</script>");
	ck_assert_str_eq(page_value(b, "typeof hit + document.querySelectorAll('img').length"), "undefined0");
}

START_TEST(the_page_shows_what_is_and_goes_with_it)
{
	struct testdb *db = must_have_db();
	int port = free_port();
	struct proc *worker = busy_worker(db, port);
	struct browser *b = browser_at(port);
	const char *command;

	/* What is stuck, why, and what to do: the command is exactly what to type. */
	must_show(b, HEADLINE, "2 jobs are stuck", SOON);
	must_work_by_keyboard(b);
	must_have_text(b, "findings", "mail: 1 job, its worker is dead; the longest for 2 h");
	must_have_text(b, "findings", "videos: 1 job, no worker is known");
	command = page_value(b, "document.querySelector('.command code').textContent");
	ck_assert_ptr_nonnull(strstr(proc_out(type_command(command)), "worker_lost"));
	page_value(b, "new MutationObserver(() => window.said = window.said || document.querySelector('.command button').textContent)"
	              ".observe(document.querySelector('.command button'), { subtree: true, childList: true })");
	click(b, ".command button");
	must_show(b, "window.said", "Copied", SOON);

	must_show(b, page_numbers, numbers_in(db), SOON);
	must_show_lists(b, worker);
	must_show_as_text(b);
	must_be_readable(b, "stuck");
	browser_look(b, 360, 900, true);	/* where rows are cards, they are rows all the same */
	must_have_roles(b);

	/* It goes with what happens: it is not loaded again, and without the slow timer too. */
	page_value(b, "window.mark = 'same'");
	page_value(b, "clearTimeout(timer, window.setTimeout = (real => (f, ms) => ms === SLOW ? 0 : real(f, ms))(window.real = setTimeout))");
	type_command(with_yes(command));
	write_file("on", "");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'COMPLETED'", "7", SOON);
	must_become(db, "SELECT count(*) FROM public.videos WHERE analysis_status = 'DONE'", "12", SOON);
	must_show(b, page_numbers, numbers_in(db), SOON);
	must_show(b, HEADLINE, "Nothing is stuck", SOON);
	ck_assert_str_eq(page_value(b, "window.mark"), "same");
	page_value(b, "window.setTimeout = window.real");
	must_be_readable(b, "calm");
	ck_assert_str_eq(browser_complaints(b), "");

	/* The worker stops, and that is said; one that answers there again is shown again. */
	proc_signal(worker, SIGTERM);
	must_show(b, LINK, "Worker stopped", SOON);
	must_show(b, HEADLINE, "This worker has stopped", SOON);
	must_exit(worker, 0, SOON);
	picture(b, "stopped");
	worker = must_start(NULL, "unstuck-worker", "run");
	must_show(b, LINK, "Live", SOON);
	must_show(b, HEADLINE, "Nothing is stuck", SOON);
	must_have_text(b, "who", story_text("pid %d", (int)proc_pid(worker)));

	/* Killed, it cannot say so. */
	proc_signal(worker, SIGKILL);
	must_show(b, LINK, "Stream lost, trying again", SOON);
	must_show(b, HEADLINE, "No answer from this worker", SOON);
	must_show(b, "document.getElementById('line').textContent.startsWith('As of ')", "true", SOON);
	ck_assert_str_eq(page_value(b, "window.mark"), "same");
	must_only_ask(b, port);
	browser_close(b);
}
END_TEST

START_TEST(what_cannot_be_read_is_said)
{
	struct testdb *db = must_have_db();
	int port = free_port();
	struct browser *b;

	/* Nothing there at all, and a worker that may do only what it needs. */
	must_have_table(db, 0);
	must_sql(db, "CREATE ROLE %s_clerk LOGIN; GRANT unstuck_worker TO %s_clerk; GRANT SELECT, UPDATE ON public.videos TO %s_clerk",
	         db->name, db->name, db->name);
	write_filef("unstuck.ini", "[unstuck]\ndatabase_url = postgresql:///%s?host=%s&user=%s_clerk\n[http]\nlisten = 127.0.0.1:%d\n"
	            "[queue mail]\nhandler = true\n" VIDEOS, db->name, server_dir(), db->name, port);
	must_start(NULL, "unstuck-worker", "run");
	must_become(db, "SELECT count(*) FROM unstuck.workers", "1", SOON);
	b = browser_at(port);
	must_show(b, HEADLINE, "Nothing is stuck", SOON);
	must_show(b, page_numbers, "mail:0,0,0,0,0 videos:0,0,0,0,0", SOON);
	must_have_text(b, "running", "No job is running.");
	must_have_text(b, "failures", "No job has failed.");
	must_be_readable(b, "empty");

	/* One table may not be read: the others are shown. */
	must_sql(db, "REVOKE SELECT ON public.videos FROM %s_clerk", db->name);
	must_show(b, HEADLINE, "Nothing is stuck in what can be read", SOON);
	must_have_text(b, "findings", "Queue videos cannot be read");
	must_have_text(b, "findings", "permission denied for table videos");
	must_show(b, "document.querySelector('[data-key=videos] [data-column=COMPLETED]').textContent", "?unknown", SOON);
	must_show(b, "document.querySelector('[data-key=mail] [data-column=COMPLETED] data').value", "0", SOON);
	must_be_readable(b, "denied");
	must_sql(db, "GRANT SELECT ON public.videos TO %s_clerk", db->name);
	must_show(b, HEADLINE, "Nothing is stuck", SOON);

	/* The database goes away while somebody looks, and comes back. */
	server_stop();
	must_show(b, HEADLINE, "This worker has lost the database", SOON);
	must_show(b, LINK, "Live", SOON);
	must_have_text(b, "findings", "The lists below are those of ");
	must_be_readable(b, "away");
	server_start();
	must_show(b, HEADLINE, "Nothing is stuck", SOON);
	ck_assert_str_eq(browser_complaints(b), "");
	browser_close(b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("page");
	TCase *tc = story_case(s, "page");

	tcase_set_timeout(tc, 120);	/* a browser has to start */
	tcase_add_test(tc, the_page_shows_what_is_and_goes_with_it);
	tcase_add_test(tc, what_cannot_be_read_is_said);
	return check_main(s);
}
