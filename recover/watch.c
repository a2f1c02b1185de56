/*
 * watch.c - the second proof of death: somebody saw the beat not move.
 *
 * An old beat alone proves nothing: after an outage of the database every beat
 * is old. So a sighting is written, and only a worker whose beat has not moved
 * for two heartbeats after it is declared. Live workers write sightings too, so
 * usually there is nothing to wait for here.
 */
#include "watch.h"

#include <stdlib.h>
#include "buf.h"
#include "sqltext.h"
#include "stop.h"

#define WATCH_STEP (1 * SEC)		/* look again at least this often: it may beat again */
#define WATCH_MAX (10 * MINUTE)		/* whatever a heartbeat is set to */
#define WATCH_SPARE (200 * MSEC)	/* past the limit, not on it */

static int run_section(struct session *session, const char *section, struct error *err)
{
	PGresult *res = session_exec(session, err, sqltext("workers", section), 0, NULL);

	PQclear(res);
	return res != NULL ? 0 : -1;
}

/* How many silent workers there are, and the longest time that one is still to be watched. */
static int silent_left(struct session *session, size_t *workers, double *left, struct error *err)
{
	PGresult *res = session_exec(session, err, sqltext("workers", "silent"), 0, NULL);
	int watch_s;

	*workers = 0;
	*left = 0;
	if (res == NULL)
		return -1;
	watch_s = PQfnumber(res, "watch_s");
	for (int i = 0; i < PQntuples(res); i++) {
		double s = strtod(PQgetvalue(res, i, watch_s), NULL);

		*workers += s > 0;
		if (s > *left)
			*left = s;
	}
	PQclear(res);
	return 0;
}

int watch_silent(struct session *session, watch_say_fn *say, void *arg, struct error *err)
{
	usec_t until = 0;

	if (!session->has_schema)
		return 0;
	for (;;) {
		size_t workers;
		double left;
		usec_t now = clock_now(), pause;

		if (run_section(session, "sight", err) < 0 || silent_left(session, &workers, &left, err) < 0)
			return -1;
		if (left <= 0)
			return 0;
		pause = (usec_t)(left * (double)SEC) + WATCH_SPARE;
		if (until == 0) {
			say(arg, workers, left);
			until = now + usec_min(pause, WATCH_MAX);	/* those that fall silent later wait for a later run */
		}
		if (now >= until || stop_sleep(usec_min(usec_min(pause, WATCH_STEP), until - now)))
			return 0;
	}
}

static char *column(const PGresult *res, int row, const char *name)
{
	int c = PQfnumber(res, name);

	return xstrdup(c < 0 ? "" : PQgetvalue(res, row, c));
}

int watch_declare_dead(struct session *session, struct lost_workers *out, struct error *err)
{
	PGresult *res;

	if (!session->has_schema)
		return 0;
	res = session_exec(session, err, sqltext("workers", "dead"), 0, NULL);
	if (res == NULL)
		return -1;
	out->v = xcalloc((size_t)PQntuples(res) + 1, sizeof *out->v);
	for (int i = 0; i < PQntuples(res); i++) {
		int c = PQfnumber(res, "silent_s");

		out->v[out->len++] = (struct lost_worker){
			.worker_id = column(res, i, "worker_id"),
			.host = column(res, i, "host"),
			.pid = column(res, i, "pid"),
			.silent_s = c < 0 ? 0 : strtod(PQgetvalue(res, i, c), NULL),
		};
	}
	PQclear(res);
	return 0;
}

void lost_workers_release(struct lost_workers *l)
{
	for (size_t i = 0; i < l->len; i++) {
		free(l->v[i].worker_id);
		free(l->v[i].host);
		free(l->v[i].pid);
	}
	free(l->v);
	*l = (struct lost_workers){ NULL, 0 };
}
