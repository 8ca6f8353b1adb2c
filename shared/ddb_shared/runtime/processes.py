"""Runs work in spawned processes, so that no death of a worker can hang the run.

Each worker has one pipe to the parent and shares nothing else: no queue, lock or event that a killed process could hold
for ever (concurrent.futures and multiprocessing.Queue have such: https://bugs.python.org/issue22393). The end of a pipe is
seen at once by the other side, so the parent notices every death, and a worker ends when its parent is gone.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import queue
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Final

from ddb_shared.runtime.cap_share import CapShare
from ddb_shared.runtime.lease import Validity
from ddb_shared.runtime.messages import Job, Lost
from ddb_shared.runtime.pool import Pool, Remote
from ddb_shared.runtime.progress import process_name
from ddb_shared.runtime.runner import Part, PartsWork, Result, RunContext, Runner, Task, ignore
from ddb_shared.runtime.worker import WorkerChannel, done

# glibc gives each thread a heap of its own, which keeps the memory that its thread once used: up to 86 MiB more for a
# worker. One heap costs no measurable CPU. glibc reads the setting when a process starts; a user's own value is kept.
MALLOC_ARENAS: Final = "1"
# fork would copy locks and event loops of threads that do not exist in the child
_SPAWN: Final = mp.get_context("spawn")
# How long to wait for a worker whose pipe is closed, which makes it exit.
_JOIN_SECONDS: Final = 5.0
_STOPPING: Final = (signal.SIGINT, signal.SIGTERM)
_CAN_BLOCK: Final = sys.platform != "win32"


@dataclass(frozen=True)
class Processes(Runner):
    """Deals the parts to at most `count` spawned processes; those of a process that was killed go to a new one."""

    count: int
    share: CapShare | None = None

    def deal(
        self,
        work: PartsWork[Task, Result],
        task: Task,
        parts: Sequence[Part],
        context: RunContext,
        *,
        on_settled: Callable[[Part, Any], None] = ignore,
        at_most: int | None = None,
    ) -> list[Result]:
        """See Runner."""
        os.environ.setdefault("MALLOC_ARENA_MAX", MALLOC_ARENAS)
        pool = Pool(
            _ProcessBackend(),
            Job(work, task),
            parts,
            context,
            on_settled,
            share=self.share,
        )
        return pool.run(self.count if at_most is None else min(self.count, at_most))


class _ProcessBackend:
    """Starts a process for each worker that is wanted."""

    def __init__(self) -> None:
        self._processes: dict[Connection[Any, Any], _Process] = {}

    def recruit(self, wanted: int) -> list[Remote]:
        started = [_Process() for _ in range(wanted)]
        self._processes |= {process.connection: process for process in started}
        return list(started)

    def receive(self, seconds: float) -> list[tuple[Remote, object]]:
        self._processes = {
            connection: process for connection, process in self._processes.items() if not connection.closed
        }
        ready = wait(list(self._processes), seconds)
        return [
            (process, message)
            for process in [self._processes[connection] for connection in ready]  # type: ignore[index] # no sockets
            for message in process.receive()
        ]


class _Process:
    """The parent's view of one process, and its pipe."""

    name = "a worker process"

    def __init__(self) -> None:
        self.connection, theirs = _SPAWN.Pipe()
        self._validity: Validity | None = None
        self._process = _SPAWN.Process(target=_serve, args=(theirs,), daemon=True)
        with _signals_blocked():
            self._process.start()
        theirs.close()  # otherwise the pipe would outlast the process
        self.progress_name = process_name(self._process.pid or 0)

    def send(self, message: object) -> None:
        with suppress(OSError):
            self.connection.send(message)

    def renew(self, validity: Validity | None) -> None:
        """Tells it how long the lease holds now, if that has changed and its pipe has room: it may be stopped for hours."""
        if validity != self._validity and self._has_room():
            self._validity = validity
            self.send(validity)

    def receive(self) -> list[object]:
        """All messages that have come from it."""
        messages: list[object] = []
        try:
            while self.connection.poll():
                messages.append(self.connection.recv())
        except (EOFError, OSError):
            messages.append(Lost())
        return messages

    def close(self) -> None:
        """Ends an idle worker and waits for it."""
        self.connection.close()
        self._process.join(_JOIN_SECONDS)
        if self._process.is_alive():
            self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.join(_JOIN_SECONDS)
        self.connection.close()

    def _has_room(self) -> bool:
        if sys.platform == "win32":  # no way to ask a pipe, and no way to stop a process
            return True
        poll = select.poll()
        poll.register(self.connection, select.POLLOUT)
        return bool(poll.poll(0))


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """A process that starts here inherits the block: until it ignores signals, a Ctrl-C would end it with a traceback."""
    if not _CAN_BLOCK:
        yield
        return
    resource_tracker.ensure_running()  # its own start would end the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection[Any, Any]) -> None:
    """A worker process; the parent handles signals."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if _CAN_BLOCK:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)  # those that came meanwhile are ignored
    sending = threading.Lock()
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()

    def send(message: object) -> None:
        with sending, suppress(OSError):  # if the parent is gone, the listening thread ends the process
            connection.send(message)

    channel = WorkerChannel(send)

    def listen() -> None:
        with suppress(EOFError, OSError):
            while True:
                message = connection.recv()
                if isinstance(message, Job):
                    channel.begin()
                    jobs.put(message)
                else:
                    channel.receive(message)
        os._exit(0)  # the parent closed the pipe, or is gone: nothing may be written any more

    threading.Thread(target=listen, name="parent", daemon=True).start()
    while True:
        send(done(jobs.get(), channel))
