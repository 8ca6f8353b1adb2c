"""When a stream is quiet: nothing has arrived, and no shard may hold what was not asked for."""

import asyncio
from typing import Any, cast

import pytest

from ddb_export.capture import stream_reader
from ddb_export.capture.lineage import Lineage, ShardState
from ddb_export.capture.log_writer import LogWriter
from ddb_export.capture.shard_reader import ShardReader
from ddb_export.capture.status import CaptureStatus
from ddb_export.capture.stream_reader import StreamReader
from ddb_shared.dynamodb.streams import DISABLED, ENABLED, Description, Shard
from ddb_shared.format.changes import Position
from support.memory import MemoryFolder


class AnsweredReader:
    """Every shard has just been asked, and has answered that there is nothing."""

    arrived_at = 0.0

    def polled_since(self, *_: object) -> bool:
        return True


PARENT = Shard(shard_id="parent")
CHILD = Shard(shard_id="child", parent_shard_id="parent")


@pytest.mark.parametrize(
    ("listed", "ended", "expected"),
    [
        pytest.param([PARENT], False, True, id="one shard that is read"),
        pytest.param([PARENT], True, False, id="children not found yet"),
        pytest.param([PARENT, CHILD], False, False, id="a child that waits"),
        pytest.param([PARENT, CHILD], True, True, id="a child that is read"),
        pytest.param([], False, False, id="nothing found yet"),
    ],
)
def test_a_stream_is_quiet_only_where_every_shard_is_asked(
    listed: list[Shard], ended: bool, expected: bool
) -> None:
    """A shard that has ended may have children that hold changes already."""
    lineage = Lineage({}, 1)
    lineage.learn(listed, 10)
    if ended:
        lineage.close(lineage.shards["parent"])
    nothing: Any = None
    reader = StreamReader(nothing, lineage, cast("ShardReader", AnsweredReader()), nothing, nothing)
    assert expected is reader.is_quiet(0.0, 5.0)


class EndedStream:
    """A stream that is disabled, with one shard and no more."""

    stream_arn = "arn"

    async def describe(self) -> Description:
        return Description("arn", DISABLED, shards=[PARENT])

    async def children_of(self, _: str) -> list[Shard]:
        return []


def test_a_stream_that_was_read_to_its_end_before_is_exhausted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A capture that was killed after it had read all shards: no shard is left whose end would make the next one look."""
    monkeypatch.setattr(stream_reader, "_MIN_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(stream_reader, "_SETTLED_SECONDS", 0.01)
    nothing: Any = None
    lineage = Lineage({"parent": Position(sequence="1", closed=True, at=1)}, 1)
    writer = LogWriter(MemoryFolder())
    reader = StreamReader(cast("Any", EndedStream()), lineage, nothing, writer, CaptureStatus())

    async def read() -> None:
        await reader.start()
        async with asyncio.timeout(10):
            await reader.run()

    asyncio.run(read())
    assert reader.exhausted.is_set()


class LateStream:
    """A stream whose first listings lack shards: all of them, or the parent of one."""

    stream_arn = "arn"

    def __init__(self, first: list[list[Shard]], last: list[Shard]) -> None:
        self._listings = iter(first)
        self._last = last

    async def describe(self) -> Description:
        return Description("arn", ENABLED, shards=next(self._listings, self._last))

    async def children_of(self, _: str) -> list[Shard]:
        return []


class EndlessReader:
    """Reads each shard without end; `all_begun` is set once it reads those that are expected."""

    def __init__(self, expected: set[str]) -> None:
        self._expected = expected
        self._begun: set[str] = set()
        self.all_begun = asyncio.Event()

    async def read(self, state: ShardState) -> None:
        self._begun.add(state.id)
        if self._begun == self._expected:
            self.all_begun.set()
        await asyncio.Event().wait()


ORPHAN = Shard(shard_id="orphan", parent_shard_id="late")


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        pytest.param([[], []], [PARENT], {"parent"}, id="no shard at first"),
        pytest.param(
            [[PARENT], [PARENT, ORPHAN]],
            [PARENT, ORPHAN, Shard(shard_id="late")],
            {"parent", "late"},
            id="no parent",
        ),
    ],
)
def test_what_a_listing_lacks_is_looked_for_at_once(
    first: list[list[Shard]], last: list[Shard], expected: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing is not taken at one moment, and no shard's end makes the next one look."""
    monkeypatch.setattr(stream_reader, "_MIN_PAUSE_SECONDS", 0.01)
    stream, read = LateStream(first, last), EndlessReader(expected)
    reader = StreamReader(
        cast("Any", stream),
        Lineage({}, 1),
        cast("ShardReader", read),
        LogWriter(MemoryFolder()),
        CaptureStatus(),
    )

    async def run() -> None:
        await reader.start()
        if first[1]:
            await reader._list()
        async with asyncio.timeout(10):
            reading = asyncio.create_task(reader.run())
            await read.all_begun.wait()
            reading.cancel()

    asyncio.run(run())
