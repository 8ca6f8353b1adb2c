"""When a stream is quiet: nothing has arrived, and no shard may hold what was not asked for."""

from typing import Any, cast

import pytest

from ddb_export.capture.lineage import Lineage
from ddb_export.capture.shard_reader import ShardReader
from ddb_export.capture.stream_reader import StreamReader
from ddb_shared.dynamodb.streams import Shard


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
