/*
 * rate.c - see rate.h. Not here: the counting (rate_script.c), when to claim (claim.c).
 */
#include "rate.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handler.h"
#include "line.h"
#include "log.h"
#include "rate_script.h"
#include "redis.h"

#define LEASE_FIRST (2 * SEC)	/* a job may wait a second in line; claims that are slow get more */
#define LEASE_LAST (60 * SEC)
#define LEASE_SPARE (500 * MSEC)	/* we stop that much earlier than Redis does: clocks, and the start of a process */
#define AGAIN (1 * SEC)		/* after an error of Redis */
#define MEMORY (12 * HOUR)	/* the counts live a day at least without being asked for */
#define TOLD_MAX 16		/* grants told of in one step */
#define NAME_MAX_LEN 64		/* of a question: the worker's id and a number */

/* The permits of one answer. Freed when none is out and all is told. */
struct grant {
	TAILQ_ENTRY(grant) link;
	struct gate *gate;
	char id[NAME_MAX_LEN];
	usec_t until;		/* a job with one of them may start until then */
	uint32_t idle;		/* at hand, or spent on a claim and no job has it */
	uint32_t out;		/* with jobs */
	uint32_t used, back;	/* to be told */
	bool held;		/* at hand, or its claim is under way: not to be freed */
};

/* What a queue with a rate keeps. Outlives the queue while a question is under way. */
struct gate {
	struct queue *q;		/* NULL: gone */
	struct worker *w;
	char *set, *book;		/* keys */
	TAILQ_HEAD(, grant) grants;
	struct grant *at_hand;		/* from its answer to the end of that turn */
	bool asking;
	char question[NAME_MAX_LEN];	/* the last one that was sent */
	char asked[NAME_MAX_LEN];	/* the one under way, if asking */
	usec_t asked_at, lease;
	usec_t wait_until;
	const char *held;		/* why nothing is claimed, and that was said; NULL: nothing to say */
	char epoch[NAME_MAX_LEN];	/* of the counts that we know; "": none */
	uint64_t seq;
	usec_t known_at;
	unsigned refs;
};

static void gate_drop(struct gate *gate)
{
	if (--gate->refs != 0)
		return;
	free(gate->set);
	free(gate->book);
	free(gate);
}

/* ---- held back, and said so once for each reason ---- */

static void gate_hold(struct gate *gate, const char *why, const char *error)
{
	if (gate->held != why && gate->q != NULL)	/* one of the texts below */
		log_event(LOG_WARNING, "rate_held", LS("queue", gate->q->set->name), LS("why", why), LS("error", error),
		          LS("next", "nothing of this queue is started until it is over"));
	gate->held = why;
}

static void gate_release(struct gate *gate)
{
	if (gate->held != NULL && gate->q != NULL)
		log_event(LOG_INFO, "rate_resumed", LS("queue", gate->q->set->name));
	gate->held = NULL;
}

/* ---- grants ---- */

static void grant_maybe_over(struct grant *g)
{
	if (g->held || g->out != 0 || g->used != 0 || g->back != 0)
		return;
	TAILQ_REMOVE(&g->gate->grants, g, link);
	gate_drop(g->gate);
	free(g);
}

static void gate_take(struct gate *gate, uint32_t n)
{
	struct grant *g = xcalloc(1, sizeof *g);

	g->gate = gate;
	memcpy(g->id, gate->asked, sizeof g->id);
	g->until = gate->asked_at + gate->lease - LEASE_SPARE;
	g->idle = n;
	g->held = true;
	gate->at_hand = g;
	gate->refs++;
	TAILQ_INSERT_TAIL(&gate->grants, g, link);
}

/* What is at hand and was not wanted. */
static void gate_put_back(struct gate *gate)
{
	struct grant *g = gate->at_hand;

	gate->at_hand = NULL;
	if (g != NULL)
		rate_end_claim(g);
}

/* ---- asking and telling ---- */

static usec_t gate_lease(const struct gate *gate)
{
	return usec_min(LEASE_FIRST + 4 * gate->q->claim_took, LEASE_LAST);
}

static void gate_learn(struct gate *gate, const char *epoch, uint64_t seq)
{
	snprintf(gate->epoch, sizeof gate->epoch, "%s", epoch);
	gate->seq = seq;
	gate->known_at = clock_now();
}

static bool is_answer(const redisReply *r)
{
	return r->type == REDIS_REPLY_ARRAY && r->elements == 5 && r->element[0]->type == REDIS_REPLY_INTEGER
	       && r->element[1]->type == REDIS_REPLY_INTEGER && r->element[2]->type == REDIS_REPLY_STRING
	       && r->element[3]->type == REDIS_REPLY_INTEGER && r->element[4]->type == REDIS_REPLY_INTEGER;
}

static void on_granted(struct gate *gate, const redisReply *r)
{
	usec_t now = clock_now();
	bool lost = r->element[4]->integer != 0;

	gate_learn(gate, r->element[2]->str, (uint64_t)r->element[3]->integer);
	if (lost)
		gate_hold(gate, "Redis lost what it had counted: one window has to pass", "");
	else
		gate_release(gate);
	if (r->element[0]->integer > 0 && gate->q != NULL)	/* else nobody tells of them: their lease ends */
		gate_take(gate, (uint32_t)r->element[0]->integer);
	else
		gate->wait_until = now + (usec_t)r->element[1]->integer + MSEC;
}

static void on_asked(void *arg, const redisReply *reply)
{
	struct gate *gate = arg;

	gate->asking = false;
	if (reply != NULL && is_answer(reply)) {
		on_granted(gate, reply);
	} else if (reply != NULL) {
		gate->wait_until = clock_now() + AGAIN;
		gate_hold(gate, "Redis cannot count", reply->type == REDIS_REPLY_ERROR ? reply->str : "an answer that is none");
	}
	gate_drop(gate);
}

struct told {			/* of one grant, as the script takes it */
	char id[NAME_MAX_LEN], used[16], back[16];
};

/* Returns how many. What does not fit is told with the next question. */
static int gate_gather(struct gate *gate, struct told *told)
{
	struct grant *g, *next;
	int n = 0;

	for (g = TAILQ_FIRST(&gate->grants); g != NULL && n < TOLD_MAX; g = next) {
		next = TAILQ_NEXT(g, link);
		if (g->used == 0 && g->back == 0)
			continue;
		memcpy(told[n].id, g->id, sizeof g->id);
		snprintf(told[n].used, sizeof told[n].used, "%u", g->used);
		snprintf(told[n++].back, sizeof told[n].back, "%u", g->back);
		g->used = g->back = 0;
		grant_maybe_over(g);
	}
	return n;
}

/* One step of the script. What cannot be told now is settled by the end of its lease. */
static bool gate_send(struct gate *gate, uint32_t want, redis_answer_fn *fn)
{
	const struct rate *rate = &gate->q->set->rate;
	bool knows = gate->epoch[0] != '\0' && clock_now() < gate->known_at + MEMORY;
	char limit[16], window[24], lease[24], seq[24], wanted[16];
	struct told told[TOLD_MAX];
	const char *argv[13 + 3 * TOLD_MAX] = {
		"EVAL", rate_script, "2", gate->set, gate->book, limit, window, lease, knows ? gate->epoch : "", seq, gate->question,
		wanted, gate->question,
	};
	int argc = 13, n = gate_gather(gate, told);

	snprintf(limit, sizeof limit, "%u", rate->n);
	snprintf(window, sizeof window, "%" PRIu64, rate->per);
	snprintf(lease, sizeof lease, "%" PRIu64, gate_lease(gate));
	snprintf(seq, sizeof seq, "%" PRIu64, knows ? gate->seq : 0);
	snprintf(wanted, sizeof wanted, "%u", want);
	snprintf(gate->question, sizeof gate->question, "%s.%" PRIu64, gate->w->id, ++gate->w->questions);
	for (int i = 0; i < n; i++) {
		argv[argc++] = told[i].id;
		argv[argc++] = told[i].used;
		argv[argc++] = told[i].back;
	}
	return redis_send(gate->w, fn, gate, argc, argv);
}

static bool gate_has_news(const struct gate *gate)
{
	const struct grant *g;

	TAILQ_FOREACH(g, &gate->grants, link)
		if (g->used != 0 || g->back != 0)
			return true;
	return false;
}

static void gate_ask(struct gate *gate, uint32_t want)
{
	gate->asked_at = clock_now();
	gate->lease = gate_lease(gate);
	gate->asking = gate_send(gate, want, on_asked);
	memcpy(gate->asked, gate->question, sizeof gate->asked);
	gate->refs += gate->asking;
}

/* ---- for the claims ---- */

uint32_t rate_allows(struct queue *q, uint32_t want, usec_t now, usec_t *next)
{
	struct gate *gate = q->gate;

	if (gate == NULL)
		return want;
	if (gate->at_hand != NULL)
		return want < gate->at_hand->idle ? want : gate->at_hand->idle;
	if (gate->asking)
		return 0;
	if (!redis_is_ready(gate->w)) {
		if (redis_is_lost(gate->w))
			gate_hold(gate, "Redis is away", redis_last_error(gate->w));
		return 0;	/* its return brings us back here */
	}
	if (now >= gate->wait_until)
		gate_ask(gate, want);
	if (!gate->asking)
		*next = usec_min(*next, now < gate->wait_until ? gate->wait_until : now + AGAIN);
	return 0;
}

bool rate_is_at_hand(const struct queue *q)
{
	return q->gate == NULL || q->gate->at_hand != NULL;
}

struct grant *rate_spend(struct queue *q, uint32_t n)
{
	struct grant *g = q->gate != NULL ? q->gate->at_hand : NULL;

	if (g == NULL)
		return NULL;
	q->gate->at_hand = NULL;
	g->back += g->idle - n;
	g->idle = n;
	return g;
}

void rate_give_job(struct grant *g, struct job *j)
{
	if (g == NULL)
		return;
	g->idle--;
	g->out++;
	j->grant = g;
}

void rate_end_claim(struct grant *g)
{
	if (g == NULL)
		return;
	g->back += g->idle;
	g->idle = 0;
	g->held = false;
	grant_maybe_over(g);
}

/* ---- for the jobs ---- */

void rate_started(struct job *j)
{
	struct grant *g = j->grant;

	if (g == NULL)
		return;
	j->grant = NULL;
	g->out--;
	g->used++;
}

void rate_unused(struct job *j)
{
	struct grant *g = j->grant;

	if (g == NULL)
		return;
	j->grant = NULL;
	g->out--;
	g->back++;
}

/* Without one: it was started, in vain, and would now be a second start. */
void rate_check_line(struct queue *q, usec_t now)
{
	struct job *j, *next;

	if (q->gate == NULL)
		return;
	JOBS_FOREACH_SAFE(j, &q->line, link, next) {
		if (j->grant != NULL && now < j->grant->until)
			continue;
		line_leave(j);
		handler_give_back(q->worker, j, "its permit to start ran out");
		q->claim_at = now + AGAIN;
		q->empty = false;
	}
}

void rate_settle(struct worker *w)
{
	for (size_t i = 0; i < w->queues_len; i++) {
		struct gate *gate = w->queues[i]->gate;

		if (gate == NULL)
			continue;
		gate_put_back(gate);
		if (gate_has_news(gate))
			gate_send(gate, 0, NULL);
	}
}

/* ---- life ---- */

void rate_open_queue(struct queue *q)
{
	struct gate *gate;

	if (q->set->rate.n == 0)
		return;
	gate = q->gate = xcalloc(1, sizeof *gate);
	gate->q = q;
	gate->w = q->worker;
	gate->refs = 1;
	gate->set = xasprintf("unstuck:rate:%s:%" PRIu64, q->set->name, q->set->rate.per / SEC);
	gate->book = xasprintf("%s:book", gate->set);
	TAILQ_INIT(&gate->grants);
}

void rate_close_queue(struct queue *q)
{
	struct gate *gate = q->gate;

	if (gate == NULL)
		return;
	gate_put_back(gate);
	while (gate_has_news(gate))
		gate_send(gate, 0, NULL);
	gate->q = NULL;
	q->gate = NULL;
	gate_drop(gate);
}
