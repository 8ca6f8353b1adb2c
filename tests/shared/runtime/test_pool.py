"""Parts are dealt to workers: each is done once, whoever is slow, joins late or dies."""

import os
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ddb_shared.dynamodb.rate import RateLimiter, RateSetting
from ddb_shared.errors import ServiceError, TableError
from ddb_shared.runtime.lease import HeldLease, Validity
from ddb_shared.runtime.messages import Done, Give, Job, Keep, Lost, Returned, Settled, Stop, Take, Workers
from ddb_shared.runtime.pool import Pool, Remote
from ddb_shared.runtime.processes import Processes
from ddb_shared.runtime.progress import Progress, ProgressEvent
from ddb_shared.runtime.runner import WORKER_DEATHS, RateControl, RunContext, Runner, Serial, ignore
from ddb_shared.times import Instant
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
    task = Count(tmp_path, at_once=8, seconds=0.02, slow_seconds=60.0, slow_until=15)
    ledger = Ledger()
    slow, fast = sorted(ledger.deal(Processes(2), task, PARTS[:16]), key=len)
    assert (slow, len(fast)) == ([slow[0]], 15)
    assert Counter(PARTS[:16]) == ledger.settled


def test_a_worker_that_is_killed_when_its_share_is_done_holds_nobody_up(tmp_path: Path) -> None:
    """The run ends with what it had settled; nobody waits for a message of it."""

    def kill_the_idle_one() -> None:
        deadline = time.monotonic() + tasks.DEADLINE_SECONDS
        while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        (tmp_path / "killed").touch()

    ledger = Ledger()
    context = RunContext(on_event=ledger.events.append)
    with ThreadPoolExecutor(1) as killer:
        killing = killer.submit(kill_the_idle_one)
        results = Processes(2).deal(
            tasks.take_one_and_idle, tmp_path, [0, 1], context, on_settled=ledger.settle
        )
        killing.result()
    assert (results, ledger.settled) == ([[0]], Counter([0, 1]))
    assert any("was lost" in event.note for event in ledger.events)


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
        self.workers: Sequence[ScriptedWorker] = [
            ScriptedWorker(f"worker {number}") for number in range(workers)
        ]
        self.left = deque(self.workers)
        self.script: Iterator[list[tuple[Remote, object]]] = iter(())

    def recruit(self, wanted: int) -> list[Remote]:
        return [self.left.popleft() for _ in range(min(wanted, len(self.left)))]

    def receive(self, _: float) -> list[tuple[Remote, object]]:
        return next(self.script)


class ScriptedWorker:
    """Keeps what it is sent."""

    def __init__(self, name: str) -> None:
        self.name = self.progress_name = name
        self.sent: list[object] = []

    def send(self, message: object) -> None:
        self.sent.append(message)

    def renew(self, validity: object) -> None:
        if validity is not None and validity not in self.sent:
            self.sent.append(validity)

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
    on_settled: Callable[[Any, Any], None] = ignore,
) -> list[Any]:
    backend.script = script
    pool = Pool(backend, Job(None, None), parts, context or RunContext(), on_settled)
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


@pytest.mark.parametrize("asks", [True, False])
def test_a_worker_that_never_reports_anything_is_named(asks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it hangs over its first part or before it has asked for one; the others are not, nor one without a part."""
    now = [0.0]
    monkeypatch.setattr("ddb_shared.runtime.progress.time.monotonic", lambda: now[0])
    progress = Progress("import", 100)
    backend = Scripted(4)
    stuck, first, second, idle = backend.workers

    def script() -> Iterator[list[tuple[Remote, object]]]:
        takers = [first, second, idle, *([stuck] if asks else [])]
        yield [(worker, Take()) for worker in takers]
        yield [(idle, Settled(len(takers) - 1, None)), (idle, Take())]
        for second_ in range(1, 41):
            now[0] = float(second_)
            yield [(worker, ProgressEvent(items=10, worker=worker.name)) for worker in (first, second)]
        assert progress.slow_workers() == ["worker worker 0: no answer for 40 s"]
        assert progress.stalled_seconds == 0
        yield [(stuck, Lost(killed=False))]
        assert progress.slow_workers() == []
        raise TableError("enough", "")

    with pytest.raises(TableError, match="enough"):
        run_pool(backend, [*"abcd"][: 4 if asks else 3], script(), RunContext(on_event=progress.add))


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


class Capped(ScriptedWorker):
    """A worker that divides a cap by what it is told, as real ones do."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.limiter = RateLimiter(6_000.0)

    def send(self, message: object) -> None:
        super().send(message)
        if isinstance(message, Workers):
            self.limiter.rebalance(message.count)


def test_a_cap_is_divided_again_whenever_the_number_of_workers_changes() -> None:
    """By those that have parts: when one begins, is lost, joins late, has nothing left, and gets another part."""
    backend = Scripted(0)
    first, second, third, late = workers = [Capped(name) for name in "abcd"]
    backend.workers = workers
    backend.left.extend([first, second, third])

    def shares(*workers: Capped) -> list[float]:
        return [worker.limiter.share for worker in workers]

    def script() -> Iterator[list[tuple[Remote, object]]]:
        yield [(first, Take())]
        assert [6_000] == shares(first)
        yield [(second, Take())]
        assert [3_000] * 2 == shares(first, second)
        yield [(third, Take())]
        assert [2_000] * 3 == shares(first, second, third)
        backend.left.append(late)
        yield [(first, Lost())]
        assert [3_000] * 2 == shares(second, third)
        yield [(late, Take())]
        assert late.given == [0]
        assert [2_000] * 3 == shares(second, third, late)
        yield [(third, Settled(2, None))]
        assert [3_000] * 2 == shares(second, late)
        yield [(third, Take())]
        assert [2_000] * 3 == shares(second, third, late)
        yield [(second, Settled(1, None)), (late, Settled(0, None)), (third, Settled(3, None))]
        yield [(worker, Done()) for worker in (second, third, late)]

    run_pool(backend, [0, 1, 2, 3], script())


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


def test_what_a_lost_worker_says_late_does_not_count() -> None:
    """Its part is done by another one, once: the late word would be a second time."""
    backend, ledger = Scripted(2), Counter[str]()
    backend.left.pop()
    lost, other = backend.workers

    def script() -> Iterator[list[tuple[Remote, object]]]:
        yield [(lost, Take()), (lost, Take())]
        backend.left.append(other)
        yield [(lost, Settled(0, "state")), (lost, Lost())]
        yield [
            (lost, Settled(1, "late")),
            (lost, Take()),
            (lost, Done("late")),
            (other, Take()),
            (other, Take()),
        ]
        assert (["a", "b"], ["b"]) == (lost.given, other.given)
        yield [(other, Settled(1, "state")), (other, Settled(1, "twice")), (other, Settled(0, "not mine"))]
        assert [None] == other.given[1:]
        yield [(other, Done("all"))]

    results = run_pool(backend, ["a", "b"], script(), on_settled=lambda part, _: ledger.update([part]))
    assert (["all"], Counter("ab")) == (results, ledger)


def test_what_a_lost_worker_had_is_dealt_before_the_rest() -> None:
    """In its order; what it gave back is, too."""
    backend = Scripted(2)
    backend.left.pop()
    lost, other = backend.workers

    def script() -> Iterator[list[tuple[Remote, object]]]:
        yield [(lost, Take())] * 3
        yield [(lost, Returned(1))]
        backend.left.append(other)
        yield [(lost, Lost())]
        yield [(other, Take())] * 5
        assert [*"acbde"] == other.given
        yield [(other, Settled(number, None)) for number in range(5)]
        yield [(other, Done("all"))]

    assert run_pool(backend, [*"abcde"], script()) == ["all"]


def test_a_result_holds_the_parts_that_were_not_settled() -> None:
    """They are done, and not dealt again; a worker that ends while others work gets its job again."""
    backend = Scripted(2)
    first, second = backend.workers

    def script() -> Iterator[list[tuple[Remote, object]]]:
        yield [(first, Take()), (second, Take())]
        yield [(first, Done("first"))]
        assert isinstance(first.sent[-1], Job) or isinstance(first.sent[-2], Job)
        yield [(first, Take()), (second, Take())]
        assert (["a"], ["b"]) == (first.given, second.given)
        yield [(second, Done("second"))]
        yield [(first, Done("nothing"))]

    assert run_pool(backend, ["a", "b"], script()) == ["first", "second", "nothing"]


def test_the_first_error_stops_the_others() -> None:
    """No part is dealt any more, no worker starts, and the error of one that was stopped hides nothing."""
    backend = Scripted(3)
    spare = backend.left.pop()
    first, second, _ = backend.workers

    def script() -> Iterator[list[tuple[Remote, object]]]:
        yield [(first, Take()), (second, Take()), (second, Take())]
        backend.left.append(spare)
        yield [(first, Done(error=TableError("first", ""))), (second, Take())]
        assert [Stop()] == [message for message in second.sent if isinstance(message, Stop)]
        yield [(second, Take())]
        assert second.given[-1] is None
        assert [*"bc"] == second.given[:2]
        yield [(second, Settled(1, None)), (second, Done(error=TableError("second", "")))]

    with pytest.raises(TableError, match="first"):
        run_pool(backend, [*"abcdef"], script())
    assert spare.sent == []


@pytest.mark.parametrize("lost", [True, False])
def test_a_stop_ends_the_run(lost: bool) -> None:
    """With what is done by then; a worker that is lost meanwhile is not replaced."""
    backend, context, ledger = Scripted(2), RunContext(), Counter[str]()
    backend.left.pop()
    first, spare = backend.workers

    def script() -> Iterator[list[tuple[Remote, object]]]:
        yield [(first, Take()), (first, Take())]
        context.stop.request()
        backend.left.append(spare)
        yield [(first, Settled(0, None))]
        assert [Stop()] == [message for message in first.sent if isinstance(message, Stop)]
        yield [(first, Take())]
        yield []
        assert [*"ab", None] == first.given  # each request has one answer
        yield [(first, Lost() if lost else Done("stopped"))]

    results = run_pool(backend, [*"abcd"], script(), context, lambda part, _: ledger.update([part]))
    assert ([] if lost else ["stopped"], Counter("a")) == (results, ledger)
    assert spare.sent == []


def test_a_worker_that_joins_late_knows_what_the_others_were_told() -> None:
    """The rate that an operator has set, how many share it, and how long the lease holds, before its job."""
    validity = Validity(Instant.now(), 100.0)
    context = RunContext(rate=RateControl(), lease=HeldLease("lease", validity))
    backend = Scripted(2)
    backend.left.pop()
    first, late = backend.workers

    def script() -> Iterator[list[tuple[Remote, object]]]:
        yield [(first, Take()), (first, Take())]
        context.rate.setting = RateSetting(5.0)
        yield []
        assert first.sent.count(RateSetting(5.0)) == 1
        backend.left.append(late)
        yield []
        yield []
        assert [Workers(1), RateSetting(5.0), validity] == late.sent[:3]
        assert isinstance(late.sent[3], Job)
        yield [
            (first, Settled(0, None)),
            (first, Settled(1, None)),
            (first, Done("all")),
            (late, Done("none")),
        ]

    assert run_pool(backend, ["a", "b"], script(), context) == ["all", "none"]
