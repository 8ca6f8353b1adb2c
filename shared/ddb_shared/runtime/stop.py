"""How a run is asked to stop early."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

from ddb_shared.errors import Interrupted, ServiceError

_STDERR: Final = 2
# A bar hides the cursor, and nothing else brings it back where the process ends at once.
_SHOW_CURSOR: Final = "\x1b[?25h"


class Stop:
    """Whether the run should stop early, and which signal requested it."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._remedy = ""
        self._saved = ""
        self._requested = threading.Event()
        self._parts: list[Stop] = []

    def part(self) -> Stop:
        """For one part of the run: what stops the whole stops it as well, and what stops it stops nothing else."""
        part = Stop()
        self._parts.append(part)
        if self.requested():
            part.request(self.signal_number)
        return part

    def request(self, signal_number: int | None = None) -> None:
        """Asks all workers to finish requests in flight and return."""
        self.signal_number = self.signal_number or signal_number
        self._requested.set()
        for part in self._parts:
            part.request(signal_number)

    def requested(self) -> bool:
        """Whether a stop was requested."""
        return self._requested.is_set()

    def wait(self, seconds: float) -> bool:
        """Waits so long, or until somebody asks; whether somebody has."""
        return self._requested.wait(seconds)

    def explain(self, remedy: str, *, saved: bool) -> None:
        """Sets the message of an interruption from now on: what to run next, and whether confirmed work is saved."""
        self._remedy = remedy
        self._saved = "; confirmed work is saved" if saved else ""

    @property
    def status(self) -> str:
        """What the display says after a signal: a bar writes over every other line."""
        return "stopping; Ctrl-C again stops at once" if self.signal_number is not None else ""

    def check(self) -> None:
        """Raises Interrupted if a signal has arrived."""
        if self.signal_number is not None:
            raise self.interruption(self.signal_number)

    def check_any(self) -> None:
        """The same for work that proves nothing unless it is whole: any other stop, such as that of a lost lease, raises ServiceError."""
        self.check()
        if self.requested():
            raise ServiceError("The run was stopped before its end.", self._remedy)

    def interruption(self, signal_number: int) -> Interrupted:
        """The error for an interruption by this signal."""
        name = signal.Signals(signal_number).name
        return Interrupted(f"Interrupted by {name}{self._saved}.", self._remedy, signal_number)


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """SIGINT and SIGTERM request an orderly stop; a second SIGINT ends the process at once, still resumable."""
    stop = Stop()

    def handle(number: int, _: FrameType | None) -> None:
        if stop.signal_number is not None and number == signal.SIGINT:
            shown = _SHOW_CURSOR if os.isatty(_STDERR) else ""
            _write_stderr(f"{shown}\nError: {stop.interruption(number)}\n")
            os._exit(128 + number)  # the workers notice that their parent is gone, and exit
        if stop.signal_number is None:
            _write_stderr("\nStopping: finishing requests in flight. Press Ctrl-C again to stop at once.\n")
        stop.request(number)

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _write_stderr(text: str) -> None:
    """Writes to stderr from a signal handler, where print is not reentrant."""
    with suppress(OSError):
        os.write(_STDERR, text.encode())
