"""A change log is applied as if its changes were made one after another, whatever the service does and wherever the run dies."""

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_import.apply.book import Book
from ddb_import.apply.exporter import DEAD_SECONDS, ExporterWatch
from ddb_import.apply.follow import _Follower, _Saver
from ddb_import.apply.keys import KeyReader
from ddb_import.apply.log_reader import LogReader
from ddb_import.apply.standing_rejects import StandingRejects
from ddb_import.apply.state import APPLY, CHANGE_REJECTS, ApplyState, read_apply, read_change_rejects
from ddb_import.batch_write import WriteRequests
from ddb_import.state import SUPERSEDED, read_rejects, write_rejects
from ddb_shared.dynamodb.messages import BatchWriteResponse
from ddb_shared.dynamodb.rate import RateLimiter
from ddb_shared.errors import ExportError, RequestError, ShardError
from ddb_shared.format import changes as log
from ddb_shared.format.lines import RejectLine
from ddb_shared.retry import FailureKind
from ddb_shared.runtime import lease as leases
from ddb_shared.runtime.lease import EXPIRES_SECONDS, Lease, LeaseGuard
from ddb_shared.table.description import KeyAttribute
from support.change_log import Change, ChangeLog
from support.channel import MemoryChannel
from support.memory import MemoryFolder

KEY = (KeyAttribute("pk", "S", "HASH"), KeyAttribute("sk", "N", "RANGE"))
_ANSWER = msgspec.json.Decoder(BatchWriteResponse)
INVALID = RequestError("ValidationException", "One or more parameter values were invalid", 400)


class Killed(Exception):  # noqa: N818 - a death, not an error
    """The process is gone: nothing is stored after this."""


def key(number: int) -> dict[str, Any]:
    return {"pk": {"S": f"k{number}"}, "sk": {"N": str(number)}}


def put(number: int, version: int, **more: Any) -> Change:
    return Change(key(number), key(number) | {"v": {"N": str(version)}} | more)


def delete(number: int, *, expired: bool = False) -> Change:
    return Change(key(number), None, expired)


@dataclass
class Table:
    """A table that leaves requests undone, answers out of order, and checks that no key is in two requests at once."""

    chance: random.Random
    undone: float = 0.0
    items: dict[str, Any] = field(default_factory=dict)
    in_flight: set[str] = field(default_factory=set)
    requests: int = 0
    writes: int = 0
    dies_after: int | None = None
    rate_limiter: RateLimiter = field(default_factory=RateLimiter)

    async def batch_write(self, request: bytes, items: int) -> BatchWriteResponse:
        requests = json.loads(request)["RequestItems"]["T"]
        assert len(requests) == items <= 25
        self.requests += 1
        names = [self._name(one) for one in requests]
        assert len(set(names)) == len(names)
        assert not self.in_flight & set(names), "a key is in flight twice"
        self.in_flight |= set(names)
        try:
            for _ in range(self.chance.randrange(4)):
                await asyncio.sleep(0)
            if self.dies_after is not None and self.requests > self.dies_after:
                raise Killed
            if any("bad" in one.get("PutRequest", {}).get("Item", {}) for one in requests):
                raise INVALID
            left = [one for one in requests if self.chance.random() < self.undone]
            for one, name in zip(requests, names, strict=True):
                if one not in left:
                    self._apply(one, name)
        finally:
            self.in_flight -= set(names)
        return _ANSWER.decode(json.dumps({"UnprocessedItems": {"T": left} if left else {}}))

    async def back_off(self, _: FailureKind, __: int) -> None:
        await asyncio.sleep(0)

    def take_retries(self) -> tuple[tuple[tuple[str, int], ...], int]:
        return (), 0

    def _apply(self, request: Any, name: str) -> None:
        self.writes += 1
        if "PutRequest" in request:
            self.items[name] = request["PutRequest"]["Item"]
        else:
            self.items.pop(name, None)

    @staticmethod
    def _name(request: Any) -> str:
        content = request.get("PutRequest", {}).get("Item") or request["DeleteRequest"]["Key"]
        return str(content["pk"]["S"])


@dataclass
class Lab:
    """An export's folder, the import's state, and the table."""

    table: Table
    export: MemoryFolder = field(default_factory=MemoryFolder)
    state: MemoryFolder = field(default_factory=lambda: MemoryFolder("state"))
    channel: MemoryChannel = field(default_factory=MemoryChannel)

    def __post_init__(self) -> None:
        self.log = ChangeLog(self.export)

    async def follow(
        self,
        stop: asyncio.Event | None = None,
        *,
        end: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """One run, from what is stored on."""
        client: Any = self.table
        key_of, state = KeyReader(KEY), read_apply(self.state, 1)
        standing = StandingRejects(key_of, [self.state])
        book = Book(self.state, state, standing, read_change_rejects(self.state))
        follower = _Follower(
            book,
            LogReader(self.export, key_of, state.applied, 0.001, end=end),
            WriteRequests(client, "T", ["pk", "sk"]),
            _Saver(self.state, standing, LeaseGuard(lambda: None), book.snapshot()),
            ExporterWatch(self.export, "The capture is not closed", clock=clock),
            client=client,
            channel=self.channel,
            stop=stop or asyncio.Event(),
        )
        await follower.run()
        assert not self.table.in_flight

    def run(self) -> ApplyState:
        asyncio.run(self.follow())
        return read_apply(self.state, 1)


def model(history: Sequence[Change]) -> dict[str, Any]:
    items: dict[str, Any] = {}
    for change in history:
        name = change.keys["pk"]["S"]
        if change.new is None:
            items.pop(name, None)
        else:
            items[name] = change.new
    return items


HISTORIES = st.lists(
    st.lists(
        st.builds(
            lambda number, version, gone: delete(number) if gone else put(number, version),
            st.integers(0, 30),
            st.integers(0, 10**6),
            st.booleans(),
        ),
        max_size=60,
    ),
    max_size=8,
)


@given(history=HISTORIES, seed=st.integers(), undone=st.sampled_from([0.0, 0.2, 0.6]))
def test_any_history_ends_as_if_it_were_applied_one_by_one(
    history: list[list[Change]], seed: int, undone: float
) -> None:
    """Answers in any order, requests left undone, records that appear while the run waits for them."""
    lab = Lab(Table(random.Random(seed), undone))

    async def capture() -> None:
        for changes in history:
            for _ in range(lab.table.chance.randrange(3)):
                await asyncio.sleep(0.0005)
            lab.log.append(changes)
        lab.log.close()

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(capture())
            group.create_task(lab.follow())

    asyncio.run(both())
    everything = [change for changes in history for change in changes]
    assert model(everything) == lab.table.items
    state = read_apply(lab.state, 1)
    assert (len(history), len(everything), 0) == (state.applied, state.changes_applied, state.rejected)
    assert len(everything) == state.superseded + lab.table.writes
    assert len(everything) == lab.channel.items


@given(history=HISTORIES, seed=st.integers(), deaths=st.lists(st.integers(0, 6), max_size=4))
@settings(max_examples=60)
def test_a_run_that_dies_is_continued(history: list[list[Change]], seed: int, deaths: list[int]) -> None:
    """Killed after any request: with the state of any moment before, the next run converges."""
    chance = random.Random(seed)
    lab = Lab(Table(chance, 0.2))
    everything: list[Change] = []
    for changes in history:
        lab.log.append(changes)
        everything += changes
    lab.log.close()
    for requests in deaths:
        before = dict(lab.state.files)
        lab.table.dies_after = lab.table.requests + requests
        try:
            asyncio.run(lab.follow())
        except Killed:
            if chance.random() < 0.5:  # there was no checkpoint in this run
                lab.state.files = before
        finally:
            lab.table.dies_after = None
    state = lab.run()
    assert model(everything) == lab.table.items
    assert (len(history), len(everything)) == (state.applied, state.changes_applied)


def test_only_the_last_change_of_a_key_is_written() -> None:
    """Of what waits together: a thousand changes of one item are few writes, in the order of the log."""
    lab = Lab(Table(random.Random(1)))
    lab.log.append([put(1, version) for version in range(1_000)])
    lab.log.close()
    state = lab.run()
    assert {"k1": put(1, 999).new} == lab.table.items
    assert (1_000, 999) == (state.changes_applied, state.superseded)
    assert 1 == lab.table.writes


def test_records_without_changes_and_expired_items_are_counted() -> None:
    """A record may say no more than that a shard was drained; deletions by time to live are counted apart."""
    lab = Lab(Table(random.Random(1)))
    lab.log.append([put(1, 1), put(2, 1)])
    lab.log.append([])
    lab.log.append([delete(1, expired=True)])
    lab.log.append([])
    lab.log.close()
    state = lab.run()
    assert (4, 3, 1) == (state.applied, state.changes_applied, state.expired)
    assert ["k2"] == [*lab.table.items]


@pytest.mark.parametrize("is_told", [True, False])
def test_records_after_the_end_are_not_applied(is_told: bool) -> None:
    """Of a capture that has begun after the log was closed, whether the run knew the end at its start or not."""
    lab = Lab(Table(random.Random(1)))
    lab.log.append([put(1, 1)])
    end = lab.log.close().last_number
    lab.log.append([], begins=True)
    lab.log.append([delete(1), put(2, 1)])
    asyncio.run(lab.follow(end=end if is_told else None))
    state = read_apply(lab.state, 1)
    assert (1, 1) == (state.applied, state.changes_applied)
    assert ["k1"] == [*lab.table.items]


def test_a_rejected_change_delays_no_other_key() -> None:
    """It is kept with its reason and its place in the log; everything else is applied."""
    lab = Lab(Table(random.Random(1)))
    lab.log.append([put(1, 1), put(2, 1, bad={"BOOL": True}), put(3, 1)])
    lab.log.append([put(1, 2)])
    lab.log.close()
    state = lab.run()
    assert {"k1": put(1, 2).new, "k3": put(3, 1).new} == lab.table.items
    assert (2, 3, 1) == (state.applied, state.changes_applied, state.rejected)
    (reject,) = read_rejects(lab.state, CHANGE_REJECTS)
    assert ("000000000001-0badcafe.json.gz", 2, "ValidationException") == (
        reject.shard,
        reject.line,
        reject.error["code"],
    )
    assert put(2, 1, bad={"BOOL": True}).new == reject.item


def test_a_later_change_supersedes_a_reject() -> None:
    """Whether it is written or rejected itself, and also after a restart of the run; the first reject is never written."""
    lab = Lab(Table(random.Random(1)))
    bad = {"bad": {"BOOL": True}}
    lab.log.append([put(1, 1, **bad), put(2, 1, **bad), put(3, 1, **bad)])

    async def until_applied(number: int) -> None:
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(lab.follow(stop))
            while lab.table.requests < number or lab.table.in_flight:  # noqa: ASYNC110 - the table tells nobody
                await asyncio.sleep(0.001)
            stop.set()

    asyncio.run(until_applied(5))
    assert 3 == read_apply(lab.state, 1).rejected
    lab.log.append([put(1, 2), put(2, 2, **bad)])
    lab.log.close()
    state = lab.run()
    assert (2, 3, 2, 2) == (state.applied, state.changes_applied, state.rejected, state.superseded)
    assert {"k1": put(1, 2).new} == lab.table.items
    assert [("000000000001-0badcafe.json.gz", 3), ("000000000002-0badcafe.json.gz", 2)] == [
        (line.shard, line.line) for line in read_rejects(lab.state, CHANGE_REJECTS)
    ]
    marks = json.loads(lab.state.files[SUPERSEDED])["lines"]
    assert {"000000000001-0badcafe.json.gz": [1, 2]} == marks


def test_a_change_supersedes_a_reject_of_the_base() -> None:
    """Its item is older than the change."""
    lab = Lab(Table(random.Random(1)))
    error = {"code": "ValidationException", "message": "m"}
    lines = [
        RejectLine(item=put(number, 0).new, error=error, shard="0000-000000.json.gz", line=number)
        for number in (1, 2)
    ]
    write_rejects(lab.state, "rejects/0000-000000.json.gz.jsonl", lines)
    lab.log.append([delete(1)])
    lab.log.close()
    state = lab.run()
    assert (0, 0) == (state.rejected, state.superseded)
    assert {"0000-000000.json.gz": [1]} == json.loads(lab.state.files[SUPERSEDED])["lines"]


def test_a_change_that_is_rejected_again_after_a_crash_counts_once() -> None:
    """The rejects are stored before the state that covers them."""
    lab = Lab(Table(random.Random(1)))
    lab.log.append([put(1, 1, bad={"BOOL": True}), put(2, 1)])
    lab.log.close()
    lab.run()
    del lab.state.files[APPLY]  # the crash came between the two
    state = lab.run()
    assert (1, 1, 0) == (state.changes_applied, state.rejected, state.superseded)
    assert 1 == len(read_rejects(lab.state, CHANGE_REJECTS))
    assert 1 == len(read_change_rejects(lab.state))


def test_an_altered_file_stops_the_run_with_what_is_confirmed_saved() -> None:
    """The file is named; everything before it is applied and stored."""
    lab = Lab(Table(random.Random(1)))
    lab.log.append([put(1, 1)])
    second = lab.log.append([put(2, 1)])
    lab.export.files[log.CHANGES + second.file] = b"x" * second.stored_bytes
    with pytest.raises(ShardError, match=second.file):
        lab.run()
    assert {"k1": put(1, 1).new} == lab.table.items
    assert 1 == read_apply(lab.state, 1).applied


@pytest.mark.parametrize("missing", [log.record_file(2), f"{log.CHANGES}000000000002-0badcafe.json.gz"])
def test_a_file_that_is_missing_is_named(missing: str) -> None:
    """A record in the middle of a closed log, or a data file."""
    lab = Lab(Table(random.Random(1)))
    for number in range(3):
        lab.log.append([put(number, 1)])
    lab.log.close()
    del lab.export.files[missing]
    with pytest.raises(ExportError, match=f"{missing}.* is missing"):
        lab.run()


def test_a_cancelled_capture_is_told() -> None:
    """What it captured is applied; that it is not complete is an error."""
    lab = Lab(Table(random.Random(1)))
    lab.log.append([put(1, 1)])
    lab.log.close(cancelled=True)
    with pytest.raises(ExportError, match="was cancelled") as caught:
        lab.run()
    assert "--base-only" in caught.value.remedy


def test_the_sender_is_woken_though_the_reader_waits_again() -> None:
    """Where both wait, what one is told at the very moment when the other begins to wait is not lost."""
    nothing: Any = None
    client: Any = SimpleNamespace(rate_limiter=nothing)

    async def run() -> None:
        follower = _Follower(
            nothing, nothing, nothing, nothing, nothing, client=client, channel=nothing, stop=asyncio.Event()
        )

        async def wake_and_wait() -> None:
            follower._wake()
            await follower._wait(follower._may_read)

        sender = asyncio.create_task(follower._wait(follower._may_send))
        reader = asyncio.create_task(wake_and_wait())
        async with asyncio.timeout(10):
            await sender
        reader.cancel()

    asyncio.run(run())


def test_what_a_run_tells_of_its_place() -> None:
    """How far it is behind while changes wait, and that there are none, which is not called caught up."""
    lab = Lab(Table(random.Random(1)))
    lab.log.append([put(1, 1)])
    lab.log.close()
    lab.run()
    assert "no changes for 0 s" == lab.channel.events[-1].status
    assert lab.channel.events[-1].ended


class Exporter:
    """The lease of a run of the source side, as the clock of a follower sees it, which moves on a minute with each look."""

    def __init__(self, lab: Lab, ages: Callable[[float], float]) -> None:
        lease = Lease(host="h", boot="b", pid=1, user="ann", since="noon", nonce="1")
        lab.export.files[leases.FILE] = msgspec.json.encode(lease)
        self._folder = lab.export
        self._ages = ages
        self.now = 0.0

    def clock(self) -> float:
        self.now += 60.0
        self._folder.age_seconds = self._ages(self.now)
        return self.now


def test_an_exporter_that_dies_after_its_base_is_told_and_ends_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All that was captured is applied and saved; what resumes the capture is named for ten minutes, and then the run ends."""
    monkeypatch.setattr("ddb_import.apply.follow.WATCH_SECONDS", 0.01)
    monkeypatch.setattr("ddb_import.apply.follow.REPORT_SECONDS", 0.01)
    lab = Lab(Table(random.Random(1)))
    lab.log.append([put(1, 1)])
    exporter = Exporter(lab, lambda _: EXPIRES_SECONDS)
    with pytest.raises(ExportError, match="The capture is not closed, and no run has exported it") as caught:
        asyncio.run(lab.follow(clock=exporter.clock))
    resume = f"ddb-export --resume {lab.export.url}"
    assert resume in caught.value.remedy
    assert exporter.now > DEAD_SECONDS
    assert {"k1": put(1, 1).new} == lab.table.items
    assert 1 == read_apply(lab.state, 1).applied
    assert any(resume in event.status for event in lab.channel.events)


def test_an_exporter_that_is_resumed_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As often as that happens; hours without a change are none of its death."""
    monkeypatch.setattr("ddb_import.apply.follow.WATCH_SECONDS", 0.001)
    lab = Lab(Table(random.Random(1)))
    lab.log.append([put(1, 1)])

    def age(now: float) -> float:
        if now >= 7_200 and log.CLOSED not in lab.export.files:
            lab.log.append([put(2, 1)])
            lab.log.close()
        return 5.0 if now % 600 < 120 else EXPIRES_SECONDS

    exporter = Exporter(lab, age)
    asyncio.run(lab.follow(clock=exporter.clock))
    assert exporter.now >= 7_200
    assert {"k1", "k2"} == set(lab.table.items)
