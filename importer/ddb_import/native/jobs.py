"""The jobs that load an export: ImportTable and StartBulkPutItems, how they are followed, and what their end means.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_ImportTable.html
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_StartBulkPutItems.html
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ddb_import.native.pages import pages_of
from ddb_import.native.source import Source
from ddb_shared.aws.job_failures import explain_refusals, failure_remedy, failure_text
from ddb_shared.errors import ServiceError, StateError, TransferError, map_errors
from ddb_shared.runtime.jobs import CANCELLED, COMPLETED, COMPLETED_WITH_ERRORS, JobState

# What AWS answers instead of a job, and what to do.
_REFUSALS: Final[Mapping[str, str]] = {
    "ResourceInUseException": "A table of that name exists, or the table is busy: wait until it is ACTIVE, or choose another engine.",
    "LimitExceededException": "Too many jobs run in this account at the same time (50 imports). Wait for some to end.",
    "ImportConflictException": "Run the command with --restart; it asks with a new token.",
    "IdempotentParameterMismatchException": "Run the command with --restart; it asks with a new token.",
}
# A job that DynamoDB does not know: it forgets them some time after their end, and another account or Region never knew it.
_UNKNOWN: Final = (
    "Check the account (--profile, --role-arn) and --region. AWS does not keep its jobs forever: compare the table with the export "
    "(ddb-verify), or load everything again with --restart."
)
_GONE: Final[Mapping[str, str]] = {"ImportNotFoundException": _UNKNOWN, "ResourceNotFoundException": _UNKNOWN}


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a job has loaded: each item of the export is written or rejected. `report` is where the reasons are."""

    written: int
    rejected: int = 0
    report: str = ""


class ImportTableJob:
    """One ImportTable: it makes the table, and cannot be cancelled. `parameters` are TableCreationParameters.

    `is_new` says that there is no such table yet, so that no earlier command can have started it.
    """

    def __init__(
        self,
        dynamodb: Any,
        source: Source,
        parameters: Mapping[str, Any],
        *,
        table_arn: str,
        token: str,
        arn: str,
        again: str,
        is_new: bool,
    ) -> None:
        self._dynamodb = dynamodb
        self._source = source
        self._parameters = parameters
        self._table_arn = table_arn
        self._token = token
        self._again = again
        self._is_new = is_new
        self.arn = arn
        self.table_id = ""

    @property
    def name(self) -> str:
        """What it is."""
        return f"the import {self.arn}"

    def find(self) -> bool:
        """Looks for the import of the table that has this token: once it has ended, the token finds it no more."""
        if self._is_new:
            return False
        with map_errors(f"look for the import of table {self._parameters['TableName']}"):
            for summary in pages_of(
                self._dynamodb.list_imports, "ImportSummaryList", TableArn=self._table_arn
            ):
                answer = self._dynamodb.describe_import(ImportArn=summary["ImportArn"])[
                    "ImportTableDescription"
                ]
                if answer.get("ClientToken") == self._token:
                    self.arn = answer["ImportArn"]
                    return True
        return False

    def start(self) -> JobState:
        """Asks for it; the same token again finds the one that it started, as long as that runs."""
        with (
            map_errors(f"import into table {self._parameters['TableName']}"),
            explain_refusals("the import", _REFUSALS),
        ):
            answer = self._dynamodb.import_table(
                ClientToken=self._token,
                S3BucketSource=self._source.request(),
                InputFormat=self._source.input_format,
                InputCompressionType=self._source.compression,
                TableCreationParameters=self._parameters,
            )
        return self._state(answer["ImportTableDescription"])

    def poll(self) -> JobState:
        """How it is now."""
        with map_errors(f"look at {self.name}"), explain_refusals(f"to describe {self.name}", _GONE):
            answer = self._dynamodb.describe_import(ImportArn=self.arn)
        return self._state(answer["ImportTableDescription"])

    def interrupt(self, signal_number: int) -> str:  # noqa: ARG002 - no signal can cancel it
        """DynamoDB has no call that cancels an import."""
        return f"DynamoDB continues {self.name}, which cannot be cancelled. To wait for it and finish:\n  {self._again}"

    def conclude(self, state: JobState) -> Loaded:
        """What was loaded; raises TransferError unless that is every item of the export."""
        description, expected = state.description, self._source.items
        imported, errors = description.get("ImportedItemCount", 0), description.get("ErrorCount", 0)
        if state.status == COMPLETED and not errors and imported == expected:
            return Loaded(imported)
        counts = f"{imported:,} of {expected:,} items imported, {errors:,} errors"
        if state.status == COMPLETED:
            raise StateError(
                f"DynamoDB completed {self.name}, but the counts differ: {counts}.",
                "Compare the table with the export: ddb-verify tells which items are missing. To load them, write everything again with "
                "--engine batch-write --on-existing overwrite --restart, or delete the table and import again with --restart.",
            )
        where = f"{description.get('CloudWatchLogGroupArn', '/aws-dynamodb/imports')}, stream {self.arn.rpartition('/')[2]}/error"
        left = (
            f"\nThe table exists with the items that were imported. Delete it and import again, or finish it with --engine batch-write "
            f"--on-existing overwrite --restart. The first errors are in CloudWatch: {where}"
            if imported
            else ""
        )
        raise ServiceError(
            f"DynamoDB reports {state.status} for {self.name}: {failure_text(description)} ({counts}).",
            failure_remedy(description) + left,
        )

    def _state(self, description: Mapping[str, Any]) -> JobState:
        self.arn = description["ImportArn"]
        self.table_id = description.get("TableId", "")
        return JobState(
            status=description["ImportStatus"],
            description=description,
            items=description.get("ProcessedItemCount"),
            bytes=description.get("ProcessedSizeBytes"),
        )


class BulkPutJob:
    """One StartBulkPutItems into a table that exists. `report` is where DynamoDB writes what it refuses.

    `is_expired` says that the token is too old to find the operation that it has started.
    """

    def __init__(
        self,
        dynamodb: Any,
        source: Source,
        *,
        table: str,
        report: Mapping[str, Any],
        max_units: int | None,
        token: str,
        arn: str,
        again: str,
        is_expired: bool = False,
    ) -> None:
        self._dynamodb = dynamodb
        self._source = source
        self._is_expired = is_expired
        self._table = table
        self._report = report
        self._max_units = max_units
        self._token = token
        self._again = again
        self.arn = arn
        self.table_id = ""

    @property
    def name(self) -> str:
        """What it is."""
        return f"the bulk put {self.arn}"

    @property
    def report_url(self) -> str:
        """Where the report is."""
        return f"s3://{self._report['S3Bucket']}/{self._report['S3KeyPrefix']}"

    def find(self) -> bool:
        """Looks for the operation with this token, where the token itself is too old to find it."""
        if not self._is_expired:
            return False
        with map_errors("look for the bulk put"):
            for summary in pages_of(self._dynamodb.list_bulk_operations, "BulkOperationsSummaryList"):
                arn = summary["BulkOperationArn"]
                answer = self._dynamodb.describe_bulk_operation(BulkOperationArn=arn)[
                    "BulkOperationDescription"
                ]
                if answer.get("ClientToken") == self._token:
                    self.arn = arn
                    return True
        return False

    def start(self) -> JobState:
        """Asks for it; the same token again finds the one that it started, for eight hours."""
        cap = {"MaxWriteRequestUnits": self._max_units} if self._max_units else {}
        with map_errors(f"load into table {self._table}"), explain_refusals("the import", _REFUSALS):
            answer = self._dynamodb.start_bulk_put_items(
                ClientToken=self._token,
                TableName=self._table,
                InputS3Configuration={
                    **self._source.request(),
                    "InputFormat": self._source.input_format,
                    "InputCompressionType": self._source.compression,
                },
                OutputS3Configuration={**self._report, "OutputType": ["ERROR"]},
                **cap,
            )
        return self._state(answer["BulkOperationDescription"])

    def poll(self) -> JobState:
        """How it is now."""
        with map_errors(f"look at {self.name}"), explain_refusals(f"to describe {self.name}", _GONE):
            answer = self._dynamodb.describe_bulk_operation(BulkOperationArn=self.arn)
        return self._state(answer["BulkOperationDescription"])

    def interrupt(self, signal_number: int) -> str:
        """Ctrl-C cancels it; an end by another signal leaves it to continue."""
        goes_on = f"DynamoDB continues {self.name}. To wait for it and finish:\n  {self._again}"
        if signal_number != signal.SIGINT:
            return goes_on
        try:
            with map_errors(f"cancel {self.name}"):
                self._dynamodb.cancel_bulk_operation(BulkOperationArn=self.arn)
        except TransferError as error:
            return f"{error.message}\n{goes_on}"
        return (
            f"{self.name[0].upper()}{self.name[1:]} was cancelled: the items that it has written stay in the table. To load all of them, from the "
            f"start:\n  {self._again}"
        )

    def conclude(self, state: JobState) -> Loaded:
        """What was loaded; raises TransferError unless each item of the export was written or refused.

        ProcessedItemCount includes what failed, so the two counts have to add up to the export's items.
        """
        description, expected = state.description, self._source.items
        processed, failed = (description.get(name, 0) for name in ("ProcessedItemCount", "FailedItemCount"))
        counts = f"{processed:,} of {expected:,} items processed, {failed:,} of them refused"
        if state.status == CANCELLED:
            raise ServiceError(
                f"{self.name[0].upper()}{self.name[1:]} was cancelled: {counts}. What it has written stays in the table.",
                "Run the same command again to load everything.",
            )
        if state.status not in {COMPLETED, COMPLETED_WITH_ERRORS}:
            raise ServiceError(
                f"DynamoDB reports {state.status} for {self.name}: {failure_text(description)} ({counts}).",
                failure_remedy(description),
            )
        if processed != expected or (state.status == COMPLETED) != (failed == 0):
            raise StateError(
                f"DynamoDB reports {state.status} for {self.name}, but the counts do not add up: {counts}.",
                f"See {self.report_url}, and compare the table with the export: ddb-verify tells which items are missing. To load everything "
                "again, run the command with --restart.",
            )
        return Loaded(processed - failed, failed, self.report_url if failed else "")

    def _state(self, description: Mapping[str, Any]) -> JobState:
        self.arn = description["BulkOperationArn"]
        return JobState(
            status=description["BulkOperationStatus"],
            description=description,
            items=description.get("ProcessedItemCount"),
            bytes=description.get("ProcessedInputBytes"),
            total_bytes=description.get("TotalInputBytes"),
        )
