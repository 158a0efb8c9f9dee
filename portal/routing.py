"""Sockets of this app."""

from django.urls import URLPattern, path

from portal.consumers import LiveConsumer

websocket_urlpatterns: list[URLPattern] = [
    path("live/", LiveConsumer.as_asgi()),
]
