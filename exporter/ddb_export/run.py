"""One export, from the first look at the table to the manifest."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import msgspec

import ddb_shared
from ddb_export.options import ExportOptions
from ddb_export.plan import choose_segments, deal
from ddb_export.scan import ScanTask, scan_segments
from ddb_export.shard_writer import ShardWriter
from ddb_shared import checkpoint as checkpoints
from ddb_shared import manifest as manifests
from ddb_shared.aws import Aws
from ddb_shared.checkpoint import SegmentCheckpoint
from ddb_shared.errors import AccessError, BucketError, ExportError, ServiceError, UsageError
from ddb_shared.manifest import FORMAT, Manifest, Settings, Shard, Source
from ddb_shared.progress import Meter, display
from ddb_shared.storage import S3Folder, check_bucket, parse_bucket_url
from ddb_shared.table import Table, describe, require_readable
from ddb_shared.times import now_text
from ddb_shared.workers import Stop

DEFAULT_COMPRESSION: Final = "gzip"
# About 400 MB of typical items: ten seconds of work to do again after a crash, and 1 TB makes 2,500 objects.
DEFAULT_SHARD_BYTES: Final = 64 * 1024 * 1024
_READERS: Final = 16


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """The file `_started`: what the export is of and how it was asked for, so that a resume can tell."""

    format: str = FORMAT
    started_at: str
    source: Source
    table: dict[str, Any]
    options: Settings


class ExportResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `ddb-export --json` prints. `bytes` are before compression, `consumed_rcu` includes earlier runs."""

    status: str
    export: str
    manifest: str
    items: int
    bytes: int
    shards: int
    seconds: float
    consumed_rcu: float
    throttled: int
    throttle_reasons: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Export:
    """An export that has begun: its folder and what its `_started` says."""

    folder: S3Folder
    table: Table
    started: Started
    done_items: int


def run_export(options: ExportOptions, aws: Aws, stop: Stop) -> ExportResult:
    """Exports the table, or finishes an export that was interrupted."""
    began = time.monotonic()
    export = _find(options, aws) if options.resume else _begin(options, aws)
    remedy = f"Finish the export with:\n  {resume_command(export.folder, options)}"
    try:
        throttled = _scan(export, options, stop)
        stop.check(remedy)
        manifest = _finish(export, aws)
    except (AccessError, BucketError, ServiceError) as error:
        raise type(error)(error.message, f"{error.remedy}\n{remedy}".strip()) from error
    return ExportResult(
        status="complete",
        export=export.folder.url,
        manifest=export.folder.url + manifests.MANIFEST,
        items=manifest.items,
        bytes=manifest.bytes,
        shards=len(manifest.shards),
        seconds=round(time.monotonic() - began, 3),
        consumed_rcu=manifest.consumed_rcu,
        throttled=sum(throttled.values()),
        throttle_reasons=throttled,
    )


def resume_command(folder: S3Folder, options: ExportOptions) -> str:
    """The command line that finishes this export."""
    arguments = ["ddb-export", "--resume", folder.url, *options.common.arguments]
    if options.max_rcu:
        arguments += ["--max-rcu", f"{options.max_rcu:g}"]
    return shlex.join(arguments)


def _begin(options: ExportOptions, aws: Aws) -> _Export:
    """A new export: everything that can be refused is, before `_started` is written."""
    if options.table is None or options.destination is None:
        raise UsageError(
            "TABLE and s3://BUCKET[/PREFIX] are needed.", "Or finish an export with --resume EXPORT."
        )
    bucket, prefix = parse_bucket_url(options.destination)
    table = _readable_table(aws, options.table)
    check_bucket(aws.s3, bucket)
    place = f"{prefix}/{manifests.EXPORTS}" if prefix else manifests.EXPORTS
    folder = S3Folder(aws.s3, bucket, place + manifests.new_export_id(time.time()))
    started = Started(
        started_at=now_text(),
        source=source_of(table),
        table=table.definition,
        options=Settings(
            format="jsonl",
            compression=options.compression or DEFAULT_COMPRESSION,
            segments=options.segments or choose_segments(table),
            shard_size=options.shard_size or DEFAULT_SHARD_BYTES,
            consistent_read=options.consistent_read or False,
        ),
    )
    folder.write(manifests.STARTED, msgspec.json.encode(started), new=True)
    return _Export(folder, table, started, done_items=0)


def _find(options: ExportOptions, aws: Aws) -> _Export:
    """An export that was interrupted, if this command may finish it."""
    folder = S3Folder(aws.s3, *parse_bucket_url(options.resume or ""))
    manifests.export_id_of(folder)
    if folder.read(manifests.MANIFEST) is not None:
        raise ExportError(f"The export {folder.url} is complete: there is nothing to resume.")
    stored = folder.read(manifests.STARTED)
    if stored is None or not stored.data:
        raise ExportError(
            f"No export of ddb-export has begun at {folder.url}.", "Give the folder that it printed."
        )
    started = msgspec.json.decode(stored.data, type=Started)
    table = _readable_table(aws, started.source.table_name)
    _refuse_another_table(options.table, started, table)
    _refuse_other_settings(options, started)
    folder.abort_uploads(manifests.DATA)
    done = sum(shard.items for state in _load_states(folder) for shard in state.shards)
    return _Export(folder, table, started, done_items=done)


def _readable_table(aws: Aws, name: str) -> Table:
    table = describe(aws.dynamodb, name)
    require_readable(table)
    return table


def _refuse_another_table(asked: str | None, started: Started, table: Table) -> None:
    """The table must be the very one that the export began with: a TableId is never used again."""
    if asked not in {None, table.name, table.arn} or source_of(table) != started.source:
        raise ExportError(
            f"The export is of table {started.source.table_arn} (id {started.source.table_id}), "
            f"not of {table.arn} (id {table.id}).",
            "The table was made anew or is another one: start a new export.",
        )


def _refuse_other_settings(options: ExportOptions, started: Started) -> None:
    given = {
        "compression": options.compression,
        "segments": options.segments,
        "shard_size": options.shard_size,
        "consistent_read": options.consistent_read,
    }
    for name, value in given.items():
        began_with = getattr(started.options, name)
        if value is not None and value != began_with:
            raise UsageError(
                f"--{name.replace('_', '-')} is {value}, but the export began with {began_with}.",
                "Leave the option out, or start a new export.",
            )


def source_of(table: Table) -> Source:
    """The table as the manifest names it."""
    return Source(
        table_name=table.name,
        table_arn=table.arn,
        table_id=table.id,
        account=table.account,
        region=table.region,
    )


def _scan(export: _Export, options: ExportOptions, stop: Stop) -> dict[str, int]:
    """Scans what is left, in parallel; returns the throttling errors met, by reason."""
    common, settings = options.common, export.started.options
    done = (
        {state.segment for state in _load_states(export.folder) if state.done} if export.done_items else set()
    )
    hands = deal([segment for segment in range(settings.segments) if segment not in done], common.processes)
    tasks = [
        ScanTask(
            aws=common.aws,
            table=export.table.name,
            bucket=export.folder.bucket,
            prefix=export.folder.prefix,
            segments=hand,
            total_segments=settings.segments,
            consistent_read=settings.consistent_read,
            compression=settings.compression,
            shard_size=settings.shard_size,
            max_rcu=options.max_rcu / len(hands) if options.max_rcu else None,
        )
        for hand in hands
    ]
    meter = Meter("export", export.table.item_count or None, resumed_items=export.done_items)
    with display(common.progress, meter) as on_tick:
        results = common.runner().run(scan_segments, tasks, on_tick, stop)
    return dict(sum(map(Counter, results), Counter[str]()))


def _load_states(folder: S3Folder) -> list[SegmentCheckpoint]:
    """All segment checkpoints of an export, in the order of the segments."""
    names = sorted(entry.name for entry in folder.list(checkpoints.SEGMENTS))
    with ThreadPoolExecutor(_READERS) as pool:
        loaded = pool.map(lambda name: checkpoints.load(folder, name, SegmentCheckpoint), names)
    return [state for state in loaded if state is not None]


def _finish(export: _Export, aws: Aws) -> Manifest:
    """Writes the manifests, once every segment is done and every shard in the folder is named."""
    folder, started = export.folder, export.started
    states = _load_states(folder)
    missing = set(range(started.options.segments)) - {state.segment for state in states if state.done}
    if missing:
        raise ExportError(f"The export {folder.url} is unfinished: {len(missing)} segments are not done.")
    _refuse_another_table(None, started, describe(aws.dynamodb, started.source.table_name))
    shards = [shard for state in states for shard in state.shards] + _strays(folder, states, started.options)
    manifest = Manifest(
        format=FORMAT,
        export_id=manifests.export_id_of(folder),
        tool_version=ddb_shared.__version__,
        method="scan",
        started_at=started.started_at,
        finished_at=now_text(),
        source=started.source,
        table=started.table,
        options=started.options,
        consumed_rcu=round(sum(state.consumed_rcu for state in states), 1),
        items=sum(shard.items for shard in shards),
        bytes=sum(shard.bytes for shard in shards),
        shards=sorted(shards, key=lambda shard: shard.key),
    )
    manifests.write_aws(folder, manifest)
    manifests.write(folder, manifest)
    return manifest


def _strays(folder: S3Folder, states: list[SegmentCheckpoint], settings: Settings) -> list[Shard]:
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
        writer = ShardWriter(folder, int(segment), int(sequence), settings.compression)
        try:
            empty.append(writer.commit())
        finally:
            writer.abort()
    return empty
