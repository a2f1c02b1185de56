/*
 * adopting.c - late results that a person makes the results of their jobs.
 *
 * A person may name any that is whole and valid for its queue: also what a handler printed whose end nobody saw, and what the
 * database refused once. What may never be done (common/adopt.h) is refused here too, with what can be done instead.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "adopt.h"
#include "buf.h"
#include "lates.h"
#include "sqltext.h"

/* One late result as it is now. */
struct late {
	const char *id;
	char *queue, *source, *job, *reason, *adopted_at;	/* the last NULL: not yet */
};

static void late_release(struct late *l)
{
	free(l->queue);
	free(l->source);
	free(l->job);
	free(l->reason);
	free(l->adopted_at);
}

/* 1, 0 when there is none, -1. */
static int late_read(struct ctl *ctl, struct late *l)
{
	PGresult *res = session_exec(&ctl->session, &ctl->err, sqltext("ctl", "late_one"), 1, &l->id);
	char **const fields[] = { &l->queue, &l->source, &l->job, &l->reason, &l->adopted_at };
	int found;

	if (res == NULL)
		return -1;
	found = PQntuples(res);
	for (int i = 0; found > 0 && i < PQnfields(res); i++)
		*fields[i] = PQgetisnull(res, 0, i) ? NULL : xstrdup(PQgetvalue(res, 0, i));
	PQclear(res);
	return found;
}

/* Its queue's table: of Unstuck's own also without settings. -1: why. */
static int late_map(struct ctl *ctl, const struct late *l, struct mapping *m, struct error *why)
{
	struct queue_settings *q = settings_queue(&ctl->settings, l->queue);
	bool own = strcmp(l->source, "unstuck.jobs") == 0;

	if (own && (q == NULL || *q->table != '\0'))
		q = settings_add_queue(&ctl->settings, l->queue);
	if (q == NULL)
		return error_set(why, ERR_SETTINGS, "queue %s on %s is not in the settings: name the right file with -c", l->queue, l->source);
	if (mapping_init(m, q, why) < 0 || mapping_resolve(m, &ctl->session, why) < 0)
		return -1;
	if (strcmp(m->source, l->source) != 0)
		return error_set(why, ERR_SETTINGS, "it is of queue %s on %s, and the settings have that queue on %s: name the right file with -c",
		                 l->queue, l->source, m->source);
	return 0;
}

/* What the job of a late result that was not adopted is now, and what to do about it. */
static int explain(struct ctl *ctl, struct late *l, const struct mapping *m, struct buf *out)
{
	static const struct { const char *status, *remedy; } rows[] = {
		{ "PROCESSING", "another run is under way: adopt it when that has failed" },
		{ "COMPLETED", "it has a result, which stays" },
		{ "CANCELLED", "nobody wants its result" },
		{ "PENDING", "somebody has it locked just now: try again" },
		{ "FAILED", "somebody has it locked just now: try again" },
	};
	char *sql = mapping_statement(m, STMT_STATUS, &ctl->err);
	PGresult *res = sql != NULL ? session_exec(&ctl->session, &ctl->err, sql, 1, (const char *const[]){ l->job }) : NULL;
	const char *status;

	free(sql);
	if (res == NULL)
		return -1;
	buf_addf(out, "job %s of queue %s is ", l->job, l->queue);
	if (PQntuples(res) == 0) {
		buf_adds(out, "gone: nothing is there to store it in");
	} else if (PQgetisnull(res, 0, 0)) {
		buf_addf(out, "in status %s: only one that waits or has failed takes it", PQgetvalue(res, 0, 1));
	} else {
		status = PQgetvalue(res, 0, 0);
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
			if (strcmp(rows[i].status, status) == 0)
				buf_addf(out, "%s: %s", status, rows[i].remedy);
	}
	PQclear(res);
	return 0;
}

/* 1 adopted, 0 not and why in out, -1 an error of the database. */
static int try_one(struct ctl *ctl, struct late *l, struct mapping *m, struct buf *out)
{
	struct error why = ERROR_INIT;
	int found = late_read(ctl, l);

	if (found <= 0) {
		buf_adds(out, "there is no such late result");
		return found;
	}
	if (l->adopted_at != NULL) {
		buf_addf(out, "was adopted at %s", l->adopted_at);
		return 0;
	}
	if (strcmp(l->reason, "too_large") == 0) {
		buf_addf(out, "is larger than max_result and was not kept whole: raise that and run job %s again", l->job);
		return 0;
	}
	if (late_map(ctl, l, m, &why) < 0) {
		buf_adds(out, why.text);
		return 0;
	}
	switch (adopt_one(&ctl->session, m, l->id, true, &why)) {
	case ADOPTED:
		return 1;
	case ADOPT_NOT:
		return explain(ctl, l, m, out);
	case ADOPT_REFUSED:
		buf_addf(out, "is no result for queue %s: %s (unstuckctl late show %s prints the bytes)", l->queue, why.text, l->id);
		return 0;
	case ADOPT_FAILED:
		break;
	}
	if (PQstatus(ctl->session.conn) != CONNECTION_OK)
		return error_set(&ctl->err, ERR_NO_DB, "%s", why.text);
	buf_adds(out, why.text);
	return 0;
}

static int adopt_id(struct ctl *ctl, const char *id)
{
	struct late l = { .id = id };
	struct mapping m = { .q = NULL };
	struct buf text = BUF_INIT;
	int done = try_one(ctl, &l, &m, &text);

	if (done > 0)
		printf("%s adopted: job %s of queue %s is COMPLETED\n", id, l.job, l.queue);
	else if (done == 0)
		cli_complain(&ctl->cli, "%s: %s", id, buf_text(&text));
	mapping_release(&m);
	late_release(&l);
	buf_release(&text);
	return done;
}

enum exit_status late_adopt(struct ctl *ctl, char *const *ids, size_t len)
{
	size_t not_done = 0;

	for (size_t i = 0; i < len; i++)
		if (ctl_id(ctl, ids[i], "late result") < 0)
			return ctl_failed(ctl);
	if (ctl_connect_schema(ctl) < 0)
		return ctl_failed(ctl);
	for (size_t i = 0; i < len; i++) {
		int done = adopt_id(ctl, ids[i]);

		if (done < 0)
			return ctl_failed(ctl);
		not_done += done == 0;
	}
	return not_done > 0 ? EXIT_FAILED : EXIT_DONE;
}
