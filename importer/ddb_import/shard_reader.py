"""Reads one data shard: streams, decompresses, splits into lines, and checks that all of it was there.

Runs in threads; downloading, decompressing and hashing release the GIL. Memory: CHUNK_BYTES of lines, as much of
compressed bytes, and the longest line.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from ddb_shared.compression import DecompressionError, decompress
from ddb_shared.errors import ShardError, explained
from ddb_shared.manifest import DATA, Shard
from ddb_shared.storage import READ_BYTES, Folder

# About 500 typical items: one hop between threads for 20 batches.
CHUNK_BYTES: Final = 256 * 1024


class ShardReader:
    """The lines of one shard, in chunks. Lines that are empty or white space are no lines, as for AWS's import."""

    def __init__(self, folder: Folder, shard: Shard) -> None:
        self._folder = folder
        self._shard = shard
        # AWS's own manifests have an MD5 alone; ours have both, and the stronger one is enough
        self._hash = hashlib.sha256() if shard.sha256 else hashlib.md5(usedforsecurity=False)
        self._stored_bytes = 0
        self._lines = 0
        self._chunks = self._read_lines()

    def read(self) -> list[bytes] | None:
        """The lines of the next chunk; None at the end, when size, count and checksum have proven right.

        Raises ShardError where the shard is not what the manifest says.
        """
        with explained(f"read {self._url}"):
            return next(self._chunks, None)

    def prove(self) -> None:
        """Reads the whole shard for its checks alone; of Parquet the checksums, before its parser sees the bytes."""
        if self._is_parquet:
            with explained(f"read {self._url}"):
                for _ in self._stored():
                    pass
                self._check_stored()
            return
        while self.read() is not None:
            pass

    @property
    def _url(self) -> str:
        return f"{self._folder.url}{DATA}{self._shard.name}"

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
            raise self._damaged(f"it has {self._lines:,} items instead of {self._shard.items:,}")

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
        with closing(self._folder.open_read(DATA + self._shard.name)) as stream:
            stream.seek(self._shard.stored_bytes - size)
            return stream.read(size)

    def _counted(self, lines: list[bytes]) -> list[bytes]:
        lines = [line for line in lines if line and not line.isspace()]
        self._lines += len(lines)
        return lines

    def _stored(self) -> Iterator[bytes]:
        with closing(self._folder.open_read(DATA + self._shard.name)) as stream:
            while data := stream.read(READ_BYTES):
                self._hash.update(data)
                self._stored_bytes += len(data)
                yield data

    def _check_stored(self) -> None:
        shard = self._shard
        if shard.stored_bytes not in {-1, self._stored_bytes}:
            raise self._damaged(f"it has {self._stored_bytes:,} bytes instead of {shard.stored_bytes:,}")
        if shard.sha256 and shard.sha256 != self._hash.hexdigest():
            raise self._damaged("its sha256 is not the manifest's: it was altered")
        if not shard.sha256 and shard.md5 and shard.md5 != base64.b64encode(self._hash.digest()).decode():
            raise self._damaged("its md5 is not the manifest's: it was altered")

    def _damaged(self, how: str) -> ShardError:
        return ShardError(
            f"The shard {self._url} is damaged: {how}.",
            "Restore the object (an earlier version of it, or another copy of the export), or export the table again; "
            "then run the same command again.",
        )
