"""What a verification checks before it reads: that both sides are there, whole, and have the same key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ddb_import.preflight import check_shards, check_table, interleave
from ddb_import.state import folder_of
from ddb_import.verify.confirm import Lookup
from ddb_import.verify.options import Source, VerifyOptions
from ddb_import.verify.sides import ExportSide, Side, whole_table
from ddb_shared import manifest as manifests
from ddb_shared.aws import Aws, AwsOptions
from ddb_shared.errors import TableError
from ddb_shared.storage import Folder, S3Folder, open_folder, parse_bucket_url
from ddb_shared.table import Table, describe, require_readable


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison that may begin. `items` is what the left side should hold, None where nobody knows it."""

    left: Side
    right: Side
    left_name: str
    table: Table
    items: int | None
    lookup: Lookup
    source_lookup: Lookup | None
    folder: Folder


def prepare(options: VerifyOptions, aws: Aws) -> Comparison:
    """Looks at both sides; raises what forbids a comparison."""
    table = describe(aws.dynamodb, options.table)
    require_readable(table)
    right = whole_table(options.common.aws, table, name_of(table, options.table), options.max_rcu)
    lookup = _lookup(options.common.aws, table, right.table, options.max_rcu)
    if options.source is not None:
        return _with_source(options, options.source, table=table, right=right, lookup=lookup, s3=aws.s3)
    url = options.export or ""
    for name in (manifests.MANIFEST, manifests.AWS_SUMMARY):
        url = url.removesuffix(name)
    export = S3Folder(aws.s3, *parse_bucket_url(url))
    manifest = manifests.read(export)
    check_table(manifest, table)
    unproven = check_shards(export, manifest)
    left = ExportSide(
        aws=options.common.aws,
        bucket=export.bucket,
        prefix=export.prefix,
        shards=tuple(interleave(manifest.shards)),
        unproven=unproven,
    )
    return Comparison(
        left=left,
        right=right,
        left_name=export.url,
        table=table,
        items=manifest.items,
        lookup=lookup,
        source_lookup=None,
        folder=folder_of(aws.s3, export, manifest, table, options.state),
    )


def _with_source(
    options: VerifyOptions, given: Source, *, table: Table, right: Side, lookup: Lookup, s3: Any
) -> Comparison:
    source_aws = given.aws(options.common.aws)
    source = describe(Aws(source_aws).dynamodb, given.table)
    require_readable(source)
    if source.key != table.key:
        raise TableError(
            f"The tables have different key schemas: {source.describe_key()} in {source.arn}, "
            f"{table.describe_key()} in {table.arn}.",
            "Compare tables with the same key attributes and types.",
        )
    left = whole_table(source_aws, source, name_of(source, given.table), options.max_rcu)
    state = (options.state or ".").rstrip("/")
    return Comparison(
        left=left,
        right=right,
        left_name=source.arn,
        table=table,
        items=source.item_count or None,
        lookup=lookup,
        source_lookup=_lookup(source_aws, source, left.table, options.max_rcu),
        folder=open_folder(s3, f"{state}/{table.account}.{table.region}.{table.name}"),
    )


def name_of(table: Table, given: str) -> str:
    """How requests name the table: by its ARN where that was given, since it may be another account's."""
    return table.arn if given.startswith("arn:") else table.name


def _lookup(aws: AwsOptions, table: Table, name: str, max_rcu: float | None) -> Lookup:
    return Lookup(aws=aws, table=name, key_names=table.key_names, max_rcu=max_rcu)
