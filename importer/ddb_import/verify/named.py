"""The items that may differ, kept until it is known which do, and these have been read again.

Memory of a worker: TASK_BYTES; of the parent, MAX_BYTES. What there is no room for is left out, and named by a pass of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ddb_import.verify.confirm import Candidate, candidate_of
from ddb_import.verify.inputs import Cost, ExportInput, Input
from ddb_import.verify.reconcile import HASH_BYTES
from ddb_import.verify.records import Item
from ddb_shared.table.description import KeyAttribute

MAX_BYTES: Final = 256 * 1024 * 1024  # 10,000 items of 26 KB, or 650 of the largest
TASK_BYTES: Final = 64 * 1024 * 1024
KEY_BYTES: Final = 300  # of a candidate with a short key, beside its item


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
        size = sum(map(len, candidate.items)) + KEY_BYTES
        if self.size + size > TASK_BYTES:
            self.left_out.add(key)
        else:
            self.found.append((key, candidate))
            self.size += size

    @property
    def candidates(self) -> list[Candidate]:
        """The items whose keys are complete: a key of which one item was left out cannot be compared."""
        return [candidate for key, candidate in self.found if key not in self.left_out]

    def only(self, wanted: Iterable[bytes]) -> Named | None:
        """Those with these hashes of keys; None where not all of them are there."""
        keys = set(wanted)
        if not keys <= {key for key, _ in self.found} - self.left_out:
            return None
        return Named([(key, candidate) for key, candidate in self.found if key in keys])


def namer(
    input_: Input, key: Iterable[KeyAttribute], named: Named
) -> Callable[[Sequence[Item], Sequence[bytes]], None]:
    """Adds items of this side, by the hashes of their keys, to those that are `named`."""
    names, keep_item = [attribute.name for attribute in key], isinstance(input_, ExportInput)

    def add(items: Sequence[Item], key_hashes: Sequence[bytes]) -> None:
        for item, digest in zip(items, key_hashes, strict=True):
            named.take(digest[:HASH_BYTES], candidate_of(item, names, keep_item=keep_item))

    return add
