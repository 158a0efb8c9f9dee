"""manage.py basalt_prepare: the database and the static files as this version wants them."""

import hashlib
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command

from tenants.scope import NOTHING
from tenants.scoped_command import ScopedCommand


class Command(ScopedCommand):
    help = "Migrate the database, and collect static files when they changed."
    scope = NOTHING

    def handle(self, *_args: Any, **_options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        stamp = Path(settings.STATIC_ROOT) / ".basalt-stamp"
        wanted = _state_of_static_files()
        if not stamp.exists() or stamp.read_text() != wanted:
            call_command("collectstatic", interactive=False, verbosity=0, clear=True)
            stamp.write_text(wanted)


def _state_of_static_files() -> str:
    """Changes when a file of ours does, or a package that brings files."""
    state = hashlib.sha256()
    for _prefix, folder in settings.STATICFILES_DIRS:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                about = path.stat()
                state.update(f"{path} {about.st_size} {about.st_mtime_ns}\n".encode())
    lock = Path(settings.BASE_DIR) / "requirements" / "portal.txt"
    state.update(lock.read_bytes())
    return state.hexdigest()
