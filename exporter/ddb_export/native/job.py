"""The job of one native export: ExportTableToPointInTime, and how it is followed.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_ExportTableToPointInTime.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ddb_export.native.record import ExportRequest
from ddb_shared.aws.job_failures import explain_refusals
from ddb_shared.errors import map_errors
from ddb_shared.runtime.jobs import JobState

# What AWS answers instead of an export, and what to do. Its own message says the rest.
_REFUSALS: Final = {
    "PointInTimeRecoveryUnavailableException": "Switch point-in-time recovery on with --enable-pitr.",
    "InvalidExportTimeException": "Give a time between the switching on of point-in-time recovery, at most 35 days ago, and now.",
    "ExportConflictException": "Run the command again; it asks with a new token.",
    "LimitExceededException": "An account runs 300 exports, of 100 TB together, at the same time. Wait for some to end.",
    "TableNotFoundException": "Check the table's name, the account (--profile, --role-arn) and --region.",
}
# DynamoDB keeps what it knows of an export for 90 days.
_GONE: Final = {
    "ExportNotFoundException": "Check the account (--profile, --role-arn) and --region. AWS forgets an export after 90 days; its files stay, and "
    "ddb-import reads them without our manifest as well.",
}


class ExportJob:
    """One export; `resume` is the command that waits for it. The ARN is empty until it is started."""

    def __init__(self, dynamodb: Any, request: ExportRequest, resume: str) -> None:
        self._dynamodb = dynamodb
        self._request = request
        self._resume = resume
        self.arn = request.export_arn

    @property
    def name(self) -> str:
        """What it is."""
        return f"the export {self.arn or f'of table {self._request.source.table_name}'}"

    def start(self) -> JobState:
        """Asks for the export; the same token again finds the one that it started."""
        with (
            map_errors(f"export table {self._request.source.table_name}"),
            explain_refusals("the export", _REFUSALS),
        ):
            answer = self._dynamodb.export_table_to_point_in_time(**self._request.call())
        return self._state(answer["ExportDescription"])

    def poll(self) -> JobState:
        """How it is now."""
        with map_errors(f"look at {self.name}"), explain_refusals(f"to describe {self.name}", _GONE):
            answer = self._dynamodb.describe_export(ExportArn=self.arn)
        return self._state(answer["ExportDescription"])

    def interrupt(self, signal_number: int) -> str:  # noqa: ARG002 - no signal can cancel it
        """DynamoDB has no call that cancels an export."""
        return f"DynamoDB continues {self.name}, which cannot be cancelled. To wait for it and complete it:\n  {self._resume}"

    def _state(self, description: Mapping[str, Any]) -> JobState:
        self.arn = description["ExportArn"]
        return JobState(
            status=description["ExportStatus"],
            description=description,
            items=description.get("ItemCount"),
            bytes=description.get("BilledSizeBytes"),
        )
