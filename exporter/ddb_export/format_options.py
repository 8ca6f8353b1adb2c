"""The format options of an export: chosen when it starts, unchanged when it is resumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

import ddb_shared
from ddb_export.columns import choose_columns, format_columns, unmatched
from ddb_export.encoding import DEFAULT_COMPRESSIONS, Encoding
from ddb_export.options import RequestedFormat
from ddb_shared.aws.clients import Aws
from ddb_shared.errors import UsageError
from ddb_shared.format.columns import Column
from ddb_shared.format.manifest import FORMAT, JSONL, PARQUET, FormatOptions, Source
from ddb_shared.runtime.cap_share import CapShare
from ddb_shared.runtime.events import warn
from ddb_shared.runtime.stop import Stop
from ddb_shared.table.capacity import Cap, units_at
from ddb_shared.table.description import Table
from ddb_shared.table.segments import choose_segments

# About 400 MB of typical items: ten seconds of work to repeat after a crash, and 2,500 objects for 1 TB.
DEFAULT_SHARD_BYTES: Final = 64 * 1024 * 1024
# An upload has at most 10,000 parts of 5 MiB (storage.upload.PART_BYTES), which leaves room for the bytes in the encoder.
MAX_SHARD_BYTES: Final = 40 * 1024 * 1024 * 1024
# Of an export of changes alone: nothing is scanned.
NO_BASE: Final = FormatOptions(
    format=JSONL, compression="gzip", segments=0, shard_size=DEFAULT_SHARD_BYTES, consistent_read=True
)


def refuse_bad_combinations(requested: RequestedFormat, *, resumed: bool) -> None:
    """Raises UsageError if options exclude each other; makes no call to AWS."""
    if requested.columns and requested.format != PARQUET and not resumed:
        raise UsageError("--columns requires --format parquet.", "Add --format parquet.")


def refuse_scan_options(requested: RequestedFormat, max_rcu: Cap | None, acl_mode: str) -> None:
    """Raises UsageError where an export by DynamoDB itself is asked for with options that only a scan has."""
    given: dict[str, Any] = {
        "--format parquet": requested.format == PARQUET,
        "--columns": requested.columns,
        "--compression": requested.compression not in {None, "gzip"},
        "--segments": requested.segments,
        "--consistent-read": requested.consistent_read,
        "--shard-size": requested.shard_size,
        "--max-rcu": max_rcu,
        "--acl": acl_mode != "auto",
    }
    named = [option for option, value in given.items() if value]
    if named:
        raise UsageError(
            f"{', '.join(named)}: DynamoDB's own exports have no such choice; they are JSON lines in gzip files of its own sizes.",
            "Leave it out, or use --method scan.",
        )


def choose_format_options(
    requested: RequestedFormat,
    max_rcu: Cap | None,
    table: Table,
    aws: Aws,
    stop: Stop,
    *,
    fits_page: bool = False,
    share: CapShare | None = None,
) -> tuple[FormatOptions, float]:
    """The format of a new export, and the read capacity units consumed by sampling for its columns.

    `fits_page` says that the table is known to be small, as of `choose_segments`; `share` is of the cap.
    """
    kind = requested.format or JSONL
    segments = requested.segments or choose_segments(table, fits_page=fits_page)
    columns: tuple[Column, ...] = ()
    consumed_rcu = 0.0
    if kind == PARQUET:
        from ddb_export.sample import take_sample  # noqa: PLC0415 - 60 ms that `--help` does without

        cap = units_at(max_rcu, table.definition, "Read")
        sample = take_sample(aws, table.address, segments, cap, stop, share=share)
        columns = choose_columns(sample.items, table.key, requested.columns)
        missing = unmatched(sample.items, requested.columns or {})
        if missing:
            warn(f"{_missing_text(missing, len(sample.items))}.")
        consumed_rcu = sample.consumed_rcu
    options = FormatOptions(
        format=kind,
        compression=requested.compression or DEFAULT_COMPRESSIONS[kind],
        segments=segments,
        shard_size=requested.shard_size or DEFAULT_SHARD_BYTES,
        consistent_read=requested.consistent_read or False,
        columns=list(columns),
    )
    return options, consumed_rcu


def check_columns(
    requested: RequestedFormat, max_rcu: Cap | None, table: Table, aws: Aws
) -> dict[str, Callable[[], str]]:
    """The check of a Parquet export's columns, which reads a sample like the run itself."""

    def check() -> str:
        options, _ = choose_format_options(requested, max_rcu, table, aws, Stop())
        return f"{len(options.columns)} typed columns: {format_columns({one.attribute: one.type for one in options.columns})}"

    return {"columns": check} if requested.format == PARQUET else {}


def _missing_text(missing: Mapping[str, str], items: int) -> str:
    return (
        f"no item of a sample of {items:,} has these --columns with that type: {format_columns(missing)}. The columns will be "
        "empty unless other items have them"
    )


def refuse_other_options(requested: RequestedFormat, original: FormatOptions) -> None:
    """Raises UsageError if a resumed export is requested with other format options."""
    given: dict[str, Any] = {
        "format": requested.format,
        "compression": requested.compression,
        "segments": requested.segments,
        "shard_size": requested.shard_size,
        "consistent_read": requested.consistent_read,
    }
    for name, value in given.items():
        before = getattr(original, name)
        if value is not None and value != before:
            raise _changed_option(name, value, before)
    types = {column.attribute: column.type for column in original.columns}
    if requested.columns and not requested.columns.items() <= types.items():
        raise _changed_option("columns", *(format_columns(columns) for columns in (requested.columns, types)))


def _changed_option(name: str, given: Any, before: Any) -> UsageError:
    return UsageError(
        f"--{name.replace('_', '-')} is {given}, but the export was started with {before}.",
        "Omit the option, or start a new export.",
    )


def encoding_of(settings: FormatOptions, source: Source, table: dict[str, Any]) -> Encoding:
    """The encoding of the shards of an export; `table` is the table definition."""
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
