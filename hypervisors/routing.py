"""Sockets of this app."""

from django.urls import URLPattern, path

from hypervisors.consumers import AgentConsumer

websocket_urlpatterns: list[URLPattern] = [
    path("agent/v1/link/", AgentConsumer.as_asgi()),
]
