"""One import, from the manifest to the last confirmed item."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from dataclasses import dataclass

import msgspec

from ddb_import import lease
from ddb_import.definition.create import Definition
from ddb_import.definition.drift import Difference
from ddb_import.load import Loaded, LoadTask, load_shards
from ddb_import.options import ImportOptions
from ddb_import.preflight import check_shards, interleave, new_table_checks, state_checks, table_checks
from ddb_import.rejects import load_rejects
from ddb_import.state import REJECTS, folder_of, load_all, settle_plan
from ddb_import.verify.result import VerifyResult
from ddb_shared import manifest as manifests
from ddb_shared.aws import Aws
from ddb_shared.cap import units_at
from ddb_shared.checkpoint import ShardCheckpoint
from ddb_shared.errors import EXIT_REJECTS, AccessError, BucketError, ServiceError, StateError
from ddb_shared.manifest import Manifest, Shard
from ddb_shared.plan import seconds_for, write_units
from ddb_shared.preflight import bucket_checks, require
from ddb_shared.progress import Meter, announce, display
from ddb_shared.start import outlived
from ddb_shared.storage import Folder, S3Folder
from ddb_shared.table import Table, describe, find
from ddb_shared.throttle import workers_at
from ddb_shared.workers import Serial, Stop


class ImportResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `ddb-import --json` prints.

    `items_written` are of this run; `items_skipped` were loaded by an earlier run, or there already with
    `--on-existing skip`, or replaced by a later line with the same key; `items_rejected` are those of all runs.
    Together they are the items of the export. `drift` is where the table differs from the source's, with `--create-table`;
    `verification` is what `--verify` found.
    """

    status: str
    table: str
    items_written: int
    items_skipped: int
    items_rejected: int
    rejects: str | None
    shards_done: int
    shards_total: int
    seconds: float
    consumed_wcu: float
    throttled: int
    throttle_reasons: dict[str, int]
    drift: list[Difference] = []
    verification: VerifyResult | None = None

    @property
    def exit_code(self) -> int:
        """That of a verification that is no pass; else 0, or 3 where items were rejected."""
        unproven = self.verification.exit_code if self.verification else 0
        return unproven or (EXIT_REJECTS if self.items_rejected else 0)


@dataclass(frozen=True, slots=True)
class _Sums:
    """What the checkpoints add up to."""

    confirmed: int
    skipped: int
    rejected: int
    done: int


@dataclass(frozen=True, slots=True)
class _Import:
    """An import that may begin: what was checked, and where its state lies."""

    export: S3Folder
    manifest: Manifest
    table: Table
    unproven: frozenset[str]
    folder: Folder
    definition: Definition | None
    max_wcu: float | None


def run_import(options: ImportOptions, aws: Aws, stop: Stop) -> ImportResult:
    """Loads the export into the table, or what an earlier run left of it."""
    began = time.monotonic()
    work = _prepare(options, aws, stop)
    if work.definition and work.definition.options.definition_only:
        return _defined(work, work.definition, time.monotonic() - began)
    _warn_of_the_end(work, aws)
    remedy = f"Resume with:\n  {resume_command(options)}"
    with lease.held(work.folder, stop):
        settle_plan(
            work.folder, work.manifest, work.table, options.on_existing.value, restart=options.restart
        )
        before = load_all(work.folder)
        try:
            load = _load_rejects if options.from_rejects else _load
            loaded = load(work, before, options, stop)
            stop.check(remedy)
        except (AccessError, BucketError, ServiceError) as error:
            raise type(error)(error.message, f"{error.remedy}\n{remedy}".strip()) from error
        after = load_all(work.folder)
    result = _result(work, _sum(before), _sum(after), loaded, time.monotonic() - began)
    if result.shards_done != result.shards_total:
        raise StateError(f"{result.shards_total - result.shards_done} shards are not done.", remedy)
    if work.definition:
        result = msgspec.structs.replace(result, drift=work.definition.complete(work.table))
        stop.check(remedy)
    return result


def _warn_of_the_end(work: _Import, aws: Aws) -> None:
    """Says so where the credentials end before the load can."""
    units = write_units(work.manifest.items, max(work.manifest.bytes, 0), indexes=0)
    for warning in outlived(aws, seconds_for(units, work.max_wcu, work.table, kind="Write")):
        announce(warning)


def resume_command(options: ImportOptions) -> str:
    """The command line that goes on with this import: the same one, without --restart."""
    arguments = ["ddb-import", options.export, options.table, *options.common.arguments]
    if options.max_wcu:
        arguments += ["--max-wcu", str(options.max_wcu)]
    if options.state:
        arguments += ["--state", options.state]
    if options.on_existing.value != "overwrite":
        arguments += ["--on-existing", options.on_existing.value]
    if options.create:
        arguments += options.create.arguments
    if options.verify:
        arguments.append("--verify")
    return shlex.join(arguments)


def _prepare(options: ImportOptions, aws: Aws, stop: Stop) -> _Import:
    """Everything that can be refused is, before the first write; the probe is the last check before it."""
    export = manifests.export_folder(aws.s3, options.export)
    require(bucket_checks(aws, export))
    manifest = manifests.read(export)
    unproven = check_shards(export, manifest)
    definition = Definition(options.create, aws, manifest, options.table, stop) if options.create else None
    place = state_checks(aws, export, manifest, options.state)
    if definition and find(aws.dynamodb, options.table) is None:
        require({**new_table_checks(definition, options.max_wcu), **place})
    table = definition.settle() if definition else describe(aws.dynamodb, options.table)
    require({**table_checks(aws, manifest, table, options.max_wcu), **place})
    folder = folder_of(aws.s3, export, manifest, table, options.state)
    max_wcu = units_at(options.max_wcu, table.definition, "Write")
    return _Import(export, manifest, table, unproven, folder, definition, max_wcu)


def _defined(work: _Import, definition: Definition, seconds: float) -> ImportResult:
    """The result of a run that only made the table."""
    nothing = _Sums(confirmed=0, skipped=0, rejected=0, done=0)
    result = _result(work, nothing, nothing, Loaded(0.0, {}), seconds)
    return msgspec.structs.replace(
        result,
        status="defined",
        drift=definition.differences(describe(definition.aws.dynamodb, work.table.name)),
    )


def _load(work: _Import, before: dict[str, ShardCheckpoint], options: ImportOptions, stop: Stop) -> Loaded:
    """Loads in parallel what is not done."""
    common = options.common
    shards = interleave([shard for shard in work.manifest.shards if not _is_done(before, shard.name)])
    workers = workers_at(work.max_wcu, common.processes)
    hands = [hand for worker in range(workers) if (hand := tuple(shards[worker::workers]))]
    tasks = [_task(work, options, hand) for hand in hands]
    sums = _sum(before)
    meter = Meter("import", work.manifest.items, len(work.manifest.shards), shards=sums.done)
    meter.resumed_items = sums.confirmed
    with display(common.progress, meter) as on_tick:
        results = common.runner().run(load_shards, tasks, on_tick, stop)
    throttled = sum((Counter(result.throttled) for result in results), Counter[str]())
    return Loaded(sum(result.consumed_wcu for result in results), dict(throttled))


def _load_rejects(
    work: _Import, before: dict[str, ShardCheckpoint], options: ImportOptions, stop: Stop
) -> Loaded:
    """Loads what lies in the rejects files; there is little of it, so one task does."""
    meter = Meter("import of rejects", sum(state.rejected for state in before.values()))
    with display(options.common.progress, meter) as on_tick:
        return Serial().run(load_rejects, [_task(work, options, ())], on_tick, stop)[0]


def _task(work: _Import, options: ImportOptions, shards: tuple[Shard, ...]) -> LoadTask:
    return LoadTask(
        aws=options.common.aws,
        table=work.table.name,
        key_names=work.table.key_names,
        bucket=work.export.bucket,
        prefix=work.export.prefix,
        state_url=work.folder.url,
        shards=shards,
        unproven=work.unproven & {shard.name for shard in shards},
        on_existing=options.on_existing,
        max_wcu=work.max_wcu,
        indexes=work.table.index_count,
    )


def _is_done(states: dict[str, ShardCheckpoint], shard: str) -> bool:
    return shard in states and states[shard].done


def _sum(states: dict[str, ShardCheckpoint]) -> _Sums:
    return _Sums(
        confirmed=sum(state.confirmed for state in states.values()),
        skipped=sum(state.skipped for state in states.values()),
        rejected=sum(state.rejected for state in states.values()),
        done=sum(state.done for state in states.values()),
    )


def _result(work: _Import, before: _Sums, after: _Sums, loaded: Loaded, seconds: float) -> ImportResult:
    skipped_now = after.skipped - before.skipped
    rejected_now = after.rejected - before.rejected
    return ImportResult(
        status="complete" if not after.rejected else "rejects",
        table=work.table.arn,
        items_written=after.confirmed - before.confirmed - skipped_now - rejected_now,
        items_skipped=before.confirmed - before.rejected + skipped_now,
        items_rejected=after.rejected,
        rejects=work.folder.url + REJECTS if after.rejected else None,
        shards_done=after.done,
        shards_total=len(work.manifest.shards),
        seconds=round(seconds, 3),
        consumed_wcu=round(loaded.consumed_wcu, 1),
        throttled=sum(loaded.throttled.values()),
        throttle_reasons=loaded.throttled,
    )
