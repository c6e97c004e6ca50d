"""A route of Django's Channels. Run it with ``hypercorn examples.frameworks.channels_app:app``."""

# pyright: basic, reportArgumentType=false

from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path

from examples.frameworks.django_app import pages
from examples.frameworks.feed import feed

app = ProtocolTypeRouter({"http": pages, "websocket": URLRouter([path("feed/<str:name>", feed)])})
