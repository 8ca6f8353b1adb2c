"""What a worker of a cluster knows of its parent, whose clock it does not share, over messages that may get lost."""

import pickle
import queue
import threading
import time

import pytest

from ddb_shared.runtime import cluster_line
from ddb_shared.runtime.cluster_line import (
    ASK_SECONDS,
    SILENCE_SECONDS,
    Answer,
    Ask,
    ClusterChannel,
    Outbox,
    ask_regularly,
    listen,
)
from ddb_shared.runtime.messages import Give, Take, Workers
from ddb_shared.runtime.progress import ProgressEvent
from ddb_shared.times import Instant


class Clock:
    """The time of this test, on every clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(Instant, "now", lambda: Instant(self.now, self.now))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Line:
    """A worker's channel and its parent's outbox; the test carries the messages, or loses them."""

    def __init__(self) -> None:
        self.to_parent: list[object] = []
        self.to_worker: list[bytes] = []
        self.channel = ClusterChannel(lambda data: self.to_parent.append(pickle.loads(data)))
        self.outbox = Outbox(self.to_worker.append)

    def ask(self) -> Ask:
        self.channel.ask()
        (ask,) = [message for message in self.to_parent if isinstance(message, Ask)]
        self.to_parent.clear()
        return ask

    def carry(self) -> None:
        """What the parent has sent arrives."""
        for data in self.to_worker:
            self.channel.hear(data)
        self.to_worker.clear()

    def left_seconds(self) -> float:
        validity = self.channel.validity()
        assert validity is not None
        return validity.left_seconds()


def test_a_lease_holds_from_the_question_on(clock: Clock) -> None:
    """However long the answer took; before the first answer nothing may be written."""
    line = Line()
    assert line.left_seconds() <= 0
    ask = line.ask()
    clock.now += 3
    line.outbox.answer(ask, Answer(ask.at, 20.0))
    line.carry()
    assert line.left_seconds() == 17
    clock.now += 18
    assert line.left_seconds() == -1


def test_a_run_without_a_lease_needs_none(clock: Clock) -> None:
    """As a verification, which only reads; it stops all the same once its parent is silent."""
    line = Line()
    ask = line.ask()
    line.outbox.answer(ask, Answer(ask.at, None))
    line.carry()
    assert (line.channel.validity(), line.channel.stopping()) == (None, False)
    clock.now += SILENCE_SECONDS + 1
    assert line.channel.stopping()


def test_a_worker_whose_parent_is_silent_stops_and_writes_nothing_more(clock: Clock) -> None:
    """The parent has given it up by then, or is gone itself."""
    line = Line()
    ask = line.ask()
    line.outbox.answer(ask, Answer(ask.at, 20.0))
    line.carry()
    clock.now += SILENCE_SECONDS + 1
    validity = line.channel.validity()
    assert validity is not None
    assert (validity.lost, line.channel.stopping()) == (True, True)


def test_a_worker_that_stopped_by_itself_stays_stopped(clock: Clock) -> None:
    """It may have begun to end its job with parts that are not done; a late answer does not make that a result."""
    line = Line()
    line.outbox.answer(line.ask(), Answer(Instant.now(), 20.0))
    clock.now += SILENCE_SECONDS + 1
    assert line.channel.stopping()
    line.carry()
    assert (line.channel.stopping(), line.channel.is_deserted()) == (True, True)
    validity = line.channel.validity()
    assert validity is not None
    assert validity.lost


def test_whoever_waits_for_a_part_of_a_silent_parent_gets_none(clock: Clock) -> None:
    """Else the job would wait for ever, and keep its worker from those of others."""
    line = Line()
    taken = line.channel.take()
    clock.now += SILENCE_SECONDS + 1
    assert line.channel.is_deserted()
    assert taken.result(0) is None
    assert line.channel.take().result(0) is None


def test_questions_come_regularly(clock: Clock) -> None:
    """The first one at once, the next one when it is time."""
    line = Line()
    line.ask()
    assert line.channel.ask() == ASK_SECONDS
    assert line.to_parent == []
    clock.now += ASK_SECONDS
    line.ask()


def test_lost_messages_are_sent_again_and_none_counts_twice(clock: Clock) -> None:
    """The worker takes them in order; one that overtook another is taken when it comes again."""
    line = Line()
    taken = [line.channel.take() for _ in range(3)]
    assert [Take()] * 3 == line.to_parent
    line.to_parent.clear()
    line.outbox.send(Workers(2))
    for number, part in enumerate("abc"):
        line.outbox.send(Give(number, part))
    del line.to_worker[2]  # the second part
    line.carry()
    assert (line.channel.workers(), taken[0].result(), taken[1].done()) == (2, "a", False)
    clock.now += 2 * ASK_SECONDS + 1
    ask = line.ask()
    assert ask.received == 2
    line.outbox.answer(ask, Answer(ask.at, None))
    line.carry()
    assert ["a", "b", "c"] == [future.result(0) for future in taken]
    clock.now += ASK_SECONDS
    ask = line.ask()
    line.outbox.answer(ask, Answer(ask.at, None))
    assert (ask.received, len(line.to_worker)) == (4, 1)


def test_progress_is_reported_twice_a_second(clock: Clock) -> None:
    """As one event, since all of them pass the scheduler; none is lost at the end."""
    line = Line()
    line.channel.report(ProgressEvent(items=1))
    for _ in range(100):
        line.channel.report(ProgressEvent(items=1, note="slow"))
    assert [ProgressEvent(items=1)] == line.to_parent
    clock.now += 0.5
    line.channel.report(ProgressEvent(items=1))
    assert line.to_parent[1:] == [ProgressEvent(items=101, note="slow")]
    line.channel.report(ProgressEvent(items=5))
    line.channel.flush()
    assert line.to_parent[2:] == [ProgressEvent(items=5)]


class QueueAtScheduler:
    """A worker's inbox; `timeouts` counts the tracebacks in the scheduler's log."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.timeouts = 0

    def put(self, value: bytes) -> None:
        self._queue.put(value)

    def close(self) -> None:
        pass

    def get(self, timeout: float) -> bytes:
        try:
            return self._queue.get(timeout=timeout)
        except queue.Empty:
            self.timeouts += 1
            raise TimeoutError from None


def test_a_worker_that_waits_leaves_no_tracebacks_at_the_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its questions are answered, and at the end nothing is left that waits for a word which never comes."""
    monkeypatch.setattr(cluster_line, "ASK_SECONDS", 0.02)
    inbox, ended, asked = QueueAtScheduler(), threading.Event(), threading.Semaphore(0)

    def answer(data: bytes) -> None:
        ask = pickle.loads(data)
        inbox.put(pickle.dumps(Answer(ask.at, 20.0)))
        asked.release()

    channel = ClusterChannel(answer)
    threads = [threading.Thread(target=run, args=(channel, inbox, ended)) for run in (listen, ask_regularly)]
    for thread in threads:
        thread.start()
    assert all(asked.acquire(timeout=30) for _ in range(5))
    ended.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert 0 == inbox.timeouts
