"""A worker's side of the line to the pool, over whatever the messages travel."""

from __future__ import annotations

import multiprocessing.reduction
import threading
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

from ddb_shared.dynamodb.rate import RateSetting
from ddb_shared.errors import TransferError
from ddb_shared.runtime.lease import Validity
from ddb_shared.runtime.messages import Done, Give, Job, Keep, Returned, Settled, Stop, Take, Workers
from ddb_shared.runtime.progress import ProgressEvent


class WorkerChannel:
    """See runner.PartsChannel. `receive` is called with what the pool says, by a thread of its own."""

    def __init__(self, send: Callable[[object], None], validity: Validity | None = None) -> None:
        self._send = send
        self._validity = validity
        self._workers = 1.0
        self._rate: RateSetting | None = None
        self._stopping = False
        self._keep: int | None = None
        self._takes: deque[Future[Any]] = deque()
        self._numbers: dict[int, int] = {}  # by the identity of an open part
        self._turn = threading.Lock()

    def report(self, event: ProgressEvent) -> None:
        self._send(event)

    def stopping(self) -> bool:
        return self._stopping

    def workers(self) -> float:
        return max(1.0, self._workers)

    def rate(self) -> RateSetting | None:
        return self._rate

    def validity(self) -> Validity | None:
        return self._validity

    def take(self) -> Future[Any]:
        taken: Future[Any] = Future()
        with self._turn:
            if self._stopping:
                taken.set_result(None)
                return taken
            self._takes.append(taken)
        self._send(Take())
        return taken

    def settle(self, part: Any, state: Any = None) -> None:
        self._send(Settled(self._numbers.pop(id(part)), state))

    def give_back(self, part: Any) -> None:
        self._send(Returned(self._numbers.pop(id(part))))

    def keep(self) -> int | None:
        return self._keep

    def receive(self, message: object) -> None:
        """Takes note of a message, and answers who waits for it."""
        match message:
            case Workers(count):
                self._workers = count
            case RateSetting():
                self._rate = message
            case Validity():
                self._validity = message
            case Give(number, part):
                self._answer(number, part)
            case Keep(count):
                self._keep = count
            case Stop():
                self._stop()

    def begin(self) -> None:
        """A new job: nothing of the last one is open."""
        with self._turn:
            self._takes.clear()
            self._numbers.clear()
            self._keep = None

    def _answer(self, number: int, part: Any) -> None:
        self._keep = None
        with self._turn:
            if part is not None:
                self._numbers[id(part)] = number
            if self._takes:
                with suppress(
                    InvalidStateError
                ):  # whoever asked was cancelled, as the job ends with an error
                    self._takes.popleft().set_result(part)

    def _stop(self) -> None:
        with self._turn:
            self._stopping = True
            while self._takes:
                with suppress(InvalidStateError):
                    self._takes.popleft().set_result(None)


def done(job: Job, channel: WorkerChannel) -> Done:
    """Does the job; how it ended, as the pool can load it."""
    try:
        return Done(result=job.work(job.task, channel))
    except BaseException as error:  # noqa: BLE001 - the pool raises it
        return Done(error=_portable(error))


def _portable(error: BaseException) -> BaseException:
    """The error in a form that the parent can unpickle; a bug carries this process's traceback as a note."""
    if not isinstance(error, TransferError):
        error.add_note("".join(traceback.format_exception(error)))
    try:
        pickler = multiprocessing.reduction.ForkingPickler
        pickler.loads(pickler.dumps(error))
    except Exception:  # noqa: BLE001 - whatever its pickling raises
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
