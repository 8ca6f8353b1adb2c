"""What an import checks before its first write, in order: the bucket, the export, the table, the place of its state.

A table that --create-table makes is looked at when it is there; all else is checked before it is made.
"""

from __future__ import annotations

from collections.abc import Sequence

from botocore.exceptions import BotoCoreError, ClientError

from ddb_import.definition.create import Definition
from ddb_import.item_limits import check_item_limits
from ddb_import.state import place_of
from ddb_shared import manifest as manifests
from ddb_shared.aws import Aws
from ddb_shared.cap import Cap, pace_check
from ddb_shared.errors import ShardError, TableError
from ddb_shared.manifest import Manifest, Shard
from ddb_shared.preflight import Checks, check_backups, check_encryption, check_owner, check_probe
from ddb_shared.preflight import check_table as check_status
from ddb_shared.storage import Listed, S3Folder
from ddb_shared.table import Table, key_of


def state_checks(aws: Aws, export: S3Folder, manifest: Manifest, state: str | None) -> Checks:
    """Whether the state of an import of this export can be kept where `state` says."""
    place = place_of(aws.s3, export, manifest, state)
    if not isinstance(place, S3Folder):
        return {"write and read": lambda: check_probe(place)}
    elsewhere = {"owner of the state's bucket": lambda: check_owner(aws, place)}
    return {
        **(elsewhere if place.bucket != export.bucket else {}),
        "write and read": lambda: check_probe(place),
        "encryption": lambda: check_encryption(place, None),
    }


def table_checks(aws: Aws, manifest: Manifest, table: Table, max_wcu: Cap | None) -> Checks:
    """Whether the table takes the export's items."""
    return {
        "table": lambda: check_table(manifest, table),
        **pace_check(max_wcu, table.definition, "Write"),
        "item limits": lambda: check_item_limits(manifest, table),
        "destination": lambda: check_emptiness(aws, table),
        "point-in-time recovery": lambda: check_backups(
            aws, table, "without it nothing brings back an item that an import replaced"
        ),
    }


def new_table_checks(definition: Definition, max_wcu: Cap | None) -> Checks:
    """The same of a table that --create-table will make."""
    request = definition.request()
    return {
        "table": lambda: f"{definition.table} will be made, {request['BillingMode']}",
        **pace_check(max_wcu, request, "Write"),
        "item limits": lambda: "400 KB an item, and the types and sizes of all keys, are as in the source",
        "destination": lambda: "a new table is empty",
        "point-in-time recovery": lambda: "set after the load, as in the source",
    }


def check_table(manifest: Manifest, table: Table) -> str:
    """The table takes writes and has the key schema of the table that was exported."""
    found = check_status(table)
    if manifest.table and key_of(manifest.table) != table.key:
        exported = ", ".join(map(str, key_of(manifest.table)))
        raise TableError(
            f"Table {table.name} has another key schema than the export: {table.describe_key()} in the table, "
            f"{exported} in the export.",
            "Import into a table with the same key attributes and types.",
        )
    return found


def check_emptiness(aws: Aws, table: Table) -> str:
    """Whether the table holds items already, by a look at it: DescribeTable's count is six hours old."""
    try:
        page = aws.hasty_dynamodb.scan(TableName=table.name, Limit=1, Select="COUNT")
    except (
        ClientError,
        BotoCoreError,
    ):  # the permission is missing, or the table busy: a load goes on without
        return f"about {table.item_count:,} items, by DescribeTable's count, which may be six hours old"
    if page["Count"] or page.get("LastEvaluatedKey"):
        return "the table holds items already; --on-existing says what happens to those with the same keys"
    return "the table is empty"


def check_shards(folder: S3Folder, manifest: Manifest) -> frozenset[str]:
    """Every shard lies in the export's folder with its size; raises ShardError where one is missing or truncated.

    Returns the names of those whose ETag is not the one that S3 gave when they were written: they were copied, or
    altered, and only their checksum can tell.
    """
    present = {entry.name: entry for entry in folder.list(manifests.DATA)}
    return frozenset(
        shard.name
        for shard in manifest.shards
        if not _is_as_written(folder, shard, present.get(manifests.DATA + shard.name))
    )


def _is_as_written(folder: S3Folder, shard: Shard, found: Listed | None) -> bool:
    remedy = (
        "Restore the object (an earlier version of it, or another copy of the export), or export the table again; "
        "then run the same command again."
    )
    where = f"{folder.url}{manifests.DATA}{shard.name}"
    if found is None:
        raise ShardError(f"The shard {where} is missing.", remedy)
    if shard.stored_bytes not in {-1, found.size}:
        raise ShardError(
            f"The shard {where} has {found.size:,} bytes instead of {shard.stored_bytes:,}.", remedy
        )
    return bool(shard.etag) and found.etag.strip('"') == shard.etag


def interleave(shards: Sequence[Shard]) -> list[Shard]:
    """The shards ordered so that neighbours are of different segments, and so of different hash ranges."""
    return sorted(shards, key=lambda shard: (shard.name.partition("-")[2], shard.segment))
