"""`ddb-import --dry-run`: the checks and the plan of an import. Nothing is created except the probe object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from ddb_import.definition.create import Definition
from ddb_import.definition.create_request import warmed_units, write_rate
from ddb_import.definition.table_spec import ON_DEMAND
from ddb_import.dry_run_checks import Context, checks_of
from ddb_import.native.choose import Situation, Verdict, choose_engine, verdicts
from ddb_import.native.plan import (
    check_engine,
    engine_routes,
    figures_of,
    native_costs,
    native_load_seconds,
)
from ddb_import.options import Engine, ImportOptions
from ddb_import.prepare import read_all_given, refuse_options
from ddb_import.requests import READS_OF_A_SHARD, puts_of_load
from ddb_shared.aws.clients import Aws
from ddb_shared.command.identity import expiry_warnings
from ddb_shared.command.plan import DryRunPlan, seconds_for, write_units
from ddb_shared.command.preflight import run_checks, status_of
from ddb_shared.command.prices import (
    STANDARD,
    Cost,
    PriceList,
    capacity_cost,
    native_prices,
    price_list,
    s3_costs,
    total_usd,
    warming_note,
)
from ddb_shared.runtime.stop import Stop
from ddb_shared.table.description import find


def plan_import(options: ImportOptions, aws: Aws) -> DryRunPlan:
    """The plan; raises TransferError if the export cannot be read."""
    exports = tuple(read_all_given(aws, options.exports))
    refuse_options(options, exports)
    manifest, create = exports[0].manifest, options.create
    definition = Definition(create, aws, manifest, options.table, Stop()) if create else None
    context = Context(options, aws, exports, find(aws.dynamodb, options.table), definition)
    situation = Situation(options, aws, exports, context.table, definition)
    engine, found = options.engine, verdicts(situation)
    chosen = []
    if engine is Engine.AUTO:
        engine, why = choose_engine(situation)
        chosen = [f"Engine {engine.value}: {why}."]
    checks = run_checks({**checks_of(context, engine), **_engine_checks(found, engine)})
    units = _units(context)
    request = _request(context)
    seconds = _seconds(context, request, units)
    prices, costs = _costs(context, request, units, seconds)
    native = native_prices(aws, aws.region)
    figures = figures_of(situation, context.bytes, units, seconds, total_usd(costs))
    routes = engine_routes(situation, found, figures, native)
    if engine is not Engine.BATCH_WRITE:
        costs, units = native_costs(engine, manifest.bytes, native), 0.0
        seconds = native_load_seconds(engine, figures)
    return DryRunPlan(
        status=status_of(checks),
        checks=checks,
        creates=[f"table {options.table}: {msgspec.json.encode(request).decode()}"] if request else [],
        items=context.items,
        bytes=context.bytes,
        parts=sum(len(given.manifest.shards) for given in exports),
        units=units,
        seconds=seconds,
        cost_usd=total_usd(costs),
        costs=costs,
        prices=prices.source,
        notes=[
            *chosen,
            _COUNTING_NOTE,
            *_warm_note(request, context.aws.region),
            *_settings_notes(context),
            *(f"Warning: {text}" for text in expiry_warnings(aws, seconds)),
        ],
        command=options.common.invocation.line(without={"dry_run"}),
        routes=routes,
    )


_COUNTING_NOTE: Final = "Units assume that every index holds every item completely; parts are shards."


def _engine_checks(found: Sequence[Verdict], engine: Engine) -> dict[str, Callable[[], str]]:
    """Whether DynamoDB itself can load the export, where it is to."""
    return {} if engine is Engine.BATCH_WRITE else {"engine": lambda: check_engine(found, engine)}


def _request(context: Context) -> dict[str, Any] | None:
    """The CreateTable request, if a table will be created."""
    definition = context.definition
    return definition.request if definition and context.table is None else None


def _indexes(context: Context) -> int:
    members = context.table.definition if context.table else context.manifest.table
    return len([*members.get("GlobalSecondaryIndexes", ()), *members.get("LocalSecondaryIndexes", ())])


def _units(context: Context) -> float:
    return write_units(context.items, _item_bytes(context), _indexes(context))


def _costs(
    context: Context, request: dict[str, Any] | None, units: float, seconds: float | None
) -> tuple[PriceList, list[Cost]]:
    """What the load costs, at the billing mode of the table, or of the one that will be made."""
    table = context.table
    on_demand, table_class = True, STANDARD
    if table is not None:
        on_demand, table_class = table.on_demand, table.table_class
    elif request is not None:
        on_demand, table_class = request["BillingMode"] == ON_DEMAND, request.get("TableClass", STANDARD)
    prices = price_list(context.aws, context.aws.region, table_class)
    shards = sum(len(given.manifest.shards) for given in context.exports)
    return prices, [
        capacity_cost(prices, "Write", units, on_demand=on_demand, indexes=_indexes(context)),
        *s3_costs(prices, puts=puts_of_load(shards, seconds or 0), gets=READS_OF_A_SHARD * shards),
    ]


def _seconds(context: Context, request: dict[str, Any] | None, units: float) -> float | None:
    """The duration at the throughput of the table, existing or to be created."""
    cap, definition = context.options.max_wcu, context.table.definition if context.table else request
    rates = [
        cap.units(definition or {}, "Write") if cap else None,
        write_rate(request) if request else None,
    ]
    return seconds_for(units, min(filter(None, rates), default=None), context.table, kind="Write")


def _settings_notes(context: Context) -> list[str]:
    """How an existing table differs from the source, and the policies that the table lacks, or will have."""
    definition, table = context.definition, context.table
    if definition is None:
        return []
    if table is None:
        return definition.policy_notes(None)
    differences = definition.differences(table)
    differing = {difference.setting for difference in differences}
    return [*map(str, differences), *definition.policy_notes(table, differing)]


def _item_bytes(context: Context) -> int:
    """The size of the items as DynamoDB counts it, if known; otherwise the size of their JSON, which is larger."""
    table = context.manifest.table
    count = table.get("ItemCount", 0)
    if count:
        return int(table["TableSizeBytes"] / count * context.items)
    return max(context.bytes, 0)


def _warm_note(request: dict[str, Any] | None, region: str) -> list[str]:
    units = warmed_units(request or {})
    return [warming_note(units, region)] if units else []
