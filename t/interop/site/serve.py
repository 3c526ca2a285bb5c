"""What the site does, as commands on standard input, one a line of JSON; the
answers are as those of demo/django/serve.py."""

import json
import os
import shutil
import sys

# makemigrations writes beside the models, and the source tree is not ours

site = os.environ["FCCHAT_SITE"]
shutil.copytree(os.path.dirname(os.path.abspath(__file__)), site)
sys.path[0] = site
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"

import django  # noqa: E402

django.setup()

from asgiref.sync import async_to_sync  # noqa: E402
from asgiref.testing import ApplicationCommunicator  # noqa: E402
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.generic.websocket import WebsocketConsumer  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import Client as Browser  # noqa: E402
from django.test.utils import override_settings  # noqa: E402
from django_tenants.utils import schema_context  # noqa: E402

from accounts.models import User  # noqa: E402
from chat.models import ChatMessage, ChatRoom, ChatStamp  # noqa: E402
from customers.models import Client, Domain  # noqa: E402
from streaming.models import Stream  # noqa: E402


def settings_of(a):
    values = {"SESSION_ENGINE": "django.contrib.sessions.backends."
              + a.get("engine", "db")}
    if "cache" in a:
        values["SESSION_CACHE_ALIAS"] = a["cache"]
    if "secrets" in a:
        values["SECRET_KEY"], *values["SECRET_KEY_FALLBACKS"] = a["secrets"]
    return override_settings(**values)


def do_tables(a):
    """Real migrations, for all schemas; a tenant makes its own when saved."""
    call_command("makemigrations", "customers", "accounts", "streaming",
                 "chat", verbosity=0)
    call_command("migrate_schemas", shared=True, verbosity=0)
    for name, hosts in a["tenants"].items():
        tenant = Client(schema_name=name, name=name)
        tenant.save(verbosity=0)
        for host in hosts:
            Domain.objects.create(domain=host, tenant=tenant,
                                  is_primary=host == hosts[0])
        with schema_context(name):
            room = ChatRoom.objects.create(
                name="stream_1", stream=Stream.objects.create(title="first")
            )
            ChatStamp.objects.create(name=":smile:", image="smile.svg")
            assert room.pk == 1
    return django.get_version()


def do_user(a):
    user, _ = User.objects.get_or_create(username=a["username"])
    for name, value in (a.get("fields") or {}).items():
        setattr(user, name, value)
    user.set_password(a.get("password", a["username"]))
    user.save()
    return user.pk


def browser(a):
    b = Browser(enforce_csrf_checks=a.get("csrf", False),
                HTTP_HOST=a["host"])
    for name, value in (a.get("cookies") or {}).items():
        b.cookies[name] = value
    return b


def do_login(a):
    """The login form, sent; the cookies that came."""
    b = browser(a)
    answer = b.post("/login/", {"username": a["username"],
                                "password": a.get("password", a["username"])})
    assert answer.status_code == 302, answer.content
    token = b.get("/token/").content.decode()
    return {"session": b.cookies["sessionid"].value,
            "csrf": b.cookies["csrftoken"].value, "token": token}


def do_who(a):
    """Whom the site's pages take the cookie for."""
    answer = browser(a).get("/who/")
    return answer.content.decode() if answer.status_code == 200 \
        else answer.status_code


def do_post(a):
    """The status of a form that a script sends with this token."""
    return browser(a).post("/post/", headers={"X-CSRFToken": a["given"]}) \
        .status_code


class Consumer(WebsocketConsumer):
    def connect(self):
        self.accept()
        self.send(self.scope["user"].get_username())


def do_channels(a):
    """And Channels, in a socket."""
    async def ask():
        cookies = "; ".join("%s=%s" % c for c in a["cookies"].items())
        socket = ApplicationCommunicator(
            AuthMiddlewareStack(Consumer.as_asgi()),
            {"type": "websocket", "path": "/ws/chat/stream_1/",
             "headers": [(b"cookie", cookies.encode())]},
        )
        await socket.send_input({"type": "websocket.connect"})
        await socket.receive_output(20)
        name = (await socket.receive_output(20))["text"]
        await socket.send_input({"type": "websocket.disconnect", "code": 1000})
        await socket.wait(20)
        return name
    return async_to_sync(ask)()


def do_say(a):
    return ChatMessage.objects.create(
        room=ChatRoom.objects.get(name="stream_1"),
        user=User.objects.get(username=a["username"]), content=a["text"],
    ).pk


def do_messages(a):
    return [
        [m.pk, m.user.username, m.content, m.message_type, m.is_deleted,
         m.is_pinned, m.created_at.isoformat(timespec="milliseconds")]
        for m in ChatMessage.objects.select_related("user").order_by("pk")
    ]


def main():
    for line in sys.stdin:
        a = json.loads(line)
        try:
            with settings_of(a), schema_context(a.get("schema", "public")):
                answer = {"result": globals()["do_" + a["command"]](a)}
        except Exception as e:
            answer = {"error": "%s: %s" % (type(e).__name__, e)}
        print(json.dumps(answer), flush=True)


main()
