"""Tasks for worker processes, which have to be importable there."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from ddb_shared.errors import TableError
from ddb_shared.progress import Tick
from ddb_shared.workers import Channel

DEADLINE_SECONDS = 30.0


@dataclass(frozen=True)
class Job:
    """A number, and a folder in which tasks leave marks for each other and for the test."""

    number: int
    folder: Path


def square(job: Job, channel: Channel) -> tuple[int, int]:
    """The square, and a tick."""
    channel.report(Tick(items=job.number, note=f"job {job.number}"))
    return job.number, job.number**2


def environment(name: str, _: Channel) -> str | None:
    """A variable of the worker's environment."""
    return os.environ.get(name)


def fail_first(job: Job, channel: Channel) -> int:
    """Number 0 fails once the others run; they go on until they are told to stop, and leave a mark."""
    if job.number == 0:
        _await(job.folder / "running-1")
        raise TableError("Table T is gone.", "Look for it.")
    (job.folder / f"running-{job.number}").touch()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not channel.stopping() and time.monotonic() < deadline:
        time.sleep(0.01)
    (job.folder / f"stopped-{job.number}").write_text(str(channel.stopping()))
    return job.number


def outlast(job: Job, channel: Channel) -> list[int]:
    """How many workers there were, each time that changed; number 0 ends first, the others see it."""
    seen = [channel.workers()]
    deadline = time.monotonic() + DEADLINE_SECONDS
    while job.number and seen[-1] > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
        if channel.workers() != seen[-1]:
            seen.append(channel.workers())
            break
    return seen


def until_stopped(job: Job, channel: Channel) -> str:
    """Runs until it is told to stop."""
    (job.folder / f"running-{job.number}").touch()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not channel.stopping() and time.monotonic() < deadline:
        time.sleep(0.01)
    return "stopped" if channel.stopping() else "never stopped"


def die_once(job: Job, _: Channel) -> int:
    """Number 1 is killed the first time."""
    mark = job.folder / "died"
    if job.number == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return job.number


def die_always(job: Job, _: Channel) -> int:
    """Is killed each time, after leaving a mark."""
    (job.folder / f"death-{time.monotonic_ns()}").touch()
    os.kill(os.getpid(), signal.SIGKILL)
    return job.number


def hang(job: Job, _: Channel) -> None:
    """Says its process id and does not end by itself for long."""
    draft = job.folder / "draft"
    draft.write_text(str(os.getpid()))
    draft.rename(job.folder / "pid")
    time.sleep(2 * DEADLINE_SECONDS)


def _await(path: Path) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
