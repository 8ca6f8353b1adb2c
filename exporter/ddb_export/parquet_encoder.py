"""Parquet shards: pages become Arrow tables, and these row groups. Loaded only where Parquet is asked for.

Memory of one encoder: ROW_GROUP_BYTES of tables, a page's columns, and the row group as it is stored.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from ddb_export.arrow_columns import schema_of, to_table
from ddb_export.encoding import Encoding

# Eight shards of a worker are open at once, so this bounds its memory; the importer holds one stored row group of each of
# 16 shards. Of items of 500 bytes it holds 10,000, which a reader skips or scans in a millisecond.
ROW_GROUP_BYTES: Final = 8 * 1024 * 1024
# zstd's fastest: level 3 takes a tenth more time for a hundredth fewer bytes.
_LEVELS: Final = {"zstd": 1, "gzip": 1, "none": None}
# Items compress to a quarter or a fifth; off by half, a shard is off by half a row group.
_GUESSED_RATIO: Final = 4


class ParquetEncoder:
    """One Parquet file. Statistics are kept of every column but `item`, so that readers skip row groups."""

    def __init__(self, encoding: Encoding) -> None:
        self._columns = encoding.columns
        self._schema = schema_of(encoding.columns, dict(encoding.metadata))
        self._made = _Made()
        typed = self._schema.names[:-1]
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._made, mode="w"),
            self._schema,
            compression=encoding.compression.upper(),
            compression_level=_LEVELS[encoding.compression],
            use_dictionary=typed,
            write_statistics=typed,
            store_schema=False,  # Arrow's own copy of what the Parquet schema says
        )
        self._waiting: list[pa.Table] = []
        self._waiting_plain_bytes = 0
        self.plain_bytes = 0

    @property
    def waiting_bytes(self) -> int:
        return self._waiting_plain_bytes // _GUESSED_RATIO

    def add(self, items: Sequence[msgspec.Raw]) -> bytes:
        """See Encoder."""
        lines = [_on_one_line(bytes(item)) for item in items]
        table = to_table(lines, self._columns, self._schema)
        self.plain_bytes += sum(map(len, lines))
        self._waiting.append(table)
        self._waiting_plain_bytes += table.nbytes
        if self._waiting_plain_bytes >= ROW_GROUP_BYTES:
            self._write_row_group()
        return self._made.take()

    def finish(self) -> bytes:
        """See Encoder."""
        if self._waiting:
            self._write_row_group()
        self._writer.close()
        return self._made.take()

    def _write_row_group(self) -> None:
        table = pa.concat_tables(self._waiting)
        self._waiting, self._waiting_plain_bytes = [], 0
        self._writer.write_table(table, row_group_size=table.num_rows)


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
