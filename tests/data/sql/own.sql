-- claim
WITH RECURSIVE level(priority, run_at, id) AS (
  SELECT CASE WHEN $3::text IS NULL
              THEN (SELECT j.priority FROM unstuck.jobs AS j WHERE j.queue = 'thumb''nails' AND j.waiting ORDER BY j.priority LIMIT 1)
              ELSE ($3::text[])[1]::int END,
         coalesce(($3::text[])[2]::timestamptz, '-infinity'), coalesce(($3::text[])[3]::bigint, 0)
  UNION ALL
  SELECT (SELECT j.priority FROM unstuck.jobs AS j
           WHERE j.queue = 'thumb''nails' AND j.waiting AND j.priority > l.priority ORDER BY j.priority LIMIT 1), '-infinity', 0
    FROM level AS l WHERE l.priority IS NOT NULL
), picked AS MATERIALIZED (
  SELECT array_agg(p.place) AS places, array_agg(p.id) AS ids, count(*) AS n,
         (array_agg(p.priority))[count(*)] AS priority, (array_agg(p.run_at))[count(*)] AS run_at
    FROM (SELECT j.* FROM level AS l CROSS JOIN LATERAL (
                   SELECT j.ctid AS place, j.priority, j.run_at, j.id FROM unstuck.jobs AS j
                    WHERE j.queue = 'thumb''nails' AND j.waiting AND j.priority = l.priority AND j.run_at <= statement_timestamp()
                      AND (j.run_at, j.id) > (l.run_at, l.id)
                    ORDER BY j.run_at, j.id
                    LIMIT $1::int
                    FOR NO KEY UPDATE SKIP LOCKED) AS j
           LIMIT least($1::int, 500)) AS p
), mine AS MATERIALIZED (
  SELECT p.*, CASE WHEN p.n >= 10 THEN nextval('unstuck.claim_seq') END AS batch
    FROM picked AS p, unstuck.workers AS w
   WHERE w.worker_id = $2::uuid AND p.n > 0
   FOR KEY SHARE OF w
), noted AS (
  INSERT INTO unstuck.batches (queue, worker_id, batch, ids)
  SELECT 'thumb''nails', $2::uuid, m.batch, m.ids FROM mine AS m WHERE m.batch IS NOT NULL
)
UPDATE unstuck.jobs AS j
   SET status = 'PROCESSING', claim_id = nextval('unstuck.claim_seq'), worker_id = $2::uuid, batch = (SELECT m.batch FROM mine AS m),
       attempts = j.attempts + 1, claimed_at = statement_timestamp(), updated_at = statement_timestamp()
 WHERE j.ctid = ANY (ARRAY(SELECT unnest(m.places) FROM mine AS m))
RETURNING j.id::text AS id, j.claim_id, j.attempts AS attempt, j.failures, j.payload::text AS payload,
          CASE WHEN j.id = (SELECT m.ids[m.n] FROM mine AS m) THEN j.batch END AS batch,
          CASE WHEN j.id = (SELECT m.ids[m.n] FROM mine AS m)
               THEN (SELECT ARRAY[m.priority::text, m.run_at::text, m.ids[m.n]::text]::text FROM mine AS m) END AS mark,
          CASE WHEN j.id = (SELECT m.ids[m.n] FROM mine AS m) THEN (SELECT m.ids::text FROM mine AS m) END AS run_order;

-- complete
UPDATE unstuck.jobs AS j
   SET status = 'COMPLETED', result = r.result::jsonb, last_error = NULL, batch = NULL,
       updated_at = statement_timestamp(), finished_at = statement_timestamp()
  FROM (SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS u(id, claim_id, result) ORDER BY 1) AS r
 WHERE j.id = ANY (ARRAY[r.id])
   AND CASE WHEN j.queue = 'thumb''nails' AND j.claim_id = r.claim_id AND j.worker_id = $4::uuid
                 AND j.status IN ('PROCESSING', 'PENDING') THEN true END
RETURNING j.id::text AS id;

-- complete_null
UPDATE unstuck.jobs AS j
   SET status = 'COMPLETED', result = 'null', last_error = NULL, batch = NULL,
       updated_at = statement_timestamp(), finished_at = statement_timestamp()
 WHERE j.id = ANY ($1::bigint[]) AND j.queue = 'thumb''nails' AND j.worker_id = $3::uuid AND j.status IN ('PROCESSING', 'PENDING')
   AND CASE WHEN (j.id, j.claim_id) IN (SELECT * FROM unnest($1::bigint[], $2::bigint[])) THEN true END
RETURNING j.id::text AS id;

-- complete_all
WITH stored AS (
UPDATE unstuck.jobs AS j
   SET status = 'COMPLETED', result = r.result::jsonb, last_error = NULL, batch = NULL,
       updated_at = statement_timestamp(), finished_at = statement_timestamp()
  FROM (SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS u(id, claim_id, result) ORDER BY 1) AS r
 WHERE j.id = ANY (ARRAY[r.id])
   AND CASE WHEN j.queue = 'thumb''nails' AND j.claim_id = r.claim_id AND j.worker_id = $4::uuid
                 AND j.status IN ('PROCESSING', 'PENDING') THEN true END
RETURNING j.id::text AS id
)
SELECT unnest(a.ids) AS id
  FROM (SELECT array_agg(s.id) AS ids, 1 / (count(*) = cardinality($1::bigint[]))::int AS every FROM stored AS s) AS a
 WHERE a.every = 1;

-- fail
WITH r AS MATERIALIZED (
  SELECT * FROM unnest($1::bigint[], $2::bigint[], $4::text[], $5::text[], $6::float8[], $7::text[], $8::bytea[])
             AS r(id, claim_id, kind, error, delay, reason, raw)
   ORDER BY 1
), kept AS (
  INSERT INTO unstuck.late_results (queue, source, job_id, claim_id, worker_id, reason, raw)
  SELECT 'thumb''nails', 'unstuck.jobs', r.id, r.claim_id, $3::uuid, coalesce(r.reason, 'failed'), r.raw
    FROM r WHERE r.raw IS NOT NULL
  ON CONFLICT DO NOTHING
)
UPDATE unstuck.jobs AS j
   SET status = CASE WHEN (r.kind = 'later' OR r.kind = 'retry' AND j.failures + 1 < coalesce(j.max_attempts, 5)) THEN 'PENDING' ELSE 'FAILED' END, batch = NULL,
       failures = j.failures + (r.kind <> 'later')::int,
       last_error = coalesce(left(r.error, 8000), j.last_error),
       run_at = CASE WHEN (r.kind = 'later' OR r.kind = 'retry' AND j.failures + 1 < coalesce(j.max_attempts, 5)) THEN clock_timestamp() + make_interval(secs => least(greatest(r.delay, 0), 1e9))
                     ELSE j.run_at END,
       updated_at = clock_timestamp(),
       finished_at = CASE WHEN NOT (r.kind = 'later' OR r.kind = 'retry' AND j.failures + 1 < coalesce(j.max_attempts, 5)) THEN clock_timestamp() END
  FROM r
 WHERE j.id = ANY (ARRAY[r.id]) AND CASE WHEN j.queue = 'thumb''nails' AND j.claim_id = r.claim_id AND j.worker_id = $3::uuid AND j.status = 'PROCESSING' THEN true END
RETURNING j.id::text AS id, j.status;

-- late
INSERT INTO unstuck.late_results (queue, source, job_id, claim_id, worker_id, reason, raw)
SELECT 'thumb''nails', 'unstuck.jobs', r.id, r.claim_id, $3::uuid, r.reason, coalesce(r.raw, '')
  FROM unnest($1::text[], $2::bigint[], $4::text[], $5::bytea[]) AS r(id, claim_id, reason, raw)
ON CONFLICT DO NOTHING;

-- forget
DELETE FROM unstuck.batches AS b WHERE b.queue = 'thumb''nails' AND b.worker_id = $1::uuid AND b.batch = ANY ($2::bigint[]);

-- release
UPDATE unstuck.jobs AS j
   SET status = 'PENDING', batch = NULL, attempts = greatest(0, j.attempts - (NOT r.started)::int), updated_at = clock_timestamp()
  FROM (SELECT * FROM unnest($1::bigint[], $2::bigint[], $4::bool[]) AS u(id, claim_id, started) ORDER BY 1) AS r
 WHERE j.id = ANY (ARRAY[r.id]) AND CASE WHEN j.queue = 'thumb''nails' AND j.claim_id = r.claim_id AND j.worker_id = $3::uuid AND j.status = 'PROCESSING' THEN true END
RETURNING j.id::text AS id;

-- release_all
UPDATE unstuck.jobs AS j SET status = 'PENDING', batch = NULL, updated_at = clock_timestamp()
 WHERE j.id = ANY (ARRAY(SELECT j.id FROM unstuck.jobs AS j WHERE j.queue = 'thumb''nails' AND j.alone AND j.worker_id = $1::uuid
UNION ALL
SELECT unnest(b.ids) FROM unstuck.batches AS b WHERE b.queue = 'thumb''nails' AND b.worker_id = $1::uuid)) AND j.queue = 'thumb''nails' AND j.worker_id = $1::uuid AND j.status = 'PROCESSING'
RETURNING j.id::text AS id, j.claim_id;

-- classify
SELECT r.id,
       CASE WHEN j.id IS NULL THEN 'missing'
            WHEN j.claim_id <> r.claim_id OR j.worker_id IS DISTINCT FROM $3::uuid THEN 'fenced'
            ELSE CASE j.status WHEN 'PROCESSING' THEN 'mine' WHEN 'PENDING' THEN 'reset' WHEN 'COMPLETED' THEN 'already'
                               WHEN 'FAILED' THEN 'failed' ELSE 'cancelled' END
       END AS verdict
  FROM unnest($1::bigint[], $2::bigint[]) AS r(id, claim_id)
  LEFT JOIN LATERAL (SELECT i.* FROM unstuck.jobs AS i WHERE i.id = r.id AND i.queue = 'thumb''nails' OFFSET 0) AS j ON true;

-- adoptable
SELECT l.id AS late, l.job_id AS id, l.claim_id, NULL::bytea AS raw
  FROM unstuck.late_results AS l
 WHERE l.queue = 'thumb''nails' AND l.source = 'unstuck.jobs' AND l.adopted_at IS NULL AND l.id > $1::bigint AND l.reason IN ('fenced', 'failed')
   AND (SELECT j.status IN ('PENDING', 'FAILED') AND l.claim_id >= j.first_claim
          FROM unstuck.jobs AS j WHERE j.id = l.job_id::bigint AND j.queue = 'thumb''nails')
 ORDER BY l.id
 LIMIT $2::int;

-- adopt
SELECT a.job AS id, a.adopted AS result FROM unstuck.adopt($1::bigint, $2::bool, false) AS a;

-- spoil
UPDATE unstuck.late_results AS l SET reason = 'bad_data' WHERE l.id = $1::bigint AND l.adopted_at IS NULL;

-- status
SELECT j.status, j.status AS stored FROM unstuck.jobs AS j WHERE j.id = $1::bigint AND j.queue = 'thumb''nails';

-- held
SELECT j.id::text AS id, j.claim_id FROM unstuck.jobs AS j
 WHERE j.id = ANY (ARRAY(SELECT j.id FROM unstuck.jobs AS j WHERE j.queue = 'thumb''nails' AND j.alone AND j.worker_id = $1::uuid
UNION ALL
SELECT unnest(b.ids) FROM unstuck.batches AS b WHERE b.queue = 'thumb''nails' AND b.worker_id = $1::uuid)) AND j.queue = 'thumb''nails' AND j.worker_id = $1::uuid AND j.status = 'PROCESSING'
 ORDER BY j.id;

-- stuck
WITH ask AS (
  SELECT make_interval(secs => $1::float8) AS timeout, $2::bool AS ignore_liveness
), found AS (
  SELECT j.id::text AS id, j.version::text AS token, j.claim_id, j.worker_id,
         CASE WHEN j.worker_id IS NULL THEN j.updated_at ELSE coalesce(j.claimed_at, j.updated_at) END AS since,
         j.recoveries >= $6::int AS poisoned, '{}'::json AS show
    FROM (SELECT i.*, i.xmin AS version FROM unstuck.jobs AS i WHERE i.queue = 'thumb''nails' AND i.alone
      UNION ALL
      SELECT j.* FROM unstuck.batches AS b CROSS JOIN LATERAL unnest(b.ids) AS u(id) CROSS JOIN LATERAL (
               SELECT i.*, i.xmin AS version FROM unstuck.jobs AS i
                WHERE i.id = u.id AND i.queue = 'thumb''nails' AND i.batch = b.batch AND i.status = 'PROCESSING' OFFSET 0) AS j
       WHERE b.queue = 'thumb''nails') AS j
), known AS (
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
                CASE WHEN k.since < statement_timestamp() - (SELECT timeout FROM ask) THEN CASE WHEN k.registered THEN 'forced' ELSE 'timeout' END
                     WHEN k.registered THEN 'alive' END
              WHEN k.worker_id IS NULL THEN CASE WHEN k.since < statement_timestamp() - (SELECT timeout FROM ask) THEN 'timeout' END
              WHEN NOT k.registered THEN 'worker_lost'
              WHEN NOT k.silent THEN 'alive'
              WHEN k.watched THEN 'worker_lost'
              ELSE 'worker_suspect' END AS reason
    FROM known AS k OFFSET 0
), ranked AS (
  SELECT v.*, row_number() OVER (ORDER BY v.since, v.id COLLATE "C" ROWS UNBOUNDED PRECEDING) <= 1000 AS shown
    FROM judged AS v
   WHERE v.reason IS NOT NULL AND (v.reason <> 'alive' OR $3::bool)
)
SELECT v.id, v.token, CASE WHEN v.shown THEN to_char(v.since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') END AS since,
       CASE WHEN v.shown THEN trunc(extract(epoch FROM statement_timestamp() - v.since))::bigint END AS age_s,
       CASE WHEN v.shown THEN v.worker_id::text END AS worker, v.reason,
       CASE WHEN v.reason = 'alive' THEN 'none' WHEN v.poisoned THEN 'fail' ELSE 'reset' END AS action,
       CASE WHEN v.shown THEN v.show::text END AS show,
       CASE WHEN v.shown THEN CASE WHEN v.worker_id IS NULL
       THEN format('no worker known; untouched for %s s', trunc(extract(epoch FROM statement_timestamp() - v.since)))
     WHEN NOT v.registered
       THEN format('worker %s is not registered; job claimed %s s ago',
                   v.worker_id, trunc(extract(epoch FROM statement_timestamp() - v.since)))
     ELSE format(CASE WHEN v.silent THEN 'worker %s on %s silent for %s s; job claimed %s s ago'
                      ELSE 'worker %s on %s alive, its last beat %s s ago; job claimed %s s ago' END, v.worker_id, v.host,
                 trunc(extract(epoch FROM statement_timestamp() - v.beat_at)),
                 trunc(extract(epoch FROM statement_timestamp() - v.since))) END END AS observed
  FROM ranked AS v
 ORDER BY v.since, v.id COLLATE "C"
 LIMIT $4::int OFFSET $5::int;

-- reset
WITH r AS MATERIALIZED (
  SELECT * FROM unnest($1::bigint[], $2::text[]) AS r(id, token) ORDER BY 1
), ask AS (
  SELECT make_interval(secs => $3::float8) AS timeout, $4::bool AS ignore_liveness
), found AS MATERIALIZED (
  SELECT l.* FROM r CROSS JOIN LATERAL (
    SELECT j.ctid AS place, j.id, j.claim_id, j.worker_id, CASE WHEN j.worker_id IS NULL THEN j.updated_at ELSE coalesce(j.claimed_at, j.updated_at) END AS since, j.recoveries >= $5::int AS poisoned
      FROM unstuck.jobs AS j
     WHERE j.id = r.id AND j.queue = 'thumb''nails' AND j.xmin::text = r.token AND j.status = 'PROCESSING'
       FOR NO KEY UPDATE SKIP LOCKED) AS l
), known AS (
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
                CASE WHEN k.since < statement_timestamp() - (SELECT timeout FROM ask) THEN CASE WHEN k.registered THEN 'forced' ELSE 'timeout' END
                     WHEN k.registered THEN 'alive' END
              WHEN k.worker_id IS NULL THEN CASE WHEN k.since < statement_timestamp() - (SELECT timeout FROM ask) THEN 'timeout' END
              WHEN NOT k.registered THEN 'worker_lost'
              WHEN NOT k.silent THEN 'alive'
              WHEN k.watched THEN 'worker_lost'
              ELSE 'worker_suspect' END AS reason
    FROM known AS k OFFSET 0
), done AS (
  UPDATE unstuck.jobs AS j
     SET status = CASE WHEN v.poisoned THEN 'FAILED' ELSE 'PENDING' END, batch = NULL,
         recoveries = j.recoveries + 1, last_error = CASE WHEN v.worker_id IS NULL
       THEN format('no worker known; untouched for %s s', trunc(extract(epoch FROM statement_timestamp() - v.since)))
     WHEN NOT v.registered
       THEN format('worker %s is not registered; job claimed %s s ago',
                   v.worker_id, trunc(extract(epoch FROM statement_timestamp() - v.since)))
     ELSE format(CASE WHEN v.silent THEN 'worker %s on %s silent for %s s; job claimed %s s ago'
                      ELSE 'worker %s on %s alive, its last beat %s s ago; job claimed %s s ago' END, v.worker_id, v.host,
                 trunc(extract(epoch FROM statement_timestamp() - v.beat_at)),
                 trunc(extract(epoch FROM statement_timestamp() - v.since))) END,
         run_at = CASE WHEN v.poisoned THEN j.run_at ELSE clock_timestamp() END,
         updated_at = clock_timestamp(),
         finished_at = CASE WHEN v.poisoned THEN clock_timestamp() END
    FROM judged AS v
   WHERE j.ctid = v.place AND (v.reason IN ('timeout', 'forced') OR v.reason = 'worker_lost' AND NOT v.registered)
  RETURNING j.id::text AS id, j.claim_id, j.worker_id, CASE WHEN v.poisoned THEN 'fail' ELSE 'reset' END AS action, v.reason
), entered AS (
  INSERT INTO unstuck.ledger (queue, source, job_ids, claim_ids, worker_id, action, reason)
  SELECT 'thumb''nails', 'unstuck.jobs', array_agg(d.id), array_agg(d.claim_id), d.worker_id, d.action, d.reason
    FROM done AS d GROUP BY d.worker_id, d.action, d.reason
)
SELECT d.id, d.action, d.reason FROM done AS d;

-- reset_free
WITH r AS MATERIALIZED (
  SELECT * FROM unnest($1::bigint[], $2::text[]) AS r(id, token) ORDER BY 1
), ask AS MATERIALIZED (
  SELECT make_interval(secs => $3::float8) AS timeout, $4::bool AS ignore_liveness,
         set_config('synchronous_commit', 'off', true), set_config('lock_timeout', '20ms', true)
), done AS (
  UPDATE unstuck.jobs AS j
     SET status = CASE WHEN j.recoveries >= $5::int THEN 'FAILED' ELSE 'PENDING' END, batch = NULL,
         recoveries = j.recoveries + 1, last_error = CASE WHEN j.worker_id IS NULL
       THEN format('no worker known; untouched for %s s', trunc(extract(epoch FROM statement_timestamp() - j.updated_at)))
     WHEN NOT (j.worker_id IN (SELECT w.worker_id FROM unstuck.workers AS w))
       THEN format('worker %s is not registered; job claimed %s s ago',
                   j.worker_id, trunc(extract(epoch FROM statement_timestamp() - CASE WHEN j.worker_id IS NULL THEN j.updated_at ELSE coalesce(j.claimed_at, j.updated_at) END)))
     ELSE (SELECT CASE WHEN v.worker_id IS NULL
       THEN format('no worker known; untouched for %s s', trunc(extract(epoch FROM statement_timestamp() - v.since)))
     WHEN NOT v.registered
       THEN format('worker %s is not registered; job claimed %s s ago',
                   v.worker_id, trunc(extract(epoch FROM statement_timestamp() - v.since)))
     ELSE format(CASE WHEN v.silent THEN 'worker %s on %s silent for %s s; job claimed %s s ago'
                      ELSE 'worker %s on %s alive, its last beat %s s ago; job claimed %s s ago' END, v.worker_id, v.host,
                 trunc(extract(epoch FROM statement_timestamp() - v.beat_at)),
                 trunc(extract(epoch FROM statement_timestamp() - v.since))) END
             FROM (SELECT w.*, CASE WHEN j.worker_id IS NULL THEN j.updated_at ELSE coalesce(j.claimed_at, j.updated_at) END AS since, true AS registered,
                          w.beat_at < statement_timestamp() - make_interval(secs => w.timeout_s) AS silent
                     FROM unstuck.workers AS w WHERE w.worker_id = j.worker_id) AS v) END,
         run_at = CASE WHEN j.recoveries >= $5::int THEN j.run_at ELSE clock_timestamp() END,
         updated_at = clock_timestamp(),
         finished_at = CASE WHEN j.recoveries >= $5::int THEN clock_timestamp() END
    FROM r
   WHERE j.id = ANY (ARRAY[r.id])
     AND CASE WHEN j.queue = 'thumb''nails' AND j.xmin::text = r.token AND j.status = 'PROCESSING' AND (j.xmax = '0' OR j.xmax = j.xmin)
              THEN CASE WHEN (SELECT ignore_liveness FROM ask) OR j.worker_id IS NULL
                        THEN CASE WHEN j.worker_id IS NULL THEN j.updated_at ELSE coalesce(j.claimed_at, j.updated_at) END < statement_timestamp() - (SELECT timeout FROM ask)
                        ELSE NOT (j.worker_id IN (SELECT w.worker_id FROM unstuck.workers AS w)) END END
  RETURNING j.id::text AS id, j.claim_id, j.worker_id, CASE j.status WHEN 'FAILED' THEN 'fail' ELSE 'reset' END AS action,
            CASE WHEN j.worker_id IS NULL THEN 'timeout'
                 WHEN NOT (SELECT ignore_liveness FROM ask) THEN 'worker_lost'
                 WHEN (j.worker_id IN (SELECT w.worker_id FROM unstuck.workers AS w)) THEN 'forced' ELSE 'timeout' END AS reason
), entered AS (
  INSERT INTO unstuck.ledger (queue, source, job_ids, claim_ids, worker_id, action, reason)
  SELECT 'thumb''nails', 'unstuck.jobs', array_agg(d.id), array_agg(d.claim_id), d.worker_id, d.action, d.reason
    FROM done AS d GROUP BY d.worker_id, d.action, d.reason
)
SELECT d.id, d.action, d.reason FROM done AS d;

-- processing
SELECT count(*) FROM (SELECT i.*, i.xmin AS version FROM unstuck.jobs AS i WHERE i.queue = 'thumb''nails' AND i.alone
      UNION ALL
      SELECT j.* FROM unstuck.batches AS b CROSS JOIN LATERAL unnest(b.ids) AS u(id) CROSS JOIN LATERAL (
               SELECT i.*, i.xmin AS version FROM unstuck.jobs AS i
                WHERE i.id = u.id AND i.queue = 'thumb''nails' AND i.batch = b.batch AND i.status = 'PROCESSING' OFFSET 0) AS j
       WHERE b.queue = 'thumb''nails') AS j;

-- ageless
SELECT count(*) FROM (SELECT i.*, i.xmin AS version FROM unstuck.jobs AS i WHERE i.queue = 'thumb''nails' AND i.alone
      UNION ALL
      SELECT j.* FROM unstuck.batches AS b CROSS JOIN LATERAL unnest(b.ids) AS u(id) CROSS JOIN LATERAL (
               SELECT i.*, i.xmin AS version FROM unstuck.jobs AS i
                WHERE i.id = u.id AND i.queue = 'thumb''nails' AND i.batch = b.batch AND i.status = 'PROCESSING' OFFSET 0) AS j
       WHERE b.queue = 'thumb''nails') AS j WHERE j.worker_id IS NULL AND j.updated_at IS NULL;

