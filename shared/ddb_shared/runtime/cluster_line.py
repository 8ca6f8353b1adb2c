"""The line between the parent and a worker of a Dask cluster, which runs over the scheduler in both directions.

Messages to a worker go into a queue of its own at the scheduler, those to the parent are events of the run's topic. The
worker says regularly that it is there and which messages it has: the parent answers how long the lease holds, and
sends again what got lost.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from ddb_shared.errors import ServiceError
from ddb_shared.runtime.lease import Validity
from ddb_shared.runtime.messages import Done, Job, Stop
from ddb_shared.runtime.progress import ProgressEvent
from ddb_shared.runtime.worker import WorkerChannel, done
from ddb_shared.times import Instant

ASK_SECONDS: Final = 4.0
# A worker may write for so long after the parent's last word: five questions in a row without an answer.
GRANT_SECONDS: Final = 20.0
# After so long without a word each side gives the other up, unless the scheduler itself is silent: the parent waits for that. It is more than a grant: what is dealt again is held by nobody.
SILENCE_SECONDS: Final = 40.0
_REPORT_SECONDS: Final = 0.5
# So long the end of a job waits for a scheduler that does not answer.
_FAREWELL_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 1.0
_NOTHING: Final = pickle.dumps(None)


class DesertedError(ServiceError):
    """The worker heard nothing of its parent and stopped by itself. What it had open is dealt again."""


@dataclass(frozen=True, slots=True)
class Ask:
    """To the parent: the worker is there at this moment of its own clocks, and has so many of its messages."""

    at: Instant
    received: int


@dataclass(frozen=True, slots=True)
class Answer:
    """To a worker: the lease holds for so many seconds from the moment of its question on; None where none is needed.

    The clocks of two machines have nothing in common, but an answer is younger than its question.
    """

    at: Instant
    seconds: float | None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Numbered:
    """A message to a worker, which takes each number once and in order."""

    number: int
    message: object


class Outbox:
    """The parent's messages to one worker. `put` sends bytes into the worker's queue."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put
        self._sent = 0
        self._unconfirmed: list[tuple[float, Numbered]] = []

    def send(self, message: object) -> None:
        """Sends a message that must arrive."""
        numbered = Numbered(self._sent, message)
        self._sent += 1
        self._unconfirmed.append((time.monotonic(), numbered))
        self._put(pickle.dumps(numbered))

    def answer(self, ask: Ask, answer: Answer) -> None:
        """Answers a question, and sends again what the worker should have by now."""
        self._put(pickle.dumps(answer))
        late = time.monotonic() - 2 * ASK_SECONDS
        self._unconfirmed = [sent for sent in self._unconfirmed if sent[1].number >= ask.received]
        if self._unconfirmed and self._unconfirmed[0][0] < late:
            for _, numbered in self._unconfirmed:
                self._put(pickle.dumps(numbered))


class ClusterChannel(WorkerChannel):
    """A worker's side. It ends by itself when the parent is silent, and stays ended: its parts may be somebody else's by then."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        super().__init__(self._send_message, Validity(Instant.now(), 0.0))
        self._send_bytes = send
        self._sending = threading.Lock()
        self._received = 0
        self._heard_at = time.monotonic()
        self._deserted = False
        self._asked_at = -ASK_SECONDS  # at once
        self.ready = threading.Event()
        self._waiting: list[ProgressEvent] = []
        self._reported_at = 0.0

    def stopping(self) -> bool:
        return super().stopping() or self.is_deserted()

    def validity(self) -> Validity | None:
        validity = super().validity()
        if validity is not None and self.is_deserted():
            return Validity(validity.since, validity.seconds, lost=True)
        return validity

    def report(self, event: ProgressEvent) -> None:
        """Every event passes the scheduler: those of half a second become one, but for those that tell of a shard."""
        if event.shard is not None:
            self.flush()
            self._send_message(event)
            return
        with self._sending:
            self._waiting.append(event)
        if time.monotonic() - self._reported_at >= _REPORT_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Sends what has been reported."""
        with self._sending:
            waiting, self._waiting = self._waiting, []
            self._reported_at = time.monotonic()
        if waiting:
            self._send_message(ProgressEvent.sum(waiting))

    def hear(self, data: bytes) -> None:
        """Takes what came out of the worker's queue."""
        match load(data):
            case Answer(at, seconds, lost):
                self._heard_at = time.monotonic()
                self._validity = None if seconds is None else Validity(at, seconds, lost)
            case Numbered(number, inner) if number == self._received:
                self._received += 1
                self.receive(inner)
                self.ready.set()

    def is_deserted(self) -> bool:
        """Whether the parent was silent for so long that the job ends, whatever is heard later."""
        if not self._deserted and time.monotonic() - self._heard_at > SILENCE_SECONDS:
            self.desert()
        return self._deserted

    def desert(self) -> None:
        """The parent is gone: whoever waits for a part gets none."""
        self._deserted = True
        self.receive(Stop())

    def ask(self) -> float:
        """Asks the parent when it is time to; returns the seconds until the next question."""
        if time.monotonic() - self._asked_at >= ASK_SECONDS:
            self._asked_at = time.monotonic()
            self._send_message(Ask(Instant.now(), self._received))
            self.flush()
        return max(self._asked_at + ASK_SECONDS - time.monotonic(), 0.05)

    def _send_message(self, message: object) -> None:
        self._send_bytes(pickle.dumps(message))


def load(data: bytes) -> object:
    """A message; only what the cluster itself could run anyway gets here."""
    message: object = pickle.loads(data)  # noqa: S301 - whoever can send it can send tasks to the same scheduler
    return message


def dismissal() -> bytes:
    """The answer to a worker that was given up: it writes nothing more."""
    return pickle.dumps(Answer(Instant.now(), 0.0, lost=True))


class Inbox(Protocol):
    """A worker's queue at the scheduler, which logs a traceback for each `get` that times out."""

    def get(self, timeout: float) -> bytes: ...

    def put(self, value: bytes) -> object: ...

    def close(self) -> object: ...


def release(inbox: Inbox, *, both: bool) -> None:
    """Gives up this side's hold of an inbox, or that of `both` sides: the scheduler counts holds, not who is alive.

    An inbox that nobody holds is deleted; to give up more than that does no harm.
    """
    for _ in range(2 if both else 1):
        inbox.close()


def listen(channel: ClusterChannel, inbox: Inbox, ended: threading.Event) -> None:
    """Hears what the parent says until the job has ended; a question is answered long before a `get` times out."""
    while not ended.is_set():
        try:
            channel.hear(inbox.get(timeout=SILENCE_SECONDS))
        except TimeoutError:
            pass
        except KeyError:  # the parent has ended and taken the queue with it
            channel.desert()
            return
        except Exception:  # noqa: BLE001 - whatever else keeps the parent's words away is silence
            ended.wait(_RETRY_SECONDS)


def ask_regularly(channel: ClusterChannel, inbox: Inbox, ended: threading.Event) -> None:
    """Asks the parent until the job has ended; then the listener is told, which waits for the next word."""
    while not ended.is_set():
        channel.is_deserted()  # work that waits for its part does not ask
        seconds = _RETRY_SECONDS
        with suppress(Exception):  # the scheduler is gone, or will be there again
            seconds = channel.ask()
        ended.wait(seconds)
    with suppress(Exception):
        inbox.put(_NOTHING)


def work_on_worker(job: Job, topic: str, inbox_name: str) -> Done:
    """A task of Dask: does a job with what the parent puts into the queue `inbox_name`, and reports to the topic."""
    from distributed import Queue, get_client, get_worker  # noqa: PLC0415 - an extra that most do without

    worker, ended = get_worker(), threading.Event()
    inbox = Queue(inbox_name, get_client())
    channel = ClusterChannel(lambda data: worker.log_event(topic, {"inbox": inbox_name, "data": data}))

    threads = [
        threading.Thread(target=run, args=(channel, inbox, ended), name="parent", daemon=True)
        for run in (listen, ask_regularly)
    ]
    for thread in threads:
        thread.start()
    try:
        channel.ready.wait(SILENCE_SECONDS)  # else it would not know its share of the caps
        ended_so = done(job, channel)
        if channel.is_deserted():  # it may have stopped early for that, with parts that are not done
            return Done(error=DesertedError("The parent was silent."))
        return ended_so
    finally:
        channel.flush()
        ended.set()
        for thread in threads:  # they use the inbox
            thread.join(_FAREWELL_SECONDS)
        with suppress(Exception):  # the scheduler is gone
            release(inbox, both=channel.is_deserted())
