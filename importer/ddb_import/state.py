"""The state of one import of one export into one table: plan, lease, checkpoints, rejects."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec

from ddb_shared.errors import StateError
from ddb_shared.format import checkpoint as checkpoints
from ddb_shared.format.lines import RejectLine
from ddb_shared.format.manifest import FORMAT, Manifest
from ddb_shared.records import prepare
from ddb_shared.storage.base import ConflictError, Storage
from ddb_shared.storage.location import open_storage
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import Table
from ddb_shared.times import now_text

PLAN: Final = "plan.json"
REJECTS: Final = "rejects/"
SUPERSEDED: Final = "superseded.json"
OVERWRITE: Final = "overwrite"
# What the holder of a lease does.
IMPORTING: Final = "This export is already being imported into this table"
IMPORTING_CHAIN: Final = "Exports are already being imported into this table"
_READERS: Final = 16


class NativeJob(msgspec.Struct, frozen=True, kw_only=True):
    """The job with which DynamoDB loads an export: what asks for it, its ARN once AWS has answered, and what it has loaded.

    `report` is where DynamoDB wrote the items that it refused.
    """

    engine: str
    token: str
    requested_at: str
    arn: str = ""
    written: int = 0
    rejected: int = 0
    report: str = ""


class ImportPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Export and table of an import, which a resume must match. Each --restart increments `run`.

    `completed_at` is empty until every shard is done. `native` is the job where DynamoDB loads the export, and absent otherwise.
    """

    format: str = FORMAT
    export_id: str
    items: int
    shards: int
    table_arn: str
    table_id: str
    on_existing: str
    begun_at: str
    run: int = 1
    completed_at: str = ""
    native: NativeJob | msgspec.UnsetType = msgspec.UNSET


class Superseded(msgspec.Struct, frozen=True, kw_only=True):
    """Rejects that a later change of the same key has superseded: lines of the rejects files, by shard."""

    format: str = FORMAT
    lines: dict[str, list[int]] = {}


def state_folder(
    s3: Any, export: S3Storage, export_id: str, state_url: str | None, table: str = ""
) -> Storage:
    """Where the states of an export's imports are stored: in its folder, or below `state_url`, a URL or a local path."""
    if state_url is None:
        return export.below(f"import/{table}")
    return open_storage(s3, f"{state_url.rstrip('/')}/{export_id}/{table}")


def state_storage(
    s3: Any, export: S3Storage, manifest: Manifest, table: Table, state_url: str | None
) -> Storage:
    """Where the state of the import into one table is stored."""
    return state_folder(
        s3, export, manifest.export_id, state_url, f"{table.account}.{table.region}.{table.name}/"
    )


def read_plan(storage: Storage) -> ImportPlan | None:
    """The plan of a started import; None if there is none."""
    stored = storage.read(PLAN)
    return checkpoints.decode(storage, PLAN, stored.data, ImportPlan) if stored else None


def is_plan_of(plan: ImportPlan | None, table: Table) -> bool:
    """Whether the plan is of this very table, not of an earlier one of the same name."""
    return plan is not None and (plan.table_arn, plan.table_id) == (table.arn, table.id)


def refuse_deleted(plan: ImportPlan, table_arn: str) -> None:
    """Raises StateError: the table of this import is gone, and none is created again without the user's word."""
    when = f"completed at {plan.completed_at}" if plan.completed_at else f"begun at {plan.begun_at}"
    raise StateError(
        f"This import was {when}, but the table {table_arn} does not exist any more.",
        "Run the command with --restart to create the table again and load everything.",
    )


def load_or_create_plan(
    storage: Storage, manifest: Manifest, table: Table, on_existing: str | None, *, restart: bool
) -> ImportPlan:
    """The plan of this run; raises StateError if the saved state belongs to another table or export.

    Without `on_existing`, it is as in the saved plan, or `overwrite` in a new one.
    """
    saved = None if restart else check_saved(storage, manifest, table, on_existing)
    if saved is not None:
        return saved
    fresh = _fresh(manifest, table, on_existing or OVERWRITE)
    stored = storage.read(PLAN) if restart else None
    if stored is None:
        storage.write(PLAN, msgspec.json.encode(fresh), new=True)
        return fresh
    earlier = checkpoints.decode(storage, PLAN, stored.data, ImportPlan)
    if on_existing is None:
        fresh = msgspec.structs.replace(fresh, on_existing=earlier.on_existing)
    # from this write on, the state of earlier runs is ignored
    fresh = msgspec.structs.replace(fresh, run=earlier.run + 1)
    storage.write(PLAN, msgspec.json.encode(fresh), replaces=stored.etag)
    return fresh


def check_saved(
    storage: Storage, manifest: Manifest, table: Table, on_existing: str | None
) -> ImportPlan | None:
    """The saved plan, which this import continues; None where there is none. Raises StateError where it is of another import."""
    saved = read_plan(storage)
    if saved is None:
        return None
    _refuse_changes(storage, saved, _fresh(manifest, table, on_existing or saved.on_existing))
    if saved.native is not msgspec.UNSET and not saved.completed_at:
        raise StateError(
            f"The state in {storage.url} is of an import with --engine {saved.native.engine} that is not complete.",
            "Run the command with that engine to wait for it, or with --restart to load everything again.",
        )
    return saved


def _fresh(manifest: Manifest, table: Table, on_existing: str) -> ImportPlan:
    return ImportPlan(
        export_id=manifest.export_id,
        items=manifest.items,
        shards=len(manifest.shards),
        table_arn=table.arn,
        table_id=table.id,
        on_existing=on_existing,
        begun_at=now_text(),
    )


def complete_plan(storage: Storage, plan: ImportPlan) -> None:
    """Records that every shard is done, unless another run has replaced the plan since."""
    if plan.completed_at:
        return
    stored = storage.read(PLAN)
    if stored is None or checkpoints.decode(storage, PLAN, stored.data, ImportPlan) != plan:
        raise ConflictError(
            f"{storage.url}{PLAN} was replaced by another run while this one was loading.",
            "Let the other run finish, or run the same command again.",
        )
    completed = msgspec.structs.replace(plan, completed_at=now_text())
    storage.write(PLAN, msgspec.json.encode(completed), replaces=stored.etag)


def _refuse_changes(storage: Storage, saved: ImportPlan, fresh: ImportPlan) -> None:
    for name, what in (
        ("export_id", "export"),
        ("items", "number of items"),
        ("shards", "number of shards"),
        ("table_id", "table id (the table was recreated)"),
        ("on_existing", "--on-existing"),
    ):
        before, now = getattr(saved, name), getattr(fresh, name)
        if before != now:
            raise StateError(
                f"The state in {storage.url} belongs to an import with another {what}: {before} instead of {now}.",
                "Run the command with --restart to discard the state and load everything again.",
            )


def clear_old_rejects(storage: Storage, shards: Collection[str], stopped: Callable[[], bool]) -> None:
    """Empties the rejects files of all but these shards, which have rejects in this run of the plan.

    The others are of runs before a --restart. They are emptied in parallel, which needs no permission to delete, until the
    run is `stopped`; where that was interrupted, the next command continues.
    """
    current = {rejects_file(shard) for shard in shards}
    marks = read_superseded(storage)
    if marks.keys() - set(shards):
        write_superseded(storage, {shard: marks[shard] for shard in marks.keys() & set(shards)})
    old = [name for name in list_rejects(storage) if name not in current]

    def clear(name: str) -> None:
        if not stopped():
            storage.write(name, b"")

    with ThreadPoolExecutor(_READERS) as pool:
        list(pool.map(clear, old))


def rejects_file(shard: str) -> str:
    """Where the rejects of a shard are stored."""
    return f"{REJECTS}{shard}.jsonl"


def list_rejects(storage: Storage) -> list[str]:
    """The names of the rejects files that are not empty."""
    return [entry.name for entry in storage.list(REJECTS) if entry.size]


def read_rejects(storage: Storage, name: str) -> list[RejectLine]:
    """The lines of one rejects file."""
    stored = storage.read(name)
    lines = stored.data.splitlines() if stored else []
    rejects = []
    for number, line in enumerate(lines, 1):
        try:
            rejects.append(msgspec.json.decode(line, type=RejectLine))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StateError(
                f"Line {number} of {storage.url}{name} is not a valid reject record: {error}",
                'Each line must be a JSON object with "Item", "error", "shard" and "line". Correct it, then run the command again.',
            ) from error
    return rejects


def write_rejects(storage: Storage, name: str, rejects: list[RejectLine]) -> None:
    """Replaces one rejects file."""
    storage.write(name, b"".join(msgspec.json.encode(reject) + b"\n" for reject in rejects))


def read_superseded(storage: Storage) -> dict[str, set[int]]:
    """The lines of rejects that later changes have superseded, by shard."""
    stored = storage.read(SUPERSEDED)
    if stored is None:
        return {}
    marks = checkpoints.decode(storage, SUPERSEDED, stored.data, Superseded)
    return {shard: set(lines) for shard, lines in marks.lines.items()}


def write_superseded(storage: Storage, marks: dict[str, set[int]]) -> None:
    """Replaces them."""
    lines = {shard: sorted(numbers) for shard, numbers in sorted(marks.items())}
    storage.write(SUPERSEDED, msgspec.json.encode(Superseded(lines=lines)))


prepare(ImportPlan)
