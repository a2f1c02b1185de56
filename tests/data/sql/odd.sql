-- claim
WITH picked_1 AS MATERIALIZED (
  SELECT '{}'::uuid[] || ARRAY(
           SELECT t."select" FROM "My App"."Order""s" AS t
            WHERE t."Sta tus" = 'to do'
              AND CASE WHEN EXISTS (SELECT FROM unstuck.claims AS k WHERE k.source = 'My App.Order"s' AND k.not_before IS NOT NULL)
                       THEN (SELECT k.not_before FROM unstuck.claims AS k
                              WHERE k.source = 'My App.Order"s' AND k.job_id = t."select"::text AND k.state = 'RETRY'
                                AND k.not_before > statement_timestamp() AND k.row_token = t.xmin::text) END IS NULL
            ORDER BY t."select"
            LIMIT $1::int - cardinality('{}'::uuid[])
            FOR NO KEY UPDATE SKIP LOCKED) AS ids
), me AS MATERIALIZED (
  SELECT w.worker_id, CASE WHEN (SELECT cardinality(ids) FROM picked_1) >= 10 THEN nextval('unstuck.claim_seq') END AS batch
    FROM unstuck.workers AS w
   WHERE w.worker_id = $2::uuid AND (SELECT cardinality(ids) FROM picked_1) > 0
   FOR KEY SHARE
), claimed AS (
  UPDATE "My App"."Order""s" AS t SET "Sta tus" = E'do\\ing', "UpdatedAt" = clock_timestamp()
    FROM unnest((SELECT ids FROM picked_1)::uuid[]) WITH ORDINALITY AS p(key, place)
   WHERE t."select" = ANY (ARRAY[p.key]) AND EXISTS (SELECT 1 FROM me)
  RETURNING p.place, t."select"::text AS id, nextval('unstuck.claim_seq') AS claim_id, (row_to_json(t.*))::text AS payload, t.ctid AS lies
), noted AS (
  INSERT INTO unstuck.claims AS k (source, job_id, queue, claim_id, worker_id, state, attempts, row_token, claimed_at, batch)
  SELECT 'My App.Order"s', c.id, 'it''s "odd"', c.claim_id, $2::uuid, 'ACTIVE', 1, (SELECT pg_current_xact_id()::xid::text), clock_timestamp(), (SELECT m.batch FROM me AS m)
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
  INSERT INTO unstuck.claim_batches (source, worker_id, batch, job_ids)
  SELECT 'My App.Order"s', m.worker_id, m.batch, ARRAY(SELECT c.id FROM claimed AS c) FROM me AS m WHERE m.batch IS NOT NULL
)
SELECT c.id, c.claim_id, n.attempts AS attempt, n.failures, c.payload,
       CASE WHEN c.place = 1 THEN (SELECT m.batch FROM me AS m) END AS batch, CASE WHEN $3::text IS NULL THEN NULL::text END AS mark, NULL::text AS run_order,
       c.lies AS row_place, n.lies AS claim_place
  FROM claimed AS c FULL JOIN noted AS n ON n.job_id = c.id
 ORDER BY c.place;

-- claim_new
WITH picked_1 AS MATERIALIZED (
  SELECT '{}'::tid[] || ARRAY(
           SELECT t.ctid FROM "My App"."Order""s" AS t
            WHERE t."Sta tus" = 'to do'
              AND CASE WHEN EXISTS (SELECT FROM unstuck.claims AS k WHERE k.source = 'My App.Order"s' AND k.not_before IS NOT NULL)
                       THEN (SELECT k.not_before FROM unstuck.claims AS k
                              WHERE k.source = 'My App.Order"s' AND k.job_id = t."select"::text AND k.state = 'RETRY'
                                AND k.not_before > statement_timestamp() AND k.row_token = t.xmin::text) END IS NULL
            ORDER BY t."select"
            LIMIT $1::int - cardinality('{}'::tid[])
            FOR NO KEY UPDATE SKIP LOCKED) AS ids
), me AS MATERIALIZED (
  SELECT w.worker_id, CASE WHEN (SELECT cardinality(ids) FROM picked_1) >= 10 THEN nextval('unstuck.claim_seq') END AS batch
    FROM unstuck.workers AS w
   WHERE w.worker_id = $2::uuid AND (SELECT cardinality(ids) FROM picked_1) > 0
   FOR KEY SHARE
), claimed AS (
  UPDATE "My App"."Order""s" AS t SET "Sta tus" = E'do\\ing', "UpdatedAt" = clock_timestamp()
   WHERE t.ctid = ANY ((SELECT ids FROM picked_1)::tid[]) AND CASE WHEN t."Sta tus" = 'to do' THEN EXISTS (SELECT 1 FROM me) END
  RETURNING t."select" AS place, t."select"::text AS id, nextval('unstuck.claim_seq') AS claim_id, (row_to_json(t.*))::text AS payload, t.ctid AS lies
), ordered AS MATERIALIZED (
  SELECT c.* FROM claimed AS c ORDER BY c.place
), noted AS (
  INSERT INTO unstuck.claims AS k (source, job_id, queue, claim_id, worker_id, state, attempts, row_token, claimed_at, batch)
  SELECT 'My App.Order"s', c.id, 'it''s "odd"', c.claim_id, $2::uuid, 'ACTIVE', 1, (SELECT pg_current_xact_id()::xid::text), clock_timestamp(), (SELECT m.batch FROM me AS m)
    FROM ordered AS c
  RETURNING k.ctid AS lies
), listed AS (
  INSERT INTO unstuck.claim_batches (source, worker_id, batch, job_ids)
  SELECT 'My App.Order"s', m.worker_id, m.batch, ARRAY(SELECT c.id FROM claimed AS c) FROM me AS m WHERE m.batch IS NOT NULL
)
SELECT c.id, c.claim_id, 1 AS attempt, 0 AS failures, c.payload,
       CASE WHEN c.id = (SELECT o.id FROM ordered AS o LIMIT 1) THEN (SELECT m.batch FROM me AS m) END AS batch,
       CASE WHEN $3::text IS NULL THEN NULL::text END AS mark, NULL::text AS run_order, c.lies AS row_place,
       CASE WHEN c.id = (SELECT o.id FROM ordered AS o LIMIT 1) THEN ARRAY(SELECT n.lies FROM noted AS n) END AS claim_places
  FROM ordered AS c;

-- before_claim
SELECT set_config('plan_cache_mode', 'auto', true);

-- complete
WITH r AS MATERIALIZED (
  SELECT u.id::uuid AS key, u.claim_id, u.result FROM unnest($1::text[], $2::bigint[], $3::text[]) AS u(id, claim_id, result)
   ORDER BY 1
), locked AS MATERIALIZED (
  SELECT r.key, l.id, l.row_token, l.running, r.claim_id, r.result
    FROM r CROSS JOIN LATERAL (
           SELECT t."select"::text AS id, t.xmin::text AS row_token, t."Sta tus" = E'do\\ing' AS running
             FROM "My App"."Order""s" AS t
            WHERE t."select" = r.key AND CASE WHEN t."Sta tus" IN (E'do\\ing', 'to do') THEN true END
              FOR NO KEY UPDATE) AS l
), mine AS MATERIALIZED (
  SELECT l.key, l.id, l.result
    FROM locked AS l CROSS JOIN LATERAL (
           SELECT FROM unstuck.claims AS k
            WHERE k.source = 'My App.Order"s' AND k.job_id = l.id
              AND CASE WHEN k.claim_id = l.claim_id AND k.worker_id = $4::uuid
                        AND (l.result IS NULL OR l.result::jsonb IS NOT NULL)
                        AND k.state IN ('ACTIVE', 'RELEASED', 'RECOVERED', 'RETRY') AND l.running = (k.state = 'ACTIVE') AND k.row_token = l.row_token
                       THEN true END
              FOR NO KEY UPDATE) AS k
), written AS (
  UPDATE "My App"."Order""s" AS t SET "Sta tus" = 'done', "Result" = m.result::jsonb, "UpdatedAt" = clock_timestamp()
    FROM mine AS m
   WHERE t."select" = ANY (ARRAY[m.key])
  RETURNING 'My App.Order"s'::text AS source, m.id
), stored AS (
  UPDATE unstuck.claims AS k
     SET state = 'DONE', ended_at = clock_timestamp(), row_token = pg_current_xact_id()::xid::text, last_error = NULL, not_before = NULL
    FROM written AS s
   WHERE k.source = ANY (ARRAY[s.source]) AND k.job_id = s.id
  RETURNING s.id
)
SELECT s.id FROM stored AS s;

-- complete_all
WITH r AS MATERIALIZED (
  SELECT u.id::uuid AS key, u.claim_id, u.result FROM unnest($1::text[], $2::bigint[], $3::text[]) AS u(id, claim_id, result)
   ORDER BY 1
), locked AS MATERIALIZED (
  SELECT r.key, l.id, l.row_token, l.running, r.claim_id, r.result
    FROM r CROSS JOIN LATERAL (
           SELECT t."select"::text AS id, t.xmin::text AS row_token, t."Sta tus" = E'do\\ing' AS running
             FROM "My App"."Order""s" AS t
            WHERE t."select" = r.key AND CASE WHEN t."Sta tus" IN (E'do\\ing', 'to do') THEN true END
              FOR NO KEY UPDATE) AS l
), mine AS MATERIALIZED (
  SELECT l.key, l.id, l.result
    FROM locked AS l CROSS JOIN LATERAL (
           SELECT FROM unstuck.claims AS k
            WHERE k.source = 'My App.Order"s' AND k.job_id = l.id
              AND CASE WHEN k.claim_id = l.claim_id AND k.worker_id = $4::uuid
                        AND (l.result IS NULL OR l.result::jsonb IS NOT NULL)
                        AND k.state IN ('ACTIVE', 'RELEASED', 'RECOVERED', 'RETRY') AND l.running = (k.state = 'ACTIVE') AND k.row_token = l.row_token
                       THEN true END
              FOR NO KEY UPDATE) AS k
), written AS (
  UPDATE "My App"."Order""s" AS t SET "Sta tus" = 'done', "Result" = m.result::jsonb, "UpdatedAt" = clock_timestamp()
    FROM mine AS m
   WHERE t."select" = ANY (ARRAY[m.key])
  RETURNING 'My App.Order"s'::text AS source, m.id
), stored AS (
  UPDATE unstuck.claims AS k
     SET state = 'DONE', ended_at = clock_timestamp(), row_token = pg_current_xact_id()::xid::text, last_error = NULL, not_before = NULL
    FROM written AS s
   WHERE k.source = ANY (ARRAY[s.source]) AND k.job_id = s.id
  RETURNING s.id
)
SELECT unnest(a.ids) AS id
  FROM (SELECT array_agg(s.id) AS ids, 1 / (count(*) = cardinality($1::text[]))::int AS every FROM stored AS s) AS a
 WHERE a.every = 1;

-- fail
WITH r AS MATERIALIZED (
  SELECT u.id::uuid AS key, u.*
    FROM unnest($1::text[], $2::bigint[], $4::text[], $5::text[], $6::float8[], $7::text[], $8::bytea[])
             AS u(id, claim_id, kind, error, delay, reason, raw)
   ORDER BY 1
), kept AS (
  INSERT INTO unstuck.late_results (queue, source, job_id, claim_id, worker_id, reason, raw)
  SELECT 'it''s "odd"', 'My App.Order"s', r.id, r.claim_id, $3::uuid, coalesce(r.reason, 'failed'), r.raw
    FROM r WHERE r.raw IS NOT NULL
  ON CONFLICT DO NOTHING
), locked AS MATERIALIZED (
  SELECT l.row_token, r.*
    FROM r CROSS JOIN LATERAL (
           SELECT t.xmin::text AS row_token FROM "My App"."Order""s" AS t
            WHERE t."select" = r.key AND CASE WHEN t."Sta tus" = E'do\\ing' THEN true END
              FOR NO KEY UPDATE) AS l
), mine AS MATERIALIZED (
  SELECT l.*, k.failures
    FROM locked AS l CROSS JOIN LATERAL (
           SELECT k.failures FROM unstuck.claims AS k
            WHERE k.source = 'My App.Order"s' AND k.job_id = l.id
              AND CASE WHEN k.claim_id = l.claim_id AND k.worker_id = $3::uuid AND k.state = 'ACTIVE' AND k.row_token = l.row_token THEN true END
              FOR NO KEY UPDATE) AS k
), decided AS MATERIALIZED (
  SELECT m.key, m.id, m.kind, m.error, clock_timestamp() + make_interval(secs => least(greatest(m.delay, 0), 1e9)) AS retry_at,
         m.kind = 'later' OR m.kind = 'retry' AND m.failures + 1 < 5 AS again
    FROM mine AS m
), written AS (
  UPDATE "My App"."Order""s" AS t
     SET "Sta tus" = CASE WHEN d.again THEN 'to do'::mood ELSE 'bad'::mood END, "UpdatedAt" = clock_timestamp()
    FROM decided AS d
   WHERE t."select" = ANY (ARRAY[d.key])
  RETURNING 'My App.Order"s'::text AS source, d.*
)
UPDATE unstuck.claims AS k
   SET state = CASE WHEN s.again THEN 'RETRY' ELSE 'DEAD' END,
       failures = k.failures + (s.kind <> 'later')::int,
       last_error = coalesce(left(s.error, 8000), k.last_error),
       not_before = CASE WHEN s.again THEN s.retry_at END,
       ended_at = clock_timestamp(), row_token = pg_current_xact_id()::xid::text
  FROM written AS s
 WHERE k.source = ANY (ARRAY[s.source]) AND k.job_id = s.id
RETURNING s.id, CASE WHEN s.again THEN 'PENDING' ELSE 'FAILED' END AS status;

-- late
INSERT INTO unstuck.late_results (queue, source, job_id, claim_id, worker_id, reason, raw)
SELECT 'it''s "odd"', 'My App.Order"s', r.id, r.claim_id, $3::uuid, r.reason, coalesce(r.raw, '')
  FROM unnest($1::text[], $2::bigint[], $4::text[], $5::bytea[]) AS r(id, claim_id, reason, raw)
ON CONFLICT DO NOTHING;

-- forget
DELETE FROM unstuck.claim_batches AS b WHERE b.worker_id = $1::uuid AND b.source = 'My App.Order"s' AND b.batch = ANY ($2::bigint[]);

-- release
WITH r AS MATERIALIZED (
  SELECT u.id::uuid AS key, u.* FROM unnest($1::text[], $2::bigint[], $4::bool[]) AS u(id, claim_id, started)
   ORDER BY 1
), locked AS MATERIALIZED (
  SELECT l.row_token, r.*
    FROM r CROSS JOIN LATERAL (
           SELECT t.xmin::text AS row_token FROM "My App"."Order""s" AS t
            WHERE t."select" = r.key AND CASE WHEN t."Sta tus" = E'do\\ing' THEN true END
              FOR NO KEY UPDATE) AS l
), mine AS MATERIALIZED (
  SELECT l.*, k.failures
    FROM locked AS l CROSS JOIN LATERAL (
           SELECT k.failures FROM unstuck.claims AS k
            WHERE k.source = 'My App.Order"s' AND k.job_id = l.id
              AND CASE WHEN k.claim_id = l.claim_id AND k.worker_id = $3::uuid AND k.state = 'ACTIVE' AND k.row_token = l.row_token THEN true END
              FOR NO KEY UPDATE) AS k
), written AS (
  UPDATE "My App"."Order""s" AS t SET "Sta tus" = 'to do', "UpdatedAt" = clock_timestamp()
    FROM mine AS m
   WHERE t."select" = ANY (ARRAY[m.key])
  RETURNING 'My App.Order"s'::text AS source, m.id, m.started
)
UPDATE unstuck.claims AS k
   SET state = 'RELEASED', attempts = greatest(0, k.attempts - (NOT s.started)::int),
       ended_at = clock_timestamp(), row_token = pg_current_xact_id()::xid::text
  FROM written AS s
 WHERE k.source = ANY (ARRAY[s.source]) AND k.job_id = s.id
RETURNING s.id;

-- release_all
WITH held AS MATERIALIZED (
  SELECT k.job_id::uuid AS key, k.job_id AS id, k.claim_id FROM unstuck.active_claims AS k
   WHERE k.worker_id = $1::uuid AND CASE WHEN k.source = 'My App.Order"s' AND k.queue = 'it''s "odd"' THEN true END
   ORDER BY 1
), locked AS MATERIALIZED (
  SELECT h.key, h.id
    FROM held AS h CROSS JOIN LATERAL (
           SELECT FROM "My App"."Order""s" AS t
            WHERE t."select" = h.key AND CASE WHEN t."Sta tus" = E'do\\ing' THEN true END
              FOR NO KEY UPDATE) AS l
), mine AS MATERIALIZED (
  SELECT l.key, l.id, k.claim_id
    FROM locked AS l CROSS JOIN LATERAL (
           SELECT k.claim_id FROM unstuck.claims AS k
            WHERE k.source = 'My App.Order"s' AND k.job_id = l.id
              AND CASE WHEN k.worker_id = $1::uuid AND k.state = 'ACTIVE' THEN true END
              FOR NO KEY UPDATE) AS k
), written AS (
  UPDATE "My App"."Order""s" AS t SET "Sta tus" = 'to do', "UpdatedAt" = clock_timestamp()
    FROM mine AS m
   WHERE t."select" = ANY (ARRAY[m.key])
  RETURNING m.id, m.claim_id
), told AS MATERIALIZED (
  SELECT 'My App.Order"s'::text AS source, h.id,
         CASE WHEN h.id IN (SELECT w.id FROM written AS w) THEN 'RELEASED'
              WHEN (SELECT t."Sta tus" = E'do\\ing' FROM "My App"."Order""s" AS t WHERE t."select" = h.key) IS NOT TRUE THEN 'DEAD' END AS state
    FROM held AS h
), ended AS (
  UPDATE unstuck.claims AS k
     SET state = s.state,
         last_error = CASE s.state WHEN 'RELEASED' THEN k.last_error ELSE 'the row was changed by another program' END,
         ended_at = clock_timestamp(), row_token = pg_current_xact_id()::xid::text
    FROM told AS s
   WHERE k.source = ANY (ARRAY[s.source]) AND k.job_id = s.id AND CASE WHEN k.worker_id = $1::uuid AND k.state = 'ACTIVE' THEN s.state IS NOT NULL END
)
SELECT w.id, w.claim_id FROM written AS w;

-- classify
SELECT r.id,
       CASE WHEN k.job_id IS NULL THEN 'missing'
            WHEN k.claim_id <> r.claim_id OR k.worker_id IS DISTINCT FROM $3::uuid THEN 'fenced'
            WHEN k.state = 'DONE' THEN 'already'
            WHEN l.id IS NULL THEN 'missing'
            WHEN k.state = 'DEAD' THEN CASE WHEN l.given_up THEN 'failed' ELSE 'fenced' END
            WHEN k.state = 'ACTIVE' THEN CASE WHEN l.running AND k.row_token = l.row_token THEN 'mine' ELSE 'fenced' END
            WHEN l.waits AND k.row_token = l.row_token THEN 'reset'
            ELSE 'fenced' END AS verdict
  FROM unnest($1::text[], $2::bigint[]) AS r(id, claim_id)
  LEFT JOIN LATERAL (
         SELECT k.job_id, k.claim_id, k.worker_id, k.state, k.row_token FROM unstuck.claims AS k
          WHERE k.source = 'My App.Order"s' AND k.job_id = r.id
          LIMIT 1) AS k ON true
  LEFT JOIN LATERAL (
         SELECT t."select"::text AS id, t.xmin::text AS row_token, t."Sta tus" = E'do\\ing' AS running,
                t."Sta tus" IN ('to do') AS waits, t."Sta tus" = 'bad' AS given_up
           FROM "My App"."Order""s" AS t WHERE t."select" = r.id::uuid
          LIMIT 1) AS l ON true;

-- adoptable
SELECT l.id AS late, l.job_id AS id, l.claim_id, NULL::bytea AS raw
  FROM unstuck.late_results AS l
 WHERE l.queue = 'it''s "odd"' AND l.source = 'My App.Order"s' AND l.adopted_at IS NULL AND l.id > $1::bigint AND l.reason IN ('fenced', 'failed')
   AND (SELECT l.claim_id >= k.first_claim
               AND CASE WHEN t."Sta tus" IN ('to do') THEN k.state IN ('RELEASED', 'RECOVERED', 'RETRY')
                        WHEN t."Sta tus" IN ('to do', 'bad') THEN k.state = 'DEAD' END
          FROM unstuck.claims AS k, "My App"."Order""s" AS t
         WHERE k.source = 'My App.Order"s' AND k.job_id = l.job_id AND t."select" = l.job_id::uuid)
 ORDER BY l.id
 LIMIT $2::int;

-- adopt
WITH late AS MATERIALIZED (
  SELECT l.id AS late, l.job_id, l.claim_id, l.worker_id,
         CASE WHEN false AND l.reason IN ('bad_data', 'unfinished')
              THEN to_json(rtrim(convert_from(l.raw, 'UTF8'), E' \t\n\v\f\r'))::text
              ELSE convert_from(l.raw, 'UTF8') END AS result
    FROM unstuck.late_results AS l
   WHERE l.id = $1::bigint AND l.queue = 'it''s "odd"' AND l.source = 'My App.Order"s' AND l.adopted_at IS NULL
     AND CASE WHEN $2::bool THEN l.reason <> 'too_large' ELSE l.reason IN ('fenced', 'failed') END
     FOR NO KEY UPDATE SKIP LOCKED
), locked AS MATERIALIZED (
  SELECT r.*, l.key, l.id, l.row_token, l.given_up
    FROM late AS r CROSS JOIN LATERAL (
           SELECT t."select" AS key, t."select"::text AS id, t.xmin::text AS row_token, t."Sta tus" NOT IN ('to do') AS given_up
             FROM "My App"."Order""s" AS t
            WHERE t."select" = r.job_id::uuid AND CASE WHEN t."Sta tus" IN ('to do', 'bad') THEN true END
              FOR NO KEY UPDATE) AS l
), mine AS MATERIALIZED (
  SELECT l.*
    FROM locked AS l CROSS JOIN LATERAL (
           SELECT FROM unstuck.claims AS k
            WHERE k.source = 'My App.Order"s' AND k.job_id = l.id
              AND CASE WHEN $2::bool OR l.claim_id >= k.first_claim AND k.row_token = l.row_token
                        AND CASE WHEN l.given_up THEN k.state = 'DEAD' ELSE k.state IN ('RELEASED', 'RECOVERED', 'RETRY') END
                       THEN true END
              FOR NO KEY UPDATE) AS k
), written AS (
  UPDATE "My App"."Order""s" AS t SET "Sta tus" = 'done', "Result" = m.result::jsonb, "UpdatedAt" = clock_timestamp()
    FROM mine AS m
   WHERE t."select" = ANY (ARRAY[m.key]) AND (m.result IS NULL OR m.result::jsonb IS NOT NULL)
  RETURNING 'My App.Order"s'::text AS source, m.id, m.late, m.claim_id, m.worker_id, m.result
), stored AS (
  UPDATE unstuck.claims AS k
     SET state = 'DONE', claim_id = s.claim_id, worker_id = s.worker_id, ended_at = clock_timestamp(), row_token = pg_current_xact_id()::xid::text,
         last_error = NULL, not_before = NULL
    FROM written AS s
   WHERE k.source = ANY (ARRAY[s.source]) AND k.job_id = s.id
  RETURNING s.id, s.late, s.result
), marked AS (
  UPDATE unstuck.late_results AS l SET adopted_at = clock_timestamp()
    FROM stored AS s
   WHERE l.id = s.late
  RETURNING s.id, s.result
)
SELECT m.id, m.result FROM marked AS m;

-- adopt_all
WITH late AS MATERIALIZED (
  SELECT l.id AS late, l.job_id, l.claim_id, l.worker_id,
         CASE WHEN false AND l.reason IN ('bad_data', 'unfinished')
              THEN to_json(rtrim(convert_from(l.raw, 'UTF8'), E' \t\n\v\f\r'))::text
              ELSE convert_from(l.raw, 'UTF8') END AS result
    FROM unstuck.late_results AS l
   WHERE l.id = $1::bigint AND l.queue = 'it''s "odd"' AND l.source = 'My App.Order"s' AND l.adopted_at IS NULL
     AND CASE WHEN $2::bool THEN l.reason <> 'too_large' ELSE l.reason IN ('fenced', 'failed') END
     FOR NO KEY UPDATE SKIP LOCKED
), locked AS MATERIALIZED (
  SELECT r.*, l.key, l.id, l.row_token, l.given_up
    FROM late AS r CROSS JOIN LATERAL (
           SELECT t."select" AS key, t."select"::text AS id, t.xmin::text AS row_token, t."Sta tus" NOT IN ('to do') AS given_up
             FROM "My App"."Order""s" AS t
            WHERE t."select" = r.job_id::uuid AND CASE WHEN t."Sta tus" IN ('to do', 'bad') THEN true END
              FOR NO KEY UPDATE) AS l
), mine AS MATERIALIZED (
  SELECT l.*
    FROM locked AS l CROSS JOIN LATERAL (
           SELECT FROM unstuck.claims AS k
            WHERE k.source = 'My App.Order"s' AND k.job_id = l.id
              AND CASE WHEN $2::bool OR l.claim_id >= k.first_claim AND k.row_token = l.row_token
                        AND CASE WHEN l.given_up THEN k.state = 'DEAD' ELSE k.state IN ('RELEASED', 'RECOVERED', 'RETRY') END
                       THEN true END
              FOR NO KEY UPDATE) AS k
), written AS (
  UPDATE "My App"."Order""s" AS t SET "Sta tus" = 'done', "Result" = m.result::jsonb, "UpdatedAt" = clock_timestamp()
    FROM mine AS m
   WHERE t."select" = ANY (ARRAY[m.key]) AND (m.result IS NULL OR m.result::jsonb IS NOT NULL)
  RETURNING 'My App.Order"s'::text AS source, m.id, m.late, m.claim_id, m.worker_id, m.result
), stored AS (
  UPDATE unstuck.claims AS k
     SET state = 'DONE', claim_id = s.claim_id, worker_id = s.worker_id, ended_at = clock_timestamp(), row_token = pg_current_xact_id()::xid::text,
         last_error = NULL, not_before = NULL
    FROM written AS s
   WHERE k.source = ANY (ARRAY[s.source]) AND k.job_id = s.id
  RETURNING s.id, s.late, s.result
), marked AS (
  UPDATE unstuck.late_results AS l SET adopted_at = clock_timestamp()
    FROM stored AS s
   WHERE l.id = s.late
  RETURNING s.id, s.result
)
SELECT a.id, a.result
  FROM (SELECT max(m.id) AS id, max(m.result) AS result, 1 / count(*) AS every FROM marked AS m) AS a
 WHERE a.every = 1;

-- spoil
UPDATE unstuck.late_results AS l SET reason = 'bad_data' WHERE l.id = $1::bigint AND l.adopted_at IS NULL;

-- status
SELECT CASE WHEN t."Sta tus" = E'do\\ing' THEN 'PROCESSING' WHEN t."Sta tus" = 'done' THEN 'COMPLETED'
            WHEN t."Sta tus" IN ('to do') THEN 'PENDING' WHEN t."Sta tus" IN ('to do', 'bad') THEN 'FAILED' END AS status,
       t."Sta tus"::text AS stored
  FROM "My App"."Order""s" AS t WHERE t."select" = $1::text::uuid;

-- held
WITH held AS MATERIALIZED (
  SELECT k.job_id::uuid AS key, k.job_id AS id, k.claim_id FROM unstuck.active_claims AS k
   WHERE k.worker_id = $1::uuid AND CASE WHEN k.source = 'My App.Order"s' AND k.queue = 'it''s "odd"' THEN true END
   ORDER BY 1
)
SELECT h.id, h.claim_id FROM held AS h
 WHERE (SELECT t."Sta tus" = E'do\\ing' FROM "My App"."Order""s" AS t WHERE t."select" = h.key)
 ORDER BY h.claim_id;

-- stuck
WITH ask AS (
  SELECT make_interval(secs => $1::float8) AS timeout, $2::bool AS ignore_liveness
), found AS (
  SELECT t."select"::text AS id, t.xmin::text AS token, c.claim_id, c.worker_id,
         CASE WHEN c.worker_id IS NULL THEN t."UpdatedAt" ELSE c.claimed_at END AS since,
         true AND coalesce(c.recoveries, 0) >= $6::int AS poisoned, '{}'::json AS show
    FROM "My App"."Order""s" AS t
    LEFT JOIN LATERAL (
         SELECT k.claim_id, CASE WHEN k.state = 'ACTIVE' THEN k.worker_id END AS worker_id, k.claimed_at,
                CASE WHEN k.state IN ('DONE', 'DEAD') THEN 0 ELSE k.recoveries END AS recoveries
           FROM unstuck.claims AS k
          WHERE k.source = 'My App.Order"s' AND k.job_id = t."select"::text
          LIMIT 1) AS c ON true
   WHERE t."Sta tus" = E'do\\ing'
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
  SELECT u.id::uuid AS key, u.token FROM unnest($1::text[], $2::text[]) AS u(id, token)
   ORDER BY 1
), ask AS (
  SELECT make_interval(secs => $3::float8) AS timeout, $4::bool AS ignore_liveness
), locked AS MATERIALIZED (
  SELECT r.key AS unstuck_key, l.*
    FROM r CROSS JOIN LATERAL (
           SELECT t."select", t."select"::text AS unstuck_id, t."UpdatedAt" AS unstuck_touched
             FROM "My App"."Order""s" AS t
            WHERE t."select" = r.key AND CASE WHEN t."Sta tus" = E'do\\ing' AND t.xmin::text = r.token THEN true END
              FOR NO KEY UPDATE SKIP LOCKED) AS l
), found AS (
  SELECT t.unstuck_key AS key, t.unstuck_id AS id, c.claim_id, c.worker_id,
         CASE WHEN c.worker_id IS NULL THEN t.unstuck_touched ELSE c.claimed_at END AS since,
         true AND coalesce(c.recoveries, 0) >= $5::int AS poisoned
    FROM locked AS t
    LEFT JOIN LATERAL (
         SELECT k.claim_id, CASE WHEN k.state = 'ACTIVE' THEN k.worker_id END AS worker_id, k.claimed_at,
                CASE WHEN k.state IN ('DONE', 'DEAD') THEN 0 ELSE k.recoveries END AS recoveries
           FROM unstuck.claims AS k
          WHERE k.source = 'My App.Order"s' AND k.job_id = t."select"::text
          LIMIT 1) AS c ON true
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
  UPDATE "My App"."Order""s" AS t
     SET "Sta tus" = CASE WHEN v.poisoned THEN 'bad'::mood ELSE 'to do'::mood END, "UpdatedAt" = clock_timestamp()
    FROM judged AS v
   WHERE t."select" = ANY (ARRAY[v.key]) AND (v.reason IN ('timeout', 'forced') OR v.reason = 'worker_lost' AND NOT v.registered)
  RETURNING v.id, CASE WHEN v.worker_id IS NOT NULL THEN v.claim_id END AS claim_id, v.worker_id,
            CASE WHEN v.poisoned THEN 'fail' ELSE 'reset' END AS action, v.reason, CASE WHEN v.worker_id IS NULL
       THEN format('no worker known; untouched for %s s', trunc(extract(epoch FROM statement_timestamp() - v.since)))
     WHEN NOT v.registered
       THEN format('worker %s is not registered; job claimed %s s ago',
                   v.worker_id, trunc(extract(epoch FROM statement_timestamp() - v.since)))
     ELSE format(CASE WHEN v.silent THEN 'worker %s on %s silent for %s s; job claimed %s s ago'
                      ELSE 'worker %s on %s alive, its last beat %s s ago; job claimed %s s ago' END, v.worker_id, v.host,
                 trunc(extract(epoch FROM statement_timestamp() - v.beat_at)),
                 trunc(extract(epoch FROM statement_timestamp() - v.since))) END AS observed
), noted AS (
  INSERT INTO unstuck.claims AS k (source, job_id, queue, claim_id, state, recoveries, row_token, last_error, ended_at)
  SELECT 'My App.Order"s', d.id, 'it''s "odd"', nextval('unstuck.claim_seq'), CASE d.action WHEN 'fail' THEN 'DEAD' ELSE 'RECOVERED' END,
         1, pg_current_xact_id()::xid::text, d.observed, clock_timestamp()
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
  INSERT INTO unstuck.ledger (queue, source, job_ids, claim_ids, worker_id, action, reason)
  SELECT 'it''s "odd"', 'My App.Order"s', array_agg(d.id), array_agg(d.claim_id), d.worker_id, d.action, d.reason
    FROM done AS d GROUP BY d.worker_id, d.action, d.reason
)
SELECT d.id, d.action, d.reason FROM done AS d;

-- processing
SELECT count(*) FROM "My App"."Order""s" AS t WHERE t."Sta tus" = E'do\\ing';

-- ageless
SELECT count(*) FROM "My App"."Order""s" AS t
 WHERE t."Sta tus" = E'do\\ing' AND t."UpdatedAt" IS NULL
   AND (SELECT k.state = 'ACTIVE' FROM unstuck.claims AS k
         WHERE k.source = 'My App.Order"s' AND k.job_id = t."select"::text) IS NOT TRUE;

