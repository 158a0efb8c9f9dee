"""Sockets of this app."""

from django.urls import URLPattern, path, re_path

from consoles.consumers import AgentStreamConsumer, ConsoleConsumer

websocket_urlpatterns: list[URLPattern] = [
    re_path(r"^console/(?P<secret>[^/]{1,100})/$", ConsoleConsumer.as_asgi()),
]
agent_websocket_urlpatterns: list[URLPattern] = [
    path("agent/v1/streams/<uuid:stream_id>/", AgentStreamConsumer.as_asgi()),
]
