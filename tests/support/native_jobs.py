"""DynamoDB's own exports and bulk loads, which no local service does, before MiniStack, which does everything else.

An export writes the files that AWS writes (support.aws_exports) with the caller's permissions; a bulk load puts the items of the files
into the table. Every answer is checked against botocore's model of the service before it is sent, as botocore's Stubber does; what
AWS does beyond that model is taken from its documentation, and from what was measured by others (docs/witnesses.md).
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import gzip
import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import botocore.session
from aiohttp import web
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from support.accounts import Accounts
from support.aws_exports import Form, change_line, full_export, incremental_export
from support.reverse_proxy import forward, serving
from support.services import Endpoint, free_port
from support.tables import Item, canonical, key_of, scan

_MODEL: Final = botocore.session.get_session().get_service_model("dynamodb")
_MINUTE: Final = dt.timedelta(minutes=1)

Description = dict[str, Any]


class RefusedError(Exception):
    """An error of the service: its code and message."""


@dataclass
class NativeJobs:
    """The running service. `latest` is the latest time that can be exported; a test moves it on as it likes.

    With `window`, it comes to a second before the end of the next such while after the last export, and then to that end.
    Jobs stay IN_PROGRESS while `held` is set, also those of MiniStack; one that is cancelled is CANCELLING when it is looked at
    first. `failure` is the code with which the next jobs end. `unread` is the number of lines at the end of each object that bulk
    puts give up.
    """

    behind: Endpoint
    url: str
    accounts: Accounts
    latest: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    earliest: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC) - dt.timedelta(days=1))
    window: dt.timedelta | None = None
    held: threading.Event = field(default_factory=threading.Event)
    failure: str = ""
    unread: int = 0
    jobs: dict[str, Description] = field(default_factory=dict)
    seen_cancelling: set[str] = field(default_factory=set)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    snapshots: dict[str, dict[Any, Item]] = field(default_factory=dict)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """What DynamoDB answers."""
        operation = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        answer = _OPERATIONS.get(operation)
        if answer is None:
            return await forward(request, self.behind.url)
        account = request.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
        parameters = await request.json()
        self.calls.append((operation, parameters))
        try:
            document = await asyncio.to_thread(answer, self, account, parameters)
        except RefusedError as error:
            code, message = error.args
            return web.json_response(
                {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message}, status=400
            )
        return web.json_response(_wire(operation, document))

    def requests(self, operation: str) -> list[dict[str, Any]]:
        """The parameters of every call of an operation."""
        return [parameters for name, parameters in self.calls if name == operation]

    def describe_backups(self, account: str, parameters: dict[str, Any]) -> Description:
        client = self.accounts.dynamodb(self.behind, account)
        answer = client.describe_continuous_backups(**parameters)["ContinuousBackupsDescription"]
        found = answer["PointInTimeRecoveryDescription"]
        if found["PointInTimeRecoveryStatus"] == "ENABLED":
            self._advance()
            found |= {"EarliestRestorableDateTime": self.earliest, "LatestRestorableDateTime": self.latest}
        return {"ContinuousBackupsDescription": answer}

    def _advance(self) -> None:
        if self.window and self.jobs:
            last = list(self.jobs.values())[-1]
            incremental = last.get("IncrementalExportSpecification")
            end = (incremental["ExportToTime"] if incremental else last["ExportTime"]) + self.window
            almost = end - dt.timedelta(seconds=1)
            self.latest = end if self.latest >= almost else almost

    def export(self, account: str, parameters: dict[str, Any]) -> Description:
        arn = parameters["TableArn"]
        client, table = self.accounts.dynamodb(self.behind, account), arn.rpartition("/")[2]
        same = self._of_token("ExportArn", parameters)
        if same is not None:
            return {"ExportDescription": same}
        try:
            described = client.describe_table(TableName=table)["Table"]
        except ClientError as error:
            raise RefusedError("TableNotFoundException", f"Table not found: {arn}") from error
        backups = client.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
        if backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] != "ENABLED":
            raise RefusedError(
                "PointInTimeRecoveryUnavailableException",
                f"Point in time recovery is not enabled for table '{table}'",
            )
        if parameters.get("S3Prefix") == "":
            raise RefusedError("ValidationException", "S3Prefix must not be empty")
        self._check_times(parameters)
        job = self._new("ExportArn", f"{arn}/export/", parameters) | {
            "ExportStatus": "IN_PROGRESS",
            "TableId": described["TableId"],
            "StartTime": dt.datetime.now(dt.UTC),
            **{name: _moments(value) for name, value in parameters.items() if name != "ExportFormat"},
            "ExportFormat": "DYNAMODB_JSON",
        }
        job["ExportTime"] = job.get("ExportTime", job["StartTime"])
        self.jobs[job["ExportArn"]] = job
        return {"ExportDescription": job}

    def _check_times(self, parameters: dict[str, Any]) -> None:
        moment = _moments(parameters.get("ExportTime"))
        window = _moments(parameters.get("IncrementalExportSpecification"))
        if moment and not self.earliest <= moment <= self.latest:
            raise RefusedError("InvalidExportTimeException", "ExportTime is outside of the window")
        if window:
            start, end = window["ExportFromTime"], window["ExportToTime"]
            if (
                not 15 * _MINUTE <= end - start <= 24 * 60 * _MINUTE
                or not self.earliest <= start < end <= self.latest
            ):
                raise RefusedError("ValidationException", f"Invalid export window {start} to {end}")

    def describe_export(self, account: str, parameters: dict[str, Any]) -> Description:
        job = self.jobs.get(parameters["ExportArn"])
        if job is None:
            raise RefusedError("ExportNotFoundException", f"Export not found: {parameters['ExportArn']}")
        if job["ExportStatus"] == "IN_PROGRESS" and not self.held.is_set():
            job |= {"EndTime": dt.datetime.now(dt.UTC)} | self._end(
                lambda: self._write_export(account, job), "ExportStatus"
            )
        return {"ExportDescription": job}

    def describe_import(self, account: str, parameters: dict[str, Any]) -> Description:
        answer = self.accounts.dynamodb(self.behind, account).describe_import(**parameters)
        description: Description = answer["ImportTableDescription"]
        return {
            "ImportTableDescription": description
            | ({"ImportStatus": "IN_PROGRESS"} if self.held.is_set() else {})
        }

    def list_exports(self, _: str, parameters: dict[str, Any]) -> Description:
        names = ("ExportArn", "ExportStatus", "ExportType")
        found = [job for job in self.jobs.values() if job.get("TableArn") == parameters["TableArn"]]
        first = int(parameters.get("NextToken", 0))
        page = [{name: job[name] for name in names} for job in found[first : first + 1]]
        return {"ExportSummaries": page} | ({"NextToken": str(first + 1)} if first + 1 < len(found) else {})

    def _write_export(self, account: str, job: Description) -> Description:
        """Writes the files as the caller; the state of the table is that of now."""
        table = job["TableArn"].rpartition("/")[2]
        client = self.accounts.dynamodb(self.behind, account)
        key = key_of(client, table)
        window = job.get("IncrementalExportSpecification")
        form = Form(
            export_id=job["ExportArn"].rpartition("/")[2],
            table_arn=job["TableArn"],
            table_id=job["TableId"],
            time=_text(job["ExportTime"]),
            bucket=job["S3Bucket"],
            window=(_text(window["ExportFromTime"]), _text(window["ExportToTime"]), window["ExportViewType"])
            if window
            else None,
        )
        prefix = f"{job['S3Prefix']}/" if "S3Prefix" in job else ""
        now = {key.of(item): item for item in scan(client, table, **_scan_filter(job))}
        if window:
            before = self.snapshots[job["TableArn"]]
            lines = list(_changes(before, now, list(key.attributes)))
            files, count = incremental_export(lines, prefix, form), len(lines)
        else:
            files, count = full_export(list(now.values()), prefix, form=form), len(now)
        self.snapshots[job["TableArn"]] = now
        files.put(self.accounts.s3(self.behind, account), job["S3Bucket"])
        return {
            "ItemCount": count,
            "BilledSizeBytes": 1_000_000,
            "ExportManifest": f"{files.folder}manifest-summary.json",
        }

    def start_bulk(self, account: str, parameters: dict[str, Any]) -> Description:
        same = self._of_token("BulkOperationArn", parameters)
        if same is not None:
            return {"BulkOperationDescription": same}
        table = parameters["TableName"].rpartition("/")[2]
        client = self.accounts.dynamodb(self.behind, account)
        try:
            described = client.describe_table(TableName=table)["Table"]
        except ClientError as error:
            raise RefusedError("ResourceNotFoundException", f"Table not found: {table}") from error
        job = self._new("BulkOperationArn", f"{described['TableArn']}/bulk-operation/", parameters) | {
            **{name: value for name, value in parameters.items() if name != "TableName"},
            "BulkOperationStatus": "IN_PROGRESS",
            "TableDetails": [{"TableName": table, "TableId": described["TableId"]}],
            "StartTime": dt.datetime.now(dt.UTC),
            "ProcessedItemCount": 0,
            "FailedItemCount": 0,
        }
        self.jobs[job["BulkOperationArn"]] = job
        return {"BulkOperationDescription": job}

    def describe_bulk(self, account: str, parameters: dict[str, Any]) -> Description:
        job = self._bulk(parameters)
        if (
            job["BulkOperationStatus"] == "CANCELLING"
            and parameters["BulkOperationArn"] not in self.seen_cancelling
        ):
            self.seen_cancelling.add(parameters["BulkOperationArn"])
        elif job["BulkOperationStatus"] == "CANCELLING":
            job |= {
                "BulkOperationStatus": "CANCELLED",
                "FailureCode": "Cancelled",
                "FailureMessage": "cancelled by the user",
            }
        elif job["BulkOperationStatus"] == "IN_PROGRESS" and not self.held.is_set():
            job |= self._end(lambda: self._put_items(account, job), "BulkOperationStatus")
            if job["BulkOperationStatus"] == "COMPLETED" and job["FailedItemCount"]:
                job["BulkOperationStatus"] = "COMPLETED_WITH_ERRORS"
        return {"BulkOperationDescription": job}

    def cancel_bulk(self, _: str, parameters: dict[str, Any]) -> Description:
        job = self._bulk(parameters)
        if job["BulkOperationStatus"] == "IN_PROGRESS":
            job["BulkOperationStatus"] = "CANCELLING"
        return {name: job[name] for name in ("BulkOperationArn", "BulkOperationStatus")}

    def _bulk(self, parameters: dict[str, Any]) -> Description:
        try:
            return self.jobs[parameters["BulkOperationArn"]]
        except KeyError as error:
            raise RefusedError("ResourceNotFoundException", "no such operation") from error

    def _put_items(self, account: str, job: Description) -> Description:
        """Puts every item of every object below the prefix; an item that DynamoDB refuses is counted and reported."""
        source, report = job["InputS3Configuration"], job["OutputS3Configuration"]
        s3, client = self.accounts.s3(self.behind, account), self.accounts.dynamodb(self.behind, account)
        listed = s3.list_objects_v2(Bucket=source["S3Bucket"], Prefix=source["S3KeyPrefix"]).get(
            "Contents", ()
        )
        table, processed, refused, size = job["TableDetails"][0]["TableName"], 0, [], 0
        for entry in listed:
            data = s3.get_object(Bucket=source["S3Bucket"], Key=entry["Key"])["Body"].read()
            size += len(data)
            lines = gzip.decompress(data).splitlines()
            for line in lines[: len(lines) - self.unread]:
                processed += 1
                try:
                    client.put_item(TableName=table, Item=_boto_item(json.loads(line)["Item"]))
                except ClientError as error:
                    refused.append(json.dumps({"error": str(error), "line": line.decode()}).encode())
        if refused:
            key = f"{report['S3KeyPrefix']}errors.json"
            s3.put_object(Bucket=report["S3Bucket"], Key=key, Body=b"\n".join(refused))
        return {
            "ProcessedItemCount": processed,
            "FailedItemCount": len(refused),
            "ProcessedInputBytes": size,
            "TotalInputBytes": size,
            "EndTime": dt.datetime.now(dt.UTC),
        }

    def _end(self, work: Callable[[], Description], status: str) -> Description:
        """The members of a job that has ended."""
        if self.failure:
            return {status: "FAILED", "FailureCode": self.failure, "FailureMessage": "the test says so"}
        try:
            return {status: "COMPLETED", **work()}
        except ClientError as error:
            code = f"S3{error.response['Error']['Code']}"
            return {status: "FAILED", "FailureCode": code, "FailureMessage": str(error)}

    def _of_token(self, name: str, parameters: dict[str, Any]) -> Description | None:
        """The job that the same request has started; another request with its token is refused."""
        for job in self.jobs.values():
            if name in job and job["ClientToken"] == parameters["ClientToken"]:
                if job["request"] != parameters:
                    raise RefusedError(
                        "ExportConflictException"
                        if name == "ExportArn"
                        else "IdempotentParameterMismatchException",
                        "Duplicate request detected with the same client token, but different parameters",
                    )
                return job
        return None

    def _new(self, name: str, prefix: str, parameters: dict[str, Any]) -> Description:
        now = int(dt.datetime.now().timestamp() * 1000)
        return {name: f"{prefix}{now:014d}-{secrets.token_hex(4)}", "request": parameters}


_OPERATIONS: Final[dict[str, Callable[[NativeJobs, str, dict[str, Any]], Description]]] = {
    "DescribeContinuousBackups": NativeJobs.describe_backups,
    "ExportTableToPointInTime": NativeJobs.export,
    "DescribeExport": NativeJobs.describe_export,
    "ListExports": NativeJobs.list_exports,
    "DescribeImport": NativeJobs.describe_import,
    "StartBulkPutItems": NativeJobs.start_bulk,
    "DescribeBulkOperation": NativeJobs.describe_bulk,
    "CancelBulkOperation": NativeJobs.cancel_bulk,
}


@contextmanager
def native_jobs(behind: Endpoint, accounts: Accounts) -> Iterator[NativeJobs]:
    """The service on a free loopback port, until the block ends."""
    port = free_port()
    service = NativeJobs(behind, f"http://127.0.0.1:{port}", accounts)
    with serving(service.answer, port):
        yield service


def _wire(operation: str, document: Description) -> Any:
    """An answer as it is sent, once botocore's model of the service has accepted it."""
    shown = {
        name: {k: v for k, v in value.items() if k != "request"} if isinstance(value, dict) else value
        for name, value in document.items()
    }
    shape = _MODEL.operation_model(operation).output_shape
    errors = ParamValidator().validate(shown, shape)
    assert not errors.has_errors(), errors.generate_report()
    return _plain(shown)


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.timestamp()
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    return [_plain(member) for member in value] if isinstance(value, list) else value


def _moments(value: Any) -> Any:
    """Times of a request as times."""
    if isinstance(value, int | float):
        return dt.datetime.fromtimestamp(value, dt.UTC)
    if isinstance(value, dict) and "ExportFromTime" in value:
        return {name: _moments(member) for name, member in value.items()}
    return value


def _text(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _scan_filter(job: Description) -> dict[str, Any]:
    specification = job.get("FilterSpecification", {})
    return {name: value for name, value in specification.items() if name != "KeyConditionExpression"}


def _changes(before: dict[Any, Item], now: dict[Any, Item], names: list[str]) -> Iterator[bytes]:
    """Lines with the view NEW_IMAGE: one for each item that differs."""
    for key in before.keys() | now.keys():
        old, new = before.get(key), now.get(key)
        keys = {name: (new or old or {})[name] for name in names}
        if _canonical(old) != _canonical(new):
            yield change_line(keys, dict(new) if new else None)


def _canonical(item: Item | None) -> Any:
    return {name: canonical(value) for name, value in item.items()} if item else None


def _boto_item(value: dict[str, Any]) -> dict[str, Any]:
    """Base64 as bytes, at every level."""
    return {name: _attribute(member) for name, member in value.items()}


def _attribute(value: dict[str, Any]) -> dict[str, Any]:
    ((tag, content),) = value.items()
    match tag:
        case "B":
            return {tag: base64.b64decode(content)}
        case "BS":
            return {tag: [base64.b64decode(member) for member in content]}
        case "L":
            return {tag: [_attribute(member) for member in content]}
        case "M":
            return {tag: _boto_item(content)}
    return value
