"""The site of demo/django with Channels, Redis and Daphne: what fcchat is
measured against.  FCCHAT_DSN is libpq's conninfo, BENCH_REDIS a port."""

import os

from settings import *  # noqa: F401,F403
from settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = INSTALLED_APPS + ["channels"]

DATABASES["default"]["CONN_MAX_AGE"] = None
DATABASES["default"]["OPTIONS"] = {
    "options": "-c search_path=localhost,public"
}

# The default of 100 would drop messages of a burst, and all are counted.
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {
            "hosts": [("127.0.0.1", int(os.environ["BENCH_REDIS"]))],
            "capacity": 10000,
        },
    }
}
