"""Checkpoints come back as they were saved, and a damaged one stops the run."""

import pytest

from ddb_shared import checkpoint as checkpoints
from ddb_shared.checkpoint import SegmentCheckpoint, ShardCheckpoint
from ddb_shared.errors import StateError
from ddb_shared.manifest import Shard
from support.memory import MemoryFolder

SHARD = Shard(
    key="p/data/0007-000000.json.gz",
    segment=7,
    items=3,
    bytes=9,
    stored_bytes=5,
    md5="m",
    sha256="s",
    etag="e",
)
KEY = {
    "pk": {"B": "AP/+/w=="},
    "sk": {"N": "-12345678901234567890123456789012345678"},
    "é": {"S": "😀\n\u2028"},
}


def test_a_segment_comes_back() -> None:
    """Shards, the key after which the scan goes on, and what it cost."""
    folder = MemoryFolder()
    saved = SegmentCheckpoint(segment=7, shards=[SHARD], last_key=KEY, consumed_rcu=1.5)
    checkpoints.save(folder, saved)
    assert list(folder.files) == ["segments/0007.json"]
    assert saved == checkpoints.load(folder, checkpoints.segment_file(7), SegmentCheckpoint)


def test_a_shard_comes_back() -> None:
    """How many of its lines are confirmed, skipped and rejected."""
    folder = MemoryFolder()
    saved = ShardCheckpoint(shard="0007-000000.json.gz", confirmed=100, skipped=3, rejected=2, done=True)
    checkpoints.save(folder, saved)
    name = checkpoints.shard_file("0007-000000.json.gz")
    assert list(folder.files) == [name]
    assert saved == checkpoints.load(folder, name, ShardCheckpoint)


def test_nothing_saved_is_none() -> None:
    """A segment that nobody has begun."""
    assert checkpoints.load(MemoryFolder(), checkpoints.segment_file(0), SegmentCheckpoint) is None


@pytest.mark.parametrize(
    "data", [b"", b"{", b'{"segment":"x"}', b"{}", b'{"segment":1,"last_key":{"pk":{"S":"\xff"}}}', b"null"]
)
def test_a_damaged_checkpoint_stops_the_run(data: bytes) -> None:
    """To start afresh would throw away what it stands for; the message names the file."""
    folder = MemoryFolder()
    folder.files["segments/0001.json"] = data
    with pytest.raises(StateError, match=r"segments/0001\.json is damaged"):
        checkpoints.load(folder, "segments/0001.json", SegmentCheckpoint)


def test_a_checkpoint_of_another_format_stops_the_run() -> None:
    """Another version began it, and that one has to go on."""
    folder = MemoryFolder()
    checkpoints.save(folder, SegmentCheckpoint(format="ddb-transfer/2", segment=1))
    with pytest.raises(StateError, match="ddb-transfer/2") as caught:
        checkpoints.load(folder, "segments/0001.json", SegmentCheckpoint)
    assert "Resume with the version" in caught.value.remedy
