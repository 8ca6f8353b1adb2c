"""A folder on a local disk with the guarantees of a bucket: whole files, atomic replacement, conditional writes."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from ddb_shared.errors import ServiceError, map_errors
from ddb_shared.storage.base import PROBE_DATA, ConflictError, FileInfo, StoredObject

if sys.platform != "win32":
    import fcntl

# A conditional write takes milliseconds. Another process may hold the lock for ever if it was stopped during one.
_LOCK_SECONDS: Final = 10.0


class LocalStorage:
    """A folder on a local disk, for import state if the destination may not write to the bucket."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.url = f"{path}/"

    def read(self, name: str, *, max_bytes: int | None = None) -> StoredObject | None:
        path = self._path / name
        try:
            with path.open("rb") as file:
                data = file.read(-1 if max_bytes is None else max_bytes)
            age = time.time() - path.stat().st_mtime
        except FileNotFoundError:
            return None
        return StoredObject(data, _etag(data), max(age, 0.0))

    def write(self, name: str, data: bytes, *, replaces: str | None = None, new: bool = False) -> str:
        path = self._path / name
        with map_errors(f"write {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            if replaces is None:
                _replace(path, data, new=new)
                return _etag(data)
            with _locked(path):
                present = self.read(name)
                if present is None or present.etag != replaces:
                    raise ConflictError(f"{path} was changed by another process.")
                _replace(path, data)
        return _etag(data)

    def probe(self) -> str:
        """See Storage. Leaves nothing behind, not even the folder, which is created by the first write."""
        place = next(path for path in (self._path, *self._path.parents) if path.exists())
        with map_errors(f"write {self.url}"), tempfile.TemporaryFile(dir=place) as file:
            file.write(PROBE_DATA)
        return self.url

    def list(self, below: str = "") -> Iterator[FileInfo]:
        for path in sorted(self._path.rglob("*")):
            name = path.relative_to(self._path).as_posix()
            if path.is_file() and name.startswith(below) and not path.name.startswith("."):
                found = path.stat()
                yield FileInfo(name, found.st_size, "", found.st_mtime)

    def folders(self, below: str = "") -> Iterator[str]:
        place = self._path / below
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if path.is_dir():
                yield f"{below}{path.name}/"

    def open_read(self, name: str) -> BinaryIO:
        with map_errors(f"read {self._path / name}"):
            return io.BufferedReader(io.FileIO(self._path / name))


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Makes the comparison and the replacement of a file one step, for all processes of this machine."""
    if sys.platform == "win32":
        yield
        return
    with path.with_name(f".{path.name}.lock").open("ab") as file:
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise ServiceError(
                        f"Could not write {path}: another process has locked {file.name} for {_LOCK_SECONDS:.0f} s.",
                        "End that process, or let it continue if it was stopped.",
                    ) from error
                time.sleep(0.01)
        yield


def _replace(path: Path, data: bytes, *, new: bool = False) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    _write_durably(draft, data)
    if new:
        _link_new(draft, path)
    else:
        draft.replace(path)


def _write_durably(path: Path, data: bytes) -> None:
    """Writes a file that survives a crash once this returns; removes it again if the disk is full."""
    try:
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _link_new(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except FileExistsError as error:
        raise ConflictError(f"{path} already exists.") from error
    finally:
        draft.unlink(missing_ok=True)
