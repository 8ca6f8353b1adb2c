"""Decides how a table is cut into segments and dealt to the workers."""

from __future__ import annotations

from typing import Final

from ddb_shared.table import Table

# Enough hash ranges that an import which interleaves them keeps all partitions of its table busy. A segment that is
# empty costs half a read capacity unit, so a small table pays 8 units for them.
LEAST_SEGMENTS: Final = 16
# 64 MiB of items are a shard or two, and a minute's work: little to do again, little to wait for at the end.
SEGMENT_BYTES: Final = 64 * 1024 * 1024
# Keeps the number of objects of a table of terabytes below the 50,000 that ImportTable takes.
MOST_SEGMENTS: Final = 1024


def choose_segments(table: Table) -> int:
    """The number of scan segments for a table, from DescribeTable's size, which is about six hours old."""
    return min(max(LEAST_SEGMENTS, -(-table.size_bytes // SEGMENT_BYTES)), MOST_SEGMENTS)


def deal(segments: list[int], workers: int) -> list[tuple[int, ...]]:
    """The segments dealt round robin, so that every worker reads from the whole hash range."""
    hands = (tuple(segments[worker::workers]) for worker in range(workers))
    return [hand for hand in hands if hand]
