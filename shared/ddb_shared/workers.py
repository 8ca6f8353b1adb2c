"""Runs tasks in parallel over a concurrent.futures.Executor: processes, this thread, or a Dask cluster.

A task is a pure function of a frozen, picklable description. It finds its own checkpoints, so it may run twice: when a
worker process dies, its tasks are simply run again.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from types import FrameType
from typing import Any, Final, Protocol, TypeVar

from ddb_shared.errors import Interrupted, ServiceError
from ddb_shared.progress import Tick

Task = TypeVar("Task")
Result = TypeVar("Result")

POLL_SECONDS: Final = 0.1
# A worker that is killed again and again is killed by something that a further try does not mend, such as a memory limit.
WORKER_DEATHS: Final = 5
# An interrupted run ends within ten seconds: workers that hang in a dead connection by then are ended.
PATIENCE_SECONDS: Final = 8.0
# glibc gives each thread a heap of its own, and each keeps what its thread once had: up to 86 MiB more for a worker.
# What one heap costs in CPU is within the noise of a busy machine. glibc reads it when a process starts; a user's own setting stays.
MALLOC_ARENAS: Final = "1"


class Channel(Protocol):
    """A worker's line to the parent."""

    def report(self, tick: Tick) -> None:
        """Sends progress; never blocks for long."""
        ...

    def stopping(self) -> bool:
        """Whether to finish what is in flight, save and return."""
        ...

    def workers(self) -> int:
        """How many tasks share what is to be shared: those that have not ended, this one among them."""
        ...


Work = Callable[[Task, Channel], Result]


class Stop:
    """Whether the run should end early, and which signal said so."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._said = threading.Event()

    def say(self, signal_number: int | None = None) -> None:
        """Asks all workers to finish what is in flight and return."""
        self.signal_number = self.signal_number or signal_number
        self._said.set()

    def said(self) -> bool:
        """Whether someone asked."""
        return self._said.is_set()

    def check(self, remedy: str) -> None:
        """Raises Interrupted where a signal has arrived."""
        if self.signal_number is not None:
            name = signal.Signals(self.signal_number).name
            raise Interrupted(
                f"Interrupted by {name}; what is confirmed is saved.", remedy, self.signal_number
            )


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """SIGINT and SIGTERM ask for an orderly end; a second SIGINT ends the process at once, still resumable."""
    stop = Stop()

    def handle(number: int, _: FrameType | None) -> None:
        if stop.said() and number == signal.SIGINT:
            os._exit(128 + number)  # the workers see that their parent is gone, and end
        stop.say(number)

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class Runner(Protocol):
    """Runs tasks in parallel and returns their results in order; after a stop some may be missing."""

    def run(
        self, work: Work[Task, Result], tasks: Sequence[Task], on_tick: Callable[[Tick], None], stop: Stop
    ) -> list[Result]:
        """Raises the first task's error after the others have saved their state."""
        ...


@dataclass(frozen=True)
class Serial:
    """Runs the tasks one after another in this process: the twin of the pool for tests and debuggers."""

    def run(
        self, work: Work[Task, Result], tasks: Sequence[Task], on_tick: Callable[[Tick], None], stop: Stop
    ) -> list[Result]:
        channel = _LocalChannel(on_tick, stop)
        return [work(task, channel) for task in tasks]


@dataclass(frozen=True)
class Processes:
    """Runs the tasks in a pool of spawned processes; a pool whose worker was killed is replaced."""

    count: int

    def run(
        self, work: Work[Task, Result], tasks: Sequence[Task], on_tick: Callable[[Tick], None], stop: Stop
    ) -> list[Result]:
        results: dict[int, Result] = {}
        for _ in range(WORKER_DEATHS):
            left = [number for number in range(len(tasks)) if number not in results]
            try:
                self._run_pool(work, {number: tasks[number] for number in left}, results, on_tick, stop)
            except BrokenProcessPool:
                on_tick(Tick(note="a worker process died; its work is done again from its checkpoints"))
                continue
            return [results[number] for number in sorted(results)]
        raise ServiceError(
            f"Worker processes were killed {WORKER_DEATHS} times.",
            "Look for the reason (a memory limit?), perhaps give fewer --processes, then run the same command again.",
        )

    def _run_pool(
        self,
        work: Work[Task, Result],
        tasks: dict[int, Task],
        results: dict[int, Result],
        on_tick: Callable[[Tick], None],
        stop: Stop,
    ) -> None:
        os.environ.setdefault("MALLOC_ARENA_MAX", MALLOC_ARENAS)
        context = mp.get_context(
            "spawn"
        )  # fork would copy locks and event loops of threads that don't exist there
        ticks = context.Queue()
        stopping = context.Event()
        unfinished = context.Value("i", len(tasks), lock=False)
        with futures.ProcessPoolExecutor(
            min(self.count, len(tasks)) or 1, context, _start_worker, (ticks, stopping, unfinished)
        ) as pool:
            running = {pool.submit(_run_in_worker, work, task): number for number, task in tasks.items()}
            watch = Watch(running, results, lambda: _drain(ticks, on_tick), stop)
            watch.until_done(
                tell_workers=stopping.set,
                tell_unfinished=lambda count: setattr(unfinished, "value", count),
                end_workers=lambda: _kill(pool),
            )
        _drain(ticks, on_tick)


@dataclass
class Watch:
    """Waits for all futures; the first error asks the others to stop, and is raised when they have."""

    running: dict[futures.Future[Any], int]
    results: dict[int, Any]
    drain: Callable[[], None]
    stop: Stop
    failed: BaseException | None = None

    def until_done(
        self,
        *,
        tell_workers: Callable[[], None],
        tell_unfinished: Callable[[int], None],
        end_workers: Callable[[], None],
    ) -> None:
        pending = set(self.running)
        told_at: float | None = None
        while pending:
            done, pending = futures.wait(pending, timeout=POLL_SECONDS, return_when=futures.FIRST_COMPLETED)
            for future in done:
                self._take(future)
            if done:
                tell_unfinished(len(pending))
            self.drain()
            if told_at is None and (self.stop.said() or self.failed is not None):
                tell_workers()
                told_at = time.monotonic()
            if told_at is not None and self.stop.said() and time.monotonic() - told_at > PATIENCE_SECONDS:
                end_workers()
                return
        if self.failed is not None:
            raise self.failed

    def _take(self, future: futures.Future[Any]) -> None:
        error = future.exception()
        if error is None:
            self.results[self.running[future]] = future.result()
        elif self.failed is None or isinstance(self.failed, BrokenProcessPool):
            self.failed = error


def _kill(pool: futures.ProcessPoolExecutor) -> None:
    """Ends workers that do not return; what they had confirmed by their last checkpoint is safe."""
    for process in list(pool._processes.values()):  # noqa: SLF001 - public as kill_workers() from Python 3.14 on
        process.kill()


def _drain(ticks: Any, on_tick: Callable[[Tick], None]) -> None:
    with suppress(queue.Empty, EOFError, OSError):
        while True:
            on_tick(ticks.get_nowait())


class _LocalChannel:
    def __init__(self, on_tick: Callable[[Tick], None], stop: Stop) -> None:
        self._on_tick = on_tick
        self._stop = stop

    def report(self, tick: Tick) -> None:
        self._on_tick(tick)

    def stopping(self) -> bool:
        return self._stop.said()

    def workers(self) -> int:
        return 1  # they run one after another


class _ProcessChannel:
    def __init__(self, ticks: Any, stopping: Any, unfinished: Any) -> None:
        self._ticks = ticks
        self._stopping = stopping
        self._unfinished = unfinished

    def report(self, tick: Tick) -> None:
        self._ticks.put(tick)

    def stopping(self) -> bool:
        return bool(self._stopping.is_set())

    def workers(self) -> int:
        return max(1, int(self._unfinished.value))


_channel: Channel


def _start_worker(ticks: Any, stopping: Any, unfinished: Any) -> None:
    """Runs once in every new worker process: signals are the parent's business, and its death is ours."""
    global _channel  # noqa: PLW0603 - an initializer has no other way to hand something to the tasks
    _channel = _ProcessChannel(ticks, stopping, unfinished)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = mp.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _run_in_worker(work: Work[Task, Result], task: Task) -> Result:
    return work(task, _channel)
