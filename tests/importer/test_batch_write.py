"""Every line of a batch ends up written, skipped or rejected, whatever the service answers."""

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_import.batch_write import Outcome, Overwrite, Reject, SkipExisting, Writer
from ddb_shared.dynamodb.messages import BatchWriteResponse, PutResponse
from ddb_shared.dynamodb.rate import RateLimiter
from ddb_shared.errors import AccessError, RequestError, ServiceError
from ddb_shared.retry import POLICIES, FailureKind

TRIES = POLICIES[FailureKind.THROTTLED].attempts
INVALID = RequestError("ValidationException", "One or more parameter values were invalid", 400)
_ANSWER = msgspec.json.Decoder(BatchWriteResponse)
_PUT = msgspec.json.Decoder(PutResponse)


def line(number: int, **more: Any) -> bytes:
    return json.dumps({"Item": {"pk": {"S": f"p{number}"}, **more}}).encode()


LINES = [line(number) for number in range(25)]
BAD = line(99, bad={"SS": []})


def key(item: dict[str, Any]) -> str:
    ((_, text),) = item["pk"].items()
    return str(text)


@dataclass
class Table:
    """A table behind a wire that leaves undone what `refuse` picks of each request, and checks what AWS checks."""

    refuse: Callable[[list[Any]], list[Any]] = lambda _: []
    error: RequestError | None = None
    items: dict[str, Any] = field(default_factory=dict)
    requests: list[int] = field(default_factory=list)
    waits: list[int] = field(default_factory=list)
    rate_limiter: RateLimiter = field(default_factory=RateLimiter)

    def write_units(self, size: int) -> float:
        return max(1.0, size / 1024)

    async def batch_write(self, request: bytes, items: int) -> BatchWriteResponse:
        puts = json.loads(request)["RequestItems"]["T"]
        assert len(puts) == items <= 25
        self.requests.append(items)
        if self.error is not None:
            raise self.error
        wanted = [put["PutRequest"]["Item"] for put in puts]
        self._check(wanted)
        left = self.refuse(puts)
        done = [put["PutRequest"]["Item"] for put in puts if put not in left]
        self.items |= {key(item): item for item in done}
        unprocessed = {"T": left} if left else {}
        consumed = [{"TableName": "T", "CapacityUnits": float(len(done))}]
        return _ANSWER.decode(json.dumps({"UnprocessedItems": unprocessed, "ConsumedCapacity": consumed}))

    async def put(self, request: bytes) -> PutResponse:
        body = json.loads(request)
        assert body["ConditionExpression"] == "attribute_not_exists(#key)"
        assert body["ExpressionAttributeNames"] == {"#key": "pk"}
        if self.error is not None:
            raise self.error
        self._check([body["Item"]])
        if key(body["Item"]) in self.items:
            raise RequestError("ConditionalCheckFailedException", "The conditional request failed", 400)
        self.items[key(body["Item"])] = body["Item"]
        return _PUT.decode(b'{"ConsumedCapacity":{"CapacityUnits":1.0}}')

    async def back_off(self, kind: FailureKind, attempt: int) -> None:
        assert kind is FailureKind.THROTTLED
        self.waits.append(attempt)

    @staticmethod
    def _check(items: list[Any]) -> None:
        if any("bad" in item or not isinstance(item, dict) for item in items):
            raise INVALID
        keys = [key(item) for item in items]
        if len(set(keys)) < len(keys):
            raise RequestError("ValidationException", "Provided list of item keys contains duplicates", 400)


def write(
    table: Table, lines: list[bytes], writer: type[Overwrite] | type[SkipExisting] = Overwrite
) -> Outcome:
    made: Writer = writer(table, "T", ["pk"])  # type: ignore[arg-type] # as much of a wire as it needs
    return asyncio.run(made.write(lines))


@given(seed=st.integers(0, 10**6), share=st.floats(0, 0.6), shuffled=st.booleans())
def test_unprocessed_items_are_sent_until_none_is_left(seed: int, share: float, shuffled: bool) -> None:
    """Any part of a request may come back, in any order, any number of times: every item is written once."""
    rng = random.Random(seed)

    def refuse(puts: list[Any]) -> list[Any]:
        left = [put for put in puts if rng.random() < share]
        if shuffled:
            rng.shuffle(left)
        return left

    table = Table(refuse)
    outcome = write(table, LINES)
    assert (25, 0, []) == (outcome.written, outcome.skipped, outcome.rejects)
    assert {f"p{number}" for number in range(25)} == table.items.keys()
    assert outcome.units == 25.0
    assert len(table.waits) == len(table.requests) - 1


@pytest.mark.parametrize(
    ("cap", "requests"), [(None, [25]), (100.0, [25]), (40.0, [10, 10, 5]), (1.0, [1] * 25)]
)
def test_a_small_cap_cuts_the_batch(cap: float | None, requests: list[int]) -> None:
    """Each part costs at most a quarter of a second of the cap, or is one item; all are written."""
    table = Table(rate_limiter=RateLimiter(cap))
    assert write(table, LINES).written == 25
    assert requests == table.requests


def test_a_bad_item_in_a_part_keeps_its_place_in_the_batch() -> None:
    """The index of a reject is that in the whole batch."""
    lines = [*LINES[:12], BAD, *LINES[12:24]]
    outcome = write(Table(rate_limiter=RateLimiter(40.0)), lines)
    assert outcome.written == 24
    assert [(12, BAD)] == [(reject.index, reject.line) for reject in outcome.rejects]


def test_the_budget_counts_only_rounds_that_wrote_nothing() -> None:
    """One item a round is slow, but it is progress: the wait stays short and nothing fails."""
    table = Table(lambda puts: puts[1:])
    assert write(table, LINES).written == 25
    assert list(range(25, 0, -1)) == table.requests
    assert set(table.waits) == {0}


def test_progress_begins_the_budget_anew() -> None:
    """Just short of the last try, one item is written, and all tries are there again."""
    rounds = 0

    def refuse(puts: list[Any]) -> list[Any]:
        nonlocal rounds
        rounds += 1
        return puts if rounds % (TRIES - 1) else puts[1:]

    assert write(Table(refuse), LINES[:3]).written == 3


def test_a_table_that_takes_nothing_ends_the_run() -> None:
    """After as many rounds as the policy has; the waits grow, and the items are not rejected: they are good."""
    table = Table(lambda puts: puts)
    with pytest.raises(ServiceError, match="Could not write to table T: UnprocessedItems"):
        write(table, LINES)
    assert len(table.requests) == TRIES
    assert list(range(1, TRIES)) == table.waits


@given(bad=st.sets(st.integers(0, 24), max_size=6))
def test_a_validation_error_splits_down_to_the_bad_items(bad: set[int]) -> None:
    """Exactly those are rejected, with the service's reason and their place; all others are written."""
    lines = [BAD.replace(b"p99", b"p%d" % n) if n in bad else line(n) for n in range(25)]
    table = Table()
    outcome = write(table, lines)
    assert {f"p{number}" for number in range(25) if number not in bad} == table.items.keys()
    assert sorted(bad) == sorted(reject.index for reject in outcome.rejects)
    assert all(reject.line == lines[reject.index] for reject in outcome.rejects)
    assert {reject.code for reject in outcome.rejects} <= {"ValidationException"}
    assert (25 - len(bad), 0) == (outcome.written, outcome.skipped)


def test_one_bad_item_costs_few_requests() -> None:
    """Halving: about two requests for each doubling of the batch."""
    table = Table()
    write(table, [*LINES[:24], BAD])
    assert len(table.requests) <= 12


@pytest.mark.parametrize(
    "bad",
    [
        b"no json",
        b"{}",
        b'{"Item":{"pk":{"S":"x"}},"DeleteRequest":{}}',
        b'{"Item":{}}},{"DeleteRequest":{"Key":{"pk":{"S":"p1"}}}',
        b'{"Item":{"pk":{"S":"\xff"}}}',
        b'{"Item":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    ],
)
@pytest.mark.parametrize("writer", [Overwrite, SkipExisting])
def test_a_line_that_is_no_item_is_rejected_alone(
    bad: bytes, writer: type[Overwrite] | type[SkipExisting]
) -> None:
    """It never reaches the service, and does not hold up its neighbours."""
    table = Table()
    outcome = write(table, [*LINES[:7], bad, *LINES[7:24]], writer)
    assert outcome.written == 24
    assert [(7, bad, "NotAnItem")] == [(r.index, r.line, r.code) for r in outcome.rejects]


def test_of_two_lines_with_one_key_the_last_wins() -> None:
    """As if they were written one after another; the first counts as skipped, for its item is replaced."""
    lines = [line(1, v={"N": "1"}), line(2), line(1, v={"N": "2"}), line(1, v={"N": "3"})]
    table = Table()
    outcome = write(table, lines)
    assert (2, 2, []) == (outcome.written, outcome.skipped, outcome.rejects)
    assert table.items["p1"]["v"] == {"N": "3"}


def test_duplicates_and_bad_items_in_one_batch() -> None:
    """Both are found, and the counts add up."""
    lines = [line(1, v={"N": "1"}), BAD, b"no json", line(1, v={"N": "2"}), line(3)]
    outcome = write(Table(), lines)
    assert (2, 1, [1, 2]) == (outcome.written, outcome.skipped, sorted(r.index for r in outcome.rejects))


@pytest.mark.parametrize("writer", [Overwrite, SkipExisting])
@pytest.mark.parametrize(
    ("code", "kind"), [("AccessDeniedException", AccessError), ("ThrottlingException", ServiceError)]
)
def test_an_error_of_the_service_is_no_reject(
    writer: type[Overwrite] | type[SkipExisting], code: str, kind: type[Exception]
) -> None:
    """Good items are not thrown on the rejects' heap because a permission is missing or the retries ran out."""
    with pytest.raises(kind, match="Could not write to table T"):
        write(Table(error=RequestError(code, "no", 400)), LINES, writer)


def test_existing_items_are_skipped_not_overwritten() -> None:
    """With --on-existing skip, what is there stays; the others are written, bad ones are rejected."""
    table = Table(items={"p1": {"pk": {"S": "p1"}, "old": {"BOOL": True}}})
    outcome = write(table, [line(0), line(1), BAD, line(2)], SkipExisting)
    assert (2, 1, [2]) == (outcome.written, outcome.skipped, [reject.index for reject in outcome.rejects])
    assert "old" in table.items["p1"]
    assert outcome.units == 2.0


def test_the_parts_of_a_batch_add_up() -> None:
    """Each line is counted once, as what became of it."""
    first = Outcome(written=3, skipped=1, units=2.5, rejects=[Reject(0, b"a", "c", "m")])
    first.add(Outcome(written=2, skipped=4, units=1.0, rejects=[Reject(7, b"b", "c", "m")]))
    assert (5, 5, 3.5) == (first.written, first.skipped, first.units)
    assert [0, 7] == [reject.index for reject in first.rejects]
