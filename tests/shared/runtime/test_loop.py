"""The loop of a worker: its threads, its errors, its stop."""

import asyncio
import gc
import threading

import pytest

from ddb_shared.runtime.loop import first_error, is_set_within, run_loop, stop_event, unless_stopped
from support.channel import MemoryChannel
from support.simulated import now, simulate


def test_blocking_work_has_its_threads() -> None:
    """As many at once as asked for: none of them waits for another."""

    async def main() -> int:
        barrier = threading.Barrier(3)
        await asyncio.gather(*(asyncio.to_thread(barrier.wait, 30) for _ in range(3)))
        return 7

    assert run_loop(main(), threads=3) == 7


def test_the_first_error_comes_out_by_itself() -> None:
    """Not as a group, however deep, and its echoes are dropped."""

    async def fail() -> None:
        raise KeyError("first")

    async def main() -> None:
        with first_error():
            async with asyncio.TaskGroup() as outer:
                outer.create_task(asyncio.sleep(100))
                async with asyncio.TaskGroup() as inner:
                    inner.create_task(fail())

    with pytest.raises(KeyError, match="first"):
        simulate(main())


def test_a_stop_of_the_parent_sets_the_event() -> None:
    """Within a moment; until then it is not set."""
    channel = MemoryChannel()

    async def main() -> None:
        async with stop_event(channel) as stop:
            await asyncio.sleep(5)
            assert not stop.is_set()
            channel.stop_after = 0
            await asyncio.wait_for(stop.wait(), 1)

    simulate(main())


def test_a_result_that_comes_before_the_stop_is_returned() -> None:
    """And an error is raised."""

    async def main() -> None:
        stop = asyncio.Event()
        assert await unless_stopped(stop, asyncio.sleep(1, "result")) == "result"
        with pytest.raises(TimeoutError):
            await unless_stopped(stop, asyncio.wait_for(asyncio.sleep(9), 1))

    simulate(main())


def test_a_stop_cancels_what_is_waited_for() -> None:
    """At once, and it has cleaned up before the caller continues."""
    cleaned = False

    async def slow() -> str:
        nonlocal cleaned
        try:
            return await asyncio.sleep(100, "too late")
        finally:
            await asyncio.sleep(1)
            cleaned = True

    async def main() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(2, stop.set)
        assert await unless_stopped(stop, slow()) is None
        assert cleaned
        assert now() == pytest.approx(3)

    simulate(main())


def test_an_error_whose_waiter_is_cancelled_is_not_reported_by_the_loop() -> None:
    """One lane's refusal cancels the others, whose own refusals may have come in the same moment."""

    async def main() -> list[dict[str, object]]:
        reported: list[dict[str, object]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(context))
        refusal: asyncio.Future[None] = loop.create_future()
        waiting = asyncio.create_task(unless_stopped(asyncio.Event(), refusal))
        await asyncio.sleep(0)
        refusal.set_exception(ValueError("refused"))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        del refusal, waiting
        gc.collect()
        return reported

    assert asyncio.run(main()) == []


def test_a_cancellation_is_not_lost_where_the_event_comes_at_the_same_moment() -> None:
    """The task would continue, and whoever waits for its end would wait for ever."""

    async def main() -> None:
        event = asyncio.Event()
        waiting = asyncio.create_task(is_set_within(event, 10))
        await asyncio.sleep(0)
        event.set()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not await is_set_within(asyncio.Event(), 0.01)
        assert await is_set_within(event, 0.01)

    asyncio.run(main())
