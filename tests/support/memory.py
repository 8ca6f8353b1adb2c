"""A folder in memory with S3's rules, for tests of what lies above the storage."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ddb_shared.storage import ConflictError, Folder, Listed, S3Folder, Stored


class MemoryFolder(S3Folder):
    """Where S3Folder would ask a client, this one has a dict; `age_seconds` is what every file's age reads."""

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

    def read(self, name: str) -> Stored | None:
        data = self.files.get(name)
        return None if data is None else Stored(data, _etag(data), self.age_seconds)

    def write(self, name: str, data: bytes, *, replaces: str | None = None, new: bool = False) -> str:
        present = self.files.get(name)
        if (new and present is not None) or (replaces and (present is None or _etag(present) != replaces)):
            raise ConflictError(f"{self.url}{name} was changed by someone else in the meantime.")
        self.files[name] = data
        self.writes.append(name)
        return _etag(data)

    def list(self, below: str = "") -> Iterator[Listed]:
        for name in sorted(self.files):
            if name.startswith(below):
                yield Listed(name, len(self.files[name]), _etag(self.files[name]))

    def open_read(self, name: str) -> BinaryIO:
        return io.BytesIO(self.files[name])


def data_of(folder: Folder, name: str) -> bytes:
    """A file's bytes; it has to be there."""
    stored = folder.read(name)
    assert stored is not None, f"{folder.url}{name} is missing"
    return stored.data


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'
