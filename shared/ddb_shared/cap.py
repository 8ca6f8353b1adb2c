"""What `--max-rcu` and `--max-wcu` take: units a second, or a part of what a table has provisioned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ddb_shared.errors import UsageError
from ddb_shared.preflight import Checks

OPTIONS: Final = {"Read": "--max-rcu", "Write": "--max-wcu"}


@dataclass(frozen=True, slots=True)
class Cap:
    """A number of capacity units per second, or of percent."""

    number: float
    percent: bool = False

    def __str__(self) -> str:
        return f"{self.number:g}{'%' if self.percent else ''}"

    def units(self, definition: Mapping[str, Any], kind: str) -> float | None:
        """Units a second; None for a percentage of a table on demand.

        `definition` is of DescribeTable or CreateTable, `kind` Read or Write. What is written reaches the global indexes
        as well, and is counted by DynamoDB as one sum; what is scanned is the table alone.
        """
        if not self.percent:
            return self.number
        indexes = definition.get("GlobalSecondaryIndexes", ()) if kind == "Write" else ()
        provisioned = sum(
            place.get("ProvisionedThroughput", {}).get(f"{kind}CapacityUnits", 0)
            for place in (definition, *indexes)
        )
        return provisioned * self.number / 100 or None


def units_at(cap: Cap | None, definition: Mapping[str, Any], kind: str) -> float | None:
    """The cap in units a second, None without one; raises UsageError for a percentage of a table on demand."""
    if cap is None:
        return None
    units = cap.units(definition, kind)
    if units is None:
        raise UsageError(
            f"{OPTIONS[kind]} {cap} is a part of the provisioned capacity, and table {definition['TableName']} has none: "
            "it is on demand.",
            f"Give {kind.lower()} capacity units per second, such as {OPTIONS[kind]} 500.",
        )
    return units


def pace_check(cap: Cap | None, definition: Mapping[str, Any], kind: str, *, whose: str = "") -> Checks:
    """The check that the cap means something for this table."""

    def check() -> str:
        units = units_at(cap, definition, kind)
        if units is None:
            return f"as fast as the table lets it, without {OPTIONS[kind]}"
        return f"at most {units:,.10g} {kind.lower()} units a second"

    return {f"{whose}{kind.lower()} pace": check}
