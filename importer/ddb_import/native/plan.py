"""The part of a dry run that is about engines: whether the chosen one can load the export, and the others beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ddb_import.native.choose import Situation, Verdict
from ddb_import.options import Engine
from ddb_shared.command.prices import Cost, NativePrices
from ddb_shared.command.routes import (
    ALREADY_GLOBAL,
    Route,
    global_table_route,
    native_basis,
    native_seconds,
    product,
)
from ddb_shared.errors import UsageError
from ddb_shared.format.manifest import Manifest
from ddb_shared.table.capacity import NEW_TABLE_WRITE_UNITS
from ddb_shared.text import size_text

_GB: Final = 1024**3
_DOWNTIME: Final = "until it has ended, and the changes since the export are applied"


def check_engine(found: Sequence[Verdict], engine: Engine) -> str:
    """What DynamoDB would load; raises UsageError where it cannot."""
    (verdict,) = [one for one in found if one.engine is engine]
    if verdict.why:
        raise UsageError(verdict.why, "Use another --engine; the routes below say which are possible.")
    if verdict.source is None:
        return "our own writes"
    source = verdict.source
    return (
        f"DynamoDB would load {source.items:,} items in {source.objects:,} objects, {size_text(source.stored_bytes)} as stored "
        f"({source.input_format}, {source.compression})"
    )


def native_costs(engine: Engine, size: int, prices: NativePrices) -> list[Cost]:
    """What DynamoDB charges for the load: by the size of the items before compression, -1 where the manifest does not tell it."""
    gigabytes = max(size, 0) / _GB
    price = prices.import_gb if engine is Engine.IMPORT_TABLE and size >= 0 else None
    what = "Import by DynamoDB" if engine is Engine.IMPORT_TABLE else "Bulk put by DynamoDB"
    return [Cost(what=what, quantity=gigabytes, unit="GB", usd=product(price, gigabytes))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the engines are compared by. `seconds` and `cost_usd` are those of batch writes; `bytes` are -1 where they are unknown.

    `capped_seconds` is how long the write units take at --max-wcu.
    """

    seconds: float | None
    cost_usd: float | None
    bytes: int
    capped_seconds: float = 0.0


def figures_of(
    situation: Situation, size: int, units: float, seconds: float | None, cost_usd: float | None
) -> Figures:
    """The figures of `size` bytes and `units` write units; an on-demand table of unknown throughput has at least that of a new one."""
    table, cap = situation.table, situation.options.max_wcu
    if seconds is None and table is not None and table.on_demand:
        seconds = units / NEW_TABLE_WRITE_UNITS
    rate = cap.units(table.definition if table else {}, "Write") if cap else None
    return Figures(
        seconds=seconds, cost_usd=cost_usd, bytes=size, capped_seconds=units / rate if rate else 0.0
    )


def engine_routes(
    situation: Situation, found: Sequence[Verdict], figures: Figures, prices: NativePrices
) -> list[Route]:
    """The engines as routes, and the one that needs no export."""
    routes = [_route(verdict, figures, prices) for verdict in found]
    source = situation.full.manifest
    refusal, possible = _global_refusal(situation), None if not source.source.region else True
    return [*routes, global_table_route(refusal, source_bytes(source), prices, possible=possible)]


def native_load_seconds(engine: Engine, figures: Figures) -> float | None:
    """An estimate for one of DynamoDB's own loads."""
    seconds = native_seconds(figures.bytes, 1)
    if seconds is None or engine is not Engine.BULK:
        return seconds
    return max(seconds, figures.capped_seconds)


def source_bytes(manifest: Manifest) -> int:
    """The size of the source as DynamoDB counted it, else that of the JSON of its items; -1 if neither is known."""
    return int(manifest.table.get("TableSizeBytes") or manifest.bytes)


def _route(verdict: Verdict, figures: Figures, prices: NativePrices) -> Route:
    seconds, cost_usd = figures.seconds, figures.cost_usd
    basis = "write units at the table's throughput or the cap, at list price"
    if verdict.engine is not Engine.BATCH_WRITE:
        seconds = native_load_seconds(verdict.engine, figures)
        price = prices.import_gb if verdict.engine is Engine.IMPORT_TABLE and figures.bytes >= 0 else None
        cost_usd = product(price, figures.bytes / _GB)
        basis = native_basis(_CHARGED[verdict.engine])
    return Route(
        route=verdict.engine.value,
        possible=not verdict.why,
        why=verdict.why,
        seconds=seconds,
        cost_usd=cost_usd,
        load="none",
        downtime=_DOWNTIME,
        basis=basis,
    )


_CHARGED: Final = {
    Engine.IMPORT_TABLE: "the import is charged by the JSON of the items",
    Engine.BULK: "the price of a bulk put is not known",
}


def _global_refusal(situation: Situation) -> str:
    """What forbids a replica of the source in place of this import; empty where nothing that is known does."""
    source = situation.full.manifest.source
    name = situation.options.table.rpartition("/")[2]
    region = situation.table.region if situation.table else situation.aws.region
    if situation.full.manifest.table.get("Replicas"):
        return ALREADY_GLOBAL
    if region == source.region:
        return f"a replica in another account must be in another Region than the source's, {source.region}"
    if name != source.table_name:
        return f"a replica has the name of the source, {source.table_name}"
    if situation.table is not None:
        return f"table {name} exists, and a replica is a new table"
    return ""
