"""`--engine import-table`: DynamoDB makes the table with the items of the export in it, at no write capacity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ddb_import.definition.create import Definition
from ddb_import.native.jobs import ImportTableJob
from ddb_import.native.record import PlanFile, open_plan
from ddb_import.native.run import JobRunner
from ddb_import.native.source import Source, read_source, verify_copies
from ddb_import.native.table import table_parameters
from ddb_import.new_table import planned_table
from ddb_import.options import Engine, ImportOptions
from ddb_import.preflight import new_table_checks, state_checks
from ddb_import.prepare import Given, apply_changes_of, check_files, earlier_checks, read_exports
from ddb_import.state import IMPORTING, ImportPlan, NativeJob, read_plan, refuse_deleted, state_storage
from ddb_shared.aws.clients import Aws
from ddb_shared.command.identity import identify
from ddb_shared.command.preflight import require
from ddb_shared.errors import TableError, UsageError
from ddb_shared.runtime.events import announce
from ddb_shared.runtime.lease import hold
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.base import Storage
from ddb_shared.storage.location import open_storage
from ddb_shared.table.description import Table, find
from ddb_shared.text import size_text


@dataclass(frozen=True, slots=True)
class _Table:
    """The table that is to be made: where its state is stored, and what is there already."""

    arn: str
    storage: Storage
    plan: ImportPlan | None
    found: Table | None

    @property
    def job(self) -> NativeJob | None:
        """The import that an earlier command began, if there is one."""
        native = self.plan.native if self.plan else None
        return native if isinstance(native, NativeJob) and native.engine == Engine.IMPORT_TABLE else None


def import_table(options: ImportOptions, aws: Aws, stop: Stop) -> bool:
    """Makes the table with the items of the full export; False where an earlier command has done so.

    Everything that can be refused is, before DynamoDB is asked for anything.
    """
    exports = _full_export_first(options, aws, stop)
    given = exports[0]
    table = _look(options, aws, given)
    if table.found and table.plan and table.plan.completed_at and not options.restart:
        return False
    _refuse_deleted(options, table)
    _refuse_existing(options, table)
    definition = _definition(options, aws, given, stop)
    files = check_files(given)
    owner = aws.options.owner_of(given.folder.bucket)
    source = read_source(given.folder, given.manifest, Engine.IMPORT_TABLE, aws.region, owner)
    parameters = table_parameters(definition)
    place = state_checks(aws, given.folder, given.manifest, options.state)
    require({**({} if table.found else new_table_checks(definition, None)), **place})
    if table.found is None:
        require(earlier_checks(options, aws, exports))
    verify_copies(given.folder, given.manifest, files.unverified)
    renewals = open_storage(aws.lease_s3, table.storage.url)
    with hold(renewals, stop, activity=IMPORTING) as lease:
        guarded = open_storage(aws.under(lease.guard).s3, table.storage.url)
        plan = open_plan(guarded, given.manifest, options, table_arn=table.arn, table_id="")
        resume = options.common.invocation.line(without={"restart", "dry_run"})
        command = options.common.invocation.line()
        runner = JobRunner(options.common.progress, stop, resume, command, lease.guard)
        _run(runner, aws.dynamodb, plan, source, parameters, is_new=table.found is None)
        lease.check()
    # an import that has ended while nobody waited for it may be of a table that is gone since
    _refuse_deleted(options, _look(options, aws, given))
    return True


def _run(
    runner: JobRunner,
    dynamodb: Any,
    plan: PlanFile,
    source: Source,
    parameters: dict[str, Any],
    *,
    is_new: bool,
) -> None:
    """A job that failed is asked for again only where it has left no table."""
    plan.may_start_again = is_new
    if is_new:
        announce(
            f"DynamoDB makes table {parameters['TableName']} from {source.items:,} items in {source.objects:,} objects, "
            f"{size_text(source.stored_bytes)} as stored."
        )

    def open_job(job: NativeJob) -> ImportTableJob:
        return ImportTableJob(
            dynamodb,
            source,
            parameters,
            table_arn=plan.plan.table_arn,
            token=job.token,
            arn=job.arn,
            again=runner.resume,
            is_new=is_new,
        )

    runner.run(plan, open_job)


def _full_export_first(options: ImportOptions, aws: Aws, stop: Stop) -> list[Given]:
    exports = read_exports(options, aws, stop)
    apply_changes_of(options, exports)
    if exports[0].increment:
        raise UsageError(
            "--engine import-table makes a table from a full export, and only increments are given.",
            "Give the full export first, or leave --engine out.",
        )
    return exports


def _definition(options: ImportOptions, aws: Aws, given: Given, stop: Stop) -> Definition:
    if options.create is None:
        raise UsageError("--engine import-table makes the table.", "Give --create-table as well.")
    return Definition(options.create, aws, given.manifest, options.table, stop)


def _look(options: ImportOptions, aws: Aws, given: Given) -> _Table:
    if options.table.startswith("arn:"):
        raise UsageError(
            "--engine import-table makes a table in the caller's own account.",
            "Give the table's name in place of its ARN.",
        )
    if not identify(aws).account:
        raise UsageError(
            "--engine import-table needs the number of the caller's account, and STS could not be asked.",
            "Use --engine batch-write, or let the command reach STS.",
        )
    planned = planned_table(options, aws, given.manifest)
    storage = state_storage(aws.s3, given.folder, given.manifest, planned, options.state)
    return _Table(planned.arn, storage, read_plan(storage), find(aws.dynamodb, options.table))


def _refuse_deleted(options: ImportOptions, table: _Table) -> None:
    """Raises StateError where the table of a complete import is gone: nothing is made again without the user's word."""
    if table.found is None and table.plan is not None and table.plan.completed_at and not options.restart:
        refuse_deleted(table.plan, table.arn)


def _refuse_existing(options: ImportOptions, table: _Table) -> None:
    """Raises TableError where the table exists, unless it is the one that this import is making."""
    if table.found is None or (table.job is not None and not options.restart):
        return
    raise TableError(
        f"Table {table.found.name} exists, and ImportTable makes its table.",
        "Choose another name, or load into this table with --engine bulk or --engine batch-write. ddb-transfer never deletes a table.",
    )
