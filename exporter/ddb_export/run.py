"""One export, from the first look at the table to the manifest."""

from __future__ import annotations

import shlex
import time
from collections import Counter

import msgspec

from ddb_export.begin import Export, begin, find, load_states
from ddb_export.finish import finish
from ddb_export.options import ExportOptions
from ddb_export.plan import deal
from ddb_export.preflight import with_acl
from ddb_export.scan import ScanTask, scan_segments
from ddb_shared import manifest as manifests
from ddb_shared.aws import Aws
from ddb_shared.cap import units_at
from ddb_shared.errors import AccessError, BucketError, ServiceError
from ddb_shared.plan import read_units, seconds_for
from ddb_shared.progress import Meter, announce, display
from ddb_shared.start import outlived
from ddb_shared.storage import S3Folder
from ddb_shared.throttle import workers_at
from ddb_shared.workers import Stop


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


def run_export(options: ExportOptions, aws: Aws, stop: Stop) -> ExportResult:
    """Exports the table, or finishes an export that was interrupted."""
    began = time.monotonic()
    options, aws = with_acl(options, aws)
    export = find(options, aws) if options.resume else begin(options, aws, stop)
    _warn_of_the_end(export, options, aws)
    remedy = f"Finish the export with:\n  {resume_command(export.folder, options)}"
    try:
        throttled = _scan(export, options, stop)
        stop.check(remedy)
        manifest = finish(export, aws)
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


def _warn_of_the_end(export: Export, options: ExportOptions, aws: Aws) -> None:
    """Says so where the credentials end before the scan can."""
    units = read_units(export.table.size_bytes, consistent=export.started.options.consistent_read)
    for warning in outlived(aws, seconds_for(units, _max_rcu(export, options), export.table, kind="Read")):
        announce(warning)


def resume_command(folder: S3Folder, options: ExportOptions) -> str:
    """The command line that finishes this export."""
    arguments = ["ddb-export", "--resume", folder.url, *options.common.arguments]
    if options.max_rcu:
        arguments += ["--max-rcu", str(options.max_rcu)]
    return shlex.join(arguments)


def _max_rcu(export: Export, options: ExportOptions) -> float | None:
    return units_at(options.max_rcu, export.table.definition, "Read")


def _scan(export: Export, options: ExportOptions, stop: Stop) -> dict[str, int]:
    """Scans what is left, in parallel; returns the throttling errors met, by reason."""
    common, settings = options.common, export.started.options
    done = (
        {state.segment for state in load_states(export.folder) if state.done} if export.done_items else set()
    )
    max_rcu = _max_rcu(export, options)
    workers = workers_at(max_rcu, common.processes)
    hands = deal([segment for segment in range(settings.segments) if segment not in done], workers)
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
            max_rcu=max_rcu,
        )
        for hand in hands
    ]
    meter = Meter("export", export.table.item_count or None, resumed_items=export.done_items)
    with display(common.progress, meter) as on_tick:
        results = common.runner().run(scan_segments, tasks, on_tick, stop)
    return dict(sum(map(Counter, results), Counter[str]()))
