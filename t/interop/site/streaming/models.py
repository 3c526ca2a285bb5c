from django.conf import settings
from django.db import models


class Stream(models.Model):
    title = models.CharField(max_length=255)


class StreamReaction(models.Model):
    stream = models.ForeignKey(Stream, models.CASCADE)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    stamp = models.ForeignKey("chat.ChatStamp", models.CASCADE)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [
            models.Index(fields=["stream", "-created_at"]),
            models.Index(fields=["stamp", "-created_at"]),
        ]
