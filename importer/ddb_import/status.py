"""`ddb-import --status`: where an import stands, from what is stored alone. Whoever may read the state may ask."""

from __future__ import annotations

import datetime as dt
import re
import shlex
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from ddb_import.apply.status import ApplyStatus, apply_status
from ddb_import.ledger import Ledger
from ddb_import.state import ImportPlan, NativeJob, read_plan, state_folder
from ddb_shared.aws.clients import Aws
from ddb_shared.errors import UsageError
from ddb_shared.format import control as controls
from ddb_shared.format import manifest as manifests
from ddb_shared.runtime import lease as leases
from ddb_shared.storage.base import Storage
from ddb_shared.storage.s3 import S3Storage

NOT_STARTED: Final = "not started"
RUNNING: Final = "running"
INTERRUPTED: Final = "interrupted"
COMPLETE: Final = "complete"
BATCH_WRITE: Final = "batch-write"
_BASE_ONLY: Final = "--base-only"
_STATE: Final = re.compile(r"(?P<account>\d{12})\.(?P<region>[a-z0-9-]+)\.(?P<table>[A-Za-z0-9_.-]+)")
_ARN: Final = re.compile(r"arn:[^:]+:dynamodb:(?P<region>[^:]+):(?P<account>\d{12}):table/(?P<table>.+)")


class ImportStatus(ApplyStatus, frozen=True, kw_only=True):
    """What `ddb-import --status --json` prints; what is unknown is null.

    `items_done` were written, skipped or rejected. `holder` is who imports now, or did last; `command` what to run next.
    Of an export that follows its table, `completed_at` is when the base was loaded, and the import is complete once its changes are
    applied as well; while that export itself is unfinished, totals are unknown.
    """

    status: str
    table: str
    export: str
    items_done: int
    items_total: int | None
    shards_done: int
    shards_total: int | None
    items_rejected: int
    holder: str | None
    command: str | None
    begun_at: str | None = None
    completed_at: str | None = None
    engine: str = BATCH_WRITE
    job: str | None = None

    def text(self) -> str:
        """The same for people."""
        percent = f" ({100 * self.items_done / self.items_total:.0f}%)" if self.items_total else ""
        lines = [
            f"Import of {self.export} into {self.table}: {self.status}",
            f"  items     {self.items_done:,} of {_total(self.items_total)}{percent}, {self.items_rejected:,} rejected",
            f"  shards    {self.shards_done:,} of {_total(self.shards_total)}",
            *self.lines_of_changes(self.export),
        ]
        lines += [f"  begun     {self.begun_at}"] if self.begun_at else []
        done = self.changes_completed_at or self.completed_at
        lines += [f"  complete  {done}"] if done and self.status == COMPLETE else []
        lines += [f"  job       {self.job} ({self.engine})"] if self.job else []
        who = "last run" if self.status == COMPLETE else "holder  "
        lines += [f"  {who}  {self.holder}"] if self.holder else []
        lines += [f"  next      {self.command}"] if self.command else []
        return "\n".join(lines)


def _total(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def import_status(
    aws: Aws, export_url: str, table: str, state: str | None, *, access: Sequence[str] = ()
) -> ImportStatus:
    """Where the import of the export into the table stands; raises ExportError where there is no such export.

    `access` are the options that the next command needs to reach the same services and state as the same caller.
    """
    export = manifests.export_storage(aws.s3, export_url)
    storage = find_state(aws, export, table, state)
    plan = read_plan(storage) if storage else None
    if storage is None or plan is None:
        return _not_started(export, table, access)
    changes = _changes(export, storage, plan)
    found = leases.read(storage)
    native = plan.native if isinstance(plan.native, NativeJob) else None
    done = _done_of(storage, plan)
    applied = changes.changes is None or changes.changes_completed_at
    complete = COMPLETE if plan.completed_at and applied else INTERRUPTED
    status = RUNNING if found and found.is_held else complete
    return ImportStatus(
        **msgspec.structs.asdict(changes),
        status=status,
        table=plan.table_arn,
        export=export.url,
        items_done=done.items,
        items_total=plan.items,
        shards_done=done.shards,
        shards_total=plan.shards,
        items_rejected=done.rejected,
        holder=found.lease.holder if found else None,
        command=_next_command(status, storage, plan, export, access),
        begun_at=plan.begun_at,
        completed_at=plan.completed_at or None,
        engine=native.engine if native else BATCH_WRITE,
        job=(native.arn or None) if native else None,
    )


def _changes(export: Storage, storage: Storage, plan: ImportPlan) -> ApplyStatus:
    """Of the changes of the export, unless the import was of its base alone."""
    running = controls.read_running(storage)
    if running and _BASE_ONLY in shlex.split(running.command):
        return ApplyStatus()
    return apply_status(export, storage, plan.run, dt.datetime.now(dt.UTC))


class _Done(NamedTuple):
    """What is done: items, shards, and how many of the items were rejected."""

    items: int
    shards: int
    rejected: int


def _done_of(storage: Storage, plan: ImportPlan) -> _Done:
    """By the checkpoints; an import by DynamoDB itself tells at its end."""
    if isinstance(plan.native, NativeJob):
        job = plan.native
        whole = _Done(job.written + job.rejected, plan.shards, job.rejected)
        return whole if plan.completed_at else _Done(0, 0, 0)
    done = list(Ledger.load(storage, plan.run).states.values())
    return _Done(
        sum(one.confirmed for one in done), sum(one.done for one in done), sum(one.rejected for one in done)
    )


def find_state(aws: Aws, export: S3Storage, table: str, state: str | None) -> Storage | None:
    """The state of the import into a table that is given by its name or ARN; None where none has begun.

    It is found by the folders that are there, so that who may read the bucket needs no access to the table.
    """
    export_id = manifests.read_id(export)
    place = state_folder(aws.s3, export, export_id, state)
    named = _ARN.fullmatch(table)
    wanted = named.groupdict() if named else {"table": table}
    found = [
        name
        for name in place.folders()
        if (state_of := _STATE.fullmatch(name.rstrip("/"))) and wanted.items() <= state_of.groupdict().items()
    ]
    if len(found) > 1:
        tables = [_arn(name) for name in found]
        raise UsageError(
            f"The export was imported into {len(found)} tables of that name: {', '.join(tables)}.",
            "Give TABLE as an ARN.",
        )
    return state_folder(aws.s3, export, export_id, state, found[0]) if found else None


def _arn(folder: str) -> str:
    account, region, table = folder.rstrip("/").split(".", 2)
    return f"arn:aws:dynamodb:{region}:{account}:table/{table}"


def _next_command(
    status: str, storage: Storage, plan: ImportPlan, export: S3Storage, access: Sequence[str]
) -> str:
    """What to run next: the check of a complete import, else the very command that was run, which continues it."""
    table = plan.table_arn.rpartition("/")[2]
    if status == COMPLETE:
        return shlex.join(["ddb-verify", export.url, table, *access])
    running = controls.read_running(storage)
    if running and running.command:
        return running.command
    return shlex.join(["ddb-import", export.url, table, *access])


def _not_started(export: S3Storage, table: str, access: Sequence[str]) -> ImportStatus:
    changes = apply_status(export, None, 1, dt.datetime.now(dt.UTC))
    follows = changes.changes is not None
    manifest = None if follows and manifests.read_header(export) is None else manifests.read(export)
    return ImportStatus(
        **msgspec.structs.asdict(changes),
        status=NOT_STARTED,
        table=table,
        export=export.url,
        items_done=0,
        items_total=manifest.items if manifest else None,
        shards_done=0,
        shards_total=len(manifest.shards) if manifest else None,
        items_rejected=0,
        holder=None,
        command=shlex.join(["ddb-import", export.url, table, *(["--follow"] if follows else []), *access]),
    )
