"""Runs that share a cap never have more than it together, and those that wait leave most of it to the others."""

import pytest

from ddb_shared.runtime.cap_share import IDLE_SECONDS, CapShare
from ddb_shared.runtime.progress import ProgressEvent
from ddb_shared.runtime.runner import RunContext, Serial


class Clock:
    """Stands still."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_runs_that_work_have_the_same_for_each_worker() -> None:
    """One of two processes has two thirds of what three workers share."""
    share = CapShare(Clock())
    first, second = share.join(), share.join()
    first.divide(2)
    assert [3.0, 3.0] == [pytest.approx(first.divide(2)), pytest.approx(second.divide(1))]
    second.leave()
    assert 2.0 == pytest.approx(first.divide(2))


def test_runs_that_wait_leave_the_cap_to_those_that_work() -> None:
    """Of ten, nine wait for changes: the one that loads has most of the cap; all together never have more than it."""
    clock = Clock()
    share = CapShare(clock)
    members = [share.join() for _ in range(10)]
    clock.now += IDLE_SECONDS
    members[0].note(ProgressEvent(items=1))
    shares = [1 / member.divide(1) for member in members]
    assert 0.82 == pytest.approx(shares[0])
    assert 1.0 == pytest.approx(sum(shares))
    for member in members[:5]:
        member.note(ProgressEvent(items=1))
    assert 1.0 == pytest.approx(sum(1 / member.divide(1) for member in members))
    clock.now += IDLE_SECONDS
    assert 0.2 == pytest.approx(sum(1 / member.divide(1) for member in members))


def test_a_run_leaves_the_share_at_its_end() -> None:
    """Also where it ends with an error."""
    share = CapShare()
    other = share.join()
    seen: list[float] = []

    def work(task: int, channel: object) -> None:
        seen.append(channel.workers())  # type: ignore[attr-defined]
        raise KeyError(task)

    with pytest.raises(KeyError):
        Serial(share).deal(work, 1, [1], RunContext())
    assert [2.0] == seen
    assert 1.0 == other.divide(1)


def test_a_cap_of_a_run_alone_is_not_shared() -> None:
    """An operator has set it for this table."""
    share, context, seen = CapShare(), RunContext(), list[float]()
    share.join()
    context.rate.is_own = True

    def work(_: int, channel: object) -> None:
        seen.append(channel.workers())  # type: ignore[attr-defined]
        channel.take().result()  # type: ignore[attr-defined]

    Serial(share).deal(work, 1, [1], context)
    assert [1.0] == seen
