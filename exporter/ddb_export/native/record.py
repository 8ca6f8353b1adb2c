"""What is recorded of a native export, so that a later command can wait for it: the request, and the ARN that AWS answered with.

The request is stored before it is sent, with the token that makes it idempotent: so no export, which costs by the size of
the table, is started twice, however a command ends.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from ddb_export.start import source_of
from ddb_shared.errors import ExportError, map_errors
from ddb_shared.format import manifest as manifests
from ddb_shared.format.checkpoint import decode
from ddb_shared.format.manifest import FORMAT, Source
from ddb_shared.records import prepare
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import Table
from ddb_shared.table.settings import Setting
from ddb_shared.times import now_text

# In the folder of the exports until AWS has answered, then in the export's own.
REQUESTS: Final = "requests/"
REQUEST: Final = "request.json"
# AWS keeps a token for eight hours after the export is completed; a minute less, for clocks that differ.
TOKEN_LIFE: Final = dt.timedelta(hours=7, minutes=59)


class ExportRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The file `request.json`. `parameters` are those of ExportTableToPointInTime, with times as text."""

    format: str = FORMAT
    requested_at: str
    source: Source
    table: dict[str, Any]
    settings: dict[str, Setting]
    parameters: dict[str, Any]
    export_arn: str = ""

    @property
    def token(self) -> str:
        """The client token."""
        return str(self.parameters["ClientToken"])

    @property
    def export_id(self) -> str:
        """The id that AWS gave the export; empty until it has answered."""
        return self.export_arn.rpartition("/")[2]

    @property
    def is_incremental(self) -> bool:
        """Whether it is of changes."""
        return "IncrementalExportSpecification" in self.parameters

    @property
    def window(self) -> tuple[str, str] | None:
        """From when to when its changes are."""
        window = self.parameters.get("IncrementalExportSpecification")
        return (window["ExportFromTime"], window["ExportToTime"]) if window else None

    def call(self) -> dict[str, Any]:
        """The parameters as boto3 takes them."""
        return {name: _CONVERSIONS.get(name, _same)(value) for name, value in self.parameters.items()}


def new_request(
    table: Table, settings: dict[str, Setting], parameters: dict[str, Any], now: float
) -> ExportRequest:
    """A request with a token of its own; `now` in seconds."""
    token = manifests.new_export_id(now)
    return ExportRequest(
        requested_at=now_text(),
        source=source_of(table),
        table=table.definition,
        settings=settings,
        parameters={"TableArn": table.arn, **parameters, "ClientToken": token},
    )


def find_started(dynamodb: Any, request: ExportRequest) -> str | None:
    """The ARN of the export that an earlier command started with this request, where its token is too old to find it again.

    None while the token holds: asking again is harmless then. Raises ExportError where the token is too old and AWS knows no
    such export, since asking again would start another one.
    """
    requested_at = dt.datetime.fromisoformat(request.requested_at)
    if dt.datetime.now(dt.UTC) - requested_at < TOKEN_LIFE:
        return None
    with map_errors(f"look for the export of table {request.source.table_name}"):
        for arn in _exports_begun(dynamodb, request.source.table_arn, requested_at):
            description = dynamodb.describe_export(ExportArn=arn)["ExportDescription"]
            if description.get("ClientToken") == request.token:
                return arn
    raise ExportError(
        f"The export of table {request.source.table_name} was requested at {request.requested_at}, and DynamoDB knows no export of "
        "that request.",
        "Start a new export.",
    )


def _exports_begun(dynamodb: Any, table_arn: str, requested_at: dt.datetime) -> Iterator[str]:
    """The exports of a table that began within the ten minutes after a time, by the milliseconds in their ARNs."""
    first = requested_at.timestamp() * 1000
    token: dict[str, str] = {}
    while True:  # botocore has no paginator for ListExports
        page = dynamodb.list_exports(TableArn=table_arn, **token)
        for summary in page.get("ExportSummaries", ()):
            begun = summary["ExportArn"].rpartition("/")[2].partition("-")[0]
            if begun.isdecimal() and first - 60_000 <= int(begun) <= first + 600_000:
                yield summary["ExportArn"]
        if "NextToken" not in page:
            return
        token = {"NextToken": page["NextToken"]}


def is_record(url: str) -> bool:
    """Whether a URL names a request that AWS had not answered yet."""
    return f"/{manifests.EXPORTS}{REQUESTS}" in url and url.endswith(".json")


def request_name(token: str) -> str:
    """`requests/<token>.json`"""
    return f"{REQUESTS}{token}.json"


def read_request(storage: S3Storage, name: str = REQUEST) -> ExportRequest | None:
    """A request; None where there is none."""
    stored = storage.read(name)
    return decode(storage, name, stored.data, ExportRequest) if stored else None


def _same(value: Any) -> Any:
    return value


def _time(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def _window(window: dict[str, str]) -> dict[str, Any]:
    return {name: _time(value) if name.endswith("Time") else value for name, value in window.items()}


def _specification(members: dict[str, Any]) -> dict[str, Any]:
    values = members.get("ExpressionAttributeValues")
    if not values:
        return members
    decoded = {name: _attribute(value) for name, value in values.items()}
    return members | {"ExpressionAttributeValues": decoded}


def _attribute(value: dict[str, Any]) -> dict[str, Any]:
    """A value in DynamoDB JSON as boto3 takes it, with binary data in place of base64."""
    ((tag, content),) = value.items()
    match tag:
        case "B":
            return {tag: base64.b64decode(content)}
        case "BS":
            return {tag: [base64.b64decode(member) for member in content]}
        case "L":
            return {tag: [_attribute(member) for member in content]}
        case "M":
            return {tag: {name: _attribute(member) for name, member in content.items()}}
    return value


_CONVERSIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "ExportTime": _time,
    "IncrementalExportSpecification": _window,
    "FilterSpecification": _specification,
}


prepare(ExportRequest)
