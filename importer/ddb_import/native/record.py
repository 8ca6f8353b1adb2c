"""What is recorded of a native import in its plan: the token with which it is asked for, and the ARN that AWS answered with."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from ddb_import.options import Engine, ImportOptions
from ddb_import.state import OVERWRITE, PLAN, ImportPlan, NativeJob
from ddb_shared.errors import StateError
from ddb_shared.format import checkpoint as checkpoints
from ddb_shared.format.manifest import Manifest, new_export_id
from ddb_shared.storage.base import Storage
from ddb_shared.times import now_text


class PlanFile:
    """The plan of one native import, written before and after each thing that it must not forget."""

    def __init__(self, storage: Storage, plan: ImportPlan, job: NativeJob, etag: str) -> None:
        self.storage = storage
        self._etag = etag
        self.plan = plan
        self.job = job
        # a bulk put may be: it writes the same items again
        self.may_start_again = True

    def record(self, *, table_id: str = "", **members: Any) -> None:
        """Writes what is known of the job now, and the id of the table that it has made."""
        self._write(msgspec.structs.replace(self.job, **members), table_id=table_id or self.plan.table_id)

    def again(self) -> None:
        """Forgets a job that has ended without success: the next one has a token of its own."""
        self._write(_new_job(self.job.engine), run=self.plan.run + 1)

    def complete(self, *, table_id: str, **members: Any) -> None:
        """Records that everything is loaded."""
        job = msgspec.structs.replace(self.job, **members)
        self._write(job, table_id=table_id or self.plan.table_id, completed_at=now_text())

    def _write(self, job: NativeJob, **members: Any) -> None:
        self.job = job
        self.plan = msgspec.structs.replace(self.plan, native=job, **members)
        self._etag = self.storage.write(PLAN, msgspec.json.encode(self.plan), replaces=self._etag)


def _new_job(engine: str) -> NativeJob:
    return NativeJob(engine=engine, token=new_export_id(time.time()), requested_at=now_text())


def open_plan(
    storage: Storage, manifest: Manifest, options: ImportOptions, *, table_arn: str, table_id: str
) -> PlanFile:
    """The plan that this run follows; raises StateError where the saved one is of another engine, table or export.

    `table_id` is empty for a table that the job will make.
    """
    job = _new_job(options.engine.value)
    fresh = _fresh(manifest, job, table_arn=table_arn, table_id=table_id)
    stored = storage.read(PLAN)
    if stored is None:
        return PlanFile(storage, fresh, job, storage.write(PLAN, msgspec.json.encode(fresh), new=True))
    saved = checkpoints.decode(storage, PLAN, stored.data, ImportPlan)
    if options.restart:
        fresh = msgspec.structs.replace(fresh, run=saved.run + 1)
        return PlanFile(
            storage, fresh, job, storage.write(PLAN, msgspec.json.encode(fresh), replaces=stored.etag)
        )
    _refuse_changes(storage, saved, fresh, options.engine)
    return PlanFile(storage, saved, job if saved.native is msgspec.UNSET else saved.native, stored.etag)


def check_job(
    storage: Storage, manifest: Manifest, saved: ImportPlan, engine: Engine, *, table_arn: str, table_id: str
) -> None:
    """Raises StateError where the saved plan is not one that a run with this engine continues."""
    fresh = _fresh(manifest, _new_job(engine.value), table_arn=table_arn, table_id=table_id)
    _refuse_changes(storage, saved, fresh, engine)


def _fresh(manifest: Manifest, job: NativeJob, *, table_arn: str, table_id: str) -> ImportPlan:
    return ImportPlan(
        export_id=manifest.export_id,
        items=manifest.items,
        shards=len(manifest.shards),
        table_arn=table_arn,
        table_id=table_id,
        on_existing=OVERWRITE,
        begun_at=now_text(),
        native=job,
    )


def _refuse_changes(storage: Storage, saved: ImportPlan, fresh: ImportPlan, engine: Engine) -> None:
    before = Engine.BATCH_WRITE.value if saved.native is msgspec.UNSET else saved.native.engine
    differences = [
        (what, then, now)
        for what, then, now in (
            ("engine", before, engine.value),
            ("export", saved.export_id, fresh.export_id),
            ("number of items", saved.items, fresh.items),
            ("number of shards", saved.shards, fresh.shards),
            ("table (it was recreated since)", saved.table_id, fresh.table_id or saved.table_id),
        )
        if then != now
    ]
    for what, then, now in differences:
        raise StateError(
            f"The state in {storage.url} is of another {what}: {then} then, {now} now.",
            "Run the command with --restart to discard the state and load everything again.",
        )
