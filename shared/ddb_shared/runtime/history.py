"""What a run has done over time, in bounded memory, for its report."""

from __future__ import annotations

import heapq
from array import array
from dataclasses import dataclass, field
from typing import Final, NamedTuple

# Points of a chart; the interval between them doubles when there are twice as many.
POINTS: Final = 300
# More workers than a chart can show are summed up as one: 2 x POINTS numbers of 8 bytes each are kept for every worker.
MAX_WORKERS: Final = 32
OTHERS: Final = "others"
SLOWEST: Final = 10


class Row(NamedTuple):
    """The sums of a run after so many seconds; `cap` is that of the moment, 0 for none."""

    seconds: float
    items: int
    bytes: int
    units: float
    throttled: int
    cap: float


@dataclass(slots=True)
class History:
    """Running sums of a run: one row each `interval` seconds, 2 x POINTS of them at most.

    A run of any length takes (6 + MAX_WORKERS) x 2 x POINTS x 8 bytes, 180 kB.
    """

    interval: float = 1.0
    seconds: array[float] = field(default_factory=lambda: array("d"))
    items: array[float] = field(default_factory=lambda: array("d"))
    bytes: array[float] = field(default_factory=lambda: array("d"))
    units: array[float] = field(default_factory=lambda: array("d"))
    throttled: array[float] = field(default_factory=lambda: array("d"))
    cap: array[float] = field(default_factory=lambda: array("d"))
    workers: dict[str, array[float]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def count(self, worker: str, items: int) -> None:
        """Adds items of a worker, which the next row shows."""
        name = worker if worker in self._counts or len(self._counts) < MAX_WORKERS else OTHERS
        self._counts[name] = self._counts.get(name, 0) + items

    def sample(self, row: Row) -> None:
        """Keeps a row of sums, unless the last one is younger than the interval."""
        if self.seconds and row.seconds - self.seconds[-1] < self.interval:
            return
        for column, value in zip(self._columns(), row, strict=True):
            column.append(float(value))
        for name, count in self._counts.items():
            column = self.workers.setdefault(name, array("d", bytes(8 * (len(self.seconds) - 1))))
            column.append(float(count))
        if len(self.seconds) >= 2 * POINTS:
            self._thin_out()

    def _columns(self) -> tuple[array[float], ...]:
        return self.seconds, self.items, self.bytes, self.units, self.throttled, self.cap

    def _thin_out(self) -> None:
        """Keeps every second row, the last one among them."""
        self.interval *= 2
        for column in (*self._columns(), *self.workers.values()):
            column[:] = column[1::2]


@dataclass(slots=True)
class SlowestShards:
    """The SLOWEST shards that took longest: seconds, name, items."""

    _heap: list[tuple[float, str, int]] = field(default_factory=list)

    def add(self, seconds: float, name: str, items: int) -> None:
        """Notes a shard that is complete."""
        heapq.heappush(self._heap, (seconds, name, items))
        if len(self._heap) > SLOWEST:
            heapq.heappop(self._heap)

    def all(self) -> list[tuple[float, str, int]]:
        """The slowest first."""
        return sorted(self._heap, reverse=True)
