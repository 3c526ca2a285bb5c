"""The tables of the site, under the names that its apps give them."""

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    class Meta:
        db_table = "accounts_user"


class Stream(models.Model):
    title = models.CharField(max_length=255, default="")

    class Meta:
        db_table = "streaming_stream"


class ChatRoom(models.Model):
    name = models.CharField(max_length=255, unique=True)
    stream = models.ForeignKey(Stream, null=True, on_delete=models.CASCADE)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "chat_chatroom"


class ChatMessage(models.Model):
    room = models.ForeignKey(ChatRoom, on_delete=models.CASCADE)
    user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL)
    content = models.TextField()
    message_type = models.CharField(max_length=20, default="message")
    is_deleted = models.BooleanField(default=False)
    is_pinned = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "chat_chatmessage"
        indexes = [
            models.Index(
                fields=["room", "-created_at"],
                name="idx_chatmessage_room_created",
            )
        ]


class ChatStamp(models.Model):
    name = models.CharField(max_length=64)
    image = models.CharField(max_length=255)

    class Meta:
        db_table = "chat_chatstamp"


class StreamReaction(models.Model):
    stream = models.ForeignKey(Stream, on_delete=models.CASCADE)
    user = models.ForeignKey(User, on_delete=models.CASCADE)
    stamp = models.ForeignKey(ChatStamp, on_delete=models.CASCADE)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "streaming_streamreaction"
        indexes = [
            models.Index(
                fields=["stream", "-created_at"],
                name="streaming_s_stream_0c7fc7_idx",
            ),
            models.Index(
                fields=["stamp", "-created_at"],
                name="streaming_s_stamp_i_26798f_idx",
            ),
        ]
