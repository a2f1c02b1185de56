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
known AS (
  SELECT f.*, w.host, w.worker_id IS NOT NULL AS registered,
         statement_timestamp() - f.since AS age,
         statement_timestamp() - w.beat_at AS silence,
         w.beat_at < statement_timestamp() - make_interval(secs => w.timeout_s) AS silent,
         w.seen_n = w.beat_n
           AND w.seen_at < statement_timestamp() - make_interval(secs => 2 * w.heartbeat_s)
           AND pg_postmaster_start_time() < statement_timestamp() - make_interval(secs => 2 * w.heartbeat_s) AS watched
    FROM found AS f LEFT JOIN unstuck.workers AS w ON w.worker_id = f.worker_id
), judged AS (
  SELECT k.*,
         CASE WHEN (SELECT ignore_liveness FROM ask) THEN
                CASE WHEN k.age > (SELECT timeout FROM ask)
                     THEN CASE WHEN k.registered THEN 'forced' ELSE 'timeout' END
                     WHEN k.registered THEN 'alive' END
              WHEN k.worker_id IS NULL THEN
                CASE WHEN k.age > (SELECT timeout FROM ask) THEN 'timeout' END
              WHEN NOT k.registered THEN 'worker_lost'
              WHEN NOT k.silent THEN 'alive'
              WHEN k.watched THEN 'worker_lost'
              ELSE 'worker_suspect' END AS reason,
         CASE WHEN k.worker_id IS NULL
                THEN format('no worker known; untouched for %s s', trunc(extract(epoch FROM k.age)))
              WHEN NOT k.registered
                THEN format('worker %s is not registered; job claimed %s s ago',
                            k.worker_id, trunc(extract(epoch FROM k.age)))
              WHEN k.silent
                THEN format('worker %s on %s silent for %s s; job claimed %s s ago', k.worker_id, k.host,
                            trunc(extract(epoch FROM k.silence)), trunc(extract(epoch FROM k.age)))
              ELSE format('worker %s on %s alive, its last beat %s s ago; job claimed %s s ago', k.worker_id, k.host,
                          trunc(extract(epoch FROM k.silence)), trunc(extract(epoch FROM k.age))) END AS observed
    FROM known AS k
)

-- name: listed
SELECT v.id, v.token, to_char(v.since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since,
       trunc(extract(epoch FROM v.age))::bigint AS age_s, v.worker_id::text AS worker, v.reason,
       CASE WHEN v.reason = 'alive' THEN 'none' WHEN v.poisoned THEN 'fail' ELSE 'reset' END AS action,
       v.show::text AS show, v.observed
  FROM judged AS v
 WHERE v.reason IS NOT NULL AND (v.reason <> 'alive' OR $3::bool)
 ORDER BY v.age DESC NULLS LAST, v.id
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
