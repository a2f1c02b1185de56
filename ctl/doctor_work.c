/*
 * doctor_work.c - the work itself: workers, what waits and what is stuck, how long jobs take, what autovacuum makes of the tables.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "doctor.h"
#include "ident.h"
#include "sqltext.h"
#include "words.h"

#define MOST_TOLD 20	/* of one kind; then only how many more */

/* ---- workers ---- */

void check_workers(struct doctor *d)
{
	enum { WORKER, HOST, PID, SILENT_S, WATCH_S };
	PGresult *res = doctor_ask(d, sqltext("workers", "silent"), 0, NULL);
	int n = PQntuples(res);

	for (int i = 0; i < n && i < MOST_TOLD; i++) {
		bool dead = strtod(PQgetvalue(res, i, WATCH_S), NULL) == 0;

		doctor_tell(d, WARNING, "worker %s on %s (pid %s) is %s: silent for %s s", PQgetvalue(res, i, WORKER),
		            PQgetvalue(res, i, HOST), PQgetvalue(res, i, PID), dead ? "dead" : "suspected dead", PQgetvalue(res, i, SILENT_S));
		doctor_remedy(d, "look at %s; unstuck-recover%s --yes declares it dead and puts its jobs back", PQgetvalue(res, i, HOST),
		              d->config);
	}
	if (n > MOST_TOLD) {
		doctor_tell(d, WARNING, "more workers that are silent: %d", n - MOST_TOLD);
		doctor_remedy(d, "unstuckctl%s workers", d->config);
	}
	PQclear(res);
}

/* ---- what waits ---- */

static const char *nearest_queue(struct doctor *d, const char *name)
{
	const struct settings *s = &d->ctl->settings;
	const char **all = xcalloc(s->queues_len + 1, sizeof *all), *near;

	for (size_t i = 0; i < s->queues_len; i++)
		all[i] = s->queues[i].name;
	near = words_nearest(name, all, s->queues_len);
	free(all);
	return near;
}

static void tell_unserved(struct doctor *d, const char *queue, const char *number)
{
	const char *near = nearest_queue(d, queue);
	char *word = doctor_word(queue);

	if (near != NULL)
		doctor_tell(d, WARNING, "queue %s has jobs waiting (%s), and neither these settings nor a worker serve it; is it %s?",
		            queue, number, near);
	else
		doctor_tell(d, WARNING, "queue %s has jobs waiting (%s), and neither these settings nor a worker serve it", queue, number);
	doctor_remedy(d, "add [queue %s] to the settings of a worker, or see unstuckctl jobs --queue %s and unstuckctl cancel", queue, word);
	free(word);
}

static bool is_in_settings(struct doctor *d, const char *queue)
{
	const struct queue_settings *set = settings_queue(&d->ctl->settings, queue);

	return set != NULL && *set->table == '\0';
}

void check_waiting(struct doctor *d)
{
	enum { QUEUE, N, DUE, OLDEST, SERVED, ANY_WORKER };
	int told = 0;
	PGresult *res = doctor_ask(d, sqltext("ctl", "waiting"), 1, (const char *const[]){ "1001" });

	for (int i = 0; i < PQntuples(res); i++) {
		const char *queue = PQgetvalue(res, i, QUEUE);
		const char *number = strcmp(PQgetvalue(res, i, N), "1001") == 0 ? "more than 1000" : PQgetvalue(res, i, N);

		if (!is_in_settings(d, queue) && strcmp(PQgetvalue(res, i, SERVED), "t") != 0) {
			if (told++ < MOST_TOLD)
				tell_unserved(d, queue, number);
		} else if (strcmp(PQgetvalue(res, i, ANY_WORKER), "t") != 0 && atoi(PQgetvalue(res, i, DUE)) > 0) {
			doctor_tell(d, WARNING, "jobs of queue %s are due, and no worker is registered", queue);
			doctor_remedy(d, "unstuck-worker%s run --daemon, or systemctl start unstuck-worker", d->config);
		}
	}
	if (told > MOST_TOLD) {
		doctor_tell(d, WARNING, "more queues that nobody serves: %d", told - MOST_TOLD);
		doctor_remedy(d, "unstuckctl%s queues", d->config);
	}
	PQclear(res);
}

/* ---- what is stuck ---- */

#define STUCK_TOLD "1001"

/* As unstuck-recover would: the queue's own timeout only where the file has one. */
static usec_t recover_age(const struct doctor *d, const struct queue_settings *q)
{
	return q->timeout_set ? q->timeout : d->ctl->settings.recover_timeout;
}

static void tell_stuck(struct doctor *d, const struct patient *p, const PGresult *res)
{
	static const char *const reasons[] = { "worker_lost", "worker_suspect", "timeout" };
	int column = PQfnumber(res, "reason"), n = PQntuples(res);
	char *word = doctor_word(p->set->name);
	struct buf why = BUF_INIT;

	for (size_t r = 0; r < ARRAY_SIZE(reasons); r++) {
		int count = 0;

		for (int i = 0; i < n; i++)
			count += strcmp(PQgetvalue(res, i, column), reasons[r]) == 0;
		if (count > 0)
			buf_addf(&why, "%s%d %s", why.len > 0 ? ", " : "", count, reasons[r]);
	}
	doctor_tell(d, ERROR, "jobs that are stuck: %s%d (%s), the oldest for %s s: %s", n > 1000 ? "more than " : "", n > 1000 ? 1000 : n,
	            buf_text(&why), PQgetvalue(res, 0, PQfnumber(res, "age_s")), PQgetvalue(res, 0, PQfnumber(res, "observed")));
	doctor_remedy(d, "unstuck-recover%s --dry-run %s; then unstuck-recover%s --yes %s", d->config, word, d->config, word);
	free(word);
	buf_release(&why);
}

void check_stuck(struct doctor *d, struct patient *p)
{
	char timeout[32], poison[16];
	struct error err = ERROR_INIT;
	PGresult *res = NULL;
	char *sql;

	if (!p->resolved || !p->quick)
		return;
	snprintf(timeout, sizeof timeout, "%.3f", (double)recover_age(d, p->set) / (double)SEC);
	snprintf(poison, sizeof poison, "%u", d->ctl->settings.max_recoveries);
	sql = mapping_statement(&p->map, STMT_STUCK, &err);
	if (sql != NULL)
		res = doctor_ask(d, sql, 6, (const char *const[]){ timeout, "f", "f", STUCK_TOLD, "0", poison });
	if (PQntuples(res) > 0)
		tell_stuck(d, p, res);
	PQclear(res);
	free(sql);
}

static void tell_update(struct doctor *d, const struct mapping *m)
{
	struct buf column = BUF_INIT, status = BUF_INIT, now = BUF_INIT, state = BUF_INIT;

	ident_quote(&column, m->updated_at);
	ident_quote(&status, m->status);
	literal_quote(&state, m->q->processing);
	buf_adds(&now, "now()");
	if (!m->updated_at_zoned) {
		buf_adds(&now, " AT TIME ZONE ");
		literal_quote(&now, m->q->timezone);
	}
	doctor_remedy(d, "UPDATE %s SET %s = %s WHERE %s = %s AND %s IS NULL;", m->source, buf_text(&column), buf_text(&now),
	              buf_text(&status), buf_text(&state), buf_text(&column));
	buf_release(&column);
	buf_release(&status);
	buf_release(&now);
	buf_release(&state);
}

/* Rows that nobody will ever call stuck. */
void check_ageless(struct doctor *d, struct patient *p)
{
	struct error err = ERROR_INIT;
	PGresult *res = NULL;
	char *sql;

	if (!p->resolved || !p->quick || p->map.own || p->map.updated_at == NULL)
		return;		/* without the column at all: told with the table */
	sql = mapping_statement(&p->map, STMT_AGELESS, &err);
	if (sql != NULL)
		res = doctor_ask(d, sql, 0, NULL);
	if (PQntuples(res) == 1 && atoll(PQgetvalue(res, 0, 0)) > 0) {
		doctor_tell(d, WARNING, "rows in %s without %s, of no known worker, that are never recovered: %s", p->set->processing,
		            p->map.updated_at, PQgetvalue(res, 0, 0));
		tell_update(d, &p->map);
	}
	PQclear(res);
	free(sql);
}

/* ---- timeouts ---- */

/* Twice the p99, on a number that a person would write. */
static usec_t better_timeout(double p99)
{
	usec_t want = (usec_t)ceil(2 * p99) * SEC, step = want > 2 * HOUR ? HOUR : want > 2 * MINUTE ? MINUTE : SEC;

	return (want + step - 1) / step * step;
}

/* A job that the limit ended has not finished: so near the limit there were others above it. */
static void judge_timeout(struct doctor *d, const struct queue_settings *q, const PGresult *res, int row)
{
	double p99 = strtod(PQgetvalue(res, row, 2), NULL), age = (double)recover_age(d, q) / (double)SEC;
	char limit[USEC_TEXT_MAX], better[USEC_TEXT_MAX];

	usec_text(better_timeout(p99), better);
	if (p99 > 0.8 * (double)q->timeout / (double)SEC) {
		doctor_tell(d, WARNING, "99 %% of %s finished jobs took up to %.1f s, and timeout = %s ends them", PQgetvalue(res, row, 1), p99,
		            usec_text(q->timeout, limit));
		doctor_remedy(d, "timeout = %s in [queue %s]", better, q->name);
	} else if (p99 > age) {
		doctor_tell(d, WARNING, "99 %% of %s finished jobs took up to %.1f s, and recover takes a row that no worker holds for stuck "
		            "after %s", PQgetvalue(res, row, 1), p99, usec_text(recover_age(d, q), limit));
		doctor_remedy(d, "timeout = %s in [recover]", better);
	}
}

void check_timeouts(struct doctor *d)
{
	PGresult *res = doctor_ask(d, sqltext("doctor", "durations"), 0, NULL);

	for (size_t i = 0; i < d->patients_len; i++)
		for (int row = 0; row < PQntuples(res); row++)
			if (strcmp(PQgetvalue(res, row, 0), d->patients[i].set->name) == 0) {
				d->patient = &d->patients[i];
				judge_timeout(d, d->patients[i].set, res, row);
			}
	d->patient = NULL;
	PQclear(res);
}

/* ---- autovacuum ---- */

void check_vacuum(struct doctor *d)
{
	static const char *const own[] = { "jobs", "batches", "claims", "workers" };
	struct buf tables = BUF_INIT, name = BUF_INIT;

	array_begin(&tables);
	for (size_t i = 0; d->ctl->session.has_schema && i < ARRAY_SIZE(own); i++) {
		buf_addf(&name, "unstuck.%s", own[i]);
		array_add(&tables, name.data, name.len);
		buf_clear(&name);
	}
	for (size_t i = 0; i < d->patients_len; i++) {
		const struct mapping *m = &d->patients[i].map;

		if (!d->patients[i].resolved || m->own)
			continue;
		ident_quote(&name, m->schema);
		buf_addc(&name, '.');
		ident_quote(&name, m->table);
		array_add(&tables, name.data, name.len);
		buf_clear(&name);
	}
	array_end(&tables);
	doctor_tell_rows(d, "vacuum", buf_text(&tables));
	buf_release(&tables);
	buf_release(&name);
}
