-- claim
WITH picked AS MATERIALIZED (
  SELECT ARRAY(SELECT j.id FROM unstuck.jobs AS j
                WHERE j.queue = 'thumb''nails' AND j.status = 'PENDING' AND j.run_at <= statement_timestamp()
                ORDER BY j.priority, j.run_at, j.id
                LIMIT $1::int
                FOR NO KEY UPDATE SKIP LOCKED) AS ids
), me AS MATERIALIZED (
  SELECT w.worker_id FROM unstuck.workers AS w
   WHERE w.worker_id = $2::uuid AND (SELECT cardinality(ids) FROM picked) > 0
   FOR KEY SHARE
), claimed AS (
  UPDATE unstuck.jobs AS j
     SET status = 'PROCESSING', claim_id = nextval('unstuck.claim_seq'), worker_id = $2::uuid,
         attempts = j.attempts + 1, claimed_at = clock_timestamp(), updated_at = clock_timestamp()
   WHERE j.id = ANY ((SELECT ids FROM picked)::bigint[]) AND EXISTS (SELECT 1 FROM me)
  RETURNING j.id, j.claim_id, j.attempts, j.failures, j.payload, j.priority, j.run_at
)
SELECT c.id::text AS id, c.claim_id, c.attempts AS attempt, c.failures, c.payload::text AS payload
  FROM claimed AS c
 ORDER BY c.priority, c.run_at, c.id;

-- complete
WITH r AS MATERIALIZED (
  SELECT u.id::bigint AS id, u.claim_id, u.result FROM unnest($1::text[], $2::bigint[], $3::text[]) AS u(id, claim_id, result)
), locked AS MATERIALIZED (
  SELECT j.id, r.result FROM r JOIN unstuck.jobs AS j ON j.id = r.id
   WHERE CASE WHEN j.queue = 'thumb''nails' AND j.claim_id = r.claim_id AND j.worker_id = $4::uuid
               AND j.status IN ('PROCESSING', 'PENDING') THEN true END
   ORDER BY j.id
   FOR NO KEY UPDATE OF j
), stored AS (
  UPDATE unstuck.jobs AS j
     SET status = 'COMPLETED', result = l.result::jsonb, last_error = NULL,
         updated_at = clock_timestamp(), finished_at = clock_timestamp()
    FROM locked AS l
   WHERE j.id = l.id
  RETURNING j.id::text AS id
)
SELECT s.id FROM stored AS s;

-- complete_all
WITH r AS MATERIALIZED (
  SELECT u.id::bigint AS id, u.claim_id, u.result FROM unnest($1::text[], $2::bigint[], $3::text[]) AS u(id, claim_id, result)
), locked AS MATERIALIZED (
  SELECT j.id, r.result FROM r JOIN unstuck.jobs AS j ON j.id = r.id
   WHERE CASE WHEN j.queue = 'thumb''nails' AND j.claim_id = r.claim_id AND j.worker_id = $4::uuid
               AND j.status IN ('PROCESSING', 'PENDING') THEN true END
   ORDER BY j.id
   FOR NO KEY UPDATE OF j
), stored AS (
  UPDATE unstuck.jobs AS j
     SET status = 'COMPLETED', result = l.result::jsonb, last_error = NULL,
         updated_at = clock_timestamp(), finished_at = clock_timestamp()
    FROM locked AS l
   WHERE j.id = l.id
  RETURNING j.id::text AS id
)
SELECT unnest(a.ids) AS id
  FROM (SELECT array_agg(s.id) AS ids, 1 / (count(*) = cardinality($1::text[]))::int AS every FROM stored AS s) AS a
 WHERE a.every = 1;

-- fail
WITH r AS MATERIALIZED (
  SELECT * FROM unnest($1::text[], $2::bigint[], $4::text[], $5::text[], $6::float8[], $7::text[], $8::bytea[])
             AS r(id, claim_id, kind, error, delay, reason, raw)
), kept AS (
  INSERT INTO unstuck.late_results (queue, source, job_id, claim_id, worker_id, reason, raw)
  SELECT 'thumb''nails', 'unstuck.jobs', r.id, r.claim_id, $3::uuid, coalesce(r.reason, 'failed'), r.raw
    FROM r WHERE r.raw IS NOT NULL
  ON CONFLICT DO NOTHING
), locked AS MATERIALIZED (
  SELECT j.id, j.failures, j.max_attempts, r.kind, r.error, r.delay FROM r JOIN unstuck.jobs AS j ON j.id = r.id::bigint
   WHERE CASE WHEN j.queue = 'thumb''nails' AND j.claim_id = r.claim_id AND j.worker_id = $3::uuid
               AND j.status = 'PROCESSING' THEN true END
   ORDER BY j.id
   FOR NO KEY UPDATE OF j
), mine AS (
  SELECT l.id, l.kind, l.error, clock_timestamp() + make_interval(secs => least(greatest(l.delay, 0), 1e9)) AS retry_at,
         l.kind = 'later' OR l.kind = 'retry' AND l.failures + 1 < coalesce(l.max_attempts, 5) AS again
    FROM locked AS l
)
UPDATE unstuck.jobs AS j
   SET status = CASE WHEN m.again THEN 'PENDING' ELSE 'FAILED' END,
       failures = j.failures + (m.kind <> 'later')::int,
       last_error = coalesce(left(m.error, 8000), j.last_error),
       run_at = CASE WHEN m.again THEN m.retry_at ELSE j.run_at END,
       updated_at = clock_timestamp(),
       finished_at = CASE WHEN NOT m.again THEN clock_timestamp() END
  FROM mine AS m
 WHERE j.id = m.id
RETURNING j.id::text AS id, j.status;

-- late
INSERT INTO unstuck.late_results (queue, source, job_id, claim_id, worker_id, reason, raw)
SELECT 'thumb''nails', 'unstuck.jobs', r.id, r.claim_id, $3::uuid, r.reason, coalesce(r.raw, '')
  FROM unnest($1::text[], $2::bigint[], $4::text[], $5::bytea[]) AS r(id, claim_id, reason, raw)
ON CONFLICT DO NOTHING;

-- release
WITH r AS MATERIALIZED (
  SELECT u.id::bigint AS id, u.claim_id, u.started FROM unnest($1::text[], $2::bigint[], $4::bool[]) AS u(id, claim_id, started)
), locked AS MATERIALIZED (
  SELECT j.id, r.started FROM r JOIN unstuck.jobs AS j ON j.id = r.id
   WHERE CASE WHEN j.queue = 'thumb''nails' AND j.claim_id = r.claim_id AND j.worker_id = $3::uuid
               AND j.status = 'PROCESSING' THEN true END
   ORDER BY j.id
   FOR NO KEY UPDATE OF j
)
UPDATE unstuck.jobs AS j
   SET status = 'PENDING', attempts = greatest(0, j.attempts - (NOT l.started)::int), updated_at = clock_timestamp()
  FROM locked AS l
 WHERE j.id = l.id
RETURNING j.id::text AS id;

-- release_all
WITH held AS MATERIALIZED (
  SELECT ARRAY(SELECT j.id FROM unstuck.jobs AS j
                WHERE j.worker_id = $1::uuid AND j.queue = 'thumb''nails' AND j.status = 'PROCESSING'
                ORDER BY j.id
                FOR NO KEY UPDATE) AS ids
)
UPDATE unstuck.jobs AS j SET status = 'PENDING', updated_at = clock_timestamp()
 WHERE j.id = ANY ((SELECT ids FROM held)::bigint[])
RETURNING j.id::text AS id, j.claim_id;

-- classify
SELECT r.id,
       CASE WHEN j.id IS NULL THEN 'missing'
            WHEN j.claim_id <> r.claim_id OR j.worker_id IS DISTINCT FROM $3::uuid THEN 'fenced'
            ELSE CASE j.status WHEN 'PROCESSING' THEN 'mine' WHEN 'PENDING' THEN 'reset' WHEN 'COMPLETED' THEN 'already'
                               WHEN 'FAILED' THEN 'failed' ELSE 'cancelled' END
       END AS verdict
  FROM unnest($1::text[], $2::bigint[]) AS r(id, claim_id)
  LEFT JOIN unstuck.jobs AS j ON j.id = r.id::bigint AND j.queue = 'thumb''nails';

-- held
SELECT j.id::text AS id, j.claim_id FROM unstuck.jobs AS j
 WHERE j.worker_id = $1::uuid AND j.queue = 'thumb''nails' AND j.status = 'PROCESSING'
 ORDER BY j.id;

-- stuck
WITH ask AS (
  SELECT make_interval(secs => $1::float8) AS timeout, $2::bool AS ignore_liveness
), found AS (
  SELECT j.id::text AS id, j.xmin::text AS token, j.claim_id, j.worker_id,
         CASE WHEN j.worker_id IS NULL THEN j.updated_at ELSE coalesce(j.claimed_at, j.updated_at) END AS since,
         j.recoveries >= $6::int AS poisoned, '{}'::json AS show
    FROM unstuck.jobs AS j
   WHERE j.queue = 'thumb''nails' AND j.status = 'PROCESSING'
), known AS (
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
SELECT v.id, v.token, to_char(v.since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since,
       trunc(extract(epoch FROM v.age))::bigint AS age_s, v.worker_id::text AS worker, v.reason,
       CASE WHEN v.reason = 'alive' THEN 'none' WHEN v.poisoned THEN 'fail' ELSE 'reset' END AS action,
       v.show::text AS show, v.observed
  FROM judged AS v
 WHERE v.reason IS NOT NULL AND (v.reason <> 'alive' OR $3::bool)
 ORDER BY v.age DESC NULLS LAST, v.id
 LIMIT $4::int OFFSET $5::int;

-- reset
WITH r AS MATERIALIZED (
  SELECT u.id::bigint AS id, u.token FROM unnest($1::text[], $2::text[]) AS u(id, token)
), ask AS (
  SELECT make_interval(secs => $3::float8) AS timeout, $4::bool AS ignore_liveness
), found AS MATERIALIZED (
  SELECT j.id, j.claim_id, j.worker_id,
         CASE WHEN j.worker_id IS NULL THEN j.updated_at ELSE coalesce(j.claimed_at, j.updated_at) END AS since,
         j.recoveries >= $5::int AS poisoned
    FROM r JOIN unstuck.jobs AS j ON j.id = r.id
   WHERE CASE WHEN j.queue = 'thumb''nails' AND j.xmin::text = r.token AND j.status = 'PROCESSING' THEN true END
   ORDER BY j.id
   FOR NO KEY UPDATE OF j SKIP LOCKED
), known AS (
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
), done AS (
  UPDATE unstuck.jobs AS j
     SET status = CASE WHEN v.poisoned THEN 'FAILED' ELSE 'PENDING' END,
         recoveries = j.recoveries + 1, last_error = v.observed,
         run_at = CASE WHEN v.poisoned THEN j.run_at ELSE clock_timestamp() END,
         updated_at = clock_timestamp(),
         finished_at = CASE WHEN v.poisoned THEN clock_timestamp() END
    FROM judged AS v
   WHERE j.id = v.id AND (v.reason IN ('timeout', 'forced') OR v.reason = 'worker_lost' AND NOT v.registered)
  RETURNING j.id::text AS id, j.claim_id, j.worker_id, CASE WHEN v.poisoned THEN 'fail' ELSE 'reset' END AS action, v.reason
), entered AS (
  INSERT INTO unstuck.recoveries (queue, source, job_id, claim_id, worker_id, action, reason)
  SELECT 'thumb''nails', 'unstuck.jobs', d.id, d.claim_id, d.worker_id, d.action, d.reason FROM done AS d
)
SELECT d.id, d.action, d.reason FROM done AS d;

-- processing
SELECT count(*) FROM unstuck.jobs AS j WHERE j.queue = 'thumb''nails' AND j.status = 'PROCESSING';

-- ageless
SELECT count(*) FROM unstuck.jobs AS j
 WHERE j.queue = 'thumb''nails' AND j.status = 'PROCESSING' AND j.worker_id IS NULL AND j.updated_at IS NULL;

