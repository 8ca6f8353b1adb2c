"""Writes one data shard: encodes, hashes and uploads items in one stream.

Runs in threads; joining aside, everything here releases the GIL. Memory: one upload part of
`storage.PART_BYTES`, one page of items (1 MB) and what the encoder holds.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from ddb_export.encoding import Encoding
from ddb_shared.errors import ShardError, explained
from ddb_shared.manifest import DATA, Shard
from ddb_shared.storage import S3Folder


class ShardWriter:
    """One shard being written; it exists only after `commit`."""

    def __init__(self, folder: S3Folder, segment: int, sequence: int, encoding: Encoding) -> None:
        self._folder = folder
        self._segment = segment
        self._name = f"{DATA}{segment:04d}-{sequence:06d}{encoding.suffix}"
        self._encoder = encoding.encoder()
        self._upload = folder.open_upload(self._name)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self._items = 0
        self.stored_bytes = 0
        self._lock = threading.Lock()  # a cancelled write goes on in its thread; abort has to wait for it

    def write(self, items: Sequence[msgspec.Raw]) -> int:
        """Appends a page of items; returns their bytes before compression."""
        with self._lock:
            before = self._encoder.plain_bytes
            self._store(self._encoder.add(items))
            self._items += len(items)
            return self._encoder.plain_bytes - before

    @property
    def expected_bytes(self) -> int:
        """About what the shard would have if it ended here."""
        return self.stored_bytes + self._encoder.waiting_bytes

    @property
    def is_full(self) -> bool:
        """Whether the shard should end, whatever its size."""
        return self._encoder.is_full

    def commit(self) -> Shard:
        """Completes the upload and checks that all of it has arrived."""
        with self._lock:
            self._store(self._encoder.finish())
            self._folder.complete(self._name, self._upload)
        stored = self._folder.stat(self._name)
        if stored.size != self.stored_bytes:
            raise ShardError(
                f"{self._folder.url}{self._name} has {stored.size:,} bytes, but {self.stored_bytes:,} were sent.",
                f"Something else writes to this folder. Run: ddb-export --resume {self._folder.url}",
            )
        return Shard(
            key=self._folder.key(self._name),
            segment=self._segment,
            items=self._items,
            bytes=self._encoder.plain_bytes,
            stored_bytes=self.stored_bytes,
            md5=base64.b64encode(self._md5.digest()).decode(),
            sha256=self._sha256.hexdigest(),
            etag=stored.etag.strip('"'),
        )

    def abort(self) -> None:
        """Throws the upload away; nothing has become visible."""
        with self._lock:
            self._folder.discard(self._name, self._upload)

    def _store(self, data: bytes) -> None:
        if data:
            self._md5.update(data)
            self._sha256.update(data)
            self.stored_bytes += len(data)
            with explained(f"write {self._folder.url}{self._name}"):
                self._upload.write(data)


@asynccontextmanager
async def open_shard(
    folder: S3Folder, segment: int, sequence: int, encoding: Encoding
) -> AsyncIterator[ShardWriter]:
    """A shard writer that is aborted unless the block committed it."""
    writer = await asyncio.to_thread(ShardWriter, folder, segment, sequence, encoding)
    try:
        yield writer
    finally:
        await asyncio.to_thread(writer.abort)  # does nothing after a commit
