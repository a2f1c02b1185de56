/*
 * control.c - see control.h. Asked and answered through the loop: a worker whose loop hangs does not answer.
 */
#include "control.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control_address.h"
#include "lanes.h"
#include "log.h"
#include "redis.h"
#include "reload.h"
#include "store.h"
#include "version.h"

#define QUESTION_MAX 64			/* bytes of a line that asks */
#define PATIENCE 5			/* seconds for who asks slowly, or reads slowly */
#define ERRORS_KEPT 5

struct asker {				/* one connection */
	LIST_ENTRY(asker) link;
	struct control *c;
	struct bufferevent *bev;
};

struct control {
	struct worker *w;
	char *path;			/* of the socket */
	struct evconnlistener *listener;
	LIST_HEAD(, asker) askers;
	enum worker_state state;	/* when the loop last turned, and since when */
	usec_t since, started;		/* wall clock */
	struct { usec_t at; char *event, *text; } errors[ERRORS_KEPT];	/* a ring */
	size_t errors_len;
};

/* ---- last errors ---- */

static void note_error(void *arg, enum log_level level, const char *event, const struct log_field *fields)
{
	struct control *c = arg;
	size_t i = c->errors_len % ERRORS_KEPT;
	struct buf text = BUF_INIT;

	(void)level;
	for (const struct log_field *f = fields; f->key != NULL; f++) {
		if (f->text != NULL)
			buf_addf(&text, "%s%s=%.300s", text.len ? " " : "", f->key, f->text);
		else
			buf_addf(&text, "%s%s=%lld", text.len ? " " : "", f->key, (long long)f->number);
	}
	free(c->errors[i].event);
	free(c->errors[i].text);
	c->errors[i].at = clock_wall();
	c->errors[i].event = xstrdup(event);
	c->errors[i].text = buf_give(&text);
	c->errors_len++;
}

static json_t *errors_json(const struct control *c)
{
	json_t *list = json_array();
	char at[WALL_TEXT_MAX];

	for (size_t n = c->errors_len < ERRORS_KEPT ? c->errors_len : ERRORS_KEPT; n > 0; n--) {
		size_t i = (c->errors_len - n) % ERRORS_KEPT;
		struct buf text = BUF_INIT;

		utf8_clean(&text, c->errors[i].text, strlen(c->errors[i].text), 2000);
		json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "at", wall_text(c->errors[i].at, at),
		                                      "event", c->errors[i].event, "text", buf_text(&text)));
		buf_release(&text);
	}
	return list;
}

/* ---- the answer ---- */

static const char *job_state_name(const struct job *j)
{
	switch (j->state) {
	case JOB_CLAIMED: return "claimed";
	case JOB_RUNNING: return "running";
	case JOB_HELD:    return "held";
	case JOB_ENDED:   return "storing";
	}
	return "";
}

static json_t *jobs_json(const struct worker *w)
{
	json_t *list = json_array();
	usec_t now = clock_now();
	const struct job *j;

	TAILQ_FOREACH(j, &w->jobs, all) {
		struct buf id = BUF_INIT;

		utf8_clean(&id, j->id, strlen(j->id), 1000);
		json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:I, s:s, s:f}",
			"queue", j->queue->set->name, "id", buf_text(&id), "attempt", j->attempt,
			"claim_id", (json_int_t)j->claim_id, "state", job_state_name(j),
			"age_s", j->started_at ? (double)(now - j->started_at) / (double)SEC : 0.0));
		buf_release(&id);
	}
	return list;
}

static json_t *counters_json(const struct worker *w)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
		"started", (json_int_t)w->count.started, "done", (json_int_t)w->count.done,
		"failed", (json_int_t)w->count.failed, "retried", (json_int_t)w->count.retried,
		"released", (json_int_t)w->count.released, "killed", (json_int_t)w->count.killed,
		"late", (json_int_t)w->count.late, "recovered", (json_int_t)w->count.recovered);
}

static void add_connection(json_t *list, const char *name, const struct db *db)
{
	if (db != NULL)
		json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I}", "name", name, "state", db_state_name(db_state(db)),
			"requests", (json_int_t)db_pending(db), "reconnects", (json_int_t)db_reconnects(db)));
}

static json_t *connections_json(const struct worker *w)
{
	json_t *list = json_array();

	add_connection(list, "database", w->db);
	add_connection(list, "database, results", lanes_second(w));
	if (redis_is_used(w))
		json_array_append_new(list, redis_status(w));
	return list;
}

static json_t *status_json(const struct control *c)
{
	const struct worker *w = c->w;
	char since[WALL_TEXT_MAX], started[WALL_TEXT_MAX];
	json_t *queues = json_array();

	for (size_t i = 0; i < w->queues_len; i++)
		if (!w->queues[i]->draining)
			json_array_append_new(queues, json_string(w->queues[i]->set->name));
	return json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:o, s:i, s:I, s:I, s:o, s:o, s:o, s:o}",
		"state", worker_state_name(c->state), "since", wall_text(c->since, since), "pid", (int)getpid(),
		"started_at", wall_text(c->started, started), "version", unstuck_version, "worker", w->id,
		"settings", w->set->path, "queues", queues, "concurrency", (int)w->set->concurrency,
		"running", (json_int_t)w->running, "results_waiting", (json_int_t)store_waiting(w),
		"jobs", jobs_json(w),
		"connections", connections_json(w),
		"counters", counters_json(w), "last_errors", errors_json(c));
}

/* ---- connections ---- */

static void asker_free(struct asker *a)
{
	LIST_REMOVE(a, link);
	reload_forget(a->c->w, a);
	bufferevent_free(a->bev);
	free(a);
}

static void answer(struct asker *a, json_t *doc)
{
	char *text = json_dumps(doc, JSON_COMPACT | JSON_REAL_PRECISION(6));

	bufferevent_disable(a->bev, EV_READ);
	if (text != NULL)
		evbuffer_add_printf(bufferevent_get_output(a->bev), "%s\n", text);
	else
		asker_free(a);
	free(text);
	json_decref(doc);
}

static void on_reloaded(void *arg, enum error_kind kind, const char *text)
{
	if (kind == ERR_NONE)
		answer(arg, json_pack("{s:b}", "reloaded", 1));
	else
		answer(arg, json_pack("{s:b, s:s, s:i}", "reloaded", 0, "error", text, "kind", (int)kind));
}

/* Answered when it is over: no time limit of ours. */
static void ask_reload(struct asker *a)
{
	if (worker_stopping(a->c->w)) {
		on_reloaded(a, ERR_SYS, "the worker is stopping");
		return;
	}
	bufferevent_set_timeouts(a->bev, NULL, NULL);
	reload_when_told(a->c->w, on_reloaded, a);
}

static void on_question(struct bufferevent *bev, void *arg)
{
	struct asker *a = arg;
	char *line = evbuffer_readln(bufferevent_get_input(bev), NULL, EVBUFFER_EOL_LF);

	if (line == NULL && evbuffer_get_length(bufferevent_get_input(bev)) > QUESTION_MAX)
		asker_free(a);
	else if (line != NULL && strcmp(line, "status") == 0)
		answer(a, status_json(a->c));
	else if (line != NULL && strcmp(line, "reload") == 0)
		ask_reload(a);
	else if (line != NULL)
		answer(a, json_pack("{s:s}", "error", "expected status or reload"));
	free(line);
}

static void on_written(struct bufferevent *bev, void *arg)
{
	if ((bufferevent_get_enabled(bev) & EV_READ) == 0)	/* answered */
		asker_free(arg);
}

static void on_end(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	(void)what;
	asker_free(arg);
}

static void on_asker(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int len, void *arg)
{
	struct control *c = arg;
	struct asker *a = xcalloc(1, sizeof *a);
	struct timeval patience = { .tv_sec = PATIENCE };

	(void)l, (void)sa, (void)len;
	a->c = c;
	a->bev = bufferevent_socket_new(c->w->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (a->bev == NULL) {
		close(fd);
		free(a);
		return;
	}
	LIST_INSERT_HEAD(&c->askers, a, link);
	bufferevent_setcb(a->bev, on_question, on_written, on_end, a);
	bufferevent_set_timeouts(a->bev, &patience, &patience);
	bufferevent_enable(a->bev, EV_READ | EV_WRITE);
}

/* ---- life ---- */

void control_note(struct worker *w)
{
	struct control *c = w->control;

	if (c == NULL || c->state == worker_state(w))
		return;
	c->state = worker_state(w);
	c->since = clock_wall();
}

/* Holding the pidfile's lock, what lies at our socket's place is nobody's any more. */
static int control_listen(struct control *c, const char *pidfile)
{
	struct sockaddr_un sa;
	int dir, fd, status;
	mode_t mask;

	if (control_address(pidfile, &sa, &dir) < 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	unlink(c->path);
	mask = umask(0177);
	status = fd < 0 ? -1 : bind(fd, (struct sockaddr *)&sa, sizeof sa);
	umask(mask);
	if (status == 0)
		c->listener = evconnlistener_new(c->w->base, on_asker, c, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC,
		                                 16, fd);
	if (c->listener == NULL && fd >= 0)
		close(fd);
	close(dir);
	return c->listener != NULL ? 0 : -1;
}

int control_open(struct worker *w, const char *pidfile, struct error *err)
{
	struct control *c = xcalloc(1, sizeof *c);

	w->control = c;
	c->w = w;
	c->started = c->since = clock_wall();
	c->state = worker_state(w);
	c->path = control_path(pidfile);
	log_watch(LOG_WARNING, note_error, c);
	if (control_listen(c, pidfile) < 0)
		return error_set(err, ERR_SYS, "control socket %s: %s", c->path, strerror(errno));
	return 0;
}

void control_close(struct worker *w)
{
	struct control *c = w->control;
	struct asker *a, *next;

	if (c == NULL)
		return;
	log_unwatch(note_error, c);
	for (a = LIST_FIRST(&c->askers); a != NULL; a = next) {
		next = LIST_NEXT(a, link);
		asker_free(a);
	}
	if (c->listener != NULL) {
		evconnlistener_free(c->listener);
		unlink(c->path);
	}
	for (size_t i = 0; i < ERRORS_KEPT; i++) {
		free(c->errors[i].event);
		free(c->errors[i].text);
	}
	free(c->path);
	free(c);
	w->control = NULL;
}
