"""The smallest Django site that has what fcchat reads: users, sessions,
rooms and stamps.  FCCHAT_DSN is libpq's conninfo of the database,
FCCHAT_SECRET the SECRET_KEY."""

import os

SECRET_KEY = os.environ.get("FCCHAT_SECRET", "demo-secret-key")
DEBUG = False
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "chat",
]

AUTH_USER_MODEL = "chat.User"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"

# no history to migrate: the tables are made as the models are
MIGRATION_MODULES = {"auth": None, "contenttypes": None, "sessions": None}

_dsn = dict(
    word.split("=", 1) for word in os.environ.get("FCCHAT_DSN", "").split()
)

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _dsn.get("dbname", "fcchat"),
        "HOST": _dsn.get("host", ""),
        "PORT": _dsn.get("port", ""),
        "USER": _dsn.get("user", ""),
    }
}

# the key of a session in Redis is the one Django 4's RedisCache makes
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
}
