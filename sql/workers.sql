-- workers.sql - who is alive.
--
-- A worker is silent when its beat is older than its own timeout. Silence is no proof: after an
-- outage of the database every beat is old. So a silent worker is first sighted (seen_n, seen_at: written
-- once for each value of beat_n, by other workers as they beat and by recover), and dead when
-- since then two of its heartbeats have passed without a beat, and the server itself has been up that long.
-- Deleting its row is the declaration: from then on it can neither beat nor claim, and what
-- it holds is stuck.

-- name: register
-- $1 worker, $2 host, $3 pid, $4 version, $5 heartbeat s, $6 timeout s. Sent again after a lost reply: harmless.
-- From here on it claims; what it is besides (quiet) comes with the next beat.
INSERT INTO unstuck.workers (worker_id, host, pid, version, state, heartbeat_s, timeout_s)
VALUES ($1::uuid, $2::text, $3::int, $4::text, 'running', $5::float8, $6::float8)
ON CONFLICT (worker_id) DO NOTHING;

-- name: beat
-- $1 worker, $2 state. No row: it was declared dead.
WITH silent AS MATERIALIZED (
  SELECT o.worker_id FROM unstuck.workers AS o
   WHERE o.worker_id <> $1::uuid
     AND o.beat_at < statement_timestamp() - make_interval(secs => o.timeout_s)
     AND o.seen_n IS DISTINCT FROM o.beat_n
   ORDER BY o.worker_id
   FOR NO KEY UPDATE SKIP LOCKED
), sighted AS (
  UPDATE unstuck.workers AS o SET seen_n = o.beat_n, seen_at = clock_timestamp()
    FROM silent WHERE o.worker_id = silent.worker_id
)
UPDATE unstuck.workers AS w SET beat_at = clock_timestamp(), beat_n = w.beat_n + 1, state = $2::text
 WHERE w.worker_id = $1::uuid
RETURNING w.beat_n;

-- name: leave
-- $1 worker. In the transaction of unregister and before it: it waits for a claim that is under way on an older connection, so that
-- unregister sees what that took. Waiting itself, it would go on with what it saw before.
SELECT FROM unstuck.workers AS w WHERE w.worker_id = $1::uuid FOR UPDATE;

-- name: unregister
-- $1 worker. Only when nothing is left behind: a row comes back when it is gone, or was: the answer to an earlier goodbye may be lost.
WITH gone AS (
  DELETE FROM unstuck.workers AS w
   WHERE w.worker_id = $1::uuid
     AND NOT EXISTS (SELECT 1 FROM unstuck.jobs AS j WHERE j.alone AND j.worker_id = $1::uuid)
     AND NOT EXISTS (SELECT 1 FROM unstuck.batches AS b WHERE b.worker_id = $1::uuid
                        AND EXISTS (SELECT 1 FROM unnest(b.ids) AS u(id)
                                     WHERE (SELECT j.batch FROM unstuck.jobs AS j WHERE j.id = u.id AND j.queue = b.queue) = b.batch))
     AND NOT EXISTS (SELECT 1 FROM unstuck.active_claims AS k WHERE k.worker_id = $1::uuid)
  RETURNING w.worker_id
), forgotten AS (
  DELETE FROM unstuck.batches AS b USING gone WHERE b.worker_id = gone.worker_id
), claims_forgotten AS (
  DELETE FROM unstuck.claim_batches AS b USING gone WHERE b.worker_id = gone.worker_id
)
SELECT g.worker_id FROM gone AS g
 UNION ALL
SELECT $1::uuid WHERE NOT EXISTS (SELECT 1 FROM unstuck.workers AS w WHERE w.worker_id = $1::uuid);

-- name: sweep
-- Batches whose jobs have all ended, when their worker was not there to forget them.
WITH of_jobs AS (
  DELETE FROM unstuck.batches AS b
   WHERE NOT EXISTS (SELECT 1 FROM unnest(b.ids) AS u(id)
                      WHERE (SELECT j.batch FROM unstuck.jobs AS j WHERE j.id = u.id AND j.queue = b.queue) = b.batch)
)
DELETE FROM unstuck.claim_batches AS b
 WHERE NOT EXISTS (SELECT 1 FROM unnest(b.job_ids) AS u(id)
                    WHERE (SELECT CASE k.state WHEN 'ACTIVE' THEN k.batch END FROM unstuck.claims AS k
                            WHERE k.source = b.source AND k.job_id = u.id) = b.batch);

-- name: sight
-- recover's own sighting of all that are silent.
WITH silent AS MATERIALIZED (
  SELECT o.worker_id FROM unstuck.workers AS o
   WHERE o.beat_at < statement_timestamp() - make_interval(secs => o.timeout_s)
     AND o.seen_n IS DISTINCT FROM o.beat_n
   ORDER BY o.worker_id
   FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE unstuck.workers AS o SET seen_n = o.beat_n, seen_at = clock_timestamp()
  FROM silent WHERE o.worker_id = silent.worker_id
RETURNING o.worker_id;

-- name: dead
-- The declaration. A worker that is claiming right now holds its row (KEY SHARE) and is skipped.
WITH dead AS MATERIALIZED (
  SELECT w.worker_id FROM unstuck.workers AS w
   WHERE w.beat_at < statement_timestamp() - make_interval(secs => w.timeout_s)
     AND w.seen_n = w.beat_n
     AND w.seen_at < statement_timestamp() - make_interval(secs => 2 * w.heartbeat_s)
     AND pg_postmaster_start_time() < statement_timestamp() - make_interval(secs => 2 * w.heartbeat_s)
   ORDER BY w.worker_id
   FOR UPDATE SKIP LOCKED
)
DELETE FROM unstuck.workers AS w USING dead
 WHERE w.worker_id = dead.worker_id
RETURNING w.worker_id, w.host, w.pid,
          round(extract(epoch FROM clock_timestamp() - w.beat_at)::numeric, 1) AS silent_s;

-- name: silent
-- Changes nothing. watch_s: how long it still has to be watched before it is dead; 0 when it is.
SELECT w.worker_id, w.host, w.pid,
       round(extract(epoch FROM statement_timestamp() - w.beat_at)::numeric, 1) AS silent_s,
       greatest(0, round((2 * w.heartbeat_s - least(
         CASE WHEN w.seen_n = w.beat_n THEN extract(epoch FROM statement_timestamp() - w.seen_at) ELSE 0 END,
         extract(epoch FROM statement_timestamp() - pg_postmaster_start_time())))::numeric, 3)) AS watch_s
  FROM unstuck.workers AS w
 WHERE w.beat_at < statement_timestamp() - make_interval(secs => w.timeout_s)
 ORDER BY w.beat_at, w.worker_id;
