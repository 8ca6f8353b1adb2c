"""The options of an import."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from ddb_import.definition.create import CreateOptions
from ddb_shared.command.options import Common
from ddb_shared.errors import UsageError
from ddb_shared.table.capacity import Cap


class OnExisting(enum.StrEnum):
    """What happens to an item of the table with the same key as an item of the export."""

    OVERWRITE = "overwrite"
    SKIP = "skip"


# A percentage of fewer items says nothing: the first batch may be all of one kind.
MIN_REJECT_SAMPLE: Final = 1_000


@dataclass(frozen=True, slots=True)
class RejectLimit:
    """The most rejects of one run: a number, or a percentage of the items that it has processed."""

    number: float
    percent: bool = False

    def is_exceeded(self, rejected: int, processed: int) -> bool:
        """Whether so many rejects are too many; `processed` counts them, too."""
        if not self.percent:
            return rejected > self.number
        return processed >= MIN_REJECT_SAMPLE and rejected * 100 > self.number * processed

    def __str__(self) -> str:
        return f"{self.number:.15g}{'%' if self.percent else ''}"


DEFAULT_REJECT_LIMIT: Final = RejectLimit(10, percent=True)


class Engine(enum.StrEnum):
    """What loads an export: our batch writes, or DynamoDB itself, into a new table or an existing one; auto chooses."""

    BATCH_WRITE = "batch-write"
    IMPORT_TABLE = "import-table"
    BULK = "bulk"
    AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """The options of `ddb-import`, parsed.

    `max_rejects` ends a run that rejects more. `exports` are URLs: a full export, increments, or both. `on_existing` is None if not given; `max_wcu` is the cap of all workers; `create` is None if the table must exist.
    """

    common: Common
    exports: tuple[str, ...]
    table: str
    on_existing: OnExisting | None
    max_wcu: Cap | None
    state: str | None
    restart: bool
    from_rejects: bool
    max_rejects: RejectLimit = DEFAULT_REJECT_LIMIT
    create: CreateOptions | None = None
    verify: bool = False
    follow: bool = False
    base_only: bool = False
    rollback_of: str | None = None
    engine: Engine = Engine.BATCH_WRITE

    @property
    def export(self) -> str:
        """The first of the exports: the full one, where there is one."""
        return self.exports[0]


def refuse_engine_options(options: ImportOptions) -> None:
    """Raises UsageError where options do not go with the engine."""
    engine, create = options.engine, options.create
    if engine is Engine.BATCH_WRITE:
        return
    given: dict[str, object] = {"--from-rejects": options.from_rejects}
    if engine is not Engine.AUTO:
        given["--on-existing skip"] = options.on_existing is OnExisting.SKIP
    if engine is Engine.IMPORT_TABLE:
        given |= {
            "--on-existing overwrite": options.on_existing is OnExisting.OVERWRITE,
            "--max-wcu": options.max_wcu,
            "--warm-write-units": create and create.warm_write_units,
            "--definition-only": create and create.definition_only,
        }
        if create is None:
            raise UsageError("--engine import-table makes the table.", "Give --create-table as well.")
    for option, value in given.items():
        if value:
            raise UsageError(
                f"{option} does not go with --engine {engine.value}: {_REASONS[option]}.", "Leave one out."
            )


_REASONS: Final = {
    "--from-rejects": "rejects are loaded by batch writes",
    "--on-existing skip": "the conditions that StartBulkPutItems takes are not known to ddb-transfer",
    "--on-existing overwrite": "the table is new",
    "--max-wcu": "ImportTable consumes no write capacity",
    "--warm-write-units": "ImportTable consumes no write capacity",
    "--definition-only": "ImportTable makes the table with its items",
}
