"""The third pass: the keys and items behind the hashes of what differs. Only the sides that can tell are read.

Memory of a worker: that of reading, and TASK_BYTES; of the parent, MAX_BYTES.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ddb_import.verify.confirm import Candidate, candidate_of
from ddb_import.verify.inputs import THREADS, Cost, ExportInput, Input, Sink, read_inputs
from ddb_import.verify.keys import KeyHasher
from ddb_import.verify.reconcile import HASH_BYTES
from ddb_import.verify.records import Item
from ddb_shared.runtime.loop import run_loop
from ddb_shared.runtime.runner import Channel
from ddb_shared.table.description import KeyAttribute

# What differs is held in memory until it has been read again: 10,000 items of 26 KB, or 650 of the largest.
MAX_BYTES: Final = 256 * 1024 * 1024
TASK_BYTES: Final = 64 * 1024 * 1024
_KEY_BYTES: Final = 200  # of a candidate, beside its item


@dataclass(frozen=True, kw_only=True)
class NamingTask:
    """One worker's share of the sides that are read, and the hashes of the keys to look for in each."""

    inputs: tuple[tuple[Input, frozenset[bytes]], ...]
    key: tuple[KeyAttribute, ...]


@dataclass(slots=True)
class Named:
    """The items that were found by the hashes of their keys, of an export whole, of a table their keys alone.

    `left_out` are hashes of keys for whose items there was no room.
    """

    found: list[tuple[bytes, Candidate]] = field(default_factory=list)
    left_out: set[bytes] = field(default_factory=set)
    size: int = 0
    cost: Cost = field(default_factory=Cost)

    def add(self, other: Named) -> None:
        """Adds another worker's part, if there is room for it."""
        self.left_out |= other.left_out
        self.cost.add(other.cost)
        if self.size + other.size > MAX_BYTES:
            self.left_out.update(key for key, _ in other.found)
        else:
            self.found += other.found
            self.size += other.size

    def take(self, key: bytes, candidate: Candidate) -> None:
        """Adds an item, if there is room for it."""
        size = sum(map(len, candidate.items)) + _KEY_BYTES
        if self.size + size > TASK_BYTES:
            self.left_out.add(key)
        else:
            self.found.append((key, candidate))
            self.size += size

    @property
    def candidates(self) -> list[Candidate]:
        """The items whose keys are complete: a key of which one item was left out cannot be compared."""
        return [candidate for key, candidate in self.found if key not in self.left_out]


def name(task: NamingTask, channel: Channel) -> Named:
    """Reads the task's share for the items with these keys."""
    return run_loop(_name(task, channel), threads=THREADS)


async def _name(task: NamingTask, channel: Channel) -> Named:
    named = Named()
    parts = [(input_, _sink(task, input_, keys, named)) for input_, keys in task.inputs]
    named.cost = await read_inputs(parts, channel)
    return named


def _sink(task: NamingTask, input_: Input, wanted: frozenset[bytes], named: Named) -> Sink:
    keys, names = KeyHasher(task.key), [attribute.name for attribute in task.key]
    keep_item = isinstance(input_, ExportInput)

    async def add(items: Sequence[Item]) -> None:
        for item, digest in zip(items, keys.hashes(items), strict=True):
            key = digest[:HASH_BYTES]
            if key in wanted:
                named.take(key, candidate_of(item, names, keep_item=keep_item))

    return add
