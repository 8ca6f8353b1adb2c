"""How an export is started or reopened: its folder and the file `_started`."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from ddb_export.capture.stream import declare
from ddb_export.encoding import Encoding
from ddb_export.format_options import NO_BASE, choose_format_options, encoding_of, refuse_other_options
from ddb_export.options import NewExport, ResumedExport
from ddb_export.preflight import checks
from ddb_export.sample import is_small
from ddb_shared.aws.clients import Aws
from ddb_shared.command.preflight import bucket_checks, require
from ddb_shared.errors import ExportError
from ddb_shared.format import changes as log
from ddb_shared.format import checkpoint as checkpoints
from ddb_shared.format import manifest as manifests
from ddb_shared.format.checkpoint import SegmentCheckpoint
from ddb_shared.format.manifest import FORMAT, FormatOptions, Manifest, Source
from ddb_shared.records import prepare
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.bucket import parse_bucket_url
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import Table, describe, find
from ddb_shared.table.segments import PAGE_BYTES
from ddb_shared.table.settings import Setting, read_settings, unknown_settings
from ddb_shared.times import now_text

_LOG: Final = logging.getLogger(__name__)


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """The file `_started`: table and options of the export, which a resume must match."""

    format: str = FORMAT
    started_at: str
    source: Source
    table: dict[str, Any]
    settings: dict[str, Setting] = {}
    options: FormatOptions
    sampled_rcu: float = 0.0

    @property
    def encoding(self) -> Encoding:
        """The encoding of its shards."""
        return encoding_of(self.options, self.source, self.table)


@dataclass(frozen=True, slots=True)
class Export:
    """An export in progress: its folder, its table, its `_started` and the items done by earlier runs."""

    storage: S3Storage
    table: Table
    started: Started
    done_items: int


def start(options: NewExport, aws: Aws, stop: Stop) -> Export:
    """Starts a new export; all checks are made before `_started` is written."""
    exports = S3Storage(aws.s3, *parse_bucket_url(options.destination)).below(manifests.EXPORTS)
    require(bucket_checks(aws, exports))
    table = describe(aws.dynamodb, options.table)
    require(checks(options, aws, table, exports))
    storage = exports.below(options.export_id or manifests.new_export_id(time.time()))
    settings, sampled_rcu = (
        (NO_BASE, 0.0) if options.changes_only else _choose_format_options(options, table, aws, stop)
    )
    started = Started(
        started_at=now_text(),
        source=source_of(table),
        table=table.definition,
        settings=settings_of(table, aws),
        options=settings,
        sampled_rcu=sampled_rcu,
    )
    if options.follow and log.read_stream(storage) is None:  # a move may have been killed at this point
        declare(storage, table, changes_only=options.changes_only)
    storage.write(manifests.STARTED, msgspec.json.encode(started), new=True)
    return Export(storage, table, started, done_items=0)


def _choose_format_options(
    options: NewExport, table: Table, aws: Aws, stop: Stop
) -> tuple[FormatOptions, float]:
    requested, common = options.requested, options.common
    fits_page = requested.segments is None and common.chooses_processes and is_small(aws, table, PAGE_BYTES)
    return choose_format_options(
        requested, options.max_rcu, table, aws, stop, fits_page=fits_page, share=common.share
    )


def find_complete(options: ResumedExport, aws: Aws) -> tuple[S3Storage, Manifest | None]:
    """The folder to resume, and its manifest if the export is already complete."""
    storage = S3Storage(aws.s3, *parse_bucket_url(options.export))
    manifests.export_id_of(storage)
    require(bucket_checks(aws, storage))
    return storage, manifests.read(storage) if storage.read(manifests.MANIFEST) is not None else None


def reopen(options: ResumedExport, aws: Aws) -> Export:
    """An export that was interrupted, if this command may finish it; nothing is touched before `take_over`."""
    storage = S3Storage(aws.s3, *parse_bucket_url(options.export))
    stored = storage.read(manifests.STARTED)
    if stored is None or not stored.data:
        raise ExportError(
            f"No export was started at {storage.url}.", "Use the location that ddb-export printed."
        )
    started = checkpoints.decode(storage, manifests.STARTED, stored.data, Started)
    table = _exported_table(aws, options.table, started.source)
    refuse_another_table(options.table, started, table)
    refuse_other_options(options.requested, started.options)
    require(checks(options, aws, table, storage))
    return Export(storage, table, started, done_items=0)


def _exported_table(aws: Aws, requested: str | None, source: Source) -> Table:
    """The table that the export is of: the caller's of its name, or else the one of its ARN, which may be another account's."""
    if requested is not None and requested.startswith("arn:"):
        return describe(aws.dynamodb, requested)
    own = find(aws.dynamodb, source.table_name)
    return (
        own if own is not None and own.arn == source.table_arn else describe(aws.dynamodb, source.table_arn)
    )


def take_over(export: Export) -> Export:
    """Clears away what an interrupted run had not finished, and counts what it had; under the lease alone.

    The uploads of an exporter that still runs would be aborted with it.
    """
    if export.storage.read(manifests.MANIFEST) is not None:
        raise ExportError(
            f"The export {export.storage.url} was completed by another run just now.",
            f"Import it with: ddb-import {export.storage.url} TABLE",
        )
    export.storage.abort_uploads(manifests.DATA)
    done = sum(shard.items for state in load_states(export.storage) for shard in state.shards)
    return replace(export, done_items=done)


def settings_of(table: Table, aws: Aws) -> dict[str, Setting]:
    """The table's settings; logs those that could not be read."""
    settings = read_settings(aws.of_settings, table)
    unknown = [f"  {name}: {reason}" for name, reason in unknown_settings(settings).items()]
    if unknown:
        _LOG.warning(
            "%d settings of table %s are recorded as unknown:\n%s",
            len(unknown),
            table.name,
            "\n".join(unknown),
        )
    return settings


def refuse_another_table(requested: str | None, started: Started, table: Table) -> None:
    """Raises ExportError unless this is the exported table itself: TableIds are never reused."""
    if requested not in {None, table.name, table.arn} or source_of(table) != started.source:
        raise ExportError(
            f"The export is of table {started.source.table_arn} (id {started.source.table_id}), "
            f"not of {table.arn} (id {table.id}).",
            "The table was recreated, or it is another table: start a new export.",
        )


def source_of(table: Table) -> Source:
    """The table as recorded in the manifest."""
    return Source(
        table_name=table.name,
        table_arn=table.arn,
        table_id=table.id,
        account=table.account,
        region=table.region,
    )


def load_states(storage: S3Storage) -> list[SegmentCheckpoint]:
    """All segment checkpoints of an export, in the order of the segments."""
    return checkpoints.load_all(storage, checkpoints.SEGMENTS, SegmentCheckpoint)


prepare(Started)
