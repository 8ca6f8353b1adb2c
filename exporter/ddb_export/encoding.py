"""How items become the bytes of a shard: JSON lines, or Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from ddb_shared.columns import Column
from ddb_shared.compression import SUFFIXES, compressor
from ddb_shared.items import line_pieces

JSONL: Final = "jsonl"
PARQUET: Final = "parquet"
PARQUET_SUFFIX: Final = ".parquet"
# What readers of each format take everywhere; zstd makes Parquet files of the same speed smaller.
DEFAULT_COMPRESSIONS: Final = {JSONL: "gzip", PARQUET: "zstd"}


class Encoder(Protocol):
    """Makes one shard's bytes, in order, in bounded memory.

    `plain_bytes` is what was added, before compression.
    """

    plain_bytes: int

    @property
    def waiting_bytes(self) -> int:
        """A guess of the stored size of what `add` has taken and not given yet."""
        ...

    @property
    def is_full(self) -> bool:
        """Whether the shard should end, so that neither its writer nor its reader needs more memory."""
        ...

    def add(self, items: Sequence[msgspec.Raw]) -> bytes:
        """Takes a page of items; returns the next bytes of the shard, if any are ready."""
        ...

    def finish(self) -> bytes:
        """The last bytes of the shard."""
        ...


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """The encoding of all shards of an export. `columns` and `metadata` are Parquet's alone."""

    format: str = JSONL
    compression: str
    columns: tuple[Column, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()

    @property
    def suffix(self) -> str:
        """What the names of the shards end in."""
        return PARQUET_SUFFIX if self.format == PARQUET else SUFFIXES[self.compression]

    def encoder(self) -> Encoder:
        """An encoder for one shard."""
        if self.format == PARQUET:
            from ddb_export.parquet_encoder import ParquetEncoder  # noqa: PLC0415 - 40 MB of pyarrow

            return ParquetEncoder(self)
        return JsonLines(self.compression)


class JsonLines:
    """One line for each item, compressed as one stream."""

    def __init__(self, compression: str) -> None:
        self._compressor = compressor(compression)
        self.plain_bytes = 0

    @property
    def waiting_bytes(self) -> int:
        return 0  # a compressor's window

    @property
    def is_full(self) -> bool:
        return False

    def add(self, items: Sequence[msgspec.Raw]) -> bytes:
        """See Encoder."""
        pieces = line_pieces(items)
        self.plain_bytes += sum(map(len, pieces))
        return b"".join(map(self._compressor.compress, pieces))

    def finish(self) -> bytes:
        """See Encoder."""
        return self._compressor.flush()
