/*
 * metrics_text.c - see metrics_text.h. A new metric is one row of the table and one function.
 *
 * What the database knows (depths, ages) comes from the view, and is left out when that is too old to be true: a worker
 * without its database says so by unstuck_up. Labels are queues, statuses and words of ours; never a job.
 */
#include "metrics_text.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "keep.h"
#include "metrics.h"
#include "version.h"
#include "view_queues.h"

#define VIEW_TRUE MINUTE		/* a reading older than this is not told */

struct exposition {
	struct buf *out;
	const struct worker *w;
	const struct view *v;
	const char *name;		/* of the metric whose samples are written */
};

/* ---- samples ---- */

static void add_label(struct buf *out, const char *name, const char *value)
{
	struct buf clean = BUF_INIT;

	utf8_clean(&clean, value, strlen(value), 1000);
	buf_addf(out, "%s=\"", name);
	for (const char *p = buf_text(&clean); *p != '\0'; p++) {
		if (*p == '"' || *p == '\\')
			buf_addc(out, '\\');
		if (*p == '\n')
			buf_adds(out, "\\n");
		else
			buf_addc(out, *p);
	}
	buf_addc(out, '"');
	buf_release(&clean);
}

/* At most two labels; NULL: none. */
static void begin_sample(struct exposition *e, const char *suffix, const char *k1, const char *v1, const char *k2, const char *v2)
{
	buf_addf(e->out, "unstuck_%s%s", e->name, suffix);
	if (k1 != NULL) {
		buf_addc(e->out, '{');
		add_label(e->out, k1, v1);
		if (k2 != NULL) {
			buf_addc(e->out, ',');
			add_label(e->out, k2, v2);
		}
		buf_addc(e->out, '}');
	}
	buf_addc(e->out, ' ');
}

static void add_count(struct exposition *e, const char *k1, const char *v1, const char *k2, const char *v2, uint64_t n)
{
	begin_sample(e, "", k1, v1, k2, v2);
	buf_addf(e->out, "%" PRIu64 "\n", n);
}

static void add_value(struct exposition *e, const char *k1, const char *v1, double value)
{
	begin_sample(e, "", k1, v1, NULL, NULL);
	buf_addf(e->out, "%.9g\n", value);
}

static void add_histogram(struct exposition *e, const struct histogram *h)
{
	char upto[32];
	uint64_t n = 0;

	for (size_t i = 0; i <= h->len; i++) {
		n += h->count[i];
		if (i < h->len)
			snprintf(upto, sizeof upto, "%g", h->upto[i]);
		begin_sample(e, "_bucket", "le", i < h->len ? upto : "+Inf", NULL, NULL);
		buf_addf(e->out, "%" PRIu64 "\n", n);
	}
	begin_sample(e, "_sum", NULL, NULL, NULL, NULL);
	buf_addf(e->out, "%.9g\n", h->sum);
	begin_sample(e, "_count", NULL, NULL, NULL, NULL);
	buf_addf(e->out, "%" PRIu64 "\n", n);
}

/* ---- what this worker counted ---- */

/* Every queue of ours from the start on, so that the first of anything is an increase. */
static void know_queues(const struct worker *w)
{
	for (size_t i = 0; i < w->queues_len; i++)
		metrics_of(w->metrics, w->queues[i]->set->name);
}

static void put_jobs(struct exposition *e)
{
	const struct queue_counts *c;

	LIST_FOREACH(c, &e->w->metrics->queues, link)
		for (enum final f = 0; f < FINALS; f++)
			add_count(e, "queue", c->queue, "status", final_name[f], c->ended[f]);
}

static void put_recovered(struct exposition *e)
{
	const struct queue_counts *c;

	LIST_FOREACH(c, &e->w->metrics->queues, link)
		for (size_t i = 0; i < RECOVER_REASONS; i++)
			add_count(e, "queue", c->queue, "reason", recover_reason[i], c->recovered[i]);
}

static void put_quarantined(struct exposition *e)
{
	const struct queue_counts *c;

	LIST_FOREACH(c, &e->w->metrics->queues, link)
		add_count(e, "queue", c->queue, NULL, NULL, c->quarantined);
}

static void put_late(struct exposition *e)
{
	const struct queue_counts *c;

	LIST_FOREACH(c, &e->w->metrics->queues, link)
		for (enum late_reason r = LATE_NONE + 1; r < LATE_REASONS; r++)
			add_count(e, "queue", c->queue, "reason", late_name(r), c->late[r]);
}

static void put_job_duration(struct exposition *e)
{
	add_histogram(e, &e->w->metrics->job_duration);
}

static void put_claim_latency(struct exposition *e)
{
	add_histogram(e, &e->w->metrics->claim_latency);
}

/* ---- this worker now ---- */

static void put_up(struct exposition *e)
{
	add_count(e, NULL, NULL, NULL, NULL, db_is_ready(e->w->db));
}

static void put_build(struct exposition *e)
{
	add_count(e, "version", unstuck_version, NULL, NULL, 1);
}

static void put_reconnects(struct exposition *e)
{
	add_count(e, NULL, NULL, NULL, NULL, db_reconnects(e->w->db));
}

static void put_spool_entries(struct exposition *e)
{
	add_count(e, NULL, NULL, NULL, NULL, keep_state(e->w).entries);
}

static void put_spool_bytes(struct exposition *e)
{
	add_count(e, NULL, NULL, NULL, NULL, keep_state(e->w).bytes);
}

/* Of each part of the stop: what it took, or has taken so far. */
static void put_shutdown(struct exposition *e)
{
	const struct shutdown *s = &e->w->shutdown;

	for (size_t i = 0; i < s->len; i++) {
		usec_t took = 0;

		if (s->begun && i < s->at)
			took = s->report[i].took;
		else if (s->begun && i == s->at)
			took = clock_now() - s->part_at;
		add_value(e, "part", s->parts[i].name, (double)took / (double)SEC);
	}
}

/* ---- what the database knows ---- */

static const struct view_queue *queues(const struct exposition *e, size_t *len)
{
	*len = 0;
	if (view_at(e->v) == 0 || clock_now() - view_at(e->v) > VIEW_TRUE)
		return NULL;
	return view_queues(e->v, len);
}

static void put_depth(struct exposition *e)
{
	size_t len;
	const struct view_queue *q = queues(e, &len);

	for (size_t i = 0; i < len; i++)
		for (enum depth d = 0; d < DEPTHS; d++)
			if (q[i].depth[d] != UNKNOWN)
				add_count(e, "queue", q[i].name, "status", depth_name[d], (uint64_t)q[i].depth[d]);
}

/* 0 where there is none; nothing where it is not known. */
static void put_age(struct exposition *e, enum depth d, bool pending)
{
	size_t len;
	const struct view_queue *q = queues(e, &len);

	for (size_t i = 0; i < len; i++) {
		double age = pending ? q[i].oldest_pending : q[i].oldest_processing;

		if (!isnan(age))
			add_value(e, "queue", q[i].name, age);
		else if (q[i].depth[d] == 0 || q[i].ready == 0)
			add_value(e, "queue", q[i].name, 0);
	}
}

static void put_oldest_pending(struct exposition *e)
{
	put_age(e, DEPTH_PENDING, true);
}

static void put_oldest_processing(struct exposition *e)
{
	put_age(e, DEPTH_PROCESSING, false);
}

static void put_stuck(struct exposition *e)
{
	size_t len;
	const struct view_queue *q = queues(e, &len);

	for (size_t i = 0; i < len; i++)
		if (q[i].stuck != UNKNOWN)
			add_count(e, "queue", q[i].name, NULL, NULL, (uint64_t)q[i].stuck);
}

static void put_view_age(struct exposition *e)
{
	if (view_at(e->v) != 0)
		add_value(e, NULL, NULL, (double)(clock_now() - view_at(e->v)) / (double)SEC);
}

/* ---- the table ---- */

static const struct metric {
	const char *name, *type, *labels, *help;
	void (*put)(struct exposition *e);
} metrics[] = {
	{ "up", "gauge", "", "1 while the worker has its database", put_up },
	{ "build_info", "gauge", "version", "Always 1; which version this is", put_build },
	{ "jobs_total", "counter", "queue, status", "Jobs that this worker brought to an end for good", put_jobs },
	{ "job_duration_seconds", "histogram", "", "From the start of a handler to its end, whatever came of it", put_job_duration },
	{ "claim_latency_seconds", "histogram", "", "From asking the database for jobs to its answer", put_claim_latency },
	{ "queue_depth", "gauge", "queue, status",
	  "Jobs in the database, of all workers; large numbers are estimates", put_depth },
	{ "oldest_pending_age_seconds", "gauge", "queue", "How long the oldest job that could run has waited; 0: none waits", put_oldest_pending },
	{ "oldest_processing_age_seconds", "gauge", "queue", "How long the oldest running job has run; 0: none runs", put_oldest_processing },
	{ "stuck", "gauge", "queue", "Jobs that are PROCESSING and nobody works on", put_stuck },
	{ "recovered_total", "counter", "queue, reason", "Stuck jobs that this worker put back", put_recovered },
	{ "quarantined_total", "counter", "queue", "Stuck jobs that this worker gave up: max_recoveries was reached", put_quarantined },
	{ "late_results_total", "counter", "queue, reason", "Results of this worker that went to unstuck.late_results", put_late },
	{ "spool_entries", "gauge", "", "Results on this host's disk that the database does not have", put_spool_entries },
	{ "spool_bytes", "gauge", "", "Bytes of them on the disk", put_spool_bytes },
	{ "db_reconnects_total", "counter", "", "Times that the connection to the database was made again", put_reconnects },
	{ "shutdown_seconds", "gauge", "part", "What each part of the stop has taken; 0 before it", put_shutdown },
	{ "view_age_seconds", "gauge", "", "Age of what is told of the database: queue_depth, stuck and the ages", put_view_age },
};

void metrics_text(struct buf *out, const struct worker *w, const struct view *v)
{
	struct exposition e = { out, w, v, NULL };

	know_queues(w);
	for (size_t i = 0; i < ARRAY_SIZE(metrics); i++) {
		e.name = metrics[i].name;
		buf_addf(out, "# HELP unstuck_%s %s\n# TYPE unstuck_%s %s\n", e.name, metrics[i].help, e.name, metrics[i].type);
		metrics[i].put(&e);
	}
}

void metrics_markdown(struct buf *out)
{
	buf_adds(out, "# Metrics\n\nMade by `make docs` from the table in `worker/metrics_text.c`.\n\n"
	         "Counters and histograms are of one worker since its start: add them up over workers. What the database knows is "
	         "the same from every worker that serves the queue: take `max by (queue)`.\n\n"
	         "| metric | type | labels | meaning |\n|---|---|---|---|\n");
	for (size_t i = 0; i < ARRAY_SIZE(metrics); i++)
		buf_addf(out, "| `unstuck_%s` | %s | %s | %s |\n", metrics[i].name, metrics[i].type, metrics[i].labels, metrics[i].help);
}
