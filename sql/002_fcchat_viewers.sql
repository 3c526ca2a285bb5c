-- How many watch a room on each worker, for the others to read while there is
-- no Redis.  Without this file each worker counts its own readers then.
--
-- Needs 001_fcchat.sql, and is applied as that is:
--
--   PGOPTIONS='-c search_path=localhost,public' \
--       psql -v ON_ERROR_STOP=1 -f sql/002_fcchat_viewers.sql
--
-- Forward only, safe to run again, owns nothing outside that schema.
--
-- A role that is not the owner of the table needs
--
--   GRANT SELECT, INSERT, UPDATE, DELETE ON fcchat_viewers TO chat;

BEGIN;

SET LOCAL client_min_messages TO warning;
SET LOCAL lock_timeout TO '10s';

DO $$
DECLARE
    wanted  text := (parse_ident(current_setting('search_path'), false))[1];
BEGIN
    IF wanted <> '$user' AND wanted IS DISTINCT FROM current_schema() THEN
        RAISE EXCEPTION 'schema "%" does not exist', wanted
            USING ERRCODE = 'invalid_schema_name';
    END IF;

    IF to_regclass(format('%I.fcchat_head', current_schema())) IS NULL THEN
        RAISE EXCEPTION 'schema "%" has no fcchat_head', current_schema()
            USING ERRCODE = 'undefined_table',
                  HINT = 'First apply sql/001_fcchat.sql.';
    END IF;
END
$$;

-- what the function takes as its own, as in 001_fcchat.sql

SELECT set_config('search_path',
                  string_agg(quote_ident(s), ', ' ORDER BY o) || ', pg_temp',
                  true)
  FROM unnest(current_schemas(false)) WITH ORDINALITY AS path (s, o)

\g /dev/null


-- Worth a few seconds, so a crash may empty it.

CREATE UNLOGGED TABLE IF NOT EXISTS fcchat_viewers (
    room_id  bigint NOT NULL,
    worker   text COLLATE "C" NOT NULL,
    viewers  bigint NOT NULL,
    seen     timestamptz NOT NULL,
    PRIMARY KEY (room_id, worker)
);

-- updated all the time: room for HOT updates, and vacuum at once

ALTER TABLE fcchat_viewers SET (
    fillfactor = 20,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_cost_delay = 0
);


-- Stores the counts of one worker, and returns those of the others that were
-- heard of within five seconds, with their age in milliseconds.  The arrays are
-- equally long and name a room once.
--
-- Nobody but the worker itself writes its rows.  Now and then one of the calls
-- sweeps up what was left by workers that are no more: not each time, as that
-- reads the whole table, and a thousand at most.
--
-- Where nothing can be written it only reads, and on a standby, which has no
-- unlogged tables, it knows of nobody.  Whoever locks the table is not waited
-- for.

CREATE OR REPLACE FUNCTION fcchat_viewers(me text, rooms bigint[],
    counts bigint[])
RETURNS TABLE (room_id bigint, worker text, viewers bigint, age bigint)
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
SET plan_cache_mode TO 'force_generic_plan'
SET enable_seqscan TO 'off'
SET lock_timeout TO '100ms'
AS $$
#variable_conflict use_column
DECLARE
    moment  timestamptz := clock_timestamp();
BEGIN
    IF pg_is_in_recovery() THEN
        RETURN;
    END IF;

    IF current_setting('transaction_read_only') = 'off' THEN
        INSERT INTO fcchat_viewers AS v (room_id, worker, viewers, seen)
        SELECT c.room, me, c.n, moment
          FROM unnest(rooms, counts) AS c (room, n)
         ORDER BY c.room
            ON CONFLICT ON CONSTRAINT fcchat_viewers_pkey DO UPDATE
           SET viewers = excluded.viewers, seen = excluded.seen;

        IF random() < 0.02 THEN
            DELETE FROM fcchat_viewers v
             WHERE v.ctid = ANY (ARRAY(
                       SELECT o.ctid FROM fcchat_viewers o
                        WHERE o.seen < moment - interval '1 minute'
                        LIMIT 1000
                          FOR UPDATE SKIP LOCKED));
        END IF;
    END IF;

    RETURN QUERY
    SELECT v.room_id, v.worker, v.viewers,
           greatest(0, floor(extract(epoch FROM moment - v.seen) * 1000))::bigint
      FROM fcchat_viewers v
     WHERE v.room_id = ANY (rooms)
       AND v.worker <> me
       AND v.seen > moment - interval '5 seconds'
     LIMIT 20000;
END
$$;

COMMIT;
