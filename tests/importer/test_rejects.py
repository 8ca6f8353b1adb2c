"""Rejects that somebody mended are loaded; what is refused again stays, with its new reason."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ddb_import.load import LoadTask
from ddb_import.options import OnExisting
from ddb_import.rejects import load_rejects
from ddb_import.state import read_rejects, write_rejects
from ddb_shared import checkpoint as checkpoints
from ddb_shared.aws import AwsOptions
from ddb_shared.checkpoint import ShardCheckpoint
from ddb_shared.errors import StateError
from ddb_shared.items import RejectLine
from ddb_shared.storage import LocalFolder
from support.accounts import Accounts
from support.channel import MemoryChannel
from support.environment import DESTINATION, REGION, SECRET
from support.fake_dynamodb import FakeServer, fake_dynamodb
from support.tables import create_table

FILE = "rejects/s.jsonl"
OLD = {"code": "ValidationException", "message": "the old reason"}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeServer]:
    with fake_dynamodb() as server:
        yield server


@pytest.fixture
def table(fake: FakeServer, accounts: Accounts, tmp_path: Path) -> str:
    create_table(accounts.dynamodb(fake.url, DESTINATION), tmp_path.name)
    return tmp_path.name


@pytest.fixture
def task(fake: FakeServer, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadTask:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", DESTINATION)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return LoadTask(
        aws=AwsOptions(region=REGION, endpoint_url=fake.url),
        table=table,
        key_names=("pk", "sk"),
        bucket="bucket",
        prefix="p/",
        state_url=str(tmp_path),
        shards=(),
        unproven=frozenset(),
        on_existing=OnExisting.OVERWRITE,
        max_wcu=None,
    )


@pytest.fixture
def folder(tmp_path: Path) -> LocalFolder:
    return LocalFolder(tmp_path)


def reject(number: int, **more: Any) -> RejectLine:
    item = {"pk": {"S": f"p{number}"}, "sk": {"N": str(number)}} | more
    return RejectLine(item=item, error=OLD, shard="s", line=number)


def stored(fake: FakeServer, table: str) -> set[int]:
    return {int(item["sk"]["N"]) for item in fake.items(DESTINATION, table)}


def test_mended_items_are_written_and_the_rest_stays(
    task: LoadTask, folder: LocalFolder, fake: FakeServer, table: str
) -> None:
    """In the order of their lines, with the new reason; the checkpoint counts those that are left."""
    text = RejectLine(text="no json", error=OLD, shard="s", line=40)
    bad = reject(7, bad={"SS": []})
    lines = [*map(reject, range(1, 7)), bad, *map(reject, range(8, 40)), text]
    write_rejects(folder, FILE, lines)
    checkpoints.save(folder, ShardCheckpoint(shard="s", confirmed=100, rejected=len(lines), done=True))
    loaded = load_rejects(task, MemoryChannel())
    assert set(range(1, 40)) - {7} == stored(fake, table)
    left = read_rejects(folder, FILE)
    assert [(7, bad.item), (40, msgspec.UNSET)] == [(line.line, line.item) for line in left]
    assert left[0].error["message"] != OLD["message"]
    state = checkpoints.load(folder, checkpoints.shard_file("s"), ShardCheckpoint)
    assert ShardCheckpoint(shard="s", confirmed=100, rejected=2, done=True) == state
    assert loaded.consumed_wcu >= 38


def test_a_broken_line_stops_before_anything_is_written(
    task: LoadTask, folder: LocalFolder, fake: FakeServer, table: str
) -> None:
    """A file that somebody broke while mending is named, and all files are as they were."""
    write_rejects(folder, "rejects/a.jsonl", [reject(1)])
    folder.write("rejects/b.jsonl", b"{broken\n")
    with pytest.raises(StateError, match=r"Line 1 of .*b\.jsonl"):
        load_rejects(task, MemoryChannel())
    assert stored(fake, table) == set()
    assert read_rejects(folder, "rejects/a.jsonl") == [reject(1)]


def test_a_second_run_finds_nothing_to_do(task: LoadTask, folder: LocalFolder, fake: FakeServer) -> None:
    """Loaded rejects are gone from their file."""
    write_rejects(folder, FILE, [reject(1)])
    load_rejects(task, MemoryChannel())
    fake.reset()
    load_rejects(task, MemoryChannel())
    assert fake.stats().calls.get("BatchWriteItem", 0) == 0
    assert read_rejects(folder, FILE) == []
