-- own_result.sql - own.sql with a result stored in the row: the same table, and as plain statements.

-- name: make
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS floor CASCADE;
CREATE SCHEMA floor;
CREATE SEQUENCE floor.claim_seq;
CREATE TABLE floor.jobs (LIKE unstuck.jobs INCLUDING ALL) WITH (fillfactor = 50);
CREATE TABLE floor.batches (LIKE unstuck.batches INCLUDING ALL);

-- name: fill
WITH filled AS (
  INSERT INTO floor.jobs (queue, payload) SELECT 'bench', jsonb_build_object('n', n) FROM generate_series(1, $1::int) AS n
  RETURNING 1
)
SELECT count(*) FROM filled;

-- name: claim
WITH me AS MATERIALIZED (
  SELECT nextval('floor.claim_seq') AS batch
), claimed AS (
  UPDATE floor.jobs AS j
     SET status = 'PROCESSING', claim_id = me.batch, batch = me.batch, worker_id = '5c5e1c44-4d1c-4b4e-8c3a-5a3f4f3b2a10',
         attempts = j.attempts + 1, claimed_at = clock_timestamp(), updated_at = clock_timestamp()
    FROM me
   WHERE j.id = ANY (ARRAY(SELECT i.id FROM floor.jobs AS i
                            WHERE i.queue = 'bench' AND i.waiting AND i.run_at <= now()
                            ORDER BY i.priority, i.run_at, i.id LIMIT $1::int FOR NO KEY UPDATE SKIP LOCKED))
  RETURNING j.id, j.claim_id, j.batch, j.payload
), noted AS (
  INSERT INTO floor.batches (queue, worker_id, batch, ids)
  SELECT 'bench', '5c5e1c44-4d1c-4b4e-8c3a-5a3f4f3b2a10', min(c.batch), array_agg(c.id) FROM claimed AS c HAVING count(*) > 0
)
SELECT c.id, c.claim_id, c.payload::text FROM claimed AS c;

-- name: complete
WITH ended AS (
  DELETE FROM floor.batches AS b
   WHERE b.queue = 'bench' AND b.worker_id = '5c5e1c44-4d1c-4b4e-8c3a-5a3f4f3b2a10'
     AND b.batch = (SELECT j.batch FROM floor.jobs AS j WHERE j.id = ($1::bigint[])[1])
)
UPDATE floor.jobs AS j
   SET status = 'COMPLETED', result = r.result::jsonb, batch = NULL, updated_at = clock_timestamp(), finished_at = clock_timestamp()
  FROM unnest($1::bigint[], $2::text[]) AS r(id, result)
 WHERE j.id = r.id;

-- name: size
SELECT pg_total_relation_size('floor.jobs') + pg_total_relation_size('floor.batches');
