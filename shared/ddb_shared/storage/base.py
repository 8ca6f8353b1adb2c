"""The interface of a folder of files, in a bucket or on a local disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from ddb_shared.errors import StateError

# A probe is one small file with a fixed name, since the commands may not delete: each probe replaces the last one.
PROBE: Final = "probe.json"
PROBE_DATA: Final = b"{}\n"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A small file with its content. `age_seconds` is by the storage's clock, `encryption` as S3 reports it."""

    data: bytes
    etag: str
    age_seconds: float
    encryption: str = ""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One entry of a listing; `name` is relative to the folder, `size` in bytes, `modified` in epoch seconds of the storage."""

    name: str
    size: int
    etag: str
    modified: float = 0.0


class ConflictError(StateError):
    """The condition of a write was not met: someone else has written the file."""


class Storage(Protocol):
    """Reads and writes the files of one folder; names use `/` and stay below the folder."""

    url: str

    def read(self, name: str, *, max_bytes: int | None = None) -> StoredObject | None:
        """The whole of a small file, or its first `max_bytes`; None where there is none."""
        ...

    def write(self, name: str, data: bytes, *, replaces: str | None = None, new: bool = False) -> str:
        """Replaces a file atomically and returns its ETag.

        `new` requires that it does not exist yet, `replaces` that it still has this ETag; raises ConflictError otherwise.
        """
        ...

    def list(self, below: str = "") -> Iterator[FileInfo]:
        """Every file whose name begins with `below`."""
        ...

    def folders(self, below: str = "") -> Iterator[str]:
        """The folders right below `below`, which is empty or ends in a slash, as names relative to this one."""
        ...

    def probe(self) -> str:
        """Writes a small file, reads it back, and returns its URL; raises TransferError if that fails."""
        ...

    def open_read(self, name: str) -> BinaryIO:
        """A stream over the file, which reconnects after broken connections."""
        ...
