"""The fake's streams answer as those of the real engines do: the same tests for the fake, MiniStack and DynamoDB Local."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from support.fake_dynamodb import fake_dynamodb
from support.tables import COMPOSITE_KEY, create_table
from support.test_contract import ACCOUNT, FIXTURES, ONE_TRY, item, refusal

NEW_IMAGE = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
OFF = {"StreamEnabled": False}

# DescribeStream takes ten calls a second, and all tests of a module together make more.
MORE_TRIES = ONE_TRY.merge(Config(retries={"mode": "standard", "total_max_attempts": 10}))


@dataclass
class Lab:
    """One engine's clients and a table with a stream."""

    dynamodb: Any
    streams: Any
    table: str
    arn: str

    def put(self, *items: dict[str, Any]) -> None:
        """Writes one after another, so that the order is known."""
        for each in items:
            self.dynamodb.batch_write_item(RequestItems={self.table: [{"PutRequest": {"Item": each}}]})

    def delete(self, *keys: dict[str, Any]) -> None:
        for key in keys:
            self.dynamodb.batch_write_item(RequestItems={self.table: [{"DeleteRequest": {"Key": key}}]})

    def disable(self) -> None:
        self.dynamodb.update_table(TableName=self.table, StreamSpecification=OFF)

    def description(self) -> dict[str, Any]:
        found: dict[str, Any] = self.streams.describe_stream(StreamArn=self.arn)["StreamDescription"]
        return found

    @cached_property
    def shard(self) -> str:
        """The one shard; DescribeStream takes ten calls a second."""
        (shard,) = self.description()["Shards"]
        return str(shard["ShardId"])

    def iterator(self, kind: str = "TRIM_HORIZON", **more: Any) -> str:
        answer = self.streams.get_shard_iterator(
            StreamArn=self.arn, ShardId=self.shard, ShardIteratorType=kind, **more
        )
        return str(answer["ShardIterator"])

    def read(self, iterator: str, count: int) -> tuple[list[dict[str, Any]], str | None]:
        """So many records, and the iterator after them; 100 pages at most."""
        records: list[dict[str, Any]] = []
        following: str | None = iterator
        for _ in range(100):
            if len(records) >= count or following is None:
                break
            page = self.streams.get_records(ShardIterator=following)
            records, following = records + page["Records"], page.get("NextShardIterator")
        return records, following


@pytest.fixture(scope="module", params=["fake", *FIXTURES])
def clients(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Any]]:
    """Clients of DynamoDB and of its streams, of one engine after the other."""
    if request.param == "fake":
        with fake_dynamodb() as fake:
            yield from open_clients(fake.url, MORE_TRIES)
    else:
        yield from open_clients(request.getfixturevalue(FIXTURES[request.param]).url, MORE_TRIES)


def open_clients(url: str, streams: Config) -> Iterator[tuple[Any, Any]]:
    """Clients of DynamoDB and of its streams; `streams` says how often the second one tries."""
    session = boto3.Session(ACCOUNT, "secret", region_name="us-east-1")
    configurations = (("dynamodb", ONE_TRY), ("dynamodbstreams", streams))
    both = [session.client(name, endpoint_url=url, config=config) for name, config in configurations]
    yield both[0], both[1]
    for client in both:
        client.close()


@pytest.fixture
def lab(clients: tuple[Any, Any], unique_name: Callable[[], str]) -> Iterator[Lab]:
    """A table with partition key pk (S) and sort key sk (N), whose stream is enabled after its creation."""
    dynamodb, streams = clients
    name = unique_name()
    create_table(dynamodb, name, COMPOSITE_KEY)
    answer = dynamodb.update_table(TableName=name, StreamSpecification=NEW_IMAGE)
    yield Lab(dynamodb, streams, name, answer["TableDescription"]["LatestStreamArn"])
    dynamodb.delete_table(TableName=name)


def images(record: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any] | None]:
    return record["eventName"], record["dynamodb"]["Keys"], record["dynamodb"].get("NewImage")


def test_each_write_is_a_record_in_order(lab: Lab) -> None:
    """An insert and a modification hold the whole item, a removal its key alone."""
    key = item("a")
    lab.put(item("a", v={"N": "1"}), item("a", v={"N": "2"}))
    lab.delete(key)
    lab.put(item("a", v={"N": "3"}))
    records, _ = lab.read(lab.iterator(), 4)
    assert [
        ("INSERT", key, item("a", v={"N": "1"})),
        ("MODIFY", key, item("a", v={"N": "2"})),
        ("REMOVE", key, None),
        ("INSERT", key, item("a", v={"N": "3"})),
    ] == [images(record) for record in records]
    numbers = [int(record["dynamodb"]["SequenceNumber"]) for record in records]
    assert sorted(set(numbers)) == numbers


def test_what_changes_nothing_is_no_record(lab: Lab) -> None:
    """The same item again, and the deletion of what is not there."""
    lab.put(item("a", v={"N": "1"}), item("a", v={"N": "1.0"}))
    lab.delete(item("b"))
    lab.put(item("c"))
    records, _ = lab.read(lab.iterator(), 2)
    assert ["a", "c"] == [record["dynamodb"]["Keys"]["pk"]["S"] for record in records]


def test_an_iterator_continues_after_a_record(lab: Lab) -> None:
    """By its sequence number; LATEST is after all of them."""
    lab.put(*(item(str(number)) for number in range(5)))
    records, _ = lab.read(lab.iterator(), 5)
    number = records[2]["dynamodb"]["SequenceNumber"]
    latest = lab.iterator("LATEST")
    rest, _ = lab.read(lab.iterator("AFTER_SEQUENCE_NUMBER", SequenceNumber=number), 2)
    same, _ = lab.read(lab.iterator("AT_SEQUENCE_NUMBER", SequenceNumber=number), 3)
    assert (records[3:], records[2:]) == (rest, same)
    lab.put(item("late"))
    (late,), _ = lab.read(latest, 1)
    assert "late" == late["dynamodb"]["Keys"]["pk"]["S"]


def test_an_open_shard_has_a_next_iterator(lab: Lab) -> None:
    """Whether it has records or not."""
    _, following = lab.read(lab.iterator(), 1)
    assert following is not None
    assert "EndingSequenceNumber" not in lab.description()["Shards"][0]["SequenceNumberRange"]


def test_a_disabled_stream_is_read_to_its_end(lab: Lab) -> None:
    """Its shards are closed, its records stay, and the last iterator is null."""
    lab.put(*(item(str(number)) for number in range(5)))
    iterator = lab.iterator()
    lab.disable()
    assert "DISABLED" == lab.description()["StreamStatus"]
    assert "EndingSequenceNumber" in lab.description()["Shards"][0]["SequenceNumberRange"]
    for start in (iterator, lab.iterator()):
        records, following = lab.read(start, 6)
        assert (5, None) == (len(records), following)


def test_a_stream_that_is_enabled_again_is_another_one(lab: Lab) -> None:
    """With an ARN of its own and no old records; the old one stays readable."""
    lab.put(item("before"))
    lab.disable()
    answer = lab.dynamodb.update_table(TableName=lab.table, StreamSpecification=NEW_IMAGE)
    second = Lab(lab.dynamodb, lab.streams, lab.table, answer["TableDescription"]["LatestStreamArn"])
    assert lab.arn != second.arn
    second.put(item("after"))
    for which, text in ((lab, "before"), (second, "after")):
        records, _ = which.read(which.iterator(), 1)
        assert [text] == [record["dynamodb"]["Keys"]["pk"]["S"] for record in records]


def test_the_table_names_its_newest_stream(lab: Lab) -> None:
    """With its view while it is enabled."""
    table = lab.dynamodb.describe_table(TableName=lab.table)["Table"]
    assert (lab.arn, NEW_IMAGE) == (table["LatestStreamArn"], table["StreamSpecification"])
    lab.disable()
    table = lab.dynamodb.describe_table(TableName=lab.table)["Table"]
    assert not table.get("StreamSpecification", OFF)["StreamEnabled"]


def test_a_stream_is_enabled_once(lab: Lab, request: pytest.FixtureRequest) -> None:
    """The second time is an error, whatever the view."""
    if "ministack" in request.node.name:
        reason = "MiniStack enables a stream again"
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    for view in ("NEW_IMAGE", "KEYS_ONLY"):
        enable = {"StreamEnabled": True, "StreamViewType": view}
        code, _ = refusal(partial(lab.dynamodb.update_table, TableName=lab.table, StreamSpecification=enable))
        assert code in {"ValidationException", "ResourceInUseException"}


@pytest.mark.parametrize("view", ["KEYS_ONLY", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"])
def test_a_record_has_what_the_view_promises(
    clients: tuple[Any, Any], unique_name: Callable[[], str], view: str
) -> None:
    """Keys always; the new and the old image as asked for."""
    dynamodb, streams = clients
    name = unique_name()
    create_table(
        dynamodb, name, COMPOSITE_KEY, StreamSpecification={"StreamEnabled": True, "StreamViewType": view}
    )
    arn = dynamodb.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    lab = Lab(dynamodb, streams, name, arn)
    lab.put(item("a", v={"N": "1"}), item("a", v={"N": "2"}))
    records, _ = lab.read(lab.iterator(), 2)
    expected = {"KEYS_ONLY": set(), "OLD_IMAGE": {"OldImage"}, "NEW_AND_OLD_IMAGES": {"OldImage", "NewImage"}}
    assert expected[view] == {"OldImage", "NewImage"} & records[1]["dynamodb"].keys()
    dynamodb.delete_table(TableName=name)


def test_an_unknown_stream_or_shard_is_not_found(lab: Lab) -> None:
    """Neither has a description nor an iterator."""
    other = lab.arn.rpartition("/")[0] + "/2001-01-01T00:00:00.000"
    shard = lab.shard
    assert "ResourceNotFoundException" == refusal(lambda: lab.streams.describe_stream(StreamArn=other))[0]
    for arn, name in ((other, shard), (lab.arn, "shardId-00000000000000000001-ffffffff")):
        code, _ = refusal(
            partial(
                lab.streams.get_shard_iterator, StreamArn=arn, ShardId=name, ShardIteratorType="TRIM_HORIZON"
            )
        )
        assert "ResourceNotFoundException" == code


def test_a_page_has_a_thousand_records(lab: Lab) -> None:
    """The others follow."""
    for start in range(0, 1100, 25):
        puts = [{"PutRequest": {"Item": item(str(number))}} for number in range(start, start + 25)]
        lab.dynamodb.batch_write_item(RequestItems={lab.table: puts})
    page = lab.streams.get_records(ShardIterator=lab.iterator())
    assert 1000 == len(page["Records"])
    records, _ = lab.read(page["NextShardIterator"], 100)
    assert 1100 == len({each["dynamodb"]["Keys"]["pk"]["S"] for each in page["Records"] + records})


def test_an_iterator_that_is_none_is_refused(lab: Lab) -> None:
    """With a validation error."""
    with pytest.raises(ClientError):
        lab.streams.get_records(ShardIterator="none" * 10)
