"""Exports are listed from a few small files each, whatever state they are in; one that is damaged hides no other."""

import datetime as dt
import json
from typing import Any

import pytest

from ddb_export.listing import Listing, _listed, _listed_move
from ddb_shared.format import changes
from ddb_shared.format import manifest as manifests
from ddb_shared.format.changes import Closed, LogRecord, StreamRecord
from ddb_shared.format.manifest import FORMAT, FormatOptions, Manifest, Shard, Source
from support.memory import MemoryFolder

TABLE = "arn:aws:dynamodb:eu-west-1:111111111111:table/Orders"
SOURCE = Source(
    table_name="Orders", table_arn=TABLE, table_id="id", account="111111111111", region="eu-west-1"
)
NOW = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)


def manifest_of(shards: int) -> Manifest:
    listed = [
        Shard(
            key=f"AWSDynamoDB/x/data/{number:04d}-000000.json.gz",
            segment=number,
            items=2,
            bytes=5,
            stored_bytes=3,
            md5="m",
        )
        for number in range(shards)
    ]
    return Manifest(
        format=FORMAT, export_id="01715685260608-c488b4e1", tool_version="0", method="scan",
        started_at="2026-01-01T10:00:00.000Z", finished_at="2026-01-01T11:00:00.000Z", source=SOURCE,
        table={"TableName": 'a\n "shards": ['}, options=FormatOptions(
            format="jsonl", compression="gzip", segments=1, shard_size=1, consistent_read=False,
        ), consumed_rcu=1.0, items=2 * shards, bytes=5 * shards, shards=listed,
    )  # fmt: skip


class Counting(MemoryFolder):
    """Notes how many bytes were read."""

    read_bytes = 0

    def read(self, name: str, *, max_bytes: int | None = None) -> Any:
        found = super().read(name, max_bytes=max_bytes)
        self.read_bytes += len(found.data) if found else 0
        return found


@pytest.mark.parametrize("shards", [0, 1, 20_000])
def test_a_complete_export_is_known_by_the_beginning_of_its_manifest(shards: int) -> None:
    """A manifest of 20,000 shards has 3 MB; its items and times stand before them."""
    storage = Counting()
    manifests.write(storage, manifest_of(shards))
    listed = _listed(storage)
    assert ("complete", TABLE, 2 * shards, 5 * shards, "2026-01-01T11:00:00.000Z") == (
        listed.status, listed.table, listed.items, listed.bytes, listed.finished,
    )  # fmt: skip
    assert storage.read_bytes <= 256 * 1024


def test_a_damaged_export_is_listed_as_such() -> None:
    """With what is wrong."""
    storage = MemoryFolder(files={"manifest.json": b"{"})
    listed = _listed(storage)
    assert listed.status == "damaged"
    assert "manifest.json is" in (listed.problem or "")


def test_an_export_of_aws_that_has_not_ended_is_unfinished() -> None:
    """AWS writes an empty `_started`: nothing tells the table."""
    listed = _listed(MemoryFolder(files={"_started": b""}))
    assert ("unfinished", None, None) == (listed.status, listed.table, listed.items)


def following(written_at: str) -> MemoryFolder:
    storage = MemoryFolder()
    manifests.write(storage, manifest_of(1))
    stream = StreamRecord(
        table_arn=TABLE, table_id="id", view="NEW_IMAGE", ours=True, intended_at="2026-01-01T09:00:00.000Z"
    )
    changes.write_new(storage, changes.STREAM, stream)
    log = LogRecord(number=1, written_at=written_at, total_changes=7, total_expired=0)
    changes.write_new(storage, changes.record_file(1), log)
    return storage


@pytest.mark.parametrize(
    ("written_at", "remark"),
    [
        ("2026-01-02T11:59:57.000Z", None),
        ("2026-01-01T16:00:00.000Z", "the capture stopped 20 h ago; changes are lost in 4 h; resume it with: ddb-export --resume"),
        ("2026-01-02T11:30:00.000Z", "the capture stopped 30 min ago; changes are lost in 24 h"),
        ("2026-01-01T11:00:00.000Z", "the capture stopped 25 h ago; changes since 2026-01-01T11:00:00.000Z are lost"),
    ],
)  # fmt: skip
def test_a_capture_that_has_stopped_says_how_long_there_is(written_at: str, remark: str | None) -> None:
    """A stream keeps its changes for 24 hours."""
    listed = _listed(following(written_at))
    assert listed.status == "following"
    assert listed.capture is not None
    assert (7, written_at) == (listed.capture.changes, listed.capture.captured_at)
    text = Listing(exports=[listed], moves=[]).text(NOW)
    assert (remark or "following") in text
    assert ("stopped" in text) == (remark is not None)


def test_a_closed_capture_has_no_deadline() -> None:
    """Nothing can be lost any more."""
    storage = following("2026-01-01T11:00:00.000Z")
    closed = Closed(closed_at="2026-01-01T12:00:00.000Z", last_number=1, changes=7, proof="quiet")
    changes.write_new(storage, changes.CLOSED, closed)
    listed = _listed(storage)
    assert ("closed", "2026-01-01T12:00:00.000Z") == (listed.status, listed.finished)
    assert listed.capture is not None
    assert listed.capture.deadline is None


def test_an_export_that_was_cancelled_before_it_began() -> None:
    """So is a move of which no table had begun: there is nothing to resume."""
    storage = MemoryFolder()
    closed = Closed(closed_at="2026-01-01T12:00:00.000Z", last_number=0, changes=0, cancelled=True)
    changes.write_new(storage, changes.CLOSED, closed)
    assert _listed(storage).status == "cancelled"


def test_a_cancelled_capture_is_not_called_closed() -> None:
    """Its changes are not complete, so a move that holds it is not either."""
    storage = following("2026-01-01T11:00:00.000Z")
    closed = Closed(closed_at="2026-01-01T12:00:00.000Z", last_number=1, changes=7, cancelled=True)
    changes.write_new(storage, changes.CLOSED, closed)
    assert _listed(storage).status == "cancelled"


def test_a_move_is_complete_once_its_exports_are() -> None:
    """By the states of the exports beside it, wherever the whole was copied to."""
    ids = ["01715685260608-c488b4e1", "01715685260608-c488b4e2"]
    names = ["Orders", "Items"]
    exports = [
        {"table": name, "export": f"s3://old/AWSDynamoDB/{one}/"}
        for name, one in zip(names, ids, strict=True)
    ]
    files = {
        "moves/m.json": json.dumps({"exports": exports}).encode(),
        "moves/n.json": b"[",
        "moves/o.json": b'{"exports": [{"table": "Orders", "export": "s3://old/Orders"}]}',
        "moves/p.json": b'{"started_at": "\xff"}',
    }
    root = MemoryFolder("copy", files)
    first, second = (f"s3://bucket/copy/AWSDynamoDB/{one}/" for one in ids)
    both = {first: "complete", second: "closed"}
    listed = _listed_move(root, "moves/m.json", both)
    assert ("complete", names, [first, second]) == (listed.status, listed.tables, listed.exports)
    assert _listed_move(root, "moves/m.json", both | {second: "unfinished"}).status == "unfinished"
    originals = {one["export"]: "complete" for one in exports}
    assert _listed_move(root, "moves/m.json", originals).status == "unfinished"
    for name in ("moves/n.json", "moves/o.json", "moves/p.json"):
        assert _listed_move(root, name, both).status == "damaged"
