"""Parquet shards: items wait until they make a row group, which Arrow then makes at once. Loaded only for Parquet.

Memory of one encoder: ROW_GROUP_BYTES of items and one page; of one worker, once, the columns of a row group, about five
times ROW_GROUP_BYTES.
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
from ddb_shared.arrow import use_frugal_memory

# A worker has four shards open, so this bounds its memory. Of items of 500 bytes it takes 8,000, which a reader scans, or
# skips, within a millisecond. 1,000 columns cost 10 ms a row group, whatever is in them.
ROW_GROUP_BYTES: Final = 4 * 1024 * 1024
# The footer tells of each column of each row group, at 0.9 KB of memory for whoever has the file open: 3.6 MB for these, of
# which an import has eight open. With 10 columns that is a shard of 1.4 GiB of items, with 1,000 one of 12 MiB.
MOST_COLUMN_CHUNKS: Final = 4_000
# What a reader has to decompress at once. Pages end at this size, which Arrow looks at after every so many rows.
_PAGE_BYTES: Final = 1024 * 1024
_LOOKS_PER_PAGE: Final = 4
_MOST_ROWS_UNSEEN: Final = 1024
# zstd's fastest: level 3 takes a tenth more time for a hundredth fewer bytes.
_LEVELS: Final = {"zstd": 1, "gzip": 1, "none": None}
# Items compress to between half and a sixth; off by half, a shard is off by half a row group.
_GUESSED_RATIO: Final = 3

# A worker has one core, and memory for one row group as columns. It is one thread, not a lock, because allocators keep
# memory for each thread that ever had some: with ten threads a worker took 550 MiB.
_ARROW: Final = ThreadPoolExecutor(1, thread_name_prefix="arrow")

use_frugal_memory()


class ParquetEncoder:
    """One Parquet file. Statistics are kept of every column but `item`, so that readers skip row groups."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._schema = schema_of(encoding.columns)
        self._made = _Made()
        self._writer: Any = None
        self._waiting: list[msgspec.Raw] = []  # parts of their page, which is cheaper to keep than copies
        self._waiting_plain_bytes = 0
        self._row_groups = 0
        self.plain_bytes = 0

    @property
    def waiting_bytes(self) -> int:
        return self._waiting_plain_bytes // _GUESSED_RATIO

    @property
    def is_full(self) -> bool:
        return (self._row_groups + 1) * len(self._schema) > MOST_COLUMN_CHUNKS

    def add(self, items: Sequence[msgspec.Raw]) -> bytes:
        """See Encoder."""
        size = sum(map(len, items))
        self.plain_bytes += size
        self._waiting += items
        self._waiting_plain_bytes += size
        if self._waiting_plain_bytes >= ROW_GROUP_BYTES:
            _ARROW.submit(self._write_row_group).result()
        return self._made.take()

    def finish(self) -> bytes:
        """See Encoder."""
        if self._waiting or self._writer is None:
            _ARROW.submit(self._write_row_group).result()
        _ARROW.submit(self._writer.close).result()
        return self._made.take()

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
        unseen = rows * _PAGE_BYTES // _LOOKS_PER_PAGE // max(size, 1)
        writer = pq.ParquetWriter(
            pa.PythonFile(self._made, mode="w"),
            self._schema,
            compression=self._encoding.compression.upper(),
            compression_level=_LEVELS[self._encoding.compression],
            use_dictionary=typed,
            write_statistics=typed,
            data_page_size=_PAGE_BYTES,
            write_batch_size=min(max(unseen, 1), _MOST_ROWS_UNSEEN),
            store_schema=False,  # Arrow's own copy of what the Parquet schema says
        )
        writer.add_key_value_metadata(dict(self._encoding.metadata))
        return writer


def _on_one_line(item: bytes) -> bytes:
    """JSON escapes newlines within strings, so one between tokens is white space and can go."""
    return item.replace(b"\n", b"") if b"\n" in item else item


class _Made(io.RawIOBase):
    """A file that gives away what was written to it."""

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
