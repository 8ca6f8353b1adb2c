"""Which ways there are to move this table, and which method `--method auto` takes."""

from __future__ import annotations

from typing import Final

from ddb_export.native.backups import read_backups
from ddb_export.options import Method, NewExport, PitrOptions
from ddb_shared.aws.clients import Aws
from ddb_shared.command.plan import read_units, seconds_for, write_units
from ddb_shared.command.prices import capacity_cost, native_prices, price_list, total_usd
from ddb_shared.command.routes import NATIVE_SECONDS, Route, TableFacts, routes_of
from ddb_shared.errors import TransferError
from ddb_shared.storage.bucket import check_bucket
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.capacity import NEW_TABLE_READ_UNITS, NEW_TABLE_WRITE_UNITS
from ddb_shared.table.description import Table
from ddb_shared.text import duration_text, size_text

# Where nothing tells how fast the table can be read: at 10,000 read units a second, as long as the least of a native export.
_LARGE_BYTES: Final = 48 * 1024**3


def routes_for(options: NewExport, aws: Aws, table: Table, exports: S3Storage) -> list[Route]:
    """The routes of the table, as far as the source's side can tell."""
    reads = read_units(table.size_bytes, consistent=bool(options.requested.consistent_read))
    writes = write_units(table.item_count, table.size_bytes, table.index_count)
    rate = NEW_TABLE_WRITE_UNITS if table.on_demand else table.write_units
    scan_seconds = _scan_seconds(options, table, reads)
    if scan_seconds is None and table.on_demand:
        scan_seconds = reads / NEW_TABLE_READ_UNITS
    prices = price_list(aws, table.region, table.table_class)
    costs = {
        kind: total_usd([capacity_cost(prices, kind, units, on_demand=table.on_demand)])
        for kind, units in (("Read", reads), ("Write", writes))
    }
    facts = TableFacts(
        size_bytes=table.size_bytes,
        local_indexes=[index["IndexName"] for index in table.definition.get("LocalSecondaryIndexes", ())],
        is_global=bool(table.definition.get("Replicas")),
        backups=_backups(aws, table),
        other_region=_is_elsewhere(aws, table, exports),
        scan_seconds=scan_seconds,
        scan_usd=costs["Read"],
        read_units=reads,
        load_seconds=writes / rate if rate else None,
        load_usd=costs["Write"],
    )
    return routes_of(facts, native_prices(aws, table.region))


Choice = tuple[Method, str]


def choose_method(options: NewExport, aws: Aws, table: Table) -> Choice:
    """The method that `--method auto` takes, and why: DynamoDB's own where a scan would take longer than that takes at least."""
    return _by_options(options) or _without_backups(options, aws, table) or _by_size(options, table)


def _by_options(options: NewExport) -> Choice | None:
    """What the options leave no choice for."""
    requested = options.requested
    for name in ("format", "columns", "compression", "segments", "consistent_read", "shard_size"):
        if getattr(requested, name):
            return Method.SCAN, f"--{name.replace('_', '-')} is an option of a scan"
    if options.pitr != PitrOptions(enable_pitr=options.pitr.enable_pitr):
        return Method.PITR, "only DynamoDB itself exports increments, times of the past, and parts of a table"
    return None


def _without_backups(options: NewExport, aws: Aws, table: Table) -> Choice | None:
    backups = _backups(aws, table)
    if backups or options.pitr.enable_pitr:
        return None
    why = "off" if backups is False else "unknown"
    return Method.SCAN, f"point-in-time recovery is {why}, and DynamoDB exports from its backups"


def _by_size(options: NewExport, table: Table) -> Choice:
    units = read_units(table.size_bytes, consistent=False)
    seconds = _scan_seconds(options, table, units)
    if seconds is None:
        size = size_text(table.size_bytes)
        if table.size_bytes < _LARGE_BYTES:
            return Method.SCAN, f"the table has {size}, which a scan reads sooner than DynamoDB exports"
        return Method.PITR, f"the table has {size}, and DynamoDB exports it at no read capacity"
    scan = f"a scan takes about {duration_text(seconds)}"
    least = f"DynamoDB's own export {duration_text(NATIVE_SECONDS)} or more"
    if seconds < NATIVE_SECONDS:
        return Method.SCAN, f"{scan}, {least}"
    return Method.PITR, f"{scan} and {units:,.0f} read units, {least} and none"


def _scan_seconds(options: NewExport, table: Table, units: float) -> float | None:
    cap = options.max_rcu.units(table.definition, "Read") if options.max_rcu else None
    return seconds_for(units, cap, table, kind="Read")


def _backups(aws: Aws, table: Table) -> bool | None:
    try:
        return read_backups(aws, table).enabled
    except TransferError:  # the permission is missing
        return None


def _is_elsewhere(aws: Aws, table: Table, exports: S3Storage) -> bool | None:
    """Whether the bucket, and so most likely the new table, is in another Region; None where nothing tells."""
    try:
        found = check_bucket(aws.s3, exports.bucket, exports.prefix, aws.options.owner_of(exports.bucket))
    except TransferError:
        return None
    return found != table.region if found else None
