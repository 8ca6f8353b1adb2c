"""An import of which too many items are rejected ends early."""

import pytest

from ddb_import.options import DEFAULT_REJECT_LIMIT, MIN_REJECT_SAMPLE, RejectLimit
from ddb_import.reject_watch import RejectWatch
from ddb_import.state import write_rejects
from ddb_shared.errors import ServiceError
from ddb_shared.format.lines import RejectLine
from ddb_shared.runtime.progress import ProgressEvent
from ddb_shared.runtime.stop import Stop
from support.memory import MemoryFolder


@pytest.mark.parametrize(
    ("limit", "rejected", "processed", "exceeded"),
    [
        (RejectLimit(0), 0, 5_000, False),
        (RejectLimit(0), 1, 1, True),
        (RejectLimit(25), 25, 25, False),
        (RejectLimit(25), 26, 10**9, True),
        (RejectLimit(10, percent=True), 100, 1_000, False),
        (RejectLimit(10, percent=True), 101, 1_000, True),
        (RejectLimit(10, percent=True), MIN_REJECT_SAMPLE - 1, MIN_REJECT_SAMPLE - 1, False),
        (RejectLimit(0.5, percent=True), 5, 1_000, False),
        (RejectLimit(0.5, percent=True), 6, 1_000, True),
        (RejectLimit(100, percent=True), 10**9, 10**9, False),
    ],
)
def test_what_is_too_much(limit: RejectLimit, rejected: int, processed: int, exceeded: bool) -> None:
    """A number is that of the run; a percentage is of what was processed, from a sample on."""
    assert exceeded == limit.is_exceeded(rejected, processed)


def test_the_run_is_stopped_once_and_says_why() -> None:
    """In order: everything that was reported continues to the display; the most frequent reason is in the message."""
    storage, stop, seen = MemoryFolder("p"), Stop(), list[ProgressEvent]()
    watch = RejectWatch(RejectLimit(10), stop)
    on_event = watch.watch(seen.append)
    on_event(ProgressEvent(items=90, rejected=10))
    assert not stop.requested()
    watch.check(storage)
    on_event(ProgressEvent(rejected=1))
    on_event(ProgressEvent(items=5))
    assert stop.requested()
    stop.check()
    assert [(90, 10), (0, 1), (5, 0)] == [(event.items, event.rejected) for event in seen]
    reasons = ["ItemTooLarge", "WrongType", "WrongType"]
    rejects = [
        RejectLine(item={"pk": {"S": "a"}}, error={"code": code, "message": "no"}, shard="s", line=number)
        for number, code in enumerate(reasons, 1)
    ]
    write_rejects(storage, "rejects/s.jsonl", rejects)
    with pytest.raises(ServiceError, match=r"^11 of 106 items were rejected, which is more than --max-rejects 10 allows. Most often: WrongType: no") as caught:  # fmt: skip
        watch.check(storage)
    assert "s3://bucket/p/rejects/" in caught.value.remedy


def test_a_limit_reads_as_it_is_written() -> None:
    """In the resume command."""
    limits = [DEFAULT_REJECT_LIMIT, RejectLimit(5), RejectLimit(0.5, percent=True)]
    assert ["10%", "5", "0.5%"] == list(map(str, limits))
