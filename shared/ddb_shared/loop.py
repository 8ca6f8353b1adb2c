"""The event loop of a worker, and how it learns that it should stop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from ddb_shared.throttle import Pace
from ddb_shared.workers import POLL_SECONDS, Channel

Result = TypeVar("Result")


def run_loop(main: Coroutine[Any, Any, Result], threads: int) -> Result:
    """Runs a worker on uvloop where it exists, with `threads` threads for what would block."""

    async def with_threads() -> Result:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads))
        return await main

    if sys.platform == "win32":
        return asyncio.run(with_threads())
    import uvloop  # noqa: PLC0415 - does not exist on Windows

    return uvloop.run(with_threads())


@contextmanager
def first_error() -> Iterator[None]:
    """Raises the first error of a TaskGroup in the block by itself; the rest are its echoes."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


@asynccontextmanager
async def stop_event(channel: Channel) -> AsyncIterator[asyncio.Event]:
    """An event that is set once the parent asks to stop."""
    event = asyncio.Event()

    async def poll() -> None:
        while not channel.stopping():  # noqa: ASYNC110 - the parent is another process
            await asyncio.sleep(POLL_SECONDS)
        event.set()

    polling = asyncio.create_task(poll())
    try:
        yield event
    finally:
        polling.cancel()


@asynccontextmanager
async def shared_pace(cap_units: float | None, channel: Channel) -> AsyncIterator[Pace]:
    """The pace of one worker, whose rate, and share of `cap_units` a second, grow as other workers end."""
    pace = Pace(cap_units, workers=channel.workers())

    async def poll() -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            pace.share_among(channel.workers())

    polling = asyncio.create_task(poll())
    try:
        yield pace
    finally:
        polling.cancel()


async def unless_stopped(stop: asyncio.Event, awaited: Awaitable[Result]) -> Result | None:
    """The result of `awaited`; None where the stop comes first, and then `awaited` is cancelled."""
    task = asyncio.ensure_future(awaited)
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        stopped.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        see(task)


def see(task: asyncio.Future[Any]) -> None:
    """Takes note of how a finished task failed: where its waiter was cancelled, another error is the one to report."""
    if not task.cancelled():
        task.exception()
