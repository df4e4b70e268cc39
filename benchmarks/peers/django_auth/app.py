"""Django in one file: the middlewares of sessions and authentication, one view."""

import os
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

_database = urlsplit(os.environ["DATABASE_URL"])
settings.configure(
    SECRET_KEY=os.environ["SECRET_KEY"],
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": _database.hostname,
            "PORT": _database.port,
            "USER": _database.username,
            "NAME": _database.path.lstrip("/"),
            "CONN_MAX_AGE": 600,
        }
    },
    USE_TZ=True,
)
django.setup()


def alive(_request: HttpRequest) -> JsonResponse:
    return JsonResponse({"alive": True})


def check(request: HttpRequest) -> JsonResponse:
    if not request.user.is_authenticated:
        return JsonResponse({"active": False}, status=401)
    user = {"id": request.user.id, "name": request.user.username}
    return JsonResponse({"active": True, "user": user})


urlpatterns = [path("alive", alive), path("check", check)]
app = get_wsgi_application()
