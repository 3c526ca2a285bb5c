"""A chat as Channels' tutorial has it, with stored messages: a group for each
room, a row for each message, and every receiver's frame made for itself."""

import json
import os

os.environ["DJANGO_SETTINGS_MODULE"] = "bench_settings"

import django  # noqa: E402

django.setup()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.db import database_sync_to_async  # noqa: E402
from channels.generic.websocket import (  # noqa: E402
    AsyncWebsocketConsumer,
)
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import (  # noqa: E402
    AllowedHostsOriginValidator,
)
from django.urls import re_path  # noqa: E402

from chat.models import ChatMessage, ChatRoom  # noqa: E402


class Chat(AsyncWebsocketConsumer):
    room = None

    async def connect(self):
        name = self.scope["url_route"]["kwargs"]["room"]
        if self.scope["user"].is_authenticated:
            self.room = await self.find(name)
        if self.room is None:
            await self.close()
            return
        self.group = "room_%d" % self.room.id
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        if self.room is not None:
            await self.channel_layer.group_discard(
                self.group, self.channel_name
            )

    async def receive(self, text_data=None, bytes_data=None):
        text = json.loads(text_data)["message"]
        await self.store(text)
        await self.channel_layer.group_send(
            self.group,
            {
                "type": "chat.said",
                "username": self.scope["user"].username,
                "text": text,
            },
        )

    async def chat_said(self, event):
        await self.send(
            json.dumps(
                {
                    "username": event["username"],
                    "message": event["text"],
                    "message_type": "message",
                    "timestamp": None,
                }
            )
        )

    @database_sync_to_async
    def find(self, name):
        return ChatRoom.objects.filter(name=name, is_active=True).first()

    @database_sync_to_async
    def store(self, text):
        return ChatMessage.objects.create(
            room=self.room, user=self.scope["user"], content=text
        )


application = ProtocolTypeRouter(
    {
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(
                URLRouter(
                    [re_path(r"^ws/chat/(?P<room>[\w-]+)/$", Chat.as_asgi())]
                )
            )
        )
    }
)
