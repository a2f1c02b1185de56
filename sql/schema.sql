-- schema.sql - everything that Unstuck keeps in the database, version 4.
--
-- Can be run again at any time: what is there stays. `unstuckctl init` runs the whole file
-- in one transaction under an advisory lock. A later version adds its changes below.

CREATE SCHEMA IF NOT EXISTS unstuck;
COMMENT ON SCHEMA unstuck IS 'Unstuck: job queues, workers, recovery of stuck jobs';

CREATE TABLE IF NOT EXISTS unstuck.schema_version (
  version int PRIMARY KEY,
  at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE unstuck.schema_version IS 'The versions of this schema, and since when';

-- Claim ids only grow, over all queues. CACHE 1: sessions must not draw ahead, or they would not.
CREATE SEQUENCE IF NOT EXISTS unstuck.claim_seq CACHE 1;

CREATE TABLE IF NOT EXISTS unstuck.workers (
  worker_id   uuid PRIMARY KEY,
  host        text NOT NULL,
  pid         int NOT NULL,
  version     text NOT NULL,
  state       text NOT NULL DEFAULT 'starting',
  heartbeat_s float8 NOT NULL,
  timeout_s   float8 NOT NULL,
  started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  beat_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  beat_n      bigint NOT NULL DEFAULT 0,
  seen_n      bigint,
  seen_at     timestamptz
) WITH (fillfactor = 50);
COMMENT ON TABLE unstuck.workers IS 'Running workers. A worker is alive while its row is here; deleting the row declares it dead';
COMMENT ON COLUMN unstuck.workers.pid IS 'For people only, never a proof of life';
COMMENT ON COLUMN unstuck.workers.heartbeat_s IS 'It beats this often';
COMMENT ON COLUMN unstuck.workers.timeout_s IS 'Its worker_timeout: a beat older than this is silence';
COMMENT ON COLUMN unstuck.workers.seen_n IS 'beat_n when somebody first saw it silent ...';
COMMENT ON COLUMN unstuck.workers.seen_at IS '... and when that was';

CREATE TABLE IF NOT EXISTS unstuck.jobs (
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
  alone        boolean GENERATED ALWAYS AS (status = 'PROCESSING' AND batch IS NULL) STORED,
  open_key     text GENERATED ALWAYS AS (CASE WHEN status IN ('PENDING', 'PROCESSING') THEN unique_key END) STORED,
  first_claim  bigint NOT NULL DEFAULT 0,
  CONSTRAINT jobs_pkey PRIMARY KEY (id, queue)
) WITH (fillfactor = 50);

-- Version 1 had the status itself in the predicates of its indexes.
DO $upgrade$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute
                  WHERE attrelid = 'unstuck.jobs'::regclass AND attname = 'waiting' AND NOT attisdropped) THEN
    DROP INDEX unstuck.jobs_pending, unstuck.jobs_processing, unstuck.jobs_held, unstuck.jobs_unique_key;
    ALTER TABLE unstuck.jobs
      SET (fillfactor = 50),
      DROP CONSTRAINT jobs_pkey,
      ADD COLUMN batch bigint,
      ADD COLUMN waiting boolean GENERATED ALWAYS AS (status = 'PENDING') STORED,
      ADD COLUMN alone boolean GENERATED ALWAYS AS (status = 'PROCESSING' AND batch IS NULL) STORED,
      ADD COLUMN open_key text GENERATED ALWAYS AS (CASE WHEN status IN ('PENDING', 'PROCESSING') THEN unique_key END) STORED,
      ADD CONSTRAINT jobs_pkey PRIMARY KEY (id, queue);
  END IF;
END
$upgrade$;

COMMENT ON TABLE unstuck.jobs IS 'Every job of a queue on Unstuck''s own table, finished ones included';
COMMENT ON COLUMN unstuck.jobs.priority IS 'A smaller one runs first';
COMMENT ON COLUMN unstuck.jobs.attempts IS 'Handler starts, those that were released too';
COMMENT ON COLUMN unstuck.jobs.failures IS 'What the handler failed; the budget of retries counts these';
COMMENT ON COLUMN unstuck.jobs.recoveries IS 'How often its worker died holding it';
COMMENT ON COLUMN unstuck.jobs.max_attempts IS 'NULL: what the queue''s settings say';
COMMENT ON COLUMN unstuck.jobs.unique_key IS 'At most one unfinished job of a queue has it';
COMMENT ON COLUMN unstuck.jobs.claim_id IS 'With worker_id the token that every write must carry; stays when the claim has ended';

COMMENT ON COLUMN unstuck.jobs.batch IS 'While it is PROCESSING: the row of unstuck.batches that lists it; NULL: jobs_alone does';
COMMENT ON COLUMN unstuck.jobs.waiting IS 'What a claim may take. Like alone and open_key made from the status, for the indexes';
COMMENT ON COLUMN unstuck.jobs.alone IS 'PROCESSING and in no batch: claimed with few others, or set by hand';
COMMENT ON COLUMN unstuck.jobs.open_key IS 'unique_key while unfinished';

-- None of these changes when a job of a batch ends, and half of each page is left free: so its end is a heap-only
-- update, that writes no index. That is why no index has the status itself in its predicate.
CREATE INDEX IF NOT EXISTS jobs_waiting ON unstuck.jobs (queue, priority, run_at, id) WHERE waiting;
CREATE INDEX IF NOT EXISTS jobs_alone ON unstuck.jobs (queue, worker_id) WHERE alone;
CREATE UNIQUE INDEX IF NOT EXISTS jobs_open_key ON unstuck.jobs (queue, open_key) WHERE open_key IS NOT NULL;

-- ids is kept as it is: compressing it costs more than writing it.
CREATE TABLE IF NOT EXISTS unstuck.batches (
  queue     text NOT NULL,
  worker_id uuid NOT NULL,
  batch     bigint NOT NULL,
  ids       bigint[] NOT NULL,
  PRIMARY KEY (queue, worker_id, batch)
);
ALTER TABLE unstuck.batches ALTER COLUMN ids SET STORAGE PLAIN;
COMMENT ON TABLE unstuck.batches IS 'Jobs claimed by one statement, so that those that run are found without an index entry each. Gone when the last has ended';
COMMENT ON COLUMN unstuck.batches.ids IS 'Its jobs, ended ones too: it runs while the job''s own batch says so';

CREATE TABLE IF NOT EXISTS unstuck.claims (
  source     text NOT NULL,
  job_id     text NOT NULL,
  queue      text NOT NULL,
  claim_id   bigint NOT NULL,
  worker_id  uuid,
  state      text NOT NULL CHECK (state IN ('ACTIVE', 'DONE', 'RETRY', 'DEAD', 'RELEASED', 'RECOVERED')),
  attempts   int NOT NULL DEFAULT 0,
  failures   int NOT NULL DEFAULT 0,
  recoveries int NOT NULL DEFAULT 0,
  not_before timestamptz,
  row_token  text,
  last_error text,
  claimed_at timestamptz,
  ended_at   timestamptz,
  first_claim bigint NOT NULL DEFAULT 0,
  batch      bigint,
  alone      boolean GENERATED ALWAYS AS (state = 'ACTIVE' AND batch IS NULL) STORED,
  PRIMARY KEY (source, job_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE unstuck.claims IS 'For rows of an application''s table what unstuck.jobs has in its own columns: the last claim of each';
COMMENT ON COLUMN unstuck.claims.source IS 'The table, schema.name';
COMMENT ON COLUMN unstuck.claims.job_id IS 'Its key as text';
COMMENT ON COLUMN unstuck.claims.state IS 'ACTIVE DONE RETRY (failed, runs again) DEAD (failed for good) RELEASED RECOVERED';
COMMENT ON COLUMN unstuck.claims.not_before IS 'A retry waits until then';
COMMENT ON COLUMN unstuck.claims.row_token IS 'xmin of the row as we last wrote it: strict compares it';


-- Up to version 3 each claim that ran had an index entry of its own.
DO $upgrade$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute
                  WHERE attrelid = 'unstuck.claims'::regclass AND attname = 'batch' AND NOT attisdropped) THEN
    DROP INDEX IF EXISTS unstuck.claims_held;
    ALTER TABLE unstuck.claims
      SET (fillfactor = 50),
      ADD COLUMN batch bigint,
      ADD COLUMN alone boolean GENERATED ALWAYS AS (state = 'ACTIVE' AND batch IS NULL) STORED;
  END IF;
END
$upgrade$;
COMMENT ON COLUMN unstuck.claims.batch IS 'The row of unstuck.claim_batches that lists it, while it is ACTIVE; NULL: claims_alone does';
COMMENT ON COLUMN unstuck.claims.alone IS 'ACTIVE and in no batch: claimed with few others';

-- As with the jobs: neither changes when a claim of a batch ends well, so its end writes no index.
CREATE INDEX IF NOT EXISTS claims_alone ON unstuck.claims (worker_id) WHERE alone;
CREATE INDEX IF NOT EXISTS claims_later ON unstuck.claims (source) WHERE not_before IS NOT NULL;

CREATE TABLE IF NOT EXISTS unstuck.claim_batches (
  source    text NOT NULL,
  worker_id uuid NOT NULL,
  batch     bigint NOT NULL,
  job_ids   text[] NOT NULL,
  PRIMARY KEY (worker_id, source, batch)
);
ALTER TABLE unstuck.claim_batches ALTER COLUMN job_ids SET STORAGE EXTERNAL;
COMMENT ON TABLE unstuck.claim_batches IS 'What unstuck.batches is for unstuck.jobs: claims made by one statement. Gone when the last has ended';
COMMENT ON COLUMN unstuck.claim_batches.job_ids IS 'Its rows'' keys as text, ended ones too: one runs while its claim says ACTIVE and this batch';

CREATE OR REPLACE VIEW unstuck.active_claims AS
SELECT k.source, k.job_id, k.queue, k.claim_id, k.worker_id, k.attempts, k.claimed_at
  FROM unstuck.claims AS k WHERE k.alone
UNION ALL
SELECT k.source, k.job_id, k.queue, k.claim_id, b.worker_id, k.attempts, k.claimed_at
  FROM unstuck.claim_batches AS b CROSS JOIN LATERAL unnest(b.job_ids) AS u(id) CROSS JOIN LATERAL (
         SELECT i.source, i.job_id, i.queue, i.claim_id, i.attempts, i.claimed_at FROM unstuck.claims AS i
          WHERE i.source = b.source AND i.job_id = u.id AND i.batch = b.batch AND i.state = 'ACTIVE' OFFSET 0) AS k;
COMMENT ON VIEW unstuck.active_claims IS 'Rows of applications'' tables that a worker has claimed and not given up';

-- Before version 4 the ledger had a row for each job: such a row is a batch of one now.
DO $upgrade$
BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass('unstuck.recoveries') AND relkind = 'r') THEN
    ALTER TABLE unstuck.recoveries RENAME TO ledger;
    ALTER TABLE unstuck.ledger RENAME CONSTRAINT recoveries_pkey TO ledger_pkey;
    DROP INDEX unstuck.recoveries_of_job;
    ALTER TABLE unstuck.ledger
      ALTER COLUMN id SET INCREMENT BY 100000,
      ALTER COLUMN job_id TYPE text[] USING ARRAY[job_id],
      ALTER COLUMN claim_id TYPE bigint[] USING ARRAY[claim_id];
    ALTER TABLE unstuck.ledger RENAME COLUMN job_id TO job_ids;
    ALTER TABLE unstuck.ledger RENAME COLUMN claim_id TO claim_ids;
  END IF;
END
$upgrade$;

-- A row of the view has an id of its own: the batch's and its place in it. No batch is larger than the step.
CREATE TABLE IF NOT EXISTS unstuck.ledger (
  id        bigint GENERATED ALWAYS AS IDENTITY (INCREMENT BY 100000) PRIMARY KEY,
  queue     text NOT NULL,
  source    text NOT NULL,
  job_ids   text[] NOT NULL,
  claim_ids bigint[] NOT NULL,
  worker_id uuid,
  action    text NOT NULL,
  reason    text NOT NULL,
  at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE unstuck.ledger IS 'What is read as unstuck.recoveries: one row for the jobs of one worker that one statement put back or gave up';
COMMENT ON COLUMN unstuck.ledger.job_ids IS 'NULL in place of one that was deleted from the view';

CREATE OR REPLACE VIEW unstuck.recoveries AS
SELECT l.id + e.place - 1 AS id, l.queue, l.source, e.job_id, e.claim_id, l.worker_id, l.action, l.reason, l.at
  FROM unstuck.ledger AS l CROSS JOIN LATERAL unnest(l.job_ids, l.claim_ids) WITH ORDINALITY AS e(job_id, claim_id, place)
 WHERE e.job_id IS NOT NULL;
COMMENT ON VIEW unstuck.recoveries IS 'The ledger: one row for each stuck job that was put back (action reset) or given up (action fail)';

-- Who might read and write the table of before may do so with the view.
DO $upgrade$
DECLARE
  item record;
BEGIN
  IF (SELECT relacl FROM pg_catalog.pg_class WHERE oid = 'unstuck.recoveries'::regclass) IS NULL THEN
    FOR item IN SELECT a.privilege_type, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
                  FROM pg_catalog.pg_class AS c, pg_catalog.aclexplode(c.relacl) AS a
                 WHERE c.oid = 'unstuck.ledger'::regclass AND a.grantee <> c.relowner
                   AND a.privilege_type IN ('SELECT', 'INSERT', 'DELETE') LOOP
      EXECUTE pg_catalog.format('GRANT %s ON unstuck.recoveries TO %s', item.privilege_type, item.grantee);
    END LOOP;
  END IF;
END
$upgrade$;

CREATE TABLE IF NOT EXISTS unstuck.late_results (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  queue       text NOT NULL,
  source      text NOT NULL,
  job_id      text NOT NULL,
  claim_id    bigint NOT NULL,
  worker_id   uuid NOT NULL,
  reason      text NOT NULL,
  raw         bytea NOT NULL,
  received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  adopted_at  timestamptz,
  UNIQUE (source, job_id, claim_id, worker_id)
);
COMMENT ON TABLE unstuck.late_results IS 'Results that could not go to their job, byte for byte, with the reason';
ALTER TABLE unstuck.late_results ALTER COLUMN source SET DEFAULT 'unstuck.jobs';
CREATE INDEX IF NOT EXISTS late_open ON unstuck.late_results (queue, source, id) WHERE adopted_at IS NULL;

-- Before version 3 nobody knew which claims were of a time before a retry: those of then adopt nothing by themselves.
DO $upgrade$
DECLARE
  kept text;
BEGIN
  FOREACH kept IN ARRAY ARRAY['jobs', 'claims'] LOOP
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute
                    WHERE attrelid = ('unstuck.' || kept)::regclass AND attname = 'first_claim' AND NOT attisdropped) THEN
      EXECUTE pg_catalog.format('ALTER TABLE unstuck.%I ADD COLUMN first_claim bigint NOT NULL DEFAULT %s', kept,
                                pg_catalog.nextval('unstuck.claim_seq'));
      EXECUTE pg_catalog.format('ALTER TABLE unstuck.%I ALTER COLUMN first_claim SET DEFAULT 0', kept);
    END IF;
  END LOOP;
END
$upgrade$;
COMMENT ON COLUMN unstuck.jobs.first_claim IS 'Late results of smaller claim ids are of a time before it was put back by hand: they are not adopted unasked';
COMMENT ON COLUMN unstuck.claims.first_claim IS 'The same, of a row that the application made ready again after its end';

-- Functions. search_path is pinned and every name qualified: they run with the owner's rights.

CREATE OR REPLACE FUNCTION unstuck.enqueue(queue text, payload jsonb DEFAULT '{}', run_at timestamptz DEFAULT now(),
                                           priority int DEFAULT 0, unique_key text DEFAULT NULL,
                                           max_attempts int DEFAULT NULL)
RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $enqueue$
#variable_conflict use_column
DECLARE
  job bigint;
  ready boolean := enqueue.run_at <= clock_timestamp();
  waiting boolean;
BEGIN
  IF coalesce(enqueue.queue, '') = '' OR enqueue.queue ~ '[[:cntrl:]\]]' OR octet_length(enqueue.queue) > 1000 THEN
    RAISE EXCEPTION 'unstuck.enqueue: queue must be a name: at least one character, at most 1000 bytes, no control characters and no ]'
      USING ERRCODE = 'invalid_parameter_value';
  ELSIF enqueue.payload IS NULL OR enqueue.run_at IS NULL OR enqueue.priority IS NULL THEN
    RAISE EXCEPTION 'unstuck.enqueue: % must not be NULL (leave it out for its default)',
      CASE WHEN enqueue.payload IS NULL THEN 'payload' WHEN enqueue.run_at IS NULL THEN 'run_at' ELSE 'priority' END
      USING ERRCODE = 'null_value_not_allowed';
  ELSIF enqueue.max_attempts < 1 THEN
    RAISE EXCEPTION 'unstuck.enqueue: max_attempts must be at least 1, not %', enqueue.max_attempts
      USING ERRCODE = 'invalid_parameter_value';
  END IF;

  -- Only the first job in line is looked at, so that this costs the same for any number of waiting jobs;
  -- a superfluous wake-up harms nobody.
  IF ready THEN
    SELECT first.run_at <= clock_timestamp() INTO waiting
      FROM (SELECT j.run_at FROM unstuck.jobs AS j WHERE j.queue = enqueue.queue AND j.waiting
             ORDER BY j.priority, j.run_at, j.id LIMIT 1) AS first;
  END IF;

  -- Another session's job with this key may finish between the two statements: then try again. Without
  -- a key there is nothing to conflict with, and a plain INSERT is the cheaper one.
  FOR try IN 1 .. 100 LOOP
    IF enqueue.unique_key IS NULL THEN
      INSERT INTO unstuck.jobs AS j (queue, payload, run_at, priority, max_attempts)
      VALUES (enqueue.queue, enqueue.payload, enqueue.run_at, enqueue.priority, enqueue.max_attempts)
      RETURNING j.id INTO job;
    ELSE
      INSERT INTO unstuck.jobs AS j (queue, payload, run_at, priority, unique_key, max_attempts)
      VALUES (enqueue.queue, enqueue.payload, enqueue.run_at, enqueue.priority, enqueue.unique_key, enqueue.max_attempts)
      ON CONFLICT (queue, open_key) WHERE open_key IS NOT NULL DO NOTHING
      RETURNING j.id INTO job;
    END IF;
    IF job IS NOT NULL THEN
      IF ready AND waiting IS NOT TRUE THEN
        PERFORM pg_notify('unstuck', enqueue.queue);
      END IF;
      RETURN job;
    END IF;
    SELECT j.id INTO job FROM unstuck.jobs AS j
     WHERE j.queue = enqueue.queue AND j.open_key = enqueue.unique_key;
    IF FOUND THEN
      RETURN job;
    END IF;
  END LOOP;
  RAISE EXCEPTION 'unstuck.enqueue: jobs of queue % with unique_key % come and go too fast', enqueue.queue, enqueue.unique_key
    USING ERRCODE = 'serialization_failure';
END
$enqueue$;
COMMENT ON FUNCTION unstuck.enqueue(text, jsonb, timestamptz, int, text, int) IS
  'Add a job, in the caller''s transaction. While a job of the queue with the same unique_key is unfinished: that one''s id';

CREATE OR REPLACE FUNCTION unstuck.cancel(id bigint)
RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $cancel$
#variable_conflict use_column
DECLARE
  its_status text;
  its_worker uuid;
BEGIN
  SELECT j.status, j.worker_id INTO its_status, its_worker FROM unstuck.jobs AS j
   WHERE j.id = cancel.id AND j.status IN ('PENDING', 'PROCESSING') FOR NO KEY UPDATE;
  -- The token stays: the worker that runs it learns of it by the status, and its result no longer fits.
  UPDATE unstuck.jobs AS j
     SET status = 'CANCELLED', batch = NULL, updated_at = clock_timestamp(), finished_at = clock_timestamp()
   WHERE j.id = cancel.id AND j.status IN ('PENDING', 'PROCESSING');
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  -- It looks at its jobs at once; without this it would with its next beat.
  IF its_status = 'PROCESSING' AND its_worker IS NOT NULL THEN
    PERFORM pg_notify('unstuck_cancel', its_worker::text);
  END IF;
  RETURN true;
END
$cancel$;
COMMENT ON FUNCTION unstuck.cancel(bigint) IS 'Give up a job that is PENDING or PROCESSING. Whether it did';

CREATE OR REPLACE FUNCTION unstuck.retry(id bigint)
RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $retry$
#variable_conflict use_column
DECLARE
  its_queue text;
BEGIN
  -- A new claim_id: nothing that is still under way for the old one can answer for the new run.
  UPDATE unstuck.jobs AS j
     SET status = 'PENDING', failures = 0, recoveries = 0, run_at = now(), claim_id = nextval('unstuck.claim_seq'),
         first_claim = currval('unstuck.claim_seq'), worker_id = NULL, batch = NULL, claimed_at = NULL, updated_at = clock_timestamp(), finished_at = NULL
   WHERE j.id = retry.id AND j.status IN ('FAILED', 'CANCELLED')
  RETURNING j.queue INTO its_queue;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM pg_notify('unstuck', its_queue);
  RETURN true;
EXCEPTION WHEN unique_violation THEN
  RETURN false;
END
$retry$;
COMMENT ON FUNCTION unstuck.retry(bigint) IS
  'Run a FAILED or CANCELLED job again from the start. Whether it did: not while another unfinished job has its unique_key';

-- For who may not write results: unstuck_recover. A run that succeeded and came too late counts while no other one does: a job that
-- waits or has failed takes its result, once, and the token with it, so that the answer to any other claim does not fit
-- any more. Unasked only what succeeded, of a claim since the job was last put back by hand.
CREATE OR REPLACE FUNCTION unstuck.adopt(late bigint, by_hand boolean DEFAULT false, as_text boolean DEFAULT false)
RETURNS TABLE (job text, adopted text) LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $adopt$
  WITH late AS MATERIALIZED (
    SELECT l.id, l.queue, l.job_id::bigint AS job, l.claim_id, l.worker_id,
           CASE WHEN adopt.as_text AND l.reason IN ('bad_data', 'unfinished')
                THEN to_json(rtrim(convert_from(l.raw, 'UTF8'), E' \t\n\v\f\r'))::text
                ELSE convert_from(l.raw, 'UTF8') END AS result
      FROM unstuck.late_results AS l
     WHERE l.id = adopt.late AND l.source = 'unstuck.jobs' AND l.adopted_at IS NULL
       AND CASE WHEN adopt.by_hand THEN l.reason <> 'too_large' ELSE l.reason IN ('fenced', 'failed') END
       FOR NO KEY UPDATE SKIP LOCKED
  ), stored AS (
    UPDATE unstuck.jobs AS j
       SET status = 'COMPLETED', result = late.result::jsonb, claim_id = late.claim_id, worker_id = late.worker_id,
           last_error = NULL, updated_at = clock_timestamp(), finished_at = clock_timestamp()
      FROM late
     WHERE j.id = late.job AND j.queue = late.queue AND j.status IN ('PENDING', 'FAILED')
       AND (adopt.by_hand OR late.claim_id >= j.first_claim)
    RETURNING late.id, late.result
  )
  UPDATE unstuck.late_results AS l SET adopted_at = clock_timestamp()
    FROM stored AS s
   WHERE l.id = s.id
  RETURNING l.job_id, s.result
$adopt$;
COMMENT ON FUNCTION unstuck.adopt(bigint, boolean, boolean) IS
  'Store a late result in its job, if that waits or has failed: the job''s id and the result, or no row';

-- The ledger by hand, a row at a time. What is deleted leaves its place empty, so that the others keep their ids.
CREATE OR REPLACE FUNCTION unstuck.recoveries_by_hand()
RETURNS trigger LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $by_hand$
DECLARE
  batch bigint;
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.job_id IS NULL THEN
      RAISE EXCEPTION 'unstuck.recoveries: job_id must not be NULL' USING ERRCODE = 'not_null_violation';
    END IF;
    INSERT INTO unstuck.ledger AS l (queue, source, job_ids, claim_ids, worker_id, action, reason, at)
    VALUES (NEW.queue, NEW.source, ARRAY[NEW.job_id], ARRAY[NEW.claim_id], NEW.worker_id, NEW.action, NEW.reason,
            coalesce(NEW.at, clock_timestamp()))
    RETURNING l.id, l.at INTO NEW.id, NEW.at;
    RETURN NEW;
  END IF;
  SELECT max(l.id) INTO batch FROM unstuck.ledger AS l WHERE l.id <= OLD.id;
  UPDATE unstuck.ledger AS l SET job_ids[(OLD.id - batch + 1)::int] = NULL WHERE l.id = batch;
  DELETE FROM unstuck.ledger AS l WHERE l.id = batch AND array_remove(l.job_ids, NULL) = '{}';
  RETURN OLD;
END
$by_hand$;
REVOKE ALL ON FUNCTION unstuck.recoveries_by_hand() FROM PUBLIC;
DROP TRIGGER IF EXISTS recoveries_by_hand ON unstuck.recoveries;
CREATE TRIGGER recoveries_by_hand INSTEAD OF INSERT OR DELETE ON unstuck.recoveries
  FOR EACH ROW EXECUTE FUNCTION unstuck.recoveries_by_hand();

REVOKE ALL ON FUNCTION unstuck.adopt(bigint, boolean, boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION unstuck.enqueue(text, jsonb, timestamptz, int, text, int) FROM PUBLIC;
REVOKE ALL ON FUNCTION unstuck.cancel(bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION unstuck.retry(bigint) FROM PUBLIC;

INSERT INTO unstuck.schema_version (version) VALUES (4) ON CONFLICT DO NOTHING;
