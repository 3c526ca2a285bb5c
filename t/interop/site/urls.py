from django.contrib.auth.views import LoginView
from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.urls import path

urlpatterns = [
    path("login/", LoginView.as_view()),
    path("token/", lambda request: HttpResponse(get_token(request))),
    path("who/", lambda request: HttpResponse(request.user.get_username())),
    path("post/", lambda request: HttpResponse("done")),
]
