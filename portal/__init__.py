"""The portal: pages, API and sockets put together from the apps below it."""

from portal.celery import app as celery_app

__all__ = ["celery_app"]
