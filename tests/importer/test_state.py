"""The saved state fits the import that goes on with it, or stops it."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from ddb_import import state
from ddb_import.state import PLAN, Plan, clear, folder_of, load_all, settle_plan
from ddb_shared import checkpoint as checkpoints
from ddb_shared import manifest as manifests
from ddb_shared.checkpoint import ShardCheckpoint
from ddb_shared.errors import StateError
from ddb_shared.items import RejectLine
from ddb_shared.manifest import Manifest
from ddb_shared.table import Table, from_description
from support.memory import MemoryFolder

DATA = Path(__file__).parents[1] / "data"
REJECT = RejectLine(item={"pk": {"S": "é"}}, error={"code": "c", "message": "m"}, shard="s", line=3)


def the_manifest() -> Manifest:
    return manifests.read(MemoryFolder.of(DATA / "ddb-transfer-1", "AWSDynamoDB/01732350000000-0badcafe"))


def the_table(**changes: Any) -> Table:
    return from_description(the_manifest().table | {"TableId": "one"} | changes)


def settle(
    folder: MemoryFolder, *, restart: bool = False, on_existing: str = "overwrite", **table: Any
) -> Plan:
    return settle_plan(folder, the_manifest(), the_table(**table), on_existing, restart=restart)


def test_the_same_command_goes_on_with_the_same_plan() -> None:
    """Begun once, found again."""
    folder = MemoryFolder()
    assert settle(folder) == settle(folder)
    assert folder.writes == [PLAN]


@pytest.mark.parametrize(
    ("change", "what"),
    [({"TableId": "two"}, "it was made anew since"), ({"on_existing": "skip"}, "--on-existing")],
)
def test_another_import_is_refused(change: dict[str, Any], what: str) -> None:
    """A table that was made anew has nothing of what the state says is there."""
    folder = MemoryFolder()
    settle(folder)
    with pytest.raises(StateError, match=what) as caught:
        settle(folder, **change)
    assert "--restart" in caught.value.remedy


@pytest.mark.parametrize("member", ["export_id", "items", "shards"])
def test_another_export_is_refused(member: str) -> None:
    """Its id, its items and its shards are compared."""
    folder = MemoryFolder()
    saved = settle(folder)
    changed = msgspec.structs.replace(saved, **{member: "x" if member == "export_id" else 99})
    folder.files[PLAN] = msgspec.json.encode(changed)
    with pytest.raises(StateError, match="is of another"):
        settle(folder)


def test_a_restart_resets_everything_and_deletes_nothing() -> None:
    """The destination may have no permission to delete; the runs are counted."""
    folder = MemoryFolder()
    settle(folder)
    checkpoints.save(folder, ShardCheckpoint(shard="s", confirmed=9, rejected=1, done=True))
    state.write_rejects(folder, "rejects/s.jsonl", [REJECT])
    before = set(folder.files)
    assert settle(folder, restart=True, TableId="two").run == 2
    assert {"s": ShardCheckpoint(shard="s")} == load_all(folder)
    assert state.list_rejects(folder) == []
    assert before == set(folder.files)
    assert settle(folder, TableId="two").run == 2


def test_clearing_an_empty_state_is_nothing() -> None:
    """Before the first run."""
    folder = MemoryFolder()
    clear(folder)
    assert folder.files == {}


def test_the_state_lies_with_the_export_or_elsewhere(tmp_path: Path) -> None:
    """Its folder names account, region and table, so that imports into several tables do not meet."""
    export = MemoryFolder("p/AWSDynamoDB/01732350000000-0badcafe")
    place = "111111111111.eu-central-1.Orders/"
    inside = folder_of(None, export, the_manifest(), the_table(), None)
    assert inside.url == f"{export.url}import/{place}"
    for elsewhere, url in ((str(tmp_path), f"{tmp_path}/"), ("s3://other/p/", "s3://other/p/")):
        outside = folder_of(None, export, the_manifest(), the_table(), elsewhere)
        assert outside.url == f"{url}01732350000000-0badcafe/{place}"


def test_rejects_come_back() -> None:
    """Items and texts, with reason and place."""
    folder = MemoryFolder()
    text = RejectLine(text="no json", error={"code": "c", "message": "m"}, shard="s", line=4)
    state.write_rejects(folder, "rejects/s.jsonl", [REJECT, text])
    assert [REJECT, text] == state.read_rejects(folder, "rejects/s.jsonl")
    assert state.list_rejects(folder) == ["rejects/s.jsonl"]


@pytest.mark.parametrize(
    "line", [b"{", b"{}", b'{"Item":{},"error":{},"shard":"s"}', b'{"Item":{"a":"\xff"}}', b""]
)
def test_a_line_that_somebody_broke_is_named(line: bytes) -> None:
    """People mend these files by hand."""
    folder = MemoryFolder()
    state.write_rejects(folder, "rejects/s.jsonl", [REJECT])
    folder.files["rejects/s.jsonl"] += line + b"\n"
    with pytest.raises(StateError, match=r"Line 2 of .*rejects/s\.jsonl is no reject line"):
        state.read_rejects(folder, "rejects/s.jsonl")
