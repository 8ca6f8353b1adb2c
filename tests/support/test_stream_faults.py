"""What the emulators' streams never do, and the fake's do: generations of shards, late and empty pages, trimming, expiry."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from support.fake.errors import FakeError
from support.fake.streams import Streams
from support.fake_dynamodb import FakeServer, Fault, FaultKind, FaultPlan, StreamPlan, fake_dynamodb
from support.tables import SIMPLE_KEY, create_table
from support.test_contract import ACCOUNT, ONE_TRY, refusal
from support.test_stream_contract import NEW_IMAGE, Lab, open_clients

DAY = 86_400.0


@contextmanager
def running(plan: StreamPlan, *faults: Fault) -> Iterator[tuple[Lab, FakeServer]]:
    """A fake whose table T has a stream, and its clients."""
    with fake_dynamodb(FaultPlan(streams=plan, faults=faults)) as fake:
        for dynamodb, streams in open_clients(fake.url, ONE_TRY):
            create_table(dynamodb, "Table", SIMPLE_KEY, StreamSpecification=NEW_IMAGE)
            arn = dynamodb.describe_table(TableName="Table")["Table"]["LatestStreamArn"]
            yield Lab(dynamodb, streams, "Table", arn), fake


def put(lab: Lab, *names: str) -> None:
    lab.put(*({"pk": {"S": name}} for name in names))


def names(records: list[dict[str, Any]]) -> list[str]:
    return [record["dynamodb"]["Keys"]["pk"]["S"] for record in records]


def shards(lab: Lab, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    start: dict[str, str] = {}
    while True:
        page = lab.streams.describe_stream(StreamArn=lab.arn, **start, **more)["StreamDescription"]
        found += page["Shards"]
        if "LastEvaluatedShardId" not in page:
            return found
        start = {"ExclusiveStartShardId": page["LastEvaluatedShardId"]}


def iterator(lab: Lab, shard: str, **more: Any) -> str:
    kind = "AFTER_SEQUENCE_NUMBER" if more else "TRIM_HORIZON"
    answer = lab.streams.get_shard_iterator(StreamArn=lab.arn, ShardId=shard, ShardIteratorType=kind, **more)
    return str(answer["ShardIterator"])


def test_shards_split_and_roll_over() -> None:
    """A shard of so many records ends; its children's ranges are its own, so that a key stays in one lineage."""
    with running(StreamPlan(shard_records=10, max_open_shards=4)) as (lab, _):
        put(lab, *map(str, range(150)))
        found = shards(lab)
        children: dict[str, int] = {}
        for shard in found:
            children[shard.get("ParentShardId", "")] = children.get(shard.get("ParentShardId", ""), 0) + 1
        assert {1, 2} == set(children.values())
        still_open = [s for s in found if "EndingSequenceNumber" not in s["SequenceNumberRange"]]
        assert len(still_open) <= 4
        read = [lab.read(iterator(lab, shard["ShardId"]), 11) for shard in found]
        assert set(map(str, range(150))) == {name for records, _ in read for name in names(records)}
        assert 10 == max(len(records) for records, _ in read)
        assert len(still_open) == sum(following is not None for _, following in read)


def test_a_description_has_pages_and_knows_children() -> None:
    """Of at most 100 shards; the filter gives the children of one."""
    with running(StreamPlan(shards=105)) as (lab, fake):
        assert 105 == len({shard["ShardId"] for shard in shards(lab)})
        assert 2 == fake.stats().calls["DescribeStream"]
        fake.end_shards(ACCOUNT, "Table", children=2)
        first = shards(lab)[0]["ShardId"]
        filtered = {"Type": "CHILD_SHARDS", "ShardId": first}
        assert [first, first] == [each["ParentShardId"] for each in shards(lab, ShardFilter=filtered)]


def test_a_description_is_asked_for_ten_times_a_second() -> None:
    """The eleventh call within one is refused; this one is made without HTTP, which may take longer."""
    streams = Streams(StreamPlan())
    arn = streams.enable(
        f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/Table",
        {"TableName": "Table", "KeySchema": []},
        "NEW_IMAGE",
    ).arn
    request = msgspec.json.encode({"StreamArn": arn})
    for _ in range(10):
        streams.describe_stream(ACCOUNT, request)
    with pytest.raises(FakeError, match="LimitExceededException"):
        streams.describe_stream(ACCOUNT, request)


def test_a_parent_looks_open_for_a_while() -> None:
    """It has children and no last number, and it is not read to its end before it looks closed."""
    with running(StreamPlan(open_parent_seconds=60)) as (lab, fake):
        put(lab, "a")
        fake.end_shards(ACCOUNT, "Table", children=1)
        put(lab, "b")
        parent, child = shards(lab)
        assert parent["ShardId"] == child["ParentShardId"]
        assert "EndingSequenceNumber" not in parent["SequenceNumberRange"]
        records, following = lab.read(iterator(lab, parent["ShardId"]), 2)
        assert (["a"], True) == (names(records), following is not None)
        fake.advance(61)
        assert "EndingSequenceNumber" in shards(lab)[0]["SequenceNumberRange"]
        assert following is not None
        assert ([], None) == lab.read(following, 1)


def test_records_may_be_late_and_pages_empty() -> None:
    """In order all the same, and all of them come."""
    with running(StreamPlan(late_seconds=0.05, empty_pages=0.5, seed=1)) as (lab, fake):
        put(lab, *map(str, range(20)))
        fake.advance(1)
        pages: list[list[dict[str, Any]]] = []
        following: str | None = iterator(lab, lab.shard)
        while following and sum(len(page) for page in pages) < 20:
            answer = lab.streams.get_records(ShardIterator=following, Limit=3)
            pages.append(answer["Records"])
            following = answer.get("NextShardIterator")
        assert [] in pages
        assert list(map(str, range(20))) == names([record for page in pages for record in page])


def test_what_is_older_than_a_day_is_trimmed() -> None:
    """An iterator before it is refused; one from the horizon begins with what is left; old shards are gone."""
    with running(StreamPlan()) as (lab, fake):
        put(lab, "a", "b")
        start = iterator(lab, lab.shard)
        (first, _), following = lab.read(start, 2)
        assert following is not None
        fake.advance(DAY / 2)
        put(lab, "c")
        fake.advance(DAY / 2 + 1)
        number = first["dynamodb"]["SequenceNumber"]
        code, _ = refusal(lambda: iterator(lab, lab.shard, SequenceNumber=number))
        assert "TrimmedDataAccessException" == code
        records, _ = lab.read(iterator(lab, lab.shard), 1)
        assert ["c"] == names(records)
        fake.end_shards(ACCOUNT, "Table", children=1)
        fake.advance(DAY + 1)
        (child,) = shards(lab)
        assert lab.shard == child["ParentShardId"]


def test_an_iterator_that_is_trimmed_under_way_is_refused() -> None:
    """It was taken in time, and used too late."""
    with running(StreamPlan(iterator_seconds=2 * DAY)) as (lab, fake):
        put(lab, "a")
        start = iterator(lab, lab.shard)
        fake.advance(DAY + 1)
        assert (
            "TrimmedDataAccessException" == refusal(lambda: lab.streams.get_records(ShardIterator=start))[0]
        )


def test_an_iterator_expires() -> None:
    """After a quarter of an hour."""
    with running(StreamPlan()) as (lab, fake):
        start = iterator(lab, lab.shard)
        fake.advance(901)
        assert "ExpiredIteratorException" == refusal(lambda: lab.streams.get_records(ShardIterator=start))[0]


def test_time_to_live_is_told_apart() -> None:
    """Its deletions carry the identity of the service."""
    with running(StreamPlan()) as (lab, fake):
        put(lab, "a", "b")
        fake.expire(ACCOUNT, "Table", [{"pk": {"S": "a"}}])
        lab.delete({"pk": {"S": "b"}})
        records, _ = lab.read(iterator(lab, lab.shard), 4)
        identity = {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}
        assert [None, None, identity, None] == [record.get("userIdentity") for record in records]


def test_a_stream_takes_a_while_to_be_enabled() -> None:
    """As DescribeStream says."""
    with running(StreamPlan(enabling_seconds=60)) as (lab, fake):
        assert "ENABLING" == lab.description()["StreamStatus"]
        fake.advance(61)
        assert "ENABLED" == lab.description()["StreamStatus"]


def test_calls_of_streams_meet_faults() -> None:
    """As those of the data plane do."""
    faults = (
        Fault(kind=FaultKind.THROTTLE, operations=("GetRecords",), times=1, code="LimitExceededException"),
        Fault(kind=FaultKind.INTERNAL_ERROR, operations=("GetShardIterator",), times=1),
    )
    with running(StreamPlan(), *faults) as (lab, _):
        assert "InternalServerError" == refusal(lambda: iterator(lab, lab.shard))[0]
        start = iterator(lab, lab.shard)
        code, _ = refusal(lambda: lab.streams.get_records(ShardIterator=start))
        assert "LimitExceededException" == code
        assert [] == lab.streams.get_records(ShardIterator=start)["Records"]


def test_a_deleted_tables_stream_stays_readable() -> None:
    """All its shards are closed."""
    with running(StreamPlan()) as (lab, _):
        put(lab, "a")
        lab.dynamodb.delete_table(TableName="Table")
        records, following = lab.read(iterator(lab, lab.shard), 2)
        assert (["a"], None) == (names(records), following)


def test_two_seconds_are_apart() -> None:
    """A change tells when it was made to the second, as AWS's do."""
    with running(StreamPlan()) as (lab, _):
        put(lab, "a")
        (record,), _ = lab.read(iterator(lab, lab.shard), 1)
        made = record["dynamodb"]["ApproximateCreationDateTime"]
        assert (0, True) == (made.microsecond, abs(made.timestamp() - time.time()) < 60)
