"""The checks of `ddb-import --dry-run`: those of the run, in the same order, and what the run would find out as it begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ddb_import.apply.chain import Chain, place_of_chain
from ddb_import.definition.create import Definition
from ddb_import.new_table import planned_table
from ddb_import.options import Engine, ImportOptions
from ddb_import.preflight import ShardFiles, new_table_checks, record_checks, state_checks, table_checks
from ddb_import.prepare import (
    ExportLoad,
    Given,
    all_bucket_checks,
    apply_changes_of,
    check_chain,
    check_files,
    earlier_checks,
    export_load,
    is_chain,
    may_hold_items,
    open_chain,
    rollback_check,
    split,
)
from ddb_import.saved import check_leases, check_states
from ddb_shared.aws.clients import Aws
from ddb_shared.command.preflight import Checks, Unchecked
from ddb_shared.errors import TableError, TransferError
from ddb_shared.format.manifest import Manifest
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import Table


@dataclass(frozen=True, slots=True)
class Context:
    """What is known before the run: the exports, and the table if there is one."""

    options: ImportOptions
    aws: Aws
    exports: tuple[Given, ...]
    table: Table | None
    definition: Definition | None

    @property
    def export(self) -> S3Storage:
        """The folder of the first export."""
        return self.exports[0].folder

    @property
    def manifest(self) -> Manifest:
        """That of the first export."""
        return self.exports[0].manifest

    @property
    def items(self) -> int:
        """Of all exports, changes included."""
        return sum(given.manifest.items for given in self.exports)

    @property
    def bytes(self) -> int:
        """Of all exports; -1 where one of them does not tell."""
        sizes = [given.manifest.bytes for given in self.exports]
        return -1 if -1 in sizes else sum(sizes)


def checks_of(context: Context, engine: Engine) -> Checks:
    """By name. A check that needs the result of one that fails is not made, and says so."""
    aws, options = context.aws, context.options
    return {
        **all_bucket_checks(aws, [given.folder for given in context.exports]),
        "export": lambda: _check_exports(context),
        **_change_checks(context),
        **_checks_of_table(context, engine),
        **state_checks(aws, context.export, context.manifest, options.state),
        **_record_checks(context),
    }


def _checks_of_table(context: Context, engine: Engine) -> Checks:
    options, table, definition = context.options, context.table, context.definition
    if table is not None:
        return _checks_of_existing(context, table, engine)
    if definition is not None:
        earlier = earlier_checks(options, context.aws, context.exports)
        return {**new_table_checks(definition, options.max_wcu), **earlier}
    return {"table": lambda: _refuse_absence(options.table)}


def _checks_of_existing(context: Context, table: Table, engine: Engine) -> Checks:
    aws, exports, definition = context.aws, context.exports, context.definition
    options, earlier = replace(context.options, engine=engine), _Earlier(context, table)
    checks = table_checks(aws, context.manifest, table, options.max_wcu, may_hold_items=earlier.consent)
    keys = {"definition": lambda: definition.check_keys(table)} if definition else {}
    order = {"order of exports": lambda: check_chain(options, exports, earlier.chain)}
    return {
        **keys,
        **checks,
        "destination": earlier.needing(checks["destination"]),
        **(order if is_chain(exports) else {}),
        "saved state": earlier.needing(
            lambda: check_states(options, aws, table, earlier.loads, earlier.chain)
        ),
        "other imports": earlier.needing(lambda: check_leases(earlier.loads, earlier.chain)),
    }


@dataclass(frozen=True)
class _Earlier:
    """What is left to load into a table that exists, by what it has had; raises what forbids to load it."""

    context: Context
    table: Table

    @cached_property
    def chain(self) -> Chain | None:
        """The record of what it has had."""
        return open_chain(self.context.options, self.context.aws, self.context.exports, self.table)

    @cached_property
    def loads(self) -> Sequence[ExportLoad]:
        """The exports that are left, in order."""
        options, aws, exports = self.context.options, self.context.aws, self.context.exports
        has_changes = apply_changes_of(options, exports)
        _, left = split(options, exports, self.chain)
        return [
            export_load(options, aws, given, self.table, ShardFiles(), has_changes=has_changes)
            for given in left
        ]

    @property
    def consent(self) -> bool:
        """Whether the table may hold items; changes that began in it are applied to it as it is."""
        stream = self.context.exports[0].stream
        if stream is not None and stream.changes_only:
            return True
        try:
            return may_hold_items(self.context.options, self.loads, self.table)
        except TransferError:  # other checks say why
            return False

    def needing(self, check: Callable[[], str]) -> Callable[[], str]:
        """A check that is not made where nobody can say what is left: another check has failed for that."""

        def made() -> str:
            try:
                _ = self.loads
            except TransferError:
                return Unchecked("not checked, since another check has failed")
            return check()

        return made


def _record_checks(context: Context) -> Checks:
    """Whether the record of a chain can be kept."""
    if not is_chain(context.exports):
        return {}
    table = context.table or planned_table(context.options, context.aws, context.manifest)
    place = place_of_chain(context.aws.s3, context.export, table, context.options.state)
    return record_checks(place)


def _change_checks(context: Context) -> Checks:
    """Of an export that follows its table: whether its changes are applied, and what proves a rollback."""
    given, table = context.exports[0], context.table
    if given.stream is None and not context.options.follow:
        return {}
    rollback = rollback_check(context.options, context.aws, given, table) if table else {}
    return {"changes": lambda: _check_changes(context), **rollback}


def _check_changes(context: Context) -> str:
    if apply_changes_of(context.options, context.exports):
        return "loaded with the base" if not context.options.follow else "applied as they are captured"
    return "left out"


def _check_exports(context: Context) -> str:
    return "; ".join(map(_check_export, context.exports))


def _check_export(given: Given) -> str:
    unverified = check_files(given).unverified
    copied = f", {len(unverified)} of them copied or modified since the export" if unverified else ""
    return f"all {len(given.manifest.shards):,} shards found in {given.folder.url}{copied}"


def _refuse_absence(table: str) -> str:
    raise TableError(f"Table {table} does not exist.", "Use --create-table to create it.")
