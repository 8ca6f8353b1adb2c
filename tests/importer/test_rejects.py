"""Rejects that somebody fixed are loaded; what is refused again stays, with its new reason."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ddb_import.load import Loaded, LoadTask
from ddb_import.options import OnExisting
from ddb_import.rejects import RejectsTask, load_rejects
from ddb_import.state import read_rejects, write_rejects
from ddb_shared.aws.clients import AwsOptions
from ddb_shared.errors import StateError
from ddb_shared.format import checkpoint as checkpoints
from ddb_shared.format.checkpoint import ShardCheckpoint
from ddb_shared.format.lines import RejectLine
from ddb_shared.storage.local import LocalStorage
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
        on_existing=OnExisting.OVERWRITE,
        max_wcu=None,
    )


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path)


def reject(number: int, **more: Any) -> RejectLine:
    item = {"pk": {"S": f"p{number}"}, "sk": {"N": str(number)}} | more
    return RejectLine(item=item, error=OLD, shard="s", line=number)


def load(task: LoadTask, *states: ShardCheckpoint) -> Loaded:
    """Loads the rejects of these shards."""
    return load_rejects(RejectsTask(load=task, states=states), MemoryChannel())


def stored(fake: FakeServer, table: str) -> set[int]:
    return {int(item["sk"]["N"]) for item in fake.items(DESTINATION, table)}


def test_mended_items_are_written_and_the_rest_stays(
    task: LoadTask, storage: LocalStorage, fake: FakeServer, table: str
) -> None:
    """In the order of their lines, with the new reason; the checkpoint counts those that are left."""
    text = RejectLine(text="no json", error=OLD, shard="s", line=40)
    bad = reject(7, bad={"SS": []})
    lines = [*map(reject, range(1, 7)), bad, *map(reject, range(8, 40)), text]
    write_rejects(storage, FILE, lines)
    loaded = load(task, ShardCheckpoint(shard="s", confirmed=100, rejected=len(lines), done=True))
    assert set(range(1, 40)) - {7} == stored(fake, table)
    left = read_rejects(storage, FILE)
    assert [(7, bad.item), (40, msgspec.UNSET)] == [(line.line, line.item) for line in left]
    assert left[0].error["message"] != OLD["message"]
    state = checkpoints.load(storage, checkpoints.shard_file("s"), ShardCheckpoint)
    assert ShardCheckpoint(shard="s", confirmed=100, rejected=2, done=True) == state
    assert loaded.consumed_wcu >= 38


def test_a_broken_line_stops_before_anything_is_written(
    task: LoadTask, storage: LocalStorage, fake: FakeServer, table: str
) -> None:
    """A file that somebody broke while mending is named, and all files are as they were."""
    write_rejects(storage, "rejects/a.jsonl", [reject(1)])
    storage.write("rejects/b.jsonl", b"{broken\n")
    states = [ShardCheckpoint(shard=shard, confirmed=9, rejected=1) for shard in "ab"]
    with pytest.raises(StateError, match=r"Line 1 of .*b\.jsonl"):
        load(task, *states)
    assert stored(fake, table) == set()
    assert read_rejects(storage, "rejects/a.jsonl") == [reject(1)]


def test_a_second_run_finds_nothing_to_do(task: LoadTask, storage: LocalStorage, fake: FakeServer) -> None:
    """Loaded rejects are gone from their file."""
    write_rejects(storage, FILE, [reject(1)])
    state = ShardCheckpoint(shard="s", confirmed=9, rejected=1, done=True)
    load(task, state)
    assert read_rejects(storage, FILE) == []
    fake.reset()
    load(task, state)  # as after a crash between the file and the checkpoint that counts it
    assert fake.stats().calls.get("BatchWriteItem", 0) == 0
    assert checkpoints.load(storage, state.file, ShardCheckpoint) == msgspec.structs.replace(
        state, rejected=0
    )


def test_batches_are_bounded_by_bytes(
    task: LoadTask, storage: LocalStorage, fake: FakeServer, table: str
) -> None:
    """25 large items are more than one request takes, and a worker's memory."""
    lines = [reject(number, fill={"S": "x" * 350_000}) for number in range(1, 8)]
    write_rejects(storage, FILE, lines)
    load(task, ShardCheckpoint(shard="s", confirmed=9, rejected=7, done=True))
    assert set(range(1, 8)) == stored(fake, table)
    assert fake.stats().calls["BatchWriteItem"] == 4


def test_rejects_after_the_checkpoint_are_left_to_the_load(
    task: LoadTask, storage: LocalStorage, fake: FakeServer, table: str
) -> None:
    """An import that was killed has written them before it could count them: they come again, and are counted then."""
    write_rejects(storage, FILE, [reject(2), reject(8)])
    load(task, ShardCheckpoint(shard="s", confirmed=5, rejected=1))
    assert stored(fake, table) == {2}
    state = checkpoints.load(storage, checkpoints.shard_file("s"), ShardCheckpoint)
    assert (state, read_rejects(storage, FILE)) == (ShardCheckpoint(shard="s", confirmed=5), [])
