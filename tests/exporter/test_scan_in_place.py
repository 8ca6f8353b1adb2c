"""The worker of an export in one process: which pages become which shards, and what the checkpoints say."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any
from unittest import mock

import msgspec
import pytest

from ddb_export import scan
from ddb_export.encoding import Encoding
from ddb_export.scan import ScanTask, scan_segments
from ddb_shared.aws.clients import AwsOptions
from ddb_shared.dynamodb.http import HttpResponse
from ddb_shared.errors import TableError, TransferError
from ddb_shared.format import checkpoint as checkpoints
from ddb_shared.format.checkpoint import SegmentCheckpoint
from ddb_shared.format.compression import decompress
from ddb_shared.format.manifest import DATA
from ddb_shared.runtime import loop, parts
from support.channel import MemoryChannel
from support.memory import MemoryFolder, data_of
from support.verification import OLD, FakeCalls, item

SEGMENTS, ITEMS = 3, 100
ALL = [item(number) for number in range(ITEMS)]


@dataclass
class Paged(FakeCalls):
    """Pages of few items, and each request that was made."""

    page_items: int = 7

    def __post_init__(self) -> None:
        self.requests: list[dict[str, Any]] = []

    async def post(self, headers: Mapping[str, str], data: bytes) -> HttpResponse:
        request = msgspec.json.decode(data)
        self.requests.append(request)
        return await super().post(headers, msgspec.json.encode(request | {"Limit": self.page_items}))


class Lab:
    """A table, a bucket in memory, and workers that scan the one into the other."""

    def __init__(self) -> None:
        self.dynamodb = Paged()
        self.dynamodb.create(OLD)
        self.dynamodb.put(OLD, ALL)
        self.folder = MemoryFolder()

    def scan(self, channel: MemoryChannel, **options: Any) -> dict[str, int]:
        task = ScanTask(
            aws=AwsOptions(region="eu-west-1"),
            table=OLD,
            bucket="b",
            prefix="p",
            total_segments=SEGMENTS,
            consistent_read=False,
            encoding=Encoding(compression="gzip"),
            shard_size=0,
            max_rcu=None,
        )
        with self._in_place():
            return scan_segments(replace(task, **options), channel)

    @contextlib.contextmanager
    def _in_place(self) -> Iterator[None]:
        aws = SimpleNamespace(s3=None)
        unguarded = SimpleNamespace(under=lambda _: aws)
        with (
            mock.patch.object(scan, "connect", return_value=unguarded),
            mock.patch.object(scan, "S3Storage", return_value=self.folder),
            mock.patch.object(scan, "open_client", self.dynamodb.open_client),
            mock.patch.object(loop, "POLL_SECONDS", 0.0),
            mock.patch.object(parts, "POLL_SECONDS", 0.0),
        ):
            yield

    def states(self) -> dict[int, SegmentCheckpoint]:
        names = [entry.name for entry in self.folder.list(checkpoints.SEGMENTS)]
        loaded = [checkpoints.load(self.folder, name, SegmentCheckpoint) for name in names]
        return {state.segment: state for state in loaded if state is not None}

    def shards(self) -> dict[str, list[Any]]:
        """The items of each shard that a checkpoint names."""
        found = {}
        for state in self.states().values():
            for shard in state.shards:
                lines = b"".join(
                    decompress(shard.name, [data_of(self.folder, DATA + shard.name)], 1 << 20)
                ).splitlines()
                assert shard.items == len(lines)
                assert shard.name not in found
                found[shard.name] = [json.loads(line)["Item"] for line in lines]
        return found

    def exported(self) -> Counter[str]:
        return Counter(json.dumps(one, sort_keys=True) for items in self.shards().values() for one in items)


EXPECTED = Counter(json.dumps(one, sort_keys=True) for one in ALL)


@pytest.fixture
def lab() -> Lab:
    return Lab()


def channel(**options: Any) -> MemoryChannel:
    return MemoryChannel(range(SEGMENTS), **options)


@pytest.mark.parametrize(("shard_size", "page_shards"), [(0, True), (1 << 30, False)])
def test_every_item_is_exported_once(lab: Lab, shard_size: int, page_shards: bool) -> None:
    """A shard is as long as asked for; what is reported, settled and saved agrees."""
    line = channel()
    assert {} == lab.scan(line, shard_size=shard_size)
    assert EXPECTED == lab.exported()
    pages = len(lab.dynamodb.requests)
    assert (pages if page_shards else SEGMENTS) == len(lab.shards())
    assert lab.states() == line.settled
    assert all(state.done and state.last_key is None for state in lab.states().values())
    assert (ITEMS, len(lab.shards())) == (line.items, sum(event.shards for event in line.events))
    units = sum(event.units for event in line.events)
    assert units == sum(state.consumed_rcu for state in lab.states().values()) > 0
    assert sum(event.bytes for event in line.events) == sum(
        shard.bytes for state in lab.states().values() for shard in state.shards
    )
    assert line.events[-1].ended


def test_a_shard_ends_after_some_time(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small it is."""
    monkeypatch.setattr(scan, "SHARD_SECONDS", 0.0)
    lab.scan(channel(), shard_size=1 << 30)
    assert len(lab.dynamodb.requests) == len(lab.shards())
    assert EXPECTED == lab.exported()


@pytest.mark.parametrize("consistent", [False, True])
def test_what_is_requested(lab: Lab, consistent: bool) -> None:
    """Each page of each segment once, read as asked for."""
    lab.scan(channel(), consistent_read=consistent)
    for request in lab.dynamodb.requests:
        assert (OLD, SEGMENTS, consistent) == (
            request["TableName"], request["TotalSegments"], request.get("ConsistentRead", False),
        )  # fmt: skip
    starts = Counter(
        (one["Segment"], json.dumps(one.get("ExclusiveStartKey"))) for one in lab.dynamodb.requests
    )
    assert {1} == set(starts.values())
    assert set(range(SEGMENTS)) == {segment for segment, _ in starts}


def test_a_checkpoint_names_nothing_that_is_not_there(lab: Lab) -> None:
    """Each shard is complete before its checkpoint, which is replaced each time."""
    lab.scan(channel())
    written: set[str] = set()
    named = 0
    for name in lab.folder.writes:
        if name.startswith(DATA):
            assert name not in written
            written.add(name)
        else:
            named += 1
    assert len(written) == named == len(lab.shards())
    assert lab.folder.writes[0].startswith(DATA)


@pytest.mark.parametrize("shard_size", [0, 1 << 30])
@pytest.mark.parametrize("stop_after", [1, 30, 60])
def test_a_stopped_scan_is_finished_by_the_next_one(lab: Lab, shard_size: int, stop_after: int) -> None:
    """Each run continues after what the last checkpoint covers; no item is missing or double."""
    for _ in range(20):
        line = channel(stop_after=stop_after)
        lab.scan(line, shard_size=shard_size)
        assert set(line.settled) == {segment for segment, state in lab.states().items() if state.done}
        if not line.stopping():
            break
    lab.scan(channel(), shard_size=shard_size)
    assert EXPECTED == lab.exported()


def test_a_segment_that_is_asked_back_is_continued_by_somebody_else(lab: Lab) -> None:
    """It is given back, and its checkpoint is where the other one begins."""
    relieved = channel(may_keep=0)
    lab.scan(relieved, shard_size=1 << 30)
    assert sorted([*relieved.settled, *relieved.returned]) == list(range(SEGMENTS))
    assert relieved.returned
    assert not any(lab.states()[segment].done for segment in relieved.returned if segment in lab.states())
    lab.scan(MemoryChannel(relieved.returned))
    assert EXPECTED == lab.exported()


def test_a_finished_segment_is_not_read_again(lab: Lab) -> None:
    """Nor written; it is settled with what its checkpoint says."""
    lab.scan(channel())
    lab.dynamodb.requests.clear()
    lab.folder.writes.clear()
    line = channel()
    lab.scan(line)
    assert ([], []) == (lab.dynamodb.requests, lab.folder.writes)
    assert lab.states() == line.settled


def test_a_segment_without_items_has_no_shard(lab: Lab) -> None:
    """It is done all the same, and what it cost is counted."""
    lab.dynamodb.create("Empty")
    line = channel()
    lab.scan(line, table="Empty")
    assert {} == lab.shards()
    assert [True] * SEGMENTS == [state.done for state in lab.states().values()]
    units = sum(event.units for event in line.events)
    assert units == sum(state.consumed_rcu for state in lab.states().values()) > 0


@pytest.mark.parametrize("at", [1, 5, 12])
def test_an_error_keeps_what_is_done(lab: Lab, at: int) -> None:
    """The next run continues from there."""

    def fail(_: str, __: object) -> None:
        if len(lab.dynamodb.requests) == at:
            raise TableError("The table is gone.")

    lab.dynamodb.before = fail
    with pytest.raises(TransferError, match="is gone"):
        lab.scan(channel())
    assert not lab.exported() - EXPECTED
    lab.dynamodb.before = lambda _, __: None
    lab.scan(channel())
    assert EXPECTED == lab.exported()
