"""manage.py basalt_bootstrap: the first MSP, customer, site and administrator.

Running it again changes nothing that people have changed since: it fills in what is missing.
"""

import json
import os
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.db import transaction

from hypervisors.services.join_tokens import join_token_create
from tenants.actor import SYSTEM
from tenants.models import Site, Tenant, User
from tenants.scope import system_scope
from tenants.scoped_command import ScopedCommand
from tenants.services.people import api_token_create, user_create
from tenants.services.tenants import site_create, tenant_create
from vms.models import Image
from vms.services.images import image_register_file

EMAIL = "admin@basalt.test"
MSP, CUSTOMER, SITE = "Basalt MSP", "Acme", "Workshop"


class Command(ScopedCommand):
    help = "Make what a new portal needs, and print a join token for its first hosts as JSON."
    scope = system_scope("what a new portal begins with belongs to several tenants")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--hosts", type=int, default=1, help="how many hosts shall join")
        parser.add_argument(
            "--image", nargs=2, metavar=("NAME", "PATH"), help="a guest image to register"
        )
        parser.add_argument(
            "--pretend-image",
            action="store_true",
            help="register an empty image, for simulated hosts that boot nothing",
        )

    @transaction.atomic
    def handle(self, *_args: Any, **options: Any) -> None:
        msp = Tenant.objects.filter(kind=Tenant.Kind.MSP).order_by("created_at").first()
        if msp is None:
            msp = tenant_create(actor=SYSTEM, name=MSP, parent=None)
        site = Site.objects.filter(tenant__parent=msp).order_by("created_at").first()
        if site is None:
            customer = Tenant.objects.filter(parent=msp).order_by("created_at").first()
            customer = customer or tenant_create(actor=SYSTEM, name=CUSTOMER, parent=msp)
            site = site_create(actor=SYSTEM, tenant=customer, name=SITE)
        self._administrator(msp)
        if options["image"]:
            name, path = options["image"]
            self._image(msp, name, Path(path))
        elif options["pretend_image"] and not Image.objects.exists():
            self._image(msp, "debian-12", _empty_disk())
        secret = ""
        if options["hosts"]:
            _, secret = join_token_create(
                actor=SYSTEM, site=site, max_uses=options["hosts"], expires_in=timedelta(minutes=15)
            )
        self.stdout.write(json.dumps({"join_token": secret}))

    def _administrator(self, msp: Tenant) -> None:
        """The administrator, and DATA/admin.json while it says the truth."""
        path = Path(settings.DATA_DIR) / "admin.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        user = User.objects.filter(email=EMAIL).first()
        if user is None:
            known = {"password": secrets.token_urlsafe(12)}
            user = user_create(
                actor=SYSTEM, tenant=msp, role="msp-owner", email=EMAIL, password=known["password"]
            )
        if "password" not in known:
            known["password"] = "(as you set it)"  # noqa: S105
        if "api_token" not in known:
            _, known["api_token"] = api_token_create(user=user, name="script/up")
        known |= {"url": settings.BASALT_ORIGIN, "email": EMAIL}
        _write_private(path, json.dumps(known, indent=2) + "\n")

    def _image(self, msp: Tenant, name: str, path: Path) -> None:
        record = path.with_suffix(".json")
        about = json.loads(record.read_text()) if record.exists() else {}
        image_register_file(
            actor=SYSTEM,
            tenant=msp,
            name=name,
            path=path,
            os=about.get("os_name", ""),
            default_username="debian",
            min_disk_gib=2,
            min_memory_mib=256,
        )


def _empty_disk() -> Path:
    """A qcow2 of 2 GiB with nothing in it: header, and tables of nought."""
    path = Path(settings.DATA_DIR) / "simulated" / "empty.qcow2"
    path.parent.mkdir(parents=True, exist_ok=True)
    cluster = 65536
    header = b"QFI\xfb" + b"".join(
        number.to_bytes(size, "big")
        for number, size in [
            (3, 4), (0, 8), (0, 4), (16, 4), (2 * 1024**3, 8), (0, 4), (4, 4),
            (3 * cluster, 8), (cluster, 8), (1, 4), (0, 4), (0, 8), (0, 8), (0, 8), (0, 8),
            (4, 4), (104, 4),
        ]
    )  # fmt: skip
    with path.open("wb") as file:
        file.write(header)
        file.seek(cluster)
        # One refcount table entry, one refcount block counting the four clusters in use.
        file.write((2 * cluster).to_bytes(8, "big"))
        file.seek(2 * cluster)
        file.write(b"\x00\x01" * 4)
        file.truncate(4 * cluster)
    return path


def _write_private(path: Path, text: str) -> None:
    """Readable by the owner alone, from its first byte on; never half-written."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
