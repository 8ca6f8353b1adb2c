"""Tasks for worker processes, which have to be importable there."""

import asyncio
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from ddb_shared.errors import TableError
from ddb_shared.runtime.lease import LeaseGuard
from ddb_shared.runtime.loop import stop_event
from ddb_shared.runtime.parts import work_through
from ddb_shared.runtime.progress import ProgressEvent
from ddb_shared.runtime.runner import Channel, PartsChannel

DEADLINE_SECONDS = 30.0


@dataclass(frozen=True)
class Job:
    """A number, and a folder in which tasks leave marks for each other and for the test."""

    number: int
    storage: Path


def square(job: Job, channel: Channel) -> tuple[int, int]:
    """The square, and a tick."""
    channel.report(ProgressEvent(items=job.number, note=f"job {job.number}"))
    return job.number, job.number**2


def environment(name: str, _: Channel) -> str | None:
    """A variable of the worker's environment."""
    return os.environ.get(name)


def fail_first(job: Job, channel: Channel) -> int:
    """Number 0 fails once the others run; they continue until they are told to stop, and leave a mark."""
    if job.number == 0:
        _await(job.storage / "running-1")
        raise TableError("Table T is gone.", "Look for it.")
    (job.storage / f"running-{job.number}").touch()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not channel.stopping() and time.monotonic() < deadline:
        time.sleep(0.01)
    (job.storage / f"stopped-{job.number}").write_text(str(channel.stopping()))
    return job.number


def outlast(job: Job, channel: Channel) -> list[float]:
    """How many workers there were, each time that changed; number 0 ends once there are two, the other when it is alone."""
    seen = [channel.workers()]
    ends = [2] if job.number == 0 else [2, 1]
    deadline = time.monotonic() + DEADLINE_SECONDS
    while seen[-len(ends) :] != ends and time.monotonic() < deadline:
        time.sleep(0.01)
        if channel.workers() != seen[-1]:
            seen.append(channel.workers())
    return seen


def until_stopped(job: Job, channel: Channel) -> str:
    """Runs until it is told to stop."""
    (job.storage / f"running-{job.number}").touch()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not channel.stopping() and time.monotonic() < deadline:
        time.sleep(0.01)
    return "stopped" if channel.stopping() else "never stopped"


def until_paused(job: Job, channel: Channel) -> list[float | None]:
    """Runs until it is told to pause; returns the caps that it was told, after that of the task."""
    (job.storage / f"running-{job.number}").touch()
    caps: list[float | None] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        setting = channel.rate()
        if setting is not None and setting.cap_units not in caps:
            caps.append(setting.cap_units)
            (job.storage / f"told-{job.number}").touch()
        if setting is not None and setting.paused:
            break
        time.sleep(0.01)
    return caps


def die_once(job: Job, _: Channel) -> int:
    """Number 1 is killed the first time."""
    mark = job.storage / "died"
    if job.number == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return job.number


def die_always(job: Job, _: Channel) -> int:
    """Is killed each time, after leaving a mark."""
    (job.storage / f"death-{time.monotonic_ns()}").touch()
    os.kill(os.getpid(), signal.SIGKILL)
    return job.number


@dataclass(frozen=True)
class Count:
    """How a worker counts parts: so many open at a time, each done after `seconds`; the first worker is slower by far.

    With `slow_until` its parts are done as soon as so many others are.
    """

    storage: Path
    at_once: int = 1
    seconds: float = 0.02
    slow_seconds: float = 0.02
    slow_until: int = 0


def count_parts(task: Count, channel: PartsChannel) -> list[int]:
    """The parts that this worker has done. The first worker to come is the slow one."""
    first = task.storage / "first"
    try:
        first.touch(exist_ok=False)
    except FileExistsError:
        seconds, until = task.seconds, 0
    else:
        seconds, until = task.slow_seconds, task.slow_until
    return asyncio.run(_count(task, channel, seconds, until))


async def _count(task: Count, channel: PartsChannel, seconds: float, until: int) -> list[int]:
    counted: list[int] = []

    def others_are_done() -> bool:
        return until > 0 and len(list(task.storage.glob("part-*"))) >= until

    async def count(part: int, end: asyncio.Event) -> int | None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not others_are_done():
            if end.is_set():
                return None
            await asyncio.sleep(0.01)
        with (task.storage / f"part-{part}").open("a") as file:
            file.write("x")
        counted.append(part)
        channel.report(ProgressEvent(items=1))
        return part

    async with stop_event(channel) as stop:
        await work_through(channel, stop, task.at_once, count)
    return counted


def count_and_die(task: Count, channel: PartsChannel) -> list[int]:
    """The same, but the first worker is killed when it has settled a part and has others open."""
    mark = task.storage / "died"
    if not mark.exists():
        mark.touch()
        parts = [channel.take().result() for _ in range(3)]
        (task.storage / f"part-{parts[0]}").write_text("x")
        channel.settle(parts[0], parts[0])
        os.kill(os.getpid(), signal.SIGKILL)
    return count_parts(task, channel)


def take_one_and_idle(storage: Path, channel: PartsChannel) -> list[int]:
    """Part 0 takes until another worker was killed; who has done another part says its process id, and waits for more."""
    part = channel.take().result()
    if part == 0:
        _await(storage / "killed")
    channel.settle(part, part)
    if part != 0:
        _say_pid(storage)
    channel.take().result()
    return [part]


def hang(job: Job, _: Channel) -> None:
    """Says its process id and does not end by itself for long."""
    _say_pid(job.storage)
    time.sleep(2 * DEADLINE_SECONDS)


def hear_renewals(job: Job, channel: Channel) -> list[float]:
    """For how long the lease was said to hold, each time that this changed, until it was lost; the test is told each."""
    heard: list[float] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        validity = channel.validity()
        assert validity is not None
        if validity.lost:
            return heard
        if not heard or validity.seconds != heard[-1]:
            heard.append(validity.seconds)
            (job.storage / f"heard-{validity.seconds:.0f}").touch()
        time.sleep(0.01)
    return heard


def send_while_it_holds(job: Job, channel: Channel) -> None:
    """Leaves a mark for each request that its lease lets pass; the process id comes first."""
    (job.storage / "pid").write_text(str(os.getpid()))
    guard = LeaseGuard(channel.validity)
    with (job.storage / "sent").open("a") as sent:
        while True:
            guard.wait_in_thread()
            sent.write(f"{time.monotonic()}\n")
            sent.flush()
            time.sleep(0.02)


def _say_pid(storage: Path) -> None:
    draft = storage / "draft"
    draft.write_text(str(os.getpid()))
    draft.rename(storage / "pid")


def _await(path: Path) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
