"""Reads the items of a Parquet shard front to back. Loaded only where there is one.

A Parquet file is read from its footer on, which tells where the row groups lie. These lie in order, so the footer is
fetched first and then the whole file is streamed once: every byte passes the checksums, and Arrow gets those of `item`.

Memory: one page of `item` (1 MiB, or the largest item) as stored and as it is, and a chunk of lines.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from ddb_shared.arrow import use_frugal_memory
from ddb_shared.columns import ITEM
from ddb_shared.compression import DecompressionError
from ddb_shared.storage import READ_BYTES

# A footer of a hundred columns and ten row groups has 50 KB; a longer one costs a second request.
_GUESSED_FOOTER_BYTES: Final = 64 * 1024
# The footer's length and the mark PAR1: https://parquet.apache.org/docs/file-format/
_ENDING_BYTES: Final = 8
_ITEM_TYPES: Final = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())

use_frugal_memory()

ReadTail = Callable[[int], bytes]


def item_lines(
    stored: Iterator[bytes], read_tail: ReadTail, size: int, max_bytes: int
) -> Iterator[list[bytes]]:
    """Lines `{"Item":…}` of a file of `size` bytes, in chunks of about `max_bytes`; `stored` is all of it, in order.

    `read_tail` gives the last bytes of the file. Raises DecompressionError where it is no whole Parquet file.
    """
    source = _InOrder(stored, _footer(read_tail, size), size)
    try:
        yield from _lines(source, max_bytes)
    except (pa.ArrowException, OSError) as error:
        if source.broken:  # the storage's error, not the file's
            raise
        raise DecompressionError(f"it is no whole Parquet file: {error}") from error
    source.drain()


def _footer(read_tail: ReadTail, size: int) -> bytes:
    tail = read_tail(min(_GUESSED_FOOTER_BYTES, size))
    length = int.from_bytes(tail[-_ENDING_BYTES:-4], "little") + _ENDING_BYTES
    if not tail.endswith(b"PAR1") or length > size:
        raise DecompressionError("it is no whole Parquet file: it has no footer")
    return tail[-length:] if length <= len(tail) else read_tail(length)


def _lines(source: _InOrder, max_bytes: int) -> Iterator[list[bytes]]:
    metadata = pq.read_metadata(pa.BufferReader(source.footer))
    file = pq.ParquetFile(
        pa.PythonFile(source, mode="r"),
        metadata=metadata,
        buffer_size=READ_BYTES,
        pre_buffer=False,  # else a row group's whole column is read at once
    )
    if ITEM not in file.schema_arrow.names or file.schema_arrow.field(ITEM).type not in _ITEM_TYPES:
        raise DecompressionError(f"it has no column {ITEM!r} of strings")
    for group in range(metadata.num_row_groups):
        for batch in file.iter_batches(_rows(metadata.row_group(group), max_bytes), [group], [ITEM]):
            if batch.column(0).null_count:
                raise DecompressionError(f"it has rows without {ITEM!r}")
            items = batch.column(0).cast(pa.large_binary()).to_pylist()
            yield [b'{"Item":' + item + b"}" for item in items]


def _rows(group: Any, max_bytes: int) -> int:
    """Rows of a row group that make a chunk."""
    chunks = (
        column for column in map(group.column, range(group.num_columns)) if column.path_in_schema == ITEM
    )
    item_bytes = int(next(chunks).total_uncompressed_size)
    return max(1, int(group.num_rows) * max_bytes // max(item_bytes, 1))


class _InOrder(io.RawIOBase):
    """A file that can be read forward only, of which the footer is known."""

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
            raise DecompressionError("its row groups are not in order")
        while self._ready_at + len(self._ready) < end and self._fetch():
            self._drop(self._position)
        self._drop(self._position)
        with memoryview(self._ready) as ready:
            data = bytes(ready[: end - self._position])
        self._position += len(data)
        self._drop(self._position)
        return data

    def drain(self) -> None:
        """Reads what is left, which ends in the footer that was there before."""
        while self._fetch():
            self._drop(self._ready_at + len(self._ready) - len(self.footer))
        if not self._ready.endswith(self.footer):
            raise DecompressionError("its footer has changed while it was read")

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
