-- The head of a room that a query of the site has found (fcchat_query room).
--
-- Needs 001_fcchat.sql, and is applied as that is:
--
--   PGOPTIONS='-c search_path=localhost,public' \
--       psql -v ON_ERROR_STOP=1 -f sql/004_fcchat_retention.sql
--
-- Forward only, safe to run again, owns nothing outside that schema.

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

-- what the functions take as theirs, as in 001_fcchat.sql

SELECT set_config('search_path',
                  string_agg(quote_ident(s), ', ' ORDER BY o) || ', pg_temp',
                  true)
  FROM unnest(current_schemas(false)) WITH ORDINALITY AS path (s, o)

\g /dev/null


-- The head of a room's log, which is made here, as by fcchat_room(): for rooms
-- that fcchat_query looks up.

CREATE OR REPLACE FUNCTION fcchat_open(room bigint)
RETURNS TABLE (epoch uuid, last_seq bigint)
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
BEGIN
    IF current_setting('transaction_read_only') = 'off'
       AND NOT EXISTS (SELECT FROM fcchat_head h WHERE h.room_id = room)
    THEN
        INSERT INTO fcchat_head (room_id) VALUES (room) ON CONFLICT DO NOTHING;
    END IF;

    RETURN QUERY
    SELECT h.epoch, coalesce(h.last_seq, 0)
      FROM (SELECT room) AS r (id) LEFT JOIN fcchat_head h ON h.room_id = r.id;
END
$$;

COMMIT;
