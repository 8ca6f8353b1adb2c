"""The calls for a stream against each engine: records as bytes, pages of shards, what is tried again and what is not."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.dynamodb.streams import (
    DESCRIBE_SECONDS,
    DISABLED,
    ENABLED,
    EXPIRED_ITERATOR,
    NOT_FOUND,
    TRIMMED,
    RecordsPage,
    Shard,
    Streams,
    open_streams,
)
from ddb_shared.errors import RequestError
from support.accounts import Accounts
from support.environment import REGION, SECRET, SOURCE
from support.fake_dynamodb import FakeServer, Fault, FaultKind, FaultPlan, StreamPlan, fake_dynamodb
from support.services import Endpoint
from support.tables import SIMPLE_KEY, create_table

Result = TypeVar("Result")
STREAM = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
DAY = 86_400.0


class Lab:
    """A table with a stream at one engine, and our calls for it."""

    def __init__(self, url: str, client: Any, table: str, fake: FakeServer | None = None) -> None:
        self.client = client
        self.table = table
        self.fake = fake
        create_table(client, table, SIMPLE_KEY, StreamSpecification=STREAM)
        self.arn = client.describe_table(TableName=table)["Table"]["LatestStreamArn"]
        self._aws = Aws(AwsOptions(region=REGION, endpoint_url=url))

    def run(self, use: Callable[[Streams], Awaitable[Result]], arn: str = "") -> Result:
        async def main() -> Result:
            async with open_streams(self._aws, arn or self.arn, 4) as streams:
                return await use(streams)

        return asyncio.run(main())

    def put(self, *names: str) -> None:
        for name in names:
            put = {"PutRequest": {"Item": {"pk": {"S": name}, "v": {"B": b"\xff\x00"}}}}
            self.client.batch_write_item(RequestItems={self.table: [put]})


@pytest.fixture(autouse=True)
def source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of the source account."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", SOURCE)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture(params=["fake", "ministack", "dynamodb-local"])
def lab(request: pytest.FixtureRequest, accounts: Accounts, unique_name: Callable[[], str]) -> Iterator[Lab]:
    """Each engine in turn."""
    if request.param == "fake":
        yield from faked(accounts)
        return
    engine: Endpoint = request.getfixturevalue(
        {"ministack": "aws", "dynamodb-local": "ddb_local"}[request.param]
    )
    yield Lab(engine.url, accounts.dynamodb(engine, SOURCE), unique_name())  # noqa: PT022 - the fake is torn down


def faked(accounts: Accounts, plan: FaultPlan | None = None) -> Iterator[Lab]:
    with fake_dynamodb(plan or FaultPlan()) as fake:
        yield Lab(fake.url, accounts.dynamodb(fake.url, SOURCE), "Table", fake)


async def first_shard(streams: Streams) -> Shard:
    return (await streams.describe()).shards[0]


async def read(streams: Streams, iterator: str | None, count: int) -> tuple[list[Any], str | None]:
    """So many records, and the iterator after them; a hundred pages at most."""
    records: list[Any] = []
    for _ in range(100):
        if iterator is None or len(records) >= count:
            break
        page: RecordsPage = await streams.records(iterator)
        records, iterator = records + page.records, page.next_shard_iterator
    return records, iterator


def test_records_come_as_bytes(lab: Lab) -> None:
    """Keys and images are as DynamoDB wrote them; a removal has no image; numbers grow; times are of today."""
    lab.put("é😀", "b")
    lab.client.batch_write_item(RequestItems={lab.table: [{"DeleteRequest": {"Key": {"pk": {"S": "b"}}}}]})

    async def use(streams: Streams) -> list[Any]:
        shard = await first_shard(streams)
        assert shard.is_open
        return (await read(streams, await streams.iterator(shard.shard_id), 3))[0]

    records = lab.run(use)
    assert ["INSERT", "INSERT", "REMOVE"] == [record.event_name for record in records]
    assert [{"pk": {"S": name}} for name in ("é😀", "b", "b")] == [
        json.loads(bytes(r.images.keys)) for r in records
    ]
    assert {"pk": {"S": "é😀"}, "v": {"B": "/wA="}} == json.loads(bytes(records[0].images.new_image))
    assert b"" == bytes(records[2].images.new_image)
    numbers = [int(record.images.sequence_number) for record in records]
    assert sorted(set(numbers)) == numbers
    assert all(record.images.approximate_creation_date_time > 1.7e9 for record in records)


def test_reading_continues_after_a_number(lab: Lab) -> None:
    """Where the capture had been."""
    lab.put("a", "b", "c")

    async def use(streams: Streams) -> list[Any]:
        shard = (await first_shard(streams)).shard_id
        records, _ = await read(streams, await streams.iterator(shard), 3)
        return (await read(streams, await streams.iterator(shard, records[0].images.sequence_number), 2))[0]

    assert ["b", "c"] == [json.loads(bytes(record.images.keys))["pk"]["S"] for record in lab.run(use)]


def test_a_disabled_stream_ends(lab: Lab) -> None:
    """Its shards are closed, and their last iterator is null."""
    lab.put("a")
    lab.client.update_table(TableName=lab.table, StreamSpecification={"StreamEnabled": False})

    async def use(streams: Streams) -> tuple[str, bool, int, str | None]:
        described = await streams.describe()
        shard = described.shards[0]
        records, following = await read(streams, await streams.iterator(shard.shard_id), 2)
        return described.stream_status, shard.is_open, len(records), following

    assert (DISABLED, False, 1, None) == lab.run(use)


def test_children_are_never_the_shard_itself(lab: Lab) -> None:
    """DynamoDB Local answers so, and who follows it walks in a circle."""

    async def use(streams: Streams) -> list[Shard]:
        return await streams.children_of((await first_shard(streams)).shard_id)

    assert [] == lab.run(use)


def test_an_unknown_stream_is_not_found(lab: Lab) -> None:
    """At once: no try is repeated."""
    with pytest.raises(RequestError, match=NOT_FOUND):
        lab.run(Streams.describe, lab.arn.rpartition("/")[0] + "/2001-01-01T00:00:00.000")


def test_all_shards_are_described_at_a_pace(accounts: Accounts) -> None:
    """Page by page, with five calls a second: others may read streams, too."""
    plan = FaultPlan(streams=StreamPlan(shards=250))
    for lab in faked(accounts, plan):
        assert lab.fake is not None
        loop_seconds: list[float] = []

        async def use(streams: Streams, seconds: list[float] = loop_seconds) -> int:
            loop = asyncio.get_running_loop()
            began = loop.time()
            described = await streams.describe()
            seconds.append(loop.time() - began)
            assert ENABLED == described.stream_status
            return len({shard.shard_id for shard in described.shards})

        assert 250 == lab.run(use)
        assert loop_seconds[0] >= 2 * DESCRIBE_SECONDS
        assert 3 == lab.fake.stats().calls["DescribeStream"]


def test_children_are_found_by_one_call(accounts: Accounts) -> None:
    """Where the service knows the filter."""
    for lab in faked(accounts):
        assert lab.fake is not None
        lab.fake.end_shards(SOURCE, lab.table, children=2)

        async def use(streams: Streams) -> list[Shard]:
            return await streams.children_of((await first_shard(streams)).shard_id)

        assert 2 == len(lab.run(use))


def test_failures_are_tried_again_except_when_reading(accounts: Accounts) -> None:
    """A shard that fails does not hold the others up: its reader decides when to come back."""
    operations = ("DescribeStream", "GetShardIterator", "GetRecords")
    faults = (
        Fault(kind=FaultKind.INTERNAL_ERROR, operations=operations, at=(0,)),
        Fault(kind=FaultKind.THROTTLE, operations=operations, at=(1,), code="LimitExceededException"),
        Fault(kind=FaultKind.RESET_DURING, operations=operations, at=(2,)),
        Fault(kind=FaultKind.TRUNCATED, operations=operations, at=(3,)),
    )
    for lab in faked(accounts, FaultPlan(faults=faults)):
        lab.put("a")

        async def use(streams: Streams) -> list[str]:
            iterator = await streams.iterator((await first_shard(streams)).shard_id)
            codes = []
            for _ in range(4):
                try:
                    await streams.records(iterator)
                except RequestError as error:
                    codes.append(error.code)
            assert 1 == len((await streams.records(iterator)).records)
            return codes

        assert ["InternalServerError", "LimitExceededException", "connection", "checksum"] == lab.run(use)


def test_what_is_gone_or_too_old_is_told_apart(accounts: Accounts) -> None:
    """Trimmed records, and an iterator of more than a quarter of an hour."""
    for lab in faked(accounts):
        fake = lab.fake
        assert fake is not None
        lab.put("a", "b")

        async def use(streams: Streams, fake: FakeServer = fake) -> list[str]:
            shard = (await first_shard(streams)).shard_id
            iterator = await streams.iterator(shard)
            records, _ = await read(streams, iterator, 2)
            codes = []
            fake.advance(901)
            for call in (
                streams.records(iterator),
                streams.iterator(shard, records[0].images.sequence_number),
            ):
                try:
                    await call
                    codes.append("")
                except RequestError as error:
                    codes.append(error.code)
                fake.advance(DAY)
            return codes

        assert [EXPIRED_ITERATOR, TRIMMED] == lab.run(use)


def test_streams_have_an_endpoint_of_their_own() -> None:
    """On AWS; a private one may be given, and local services have both at one address."""
    aws = "https://streams.dynamodb.eu-west-1.amazonaws.com"
    assert aws == Aws(AwsOptions(region=REGION)).streams_url
    private = AwsOptions(region=REGION, endpoint_url="http://a", streams_endpoint_url="http://b")
    assert "http://b" == Aws(private).streams_url
    assert "http://a" == Aws(AwsOptions(region=REGION, endpoint_url="http://a")).streams_url
