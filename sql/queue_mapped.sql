-- queue_mapped.sql - the statements of a queue on an application's table.
--
-- The same as queue_own.sql, with the claim kept in unstuck.claims under (source, job_id). Rules besides
-- those told there:
-- * the application's row is locked, or written, first, then unstuck.claims: so whoever has locked the row has its
--   claim for himself;
-- * the fence is checked on both as they are after the lock; unstuck.claims changes only for rows that did;
-- * a batch is one look-up for each row of it, in either table, whatever the statistics say: by its place where that is certain
--   (complete_placed, claim_new), else by key. Reading: a LATERAL
--   subquery that locks (or has a LIMIT) is never made a join, and has only the key to search by; the fence stands
--   in CASE, where no index can be tried for it. Writing: = ANY (ARRAY[x]) of a value can be searched by, as = can,
--   but never hashed or merged, so that no plan reads a whole index, or all claims of a table, for a batch;
-- * r is in the order of the key, and so are the locks;
-- * every change of a state writes updated_at in the application's zone ({set_updated_at}), and
--   notes the version of the row that it made (row_token: the transaction's own id is its xmin).

-- name: before_claim
-- Its plan is made with the limit known, by the table's own statistics: no one plan is right for all tables.
SELECT set_config('plan_cache_mode', 'auto', true);

-- name: claim
-- Each of the ready statuses in turn takes what the ones before left of the limit. A row whose last
-- claim ended for good (DONE, DEAD) was made ready by the application: it starts from nothing. The last join
-- has a partner for every row; FULL, so that it is not done by loops.
WITH {picks}, {@claimer}, claimed AS (
{@claimed_by_key}
), noted AS (
{@note}
    FROM claimed AS c
  ON CONFLICT (source, job_id) DO UPDATE
     SET queue = EXCLUDED.queue, claim_id = EXCLUDED.claim_id, worker_id = EXCLUDED.worker_id, state = 'ACTIVE', batch = EXCLUDED.batch,
         attempts = CASE WHEN k.state IN ('DONE', 'DEAD') THEN 1 ELSE k.attempts + 1 END,
         failures = CASE WHEN k.state IN ('DONE', 'DEAD') THEN 0 ELSE k.failures END,
         recoveries = CASE WHEN k.state IN ('DONE', 'DEAD') THEN 0 ELSE k.recoveries END,
         first_claim = CASE WHEN k.state IN ('DONE', 'DEAD') THEN EXCLUDED.claim_id ELSE k.first_claim END,
         row_token = EXCLUDED.row_token, claimed_at = EXCLUDED.claimed_at, ended_at = NULL, not_before = NULL
  RETURNING k.job_id, k.attempts, k.failures, k.ctid AS lies
), listed AS (
{@list}
)
SELECT c.id, c.claim_id, n.attempts AS attempt, n.failures, c.payload,
       CASE WHEN c.place = 1 THEN (SELECT m.batch FROM me AS m) END AS batch, CASE WHEN $3::text IS NULL THEN NULL::text END AS mark, NULL::text AS run_order,
       c.lies AS row_place, n.lies AS claim_place
  FROM claimed AS c FULL JOIN noted AS n ON n.job_id = c.id
 ORDER BY c.place;

-- name: claim_new
-- The same of rows that nobody has claimed before, else an error (23505) and nothing is claimed: at seven tenths of the cost,
-- without a look for an older claim of each (ON CONFLICT) and without a join of rows and claims. One row says
-- where all claims lie, in the order of the rows: they are written in that order.
WITH {picks_new}, {@claimer}, claimed AS (
{claimed_new}
), ordered AS MATERIALIZED (
  SELECT c.* FROM claimed AS c ORDER BY c.place
), noted AS (
{@note}
    FROM ordered AS c
  RETURNING k.ctid AS lies
), listed AS (
{@list}
)
SELECT c.id, c.claim_id, 1 AS attempt, 0 AS failures, c.payload,
       CASE WHEN c.id = {@first} THEN (SELECT m.batch FROM me AS m) END AS batch,
       CASE WHEN $3::text IS NULL THEN NULL::text END AS mark, NULL::text AS run_order, c.lies AS row_place,
       CASE WHEN c.id = {@first} THEN ARRAY(SELECT n.lies FROM noted AS n) END AS claim_places
  FROM ordered AS c;

-- name: first
(SELECT o.id FROM ordered AS o LIMIT 1)

-- name: claimer
me AS MATERIALIZED (
  SELECT w.worker_id, CASE WHEN (SELECT cardinality(ids) FROM {picked}) >= 10 THEN nextval('unstuck.claim_seq') END AS batch
    FROM unstuck.workers AS w
   WHERE w.worker_id = $2::uuid AND (SELECT cardinality(ids) FROM {picked}) > 0
   FOR KEY SHARE
)

-- name: claimed_by_key
  UPDATE {table} AS t SET {status} = {processing}{set_updated_at}
    FROM unnest((SELECT ids FROM {picked})::{id_type}[]) WITH ORDINALITY AS p(key, place)
   WHERE t.{id} = ANY (ARRAY[p.key]) AND EXISTS (SELECT 1 FROM me)
  RETURNING p.place, {@claimed}

-- name: claimed_by_place
-- Where a key has one place and the run order is that of the key. They are locked, so they stay where they are.
  UPDATE {table} AS t SET {status} = {processing}{set_updated_at}
   WHERE t.ctid = ANY ((SELECT ids FROM {picked})::tid[]) AND CASE WHEN t.{status} = {ready} THEN EXISTS (SELECT 1 FROM me) END
  RETURNING t.{id} AS place, {@claimed}

-- name: claimed
t.{id}::text AS id, nextval('unstuck.claim_seq') AS claim_id, ({payload})::text AS payload, t.ctid AS lies

-- name: note
  INSERT INTO unstuck.claims AS k (source, job_id, queue, claim_id, worker_id, state, attempts, row_token, claimed_at, batch)
  SELECT {source}, c.id, {queue}, c.claim_id, $2::uuid, 'ACTIVE', 1, (SELECT {xid}), clock_timestamp(), (SELECT m.batch FROM me AS m)

-- name: list
  INSERT INTO unstuck.claim_batches (source, worker_id, batch, job_ids)
  SELECT {source}, m.worker_id, m.batch, ARRAY(SELECT c.id FROM claimed AS c) FROM me AS m WHERE m.batch IS NOT NULL

-- name: pick
-- Once for each ready status. A retry waits until not_before, unless the application has written the row since.
{pick} AS MATERIALIZED (
  SELECT {picked_before} || ARRAY(
           SELECT t.{pick_what} FROM {table} AS t
            WHERE t.{status} = {ready}
              AND CASE WHEN EXISTS (SELECT FROM unstuck.claims AS k WHERE k.source = {source} AND k.not_before IS NOT NULL)
                       THEN (SELECT k.not_before FROM unstuck.claims AS k
                              WHERE k.source = {source} AND k.job_id = t.{id}::text AND k.state = 'RETRY'
                                AND k.not_before > statement_timestamp() AND k.row_token = t.xmin::text) END IS NULL{and_where}
            ORDER BY {order_by}
            LIMIT $1::int - cardinality({picked_before})
            FOR NO KEY UPDATE SKIP LOCKED) AS ids
)

-- name: stored
WITH r AS MATERIALIZED (
  SELECT u.id::{id_type} AS key, u.claim_id, u.result FROM unnest($1::text[], $2::bigint[], $3::text[]) AS u(id, claim_id, result)
   ORDER BY 1
), locked AS MATERIALIZED (
  SELECT r.key, l.id, l.row_token, l.running, r.claim_id, r.result
    FROM r CROSS JOIN LATERAL (
           SELECT t.{id}::text AS id, t.xmin::text AS row_token, t.{status} = {processing} AS running
             FROM {table} AS t
            WHERE t.{id} = r.key AND CASE WHEN t.{status} IN ({processing}, {waiting}) THEN true END
              FOR NO KEY UPDATE) AS l
), mine AS MATERIALIZED (
  SELECT l.key, l.id, l.result
    FROM locked AS l CROSS JOIN LATERAL (
           SELECT FROM unstuck.claims AS k
            WHERE k.source = {source} AND k.job_id = l.id
              AND CASE WHEN k.claim_id = l.claim_id AND k.worker_id = $4::uuid
                        AND (l.result IS NULL OR l.result::jsonb IS NOT NULL)
                        AND k.state IN ('ACTIVE', 'RELEASED', 'RECOVERED', 'RETRY') AND l.running = (k.state = 'ACTIVE'){and_untouched}
                       THEN true END
              FOR NO KEY UPDATE) AS k
), written AS (
  UPDATE {table} AS t SET {status} = {done}{set_result}{set_updated_at}
    FROM mine AS m
   WHERE t.{id} = ANY (ARRAY[m.key])
  RETURNING {source}::text AS source, m.id
), stored AS (
  UPDATE unstuck.claims AS k
     SET state = 'DONE', ended_at = clock_timestamp(), row_token = {xid}, last_error = NULL, not_before = NULL
    FROM written AS s
   WHERE {@claim_written}
  RETURNING s.id
)

-- name: claim_written
-- The claim of a row that was written. Its source is a value of s: a literal alone could be searched by. One
-- ARRAY is enough, and on the second column of the key it would be left out of the search.
k.source = ANY (ARRAY[s.source]) AND k.job_id = s.id

-- name: complete
{@stored}
SELECT s.id FROM stored AS s;

-- name: complete_all
-- Divides by zero (22012) unless every row was stored.
{@stored}
SELECT unnest(a.ids) AS id
  FROM (SELECT array_agg(s.id) AS ids, 1 / (count(*) = cardinality($1::text[]))::int AS every FROM stored AS s) AS a
 WHERE a.every = 1;

-- name: complete_placed
-- complete_all of rows that lie where the claim has left them ($5, $6: the places of row and claim): nobody has written them since,
-- so nothing has to be looked up, nor locked beforehand. A place is a hint, the fence decides: key, status and token are those of the
-- batch on the version that is written, and either all are written or none (22012); then complete asks the long way. A claim's number
-- and its worker are of one row only, so that the key of it is not compared as well; that all are stored is all that is to be told.
WITH written AS (
{placed}
), stored AS (
  UPDATE unstuck.claims AS k
     SET state = 'DONE', ended_at = clock_timestamp(), row_token = (SELECT {xid}), last_error = NULL, not_before = NULL
   WHERE k.ctid = ANY ($6::tid[]) AND (SELECT count(*) FROM written) = cardinality($1::text[]){and_readable}
     AND CASE WHEN k.source = {source} AND k.worker_id = $4::uuid AND k.state = 'ACTIVE'
                AND k.claim_id IN (SELECT unnest($2::bigint[])) THEN true END
  RETURNING 1
)
SELECT 1 / (count(*) = cardinality($1::text[]))::int FROM stored;

-- name: placed_by_place
  UPDATE {table} AS t SET {status} = {done}{set_updated_at}
   WHERE t.ctid = ANY ($5::tid[])
     AND CASE WHEN t.{status} = {processing} AND t.{id} IN (SELECT unnest($1::text[])::{id_type}) THEN true END
  RETURNING 1

-- name: placed_by_key
-- Where each row gets something of its own, or a place is not the only one of its name (partitions).
  UPDATE {table} AS t SET {status} = {done}{set_result}{set_updated_at}
    FROM (SELECT u.id::{id_type} AS key, u.result FROM unnest($1::text[], $3::text[], $5::tid[]) AS u(id, result, place) ORDER BY 1) AS m
   WHERE t.{id} = ANY (ARRAY[m.key]) AND CASE WHEN t.{status} = {processing} THEN true END
  RETURNING 1

-- name: forget
DELETE FROM unstuck.claim_batches AS b WHERE b.worker_id = $1::uuid AND b.source = {source} AND b.batch = ANY ($2::bigint[]);

-- name: running
-- Of the holder only: its rows, locked and fenced. $3 the worker; "r" has key, id and claim_id.
locked AS MATERIALIZED (
  SELECT l.row_token, r.*
    FROM r CROSS JOIN LATERAL (
           SELECT t.xmin::text AS row_token FROM {table} AS t
            WHERE t.{id} = r.key AND CASE WHEN t.{status} = {processing} THEN true END
              FOR NO KEY UPDATE) AS l
), mine AS MATERIALIZED (
  SELECT l.*, k.failures
    FROM locked AS l CROSS JOIN LATERAL (
           SELECT k.failures FROM unstuck.claims AS k
            WHERE k.source = {source} AND k.job_id = l.id
              AND CASE WHEN k.claim_id = l.claim_id AND k.worker_id = $3::uuid AND k.state = 'ACTIVE'{and_untouched} THEN true END
              FOR NO KEY UPDATE) AS k
)

-- name: fail
WITH r AS MATERIALIZED (
  SELECT u.id::{id_type} AS key, u.*
    FROM unnest($1::text[], $2::bigint[], $4::text[], $5::text[], $6::float8[], $7::text[], $8::bytea[])
             AS u(id, claim_id, kind, error, delay, reason, raw)
   ORDER BY 1
), kept AS (
{@keep_raws}
), {@running}, decided AS MATERIALIZED (
  SELECT m.key, m.id, m.kind, m.error, clock_timestamp() + make_interval(secs => least(greatest(m.delay, 0), 1e9)) AS retry_at,
         m.kind = 'later' OR m.kind = 'retry' AND m.failures + 1 < {max_attempts} AS again
    FROM mine AS m
), written AS (
  UPDATE {table} AS t
     SET {status} = CASE WHEN d.again THEN {reset_to}::{status_type} ELSE {failed}::{status_type} END{set_updated_at}
    FROM decided AS d
   WHERE t.{id} = ANY (ARRAY[d.key])
  RETURNING {source}::text AS source, d.*
)
UPDATE unstuck.claims AS k
   SET state = CASE WHEN s.again THEN 'RETRY' ELSE 'DEAD' END,
       failures = k.failures + (s.kind <> 'later')::int,
       last_error = coalesce(left(s.error, 8000), k.last_error),
       not_before = CASE WHEN s.again THEN s.retry_at END,
       ended_at = clock_timestamp(), row_token = {xid}
  FROM written AS s
 WHERE {@claim_written}
RETURNING s.id, CASE WHEN s.again THEN 'PENDING' ELSE 'FAILED' END AS status;

-- name: release
WITH r AS MATERIALIZED (
  SELECT u.id::{id_type} AS key, u.* FROM unnest($1::text[], $2::bigint[], $4::bool[]) AS u(id, claim_id, started)
   ORDER BY 1
), {@running}, written AS (
  UPDATE {table} AS t SET {status} = {reset_to}{set_updated_at}
    FROM mine AS m
   WHERE t.{id} = ANY (ARRAY[m.key])
  RETURNING {source}::text AS source, m.id, m.started
)
UPDATE unstuck.claims AS k
   SET state = 'RELEASED', attempts = greatest(0, k.attempts - (NOT s.started)::int),
       ended_at = clock_timestamp(), row_token = {xid}
  FROM written AS s
 WHERE {@claim_written}
RETURNING s.id;

-- name: holding
-- The rows that worker $1 has a claim on, in the order of the key.
  SELECT k.job_id::{id_type} AS key, k.job_id AS id, k.claim_id FROM unstuck.active_claims AS k
   WHERE k.worker_id = $1::uuid AND CASE WHEN k.source = {source} AND k.queue = {queue} THEN true END
   ORDER BY 1

-- name: release_all
-- Also ends its claims on rows that the application has deleted or changed since: nothing of it stays ACTIVE.
WITH held AS MATERIALIZED (
{@holding}
), locked AS MATERIALIZED (
  SELECT h.key, h.id
    FROM held AS h CROSS JOIN LATERAL (
           SELECT FROM {table} AS t
            WHERE t.{id} = h.key AND CASE WHEN t.{status} = {processing} THEN true END
              FOR NO KEY UPDATE) AS l
), mine AS MATERIALIZED (
  SELECT l.key, l.id, k.claim_id
    FROM locked AS l CROSS JOIN LATERAL (
           SELECT k.claim_id FROM unstuck.claims AS k
            WHERE k.source = {source} AND k.job_id = l.id
              AND CASE WHEN k.worker_id = $1::uuid AND k.state = 'ACTIVE' THEN true END
              FOR NO KEY UPDATE) AS k
), written AS (
  UPDATE {table} AS t SET {status} = {reset_to}{set_updated_at}
    FROM mine AS m
   WHERE t.{id} = ANY (ARRAY[m.key])
  RETURNING m.id, m.claim_id
), told AS MATERIALIZED (
  SELECT {source}::text AS source, h.id,
         CASE WHEN h.id IN (SELECT w.id FROM written AS w) THEN 'RELEASED'
              WHEN (SELECT t.{status} = {processing} FROM {table} AS t WHERE t.{id} = h.key) IS NOT TRUE THEN 'DEAD' END AS state
    FROM held AS h
), ended AS (
  UPDATE unstuck.claims AS k
     SET state = s.state,
         last_error = CASE s.state WHEN 'RELEASED' THEN k.last_error ELSE 'the row was changed by another program' END,
         ended_at = clock_timestamp(), row_token = {xid}
    FROM told AS s
   WHERE {@claim_written} AND CASE WHEN k.worker_id = $1::uuid AND k.state = 'ACTIVE' THEN s.state IS NOT NULL END
)
SELECT w.id, w.claim_id FROM written AS w;

-- name: classify
-- Always a statement of its own: it must see what the write before it waited for.
SELECT r.id,
       CASE WHEN k.job_id IS NULL THEN 'missing'
            WHEN k.claim_id <> r.claim_id OR k.worker_id IS DISTINCT FROM $3::uuid THEN 'fenced'
            WHEN k.state = 'DONE' THEN 'already'
            WHEN l.id IS NULL THEN 'missing'
            WHEN k.state = 'DEAD' THEN CASE WHEN l.given_up THEN 'failed' ELSE 'fenced' END
            WHEN k.state = 'ACTIVE' THEN CASE WHEN l.running{and_untouched} THEN 'mine' ELSE 'fenced' END
            WHEN l.waits{and_untouched} THEN 'reset'
            ELSE 'fenced' END AS verdict
  FROM unnest($1::text[], $2::bigint[]) AS r(id, claim_id)
  LEFT JOIN LATERAL (
         SELECT k.job_id, k.claim_id, k.worker_id, k.state, k.row_token FROM unstuck.claims AS k
          WHERE k.source = {source} AND k.job_id = r.id
          LIMIT 1) AS k ON true
  LEFT JOIN LATERAL (
         SELECT t.{id}::text AS id, t.xmin::text AS row_token, t.{status} = {processing} AS running,
                t.{status} IN ({waiting}) AS waits, t.{status} = {failed} AS given_up
           FROM {table} AS t WHERE t.{id} = r.id::{id_type}
          LIMIT 1) AS l ON true;

-- name: adoptable
SELECT l.id AS late, l.job_id AS id, l.claim_id, {late_raw} AS raw
  FROM unstuck.late_results AS l
 WHERE {@late_open}
   AND (SELECT l.claim_id >= k.first_claim
               AND CASE WHEN t.{status} IN ({waiting}) THEN k.state IN ('RELEASED', 'RECOVERED', 'RETRY')
                        WHEN t.{status} IN ({adoptable}) THEN k.state = 'DEAD' END
          FROM unstuck.claims AS k, {table} AS t
         WHERE k.source = {source} AND k.job_id = l.job_id AND t.{id} = l.job_id::{id_type})
{@late_next};

-- name: adopted
-- Unasked: a row that waits, as our last write has left it, or that we have given up; as the claims since it was last made ready by
-- the application. A person's word is enough for any other that waits or has failed. The claim takes over
-- the token, so that the answer to any other one does not fit any more.
WITH late AS MATERIALIZED (
{@late_row}
), locked AS MATERIALIZED (
  SELECT r.*, l.key, l.id, l.row_token, l.given_up
    FROM late AS r CROSS JOIN LATERAL (
           SELECT t.{id} AS key, t.{id}::text AS id, t.xmin::text AS row_token, t.{status} NOT IN ({waiting}) AS given_up
             FROM {table} AS t
            WHERE t.{id} = r.job_id::{id_type} AND CASE WHEN t.{status} IN ({adoptable}) THEN true END
              FOR NO KEY UPDATE) AS l
), mine AS MATERIALIZED (
  SELECT l.*
    FROM locked AS l CROSS JOIN LATERAL (
           SELECT FROM unstuck.claims AS k
            WHERE k.source = {source} AND k.job_id = l.id
              AND CASE WHEN $2::bool OR l.claim_id >= k.first_claim{and_untouched}
                        AND CASE WHEN l.given_up THEN k.state = 'DEAD' ELSE k.state IN ('RELEASED', 'RECOVERED', 'RETRY') END
                       THEN true END
              FOR NO KEY UPDATE) AS k
), written AS (
  UPDATE {table} AS t SET {status} = {done}{set_result}{set_updated_at}
    FROM mine AS m
   WHERE t.{id} = ANY (ARRAY[m.key]) AND (m.result IS NULL OR m.result::jsonb IS NOT NULL)
  RETURNING {source}::text AS source, m.id, m.late, m.claim_id, m.worker_id, m.result
), stored AS (
  UPDATE unstuck.claims AS k
     SET state = 'DONE', claim_id = s.claim_id, worker_id = s.worker_id, ended_at = clock_timestamp(), row_token = {xid},
         last_error = NULL, not_before = NULL
    FROM written AS s
   WHERE {@claim_written}
  RETURNING s.id, s.late, s.result
), marked AS (
  UPDATE unstuck.late_results AS l SET adopted_at = clock_timestamp()
    FROM stored AS s
   WHERE l.id = s.late
  RETURNING s.id, s.result
)

-- name: adopt
{@adopted}
SELECT m.id, m.result FROM marked AS m;

-- name: adopt_all
-- Divides by zero (22012) unless it was adopted.
{@adopted}
SELECT a.id, a.result
  FROM (SELECT max(m.id) AS id, max(m.result) AS result, 1 / count(*) AS every FROM marked AS m) AS a
 WHERE a.every = 1;

-- name: status
SELECT CASE WHEN t.{status} = {processing} THEN 'PROCESSING' WHEN t.{status} = {done} THEN 'COMPLETED'
            WHEN t.{status} IN ({waiting}) THEN 'PENDING' WHEN t.{status} IN ({adoptable}) THEN 'FAILED' END AS status,
       t.{status}::text AS stored
  FROM {table} AS t WHERE t.{id} = $1::text::{id_type};

-- name: held
WITH held AS MATERIALIZED (
{@holding}
)
SELECT h.id, h.claim_id FROM held AS h
 WHERE (SELECT t.{status} = {processing} FROM {table} AS t WHERE t.{id} = h.key)
 ORDER BY h.claim_id;

-- name: claim_of
-- The claim of row t as recover sees it: an owner only while ACTIVE, recoveries only of a run that is not over.
LEFT JOIN LATERAL (
         SELECT k.claim_id, CASE WHEN k.state = 'ACTIVE' THEN k.worker_id END AS worker_id, k.claimed_at,
                CASE WHEN k.state IN ('DONE', 'DEAD') THEN 0 ELSE k.recoveries END AS recoveries
           FROM unstuck.claims AS k
          WHERE k.source = {source} AND k.job_id = t.{id}::text
          LIMIT 1) AS c ON true

-- name: stuck
WITH ask AS (
  SELECT make_interval(secs => $1::float8) AS timeout, $2::bool AS ignore_liveness
), found AS (
  SELECT t.{id}::text AS id, t.xmin::text AS token, c.claim_id, c.worker_id,
         CASE WHEN c.worker_id IS NULL THEN {touched} ELSE c.claimed_at END AS since,
         {may_fail} AND coalesce(c.recoveries, 0) >= $6::int AS poisoned, {show} AS show
    FROM {table} AS t
    {@claim_of}
   WHERE t.{status} = {processing}
), {@judged}{@listed};

-- name: reset
-- A row with the same version (token) has the same claim: every write of ours to one writes the other. An
-- untracked row gets a token of its own, so that no answer to an older claim fits it any more.
WITH r AS MATERIALIZED (
  SELECT u.id::{id_type} AS key, u.token FROM unnest($1::text[], $2::text[]) AS u(id, token)
   ORDER BY 1
), ask AS (
  SELECT make_interval(secs => $3::float8) AS timeout, $4::bool AS ignore_liveness
), locked AS MATERIALIZED (
  SELECT r.key AS unstuck_key, l.*
    FROM r CROSS JOIN LATERAL (
           SELECT t.{id}, t.{id}::text AS unstuck_id, {touched} AS unstuck_touched
             FROM {table} AS t
            WHERE t.{id} = r.key AND CASE WHEN t.{status} = {processing} AND t.xmin::text = r.token THEN true END
              FOR NO KEY UPDATE SKIP LOCKED) AS l
), found AS (
  SELECT t.unstuck_key AS key, t.unstuck_id AS id, c.claim_id, c.worker_id,
         CASE WHEN c.worker_id IS NULL THEN t.unstuck_touched ELSE c.claimed_at END AS since,
         {may_fail} AND coalesce(c.recoveries, 0) >= $5::int AS poisoned
    FROM locked AS t
    {@claim_of}
), {@judged}, done AS (
  UPDATE {table} AS t
     SET {status} = CASE WHEN v.poisoned THEN {failed_or_reset_to}::{status_type} ELSE {reset_to}::{status_type} END{set_updated_at}
    FROM judged AS v
   WHERE t.{id} = ANY (ARRAY[v.key]) AND {@may_reset}
  RETURNING v.id, CASE WHEN v.worker_id IS NOT NULL THEN v.claim_id END AS claim_id, v.worker_id,
            CASE WHEN v.poisoned THEN 'fail' ELSE 'reset' END AS action, v.reason, {@observed} AS observed
), noted AS (
  INSERT INTO unstuck.claims AS k (source, job_id, queue, claim_id, state, recoveries, row_token, last_error, ended_at)
  SELECT {source}, d.id, {queue}, nextval('unstuck.claim_seq'), CASE d.action WHEN 'fail' THEN 'DEAD' ELSE 'RECOVERED' END,
         1, {xid}, d.observed, clock_timestamp()
    FROM done AS d
  ON CONFLICT (source, job_id) DO UPDATE
     SET claim_id = CASE WHEN k.state = 'ACTIVE' THEN k.claim_id ELSE EXCLUDED.claim_id END,
         worker_id = CASE WHEN k.state = 'ACTIVE' THEN k.worker_id END,
         state = EXCLUDED.state,
         attempts = CASE WHEN k.state IN ('DONE', 'DEAD') THEN 0 ELSE k.attempts END,
         failures = CASE WHEN k.state IN ('DONE', 'DEAD') THEN 0 ELSE k.failures END,
         recoveries = CASE WHEN k.state IN ('DONE', 'DEAD') THEN 1 ELSE k.recoveries + 1 END,
         first_claim = CASE WHEN k.state IN ('DONE', 'DEAD') THEN EXCLUDED.claim_id ELSE k.first_claim END,
         row_token = EXCLUDED.row_token, last_error = EXCLUDED.last_error, ended_at = EXCLUDED.ended_at, not_before = NULL
), entered AS (
{@entered}
)
SELECT d.id, d.action, d.reason FROM done AS d;

-- name: processing
SELECT count(*) FROM {table} AS t WHERE t.{status} = {processing};

-- name: ageless
SELECT count(*) FROM {table} AS t
 WHERE t.{status} = {processing} AND {touched} IS NULL
   AND (SELECT k.state = 'ACTIVE' FROM unstuck.claims AS k
         WHERE k.source = {source} AND k.job_id = t.{id}::text) IS NOT TRUE;

-- What people look at (worker/view.c). Statuses by their names in our own table; where the settings have none
-- for one, no row has it.

-- name: view_counts
-- $1 pages to read at most, spread over the table; beyond that the counts are estimates -> queue, status, n
SELECT {queue} AS queue, s.status, ceil(s.n * greatest(1, p.pages / $1::float8))::bigint AS n
  FROM (SELECT CASE WHEN t.{status} = {processing} THEN 'PROCESSING'
                    WHEN t.{status} = {done_or_null} THEN 'COMPLETED'
                    WHEN t.{status} = {failed_or_null} THEN 'FAILED'
                    WHEN t.{status} IN ({all_ready}){and_where} THEN 'PENDING' END AS status, count(*) AS n
          FROM {table} AS t TABLESAMPLE SYSTEM (least(100, 100 * $1::float8 / (SELECT v.pages FROM ({@view_pages}) AS v))) REPEATABLE (1)
         GROUP BY 1) AS s,
       ({@view_pages}) AS p
 WHERE s.status IS NOT NULL;

-- name: view_pages
SELECT greatest(1, coalesce((SELECT sum(pg_relation_size(r.relid)) FROM pg_partition_tree({regclass}) AS r),
                            pg_relation_size({regclass})) / current_setting('block_size')::int) AS pages

-- name: view_open
-- $1 rows to look at for each status -> queue, pending, ready, later, oldest_pending, processing, oldest_processing, workers
WITH pending AS MATERIALIZED (
  SELECT {touched} AS since FROM {table} AS t WHERE t.{status} IN ({all_ready}){and_where} LIMIT $1::int
), running AS MATERIALIZED (
  SELECT t.{id}::text AS id, {touched} AS since FROM {table} AS t WHERE t.{status} = {processing} LIMIT $1::int
), held AS MATERIALIZED (
  SELECT r.since, k.worker_id, k.claimed_at
    FROM running AS r LEFT JOIN LATERAL (
           SELECT k.worker_id, k.claimed_at FROM unstuck.claims AS k
            WHERE k.source = {source} AND k.job_id = r.id AND k.state = 'ACTIVE' OFFSET 0) AS k ON true
)
SELECT {queue} AS queue, p.n AS pending, p.n AS ready, NULL::bigint AS later,
       extract(epoch FROM statement_timestamp() - p.since) AS oldest_pending,
       h.n AS processing, extract(epoch FROM statement_timestamp() - h.since) AS oldest_processing, h.workers
  FROM (SELECT count(*) AS n, min(since) AS since FROM pending) AS p,
       (SELECT count(*) AS n, min(coalesce(claimed_at, since)) AS since, count(DISTINCT worker_id) AS workers FROM held) AS h;

-- name: view_failures
-- $1 rows to look at, the newest by their key -> queue, job, at, attempts, error
SELECT {queue} AS queue, t.id AS job, to_char(coalesce(k.ended_at, t.since) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS at,
       k.attempts, left(k.last_error, 2000) AS error
  FROM (SELECT t.{id}::text AS id, t.{status} AS status, {touched} AS since
          FROM {table} AS t ORDER BY t.{id} DESC LIMIT $1::int) AS t
       LEFT JOIN LATERAL (
         SELECT k.ended_at, k.attempts, k.last_error FROM unstuck.claims AS k
          WHERE k.source = {source} AND k.job_id = t.id OFFSET 0) AS k ON true
 WHERE t.status = {failed_or_null}
 ORDER BY coalesce(k.ended_at, t.since) DESC NULLS LAST
 LIMIT 20;
