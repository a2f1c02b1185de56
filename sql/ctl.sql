-- What unstuckctl asks of the schema. PostgreSQL builds the JSON of jobs itself, so that
-- payloads and results stay exactly as stored. Sessions run in UTC.

-- name: init_lock
-- Any number that nobody else takes, the same in all versions. The timeout is for a second init that waits.
SET LOCAL lock_timeout = '60s';
SELECT pg_advisory_xact_lock(7741026154298403);

-- name: limits
-- For commands that only look.
SELECT set_config('statement_timeout', '5s', false), set_config('lock_timeout', '500ms', false);

-- name: has_version
SELECT (to_regclass('unstuck.schema_version') IS NOT NULL)::int;

-- name: may_create_roles
SELECT (rolsuper OR rolcreaterole)::int FROM pg_roles WHERE rolname = current_user;

-- name: enqueue
-- $1 queue, $2 payload, $3 time or null, $4 delay in seconds or null, $5 priority, $6 unique key or null,
-- $7 max_attempts or null -> id
SELECT unstuck.enqueue(queue => $1, payload => $2::jsonb,
                       run_at => coalesce($3::timestamptz, now() + make_interval(secs => $4::float8), now()),
                       priority => $5::int, unique_key => $6, max_attempts => $7::int);

-- name: load_patience
-- Whoever writes the lines may take any time.
SET LOCAL statement_timeout = 0;

-- name: load_run_at
-- $1 time or null, $2 delay in seconds or null
SELECT coalesce($1::timestamptz, now() + make_interval(secs => $2::float8), now());

-- name: load
COPY unstuck.jobs (queue, payload, run_at, priority, max_attempts) FROM STDIN;

-- name: load_notify
-- $1 queue
SELECT pg_notify('unstuck', $1);

-- name: job_objects
-- $1 queue or null, $2 status or null, $3 id or null, $4 limit -> one JSON object a job, newest first
SELECT json_build_object(
         'id', id::text, 'queue', queue, 'status', status, 'priority', priority,
         'run_at', coalesce(to_char(run_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), run_at::text),
         'attempts', attempts, 'failures', failures, 'recoveries', recoveries,
         'max_attempts', max_attempts, 'unique_key', unique_key, 'last_error', last_error,
         'claim_id', claim_id::text, 'worker_id', worker_id,
         'claimed_at', to_char(claimed_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
         'created_at', to_char(created_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
         'updated_at', to_char(updated_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
         'finished_at', to_char(finished_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
         'payload', payload, 'result', result) AS object
  FROM unstuck.jobs
 WHERE ($1::text IS NULL OR queue = $1) AND ($2::text IS NULL OR status = $2) AND ($3::bigint IS NULL OR id = $3)
 ORDER BY id DESC
 LIMIT $4::bigint;

-- name: jobs
-- $1 queue or null, $2 status or null, $3 limit -> for people; ages in seconds, waits negative
SELECT id, queue, status, priority, attempts, recoveries,
       extract(epoch FROM now() - created_at)::bigint AS age,
       CASE WHEN status = 'PENDING' AND run_at > now()
            THEN least(extract(epoch FROM run_at - now()), 1e15)::bigint END AS wait,
       coalesce(CASE WHEN status <> 'COMPLETED' THEN last_error END, payload::text) AS detail
  FROM unstuck.jobs
 WHERE ($1::text IS NULL OR queue = $1) AND ($2::text IS NULL OR status = $2)
 ORDER BY id DESC
 LIMIT $3::bigint;

-- name: status
-- $1 id
SELECT status FROM unstuck.jobs WHERE id = $1::bigint;

-- name: cancel
-- $1 id -> whether it did
SELECT unstuck.cancel($1::bigint);

-- name: retry
-- $1 id -> whether it did
SELECT unstuck.retry($1::bigint);

-- name: retry_failed
-- $1 queue, $2 last id of the batch before -> last id looked at (null: none left), how many were put back
SELECT max(id), count(*) FILTER (WHERE unstuck.retry(id))
  FROM (SELECT id FROM unstuck.jobs
         WHERE queue = $1 AND status = 'FAILED' AND id > $2::bigint
         ORDER BY id LIMIT 1000) AS batch;

-- name: late
-- $1 queue or null, $2 limit -> the newest first
SELECT l.id, l.queue, l.job_id AS job, l.reason, octet_length(l.raw) AS bytes,
       to_char(l.received_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS received_at,
       to_char(l.adopted_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS adopted_at,
       extract(epoch FROM now() - l.received_at) AS received_age, extract(epoch FROM now() - l.adopted_at) AS adopted_age,
       l.claim_id, l.worker_id, l.source
  FROM unstuck.late_results AS l
 WHERE $1::text IS NULL OR l.queue = $1
 ORDER BY l.id DESC
 LIMIT $2::bigint;

-- name: late_one
-- $1 id
SELECT l.queue, l.source, l.job_id, l.reason, to_char(l.adopted_at, 'YYYY-MM-DD HH24:MI:SS "UTC"') AS adopted_at
  FROM unstuck.late_results AS l WHERE l.id = $1::bigint;

-- name: late_raw
-- $1 id
SELECT l.raw FROM unstuck.late_results AS l WHERE l.id = $1::bigint;

-- name: purge_preview
-- What purge_jobs and purge_claims would delete. $1 age in seconds, $2 queue or null -> source, queue, status, n
SELECT 'unstuck.jobs' AS source, j.queue, j.status, count(*) AS n
  FROM unstuck.jobs AS j
 WHERE j.status IN ('COMPLETED', 'FAILED', 'CANCELLED')
   AND coalesce(j.finished_at, j.updated_at) < now() - make_interval(secs => $1::float8)
   AND ($2::text IS NULL OR j.queue = $2)
 GROUP BY 2, 3
UNION ALL
SELECT k.source, k.queue, CASE k.state WHEN 'DONE' THEN 'COMPLETED' ELSE 'FAILED' END, count(*)
  FROM unstuck.claims AS k
 WHERE k.state IN ('DONE', 'DEAD') AND k.ended_at < now() - make_interval(secs => $1::float8)
   AND ($2::text IS NULL OR k.queue = $2)
   AND (SELECT true FROM unstuck.late_results AS r
         WHERE r.source = k.source AND r.job_id = k.job_id AND r.adopted_at IS NULL LIMIT 1) IS NULL
 GROUP BY 1, 2, 3;

-- name: purge_plans
-- Batches look rows up by their keys, whatever a whole table would cost.
SELECT set_config('enable_seqscan', 'off', false);

-- name: purge_jobs
-- One batch: the next $5 jobs behind the id $4. Of them the finished and old ones go, with the late results that were
-- adopted. Each is checked again as it is when it is locked: one that was put back meanwhile stays. All are found
-- by their keys, as in queue_own.sql, so that no batch reads through a table.
-- $1 age in seconds, $2 queue or null, $3 '' -> source, queue, status, n of what went; then one row without a queue: last and key
-- (for $3 and $4 of the next batch), looked (less than $5: it was the last), late, ledger
WITH looked AS MATERIALIZED (
  SELECT j.id, j.queue, j.status, coalesce(j.finished_at, j.updated_at) AS ended
    FROM unstuck.jobs AS j WHERE j.id > $4::text::bigint AND $3::text IS NOT NULL
   ORDER BY j.id LIMIT $5::int
), gone AS (
  DELETE FROM unstuck.jobs AS j
   USING (SELECT l.id, l.queue FROM looked AS l
           WHERE l.status IN ('COMPLETED', 'FAILED', 'CANCELLED') AND l.ended < now() - make_interval(secs => $1::float8)
             AND ($2::text IS NULL OR l.queue = $2)
           ORDER BY l.id) AS old
   WHERE j.id = ANY (ARRAY[old.id])
     AND CASE WHEN j.queue = old.queue AND j.status IN ('COMPLETED', 'FAILED', 'CANCELLED')
                   AND coalesce(j.finished_at, j.updated_at) < now() - make_interval(secs => $1::float8) THEN true END
  RETURNING 'unstuck.jobs'::text AS source, j.id::text AS id, j.queue, j.status
), late AS (
  DELETE FROM unstuck.late_results AS l USING gone AS g
   WHERE l.source = ANY (ARRAY[g.source]) AND l.job_id = g.id AND l.adopted_at IS NOT NULL
  RETURNING l.id
)
SELECT g.source, g.queue, g.status, count(*) AS n, NULL AS last, NULL AS key, NULL AS looked, NULL AS late, NULL AS ledger
  FROM gone AS g GROUP BY 1, 2, 3
UNION ALL
SELECT NULL, NULL, NULL, NULL, '', (SELECT max(l.id) FROM looked AS l)::text, (SELECT count(*) FROM looked),
       (SELECT count(*) FROM late), 0;

-- name: purge_claims
-- The same for the claims of mapped tables that ended for good; the rows themselves are the application's. RETRY, RELEASED and RECOVERED
-- stay: they have the counts of a run that is not over. So does one with a late result that nobody has adopted. Behind source $3, key $4.
WITH looked AS MATERIALIZED (
  SELECT k.source, k.job_id AS id, k.queue, k.state, k.ended_at
    FROM unstuck.claims AS k WHERE (k.source, k.job_id) > ($3::text, $4::text)
   ORDER BY k.source, k.job_id LIMIT $5::int
), gone AS (
  DELETE FROM unstuck.claims AS k
   USING (SELECT l.source, l.id FROM looked AS l
           WHERE l.state IN ('DONE', 'DEAD') AND l.ended_at < now() - make_interval(secs => $1::float8)
             AND ($2::text IS NULL OR l.queue = $2)
             AND (SELECT true FROM unstuck.late_results AS r
                   WHERE r.source = l.source AND r.job_id = l.id AND r.adopted_at IS NULL LIMIT 1) IS NULL) AS old
   WHERE k.source = ANY (ARRAY[old.source]) AND k.job_id = old.id
     AND CASE WHEN k.state IN ('DONE', 'DEAD') AND k.ended_at < now() - make_interval(secs => $1::float8) THEN true END
  RETURNING k.source, k.job_id AS id, k.queue, CASE k.state WHEN 'DONE' THEN 'COMPLETED' ELSE 'FAILED' END AS status
), late AS (
  DELETE FROM unstuck.late_results AS l USING gone AS g
   WHERE l.source = ANY (ARRAY[g.source]) AND l.job_id = g.id AND l.adopted_at IS NOT NULL
  RETURNING l.id
), behind AS (
  SELECT l.source, l.id FROM looked AS l ORDER BY 1 DESC, 2 DESC LIMIT 1
)
SELECT g.source, g.queue, g.status, count(*) AS n, NULL AS last, NULL AS key, NULL AS looked, NULL AS late, NULL AS ledger
  FROM gone AS g GROUP BY 1, 2, 3
UNION ALL
SELECT NULL, NULL, NULL, NULL, (SELECT b.source FROM behind AS b), (SELECT b.id FROM behind AS b), (SELECT count(*) FROM looked),
       (SELECT count(*) FROM late), 0;

-- name: purge_ledger
-- The next $5 rows of the ledger behind the id $4. Each goes with the last of its jobs: of the own table when none of them is there,
-- of another one when none has a claim any more, and the row is as old as the claims that went.
WITH looked AS MATERIALIZED (
  SELECT l.* FROM unstuck.ledger AS l WHERE l.id > $4::text::bigint AND $3::text IS NOT NULL
   ORDER BY l.id LIMIT $5::int
), gone AS (
  DELETE FROM unstuck.ledger AS l
   USING (SELECT k.id FROM looked AS k
           WHERE ($2::text IS NULL OR k.queue = $2)
             AND CASE WHEN k.source = 'unstuck.jobs' THEN
                        (SELECT true FROM unnest(k.job_ids) AS u(id)
                          WHERE (SELECT true FROM unstuck.jobs AS j
                                  WHERE j.id = CASE WHEN u.id ~ '^[0-9]{1,18}$' THEN u.id::bigint END LIMIT 1) LIMIT 1) IS NULL
                      WHEN k.at < now() - make_interval(secs => $1::float8) THEN
                        (SELECT true FROM unnest(k.job_ids) AS u(id)
                          WHERE (SELECT true FROM unstuck.claims AS c
                                  WHERE c.source = k.source AND c.job_id = u.id LIMIT 1) LIMIT 1) IS NULL END) AS old
   WHERE l.id = ANY (ARRAY[old.id])
  RETURNING cardinality(array_remove(l.job_ids, NULL)) AS n
)
SELECT NULL AS source, NULL AS queue, NULL AS status, NULL AS n, '' AS last, (SELECT max(l.id) FROM looked AS l)::text AS key,
       (SELECT count(*) FROM looked) AS looked, 0 AS late, (SELECT coalesce(sum(g.n), 0) FROM gone AS g) AS ledger;

-- name: purge_size
-- How many rows $1 has by the statistics, for the progress.
SELECT greatest(c.reltuples, 0)::bigint FROM pg_catalog.pg_class AS c WHERE c.oid = $1::regclass;

-- name: purge_kept
-- Late results whose job is gone, and that nobody has adopted: no purge takes them. $1 queue or null
SELECT count(*) FROM unstuck.late_results AS l
 WHERE l.adopted_at IS NULL AND l.source = 'unstuck.jobs' AND ($1::text IS NULL OR l.queue = $1)
   AND (SELECT true FROM unstuck.jobs AS j WHERE j.id = l.job_id::bigint AND j.queue = l.queue) IS NULL;

-- name: purge_owner
SELECT pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class AS c WHERE c.oid = 'unstuck.jobs'::regclass;

-- name: queues
-- $1 text[] names of queues to show even when empty -> counts, ages in seconds, workers that hold a job
SELECT coalesce(n.queue, j.queue) AS queue, 'unstuck.jobs' AS source,
       count(*) FILTER (WHERE status = 'PENDING')    AS "PENDING",
       count(*) FILTER (WHERE status = 'PROCESSING') AS "PROCESSING",
       count(*) FILTER (WHERE status = 'COMPLETED')  AS "COMPLETED",
       count(*) FILTER (WHERE status = 'FAILED')     AS "FAILED",
       count(*) FILTER (WHERE status = 'CANCELLED')  AS "CANCELLED",
       0 AS other,
       extract(epoch FROM now() - min(run_at) FILTER (WHERE status = 'PENDING' AND run_at <= now())) AS oldest_pending,
       extract(epoch FROM now() - min(claimed_at) FILTER (WHERE status = 'PROCESSING')) AS oldest_processing,
       count(DISTINCT worker_id) FILTER (WHERE status = 'PROCESSING') AS workers
  FROM unnest($1::text[]) AS n(queue) FULL JOIN unstuck.jobs AS j ON j.queue = n.queue
 GROUP BY 1
 ORDER BY 1;

-- name: mapped_queue
-- The same columns for a mapped table. {table}, {status}, {updated_at} (timestamptz, or null) and {where} come from
-- the mapping. $1 queue, $2 source, $3 text[] ready, $4 processing, $5 done, $6 failed
SELECT $1::text AS queue, $2::text AS source,
       count(*) FILTER (WHERE state = 'PENDING')    AS "PENDING",
       count(*) FILTER (WHERE state = 'PROCESSING') AS "PROCESSING",
       count(*) FILTER (WHERE state = 'COMPLETED')  AS "COMPLETED",
       count(*) FILTER (WHERE state = 'FAILED')     AS "FAILED",
       0 AS "CANCELLED",
       count(*) FILTER (WHERE state IS NULL) AS other,
       extract(epoch FROM now() - min(touched) FILTER (WHERE state = 'PENDING')) AS oldest_pending,
       extract(epoch FROM now() - min(touched) FILTER (WHERE state = 'PROCESSING')) AS oldest_processing,
       (SELECT count(DISTINCT worker_id) FROM unstuck.active_claims WHERE source = $2) AS workers
  FROM (SELECT CASE WHEN t.{status}::text = $4 THEN 'PROCESSING'
                    WHEN t.{status}::text = $5 THEN 'COMPLETED'
                    WHEN t.{status}::text = $6 THEN 'FAILED'
                    WHEN t.{status}::text = ANY ($3::text[]) AND ({where}) THEN 'PENDING' END AS state,
               {updated_at} AS touched
          FROM {table} AS t) AS rows;

-- name: workers
SELECT w.worker_id, w.host, w.pid, w.version, w.state,
       to_char(w.started_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS started_at,
       extract(epoch FROM now() - w.started_at) AS age_s,
       to_char(w.beat_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS beat_at,
       greatest(extract(epoch FROM now() - w.beat_at), 0) AS beat_age_s, w.beat_n,
       w.beat_at < now() - make_interval(secs => w.timeout_s) AS silent,
       (SELECT count(*) FROM unstuck.jobs AS j WHERE j.alone AND j.worker_id = w.worker_id)
       + (SELECT count(*) FROM unstuck.batches AS b CROSS JOIN unnest(b.ids) AS u(id)
           WHERE b.worker_id = w.worker_id
             AND (SELECT j.batch FROM unstuck.jobs AS j WHERE j.id = u.id AND j.queue = b.queue) = b.batch)
       + (SELECT count(*) FROM unstuck.active_claims AS k WHERE k.worker_id = w.worker_id) AS jobs
  FROM unstuck.workers AS w
 ORDER BY w.started_at, w.worker_id;

-- name: waiting
-- $1 how many are counted, at most. The queues of unstuck.jobs that have jobs waiting: how many, how many of them are due, how
-- long the oldest of these has been, whether a registered worker holds jobs of it, and whether any worker is registered. Each
-- queue is one look-up in the index.
WITH RECURSIVE q(queue) AS (
  (SELECT j.queue FROM unstuck.jobs AS j WHERE j.waiting ORDER BY j.queue LIMIT 1)
  UNION ALL
  SELECT (SELECT j.queue FROM unstuck.jobs AS j WHERE j.waiting AND j.queue > q.queue ORDER BY j.queue LIMIT 1)
    FROM q WHERE q.queue IS NOT NULL
)
SELECT q.queue, w.n, w.due, w.oldest,
       EXISTS (SELECT FROM unstuck.batches AS b JOIN unstuck.workers AS k ON k.worker_id = b.worker_id WHERE b.queue = q.queue)
       OR EXISTS (SELECT FROM unstuck.jobs AS j JOIN unstuck.workers AS k ON k.worker_id = j.worker_id
                   WHERE j.alone AND j.queue = q.queue) AS served,
       EXISTS (SELECT FROM unstuck.workers) AS any_worker
  FROM (SELECT queue FROM q WHERE queue IS NOT NULL LIMIT 1000) AS q
 CROSS JOIN LATERAL (
         SELECT count(*) AS n, count(*) FILTER (WHERE s.run_at <= now()) AS due,
                extract(epoch FROM now() - min(s.run_at) FILTER (WHERE s.run_at <= now())) AS oldest
           FROM (SELECT j.run_at FROM unstuck.jobs AS j WHERE j.queue = q.queue AND j.waiting
                  ORDER BY j.priority, j.run_at, j.id LIMIT $1::bigint) AS s) AS w
 WHERE w.n > 0;

-- name: mapped_waiting
-- $1 how many are counted, at most -> how many, how long the oldest has waited (null: not all were counted).
SELECT count(*) AS n, CASE WHEN count(*) < $1::bigint THEN greatest(extract(epoch FROM now() - min(s.touched)), 0) END AS oldest
  FROM (SELECT {updated_at} AS touched FROM {table} AS t
         WHERE t.{status} IN ({ready}) AND ({where}
               ) LIMIT $1::bigint) AS s;

-- name: running_queues
-- The queues of unstuck.jobs in which something runs.
SELECT b.queue FROM unstuck.batches AS b
UNION
SELECT j.queue FROM unstuck.jobs AS j WHERE j.alone
 ORDER BY 1 LIMIT 1000;

-- name: server_time
SELECT to_char(clock_timestamp(), 'YYYY-MM-DD"T"HH24:MI:SS"Z"');
