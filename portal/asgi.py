"""The ASGI entry point: HTTP to Django, sockets to the consumers."""

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

application = ProtocolTypeRouter({"http": get_asgi_application()})
