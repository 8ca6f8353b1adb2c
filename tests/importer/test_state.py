"""The saved state fits the import that continues with it, or stops it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ddb_import import state
from ddb_import.ledger import Ledger
from ddb_import.state import PLAN, ImportPlan, NativeJob, load_or_create_plan, read_plan, state_storage
from ddb_shared.errors import StateError
from ddb_shared.format import checkpoint as checkpoints
from ddb_shared.format import manifest as manifests
from ddb_shared.format.checkpoint import ShardCheckpoint
from ddb_shared.format.lines import RejectLine
from ddb_shared.format.manifest import Manifest
from ddb_shared.storage.base import ConflictError, StoredObject
from ddb_shared.table.description import Table, from_description
from support.memory import MemoryFolder

DATA = Path(__file__).parents[1] / "data"
REJECT = RejectLine(item={"pk": {"S": "é"}}, error={"code": "c", "message": "m"}, shard="s", line=3)


def the_manifest() -> Manifest:
    return manifests.read(MemoryFolder.of(DATA / "ddb-transfer-1", "AWSDynamoDB/01732350000000-0badcafe"))


def the_table(**changes: Any) -> Table:
    return from_description(the_manifest().table | {"TableId": "one"} | changes)


def settle(
    storage: MemoryFolder, *, restart: bool = False, on_existing: str | None = "overwrite", **table: Any
) -> ImportPlan:
    return load_or_create_plan(storage, the_manifest(), the_table(**table), on_existing, restart=restart)


def test_the_same_command_goes_on_with_the_same_plan() -> None:
    """Begun once, found again."""
    storage = MemoryFolder()
    assert settle(storage) == settle(storage)
    assert storage.writes == [PLAN]


@pytest.mark.parametrize(
    ("change", "what"),
    [({"TableId": "two"}, "the table was recreated"), ({"on_existing": "skip"}, "--on-existing")],
)
def test_another_import_is_refused(change: dict[str, Any], what: str) -> None:
    """A table that was recreated has nothing of what the state says is there."""
    storage = MemoryFolder()
    settle(storage)
    with pytest.raises(StateError, match=what) as caught:
        settle(storage, **change)
    assert "--restart" in caught.value.remedy


@pytest.mark.parametrize("member", ["export_id", "items", "shards"])
def test_another_export_is_refused(member: str) -> None:
    """Its id, its items and its shards are compared."""
    storage = MemoryFolder()
    saved = settle(storage)
    changed = msgspec.structs.replace(saved, **{member: "x" if member == "export_id" else 99})
    storage.files[PLAN] = msgspec.json.encode(changed)
    with pytest.raises(StateError, match="belongs to an import with another"):
        settle(storage)


def test_a_restart_replaces_the_plan_first_and_deletes_nothing() -> None:
    """From then on the checkpoints and rejects of earlier runs do not count; the runs are counted."""
    storage = MemoryFolder()
    settle(storage)
    checkpoints.save(storage, ShardCheckpoint(shard="s", confirmed=9, rejected=1, done=True))
    state.write_rejects(storage, "rejects/s.jsonl", [REJECT])
    assert ["s"] == list(Ledger.load(storage, 1).states)
    before, writes = set(storage.files), len(storage.writes)
    assert settle(storage, restart=True, TableId="two").run == 2
    assert storage.writes[writes] == PLAN
    assert {} == Ledger.load(storage, 2).states
    assert before == set(storage.files)
    assert settle(storage, TableId="two").run == 2


def test_rejects_of_before_a_restart_are_cleared_whenever_that_was_interrupted() -> None:
    """Those of shards that have rejects in this run stay, and so do the marks of what superseded them."""
    storage = MemoryFolder()
    for shard in "abc":
        state.write_rejects(storage, f"rejects/{shard}.jsonl", [REJECT])
    state.write_superseded(storage, {"a": {1}, "b": {2}})
    state.clear_old_rejects(storage, {"b"}, stopped=lambda: True)
    assert len(state.list_rejects(storage)) == 3
    state.clear_old_rejects(storage, {"b"}, stopped=lambda: False)
    assert ["rejects/b.jsonl"] == state.list_rejects(storage)
    assert {"b": {2}} == state.read_superseded(storage)
    writes = len(storage.writes)
    state.clear_old_rejects(storage, {"b"}, stopped=lambda: False)
    assert len(storage.writes) == writes


@pytest.mark.parametrize("engine", ["bulk", "import-table"])
def test_an_import_that_dynamodb_has_begun_is_not_continued_by_batch_writes(engine: str) -> None:
    """Its job may still run, and would write the same items later; once complete, it is as good as ours."""
    storage = MemoryFolder()
    plan = msgspec.structs.replace(
        settle(storage), native=NativeJob(engine=engine, token="t", requested_at="2026-01-01T00:00:00Z")
    )
    storage.write(PLAN, msgspec.json.encode(plan))
    with pytest.raises(StateError, match=f"--engine {engine} that is not complete"):
        settle(storage)
    done = msgspec.structs.replace(plan, completed_at="2026-01-01T00:00:00Z")
    storage.write(PLAN, msgspec.json.encode(done))
    assert settle(storage) == done


def test_what_happens_to_existing_items_is_remembered() -> None:
    """A resume or a restart without --on-existing does what the import began with."""
    storage = MemoryFolder()
    assert settle(storage, on_existing="skip").on_existing == "skip"
    assert settle(storage, on_existing=None).on_existing == "skip"
    assert settle(storage, on_existing=None, restart=True).on_existing == "skip"
    assert settle(storage, on_existing="overwrite", restart=True).on_existing == "overwrite"
    assert settle(MemoryFolder(), on_existing=None).on_existing == "overwrite"


def test_a_complete_import_says_since_when() -> None:
    """The first completion counts."""
    storage = MemoryFolder()
    plan = settle(storage)
    assert plan.completed_at == ""
    state.complete_plan(storage, plan)
    completed = settle(storage)
    assert completed.completed_at != ""
    state.complete_plan(storage, completed)
    assert completed == settle(storage)


def test_the_state_lies_with_the_export_or_elsewhere(tmp_path: Path) -> None:
    """Its folder names account, region and table, so that imports into several tables do not meet."""
    export = MemoryFolder("p/AWSDynamoDB/01732350000000-0badcafe")
    place = "111111111111.eu-central-1.Orders/"
    inside = state_storage(None, export, the_manifest(), the_table(), None)
    assert inside.url == f"{export.url}import/{place}"
    for elsewhere, url in ((str(tmp_path), f"{tmp_path}/"), ("s3://other/p/", "s3://other/p/")):
        outside = state_storage(None, export, the_manifest(), the_table(), elsewhere)
        assert outside.url == f"{url}01732350000000-0badcafe/{place}"


def test_rejects_come_back() -> None:
    """Items and texts, with reason and place."""
    storage = MemoryFolder()
    text = RejectLine(text="no json", error={"code": "c", "message": "m"}, shard="s", line=4)
    state.write_rejects(storage, "rejects/s.jsonl", [REJECT, text])
    assert [REJECT, text] == state.read_rejects(storage, "rejects/s.jsonl")
    assert state.list_rejects(storage) == ["rejects/s.jsonl"]


@pytest.mark.parametrize(
    "line", [b"{", b"{}", b'{"Item":{},"error":{},"shard":"s"}', b'{"Item":{"a":"\xff"}}', b""]
)
def test_a_line_that_somebody_broke_is_named(line: bytes) -> None:
    """People fix these files by hand."""
    storage = MemoryFolder()
    state.write_rejects(storage, "rejects/s.jsonl", [REJECT])
    storage.files["rejects/s.jsonl"] += line + b"\n"
    with pytest.raises(StateError, match=r"Line 2 of .*rejects/s\.jsonl is not a valid reject record"):
        state.read_rejects(storage, "rejects/s.jsonl")


def test_only_the_run_that_owns_the_plan_completes_it() -> None:
    """One that another run's --restart has replaced, or that is gone, must not be called complete."""
    storage = MemoryFolder()
    first = settle(storage)
    second = settle(storage, restart=True)
    with pytest.raises(ConflictError, match="was replaced by another run"):
        state.complete_plan(storage, first)
    assert read_plan(storage) == second
    state.complete_plan(storage, second)
    completed = read_plan(storage)
    assert completed is not None
    assert completed.completed_at
    del storage.files[PLAN]
    with pytest.raises(ConflictError):
        state.complete_plan(storage, second)
    assert read_plan(storage) is None


class Raced(MemoryFolder):
    """A folder in which another run writes its plan just after this one has looked."""

    theirs = b""

    def read(self, name: str, *, max_bytes: int | None = None) -> StoredObject | None:
        found = super().read(name, max_bytes=max_bytes)
        if self.theirs:
            self.files[name] = self.theirs
        return found


@pytest.mark.parametrize("step", ["begin", "restart", "complete"])
def test_a_plan_is_written_only_over_what_was_read(step: str) -> None:
    """Two runs at once can't both own it: whoever writes second is refused, and the plan of the first stays."""
    storage, plan = Raced(), settle(MemoryFolder())
    if step != "begin":
        plan = settle(storage)
    storage.theirs = msgspec.json.encode(settle(MemoryFolder(), on_existing="skip"))
    writes: dict[str, Callable[[], object]] = {
        "begin": lambda: settle(storage),
        "restart": lambda: settle(storage, restart=True),
        "complete": lambda: state.complete_plan(storage, plan),
    }
    with pytest.raises(ConflictError):
        writes[step]()
    assert storage.files[PLAN] == storage.theirs
