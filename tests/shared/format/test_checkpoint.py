"""Checkpoints come back as they were saved, and a damaged one stops the run."""

import pytest

from ddb_shared.errors import StateError
from ddb_shared.format import checkpoint as checkpoints
from ddb_shared.format.checkpoint import SegmentCheckpoint, ShardCheckpoint
from ddb_shared.format.manifest import Shard
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
    """Shards, the key after which the scan continues, and what it cost."""
    storage = MemoryFolder()
    saved = SegmentCheckpoint(segment=7, shards=[SHARD], last_key=KEY, consumed_rcu=1.5)
    checkpoints.save(storage, saved)
    assert list(storage.files) == ["segments/0007.json"]
    assert saved == checkpoints.load(storage, checkpoints.segment_file(7), SegmentCheckpoint)


def test_a_shard_comes_back() -> None:
    """How many of its lines are confirmed, skipped and rejected."""
    storage = MemoryFolder()
    saved = ShardCheckpoint(shard="0007-000000.json.gz", confirmed=100, skipped=3, rejected=2, done=True)
    checkpoints.save(storage, saved)
    name = checkpoints.shard_file("0007-000000.json.gz")
    assert list(storage.files) == [name]
    assert saved == checkpoints.load(storage, name, ShardCheckpoint)


def test_nothing_saved_is_none() -> None:
    """A segment that nobody has begun."""
    assert checkpoints.load(MemoryFolder(), checkpoints.segment_file(0), SegmentCheckpoint) is None


@pytest.mark.parametrize(
    "data", [b"", b"{", b'{"segment":"x"}', b"{}", b'{"segment":1,"last_key":{"pk":{"S":"\xff"}}}', b"null"]
)
def test_a_damaged_checkpoint_stops_the_run(data: bytes) -> None:
    """To start afresh would throw away what it stands for; the message names the file."""
    storage = MemoryFolder()
    storage.files["segments/0001.json"] = data
    with pytest.raises(StateError, match=r"segments/0001\.json is damaged"):
        checkpoints.load(storage, "segments/0001.json", SegmentCheckpoint)


def test_a_checkpoint_of_another_format_stops_the_run() -> None:
    """Another version began it, and that one has to continue."""
    storage = MemoryFolder()
    checkpoints.save(storage, SegmentCheckpoint(format="ddb-transfer/2", segment=1))
    with pytest.raises(StateError, match="ddb-transfer/2") as caught:
        checkpoints.load(storage, "segments/0001.json", SegmentCheckpoint)
    assert "Resume with the version" in caught.value.remedy


def test_all_checkpoints_come_back() -> None:
    """In the order of their segments, whatever order they were saved in; a resume and the manifest are made of them."""
    storage = MemoryFolder()
    saved = [SegmentCheckpoint(segment=number, done=number % 2 == 0) for number in range(20)]
    for checkpoint in reversed(saved):
        checkpoints.save(storage, checkpoint)
    checkpoints.save(storage, ShardCheckpoint(shard="0000-000000.json.gz", confirmed=1))
    assert checkpoints.load_all(storage, checkpoints.SEGMENTS, SegmentCheckpoint) == saved


def test_a_checkpoint_that_names_no_run_is_of_the_first() -> None:
    """Otherwise it would count in a run that was started again, without its items being there."""
    storage = MemoryFolder()
    storage.files["shards/s.json"] = b'{"format":"ddb-transfer/1","shard":"s","confirmed":3}'
    found = checkpoints.load(storage, "shards/s.json", ShardCheckpoint)
    assert found is not None
    assert (found.run, found.confirmed, found.done) == (1, 3, False)
