"""What earlier commands have left of an import, and what of it forbids to continue: a dry run asks without taking anything."""

from __future__ import annotations

from collections.abc import Sequence

from ddb_import.apply.chain import AppliedRecord, Chain
from ddb_import.ledger import Ledger
from ddb_import.native.record import check_job
from ddb_import.options import Engine, ImportOptions, OnExisting
from ddb_import.preflight import holds_items
from ddb_import.prepare import ExportLoad
from ddb_import.result import Sums
from ddb_import.state import IMPORTING, IMPORTING_CHAIN, ImportPlan, NativeJob, check_saved, read_plan
from ddb_shared.aws.clients import Aws
from ddb_shared.errors import StateError
from ddb_shared.runtime.lease import check_free
from ddb_shared.table.description import Table


def check_leases(loads: Sequence[ExportLoad], chain: Chain | None) -> str:
    """That no other command imports these exports into the table at the moment."""
    if chain is not None:
        check_free(chain.storage, IMPORTING_CHAIN)
    for load in loads:
        check_free(load.storage, IMPORTING)
    return "no other command imports into the table"


def check_states(
    options: ImportOptions, aws: Aws, table: Table, loads: Sequence[ExportLoad], chain: Chain | None
) -> str:
    """What is saved of each export that is to be loaded; raises StateError where the run cannot continue it."""
    if not loads and chain is not None and chain.record is not None:
        refuse_emptied_chain(aws, table, chain.record)
    return "; ".join(_check_state(options, aws, table, load) for load in loads) or "nothing is left to load"


def _check_state(options: ImportOptions, aws: Aws, table: Table, load: ExportLoad) -> str:
    saved, manifest = read_plan(load.storage), load.given.manifest
    if saved is None:
        return "no earlier import"
    if options.restart:
        return "an earlier import is discarded"
    if is_bulk(load, options):
        check_job(load.storage, manifest, saved, options.engine, table_arn=table.arn, table_id=table.id)
        return f"continues the job of {saved.begun_at}"
    on_existing = OnExisting.OVERWRITE if load.given.increment else options.on_existing
    check_saved(load.storage, manifest, table, on_existing)
    if load.has_changes:
        refuse_skipped_base(saved)
    if not saved.completed_at:
        return f"continues the import of {saved.begun_at}"
    refuse_emptied(aws, table, load, saved, _done(load, saved))
    return f"complete since {saved.completed_at}"


def _done(load: ExportLoad, plan: ImportPlan) -> Sums:
    if isinstance(plan.native, NativeJob):
        return Sums(confirmed=plan.native.written + plan.native.rejected, rejected=plan.native.rejected)
    return Sums.of(Ledger.load(load.storage, plan.run).states)


def is_bulk(load: ExportLoad, options: ImportOptions) -> bool:
    """Whether DynamoDB is to load the export into the table; one that is loaded is not loaded again."""
    if options.engine is not Engine.BULK or load.given.increment or options.from_rejects:
        return False
    saved = read_plan(load.storage)
    return options.restart or saved is None or not saved.completed_at


def refuse_skipped_base(plan: ImportPlan) -> None:
    """Raises StateError for a base that changes cannot continue."""
    if plan.on_existing == OnExisting.SKIP:
        raise StateError(
            "The base was loaded with --on-existing skip: items that the table held before may differ from the base, which "
            "the changes continue.",
            "Load everything again with --restart --on-existing overwrite.",
        )


def refuse_emptied(aws: Aws, table: Table, load: ExportLoad, plan: ImportPlan, done: Sums) -> None:
    """Raises StateError where the table of a complete import is empty although items were loaded."""
    lost = load.given.increment is None and not load.given.stream and done.confirmed > done.rejected
    if lost and holds_items(aws, table) is False:
        raise StateError(
            f"The import into {table.arn} completed at {plan.completed_at}, but the table is empty now.",
            "Run the command with --restart to load everything again.",
        )


def refuse_emptied_chain(aws: Aws, table: Table, record: AppliedRecord) -> None:
    """The same of exports that are all in the record of the table."""
    last = record.exports[-1]
    if not last.from_time and last.items > last.rejected and holds_items(aws, table) is False:
        raise StateError(
            f"{last.export} was loaded into {table.arn} at {last.applied_at}, but the table is empty now.",
            "Run the command with --restart to load everything again.",
        )
