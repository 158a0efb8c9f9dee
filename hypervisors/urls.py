"""What agents and installers ask over HTTP."""

from django.urls import URLPattern, URLResolver, path, re_path

from hypervisors.views.enrolment import enrol
from hypervisors.views.install import bundle, install

urlpatterns: list[URLPattern | URLResolver] = [
    path("install", install, name="install"),
    path("agent/v1/enrol/", enrol, name="agent-enrol"),
    re_path(r"^agent/v1/bundle/(?P<sha256>[0-9a-f]{64})\.tar\.gz$", bundle, name="agent-bundle"),
]
