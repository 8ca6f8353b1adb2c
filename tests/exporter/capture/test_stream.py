"""Which stream is captured, whose it is, and that nobody else's is ever disabled; crashes between any two steps."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from ddb_export.capture import stream
from ddb_export.capture.stream import address_of, check_stream, declare, disable, ensure, ours_of
from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.errors import StateError, TableError
from ddb_shared.format import changes as log
from ddb_shared.format.changes import Closed, StreamRecord
from ddb_shared.runtime.stop import Stop
from ddb_shared.table.description import Table, describe, find
from support.accounts import Accounts
from support.environment import REGION, SECRET, SOURCE
from support.fake_dynamodb import FaultPlan, StreamPlan, fake_dynamodb
from support.memory import MemoryFolder
from support.services import Endpoint
from support.tables import SIMPLE_KEY, create_table

ON = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
OFF = {"StreamEnabled": False}


class Lab:
    """A table at a real engine, and the folder of an export of it."""

    def __init__(self, url: str, client: Any, name: str) -> None:
        self.client = client
        self.name = name
        self.aws = Aws(AwsOptions(region=REGION, endpoint_url=url))
        self.storage = MemoryFolder()
        create_table(client, name, SIMPLE_KEY)

    @property
    def table(self) -> Table:
        return describe(self.client, self.name)

    def switch(self, specification: dict[str, Any]) -> None:
        self.client.update_table(TableName=self.name, StreamSpecification=specification)

    def declare(self) -> StreamRecord:
        return declare(self.storage, self.table, changes_only=False)

    def ensure(self) -> StreamRecord:
        return ensure(self.storage, self.aws, self.name, Stop())

    def disable(self, record: StreamRecord) -> None:
        disable(self.aws, self.name, record, Stop())

    def is_enabled(self) -> bool:
        return stream.stream_of(self.table).is_enabled

    def intend_at(self, time: str) -> None:
        """Changes when the stream was meant to be enabled."""
        record = log.read_stream(self.storage)
        assert record is not None
        data = msgspec.json.encode(msgspec.structs.replace(record, intended_at=time))
        self.storage.write(log.STREAM, data)


@pytest.fixture(autouse=True)
def source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of the source account."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", SOURCE)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture
def lab(engine: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> Lab:
    return Lab(engine.url, accounts.dynamodb(engine, SOURCE), unique_name())


def test_a_stream_is_declared_then_enabled_then_named(lab: Lab) -> None:
    """The declaration says that it will be ours before the table is changed; at the end it is disabled, once or twice."""
    declared = lab.declare()
    assert (True, "", False) == (declared.ours, declared.stream_arn, lab.is_enabled())
    record = lab.ensure()
    assert (record, True) == (log.read_stream(lab.storage), lab.is_enabled())
    assert (True, "NEW_IMAGE", lab.table.definition["LatestStreamArn"]) == (
        record.ours,
        record.view,
        record.stream_arn,
    )
    assert record == lab.ensure()
    for _ in range(2):
        lab.disable(record)
        assert not lab.is_enabled()


def test_a_table_of_another_account_is_named_by_its_arn(lab: Lab) -> None:
    """Never by its name alone, which is the caller's own table where there is one."""
    record = lab.declare()
    assert lab.name == address_of(lab.client, record)
    foreign = record.table_arn.replace(record.table_arn.split(":")[4], "999999999999")
    assert foreign == address_of(lab.client, msgspec.structs.replace(record, table_arn=foreign))


def test_a_crash_before_or_after_enabling_makes_no_difference(lab: Lab) -> None:
    """Before: the resume enables the stream, however late. After: the stream is as old as the intent, and ours."""
    lab.declare()
    lab.intend_at("2020-01-01T00:00:00.000Z")
    assert lab.ensure().ours
    lab.switch(OFF)
    lab.storage = MemoryFolder()
    declared = lab.declare()
    lab.switch(ON)
    found = ours_of(declared, lab.table)
    assert found is not None
    record = lab.ensure()
    assert (True, record.stream_arn) == (record.ours, found.stream_arn)
    lab.disable(record)
    assert not lab.is_enabled()


def test_a_stream_that_appeared_long_after_the_intent_is_someone_elses(lab: Lab) -> None:
    """It is captured, and stays."""
    declared = lab.declare()
    lab.intend_at("2020-01-01T00:00:00.000Z")
    lab.switch(ON)
    old = msgspec.structs.replace(declared, intended_at="2020-01-01T00:00:00.000Z")
    assert ours_of(old, lab.table) is None
    record = lab.ensure()
    assert not record.ours
    with pytest.raises(StateError, match="not enabled by this tool"):
        lab.disable(record)
    assert lab.is_enabled()


def test_an_existing_stream_is_used_as_it_is(lab: Lab) -> None:
    """Also one with both images; it is never ours."""
    lab.switch({"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"})
    record = lab.declare()
    assert (record, False, "NEW_AND_OLD_IMAGES") == (lab.ensure(), record.ours, record.view)
    assert ours_of(record, lab.table) is None
    assert "is used as it is" in check_stream(lab.table)


@pytest.mark.parametrize("view", ["KEYS_ONLY", "OLD_IMAGE"])
def test_a_stream_without_new_images_is_refused(lab: Lab, view: str) -> None:
    """By the check, by the declaration, and by a resume that finds one that was enabled meanwhile."""
    lab.declare()
    lab.switch({"StreamEnabled": True, "StreamViewType": view})
    other = MemoryFolder()
    for call in (
        lambda: check_stream(lab.table),
        lambda: declare(other, lab.table, changes_only=False),
        lab.ensure,
    ):
        with pytest.raises(TableError, match=f"has the view {view}"):
            call()
    assert {} == other.files


def test_a_table_or_a_stream_that_is_another_one_is_refused(lab: Lab) -> None:
    """A stream that was disabled and enabled again, a table that was deleted, one that was recreated."""
    lab.declare()
    record = lab.ensure()
    lab.switch(OFF)
    lab.switch(ON)
    if lab.table.definition["LatestStreamArn"] != record.stream_arn:
        with pytest.raises(StateError, match="has another stream"):
            lab.ensure()
        lab.disable(record)
        assert lab.is_enabled(), "the other stream is not ours to disable"
    lab.client.delete_table(TableName=lab.name)
    assert find(lab.client, lab.name) is None
    with pytest.raises(StateError, match="was deleted"):
        lab.ensure()
    create_table(lab.client, lab.name, SIMPLE_KEY)
    with pytest.raises(StateError, match="was recreated"):
        lab.ensure()


def test_an_export_declares_once(lab: Lab) -> None:
    """If-None-Match: of two runs one is told."""
    lab.declare()
    with pytest.raises(StateError):
        lab.declare()


def test_a_stream_that_is_being_enabled_is_waited_for(accounts: Accounts) -> None:
    """AWS takes some seconds; nothing is read before."""
    waits: list[float] = []

    def waiting() -> Iterator[None]:
        with fake_dynamodb(FaultPlan(streams=StreamPlan(enabling_seconds=60))) as fake:
            lab = Lab(fake.url, accounts.dynamodb(fake.url, SOURCE), "Table")
            lab.declare()

            def sleep(seconds: float) -> None:
                waits.append(seconds)
                if len(waits) == 5:
                    fake.advance(61)

            record = ensure(lab.storage, lab.aws, lab.name, Stop(), sleep=sleep)
            description = lab.aws.streams.describe_stream(StreamArn=record.stream_arn)["StreamDescription"]
            assert "ENABLED" == description["StreamStatus"]
            yield

    list(waiting())
    assert 5 <= len(waits)


@pytest.mark.parametrize("call", [1, 2])
def test_a_cancel_while_the_stream_is_being_enabled_ends_that(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """At once, whether the cancel came before the stream was seen, or disabled it; no stream of ours stays enabled."""
    lab.declare()
    calls = []

    def describe_late(client: Any, address: str) -> Table:
        calls.append(address)
        found = describe(client, address)
        if len(calls) == call:  # a cancel of the moment
            log.write_new(
                lab.storage,
                log.CLOSED,
                Closed(closed_at="now", cancelled=True, last_number=0, changes=0, expired=0),
            )
            if stream.stream_of(found).is_enabled:
                lab.switch(OFF)
                return lab.table
        return found

    monkeypatch.setattr(stream, "describe", describe_late)
    monkeypatch.setattr(stream, "WAIT_SECONDS", 5.0)
    with pytest.raises(StateError, match="cancelled"):
        lab.ensure()
    assert not lab.is_enabled()


def test_a_cancel_that_came_before_the_stream_was_there_leaves_none(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has found no stream to disable, so the run does."""
    lab.declare()
    answers = iter([False, True])
    monkeypatch.setattr(stream, "_is_cancelled", lambda _: next(answers))
    with pytest.raises(StateError, match="cancelled"):
        lab.ensure()
    assert not lab.is_enabled()
