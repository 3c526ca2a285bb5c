-- The log of a room beside Django's tables: its head, its events, the function
-- that appends a batch, and the trigger that numbers what others insert.
--
-- Needs PostgreSQL 14.  Applied after Django's migrations (or seed.sql), by the
-- owner of chat_chatmessage, with the tenant's schema first in search_path:
--
--   PGOPTIONS='-c search_path=localhost,public' \
--       psql -v ON_ERROR_STOP=1 -f sql/001_fcchat.sql
--
-- Forward only, safe to run again, owns nothing outside that schema.
--
-- A role that is not the owner of these tables needs, as in
--
--   GRANT USAGE ON SCHEMA localhost TO chat;
--   GRANT SELECT ON django_session, chat_chatroom, chat_chatmessage,
--       chat_chatstamp, streaming_stream TO chat;
--   GRANT SELECT (id, username, password, is_active, is_staff)
--       ON accounts_user TO chat;
--   GRANT INSERT ON chat_chatmessage, streaming_streamreaction TO chat;
--   GRANT USAGE ON SEQUENCE chat_chatmessage_id_seq,
--       streaming_streamreaction_id_seq TO chat;
--   GRANT SELECT, INSERT, UPDATE ON fcchat_head TO chat;
--   GRANT SELECT, INSERT ON fcchat_event TO chat;
--
-- and USAGE on public where Django keeps its users or sessions there.  SELECT ON
-- django_session is for the session engines db and cached_db; with the others
-- there need be no such table.  Whoever else inserts into chat_chatmessage needs
-- nothing: the trigger's function runs with its owner's rights.

BEGIN;

SET LOCAL client_min_messages TO warning;
SET LOCAL lock_timeout TO '10s';

-- A first schema that does not exist is skipped by PostgreSQL without a word,
-- and all of this would land in public.

DO $$
DECLARE
    wanted  text := (parse_ident(current_setting('search_path'), false))[1];
BEGIN
    IF wanted <> '$user' AND wanted IS DISTINCT FROM current_schema() THEN
        RAISE EXCEPTION 'schema "%" does not exist', wanted
            USING ERRCODE = 'invalid_schema_name';
    END IF;

    IF to_regclass(format('%I.chat_chatroom', current_schema())) IS NULL
       OR to_regclass(format('%I.chat_chatmessage', current_schema())) IS NULL
    THEN
        RAISE EXCEPTION 'schema "%" has no chat_chatroom and chat_chatmessage',
                        current_schema()
            USING ERRCODE = 'undefined_table',
                  HINT = 'First run Django''s migrations or apply seed.sql.';
    END IF;
END
$$;

-- what the functions take as theirs: the schemas that exist, and temporary
-- tables last, so that none can stand before a table of the site

SELECT set_config('search_path',
                  string_agg(quote_ident(s), ', ' ORDER BY o) || ', pg_temp',
                  true)
  FROM unnest(current_schemas(false)) WITH ORDINALITY AS path (s, o)

\g /dev/null


-- One row a room: the lock that puts appends in order, and the last number.
-- The epoch tells logs apart: it changes when the log may have gone back.

CREATE TABLE IF NOT EXISTS fcchat_head (
    room_id   bigint PRIMARY KEY,
    epoch     uuid NOT NULL DEFAULT gen_random_uuid(),
    last_seq  bigint NOT NULL DEFAULT 0
);

-- updated all the time: room for HOT updates, and vacuum at once

ALTER TABLE fcchat_head SET (
    fillfactor = 20,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_cost_delay = 0
);


-- One row an event, numbered 1, 2, 3... in each room without holes.  cid is the
-- sender's name for it (or one made by fcchat): sent again, it is one event.

CREATE TABLE IF NOT EXISTS fcchat_event (
    room_id     bigint NOT NULL,
    seq         bigint NOT NULL,
    message_id  bigint,
    user_id     bigint,
    at          timestamptz NOT NULL,
    kind        text NOT NULL DEFAULT 'message',
    cid         text COLLATE "C",
    PRIMARY KEY (room_id, seq)
);

CREATE UNIQUE INDEX IF NOT EXISTS fcchat_event_cid
    ON fcchat_event (room_id, user_id, cid) WHERE cid IS NOT NULL;


-- Appends a batch; the arrays are equally long, and one row comes back for each
-- item, with its ordinal:
--
--   ok      stored, with its number
--   again   (room, user, cid) was there, in the log or earlier in this batch:
--           the number, id and time are the first one's
--   room    the room is gone or not active: nothing stored
--   user    the user is gone or not active: nothing stored
--   busy    somebody else has the room's head: nothing stored yet
--
-- at: milliseconds of the Unix epoch.
--
-- The locks are held until commit, so numbers are in commit order and a
-- rollback leaves no hole.  They are taken by room_id, after the heads that
-- were missing are there, so that batches of several rooms do not deadlock.
-- What follows is a statement of its own, whose snapshot is younger than the
-- locks: it sees the cids and the number that the last holder committed.
--
-- A transaction of the site may hold a head for long, or the row of a user or
-- a room, which foreign keys ask for when the commit comes.  A patient call
-- waits half a second, and fails with lock_not_available, or its commit does;
-- one that is not waits 5 ms, serves the rooms whose heads are free, and says
-- busy for the others.
--
-- Plans are the generic ones by index, made once for a connection: a batch has
-- one row or a thousand, tables may have grown from nothing since the last
-- ANALYZE, and planning would cost more than running.  What is looked up for
-- each item is written so that nothing but its index can serve: a join with an
-- empty table may become a scan of all of it, for as long as the plan lives.

CREATE OR REPLACE FUNCTION fcchat_append(rooms bigint[], users bigint[],
    cids text[], texts text[], patient boolean)
RETURNS TABLE (item bigint, status text, seq bigint, id bigint, at bigint,
    epoch uuid)
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
SET timezone TO 'UTC'
SET plan_cache_mode TO 'force_generic_plan'
SET enable_seqscan TO 'off'
SET enable_hashjoin TO 'off'
SET enable_mergejoin TO 'off'
AS $$
#variable_conflict use_column
DECLARE
    numbering  text;
    moment     timestamptz;
    held       bigint[];

    -- of an item that is alone
    o_room     bigint;
    o_user     bigint;
    o_cid      text;
    o_log      uuid;
    o_last     bigint;
    o_id       bigint;

    -- an element for each item; first: the ordinal of the first item with the
    -- same cid, its own as a rule; place: among the fresh ones
    a_status   text[];
    a_first    bigint[];
    a_place    bigint[];
    a_seq      bigint[];
    a_id       bigint[];
    a_at       timestamptz[];
    a_epoch    uuid[];

    -- an element for each fresh item
    f_room     bigint[];
    f_user     bigint[];
    f_cid      text[];
    f_text     text[];
    f_seq      bigint[];
    f_id       bigint[];
BEGIN
    IF current_setting('synchronous_commit') IN ('off', 'local') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;

    -- What was locked a moment ago must not hold up other schemas for long.
    -- It holds for the commit as well, where a SET above would have ended.
    -- Assigned, not PERFORMed: an expression needs no executor.

    status := set_config('lock_timeout',
                         CASE WHEN patient THEN '500ms' ELSE '5ms' END, true);

    -- What a batch of one is as a rule, in plain statements: to start the
    -- executor for what follows takes longer than to run it.  Whatever is out
    -- of the ordinary is left to what follows; the lock is had already then.

    IF patient AND cardinality(rooms) = 1 THEN
        o_room := rooms[1];
        o_user := users[1];
        o_cid := cids[1];

        -- this is the lock, too; what follows has a younger snapshot

        UPDATE fcchat_head h
           SET last_seq = h.last_seq + 1
         WHERE h.room_id = o_room
        RETURNING h.epoch, h.last_seq INTO o_log, o_last;

        IF o_log IS NOT NULL THEN
            moment := date_trunc('milliseconds', clock_timestamp());
            numbering := coalesce(current_setting('fcchat.numbering', true),
                                  '');

            status := set_config('fcchat.numbering', 'off', true);

            INSERT INTO chat_chatmessage (room_id, user_id, content,
                message_type, is_deleted, is_pinned, created_at)
            SELECT o_room, o_user, texts[1], 'message', false, false, moment
             WHERE (SELECT r.is_active FROM chat_chatroom r
                     WHERE r.id = o_room)
               AND (SELECT u.is_active FROM accounts_user u
                     WHERE u.id = o_user)
               AND (SELECT l.seq FROM fcchat_event l
                     WHERE l.room_id = o_room
                       AND l.user_id = o_user
                       AND l.cid = o_cid) IS NULL
            RETURNING id INTO o_id;

            status := set_config('fcchat.numbering', numbering, true);

            IF o_id IS NOT NULL THEN
                INSERT INTO fcchat_event (room_id, seq, message_id, user_id,
                    at, cid)
                VALUES (o_room, o_last, o_id, o_user, moment, o_cid);

                item := 1;
                status := 'ok';
                seq := o_last;
                id := o_id;
                at := floor(extract(epoch FROM moment) * 1000)::bigint;
                epoch := o_log;
                RETURN NEXT;
                RETURN;
            END IF;

            UPDATE fcchat_head h
               SET last_seq = h.last_seq - 1
             WHERE h.room_id = o_room;
        END IF;
    END IF;

    INSERT INTO fcchat_head (room_id)
    SELECT r.id
      FROM chat_chatroom r
     WHERE r.id = ANY (rooms)
       AND r.is_active
       AND (SELECT h.room_id FROM fcchat_head h WHERE h.room_id = r.id) IS NULL
     ORDER BY r.id
        ON CONFLICT DO NOTHING;

    IF patient THEN
        PERFORM FROM fcchat_head h
          WHERE h.room_id = ANY (rooms)
          ORDER BY h.room_id
            FOR NO KEY UPDATE;

    ELSE
        SELECT coalesce(array_agg(l.room_id), '{}') INTO held
          FROM (SELECT h.room_id FROM fcchat_head h
                 WHERE h.room_id = ANY (rooms)
                 ORDER BY h.room_id
                   FOR NO KEY UPDATE SKIP LOCKED) l;
    END IF;

    moment := date_trunc('milliseconds', clock_timestamp());

    SELECT array_agg(o.status), array_agg(o.first), array_agg(o.place),
           array_agg(o.seq), array_agg(o.id), array_agg(o.at),
           array_agg(o.epoch),
           array_agg(o.room) FILTER (WHERE o.status = 'ok'),
           array_agg(o.usr) FILTER (WHERE o.status = 'ok'),
           array_agg(o.cid) FILTER (WHERE o.status = 'ok'),
           array_agg(o.txt) FILTER (WHERE o.status = 'ok'),
           array_agg(o.seq) FILTER (WHERE o.status = 'ok')
      INTO a_status, a_first, a_place, a_seq, a_id, a_at, a_epoch,
           f_room, f_user, f_cid, f_text, f_seq
      FROM (
        SELECT g.status, g.first, g.epoch, g.room, g.usr, g.cid, g.txt,
               coalesce(g.id, 0) AS id, coalesce(g.at, moment) AS at,
               CASE WHEN g.status = 'ok'
                    THEN g.last_seq
                         + count(*) FILTER (WHERE g.status = 'ok')
                               OVER (PARTITION BY g.room ORDER BY g.n)
                    ELSE coalesce(g.seq, 0)
               END AS seq,
               count(*) FILTER (WHERE g.status = 'ok') OVER (ORDER BY g.n)
                   AS place
          FROM (
            SELECT i.n, i.room, i.usr, i.cid, i.txt,
                   h.epoch, h.last_seq, e.seq, e.message_id AS id, e.at,
                   CASE WHEN r.id IS NULL OR h.room_id IS NULL THEN 'room'
                        WHEN u.id IS NULL THEN 'user'
                        WHEN i.room <> ALL (held) THEN 'busy'
                        WHEN e.seq IS NOT NULL THEN 'again'
                        WHEN i.cid IS NOT NULL
                             AND first_value(i.n) OVER same < i.n
                        THEN 'again'
                        ELSE 'ok'
                   END AS status,
                   CASE WHEN i.cid IS NULL THEN i.n
                        ELSE first_value(i.n) OVER same
                   END AS first
              FROM unnest(rooms, users, cids, texts)
                       WITH ORDINALITY AS i (room, usr, cid, txt, n)
                   LEFT JOIN fcchat_head h ON h.room_id = i.room
                   LEFT JOIN chat_chatroom r ON r.id = i.room AND r.is_active
                   LEFT JOIN accounts_user u ON u.id = i.usr AND u.is_active
                   LEFT JOIN LATERAL (
                       SELECT l.seq, l.message_id, l.at
                         FROM fcchat_event l
                        WHERE l.room_id = i.room
                          AND l.user_id = i.usr
                          AND l.cid = i.cid
                        LIMIT 1
                   ) e ON true
            WINDOW same AS (PARTITION BY i.room, i.usr, i.cid COLLATE "C"
                            ORDER BY i.n)
          ) g
         ORDER BY g.n
      ) o;

    IF f_room IS NOT NULL THEN
        numbering := coalesce(current_setting('fcchat.numbering', true), '');
        PERFORM set_config('fcchat.numbering', 'off', true);

        WITH stored AS (
            INSERT INTO chat_chatmessage (room_id, user_id, content,
                message_type, is_deleted, is_pinned, created_at)
            SELECT f.room, f.usr, f.txt, 'message', false, false, moment
              FROM unnest(f_room, f_user, f_text)
                       WITH ORDINALITY AS f (room, usr, txt, place)
             ORDER BY f.place
            RETURNING id
        )
        SELECT array_agg(s.id) INTO f_id
          FROM (SELECT id FROM stored ORDER BY id) s;

        PERFORM set_config('fcchat.numbering', numbering, true);

        IF cardinality(f_id) IS DISTINCT FROM cardinality(f_room) THEN
            RAISE EXCEPTION 'a trigger of chat_chatmessage left out a row';
        END IF;

        INSERT INTO fcchat_event (room_id, seq, message_id, user_id, at, cid)
        SELECT f.room, f.seq, f.id, f.usr, moment, f.cid
          FROM unnest(f_room, f_seq, f_id, f_user, f_cid)
                   AS f (room, seq, id, usr, cid);

        UPDATE fcchat_head h
           SET last_seq = f.seq
          FROM (SELECT room, max(seq) AS seq
                  FROM unnest(f_room, f_seq) AS u (room, seq)
                 GROUP BY room) f
         WHERE h.room_id = f.room;
    END IF;

    RETURN QUERY
    SELECT a.n, a.status,
           CASE WHEN a.seq > 0 OR a.status <> 'again' THEN a.seq
                ELSE a_seq[a.first]
           END,
           CASE WHEN a.id > 0 THEN a.id
                WHEN a.status IN ('ok', 'again') THEN f_id[a_place[a.first]]
                ELSE 0
           END,
           floor(extract(epoch FROM a.at) * 1000)::bigint,
           a.epoch
      FROM unnest(a_status, a_first, a_seq, a_id, a_at, a_epoch)
               WITH ORDINALITY AS a (status, first, seq, id, at, epoch, n);
END
$$;


-- An active room by name with the head of its log, which is made here, so that
-- the epoch is the same from the first viewer on.  A standby can't make it:
-- there epoch is NULL until the first viewer of the primary came.

CREATE OR REPLACE FUNCTION fcchat_room(wanted text)
RETURNS TABLE (id bigint, stream_id bigint, epoch uuid, last_seq bigint)
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT r.id::bigint, r.stream_id::bigint, h.epoch, coalesce(h.last_seq, 0)
      FROM chat_chatroom r LEFT JOIN fcchat_head h ON h.room_id = r.id
     WHERE r.name = wanted AND r.is_active
       AND (h.room_id IS NOT NULL
            OR current_setting('transaction_read_only') = 'on');

    IF FOUND OR current_setting('transaction_read_only') = 'on' THEN
        RETURN;
    END IF;

    INSERT INTO fcchat_head (room_id)
    SELECT r.id FROM chat_chatroom r WHERE r.name = wanted AND r.is_active
        ON CONFLICT DO NOTHING;

    RETURN QUERY
    SELECT r.id::bigint, r.stream_id::bigint, h.epoch, h.last_seq
      FROM chat_chatroom r JOIN fcchat_head h ON h.room_id = r.id
     WHERE r.name = wanted AND r.is_active;
END
$$;


-- Rows that somebody else inserts into chat_chatmessage (Django, an admin) are
-- events too: numbered in the order of their ids, under the same locks, held
-- until that transaction ends.  To load old rows without numbering them, set
-- fcchat.numbering to off in the transaction, as fcchat_append() does for its
-- own.  Rows older than this file stay unnumbered.
--
-- Runs as its owner: who may insert messages need not know these tables.

CREATE OR REPLACE FUNCTION fcchat_number()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
SET timezone TO 'UTC'
AS $$
BEGIN
    IF TG_TABLE_SCHEMA <> current_schema() THEN
        RAISE EXCEPTION 'the functions of fcchat in schema "%" are those of "%"',
                        TG_TABLE_SCHEMA, current_schema()
            USING HINT = 'It was renamed: apply all of sql/ to it again.';
    END IF;

    INSERT INTO fcchat_head (room_id)
    SELECT DISTINCT a.room_id FROM added a
     WHERE NOT EXISTS (SELECT FROM fcchat_head h WHERE h.room_id = a.room_id)
     ORDER BY a.room_id
        ON CONFLICT DO NOTHING;

    PERFORM FROM fcchat_head h
      WHERE h.room_id IN (SELECT a.room_id FROM added a)
      ORDER BY h.room_id
        FOR NO KEY UPDATE;

    WITH logged AS (
        INSERT INTO fcchat_event (room_id, seq, message_id, user_id, at)
        SELECT a.room_id,
               h.last_seq
               + row_number() OVER (PARTITION BY a.room_id ORDER BY a.id),
               a.id, a.user_id,
               date_trunc('milliseconds',
                          coalesce(a.created_at, clock_timestamp()))
          FROM added a JOIN fcchat_head h ON h.room_id = a.room_id
        RETURNING room_id, seq
    )
    UPDATE fcchat_head h
       SET last_seq = l.seq
      FROM (SELECT room_id, max(seq) AS seq FROM logged GROUP BY room_id) l
     WHERE h.room_id = l.room_id;

    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION fcchat_number() FROM PUBLIC;

CREATE OR REPLACE TRIGGER fcchat_number
    AFTER INSERT ON chat_chatmessage
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT
    WHEN (coalesce(current_setting('fcchat.numbering', true), '') <> 'off')
    EXECUTE FUNCTION fcchat_number();

COMMIT;
