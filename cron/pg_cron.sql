-- pg_cron.sql - stuck jobs put back by the database itself, for who cannot run a program.
--
-- Age decides: a row that has been PROCESSING for an hour is put back, unless the worker
-- that has it is alive. It is less than unstuck-recover, which proves a worker dead within a
-- minute or two and asks before it acts; both may run on the same tables.
--
-- Take the part that fits, put your names and your hour in, and run it as the owner of
-- the table in the database where pg_cron is. To end it: SELECT cron.unschedule('unstuck-jobs').


-- 1. Unstuck's own table. The third recovery of a job is its last: the fourth time it is FAILED.
-- A worker whose beat is older than the hour counts as gone, but only when the server has been up
-- that long too: after an outage every beat is old.

SELECT cron.schedule('unstuck-jobs', '*/10 * * * *', $job$
  WITH stuck AS MATERIALIZED (
    SELECT j.id FROM unstuck.jobs AS j
     WHERE j.status = 'PROCESSING'
       AND coalesce(j.claimed_at, j.updated_at) < now() - interval '1 hour'
       AND NOT EXISTS (SELECT FROM unstuck.workers AS w
                        WHERE w.worker_id = j.worker_id
                          AND greatest(w.beat_at, pg_postmaster_start_time()) > now() - interval '1 hour')
     ORDER BY j.id LIMIT 1000
       FOR NO KEY UPDATE OF j SKIP LOCKED
  ), put_back AS (
    UPDATE unstuck.jobs AS j
       SET status = CASE WHEN j.recoveries >= 3 THEN 'FAILED' ELSE 'PENDING' END,
           finished_at = CASE WHEN j.recoveries >= 3 THEN clock_timestamp() END,
           recoveries = j.recoveries + 1, run_at = now(), updated_at = clock_timestamp(),
           last_error = 'PROCESSING since ' || coalesce(j.claimed_at, j.updated_at) || ', and no living worker has it'
      FROM stuck
     WHERE j.id = stuck.id
    RETURNING j.id, j.queue, j.claim_id, j.worker_id, j.status
  )
  INSERT INTO unstuck.recoveries (queue, source, job_id, claim_id, worker_id, action, reason)
  SELECT queue, 'unstuck.jobs', id::text, claim_id, worker_id,
         CASE status WHEN 'FAILED' THEN 'fail' ELSE 'reset' END, 'timeout'
    FROM put_back
$job$);


-- 2. A table of your own that Unstuck's workers work on. Its updated_at is a timestamp without time
-- zone in UTC here; where it is a timestamptz write now() in place of (now() AT TIME ZONE 'UTC').

SELECT cron.schedule('unstuck-videos', '*/10 * * * *', $job$
  WITH stuck AS MATERIALIZED (
    SELECT v.id, k.claim_id, k.worker_id, coalesce(k.recoveries, 0) >= 3 AS poisoned
      FROM public.videos AS v
      LEFT JOIN unstuck.claims AS k ON k.source = 'public.videos' AND k.job_id = v.id::text
     WHERE v.analysis_status = 'PROCESSING'
       AND v.updated_at < (now() AT TIME ZONE 'UTC') - interval '1 hour'
       AND NOT EXISTS (SELECT FROM unstuck.workers AS w
                        WHERE w.worker_id = k.worker_id AND k.state = 'ACTIVE'
                          AND greatest(w.beat_at, pg_postmaster_start_time()) > now() - interval '1 hour')
     ORDER BY v.id LIMIT 1000
       FOR NO KEY UPDATE OF v SKIP LOCKED
  ), put_back AS (
    UPDATE public.videos AS v
       SET analysis_status = CASE WHEN stuck.poisoned THEN 'ANALYSIS_FAILED' ELSE 'METADATA_EXTRACTING' END,
           updated_at = now() AT TIME ZONE 'UTC'
      FROM stuck
     WHERE v.id = stuck.id
    RETURNING v.id, stuck.claim_id, stuck.worker_id, stuck.poisoned
  ), ended AS (
    UPDATE unstuck.claims AS k
       SET state = CASE WHEN p.poisoned THEN 'DEAD' ELSE 'RECOVERED' END,
           recoveries = k.recoveries + 1, ended_at = clock_timestamp(), not_before = NULL
      FROM put_back AS p
     WHERE k.source = 'public.videos' AND k.job_id = p.id::text
  )
  INSERT INTO unstuck.recoveries (queue, source, job_id, claim_id, worker_id, action, reason)
  SELECT 'videos', 'public.videos', id::text, claim_id, worker_id,
         CASE WHEN poisoned THEN 'fail' ELSE 'reset' END, 'timeout'
    FROM put_back
$job$);


-- 3. A table of your own in a database without the schema unstuck: nothing but age.

SELECT cron.schedule('unstuck-videos-by-age', '*/10 * * * *', $job$
  WITH stuck AS MATERIALIZED (
    SELECT v.id FROM public.videos AS v
     WHERE v.analysis_status = 'PROCESSING'
       AND v.updated_at < (now() AT TIME ZONE 'UTC') - interval '1 hour'
     ORDER BY v.id LIMIT 1000
       FOR NO KEY UPDATE OF v SKIP LOCKED
  )
  UPDATE public.videos AS v
     SET analysis_status = 'METADATA_EXTRACTING', updated_at = now() AT TIME ZONE 'UTC'
    FROM stuck
   WHERE v.id = stuck.id
$job$);
