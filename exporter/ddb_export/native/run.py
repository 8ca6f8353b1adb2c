"""One native export: asked for, waited for, and completed with a manifest of ours. Or one that an earlier command asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from ddb_export.native.finish import read_aws, require_completed, write_manifest
from ddb_export.native.job import ExportJob
from ddb_export.native.options import OPTION_NAMES
from ddb_export.native.record import (
    REQUEST,
    ExportRequest,
    find_started,
    is_record,
    read_request,
    request_name,
)
from ddb_export.native.report import write_report
from ddb_export.options import ResumedExport
from ddb_export.result import NativeExportResult
from ddb_shared.aws.clients import Aws
from ddb_shared.command.identity import local_user
from ddb_shared.command.options import Common
from ddb_shared.command.preflight import bucket_checks, require
from ddb_shared.errors import AccessError, BucketError, ExportError, ServiceError
from ddb_shared.format import aws_manifest
from ddb_shared.format import manifest as manifests
from ddb_shared.format.aws_manifest import AwsExport
from ddb_shared.report.runs import recorded
from ddb_shared.runtime.events import announce
from ddb_shared.runtime.jobs import progress_of, wait_for
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.bucket import parse_bucket_url
from ddb_shared.storage.s3 import S3Storage

# The parameters that `--resume EXPORT` replaces.
_REPLACED_BY_RESUME: Final = frozenset({"words", "resume", "method", *OPTION_NAMES})


@dataclass(frozen=True, slots=True)
class NativeExporter:
    """What the exports of one command share; `exports` is the folder of all exports, `AWSDynamoDB/`."""

    common: Common
    aws: Aws
    stop: Stop
    exports: S3Storage

    def complete(
        self, request: ExportRequest, resume_command: Callable[[str], str] | None = None
    ) -> NativeExportResult:
        """Starts the export that is asked for, unless it was started before, waits for it and writes its manifest.

        `resume_command` gives the command that continues with an export's folder after an interruption.
        """
        began = time.monotonic()
        request = self._started(request)
        folder = self.exports.below(f"{request.export_id}/")
        resume = (resume_command or self.resume_command)(folder.url)
        job = ExportJob(self.aws.dynamodb, request, resume)
        self.stop.explain(job.interrupt(0), saved=False)
        progress = progress_of("export")
        try:
            with recorded(folder, progress, self.common.invocation.line(), by=local_user()):
                state = wait_for(job, progress, self.common.progress, self.stop)
            require_completed(state, job.name)
            export = read_aws(folder, state)
            if not request.is_incremental:
                write_manifest(folder, request, export)
        except (AccessError, BucketError) as error:
            error.add_remedy(f"Wait for it again with:\n  {resume}")
            raise
        write_report(self.aws, folder, request, export, copy=self.common.report)
        return _result(folder, request, export, time.monotonic() - began)

    def resume_command(self, url: str) -> str:
        """The command line that finishes an export, by its folder or its request."""
        return self.common.invocation.line("--resume", url, without=_REPLACED_BY_RESUME)

    def _started(self, request: ExportRequest) -> ExportRequest:
        """The request with its ARN; it is stored before it is sent, and again with what AWS answered."""
        if request.export_arn:
            return request
        name = request_name(request.token)
        remedy = f"Finish it with:\n  {self.resume_command(self.exports.url + name)}"
        self.stop.explain(remedy, saved=False)
        if self.exports.read(name) is None:
            self.exports.write(name, msgspec.json.encode(request), new=True)
        self.stop.check()
        try:
            arn = find_started(self.aws.dynamodb, request) or self._start(request)
        except (AccessError, ServiceError) as error:
            error.add_remedy(remedy)
            raise
        started = msgspec.structs.replace(request, export_arn=arn)
        folder = self.exports.below(f"{started.export_id}/")
        folder.write(REQUEST, msgspec.json.encode(started))
        announce(f"DynamoDB exports table {request.source.table_name} into {folder.url}: {arn}")
        return started

    def _start(self, request: ExportRequest) -> str:
        job = ExportJob(self.aws.dynamodb, request, "")
        job.start()
        return job.arn


def find_request(options: ResumedExport, aws: Aws) -> tuple[S3Storage, ExportRequest] | None:
    """The folder of all exports, and the request of the native one that is to be resumed; None where it is a scan's."""
    if is_record(options.export):
        place, _, name = options.export.rpartition(manifests.EXPORTS)
        exports = S3Storage(aws.s3, *parse_bucket_url(place + manifests.EXPORTS))
        require(bucket_checks(aws, exports))
        request = read_request(exports, name)
        if request is None:
            raise ExportError(
                f"No export was requested at {options.export}.", "Give what ddb-export printed."
            )
        return exports, request
    folder = manifests.export_storage(aws.s3, options.export)
    require(bucket_checks(aws, folder))
    request = read_request(folder)
    return (
        (S3Storage(aws.s3, folder.bucket, folder.prefix.rstrip("/").rpartition("/")[0]), request)
        if request
        else None
    )


def resume_native(
    options: ResumedExport, aws: Aws, stop: Stop, exports: S3Storage, request: ExportRequest
) -> NativeExportResult:
    """Finishes a native export that an earlier command asked for."""
    if options.table not in {None, request.source.table_name, request.source.table_arn}:
        raise ExportError(
            f"The export is of table {request.source.table_arn}, not of {options.table}.",
            "Leave the table out.",
        )
    return NativeExporter(options.common, aws, stop, exports).complete(request)


def _result(
    folder: S3Storage, request: ExportRequest, export: AwsExport, seconds: float
) -> NativeExportResult:
    summary = export.summary
    return NativeExportResult(
        status="complete",
        export=folder.url,
        manifest=folder.url + (aws_manifest.SUMMARY if request.is_incremental else manifests.MANIFEST),
        items=summary.item_count,
        bytes=max(summary.billed_size_bytes, 0),
        shards=len(export.files),
        seconds=round(seconds, 3),
        consumed_rcu=0.0,
        throttled=0,
        throttle_reasons={},
        export_arn=request.export_arn,
        export_time=summary.export_time or None,
        window=request.window,
    )
