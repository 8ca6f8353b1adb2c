"""The pace holds a cap, finds its own rate without one, and bounds what is in flight."""

import asyncio
import random
from bisect import bisect_left
from dataclasses import dataclass, field

import pytest

from ddb_shared.dynamodb.inflight import InFlightLimit
from ddb_shared.dynamodb.rate import (
    MAX_REQUESTS,
    MIN_REQUESTS,
    MIN_UNITS,
    START_UNITS,
    RateLimiter,
    RateSetting,
)
from ddb_shared.retry import POLICIES, FailureKind
from support.simulated import now, simulate

RUN_SECONDS = 60.0
WINDOW_SECONDS = 10.0


@dataclass
class Service:
    """A table that answers in `latency` seconds and lets `limit` units a second through, with a burst of one second."""

    latency: float = 0.01
    limit: float = float("inf")
    sent: list[tuple[float, float]] = field(default_factory=list)
    throttled: float = 0.0
    _tokens: float = 0.0
    _filled_at: float = 0.0

    async def call(self, units: float) -> float:
        """The units that were let through; the rest comes back, as UnprocessedItems do."""
        await asyncio.sleep(self.latency)
        if self.limit < float("inf"):
            self._tokens = min(self._tokens + (now() - self._filled_at) * self.limit, self.limit)
            self._filled_at = now()
            self.throttled += max(units - self._tokens, 0.0)
            units = min(units, self._tokens)
            self._tokens -= units
        self.sent.append((now(), units))
        return units

    def units_between(self, start: float, end: float) -> float:
        times = [moment for moment, _ in self.sent]
        return sum(units for _, units in self.sent[bisect_left(times, start) : bisect_left(times, end)])

    def busiest_window(self) -> float:
        """The most units of any WINDOW_SECONDS, from the first request of the window on."""
        most = total = 0.0
        first = 0
        for moment, units in self.sent:
            total += units
            while self.sent[first][0] <= moment - WINDOW_SECONDS:
                total -= self.sent[first][1]
                first += 1
            most = max(most, total)
        return most


async def drive(
    rate_limiter: RateLimiter, service: Service, units: float, clients: int, seconds: float
) -> None:
    """Clients that send as fast as the pace lets them, as an import does: charged, sent, settled, the rest again."""
    rng = random.Random(1)

    async def client() -> None:
        left, attempt = 0.0, 0
        while now() < seconds:
            left = left or units
            await rate_limiter.acquire(left)
            done = await service.call(left)
            rate_limiter.adjust(charged=left, consumed=done, throttled=left - done)
            left, attempt = left - done, 0 if done else attempt + 1
            if left:
                await asyncio.sleep(POLICIES[FailureKind.THROTTLED].wait_seconds(attempt, rng))

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())


def pace_of(cap: float | None = None) -> RateLimiter:
    return RateLimiter(cap, clock=now)


def run_at_cap(cap: float, units: float, clients: int = 8, latency: float = 0.02) -> Service:
    service = Service(latency)

    async def main() -> None:
        await drive(pace_of(cap), service, units, clients, RUN_SECONDS)

    simulate(main())
    return service


@pytest.mark.parametrize("units", [128.0, 25.0])
@pytest.mark.parametrize("cap", [50.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0])
def test_a_cap_holds_over_any_ten_seconds(cap: float, units: float) -> None:
    """At most 5% more, and one request: a page of 1 MB is 128 units, and can't be asked for in parts."""
    assert run_at_cap(cap, units).busiest_window() <= cap * WINDOW_SECONDS * 1.05 + units


@pytest.mark.parametrize(
    ("cap", "units"), [(300.0, 128.0), (1_000.0, 128.0), (10_000.0, 128.0), (50.0, 25.0), (3_000.0, 25.0)]
)
def test_a_cap_holds_within_5_percent_where_a_request_is_small_beside_it(cap: float, units: float) -> None:
    """Where one request is less than 5% of ten seconds, those hold whole."""
    assert run_at_cap(cap, units).busiest_window() <= cap * WINDOW_SECONDS * 1.051


@pytest.mark.parametrize("units", [128.0, 25.0])
@pytest.mark.parametrize("cap", [50.0, 1_000.0, 10_000.0])
def test_a_cap_is_used(cap: float, units: float) -> None:
    """After a while to get going, at least 95% of the cap is sent."""
    sent = run_at_cap(cap, units, clients=32).units_between(20, RUN_SECONDS)
    assert sent >= 0.95 * cap * (RUN_SECONDS - 20) - units


def test_a_wrong_guess_is_settled() -> None:
    """Requests that cost four times what they were charged still keep to the cap, within one request."""
    service = Service()

    async def main() -> None:
        rate_limiter = pace_of(100.0)
        while now() < RUN_SECONDS:
            await rate_limiter.acquire(25.0)
            await service.call(100.0)
            rate_limiter.adjust(charged=25.0, consumed=100.0, throttled=0.0)

    simulate(main())
    assert service.busiest_window() <= 100.0 * WINDOW_SECONDS * 1.05 + 100.0


def test_a_pause_saves_up_no_burst() -> None:
    """After a minute of silence a cap of 1,000 lets a quarter of a second through at once, not a minute."""
    pause = 60.0

    async def main() -> float:
        rate_limiter = pace_of(1_000.0)
        await rate_limiter.acquire(1.0)
        await asyncio.sleep(pause)
        admitted = 0
        while now() < pause + 1.0:
            await rate_limiter.acquire(1.0)
            admitted += 1
        return admitted

    assert simulate(main()) <= 1_251


@pytest.mark.parametrize("limit", [500.0, 2_000.0, 8_000.0])
def test_without_a_cap_the_rate_finds_the_tables_own(limit: float) -> None:
    """From 1,000 units a second to nine tenths of what the table lets through, at less than 10% refused.

    Were refused units given back to the bucket, they would be sent again at any rate, and the answer to such a storm
    would be a rate far too low: 59% and 26% at 500 units a second.
    """
    service = Service(0.01, limit)

    async def main() -> None:
        await drive(pace_of(), service, 25.0, 64, RUN_SECONDS)

    simulate(main())
    seconds = RUN_SECONDS - 20
    assert service.units_between(20, RUN_SECONDS) >= 0.9 * limit * seconds
    assert service.throttled <= 0.1 * limit * RUN_SECONDS


def test_refusals_shrink_rate_and_requests_and_give_the_reason() -> None:
    """A window in which half comes back halves the requests in flight, lowers the rate, and says why."""

    async def main() -> None:
        rate_limiter = pace_of()
        for _ in range(8):
            await rate_limiter.acquire(25.0)
            await asyncio.sleep(0.1)
            rate_limiter.adjust(charged=25.0, consumed=12.5, throttled=12.5)
        assert rate_limiter.rate < START_UNITS
        assert rate_limiter.requests < 16
        assert rate_limiter.reason == "the table throttled 50% of the units"

    simulate(main())


def test_the_rate_never_falls_so_low_that_it_cannot_recover() -> None:
    """A table that refuses everything for a minute leaves the least rate and the least requests."""

    async def main() -> RateLimiter:
        rate_limiter = pace_of()
        while now() < RUN_SECONDS:
            await rate_limiter.acquire(25.0)
            await asyncio.sleep(0.1)
            rate_limiter.adjust(charged=25.0, consumed=0.0, throttled=25.0)
        return rate_limiter

    rate_limiter = simulate(main())
    assert MIN_UNITS == rate_limiter.rate
    assert MIN_REQUESTS == rate_limiter.requests


def test_a_rate_that_nobody_needs_does_not_grow() -> None:
    """A slow client proves nothing about what the table would bear: after the first window, which begins with an empty
    bucket, the rate stays. More requests may be in flight, up to a bound.
    """

    async def main() -> RateLimiter:
        rate_limiter = pace_of()
        while now() < RUN_SECONDS:
            await rate_limiter.acquire(1.0)
            await asyncio.sleep(0.05)
            rate_limiter.adjust(charged=1.0, consumed=1.0, throttled=0.0)
        return rate_limiter

    rate_limiter = simulate(main())
    assert 2 * START_UNITS >= rate_limiter.rate
    assert MAX_REQUESTS == rate_limiter.requests


def test_a_capped_pace_says_that_the_cap_holds_it() -> None:
    """The user learns that it is their own cap that makes it slow."""

    async def main() -> RateLimiter:
        rate_limiter = pace_of(100.0)
        await drive(rate_limiter, Service(), 25.0, 4, 10.0)
        return rate_limiter

    assert simulate(main()).reason == "at the cap"


def test_admissions_keep_the_order_of_arrival() -> None:
    """Nobody starves: a large request does not wait behind small ones that came later."""
    order: list[int] = []

    async def main() -> None:
        rate_limiter = pace_of(100.0)

        async def one(number: int) -> None:
            await rate_limiter.acquire(50.0 if number % 2 else 1.0)
            order.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(10):
                group.create_task(one(number))

    simulate(main())
    assert list(range(10)) == order


class TestFlight:
    """What is in flight is bounded by requests and by bytes."""

    def test_no_more_requests_than_the_pace_allows(self) -> None:
        """The pace's number holds at every moment, also when it falls."""
        most = 0

        async def main() -> None:
            nonlocal most
            rate_limiter = pace_of()
            rate_limiter.requests = 3
            flight, flying = InFlightLimit(rate_limiter, 1_000_000), 0

            async def one() -> None:
                nonlocal most, flying
                assert await flight.acquire(10)
                flying += 1
                most = max(most, flying)
                await asyncio.sleep(1)
                flying -= 1
                flight.release(10)

            async with asyncio.TaskGroup() as group:
                for _ in range(20):
                    group.create_task(one())

        simulate(main())
        assert most == 3

    def test_no_more_bytes_than_allowed_but_one_large_request_flies_alone(self) -> None:
        """A batch above the bound would wait for ever; it takes off when nothing else is in flight."""
        log: list[tuple[float, int]] = []

        async def main() -> None:
            flight = InFlightLimit(pace_of(), 100)

            async def one(size: int) -> None:
                assert await flight.acquire(size)
                log.append((now(), size))
                await asyncio.sleep(1)
                flight.release(size)

            async with asyncio.TaskGroup() as group:
                for size in (60, 40, 500, 60, 40):
                    group.create_task(one(size))

        simulate(main())
        assert [(0, 60), (0, 40), (1, 500), (2, 60), (2, 40)] == log

    def test_closing_lets_nobody_take_off_any_more(self) -> None:
        """Those who wait learn it at once; those in flight land as usual."""

        async def main() -> None:
            flight = InFlightLimit(pace_of(), 100)
            assert await flight.acquire(100)
            waiting = [asyncio.create_task(flight.acquire(1)) for _ in range(3)]
            await asyncio.sleep(0)
            flight.close()
            assert [False] * 3 == await asyncio.gather(*waiting)
            flight.release(100)
            assert not await flight.acquire(1)

        simulate(main())

    def test_one_who_is_cancelled_while_waiting_leaves_the_place_to_the_next(self) -> None:
        """A cancelled request neither takes off nor blocks those behind it."""

        async def main() -> None:
            flight = InFlightLimit(pace_of(), 100)
            assert await flight.acquire(100)
            first, second = (asyncio.create_task(flight.acquire(100)) for _ in range(2))
            await asyncio.sleep(0)
            first.cancel()
            await asyncio.sleep(0)
            flight.release(100)
            assert await second

        simulate(main())


@pytest.mark.parametrize(
    ("before", "after"), [(None, 500.0), (2_000.0, 500.0), (500.0, 2_000.0), (500.0, None)]
)
def test_a_cap_that_is_set_while_it_runs_holds_from_then_on(
    before: float | None, after: float | None
) -> None:
    """Within two seconds, whether it is lower, higher or none."""

    async def run() -> Service:
        service = Service()
        rate_limiter = RateLimiter(before, clock=now)
        driving = asyncio.create_task(drive(rate_limiter, service, 10.0, 16, 30.0))
        await asyncio.sleep(10.0)
        rate_limiter.apply(RateSetting(after))
        await driving
        return service

    service = simulate(run())
    rate = service.units_between(12.0, 30.0) / 18.0
    expected = after or 10.0 / service.latency * 16  # what the clients can do without a cap
    assert expected * 0.9 <= rate <= expected * 1.05


def test_a_pause_admits_nothing_until_it_ends() -> None:
    """What was on its way is answered; nothing else is sent, and nothing is saved up for afterwards."""

    async def run() -> Service:
        service = Service()
        rate_limiter = RateLimiter(1_000.0, clock=now)
        driving = asyncio.create_task(drive(rate_limiter, service, 10.0, 16, 30.0))
        await asyncio.sleep(10.0)
        rate_limiter.apply(RateSetting(1_000.0, paused=True))
        await asyncio.sleep(10.0)
        rate_limiter.apply(RateSetting(1_000.0))
        await driving
        return service

    service = simulate(run())
    assert service.units_between(10.5, 20.0) == 0.0
    assert service.units_between(20.0, 21.0) <= 1_000.0 * 1.25
    assert 900.0 <= service.units_between(21.0, 29.0) / 8.0 <= 1_050.0
