"""The state of one import of one export into one table: plan, lease, checkpoints, rejects."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec

from ddb_shared import checkpoint as checkpoints
from ddb_shared.checkpoint import ShardCheckpoint
from ddb_shared.errors import StateError
from ddb_shared.items import RejectLine
from ddb_shared.manifest import FORMAT, Manifest
from ddb_shared.storage import Folder, S3Folder, open_folder
from ddb_shared.table import Table
from ddb_shared.times import now_text

PLAN: Final = "plan.json"
REJECTS: Final = "rejects/"
_READERS: Final = 16


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is imported where: a resumed import must match it. `run` counts the times that it was begun anew."""

    format: str = FORMAT
    export_id: str
    items: int
    shards: int
    table_arn: str
    table_id: str
    on_existing: str
    begun_at: str
    run: int = 1


def place_of(s3: Any, export: S3Folder, manifest: Manifest, elsewhere: str | None, table: str = "") -> Folder:
    """Where the states of an export's imports lie: in its folder, or below `elsewhere`, a URL or a local path."""
    if elsewhere is None:
        return export.below(f"import/{table}")
    return open_folder(s3, f"{elsewhere.rstrip('/')}/{manifest.export_id}/{table}")


def folder_of(s3: Any, export: S3Folder, manifest: Manifest, table: Table, elsewhere: str | None) -> Folder:
    """Where the state of the import into one table lies."""
    return place_of(s3, export, manifest, elsewhere, f"{table.account}.{table.region}.{table.name}/")


def settle_plan(folder: Folder, manifest: Manifest, table: Table, on_existing: str, *, restart: bool) -> Plan:
    """The plan that this run follows; raises StateError where the saved state is of another table or export."""
    fresh = Plan(
        export_id=manifest.export_id,
        items=manifest.items,
        shards=len(manifest.shards),
        table_arn=table.arn,
        table_id=table.id,
        on_existing=on_existing,
        begun_at=now_text(),
    )
    stored = folder.read(PLAN)
    if stored is None:
        folder.write(PLAN, msgspec.json.encode(fresh), new=True)
        return fresh
    saved = checkpoints.decode(folder, PLAN, stored.data, Plan)
    if restart:
        fresh = msgspec.structs.replace(fresh, run=saved.run + 1)
        clear(folder)
        folder.write(PLAN, msgspec.json.encode(fresh), replaces=stored.etag)
        return fresh
    _refuse_changes(folder, saved, fresh)
    return saved


def _refuse_changes(folder: Folder, saved: Plan, fresh: Plan) -> None:
    for name, what in (
        ("export_id", "export"),
        ("items", "number of items"),
        ("shards", "number of shards"),
        ("table_id", "table (it was made anew since)"),
        ("on_existing", "--on-existing"),
    ):
        before, now = getattr(saved, name), getattr(fresh, name)
        if before != now:
            raise StateError(
                f"The state in {folder.url} is of another {what}: {before} then, {now} now.",
                "Run the command with --restart to throw the state away and load everything again.",
            )


def clear(folder: Folder) -> None:
    """Resets every checkpoint and empties every rejects file; needs no permission to delete."""
    for entry in list(folder.list(checkpoints.SHARDS)):
        shard = entry.name.removeprefix(checkpoints.SHARDS).removesuffix(".json")
        checkpoints.save(folder, ShardCheckpoint(shard=shard))
    for entry in list(folder.list(REJECTS)):
        folder.write(entry.name, b"")


def load_all(folder: Folder) -> dict[str, ShardCheckpoint]:
    """The checkpoints of all shards that were begun, by shard."""
    names = [entry.name for entry in folder.list(checkpoints.SHARDS)]
    with ThreadPoolExecutor(_READERS) as pool:
        loaded = pool.map(lambda name: checkpoints.load(folder, name, ShardCheckpoint), names)
    return {state.shard: state for state in loaded if state is not None}


def list_rejects(folder: Folder) -> list[str]:
    """The names of the rejects files that hold anything."""
    return [entry.name for entry in folder.list(REJECTS) if entry.size]


def read_rejects(folder: Folder, name: str) -> list[RejectLine]:
    """The lines of one rejects file."""
    stored = folder.read(name)
    lines = stored.data.splitlines() if stored else []
    rejects = []
    for number, line in enumerate(lines, 1):
        try:
            rejects.append(msgspec.json.decode(line, type=RejectLine))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StateError(
                f"Line {number} of {folder.url}{name} is no reject line: {error}",
                'Each line must be one JSON object with "Item", "error", "shard" and "line"; mend it and run again.',
            ) from error
    return rejects


def write_rejects(folder: Folder, name: str, rejects: list[RejectLine]) -> None:
    """Replaces one rejects file."""
    folder.write(name, b"".join(msgspec.json.encode(reject) + b"\n" for reject in rejects))
