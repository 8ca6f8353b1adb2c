"""`ddb-import --dry-run`: the checks and the plan of an import. Nothing is created except the probe object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ddb_import.definition.create import Definition
from ddb_import.definition.create_request import warmed_units, write_rate
from ddb_import.definition.table_spec import ON_DEMAND
from ddb_import.load import CHECKPOINT_SECONDS, OPEN_SHARDS
from ddb_import.native.choose import Situation, Verdict, choose_engine, verdicts
from ddb_import.native.plan import check_engine, engine_routes, native_costs
from ddb_import.options import Engine, ImportOptions
from ddb_import.preflight import new_table_checks, state_checks, table_checks
from ddb_import.prepare import (
    Given,
    apply_changes_of,
    check_files,
    check_not_deleted,
    is_chain,
    open_chain,
    read_all_given,
    refuse_options,
    rollback_check,
    split,
)
from ddb_import.state import is_plan_of, read_plan, state_storage
from ddb_shared.aws.clients import Aws
from ddb_shared.command.identity import expiry_warnings
from ddb_shared.command.plan import DryRunPlan, seconds_for, write_units
from ddb_shared.command.preflight import Checks, bucket_checks, run_checks, status_of
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
from ddb_shared.errors import TableError
from ddb_shared.format.manifest import Manifest
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import Table, find


@dataclass(frozen=True, slots=True)
class _Context:
    """What is known before the run: the exports, and the table if there is one."""

    options: ImportOptions
    aws: Aws
    exports: tuple[Given, ...]
    table: Table | None
    definition: Definition | None

    @property
    def export(self) -> S3Storage:
        """The folder of the first export."""
        return self.exports[0].folder

    @property
    def manifest(self) -> Manifest:
        """That of the first export."""
        return self.exports[0].manifest

    @property
    def items(self) -> int:
        """Of all exports, changes included."""
        return sum(given.manifest.items for given in self.exports)

    @property
    def bytes(self) -> int:
        """Of all exports; -1 where one of them does not tell."""
        sizes = [given.manifest.bytes for given in self.exports]
        return -1 if -1 in sizes else sum(sizes)


def plan_import(options: ImportOptions, aws: Aws) -> DryRunPlan:
    """The plan; raises TransferError if the export cannot be read."""
    exports = tuple(read_all_given(aws, options.exports))
    refuse_options(options, exports)
    manifest, create = exports[0].manifest, options.create
    definition = Definition(create, aws, manifest, options.table, Stop()) if create else None
    context = _Context(options, aws, exports, find(aws.dynamodb, options.table), definition)
    situation = Situation(options, aws, exports, context.table, definition)
    engine, found = options.engine, verdicts(situation)
    chosen = []
    if engine is Engine.AUTO:
        engine, why = choose_engine(situation)
        chosen = [f"Engine {engine.value}: {why}."]
    checks = run_checks(_checks(context) | _engine_checks(found, engine))
    units = _units(context)
    request = _request(context)
    seconds = _seconds(context, request, units)
    prices, costs = _costs(context, request, units, seconds)
    native = native_prices(aws, aws.region)
    routes = engine_routes(found, seconds, total_usd(costs), native, context.bytes)
    if engine is not Engine.BATCH_WRITE:
        costs, units, seconds = native_costs(situation, engine, native), 0.0, None
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


def _request(context: _Context) -> dict[str, Any] | None:
    """The CreateTable request, if a table will be created."""
    definition = context.definition
    return definition.request if definition and context.table is None else None


def _indexes(context: _Context) -> int:
    members = context.table.definition if context.table else context.manifest.table
    return len([*members.get("GlobalSecondaryIndexes", ()), *members.get("LocalSecondaryIndexes", ())])


def _units(context: _Context) -> float:
    return write_units(context.items, _item_bytes(context), _indexes(context))


def _costs(
    context: _Context, request: dict[str, Any] | None, units: float, seconds: float | None
) -> tuple[PriceList, list[Cost]]:
    """What the load costs, at the billing mode of the table, or of the one that will be made."""
    table = context.table
    on_demand, table_class = True, STANDARD
    if table is not None:
        on_demand, table_class = table.on_demand, table.table_class
    elif request is not None:
        on_demand, table_class = request["BillingMode"] == ON_DEMAND, request.get("TableClass", STANDARD)
    prices = price_list(context.aws, context.aws.region, table_class)
    # the last checkpoint of each shard, and those of the open ones meanwhile
    shards = sum(len(given.manifest.shards) for given in context.exports)
    puts = shards + OPEN_SHARDS * (seconds or 0) / CHECKPOINT_SECONDS
    return prices, [
        capacity_cost(prices, "Write", units, on_demand=on_demand, indexes=_indexes(context)),
        *s3_costs(prices, puts=puts, gets=2 * shards),
    ]


def _seconds(context: _Context, request: dict[str, Any] | None, units: float) -> float | None:
    """The duration at the throughput of the table, existing or to be created."""
    cap, definition = context.options.max_wcu, context.table.definition if context.table else request
    rates = [
        cap.units(definition or {}, "Write") if cap else None,
        write_rate(request) if request else None,
    ]
    return seconds_for(units, min(filter(None, rates), default=None), context.table, kind="Write")


def _settings_notes(context: _Context) -> list[str]:
    """How an existing table differs from the source, and the policies that the table lacks, or will have."""
    definition, table = context.definition, context.table
    if definition is None:
        return []
    if table is None:
        return definition.policy_notes(None)
    differences = definition.differences(table)
    differing = {difference.setting for difference in differences}
    return [*map(str, differences), *definition.policy_notes(table, differing)]


def _item_bytes(context: _Context) -> int:
    """The size of the items as DynamoDB counts it, if known; otherwise the size of their JSON, which is larger."""
    table = context.manifest.table
    count = table.get("ItemCount", 0)
    if count:
        return int(table["TableSizeBytes"] / count * context.items)
    return max(context.bytes, 0)


def _warm_note(request: dict[str, Any] | None, region: str) -> list[str]:
    units = warmed_units(request or {})
    return [warming_note(units, region)] if units else []


def _checks(context: _Context) -> dict[str, Callable[[], str]]:
    """The checks of the run, in the same order."""
    aws, manifest, options = context.aws, context.manifest, context.options
    return {
        **bucket_checks(aws, context.export),
        "export": lambda: _check_exports(context),
        **_change_checks(context),
        **_checks_of_table(context),
        **state_checks(aws, context.export, manifest, options.state),
    }


def _checks_of_table(context: _Context) -> Checks:
    aws, manifest, options, table = context.aws, context.manifest, context.options, context.table
    if table is not None:
        storage = state_storage(aws.s3, context.export, manifest, table, options.state)
        increment = context.exports[0].increment is not None
        consent = increment or options.on_existing is not None or is_plan_of(read_plan(storage), table)
        checks = table_checks(aws, manifest, table, options.max_wcu, may_hold_items=consent)
        if not is_chain(context.exports):
            return checks
        return {**checks, "order of exports": lambda: _check_order(context, table)}
    if context.definition is not None:
        earlier: Checks = {"earlier import": lambda: check_not_deleted(options, aws, context.exports[0])}
        return {**new_table_checks(context.definition, options.max_wcu), **earlier}
    return {"table": lambda: _refuse_absence(options.table)}


def _change_checks(context: _Context) -> Checks:
    """Of an export that follows its table: whether its changes are applied, and what proves a rollback."""
    given, table = context.exports[0], context.table
    if given.stream is None and not context.options.follow:
        return {}
    rollback = rollback_check(context.options, context.aws, given, table) if table else {}
    return {"changes": lambda: _check_changes(context), **rollback}


def _check_changes(context: _Context) -> str:
    if apply_changes_of(context.options, context.exports):
        return "loaded with the base" if not context.options.follow else "applied as they are captured"
    return "left out"


def _check_exports(context: _Context) -> str:
    return "; ".join(map(_check_export, context.exports))


def _check_export(given: Given) -> str:
    unverified = check_files(given).unverified
    copied = f", {len(unverified)} of them copied or modified since the export" if unverified else ""
    return f"all {len(given.manifest.shards):,} shards found in {given.folder.url}{copied}"


def _check_order(context: _Context, table: Table) -> str:
    """What of the exports is left to be applied, by the record of what the table has had."""
    chain = open_chain(context.options, context.aws, context.exports, table)
    done, left = split(context.options, context.exports, chain)
    return f"{len(left)} to load, {len(done)} loaded before"


def _refuse_absence(table: str) -> str:
    raise TableError(f"Table {table} does not exist.", "Use --create-table to create it.")
