"""Capacity units and the buckets that hold a table, and each of its partitions, to a rate."""

from __future__ import annotations

from typing import Final

from support.fake.plan import FaultPlan

HASHES: Final = 2**64


class Bucket:
    """A token bucket that admits while it holds anything and may go below zero, so that no item is too big for it."""

    def __init__(self, rate: float | None, burst_seconds: float, now: float) -> None:
        self._rate = rate
        self._size = max(1.0, (rate or 0.0) * burst_seconds)
        self._level = self._size
        self._at = now

    def open(self, now: float) -> bool:
        """Whether anything is left."""
        if self._rate is None:
            return True
        self._level = min(self._size, self._level + (now - self._at) * self._rate)
        self._at = now
        return self._level > 0

    def take(self, units: float) -> None:
        """Takes what was consumed."""
        self._level -= units


class Ledger:
    """What was consumed, and when: entries of a time in seconds and units, those of a hundredth of a second together."""

    def __init__(self) -> None:
        self.units = 0.0
        self.entries: list[tuple[float, float]] = []

    def note(self, now: float, units: float) -> None:
        """Adds what was consumed now."""
        self.units += units
        moment = round(now, 2)
        if self.entries and self.entries[-1][0] == moment:
            units += self.entries.pop()[1]
        self.entries.append((moment, units))


class Limits:
    """One direction (reads or writes) of one table: its own bucket and one for each partition."""

    def __init__(
        self,
        plan: FaultPlan,
        *,
        direction: str,
        per_partition: float | None,
        provisioned: float | None,
        now: float,
    ) -> None:
        table_rate = provisioned if plan.enforce_provisioned else None
        self._direction = direction
        self._table = Bucket(table_rate, plan.burst_seconds, now)
        self._partitions = [
            Bucket(per_partition, plan.burst_seconds, now) for _ in range(max(1, plan.partitions))
        ]

    def partition(self, key_hash: int) -> int:
        """The partition of this hash."""
        return key_hash * len(self._partitions) // HASHES

    def refusal(self, key_hash: int, now: float) -> str | None:
        """The reason for refusing now, in AWS's words; None where there is room."""
        if not self._table.open(now):
            return f"Table{self._direction}ProvisionedThroughputExceeded"
        if not self._partitions[self.partition(key_hash)].open(now):
            return f"Table{self._direction}KeyRangeThroughputExceeded"
        return None

    def take(self, key_hash: int, units: float) -> None:
        """Charges the table and the partition."""
        self._table.take(units)
        self._partitions[self.partition(key_hash)].take(units)


def write_units(size: int) -> float:
    """WCU of one item: its size in KB, rounded up, at least 1."""
    return float(max(1, -(-size // 1024)))


def read_units(size: int, *, consistent: bool) -> float:
    """RCU of one page or item: 4 KB each, rounded up, at least 1; half when eventually consistent."""
    units = max(1, -(-size // 4096))
    return float(units) if consistent else units / 2
