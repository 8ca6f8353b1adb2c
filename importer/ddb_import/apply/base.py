"""Whether the changes of an export are applied, and the wait for its base: an import may start as soon as the export has begun."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from ddb_import.apply.exporter import ExporterWatch
from ddb_import.apply.log_reader import cancelled
from ddb_shared.errors import ExportError, UsageError
from ddb_shared.format import changes as log
from ddb_shared.format import manifest as manifests
from ddb_shared.format.changes import StreamRecord
from ddb_shared.runtime.progress import ProgressEvent
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.text import count_text

POLL_SECONDS: Final = 2.0
# For the turn of a table of a move, which may be hours away.
START_POLL_SECONDS: Final = 5.0
# A listing of the data folder is a request for each 1,000 shards.
_LIST_EVERY: Final = 5


def applies_changes(folder: S3Storage, stream: StreamRecord | None, *, follow: bool, base_only: bool) -> bool:
    """Whether the changes of this export are to be applied; raises what forbids that, or the alternative."""
    if stream is None:
        if follow:
            raise no_capture(folder)
        return False
    if base_only:
        if stream.changes_only:
            raise UsageError(
                f"--base-only: {folder.url} holds changes and no base.",
                "Leave --base-only out, and give --follow.",
            )
        return False
    closed = log.read_closed(folder)
    if closed is not None and closed.cancelled:
        raise cancelled(folder)
    if closed is None and not follow:
        raise ExportError(
            f"The export {folder.url} follows its table, and its capture is not closed: the base alone is older than the table.",
            "Give --follow to load the base and apply the changes as they are captured, or --base-only to load the base alone.",
        )
    return True


def no_capture(folder: S3Storage) -> ExportError:
    """The error for --follow of an export without changes."""
    return ExportError(
        f"The export {folder.url} does not follow its table: it has no changes to apply.",
        "Leave --follow out, or export the table again with ddb-export --follow.",
    )


def wait_for_base(
    folder: S3Storage,
    on_event: Callable[[ProgressEvent], None],
    stop: Stop,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Returns once the base export is complete, or the run is to stop.

    Raises ExportError where there is no export that follows, its capture was cancelled, or the exporter is dead, as ExporterWatch tells.
    """
    if log.read_stream(folder) is None:
        raise no_capture(folder)
    watch = ExporterWatch(folder, f"The base of the export {folder.url} is unfinished", clock=clock)
    looks = 0
    while not stop.requested() and not _is_complete(folder):
        closed = log.read_closed(folder)
        if closed is not None and closed.cancelled:
            raise cancelled(folder)
        if looks % _LIST_EVERY == 0:
            note = watch.look()
            on_event(ProgressEvent(status="; ".join(filter(None, (_status(folder), note)))))
        looks += 1
        sleep(POLL_SECONDS)


def wait_for_start(
    folder: S3Storage,
    watch: ExporterWatch,
    on_event: Callable[[ProgressEvent], None],
    stop: Stop,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Returns once the export of a table of a move has begun, or the run is to stop; `watch` is over the run of the move.

    Raises ExportError where the move was cancelled, or its exporter is dead.
    """
    while not stop.requested() and log.read_stream(folder) is None:
        if log.read_closed(folder) is not None:
            raise cancelled(folder)
        on_event(ProgressEvent(status="; ".join(filter(None, ("its export has not begun", watch.look())))))
        sleep(START_POLL_SECONDS)


def _is_complete(folder: S3Storage) -> bool:
    return any(entry.name == manifests.MANIFEST for entry in folder.list(manifests.MANIFEST))


def _status(folder: S3Storage) -> str:
    sizes = [entry.size for entry in folder.list(manifests.DATA)]
    return f"{count_text(len(sizes), 'shard')}, {sum(sizes) / 1e6:,.1f} MB exported so far"
