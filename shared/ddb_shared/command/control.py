"""Changes the rate of a running export or import from another terminal, and the side that obeys."""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from ddb_shared.command.identity import local_user
from ddb_shared.command.output import print_result
from ddb_shared.command.values import Capacity
from ddb_shared.errors import StateError, TransferError, UsageError
from ddb_shared.format import control as controls
from ddb_shared.format.control import Control, Running
from ddb_shared.report import runs
from ddb_shared.report.runs import RunRecord
from ddb_shared.runtime.events import about, announce, table_in_hand
from ddb_shared.storage.base import Storage
from ddb_shared.table.capacity import Cap
from ddb_shared.times import now_text

if TYPE_CHECKING:
    from ddb_shared.runtime.progress import Progress
    from ddb_shared.runtime.runner import RateControl

# One small GET each time: 0.0007 USD an hour.
POLL_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 30.0
_LOG: Final = logging.getLogger(__name__)

CommandFunction = TypeVar("CommandFunction", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Change:
    """What an operator asks for; None leaves the cap, or whether the run is paused, as it is."""

    cap: Cap | None = None
    paused: bool | None = None


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What `--control` prints once the run has applied it. `cap` is empty for that of the run's own command line."""

    status: str = "applied"
    cap: str
    paused: bool
    by: str
    at: str
    run: Running

    def text(self) -> str:
        """The same for people."""
        cap = f"at most {self.cap} capacity units per second" if self.cap else "the rate of its command line"
        now = f"paused; then {cap}" if self.paused else cap
        return f"Applied by the run of {self.run.by} (process {self.run.pid}, since {self.run.since}): {now}."


def change_rate(storage: Storage, change: Change, *, sleep: Callable[[float], None] = time.sleep) -> Applied:
    """Asks the run that works in this folder to change its rate, and waits until it has.

    Raises StateError where no run answers.
    """
    running = controls.read_running(storage)
    if running is None or running.ended_at:
        since = f"; the last run ended at {running.ended_at}" if running else ""
        raise StateError(f"Nothing is running at {storage.url}{since}.", "A new run takes its own options.")
    control = _next(controls.read_control(storage), running, change)
    controls.write(storage, control)
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        answer = controls.read_running(storage)
        if answer is not None and answer.control == control.nonce:
            return Applied(cap=control.cap, paused=control.paused, by=control.by, at=control.at, run=answer)
        if answer is not None and (answer.nonce != running.nonce or answer.ended_at):
            break
        sleep(0.5)
    raise StateError(
        f"The run of {running.by} (process {running.pid}, since {running.since}) has not answered.",
        "It has ended or was killed. A control that was written for it has no effect on a later run.",
    )


def _next(last: Control | None, running: Running, change: Change) -> Control:
    """The control that the change makes of the last one of the same run."""
    before = last if last is not None and last.run == running.nonce else None
    cap = str(change.cap) if change.cap else before.cap if before else ""
    paused = change.paused if change.paused is not None else bool(before and before.paused)
    return Control(
        nonce=secrets.token_hex(8), run=running.nonce, by=local_user(), at=now_text(), cap=cap, paused=paused
    )


def control_options(command: CommandFunction) -> CommandFunction:
    """Adds --pause and --continue, which --control takes beside the option of the rate."""
    command = click.option("--continue", "proceed", is_flag=True, help="With --control: end the pause.")(
        command
    )
    return click.option(
        "--pause", is_flag=True, help="With --control: send nothing more until --continue; the state is kept."
    )(command)


def change_of(cap: Cap | None, *, pause: bool, proceed: bool, controlled: bool) -> Change:
    """What the options of --control ask for; raises UsageError where they contradict, or stand without it."""
    if not controlled:
        if pause or proceed:
            raise UsageError(
                "--pause and --continue belong to --control.", "Name the running command with --control."
            )
        return Change()
    if pause and proceed:
        raise UsageError("--pause and --continue contradict each other.", "Give one of them.")
    change = Change(cap=cap, paused=True if pause else False if proceed else None)
    if change == Change():
        raise UsageError(
            "--control changes nothing.",
            "Give a rate (--max-rcu or --max-wcu, N or unlimited), --pause or --continue.",
        )
    return change


def print_applied(storage: Storage, change: Change, *, as_json: bool) -> None:
    """Makes the change, and prints it once the run has applied it."""
    applied = change_rate(storage, change)
    print_result(applied, applied.text(), as_json=as_json)


@dataclass(frozen=True, kw_only=True)
class Controllable:
    """What others are told of a run, and how it takes a cap: `resume` continues it, `given` is its own command line.

    `own` is the cap of the command line, and `resolve` turns a cap into units per second.
    """

    resume: str
    given: str
    own: Cap | None
    resolve: Callable[[Cap | None], float | None]


@contextmanager
def controlled(storage: Storage, progress: Progress, run: Controllable) -> Iterator[RateControl]:
    """The rate that operators set during the block, for the runner of the tasks; the display shows it.

    At its end, what the run has done is kept for the report. A storage that fails leaves the rate as it is.
    """
    watch = _Watch(storage, progress, run)
    watch.begin()
    watch.start()
    try:
        yield watch.rate
    finally:
        watch.finish()


class _Watch(threading.Thread):
    """Looks for controls of this run until it is told to finish."""

    def __init__(self, storage: Storage, progress: Progress, run: Controllable) -> None:
        from ddb_shared.runtime.runner import RateControl  # noqa: PLC0415 - 60 ms that `--help` does without

        super().__init__(name="control", daemon=True)
        self.rate = RateControl()
        self._storage = storage
        self._progress = progress
        self._run = run
        self._table = table_in_hand()
        self._done = threading.Event()
        self._running = Running(
            nonce=secrets.token_hex(8), by=local_user(), pid=os.getpid(), since=now_text(), command=run.resume
        )

    def begin(self) -> None:
        """Tells others that this run works here."""
        controls.write(self._storage, self._running)

    def run(self) -> None:
        with about(self._table):
            while not self._done.wait(POLL_SECONDS):
                try:
                    self._look()
                except TransferError as error:
                    _LOG.info("The control file could not be read: %s", error.message)

    def finish(self) -> None:
        """Ends the thread and tells others that this run has ended."""
        self._done.set()
        self.join()
        with suppress(
            TransferError
        ):  # whoever controls it finds out that nobody answers; the report lacks a run
            self._tell(ended_at=now_text())
            if self._progress.items:
                runs.save(self._storage, self._record())

    def _record(self) -> RunRecord:
        progress, running = self._progress, self._running
        from ddb_shared.runtime.progress import ITEMS  # noqa: PLC0415 - as above

        name = "" if progress.items_name == ITEMS else progress.items_name
        return RunRecord.of(progress, self._run.given, by=running.by, since=running.since, name=name)

    def _look(self) -> None:
        from ddb_shared.dynamodb.rate import RateSetting  # noqa: PLC0415 - as above

        control = controls.read_control(self._storage)
        if control is None or control.run != self._running.nonce or control.nonce == self._running.control:
            return
        cap = Capacity().convert(control.cap, None, None) if control.cap else self._run.own
        units = self._run.resolve(cap)
        self.rate.is_own = bool(control.cap)
        self.rate.setting = RateSetting(units, control.paused)
        self._progress.obey(units, paused=control.paused, told=f"{control.at[11:19]}Z by {control.by}")
        announce(_told(control), event="rate_changed", cap=units, paused=control.paused, by=control.by)
        self._tell(control=control.nonce)

    def _tell(self, **members: str) -> None:
        self._running = msgspec.structs.replace(self._running, **members)
        controls.write(self._storage, self._running)


def _told(control: Control) -> str:
    what = "Paused" if control.paused else f"Rate: {control.cap or 'as on the command line'}"
    return f"{what} since {control.at} by {control.by}."
