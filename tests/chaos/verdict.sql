-- verdict.sql - the rules. Each gives a row of text for every violation, from what was written down and from the database.
-- All of them are truths of the design: none depends on how fast the machine is.

-- prepare:
ANALYZE chaos.said;
CREATE INDEX ON chaos.said (queue, job, claim);
INSERT INTO chaos.kept SELECT 'result', unnest(j.nonces) FROM chaos.jobs AS j;
INSERT INTO chaos.kept
SELECT CASE WHEN l.adopted_at IS NULL THEN 'late' ELSE 'adopted' END, (regexp_match(encode(l.raw, 'escape'), 'paid-[0-9a-f]{16}'))[1]
  FROM unstuck.late_results AS l;
CREATE INDEX ON chaos.kept (nonce);
-- One run of a job: from its start to its last sign of life.
CREATE TABLE chaos.runs AS
SELECT s.queue, s.job, s.claim, s.worker, s.us AS began, greatest(s.us, max(o.us)) AS ended, bool_or(o.kind = 'E') IS TRUE AS told,
       EXISTS (SELECT FROM unstuck.recoveries AS r WHERE r.claim_id = s.claim AND r.job_id = s.job) AS recovered
  FROM chaos.said AS s LEFT JOIN chaos.said AS o ON o.queue = s.queue AND o.job = s.job AND o.claim = s.claim AND o.kind IN ('F', 'W', 'E')
 WHERE s.kind = 'S' GROUP BY s.queue, s.job, s.claim, s.worker, s.us;
CREATE INDEX ON chaos.runs (queue, job);
ANALYZE chaos.runs;
-- Paid results that are nowhere; a KILL explains those that were not printed yet, or that a worker had read from a process of serve less than a minute before.
CREATE TABLE chaos.gone AS
SELECT f.queue, f.job, f.claim, f.worker, f.note AS nonce, w.us IS NOT NULL AS printed,
       EXISTS (SELECT FROM chaos.said AS k WHERE k.kind = 'K' AND k.worker = f.worker AND k.us > f.us - 1000000
                 AND (w.us IS NULL OR f.queue LIKE '%serve' AND k.us < w.us + 60000000)) AS killed
  FROM chaos.said AS f LEFT JOIN chaos.said AS w ON w.kind = 'W' AND w.queue = f.queue AND w.job = f.job AND w.claim = f.claim
 WHERE f.kind = 'F' AND NOT EXISTS (SELECT FROM chaos.kept AS k WHERE k.nonce = f.note);

-- rule: every acknowledged job is there and finished, and FAILED only when it was told to be
SELECT format('%s job %s: %s', a.queue, a.job, coalesce(j.status || ' ' || j.mode, 'missing'))
  FROM chaos.said AS a LEFT JOIN chaos.jobs AS j ON j.queue = a.queue AND j.id = a.job::bigint
 WHERE a.kind = 'A' AND (j.status = 'COMPLETED' OR j.status = 'FAILED' AND j.mode IN ('fail', 'never', 'bad', 'big')) IS NOT TRUE;

-- rule: every other job is finished too, and none of those told to fail is COMPLETED
SELECT format('%s job %s: %s %s', j.queue, j.id, j.status, j.mode) FROM chaos.jobs AS j
 WHERE j.status NOT IN ('COMPLETED', 'FAILED') OR j.status = 'COMPLETED' AND j.mode IN ('fail', 'never', 'bad', 'big');

-- rule: a COMPLETED job has one result, any other none
SELECT format('%s job %s %s: %s results', j.queue, j.id, j.status, cardinality(j.nonces)) FROM chaos.jobs AS j
 WHERE cardinality(j.nonces) <> (j.status = 'COMPLETED')::int;

-- rule: a job becomes COMPLETED once
SELECT format('%s job %s: %s times', c.source, c.job, count(*)) FROM chaos.completed AS c GROUP BY c.source, c.job HAVING count(*) > 1;

-- rule: the result of a job is one that a run of that job has paid for, under the claim that the job carries
SELECT format('%s job %s claim %s: result %s is of %s', j.queue, j.id, j.claim_id, j.nonces[1],
              coalesce((SELECT format('%s job %s claim %s', f.queue, f.job, f.claim) FROM chaos.said AS f WHERE f.kind = 'F' AND f.note = j.nonces[1]), 'nobody'))
  FROM chaos.jobs AS j
 WHERE cardinality(j.nonces) > 0
   AND NOT EXISTS (SELECT FROM chaos.said AS f
                    WHERE f.kind = 'F' AND f.queue = j.queue AND f.job = j.id::text AND f.note = j.nonces[1]
                      AND (f.claim = j.claim_id OR EXISTS (SELECT FROM chaos.kept AS k WHERE k.place = 'adopted' AND k.nonce = f.note)));

-- rule: nothing is PROCESSING, no claim ACTIVE, no worker registered
SELECT 'job PROCESSING: ' || j.queue || ' ' || j.id FROM unstuck.jobs AS j WHERE j.status = 'PROCESSING'
UNION ALL SELECT 'row PROCESSING: ' || w.id FROM work AS w WHERE w.status = 'PROCESSING'
UNION ALL SELECT 'claim ACTIVE: ' || k.source || ' ' || k.job_id FROM unstuck.claims AS k WHERE k.state = 'ACTIVE'
UNION ALL SELECT 'worker registered: ' || w.worker_id FROM unstuck.workers AS w;

-- rule: a paid result is in the job, in late_results or in the spool, unless KILL came before anybody could have it
SELECT format('%s job %s claim %s worker %s: %s%s', g.queue, g.job, g.claim, g.worker, g.nonce, CASE WHEN g.printed THEN ', printed' END)
  FROM chaos.gone AS g WHERE NOT g.killed;

-- rule: a paid result is in one place only
SELECT format('%s: %s', k.nonce, string_agg(k.place, ', ')) FROM chaos.kept AS k
 WHERE k.place IN ('result', 'late') AND k.nonce IS NOT NULL GROUP BY k.nonce HAVING count(*) > 1;

-- rule: two runs of a job overlap only when the first was recovered
SELECT format('%s job %s: claim %s from %s to %s, claim %s from %s', a.queue, a.job, a.claim, a.began, a.ended, b.claim, b.began)
  FROM chaos.runs AS a JOIN chaos.runs AS b ON b.queue = a.queue AND b.job = a.job AND b.claim > a.claim
 WHERE b.began < a.ended AND a.began < b.ended AND NOT a.recovered;

-- rule: claim ids of a job rise with the time of its starts, unless the earlier was recovered before it began; none starts twice
SELECT format('%s job %s: claim %s began after claim %s', a.queue, a.job, a.claim, b.claim)
  FROM chaos.runs AS a JOIN chaos.runs AS b ON b.queue = a.queue AND b.job = a.job AND b.claim > a.claim
 WHERE a.began > b.began AND NOT a.recovered
UNION ALL
SELECT format('%s job %s: claim %s began %s times', r.queue, r.job, r.claim, count(*)) FROM chaos.runs AS r GROUP BY r.queue, r.job, r.claim HAVING count(*) > 1;

-- rule: a job runs again only after a failure that was told, a recovery, a stop of its worker, or the limit of its time
SELECT format('%s job %s: claim %s of worker %s', r.queue, r.job, r.claim, r.worker)
  FROM chaos.runs AS r
 WHERE EXISTS (SELECT FROM chaos.runs AS n WHERE n.queue = r.queue AND n.job = r.job AND n.claim > r.claim AND n.began < r.began + 3000000)
   AND NOT r.told AND NOT r.recovered
   AND NOT EXISTS (SELECT FROM chaos.said AS t WHERE t.kind = 'T' AND t.worker = r.worker AND t.us > r.began - 1000000);

-- rule: no more starts than the job counts attempts
SELECT format('%s job %s: %s starts, %s attempts', j.queue, j.id, count(*), j.attempts)
  FROM chaos.jobs AS j JOIN chaos.runs AS r ON r.queue = j.queue AND r.job = j.id::text
 GROUP BY j.queue, j.id, j.attempts HAVING count(*) > j.attempts;

-- rule: no claim takes more than a batch
SELECT format('%s: %s jobs at once', c.source, c.jobs) FROM chaos.claims AS c WHERE c.jobs > 5;

-- figure: jobs
SELECT count(*) || ' (' || count(*) FILTER (WHERE status = 'FAILED') || ' told to fail)' FROM chaos.jobs;
-- figure: acknowledged
SELECT count(*) FROM chaos.said WHERE kind = 'A';
-- figure: executions
SELECT count(*) FROM chaos.runs;
-- figure: paid
SELECT count(*) FROM chaos.said WHERE kind = 'F';
-- figure: late results kept
SELECT count(*) || coalesce((SELECT ' (' || string_agg(reason || ' ' || n, ', ' ORDER BY reason) || ')'
                               FROM (SELECT reason, count(*) AS n FROM unstuck.late_results GROUP BY reason) AS r), '') FROM unstuck.late_results;
-- figure: recovered
-- Of workers that nobody had killed or stopped: they were silent because of their way to the database, or of the machine.
SELECT count(*) || ' (of workers that lived ' || count(*) FILTER (WHERE NOT EXISTS (
         SELECT FROM chaos.lives AS l JOIN chaos.said AS k ON k.worker = l.pid AND k.kind IN ('K', 'Z', 'T')
          WHERE l.worker_id = r.worker_id AND k.us < extract(epoch FROM r.at) * 1000000)) || ')' FROM unstuck.recoveries AS r;
-- figure: lost
SELECT count(*) FROM chaos.said AS a WHERE a.kind = 'A' AND NOT EXISTS (SELECT FROM chaos.jobs AS j WHERE j.queue = a.queue AND j.id = a.job::bigint AND j.status IN ('COMPLETED', 'FAILED'));
-- figure: doubled
SELECT count(*) FROM (SELECT FROM chaos.completed GROUP BY source, job HAVING count(*) > 1) AS d;
-- figure: paid lost
SELECT count(*) FILTER (WHERE NOT killed) || ' (in the kill window ' || count(*) FILTER (WHERE killed) || ', of these printed by serve ' || count(*) FILTER (WHERE killed AND printed) || ', with spool = always '
       || count(*) FILTER (WHERE killed AND printed AND queue <> 'own_serve') || ')' FROM chaos.gone;
-- figure: overlaps
SELECT count(*) FILTER (WHERE NOT a.recovered) || ' (after a recovery ' || count(*) FILTER (WHERE a.recovered) || ')'
  FROM chaos.runs AS a JOIN chaos.runs AS b ON b.queue = a.queue AND b.job = a.job AND b.claim > a.claim
 WHERE b.began < a.ended AND a.began < b.ended;
-- figure: time to recover
-- From KILL to the job being ready again.
SELECT format('p50 %s ms, p99 %s ms (%s jobs)', round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)), round(percentile_cont(0.99) WITHIN GROUP (ORDER BY ms)), count(*))
  FROM (SELECT extract(epoch FROM r.at) * 1000 - k.us / 1000.0 AS ms
          FROM unstuck.recoveries AS r JOIN chaos.lives AS l ON l.worker_id = r.worker_id JOIN chaos.said AS k ON k.kind = 'K' AND k.worker = l.pid
         WHERE extract(epoch FROM l.at) * 1000000 < k.us AND k.us < extract(epoch FROM r.at) * 1000000
           AND extract(epoch FROM r.at) * 1000000 - k.us < 60000000) AS t;
