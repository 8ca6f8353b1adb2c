"""What an import finds out before its first write: the exports that are given, the table, and what forbids to load them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from ddb_import.apply.base import applies_changes, wait_for_base
from ddb_import.apply.chain import Chain, Link, place_of_chain
from ddb_import.apply.rollback import check_rollback
from ddb_import.definition.create import Definition, EnsuredTable
from ddb_import.definition.drift import SettingDrift
from ddb_import.new_table import check_not_deleted, planned_table
from ddb_import.options import ImportOptions, OnExisting
from ddb_import.preflight import (
    ShardFiles,
    check_shards,
    check_shared_files,
    new_table_checks,
    record_checks,
    state_checks,
    table_checks,
)
from ddb_import.state import is_plan_of, read_plan, state_storage
from ddb_shared.aws.clients import Aws
from ddb_shared.command.preflight import Checks, bucket_checks, require
from ddb_shared.errors import TableError, UsageError
from ddb_shared.format import aws_manifest, increment
from ddb_shared.format import changes as log
from ddb_shared.format import manifest as manifests
from ddb_shared.format.changes import StreamRecord
from ddb_shared.format.increment import Increment
from ddb_shared.format.manifest import Manifest
from ddb_shared.runtime.display import display
from ddb_shared.runtime.progress import Progress
from ddb_shared.runtime.runner import SMALL_BYTES
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.base import Storage
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.capacity import units_at
from ddb_shared.table.description import Table, describe, find

# AWS's manifests do not tell the size of its files before compression; the items of a table that compress tenfold are rare.
_EXPANSION: Final = 10
_READERS: Final = 16


@dataclass(frozen=True, slots=True)
class Given:
    """An export as it was given: its folder, what its manifests say, and its place in a chain of exports.

    `stream` is what is captured of an export that follows its table.
    """

    folder: S3Storage
    manifest: Manifest
    link: Link
    increment: Increment | None = None
    stream: StreamRecord | None = None

    @property
    def data(self) -> S3Storage:
        """The folder that holds `data/`; all increments share one."""
        return increment.data_folder(self.folder) if self.increment else self.folder


@dataclass(frozen=True, slots=True)
class ExportLoad:
    """An export that may be loaded, and where the state of its import is stored; `has_changes`: they are applied to it."""

    given: Given
    storage: Storage
    files: ShardFiles
    has_changes: bool = False

    @property
    def is_small(self) -> bool:
        """Whether one core loads it sooner than worker processes start."""
        known = self.given.manifest.bytes
        return (known if known >= 0 else self.files.stored_bytes * _EXPANSION) <= SMALL_BYTES


@dataclass(frozen=True, slots=True)
class Work:
    """An import that may begin. `done` are exports of the chain that the table has had; `loads` are left, in order.

    `drift` is how the table differs from its definition before the load.
    """

    table: Table
    definition: Definition | None
    drift: tuple[SettingDrift, ...]
    max_wcu: float | None
    loads: tuple[ExportLoad, ...]
    chain: Chain | None = None
    done: tuple[ExportLoad, ...] = ()

    @property
    def items(self) -> int:
        """Of all exports that are loaded."""
        return sum(load.given.manifest.items for load in self.loads)

    @property
    def bytes(self) -> int:
        """The same in bytes, as far as they are known."""
        return sum(max(load.given.manifest.bytes, 0) for load in self.loads)


def read_given(aws: Aws, url: str) -> Given:
    """What a URL names. Raises ExportError where that is no export, or not a complete one."""
    folder = manifests.export_storage(aws.s3, url)
    found = increment.read(folder)
    if found is not None:
        return Given(folder, found.manifest, _link(folder, found), found)
    manifest = manifests.read(folder)
    summary = aws_manifest.read(folder) if manifest.method != manifests.SCAN else None
    time = summary.summary.export_time if summary else None
    end = increment.time_of(time, folder.url + manifests.AWS_SUMMARY) if time else None
    link = Link(manifest.export_id, folder.url, manifest.source, None, end)
    return Given(folder, manifest, link, stream=log.read_stream(folder) if end is None else None)


def read_all_given(aws: Aws, urls: Sequence[str]) -> list[Given]:
    """What the URLs name, a full export first; raises as `read_given`."""
    with ThreadPoolExecutor(_READERS) as pool:
        exports = list(pool.map(lambda url: read_given(aws, url), urls))
    return sorted(exports, key=lambda given: given.increment is not None)


def _link(folder: S3Storage, found: Increment) -> Link:
    manifest, window = found.manifest, found.window
    return Link(manifest.export_id, folder.url, manifest.source, window.start, window.end)


def prepare(options: ImportOptions, aws: Aws, stop: Stop) -> Work:
    """Makes all checks before the first write; the probe is the last one."""
    exports = read_exports(options, aws, stop)
    has_changes = apply_changes_of(options, exports)
    first = exports[0]
    manifest = first.manifest
    definition = Definition(options.create, aws, manifest, options.table, stop) if options.create else None
    place = state_checks(aws, first.folder, manifest, options.state)
    files: dict[str, ShardFiles] = {}
    if definition is None:
        table, drift = EnsuredTable(_existing_table(aws, options.table), [])
    else:
        found = find(aws.dynamodb, options.table)
        if found is None:
            files = _check_all_files(exports)
            require({**new_table_checks(definition, options.max_wcu), **place})
            require(earlier_checks(options, aws, exports))
        table, drift = definition.ensure_table(found)
    chain = open_chain(options, aws, exports, table)
    done, left = split(options, exports, chain)
    files = files or _check_all_files(left)

    def load_of(given: Given) -> ExportLoad:
        of_files = files.get(given.link.export_id, ShardFiles())
        return export_load(options, aws, given, table, of_files, has_changes=has_changes)

    loads = tuple(map(load_of, left))
    rollback = rollback_check(options, aws, first, table) if has_changes else {}
    consent = bool(rollback) or may_hold_items(options, loads, table)
    checks = table_checks(aws, manifest, table, options.max_wcu, may_hold_items=consent)
    require({**rollback, **checks, **place, **(record_checks(chain.storage) if chain else {})})
    return Work(
        table=table,
        definition=definition,
        drift=tuple(drift),
        max_wcu=units_at(options.max_wcu, table.definition, "Write"),
        loads=loads,
        chain=chain,
        done=tuple(map(load_of, done)),
    )


def export_load(
    options: ImportOptions, aws: Aws, given: Given, table: Table, files: ShardFiles, *, has_changes: bool
) -> ExportLoad:
    """An export with the state of its import into the table."""
    storage = state_storage(aws.s3, given.folder, given.manifest, table, options.state)
    return ExportLoad(given, storage, files, has_changes)


def read_exports(options: ImportOptions, aws: Aws, stop: Stop) -> list[Given]:
    """The exports once their buckets are checked, and the base is complete; raises what the options forbid."""
    folders = [manifests.export_storage(aws.s3, url) for url in options.exports]
    require(all_bucket_checks(aws, folders))
    if options.follow:
        _wait_for_base(options, folders[0], stop)
    exports = read_all_given(aws, options.exports)
    refuse_options(options, exports)
    return exports


def all_bucket_checks(aws: Aws, folders: Sequence[S3Storage]) -> Checks:
    """The checks of the bucket, and of each further one."""
    first, *others = {folder.bucket: folder for folder in folders}.values()
    further = {
        f"{name} of {folder.bucket}": check
        for folder in others
        for name, check in bucket_checks(aws, folder).items()
        if name != "identity"
    }
    return {**bucket_checks(aws, first), **further}


def _wait_for_base(options: ImportOptions, folder: S3Storage, stop: Stop) -> None:
    """Waits until the base export is complete; its capture continues meanwhile, and nothing of it is lost."""
    stop.explain(
        f"Nothing is loaded yet. Run the same command again:\n  {options.common.invocation.line()}",
        saved=False,
    )
    progress = Progress("base export", None, items_name="items loaded", counts_shards=False, may_wait=True)
    with display(options.common.progress, progress) as on_event:
        wait_for_base(folder, on_event, stop)
    stop.check()


def apply_changes_of(options: ImportOptions, exports: Sequence[Given]) -> bool:
    """Whether the one export that is given has changes that are to be applied; raises what forbids that."""
    if len(exports) > 1:
        if options.follow or options.base_only:
            raise UsageError("--follow and --base-only take one export.", "Give one EXPORT.")
        return False
    given = exports[0]
    base_only = options.base_only or options.from_rejects
    found = applies_changes(given.folder, given.stream, follow=options.follow, base_only=base_only)
    if found and options.on_existing is OnExisting.SKIP:
        raise UsageError(
            "--on-existing skip keeps items that the changes of the export replace.",
            "Give --on-existing overwrite, or --base-only to load the base alone.",
        )
    if found and options.verify and given.stream and given.stream.changes_only:
        raise UsageError(
            "--verify compares with a base and its changes, and this export holds changes alone.",
            "Leave --verify out, and compare both tables once the writers have stopped: ddb-verify --tables SOURCE DEST.",
        )
    return found


def rollback_check(options: ImportOptions, aws: Aws, given: Given, table: Table) -> Checks:
    """The check that changes without a base are for a table that holds what they began with."""
    stream = given.stream
    if stream is None or not stream.changes_only:
        return {}
    return {
        "rollback": lambda: check_rollback(
            aws.s3, given.folder, stream, table, rollback_of=options.rollback_of
        )
    }


def _check_all_files(exports: Sequence[Given]) -> dict[str, ShardFiles]:
    """By export id."""
    with ThreadPoolExecutor(_READERS) as pool:
        ids = [given.link.export_id for given in exports]
        return dict(zip(ids, pool.map(check_files, exports), strict=True))


def check_files(given: Given) -> ShardFiles:
    """See preflight.check_shards."""
    check = check_shared_files if given.increment else check_shards
    return check(given.data, given.manifest)


def refuse_options(options: ImportOptions, exports: Sequence[Given]) -> None:
    """Raises UsageError for what makes no sense with increments."""
    if not any(given.increment for given in exports):
        return
    if options.on_existing is OnExisting.SKIP:
        raise UsageError(
            "--on-existing skip would leave out the changes of an increment.",
            "Give --on-existing overwrite, or leave it out.",
        )
    if options.verify:
        raise UsageError(
            "--verify compares with one full export, and increments are given.",
            "Leave --verify out, and compare with a full export of a later time: ddb-verify EXPORT TABLE.",
        )
    if options.create and exports[0].increment:
        raise UsageError(
            "--create-table makes the table from a full export, and only increments are given.",
            "Give the full export first: ddb-import FULL INCREMENT… TABLE --create-table.",
        )


def is_chain(exports: Sequence[Given]) -> bool:
    """Whether the table's record tells what of them it has had."""
    return len(exports) > 1 or exports[0].link.end is not None


def open_chain(options: ImportOptions, aws: Aws, exports: Sequence[Given], table: Table) -> Chain | None:
    """The record of AWS's exports; None where a scan's export alone is given, which is no part of one."""
    if not is_chain(exports):
        return None
    place = place_of_chain(aws.s3, exports[0].folder, table, options.state)
    return Chain(place, table, restart=options.restart)


def split(
    options: ImportOptions, exports: Sequence[Given], chain: Chain | None
) -> tuple[list[Given], list[Given]]:
    """Which exports the table has had, and which are to be loaded, in order."""
    if chain is None or options.from_rejects:
        return [], list(exports)
    links = chain.remaining(
        [given.link for given in exports], overwrite=options.on_existing is OnExisting.OVERWRITE
    )
    by_id = {given.link.export_id: given for given in exports}
    left = [by_id[link.export_id] for link in links]
    return [given for given in exports if given not in left], left


def earlier_checks(options: ImportOptions, aws: Aws, exports: Sequence[Given]) -> Checks:
    """Whether the exports can be loaded into a table that does not exist, before it is created."""
    first = exports[0]
    table = planned_table(options, aws, first.manifest)

    def check_order() -> str:
        return check_chain(options, exports, open_chain(options, aws, exports, table))

    return {
        "earlier import": lambda: check_not_deleted(options, aws, first.folder, first.manifest, table),
        **({"order of exports": check_order} if is_chain(exports) else {}),
    }


def check_chain(options: ImportOptions, exports: Sequence[Given], chain: Chain | None) -> str:
    """What of the exports is left to be applied, by the record of what the table has had; raises what forbids it."""
    done, left = split(options, exports, chain)
    return f"{len(left)} to load, {len(done)} loaded before"


def may_hold_items(options: ImportOptions, loads: Sequence[ExportLoad], table: Table) -> bool:
    """Whether the table may hold items before these exports are loaded.

    The user has said so; or needs not: a resume does not ask again, nor does an increment that continues the record.
    """
    if options.on_existing is not None or not loads or loads[0].given.increment is not None:
        return True
    return is_plan_of(read_plan(loads[0].storage), table)


def _existing_table(aws: Aws, name: str) -> Table:
    try:
        return describe(aws.dynamodb, name)
    except TableError as error:
        error.add_remedy("To create it as described in the export, use --create-table.")
        raise
