"""What Celery does for this app."""

import time

from celery import shared_task

from tenants.scope import system_scope
from vms.services.images import image_files_sweep

_LEFTOVER_AGE_S = 24 * 3600


@shared_task(scope=system_scope("files of images of all tenants are kept"))  # type: ignore[untyped-decorator]
def sweep_image_files() -> None:
    """Once in a while: what uploads left that died half-way."""
    image_files_sweep(older_than=time.time() - _LEFTOVER_AGE_S)
