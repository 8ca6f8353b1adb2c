"""How a native export ends: AWS's manifests are read, its files are seen to be there, and our manifest is written beside them.

AWS's manifests hold no table definition; with ours, `ddb-import --create-table` makes the table as it was.
"""

from __future__ import annotations

import msgspec

import ddb_shared
from ddb_export.native.record import ExportRequest
from ddb_shared.aws.job_failures import failure_remedy, failure_text
from ddb_shared.errors import ExportError, ServiceError
from ddb_shared.format import aws_manifest
from ddb_shared.format import manifest as manifests
from ddb_shared.format.aws_manifest import AwsExport
from ddb_shared.format.manifest import Manifest
from ddb_shared.runtime.jobs import COMPLETED, JobState
from ddb_shared.storage.s3 import S3Storage


def require_completed(state: JobState, name: str) -> None:
    """Raises ServiceError with AWS's reason, and what to do about it, unless the export is completed."""
    if state.status != COMPLETED:
        raise ServiceError(
            f"DynamoDB reports {state.status} for {name}: {failure_text(state.description)}",
            failure_remedy(state.description),
        )


def read_aws(folder: S3Storage, state: JobState) -> AwsExport:
    """AWS's manifests of a completed export; raises ExportError where they are missing or do not agree with DescribeExport."""
    export = aws_manifest.read(folder)
    if export is None:
        raise ExportError(
            f"DynamoDB reports that the export is complete, but {folder.url}{aws_manifest.SUMMARY} is not there.",
            "Does something else delete in this bucket? Start a new export.",
        )
    counted, files = state.items, sum(file.item_count for file in export.files)
    if counted not in {None, export.summary.item_count} or files != export.summary.item_count:
        raise ExportError(
            f"The export {folder.url} does not add up: {export.summary.item_count:,} items in {aws_manifest.SUMMARY}, {files:,} in "
            f"{aws_manifest.FILES}, {counted} by DescribeExport.",
            "Start a new export, and tell AWS.",
        )
    return export


def write_manifest(folder: S3Storage, request: ExportRequest, export: AwsExport) -> Manifest:
    """Our manifest of a full export, with the table's definition of when it was asked for; the one that is there already, if any."""
    if folder.read(manifests.MANIFEST) is not None:
        return manifests.read(folder)
    of_aws = manifests.of_aws(folder, export)
    sizes = {entry.name: entry.size for entry in folder.list(manifests.DATA)}
    missing = [shard.key for shard in of_aws.shards if manifests.DATA + shard.name not in sizes]
    if missing:
        raise ExportError(
            f"The export {folder.url} lacks {len(missing)} of its files, such as {missing[0]}.",
            "Does something else delete in this bucket? Start a new export.",
        )
    manifest = msgspec.structs.replace(
        of_aws,
        tool_version=ddb_shared.__version__,
        method=manifests.PITR,
        source=request.source,
        table=request.table,
        settings=request.settings,
        part=request.parameters.get("FilterSpecification", msgspec.UNSET),
        shards=[
            msgspec.structs.replace(shard, stored_bytes=sizes[manifests.DATA + shard.name])
            for shard in of_aws.shards
        ],
    )
    manifests.write(folder, manifest)
    return manifest
