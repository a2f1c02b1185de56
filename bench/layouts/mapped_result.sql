-- mapped_result.sql - the floor of a queue on an application's table: its status, the claim beside it in a copy of
-- unstuck.claims, and on success a row in another table of the application, in one transaction.

-- name: make
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS floor CASCADE;
CREATE SCHEMA floor;
CREATE SEQUENCE floor.claim_seq;
CREATE TABLE floor.videos (LIKE public.videos INCLUDING ALL);
CREATE TABLE floor.analysis_results (LIKE public.analysis_results INCLUDING ALL);
CREATE TABLE floor.claims (LIKE unstuck.claims INCLUDING ALL) WITH (fillfactor = 50);
CREATE TABLE floor.claim_batches (LIKE unstuck.claim_batches INCLUDING ALL);

-- name: fill
WITH filled AS (
  INSERT INTO floor.videos (source_id) SELECT 'yt-' || n FROM generate_series(1, $1::int) AS n
  RETURNING 1
)
SELECT count(*) FROM filled;

-- name: claim
WITH me AS MATERIALIZED (
  SELECT nextval('floor.claim_seq') AS batch
), claimed AS (
  UPDATE floor.videos AS v SET status = 'PROCESSING', updated_at = now()
   WHERE v.id = ANY (ARRAY(SELECT i.id FROM floor.videos AS i WHERE i.status = 'READY'
                            ORDER BY i.id LIMIT $1::int FOR NO KEY UPDATE SKIP LOCKED))
  RETURNING v.id, v.source_id
), noted AS (
  INSERT INTO floor.claims (source, job_id, queue, claim_id, worker_id, state, attempts, row_token, claimed_at, batch)
  SELECT 'public.videos', c.id::text, 'videos', nextval('floor.claim_seq'), '5c5e1c44-4d1c-4b4e-8c3a-5a3f4f3b2a10', 'ACTIVE', 1,
         pg_current_xact_id()::text, clock_timestamp(), me.batch FROM claimed AS c, me
), listed AS (
  INSERT INTO floor.claim_batches (source, worker_id, batch, job_ids)
  SELECT 'public.videos', '5c5e1c44-4d1c-4b4e-8c3a-5a3f4f3b2a10', me.batch, array_agg(c.id::text) FROM claimed AS c, me GROUP BY me.batch
)
SELECT c.id, jsonb_build_object('source_id', c.source_id)::text FROM claimed AS c;

-- name: complete
-- The claims are found one by one: as a join this was planned to read all of them for each batch.
WITH done AS (
  UPDATE floor.videos AS v SET status = 'DONE', updated_at = now() WHERE v.id = ANY ($1::bigint[])
), ended AS (
  UPDATE floor.claims AS k SET state = 'DONE', ended_at = clock_timestamp(), row_token = pg_current_xact_id()::text
   WHERE k.ctid = ANY (ARRAY(SELECT (SELECT i.ctid FROM floor.claims AS i WHERE i.source = 'public.videos' AND i.job_id = r.id::text LIMIT 1)
                               FROM unnest($1::bigint[]) AS r(id)))
)
INSERT INTO floor.analysis_results (video_id, summary)
SELECT r.id, r.result::jsonb FROM unnest($1::bigint[], $2::text[]) AS r(id, result);

-- name: size
SELECT pg_total_relation_size('floor.videos') + pg_total_relation_size('floor.claims') + pg_total_relation_size('floor.analysis_results');
