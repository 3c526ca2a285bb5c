-- What fcchat_retention deletes, and the head of a room that a query of the site
-- has found (fcchat_query room).
--
-- Needs 001_fcchat.sql, and is applied as that is:
--
--   PGOPTIONS='-c search_path=localhost,public' \
--       psql -v ON_ERROR_STOP=1 -f sql/004_fcchat_retention.sql
--
-- Forward only, safe to run again, owns nothing outside that schema.
--
-- A role that is not the owner of the tables needs for fcchat_retention
--
--   GRANT DELETE ON chat_chatmessage, fcchat_event,
--       streaming_streamreaction TO chat;
--   GRANT SELECT, UPDATE (id) ON streaming_streamreaction TO chat;
--   GRANT UPDATE (is_pinned) ON chat_chatmessage TO chat;
--   GRANT SELECT, INSERT, UPDATE ON fcchat_retention TO chat;

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


-- The indexes that the seed names, where the table has none that begins with the
-- same columns, under whatever name.  They serve fcchat_retain() and the totals
-- of reactions.  On a long table this takes its time, and whoever writes waits: a
-- busy site makes them with CREATE INDEX CONCURRENTLY before.

DO $$
DECLARE
    want  record;
    tab   regclass;
    cols  smallint[];
BEGIN
    FOR want IN
        SELECT *
          FROM (VALUES
            ('idx_chatmessage_room_created', 'chat_chatmessage',
             ARRAY['room_id', 'created_at'], 'room_id, created_at DESC'),
            ('idx_chatmessage_user', 'chat_chatmessage',
             ARRAY['user_id'], 'user_id'),
            ('streaming_s_stream_0c7fc7_idx', 'streaming_streamreaction',
             ARRAY['stream_id', 'created_at'], 'stream_id, created_at DESC'),
            ('streaming_s_stamp_i_26798f_idx', 'streaming_streamreaction',
             ARRAY['stamp_id', 'created_at'], 'stamp_id, created_at DESC')
          ) AS w (name, tab, cols, def)
    LOOP
        tab := to_regclass(format('%I.%I', current_schema(), want.tab));

        IF tab IS NULL
           OR (SELECT c.relkind FROM pg_class c WHERE c.oid = tab)
              NOT IN ('r', 'p')
        THEN
            CONTINUE;
        END IF;

        SELECT array_agg(a.attnum ORDER BY array_position(want.cols,
                                                          a.attname::text))
          INTO cols
          FROM pg_attribute a
         WHERE a.attrelid = tab AND a.attname = ANY (want.cols);

        IF NOT EXISTS (
            SELECT FROM pg_index i
             WHERE i.indrelid = tab AND i.indisvalid AND i.indpred IS NULL
               AND (string_to_array(i.indkey::text, ' ')::smallint[])
                   [1:cardinality(cols)] = cols)
        THEN
            EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON %s (%s)',
                           want.name, tab, want.def);
        END IF;
    END LOOP;
END
$$;


-- The run that is under way, or was last: whose it is, where it has come to, and
-- what it deleted.  One row.

CREATE TABLE IF NOT EXISTS fcchat_retention (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    worker     text NOT NULL DEFAULT '',
    seen       timestamptz NOT NULL DEFAULT '-infinity',
    began      timestamptz,
    ended      timestamptz NOT NULL DEFAULT '-infinity',
    phase      text NOT NULL DEFAULT '',
    place      bigint NOT NULL DEFAULT 0,
    seq        bigint NOT NULL DEFAULT 0,
    at         timestamptz NOT NULL DEFAULT '-infinity',
    id         bigint NOT NULL DEFAULT 0,
    messages   bigint NOT NULL DEFAULT 0,
    events     bigint NOT NULL DEFAULT 0,
    reactions  bigint NOT NULL DEFAULT 0,
    bans       bigint NOT NULL DEFAULT 0,
    kept       bigint NOT NULL DEFAULT 0
);

ALTER TABLE fcchat_retention SET (
    fillfactor = 20,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_scale_factor = 0
);


-- Deletes these messages, and returns how many it could: one that a table of the
-- site refers to stays, and the others go all the same.  Such a table needs an
-- index on that column, as Django makes it.

CREATE OR REPLACE FUNCTION fcchat_retain_messages(ids bigint[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
SET plan_cache_mode TO 'force_generic_plan'
SET enable_seqscan TO 'off'
SET jit TO 'off'
AS $$
DECLARE
    one   bigint;
    n     bigint;
    gone  bigint := 0;
BEGIN
    -- Django's foreign keys are deferred to the commit, where nothing could be
    -- done about them any more

    SET CONSTRAINTS ALL IMMEDIATE;

    BEGIN
        DELETE FROM chat_chatmessage m WHERE m.id = ANY (ids);
        GET DIAGNOSTICS gone = ROW_COUNT;
        RETURN gone;

    EXCEPTION WHEN foreign_key_violation OR restrict_violation THEN
        NULL;
    END;

    FOREACH one IN ARRAY ids LOOP
        BEGIN
            DELETE FROM chat_chatmessage m WHERE m.id = one;
            GET DIAGNOSTICS n = ROW_COUNT;
            gone := gone + n;

        EXCEPTION WHEN foreign_key_violation OR restrict_violation THEN
            NULL;
        END;
    END LOOP;

    RETURN gone;
END
$$;


-- A step of deleting what is older than so many seconds: at most so many rows,
-- in a transaction of its own.  Between two runs is a rest, in seconds.  What
-- came of it:
--
--   more    go on after a pause
--   done    that was the last step of this run
--   rest    the last run ended not long ago
--   other   another worker does it
--   busy    and is at a step just now, or nothing can be written here
--
-- wait: ms until it is worth to ask again; finished: when the last run ended, in
-- seconds of the Unix epoch, or 0.
--
-- The advisory lock lets one step run at a time; it ends with its transaction,
-- also when the connection is lost.  Where a run has come to is in the table, so
-- that another worker goes on with it when nothing was heard of the first one
-- for 30 seconds.
--
-- Of a room's log the oldest events go, up to the first one that is not old: so
-- it has no holes above what is left, but for messages that are kept.  Then
-- messages that are old without being in that part: those without a number, and
-- those that were inserted with an old date, whose number stays "deleted" until
-- its turn comes.  The head and its number stay.
--
-- Pinned messages stay, and those that a table of the site refers to.  What
-- somebody has locked is left to the next run.  fcchat_audit is not touched.
--
-- Without jit: what is planned in here without an index, as the check of a
-- foreign key that has none, looks dear, and would be compiled for each row.

CREATE OR REPLACE FUNCTION fcchat_retain(me text, age bigint, rest bigint,
    most bigint)
RETURNS TABLE (state text, messages bigint, events bigint, reactions bigint,
    bans bigint, kept bigint, wait bigint, finished bigint)
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
SET timezone TO 'UTC'
SET plan_cache_mode TO 'force_generic_plan'
SET enable_seqscan TO 'off'
SET enable_hashjoin TO 'off'
SET enable_mergejoin TO 'off'
SET jit TO 'off'
AS $$
#variable_conflict use_column
DECLARE
    moment  timestamptz := clock_timestamp();
    cutoff  timestamptz := moment - age * interval '1 second';
    budget  bigint := most;
    visits  integer := 200;
    run     fcchat_retention;
    n       bigint;
    gone    bigint;
    last    bigint;
    stop    bigint;
    ids     bigint[];
    times   timestamptz[];
BEGIN
    messages := 0;
    events := 0;
    reactions := 0;
    bans := 0;
    kept := 0;
    finished := 0;
    wait := 5000;
    state := 'busy';

    IF current_setting('transaction_read_only') = 'on'
       OR NOT pg_try_advisory_xact_lock(hashtext('fcchat_retention'),
                                        hashtext(current_schema()::text))
    THEN
        RETURN NEXT;
        RETURN;
    END IF;

    SELECT r.* INTO run FROM fcchat_retention r WHERE r.one;

    IF NOT FOUND THEN
        INSERT INTO fcchat_retention DEFAULT VALUES;
        SELECT r.* INTO run FROM fcchat_retention r WHERE r.one;
    END IF;

    IF run.ended > '-infinity' THEN
        finished := floor(extract(epoch FROM run.ended));
    END IF;

    IF run.began IS NOT NULL AND run.worker <> me
       AND run.seen > moment - interval '30 seconds' AND run.seen <= moment
    THEN
        state := 'other';
        wait := 10000;
        RETURN NEXT;
        RETURN;
    END IF;

    IF run.began IS NULL THEN
        IF run.ended > moment - rest * interval '1 second'
           AND run.ended <= moment
        THEN
            state := 'rest';
            wait := ceil(extract(epoch FROM run.ended - moment) * 1000)
                    + rest * 1000;
            RETURN NEXT;
            RETURN;
        END IF;

        run.began := moment;
        run.phase := 'bans';
        run.messages := 0;
        run.events := 0;
        run.reactions := 0;
        run.bans := 0;
        run.kept := 0;
    END IF;

    -- may be lost in a crash: it is done again then

    PERFORM set_config('synchronous_commit', 'off', true);

    -- nothing of this is news to whoever follows the log

    PERFORM set_config('fcchat.numbering', 'off', true);

    WHILE run.began IS NOT NULL AND budget > 0 AND visits > 0 LOOP
        visits := visits - 1;

        IF run.phase = 'bans' THEN

            -- the tables of 003_fcchat_moderation.sql, where they are

            IF to_regclass('fcchat_pin') IS NOT NULL THEN
                EXECUTE 'WITH p AS (DELETE FROM fcchat_pin WHERE expires < $1 '
                        'RETURNING message_id) '
                        'UPDATE chat_chatmessage m SET is_pinned = false '
                        'FROM p WHERE m.id = p.message_id AND m.is_pinned'
                  USING cutoff;
            END IF;

            n := 0;

            IF to_regclass('fcchat_ban') IS NOT NULL THEN
                EXECUTE 'DELETE FROM fcchat_ban b WHERE b.ctid = ANY (ARRAY('
                        'SELECT o.ctid FROM fcchat_ban o WHERE o.expires < $1 '
                        'LIMIT $2 FOR UPDATE SKIP LOCKED))'
                  USING cutoff, budget;
                GET DIAGNOSTICS n = ROW_COUNT;
            END IF;

            bans := bans + n;
            budget := budget - n;

            IF n = 0 THEN
                run.phase := 'next';
                run.place := -1;
            END IF;

        ELSIF run.phase = 'next' THEN
            SELECT least((SELECT h.room_id FROM fcchat_head h
                           WHERE h.room_id > run.place
                           ORDER BY h.room_id LIMIT 1),
                         (SELECT r.id FROM chat_chatroom r
                           WHERE r.id > run.place
                           ORDER BY r.id LIMIT 1))
              INTO n;

            IF n IS NULL THEN
                run.phase := 'reactions';
                run.place := -1;

            ELSE
                run.phase := 'log';
                run.place := n;
                run.seq := 0;
                run.at := '-infinity';
                run.id := 0;
            END IF;

        ELSIF run.phase = 'log' THEN
            SELECT count(*), max(w.seq), min(w.seq) FILTER (WHERE w.at >= cutoff)
              INTO n, last, stop
              FROM (SELECT e.seq, e.at
                      FROM fcchat_event e
                     WHERE e.room_id = run.place AND e.seq > run.seq
                     ORDER BY e.seq
                     LIMIT budget) w;

            stop := coalesce(stop, last + 1);

            IF n = 0 OR stop <= run.seq + 1 THEN
                run.phase := 'rows';

            ELSE
                SELECT array_agg(d.id)
                  INTO ids
                  FROM (SELECT m.id
                          FROM fcchat_event e
                               JOIN chat_chatmessage m ON m.id = e.message_id
                         WHERE e.room_id = run.place
                           AND e.seq > run.seq AND e.seq < stop
                           AND e.kind = 'message'
                           AND NOT m.is_pinned
                         ORDER BY m.id
                           FOR UPDATE OF m SKIP LOCKED) d;

                gone := fcchat_retain_messages(coalesce(ids, '{}'));
                messages := messages + gone;
                kept := kept + coalesce(cardinality(ids), 0) - gone;

                -- what has its message is kept with it

                DELETE FROM fcchat_event e
                 WHERE e.room_id = run.place
                   AND e.seq > run.seq AND e.seq < stop
                   AND (e.kind <> 'message'
                        OR (SELECT m.id FROM chat_chatmessage m
                             WHERE m.id = e.message_id) IS NULL);

                GET DIAGNOSTICS gone = ROW_COUNT;
                events := events + gone;

                IF stop <= last OR n < budget THEN
                    run.phase := 'rows';
                END IF;

                budget := budget - n;
                run.seq := stop - 1;
            END IF;

        ELSIF run.phase = 'rows' THEN
            SELECT array_agg(d.id), array_agg(d.created_at)
              INTO ids, times
              FROM (SELECT m.id, m.created_at
                      FROM chat_chatmessage m
                     WHERE m.room_id = run.place
                       AND m.created_at < cutoff
                       AND m.created_at >= run.at
                       AND (m.created_at > run.at OR m.id > run.id)
                       AND NOT m.is_pinned
                     ORDER BY m.created_at, m.id
                     LIMIT budget
                       FOR UPDATE SKIP LOCKED) d;

            IF ids IS NULL THEN
                run.phase := 'next';

            ELSE
                n := cardinality(ids);
                gone := fcchat_retain_messages(ids);
                messages := messages + gone;
                kept := kept + n - gone;
                budget := budget - n;
                run.at := times[n];
                run.id := ids[n];
            END IF;

        ELSIF to_regclass('streaming_streamreaction') IS NULL THEN
            run.began := NULL;

        ELSE
            DELETE FROM streaming_streamreaction s
             WHERE s.id = ANY (ARRAY(
                       SELECT o.id
                         FROM streaming_streamreaction o
                        WHERE o.stream_id = run.place AND o.created_at < cutoff
                        ORDER BY o.created_at
                        LIMIT budget
                          FOR UPDATE SKIP LOCKED));

            GET DIAGNOSTICS n = ROW_COUNT;
            reactions := reactions + n;
            budget := budget - n;

            IF budget > 0 THEN
                SELECT s.stream_id INTO n
                  FROM streaming_streamreaction s
                 WHERE s.stream_id > run.place
                 ORDER BY s.stream_id
                 LIMIT 1;

                IF n IS NULL THEN
                    run.began := NULL;
                ELSE
                    run.place := n;
                END IF;
            END IF;
        END IF;
    END LOOP;

    state := 'more';
    wait := 0;

    IF run.began IS NULL THEN
        state := 'done';
        wait := rest * 1000;
        run.ended := moment;
        finished := floor(extract(epoch FROM moment));
    END IF;

    UPDATE fcchat_retention r
       SET worker = me, seen = moment, began = run.began, ended = run.ended,
           phase = run.phase, place = run.place, seq = run.seq, at = run.at,
           id = run.id, messages = run.messages + fcchat_retain.messages,
           events = run.events + fcchat_retain.events,
           reactions = run.reactions + fcchat_retain.reactions,
           bans = run.bans + fcchat_retain.bans,
           kept = run.kept + fcchat_retain.kept
     WHERE r.one;

    RETURN NEXT;
END
$$;

COMMIT;
