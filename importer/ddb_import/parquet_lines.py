"""Reads the items of a Parquet shard front to back. Loaded only for Parquet.

The footer of a Parquet file has the positions of its row groups, which are in order. So the footer is fetched first, then
the whole file is streamed once: every byte passes through the checksums, and Arrow reads the column `item`.

Memory: one page of `item` (1 MiB, or the largest item), compressed and decompressed, and a chunk of lines.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from ddb_shared.format.arrow import use_frugal_memory
from ddb_shared.format.columns import ITEM
from ddb_shared.format.compression import DecompressionError
from ddb_shared.storage.s3 import READ_BYTES

# A footer of a hundred columns and ten row groups has 50 KB; a longer one costs a second request.
_EXPECTED_FOOTER_BYTES: Final = 64 * 1024
# The length of the footer and the magic number PAR1: https://parquet.apache.org/docs/file-format/
_ENDING_BYTES: Final = 8
_ITEM_TYPES: Final = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())

use_frugal_memory()

ReadTail = Callable[[int], bytes]


def item_lines(
    stored: Iterator[bytes], read_tail: ReadTail, size: int, max_bytes: int
) -> Iterator[list[bytes]]:
    """Lines `{"Item":…}` of a file of `size` bytes, in chunks of about `max_bytes`; `stored` is all of it, in order.

    `read_tail` returns the last bytes of the file. Raises DecompressionError if it is not a complete Parquet file.
    """
    source = _ForwardReader(stored, _footer(read_tail, size), size)
    try:
        yield from _lines(source, max_bytes)
    except (pa.ArrowException, OSError) as error:
        if source.broken:  # an error of the storage, not of the file
            raise
        raise DecompressionError(f"corrupt or truncated Parquet file: {error}") from error
    source.drain()


def _footer(read_tail: ReadTail, size: int) -> bytes:
    tail = read_tail(min(_EXPECTED_FOOTER_BYTES, size))
    length = int.from_bytes(tail[-_ENDING_BYTES:-4], "little") + _ENDING_BYTES
    if not tail.endswith(b"PAR1") or length > size:
        raise DecompressionError("corrupt or truncated Parquet file: the footer is missing")
    return tail[-length:] if length <= len(tail) else read_tail(length)


def _lines(source: _ForwardReader, max_bytes: int) -> Iterator[list[bytes]]:
    metadata = pq.read_metadata(pa.BufferReader(source.footer))
    file = pq.ParquetFile(
        pa.PythonFile(source, mode="r"),
        metadata=metadata,
        buffer_size=READ_BYTES,
        pre_buffer=False,  # otherwise the whole column of a row group is read at once
    )
    if ITEM not in file.schema_arrow.names or file.schema_arrow.field(ITEM).type not in _ITEM_TYPES:
        raise DecompressionError(f"there is no column {ITEM!r} of strings")
    for group in range(metadata.num_row_groups):
        for batch in file.iter_batches(_rows(metadata.row_group(group), max_bytes), [group], [ITEM]):
            if batch.column(0).null_count:
                raise DecompressionError(f"some rows have no {ITEM!r}")
            items = batch.column(0).cast(pa.large_binary()).to_pylist()
            yield [b'{"Item":' + item + b"}" for item in items]


def _rows(group: Any, max_bytes: int) -> int:
    """The number of rows of a row group in a chunk."""
    chunks = (
        column for column in map(group.column, range(group.num_columns)) if column.path_in_schema == ITEM
    )
    item_bytes = int(next(chunks).total_uncompressed_size)
    return max(1, int(group.num_rows) * max_bytes // max(item_bytes, 1))


class _ForwardReader(io.RawIOBase):
    """A file that is read forward only, and whose footer is known."""

    def __init__(self, stored: Iterator[bytes], footer: bytes, size: int) -> None:
        self.footer = footer
        self.broken = False
        self._stored = stored
        self._size = size
        self._position = 0
        self._ready = bytearray()
        self._ready_at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        end = self._size if size < 0 else min(self._position + size, self._size)
        if self._position < self._ready_at:
            raise DecompressionError("the row groups are not in order")
        while self._ready_at + len(self._ready) < end and self._fetch():
            self._drop(self._position)
        self._drop(self._position)
        with memoryview(self._ready) as ready:
            data = bytes(ready[: end - self._position])
        self._position += len(data)
        self._drop(self._position)
        return data

    def drain(self) -> None:
        """Reads the rest of the file, and checks that its footer is the known one."""
        while self._fetch():
            self._drop(self._ready_at + len(self._ready) - len(self.footer))
        if not self._ready.endswith(self.footer):
            raise DecompressionError("the footer changed while the file was read")

    def _drop(self, until: int) -> None:
        dropped = min(max(until - self._ready_at, 0), len(self._ready))
        del self._ready[:dropped]
        self._ready_at += dropped

    def _fetch(self) -> bool:
        try:
            data = next(self._stored, b"")
        except BaseException:
            self.broken = True
            raise
        self._ready += data
        return bool(data)
