"""Does what a site's own pages would do (make users, log them in, log them
out), as commands on standard input: a JSON object a line, answered by a line
{"result": ...} or {"error": "..."}.  See t/lib/FC/Django.pm."""

import base64
import datetime
import hashlib
import json
import os
import pickle
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"

import django  # noqa: E402

django.setup()

from django.contrib.auth import (  # noqa: E402
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
)
from django.contrib.auth.hashers import PBKDF2PasswordHasher  # noqa: E402
from django.contrib.sessions.backends import (  # noqa: E402
    cache,
    cached_db,
    db,
    signed_cookies,
)
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.middleware import csrf  # noqa: E402
from django.test.utils import override_settings  # noqa: E402
from django.utils import timezone  # noqa: E402

from chat.models import ChatRoom, ChatStamp, Stream, User  # noqa: E402

BACKEND = "django.contrib.auth.backends.ModelBackend"
STAMPS = "smile surprise cry love scream angry".split()

ENGINES = {
    "db": db.SessionStore,
    "cached_db": cached_db.SessionStore,
    "cache": cache.SessionStore,
    "signed_cookies": signed_cookies.SessionStore,
}


def hashed(password):
    """A password as Django stores it; one round, as nobody attacks it."""
    salt = hashlib.md5(password.encode()).hexdigest()[:12]
    return PBKDF2PasswordHasher().encode(password, salt, iterations=1)


def search_path(schema):
    with connection.cursor() as c:
        c.execute(
            "SELECT set_config('search_path', %s, false)",
            ['"%s",public' % schema.replace('"', '""')],
        )


def do_tables(a):
    with connection.cursor() as c:
        c.execute(
            'CREATE SCHEMA IF NOT EXISTS "%s"'
            % a["schema"].replace('"', '""')
        )
    call_command("migrate", run_syncdb=True, verbosity=0)
    for i, name in enumerate(STAMPS, 1):
        ChatStamp.objects.get_or_create(
            id=i,
            defaults={
                "name": ":%s:" % name,
                "image": "/media/stamps/%02d_%s.svg" % (i, name),
            },
        )
    for i in 1, 2:
        do_room({"name": "stream_%d" % i})
    with connection.cursor() as c:
        for table in "chat_chatstamp", "streaming_stream":
            c.execute(
                "SELECT setval(pg_get_serial_sequence(%s, 'id'), "
                "(SELECT max(id) FROM " + table + "))",
                [table],
            )


def do_csrf(a):
    """A cookie and a token of the header, as get_token() makes them."""
    secret = csrf._get_new_csrf_string()
    return {
        "plain": secret,
        "cookie": csrf._mask_cipher_secret(secret),
        "token": csrf._mask_cipher_secret(secret),
    }


def do_user(a):
    user, made = User.objects.get_or_create(username=a["username"])
    fields = dict(a.get("fields") or {})
    if made or "password" in fields:
        user.password = hashed(fields.pop("password", a["username"]))
    for name, value in fields.items():
        setattr(user, name, value)
    user.save()
    return user.id


def do_password(a):
    return User.objects.filter(username=a["username"]).update(
        password=hashed(a["password"])
    )


def login_data(user, extra=None):
    """What django.contrib.auth.login() puts into a session."""
    data = {
        SESSION_KEY: str(user.pk),
        BACKEND_SESSION_KEY: BACKEND,
        HASH_SESSION_KEY: user.get_session_auth_hash(),
    }
    data.update(extra or {})
    return {k: v for k, v in data.items() if v is not None}


def do_session(a):
    do_user({"username": a["username"]})
    with override_settings(**settings_of(a)):
        user = User.objects.get(username=a["username"])
        store = ENGINES[a.get("engine", "db")]()
        store.update(login_data(user, a.get("data")))
        if "age" in a:
            store.set_expiry(
                timezone.now() + datetime.timedelta(seconds=a["age"])
            )
            del store["_session_expiry"]
            store.get_expiry_date = lambda **kw: (
                timezone.now() + datetime.timedelta(seconds=a["age"])
            )
        if a.get("engine") == "signed_cookies":
            store.save()
        else:
            store.create()
            store.save()
        return store.session_key


def settings_of(a):
    return {"SECRET_KEY": a["secret"]} if a.get("secret") else {}


def do_sessions(a):
    """Many users with a session each, in three statements."""
    names = ["%s%d" % (a["prefix"], i) for i in range(a["count"])]
    known = set(
        User.objects.filter(username__in=names).values_list(
            "username", flat=True
        )
    )
    User.objects.bulk_create(
        User(username=n, password=hashed("many")) for n in names
        if n not in known
    )
    users = {u.username: u for u in User.objects.filter(username__in=names)}
    store = db.SessionStore()
    end = timezone.now() + datetime.timedelta(days=14)
    with override_settings(**settings_of(a)):
        rows = [
            store.model(
                session_key=store._get_new_session_key(),
                session_data=store.encode(login_data(users[n])),
                expire_date=end,
            )
            for n in names
        ]
    store.model.objects.bulk_create(rows)
    return [r.session_key for r in rows]


def do_cached(a):
    """The entry of a session in Redis as Django 4's RedisCache writes it."""
    store = cache.SessionStore(a["cookie"])
    return {
        "key": ":1:" + store.cache_key,
        "value": base64.b64encode(
            pickle.dumps(store.load(), pickle.HIGHEST_PROTOCOL)
        ).decode(),
    }


def do_logout(a):
    return db.SessionStore.get_model_class().objects.filter(
        session_key=a["cookie"]
    ).delete()[0]


def do_room(a):
    digits = a["name"].rpartition("_")[2]
    stream = None
    if a.get("stream", True):
        stream, _ = Stream.objects.get_or_create(
            **({"id": int(digits)} if digits.isdigit() else
               {"title": a["name"]})
        )
    room, _ = ChatRoom.objects.update_or_create(
        name=a["name"],
        defaults={
            "stream": stream,
            "is_active": bool(a.get("is_active", True)),
        },
    )
    return room.id


def do_stamp(a):
    return ChatStamp.objects.update_or_create(
        id=a["id"], defaults={"name": a["name"], "image": a["image"]}
    )[0].id


COMMANDS = {
    name[3:]: function
    for name, function in list(globals().items())
    if name.startswith("do_")
}


def main():
    for line in sys.stdin:
        try:
            a = json.loads(line)
            search_path(a.get("schema") or "localhost")
            reply = {"result": COMMANDS[a["command"]](a)}
        except Exception as e:
            reply = {"error": "%s: %s" % (type(e).__name__, e)}
        print(json.dumps(reply), flush=True)


main()
