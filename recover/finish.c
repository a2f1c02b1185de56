/*
 * finish.c - the end of every run, scheduled or not.
 */
#include "finish.h"

#include <stdio.h>
#include "on_stuck.h"
#include "report.h"
#include "tell.h"
#include "words.h"

static void print_json(const struct run *r)
{
	struct buf text = BUF_INIT;

	report_json(&text, r);
	puts(buf_text(&text));
	fflush(stdout);
	buf_release(&text);
}

static void print_people(const struct run *r)
{
	struct run_sums s = run_sums(r);
	bool news = s.stuck > 0 || s.broken > 0;

	if (!r->previewed && !r->locked && (news || !is_quiet(r->ask)))
		report_table(stdout, r);
	if (news || !is_quiet(r->ask))
		report_summary(stdout, r);
}

void finish_print(const struct run *r)
{
	if (!r->connected || (r->error.kind != ERR_NONE && r->targets.len == 0))
		return;		/* nothing is known; stderr says why */
	if (r->ask->opt->json)
		print_json(r);
	else if (!is_scheduled(r->ask))
		print_people(r);
}

void finish_on_stuck(const struct run *r)
{
	struct error why = ERROR_INIT;
	struct buf report = BUF_INIT;
	char **own = NULL, **argv = r->ask->settings->on_stuck;

	if (r->dry_run || !r->connected || (!r->applied && !r->refused) || run_sums(r).stuck == 0)
		return;
	if (r->ask->opt->on_stuck != NULL) {
		own = words_split(r->ask->opt->on_stuck, &why);
		argv = own;
	}
	if (argv != NULL && argv[0] != NULL) {
		report_json(&report, r);
		buf_addc(&report, '\n');
		on_stuck_run(argv, buf_text(&report), report.len, &why);
	}
	if (why.kind != ERR_NONE)
		tell_note(r->ask, "warning: on_stuck: %s", why.text);
	buf_release(&report);
	words_free(own);
}
