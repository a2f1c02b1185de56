-- mapping.sql - what mapping_resolve() and mapping_check() ask the catalog.

-- name: table
-- $1 schema or NULL (search_path), $2 name. The last column: it has partitions, or tables that inherit from it.
SELECT c.oid, n.nspname, c.relkind, has_schema_privilege(n.oid, 'USAGE'), format('%I.%I', n.nspname, c.relname),
       c.relhassubclass
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relname = $2::text AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
   AND CASE WHEN $1::text IS NULL THEN pg_table_is_visible(c.oid) ELSE n.nspname = $1::text END;

-- name: tables
-- Names that a typo may have meant. $1 schema or NULL.
SELECT c.relname
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
   AND CASE WHEN $1::text IS NULL THEN pg_table_is_visible(c.oid) ELSE n.nspname = $1::text END
 ORDER BY c.relname LIMIT 1000;

-- name: columns
-- $1 oid of the table. A domain counts as what it is made of.
WITH RECURSIVE type AS (
  SELECT a.attnum, a.atttypid AS oid, a.atttypmod AS typmod
    FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT y.attnum, t.typbasetype, t.typtypmod
    FROM type AS y JOIN pg_catalog.pg_type AS t ON t.oid = y.oid WHERE t.typtype = 'd'
)
SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS declared, format_type(y.oid, y.typmod) AS base, t.oid AS base_oid,
       t.typcategory, t.typname,
       has_column_privilege(a.attrelid, a.attnum, 'SELECT') AS may_select,
       has_column_privilege(a.attrelid, a.attnum, 'UPDATE') AS may_update,
       EXISTS (SELECT 1 FROM pg_catalog.pg_index AS i
                WHERE i.indrelid = a.attrelid AND i.indisunique AND i.indisvalid AND i.indimmediate
                  AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum) AS is_key
  FROM pg_catalog.pg_attribute AS a
  JOIN type AS y ON y.attnum = a.attnum
  JOIN pg_catalog.pg_type AS t ON t.oid = y.oid AND t.typtype <> 'd'
 WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum;

-- name: labels
-- $1 oid of an enum.
SELECT string_agg(enumlabel, ', ' ORDER BY enumsortorder) FROM pg_catalog.pg_enum WHERE enumtypid = $1::oid;

-- name: rights
-- The first right on the tables of unstuck that this role lacks. $1: whether jobs (own) or claims (mapped) are meant.
SELECT format('%s on unstuck.%s', need.what, need.tab)
  FROM (VALUES ('SELECT', 'workers', true), ('SELECT', 'jobs', $1::bool), ('UPDATE', 'jobs', $1::bool),
               ('SELECT', 'batches', $1::bool), ('SELECT', 'claim_batches', NOT $1::bool),
               ('SELECT', 'claims', NOT $1::bool), ('INSERT', 'claims', NOT $1::bool), ('UPDATE', 'claims', NOT $1::bool),
               ('INSERT', 'ledger', true)) AS need(what, tab, wanted)
 WHERE need.wanted AND NOT has_table_privilege('unstuck.' || need.tab, need.what)
   AND NOT (need.what = 'UPDATE' AND has_any_column_privilege('unstuck.' || need.tab, need.what))
 LIMIT 1;

-- name: own_table
SELECT 'unstuck.jobs'::regclass::oid;

-- name: zone
-- $1: fails when the server does not know it.
SELECT now() AT TIME ZONE $1::text;

-- name: row_triggers
-- $1 oid: AFTER UPDATE FOR EACH ROW triggers of the user's, that may write the row again.
SELECT string_agg(t.tgname, ', ' ORDER BY t.tgname)
  FROM pg_catalog.pg_trigger AS t
 WHERE t.tgrelid = $1::oid AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
   AND t.tgtype & 1 = 1 AND t.tgtype & 2 = 0 AND t.tgtype & 64 = 0 AND t.tgtype & 16 = 16;

-- name: plan_only
-- Inside a transaction: whatever index can be used is used, so that the plan tells whether there is one. A filter is dear, so that
-- the key's own index with one is no match for an index of the very rows, not even while nearly all rows are such.
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true),
       set_config('enable_bitmapscan', 'off', true), set_config('cpu_operator_cost', '100', true);
