"""What a folder of files can do, wherever it lies: in a bucket or on a disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from ddb_shared.errors import StateError

# A probe is one small file of a fixed name, since the commands may not delete: each probe replaces the last one.
PROBE: Final = "probe.json"
PROBE_DATA: Final = b"{}\n"


@dataclass(frozen=True, slots=True)
class Stored:
    """A small file read whole. `age_seconds` is by the storage's own clock, `encryption` what S3 says of it."""

    data: bytes
    etag: str
    age_seconds: float
    encryption: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry of a listing; `name` is relative to the folder, `size` in bytes."""

    name: str
    size: int
    etag: str


class ConflictError(StateError):
    """A conditional write found another state than it asked for."""


class Folder(Protocol):
    """What reads and writes the files of one folder; names use `/` and stay below the folder."""

    url: str

    def read(self, name: str) -> Stored | None:
        """The whole of a small file; None where there is none."""
        ...

    def write(self, name: str, data: bytes, *, replaces: str | None = None, new: bool = False) -> str:
        """Replaces a file atomically and returns its ETag.

        `new` demands that there is none yet, `replaces` that the present one has this ETag; raises ConflictError.
        """
        ...

    def list(self, below: str = "") -> Iterator[Listed]:
        """Every file whose name begins with `below`."""
        ...

    def probe(self) -> str:
        """Writes a small file, reads it back, and returns its place; raises TransferError where that fails."""
        ...

    def open_read(self, name: str) -> BinaryIO:
        """A stream over the file; breaks of the connection are mended below it."""
        ...
