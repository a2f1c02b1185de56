-- queue_own.sql - the statements of a queue on unstuck.jobs.
--
-- common/mapping.h says what each takes and gives; queue_mapped.sql answers to the same. One
-- statement is one transaction. {name} is filled once from the settings (literals, so that partial
-- indexes match); {@name} is another section, of this file or of queue_shared.sql.
--
-- What keeps them right:
-- * every write checks the token (claim_id, worker_id) on the row as it is after the lock;
-- * rows of a batch are locked in the order of the key, so that two batches cannot deadlock;
-- * a batch is joined to the table by the key, one look-up a row whatever the statistics say: the fence
--   stands in CASE, where no index can be tried for it (a partial index that statistics call empty);
-- * NO KEY UPDATE is the lock of our own UPDATE: rows that refer to a job do not stand in its way.

-- name: claim
-- ARRAY(...) is evaluated once, so the limit holds under any plan. The worker's own row is locked
-- (KEY SHARE, only when there is something to claim): its declaration of death either comes first, and
-- nothing is claimed, or skips it. So no claim of a dead worker comes to light after its death.
WITH picked AS MATERIALIZED (
  SELECT ARRAY(SELECT j.id FROM unstuck.jobs AS j
                WHERE j.queue = {queue} AND j.status = 'PENDING' AND j.run_at <= statement_timestamp()
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

-- name: stored
-- Of the holder, or of the last holder after a release or recovery that nobody has claimed since.
WITH r AS MATERIALIZED (
  SELECT u.id::bigint AS id, u.claim_id, u.result FROM unnest($1::text[], $2::bigint[], $3::text[]) AS u(id, claim_id, result)
), locked AS MATERIALIZED (
  SELECT j.id, r.result FROM r JOIN unstuck.jobs AS j ON j.id = r.id
   WHERE CASE WHEN j.queue = {queue} AND j.claim_id = r.claim_id AND j.worker_id = $4::uuid
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

-- name: complete
{@stored}
SELECT s.id FROM stored AS s;

-- name: complete_all
-- Divides by zero (22012) unless every row was stored.
{@stored}
SELECT unnest(a.ids) AS id
  FROM (SELECT array_agg(s.id) AS ids, 1 / (count(*) = cardinality($1::text[]))::int AS every FROM stored AS s) AS a
 WHERE a.every = 1;

-- name: fail
WITH r AS MATERIALIZED (
  SELECT * FROM unnest($1::text[], $2::bigint[], $4::text[], $5::text[], $6::float8[], $7::text[], $8::bytea[])
             AS r(id, claim_id, kind, error, delay, reason, raw)
), kept AS (
{@keep_raws}
), locked AS MATERIALIZED (
  SELECT j.id, j.failures, j.max_attempts, r.kind, r.error, r.delay FROM r JOIN unstuck.jobs AS j ON j.id = r.id::bigint
   WHERE CASE WHEN j.queue = {queue} AND j.claim_id = r.claim_id AND j.worker_id = $3::uuid
               AND j.status = 'PROCESSING' THEN true END
   ORDER BY j.id
   FOR NO KEY UPDATE OF j
), mine AS (
  SELECT l.id, l.kind, l.error, clock_timestamp() + make_interval(secs => least(greatest(l.delay, 0), 1e9)) AS retry_at,
         l.kind = 'later' OR l.kind = 'retry' AND l.failures + 1 < coalesce(l.max_attempts, {max_attempts}) AS again
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

-- name: release
-- run_at stays: a released job keeps its place in the line.
WITH r AS MATERIALIZED (
  SELECT u.id::bigint AS id, u.claim_id, u.started FROM unnest($1::text[], $2::bigint[], $4::bool[]) AS u(id, claim_id, started)
), locked AS MATERIALIZED (
  SELECT j.id, r.started FROM r JOIN unstuck.jobs AS j ON j.id = r.id
   WHERE CASE WHEN j.queue = {queue} AND j.claim_id = r.claim_id AND j.worker_id = $3::uuid
               AND j.status = 'PROCESSING' THEN true END
   ORDER BY j.id
   FOR NO KEY UPDATE OF j
)
UPDATE unstuck.jobs AS j
   SET status = 'PENDING', attempts = greatest(0, j.attempts - (NOT l.started)::int), updated_at = clock_timestamp()
  FROM locked AS l
 WHERE j.id = l.id
RETURNING j.id::text AS id;

-- name: release_all
-- By worker, not by a list: also what a claim took whose answer never arrived.
WITH held AS MATERIALIZED (
  SELECT ARRAY(SELECT j.id FROM unstuck.jobs AS j
                WHERE j.worker_id = $1::uuid AND j.queue = {queue} AND j.status = 'PROCESSING'
                ORDER BY j.id
                FOR NO KEY UPDATE) AS ids
)
UPDATE unstuck.jobs AS j SET status = 'PENDING', updated_at = clock_timestamp()
 WHERE j.id = ANY ((SELECT ids FROM held)::bigint[])
RETURNING j.id::text AS id, j.claim_id;

-- name: classify
-- Always a statement of its own: it must see what the write before it waited for.
SELECT r.id,
       CASE WHEN j.id IS NULL THEN 'missing'
            WHEN j.claim_id <> r.claim_id OR j.worker_id IS DISTINCT FROM $3::uuid THEN 'fenced'
            ELSE CASE j.status WHEN 'PROCESSING' THEN 'mine' WHEN 'PENDING' THEN 'reset' WHEN 'COMPLETED' THEN 'already'
                               WHEN 'FAILED' THEN 'failed' ELSE 'cancelled' END
       END AS verdict
  FROM unnest($1::text[], $2::bigint[]) AS r(id, claim_id)
  LEFT JOIN unstuck.jobs AS j ON j.id = r.id::bigint AND j.queue = {queue};

-- name: held
SELECT j.id::text AS id, j.claim_id FROM unstuck.jobs AS j
 WHERE j.worker_id = $1::uuid AND j.queue = {queue} AND j.status = 'PROCESSING'
 ORDER BY j.id;

-- name: stuck
WITH ask AS (
  SELECT make_interval(secs => $1::float8) AS timeout, $2::bool AS ignore_liveness
), found AS (
  SELECT j.id::text AS id, j.xmin::text AS token, j.claim_id, j.worker_id,
         CASE WHEN j.worker_id IS NULL THEN j.updated_at ELSE coalesce(j.claimed_at, j.updated_at) END AS since,
         j.recoveries >= $6::int AS poisoned, {show} AS show
    FROM unstuck.jobs AS j
   WHERE j.queue = {queue} AND j.status = 'PROCESSING'
), {@judged}
{@listed};

-- name: reset
-- Checked again on the locked row: the same version of it (token), and still a reason.
WITH r AS MATERIALIZED (
  SELECT u.id::bigint AS id, u.token FROM unnest($1::text[], $2::text[]) AS u(id, token)
), ask AS (
  SELECT make_interval(secs => $3::float8) AS timeout, $4::bool AS ignore_liveness
), found AS MATERIALIZED (
  SELECT j.id, j.claim_id, j.worker_id,
         CASE WHEN j.worker_id IS NULL THEN j.updated_at ELSE coalesce(j.claimed_at, j.updated_at) END AS since,
         j.recoveries >= $5::int AS poisoned
    FROM r JOIN unstuck.jobs AS j ON j.id = r.id
   WHERE CASE WHEN j.queue = {queue} AND j.xmin::text = r.token AND j.status = 'PROCESSING' THEN true END
   ORDER BY j.id
   FOR NO KEY UPDATE OF j SKIP LOCKED
), {@judged}, done AS (
  UPDATE unstuck.jobs AS j
     SET status = CASE WHEN v.poisoned THEN 'FAILED' ELSE 'PENDING' END,
         recoveries = j.recoveries + 1, last_error = v.observed,
         run_at = CASE WHEN v.poisoned THEN j.run_at ELSE clock_timestamp() END,
         updated_at = clock_timestamp(),
         finished_at = CASE WHEN v.poisoned THEN clock_timestamp() END
    FROM judged AS v
   WHERE j.id = v.id AND {@may_reset}
  RETURNING j.id::text AS id, j.claim_id, j.worker_id, CASE WHEN v.poisoned THEN 'fail' ELSE 'reset' END AS action, v.reason
), entered AS (
  INSERT INTO unstuck.recoveries (queue, source, job_id, claim_id, worker_id, action, reason)
  SELECT {queue}, {source}, d.id, d.claim_id, d.worker_id, d.action, d.reason FROM done AS d
)
SELECT d.id, d.action, d.reason FROM done AS d;

-- name: processing
SELECT count(*) FROM unstuck.jobs AS j WHERE j.queue = {queue} AND j.status = 'PROCESSING';

-- name: ageless
SELECT count(*) FROM unstuck.jobs AS j
 WHERE j.queue = {queue} AND j.status = 'PROCESSING' AND j.worker_id IS NULL AND j.updated_at IS NULL;
