"""What `ddb-export --method pitr` exports: a full export, the changes since one, or both, again and again."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from typing import Any, Final

from ddb_export.native.backups import enable_backups, read_backups
from ddb_export.native.preflight import native_checks
from ddb_export.native.record import new_request, read_request
from ddb_export.native.run import NativeExporter
from ddb_export.native.windows import Window, end_of, next_window, windows
from ddb_export.options import NewExport
from ddb_export.result import NativeExportResult
from ddb_export.start import settings_of
from ddb_shared.aws.clients import Aws
from ddb_shared.command.preflight import bucket_checks, require
from ddb_shared.errors import TableError
from ddb_shared.format import aws_manifest
from ddb_shared.format import manifest as manifests
from ddb_shared.runtime.events import announce
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.bucket import parse_bucket_url
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import Table, describe
from ddb_shared.times import time_text

# The latest time that can be exported moves on in steps of minutes.
_LATEST_POLL_SECONDS: Final = 30.0


def export_natively(options: NewExport, aws: Aws, stop: Stop) -> Iterator[NativeExportResult]:
    """The exports that are asked for, each once it is complete: one, or with --since and --every one after another.

    With --every, until a signal ends it.
    """
    exports = S3Storage(aws.s3, *parse_bucket_url(options.destination)).below(manifests.EXPORTS)
    require(bucket_checks(aws, exports))
    table = describe(aws.dynamodb, options.table)
    if options.pitr.enable_pitr:
        enable_backups(aws, table, stop)
    require(native_checks(options.pitr, aws, table, exports))
    chain = _Chain(NativeExporter(options.common, aws, stop, exports), options, table)
    if options.pitr.since is None:
        yield chain.full()
    else:
        yield from chain.unfinished()
    if options.pitr.every is not None:
        while True:
            yield chain.next_increment(options.pitr.every)
    elif options.pitr.since is not None:
        yield from chain.increments()


class _Chain:
    """Which export is the last one, and what comes next."""

    def __init__(self, exporter: NativeExporter, options: NewExport, table: Table) -> None:
        self._exporter = exporter
        self._options = options
        self._pitr = options.pitr
        self._table = table
        self._last = options.pitr.since or ""

    def full(self) -> NativeExportResult:
        """A full export."""
        moment = self._pitr.export_time
        return self._export({"ExportTime": time_text(moment)} if moment else {}, aws_manifest.FULL)

    def unfinished(self) -> Iterator[NativeExportResult]:
        """The export of --since, where an earlier command asked for it and it is not complete: it may lack our manifest alone."""
        folder = self._folder()
        request = read_request(folder)
        if request is None:
            return
        lacks_manifest = not request.is_incremental and manifests.read_header(folder) is None
        if lacks_manifest or aws_manifest.read_summary(folder) is None:
            yield self._exporter.complete(request, self._continue_command)

    def increments(self) -> Iterator[NativeExportResult]:
        """The changes since the last export up to the time that is asked for, or the latest one that can be exported."""
        start = end_of(self._folder(), self._table)
        end = self._pitr.export_time or self._latest(None)
        for window in windows(start, end):
            self._latest(window.end)
            yield self._increment(window)

    def next_increment(self, every: dt.timedelta) -> NativeExportResult:
        """The changes of the next such while, once they can be exported; of several, if so much time has passed."""
        start = end_of(self._folder(), self._table)
        self._exporter.stop.explain(f"Continue with:\n  {self._continue_command(self._last)}", saved=False)
        return self._increment(next_window(start, self._latest(start + every), every))

    def _increment(self, window: Window) -> NativeExportResult:
        specification = {
            "ExportFromTime": time_text(window.start),
            "ExportToTime": time_text(window.end),
            "ExportViewType": "NEW_IMAGE",
        }
        return self._export({"IncrementalExportSpecification": specification}, aws_manifest.INCREMENTAL)

    def _export(self, members: dict[str, Any], kind: str) -> NativeExportResult:
        aws = self._exporter.aws
        settings = settings_of(self._table, aws) if kind == aws_manifest.FULL else {}
        parameters = {"ExportType": kind, **members, **self._members()}
        request = new_request(self._table, settings, parameters, now=time.time())
        in_chain = self._pitr.every is not None or self._pitr.since is not None
        result = self._exporter.complete(request, self._continue_command if in_chain else None)
        self._last = result.export
        return result

    def _members(self) -> dict[str, Any]:
        """What all exports of the command have in common."""
        options, exports = self._exporter.aws.options, self._exporter.exports
        members = {
            "S3Bucket": exports.bucket,
            "S3BucketOwner": options.bucket_owner,
            "S3Prefix": exports.prefix.removesuffix(manifests.EXPORTS).rstrip("/"),
            "ExportFormat": aws_manifest.JSON,
            "FilterSpecification": self._pitr.filter_specification,
        }
        if options.kms_key_id:
            members |= {"S3SseAlgorithm": "KMS", "S3SseKmsKeyId": options.kms_key_id}
        return {name: value for name, value in members.items() if value}

    def _latest(self, moment: dt.datetime | None) -> dt.datetime:
        """The latest time that can be exported, once that is `moment` or later."""
        stop, told = self._exporter.stop, False
        while True:
            backups = read_backups(self._exporter.aws, self._table)
            if backups.latest is None:
                raise TableError(
                    f"Point-in-time recovery of table {self._table.name} was switched off.",
                    "Switch it on, and start with a new full export.",
                )
            if moment is None or backups.latest >= moment:
                return backups.latest
            if not told:
                announce(f"Waiting until the changes up to {time_text(moment)} can be exported.")
                told = True
            stop.wait(min(_LATEST_POLL_SECONDS, max((moment - backups.latest).total_seconds(), 1.0)))
            stop.check()

    def _folder(self) -> S3Storage:
        return manifests.export_storage(self._exporter.aws.s3, self._last)

    def _continue_command(self, url: str) -> str:
        """The command line that continues after an export, which may be unfinished."""
        return self._options.common.invocation.line("--since", url, without={"since"})
