/*
 * adoption.c - see adoption.h. Behind the reset: a job that it put back may have a result already.
 *
 * Not here: the rules (common/adopt.h).
 */
#include "adoption.h"

#include "adopt.h"
#include "log.h"
#include "stop.h"
#include "tell.h"

struct pass {
	struct run *run;
	const struct target *t;
	size_t adopted;
};

static void on_told(void *arg, const char *late, const char *job_id, const struct error *why)
{
	struct pass *p = arg;
	const struct recover *ask = p->run->ask;

	p->adopted += why == NULL;
	if (why != NULL)
		tell_note(ask, "queue %s: late result %s is no result for job %s: %s; its bytes stay (unstuckctl late show %s)",
		          target_name(p->t), late, job_id, why->text, late);
	else if (is_scheduled(ask))
		log_event(LOG_INFO, "late_adopted", LS("queue", target_name(p->t)), LS("job", job_id), LS("late", late));
}

static void count_of(struct run *r, const struct target *t)
{
	struct error ignored = ERROR_INIT;
	size_t n = 0;

	if (r->first && adopt_count(&r->session, &t->mapping, &n, &ignored) == 0 && n > 0)
		tell_note(r->ask, "queue %s: %zu late result%s of jobs that do not run would be adopted (unstuckctl late)", target_name(t), n,
		          n == 1 ? "" : "s");
}

static void adopt_of(struct run *r, const struct target *t)
{
	struct pass p = { .run = r, .t = t };
	struct error why = ERROR_INIT;
	int rc = adopt_queue(&r->session, &t->mapping, on_told, &p, &why);

	if (p.adopted > 0 && !is_scheduled(r->ask))
		tell_note(r->ask, "queue %s: %zu late result%s adopted: %s job%s COMPLETED", target_name(t), p.adopted, p.adopted == 1 ? "" : "s",
		          p.adopted == 1 ? "its" : "their", p.adopted == 1 ? " is" : "s are");
	if (rc == 0 || stop_asked())
		return;
	if (PQstatus(r->session.conn) != CONNECTION_OK)
		r->error = why;
	else if (r->first)
		tell_note(r->ask, "queue %s: late results stay where they are, for the workers: %s", target_name(t), why.text);
}

int adoption_run(struct run *r)
{
	if (!r->session.has_schema || r->ask->opt->adhoc.table != NULL)
		return 0;
	for (size_t i = 0; i < r->targets.len && !stop_asked() && r->error.kind == ERR_NONE; i++) {
		const struct target *t = &r->targets.v[i];

		if (!target_is_open(t))
			continue;
		if (r->dry_run)
			count_of(r, t);
		else
			adopt_of(r, t);
	}
	return r->error.kind == ERR_NONE ? 0 : -1;
}
