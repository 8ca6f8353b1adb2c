"""Runs work on a Dask cluster, where one machine is not enough.

A job is a task of Dask, one for each worker process, and takes its parts from our own pool: a Dask task for each segment or
shard would have connections, a pace and a share of the caps of its own, and leave no say in which shards are open together.
Workers that join get a job, and the parts of those that are lost are dealt again once their lease has run out.

The workers need this package and credentials of their own. What travels is the task, and no secret but the credentials of an
MFA session.
"""

from __future__ import annotations

import itertools
import json
import math
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from ddb_shared.errors import ServiceError, UsageError
from ddb_shared.runtime.cap_share import CapShare
from ddb_shared.runtime.cluster_line import Ask, dismissal, load, release
from ddb_shared.runtime.cluster_survey import Inspect, no_inspection, require_all
from ddb_shared.runtime.cluster_watch import LOOK_SECONDS, Watch
from ddb_shared.runtime.cluster_worker import DaskWorker
from ddb_shared.runtime.events import announce
from ddb_shared.runtime.messages import Job, Lost
from ddb_shared.runtime.pool import Pool, Remote
from ddb_shared.runtime.runner import Part, PartsWork, Result, RunContext, Runner, Task, ignore

# A run waits so long for a worker where there is none at all: new ones are on their way, or never come.
_NO_WORKERS_SECONDS: Final = 120.0
# A scheduler may swap, or deal with the workers of others for minutes. After this one it hangs: nothing is done meanwhile.
_PATIENCE_SECONDS: Final = 900.0
# After so long without an answer the user is told, and from then on as often.
_NOTE_SECONDS: Final = 30.0
# So long the end of a run waits for its last messages to the scheduler.
_FAREWELL_SECONDS: Final = 3.0


@dataclass(frozen=True)
class Cluster(Runner):
    """The workers of a Dask scheduler, named by its address or scheduler file; at most `count` of them.

    `inspect` is called here and on each worker before its first job, and has to return the same: whose credentials it has.
    """

    scheduler: str
    count: int | None = None
    inspect: Inspect = no_inspection
    share: CapShare | None = None

    def require_workers(self, *, with_credentials: bool = True) -> None:
        """Raises TransferError where there are no workers, or some can't do the work."""
        with connected(self.scheduler) as client:
            addresses = list(client.nthreads())
            if not addresses:
                raise ServiceError(
                    f"The Dask cluster at {self.scheduler} has no workers.", "Start some: dask worker ADDRESS"
                )
            require_all(client, addresses, self.inspect if with_credentials else no_inspection)

    def workers(self) -> int:
        """How many would be used now."""
        with connected(self.scheduler) as client:
            found = max(len(client.nthreads()), 1)
        return found if self.count is None else min(self.count, found)

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
        limits = [limit for limit in (self.count, at_most) if limit is not None]
        with (
            connected(self.scheduler) as client,
            _DaskBackend(client, self.inspect, self.scheduler) as backend,
        ):
            pool = Pool(
                backend,
                Job(work, task),
                parts,
                context,
                on_settled,
                share=self.share,
            )
            return pool.run(min(limits, default=len(parts)))


def address_of(scheduler: str) -> str:
    """The address of a scheduler, which may be in its file. Raises UsageError where there is none."""
    if "://" in scheduler:
        return scheduler
    try:
        return str(json.loads(Path(scheduler).read_bytes())["address"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"--scheduler {scheduler!r} is neither an address nor a scheduler file.",
            "Give tcp://HOST:PORT, tls://HOST:PORT, or the file that `dask scheduler --scheduler-file` wrote.",
        ) from error


@contextmanager
def connected(scheduler: str) -> Iterator[Any]:
    """A client of the scheduler. Certificates for tls:// are those of Dask's own configuration."""
    address = address_of(scheduler)
    try:
        from distributed import Client, Security  # noqa: PLC0415 - an extra that most do without
    except ImportError as error:
        raise UsageError(
            "--scheduler needs Dask.", "Install the extra from the checkout: pip install '.[cluster]'"
        ) from error
    security = Security()
    try:
        _require_certificates(security, address)
        client = Client(address, security=security, timeout="10s", set_as_default=False)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise ServiceError(
            f"No Dask scheduler answers at {scheduler}: {error}",
            "Check the address; for tls:// also the certificates, distributed.comm.tls in Dask's configuration.",
        ) from error
    with client:
        yield client


def _require_certificates(security: Any, address: str) -> None:
    """Raises UsageError where Dask knows of none, OSError where they cannot be read: a client that is half made hangs."""
    if address.startswith("tls://") and not security.get_connection_args("client")["ssl_context"]:
        raise UsageError(
            f"--scheduler {address} needs certificates, and Dask's configuration names none.",
            "Set distributed.comm.tls in it, or DASK_DISTRIBUTED__COMM__TLS__CA_FILE, …__CLIENT__CERT and …__CLIENT__KEY.",
        )


class _DaskBackend:
    """Gives a job to each worker of the cluster. Threads of its own talk to the scheduler, so that nothing else waits for it.

    A scheduler that is silent does not end the run: workers stop by themselves, the lease is held from here, and what the
    workers had open is dealt again once the scheduler answers.
    """

    def __init__(self, client: Any, inspect: Inspect, scheduler: str) -> None:
        self._client = client
        self._scheduler = scheduler
        self._watch = Watch(client, inspect)
        self._run = f"ddb-transfer-{uuid.uuid4().hex}"
        self._topic = client.id  # the scheduler forgets the events of a client that is gone
        self._inboxes: dict[str, Any] = {}  # of the sender alone
        self._received: queue.SimpleQueue[tuple[Remote, object]] = queue.SimpleQueue()
        self._calls: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._sender = threading.Thread(target=self._call_all, name="to scheduler", daemon=True)
        self._used: list[DaskWorker] = []
        self._jobs = itertools.count(1)
        self._busy_at = time.monotonic()
        self._told_at = -math.inf

    def __enter__(self) -> _DaskBackend:
        self._client.subscribe_topic(self._topic, self._hear)
        self._sender.start()
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.end()
        self._calls.put(self._release)
        self._calls.put(None)
        self._sender.join(_FAREWELL_SECONDS)  # workers whose tasks are not cancelled stop by themselves

    def recruit(self, wanted: int) -> list[Remote]:
        new = [self._worker(address) for address in self._watch.take(wanted)]
        self._used += new
        if self._used or self._watch.silent_seconds() > LOOK_SECONDS:
            self._busy_at = time.monotonic()
        elif time.monotonic() - self._busy_at > _NO_WORKERS_SECONDS:
            raise ServiceError(
                f"The Dask cluster has had no worker that can be used for {_NO_WORKERS_SECONDS:.0f} s.",
                "Start workers, then run the same command again.",
            )
        return list(new)

    def receive(self, seconds: float) -> list[tuple[Remote, object]]:
        received: list[tuple[Remote, object]] = []
        with suppress(queue.Empty):
            received.append(self._received.get(timeout=seconds))
            while True:
                received.append(self._received.get_nowait())
        self._check_scheduler()
        received += [(worker, loss) for worker in self._used if (loss := worker.loss(self._watch))]
        gone = {worker for worker, message in received if isinstance(message, Lost)}
        for used in [used for used in self._used if used in gone]:
            self._used.remove(used)
            self._watch.readmit(used.address)
        return received

    def _check_scheduler(self) -> None:
        """Raises ServiceError where the scheduler is gone, or silent for too long; else tells that it is waited for."""
        silent = self._watch.silent_seconds()
        if self._client.status in {"closing", "closed"} or silent > _PATIENCE_SECONDS:
            said = (
                "The connection was lost" if silent <= _PATIENCE_SECONDS else f"No answer for {silent:.0f} s"
            )
            raise ServiceError(
                f"{said}: Dask scheduler {self._scheduler}. Workers stop by themselves.",
                "Check that the scheduler runs, then run the same command again.",
            )
        now = time.monotonic()
        if silent > _NOTE_SECONDS and now - self._told_at > _NOTE_SECONDS:
            self._told_at = now
            announce(f"Waiting for the Dask scheduler {self._scheduler}: no answer for {silent:.0f} s")

    def _worker(self, address: str) -> DaskWorker:
        inboxes = (f"{self._run}-{address}-{number}" for number in self._jobs)
        return DaskWorker(
            self._client,
            address,
            topic=self._topic,
            inboxes=inboxes,
            call=self._calls.put,
            put=self._put_later,
            report=self._received.put,
        )

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        """Takes an event of the run's topic; called by the client's own thread."""
        self._watch.note_answer()
        if "inbox" not in event[1]:
            return  # what the scheduler itself tells of this client
        line = event[1]["inbox"]
        message = load(event[1]["data"])
        worker = next((worker for worker in self._used if worker.inbox == line), None)
        if isinstance(message, Ask):
            if worker is None:  # it was given up: what it holds is dealt again
                self._put_later(line, dismissal())
            else:
                worker.answer(message)
        elif worker is not None:
            self._received.put((worker, message))

    def _put_later(self, inbox: str, data: bytes) -> None:
        self._calls.put(partial(self._put, inbox, data))

    def _put(self, inbox: str, data: bytes) -> None:
        from distributed import Queue  # noqa: PLC0415 - loaded with the client

        if inbox not in self._inboxes:
            self._inboxes[inbox] = Queue(inbox, self._client)
        self._inboxes[inbox].put(data)

    def _release(self) -> None:
        self._client.unsubscribe_topic(self._topic)
        for inbox in self._inboxes.values():
            release(inbox, both=True)

    def _call_all(self) -> None:
        """Makes the calls to the scheduler one after another."""
        while (call := self._calls.get()) is not None:
            with suppress(Exception):  # what a worker misses, it asks for again
                call()
