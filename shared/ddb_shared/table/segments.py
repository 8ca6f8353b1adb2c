"""How a table is divided into scan segments, and how work is divided among the workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from ddb_shared.table.description import Table

Part = TypeVar("Part")

# Enough hash ranges for an import that interleaves them to keep all partitions of its table busy. An empty segment
# costs half a read capacity unit, so a small table pays 8 units for them.
MIN_SEGMENTS: Final = 16
# A table that one page of a Scan holds is one segment: each costs six requests to S3 by its end, which is what a command on
# a small table would spend its time on.
PAGE_BYTES: Final = 1024 * 1024
# 64 MiB of items are one or two shards and a minute of work: little to repeat, and little to wait for at the end.
SEGMENT_BYTES: Final = 64 * 1024 * 1024
# Keeps the number of objects of a table of terabytes below the 50,000 that ImportTable accepts.
MAX_SEGMENTS: Final = 1024


def choose_segments(table: Table, *, fits_page: bool = False) -> int:
    """The number of scan segments for a table, from DescribeTable's size, which is about six hours old.

    `fits_page` says that the table has no more than PAGE_BYTES now.
    """
    if fits_page:
        return 1
    return min(max(MIN_SEGMENTS, -(-table.size_bytes // SEGMENT_BYTES)), MAX_SEGMENTS)


def split_round_robin(parts: Sequence[Part], workers: int) -> list[tuple[Part, ...]]:
    """One share for each worker, possibly empty; neighbours go to different workers.

    Segments and shards are in the order of their hash ranges, so every worker reads from the whole range.
    """
    return [tuple(parts[worker::workers]) for worker in range(workers)]
