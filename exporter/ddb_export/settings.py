"""Decides the shape of an export's files, once, when it begins; what a resumed export finds decided."""

from __future__ import annotations

from typing import Any, Final

import msgspec

import ddb_shared
from ddb_export.columns import choose_columns, written
from ddb_export.encoding import DEFAULT_COMPRESSIONS, JSONL, PARQUET, Encoding
from ddb_export.options import ExportOptions
from ddb_export.plan import choose_segments
from ddb_export.sample import take_sample
from ddb_shared.aws import Aws
from ddb_shared.cap import units_at
from ddb_shared.columns import Column
from ddb_shared.errors import UsageError
from ddb_shared.manifest import FORMAT, Settings, Source
from ddb_shared.table import Table
from ddb_shared.workers import Stop

# About 400 MB of typical items: ten seconds of work to do again after a crash, and 1 TB makes 2,500 objects.
DEFAULT_SHARD_BYTES: Final = 64 * 1024 * 1024


def settle_settings(options: ExportOptions, table: Table, aws: Aws, stop: Stop) -> tuple[Settings, float]:
    """The settings of a new export, and the read capacity units that finding its columns took."""
    kind = options.format or JSONL
    if options.columns and kind != PARQUET:
        raise UsageError("--columns is an option of --format parquet.", "Give --format parquet as well.")
    segments = options.segments or choose_segments(table)
    columns, consumed_rcu = (
        _find_columns(options, table, aws, segments, stop) if kind == PARQUET else ((), 0.0)
    )
    settings = Settings(
        format=kind,
        compression=options.compression or DEFAULT_COMPRESSIONS[kind],
        segments=segments,
        shard_size=options.shard_size or DEFAULT_SHARD_BYTES,
        consistent_read=options.consistent_read or False,
        columns=list(columns),
    )
    return settings, consumed_rcu


def _find_columns(
    options: ExportOptions, table: Table, aws: Aws, segments: int, stop: Stop
) -> tuple[tuple[Column, ...], float]:
    sample = take_sample(aws, table.name, segments, units_at(options.max_rcu, table.definition, "Read"), stop)
    return choose_columns(sample.items, table.key, options.columns), sample.consumed_rcu


def refuse_other_settings(options: ExportOptions, began_with: Settings) -> None:
    """A resumed export has the settings that it began with."""
    given: dict[str, Any] = {
        "format": options.format,
        "compression": options.compression,
        "segments": options.segments,
        "shard_size": options.shard_size,
        "consistent_read": options.consistent_read,
    }
    for name, value in given.items():
        before = getattr(began_with, name)
        if value is not None and value != before:
            raise _other(name, value, before)
    types = {column.attribute: column.type for column in began_with.columns}
    if options.columns and not options.columns.items() <= types.items():
        raise _other("columns", *(written(columns) for columns in (options.columns, types)))


def _other(name: str, given: Any, before: Any) -> UsageError:
    return UsageError(
        f"--{name.replace('_', '-')} is {given}, but the export began with {before}.",
        "Leave the option out, or start a new export.",
    )


def encoding_of(settings: Settings, source: Source, table: dict[str, Any]) -> Encoding:
    """How the shards of an export are encoded; `table` is its definition."""
    if settings.format != PARQUET:
        return Encoding(compression=settings.compression)
    metadata = {
        "format": FORMAT,
        "version": ddb_shared.__version__,
        "table": source.table_arn,
        "key_schema": msgspec.json.encode(table["KeySchema"]).decode(),
        "columns": msgspec.json.encode(settings.columns).decode(),
    }
    return Encoding(
        format=PARQUET,
        compression=settings.compression,
        columns=tuple(settings.columns),
        metadata=tuple((f"ddb-transfer.{name}", value) for name, value in metadata.items()),
    )
