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
	must_show(b, "document.getElementById('link-text').textContent", "Live", SOON);
	return b;
}

static void picture(struct browser *b, const char *name)
{
	mkdir(build_path("page"), 0755);
	screenshot(b, build_path(story_text("page/%s.png", name)));
}

/* The whole of checks.js, in each size and each scheme. */
static void must_be_readable(struct browser *b, const char *name)
{
	const char *checks = read_file(source_path("tests/page/checks.js"));

	for (int dark = 0; dark <= 1; dark++)
		for (int phone = 0; phone <= 1; phone++) {
			browser_look(b, phone ? 360 : 1280, 900, dark);
			ck_assert_str_eq(page_value(b, checks), "");
			picture(b, story_text("%s-%s-%s", name, phone ? "360" : "1280", dark ? "dark" : "light"));
		}
	browser_look(b, 1280, 900, false);
}

#define HEADLINE "document.getElementById('headline').textContent"
#define LINK "document.getElementById('link-text').textContent"
#define SECTION(id) "document.getElementById('" id "').innerText"

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

/* ---- stories ---- */

#define VIDEOS \
	"[queue videos]\ntable = public.videos\nstatus = analysis_status\nready = METADATA_EXTRACTED\nprocessing = PROCESSING\n" \
	"done = DONE\nfailed = ANALYSIS_FAILED\ntimezone = UTC\nwhere = duration > 900\nhandler = true\n"

/* One job of each kind: waiting, for later, running, done, failed for a hostile reason, stuck, and a late result. */
static struct proc *busy_worker(struct testdb *db, int port)
{
	struct proc *p;

	must_have_table(db, 12);
	must_sql(db, "UPDATE public.videos SET analysis_status = 'DONE' WHERE id <= 5");
	settings(db, "[worker]\nrecover_every = 0\n[http]\nlisten = 127.0.0.1:%d\n"
	         "[queue mail]\nhandler = %s\nconcurrency = 2\n[queue %s]\nhandler = true\n" VIDEOS, port,
	         script("handler", "read -r line\ncase $line in\n"
	                           "*bad*) printf '%%s\\n' '" MARKUP " \342\200\256gnp' '<script>hit=1</script>' >&2; exit 65 ;;\n"
	                           "*slow*) while [ ! -e on ]; do sleep 0.02; done ;;\nesac"), MARKUP);
	must_sql(db, "SELECT unstuck.enqueue('mail', '{\"x\": \"bad\"}'), unstuck.enqueue('mail')");
	p = must_start(NULL, "unstuck-worker", "run");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE finished_at IS NOT NULL", "2", SOON);
	must_sql(db, "SELECT unstuck.enqueue('mail', '{\"x\": \"slow\"}') FROM generate_series(1, 5)");
	must_sql(db, "SELECT unstuck.enqueue('" MARKUP "', '{}', now() + interval '1 day')");
	must_sql(db, "INSERT INTO unstuck.jobs (queue, status, claim_id, worker_id, claimed_at, attempts)"
	             " VALUES ('mail', 'PROCESSING', nextval('unstuck.claim_seq'), '" DEAD "', now() - interval '2 hours', 1)");
	must_sql(db, "INSERT INTO unstuck.late_results (queue, source, job_id, claim_id, worker_id, reason, raw)"
	             " VALUES ('mail', 'unstuck.jobs', '7', 1, '" DEAD "', '" MARKUP "', 'late bytes')");
	must_become(db, "SELECT count(*) FROM unstuck.jobs WHERE status = 'PROCESSING'", "3", SOON);
	return p;
}

START_TEST(the_page_shows_what_is_and_goes_with_it)
{
	struct testdb *db = must_have_db();
	int port = free_port();
	struct proc *worker = busy_worker(db, port);
	struct browser *b = browser_at(port);

	/* What is stuck, why, and what to do. */
	must_show(b, HEADLINE, "1 job is stuck", SOON);
	must_show(b, "document.getElementById('line').textContent.startsWith('1 job stuck, 3 processing')", "true", SOON);
	ck_assert_ptr_nonnull(strstr(page_value(b, SECTION("findings")), "mail: 1 job, its worker is dead; the longest for 2 h"));
	must_show(b, "document.querySelector('#stuck-table tbody tr').cells[3].innerText", DEAD, SOON);

	/* The command is exactly what to type. */
	const char *shown = page_value(b, "document.querySelector('.command code').textContent");
	const char *path = story_text("PATH=%s:%s", build_path(""), getenv("PATH"));
	struct proc *p = must_run(0, (&(struct proc_options){ .env = WORDS(path), .cwd = "/" }), "sh", "-c", shown);

	ck_assert_ptr_nonnull(strstr(proc_out(p), "worker_lost"));
	click(b, ".command button");
	must_show(b, "document.querySelector('.command button').textContent", "Copied", SOON);

	/* The numbers are those of the database, and all lists are there. */
	must_show(b, page_numbers, numbers_in(db), SOON);
	must_show(b, "document.querySelectorAll('#running-table tbody tr').length", "2", SOON);
	ck_assert_ptr_nonnull(strstr(page_value(b, SECTION("running-table")), "/handler"));
	must_show(b, "document.querySelectorAll('#workers-table tbody tr').length", "1", SOON);
	ck_assert_ptr_nonnull(strstr(page_value(b, SECTION("workers-table")), story_text("pid %d (this one)", (int)proc_pid(worker))));

	/* What is hostile is text, to the last sign, and what would reorder it is seen. */
	ck_assert_ptr_nonnull(strstr(page_value(b, SECTION("failures-table")), MARKUP " \\u202egnp"));
	click(b, "#failures-table summary");
	ck_assert_ptr_nonnull(strstr(page_value(b, SECTION("failures-table")), "<script>hit=1</script>"));
	ck_assert_ptr_nonnull(strstr(page_value(b, SECTION("queues-table")), MARKUP));
	ck_assert_ptr_nonnull(strstr(page_value(b, SECTION("late-table")), MARKUP));
	ck_assert_str_eq(page_value(b, "typeof hit + document.querySelectorAll('img').length"), "undefined0");

	must_be_readable(b, "stuck");
	ck_assert_str_eq(browser_complaints(b), "");
	picture(b, "x");
	(void)worker;
}
END_TEST

int main(void)
{
	Suite *s = suite_create("page");
	TCase *tc = story_case(s, "page");

	tcase_add_test(tc, the_page_shows_what_is_and_goes_with_it);
	return check_main(s);
}
