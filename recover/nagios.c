/*
 * nagios.c - how many rows are stuck, as a Nagios plugin says it.
 *
 * Rows whose worker is only suspected count, as in a dry run, and are named: a
 * check watches nobody, so where every worker is dead and nothing recovers on a
 * schedule it would stay silent for ever otherwise.
 */
#include "nagios.h"

#include <stdio.h>
#include <string.h>
#include "stuck.h"
#include "tell.h"

static const char *const nagios_names[] = { "OK", "WARNING", "CRITICAL", "UNKNOWN" };

int nagios_unknown(const char *why)
{
	printf("UNSTUCK UNKNOWN - ");
	for (; *why != '\0'; why++)	/* one line, and no perfdata that is none */
		putchar(*why == '|' || (unsigned char)*why < ' ' ? ' ' : *why);
	putchar('\n');
	return NAGIOS_UNKNOWN;
}

static size_t threshold(uint64_t given, size_t otherwise)
{
	return given != COUNT_UNSET ? (size_t)given : otherwise;
}

/* Count; the first queue that cannot be looked at makes the whole answer unknown. */
static int count_all(struct run *r)
{
	for (size_t i = 0; i < r->targets.len; i++) {
		struct target *t = &r->targets.v[i];
		struct stuck_question ask = {
			.ignore_liveness = r->ask->opt->ignore_liveness,
			.suspects = true,
			.max_recoveries = r->ask->settings->max_recoveries,
		};

		if (t->error.kind == ERR_NONE && t->same_as == NULL)
			stuck_find(&r->session, t, &ask, &t->error);
		if (t->error.kind != ERR_NONE)
			return error_set(&r->error, t->error.kind, "queue %s: %s", target_name(t), t->error.text);
	}
	return 0;
}

static int print_line(const struct run *r)
{
	struct run_sums s = run_sums(r);
	size_t warning = threshold(r->ask->opt->warning, 1), critical = threshold(r->ask->opt->critical, 10);
	enum nagios status = s.stuck >= critical ? NAGIOS_CRITICAL : s.stuck >= warning ? NAGIOS_WARNING : NAGIOS_OK;

	printf("UNSTUCK %s - %zu stuck, %zu processing", nagios_names[status], s.stuck, s.processing);
	if (s.suspects > 0)
		printf(", %zu of them only suspected (worker silent, not watched long enough)", s.suspects);
	printf(" | stuck=%zu;%zu;%zu;0 processing=%zu;;;0\n", s.stuck, warning, critical, s.processing);
	return status;
}

int nagios_check(const struct recover *ask)
{
	struct run r = RUN_INIT(ask);
	int status;

	if (run_open(&r) < 0 || count_all(&r) < 0)
		status = nagios_unknown(r.error.text);
	else
		status = print_line(&r);
	run_release(&r);
	return status;
}
