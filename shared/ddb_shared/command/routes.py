"""The routes of a table into another account, compared: possible or not and why, duration, cost, load on the source, downtime.

A route is a method of the export with an engine of the import. Figures are estimates, and `basis` says what they rest on; what
follows from nothing that is known is shown as unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ddb_shared.command.prices import NativePrices, about_usd
from ddb_shared.text import columns_text, duration_text, told_once

SCAN: Final = "scan + batch-write"
IMPORT_TABLE: Final = "pitr + import-table"
BULK: Final = "pitr + bulk"
GLOBAL_TABLE: Final = "global table in two accounts"
# The least that others measured of a native export (docs/witnesses.md); of an import nobody tells.
NATIVE_SECONDS: Final = 600.0
# What AWS documented in 2023 for the copy of a table into a new replica. It documents no speed of exports, imports and bulk puts.
COPY_BYTES_PER_SECOND: Final = 10 * 1024**4 / 86_400
_GB: Final = 1024**3
_NATIVE_TIME: Final = (
    "ten minutes, the least that was measured, and the size at 10 TB a day, as DynamoDB fills new replicas"
)


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One route. `possible` and figures are None where they are unknown; `why` says what forbids it, or what it needs.

    `basis` says from what the figures are estimated; it is empty where there are none.
    """

    route: str
    possible: bool | None
    why: str
    seconds: float | None
    cost_usd: float | None
    load: str
    downtime: str
    basis: str = ""


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
    export_usd = product(prices.export_gb, gigabytes)
    return [
        Route(
            route=SCAN,
            possible=True,
            why="",
            seconds=_sum(facts.scan_seconds, facts.load_seconds),
            cost_usd=_sum(facts.scan_usd, facts.load_usd),
            load=f"{facts.read_units:,.0f} read units",
            downtime="the whole of it; with --follow a minute or so",
            basis="capacity units at the tables' throughput or the cap, one half after the other; requests to S3 are not included",
        ),
        _native(
            IMPORT_TABLE,
            facts,
            prices,
            refusal=_import_table_refusal(facts),
            cost_usd=_sum(export_usd, product(prices.import_gb, gigabytes)),
            needs="a table that does not exist yet",
            basis="the import is charged by the JSON of the items, which is larger than the table's size",
        ),
        _native(
            BULK,
            facts,
            prices,
            refusal="a global table cannot be loaded by StartBulkPutItems" if facts.is_global else "",
            cost_usd=None,
            needs="a table that exists and is not a global table",
            basis="the price of a bulk put is not known",
        ),
        global_table_route(_global_refusal(facts), facts.size_bytes, prices),
    ]


def native_seconds(size_bytes: int, jobs: int) -> float | None:
    """An estimate of how long DynamoDB's own jobs take, one after another; None where the size (-1) is unknown."""
    return None if size_bytes < 0 else jobs * (NATIVE_SECONDS + size_bytes / COPY_BYTES_PER_SECOND)


def native_basis(also: str) -> str:
    """What the figures of one of DynamoDB's own jobs are estimated from."""
    return f"each job of DynamoDB takes {_NATIVE_TIME}; {also}"


def global_table_route(
    refusal: str, size_bytes: int, prices: NativePrices, *, possible: bool | None = None
) -> Route:
    """A replica in another account, which AWS allows since 2026 in another Region only. `size_bytes` is -1 where it is unknown."""
    return Route(
        route=GLOBAL_TABLE,
        possible=False if refusal else possible,
        why=refusal
        or "DynamoDB's own, not a command of ddb-transfer: another account and another Region, the same table name; it is ended with "
        "Disassociate",
        seconds=native_seconds(size_bytes, 1),
        cost_usd=product(prices.restore_gb, size_bytes / _GB) if size_bytes >= 0 else None,
        load="none by reads; each write is replicated",
        downtime="seconds",
        basis=f"{_NATIVE_TIME}; priced as a restore, without the transfer between Regions and the replicated writes",
    )


def routes_text(routes: Sequence[Route]) -> list[str]:
    """The routes as lines, in columns, with the basis of their figures; none for none."""
    if not routes:
        return []
    head = ("route", "possible", "duration (estimate)", "cost (estimate)", "load on the source", "downtime")
    rows = [
        (
            route.route,
            {True: "yes", False: "no", None: "unknown"}[route.possible],
            _about(route.seconds),
            about_usd(route.cost_usd),
            route.load,
            route.downtime,
        )
        for route in routes
    ]
    return [*columns_text(head, rows).splitlines(), *(text for route in routes for text in _remarks(route))]


def _remarks(route: Route) -> list[str]:
    """What the columns do not tell."""
    why = [f"{route.route}: {route.why}"] if route.why else []
    return why + ([f"{route.route}, estimate: {route.basis}"] if route.basis else [])


def routes_of_tables_text(tables: Sequence[tuple[str, Sequence[Route]]]) -> list[str]:
    """The routes of several tables as lines: each once, for the tables that it is possible for, one after another.

    `tables` are names with their routes, which are none for a table that cannot be planned. A remark or a basis is told once, with the
    tables that it is about where it is not about all.
    """
    of_route: dict[str, dict[str, Route]] = {}
    for name, routes in tables:
        for route in routes:
            of_route.setdefault(route.route, {})[name] = route
    if not of_route:
        return []
    head = ("route", "possible", "duration (estimate)", "cost (estimate)", "downtime")
    rows = [_row_of_tables(route, list(found.values()), len(tables)) for route, found in of_route.items()]
    remarks = (
        (name, text) for found in of_route.values() for name, one in found.items() for text in _remarks(one)
    )
    return [*columns_text(head, rows).splitlines(), *told_once(remarks, len(tables))]


def _row_of_tables(name: str, routes: Sequence[Route], tables: int) -> Sequence[str]:
    able = [route for route in routes if route.possible is not False]
    unknown = sum(route.possible is None for route in able)
    seconds, cost_usd = _sum(*(route.seconds for route in able)), _sum(*(route.cost_usd for route in able))
    return (
        name,
        f"{len(able) - unknown} of {tables}" + (f", {unknown} unknown" if unknown else ""),
        _about(seconds) if able else "-",
        about_usd(cost_usd) if able else "-",
        routes[0].downtime,
    )


def _about(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"about {duration_text(seconds)}"


def _native(
    route: str,
    facts: TableFacts,
    prices: NativePrices,
    *,
    refusal: str,
    cost_usd: float | None,
    needs: str,
    basis: str,
) -> Route:
    return Route(
        route=route,
        possible=False if refusal else None if facts.backups is None else facts.backups,
        why=refusal or _backups_off(facts, prices) or f"needs {needs}",
        seconds=native_seconds(facts.size_bytes, 2),
        cost_usd=cost_usd,
        load="none",
        downtime="the whole of it; with --every 15m about half an hour",
        basis=native_basis(basis),
    )


def _backups_off(facts: TableFacts, prices: NativePrices) -> str:
    if facts.backups is not False:
        return ""
    month = product(prices.pitr_gb_month, facts.size_bytes / _GB)
    cost = "" if month is None else f" for {about_usd(month)} a month"
    return f"point-in-time recovery is off; --enable-pitr switches it on{cost}"


def _import_table_refusal(facts: TableFacts) -> str:
    if not facts.local_indexes:
        return ""
    return f"ImportTable cannot make local indexes ({', '.join(facts.local_indexes)})"


def _global_refusal(facts: TableFacts) -> str:
    if facts.is_global:
        return ALREADY_GLOBAL
    if facts.other_region is False:
        return "a replica in another account must be in another Region, and the bucket is in the table's own"
    return ""


ALREADY_GLOBAL: Final = "the table is a global table already"


def product(price: float | None, quantity: float) -> float | None:
    """The cost of a quantity; None where the price is unknown."""
    return None if price is None else price * quantity


def _sum(*parts: float | None) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
