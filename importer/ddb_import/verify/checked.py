"""What a comparison of chosen items, read by their keys, has found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ddb_import.verify.inputs import Cost
from ddb_import.verify.report import DifferenceKind, ItemDifference

# Of differences, with both of their items.
MAX_BYTES: Final = 128 * 1024 * 1024


@dataclass(slots=True)
class Checked:
    """What was found of so many `items`; at most `limit` of the differences are kept, and MAX_BYTES of them."""

    limit: int
    items: int = 0
    counts: Counter[DifferenceKind] = field(default_factory=Counter)
    differences: list[ItemDifference] = field(default_factory=list)
    bytes: int = 0
    cost: Cost = field(default_factory=Cost)

    def add(self, other: Checked) -> None:
        """Adds another part."""
        self.items += other.items
        self.counts.update(other.counts)
        self._keep(other.differences)
        self.cost.add(other.cost)

    def count(self, items: int, differences: Sequence[ItemDifference]) -> None:
        """Adds one batch."""
        self.items += items
        self.counts.update(difference.kind for difference in differences)
        self._keep(differences)

    def _keep(self, differences: Sequence[ItemDifference]) -> None:
        for difference in differences:
            if len(self.differences) < self.limit and self.bytes < MAX_BYTES:
                self.differences.append(difference)
                self.bytes += difference.size
