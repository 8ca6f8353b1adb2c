"""The event loop of a worker, its rate limiter, and how it notices a stop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeVar

from ddb_shared.dynamodb.rate import RateLimiter
from ddb_shared.runtime.runner import POLL_SECONDS, Channel

Result = TypeVar("Result")


def run_loop(main: Coroutine[Any, Any, Result], threads: int) -> Result:
    """Runs a worker on uvloop where available, with `threads` threads for blocking calls."""

    async def with_threads() -> Result:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads))
        return await main

    if sys.platform == "win32":
        return asyncio.run(with_threads())
    import uvloop  # noqa: PLC0415 - does not exist on Windows

    return uvloop.run(with_threads())


@contextmanager
def first_error() -> Iterator[None]:
    """Raises the first error of a TaskGroup in the block instead of the group; the others follow from it."""
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
async def shared_rate_limiter(cap_units: float | None, channel: Channel) -> AsyncIterator[RateLimiter]:
    """The rate limiter of one worker, whose rate and share of `cap_units` per second grow as other workers end.

    An operator may change the cap, and pause the workers, while they work.
    """
    rate_limiter = RateLimiter(cap_units, workers=channel.workers())

    async def poll() -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            rate_limiter.rebalance(channel.workers())
            if (setting := channel.rate()) is not None:
                rate_limiter.apply(setting)

    polling = asyncio.create_task(poll())
    try:
        yield rate_limiter
    finally:
        polling.cancel()


async def unless_stopped(stop: asyncio.Event, awaited: Awaitable[Result]) -> Result | None:
    """The result of `awaited`; None if the stop comes first, which cancels `awaited`."""
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
        retrieve_exception(task)


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event is set within so many seconds. asyncio.wait_for would lose a cancellation of that moment in Python 3.11."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


def retrieve_exception(task: asyncio.Future[Any]) -> None:
    """Marks the exception of a finished task as retrieved: if its waiter was cancelled, another error is reported."""
    if not task.cancelled():
        task.exception()
