-- For the HTTP API: system messages of the site's own back end.  Without this
-- file all else of the API works.
--
-- Applied as 001_fcchat.sql, after it.  Forward only, safe to run again, owns
-- nothing outside that schema.  A role that is not the owner needs what is
-- listed there and, for the totals of reactions,
--
--   GRANT SELECT ON streaming_streamreaction TO chat;

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

    IF to_regclass(format('%I.fcchat_event', current_schema())) IS NULL THEN
        RAISE EXCEPTION 'schema "%" has no fcchat_event', current_schema()
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


-- The unique index of 001 tells users apart; this one is for what has no user.

CREATE UNIQUE INDEX IF NOT EXISTS fcchat_event_server
    ON fcchat_event (room_id, cid)
 WHERE user_id IS NULL AND cid IS NOT NULL AND kind = 'message';


-- Appends a message of type "system" that no user sent.  One row:
--
--   ok      stored, with its number
--   again   the cid was there: the number, id and time are the first one's
--   room    the room is gone or not active: nothing stored
--
-- at: milliseconds of the Unix epoch.  Takes the lock of fcchat_append(), and
-- looks for the cid in a statement of its own after it, for the same reasons.

CREATE OR REPLACE FUNCTION fcchat_publish(o_room bigint, o_cid text,
    o_text text)
RETURNS TABLE (status text, seq bigint, id bigint, at bigint, epoch uuid)
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
SET timezone TO 'UTC'
SET plan_cache_mode TO 'force_generic_plan'
AS $$
#variable_conflict use_column
DECLARE
    numbering  text;
    moment     timestamptz;
    o_next     bigint;
BEGIN
    IF current_setting('synchronous_commit') IN ('off', 'local') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;

    INSERT INTO fcchat_head (room_id)
    SELECT r.id FROM chat_chatroom r WHERE r.id = o_room AND r.is_active
        ON CONFLICT DO NOTHING;

    SELECT h.epoch, h.last_seq + 1 INTO epoch, o_next
      FROM fcchat_head h
     WHERE h.room_id = o_room
       FOR NO KEY UPDATE;

    SELECT 'again', e.seq, e.message_id, e.at INTO status, seq, id, moment
      FROM fcchat_event e
     WHERE e.room_id = o_room
       AND e.user_id IS NULL
       AND e.kind = 'message'
       AND e.cid = o_cid;

    IF NOT FOUND THEN
        moment := date_trunc('milliseconds', clock_timestamp());
        numbering := coalesce(current_setting('fcchat.numbering', true), '');

        PERFORM set_config('fcchat.numbering', 'off', true);

        INSERT INTO chat_chatmessage (room_id, user_id, content, message_type,
            is_deleted, is_pinned, created_at)
        SELECT r.id, NULL, o_text, 'system', false, false, moment
          FROM chat_chatroom r
         WHERE r.id = o_room AND r.is_active
        RETURNING id INTO id;

        PERFORM set_config('fcchat.numbering', numbering, true);

        IF id IS NULL THEN
            status := 'room';
            RETURN NEXT;
            RETURN;
        END IF;

        INSERT INTO fcchat_event (room_id, seq, message_id, at, cid)
        VALUES (o_room, o_next, id, moment, o_cid);

        UPDATE fcchat_head h SET last_seq = o_next WHERE h.room_id = o_room;

        status := 'ok';
        seq := o_next;
    END IF;

    at := floor(extract(epoch FROM moment) * 1000)::bigint;
    RETURN NEXT;
END
$$;

COMMIT;
