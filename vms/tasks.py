"""What Celery does for this app."""

import time

from celery import shared_task

from hypervisors.services.usage import samples_thin_out
from tenants.scope import system_scope
from vms.models import VmUsage
from vms.services.images import image_files_sweep

_LEFTOVER_AGE_S = 24 * 3600


@shared_task(scope=system_scope("files of images of all tenants are kept"))  # type: ignore[untyped-decorator]
def sweep_image_files() -> None:
    """Once in a while: what uploads left that died half-way."""
    image_files_sweep(older_than=time.time() - _LEFTOVER_AGE_S)


@shared_task(scope=system_scope("samples of all VMs grow old"))  # type: ignore[untyped-decorator]
def thin_out_vm_usage() -> int:
    """Keep the history of VMs small. Answers how many rows were deleted."""
    return samples_thin_out(VmUsage)
