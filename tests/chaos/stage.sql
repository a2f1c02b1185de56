-- stage.sql - what the judge needs in the database: an application's table with its results, and triggers that
-- write down what no later change can hide.

CREATE SCHEMA chaos;

-- The application: two queues map this one table.
CREATE TABLE work (
  id         bigserial PRIMARY KEY,
  kind       text NOT NULL,
  mode       text NOT NULL,
  ms         int NOT NULL,
  status     text NOT NULL DEFAULT 'READY',
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON work (status);
-- No key: a result that is stored twice has to show.
CREATE TABLE results (job bigint NOT NULL, nonce text);

-- What handlers and nemesis wrote down (tests/handlers/witness.c), loaded when all is over.
CREATE TABLE chaos.said (kind text, us bigint, queue text, job text, claim bigint, pid int, worker int, note text);

-- Every write that leaves a job COMPLETED.
CREATE TABLE chaos.completed (source text, job bigint);
CREATE FUNCTION chaos.note_completed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO chaos.completed VALUES (TG_TABLE_NAME, NEW.id);
  RETURN NULL;
END $$;
CREATE TRIGGER note_completed AFTER UPDATE ON unstuck.jobs FOR EACH ROW
  WHEN (NEW.status = 'COMPLETED') EXECUTE FUNCTION chaos.note_completed();
CREATE TRIGGER note_completed AFTER UPDATE ON work FOR EACH ROW
  WHEN (NEW.status = 'COMPLETED') EXECUTE FUNCTION chaos.note_completed();

-- How many jobs one statement claimed.
CREATE TABLE chaos.claims (source text, jobs bigint);
CREATE FUNCTION chaos.note_claim() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO chaos.claims SELECT TG_TABLE_NAME, count(*) FROM changed WHERE status = 'PROCESSING' HAVING count(*) > 0;
  RETURN NULL;
END $$;
CREATE TRIGGER note_claim AFTER UPDATE ON unstuck.jobs REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION chaos.note_claim();
CREATE TRIGGER note_claim AFTER UPDATE ON work REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION chaos.note_claim();

-- Which process was which worker, and whether it said goodbye or was declared dead.
CREATE TABLE chaos.lives (worker_id uuid, pid int, at timestamptz DEFAULT clock_timestamp(), ended text);
CREATE FUNCTION chaos.note_life() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO chaos.lives VALUES (NEW.worker_id, NEW.pid);
  ELSE
    UPDATE chaos.lives SET ended = CASE WHEN current_query() LIKE '%forgotten AS%' THEN 'goodbye' ELSE 'declared dead' END
     WHERE worker_id = OLD.worker_id;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER note_life AFTER INSERT OR DELETE ON unstuck.workers FOR EACH ROW EXECUTE FUNCTION chaos.note_life();

-- All jobs alike, whatever their table.
CREATE VIEW chaos.jobs AS
SELECT j.id, j.queue, 'jobs' AS source, j.payload ->> 'mode' AS mode, j.status, j.claim_id, j.worker_id, j.attempts,
       CASE WHEN j.status = 'COMPLETED' THEN ARRAY[j.result ->> 'nonce'] ELSE '{}' END AS nonces
  FROM unstuck.jobs AS j
UNION ALL
SELECT w.id, 'map_' || w.kind, 'work', w.mode, CASE w.status WHEN 'READY' THEN 'PENDING' ELSE w.status END, k.claim_id, k.worker_id, k.attempts,
       ARRAY(SELECT r.nonce FROM results AS r WHERE r.job = w.id)
  FROM work AS w LEFT JOIN unstuck.claims AS k ON k.source = 'public.work' AND k.job_id = w.id::text;

-- Where each paid result is. Those in the spool are added from its files.
CREATE TABLE chaos.kept (place text, nonce text);
