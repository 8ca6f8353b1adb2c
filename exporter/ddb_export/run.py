"""One export, from the checks to the manifest."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import msgspec

from ddb_export.capture.capture import Capture
from ddb_export.capture.following import following, is_following, tell_next_steps, wait_for_end
from ddb_export.finish import finish
from ddb_export.options import ExportOptions, NewExport, ResumedExport
from ddb_export.preflight import with_acl
from ddb_export.report import write_report
from ddb_export.result import ExportResult
from ddb_export.sample import is_small
from ddb_export.scan import ScanTask, scan_segments
from ddb_export.start import Export, find_complete, load_states, reopen, start, take_over
from ddb_shared.aws.clients import Aws
from ddb_shared.command.control import Controllable, controlled
from ddb_shared.command.identity import expiry_warnings
from ddb_shared.command.invocation import Invocation
from ddb_shared.command.plan import read_units, seconds_for
from ddb_shared.dynamodb.rate import max_workers_at
from ddb_shared.errors import AccessError, BucketError, ServiceError, StateError
from ddb_shared.format import changes as log
from ddb_shared.format import manifest as manifests
from ddb_shared.format.manifest import Manifest
from ddb_shared.runtime.display import display
from ddb_shared.runtime.events import announce, warn
from ddb_shared.runtime.lease import HeldLease, LeaseLostError, hold
from ddb_shared.runtime.progress import Progress
from ddb_shared.runtime.runner import RunContext
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.location import open_storage
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.capacity import units_at

# The parameters that `--resume EXPORT` replaces, of a move as well.
_REPLACED_BY_RESUME: Final = frozenset({"words", "resume", "follow", "changes_only", "tables_at_once"})


def run_export(
    options: ExportOptions,
    aws: Aws,
    stop: Stop,
    on_begun: Callable[[str], None] = lambda _: None,
    *,
    on_base: Callable[[str, Invocation], None] = tell_next_steps,
    before_scan: Callable[[], None] = lambda: None,
) -> ExportResult:
    """Exports the table, or finishes an interrupted export.

    One that follows its table runs until its changes are closed; `on_begun` gets its URL as soon as they are captured, `on_base`
    once its base is complete. `before_scan` may wait: the changes are captured meanwhile.
    """
    started_at = time.monotonic()
    complete: Manifest | None = None
    if isinstance(options, ResumedExport):
        storage, complete = find_complete(options, aws)
        if complete is not None and not is_following(storage):
            announce(f"The export {storage.url} was completed at {complete.finished_at}: nothing to resume.")
            return _result(storage, complete, Counter(), time.monotonic() - started_at)
    options, aws, export = _open(options, aws, stop)
    _warn_of_expiry(export, options, aws)
    remedy = f"Finish the export with:\n  {resume_command(export, options)}"
    follows = is_following(export.storage)
    if follows:
        remedy = f"Within 24 hours, before the stream forgets what was not captured:\n  {resume_command(export, options)}"
    elif isinstance(options, NewExport) and options.follow:
        _require_capture(None, wanted=True)
    stop.explain(remedy, saved=True)
    renewals = open_storage(aws.lease_s3, export.storage.url)
    activity = f"The export {export.storage.url} is already being written"
    with resumed_after_loss(remedy), hold(renewals, stop, activity=activity) as lease:
        aws = aws.under(lease.guard)
        export = replace(export, storage=S3Storage(aws.s3, export.storage.bucket, export.storage.prefix))
        if isinstance(options, ResumedExport) and complete is None:
            export = take_over(export)
        throttled: dict[str, int] = {}
        try:
            with following(export.storage, export.table.address, aws, stop, on_begun=on_begun) as capture:
                _require_capture(capture, wanted=follows)
                if complete is None:
                    before_scan()
                    throttled = _scan(export, options, aws, stop, lease, capture=capture)
                    stop.check()
                    lease.check()
                    complete = finish(export, aws)
                    write_report(aws, export.storage, complete, copy=options.common.report)
                if capture is not None:
                    on_base(export.storage.url, options.common.invocation)
                    closed = wait_for_end(capture, options.common.progress)
                    stop.check()
                    lease.check()
                    if closed is not None:  # which the report of the base could not know
                        write_report(aws, export.storage, complete, copy=options.common.report)
        except (AccessError, BucketError, ServiceError) as error:
            error.add_remedy(remedy)
            raise
    return _result(export.storage, complete, throttled, time.monotonic() - started_at)


def _require_capture(capture: Capture | None, *, wanted: bool) -> None:
    """Raises StateError where it is wanted and was cancelled: the base without its changes would pass for what was asked for."""
    if wanted and capture is None:
        raise StateError("The follow was just cancelled (--cancel).", "Start a new export.")


@contextmanager
def resumed_after_loss(remedy: str) -> Iterator[None]:
    """Where the lease is lost, the same command would begin a new export or move."""
    try:
        yield
    except LeaseLostError as error:
        error.reword(error.message, f"Another run may have taken over: look at the file first.\n{remedy}")
        raise


def _result(
    storage: S3Storage, manifest: Manifest, throttled: Mapping[str, int], seconds: float
) -> ExportResult:
    closed = log.read_closed(storage)
    return ExportResult(
        status="complete",
        export=storage.url,
        manifest=storage.url + manifests.MANIFEST,
        items=manifest.items,
        bytes=manifest.bytes,
        shards=len(manifest.shards),
        seconds=round(seconds, 3),
        consumed_rcu=manifest.consumed_rcu,
        throttled=sum(throttled.values()),
        throttle_reasons=dict(throttled),
        changes=msgspec.UNSET if closed is None or closed.cancelled else closed.changes,
    )


def _warn_of_expiry(export: Export, options: ExportOptions, aws: Aws) -> None:
    """Warns if the credentials expire before the run ends."""
    units = read_units(export.table.size_bytes, consistent=export.started.options.consistent_read)
    seconds = seconds_for(units, _max_rcu(export, options), export.table, kind="Read")
    for warning in expiry_warnings(aws, math.inf if is_following(export.storage) else seconds):
        warn(warning)


def _open(options: ExportOptions, aws: Aws, stop: Stop) -> tuple[ExportOptions, Aws, Export]:
    """The export, new or reopened, with the ACL that its objects need."""
    if isinstance(options, ResumedExport):
        resumed, aws = with_acl(options, aws)
        return resumed, aws, reopen(resumed, aws)
    new, aws = with_acl(options, aws)
    return new, aws, start(new, aws, stop)


def resume_command(export: Export, options: ExportOptions) -> str:
    """The command line that finishes this export."""
    return options.common.invocation.line("--resume", export.storage.url, without=_REPLACED_BY_RESUME)


def _max_rcu(export: Export, options: ExportOptions) -> float | None:
    return units_at(options.max_rcu, export.table.definition, "Read")


def _scan(
    export: Export,
    options: ExportOptions,
    aws: Aws,
    stop: Stop,
    lease: HeldLease,
    *,
    capture: Capture | None,
) -> dict[str, int]:
    """Scans the remaining segments in parallel; returns the number of throttled requests by reason."""
    if not export.started.options.segments:  # the changes alone are wanted
        return {}
    common, settings = options.common, export.started.options
    done = (
        {state.segment for state in load_states(export.storage) if state.done} if export.done_items else set()
    )
    max_rcu = _max_rcu(export, options)
    small = common.chooses_processes and (settings.segments == 1 or is_small(aws, export.table))
    task = ScanTask(
        aws=common.aws,
        table=export.table.address,
        bucket=export.storage.bucket,
        prefix=export.storage.prefix,
        total_segments=settings.segments,
        consistent_read=settings.consistent_read,
        encoding=export.started.encoding,
        shard_size=settings.shard_size,
        max_rcu=max_rcu,
    )
    progress = Progress(
        "export",
        export.table.item_count or None,
        resumed_items=export.done_items,
        units_name="RCU",
        cap=max_rcu,
        beside=capture.status if capture else None,
    )
    controllable = Controllable(
        resume=resume_command(export, options),
        given=common.invocation.line(),
        own=options.max_rcu,
        resolve=lambda cap: units_at(cap, export.table.definition, "Read"),
    )
    with (
        display(common.progress, progress) as on_event,
        controlled(export.storage, progress, controllable) as rate,
    ):
        results = common.runner(small=small).deal(
            scan_segments,
            task,
            [segment for segment in range(settings.segments) if segment not in done],
            RunContext(on_event=on_event, stop=stop, rate=rate, lease=lease),
            at_most=max_workers_at(max_rcu),
        )
    return dict(sum(map(Counter, results), Counter[str]()))
