"""The first pass: the digests of both sides. Memory of a worker: that of reading, and 4 MB of sums a side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ddb_import.verify.digest import Sums
from ddb_import.verify.inputs import THREADS, Cost, Input, Sink, TableInput, read_inputs
from ddb_import.verify.records import Item
from ddb_import.verify.representation import Representation, hashes_of
from ddb_shared.runtime.loop import run_loop
from ddb_shared.runtime.runner import Channel


@dataclass(frozen=True, kw_only=True)
class DigestTask:
    """One worker's share of both sides."""

    source: Input
    table: TableInput
    representation: Representation


@dataclass(slots=True)
class Digests:
    """What both sides hold."""

    source: Sums = field(default_factory=Sums)
    table: Sums = field(default_factory=Sums)
    cost: Cost = field(default_factory=Cost)

    def add(self, other: Digests) -> None:
        """Adds another worker's sums."""
        self.source.merge(other.source)
        self.table.merge(other.table)
        self.cost.add(other.cost)


def digest(task: DigestTask, channel: Channel) -> Digests:
    """Reads the task's share of both sides into sums."""
    return run_loop(_digest(task, channel), threads=THREADS)


async def _digest(task: DigestTask, channel: Channel) -> Digests:
    found = Digests()
    parts = [(task.source, _sink(task, found.source)), (task.table, _sink(task, found.table))]
    found.cost = await read_inputs(parts, channel)
    return found


def _sink(task: DigestTask, sums: Sums) -> Sink:
    async def add(items: Sequence[Item]) -> None:
        sums.add(hashes_of(items, task.representation))

    return add
