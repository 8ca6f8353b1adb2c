"""A Dask cluster of real processes: a scheduler, and workers that come and go."""

import itertools
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddb_shared.runtime.messages import Settled
from support.environment import clean_environment

# Until a process has said that it is there, on a busy machine.
_START_SECONDS = 120
LOCAL = ("--host", "127.0.0.1")


@dataclass(frozen=True)
class _Process:
    """A process and where its log goes: a pipe that nobody reads fills up, and its writer stands still from then on."""

    popen: subprocess.Popen[bytes]
    log: Path


class Dask:
    """A running scheduler at `address`. What `scheduler_words` and `variables` say holds for the scheduler alone."""

    def __init__(
        self, stack: ExitStack, storage: Path, *scheduler_words: str, variables: Mapping[str, str]
    ) -> None:
        self._stack = stack
        self._storage = storage
        self._numbers = itertools.count(1)
        words = (*LOCAL, "--port", "0", "--no-dashboard", *scheduler_words)
        self._scheduler = self._start("distributed.cli.dask_scheduler", words, variables)
        self.address = _await_line(self._scheduler, r"Scheduler at:\s+(\w+://\S+)")[1]

    def start_worker(
        self, variables: Mapping[str, str], *words: str, scheduler: str | None = None
    ) -> "Worker":
        """A worker process of one thread, which has registered; `variables` are its credentials, or others."""
        options = ("--nthreads", "1", "--no-dashboard", "--no-nanny", *words)
        where = (scheduler or self.address, *LOCAL)
        process = self._start("distributed.cli.dask_worker", (*where, *options), variables)
        address = _await_line(process, r"Start worker at:\s+(\w+://\S+)")[1]
        _await_line(process, r"Registered to")
        return Worker(process.popen, address)

    def kill(self) -> None:
        """SIGKILL for the scheduler."""
        os.killpg(self._scheduler.popen.pid, signal.SIGKILL)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """The scheduler stands still, with its connections open."""
        os.kill(self._scheduler.popen.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._scheduler.popen.pid, signal.SIGCONT)

    def _start(self, module: str, words: Sequence[str], variables: Mapping[str, str]) -> _Process:
        temporary = {"DASK_TEMPORARY_DIRECTORY": str(self._storage)}
        log = self._storage / f"{module.rpartition('.')[2]}-{next(self._numbers)}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *words],
                env=clean_environment() | temporary | dict(variables),
                stderr=stream,
                start_new_session=True,
            )
        self._stack.callback(_end, process)
        return _Process(process, log)


class Worker:
    """A worker process and its address."""

    def __init__(self, process: subprocess.Popen[bytes], address: str) -> None:
        self.process = process
        self.address = address

    def kill(self) -> None:
        """SIGKILL: it can do nothing about it."""
        os.killpg(self.process.pid, signal.SIGKILL)

    def suspend(self) -> None:
        """It hangs, with its connections open."""
        os.kill(self.process.pid, signal.SIGSTOP)


@contextmanager
def dask_cluster(
    storage: Path, *scheduler_words: str, variables: Mapping[str, str] | None = None
) -> Iterator[Dask]:
    """A scheduler without workers; it ends with all workers."""
    with ExitStack() as stack:
        yield Dask(stack, storage, *scheduler_words, variables=variables or {})


def settled_parts(client: Any) -> Counter[str]:
    """How many parts each worker of the cluster has settled so far, by its address; over all runs."""
    found: Counter[str] = Counter()
    for events in client.get_events().values():
        for _, event in events:
            if isinstance(event, dict) and "inbox" in event:
                address = event["inbox"].split("-", 3)[-1].rpartition("-")[0]
                found[address] += isinstance(pickle.loads(event["data"]), Settled)
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _await_line(process: _Process, pattern: str) -> re.Match[str]:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        has_ended = process.popen.poll() is not None
        if match := re.search(pattern, process.log.read_text()):
            return match
        assert not has_ended, f"{process.popen.args!r} ended without {pattern}: {process.log.read_text()}"
        assert time.monotonic() < deadline, f"{process.popen.args!r} did not say {pattern}"
        time.sleep(0.05)
