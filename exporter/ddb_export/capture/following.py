"""The capture beside an export's scan, and what the export does after it: continuing until the log is closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from ddb_export.capture.capture import Capture
from ddb_export.capture.status import FollowProgress
from ddb_export.capture.stream import ensure
from ddb_shared.aws.clients import Aws
from ddb_shared.command.invocation import Invocation
from ddb_shared.format import changes as log
from ddb_shared.format.changes import Closed
from ddb_shared.runtime.display import ProgressOptions, display
from ddb_shared.runtime.events import announce, warn
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.base import Storage

_POLL_SECONDS: Final = 0.2


def is_following(storage: Storage) -> bool:
    """Whether an export follows its table, and is not finished with that, or given up."""
    return log.read_stream(storage) is not None and log.read_closed(storage) is None


@contextmanager
def following(
    storage: Storage, address: str, aws: Aws, stop: Stop, *, on_begun: Callable[[str], None]
) -> Iterator[Capture | None]:
    """Captures during the block, from before its first line on; None of an export that does not follow.

    `address` is the name or ARN of the table. What ends the capture ends the run, and is what it fails with.
    """
    if not is_following(storage):
        yield None
        return
    record = ensure(storage, aws, address, stop)
    capture = Capture(storage, record, address, aws, stop, tell=warn)
    capture.start()
    whose = "enabled for this export" if record.ours else "which others enabled; it stays"
    announce(f"Capturing the changes of {record.table_arn} from its stream, {whose}.")
    try:
        on_begun(storage.url)
        yield capture
    except BaseException:
        capture.end()
        capture.check()
        raise
    capture.end()
    capture.check()


def tell_next_steps(url: str, caller: Invocation) -> None:
    """What the operator, who is the caller, does once the base of an export is complete, and its changes are captured."""
    announce(
        f"The base is complete. Load it and apply the changes with: ddb-import {url} TABLE --follow\n"
        f"When the writers have stopped: {caller.next('--finish', url)}"
    )


def wait_for_end(capture: Capture, options: ProgressOptions) -> Closed | None:
    """Shows the capture until the log is closed; None where the run is stopped before."""
    with display(options, FollowProgress(capture.status)):
        while capture.is_running():
            capture.wait(_POLL_SECONDS)
    return capture.closed
