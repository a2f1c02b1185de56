/*
 * nemesis.c - what goes wrong, drawn from the seed: which fault, whom, how long, when the next one.
 *
 * A fault is counted when it has hit somebody. One lane is under one fault of its way or of its process at a time.
 */
#include "chaos.h"

#include <stdio.h>
#include <unistd.h>

#define MS ((uint64_t)1000)
#define OPEN_MAX 400			/* jobs that wait: so many, and no load comes */

static const struct {
	unsigned share;
	unsigned least, most;		/* ms that it lasts; 0: it is over at once */
} table[FAULTS] = {
	[FAULT_KILL]    = { 30, 0, 0 },
	[FAULT_STOP]    = { 30, 20, 1200 },
	[FAULT_TERM]    = { 20, 0, 0 },
	[FAULT_HURRY]   = { 10, 0, 0 },
	[FAULT_BACKEND] = { 200, 0, 0 },
	[FAULT_CRASH]   = { 2, 0, 0 },
	[FAULT_CUT]     = { 200, 0, 0 },
	[FAULT_PAUSE]   = { 40, 20, 900 },
	[FAULT_REFUSE]  = { 40, 20, 600 },
	[FAULT_SWALLOW] = { 200, 5, 300 },
	[FAULT_RECOVER] = { 20, 0, 0 },
};

static enum fault draw(struct chaos *c, unsigned faults)
{
	unsigned sum = 0, at;
	enum fault f;

	for (f = 0; f < FAULTS; f++)
		sum += faults & 1u << f ? table[f].share : 0;
	if (sum == 0)
		return FAULTS;
	at = chaos_random(c, sum);
	for (f = 0; f < FAULTS - 1; f++) {
		unsigned share = faults & 1u << f ? table[f].share : 0;

		if (at < share)
			break;
		at -= share;
	}
	return f;
}

/* Noted when it is done, so that all that its worker did came before. */
static void signal_worker(struct chaos *c, const struct lane *l, int signo, char kind)
{
	proc_signal(l->worker, signo);
	chaos_note(c, kind, "", "", (int)proc_pid(l->worker));
}

static bool end_a_session(struct chaos *c)
{
	char sql[256];

	snprintf(sql, sizeof sql, "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
	         " AND application_name LIKE 'unstuck-%%' ORDER BY backend_start OFFSET %u LIMIT 1) AS s", chaos_random(c, (uint32_t)c->lanes_len));
	const char *n = chaos_ask(c, sql);

	return n != NULL && strcmp(n, "1") == 0;
}

static bool start_recover(struct chaos *c)
{
	if (c->recover != NULL)
		return false;
	c->recover = proc_start(NULL, WORDS("unstuck-recover", "-c", test_path(story_text("lane%d.ini", c->lanes_len)), "--yes", "-q"));
	return true;
}

static bool strike_way(struct chaos *c, int lane, enum proxy_order order)
{
	return proxy_order(c->proxy, lane, order, NULL) > 0;
}

/* False: it hit nobody. */
static bool strike(struct chaos *c, int lane, enum fault f)
{
	struct lane *l = &c->lanes[lane];

	switch (f) {
	case FAULT_KILL:
		signal_worker(c, l, SIGKILL, 'K');
		return true;
	case FAULT_STOP:
		signal_worker(c, l, SIGSTOP, 'Z');
		return true;
	case FAULT_TERM:
		signal_worker(c, l, chaos_random(c, 4) == 0 ? SIGINT : SIGTERM, 'T');
		return true;
	case FAULT_HURRY:
		signal_worker(c, l, SIGTERM, 'T');
		signal_worker(c, l, SIGTERM, 'T');
		return true;
	case FAULT_BACKEND:
		return end_a_session(c);
	case FAULT_CRASH:
		server_restart();
		return true;
	case FAULT_CUT:
		return strike_way(c, lane, PROXY_CUT);
	case FAULT_PAUSE:
		return strike_way(c, lane, PROXY_PAUSE);
	case FAULT_REFUSE:
		return strike_way(c, lane, PROXY_REFUSE);
	case FAULT_SWALLOW:
		return strike_way(c, lane, PROXY_SWALLOW);
	case FAULT_RECOVER:
		return start_recover(c);
	case FAULT_OUTCOME:
	case FAULTS:
		break;
	}
	return false;
}

static void undo(struct chaos *c, int lane)
{
	struct lane *l = &c->lanes[lane];

	l->undo_at = 0;
	if (l->under == FAULT_STOP && l->worker != NULL)
		proc_signal(l->worker, SIGCONT);
	else
		proxy_order(c->proxy, lane, PROXY_PASS, NULL);
}

static void undo_due(struct chaos *c, uint64_t now)
{
	for (int i = 0; i < c->lanes_len; i++)
		if (c->lanes[i].undo_at != 0 && now >= c->lanes[i].undo_at)
			undo(c, i);
}

static void fault(struct chaos *c, unsigned faults)
{
	enum fault f = draw(c, faults);
	int lane = (int)chaos_random(c, (uint32_t)c->lanes_len);
	struct lane *l = &c->lanes[lane];

	/* A lasting one goes on; what has begun is seen to its end, but for a KILL. */
	if (l->worker == NULL || (l->undo_at != 0 && f != FAULT_KILL) || proxy_order(c->proxy, lane, PROXY_LOOK, NULL) == 0)
		return;		/* one that is still waiting for the database has nothing to lose */
	/* Starts are struck too, but not so often that nobody ever works. */
	if (!l->ready && chaos_random(c, 10) != 0)
		return;
	if (!strike(c, lane, f))
		return;
	c->faults[f]++;
	if (table[f].most == 0)
		return;
	l->under = f;
	l->undo_at = chaos_now() + (table[f].least + chaos_random(c, table[f].most - table[f].least)) * MS;
}

static void look_who_is_ready(struct chaos *c)
{
	const char *pids = chaos_ask(c, "SELECT ' ' || string_agg(pid::text, ' ') || ' ' FROM unstuck.workers");
	char pid[16];

	for (int i = 0; pids != NULL && i < c->lanes_len; i++) {
		struct lane *l = &c->lanes[i];

		if (l->worker == NULL || l->ready)
			continue;
		snprintf(pid, sizeof pid, " %d ", (int)proc_pid(l->worker));
		l->ready = strstr(pids, pid) != NULL;
	}
}

static bool wants_load(struct chaos *c)
{
	const char *open = chaos_ask(c, "SELECT count(*) FROM chaos.jobs WHERE status = 'PENDING'");

	return open != NULL && atoi(open) < OPEN_MAX;
}

void chaos_rage(struct chaos *c, double seconds, unsigned faults)
{
	uint64_t end = chaos_now() + (uint64_t)(seconds * 1000) * MS, next_fault = 0, next_load = 0, next_look = 0;

	for (int i = 0; i < c->lanes_len; i++)
		c->lanes[i].start_at = 1;
	while (chaos_now() < end) {
		uint64_t now = chaos_now();

		chaos_tend(c, true);
		undo_due(c, now);
		if (now >= next_look) {
			look_who_is_ready(c);
			next_look = now + 30 * MS;
		}
		if (now >= next_load && wants_load(c)) {
			chaos_load(c, 1 + (int)chaos_random(c, 30));
			next_load = now + chaos_random(c, 60) * MS;
		}
		if (now >= next_fault) {
			fault(c, faults);
			next_fault = now + chaos_random(c, 12) * MS;
		}
		usleep(2000);
	}
	for (int i = 0; i < c->lanes_len; i++)
		if (c->lanes[i].undo_at != 0)
			undo(c, i);
}
