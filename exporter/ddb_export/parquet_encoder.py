"""Encodes Parquet shards: items are collected until they fill a row group. Loaded only for Parquet.

Memory of one encoder: ROW_GROUP_BYTES of items and one page; in addition, once per worker, the columns of a row group,
about five times ROW_GROUP_BYTES.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from ddb_export.arrow_columns import schema_of, to_table
from ddb_export.encoding import Encoding
from ddb_shared.format.arrow import use_frugal_memory

# A worker has four shards open, so this bounds its memory. It holds 8,000 items of 500 bytes, which readers scan or skip
# within a millisecond. 1,000 columns cost 10 ms per row group, whatever their content.
ROW_GROUP_BYTES: Final = 4 * 1024 * 1024
# The footer describes each column of each row group and takes a reader 0.9 KB of memory for each: 3.6 MB for these, and an
# import has eight files open. This allows shards of 1.4 GiB of items with 10 columns, of 12 MiB with 1,000.
MAX_COLUMN_CHUNKS: Final = 4_000
# The unit of decompression for readers. Arrow checks the size of a page only after each batch of rows.
_PAGE_BYTES: Final = 1024 * 1024
_SIZE_CHECKS_PER_PAGE: Final = 4
_MAX_ROWS_UNCHECKED: Final = 1024
# zstd's fastest level: level 3 takes 10% more time for 1% fewer bytes.
_LEVELS: Final = {"zstd": 1, "gzip": 1, "none": None}
# Items compress to between a half and a sixth; the error in the size of a shard is at most half a row group.
_ESTIMATED_RATIO: Final = 3

# A worker has one core, and memory for the columns of one row group. A single thread rather than a lock, since allocators
# keep memory for each thread that has used them: with ten threads a worker took 550 MiB.
_ARROW: Final = ThreadPoolExecutor(1, thread_name_prefix="arrow")

use_frugal_memory()


class ParquetEncoder:
    """One Parquet file. It has statistics of every column except `item`, so that readers can skip row groups."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._schema = schema_of(encoding.columns)
        self._output = _OutputBuffer()
        self._writer: Any = None
        self._waiting: list[msgspec.Raw] = []  # slices of their pages, which are cheaper to keep than copies
        self._waiting_plain_bytes = 0
        self._row_groups = 0
        self.plain_bytes = 0

    @property
    def waiting_bytes(self) -> int:
        return self._waiting_plain_bytes // _ESTIMATED_RATIO

    @property
    def is_full(self) -> bool:
        return (self._row_groups + 1) * len(self._schema) > MAX_COLUMN_CHUNKS

    def add(self, items: Sequence[msgspec.Raw]) -> bytes:
        """See Encoder."""
        size = sum(map(len, items))
        self.plain_bytes += size
        self._waiting += items
        self._waiting_plain_bytes += size
        if self._waiting_plain_bytes >= ROW_GROUP_BYTES:
            _ARROW.submit(self._write_row_group).result()
        return self._output.take()

    def finish(self) -> bytes:
        """See Encoder."""
        if self._waiting or self._writer is None:
            _ARROW.submit(self._write_row_group).result()
        _ARROW.submit(self._writer.close).result()
        return self._output.take()

    def _write_row_group(self) -> None:
        items, size = [_on_one_line(bytes(item)) for item in self._waiting], self._waiting_plain_bytes
        self._waiting, self._waiting_plain_bytes = [], 0
        self._writer = self._writer or self._open(len(items), size)
        if items:
            table = to_table(items, self._encoding.columns, self._schema)
            self._writer.write_table(table, row_group_size=len(items))
            self._row_groups += 1

    def _open(self, rows: int, size: int) -> Any:
        typed = self._schema.names[:-1]
        unchecked = rows * _PAGE_BYTES // _SIZE_CHECKS_PER_PAGE // max(size, 1)
        writer = pq.ParquetWriter(
            pa.PythonFile(self._output, mode="w"),
            self._schema,
            compression=self._encoding.compression.upper(),
            compression_level=_LEVELS[self._encoding.compression],
            use_dictionary=typed,
            write_statistics=typed,
            data_page_size=_PAGE_BYTES,
            write_batch_size=min(max(unchecked, 1), _MAX_ROWS_UNCHECKED),
            store_schema=False,  # a copy of the schema in Arrow's own format
        )
        writer.add_key_value_metadata(dict(self._encoding.metadata))
        return writer


def _on_one_line(item: bytes) -> bytes:
    """JSON escapes newlines in strings, so others are white space and are removed."""
    return item.replace(b"\n", b"") if b"\n" in item else item


class _OutputBuffer(io.RawIOBase):
    """A file whose content is taken out as it is written."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: bytes, /) -> int:  # type: ignore[override] # pyarrow gives bytes
        self._pieces.append(bytes(data))
        self._position += len(data)
        return len(data)

    def take(self) -> bytes:
        taken, self._pieces = b"".join(self._pieces), []
        return taken
