-- roles.sql - four roles to GRANT to the users of a database, each with no more than it needs.
--
-- Can be run again at any time, after schema.sql. Roles belong to the whole server, so this file needs the right
-- to create them (or that they are there). `unstuckctl init` applies it where its user may.
--
--   unstuck_enqueue   add jobs, cancel and retry them            the application
--   unstuck_worker    claim, store, release, recover             unstuck-worker
--   unstuck_recover   put stuck jobs back, adopt late results    unstuck-recover
--   unstuck_read      look at everything, results included       monitoring, people
--
-- On an application's own table grant besides (recover needs SELECT of what it shows, UPDATE of status and updated_at; of
-- result too, or what on_success needs, if it is to adopt late results there as the workers do):
--   GRANT SELECT, UPDATE (status, updated_at, result) ON videos TO unstuck_worker;

DO $roles$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['unstuck_enqueue', 'unstuck_worker', 'unstuck_recover', 'unstuck_read'] LOOP
    IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = name) THEN
      BEGIN
        EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', name);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL;	-- somebody else was faster
      END;
    END IF;
  END LOOP;
END
$roles$;

GRANT USAGE ON SCHEMA unstuck TO unstuck_enqueue, unstuck_worker, unstuck_recover, unstuck_read;
GRANT SELECT ON unstuck.schema_version TO unstuck_enqueue, unstuck_worker, unstuck_recover, unstuck_read;

-- INSERT of these columns is what COPY needs; the id is filled in by itself.
GRANT EXECUTE ON FUNCTION unstuck.enqueue(text, jsonb, timestamptz, int, text, int), unstuck.cancel(bigint),
      unstuck.retry(bigint) TO unstuck_enqueue;
GRANT INSERT (queue, payload, run_at, priority, max_attempts) ON unstuck.jobs TO unstuck_enqueue;

GRANT SELECT, DELETE, UPDATE (seen_n, seen_at) ON unstuck.workers TO unstuck_recover;
GRANT SELECT, UPDATE (status, batch, recoveries, run_at, last_error, updated_at, finished_at) ON unstuck.jobs TO unstuck_recover;
GRANT SELECT, DELETE ON unstuck.batches, unstuck.claim_batches TO unstuck_recover;
GRANT SELECT ON unstuck.active_claims TO unstuck_recover, unstuck_worker;
GRANT SELECT, INSERT, UPDATE ON unstuck.claims TO unstuck_recover;
GRANT USAGE ON SEQUENCE unstuck.claim_seq TO unstuck_recover;
GRANT SELECT, INSERT ON unstuck.recoveries TO unstuck_recover;
GRANT INSERT ON unstuck.ledger TO unstuck_recover;
GRANT SELECT, UPDATE (adopted_at, reason) ON unstuck.late_results TO unstuck_recover;
GRANT EXECUTE ON FUNCTION unstuck.adopt(bigint, boolean, boolean) TO unstuck_recover;

-- A worker recovers its own queues too; it has all of the above by its own name, so that nothing hangs on INHERIT.
GRANT SELECT, INSERT, UPDATE, DELETE ON unstuck.workers TO unstuck_worker;
GRANT SELECT, UPDATE ON unstuck.jobs TO unstuck_worker;
GRANT SELECT, INSERT, DELETE ON unstuck.batches, unstuck.claim_batches TO unstuck_worker;
GRANT SELECT, INSERT, UPDATE ON unstuck.claims TO unstuck_worker;
GRANT USAGE ON SEQUENCE unstuck.claim_seq TO unstuck_worker;
GRANT SELECT, INSERT ON unstuck.recoveries TO unstuck_worker;
GRANT INSERT ON unstuck.ledger TO unstuck_worker;
GRANT SELECT, INSERT, UPDATE (adopted_at, reason) ON unstuck.late_results TO unstuck_worker;
GRANT EXECUTE ON FUNCTION unstuck.adopt(bigint, boolean, boolean) TO unstuck_worker;

GRANT SELECT ON ALL TABLES IN SCHEMA unstuck TO unstuck_read;
