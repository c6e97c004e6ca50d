"""Next to Django's pages. Run it with ``hypercorn examples.frameworks.django_app:app``."""

# pyright: basic

from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from examples.frameworks.feed import feed


async def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"a page")


urlpatterns = [path("", page)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"])
pages = get_asgi_application()


async def app(scope: Any, receive: Any, send: Any) -> None:
    await (feed if scope["type"] == "websocket" else pages)(scope, receive, send)
