/*
 * spools.c - the spools of dead workers, before a run lists stuck rows: a row whose result is here is not stuck.
 *
 * Not here: how a record is stored (common/replay.c).
 */
#include "spools.h"

#include "replay.h"
#include "tell.h"

static void tell_detail(void *arg, const char *text)
{
	const struct run *r = arg;

	if (r->first)
		tell_note(r->ask, "%s", text);
}

static void tell_waiting(const struct run *r, const char *dir)
{
	struct replay_counts c;
	struct error why = ERROR_INIT;

	if (replay_look(dir, &c, &why) < 0)
		tell_note(r->ask, "%s", why.text);
	if (c.records > 0)
		tell_note(r->ask, "%zu record%s of %zu dead process%s in %s would be replayed first", c.records,
		          c.records == 1 ? "" : "s", c.instances, c.instances == 1 ? "" : "es", dir);
}

int spools_replay(struct run *r)
{
	const struct settings *s = r->ask->settings;
	struct replay replay = { .dir = s->spool_dir, .settings = s, .session = &r->session, .tell = tell_detail, .arg = r };
	const struct replay_counts *c = &replay.count;
	struct error why = ERROR_INIT;
	int rc;

	if (!r->session.has_schema || r->ask->opt->adhoc.table != NULL)
		return 0;
	if (r->dry_run) {
		if (r->first)
			tell_waiting(r, s->spool_dir);
		return 0;
	}
	rc = replay_run(&replay, &why);
	if (c->records > c->kept || (c->records > 0 && r->first))
		tell_note(r->ask, "%zu record%s of %zu dead process%s replayed from %s: %zu stored, %zu there already, %zu late, "
		          "%zu refused, %zu dropped, %zu kept", c->records, c->records == 1 ? "" : "s", c->instances,
		          c->instances == 1 ? "" : "es", s->spool_dir, c->stored, c->already, c->late, c->refused, c->dropped, c->kept);
	if (rc == 0)
		return 0;
	if (PQstatus(r->session.conn) != CONNECTION_OK) {
		r->error = why;
		return -1;
	}
	if (r->first)
		tell_note(r->ask, "%s", why.text);
	return 0;
}
