-- batches_generated_queue.sql - x

-- name: make
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS floor CASCADE;
CREATE SCHEMA floor;
CREATE SEQUENCE floor.claim_seq;
CREATE TABLE floor.jobs (
  id           bigint GENERATED ALWAYS AS IDENTITY,
  queue        text NOT NULL CHECK (queue <> ''),
  payload      jsonb NOT NULL DEFAULT '{}',
  status       text NOT NULL DEFAULT 'PENDING'
               CHECK (status IN ('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED', 'CANCELLED')),
  priority     int NOT NULL DEFAULT 0,
  run_at       timestamptz NOT NULL DEFAULT now(),
  attempts     int NOT NULL DEFAULT 0,
  failures     int NOT NULL DEFAULT 0,
  recoveries   int NOT NULL DEFAULT 0,
  max_attempts int CHECK (max_attempts > 0),
  unique_key   text,
  result       jsonb,
  last_error   text,
  claim_id     bigint NOT NULL DEFAULT 0,
  worker_id    uuid,
  claimed_at   timestamptz,
  created_at   timestamptz NOT NULL DEFAULT now(),
  updated_at   timestamptz NOT NULL DEFAULT now(),
  finished_at  timestamptz,
  batch        bigint,
  waiting      boolean GENERATED ALWAYS AS (status = 'PENDING') STORED,
  stray        boolean GENERATED ALWAYS AS (status = 'PROCESSING' AND (batch IS NULL OR finished_at IS NOT NULL)) STORED,
  PRIMARY KEY (id, queue),
  open_key     text GENERATED ALWAYS AS (CASE WHEN status IN ('PENDING', 'PROCESSING') THEN unique_key END) STORED
) WITH (fillfactor = 50);
CREATE INDEX jobs_waiting ON floor.jobs (queue, priority, run_at, id) WHERE waiting;
CREATE TABLE floor.batches (first_id bigint PRIMARY KEY, queue text NOT NULL, worker_id uuid NOT NULL, ids bigint[] NOT NULL);
CREATE UNIQUE INDEX jobs_open_key ON floor.jobs (queue, open_key) WHERE open_key IS NOT NULL;
CREATE INDEX jobs_stray ON floor.jobs (queue) WHERE stray;

-- name: fill
WITH filled AS (
  INSERT INTO floor.jobs (queue, payload, run_at)
  SELECT 'bench', jsonb_build_object('n', n), '2020-01-01' FROM generate_series(1, $1::int) AS n
  RETURNING 1
)
SELECT count(*) FROM filled;

-- name: claim
WITH me AS MATERIALIZED (SELECT nextval('floor.claim_seq') AS batch),
claimed AS (
  UPDATE floor.jobs AS j
     SET status = 'PROCESSING', claim_id = nextval('floor.claim_seq'), batch = (SELECT batch FROM me),
         worker_id = '5c5e1c44-4d1c-4b4e-8c3a-5a3f4f3b2a10', finished_at = NULL,
         attempts = j.attempts + 1, claimed_at = clock_timestamp(), updated_at = clock_timestamp()
   WHERE j.id = ANY (ARRAY(SELECT i.id FROM floor.jobs AS i
                            WHERE i.queue = 'bench' AND i.waiting AND i.run_at <= now()
                            ORDER BY i.priority, i.run_at, i.id LIMIT $1::int FOR NO KEY UPDATE SKIP LOCKED))
  RETURNING j.id, j.claim_id, j.payload
), noted AS (
  INSERT INTO floor.batches (first_id, queue, worker_id, ids)
  SELECT (SELECT batch FROM me), 'bench', '5c5e1c44-4d1c-4b4e-8c3a-5a3f4f3b2a10', array_agg(c.id) FROM claimed AS c HAVING count(*) > 0
)
SELECT c.id, c.claim_id, c.payload::text FROM claimed AS c;

-- name: complete
WITH ended AS (
  DELETE FROM floor.batches AS b WHERE b.first_id = (SELECT batch FROM floor.jobs WHERE id = ($1::bigint[])[1])
)
UPDATE floor.jobs AS j SET status = 'COMPLETED', updated_at = clock_timestamp(), finished_at = clock_timestamp()
 WHERE j.id = ANY ($1::bigint[]);

-- name: size
SELECT pg_total_relation_size('floor.jobs') + pg_total_relation_size('floor.batches');
