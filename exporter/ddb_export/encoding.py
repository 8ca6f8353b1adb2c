"""How items are encoded in shards: JSON lines or Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from ddb_shared.format.columns import Column
from ddb_shared.format.compression import SUFFIXES
from ddb_shared.format.manifest import JSONL, PARQUET

PARQUET_SUFFIX: Final = ".parquet"
# Supported by all readers of each format; zstd makes Parquet files smaller at the same speed.
DEFAULT_COMPRESSIONS: Final = {JSONL: "gzip", PARQUET: "zstd"}


class Encoder(Protocol):
    """Encodes one shard, in order and in bounded memory.

    `plain_bytes` is the size of the items added, before compression.
    """

    plain_bytes: int

    @property
    def waiting_bytes(self) -> int:
        """The estimated stored size of items that `add` has taken but not returned yet."""
        ...

    @property
    def is_full(self) -> bool:
        """Whether the shard should end, to bound the memory of its writer and its readers."""
        ...

    def add(self, items: Sequence[msgspec.Raw]) -> bytes:
        """Adds a page of items; returns the next bytes of the shard, possibly none."""
        ...

    def finish(self) -> bytes:
        """The last bytes of the shard."""
        ...


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """The encoding of all shards of an export. Only Parquet has `columns` and `metadata`."""

    format: str = JSONL
    compression: str
    columns: tuple[Column, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()

    @property
    def suffix(self) -> str:
        """The suffix of shard names."""
        return PARQUET_SUFFIX if self.format == PARQUET else SUFFIXES[self.compression]
