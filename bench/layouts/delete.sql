-- delete.sql - what a plain queue by SQL does (PGMQ): a claim moves the time of visibility, a completion
-- deletes. Nothing is kept: no states, no results, no owner. For orientation.

-- name: make
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS floor CASCADE;
CREATE SCHEMA floor;
CREATE TABLE floor.jobs (
  msg_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  read_ct     int NOT NULL DEFAULT 0,
  enqueued_at timestamptz NOT NULL DEFAULT now(),
  vt          timestamptz NOT NULL,
  message     jsonb
);
CREATE INDEX jobs_vt ON floor.jobs (vt);

-- name: fill
WITH filled AS (
  INSERT INTO floor.jobs (vt, message) SELECT now(), jsonb_build_object('n', n) FROM generate_series(1, $1::int) AS n RETURNING 1
)
SELECT count(*) FROM filled;

-- name: claim
-- By an array: joined with what was picked, it would be planned as a hash of the whole table (A cliff in batches, docs/performance.md).
UPDATE floor.jobs AS j SET vt = clock_timestamp() + interval '5 minutes', read_ct = j.read_ct + 1
 WHERE j.msg_id = ANY (ARRAY(SELECT i.msg_id FROM floor.jobs AS i WHERE i.vt <= clock_timestamp() ORDER BY i.msg_id
                              LIMIT $1::int FOR UPDATE SKIP LOCKED))
RETURNING j.msg_id, j.read_ct, j.message::text;

-- name: complete
DELETE FROM floor.jobs AS j WHERE j.msg_id = ANY ($1::bigint[]);

-- name: size
SELECT pg_total_relation_size('floor.jobs');
