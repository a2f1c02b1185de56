/*
 * worker.c - struct worker: set up in order, advanced after every event, torn
 * down in reverse.
 *
 * Lives here: worker_advance(), the parts of the shutdown, the connection's events.
 * Not here:   what each part does (claim, handler, store, presence, rescue).
 */
#include "worker.h"

#include <stdlib.h>
#include <string.h>

#include "adoption.h"
#include "announce.h"
#include "batch.h"
#include "claim.h"
#include "control.h"
#include "failpoint.h"
#include "flood.h"
#include "handler.h"
#include "http.h"
#include "inherit.h"
#include "keep.h"
#include "lanes.h"
#include "live.h"
#include "log.h"
#include "metrics.h"
#include "notify.h"
#include "presence.h"
#include "rate.h"
#include "reconcile.h"
#include "redis.h"
#include "reload.h"
#include "rescue.h"
#include "signals.h"
#include "store.h"
#include "version.h"

#define SETTLE_TIME (10 * SEC)		/* at least this long for the database to take what is left */
#define HURRY_TIME (3 * SEC)		/* the same after a second signal */
#define ANNOUNCE_TIME (2 * SEC)	/* for the report to reach the server */
#define HTTP_TIME (1 * SEC)		/* for the readers of the last answers and events */
#define REDIS_TIME (1 * SEC)		/* for what is under way to Redis, and for the report again */
#define CANCEL_CHANNEL "unstuck_cancel"	/* payload: the worker that holds what was cancelled (sql/schema.sql) */
#define REAP_TIME (2 * SEC)		/* after KILL, for the kernel to hand the children back */

/* ---- jobs in flight ---- */

struct job *worker_find_job(const struct worker *w, int64_t claim_id, const char *worker)
{
	struct job *j;

	TAILQ_FOREACH(j, &w->jobs, all)
		if (j->claim_id == claim_id && strcmp(j->worker, worker) == 0)
			return j;
	return NULL;
}

void worker_forget_job(struct worker *w, struct job *j)
{
	TAILQ_REMOVE(&w->jobs, j, all);
	w->jobs_len--;
	keep_forget(w, j);
	rate_unused(j);
	batch_leave(j->batch);
	job_free(j);
}

/* ---- the parts of the shutdown ---- */

static usec_t hurried(const struct worker *w, usec_t until)
{
	return w->hurried_at == USEC_NEVER ? until : usec_min(until, w->hurried_at + HURRY_TIME);
}

static usec_t grace_end(const struct worker *w)
{
	return usec_min(w->shutdown.begun_at + w->set->graceful_timeout, w->hurried_at);
}

/* Long enough for the database to come back while results wait, and never less than it takes it to answer. */
static usec_t until_settled(const struct worker *w)
{
	usec_t least = w->shutdown.part_at + SETTLE_TIME;
	usec_t end = grace_end(w) + w->set->force_delay;

	return hurried(w, end > least && store_waiting(w) != 0 ? end : least);
}

static enum part_state look_intake(struct worker *w)
{
	return claim_is_idle(w) && rescue_is_idle(w) && inherit_is_idle(w) ? PART_COMPLETED : PART_WAITING;
}

static usec_t until_intake(const struct worker *w)
{
	return hurried(w, w->shutdown.part_at + SETTLE_TIME);
}

static enum part_state look_jobs(struct worker *w)
{
	const struct job *j;

	TAILQ_FOREACH(j, &w->jobs, all)
		if (j->state == JOB_RUNNING || j->state == JOB_HELD || j->state == JOB_CLAIMED)
			return PART_WAITING;
	if (!handler_is_idle(w))
		return PART_WAITING;
	return w->count.killed > w->killed_before || w->idle_killed ? PART_FORCED : PART_COMPLETED;
}

/* Within the part: TERM when the grace period is over (the handlers add KILL after force_delay). */
static usec_t until_jobs(const struct worker *w)
{
	return grace_end(w) + w->set->force_delay + REAP_TIME;
}

static void release_answered(void *arg, const struct db_reply *reply)
{
	struct worker *w = arg;

	w->releasing--;
	if (FAILS_AT(release_reply))
		reply = db_answer_vanished(w->db);
	if (reply->outcome != DB_DONE) {
		w->release_failed = true;
		return;
	}
	for (int i = 0; i < PQntuples(reply->results[0]); i++) {
		w->count.released++;
		log_event(LOG_INFO, "job_released", LS("job", PQgetvalue(reply->results[0], i, 0)),
		          LS("started", "unknown"));
	}
}

void worker_release_all(struct worker *w)
{
	w->released = true;
	w->release_failed = false;
	for (size_t i = 0; i < w->queues_len; i++) {
		struct db_request *r = db_request_new(release_answered, w);
		char *params[] = { xstrdup(w->id) };

		w->releasing++;
		db_request_add(r, w->queues[i]->sql[STMT_RELEASE_ALL], 1, params, NULL);
		FAILPOINT(before_release);
		db_send(w->db, r);
		FAILPOINT(after_release);
	}
}

static enum part_state look_results(struct worker *w)
{
	if (!store_is_empty(w) || w->releasing != 0)
		return PART_WAITING;
	if (w->presence == ABSENT)
		return PART_COMPLETED;	/* never registered: nothing was claimed */
	if (w->presence == REGISTERING || !db_is_ready(w->db))
		return PART_WAITING;
	if (!w->released || w->release_failed) {
		worker_release_all(w);
		return PART_WAITING;
	}
	return PART_COMPLETED;
}

static void force_results(struct worker *w)
{
	struct job *j;

	keep_all(w);
	TAILQ_FOREACH(j, &w->jobs, all) {
		bool nothing = j->outcome.kind == OUTCOME_RELEASE && j->outcome.late_reason == LATE_NONE;

		if (j->state != JOB_ENDED || nothing || keep_has(w, j))
			continue;
		w->count.unsaved++;
		log_event(LOG_ERROR, "result_not_stored", LS("queue", j->queue->set->name), LS("job", j->id),
		          LN("claim", j->claim_id), LS("outcome", outcome_kind_name(j->outcome.kind)),
		          LS("next", "the database did not take it in time; the job will be recovered and run again"));
	}
}

static void ask_presence(struct worker *w)
{
	w->leaving = true;
	w->leave_at = 0;
	worker_changed(w);
}

static enum part_state look_presence(struct worker *w)
{
	return presence_is_over(w) ? PART_COMPLETED : PART_WAITING;
}

static usec_t until_presence(const struct worker *w)
{
	return hurried(w, w->shutdown.part_at + (db_is_ready(w->db) ? SETTLE_TIME : SEC));
}

static void ask_http(struct worker *w)
{
	http_leave(w);
}

static enum part_state look_http(struct worker *w)
{
	if (!http_is_over(w))
		return PART_WAITING;
	http_cut(w);
	return PART_COMPLETED;
}

static usec_t until_http(const struct worker *w)
{
	return w->shutdown.part_at + HTTP_TIME;
}

/* Redis is never waited for long: what it shows of us expires by itself. */
static enum part_state look_redis(struct worker *w)
{
	return redis_has_left(w) ? PART_COMPLETED : PART_WAITING;
}

static usec_t until_redis(const struct worker *w)
{
	return hurried(w, w->shutdown.part_at + REDIS_TIME);
}

static void ask_database(struct worker *w)
{
	announce_shutdown(w);
}

static void close_database(struct worker *w)
{
	lanes_first_gone(w);
	db_close(w->db);
}

/* The last that goes over it is the report. */
static enum part_state look_database(struct worker *w)
{
	if (!announce_is_idle(w) && !(announce_waits_for_redis(w) && clock_now() >= w->shutdown.part_at + REDIS_TIME))
		return PART_WAITING;
	close_database(w);
	return PART_COMPLETED;
}

static usec_t until_announced(const struct worker *w)
{
	return hurried(w, w->shutdown.part_at + (announce_waits_for_redis(w) ? REDIS_TIME : ANNOUNCE_TIME));
}

/* In this order; each row is also a row of the final report. */
static const struct part leaving[] = {
	{ "intake",   NULL,         look_intake,   NULL,           until_intake },
	{ "jobs",     NULL,         look_jobs,     handler_kill_all, until_jobs },
	{ "results",  NULL,         look_results,  force_results,  until_settled },
	{ "presence", ask_presence, look_presence, NULL,           until_presence },
	{ "http",     ask_http,     look_http,     http_cut,       until_http },
	{ "redis",    redis_leave,  look_redis,    redis_cut,      until_redis },
	{ "database", ask_database, look_database, close_database, until_announced },
};

/* In its jobs in memory, or without our knowledge: a claim that nobody heard the end of, and no goodbye that found nothing. */
static bool may_hold_rows(const struct worker *w)
{
	return w->jobs_len != 0 || w->release_failed || ((w->claim_lost || !claim_is_idle(w)) && w->presence != GONE);
}

static void report_shutdown(const struct worker *w)
{
	const struct shutdown *s = &w->shutdown;
	struct log_field fields[PARTS_MAX + 9] = {
		LS("reason", s->reason), LN("elapsed_ms", (clock_now() - s->begun_at) / MSEC),
		LN("finished", w->count.finished), LN("released", w->count.released),
		LN("killed", w->count.killed), LN("spooled", keep_count(w)),
	};
	char text[PARTS_MAX][48];
	size_t n = 6;

	if (announce_trace_id() != NULL)
		fields[n++] = LS("trace_id", announce_trace_id());

	for (size_t i = 0; i < s->len; i++) {
		snprintf(text[i], sizeof text[i], "%s/%llums", part_state_name(s->report[i].state),
		         (unsigned long long)(s->report[i].took / MSEC));
		fields[n++] = LS(s->parts[i].name, text[i]);
	}
	fields[n] = (struct log_field){ .key = NULL };
	log_write(LOG_INFO, "shutdown", fields);
}

/* ---- stopping ---- */

bool worker_stopping(const struct worker *w)
{
	return w->shutdown.begun;
}

enum worker_state worker_state(const struct worker *w)
{
	return worker_stopping(w) ? WORKER_STOPPING : !w->ready ? WORKER_STARTING : w->quiet ? WORKER_QUIET : WORKER_RUNNING;
}

const char *worker_state_name(enum worker_state s)
{
	static const char *const name[] = {
		[WORKER_STARTING] = "starting", [WORKER_RUNNING] = "running", [WORKER_QUIET] = "quiet",
		[WORKER_STOPPING] = "stopping",
	};

	return name[s];
}

void worker_stop(struct worker *w, const char *reason)
{
	char grace[USEC_TEXT_MAX];

	if (w->shutdown.begun)
		return;
	log_event(LOG_INFO, "stopping", LS("reason", reason), LN("running", w->running),
	          LS("graceful_timeout", usec_text(w->set->graceful_timeout, grace)));
	w->killed_before = w->count.killed;
	shutdown_begin(&w->shutdown, w, reason, clock_now());
	announce_stopping(w, until_jobs(w));
	worker_changed(w);
}

/* Batch mode: nothing runs, nothing waits, and every queue's last claim found all there was, or no other will be made. */
static void stop_when_done(struct worker *w)
{
	bool idle = w->jobs_len == 0 && claim_is_idle(w) && store_is_empty(w);

	if (!idle || worker_stopping(w))
		return;
	if (w->max_jobs != 0 && w->count.started >= w->max_jobs)
		worker_stop(w, "max_jobs");
	else if (w->drain && w->presence == PRESENT && claim_found_nothing(w))
		worker_stop(w, "drained");
	else if (w->drain && keep_is_broken(w))
		worker_stop(w, "failed.spool");	/* nobody would wait for this worker to claim again */
}

/* ---- the one place that decides ---- */

static void worker_tick_at(struct worker *w, usec_t now, usec_t next)
{
	struct timeval tv;

	if (next == USEC_NEVER) {
		evtimer_del(w->tick);
		return;
	}
	next = next > now ? next - now : 0;
	tv.tv_sec = (time_t)(next / SEC);
	tv.tv_usec = (suseconds_t)(next % SEC);
	evtimer_add(w->tick, &tv);
}

static usec_t worker_stop_jobs_in_time(struct worker *w, usec_t now)
{
	usec_t end;

	if (!worker_stopping(w))
		return USEC_NEVER;
	end = grace_end(w);
	if (now < end)
		return end;
	handler_end_all(w, ENDING_STOP);
	return USEC_NEVER;
}

/* Registered: from now on claims can be made. */
static void note_ready(struct worker *w)
{
	if (w->ready || w->presence != PRESENT)
		return;
	w->ready = true;
	notify_advance(w, clock_now());	/* before the one who waits comes back */
	if (w->opt->ready != NULL)
		w->opt->ready();
}

/* Do everything that can be done now, and sleep until the next deadline. */
static void worker_advance(struct worker *w)
{
	usec_t now = clock_now(), next = USEC_NEVER;

	reload_advance(w);
	next = usec_min(next, db_advance(w->db, now));
	next = usec_min(next, children_advance(w->children, now));
	next = usec_min(next, worker_stop_jobs_in_time(w, now));
	next = usec_min(next, handler_advance(w, now));
	next = usec_min(next, flood_advance(w, now));
	next = usec_min(next, presence_advance(w, now));
	next = usec_min(next, keep_advance(w, now));
	next = usec_min(next, inherit_advance(w, now));
	next = usec_min(next, store_advance(w, now));
	next = usec_min(next, lanes_advance(w, now));
	next = usec_min(next, rescue_advance(w, now));
	next = usec_min(next, redis_advance(w, now));
	next = usec_min(next, adoption_advance(w, now));
	next = usec_min(next, claim_advance(w, now));
	rate_settle(w);
	next = usec_min(next, live_advance(w, now));
	note_ready(w);
	stop_when_done(w);
	next = usec_min(next, http_advance(w, now));
	next = usec_min(next, shutdown_advance(&w->shutdown, w, clock_now()));
	if (shutdown_is_over(&w->shutdown))
		event_base_loopbreak(w->base);
	control_note(w);
	next = usec_min(next, notify_advance(w, clock_now()));
	worker_tick_at(w, clock_now(), next);
}

static void worker_on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	worker_advance(arg);
}

void worker_changed(void *arg)
{
	struct worker *w = arg;

	event_active(w->turn, EV_TIMEOUT, 0);
}

/* ---- the connection ---- */

static void on_db_ready(void *arg)
{
	struct worker *w = arg;

	if (w->db_complained)
		log_event(LOG_INFO, "db_back", LN("results_waiting", store_waiting(w)));
	w->inherit_due = w->db_complained;
	if (w->db_complained)
		adoption_due_all(w);
	w->db_complained = false;
	presence_connected(w);
	claim_wake(w, NULL);
}

static void on_db_lost(void *arg, const struct error *why, usec_t retry_in)
{
	struct worker *w = arg;
	char in[USEC_TEXT_MAX];

	log_event(w->db_complained ? LOG_INFO : LOG_WARNING, "db_lost", LS("error", why->text),
	          LS("again_in", usec_text(retry_in / MSEC * MSEC, in)), LN("running", w->running),
	          LN("results_waiting", store_waiting(w)));
	w->db_complained = true;
	w->db_error = *why;
	lanes_first_gone(w);
	if (w->presence == LEAVING)
		w->presence = PRESENT;
	w->released = false;		/* after the reconnect the release is asked for again */
}

static void on_notified(void *arg, const char *channel, const char *payload)
{
	struct worker *w = arg;

	if (strcmp(channel, CANCEL_CHANNEL) != 0)
		claim_wake(w, payload);
	else if (strcmp(payload, w->id) == 0)
		presence_hurry(w);
}

static const struct db_events db_events = {
	.ready = on_db_ready, .lost = on_db_lost, .notified = on_notified, .changed = worker_changed,
};

/* ---- set up, run, tear down ---- */

static int worker_open(struct worker *w, struct error *err)
{
	struct event_config *config;

	event_set_mem_functions(xmalloc, xrealloc, free);	/* half an event is none */
	config = event_config_new();

	if (config != NULL) {
		event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
		w->base = event_base_new_with_config(config);
		event_config_free(config);
	}
	if (w->base == NULL)
		return error_set(err, ERR_SYS, "no event loop could be made");
	w->tick = evtimer_new(w->base, worker_on_tick, w);
	w->turn = event_new(w->base, -1, 0, worker_on_tick, w);
	w->children = children_new(w->base, err);
	if (w->children == NULL || signals_open(w, err) < 0)
		return -1;
	w->metrics = metrics_new();
	reload_open(w);
	handler_open(w);
	notify_open(w);
	presence_init(w);
	w->begun_at = clock_now();
	rescue_init(w, clock_now());
	lanes_open(w);
	w->db = db_new(w->base, w->set->database_url, "unstuck-worker",
	               w->set->wake == WAKE_NOTIFY ? "unstuck" : NULL, &db_events, w);
	if (w->set->wake != WAKE_POLL)
		db_listen(w->db, CANCEL_CHANNEL);
	db_set_prepare(w->db, w->set->prepare != PREPARE_NO, w->set->prepare == PREPARE_AUTO);
	/* A silent worker is watched for two heartbeats: be back before that. */
	db_set_longest_pause(w->db, w->set->heartbeat / 2);
	inherit_open(w);
	if (keep_open(w, err) < 0 || http_open(w, err) < 0 || redis_open(w, err) < 0)
		return -1;
	return w->opt->pidfile != NULL ? control_open(w, w->opt->pidfile, err) : 0;
}

static void worker_close(struct worker *w)
{
	struct job *j;

	control_close(w);
	http_close(w);
	notify_close(w);
	children_free(w->children);
	db_free(w->db);
	lanes_close(w);
	redis_close(w);
	inherit_close(w);
	keep_close(w);
	while ((j = TAILQ_FIRST(&w->jobs)) != NULL)
		worker_forget_job(w, j);
	handler_close(w);
	signals_close();
	reload_close(w);
	metrics_free(w->metrics);
	if (w->tick != NULL)
		event_free(w->tick);
	if (w->turn != NULL)
		event_free(w->turn);
	if (w->base != NULL)
		event_base_free(w->base);
}

static void tell_started(const struct worker *w)
{
	struct buf names = BUF_INIT;

	for (size_t i = 0; i < w->queues_len; i++)
		buf_addf(&names, "%s%s", i ? "," : "", w->queues[i]->set->name);
	log_event(LOG_INFO, "started", LS("version", unstuck_version), LS("worker", w->id),
	          LS("queues", buf_text(&names)), LN("concurrency", w->set->concurrency));
	buf_release(&names);
}

enum exit_status worker_run(const struct settings *set, struct queue **queues, size_t queues_len,
                            const struct worker_options *opt, struct error *err)
{
	struct worker w = {
		.set = set, .opt = opt, .queues = queues, .queues_len = queues_len, .drain = opt->drain,
		.max_jobs = opt->max_jobs, .next_end = USEC_NEVER, .look_at = USEC_NEVER, .held_until = USEC_NEVER, .hurried_at = USEC_NEVER,
	};
	enum exit_status status = EXIT_FAILED;

	TAILQ_INIT(&w.jobs);
	for (size_t i = 0; i < queues_len; i++)
		queues[i]->worker = &w;
	shutdown_init(&w.shutdown, leaving, ARRAY_SIZE(leaving));
	if (worker_open(&w, err) == 0) {
		tell_started(&w);
		worker_changed(&w);
		event_base_dispatch(w.base);
		FAILPOINT(before_exit);
		flood_tell_all(&w);
		report_shutdown(&w);
		status = w.count.unsaved != 0 || may_hold_rows(&w) ? EXIT_HELD
		       : strncmp(w.shutdown.reason, "failed.", 7) == 0 ? EXIT_FAILED : EXIT_DONE;
	}
	worker_close(&w);
	return status;
}
