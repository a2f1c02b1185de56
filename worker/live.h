/*
 * live.h - this worker and what it runs, as Redis shows it: one key with a time to live.
 *
 *   unstuck:worker:<worker_id>   expires after worker_timeout, deleted at goodbye
 *   {"worker","host","pid","version","state","at","started_at","concurrency","running",
 *    "jobs":[{"queue","job","attempt","claim_id","started_at","progress":0.4 or null}, ...]}
 *
 * Told with every heartbeat, and within a second when a job starts, ends or tells its progress. At most LIVE_JOBS
 * jobs are listed. Who is alive is decided by unstuck.workers alone.
 */
#ifndef LIVE_H
#define LIVE_H

#include "worker.h"

#define LIVE_JOBS 100

usec_t live_advance(struct worker *w, usec_t now);	/* returns when it is told next */
void live_due(struct worker *w);			/* Redis is there (again) */
void live_leave(struct worker *w);			/* the key goes, and does not come back */

#endif
