"""How an export begins, or is found again: its folder, and the file that says what it is of."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ddb_export.encoding import Encoding
from ddb_export.options import ExportOptions
from ddb_export.preflight import checks
from ddb_export.settings import encoding_of, refuse_other_settings, settle_settings
from ddb_shared import checkpoint as checkpoints
from ddb_shared import manifest as manifests
from ddb_shared.aws import Aws
from ddb_shared.bucket import parse_bucket_url
from ddb_shared.checkpoint import SegmentCheckpoint
from ddb_shared.definition import Clients, Setting, read_settings, unknown_settings
from ddb_shared.errors import ExportError, UsageError
from ddb_shared.manifest import FORMAT, Settings, Source
from ddb_shared.preflight import bucket_checks, require
from ddb_shared.storage import S3Folder
from ddb_shared.table import Table, describe
from ddb_shared.times import now_text
from ddb_shared.workers import Stop

_READERS: Final = 16
_LOG: Final = logging.getLogger(__name__)


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """The file `_started`: what the export is of and how it was asked for, so that a resume can tell."""

    format: str = FORMAT
    started_at: str
    source: Source
    table: dict[str, Any]
    settings: dict[str, Setting] = {}
    options: Settings
    sampled_rcu: float = 0.0

    @property
    def encoding(self) -> Encoding:
        """How its shards are encoded."""
        return encoding_of(self.options, self.source, self.table)


@dataclass(frozen=True, slots=True)
class Export:
    """An export that has begun: its folder and what its `_started` says."""

    folder: S3Folder
    table: Table
    started: Started
    done_items: int


def begin(options: ExportOptions, aws: Aws, stop: Stop) -> Export:
    """A new export: everything that can be refused is, before `_started` is written."""
    if options.table is None or options.destination is None:
        raise UsageError(
            "TABLE and s3://BUCKET[/PREFIX] are needed.", "Or finish an export with --resume EXPORT."
        )
    exports = S3Folder(aws.s3, *parse_bucket_url(options.destination)).below(manifests.EXPORTS)
    require(bucket_checks(aws, exports))
    table = describe(aws.dynamodb, options.table)
    require(checks(options, aws, table, exports))
    folder = exports.below(manifests.new_export_id(time.time()))
    settings, sampled_rcu = settle_settings(options, table, aws, stop)
    started = Started(
        started_at=now_text(),
        source=source_of(table),
        table=table.definition,
        settings=_settings_of(table, aws),
        options=settings,
        sampled_rcu=sampled_rcu,
    )
    folder.write(manifests.STARTED, msgspec.json.encode(started), new=True)
    return Export(folder, table, started, done_items=0)


def find(options: ExportOptions, aws: Aws) -> Export:
    """An export that was interrupted, if this command may finish it."""
    folder = S3Folder(aws.s3, *parse_bucket_url(options.resume or ""))
    manifests.export_id_of(folder)
    require(bucket_checks(aws, folder))
    if folder.read(manifests.MANIFEST) is not None:
        raise ExportError(f"The export {folder.url} is complete: there is nothing to resume.")
    stored = folder.read(manifests.STARTED)
    if stored is None or not stored.data:
        raise ExportError(
            f"No export of ddb-export has begun at {folder.url}.", "Give the folder that it printed."
        )
    started = checkpoints.decode(folder, manifests.STARTED, stored.data, Started)
    table = describe(aws.dynamodb, started.source.table_name)
    refuse_another_table(options.table, started, table)
    refuse_other_settings(options, started.options)
    require(checks(options, aws, table, folder))
    folder.abort_uploads(manifests.DATA)
    done = sum(shard.items for state in load_states(folder) for shard in state.shards)
    return Export(folder, table, started, done_items=done)


def _settings_of(table: Table, aws: Aws) -> dict[str, Setting]:
    """What belongs to the table beside its description; says what could not be read."""
    settings = read_settings(Clients(aws.dynamodb, aws.autoscaling), table)
    unknown = [f"  {name}: {reason}" for name, reason in unknown_settings(settings).items()]
    if unknown:
        _LOG.warning(
            "%d settings of table %s are recorded as unknown:\n%s",
            len(unknown),
            table.name,
            "\n".join(unknown),
        )
    return settings


def refuse_another_table(asked: str | None, started: Started, table: Table) -> None:
    """The table must be the very one that the export began with: a TableId is never used again."""
    if asked not in {None, table.name, table.arn} or source_of(table) != started.source:
        raise ExportError(
            f"The export is of table {started.source.table_arn} (id {started.source.table_id}), "
            f"not of {table.arn} (id {table.id}).",
            "The table was made anew or is another one: start a new export.",
        )


def source_of(table: Table) -> Source:
    """The table as the manifest names it."""
    return Source(
        table_name=table.name,
        table_arn=table.arn,
        table_id=table.id,
        account=table.account,
        region=table.region,
    )


def load_states(folder: S3Folder) -> list[SegmentCheckpoint]:
    """All segment checkpoints of an export, in the order of the segments."""
    names = sorted(entry.name for entry in folder.list(checkpoints.SEGMENTS))
    with ThreadPoolExecutor(_READERS) as pool:
        loaded = pool.map(lambda name: checkpoints.load(folder, name, SegmentCheckpoint), names)
    return [state for state in loaded if state is not None]
