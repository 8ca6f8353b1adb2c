"""The sample that chooses the columns of a Parquet export."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from ddb_export import sample
from ddb_export.sample import take_sample
from ddb_shared.dynamodb.rate import RateLimiter
from ddb_shared.errors import Interrupted
from ddb_shared.runtime.cap_share import CapShare
from ddb_shared.runtime.stop import Stop


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
