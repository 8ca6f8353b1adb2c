"""The worker of an import against a DynamoDB that fails on purpose and a real S3."""

import asyncio
import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ddb_import import load
from ddb_import.batch_write import Outcome, Reject
from ddb_import.load import LoadPart, LoadTask, _Loader, load_shards
from ddb_import.options import OnExisting
from ddb_import.shard_progress import ShardProgress
from ddb_import.state import read_rejects
from ddb_shared.aws.clients import AwsOptions
from ddb_shared.errors import AccessError, ServiceError, ShardError
from ddb_shared.format import checkpoint as checkpoints
from ddb_shared.format.checkpoint import ShardCheckpoint
from ddb_shared.format.lines import reject_line
from ddb_shared.format.manifest import DATA, Shard
from ddb_shared.storage.local import LocalStorage
from ddb_shared.storage.s3 import S3Storage
from support.accounts import Accounts
from support.channel import MemoryChannel
from support.environment import DESTINATION, REGION, SECRET
from support.fake_dynamodb import FakeServer, Fault, FaultKind, FaultPlan, fake_dynamodb
from support.services import Endpoint
from support.tables import create_table

SHARDS, ITEMS = 3, 200
BAD = b'{"Item":{"pk":{"S":"no sort key"}}}'


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeServer]:
    with fake_dynamodb() as server:
        yield server


@pytest.fixture
def export(aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> S3Storage:
    name, client = unique_name(), accounts.s3(aws, DESTINATION)
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return S3Storage(client, name, "AWSDynamoDB/01715685260608-c488b4e1")


@pytest.fixture
def state(export: S3Storage) -> S3Storage:
    return export.below("import/it/")


@pytest.fixture
def task(
    fake: FakeServer, aws: Endpoint, export: S3Storage, state: S3Storage, monkeypatch: pytest.MonkeyPatch,
    accounts: Accounts, unique_name: Callable[[], str],
) -> Iterator[LoadTask]:  # fmt: skip
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", DESTINATION)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    table = unique_name()
    create_table(accounts.dynamodb(fake.url, DESTINATION), table)
    fake.reset()
    yield LoadTask(
        aws=AwsOptions(region=REGION, endpoint_url=fake.url, s3_endpoint_url=aws.url),
        table=table,
        key_names=("pk", "sk"),
        bucket=export.bucket,
        prefix=export.prefix,
        state_url=state.url,
        on_existing=OnExisting.OVERWRITE,
        max_wcu=None,
    )
    fake.change(FaultPlan())


def item(shard: int, number: int) -> dict[str, Any]:
    return {"pk": {"S": f"{shard}-{number}"}, "sk": {"N": str(number)}, "fill": {"S": "x" * 400}}


def line(shard: int, number: int) -> bytes:
    return b'{"Item":' + json.dumps(item(shard, number)).encode() + b"}"


def stored(export: S3Storage, number: int, lines: list[bytes]) -> Shard:
    """Writes a shard of these lines."""
    data = gzip.compress(b"".join(one + b"\n" for one in lines))
    name = f"{number:04d}-000000.json.gz"
    etag = export.write(DATA + name, data)
    return Shard(
        key=export.key(DATA + name),
        segment=number,
        items=len(lines),
        bytes=sum(map(len, lines)) + len(lines),
        stored_bytes=len(data),
        md5=base64.b64encode(hashlib.md5(data).digest()).decode(),
        sha256=hashlib.sha256(data).hexdigest(),
        etag=etag.strip('"'),
    )


@pytest.fixture
def parts(export: S3Storage) -> list[LoadPart]:
    """The shards of an export of SHARDS times ITEMS items."""
    lines = [[line(shard, number) for number in range(ITEMS)] for shard in range(SHARDS)]
    return [LoadPart(stored(export, shard, lines[shard])) for shard in range(SHARDS)]


def checkpoint(state: S3Storage, part: LoadPart) -> ShardCheckpoint | None:
    return checkpoints.load(state, checkpoints.shard_file(part.shard.name), ShardCheckpoint)


def assert_loaded(fake: FakeServer, task: LoadTask, state: S3Storage, parts: list[LoadPart]) -> None:
    """Every item is in the table, and every shard's checkpoint says so."""
    found = {one["pk"]["S"]: one for one in fake.items(DESTINATION, task.table)}
    wanted = [item(shard, number) for shard in range(SHARDS) for number in range(ITEMS)]
    assert {one["pk"]["S"]: one for one in wanted} == found
    expected = [
        ShardCheckpoint(shard=part.shard.name, confirmed=ITEMS, done=True, run=task.run) for part in parts
    ]
    assert expected == [checkpoint(state, part) for part in parts]


def test_every_item_is_loaded_once(
    fake: FakeServer, task: LoadTask, state: S3Storage, parts: list[LoadPart]
) -> None:
    """In full batches, with the progress adding up and each part settled with its checkpoint."""
    channel = MemoryChannel(parts)
    loaded = load_shards(task, channel)
    assert_loaded(fake, task, state, parts)
    stats = fake.table(DESTINATION, task.table)
    assert (SHARDS * ITEMS, SHARDS * ITEMS) == (stats.puts, channel.items)
    assert SHARDS * ITEMS // 25 == fake.stats().calls["BatchWriteItem"]
    assert loaded.consumed_wcu == stats.consumed_wcu == sum(event.units for event in channel.events)
    assert {part: checkpoint(state, part) for part in parts} == channel.settled
    assert (SHARDS, []) == (sum(event.shards for event in channel.events), channel.returned)


def test_a_complete_shard_is_not_loaded_again(
    fake: FakeServer, task: LoadTask, state: S3Storage, parts: list[LoadPart]
) -> None:
    """Its part is settled all the same."""
    load_shards(task, MemoryChannel(parts))
    fake.reset()
    channel = MemoryChannel(parts)
    load_shards(task, channel)
    assert {part: checkpoint(state, part) for part in parts} == channel.settled
    assert "BatchWriteItem" not in fake.stats().calls
    assert channel.items == 0


def test_a_shard_goes_on_after_its_checkpoint(
    fake: FakeServer, task: LoadTask, state: S3Storage, parts: list[LoadPart]
) -> None:
    """Neither one line before it nor one after; a checkpoint of an earlier run of the plan does not count."""
    task = replace(task, run=2)
    begun = ShardCheckpoint(shard=parts[0].shard.name, confirmed=60, skipped=7, run=2)
    checkpoints.save(state, begun)
    checkpoints.save(state, ShardCheckpoint(shard=parts[1].shard.name, confirmed=60, rejected=3, run=1))
    load_shards(task, MemoryChannel(parts))
    found = {one["pk"]["S"] for one in fake.items(DESTINATION, task.table)}
    assert {f"0-{number}" for number in range(60, ITEMS)} == {key for key in found if key.startswith("0-")}
    assert ITEMS * (SHARDS - 1) == sum(not key.startswith("0-") for key in found)
    first, second = (checkpoint(state, part) for part in parts[:2])
    assert ShardCheckpoint(shard=parts[0].shard.name, confirmed=ITEMS, skipped=7, done=True, run=2) == first
    assert ShardCheckpoint(shard=parts[1].shard.name, confirmed=ITEMS, done=True, run=2) == second


def test_a_stopped_load_is_finished_by_the_next_one(
    fake: FakeServer,
    task: LoadTask,
    state: S3Storage,
    parts: list[LoadPart],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is in flight is waited for and saved; nothing that was confirmed is written again."""
    monkeypatch.setattr(load, "IN_FLIGHT_BYTES", 12_000)  # one batch after another
    fake.change(FaultPlan(faults=(Fault(kind=FaultKind.SLOW, seconds=0.1),)))
    load_shards(task, MemoryChannel(parts, stop_after=50))
    confirmed = sum(found.confirmed for part in parts if (found := checkpoint(state, part)))
    assert 0 < confirmed == fake.table(DESTINATION, task.table).items < SHARDS * ITEMS
    fake.change(FaultPlan())
    load_shards(task, MemoryChannel(parts))
    assert_loaded(fake, task, state, parts)
    assert SHARDS * ITEMS == fake.table(DESTINATION, task.table).puts


@pytest.mark.parametrize(
    "kind", [FaultKind.THROTTLE, FaultKind.UNPROCESSED, FaultKind.RESET_AFTER, FaultKind.INTERNAL_ERROR]
)
def test_faults_cost_retries_and_no_items(
    fake: FakeServer, task: LoadTask, state: S3Storage, parts: list[LoadPart], kind: FaultKind
) -> None:
    """Whatever the service refuses or loses comes again."""
    fake.change(FaultPlan(faults=(Fault(kind=kind, at=(0, 3, 5, 9)),)))
    load_shards(task, MemoryChannel(parts))
    assert_loaded(fake, task, state, parts)


def test_an_error_ends_all_shards_and_saves_what_is_confirmed(
    fake: FakeServer, task: LoadTask, state: S3Storage, parts: list[LoadPart]
) -> None:
    """The checkpoints cover what the table has, and no more."""
    fake.change(FaultPlan(faults=(Fault(kind=FaultKind.ACCESS_DENIED, after=8),)))
    with pytest.raises(AccessError, match=f"write to table {task.table}"):
        load_shards(task, MemoryChannel(parts))
    confirmed = sum(found.confirmed for part in parts if (found := checkpoint(state, part)))
    assert 0 < confirmed <= fake.table(DESTINATION, task.table).items == 8 * 25
    fake.change(FaultPlan())
    load_shards(task, MemoryChannel(parts))
    assert_loaded(fake, task, state, parts)


def test_checkpoints_are_saved_while_a_shard_is_loaded(
    fake: FakeServer, task: LoadTask, parts: list[LoadPart], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is killed has at most a few seconds to do again."""
    monkeypatch.setattr(load, "CHECKPOINT_SECONDS", 0.05)
    seen: list[int] = []
    save = checkpoints.save

    def saved(storage: Any, one: Any) -> None:
        seen.append(one.confirmed)
        assert one.confirmed <= fake.table(DESTINATION, task.table).items
        save(storage, one)

    monkeypatch.setattr(checkpoints, "save", saved)
    load_shards(replace(task, max_wcu=150), MemoryChannel(parts[:1]))
    assert len(seen) > 3
    assert sorted(seen) == seen
    assert seen[-2:] == [ITEMS, ITEMS] or seen[-1] == ITEMS


def test_a_shard_that_was_altered_is_not_loaded(
    fake: FakeServer, task: LoadTask, export: S3Storage, state: S3Storage, parts: list[LoadPart]
) -> None:
    """Where its ETag told beforehand, nothing of it is written; else it is found at its end, and nothing of it counts as loaded."""
    part = parts[0]
    forged = stored(export, 0, [line(0, number) for number in range(1, ITEMS + 1)])
    altered = replace(part, shard=replace_size(part.shard, forged))
    with pytest.raises(ShardError, match="sha256"):
        load_shards(task, MemoryChannel([replace(altered, unverified=True)]))
    assert fake.items(DESTINATION, task.table) == []
    with pytest.raises(ShardError, match="sha256"):
        load_shards(task, MemoryChannel([altered]))
    assert checkpoint(state, part) in {None, ShardCheckpoint(shard=part.shard.name)}


def replace_size(shard: Shard, other: Shard) -> Shard:
    """The shard with the other one's size, as an altered one of equal size has it."""
    return Shard(
        key=shard.key,
        segment=0,
        items=shard.items,
        bytes=shard.bytes,
        stored_bytes=other.stored_bytes,
        md5=shard.md5,
        sha256=shard.sha256,
    )


def test_rejects_are_saved_before_the_checkpoint_that_counts_them(
    fake: FakeServer, task: LoadTask, export: S3Storage, state: S3Storage
) -> None:
    """Each with its line, those that have no key alike; a resumed shard keeps those of before."""
    lines = [BAD if number in {3, 4, 60, 199} else line(0, number) for number in range(ITEMS)]
    part = LoadPart(stored(export, 0, lines))
    name = part.shard.name
    load_shards(task, MemoryChannel([part]))
    assert ShardCheckpoint(shard=name, confirmed=ITEMS, rejected=4, done=True) == checkpoint(state, part)
    assert [4, 5, 61, 200] == [one.line for one in read_rejects(state, f"rejects/{name}.jsonl")]
    checkpoints.save(state, ShardCheckpoint(shard=name, confirmed=50, rejected=2))
    channel = MemoryChannel([part])
    load_shards(task, channel)
    assert ShardCheckpoint(shard=name, confirmed=ITEMS, rejected=4, done=True) == checkpoint(state, part)
    assert [4, 5, 61, 200] == [one.line for one in read_rejects(state, f"rejects/{name}.jsonl")]
    assert (148, 2) == (channel.items, sum(event.rejected for event in channel.events))
    assert ITEMS - 4 == fake.table(DESTINATION, task.table).items


def test_rejects_are_bounded_by_bytes(
    task: LoadTask, export: S3Storage, state: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each worker keeps those of its open shards in memory; what it had confirmed by then is saved."""
    monkeypatch.setattr(load, "MAX_REJECT_BYTES", 60_000)
    bad = b'{"Item":{"pk":{"S":"no sort key"},"fill":{"S":"' + b"x" * 1_000 + b'"}}}'
    few = LoadPart(stored(export, 0, [bad] * 20 + [line(0, number) for number in range(50)]))
    load_shards(task, MemoryChannel([few]))
    many = LoadPart(stored(export, 1, [bad] * 200))
    with pytest.raises(ServiceError, match="have more than 60,000 bytes; the last: ValidationException"):
        load_shards(task, MemoryChannel([many]))
    found = checkpoint(state, many)
    assert found is not None
    assert found.rejected == len(read_rejects(state, f"rejects/{many.shard.name}.jsonl")) > 0


@pytest.mark.parametrize("before", [1, 2])
def test_rejects_of_data_that_was_damaged_in_transit_are_replaced(before: int, tmp_path: Path) -> None:
    """Also where the second reading has as many as the first one; those of the first were not lines of the export."""
    storage = LocalStorage(tmp_path)
    guard, writer = SimpleNamespace(wait_in_thread=lambda: None), SimpleNamespace(save=lambda: None)
    loader: Any = SimpleNamespace(_storage=storage, _guard=guard, _writer=writer)
    progress = ShardProgress(ShardCheckpoint(shard="s"), [])
    damaged, bad = (Reject(0, text, "NotAnItem", "m") for text in (b"damaged", b"bad"))
    progress.confirm(0, 25, Outcome(written=25 - before, rejects=[damaged] * before))
    _Loader._save_now(loader, progress)
    progress.reset()
    progress.confirm(0, 25, Outcome(written=25))
    progress.confirm(25, 50, Outcome(written=24, rejects=[bad]))
    _Loader._save_now(loader, progress)
    assert ["bad"] == [one.text for one in read_rejects(storage, "rejects/s.jsonl")]
    found = checkpoints.load(storage, checkpoints.shard_file("s"), ShardCheckpoint)
    assert ShardCheckpoint(shard="s", confirmed=50, rejected=1) == found


def test_rejects_that_no_checkpoint_counted_are_replaced(tmp_path: Path) -> None:
    """A killed worker may have stored rejects without the checkpoint that covers them; what becomes of these lines is not known."""
    storage = LocalStorage(tmp_path)
    guard, writer = SimpleNamespace(wait_in_thread=lambda: None), SimpleNamespace(save=lambda: None)
    loader: Any = SimpleNamespace(_storage=storage, _guard=guard, _writer=writer)
    stored_rejects = [
        reject_line(b"bad", {"code": "NotAnItem", "message": "m"}, shard="s", number=number)
        for number in (4, 30)
    ]
    progress = ShardProgress(ShardCheckpoint(shard="s", confirmed=25, rejected=1), stored_rejects)
    assert [4] == [one.line for one in progress.rejects]
    progress.confirm(25, 50, Outcome(written=25))
    _Loader._save_now(loader, progress)
    assert [4] == [one.line for one in read_rejects(storage, "rejects/s.jsonl")]


def left_by_drain(*writes: Any, stopped: bool = False) -> int:
    """Waits for these writes of one shard as the worker does; returns how many are in flight afterwards."""
    progress = ShardProgress(ShardCheckpoint(shard="s"), [])

    async def main() -> int:
        stop = asyncio.Event()
        if stopped:
            stop.set()
        for write in writes:
            task = asyncio.create_task(write)
            progress.in_flight.add(task)
            task.add_done_callback(progress.in_flight.discard)
        await asyncio.sleep(0)
        await _Loader._drain(SimpleNamespace(_stop=stop), progress)  # type: ignore[arg-type] # all that it uses
        for _ in range(3 if stopped else 0):  # a task that is cancelled ends in the next turns of the loop
            await asyncio.sleep(0)
        return len(progress.in_flight)

    return asyncio.run(main())


def test_the_last_write_may_end_while_the_wait_begins() -> None:
    """Whatever the order in which the event loop runs them, the wait ends with the last write."""

    async def soon(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)

    for turns in range(8):
        assert left_by_drain(soon(turns), soon(0)) == 0


def test_a_stopped_run_does_not_wait_for_ever(monkeypatch: Any) -> None:
    """What hangs is cancelled after DRAIN_SECONDS."""
    monkeypatch.setattr("ddb_import.load.DRAIN_SECONDS", 0.05)
    assert left_by_drain(asyncio.sleep(3600), stopped=True) == 0


def test_a_damaged_shard_is_read_again_once_nothing_of_it_is_in_flight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A write of the first reading that ended after the reset would count its lines as confirmed."""
    progress = ShardProgress(ShardCheckpoint(shard="s"), [])
    in_flight: list[int] = []
    reader = SimpleNamespace(verify_checksum=lambda: in_flight.append(len(progress.in_flight)))
    monkeypatch.setattr(load, "ShardReader", lambda *_: reader)
    loader: Any = SimpleNamespace(_stop=None, _export=None)
    shard: Any = None

    async def main() -> None:
        loader._stop = asyncio.Event()
        loader._drain = partial(_Loader._drain, loader)
        answered = asyncio.Event()

        async def write() -> None:
            await answered.wait()
            progress.confirm(0, 25, Outcome(written=25))

        writing = asyncio.create_task(write())
        progress.in_flight.add(writing)
        writing.add_done_callback(progress.in_flight.discard)
        restart = asyncio.create_task(_Loader._restart_shard(loader, shard, progress))
        await asyncio.sleep(0)
        answered.set()
        await asyncio.gather(restart, writing)

    asyncio.run(main())
    assert (progress.state.confirmed, in_flight) == (0, [0])
