"""What a run would do: its checks, its size, its time and its cost. Unknown is said, never guessed."""

from __future__ import annotations

import math
from importlib import resources
from typing import Any, Final

import msgspec

from ddb_shared.errors import EXIT_FAILED
from ddb_shared.preflight import Check
from ddb_shared.table import Table

# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
READ_UNIT_BYTES: Final = 4096
WRITE_UNIT_BYTES: Final = 1024
STANDARD: Final = "STANDARD"  # the table class whose prices are listed


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """List prices in US dollars by region: of a million on-demand units, and of warming by one unit a second."""

    date: str
    source: str
    note: str
    regions: dict[str, dict[str, float]]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run would do. `units` are capacity units; `seconds` and `cost_usd` are None where they are unknown."""

    status: str
    checks: list[Check]
    creates: list[str]
    items: int
    bytes: int
    parts: int
    units: float
    seconds: float | None
    cost_usd: float | None
    notes: list[str]
    command: str

    @property
    def exit_code(self) -> int:
        """0, or 1 where a check failed."""
        return 0 if self.status == "planned" else EXIT_FAILED

    def text(self) -> str:
        """The plan for people."""
        time = "unknown" if self.seconds is None else f"about {self.seconds / 60:,.1f} minutes"
        cost = "unknown" if self.cost_usd is None else f"about {self.cost_usd:,.2f} USD"
        return "\n".join(
            [
                "Checks:",
                *(f"  {_line_of(check)}" for check in self.checks),
                f"Items: {self.items:,}, bytes: {self.bytes:,}, parts: {self.parts:,}",
                f"Capacity units: about {self.units:,.0f}; duration: {time}; cost: {cost}",
                *(f"  {note}" for note in self.notes),
                *(f"Creates: {line}" for line in self.creates),
                "Run it with:",
                f"  {self.command}",
            ]
        )


def _line_of(check: Check) -> str:
    found = check.found.replace("\n", "\n    ")
    return f"{'ok    ' if check.ok else 'FAILED'} {check.name}: {found}"


def read_units(size_bytes: int, *, consistent: bool) -> float:
    """Read units of a whole scan, whose pages are rounded as a whole; half of them if eventually consistent."""
    return math.ceil(size_bytes / READ_UNIT_BYTES) * (1.0 if consistent else 0.5)


def write_units(items: int, size_bytes: int, indexes: int) -> float:
    """Write units of a load: every item is rounded by itself, and every index can take as much again."""
    if not items:
        return 0.0
    return items * math.ceil(size_bytes / items / WRITE_UNIT_BYTES) * (1.0 + indexes)


def seconds_for(units: float, cap: float | None, table: Table | None, *, kind: str) -> float | None:
    """How long so many units take at the cap and at what the table takes at once; None where both are unknown.

    `kind` is Read or Write.
    """
    rates = [rate for rate in (cap, _rate_of(table, kind)) if rate]
    return units / min(rates) if rates else None


def _rate_of(table: Table | None, kind: str) -> float:
    """Provisioned units a second, or the warm throughput of a table on demand."""
    if table is None:
        return 0.0
    if table.on_demand:
        return float(table.definition.get("WarmThroughput", {}).get(f"{kind}UnitsPerSecond", 0))
    return float(table.read_units if kind == "Read" else table.write_units)


def cost_of(
    units: float, region: str, *, on_demand: bool, kind: str, table_class: str = STANDARD
) -> tuple[float | None, str]:
    """List price of so many on-demand units, and the line that says where it comes from."""
    if not on_demand:
        return (
            0.0,
            "Provisioned capacity is paid for by the hour, whether it is used or not: no more is charged.",
        )
    prices = load_prices()
    price: Any = prices.regions.get(region, {}).get(f"{kind.lower()}_million")
    if price is None or table_class != STANDARD:
        of_class = "" if table_class == STANDARD else f" of table class {table_class}"
        return None, f"The price{of_class} in {region} is unknown here; see {prices.source}"
    return (
        units / 1e6 * price,
        f"At {price} USD a million units in {region}, list price of {prices.date} ({prices.source})",
    )


def warming_note(units: int, region: str) -> str:
    """What AWS charges once for warming a table, with its indexes, by so many write units a second above the ordinary."""
    prices = load_prices()
    price = prices.regions.get(region, {}).get("warm_write_unit")
    cost = (
        f"the price of one in {region} is unknown here; see {prices.source}"
        if price is None
        else f"{units * price:,.2f} USD at {price} USD for each, list price in {region} of {prices.date} ({prices.source})"
    )
    return f"Warming is charged once, for {units:,} write units a second above what the table and its indexes have anyway: {cost}"


def load_prices() -> Prices:
    """The price list that comes with the tool."""
    data = resources.files("ddb_shared").joinpath("prices.json").read_bytes()
    return msgspec.json.decode(data, type=Prices)
