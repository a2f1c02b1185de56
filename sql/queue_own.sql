-- queue_own.sql - the statements of a queue on unstuck.jobs.
--
-- common/mapping.h says what each takes and gives; queue_mapped.sql answers to the same. One
-- statement is one transaction. {name} is filled once from the settings (literals, so that partial
-- indexes match); {@name} is another section, of this file or of queue_shared.sql.
--
-- What keeps them right, and fast under any plan:
-- * every write checks the token (claim_id, worker_id) on the version of the row that it changes: the fence
--   stands in the WHERE of the UPDATE, which PostgreSQL asks again when it had to wait for somebody;
-- * rows of a batch are written in the order of the key, so that two batches cannot deadlock;
-- * a batch finds its rows by the key, one look-up a row whatever the statistics say: = ANY of the keys, or, where each
--   row is given something of its own, = ANY (ARRAY[x]), which can be searched by, as = can, but never hashed or merged. The
--   fence stands in CASE there, which leaves nothing else to search by;
-- * running jobs are found by unstuck.batches or, claimed with few others, by jobs_alone. Whoever ends a
--   run takes the batch off the row.

-- name: claim
-- $3: where the last claim ended, or NULL to look from the start of the queue. A level is a priority, so that
-- jobs for later, which stand behind those that are due, are never read through. 500: so many fit into a row of batches.
-- The worker's own row is locked (KEY SHARE, only when there is something to claim): its declaration of death either
-- comes first, and nothing is claimed, or skips it. So no claim of a dead worker comes to light after its death.
-- Rows are locked before they are changed, so a place (ctid) is as good as a key, and nearer. A join would give them a
-- number in run order; it costs as much as a tenth of all, so they come as they lie, and one of them says the order.
WITH RECURSIVE level(priority, run_at, id) AS (
  SELECT CASE WHEN $3::text IS NULL
              THEN (SELECT j.priority FROM unstuck.jobs AS j WHERE j.queue = {queue} AND j.waiting ORDER BY j.priority LIMIT 1)
              ELSE ($3::text[])[1]::int END,
         coalesce(($3::text[])[2]::timestamptz, '-infinity'), coalesce(($3::text[])[3]::bigint, 0)
  UNION ALL
  SELECT (SELECT j.priority FROM unstuck.jobs AS j
           WHERE j.queue = {queue} AND j.waiting AND j.priority > l.priority ORDER BY j.priority LIMIT 1), '-infinity', 0
    FROM level AS l WHERE l.priority IS NOT NULL
), picked AS MATERIALIZED (
  SELECT array_agg(p.place) AS places, array_agg(p.id) AS ids, count(*) AS n,
         (array_agg(p.priority))[count(*)] AS priority, (array_agg(p.run_at))[count(*)] AS run_at
    FROM (SELECT j.* FROM level AS l CROSS JOIN LATERAL (
                   SELECT j.ctid AS place, j.priority, j.run_at, j.id FROM unstuck.jobs AS j
                    WHERE j.queue = {queue} AND j.waiting AND j.priority = l.priority AND j.run_at <= statement_timestamp()
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
  SELECT {queue}, $2::uuid, m.batch, m.ids FROM mine AS m WHERE m.batch IS NOT NULL
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

-- name: stored
-- Of the holder, or of the last holder after a release or recovery that nobody has claimed since.
UPDATE unstuck.jobs AS j
   SET status = 'COMPLETED', result = r.result::jsonb, last_error = NULL, batch = NULL,
       updated_at = statement_timestamp(), finished_at = statement_timestamp()
  FROM (SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS u(id, claim_id, result) ORDER BY 1) AS r
 WHERE j.id = ANY (ARRAY[r.id])
   AND CASE WHEN j.queue = {queue} AND j.claim_id = r.claim_id AND j.worker_id = $4::uuid
                 AND j.status IN ('PROCESSING', 'PENDING') THEN true END
RETURNING j.id::text AS id

-- name: complete
{@stored};

-- name: complete_all
-- Divides by zero (22012) unless every row was stored.
WITH stored AS (
{@stored}
)
SELECT unnest(a.ids) AS id
  FROM (SELECT array_agg(s.id) AS ids, 1 / (count(*) = cardinality($1::bigint[]))::int AS every FROM stored AS s) AS a
 WHERE a.every = 1;

-- name: complete_null
-- The same where all results are null: without a join, at three quarters of the cost. CASE keeps the pairs a
-- look-up in a hash and makes no join of them.
UPDATE unstuck.jobs AS j
   SET status = 'COMPLETED', result = 'null', last_error = NULL, batch = NULL,
       updated_at = statement_timestamp(), finished_at = statement_timestamp()
 WHERE j.id = ANY ($1::bigint[]) AND j.queue = {queue} AND j.worker_id = $3::uuid AND j.status IN ('PROCESSING', 'PENDING')
   AND CASE WHEN (j.id, j.claim_id) IN (SELECT * FROM unnest($1::bigint[], $2::bigint[])) THEN true END
RETURNING j.id::text AS id;

-- name: forget
DELETE FROM unstuck.batches AS b WHERE b.queue = {queue} AND b.worker_id = $1::uuid AND b.batch = ANY ($2::bigint[]);

-- name: fail
WITH r AS MATERIALIZED (
  SELECT * FROM unnest($1::bigint[], $2::bigint[], $4::text[], $5::text[], $6::float8[], $7::text[], $8::bytea[])
             AS r(id, claim_id, kind, error, delay, reason, raw)
   ORDER BY 1
), kept AS (
{@keep_raws}
)
UPDATE unstuck.jobs AS j
   SET status = CASE WHEN {@again} THEN 'PENDING' ELSE 'FAILED' END, batch = NULL,
       failures = j.failures + (r.kind <> 'later')::int,
       last_error = coalesce(left(r.error, 8000), j.last_error),
       run_at = CASE WHEN {@again} THEN clock_timestamp() + make_interval(secs => least(greatest(r.delay, 0), 1e9))
                     ELSE j.run_at END,
       updated_at = clock_timestamp(),
       finished_at = CASE WHEN NOT {@again} THEN clock_timestamp() END
  FROM r
 WHERE j.id = ANY (ARRAY[r.id]) AND {@running_still}
RETURNING j.id::text AS id, j.status;

-- name: running_still
-- Of the holder $3 only.
CASE WHEN j.queue = {queue} AND j.claim_id = r.claim_id AND j.worker_id = $3::uuid AND j.status = 'PROCESSING' THEN true END

-- name: again
(r.kind = 'later' OR r.kind = 'retry' AND j.failures + 1 < coalesce(j.max_attempts, {max_attempts}))

-- name: release
-- run_at stays: a released job keeps its place in the line.
UPDATE unstuck.jobs AS j
   SET status = 'PENDING', batch = NULL, attempts = greatest(0, j.attempts - (NOT r.started)::int), updated_at = clock_timestamp()
  FROM (SELECT * FROM unnest($1::bigint[], $2::bigint[], $4::bool[]) AS u(id, claim_id, started) ORDER BY 1) AS r
 WHERE j.id = ANY (ARRAY[r.id]) AND {@running_still}
RETURNING j.id::text AS id;

-- name: of_worker
-- The jobs that $1 holds in this queue, with what may have ended by now.
SELECT j.id FROM unstuck.jobs AS j WHERE j.queue = {queue} AND j.alone AND j.worker_id = $1::uuid
UNION ALL
SELECT unnest(b.ids) FROM unstuck.batches AS b WHERE b.queue = {queue} AND b.worker_id = $1::uuid

-- name: release_all
-- By worker, not by a list: also what a claim took whose answer never arrived.
UPDATE unstuck.jobs AS j SET status = 'PENDING', batch = NULL, updated_at = clock_timestamp()
 WHERE j.id = ANY (ARRAY({@of_worker})) AND j.queue = {queue} AND j.worker_id = $1::uuid AND j.status = 'PROCESSING'
RETURNING j.id::text AS id, j.claim_id;

-- name: classify
-- Always a statement of its own: it must see what the write before it waited for.
SELECT r.id,
       CASE WHEN j.id IS NULL THEN 'missing'
            WHEN j.claim_id <> r.claim_id OR j.worker_id IS DISTINCT FROM $3::uuid THEN 'fenced'
            ELSE CASE j.status WHEN 'PROCESSING' THEN 'mine' WHEN 'PENDING' THEN 'reset' WHEN 'COMPLETED' THEN 'already'
                               WHEN 'FAILED' THEN 'failed' ELSE 'cancelled' END
       END AS verdict
  FROM unnest($1::bigint[], $2::bigint[]) AS r(id, claim_id)
  LEFT JOIN LATERAL (SELECT i.* FROM unstuck.jobs AS i WHERE i.id = r.id AND i.queue = {queue} OFFSET 0) AS j ON true;

-- name: adoptable
SELECT l.id AS late, l.job_id AS id, l.claim_id, {late_raw} AS raw
  FROM unstuck.late_results AS l
 WHERE {@late_open}
   AND (SELECT j.status IN ('PENDING', 'FAILED') AND l.claim_id >= j.first_claim
          FROM unstuck.jobs AS j WHERE j.id = l.job_id::bigint AND j.queue = {queue})
{@late_next};

-- name: adopt
SELECT a.job AS id, a.adopted AS result FROM unstuck.adopt($1::bigint, $2::bool, {as_text}) AS a;

-- name: status
SELECT j.status, j.status AS stored FROM unstuck.jobs AS j WHERE j.id = $1::bigint AND j.queue = {queue};

-- name: held
SELECT j.id::text AS id, j.claim_id FROM unstuck.jobs AS j
 WHERE j.id = ANY (ARRAY({@of_worker})) AND j.queue = {queue} AND j.worker_id = $1::uuid AND j.status = 'PROCESSING'
 ORDER BY j.id;

-- name: running
-- All that runs in this queue, as j.
FROM (SELECT i.*, i.xmin AS version FROM unstuck.jobs AS i WHERE i.queue = {queue} AND i.alone
      UNION ALL
      SELECT j.* FROM unstuck.batches AS b CROSS JOIN LATERAL unnest(b.ids) AS u(id) CROSS JOIN LATERAL (
               SELECT i.*, i.xmin AS version FROM unstuck.jobs AS i
                WHERE i.id = u.id AND i.queue = {queue} AND i.batch = b.batch AND i.status = 'PROCESSING' OFFSET 0) AS j
       WHERE b.queue = {queue}) AS j

-- name: stuck
WITH ask AS (
  SELECT make_interval(secs => $1::float8) AS timeout, $2::bool AS ignore_liveness
), found AS (
  SELECT j.id::text AS id, j.version::text AS token, j.claim_id, j.worker_id,
         {@since} AS since,
         j.recoveries >= $6::int AS poisoned, {show} AS show
    {@running}
), {@judged}{@listed};

-- name: since
CASE WHEN j.worker_id IS NULL THEN j.updated_at ELSE coalesce(j.claimed_at, j.updated_at) END

-- name: reset
-- Checked again on the locked row: the same version of it (token), and still a reason.
WITH r AS MATERIALIZED (
  SELECT * FROM unnest($1::bigint[], $2::text[]) AS r(id, token) ORDER BY 1
), ask AS (
  SELECT make_interval(secs => $3::float8) AS timeout, $4::bool AS ignore_liveness
), found AS MATERIALIZED (
  SELECT l.* FROM r CROSS JOIN LATERAL (
    SELECT j.ctid AS place, j.id, j.claim_id, j.worker_id, {@since} AS since, j.recoveries >= $5::int AS poisoned
      FROM unstuck.jobs AS j
     WHERE j.id = r.id AND j.queue = {queue} AND j.xmin::text = r.token AND j.status = 'PROCESSING'
       FOR NO KEY UPDATE SKIP LOCKED) AS l
), {@judged}, done AS (
  UPDATE unstuck.jobs AS j
     SET status = CASE WHEN v.poisoned THEN 'FAILED' ELSE 'PENDING' END, batch = NULL,
         recoveries = j.recoveries + 1, last_error = {@observed},
         run_at = CASE WHEN v.poisoned THEN j.run_at ELSE clock_timestamp() END,
         updated_at = clock_timestamp(),
         finished_at = CASE WHEN v.poisoned THEN clock_timestamp() END
    FROM judged AS v
   WHERE j.ctid = v.place AND {@may_reset}
  RETURNING j.id::text AS id, j.claim_id, j.worker_id, CASE WHEN v.poisoned THEN 'fail' ELSE 'reset' END AS action, v.reason
), entered AS (
{@entered}
)
SELECT d.id, d.action, d.reason FROM done AS d;

-- name: reset_free
-- The same for rows that nobody has locked, which are nearly all, in one look-up each: judged in the WHERE of the UPDATE, which is
-- asked again of the newest version when somebody was faster. A lock of the transaction that wrote the version is over (xmax = xmin).
-- Should somebody lock one between the look and the write, the lock_timeout ends the statement.
-- Its commit does not wait for the disk: a recovery that a crash takes back was none, the row is as stuck as before; and whatever
-- follows from one lies behind it in the WAL. Who tells of it flushes the WAL first (session.sql).
WITH r AS MATERIALIZED (
  SELECT * FROM unnest($1::bigint[], $2::text[]) AS r(id, token) ORDER BY 1
), ask AS MATERIALIZED (
  SELECT make_interval(secs => $3::float8) AS timeout, $4::bool AS ignore_liveness,
         set_config('synchronous_commit', 'off', true), set_config('lock_timeout', '20ms', true)
), done AS (
  UPDATE unstuck.jobs AS j
     SET status = CASE WHEN j.recoveries >= $5::int THEN 'FAILED' ELSE 'PENDING' END, batch = NULL,
         recoveries = j.recoveries + 1, last_error = {@observed_now},
         run_at = CASE WHEN j.recoveries >= $5::int THEN j.run_at ELSE clock_timestamp() END,
         updated_at = clock_timestamp(),
         finished_at = CASE WHEN j.recoveries >= $5::int THEN clock_timestamp() END
    FROM r
   WHERE j.id = ANY (ARRAY[r.id])
     AND CASE WHEN j.queue = {queue} AND j.xmin::text = r.token AND j.status = 'PROCESSING' AND (j.xmax = '0' OR j.xmax = j.xmin)
              THEN CASE WHEN (SELECT ignore_liveness FROM ask) OR j.worker_id IS NULL
                        THEN {@since} < statement_timestamp() - (SELECT timeout FROM ask)
                        ELSE NOT {@registered} END END
  RETURNING j.id::text AS id, j.claim_id, j.worker_id, CASE j.status WHEN 'FAILED' THEN 'fail' ELSE 'reset' END AS action,
            CASE WHEN j.worker_id IS NULL THEN 'timeout'
                 WHEN NOT (SELECT ignore_liveness FROM ask) THEN 'worker_lost'
                 WHEN {@registered} THEN 'forced' ELSE 'timeout' END AS reason
), entered AS (
{@entered}
)
SELECT d.id, d.action, d.reason FROM done AS d;

-- name: registered
(j.worker_id IN (SELECT w.worker_id FROM unstuck.workers AS w))

-- name: observed_now
-- As observed, of j. The owner is looked up only where it is there: with ignore_liveness.
CASE WHEN j.worker_id IS NULL
       THEN format('no worker known; untouched for %s s', trunc(extract(epoch FROM statement_timestamp() - j.updated_at)))
     WHEN NOT {@registered}
       THEN format('worker %s is not registered; job claimed %s s ago',
                   j.worker_id, trunc(extract(epoch FROM statement_timestamp() - {@since})))
     ELSE (SELECT {@observed}
             FROM (SELECT w.*, {@since} AS since, true AS registered,
                          w.beat_at < statement_timestamp() - make_interval(secs => w.timeout_s) AS silent
                     FROM unstuck.workers AS w WHERE w.worker_id = j.worker_id) AS v) END

-- name: processing
SELECT count(*) {@running};

-- name: ageless
SELECT count(*) {@running} WHERE j.worker_id IS NULL AND j.updated_at IS NULL;
