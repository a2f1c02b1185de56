-- queue_shared.sql - what queue_own.sql and queue_mapped.sql have in common.

-- name: late
INSERT INTO unstuck.late_results (queue, source, job_id, claim_id, worker_id, reason, raw)
SELECT {queue}, {source}, r.id, r.claim_id, $3::uuid, r.reason, coalesce(r.raw, '')
  FROM unnest($1::text[], $2::bigint[], $4::text[], $5::bytea[]) AS r(id, claim_id, reason, raw)
ON CONFLICT DO NOTHING;

-- name: keep_raws
-- The part of fail that keeps bytes, whether or not the row is still ours.
  INSERT INTO unstuck.late_results (queue, source, job_id, claim_id, worker_id, reason, raw)
  SELECT {queue}, {source}, r.id, r.claim_id, $3::uuid, coalesce(r.reason, 'failed'), r.raw
    FROM r WHERE r.raw IS NOT NULL
  ON CONFLICT DO NOTHING

-- name: late_open
-- Of this queue, successes in themselves, behind $1. Those that are no results after all are bad_data by now.
l.queue = {queue} AND l.source = {source} AND l.adopted_at IS NULL AND l.id > $1::bigint AND l.reason IN ({unasked})

-- name: late_next
 ORDER BY l.id
 LIMIT $2::int

-- name: late_row
-- $1, unless it was adopted or somebody just does that; what a person may adopt besides ($2) is what a handler printed and nobody
-- judged, or the database refused once: not yet JSON where the queue's output is text.
  SELECT l.id AS late, l.job_id, l.claim_id, l.worker_id,
         CASE WHEN {as_text} AND l.reason IN ('bad_data', 'unfinished')
              THEN to_json(rtrim(convert_from(l.raw, 'UTF8'), E' \t\n\v\f\r'))::text
              ELSE convert_from(l.raw, 'UTF8') END AS result
    FROM unstuck.late_results AS l
   WHERE l.id = $1::bigint AND l.queue = {queue} AND l.source = {source} AND l.adopted_at IS NULL
     AND CASE WHEN $2::bool THEN l.reason <> 'too_large' ELSE l.reason IN ({unasked}) END
     FOR NO KEY UPDATE SKIP LOCKED

-- name: spoil
-- $1: what was taken for a result is none. It is not tried again unasked.
UPDATE unstuck.late_results AS l SET reason = 'bad_data' WHERE l.id = $1::bigint AND l.adopted_at IS NULL;

-- name: judged
-- For each row of "found" (id, token, claim_id, worker_id, since, poisoned ...) what is known of its owner,
-- and the reason it is stuck for: NULL when it is not. "ask" has the timeout and ignore_liveness.
-- since: of a claimed row when it was claimed, of an untracked one when it was last touched.
-- The rule for a dead worker is that of workers.sql (dead); it says "lost" here before that is run.
-- OFFSET 0: each is found out once a worker, and once a row, however often it is asked for.
known AS (
  SELECT f.*, w.worker_id IS NOT NULL AS registered, w.host, w.beat_at, w.silent, w.watched
    FROM found AS f LEFT JOIN (
           SELECT w.worker_id, w.host, w.beat_at,
                  w.beat_at < statement_timestamp() - make_interval(secs => w.timeout_s) AS silent,
                  w.seen_n = w.beat_n
                    AND w.seen_at < statement_timestamp() - make_interval(secs => 2 * w.heartbeat_s)
                    AND pg_postmaster_start_time() < statement_timestamp() - make_interval(secs => 2 * w.heartbeat_s) AS watched
             FROM unstuck.workers AS w OFFSET 0) AS w ON w.worker_id = f.worker_id
), judged AS (
  SELECT k.*,
         CASE WHEN (SELECT ignore_liveness FROM ask) THEN
                CASE WHEN {@old} THEN CASE WHEN k.registered THEN 'forced' ELSE 'timeout' END
                     WHEN k.registered THEN 'alive' END
              WHEN k.worker_id IS NULL THEN CASE WHEN {@old} THEN 'timeout' END
              WHEN NOT k.registered THEN 'worker_lost'
              WHEN NOT k.silent THEN 'alive'
              WHEN k.watched THEN 'worker_lost'
              ELSE 'worker_suspect' END AS reason
    FROM known AS k OFFSET 0
)

-- name: old
k.since < statement_timestamp() - (SELECT timeout FROM ask)

-- name: observed
-- What was seen of a row of "judged" and its owner, in words.
CASE WHEN v.worker_id IS NULL
       THEN format('no worker known; untouched for %s s', trunc(extract(epoch FROM statement_timestamp() - v.since)))
     WHEN NOT v.registered
       THEN format('worker %s is not registered; job claimed %s s ago',
                   v.worker_id, trunc(extract(epoch FROM statement_timestamp() - v.since)))
     ELSE format(CASE WHEN v.silent THEN 'worker %s on %s silent for %s s; job claimed %s s ago'
                      ELSE 'worker %s on %s alive, its last beat %s s ago; job claimed %s s ago' END, v.worker_id, v.host,
                 trunc(extract(epoch FROM statement_timestamp() - v.beat_at)),
                 trunc(extract(epoch FROM statement_timestamp() - v.since))) END

-- name: listed
-- Words for the first 1000: nobody is shown more, and there may be a million.
, ranked AS (
  SELECT v.*, row_number() OVER (ORDER BY v.since, v.id COLLATE "C" ROWS UNBOUNDED PRECEDING) <= 1000 AS shown
    FROM judged AS v
   WHERE v.reason IS NOT NULL AND (v.reason <> 'alive' OR $3::bool)
)
SELECT v.id, v.token, CASE WHEN v.shown THEN to_char(v.since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') END AS since,
       CASE WHEN v.shown THEN trunc(extract(epoch FROM statement_timestamp() - v.since))::bigint END AS age_s,
       CASE WHEN v.shown THEN v.worker_id::text END AS worker, v.reason,
       CASE WHEN v.reason = 'alive' THEN 'none' WHEN v.poisoned THEN 'fail' ELSE 'reset' END AS action,
       CASE WHEN v.shown THEN v.show::text END AS show,
       CASE WHEN v.shown THEN {@observed} END AS observed
  FROM ranked AS v
 ORDER BY v.since, v.id COLLATE "C"
 LIMIT $4::int OFFSET $5::int

-- name: may_reset
-- A silent worker that is still registered is not dead here: whoever wants its rows declares it first.
(v.reason IN ('timeout', 'forced') OR v.reason = 'worker_lost' AND NOT v.registered)

-- name: entered
-- The rows of "done" (id, claim_id, worker_id, action, reason) into the ledger: one row for each worker, so that a batch costs
-- it next to nothing.
  INSERT INTO unstuck.ledger (queue, source, job_ids, claim_ids, worker_id, action, reason)
  SELECT {queue}, {source}, array_agg(d.id), array_agg(d.claim_id), d.worker_id, d.action, d.reason
    FROM done AS d GROUP BY d.worker_id, d.action, d.reason
