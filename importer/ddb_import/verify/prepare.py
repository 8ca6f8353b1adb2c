"""The checks of a verification before it reads: both sides exist, are complete, and have the same key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ddb_import.preflight import check_not_source, check_shards, check_table, interleave, state_checks
from ddb_import.state import state_storage
from ddb_import.verify.captured import Captured, find_captured
from ddb_import.verify.confirm import Lookup, Lookups
from ddb_import.verify.expiry import Expiry, attribute_of
from ddb_import.verify.inputs import ExportInput, Input, TableInput, whole_table
from ddb_import.verify.options import SourceTable, VerifyOptions
from ddb_shared.aws.clients import Aws
from ddb_shared.command.plan import read_units
from ddb_shared.command.preflight import Checks, bucket_checks, check_probe, rate_check, require
from ddb_shared.command.preflight import check_table as check_status
from ddb_shared.errors import TableError
from ddb_shared.format import manifest as manifests
from ddb_shared.format.manifest import Manifest
from ddb_shared.runtime.events import warn
from ddb_shared.runtime.runner import SMALL_BYTES
from ddb_shared.storage.base import Storage
from ddb_shared.storage.location import open_storage
from ddb_shared.table.description import Table, describe
from ddb_shared.table.settings import Clients, read_setting

TIME_TO_LIVE: Final = "time_to_live"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison that may begin: of the source, an export or a table, with the table.

    `items` is what the source should hold, None if unknown; `bytes` is its size, which DescribeTable knows of a new table
    hours later. `source_table` is None where the source is an export, `manifest` where it is a table. `captured` are the changes
    that count as the export's, where it has any.
    """

    source: Input
    table_input: TableInput
    source_name: str
    source_table: Table | None
    table: Table
    items: int | None
    bytes: int
    lookups: Lookups
    storage: Storage
    is_small: bool = False
    manifest: Manifest | None = None
    captured: Captured | None = None

    @property
    def items_about(self) -> int | None:
        """The same, from the base alone where changes make it unknown."""
        return self.manifest.items if self.manifest and self.items is None else self.items

    @property
    def scan_units(self) -> float:
        """Read units of the table that one pass costs."""
        return read_units(max(self.table.size_bytes, self.bytes), consistent=False)

    @property
    def source_scan_units(self) -> float:
        """The same of the source; an export costs none."""
        return read_units(self.source_table.size_bytes, consistent=False) if self.source_table else 0.0


def prepare(options: VerifyOptions, aws: Aws) -> Comparison:
    """Checks both sides and the location of the report; raises TransferError if they cannot be compared."""
    if options.source is not None:
        return _with_source(options, options.source, aws)
    export = manifests.export_storage(aws.s3, options.export or "")
    require(bucket_checks(aws, export))
    manifest = manifests.read(export)
    table = describe(aws.dynamodb, options.table)
    files = check_shards(export, manifest)
    require(
        {
            "table": lambda: check_table(manifest, table),
            # comparing it is harmless, a repair would take it back to the time of its export
            **({"source": lambda: check_not_source(manifest, table)} if options.repair else {}),
            **_rate_checks(options, table),
            **state_checks(aws, export, manifest, options.state),
        }
    )
    state = state_storage(aws.s3, export, manifest, table, options.state)
    captured = find_captured(options, export, state, manifest, table)
    source = ExportInput(
        aws=options.common.aws,
        bucket=export.bucket,
        prefix=export.prefix,
        shards=tuple(interleave(manifest.shards)),
        unverified=files.unverified,
    )
    table_input = whole_table(options.common.aws, table, table.address, options.max_rcu)
    return Comparison(
        source=source,
        table_input=table_input,
        source_name=export.url,
        source_table=None,
        table=table,
        items=None if captured else manifest.items,
        bytes=manifest.bytes,
        lookups=Lookups(
            table=_lookup(table_input, table),
            source=None,
            expiry=Expiry(
                source=attribute_of(manifest.settings.get(TIME_TO_LIVE)), table=_time_to_live(aws, table)
            ),
        ),
        storage=state,
        is_small=0 <= manifest.bytes <= SMALL_BYTES and table.size_bytes <= SMALL_BYTES,
        manifest=manifest,
        captured=captured,
    )


def _with_source(options: VerifyOptions, given: SourceTable, aws: Aws) -> Comparison:
    """A comparison of two tables, whose report is stored below --state or the current folder."""
    source_aws = given.aws(options.common.aws)
    source_clients = Aws(source_aws)
    source, table = describe(source_clients.dynamodb, given.table), describe(aws.dynamodb, options.table)
    state = (options.state or ".").rstrip("/")
    require(
        {
            "identity": aws.identity,
            "tables": lambda: _check_tables(source, table),
            **rate_check(options.max_rcu, source.definition, "Read", whose="source "),
            **_rate_checks(options, table),
            "write and read": lambda: check_probe(open_storage(aws.s3, state)),
        }
    )
    source_input = whole_table(source_aws, source, source.address, options.max_rcu)
    table_input = whole_table(options.common.aws, table, table.address, options.max_rcu)
    return Comparison(
        source=source_input,
        table_input=table_input,
        source_name=source.arn,
        source_table=source,
        table=table,
        items=source.item_count or None,
        bytes=source.size_bytes,
        lookups=Lookups(
            table=_lookup(table_input, table),
            source=_lookup(source_input, source),
            expiry=Expiry(source=_time_to_live(source_clients, source), table=_time_to_live(aws, table)),
        ),
        storage=open_storage(aws.s3, f"{state}/{table.account}.{table.region}.{table.name}"),
    )


def _rate_checks(options: VerifyOptions, table: Table) -> Checks:
    """The rate checks for reading, and for a repair."""
    return {
        **rate_check(options.max_rcu, table.definition, "Read"),
        **rate_check(options.max_wcu, table.definition, "Write"),
    }


def _check_tables(source: Table, table: Table) -> str:
    """They are two tables that can be read and have the same key."""
    if (source.arn, source.id) == (table.arn, table.id):
        raise TableError(
            f"SOURCE and DEST are the same table, {table.arn}: comparing it with itself proves nothing.",
            "Check --source-profile, --source-role-arn, --source-region and the names.",
        )
    if source.key != table.key:
        raise TableError(
            f"The tables have different key schemas: {source.describe_key()} in {source.arn}, "
            f"{table.describe_key()} in {table.arn}.",
            "Compare tables with the same key attributes and types.",
        )
    return f"{check_status(source)}; {check_status(table)}"


def _time_to_live(aws: Aws, table: Table) -> str:
    """The table's time-to-live attribute; "" where it has none, or where it may not be read."""
    setting = read_setting(Clients(aws.dynamodb, None), table, TIME_TO_LIVE)
    if setting.unknown:
        warn(
            f"The time to live of {table.arn} is unknown, so expired items count as missing: {setting.unknown}"
        )
    return attribute_of(setting)


def _lookup(input_: TableInput, table: Table) -> Lookup:
    return Lookup(aws=input_.aws, table=input_.table, key_names=table.key_names, max_rcu=input_.max_rcu)
