"""One export, from the first look at the table to the manifest."""

from __future__ import annotations

import logging
import shlex
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

import ddb_shared
from ddb_export.encoding import JSONL, Encoding
from ddb_export.options import ExportOptions
from ddb_export.plan import deal
from ddb_export.scan import ScanTask, scan_segments
from ddb_export.settings import encoding_of, refuse_other_settings, settle_settings
from ddb_export.shard_writer import ShardWriter
from ddb_shared import checkpoint as checkpoints
from ddb_shared import manifest as manifests
from ddb_shared.aws import Aws
from ddb_shared.checkpoint import SegmentCheckpoint
from ddb_shared.definition import Clients, Setting, read_settings, unknown_settings
from ddb_shared.errors import AccessError, BucketError, ExportError, ServiceError, UsageError
from ddb_shared.manifest import FORMAT, Manifest, Settings, Shard, Source
from ddb_shared.plan import read_units, seconds_for
from ddb_shared.progress import Meter, announce, display
from ddb_shared.start import outlived
from ddb_shared.storage import S3Folder, check_bucket, needed_acl, parse_bucket_url
from ddb_shared.table import Table, describe, require_readable
from ddb_shared.times import now_text
from ddb_shared.workers import Stop

_READERS: Final = 16
_LOG: Final = logging.getLogger(__name__)


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """The file `_started`: what the export is of and how it was asked for, so that a resume can tell."""

    format: str = FORMAT
    started_at: str
    source: Source
    table: dict[str, Any]
    settings: dict[str, Setting] = {}
    options: Settings
    sampled_rcu: float = 0.0

    @property
    def encoding(self) -> Encoding:
        """How its shards are encoded."""
        return encoding_of(self.options, self.source, self.table)


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
    options, aws = _with_acl(options, aws)
    export = _find(options, aws) if options.resume else _begin(options, aws, stop)
    _warn_of_the_end(export, options, aws)
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


def _warn_of_the_end(export: _Export, options: ExportOptions, aws: Aws) -> None:
    """Says so where the credentials end before the scan can."""
    units = read_units(export.table.size_bytes, consistent=export.started.options.consistent_read)
    for warning in outlived(aws, seconds_for(units, options.max_rcu, export.table, kind="Read")):
        announce(warning)


def resume_command(folder: S3Folder, options: ExportOptions) -> str:
    """The command line that finishes this export."""
    arguments = ["ddb-export", "--resume", folder.url, *options.common.arguments]
    if options.max_rcu:
        arguments += ["--max-rcu", f"{options.max_rcu:g}"]
    return shlex.join(arguments)


def _begin(options: ExportOptions, aws: Aws, stop: Stop) -> _Export:
    """A new export: everything that can be refused is, before `_started` is written."""
    if options.table is None or options.destination is None:
        raise UsageError(
            "TABLE and s3://BUCKET[/PREFIX] are needed.", "Or finish an export with --resume EXPORT."
        )
    bucket, prefix = parse_bucket_url(options.destination)
    table = _readable_table(aws, options.table)
    place = f"{prefix}/{manifests.EXPORTS}" if prefix else manifests.EXPORTS
    check_bucket(aws.s3, bucket, place)
    folder = S3Folder(aws.s3, bucket, place + manifests.new_export_id(time.time()))
    settings, sampled_rcu = settle_settings(options, table, aws, stop)
    started = Started(
        started_at=now_text(),
        source=source_of(table),
        table=table.definition,
        settings=_settings_of(table, aws),
        options=settings,
        sampled_rcu=sampled_rcu,
    )
    folder.write(manifests.STARTED, msgspec.json.encode(started), new=True)
    return _Export(folder, table, started, done_items=0)


def _with_acl(options: ExportOptions, aws: Aws) -> tuple[ExportOptions, Aws]:
    """The same with the ACL that the objects need, if any."""
    acl, url = options.acl_mode, options.resume or options.destination
    if acl == "auto":
        acl = (needed_acl(aws.s3, parse_bucket_url(url)[0]) if url else None) or "none"
    if acl == "none":
        return options, aws
    chosen = replace(options.common.aws, acl=acl)
    return replace(options, common=replace(options.common, aws=chosen)), Aws(chosen, aws.login)


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
    started = checkpoints.decode(folder, manifests.STARTED, stored.data, Started)
    table = _readable_table(aws, started.source.table_name)
    _refuse_another_table(options.table, started, table)
    refuse_other_settings(options, started.options)
    folder.abort_uploads(manifests.DATA)
    done = sum(shard.items for state in _load_states(folder) for shard in state.shards)
    return _Export(folder, table, started, done_items=done)


def _settings_of(table: Table, aws: Aws) -> dict[str, Setting]:
    """What belongs to the table beside its description; says what could not be read."""
    settings = read_settings(Clients(aws.dynamodb, aws.autoscaling), table)
    unknown = [f"  {name}: {reason}" for name, reason in unknown_settings(settings).items()]
    if unknown:
        _LOG.warning(
            "%d settings of table %s are recorded as unknown:\n%s",
            len(unknown),
            table.name,
            "\n".join(unknown),
        )
    return settings


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
            encoding=export.started.encoding,
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
