-- session.sql - what every session of ours relies on: one statement, sent after each connect.
-- search_path is the user's: `where`, `order_by` and `on_success` are written for it.

-- name: session
SELECT set_config('client_min_messages', 'warning', false),
       set_config('TimeZone', 'UTC', false),
       set_config('DateStyle', 'ISO, YMD', false),
       set_config('IntervalStyle', 'postgres', false),
       set_config('bytea_output', 'hex', false),
       set_config('standard_conforming_strings', 'on', false),
       set_config('default_transaction_isolation', 'read committed', false),
       -- a role's "off" would lose acknowledged results in a crash of the server
       set_config('synchronous_commit',
                  CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
                       ELSE current_setting('synchronous_commit') END, false),
       set_config('statement_timeout', '30s', false),
       set_config('lock_timeout', '10s', false),
       set_config('idle_in_transaction_session_timeout', '15s', false),
       -- a plan made and kept while a table was empty must not read all of it when it is full
       set_config('enable_seqscan', 'off', false),
       -- one plan for good: a LIMIT that is a parameter makes it look dear, and PostgreSQL would plan each time anew
       set_config('plan_cache_mode', 'force_generic_plan', false),
       set_config('jit', 'off', false);

-- name: command
-- Commands may look through a large table that has no index; their plans are made when they are used.
SELECT set_config('statement_timeout', '10min', false),
       set_config('enable_seqscan', 'on', false),
       -- a hundred thousand stuck rows are sorted without a file
       set_config('work_mem', CASE WHEN pg_size_bytes(current_setting('work_mem')) < 32 * 1024 * 1024 THEN '32MB'
                                   ELSE current_setting('work_mem') END, false),
       set_config('plan_cache_mode', 'auto', false);

-- name: schema_version
-- Whether the schema is there, whether this role may read it: asked of the catalog, which never refuses.
SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = 'unstuck' AND c.relname = 'schema_version';

-- name: version
SELECT max(version) FROM unstuck.schema_version;

-- name: server
-- Which server this is, and which start of it.
SELECT pg_postmaster_start_time()::text;

-- name: flush
-- What this session committed without waiting is on the disk, and with the standbys that are waited for, when this is.
SELECT pg_logical_emit_message(true, 'unstuck', '');
