"""A site on django-tenants as one would write it today.  FCCHAT_DSN is libpq's
conninfo of the database, FCCHAT_REDIS an URL of Redis, FCCHAT_AUTO_FIELD the
type of ids."""

import os

SECRET_KEY = os.environ["FCCHAT_SECRET"]
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models." + os.environ["FCCHAT_AUTO_FIELD"]
AUTH_USER_MODEL = "accounts.User"
LOGIN_REDIRECT_URL = "/"

# nobody attacks these, and the tests log in often
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

SHARED_APPS = ["django_tenants", "customers"]
TENANT_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "accounts",
    "streaming",
    "chat",
]
INSTALLED_APPS = SHARED_APPS + TENANT_APPS + ["channels"]
TENANT_MODEL = "customers.Client"
TENANT_DOMAIN_MODEL = "customers.Domain"
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]

MIDDLEWARE = [
    "django_tenants.middleware.main.TenantMainMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]

_dsn = dict(word.split("=", 1) for word in os.environ["FCCHAT_DSN"].split())

DATABASES = {
    "default": {
        "ENGINE": "django_tenants.postgresql_backend",
        "NAME": _dsn["dbname"],
        "HOST": _dsn["host"],
        "PORT": _dsn["port"],
        "USER": _dsn["user"],
    }
}

_redis = os.environ["FCCHAT_REDIS"]
_django_redis = "django_redis.cache.RedisCache"

CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "redis": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": _redis + "/1",
    },
    "django_redis": {
        "BACKEND": _django_redis,
        "LOCATION": _redis + "/2",
        "KEY_PREFIX": "site",
        "VERSION": 3,
    },
    "zlib": {
        "BACKEND": _django_redis,
        "LOCATION": _redis + "/2",
        "KEY_PREFIX": "site",
        "VERSION": 3,
        "OPTIONS": {
            "COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor"
        },
    },
}
