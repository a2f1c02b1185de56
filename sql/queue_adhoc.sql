-- queue_adhoc.sql - recovery of any table with nothing of ours in the database: age alone decides,
-- there is no ledger and no poison limit. Parameters and columns are those of queue_mapped.sql.

-- name: stuck
-- $2, $3 and $6 have no meaning here: there are no owners and no counts.
WITH ask AS (
  SELECT make_interval(secs => $1::float8) AS timeout, $2::bool AS ignore_liveness, $3::bool AS alive, $6::int AS recoveries
), found AS (
  SELECT t.{id}::text AS id, t.xmin::text AS token, {touched} AS since, {show} AS show
    FROM {table} AS t
   WHERE t.{status} = {processing} AND {touched} < statement_timestamp() - (SELECT timeout FROM ask)
)
SELECT f.id, f.token, to_char(f.since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since,
       trunc(extract(epoch FROM statement_timestamp() - f.since))::bigint AS age_s, NULL::text AS worker,
       'timeout' AS reason, 'reset' AS action, f.show::text AS show,
       format('no worker known; untouched for %s s', trunc(extract(epoch FROM statement_timestamp() - f.since))) AS observed
  FROM found AS f
 ORDER BY f.since, f.id
 LIMIT $4::int OFFSET $5::int;

-- name: reset
WITH r AS MATERIALIZED (
  SELECT * FROM unnest($1::text[], $2::text[]) AS r(id, token)
), ask AS (
  SELECT make_interval(secs => $3::float8) AS timeout, $4::bool AS ignore_liveness, $5::int AS recoveries
), locked AS MATERIALIZED (
  SELECT t.{id} AS key, t.{id}::text AS id, t.xmin::text AS token
    FROM {table} AS t
   WHERE t.{id} = ANY ($1::text[]::{id_type}[]) AND t.{status} = {processing}
     AND {touched} < statement_timestamp() - (SELECT timeout FROM ask)
   ORDER BY t.{id}
   FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE {table} AS t SET {status} = {reset_to}{set_updated_at}
  FROM locked AS l JOIN r ON r.id = l.id AND r.token = l.token
 WHERE t.{id} = ANY ($1::text[]::{id_type}[]) AND t.{id} = l.key
RETURNING l.id, 'reset' AS action, 'timeout' AS reason;

-- name: processing
SELECT count(*) FROM {table} AS t WHERE t.{status} = {processing};

-- name: ageless
SELECT count(*) FROM {table} AS t WHERE t.{status} = {processing} AND {touched} IS NULL;
