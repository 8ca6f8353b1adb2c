"""A folder on a disk, with the rules of one in a bucket: whole files, replaced atomically, on a condition."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ddb_shared.errors import explained
from ddb_shared.folder import PROBE_DATA, ConflictError, Listed, Stored


class LocalFolder:
    """A folder on a disk, for import state where the destination may not write to the bucket."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.url = f"{path}/"

    def read(self, name: str) -> Stored | None:
        path = self._path / name
        try:
            data = path.read_bytes()
            age = time.time() - path.stat().st_mtime
        except FileNotFoundError:
            return None
        return Stored(data, _etag(data), max(age, 0.0))

    def write(self, name: str, data: bytes, *, replaces: str | None = None, new: bool = False) -> str:
        path = self._path / name
        with explained(f"write {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            present = self.read(name)
            if replaces and (present is None or present.etag != replaces):
                raise ConflictError(f"{path} was changed by someone else in the meantime.")
            draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            _write_durably(draft, data)
            if new:
                _link_new(draft, path)
            else:
                draft.replace(path)
        return _etag(data)

    def probe(self) -> str:
        """As every folder's; nothing stays behind, not even the folder, which is made when it is first written to."""
        place = next(path for path in (self._path, *self._path.parents) if path.exists())
        with explained(f"write {self.url}"), tempfile.TemporaryFile(dir=place) as file:
            file.write(PROBE_DATA)
        return self.url

    def list(self, below: str = "") -> Iterator[Listed]:
        for path in sorted(self._path.rglob("*")):
            name = path.relative_to(self._path).as_posix()
            if path.is_file() and name.startswith(below) and not path.name.startswith("."):
                yield Listed(name, path.stat().st_size, "")

    def open_read(self, name: str) -> BinaryIO:
        with explained(f"read {self._path / name}"):
            return io.BufferedReader(io.FileIO(self._path / name))


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def _write_durably(path: Path, data: bytes) -> None:
    """A file that survives a crash once this returns; a full disk leaves none behind."""
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
        raise ConflictError(f"{path} exists already.") from error
    finally:
        draft.unlink(missing_ok=True)
