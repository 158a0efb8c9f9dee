"""Taking uploaded files in, so that a full disk leaves nothing behind."""

import contextlib
from collections.abc import Iterator
from typing import Any

from django.core.files.uploadhandler import TemporaryFileUploadHandler


class TidyTemporaryFileUploadHandler(TemporaryFileUploadHandler):
    """Django's, but a file that can't be written is removed at once. Django itself leaves it
    to the garbage collector, which may take its time while the disk is full."""

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        with self._removed_on_error():
            return super().receive_data_chunk(raw_data, start)

    def file_complete(self, file_size: int) -> Any:
        with self._removed_on_error():
            return super().file_complete(file_size)

    @contextlib.contextmanager
    def _removed_on_error(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            # Closing writes what is buffered, and fails again; it removes the file all the same.
            with contextlib.suppress(OSError):
                self.file.close()
            raise
