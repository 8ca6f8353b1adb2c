"""What is read of a table before its export: how large it is, and a sample that chooses the columns of Parquet."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ddb_export import sample
from ddb_export.sample import is_small, take_sample
from ddb_shared.dynamodb.rate import RateLimiter
from ddb_shared.errors import Interrupted
from ddb_shared.runtime.cap_share import CapShare
from ddb_shared.runtime.runner import SMALL_BYTES
from ddb_shared.runtime.stop import Stop
from ddb_shared.table.segments import PAGE_BYTES


class FakeScan:
    """Each segment begins with an item of its number, for half a unit."""

    def __init__(self, *, segment: int, **_: Any) -> None:
        self.segment = segment

    async def page(self, *_: Any) -> Any:
        return SimpleNamespace(items=[b'{"pk":{"N":"%d"}}' % self.segment], consumed_units=0.5)


@pytest.fixture
def caps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The units a second that the sample may consume."""
    found = list[float]()

    @asynccontextmanager
    async def open_client(_: Any, __: int, rate_limiter: RateLimiter) -> AsyncIterator[Any]:
        found.append(rate_limiter.share)
        yield SimpleNamespace(rate_limiter=rate_limiter)

    monkeypatch.setattr(sample, "open_client", open_client)
    monkeypatch.setattr(sample, "SegmentScan", FakeScan)
    return found


@pytest.mark.parametrize("others", [0, 1, 3])
def test_samples_of_several_tables_share_the_cap(caps: list[float], others: int) -> None:
    """With those that are scanned meanwhile."""
    share, aws = CapShare(), None
    for _ in range(others):
        share.join()
    found = take_sample(aws, "orders", 4, 600.0, Stop(), share=share)  # type: ignore[arg-type]
    assert [600 / (others + 1)] == pytest.approx(caps)
    assert ([{"pk": {"N": str(n)}} for n in range(4)], 2.0) == (found.items, found.consumed_rcu)
    assert others == len(share._members)


def test_a_sample_is_interrupted(caps: list[float]) -> None:
    """Before it begins, and nothing is chosen by what it has read."""
    stop, aws = Stop(), None
    stop.request(signal.SIGTERM)
    with pytest.raises(Interrupted):
        take_sample(aws, "orders", 4, 600.0, stop)  # type: ignore[arg-type]
    assert [] == caps


def counting(page: dict[str, Any] | Exception) -> Any:
    """An `Aws` whose table answers the Scan of a segment with this page."""

    def scan(**_: Any) -> dict[str, Any]:
        if isinstance(page, Exception):
            raise page
        return page

    return SimpleNamespace(best_effort_dynamodb=SimpleNamespace(scan=scan))


def page_of(units: float, **members: Any) -> dict[str, Any]:
    return {"Count": 1, "ConsumedCapacity": {"CapacityUnits": units}} | members


@pytest.mark.parametrize(
    ("described", "page", "max_bytes", "expected"),
    [
        (500, page_of(0.5), PAGE_BYTES, True),
        (PAGE_BYTES, page_of(8.0), PAGE_BYTES, True),
        (500, page_of(8.5), PAGE_BYTES, False),
        (500, page_of(128.0), SMALL_BYTES, True),
        (500, page_of(0.5, LastEvaluatedKey={"pk": {"S": "a"}}), SMALL_BYTES, False),
        (500, {"Count": 1}, PAGE_BYTES, True),
        (500, ClientError({"Error": {"Code": "AccessDeniedException"}}, "Scan"), SMALL_BYTES, False),
        (SMALL_BYTES + 1, AssertionError("a request"), SMALL_BYTES, False),
    ],
)
def test_a_page_of_a_segment_tells_whether_a_table_is_small(
    described: int, page: dict[str, Any] | Exception, max_bytes: int, *, expected: bool
) -> None:
    """Since what DescribeTable says is up to six hours old."""
    table: Any = SimpleNamespace(size_bytes=described, address="orders")
    assert expected == is_small(counting(page), table, max_bytes)
