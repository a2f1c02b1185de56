-- claim
there is no schema unstuck in this database: run unstuckctl init;

-- claim_new
there is no schema unstuck in this database: run unstuckctl init;

-- before_claim
there is no schema unstuck in this database: run unstuckctl init;

-- complete
there is no schema unstuck in this database: run unstuckctl init;

-- complete_all
there is no schema unstuck in this database: run unstuckctl init;

-- complete_placed
there is no schema unstuck in this database: run unstuckctl init;

-- fail
there is no schema unstuck in this database: run unstuckctl init;

-- late
there is no schema unstuck in this database: run unstuckctl init;

-- forget
there is no schema unstuck in this database: run unstuckctl init;

-- release
there is no schema unstuck in this database: run unstuckctl init;

-- release_all
there is no schema unstuck in this database: run unstuckctl init;

-- classify
there is no schema unstuck in this database: run unstuckctl init;

-- adoptable
there is no schema unstuck in this database: run unstuckctl init;

-- adopt
there is no schema unstuck in this database: run unstuckctl init;

-- adopt_all
there is no schema unstuck in this database: run unstuckctl init;

-- spoil
there is no schema unstuck in this database: run unstuckctl init;

-- status
there is no schema unstuck in this database: run unstuckctl init;

-- held
there is no schema unstuck in this database: run unstuckctl init;

-- stuck
WITH ask AS (
  SELECT make_interval(secs => $1::float8) AS timeout, $2::bool AS ignore_liveness, $3::bool AS alive, $6::int AS recoveries
), found AS (
  SELECT t."id"::text AS id, t.xmin::text AS token, (t."updated_at" AT TIME ZONE 'UTC') AS since, '{}'::json AS show
    FROM "public"."videos" AS t
   WHERE t."status" = 'PROCESSING' AND (t."updated_at" AT TIME ZONE 'UTC') < statement_timestamp() - (SELECT timeout FROM ask)
)
SELECT f.id, f.token, to_char(f.since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since,
       trunc(extract(epoch FROM statement_timestamp() - f.since))::bigint AS age_s, NULL::text AS worker,
       'timeout' AS reason, 'reset' AS action, f.show::text AS show,
       format('no worker known; untouched for %s s', trunc(extract(epoch FROM statement_timestamp() - f.since))) AS observed
  FROM found AS f
 ORDER BY f.since, f.id
 LIMIT $4::int OFFSET $5::int;

-- reset
WITH r AS MATERIALIZED (
  SELECT u.id::integer AS key, u.token FROM unnest($1::text[], $2::text[]) AS u(id, token)
   ORDER BY 1
), ask AS (
  SELECT make_interval(secs => $3::float8) AS timeout, $4::bool AS ignore_liveness, $5::int AS recoveries
), locked AS MATERIALIZED (
  SELECT r.key, l.id
    FROM r CROSS JOIN LATERAL (
           SELECT t."id"::text AS id FROM "public"."videos" AS t
            WHERE t."id" = r.key
              AND CASE WHEN t."status" = 'PROCESSING' AND t.xmin::text = r.token
                        AND (t."updated_at" AT TIME ZONE 'UTC') < statement_timestamp() - (SELECT timeout FROM ask) THEN true END
              FOR NO KEY UPDATE SKIP LOCKED) AS l
)
UPDATE "public"."videos" AS t SET "status" = 'READY', "updated_at" = clock_timestamp() AT TIME ZONE 'UTC'
  FROM locked AS l
 WHERE t."id" = ANY (ARRAY[l.key])
RETURNING l.id, 'reset' AS action, 'timeout' AS reason;

-- processing
SELECT count(*) FROM "public"."videos" AS t WHERE t."status" = 'PROCESSING';

-- ageless
SELECT count(*) FROM "public"."videos" AS t WHERE t."status" = 'PROCESSING' AND (t."updated_at" AT TIME ZONE 'UTC') IS NULL;

