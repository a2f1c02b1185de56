-- doctor.sql - what unstuckctl doctor asks. A section that gives severity, what, remedy gives its findings as they are told;
-- the others are read by ctl/doctor_*.c.
--
-- All of it is bounded: catalogs and statistics, look-ups in an index, LIMIT, a sample of pages.

-- name: durability
-- reset_val: what a session has that, unlike ours, does not set it.
SELECT 'error' AS severity, 'fsync is off: a crash of the server''s host can destroy the whole database' AS what,
       'ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf();' AS remedy
 WHERE current_setting('fsync') = 'off'
UNION ALL
SELECT 'error', 'full_page_writes is off: a crash of the server''s host can damage tables',
       'ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf();'
 WHERE current_setting('full_page_writes') = 'off'
UNION ALL
SELECT 'warning', format('synchronous_commit is off for user %s: a crash of the server can lose jobs that were just enqueued '
                         || '(unstuck-worker turns it on for itself)', current_user),
       format('ALTER ROLE %I IN DATABASE %I SET synchronous_commit = on;', current_user, current_database())
  FROM pg_catalog.pg_settings WHERE name = 'synchronous_commit' AND reset_val = 'off';

-- name: writable
SELECT 'error' AS severity, 'this server is a standby: it takes no writes' AS what,
       'in database_url name every host, and target_session_attrs=read-write' AS remedy
 WHERE pg_is_in_recovery()
UNION ALL
SELECT 'error', format('transactions of user %s in this database are read-only', current_user),
       format('ALTER ROLE %I IN DATABASE %I SET default_transaction_read_only = off;', current_user, current_database())
 WHERE NOT pg_is_in_recovery() AND current_setting('default_transaction_read_only') = 'on';

-- name: connections
WITH session AS (
  SELECT datname, usename FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend'
), room AS (
  SELECT 'the server' AS whose, (SELECT count(*) FROM session) AS used,
         current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS most,
         format('ALTER SYSTEM SET max_connections = %s; then restart the server, or put pgbouncer before it',
                2 * current_setting('max_connections')::int) AS remedy
  UNION ALL
  SELECT format('database %s', d.datname), (SELECT count(*) FROM session AS s WHERE s.datname = d.datname), d.datconnlimit,
         format('ALTER DATABASE %I CONNECTION LIMIT %s;', d.datname, 2 * d.datconnlimit)
    FROM pg_catalog.pg_database AS d WHERE d.datname = current_database() AND d.datconnlimit >= 0
  UNION ALL
  SELECT format('user %s', r.rolname), (SELECT count(*) FROM session AS s WHERE s.usename = r.rolname), r.rolconnlimit,
         format('ALTER ROLE %I CONNECTION LIMIT %s;', r.rolname, 2 * r.rolconnlimit)
    FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user AND r.rolconnlimit >= 0
)
SELECT 'warning' AS severity, format('%s of %s connections of %s are in use', used, most, whose) AS what, remedy
  FROM room WHERE used >= 0.9 * most;

-- name: hidden
SELECT 'note' AS severity,
       format('what other users'' sessions do is hidden from user %s: old transactions may be missed', current_user) AS what,
       format('GRANT pg_read_all_stats TO %I;', current_user) AS remedy
 WHERE NOT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE');

-- name: xmin
-- $1 seconds: what is younger is not told. Sessions and prepared transactions of other databases hold back nothing here.
SELECT 'warning' AS severity,
       format('a transaction of user %s (pid %s, %s) is %s old and holds back vacuum by %s transactions: %s',
              a.usename, a.pid, a.state, date_trunc('second', clock_timestamp() - a.xact_start),
              greatest(age(a.backend_xmin), age(a.backend_xid)), left(regexp_replace(a.query, '\s+', ' ', 'g'), 60)) AS what,
       format('SELECT pg_terminate_backend(%s);', a.pid) AS remedy
  FROM pg_catalog.pg_stat_activity AS a
 WHERE a.datname = current_database() AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
   AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
   AND a.xact_start < clock_timestamp() - make_interval(secs => $1::float8)
UNION ALL
SELECT 'warning',
       format('prepared transaction %s of user %s is %s old, holds back vacuum by %s transactions and keeps its locks',
              p.gid, p.owner, date_trunc('second', clock_timestamp() - p.prepared), age(p.transaction)),
       format('ROLLBACK PREPARED %L;', p.gid)
  FROM pg_catalog.pg_prepared_xacts AS p
 WHERE p.database = current_database() AND p.prepared < clock_timestamp() - make_interval(secs => $1::float8)
UNION ALL
SELECT 'warning',
       format('nobody reads replication slot %s; it holds back vacuum%s by %s transactions, and keeps WAL', s.slot_name,
              CASE WHEN s.xmin IS NULL THEN ' of the catalogs' END, greatest(age(s.xmin), age(s.catalog_xmin))),
       format('SELECT pg_drop_replication_slot(%L);', s.slot_name)
  FROM pg_catalog.pg_replication_slots AS s
 WHERE NOT s.active AND (s.xmin IS NOT NULL OR s.catalog_xmin IS NOT NULL)
   AND (s.database IS NULL OR s.database = current_database());

-- name: vacuum
-- $1 text[] of tables, quoted. Five times what autovacuum waits for: it is behind, not just not there yet.
WITH looked AS (
  SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name, greatest(c.reltuples, 0) AS rows,
         (SELECT bool_or(NOT o.option_value::bool) FROM pg_options_to_table(c.reloptions) AS o
           WHERE o.option_name = 'autovacuum_enabled') AS turned_off
    FROM (SELECT DISTINCT unnest($1::text[])::regclass AS oid) AS t
    JOIN pg_catalog.pg_class AS c ON c.oid = t.oid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
)
SELECT 'warning' AS severity, 'autovacuum is off for the whole server: tables of jobs grow and get slow' AS what,
       'ALTER SYSTEM SET autovacuum = on; ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf();' AS remedy
 WHERE current_setting('autovacuum') = 'off' OR current_setting('track_counts') = 'off'
UNION ALL
SELECT 'warning', format('autovacuum is off for %s: it grows and gets slow', l.name),
       format('ALTER TABLE %s RESET (autovacuum_enabled);', l.name)
  FROM looked AS l WHERE l.turned_off
UNION ALL
SELECT 'warning', format('autovacuum is behind: %s has %s dead rows and %s live ones, last vacuumed %s', l.name, s.n_dead_tup,
                         s.n_live_tup, coalesce(date_trunc('second', greatest(s.last_vacuum, s.last_autovacuum))::text, 'never')),
       format('VACUUM (ANALYZE) %s;', l.name)
  FROM looked AS l JOIN pg_catalog.pg_stat_all_tables AS s ON s.relid = l.oid
 WHERE s.n_dead_tup > 10000
   AND s.n_dead_tup > 5 * (current_setting('autovacuum_vacuum_threshold')::float8
                           + current_setting('autovacuum_vacuum_scale_factor')::float8 * l.rows);

-- name: schema_rights
-- What sql/roles.sql gives to a worker and this user lacks; one row, nulls when nothing.
SELECT string_agg(format('%s on %s', need.what, need.name), ', ') AS lacking,
       CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'unstuck_worker')
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r
                              WHERE r.rolname = 'unstuck_worker' AND pg_has_role(current_user, r.oid, 'USAGE'))
            THEN format('GRANT unstuck_worker TO %I;', current_user)
            ELSE string_agg(format('GRANT %s ON %s TO %I;', need.what, need.name, current_user), ' ') END AS remedy
  FROM (SELECT p.what, 'unstuck.' || t.name AS name,
               has_table_privilege('unstuck.' || t.name, p.what) AS has
          FROM (VALUES ('workers', 'SELECT INSERT UPDATE DELETE'), ('jobs', 'SELECT UPDATE'),
                       ('batches', 'SELECT INSERT DELETE'), ('claim_batches', 'SELECT INSERT DELETE'),
                       ('claims', 'SELECT INSERT UPDATE'), ('active_claims', 'SELECT'),
                       ('recoveries', 'SELECT'), ('ledger', 'INSERT'), ('late_results', 'INSERT')) AS t(name, needs)
         CROSS JOIN regexp_split_to_table(t.needs, ' ') AS p(what)
        UNION ALL
        SELECT 'USAGE', 'SEQUENCE unstuck.claim_seq', has_sequence_privilege('unstuck.claim_seq', 'USAGE')) AS need
 WHERE NOT need.has;

-- name: table_rights
-- $1 oid, $2 text[] columns to read (null: all), $3 text[] columns to write. One row, nulls when nothing is lacking.
WITH need AS (
  SELECT 'SELECT' AS what, a.attnum, a.attname FROM pg_catalog.pg_attribute AS a
   WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped AND ($2::text[] IS NULL OR a.attname = ANY ($2))
  UNION ALL
  SELECT 'UPDATE', a.attnum, a.attname FROM pg_catalog.pg_attribute AS a
   WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname = ANY ($3::text[])
), lacking AS (
  SELECT need.what, string_agg(format('%I', need.attname), ', ' ORDER BY need.attnum) AS columns
    FROM need WHERE NOT has_column_privilege($1::oid, need.attnum, need.what)
   GROUP BY need.what
)
SELECT string_agg(format('%s (%s)', l.what, l.columns), ', ') AS lacking,
       format('GRANT %s ON %s TO %I;', string_agg(format('%s (%s)', l.what, l.columns), ', '),
              (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class AS c
                 JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = $1::oid), current_user) AS remedy
  FROM lacking AS l;

-- name: sequence
-- $1 table, quoted, $2 column: the sequence that fills it; no row when it has none. last_value: null when it is hidden.
SELECT format('%I.%I', q.schemaname, q.sequencename) AS name, q.max_value, coalesce(q.last_value, 0) AS last_value
  FROM pg_catalog.pg_sequences AS q
 WHERE to_regclass(format('%I.%I', q.schemaname, q.sequencename)) = pg_get_serial_sequence($1::text, $2::text)::regclass;

-- name: versions
-- $1 this program's.
SELECT 'note' AS severity, format('worker %s on %s (pid %s) is version %s, this program %s', w.worker_id, w.host, w.pid, w.version,
                                  $1::text) AS what,
       'update the older one' AS remedy
  FROM unstuck.workers AS w WHERE w.version <> $1::text
 ORDER BY w.host, w.pid LIMIT 20;

-- name: durations
-- How long finished jobs of each queue took, from a sample of at most 500 pages of either table.
SELECT d.queue, count(*) AS n, percentile_cont(0.99) WITHIN GROUP (ORDER BY d.took) AS p99
  FROM (SELECT j.queue, extract(epoch FROM j.finished_at - j.claimed_at)::float8 AS took
          FROM unstuck.jobs AS j
               TABLESAMPLE SYSTEM ((SELECT least(100, 500 * 100.0 * current_setting('block_size')::float8
                                                      / greatest(pg_relation_size('unstuck.jobs'), 1)))::float4)
         WHERE j.status = 'COMPLETED' AND j.claimed_at IS NOT NULL
        UNION ALL
        SELECT k.queue, extract(epoch FROM k.ended_at - k.claimed_at)::float8
          FROM unstuck.claims AS k
               TABLESAMPLE SYSTEM ((SELECT least(100, 500 * 100.0 * current_setting('block_size')::float8
                                                      / greatest(pg_relation_size('unstuck.claims'), 1)))::float4)
         WHERE k.state = 'DONE' AND k.claimed_at IS NOT NULL) AS d
 GROUP BY d.queue
HAVING count(*) >= 20;

-- name: leftovers
SELECT 'note' AS severity, format('claims that are ACTIVE of workers that are gone: %s', count(*)) AS what,
       'unstuck-recover --yes; what is left then is of rows that are not PROCESSING any more: DELETE FROM unstuck.claims AS k '
       || 'WHERE k.state = ''ACTIVE'' AND NOT EXISTS (SELECT FROM unstuck.workers AS w WHERE w.worker_id = k.worker_id);' AS remedy
  FROM unstuck.active_claims AS k
 WHERE NOT EXISTS (SELECT FROM unstuck.workers AS w WHERE w.worker_id = k.worker_id)
HAVING count(*) > 0
UNION ALL
SELECT 'note', format('rows of unstuck.%s of workers that are gone: %s', b.name, count(*)), 'unstuck-recover --yes'
  FROM (SELECT 'batches' AS name, i.worker_id FROM unstuck.batches AS i
        UNION ALL SELECT 'claim_batches', i.worker_id FROM unstuck.claim_batches AS i) AS b
 WHERE NOT EXISTS (SELECT FROM unstuck.workers AS w WHERE w.worker_id = b.worker_id)
 GROUP BY b.name;

-- name: late
-- Of the newest 1000. One whose job has completed otherwise is history, and nothing to do.
SELECT 'warning' AS severity, format('results that came too late for their claim, and whose jobs have no other: %s', count(*)) AS what,
       'unstuckctl late; then unstuckctl late adopt ID...' AS remedy
  FROM (SELECT l.source, l.job_id FROM unstuck.late_results AS l WHERE l.adopted_at IS NULL ORDER BY l.id DESC LIMIT 1000) AS l
 WHERE CASE WHEN l.source = 'unstuck.jobs'
            THEN EXISTS (SELECT FROM unstuck.jobs AS j
                          WHERE j.id = CASE WHEN l.job_id ~ '^[0-9]{1,18}$' THEN l.job_id::bigint END AND j.status <> 'COMPLETED')
            ELSE EXISTS (SELECT FROM unstuck.claims AS k
                          WHERE k.source = l.source AND k.job_id = l.job_id AND k.state <> 'DONE') END
HAVING count(*) > 0;
