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
  SELECT u.id::{id_type} AS key, u.token FROM unnest($1::text[], $2::text[]) AS u(id, token)
   ORDER BY 1
), ask AS (
  SELECT make_interval(secs => $3::float8) AS timeout, $4::bool AS ignore_liveness, $5::int AS recoveries
), locked AS MATERIALIZED (
  SELECT r.key, l.id
    FROM r CROSS JOIN LATERAL (
           SELECT t.{id}::text AS id FROM {table} AS t
            WHERE t.{id} = r.key
              AND CASE WHEN t.{status} = {processing} AND t.xmin::text = r.token
                        AND {touched} < statement_timestamp() - (SELECT timeout FROM ask) THEN true END
              FOR NO KEY UPDATE SKIP LOCKED) AS l
)
UPDATE {table} AS t SET {status} = {reset_to}{set_updated_at}
  FROM locked AS l
 WHERE t.{id} = ANY (ARRAY[l.key])
RETURNING l.id, 'reset' AS action, 'timeout' AS reason;

-- name: processing
SELECT count(*) FROM {table} AS t WHERE t.{status} = {processing};

-- name: ageless
SELECT count(*) FROM {table} AS t WHERE t.{status} = {processing} AND {touched} IS NULL;
