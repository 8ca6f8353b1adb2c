"""The end of an export: checks that every segment is done and every shard is listed, and writes the manifests."""

from __future__ import annotations

import hashlib
import logging
import re
from contextlib import suppress
from typing import Final

import ddb_shared
from ddb_export.encoding import Encoding
from ddb_export.shard_writer import ShardWriter
from ddb_export.start import Export, load_states, refuse_another_table
from ddb_shared.aws.clients import Aws
from ddb_shared.errors import AccessError, ExportError, map_errors
from ddb_shared.format import manifest as manifests
from ddb_shared.format.changes import CHANGES_ONLY
from ddb_shared.format.manifest import FORMAT, JSONL, Manifest, Shard
from ddb_shared.storage.s3 import READ_BYTES, S3Storage
from ddb_shared.table.description import describe
from ddb_shared.times import now_text

_SHARD_NAME: Final = re.compile(r"(?P<segment>\d{4})-(?P<sequence>\d{6,})(?P<suffix>\..+)")
_LOG: Final = logging.getLogger(__name__)
_ANOTHER_RUN: Final = "Something else writes to this folder, or deletes in it. Start a new export."


def finish(export: Export, aws: Aws) -> Manifest:
    """Writes the manifests, once every segment is done and every shard in the folder is listed."""
    storage, started = export.storage, export.started
    states = load_states(storage)
    missing = set(range(started.options.segments)) - {state.segment for state in states if state.done}
    if missing:
        raise ExportError(f"The export {storage.url} is unfinished: {len(missing)} segments are not done.")
    refuse_another_table(None, started, describe(aws.dynamodb, export.table.address))
    recorded = [shard for state in states for shard in state.shards]
    _refuse_replaced_shards(storage, recorded)
    shards = recorded + _orphaned_shards(storage, recorded, started.encoding)
    manifest = Manifest(
        format=FORMAT,
        export_id=manifests.export_id_of(storage),
        tool_version=ddb_shared.__version__,
        method=manifests.SCAN if started.options.segments else CHANGES_ONLY,
        started_at=started.started_at,
        finished_at=now_text(),
        source=started.source,
        table=started.table,
        settings=started.settings,
        options=started.options,
        consumed_rcu=round(started.sampled_rcu + sum(state.consumed_rcu for state in states), 1),
        items=sum(shard.items for shard in shards),
        bytes=sum(shard.bytes for shard in shards),
        shards=sorted(shards, key=lambda shard: shard.key),
    )
    with suppress(AccessError):  # without the permission, the bucket's lifecycle rule aborts them
        storage.abort_uploads(manifests.DATA)
    # AWS's manifests have no Parquet format, and would turn an export without a base into an empty table
    if started.options.format == JSONL and started.options.segments:
        manifests.write_aws(storage, manifest, aws.options.kms_key_id)
    manifests.write(storage, manifest)
    return manifest


def _refuse_replaced_shards(storage: S3Storage, recorded: list[Shard]) -> None:
    """Raises ExportError if a shard is not what its checkpoint says, because an upload of another run has replaced it.

    One with another ETag may have been restored from a copy: its checksum tells.
    """
    stored = {entry.name: entry for entry in storage.list(manifests.DATA)}
    for shard in recorded:
        found, where = stored.get(manifests.DATA + shard.name), f"{storage.url}{manifests.DATA}{shard.name}"
        if found is None:
            raise ExportError(f"The shard {where} is missing.", _ANOTHER_RUN)
        if found.size != shard.stored_bytes:
            difference = f"it has {found.size:,} bytes instead of {shard.stored_bytes:,}"
        elif found.etag.strip('"') != shard.etag and _sha256(storage, found.name) != shard.sha256:
            difference = "its SHA-256 is not the one in its checkpoint"
        else:
            continue
        raise ExportError(f"The shard {where} was replaced after it was written: {difference}.", _ANOTHER_RUN)


def _sha256(storage: S3Storage, name: str) -> str:
    digest = hashlib.sha256()
    with map_errors(f"read {storage.url}{name}"), storage.open_read(name) as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _orphaned_shards(storage: S3Storage, recorded: list[Shard], encoding: Encoding) -> list[Shard]:
    """Replaces shards that a killed run uploaded but did not record by empty ones; returns those.

    They remain if their items have left the table since. Readers of the data folder would load them, and the exporter has
    no permission to delete.
    """
    named = {shard.name for shard in recorded}
    orphans = [
        entry.name for entry in storage.list(manifests.DATA) if entry.name.rpartition("/")[2] not in named
    ]
    empty = []
    for name in orphans:
        shard = _SHARD_NAME.fullmatch(name.removeprefix(manifests.DATA))
        if shard is None or shard["suffix"] != encoding.suffix:
            _LOG.warning(
                "%s%s is not a file of this export; programs that read the whole folder may fail on it",
                storage.url,
                name,
            )
            continue
        writer = ShardWriter(storage, int(shard["segment"]), int(shard["sequence"]), encoding)
        try:
            empty.append(writer.commit())
        finally:
            writer.abort()
    return empty
