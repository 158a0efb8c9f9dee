"""The ASGI entry point: HTTP to Django, sockets to the consumers."""

import os
import tempfile

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

from django.core.asgi import get_asgi_application

# Django's apps must be ready before a consumer is imported.
_django = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.conf import settings  # noqa: E402

import consoles.routing  # noqa: E402
import hypervisors.routing  # noqa: E402
import portal.routing  # noqa: E402
from portal.bodies import SMALL, BoundedBodies  # noqa: E402
from portal.senders import may_send_images  # noqa: E402
from portal.sockets import FirstPath, OwnOrigin, Scopeless, WithoutOrigin, signed_in  # noqa: E402

# Django's ASGI handler spools bodies to Python's default folder. It may be small (a /tmp in
# memory); images need the room that the data folder has.
tempfile.tempdir = settings.FILE_UPLOAD_TEMP_DIR

# Paths that take image files; the rest of a form fits into the small bound.
_LARGE = dict.fromkeys(
    ("/api/v1/images/upload/", "/images/upload/"), settings.BASALT_MAX_IMAGE_BYTES + SMALL
)
_http = BoundedBodies(_django, large=_LARGE, trusted=may_send_images)

_browsers = OwnOrigin(
    signed_in(
        URLRouter(
            [
                *consoles.routing.websocket_urlpatterns,
                *portal.routing.websocket_urlpatterns,
            ]
        )
    )
)
# Agents are no browsers: they have no Origin and no cookie, they sign.
_agents = WithoutOrigin(
    URLRouter(
        [
            *hypervisors.routing.websocket_urlpatterns,
            *consoles.routing.agent_websocket_urlpatterns,
        ]
    )
)

application = Scopeless(
    ProtocolTypeRouter(
        {"http": _http, "websocket": FirstPath("/agent/", _agents, otherwise=_browsers)}
    )
)
