/*
 * top_data.h - what `unstuckctl top` shows, read from the database into one JSON document:
 *
 *   {"at": "2026-01-01T00:00:00Z", "database": "host=... dbname=app",
 *    "queues": [{"queue", "table", "ready", "later", "capped", "processing", "stuck",
 *                "oldest_pending_age_s", "oldest_processing_age_s", "error"}],
 *    "workers": [as `workers --json`],
 *    "running": [{"queue", "job", "since", "age_s", "worker_id", "reason", "observed"}]}
 *
 * What is not known is null. reason is "alive", or why the job is stuck; stuck ones come first. Every statement is
 * bounded: waiting jobs are counted up to 10,000 a queue (capped: there are more), the running ones listed up to 200 a queue,
 * and a large table without an index for its PROCESSING rows is not read: its error says so.
 */
#ifndef TOP_DATA_H
#define TOP_DATA_H

#include <jansson.h>
#include "ctl.h"

struct top_data;

/* Connects, and looks up the tables of the settings' queues. NULL: ctl->err. */
MUST_CHECK struct top_data *top_data_open(struct ctl *ctl);
/* One look. NULL: ctl->err. Caller decrefs. */
MUST_CHECK json_t *top_data_look(struct top_data *t);
void top_data_close(struct top_data *t);	/* and the connection */

#endif
