"""What a verification checks before it reads: that both sides are there, whole, and have the same key."""

from __future__ import annotations

from dataclasses import dataclass

from ddb_import.preflight import check_shards, check_table, interleave, state_checks
from ddb_import.state import folder_of
from ddb_import.verify.confirm import Lookup
from ddb_import.verify.options import Source, VerifyOptions
from ddb_import.verify.sides import ExportSide, Side, TableSide, whole_table
from ddb_shared import manifest as manifests
from ddb_shared.aws import Aws, AwsOptions
from ddb_shared.cap import Cap, pace_check, units_at
from ddb_shared.errors import TableError
from ddb_shared.preflight import Checks, bucket_checks, check_probe, require
from ddb_shared.preflight import check_table as check_status
from ddb_shared.storage import Folder, open_folder
from ddb_shared.table import Table, describe


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison that may begin. `items` is what the left side should hold, None where nobody knows it."""

    left: Side
    right: TableSide
    left_name: str
    table: Table
    items: int | None
    lookup: Lookup
    source_lookup: Lookup | None
    folder: Folder


def prepare(options: VerifyOptions, aws: Aws) -> Comparison:
    """Looks at both sides, and at the place of the report; raises what forbids a comparison."""
    if options.source is not None:
        return _with_source(options, options.source, aws)
    export = manifests.export_folder(aws.s3, options.export or "")
    require(bucket_checks(aws, export))
    manifest = manifests.read(export)
    table = describe(aws.dynamodb, options.table)
    unproven = check_shards(export, manifest)
    require(
        {
            "table": lambda: check_table(manifest, table),
            **_pace_checks(options, table),
            **state_checks(aws, export, manifest, options.state),
        }
    )
    left = ExportSide(
        aws=options.common.aws,
        bucket=export.bucket,
        prefix=export.prefix,
        shards=tuple(interleave(manifest.shards)),
        unproven=unproven,
    )
    right = whole_table(options.common.aws, table, name_of(table, options.table), options.max_rcu)
    return Comparison(
        left=left,
        right=right,
        left_name=export.url,
        table=table,
        items=manifest.items,
        lookup=_lookup(options.common.aws, table, right.table, options.max_rcu),
        source_lookup=None,
        folder=folder_of(aws.s3, export, manifest, table, options.state),
    )


def _with_source(options: VerifyOptions, given: Source, aws: Aws) -> Comparison:
    """A comparison with another table, whose report lies below --state or the current folder."""
    source_aws = given.aws(options.common.aws)
    source, table = describe(Aws(source_aws).dynamodb, given.table), describe(aws.dynamodb, options.table)
    state = (options.state or ".").rstrip("/")
    require(
        {
            "identity": aws.identity,
            "tables": lambda: _check_tables(source, table),
            **pace_check(options.max_rcu, source.definition, "Read", whose="source's "),
            **_pace_checks(options, table),
            "write and read": lambda: check_probe(open_folder(aws.s3, state)),
        }
    )
    left = whole_table(source_aws, source, name_of(source, given.table), options.max_rcu)
    right = whole_table(options.common.aws, table, name_of(table, options.table), options.max_rcu)
    return Comparison(
        left=left,
        right=right,
        left_name=source.arn,
        table=table,
        items=source.item_count or None,
        lookup=_lookup(options.common.aws, table, right.table, options.max_rcu),
        source_lookup=_lookup(source_aws, source, left.table, options.max_rcu),
        folder=open_folder(aws.s3, f"{state}/{table.account}.{table.region}.{table.name}"),
    )


def _pace_checks(options: VerifyOptions, table: Table) -> Checks:
    """Those of the reads, and of a repair."""
    return {
        **pace_check(options.max_rcu, table.definition, "Read"),
        **pace_check(options.max_wcu, table.definition, "Write"),
    }


def _check_tables(source: Table, table: Table) -> str:
    """Both can be read, and have the same key."""
    if source.key != table.key:
        raise TableError(
            f"The tables have different key schemas: {source.describe_key()} in {source.arn}, "
            f"{table.describe_key()} in {table.arn}.",
            "Compare tables with the same key attributes and types.",
        )
    return f"{check_status(source)}; {check_status(table)}"


def name_of(table: Table, given: str) -> str:
    """How requests name the table: by its ARN where that was given, since it may be another account's."""
    return table.arn if given.startswith("arn:") else table.name


def _lookup(aws: AwsOptions, table: Table, name: str, max_rcu: Cap | None) -> Lookup:
    units = units_at(max_rcu, table.definition, "Read")
    return Lookup(aws=aws, table=name, key_names=table.key_names, max_rcu=units)
