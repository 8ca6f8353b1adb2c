"""Which engines can load these exports into this table, and which one `--engine auto` takes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ddb_import.definition.create import Definition
from ddb_import.native.bulk import check_table_for_bulk, max_units
from ddb_import.native.source import Source, read_source
from ddb_import.native.table import refuse_local_indexes
from ddb_import.options import Engine, ImportOptions, OnExisting
from ddb_import.prepare import Given, read_exports
from ddb_import.state import NativeJob, read_plan, state_storage
from ddb_shared.aws.clients import Aws
from ddb_shared.command.plan import seconds_for, write_units
from ddb_shared.command.routes import NATIVE_SECONDS
from ddb_shared.errors import TransferError
from ddb_shared.runtime.events import announce
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.location import is_local
from ddb_shared.table.capacity import NEW_TABLE_WRITE_UNITS
from ddb_shared.table.description import Table, find
from ddb_shared.text import duration_text


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an engine can load the export: `why` says what forbids it, and is empty where nothing does."""

    engine: Engine
    why: str = ""
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """What is given: the exports, and the table if there is one. `definition` is of the table that is to be made."""

    options: ImportOptions
    aws: Aws
    exports: tuple[Given, ...]
    table: Table | None
    definition: Definition | None

    @property
    def full(self) -> Given:
        """The first export: the full one, where there is one."""
        return self.exports[0]

    def write_seconds(self) -> float | None:
        """How long batch writes of the full export take; None if unknown."""
        manifest, members = (
            self.full.manifest,
            self.table.definition if self.table else self.full.manifest.table,
        )
        indexes = [*members.get("GlobalSecondaryIndexes", ()), *members.get("LocalSecondaryIndexes", ())]
        count = manifest.table.get("ItemCount", 0)
        size = (
            int(manifest.table["TableSizeBytes"] / count * manifest.items)
            if count
            else max(manifest.bytes, 0)
        )
        cap = self.options.max_wcu.units(members, "Write") if self.options.max_wcu else None
        new_table = NEW_TABLE_WRITE_UNITS if self.table is None else None
        rate = min(filter(None, (cap, new_table)), default=None)
        return seconds_for(write_units(manifest.items, size, len(indexes)), rate, self.table, kind="Write")


def look(options: ImportOptions, aws: Aws, stop: Stop) -> Situation:
    """What is given to an import, once it is there; raises TransferError where an export cannot be read."""
    exports = tuple(read_exports(options, aws, stop))
    create, manifest = options.create, exports[0].manifest
    definition = Definition(create, aws, manifest, options.table, stop) if create else None
    return Situation(options, aws, exports, find(aws.dynamodb, options.table), definition)


def verdicts(situation: Situation) -> list[Verdict]:
    """What each engine says."""
    return [
        Verdict(Engine.BATCH_WRITE),
        *(_verdict(situation, one) for one in (Engine.IMPORT_TABLE, Engine.BULK)),
    ]


def choose_engine(situation: Situation) -> tuple[Engine, str]:
    """The engine that `--engine auto` takes, and why: DynamoDB's own where batch writes would take longer."""
    begun = _begun(situation)
    if begun is not None:
        return begun, "an earlier command began with it"
    seconds = situation.write_seconds()
    if situation.full.increment is not None:
        return Engine.BATCH_WRITE, "increments are applied by batch writes"
    if seconds is not None and seconds < NATIVE_SECONDS:
        writes = f"batch writes take about {duration_text(seconds)}"
        return Engine.BATCH_WRITE, f"{writes}, DynamoDB's own load {duration_text(NATIVE_SECONDS)} or more"
    found = verdicts(situation)[1:]
    for verdict in found:
        if not verdict.why:
            takes = "an unknown time" if seconds is None else f"about {duration_text(seconds)}"
            return verdict.engine, f"batch writes take {takes}, and DynamoDB can load the export itself"
    return Engine.BATCH_WRITE, "; ".join(f"{verdict.engine.value}: {verdict.why}" for verdict in found)


def with_engine(situation: Situation) -> ImportOptions:
    """The options with the engine that is chosen, which is told."""
    engine, why = choose_engine(situation)
    announce(f"Engine {engine.value}: {why}")
    return replace(situation.options, engine=engine)


def _begun(situation: Situation) -> Engine | None:
    """The engine of an import that has begun."""
    if situation.table is None or situation.options.restart:
        return None
    full = situation.full
    storage = state_storage(
        situation.aws.s3, full.folder, full.manifest, situation.table, situation.options.state
    )
    plan = read_plan(storage)
    if plan is None:
        return None
    return Engine(plan.native.engine) if isinstance(plan.native, NativeJob) else Engine.BATCH_WRITE


def _verdict(situation: Situation, engine: Engine) -> Verdict:
    try:
        why = (_import_table_refusal if engine is Engine.IMPORT_TABLE else _bulk_refusal)(situation)
        if why:
            return Verdict(engine, why)
        full, aws = situation.full, situation.aws
        owner = aws.options.owner_of(full.folder.bucket)
        return Verdict(engine, source=read_source(full.folder, full.manifest, engine, aws.region, owner))
    except TransferError as error:
        return Verdict(engine, error.message)


def _import_table_refusal(situation: Situation) -> str:
    """Raises TransferError, or says why ImportTable cannot be used."""
    options = situation.options
    if situation.table is not None:
        return f"table {situation.table.name} exists, and ImportTable makes its table"
    if situation.definition is None:
        return "ImportTable makes the table, and --create-table is not given"
    if options.create and options.create.warm_write_units:
        return "--warm-write-units is for writes, and ImportTable makes none"
    refuse_local_indexes(situation.definition.request)
    return ""


def _bulk_refusal(situation: Situation) -> str:
    """The same of StartBulkPutItems."""
    options = situation.options
    if situation.table is None and situation.definition is None:
        return "the table does not exist, and --create-table is not given"
    if options.on_existing is OnExisting.SKIP:
        return "--on-existing skip needs conditions that are not known to ddb-transfer"
    if options.state is not None and is_local(options.state):
        return "--state is a local folder, and DynamoDB writes its report into a bucket"
    if situation.table is not None:
        check_table_for_bulk(situation.table)
        max_units(options.max_wcu.units(situation.table.definition, "Write") if options.max_wcu else None)
    return ""
