-- The seed's own tables, for a site without Django: as Django 3.2 makes them
-- (no column defaults, times with a zone, deferred foreign keys), with the
-- indexes the seed names.  Where the seed names an index that begins with a
-- foreign key's column, Django's own index on that column is left out.
--
-- Applied before 001_fcchat.sql, with the tenant's schema first in search_path:
--
--   psql -v ON_ERROR_STOP=1 -c 'CREATE SCHEMA IF NOT EXISTS "localhost"'
--   PGOPTIONS='-c search_path=localhost,public' \
--       psql -v ON_ERROR_STOP=1 -f sql/seed.sql
--
-- Safe to run again; a table that exists is left as it is.

BEGIN;

SET LOCAL client_min_messages TO warning;

CREATE TABLE IF NOT EXISTS accounts_user (
    id            serial PRIMARY KEY,
    password      varchar(128) NOT NULL,
    last_login    timestamptz,
    is_superuser  boolean NOT NULL,
    username      varchar(150) NOT NULL UNIQUE,
    first_name    varchar(150) NOT NULL,
    last_name     varchar(150) NOT NULL,
    email         varchar(254) NOT NULL,
    is_staff      boolean NOT NULL,
    is_active     boolean NOT NULL,
    date_joined   timestamptz NOT NULL
);

CREATE INDEX IF NOT EXISTS accounts_user_username_6088629e_like
    ON accounts_user (username varchar_pattern_ops);


CREATE TABLE IF NOT EXISTS django_session (
    session_key   varchar(40) PRIMARY KEY,
    session_data  text NOT NULL,
    expire_date   timestamptz NOT NULL
);

CREATE INDEX IF NOT EXISTS django_session_expire_date_a5c62663
    ON django_session (expire_date);
CREATE INDEX IF NOT EXISTS django_session_session_key_c0390e0f_like
    ON django_session (session_key varchar_pattern_ops);


CREATE TABLE IF NOT EXISTS streaming_stream (
    id            serial PRIMARY KEY,
    title         varchar(255) NOT NULL
);


CREATE TABLE IF NOT EXISTS chat_chatroom (
    id            serial PRIMARY KEY,
    name          varchar(255) NOT NULL UNIQUE,
    stream_id     integer
        CONSTRAINT chat_chatroom_stream_id_68ed1eca_fk_streaming_stream_id
        REFERENCES streaming_stream (id) DEFERRABLE INITIALLY DEFERRED,
    is_active     boolean NOT NULL,
    created_at    timestamptz NOT NULL
);

CREATE INDEX IF NOT EXISTS chat_chatroom_name_a5e8962d_like
    ON chat_chatroom (name varchar_pattern_ops);
CREATE INDEX IF NOT EXISTS chat_chatroom_stream_id_68ed1eca
    ON chat_chatroom (stream_id);


CREATE TABLE IF NOT EXISTS chat_chatmessage (
    id            serial PRIMARY KEY,
    room_id       integer NOT NULL
        CONSTRAINT chat_chatmessage_room_id_5d04fb68_fk_chat_chatroom_id
        REFERENCES chat_chatroom (id) DEFERRABLE INITIALLY DEFERRED,
    user_id       integer
        CONSTRAINT chat_chatmessage_user_id_fa615e65_fk_accounts_user_id
        REFERENCES accounts_user (id) DEFERRABLE INITIALLY DEFERRED,
    content       text NOT NULL,
    message_type  varchar(20) NOT NULL,
    is_deleted    boolean NOT NULL,
    is_pinned     boolean NOT NULL,
    created_at    timestamptz NOT NULL
);

CREATE INDEX IF NOT EXISTS idx_chatmessage_room_created
    ON chat_chatmessage (room_id, created_at DESC);
CREATE INDEX IF NOT EXISTS idx_chatmessage_user
    ON chat_chatmessage (user_id);


CREATE TABLE IF NOT EXISTS chat_chatstamp (
    id            serial PRIMARY KEY,
    name          varchar(64) NOT NULL,
    image         varchar(255) NOT NULL
);


CREATE TABLE IF NOT EXISTS streaming_streamreaction (
    id            serial PRIMARY KEY,
    stream_id     integer NOT NULL
        CONSTRAINT streaming_streamreac_stream_id_d8a446b0_fk_streaming
        REFERENCES streaming_stream (id) DEFERRABLE INITIALLY DEFERRED,
    user_id       integer NOT NULL
        CONSTRAINT streaming_streamreaction_user_id_b4b52c34_fk_accounts_user_id
        REFERENCES accounts_user (id) DEFERRABLE INITIALLY DEFERRED,
    stamp_id      integer NOT NULL
        CONSTRAINT
            streaming_streamreaction_stamp_id_951e47cc_fk_chat_chatstamp_id
        REFERENCES chat_chatstamp (id) DEFERRABLE INITIALLY DEFERRED,
    created_at    timestamptz NOT NULL
);

CREATE INDEX IF NOT EXISTS streaming_s_stream_0c7fc7_idx
    ON streaming_streamreaction (stream_id, created_at DESC);
CREATE INDEX IF NOT EXISTS streaming_s_stamp_i_26798f_idx
    ON streaming_streamreaction (stamp_id, created_at DESC);
CREATE INDEX IF NOT EXISTS streaming_streamreaction_user_id_b4b52c34
    ON streaming_streamreaction (user_id);

COMMIT;
