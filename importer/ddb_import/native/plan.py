"""The part of a dry run that is about engines: whether the chosen one can load the export, and the others beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ddb_import.native.choose import Situation, Verdict
from ddb_import.options import Engine
from ddb_shared.command.prices import Cost, NativePrices
from ddb_shared.command.routes import GLOBAL_TABLE, Route
from ddb_shared.errors import UsageError
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


def native_costs(situation: Situation, engine: Engine, prices: NativePrices) -> list[Cost]:
    """What DynamoDB charges for the load: by the size of the items before compression, which AWS's own manifests do not tell."""
    size = situation.full.manifest.bytes
    gigabytes = max(size, 0) / _GB
    price = prices.import_gb if engine is Engine.IMPORT_TABLE and size >= 0 else None
    what = "Import by DynamoDB" if engine is Engine.IMPORT_TABLE else "Bulk put by DynamoDB"
    return [Cost(what=what, quantity=gigabytes, unit="GB", usd=None if price is None else price * gigabytes)]


def engine_routes(
    found: Sequence[Verdict], seconds: float | None, cost_usd: float | None, native: NativePrices, size: int
) -> list[Route]:
    """The engines as routes; `seconds` and `cost_usd` are those of batch writes, `size` that of the items in bytes."""
    import_usd = native.import_gb * size / _GB if native.import_gb is not None and size >= 0 else None
    figures = {
        Engine.BATCH_WRITE: (seconds, cost_usd),
        Engine.IMPORT_TABLE: (None, import_usd),
        Engine.BULK: (None, None),
    }
    routes = [
        Route(
            route=verdict.engine.value,
            possible=not verdict.why,
            why=verdict.why,
            seconds=figures[verdict.engine][0],
            cost_usd=figures[verdict.engine][1],
            load="none",
            downtime=_DOWNTIME,
        )
        for verdict in found
    ]
    return [*routes, _GLOBAL]


_GLOBAL: Final = Route(
    route=GLOBAL_TABLE,
    possible=None,
    why="it replicates the source's table itself and needs no export; ddb-export --dry-run tells more",
    seconds=None,
    cost_usd=None,
    load="none by reads; each write is replicated",
    downtime="seconds",
)
