/*
 * shutdown.c - runs the parts that worker.c lists. Not here: what a part does.
 */
#include "shutdown.h"

#include <assert.h>
#include <stdio.h>

static const char *const state_name[] = {
	[PART_WAITING] = "waiting", [PART_COMPLETED] = "completed",
	[PART_FAILED] = "failed", [PART_FORCED] = "forced",
};

const char *part_state_name(enum part_state state)
{
	return state_name[state];
}

void shutdown_init(struct shutdown *s, const struct part *parts, size_t len)
{
	assert(len <= PARTS_MAX);
	*s = (struct shutdown){ .parts = parts, .len = len };
}

static void shutdown_enter(struct shutdown *s, struct worker *w, size_t at, usec_t now)
{
	s->at = at;
	s->part_at = now;
	if (at < s->len && s->parts[at].ask != NULL)
		s->parts[at].ask(w);
}

void shutdown_begin(struct shutdown *s, struct worker *w, const char *reason, usec_t now)
{
	if (s->begun)
		return;
	s->begun = true;
	s->begun_at = now;
	snprintf(s->reason, sizeof s->reason, "%s", reason);
	shutdown_enter(s, w, 0, now);
}

usec_t shutdown_advance(struct shutdown *s, struct worker *w, usec_t now)
{
	while (s->begun && s->at < s->len) {
		const struct part *p = &s->parts[s->at];
		enum part_state state = p->look(w);
		usec_t until = p->until(w);

		if (state == PART_WAITING) {
			if (now < until)
				return until;
			state = PART_FORCED;
			if (p->force != NULL)
				p->force(w);
		}
		s->report[s->at].state = state;
		s->report[s->at].took = now - s->part_at;
		shutdown_enter(s, w, s->at + 1, now);
	}
	return USEC_NEVER;
}

bool shutdown_is_over(const struct shutdown *s)
{
	return s->begun && s->at == s->len;
}
