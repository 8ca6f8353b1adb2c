"""Loads one export into the table, or what an earlier run left of it: plan, shards, checkpoints, rejects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from ddb_import.apply.cut_over import Following, recount_rejects
from ddb_import.apply.follow import FollowTask
from ddb_import.apply.increments import IncrementWriters
from ddb_import.apply.state import CHANGE_REJECTS, read_apply
from ddb_import.ledger import Ledger
from ddb_import.load import OPEN_PARQUET_SHARDS, OPEN_SHARDS, Loaded, LoadPart, LoadTask, load_shards
from ddb_import.native.bulk import load_in_bulk
from ddb_import.options import ImportOptions, OnExisting
from ddb_import.preflight import interleave
from ddb_import.prepare import ExportLoad, Work
from ddb_import.reject_watch import RejectWatch
from ddb_import.rejects import RejectsTask, load_rejects
from ddb_import.result import ExportOutcome, Sums, add_counts
from ddb_import.saved import is_bulk, refuse_emptied, refuse_skipped_base
from ddb_import.state import (
    IMPORTING,
    ImportPlan,
    clear_old_rejects,
    complete_plan,
    load_or_create_plan,
    read_plan,
)
from ddb_shared.aws.clients import Aws
from ddb_shared.command.control import Controllable, controlled
from ddb_shared.dynamodb.rate import max_workers_at
from ddb_shared.errors import StateError
from ddb_shared.format.manifest import PARQUET
from ddb_shared.runtime.display import display
from ddb_shared.runtime.events import announce
from ddb_shared.runtime.lease import HeldLease, hold
from ddb_shared.runtime.progress import Progress
from ddb_shared.runtime.runner import RunContext, Serial
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.location import open_storage
from ddb_shared.table.capacity import units_at
from ddb_shared.table.description import find


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads the exports of one import, one after another.

    `made_table` says that ImportTable has just loaded the full one. `on_base` is called once a base is loaded, and before its changes
    are applied.
    """

    work: Work
    options: ImportOptions
    aws: Aws
    stop: Stop
    made_table: bool = False
    on_base: Callable[[], None] = lambda: None

    def run(self, load: ExportLoad) -> ExportOutcome:
        """One export; after a stop, only a part of it."""
        renewals = open_storage(self.aws.lease_s3, load.storage.url)
        with hold(renewals, self.stop, activity=IMPORTING) as lease:
            guarded = open_storage(self.aws.under(lease.guard).s3, load.storage.url)
            outcome = self._run(replace(load, storage=guarded), lease)
            self._refuse_replaced()
            return outcome

    def _refuse_replaced(self) -> None:
        """Raises StateError where the table is another one than at the start: a follow may wait for days between two writes."""
        table = self.work.table
        found = find(self.aws.dynamodb, table.address)
        if found is None or found.id != table.id:
            what = "deleted" if found is None else f"recreated: its id is {found.id}, and was {table.id}"
            raise StateError(
                f"The table {table.arn} was {what}. What was written to it before that is gone.",
                "Run the command with --restart to load everything again.",
            )

    def _run(self, load: ExportLoad, lease: HeldLease) -> ExportOutcome:
        options, given = self.options, load.given
        if is_bulk(load, options):
            job = load_in_bulk(
                load,
                self.work.table,
                options,
                self.aws,
                self.stop,
                guard=lease.guard,
                max_wcu=self.work.max_wcu,
            )
            lease.check()
            return self._with_changes(load, ExportOutcome.of_job(load, job, is_new=True), lease)
        if options.from_rejects and read_plan(load.storage) is None:
            raise StateError(
                f"There are no rejects: {given.folder.url} was never loaded into {self.work.table.arn}.",
                "Run the command without --from-rejects (with --state, give the same one here).",
            )
        on_existing = OnExisting.OVERWRITE if given.increment else options.on_existing
        plan = load_or_create_plan(
            load.storage, given.manifest, self.work.table, on_existing, restart=options.restart
        )
        if plan.native is not msgspec.UNSET:
            outcome = ExportOutcome.of_job(load, plan.native, is_new=self.made_table)
            if not self.made_table:
                self._report_completion(load, plan, outcome.after)
            return self._with_changes(load, outcome, lease)
        open_ledger = Ledger.restart if options.restart else Ledger.load
        ledger = open_ledger(load.storage, plan.run)
        before = Sums.of(ledger.states)
        if plan.run > 1 and not plan.completed_at:
            clear_old_rejects(load.storage, ledger.with_rejects(), self.stop.requested)
            self.stop.check()
        if plan.completed_at:
            self._report_completion(load, plan, before)
        try:
            cost = (self._load_rejects if options.from_rejects else self._load)(load, plan, ledger, lease)
        finally:
            ledger.close()
        self.stop.check()
        lease.check()
        outcome = ExportOutcome(load, before, Sums.of(ledger.states), cost)
        if not outcome.is_done:
            return outcome
        complete_plan(load.storage, plan)
        return self._with_changes(load, outcome, lease)

    def _with_changes(self, load: ExportLoad, outcome: ExportOutcome, lease: HeldLease) -> ExportOutcome:
        """The same once the changes of the export are applied, if there are any."""
        plan = read_plan(load.storage) if load.has_changes else None
        if plan is None:
            return outcome
        refuse_skipped_base(plan)
        self.on_base()
        cut_over, cost = self._following(load, plan, lease).run()
        return replace(outcome, cut_over=cut_over, cost=outcome.cost.plus(cost))

    def _following(self, load: ExportLoad, plan: ImportPlan, lease: HeldLease) -> Following:
        """What applies the changes of the export, now that its base is loaded whole."""
        table, folder = self.work.table, load.given.folder
        task = FollowTask(
            aws=self.options.common.aws,
            table=table.address,
            key=table.key,
            bucket=folder.bucket,
            prefix=folder.prefix,
            state_url=load.storage.url,
            max_wcu=self.work.max_wcu,
            run=plan.run,
            indexes=table.index_count,
        )
        return Following(
            export=folder,
            storage=load.storage,
            task=task,
            common=self.options.common,
            control=self._controllable(),
            stop=self.stop,
            lease=lease,
            max_rejects=self.options.max_rejects,
        )

    def _report_completion(self, load: ExportLoad, plan: ImportPlan, done: Sums) -> None:
        """Announces that the import is complete; raises StateError if the table is empty although items were loaded."""
        refuse_emptied(self.aws, self.work.table, load, plan, done)
        announce(f"This import was completed at {plan.completed_at}: there is nothing to load.")

    def _load(self, load: ExportLoad, plan: ImportPlan, ledger: Ledger, lease: HeldLease) -> Loaded:
        """Loads the remaining shards in parallel."""
        common, manifest = self.options.common, load.given.manifest
        shards = interleave([shard for shard in manifest.shards if not ledger.is_done(shard.name)])
        sums = Sums.of(ledger.states)
        progress = Progress(
            f"increment {load.given.increment.window}" if load.given.increment else "import",
            manifest.items,
            len(manifest.shards),
            shards=sums.done,
            resumed_items=sums.confirmed,
            units_name="WCU",
            cap=self.work.max_wcu,
        )
        rejects = RejectWatch(self.options.max_rejects, self.stop)
        with (
            display(common.progress, progress) as on_event,
            controlled(load.storage, progress, self._controllable()) as rate,
        ):
            results = common.runner(small=load.is_small).deal(
                load_shards,
                self._task(load, plan),
                [LoadPart(shard, shard.name in load.files.unverified) for shard in shards],
                RunContext(on_event=rejects.watch(on_event), stop=self.stop, rate=rate, lease=lease),
                on_settled=lambda _, state: ledger.settle(state),
                at_most=self._max_workers(load),
            )
        self.stop.check()
        lease.check()
        rejects.check(load.storage)
        return Loaded(
            sum(result.consumed_wcu for result in results), add_counts(one.throttled for one in results)
        )

    def _controllable(self) -> Controllable:
        return Controllable(
            resume=resume_command(self.options),
            given=self.options.common.invocation.line(),
            own=self.options.max_wcu,
            resolve=lambda cap: units_at(cap, self.work.table.definition, "Write"),
        )

    def _max_workers(self, load: ExportLoad) -> int | None:
        """One alone where changes may supersede rejects, which are marked in one file."""
        return 1 if self._earlier_rejects(load) else max_workers_at(self.work.max_wcu)

    def _load_rejects(self, load: ExportLoad, plan: ImportPlan, ledger: Ledger, lease: HeldLease) -> Loaded:
        """Loads what is in the rejects files; there is little of it, so one task is enough."""
        changes = read_apply(load.storage, plan.run).rejected
        progress = Progress("import of rejects", Sums.of(ledger.states).rejected + changes)
        states = tuple(ledger.states[shard] for shard in sorted(ledger.with_rejects()))
        files = (CHANGE_REJECTS,) if changes else ()
        tasks = [RejectsTask(load=self._task(load, plan), states=states, files=files)]
        with display(self.options.common.progress, progress) as on_event:
            loaded = Serial().run(load_rejects, tasks, on_event, self.stop, lease=lease)
        ledger.read_again()
        recount_rejects(load.storage, plan.run)
        if not loaded:  # stopped before it began
            lease.check()
            self.stop.check_any()
        return loaded[0]

    def _earlier_rejects(self, load: ExportLoad) -> tuple[str, ...]:
        chain = self.work.chain
        return chain.states() if chain and load.given.increment else ()

    def _task(self, load: ExportLoad, plan: ImportPlan) -> LoadTask:
        table, given = self.work.table, load.given
        writers = None
        if given.increment:
            writers = IncrementWriters(
                view=given.increment.view, key=table.key, earlier=self._earlier_rejects(load)
            )
        return LoadTask(
            aws=self.options.common.aws,
            table=table.address,
            key_names=table.key_names,
            bucket=given.data.bucket,
            prefix=given.data.prefix,
            state_url=load.storage.url,
            on_existing=OnExisting(plan.on_existing),
            max_wcu=self.work.max_wcu,
            open_shards=OPEN_PARQUET_SHARDS if given.manifest.options.format == PARQUET else OPEN_SHARDS,
            run=plan.run,
            indexes=table.index_count,
            writers=writers,
        )


def resume_command(options: ImportOptions) -> str:
    """The command line that resumes this import: the same one, without --restart."""
    return options.common.invocation.line(without={"restart", "dry_run"})


def rest_command(options: ImportOptions) -> str:
    """The command line that loads the shards that are left, also after a run of the rejects alone."""
    return options.common.invocation.line(without={"restart", "dry_run", "from_rejects"})
