"""A capture against streams that split, roll over, lag, trim and fail: what is in the log makes the table equal."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from ddb_export.capture import capture as capture_module
from ddb_export.capture import stream
from ddb_export.capture.capture import Capture
from ddb_export.capture.shard_reader import ShardReader
from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.errors import StateError, TransferError
from ddb_shared.format import changes as log
from ddb_shared.format.changes import BLOCKED, DISABLED, QUIET, FinishRequest
from ddb_shared.runtime.stop import Stop
from ddb_shared.table.description import describe
from support.accounts import Accounts
from support.environment import REGION, SECRET, SOURCE
from support.fake_dynamodb import FakeServer, Fault, FaultKind, FaultPlan, StreamPlan, fake_dynamodb
from support.memory import MemoryFolder
from support.replay import as_table, changes, records, replay
from support.tables import SIMPLE_KEY, create_table

TABLE = "Orders"
READS = ("GetRecords", "GetShardIterator", "DescribeStream")


@pytest.fixture(autouse=True)
def source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of the source account."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", SOURCE)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


class Lab:
    """A table at the fake, and the captures of its stream into one folder."""

    def __init__(self, fake: FakeServer, accounts: Accounts) -> None:
        self.fake = fake
        self.client = accounts.dynamodb(fake.url, SOURCE)
        create_table(self.client, TABLE, SIMPLE_KEY)
        self.aws = Aws(AwsOptions(region=REGION, endpoint_url=fake.url))
        self.storage = MemoryFolder()
        self.told: list[str] = []
        self.stop = Stop()
        self.record = stream.declare(self.storage, describe(self.aws.dynamodb, TABLE), changes_only=False)
        self.record = stream.ensure(self.storage, self.aws, TABLE, self.stop)

    def start(self) -> Capture:
        """A capture that has begun."""
        capture = Capture(self.storage, self.record, TABLE, self.aws, self.stop, tell=self.told.append)
        capture.start()
        return capture

    def write(self, rng: random.Random, count: int, keys: int = 40) -> None:
        """So many random batches of puts and deletes of random keys."""
        for number in range(count):
            names = rng.sample(range(keys), 5)
            batch: list[dict[str, Any]] = []
            for name in names:
                key = {"pk": {"S": f"key-{name}"}}
                if rng.random() < 0.3:
                    batch.append({"DeleteRequest": {"Key": key}})
                else:
                    batch.append(
                        {"PutRequest": {"Item": key | {"v": {"N": str(number)}, "t": {"S": "é\n" * 3}}}}
                    )
            self.client.batch_write_item(RequestItems={TABLE: batch})

    def finish(self, capture: Capture, proof: str = DISABLED, *, blocked_at: str = "") -> log.Closed:
        """Asks the capture to drain the stream, and waits for the end of its log."""
        request = FinishRequest(requested_at="now", by="test", proof=proof, blocked_at=blocked_at)
        log.write_new(self.storage, log.FINISH, request)
        if proof != QUIET:
            stream.disable(self.aws, TABLE, self.record, self.stop)
        capture.wait(60)
        assert capture.closed is not None
        return capture.closed

    def is_captured(self) -> bool:
        """Whether the log makes the table already."""
        return as_table(self.fake.items(SOURCE, TABLE), SIMPLE_KEY) == replay(self.storage, SIMPLE_KEY)

    def assert_equal(self) -> None:
        """The table is what the log makes of nothing."""
        assert as_table(self.fake.items(SOURCE, TABLE), SIMPLE_KEY) == replay(self.storage, SIMPLE_KEY)


@contextmanager
def lab(accounts: Accounts, plan: StreamPlan = StreamPlan(), *faults: Fault) -> Iterator[Lab]:  # noqa: B008 - frozen
    with fake_dynamodb(FaultPlan(streams=plan, faults=faults)) as fake:
        yield Lab(fake, accounts)


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


GENERATIONS = StreamPlan(
    seed=5,
    shards=3,
    shard_records=15,
    max_open_shards=6,
    open_parent_seconds=0.4,
    late_seconds=0.3,
    empty_pages=0.3,
)


@pytest.mark.parametrize("filters", [True, False])
def test_the_log_makes_the_table(accounts: Accounts, filters: bool) -> None:
    """Generations of shards, parents that look open, late records and empty pages, with and without the filter of children."""
    plan = StreamPlan(
        **{name: getattr(GENERATIONS, name) for name in GENERATIONS.__slots__} | {"filters_children": filters}
    )
    with lab(accounts, plan) as table:
        capture = table.start()
        table.write(random.Random(1), 80)
        closed = table.finish(capture)
        table.assert_equal()
        found = changes(table.storage)
        assert (len(found), records(table.storage)[-1]["number"]) == (closed.changes, closed.last_number)
        assert all(position.closed for position in closed.positions.values())
        assert len(closed.positions) > 10
        assert "read to the end" in closed.explains


class Killed(BaseException):
    """The process is gone."""


class DyingFolder(MemoryFolder):
    """A folder whose writer is killed at a write: before it is done, or after."""

    def __init__(self, files: dict[str, bytes], *, dies_at: int, after: bool) -> None:
        super().__init__(files=files)
        self._left = dies_at
        self._after = after

    def write(self, name: str, data: bytes, *, replaces: str | None = None, new: bool = False) -> str:
        if self._left <= 0:
            raise Killed
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Killed
        etag = super().write(name, data, replaces=replaces, new=new)
        if self._left == 0:
            raise Killed
        return etag


def until_killed(table: Lab, capture: Capture, rng: random.Random) -> None:
    """Writes to the table until the capture is gone."""
    capture.start()
    while True:
        table.write(rng, 2)
        capture.wait(0.05)


def test_a_capture_that_is_killed_at_any_write_is_resumed(accounts: Accounts) -> None:
    """Before or after each of its first writes: nothing is lost, and nothing is in the log twice."""
    with lab(accounts, GENERATIONS) as table:
        rng = random.Random(2)
        for dies_at, after in [
            (1, False),
            (1, True),
            (2, False),
            (2, True),
            (3, False),
            (3, True),
            (4, False),
            (6, True),
        ]:
            folder = DyingFolder(table.storage.files, dies_at=dies_at, after=after)
            capture = Capture(folder, table.record, TABLE, table.aws, Stop(), tell=table.told.append)
            with pytest.raises(Killed):
                until_killed(table, capture, rng)
        closed = table.finish(table.start())
        table.assert_equal()
        assert len(changes(table.storage)) == closed.changes


def test_a_capture_that_is_stopped_is_resumed(accounts: Accounts) -> None:
    """An orderly end writes what was read; the next one reads on."""
    with lab(accounts, GENERATIONS) as table:
        rng = random.Random(3)
        for _ in range(3):
            capture = table.start()
            table.write(rng, 10)
            capture.end()
            table.write(rng, 10)
        table.finish(table.start())
        table.assert_equal()


def test_of_two_captures_the_first_one_stops(accounts: Accounts) -> None:
    """The second takes the next number before it reads anything; the log has every change once."""
    with lab(accounts) as table:
        first = table.start()
        table.write(random.Random(4), 5)
        second = Capture(table.storage, table.record, TABLE, table.aws, Stop(), tell=table.told.append)
        second.start()
        table.write(random.Random(5), 5)
        with pytest.raises(StateError, match="Another capture"):
            first.wait(30)
        table.finish(second)
        table.assert_equal()


def test_iterators_expire_and_days_pass(accounts: Accounts) -> None:
    """A capture that runs all the time loses nothing, whatever the stream has forgotten meanwhile: a scan may take days."""
    with lab(accounts, StreamPlan(shards=2)) as table:
        capture, rng = table.start(), random.Random(6)
        for _ in range(6):
            table.write(rng, 10)
            wait_until(table.is_captured)
            table.fake.end_shards(SOURCE, TABLE, children=1)
            table.fake.advance(8 * 3600)
        table.finish(capture)
        table.assert_equal()


def test_what_was_forgotten_meanwhile_is_a_clear_end(accounts: Accounts) -> None:
    """A capture that is resumed after more than a day does not continue as if nothing were missing."""
    with lab(accounts, StreamPlan(shard_records=10)) as table:
        capture = table.start()
        table.write(random.Random(7), 10)
        capture.end()
        table.write(random.Random(8), 10)
        table.fake.advance(25 * 3600)
        with pytest.raises(TransferError, match="Changes are lost"):
            table.start()


def test_what_was_forgotten_before_the_start_is_not_missed(accounts: Accounts) -> None:
    """A stream that exists has old changes, which may go while they are read: the base has them."""
    slow = Fault(kind=FaultKind.SLOW, operations=("GetRecords",), seconds=1.5, times=1)
    with lab(accounts, StreamPlan(iterator_seconds=90_000.0), slow) as table:
        table.write(random.Random(9), 10)
        table.fake.advance(86_000)
        capture = table.start()
        wait_until(lambda: table.fake.stats().calls.get("GetRecords", 0) > 0)
        table.fake.advance(600)
        table.write(random.Random(10), 10)
        table.finish(capture)
        assert 1 == table.fake.stats().errors["TrimmedDataAccessException"]
        assert 0 < len(changes(table.storage)) < 100
        items = {str({"pk": item["pk"]}): item for item in table.fake.items(SOURCE, TABLE)}
        found = {str(change["Keys"]): change.get("NewImage") for change in changes(table.storage)}
        assert found == {key: items.get(key) for key in found}


@pytest.mark.parametrize("code", ["LimitExceededException", "ProvisionedThroughputExceededException"])
def test_a_throttled_shard_is_read_later(accounts: Accounts, code: str) -> None:
    """A third reader makes the service refuse: the capture waits, and the user is told once."""
    faults = Fault(kind=FaultKind.THROTTLE, operations=("GetRecords",), code=code, times=14)
    with lab(accounts, StreamPlan(shards=2), faults) as table:
        capture = table.start()
        table.write(random.Random(11), 10)
        table.finish(capture)
        table.assert_equal()
        assert 1 == sum("throttled" in text for text in table.told)
        assert "third" in table.told[0]


def test_failures_of_the_service_pass(accounts: Accounts) -> None:
    """Errors, broken connections, truncated and wrong answers to every call, one in five."""
    kinds = (
        FaultKind.INTERNAL_ERROR, FaultKind.UNAVAILABLE, FaultKind.RESET_BEFORE, FaultKind.RESET_DURING,
        FaultKind.TRUNCATED, FaultKind.WRONG_CRC, FaultKind.RESET_AFTER,
    )  # fmt: skip
    faults = [Fault(kind=kind, operations=READS, probability=0.03) for kind in kinds]
    with lab(accounts, GENERATIONS, *faults) as table:
        capture = table.start()
        table.write(random.Random(12), 40)
        table.finish(capture)
        table.assert_equal()


def test_credentials_are_renewed(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens that live for twenty calls."""
    with fake_dynamodb(FaultPlan(streams=GENERATIONS, calls_per_token=20)) as fake:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", fake.credentials_uri(SOURCE))
        table = Lab(fake, accounts)
        capture = table.start()
        table.write(random.Random(13), 40)
        request = FinishRequest(requested_at="now", by="test", proof=DISABLED)
        log.write_new(table.storage, log.FINISH, request)
        table.client.update_table(TableName=TABLE, StreamSpecification={"StreamEnabled": False})
        capture.wait(60)
        table.assert_equal()
        assert len(fake.stats().tokens) > 1


def test_deletions_by_time_to_live_are_counted_apart(accounts: Accounts) -> None:
    """They are deletions like others, and marked in their lines."""
    with lab(accounts) as table:
        capture = table.start()
        for name in ("a", "b", "c"):
            table.client.put_item(TableName=TABLE, Item={"pk": {"S": name}})
        table.fake.expire(SOURCE, TABLE, [{"pk": {"S": "a"}}, {"pk": {"S": "c"}}])
        closed = table.finish(capture)
        assert (5, 2) == (closed.changes, closed.expired)
        table.assert_equal()


def test_a_stream_of_others_is_closed_by_silence(accounts: Accounts) -> None:
    """It stays enabled, and the end says what that proves."""
    with lab(accounts) as table:
        capture = table.start()
        table.write(random.Random(14), 5)
        closed = table.finish(capture, QUIET, blocked_at="noon")
        assert (QUIET, True) == (closed.proof, "has denied writes since noon" in closed.explains)
        assert not next(iter(closed.positions.values())).closed
        table.assert_equal()
        assert stream.stream_of(describe(table.aws.dynamodb, TABLE)).is_enabled


def test_a_request_for_silence_ends_with_the_silence(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that was captured since makes it void: the log stays open until --finish replaces it."""
    monkeypatch.setattr(capture_module, "QUIET_SECONDS", 0.5)
    readers: list[ShardReader] = []

    def reader_of(*words: Any, **more: Any) -> ShardReader:
        readers.append(ShardReader(*words, **more))
        return readers[-1]

    monkeypatch.setattr(capture_module, "ShardReader", reader_of)
    with lab(accounts) as table:
        first = table.start()
        request = FinishRequest(requested_at="now", by="test", proof=QUIET, changes=0)
        log.write_new(table.storage, log.FINISH, request)
        table.client.put_item(TableName=TABLE, Item={"pk": {"S": "late"}})
        wait_until(table.is_captured)
        first.end()
        capture = table.start()
        with pytest.raises(AssertionError):
            wait_until(lambda: not capture.is_running(), seconds=3.0)
        assert not readers[-1].hurry
        request = FinishRequest(requested_at="later", by="test", proof=QUIET, changes=1)
        table.storage.write(log.FINISH, msgspec.json.encode(request))
        capture.wait(30)
        assert capture.closed is not None
        assert (1, True) == (capture.closed.changes, readers[-1].hurry)
        table.assert_equal()


def test_blocked_writers_are_part_of_the_proof(accounts: Accounts) -> None:
    """The sentence says since when."""
    with lab(accounts) as table:
        closed = table.finish(table.start(), BLOCKED, blocked_at="noon")
        assert (0, "No change was captured" in closed.explains) == (closed.changes, True)
        assert "has denied writes since noon" in closed.explains


def _disable(table: Lab) -> None:
    table.client.update_table(TableName=TABLE, StreamSpecification={"StreamEnabled": False})


def _cancel(table: Lab) -> None:
    log.write_new(table.storage, log.CLOSED, log.Closed(closed_at="noon", last_number=0, cancelled=True))


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (_disable, "was disabled, and not by --finish"),
        (lambda table: table.client.delete_table(TableName=TABLE), "was deleted"),
        (_cancel, "cancelled at noon"),
    ],
)
def test_another_end_of_the_stream_is_told(
    accounts: Accounts, event: Callable[[Lab], object], said: str
) -> None:
    """Disabled by someone, its table deleted, the follow cancelled: the capture ends with the reason, and closes nothing."""
    with lab(accounts) as table:
        capture = table.start()
        table.write(random.Random(15), 3)
        event(table)
        with pytest.raises(StateError, match=said):
            capture.wait(60)
        assert capture.closed is None


def test_many_shards_cost_no_more_a_second(accounts: Accounts) -> None:
    """Of 250 idle shards each is asked less than once a second; the stream is listed once, five calls a second."""
    with lab(accounts, StreamPlan(shards=250)) as table:
        capture = table.start()
        before, began = table.fake.stats().calls, time.monotonic()
        wait_until(lambda: table.fake.stats().calls.get("GetRecords", 0) >= 1500)
        after, seconds = table.fake.stats().calls, time.monotonic() - began
        capture.end()
        assert before["DescribeStream"] == after["DescribeStream"]
        assert seconds > 3
        assert 250 == after["GetShardIterator"]
