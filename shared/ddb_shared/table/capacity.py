"""The values of `--max-rcu` and `--max-wcu`: units per second, or a percentage of the provisioned capacity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ddb_shared.errors import UsageError

UNLIMITED: Final = "unlimited"
# The default throughput of a new on-demand table, and of each of its global indexes:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/warm-throughput-scenarios.html
NEW_TABLE_WRITE_UNITS: Final = 4_000
NEW_TABLE_READ_UNITS: Final = 12_000
OPTIONS: Final = {"Read": "--max-rcu", "Write": "--max-wcu"}


@dataclass(frozen=True, slots=True)
class Cap:
    """A number of capacity units per second, or a percentage."""

    number: float
    percent: bool = False

    @property
    def is_unlimited(self) -> bool:
        """Whether it is no cap at all, which lifts one that was set before."""
        return self.number == math.inf

    def __str__(self) -> str:
        if self.is_unlimited:
            return UNLIMITED
        return f"{self.number:g}{'%' if self.percent else ''}"

    def units(self, definition: Mapping[str, Any], kind: str) -> float | None:
        """Units per second; None for a percentage of an on-demand table.

        `definition` comes from DescribeTable or CreateTable, `kind` is Read or Write. Writes also consume capacity of the
        global indexes, which DynamoDB reports as one sum; a scan consumes capacity of the table alone.
        """
        if not self.percent:
            return None if self.is_unlimited else self.number
        indexes = definition.get("GlobalSecondaryIndexes", ()) if kind == "Write" else ()
        provisioned = sum(
            entry.get("ProvisionedThroughput", {}).get(f"{kind}CapacityUnits", 0)
            for entry in (definition, *indexes)
        )
        return provisioned * self.number / 100 or None


def units_at(cap: Cap | None, definition: Mapping[str, Any], kind: str) -> float | None:
    """The cap in units per second, None without one; raises UsageError for a percentage of an on-demand table."""
    if cap is None or cap.is_unlimited:
        return None
    units = cap.units(definition, kind)
    if units is None:
        raise UsageError(
            f"{OPTIONS[kind]} {cap} is a percentage of the provisioned capacity, but table {definition['TableName']} "
            "is on-demand and has none.",
            f"Give {kind.lower()} capacity units per second, such as {OPTIONS[kind]} 500.",
        )
    return units
