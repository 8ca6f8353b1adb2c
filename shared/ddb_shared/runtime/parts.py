"""How a worker goes through the parts of its job: several open at a time, the next taken whenever one ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from ddb_shared.runtime.progress import ProgressEvent
from ddb_shared.runtime.runner import POLL_SECONDS, PartsChannel

Part = TypeVar("Part")
State = TypeVar("State")

# Works on a part until it is done, or the event is set. Returns its state, which is saved; None where it is not done.
WorkOnPart = Callable[[Part, asyncio.Event], Awaitable[State | None]]


async def work_through(
    channel: PartsChannel, stop: asyncio.Event, at_once: int, work: WorkOnPart[Any, Any]
) -> None:
    """Works on `at_once` parts side by side, until there are none left or the run is stopped.

    A part's own event is set on a stop, and where another worker has nothing to do and gets the part.
    """
    open_parts = _OpenParts(channel, stop)
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(open_parts.watch())
        async with asyncio.TaskGroup() as workers:
            for _ in range(at_once):
                workers.create_task(open_parts.work(work))
        watching.cancel()


class _OpenParts:
    """The parts that are open, each with its event; the one that was begun last is the last."""

    def __init__(self, channel: PartsChannel, stop: asyncio.Event) -> None:
        self._channel = channel
        self._stop = stop
        self._ends: list[asyncio.Event] = []

    async def work(self, work: WorkOnPart[Any, Any]) -> None:
        """One part after another."""
        while (
            not self._stop.is_set() and (part := await asyncio.wrap_future(self._channel.take())) is not None
        ):
            end = asyncio.Event()
            self._ends.append(end)
            try:
                state = await work(part, end)
            finally:
                with suppress(ValueError):  # it was asked back
                    self._ends.remove(end)
            if state is not None:
                self._channel.settle(part, state)
            elif not self._stop.is_set():
                self._channel.give_back(part)

    async def watch(self) -> None:
        """Ends parts: all of them on a stop, those begun last where the worker has more than it may keep."""
        busy = False
        while True:
            if busy and not self._ends:  # a worker that waits for parts is not slow
                self._channel.report(ProgressEvent(ended=True))
            busy = bool(self._ends)
            keep = 0 if self._stop.is_set() else self._channel.keep()
            while keep is not None and len(self._ends) > keep:
                self._ends.pop().set()
            await asyncio.sleep(POLL_SECONDS)
