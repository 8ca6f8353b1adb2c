"""Reads one data shard: streams, decompresses, splits into lines, and verifies size, count and checksum.

Runs in threads; downloading, decompressing and hashing release the GIL. Memory: CHUNK_BYTES of lines, as many compressed
bytes, and the longest line.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from ddb_import.ion_lines import is_blank, is_ion, json_lines
from ddb_shared.errors import ShardError, map_errors
from ddb_shared.format.compression import DecompressionError, decompress
from ddb_shared.format.manifest import DATA, Shard
from ddb_shared.storage.base import Storage
from ddb_shared.storage.s3 import READ_BYTES

# About 500 typical items: one thread switch for 20 batches.
CHUNK_BYTES: Final = 256 * 1024


class ShardReader:
    """The lines of one shard, in chunks. Lines that are empty or white space do not count, as for AWS's import."""

    def __init__(self, storage: Storage, shard: Shard) -> None:
        self._storage = storage
        self._shard = shard
        # AWS's own manifests have only an MD5; ours have both, and the stronger one is enough
        self._hash = hashlib.sha256() if shard.sha256 else hashlib.md5(usedforsecurity=False)
        self._stored_bytes = 0
        self._lines = 0
        self._chunks = self._read_lines()

    def read(self) -> list[bytes] | None:
        """The lines of the next chunk; None at the end, after size, count and checksum are verified.

        Raises ShardError if the shard does not match the manifest.
        """
        lines = self._next_lines()
        return json_lines(lines) if lines and is_ion(self._shard.name) else lines

    def verify_checksum(self) -> None:
        """Reads the whole shard only to verify it; for Parquet just the checksum, before its parser sees the bytes."""
        if self._is_parquet:
            with map_errors(f"read {self._url}"):
                for _ in self._stored():
                    pass
                self._check_stored()
            return
        while self._next_lines() is not None:
            pass

    def _next_lines(self) -> list[bytes] | None:
        """The next chunk as it is stored."""
        with map_errors(f"read {self._url}"):
            return next(self._chunks, None)

    @property
    def _url(self) -> str:
        return f"{self._storage.url}{DATA}{self._shard.name}"

    @property
    def _is_parquet(self) -> bool:
        return self._shard.name.endswith(".parquet")

    def _read_lines(self) -> Iterator[list[bytes]]:
        try:
            for lines in self._parquet_lines() if self._is_parquet else self._text_lines():
                yield self._counted(lines)
        except DecompressionError as error:
            raise self._damaged(str(error)) from error
        self._check_stored()
        if self._shard.items != self._lines:
            raise self._damaged(f"it has {self._lines:,} items, expected {self._shard.items:,}")

    def _text_lines(self) -> Iterator[list[bytes]]:
        rest = b""
        for data in decompress(self._shard.name, self._stored(), CHUNK_BYTES):
            *whole, rest = (rest + data).split(b"\n") if rest else data.split(b"\n")
            yield whole
        if rest:
            yield [rest]

    def _parquet_lines(self) -> Iterator[list[bytes]]:
        from ddb_import.parquet_lines import item_lines  # noqa: PLC0415 - 40 MB of pyarrow

        return item_lines(self._stored(), self._read_tail, self._shard.stored_bytes, CHUNK_BYTES)

    def _read_tail(self, size: int) -> bytes:
        with closing(self._storage.open_read(DATA + self._shard.name)) as stream:
            stream.seek(self._shard.stored_bytes - size)
            return stream.read(size)

    def _counted(self, lines: list[bytes]) -> list[bytes]:
        blank = is_blank if is_ion(self._shard.name) else bytes.isspace
        lines = [line for line in lines if line and not blank(line)]
        self._lines += len(lines)
        return lines

    def _stored(self) -> Iterator[bytes]:
        for data in self._pieces():
            self._hash.update(data)
            self._stored_bytes += len(data)
            yield data

    def _pieces(self) -> Iterator[bytes]:
        """The object as it is stored: a small one in one piece, since opening a stream costs as much as 50 requests."""
        name = DATA + self._shard.name
        if 0 <= self._shard.stored_bytes < READ_BYTES:  # if it is larger, READ_BYTES of it are too many
            small = self._storage.read(name, max_bytes=READ_BYTES)
            if small is not None:
                yield small.data
                return
        with closing(self._storage.open_read(name)) as stream:
            while data := stream.read(READ_BYTES):
                yield data

    def _check_stored(self) -> None:
        shard = self._shard
        if shard.stored_bytes not in {-1, self._stored_bytes}:
            raise self._damaged(f"it has {self._stored_bytes:,} bytes, expected {shard.stored_bytes:,}")
        if shard.sha256 and shard.sha256 != self._hash.hexdigest():
            raise self._damaged("its sha256 differs from the manifest: it was modified")
        if not shard.sha256 and shard.md5 and shard.md5 != base64.b64encode(self._hash.digest()).decode():
            raise self._damaged("its md5 differs from the manifest: it was modified")

    def _damaged(self, how: str) -> ShardError:
        return ShardError(
            f"The shard {self._url} is damaged: {how}.",
            "Restore the object (an earlier version of it, or another copy of the export), or export the table again; "
            "then run the same command again.",
        )
