"""An upload that the disk has no room for leaves nothing behind."""

import errno
import os
from pathlib import Path

import pytest
from django.core.files.uploadhandler import FileUploadHandler
from django.test import RequestFactory

from portal.uploads import TidyTemporaryFileUploadHandler

MIB = 1024**2


class _FullAfter:
    """A file on a disk that has room for one chunk."""

    def __init__(self, file) -> None:
        self.file, self.room = file, 1

    def write(self, data: bytes) -> int:
        self.room -= 1
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)

    def __getattr__(self, name: str):
        return getattr(self.file, name)


@pytest.fixture
def folder(settings, tmp_path) -> Path:
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)
    return tmp_path


def handler() -> TidyTemporaryFileUploadHandler:
    made = TidyTemporaryFileUploadHandler(RequestFactory().post("/"))
    made.new_file("file", "disk.raw", "application/octet-stream", None)
    return made


def test_the_file_goes_as_soon_as_it_cant_be_written(folder):
    upload: FileUploadHandler = handler()
    upload.file.file = _FullAfter(upload.file.file)
    upload.receive_data_chunk(bytes(MIB), 0)
    assert len(list(folder.iterdir())) == 1
    with pytest.raises(OSError, match="No space left"):
        upload.receive_data_chunk(bytes(MIB), MIB)
    assert list(folder.iterdir()) == []


def test_what_fits_is_handed_on(folder):
    upload = handler()
    upload.receive_data_chunk(bytes(MIB), 0)
    file = upload.file_complete(MIB)
    assert (file.size, file.read(3)) == (MIB, bytes(3))
    file.close()
    assert list(folder.iterdir()) == []
