"""The checks of an import before its first write: the bucket, the export, the table, the location of its state.

A table that --create-table creates is checked once it exists; everything else is checked before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import msgspec

from ddb_import.definition.create import Definition
from ddb_import.ion_lines import require_ion
from ddb_import.item_limits import check_item_limits
from ddb_import.state import state_folder
from ddb_shared.aws.clients import Aws
from ddb_shared.command.preflight import (
    Checks,
    check_backups,
    check_encryption,
    check_owner,
    check_probe,
    rate_check,
)
from ddb_shared.command.preflight import check_table as check_status
from ddb_shared.dynamodb.client import open_client
from ddb_shared.dynamodb.rate import RateLimiter
from ddb_shared.dynamodb.scan import SegmentScan
from ddb_shared.errors import ShardError, TableError, TransferError
from ddb_shared.format import manifest as manifests
from ddb_shared.format.manifest import Manifest, Shard
from ddb_shared.runtime.events import warn
from ddb_shared.runtime.loop import run_loop
from ddb_shared.storage.base import FileInfo, Storage
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.capacity import Cap
from ddb_shared.table.description import Table, key_of

# A table that lets no read through for so long is taken to hold items.
LOOK_SECONDS: Final = 30.0
_READERS: Final = 16


def state_checks(aws: Aws, export: S3Storage, manifest: Manifest, state: str | None) -> Checks:
    """Whether the state of an import can be stored at `state`."""
    storage = state_folder(aws.s3, export, manifest.export_id, state)
    if not isinstance(storage, S3Storage):
        return {"write and read": lambda: check_probe(storage)}
    owner = {"owner of the state's bucket": lambda: check_owner(aws, storage)}
    return {
        **(owner if storage.bucket != export.bucket else {}),
        "write and read": lambda: check_probe(storage),
        "encryption": lambda: check_encryption(storage, None),
    }


def record_checks(storage: Storage) -> Checks:
    """Whether the record of what a table has had can be kept."""
    return {"record of exports": lambda: check_probe(storage)}


def table_checks(
    aws: Aws, manifest: Manifest, table: Table, max_wcu: Cap | None, *, may_hold_items: bool
) -> Checks:
    """Whether the table accepts the export's items; `may_hold_items` means that the user allows a table with items."""
    return {
        "table": lambda: check_table(manifest, table),
        **rate_check(max_wcu, table.definition, "Write"),
        "item limits": lambda: check_item_limits(manifest, table),
        "source": lambda: check_not_source(manifest, table),
        "destination": lambda: check_emptiness(aws, table, may_hold_items=may_hold_items),
        "point-in-time recovery": lambda: check_backups(
            aws, table, "without it, overwritten items cannot be restored"
        ),
    }


def new_table_checks(definition: Definition, max_wcu: Cap | None) -> Checks:
    """The same for a table that --create-table will create."""
    request = definition.request
    return {
        "table": lambda: f"{definition.table} will be created, {request['BillingMode']}",
        **rate_check(max_wcu, request, "Write"),
        "item limits": lambda: _new_table_limits(definition),
        "destination": lambda: "a new table is empty",
        "point-in-time recovery": lambda: "set after the load, as in the source",
    }


def _new_table_limits(definition: Definition) -> str:
    if definition.options.given:
        return "the keys are those of --key or --definition; what DynamoDB refuses is kept in rejects files"
    return "the source enforces the same limits"


def check_table(manifest: Manifest, table: Table) -> str:
    """The table can be written and has the key schema of the exported table."""
    found = check_status(table)
    if manifest.table and key_of(manifest.table) != table.key:
        exported = ", ".join(map(str, key_of(manifest.table)))
        raise TableError(
            f"The key schema of table {table.name} differs from that of the export: {table.describe_key()} in the table, "
            f"{exported} in the export.",
            "Import into a table with the same key attributes and types.",
        )
    return found


def check_not_source(manifest: Manifest, table: Table) -> str:
    """The table is not the exported one. Table ids are never reused; DynamoDB Local has the creation time instead, in milliseconds.

    The caller's account does not tell tables of DynamoDB Local apart: with -sharedDb all accounts have the same ones.
    """
    if (manifest.source.table_arn, manifest.source.table_id) == (table.arn, table.id):
        raise TableError(
            f"{table.arn} is the exported table itself.",
            "Check the account (--profile, --role-arn), --region and the table's name.",
        )
    return "not the exported table"


def holds_items(aws: Aws, table: Table) -> bool | None:
    """Whether the table holds items now; None where it cannot be read. DescribeTable's count is six hours old."""
    try:
        return run_loop(_holds_items(aws, table), threads=1)
    except (TransferError, TimeoutError):  # the permission is missing, or the table is too busy
        return None


async def _holds_items(aws: Aws, table: Table) -> bool:
    async with asyncio.timeout(LOOK_SECONDS), open_client(aws, 1, RateLimiter()) as client:
        scan = SegmentScan(
            client=client, table=table.address, segment=0, total_segments=1, consistent_read=True
        )
        page = await scan.page(None, 1)
        while not page.items and page.last_evaluated_key is not None:
            page = await scan.page(page.last_evaluated_key, 1)
        return bool(page.items)


def check_emptiness(aws: Aws, table: Table, *, may_hold_items: bool) -> str:
    """The table is empty, or the user has decided what happens to its items."""
    found = holds_items(aws, table)
    if found is False:
        return "the table is empty"
    what = "already contains items" if found else "could not be read, so it may contain items"
    if may_hold_items:
        return f"the table {what}; --on-existing decides about items with the same keys"
    raise TableError(
        f"Table {table.name} {what}; nothing was written.",
        "Choose what to do with items that have the same keys: --on-existing overwrite replaces them, --on-existing skip "
        "keeps them.",
    )


@dataclass(frozen=True, slots=True)
class ShardFiles:
    """The files of an export's shards, as they are stored.

    `unverified` are the names of those whose ETag is not the one that S3 gave when they were written: they were copied, or
    altered, and only their checksum can tell.
    """

    unverified: frozenset[str] = frozenset()
    stored_bytes: int = 0


def check_shards(storage: S3Storage, manifest: Manifest) -> ShardFiles:
    """Every shard is stored in the export's folder with its size; raises ShardError where one is missing or truncated."""
    _require_readable(manifest)
    if manifest.part is not msgspec.UNSET:
        part = msgspec.json.encode(manifest.part).decode()
        warn(f"this export holds a part of the table: {part}")
    actual = {entry.name: entry for entry in storage.list(manifests.DATA)}
    return _check_files(
        storage, [(shard, actual.get(manifests.DATA + shard.name)) for shard in manifest.shards]
    )


def check_shared_files(storage: S3Storage, manifest: Manifest) -> ShardFiles:
    """As `check_shards`, for an increment, whose files share a folder with those of all others: each is asked for by name."""
    _require_readable(manifest)

    def find_file(shard: Shard) -> FileInfo | None:
        name = manifests.DATA + shard.name
        return next((entry for entry in storage.list(name) if entry.name == name), None)

    with ThreadPoolExecutor(_READERS) as pool:
        return _check_files(
            storage, list(zip(manifest.shards, pool.map(find_file, manifest.shards), strict=True))
        )


def _require_readable(manifest: Manifest) -> None:
    if manifest.options.format == manifests.ION:
        require_ion()


def _check_files(storage: S3Storage, files: Sequence[tuple[Shard, FileInfo | None]]) -> ShardFiles:
    return ShardFiles(
        frozenset(shard.name for shard, file in files if not _is_as_written(storage, shard, file)),
        sum(file.size for _, file in files if file),
    )


def _is_as_written(storage: S3Storage, shard: Shard, found: FileInfo | None) -> bool:
    remedy = (
        "Restore the object (an earlier version of it, or another copy of the export), or export the table again; "
        "then run the same command again."
    )
    where = f"{storage.url}{manifests.DATA}{shard.name}"
    if found is None:
        raise ShardError(f"The shard {where} is missing.", remedy)
    if shard.stored_bytes not in {-1, found.size}:
        raise ShardError(
            f"The shard {where} has {found.size:,} bytes, expected {shard.stored_bytes:,}.", remedy
        )
    return bool(shard.etag) and found.etag.strip('"') == shard.etag


def interleave(shards: Sequence[Shard]) -> list[Shard]:
    """The shards in an order in which neighbours belong to different segments, and so to different hash ranges."""
    return sorted(shards, key=lambda shard: (shard.name.partition("-")[2], shard.segment))
