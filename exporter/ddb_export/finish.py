"""How an export ends: every segment is done, every shard in the folder is named, and the manifests are written."""

from __future__ import annotations

from contextlib import suppress

import ddb_shared
from ddb_export.begin import Export, load_states, refuse_another_table
from ddb_export.encoding import JSONL, Encoding
from ddb_export.shard_writer import ShardWriter
from ddb_shared import manifest as manifests
from ddb_shared.aws import Aws
from ddb_shared.checkpoint import SegmentCheckpoint
from ddb_shared.errors import AccessError, ExportError
from ddb_shared.manifest import FORMAT, Manifest, Shard
from ddb_shared.storage import S3Folder
from ddb_shared.table import describe
from ddb_shared.times import now_text


def finish(export: Export, aws: Aws) -> Manifest:
    """Writes the manifests, once every segment is done and every shard in the folder is named."""
    folder, started = export.folder, export.started
    states = load_states(folder)
    missing = set(range(started.options.segments)) - {state.segment for state in states if state.done}
    if missing:
        raise ExportError(f"The export {folder.url} is unfinished: {len(missing)} segments are not done.")
    refuse_another_table(None, started, describe(aws.dynamodb, started.source.table_name))
    shards = [shard for state in states for shard in state.shards] + _strays(folder, states, started.encoding)
    manifest = Manifest(
        format=FORMAT,
        export_id=manifests.export_id_of(folder),
        tool_version=ddb_shared.__version__,
        method="scan",
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
    with suppress(AccessError):  # without the permission, the bucket's lifecycle rule has to see to them
        folder.abort_uploads(manifests.DATA)
    if started.options.format == JSONL:  # AWS's manifests know no Parquet
        manifests.write_aws(folder, manifest, aws.options.kms_key_id)
    manifests.write(folder, manifest)
    return manifest


def _strays(folder: S3Folder, states: list[SegmentCheckpoint], encoding: Encoding) -> list[Shard]:
    """Shards that were uploaded but not recorded when a run was killed, and whose items are gone from the table since.

    Readers that are pointed at the data folder would load them, and the exporter needs no permission to delete: they
    are replaced by shards without items.
    """
    named = {shard.name for state in states for shard in state.shards}
    strays = [
        entry.name for entry in folder.list(manifests.DATA) if entry.name.rpartition("/")[2] not in named
    ]
    empty = []
    for name in strays:
        segment, _, sequence = name.rpartition("/")[2].partition(".")[0].partition("-")
        writer = ShardWriter(folder, int(segment), int(sequence), encoding)
        try:
            empty.append(writer.commit())
        finally:
            writer.abort()
    return empty
