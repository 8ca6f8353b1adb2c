"""What a run would do: its checks, its size, its time and its cost. Unknown is said, never guessed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any, Final

import msgspec

from ddb_shared.errors import EXIT_FAILED, TransferError
from ddb_shared.storage import Folder
from ddb_shared.table import Table

# A probe is one small object of a fixed name, since the commands may not delete: each probe replaces the last one.
PROBE: Final = "probe.json"
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
READ_UNIT_BYTES: Final = 4096
WRITE_UNIT_BYTES: Final = 1024


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at before anything is done."""

    name: str
    ok: bool
    found: str


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """List prices of on-demand units, in US dollars for a million of them, by region."""

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
                *(
                    f"  {'ok    ' if check.ok else 'FAILED'} {check.name}: {check.found}"
                    for check in self.checks
                ),
                f"Items: {self.items:,}, bytes: {self.bytes:,}, parts: {self.parts:,}",
                f"Capacity units: about {self.units:,.0f}; duration: {time}; cost: {cost}",
                *(f"  {note}" for note in self.notes),
                "Creates:",
                *(f"  {line}" for line in self.creates),
                "Run it with:",
                f"  {self.command}",
            ]
        )


def run_checks(checks: Mapping[str, Callable[[], str]]) -> list[Check]:
    """Makes every check, in order; one that raises a TransferError has failed."""
    done = []
    for name, check in checks.items():
        try:
            done.append(Check(name=name, ok=True, found=check()))
        except TransferError as error:
            done.append(Check(name=name, ok=False, found=str(error)))
    return done


def status_of(checks: Sequence[Check]) -> str:
    """`planned`, or `refused` where a check failed."""
    return "planned" if all(check.ok for check in checks) else "refused"


def probe(folder: Folder) -> str:
    """Writes a small object and reads it back."""
    folder.write(PROBE, b"{}\n")
    stored = folder.read(PROBE)
    if stored is None or stored.data != b"{}\n":
        raise TransferError(f"{folder.url}{PROBE} was written, but it cannot be read back.")
    return f"{folder.url}{PROBE} written and read"


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


def cost_of(units: float, region: str, *, on_demand: bool, kind: str) -> tuple[float | None, str]:
    """List price of so many on-demand units, and the line that says where it comes from."""
    if not on_demand:
        return (
            0.0,
            "Provisioned capacity is paid for by the hour, whether it is used or not: no more is charged.",
        )
    prices = load_prices()
    price: Any = prices.regions.get(region, {}).get(f"{kind.lower()}_million")
    if price is None:
        return None, f"The price in {region} is unknown here; see {prices.source}"
    return (
        units / 1e6 * price,
        f"At {price} USD a million units in {region}, list price of {prices.date} ({prices.source})",
    )


def load_prices() -> Prices:
    """The price list that comes with the tool."""
    data = resources.files("ddb_shared").joinpath("prices.json").read_bytes()
    return msgspec.json.decode(data, type=Prices)
