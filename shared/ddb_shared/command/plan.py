"""The plan of a dry run: checks, size, duration and cost. What is unknown is shown as unknown, not guessed."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from ddb_shared.command.preflight import Check
from ddb_shared.command.prices import Cost, about_usd
from ddb_shared.command.routes import Route, routes_text
from ddb_shared.errors import EXIT_FAILED, TransferError
from ddb_shared.table.description import Table
from ddb_shared.text import duration_text, size_text

# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
READ_UNIT_BYTES: Final = 4096
WRITE_UNIT_BYTES: Final = 1024


class DryRunPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run would do. `units` are capacity units; `seconds` and `cost_usd` are None if unknown.

    `costs` are the lines of `cost_usd` (which has one month of storage), `prices` says where their prices are from. `routes` are the
    ways to move the table, compared. `items` and `bytes` are -1 if unknown.
    """

    status: str
    checks: list[Check]
    creates: list[str]
    items: int
    bytes: int
    parts: int
    units: float
    seconds: float | None
    cost_usd: float | None
    costs: list[Cost]
    prices: str
    notes: list[str]
    command: str
    routes: list[Route] = []

    @property
    def exit_code(self) -> int:
        """0, or 1 if a check failed."""
        return 0 if self.status == "planned" else EXIT_FAILED

    def text(self) -> str:
        """The plan for people."""
        time = "unknown" if self.seconds is None else f"about {duration_text(self.seconds)}"
        return "\n".join(
            [
                "Checks:",
                *(f"  {_line_of(check)}" for check in self.checks),
                f"Items: {self.items:,}, size: {size_text(max(self.bytes, 0))}, parts: {self.parts:,}",
                f"Capacity units: about {self.units:,.0f}; duration: {time}; cost: {about_usd(self.cost_usd)}",
                *(f"  {line}" for line in self.costs),
                f"  Prices: {self.prices}",
                *(f"  {note}" for note in self.notes),
                *(f"Creates: {line}" for line in self.creates),
                *(["Routes:"] if self.routes else []),
                *(f"  {line}" for line in routes_text(self.routes)),
                *self._next_step(),
            ]
        )

    def _next_step(self) -> list[str]:
        if self.exit_code:
            return ["The run would fail: fix the FAILED checks first."]
        return ["Run it with:", f"  {self.command}"]


def refused_plan(error: TransferError) -> DryRunPlan:
    """The plan of a run that cannot be planned, since something is missing or cannot be read."""
    found = f"{error.message}\n{error.remedy}" if error.remedy else error.message
    return DryRunPlan(
        status="refused",
        checks=[Check(name="plan", ok=False, found=found)],
        creates=[],
        items=-1,
        bytes=-1,
        parts=0,
        units=0.0,
        seconds=None,
        cost_usd=None,
        costs=[],
        prices="",
        notes=[],
        command="",
    )


_MARKS: Final = {True: "ok         ", False: "FAILED     ", None: "not checked"}


def _line_of(check: Check) -> str:
    found = check.found.replace("\n", "\n    ")
    return f"{_MARKS[check.ok]} {check.name}: {found}"


def read_units(size_bytes: int, *, consistent: bool) -> float:
    """Read units of a whole scan, which rounds whole pages; half of them with eventually consistent reads."""
    return math.ceil(size_bytes / READ_UNIT_BYTES) * (1.0 if consistent else 0.5)


def write_units(items: int, size_bytes: int, indexes: int) -> float:
    """Write units of a load: the size of each item is rounded up, and each index may consume as much again."""
    if not items:
        return 0.0
    return items * math.ceil(size_bytes / items / WRITE_UNIT_BYTES) * (1.0 + indexes)


def seconds_for(units: float, cap: float | None, table: Table | None, *, kind: str) -> float | None:
    """How long `units` take at the cap and at the throughput of the table; None if both are unknown.

    `kind` is Read or Write.
    """
    rates = [rate for rate in (cap, _rate_of(table, kind)) if rate]
    return units / min(rates) if rates else None


def _rate_of(table: Table | None, kind: str) -> float:
    """Provisioned units per second, or the warm throughput of an on-demand table."""
    if table is None:
        return 0.0
    if table.on_demand:
        return float(table.definition.get("WarmThroughput", {}).get(f"{kind}UnitsPerSecond", 0))
    return float(table.read_units if kind == "Read" else table.write_units)
