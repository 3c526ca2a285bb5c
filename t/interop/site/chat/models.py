from django.conf import settings
from django.db import models


class ChatRoom(models.Model):
    name = models.CharField(max_length=255, unique=True)
    stream = models.ForeignKey("streaming.Stream", models.CASCADE, null=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)


class ChatMessage(models.Model):
    room = models.ForeignKey(ChatRoom, models.CASCADE)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True
    )
    content = models.TextField()
    message_type = models.CharField(max_length=20, default="message")
    is_deleted = models.BooleanField(default=False)
    is_pinned = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [
            models.Index(
                "room",
                models.F("created_at").desc(),
                name="idx_chatmessage_room_created",
            ),
        ]


class ChatStamp(models.Model):
    name = models.CharField(max_length=64)
    image = models.CharField(max_length=255)
