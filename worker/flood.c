/*
 * flood.c - see flood.h.
 */
#include "flood.h"

#include "log.h"

static void flood_tell(struct queue *q)
{
	if (q->flood_dropped != 0)
		log_event(LOG_WARNING, "handler_stderr_dropped", LS("queue", q->set->name), LN("lines", q->flood_dropped));
	q->flood_dropped = 0;
}

bool flood_passes(struct queue *q, usec_t now)
{
	const struct rate *rate = &q->worker->set->stderr_rate;
	char per[USEC_TEXT_MAX];

	if (now >= q->flood_until) {
		flood_tell(q);
		q->flood_until = now + rate->per;
		q->flood_lines = 0;
	}
	if (q->flood_lines < rate->n) {
		q->flood_lines++;
		return true;
	}
	if (q->flood_dropped++ == 0) {
		log_event(LOG_WARNING, "handler_stderr_limited", LS("queue", q->set->name), LN("lines", rate->n),
		          LS("in", usec_text(rate->per, per)), LS("next", "further lines are counted, not logged (stderr_rate)"));
		worker_changed(q->worker);
	}
	return false;
}

usec_t flood_advance(struct worker *w, usec_t now)
{
	usec_t next = USEC_NEVER;

	for (size_t i = 0; i < w->queues_len; i++) {
		struct queue *q = w->queues[i];

		if (q->flood_dropped == 0)
			continue;
		if (now >= q->flood_until)
			flood_tell(q);
		else
			next = usec_min(next, q->flood_until);
	}
	return next;
}

void flood_tell_all(struct worker *w)
{
	for (size_t i = 0; i < w->queues_len; i++)
		flood_tell(w->queues[i]);
}
