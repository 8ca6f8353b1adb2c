"""Runs tasks on a Dask cluster, where one machine is not enough.

The workers need this package, the way to AWS and credentials of their own: what travels is the task, and no secret but the keys of an MFA login. Dask
runs a task again when its worker is lost, and the task goes on from its checkpoints.
"""

from __future__ import annotations

import queue
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from ddb_shared.errors import ServiceError, UsageError
from ddb_shared.progress import Tick
from ddb_shared.workers import WORKER_DEATHS, Channel, Result, Stop, Task, Watch, Work


@dataclass(frozen=True)
class Cluster:
    """A Dask scheduler, such as `tcp://10.0.0.1:8786`."""

    address: str

    def slots(self) -> int:
        """The tasks that its workers run at once."""
        with self._connected() as client:
            slots = sum(client.nthreads().values())
        if not slots:
            raise ServiceError(
                f"The Dask cluster at {self.address} has no workers.", "Start some: dask worker ADDRESS"
            )
        return int(slots)

    def run(
        self, work: Work[Task, Result], tasks: Sequence[Task], on_tick: Callable[[Tick], None], stop: Stop
    ) -> list[Result]:
        """See workers.Runner."""
        from distributed import Event, Variable  # noqa: PLC0415 - an extra that most do without

        name = f"ddb-transfer-{uuid.uuid4().hex}"
        ticks: queue.SimpleQueue[Tick] = queue.SimpleQueue()
        with self._connected() as client:
            unfinished = Variable(name, client)
            unfinished.set(len(tasks))
            client.subscribe_topic(name, lambda event: ticks.put(Tick(**event[1]["tick"])))
            executor = client.get_executor(pure=False, retries=WORKER_DEATHS)
            running = {
                executor.submit(_run_on_worker, work, task, name): number for number, task in enumerate(tasks)
            }
            results: dict[int, Result] = {}
            watch = Watch(running, results, lambda: _drain(ticks, on_tick), stop)
            watch.until_done(
                tell_workers=Event(name, client).set,
                tell_unfinished=unfinished.set,
                end_workers=lambda: (
                    None
                ),  # they are not ours to kill; the cluster drops the tasks of a client that left
            )
            unfinished.delete()
            _drain(ticks, on_tick)
        return [results[number] for number in sorted(results)]

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        try:
            from distributed import Client  # noqa: PLC0415 - an extra that most do without
        except ImportError as error:
            raise UsageError(
                "--scheduler needs Dask.", "Install it with: pip install 'ddb-transfer[cluster]'"
            ) from error
        try:
            client = Client(self.address, timeout="10s", set_as_default=False)
        except (OSError, ValueError) as error:
            raise ServiceError(
                f"No Dask scheduler answers at {self.address}: {error}", "Check the address."
            ) from error
        with client:
            yield client


@dataclass(frozen=True)
class _WorkerChannel:
    """The line of a task on a worker to the parent, over the scheduler."""

    name: str

    def report(self, tick: Tick) -> None:
        from distributed import get_worker  # noqa: PLC0415

        get_worker().log_event(self.name, {"tick": asdict(tick)})

    def stopping(self) -> bool:
        from distributed import Event, get_client  # noqa: PLC0415

        return bool(Event(self.name, get_client()).is_set())

    def workers(self) -> int:
        from distributed import Variable, get_client  # noqa: PLC0415

        return max(1, int(Variable(self.name, get_client()).get()))


def _run_on_worker(work: Work[Task, Result], task: Task, name: str) -> Result:
    channel: Channel = _WorkerChannel(name)
    return work(task, channel)


def _drain(ticks: queue.SimpleQueue[Tick], on_tick: Callable[[Tick], None]) -> None:
    while not ticks.empty():
        on_tick(ticks.get())
