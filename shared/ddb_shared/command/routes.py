"""The routes of a table into another account, compared: possible or not and why, duration, cost, load on the source, downtime.

A route is a method of the export with an engine of the import. What is not known, or was measured by nobody, is shown as unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ddb_shared.command.prices import NativePrices, usd_text
from ddb_shared.text import columns_text, duration_text

SCAN: Final = "scan + batch-write"
IMPORT_TABLE: Final = "pitr + import-table"
BULK: Final = "pitr + bulk"
GLOBAL_TABLE: Final = "global table in two accounts"
# The least that others measured of a native export (docs/witnesses.md); of an import nobody tells.
NATIVE_SECONDS: Final = 600.0
_GB: Final = 1024**3


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One route. `possible` and figures are None where they are unknown; `why` says what forbids it, or what it needs."""

    route: str
    possible: bool | None
    why: str
    seconds: float | None
    cost_usd: float | None
    load: str
    downtime: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFacts:
    """What the routes depend on. Seconds and dollars of the scan and of the batch writes are None where they are unknown.

    `backups` is whether point-in-time recovery is on, None if unknown; `other_region` whether the destination is in another Region.
    """

    size_bytes: int
    local_indexes: Sequence[str] = ()
    is_global: bool = False
    backups: bool | None = None
    other_region: bool | None = None
    scan_seconds: float | None = None
    scan_usd: float | None = None
    read_units: float = 0.0
    load_seconds: float | None = None
    load_usd: float | None = None


def routes_of(facts: TableFacts, prices: NativePrices) -> list[Route]:
    """Every route, the ones that always work first."""
    gigabytes = facts.size_bytes / _GB
    export_usd = _product(prices.export_gb, gigabytes)
    return [
        Route(
            route=SCAN,
            possible=True,
            why="",
            seconds=_sum(facts.scan_seconds, facts.load_seconds),
            cost_usd=_sum(facts.scan_usd, facts.load_usd),
            load=f"{facts.read_units:,.0f} read units",
            downtime="the whole of it; with --follow a minute or so",
        ),
        _native(
            IMPORT_TABLE,
            facts,
            refusal=_import_table_refusal(facts),
            cost_usd=_sum(export_usd, _product(prices.import_gb, gigabytes)),
            needs="a table that does not exist yet",
        ),
        _native(
            BULK,
            facts,
            refusal="a global table cannot be loaded by StartBulkPutItems" if facts.is_global else "",
            cost_usd=None,
            needs="a table that exists and is not a global table",
        ),
        _global_table(facts),
    ]


def routes_text(routes: Sequence[Route]) -> list[str]:
    """The routes as lines, in columns; none for none."""
    if not routes:
        return []
    head = ("route", "possible", "duration", "cost", "load on the source", "downtime")
    rows = [
        (
            route.route,
            {True: "yes", False: "no", None: "unknown"}[route.possible],
            "unknown" if route.seconds is None else f"about {duration_text(route.seconds)}",
            "unknown" if route.cost_usd is None else usd_text(route.cost_usd),
            route.load,
            route.downtime,
        )
        for route in routes
    ]
    remarks = [f"{route.route}: {route.why}" for route in routes if route.why]
    return [*columns_text(head, rows).splitlines(), *remarks]


def _native(route: str, facts: TableFacts, *, refusal: str, cost_usd: float | None, needs: str) -> Route:
    off = "point-in-time recovery is off; --enable-pitr switches it on" if facts.backups is False else ""
    return Route(
        route=route,
        possible=False if refusal else None if facts.backups is None else facts.backups,
        why=refusal or off or f"needs {needs}; DynamoDB takes ten minutes or more for each half",
        seconds=None,
        cost_usd=cost_usd,
        load="none",
        downtime="the whole of it; with --every 15m about half an hour",
    )


def _import_table_refusal(facts: TableFacts) -> str:
    if not facts.local_indexes:
        return ""
    return f"ImportTable cannot make local indexes ({', '.join(facts.local_indexes)})"


def _global_table(facts: TableFacts) -> Route:
    """A replica in another account: AWS allows it since 2026, in another Region only."""
    refusal = ""
    if facts.is_global:
        refusal = "the table is a global table already"
    elif facts.other_region is False:
        refusal = (
            "a replica in another account must be in another Region, and the bucket is in the table's own"
        )
    return Route(
        route=GLOBAL_TABLE,
        possible=False if refusal else None,
        why=refusal
        or "DynamoDB's own, not a command of ddb-transfer: another account and another Region, the same table name; it is ended with "
        "Disassociate",
        seconds=None,
        cost_usd=None,
        load="none by reads; each write is replicated",
        downtime="seconds",
    )


def _product(price: float | None, quantity: float) -> float | None:
    return None if price is None else price * quantity


def _sum(*parts: float | None) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
