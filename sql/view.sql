-- view.sql - what a worker tells of the whole database over HTTP (worker/view.c).
--
-- Read again and again while somebody looks, so each statement is bounded, whatever the history: what is unfinished is
-- found by its indexes, up to so many rows a queue; what is finished is counted in so many pages of the table, exactly
-- while it has no more, else as an estimate. What the indexes do not have is looked for in the newest jobs only.

-- name: limits
-- $1 statement timeout. Of this transaction only: a pooler may give the session to others. A bitmap would be made of
-- all entries of a queue before the first of its rows is counted.
SELECT set_config('statement_timeout', $1, true), set_config('enable_bitmapscan', 'off', true);

-- name: counts
-- $1 pages to read at most, spread over the table -> queue, status, n
WITH size AS (
  SELECT greatest(1, pg_relation_size('unstuck.jobs') / current_setting('block_size')::int) AS pages
)
SELECT j.queue, j.status, ceil(count(*) * greatest(1, (SELECT pages FROM size) / $1::float8))::bigint AS n
  FROM unstuck.jobs AS j
       TABLESAMPLE SYSTEM (least(100, 100 * $1::float8 / (SELECT pages FROM size))) REPEATABLE (1)
 GROUP BY j.queue, j.status
 ORDER BY j.queue
 LIMIT 1000;

-- name: open
-- $1 text[] our queues, shown even when empty, $2 rows to look at for each status
-- -> queue, pending, ready, later, oldest_pending, processing, oldest_processing, workers
-- A step from one name, and from one priority, to the next: the waiting jobs between are not read.
WITH RECURSIVE waiting(queue) AS (
  SELECT (SELECT j.queue FROM unstuck.jobs AS j WHERE j.waiting ORDER BY j.queue LIMIT 1)
  UNION ALL
  SELECT (SELECT j.queue FROM unstuck.jobs AS j WHERE j.waiting AND j.queue > w.queue ORDER BY j.queue LIMIT 1)
    FROM waiting AS w WHERE w.queue IS NOT NULL
), running AS MATERIALIZED (
  (SELECT j.queue, j.worker_id, coalesce(j.claimed_at, j.updated_at) AS since
     FROM unstuck.jobs AS j WHERE j.alone LIMIT $2::int)
  UNION ALL
  (SELECT b.queue, j.worker_id, j.claimed_at AS since
     FROM unstuck.batches AS b CROSS JOIN LATERAL unnest(b.ids) AS u(id) CROSS JOIN LATERAL (
            SELECT i.worker_id, i.claimed_at FROM unstuck.jobs AS i
             WHERE i.id = u.id AND i.queue = b.queue AND i.batch = b.batch AND i.status = 'PROCESSING' OFFSET 0) AS j
    LIMIT $2::int)
), names AS (
  SELECT unnest($1::text[]) AS queue
  UNION (SELECT w.queue FROM waiting AS w WHERE w.queue IS NOT NULL LIMIT 100)
  UNION (SELECT DISTINCT r.queue FROM running AS r LIMIT 100)
)
SELECT n.queue, p.n AS pending, p.ready, p.n - p.ready AS later,
       extract(epoch FROM statement_timestamp() - o.run_at) AS oldest_pending,
       r.n AS processing, extract(epoch FROM statement_timestamp() - r.since) AS oldest_processing, r.workers
  FROM names AS n
 CROSS JOIN LATERAL (
         SELECT count(*) AS n, count(*) FILTER (WHERE l.run_at <= statement_timestamp()) AS ready
           FROM (SELECT j.run_at FROM unstuck.jobs AS j WHERE j.queue = n.queue AND j.waiting LIMIT $2::int) AS l) AS p
 CROSS JOIN LATERAL (
         WITH RECURSIVE level(priority) AS (
           SELECT (SELECT j.priority FROM unstuck.jobs AS j WHERE j.queue = n.queue AND j.waiting ORDER BY j.priority LIMIT 1)
           UNION ALL
           SELECT (SELECT j.priority FROM unstuck.jobs AS j
                    WHERE j.queue = n.queue AND j.waiting AND j.priority > l.priority ORDER BY j.priority LIMIT 1)
             FROM level AS l WHERE l.priority IS NOT NULL
         )
         SELECT min(f.run_at) FILTER (WHERE f.run_at <= statement_timestamp()) AS run_at
           FROM (SELECT (SELECT j.run_at FROM unstuck.jobs AS j
                          WHERE j.queue = n.queue AND j.waiting AND j.priority = l.priority ORDER BY j.run_at LIMIT 1) AS run_at
                   FROM level AS l WHERE l.priority IS NOT NULL LIMIT 100) AS f) AS o
 CROSS JOIN LATERAL (
         SELECT count(*) AS n, min(r.since) AS since, count(DISTINCT r.worker_id) AS workers
           FROM running AS r WHERE r.queue = n.queue) AS r
 ORDER BY n.queue;

-- name: held
-- All that some worker has claimed; goes before the two statements below.
WITH held AS (
SELECT j.queue, j.id::text AS job, j.attempts, j.claim_id, j.worker_id, j.claimed_at
  FROM unstuck.jobs AS j WHERE j.alone AND j.worker_id IS NOT NULL
UNION ALL
SELECT b.queue, j.id::text, j.attempts, j.claim_id, j.worker_id, j.claimed_at
  FROM unstuck.batches AS b CROSS JOIN LATERAL unnest(b.ids) AS u(id) CROSS JOIN LATERAL (
         SELECT i.* FROM unstuck.jobs AS i
          WHERE i.id = u.id AND i.queue = b.queue AND i.batch = b.batch AND i.status = 'PROCESSING' OFFSET 0) AS j
UNION ALL
SELECT k.queue, k.job_id, k.attempts, k.claim_id, k.worker_id, k.claimed_at
  FROM unstuck.active_claims AS k
)

-- name: running
-- $1 this worker, which knows its own, $2 how many -> queue, job, attempt, claim_id, worker_id, started_at, age_s; the oldest first
SELECT h.queue, h.job, h.attempts AS attempt, h.claim_id, h.worker_id,
       to_char(h.claimed_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS started_at,
       extract(epoch FROM statement_timestamp() - h.claimed_at) AS age_s
  FROM held AS h
 WHERE h.worker_id <> $1::uuid
 ORDER BY h.claimed_at
 LIMIT $2::int;

-- name: workers
-- $1 how many
SELECT w.worker_id, w.host, w.pid, w.version, w.state,
       to_char(w.started_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS started_at,
       to_char(w.beat_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS beat_at,
       extract(epoch FROM statement_timestamp() - w.beat_at) AS beat_age_s, w.timeout_s,
       w.beat_at < statement_timestamp() - make_interval(secs => w.timeout_s) AS silent,
       coalesce(h.n, 0) AS running
  FROM unstuck.workers AS w
       LEFT JOIN (SELECT h.worker_id, count(*) AS n FROM held AS h GROUP BY 1) AS h ON h.worker_id = w.worker_id
 ORDER BY w.started_at, w.worker_id
 LIMIT $1::int;

-- name: failures
-- $1 jobs to look at, the newest -> queue, job, at, attempts, error
SELECT j.queue, j.id::text AS job, to_char(j.finished_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS at, j.attempts,
       left(j.last_error, 2000) AS error
  FROM (SELECT i.queue, i.id, i.status, i.finished_at, i.attempts, i.last_error
          FROM unstuck.jobs AS i ORDER BY i.id DESC LIMIT $1::int) AS j
 WHERE j.status = 'FAILED'
 ORDER BY j.finished_at DESC NULLS LAST
 LIMIT 20;

-- name: late
-- $1 results to look at, the newest -> id, queue, job, reason, received_at
SELECT l.id, l.queue, l.job_id AS job, l.reason, to_char(l.received_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS received_at
  FROM (SELECT i.id, i.queue, i.job_id, i.reason, i.received_at, i.adopted_at
          FROM unstuck.late_results AS i ORDER BY i.id DESC LIMIT $1::int) AS l
 WHERE l.adopted_at IS NULL
 ORDER BY l.id DESC
 LIMIT 20;

-- name: late_counts
-- $1 as above -> queue, n
SELECT l.queue, count(*) AS n
  FROM (SELECT i.queue, i.adopted_at FROM unstuck.late_results AS i ORDER BY i.id DESC LIMIT $1::int) AS l
 WHERE l.adopted_at IS NULL
 GROUP BY 1;

-- name: late_bytes
-- $1 as above -> id, bytes. Apart from the others: a worker's role may not read the bytes.
SELECT l.id, octet_length(l.raw) AS bytes
  FROM (SELECT i.id, i.raw, i.adopted_at FROM unstuck.late_results AS i ORDER BY i.id DESC LIMIT $1::int) AS l
 WHERE l.adopted_at IS NULL
 ORDER BY l.id DESC
 LIMIT 20;

-- name: stuck
-- Around a queue's own statement of stuck rows: how many there are, and the first.
SELECT count(*) OVER () AS n, s.id AS job, s.reason, s.since, s.age_s, s.worker AS worker_id FROM (
