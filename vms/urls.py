"""What agents ask of this app over HTTP."""

from django.urls import URLPattern, URLResolver, path

from vms.views.agent_images import image_download

urlpatterns: list[URLPattern | URLResolver] = [
    path("agent/v1/images/<uuid:version_id>/", image_download, name="agent-image"),
]
