/*
 * keep.c - see keep.h.
 *
 *   ENDED --always--> HELD BACK --sealed, or the spool fails--> the store's list --written--> keep_forget()
 *     |                                                           ^      |
 *     +--outage---------------------------------------------------+      +-- waits for longer than OUTAGE_AFTER --> sealed too
 *
 * Lives here: when an outcome is sealed, what is said about the spool.
 * Not here:   files (common/spool.h), writing to the database (store.c).
 */
#include "keep.h"

#include <stdlib.h>
#include <string.h>

#include "failpoint.h"
#include "log.h"
#include "spool.h"
#include "store.h"

#define OUTAGE_AFTER (1 * SEC)		/* the database takes results within this, or they go to the disk as well */
#define LOOK_EVERY (250 * MSEC)		/* for those that wait */
#define SEAL_PACE (10 * MSEC)		/* between syncs, while there is work ahead */
#define CHECK_EVERY (1 * SEC)		/* the directory and its room */
#define OPEN_PAUSE (10 * SEC)		/* between tries to have a spool after all */
#define RESERVE_LEAST ((uint64_t)4 << 20)
#define RESERVE_MOST ((uint64_t)64 << 20)

struct keep {
	struct worker *w;
	struct spool *spool;		/* NULL: there is none */
	struct event *ended;		/* the spool's thread has done something */
	struct jobs held;		/* in the order of their entries */
	bool fails;			/* it cannot write: nothing is held back */
	usec_t look_at, check_at, open_at;
	bool told;			/* that results wait longer than they should */
};

static int cannot_be_used(struct error *err, const struct error *why)
{
	return error_set(err, ERR_SETTINGS, "%s; a queue with spool = always needs that directory: set spool_dir in [worker] to "
	                 "one that this user can write to, or spool = outage in the queues", why->text);
}

/* ---- records ---- */

static struct spool_record record_of(const struct job *j)
{
	static const enum spool_kind kinds[] = {
		[OUTCOME_DONE] = SPOOL_DONE, [OUTCOME_RETRY] = SPOOL_RETRY, [OUTCOME_FAIL] = SPOOL_FAIL,
		[OUTCOME_LATER] = SPOOL_LATER, [OUTCOME_RELEASE] = SPOOL_RELEASE,
	};
	const struct outcome *o = &j->outcome;
	const struct buf *bytes = o->kind == OUTCOME_DONE ? &o->result : &o->raw;

	return (struct spool_record){
		.kind = kinds[o->kind], .started = j->started, .source = j->queue->map.source, .queue = j->queue->set->name,
		.job_id = j->id, .claim_id = j->claim_id, .worker_id = j->worker, .attempt = (uint32_t)j->attempt,
		.error = o->error, .reason = late_name(o->late_reason), .delay = o->delay, .at = clock_wall(),
		.bytes = buf_text(bytes), .bytes_len = bytes->len,
	};
}

static void seal(struct keep *k, struct job *j)
{
	struct spool_record r = record_of(j);

	FAILPOINT(before_seal);
	j->entry = spool_seal(k->spool, &r);
}

/* ---- output files ---- */

int keep_out_open(struct worker *w, struct job *j, struct error *err)
{
	const struct queue_settings *set = j->queue->set;
	const struct spool_record head = {
		.kind = SPOOL_OUTPUT, .started = true, .text = set->output == OUTPUT_TEXT, .source = j->queue->map.source,
		.queue = set->name, .job_id = j->id, .claim_id = j->claim_id, .worker_id = j->worker,
		.attempt = (uint32_t)j->attempt, .at = clock_wall(), .attended = set->on_worker_death == DEATH_FINISH,
	};
	int fd = -1;

	if (w->keep->spool == NULL || !queue_spools_always(set))
		return 0;
	j->file = spool_out_open(w->keep->spool, &head, &fd, err);
	return j->file != NULL ? fd : -1;
}

int keep_out_note(struct worker *w, struct job *j, struct spool_note *note, struct error *err)
{
	return spool_out_note(w->keep->spool, j->file, note, err);
}

uint64_t keep_out_size(const struct job *j)
{
	return j->file != NULL ? spool_out_size(j->file) : 0;
}

bool keep_out_held(const struct job *j)
{
	return j->file != NULL && spool_out_held(j->file);
}

int keep_out_read(struct job *j, uint64_t most, struct error *err)
{
	return spool_out_read(j->file, &j->out, most, err);
}

/* Its job is sealed, stored or given back: what was printed is kept there, or worth nothing. */
static void out_done(const struct keep *k, struct job *j)
{
	if (j->file != NULL)
		spool_out_done(k->spool, j->file);
	j->file = NULL;
}

/* One that is attended holds the note of its end, which counts when we die before the seal. */
void keep_out_empty(struct worker *w, struct job *j)
{
	if (j->queue->set->on_worker_death != DEATH_FINISH)
		out_done(w->keep, j);
}

/* ---- what is held back ---- */

static void let_go(struct keep *k, struct job *j)
{
	TAILQ_REMOVE(&k->held, j, link);
	j->queue->keeping--;
	j->kept_back = false;
	store_sealed(k->w, j);
}

static void on_sealed(void *arg, uint64_t upto)
{
	struct keep *k = arg;
	struct job *j;

	FAILPOINT(after_seal);
	while ((j = TAILQ_FIRST(&k->held)) != NULL && j->entry <= upto) {
		out_done(k, j);
		let_go(k, j);
	}
	worker_changed(k->w);
}

/* Once with each change: what it means for the jobs, and for who reads the log. */
static void on_changed(void *arg, enum spool_health health, const char *text)
{
	struct keep *k = arg;
	struct job *j;

	k->fails = health == SPOOL_FAILING || health == SPOOL_BROKEN;
	while (k->fails && (j = TAILQ_FIRST(&k->held)) != NULL)
		let_go(k, j);
	if (health == SPOOL_FINE)
		log_event(LOG_INFO, "spool_fine", LS("next", "jobs are claimed again"));
	else if (health == SPOOL_LOW)
		log_event(LOG_WARNING, "spool_low", LS("why", text));
	else
		log_event(LOG_ERROR, "spool_failed", LS("error", text),
		          LS("next", health == SPOOL_BROKEN ? "no job is claimed; stop the worker when its jobs are over"
		                                            : "no job is claimed until it can be written"));
	worker_changed(k->w);
}

bool keep_take(struct worker *w, struct job *j)
{
	struct keep *k = w->keep;

	j->ended_at = clock_now();
	if (k->spool == NULL || j->outcome.kind == OUTCOME_RELEASE || !queue_spools_always(j->queue->set))
		return false;
	seal(k, j);
	if (k->fails)
		return false;
	TAILQ_INSERT_TAIL(&k->held, j, link);
	j->queue->keeping++;
	j->kept_back = true;
	return true;
}

void keep_forget(struct worker *w, struct job *j)
{
	struct keep *k = w->keep;

	if (k == NULL || k->spool == NULL)
		return;
	if (j->kept_back) {
		TAILQ_REMOVE(&k->held, j, link);
		j->queue->keeping--;
	}
	FAILPOINT(before_drop);
	out_done(k, j);
	if (j->entry != 0)
		spool_done(k->spool, j->entry);
	FAILPOINT(after_drop);
	j->entry = 0;
}

bool keep_has(const struct worker *w, const struct job *j)
{
	return w->keep != NULL && w->keep->spool != NULL && j->entry != 0 && j->entry <= spool_sealed(w->keep->spool);
}

size_t keep_count(const struct worker *w)
{
	const struct job *j;
	size_t n = 0;

	TAILQ_FOREACH(j, &w->jobs, all)
		n += j->state == JOB_ENDED && keep_has(w, j);
	return n;
}

/* ---- results that wait ---- */

/* Those that wait and are not on their way to the disk. How many wait there or here for longer than they should. */
static size_t seal_overdue(struct keep *k, usec_t now, usec_t after)
{
	struct job *j;
	size_t n = 0;

	TAILQ_FOREACH(j, &k->w->jobs, all) {
		if (j->state != JOB_ENDED || now < j->ended_at + after)
			continue;
		if (j->entry == 0)
			seal(k, j);
		n++;
	}
	return n;
}

static void note_outage(struct keep *k, size_t overdue)
{
	size_t safe;

	if (overdue == 0) {
		if (k->told)
			log_event(LOG_INFO, "spool_empty", LS("what", "the database has all results that had to wait for it"));
		k->told = false;
		return;
	}
	if (k->told)
		return;
	safe = keep_count(k->w);
	if (safe < overdue)
		return;
	k->told = true;
	log_event(LOG_WARNING, "spooled", LN("results", safe), LN("bytes", spool_bytes(k->spool)), LS("dir", k->w->set->spool_dir),
	          LS("why", "the database does not take them"), LS("next", "they are stored when it does"));
}

static usec_t look(struct keep *k, usec_t now)
{
	if (k->told && store_is_empty(k->w))
		note_outage(k, 0);
	if (k->w->jobs_len == 0)
		return USEC_NEVER;
	if (now >= k->look_at) {
		note_outage(k, seal_overdue(k, now, OUTAGE_AFTER));
		k->look_at = now + LOOK_EVERY;
	}
	return k->look_at;
}

size_t keep_all(struct worker *w)
{
	struct keep *k = w->keep;
	struct error err = ERROR_INIT;
	size_t n;

	if (k->spool == NULL)
		return 0;
	seal_overdue(k, clock_now(), 0);
	if (spool_flush(k->spool, &err) < 0)
		log_event(LOG_ERROR, "spool_failed", LS("error", err.text));
	n = keep_count(w);
	if (n != 0)
		log_event(LOG_WARNING, "spooled", LN("results", n), LN("bytes", spool_bytes(k->spool)), LS("dir", w->set->spool_dir),
		          LS("why", "the worker ends and the database did not take them"),
		          LS("next", "the next worker here, unstuck-recover or `unstuckctl spool replay` stores them"));
	return n;
}

/* ---- life ---- */

static bool is_needed(const struct worker *w)
{
	for (size_t i = 0; i < w->queues_len; i++)
		if (!w->queues[i]->draining && queue_spools_always(w->queues[i]->set))
			return true;
	return false;
}

/* Room for what runs to be printed and sealed. */
static uint64_t reserve_of(const struct worker *w)
{
	uint64_t most = 0;

	for (size_t i = 0; i < w->queues_len; i++)
		if (w->queues[i]->set->max_result > most)
			most = w->queues[i]->set->max_result;
	if (most >= RESERVE_MOST || most * w->set->concurrency >= RESERVE_MOST)
		return RESERVE_MOST;
	most *= w->set->concurrency;
	return most > RESERVE_LEAST ? most : RESERVE_LEAST;
}

static void on_ended(evutil_socket_t fd, short what, void *arg)
{
	const struct keep *k = arg;

	(void)fd, (void)what;
	worker_changed(k->w);
}

static int open_spool(struct keep *k, struct error *err)
{
	const struct spool_options options = {
		.dir = k->w->set->spool_dir, .database = k->w->opt->database, .reserve = reserve_of(k->w), .sealed = on_sealed, .changed = on_changed, .arg = k,
	};

	k->spool = spool_open(&options, err);
	if (k->spool == NULL)
		return -1;
	k->ended = event_new(k->w->base, spool_fd(k->spool), EV_READ | EV_PERSIST, on_ended, k);
	if (k->ended != NULL && event_add(k->ended, NULL) == 0)
		return 0;
	spool_close(k->spool);
	k->spool = NULL;
	return error_set(err, ERR_SYS, "the spool cannot be watched");
}

static void tell_none(const struct error *why, bool needed)
{
	log_event(needed ? LOG_ERROR : LOG_WARNING, "spool_failed", LS("error", why->text),
	          LS("next", needed ? "no job is claimed; trying again" : "results wait in memory alone when the database is away"));
}

int keep_open(struct worker *w, struct error *err)
{
	struct keep *k = xcalloc(1, sizeof *k);
	struct error why = ERROR_INIT;

	k->w = w;
	w->keep = k;
	TAILQ_INIT(&k->held);
	if (open_spool(k, &why) == 0)
		return 0;
	if (is_needed(w))
		return cannot_be_used(err, &why);
	tell_none(&why, false);
	k->open_at = USEC_NEVER;
	return 0;
}

void keep_close(struct worker *w)
{
	struct keep *k = w->keep;

	if (k == NULL)
		return;
	if (k->ended != NULL)
		event_free(k->ended);
	if (k->spool != NULL)
		spool_close(k->spool);
	free(k);
	w->keep = NULL;
}

bool keep_is_well(const struct worker *w)
{
	return w->keep->spool != NULL ? spool_health(w->keep->spool) == SPOOL_FINE : !is_needed(w);
}

bool keep_is_broken(const struct worker *w)
{
	return w->keep->spool != NULL && spool_health(w->keep->spool) == SPOOL_BROKEN;
}

/* A reload may have brought a queue that needs what there could not be. */
static usec_t try_to_open(struct keep *k, usec_t now)
{
	struct error why = ERROR_INIT;

	if (!is_needed(k->w))
		return USEC_NEVER;
	if (k->open_at != USEC_NEVER && now < k->open_at)
		return k->open_at;
	if (open_spool(k, &why) == 0)
		return now;
	tell_none(&why, true);
	k->open_at = now + OPEN_PAUSE;
	return k->open_at;
}

/* While the handlers have work ahead nobody waits for a seal, as nobody waits for a write (store.c): more go in one sync. */
static usec_t pace_of(const struct worker *w)
{
	if (worker_stopping(w))
		return 0;
	for (size_t i = 0; i < w->queues_len; i++)
		if (w->queues[i]->keeping != 0 && w->queues[i]->waiting == 0)
			return 0;
	return SEAL_PACE;
}

usec_t keep_advance(struct worker *w, usec_t now)
{
	struct keep *k = w->keep;
	usec_t next;

	if (k->spool == NULL)
		return try_to_open(k, now);
	if (now >= k->check_at) {
		spool_check(k->spool);
		k->check_at = now + CHECK_EVERY;
	}
	spool_set_pace(k->spool, pace_of(w));
	next = usec_min(look(k, now), spool_advance(k->spool, now));
	return usec_min(next, k->check_at);
}

struct keep_state keep_state(const struct worker *w)
{
	const struct spool *s = w->keep != NULL ? w->keep->spool : NULL;
	static const char *const name[] = {
		[SPOOL_FINE] = "fine", [SPOOL_LOW] = "low", [SPOOL_FAILING] = "broken", [SPOOL_BROKEN] = "broken",
	};

	if (s == NULL)
		return (struct keep_state){ .name = "off" };
	return (struct keep_state){ name[spool_health(s)], spool_entries(s), spool_bytes(s) };
}
