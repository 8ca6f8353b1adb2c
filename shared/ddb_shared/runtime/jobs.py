"""Jobs that DynamoDB runs by itself, such as a native export: they are started, then waited for.

botocore has waiters for them, but those give up after 20 minutes, and the one for bulk operations takes
COMPLETED_WITH_ERRORS for a success. A job continues when the command that started it ends, so a command that comes later can
wait for it as well: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport_Requesting.html
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from ddb_shared.errors import ServiceError
from ddb_shared.runtime.display import Display, ProgressOptions, Style, metrics_of
from ddb_shared.runtime.events import announce, record
from ddb_shared.runtime.progress import Progress, ProgressEvent
from ddb_shared.runtime.stop import Stop
from ddb_shared.text import duration_text, printable

COMPLETED: Final = "COMPLETED"
COMPLETED_WITH_ERRORS: Final = "COMPLETED_WITH_ERRORS"
FAILED: Final = "FAILED"
CANCELLED: Final = "CANCELLED"
CANCELLING: Final = "CANCELLING"
RUNNING: Final = frozenset({"IN_PROGRESS", CANCELLING})
_OVER: Final = frozenset({COMPLETED, COMPLETED_WITH_ERRORS, FAILED, CANCELLED})
# Local services end a job within a second, DynamoDB hardly one within five minutes.
FIRST_POLL_SECONDS: Final = 1.0
MAX_POLL_SECONDS: Final = 30.0
_POLL_GROWTH: Final = 1.5
_LOG_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """What AWS says of a job. `status` is AWS's word for it, `description` all of the answer; unknown figures are None."""

    status: str
    description: Mapping[str, Any]
    items: int | None = None
    bytes: int | None = None
    total_bytes: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether AWS still works at it."""
        return self.status in RUNNING

    def text(self) -> str:
        """The state for people, such as `IN_PROGRESS, 1,200 items`."""
        size = f"{self.bytes:,}" if self.bytes else ""
        of = f" of {self.total_bytes:,}" if size and self.total_bytes else ""
        parts = [
            self.status,
            f"{self.items:,} items" if self.items else "",
            f"{size}{of} bytes" if size else "",
        ]
        return ", ".join(part for part in parts if part)


class Job(Protocol):
    """One job of a service."""

    @property
    def name(self) -> str:
        """What it is, such as `the export arn:…`."""
        ...

    def start(self) -> JobState:
        """Starts it, or finds what an earlier call with the same token started."""
        ...

    def poll(self) -> JobState:
        """How it is now."""
        ...

    def interrupt(self, signal_number: int) -> str:
        """Cancels it where that is possible and meant; returns what the interruption leaves, and what to do, for people."""
        ...


def wait_for(
    job: Job,
    progress: Progress,
    options: ProgressOptions,
    stop: Stop,
    *,
    pause: Callable[[float], object] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> JobState:
    """Waits until a job is over, however long that takes, and returns its last state, which may be a failure.

    `progress` gets what the service tells of items and bytes. Raises Interrupted where a signal ends the waiting, and ServiceError
    where the service answers with a status that is not known. `pause` waits for so many seconds, or until the stop.
    """
    pause = pause or stop.wait
    began, seconds = clock(), FIRST_POLL_SECONDS
    with _shown(options.style, clock) as show, _measured(progress, options) as note:
        while note(state := _known(job, job.poll())).is_running:
            show(f"{job.name}: {state.text()}, {duration_text(clock() - began)} elapsed", state)
            pause(seconds)
            if stop.requested():
                break
            seconds = min(seconds * _POLL_GROWTH, MAX_POLL_SECONDS)
    if state.is_running:
        stop.explain(job.interrupt(stop.signal_number or 0), saved=False)
        stop.check()
        raise ServiceError(f"Stopped waiting for {job.name}, which is {state.status}.")
    return state


def _known(job: Job, state: JobState) -> JobState:
    if state.status not in RUNNING | _OVER:
        raise ServiceError(
            f"DynamoDB reports {state.status!r} for {job.name}; this version does not know what that means.",
            "Look at it in the console of AWS, and use a newer version of ddb-transfer.",
        )
    return state


def progress_of(action: str, items: int | None = None) -> Progress:
    """The progress of a job: it tells no shards and no capacity units, and nothing at all for minutes."""
    return Progress(action, items, counts_shards=False, units_name="", may_wait=True)


@contextmanager
def _measured(progress: Progress, options: ProgressOptions) -> Iterator[Callable[[JobState], JobState]]:
    """A function that adds what a state tells to the progress, and writes the file of metrics, if there is one."""
    files: list[Display] = metrics_of(options)

    def note(state: JobState) -> JobState:
        items, size = (state.items or 0) - progress.items, (state.bytes or 0) - progress.bytes
        progress.add(ProgressEvent(items=max(items, 0), bytes=max(size, 0)))
        for file in files:
            file.refresh(progress)
        return state

    try:
        yield note
    finally:
        for file in files:
            file.close(progress)


Show = Callable[[str, JobState], None]


@contextmanager
def _shown(style: Style, clock: Callable[[], float]) -> Iterator[Show]:
    """A function that shows a state: as one line of a terminal that changes, and in the log once a minute."""
    if style is Style.AUTO:
        style = Style.BAR if sys.stderr.isatty() else Style.LOG
    tell = announce if style in {Style.LOG, Style.JSONL} else record
    told_at = -_LOG_SECONDS

    def log(text: str, state: JobState) -> None:
        nonlocal told_at
        if clock() - told_at >= _LOG_SECONDS:
            told_at = clock()
            tell(text, event="job", status=state.status, items=state.items, bytes=state.bytes)

    if style is not Style.BAR:
        yield log
        return
    import rich.console  # noqa: PLC0415 - 25 ms that only a terminal needs
    import rich.text  # noqa: PLC0415 - as above

    with rich.console.Console(stderr=True).status("") as line:

        def show(text: str, state: JobState) -> None:
            line.update(rich.text.Text(printable(text)))
            log(text, state)

        yield show
