"""What is checked before the first write of an import."""

from __future__ import annotations

from collections.abc import Sequence

from ddb_shared import manifest as manifests
from ddb_shared.errors import ShardError, TableError
from ddb_shared.manifest import Manifest, Shard
from ddb_shared.storage import Listed, S3Folder
from ddb_shared.table import Table, key_of, require_readable


def check_table(manifest: Manifest, table: Table) -> None:
    """The table takes writes and has the key schema of the table that was exported."""
    require_readable(table)
    if manifest.table and key_of(manifest.table) != table.key:
        exported = ", ".join(map(str, key_of(manifest.table)))
        raise TableError(
            f"Table {table.name} has another key schema than the export: {table.describe_key()} in the table, "
            f"{exported} in the export.",
            "Import into a table with the same key attributes and types.",
        )


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
