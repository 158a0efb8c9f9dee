"""Bounded field types. A value outside them does not decode."""

from typing import Annotated

from msgspec import Meta

Id = Annotated[
    str, Meta(pattern=r"\A[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
]
"""A UUID in its canonical lower-case form: also the libvirt domain's UUID for a VM."""

Name = Annotated[str, Meta(min_length=1, max_length=63)]
Short = Annotated[str, Meta(max_length=255)]
Sentence = Annotated[str, Meta(max_length=2000)]
Code = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_]{0,63}\Z")]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Mac = Annotated[str, Meta(pattern=r"\A[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")]
Interface = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,15}\Z")]
Percent = Annotated[int, Meta(ge=0, le=100)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Bytes = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Rate = Annotated[int, Meta(ge=0, le=10**12)]
"""Bytes per second."""
Timestamp = Annotated[float, Meta(ge=0)]
"""Seconds since the Unix epoch, UTC."""
