"""A folder in memory with S3's rules, for tests of what lies above the storage."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ddb_shared.storage.base import ConflictError, FileInfo, Storage, StoredObject
from ddb_shared.storage.s3 import S3Storage


class MemoryFolder(S3Storage):
    """Where S3Storage would ask a client, this one has a dict; `age_seconds` is what every file's age reads."""

    def __init__(
        self, prefix: str = "AWSDynamoDB/01715685260608-c488b4e1", files: dict[str, bytes] | None = None
    ) -> None:
        super().__init__(None, "bucket", prefix)
        self.files = files if files is not None else {}
        self.age_seconds = 0.0
        self.writes: list[str] = []

    @classmethod
    def of(cls, path: Path, prefix: str) -> "MemoryFolder":
        """The files below `path`."""
        found = {
            file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()
        }
        return cls(prefix, found)

    def read(self, name: str, *, max_bytes: int | None = None) -> StoredObject | None:
        data = self.files.get(name)
        return None if data is None else StoredObject(data[:max_bytes], _etag(data), self.age_seconds)

    def write(self, name: str, data: bytes, *, replaces: str | None = None, new: bool = False) -> str:
        present = self.files.get(name)
        if (new and present is not None) or (replaces and (present is None or _etag(present) != replaces)):
            raise ConflictError(f"{self.url}{name} was changed by another process.")
        self.files[name] = data
        self.writes.append(name)
        return _etag(data)

    def list(self, below: str = "") -> Iterator[FileInfo]:
        for name in sorted(self.files):
            if name.startswith(below):
                yield FileInfo(name, len(self.files[name]), _etag(self.files[name]))

    def folders(self, below: str = "") -> Iterator[str]:
        names = {name[len(below) :].partition("/") for name in self.files if name.startswith(below)}
        yield from sorted({f"{below}{first}/" for first, slash, _ in names if slash})

    def open_read(self, name: str) -> BinaryIO:
        return io.BytesIO(self.files[name])


def data_of(storage: Storage, name: str) -> bytes:
    """A file's bytes; it has to be there."""
    stored = storage.read(name)
    assert stored is not None, f"{storage.url}{name} is missing"
    return stored.data


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'
