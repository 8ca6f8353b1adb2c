"""Parts are dealt to workers: each is done once, whoever is slow, joins late or dies."""

from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ddb_shared.errors import ServiceError
from ddb_shared.runtime.messages import Done, Give, Job, Keep, Lost, Returned, Settled, Take, Workers
from ddb_shared.runtime.pool import Pool, Remote
from ddb_shared.runtime.processes import Processes
from ddb_shared.runtime.progress import Progress, ProgressEvent
from ddb_shared.runtime.runner import WORKER_DEATHS, RunContext, Runner, Serial
from support import tasks
from support.tasks import Count

PARTS = list(range(40))


class Ledger:
    """What the run was told."""

    def __init__(self) -> None:
        self.settled: Counter[int] = Counter()
        self.events: list[ProgressEvent] = []

    def settle(self, part: int, state: int) -> None:
        assert part == state
        self.settled[part] += 1

    def deal(
        self, runner: Runner, task: Count, parts: list[int], at_most: int | None = None
    ) -> list[list[int]]:
        context = RunContext(on_event=self.events.append)
        return runner.deal(tasks.count_parts, task, parts, context, on_settled=self.settle, at_most=at_most)


@pytest.mark.parametrize("runner", [Serial(), Processes(1), Processes(3)])
def test_every_part_is_done_once(runner: Runner, tmp_path: Path) -> None:
    """By one worker, and the run hears of each."""
    ledger = Ledger()
    results = ledger.deal(runner, Count(tmp_path, at_once=4), PARTS)
    assert sorted(part for result in results for part in result) == PARTS
    assert Counter(PARTS) == ledger.settled
    assert sum(event.items for event in ledger.events) == len(PARTS)


def test_a_slow_worker_does_less(tmp_path: Path) -> None:
    """The other one takes what it would have had in a fixed share."""
    task = Count(tmp_path, seconds=0.02, slow_seconds=1.0)
    results = Ledger().deal(Processes(2), task, PARTS)
    assert min(map(len, results)) < len(PARTS) // 4


def test_a_worker_without_parts_relieves_the_one_with_the_most(tmp_path: Path) -> None:
    """Where everything is dealt, half of what the slow one has open goes to the idle one, and so on."""
    task = Count(tmp_path, at_once=8, seconds=0.02, slow_seconds=60.0)
    ledger = Ledger()
    slow, fast = sorted(ledger.deal(Processes(2), task, PARTS[:16]), key=len)
    assert (slow, len(fast)) == ([slow[0]], 15)
    assert Counter(PARTS[:16]) == ledger.settled


def test_no_more_workers_than_wanted(tmp_path: Path) -> None:
    """A small cap has one, and fewer parts than processes have as many."""
    assert len(Ledger().deal(Processes(3), Count(tmp_path), PARTS[:4], at_most=1)) == 1
    assert len(Ledger().deal(Processes(3), Count(tmp_path), PARTS[:2])) == 2


def test_what_a_lost_worker_had_open_is_dealt_again(tmp_path: Path) -> None:
    """And what it had settled is not."""
    ledger = Ledger()
    context = RunContext(on_event=ledger.events.append)
    Processes(1).deal(tasks.count_and_die, Count(tmp_path), PARTS[:5], context, on_settled=ledger.settle)
    assert Counter(PARTS[:5]) == ledger.settled
    assert ["x"] * 5 == [(tmp_path / f"part-{part}").read_text() for part in PARTS[:5]]
    assert any("was lost" in event.note for event in ledger.events)


class Scripted:
    """A backend whose workers are the test: `script` yields what they say, and sees in `sent` what the pool answers."""

    def __init__(self, workers: int) -> None:
        self.workers = [ScriptedWorker(f"worker {number}") for number in range(workers)]
        self.left = deque(self.workers)
        self.script: Iterator[list[tuple[Remote, object]]] = iter(())

    def recruit(self, wanted: int) -> list[Remote]:
        return [self.left.popleft() for _ in range(min(wanted, len(self.left)))]

    def receive(self, _: float) -> list[tuple[Remote, object]]:
        return next(self.script)


class ScriptedWorker:
    """Keeps what it is sent."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent: list[object] = []

    def send(self, message: object) -> None:
        self.sent.append(message)

    def renew(self, validity: object) -> None:
        pass

    def close(self) -> None:
        pass

    def kill(self) -> None:
        pass

    @property
    def given(self) -> list[Any]:
        """The parts that it was given, in order; None where there were no more."""
        return [message.part for message in self.sent if isinstance(message, Give)]


def run_pool(
    backend: Scripted,
    parts: list[Any],
    script: Iterator[list[tuple[Remote, object]]],
    context: RunContext | None = None,
) -> list[Any]:
    backend.script = script
    pool = Pool(backend, Job(None, None), parts, context or RunContext(), lambda _, __: None)
    return pool.run(len(backend.workers))


def test_few_parts_are_shared_by_all() -> None:
    """The first worker has room for all of them, and gets its fair share; the next part goes to who has the fewest."""
    backend = Scripted(2)
    first, second = backend.workers

    def script() -> Iterator[list[tuple[Remote, object]]]:
        yield [(first, Take())] * 8
        assert [*"abcd"] == first.given
        yield [(second, Take())] * 8
        assert [*"efgh"] == second.given
        yield [(first, Settled(number, None)) for number in range(4)]
        yield [(second, Settled(number, None)) for number in range(4, 8)]
        assert first.given[4:] == second.given[4:] == [None] * 4
        yield [(first, Done("first")), (second, Done("second"))]

    assert run_pool(backend, [*"abcdefgh"], script()) == ["first", "second"]


@pytest.mark.parametrize("settles", [True, False])
def test_a_worker_that_has_done_its_share_is_not_stuck(
    settles: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its job has ended while the others work on, whether its result travels with the part or with the job."""
    now = [0.0]
    monkeypatch.setattr("ddb_shared.runtime.progress.time.monotonic", lambda: now[0])
    progress = Progress("verify", 100)
    backend = Scripted(3)
    *short, long = backend.workers

    def script() -> Iterator[list[tuple[Remote, object]]]:
        yield [(worker, Take()) for worker in backend.workers]
        yield [(worker, ProgressEvent(items=10, worker=worker.name)) for worker in backend.workers]
        if settles:
            yield [(worker, Settled(number, None)) for number, worker in enumerate(short)]
        yield [(worker, Done()) for worker in short]
        now[0] = 40.0
        yield [(long, ProgressEvent(items=10, worker=long.name))]
        assert progress.slow_workers() == []
        yield [(long, Settled(2, None)), (long, Done())]
        yield [(worker, Done()) for worker in short]

    run_pool(backend, [*"abc"], script(), RunContext(on_event=progress.add))


def test_the_others_make_room_before_a_worker_begins() -> None:
    """A worker's share of the caps is free before it gets its first part, and theirs again once it has none."""
    backend = Scripted(2)
    first, second = backend.workers

    def script() -> Iterator[list[tuple[Remote, object]]]:
        yield [(first, Take())]
        assert [Workers(1), Give(0, "a")] == first.sent[-2:]
        yield [(second, Take())]
        assert first.sent[-1] == Workers(2)
        assert [Workers(2), Give(1, "b")] == second.sent[-2:]
        yield [(second, Settled(1, None))]
        assert first.sent[-1] == Workers(1)
        yield [(first, Settled(0, None))]
        yield [(first, Take()), (second, Take())]
        yield [(first, Done()), (second, Done())]

    run_pool(backend, ["a", "b"], script())


def test_a_part_that_is_given_back_goes_to_the_idle_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the other one has room again."""
    monkeypatch.setattr("ddb_shared.runtime.pool.RELIEF_SECONDS", 0.0)
    backend = Scripted(2)
    first, second = backend.workers

    def script() -> Iterator[list[tuple[Remote, object]]]:
        backend.left.append(second)  # it comes when all is dealt
        yield [(first, Take())] * 4
        assert [*"abcd"] == first.given
        yield []
        yield [(second, Take())]
        assert first.sent[-1] == Keep(2)
        yield [(first, Returned(3)), (first, Take())]
        assert (second.given, len(first.given)) == (["d"], 4)
        yield [
            (second, Settled(3, None)),
            (first, Settled(0, None)),
            (first, Settled(1, None)),
            (first, Settled(2, None)),
        ]
        yield [(first, Done()), (second, Done())]

    backend.left.pop()
    run_pool(backend, [*"abcd"], script())


def test_a_part_that_kills_every_worker_ends_the_run() -> None:
    """The others continue meanwhile; the loss of many workers at once is no reason to give up."""
    backend = Scripted(3 * WORKER_DEATHS)

    def script() -> Iterator[list[tuple[Remote, object]]]:
        for number, worker in enumerate(backend.workers):
            yield [(worker, Take())]
            if worker.given == ["poison"]:
                yield [(worker, Lost())]
            else:
                yield [(worker, Settled(number, None))]
        yield [(worker, Done()) for worker in backend.workers]

    with pytest.raises(ServiceError, match=f"killed {WORKER_DEATHS} times at the same work"):
        run_pool(backend, ["poison", *"abcdefghijklmno"], script())


def test_the_loss_of_many_workers_at_once_does_not_end_the_run() -> None:
    """A machine of a cluster has many of them."""
    backend = Scripted(2 * WORKER_DEATHS + 1)
    *lost, last = backend.workers

    def script() -> Iterator[list[tuple[Remote, object]]]:
        yield [(worker, Take()) for worker in backend.workers]
        yield [(worker, Lost()) for worker in lost]
        yield [(last, Take())] * len(lost)
        assert sorted(last.given) == list(range(len(lost) + 1))
        yield [(last, Settled(number, None)) for number in range(len(lost) + 1)]
        yield [(last, Done("all"))]

    assert run_pool(backend, list(range(len(lost) + 1)), script()) == ["all"]


def test_workers_that_were_unreachable_do_not_count_as_killed() -> None:
    """A scheduler that is silent again and again costs time, and ends no run."""
    backend = Scripted(WORKER_DEATHS + 2)
    *lost, last = backend.workers

    def script() -> Iterator[list[tuple[Remote, object]]]:
        for worker in lost:
            yield [(worker, Take())]
            yield [(worker, Lost(killed=False))]
        yield [(last, Take())]
        yield [(last, Settled(0, None)), (last, Done("all"))]

    assert run_pool(backend, ["a"], script()) == ["all"]


def test_workers_that_die_before_they_begin_end_the_run() -> None:
    """Such as those that cannot even import the code."""
    backend = Scripted(WORKER_DEATHS + 1)

    def script() -> Iterator[list[tuple[Remote, object]]]:
        for worker in backend.workers:
            yield [(worker, Lost())]

    with pytest.raises(ServiceError, match="killed"):
        run_pool(backend, ["a"], script())
