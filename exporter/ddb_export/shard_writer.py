"""Writes one data shard: encodes, hashes and uploads items in one stream.

Runs in threads; everything except joining releases the GIL. Memory: one upload part (`storage.upload.PART_BYTES`), one page
of items (1 MB) and the data in the encoder.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from ddb_export.encoders import open_encoder
from ddb_export.encoding import Encoding
from ddb_shared.errors import ShardError
from ddb_shared.format.manifest import DATA, Shard
from ddb_shared.storage.s3 import S3Storage


class ShardWriter:
    """One shard being written; it exists only after `commit`."""

    def __init__(self, storage: S3Storage, segment: int, sequence: int, encoding: Encoding) -> None:
        self._storage = storage
        self._segment = segment
        self._name = f"{DATA}{segment:04d}-{sequence:06d}{encoding.suffix}"
        self._encoder = open_encoder(encoding)
        self._upload = storage.open_upload(self._name)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self._items = 0
        self.stored_bytes = 0
        self._lock = threading.Lock()  # a cancelled write continues in its thread; abort waits for it

    def write(self, items: Sequence[msgspec.Raw]) -> int:
        """Appends a page of items; returns their bytes before compression."""
        with self._lock:
            before = self._encoder.plain_bytes
            self._store(self._encoder.add(items))
            self._items += len(items)
            return self._encoder.plain_bytes - before

    @property
    def expected_bytes(self) -> int:
        """The approximate size of the shard if it ended now."""
        return self.stored_bytes + self._encoder.waiting_bytes

    @property
    def is_full(self) -> bool:
        """Whether the shard should end regardless of its size."""
        return self._encoder.is_full

    def commit(self) -> Shard:
        """Completes the upload and checks the size of the object."""
        with self._lock:
            self._store(self._encoder.finish())
            self._upload.complete()
        stored = self._storage.stat(self._name)
        if stored.size != self.stored_bytes:
            raise ShardError(
                f"{self._storage.url}{self._name} has {stored.size:,} bytes, but {self.stored_bytes:,} were sent.",
                f"Another program writes to this folder. Stop it, then run: ddb-export --resume {self._storage.url}",
            )
        return Shard(
            key=self._storage.key(self._name),
            segment=self._segment,
            items=self._items,
            bytes=self._encoder.plain_bytes,
            stored_bytes=self.stored_bytes,
            md5=base64.b64encode(self._md5.digest()).decode(),
            sha256=self._sha256.hexdigest(),
            etag=stored.etag.strip('"'),
        )

    def abort(self) -> None:
        """Discards the upload; nothing has become visible."""
        with self._lock:
            self._upload.discard()

    def _store(self, data: bytes) -> None:
        if data:
            self._md5.update(data)
            self._sha256.update(data)
            self.stored_bytes += len(data)
            self._upload.write(data)


@asynccontextmanager
async def open_shard(
    storage: S3Storage, segment: int, sequence: int, encoding: Encoding
) -> AsyncIterator[ShardWriter]:
    """A shard writer that is aborted unless the block commits it."""
    writer = await asyncio.to_thread(ShardWriter, storage, segment, sequence, encoding)
    try:
        yield writer
    finally:
        await asyncio.to_thread(writer.abort)  # does nothing after a commit
