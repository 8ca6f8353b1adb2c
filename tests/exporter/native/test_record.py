"""A native export is asked for once, whatever becomes of the command; botocore's model accepts what is sent and answered."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import boto3
import msgspec
import pytest
from botocore.stub import Stubber

from ddb_export.native.job import ExportJob
from ddb_export.native.record import ExportRequest, find_started, is_record, request_name
from ddb_shared.errors import ExportError, ServiceError, TableError
from ddb_shared.format.manifest import Source
from ddb_shared.times import now_text, time_text

TABLE_ARN = "arn:aws:dynamodb:eu-west-1:111111111111:table/Orders"
ARN = f"{TABLE_ARN}/export/01715685260608-c488b4e1"
TOKEN = "01715685260000-00000001"


def request(**changes: Any) -> ExportRequest:
    parameters = {"TableArn": TABLE_ARN, "S3Bucket": "shared-bucket", "ClientToken": TOKEN}
    made = ExportRequest(
        requested_at=now_text(),
        source=Source(
            table_name="Orders",
            table_arn=TABLE_ARN,
            table_id="id",
            account="111111111111",
            region="eu-west-1",
        ),
        table={},
        settings={},
        parameters=parameters | changes,
    )
    return msgspec.json.decode(msgspec.json.encode(made), type=ExportRequest)


@pytest.fixture
def stub() -> Iterator[tuple[Any, Stubber]]:
    client = boto3.client(
        "dynamodb", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    with Stubber(client) as stubber:
        yield client, stubber
        stubber.assert_no_pending_responses()


def described(status: str = "IN_PROGRESS", **members: Any) -> dict[str, Any]:
    return {"ExportDescription": {"ExportArn": ARN, "ExportStatus": status, "ClientToken": TOKEN, **members}}


def test_every_parameter_is_one_of_the_service(stub: tuple[Any, Stubber]) -> None:
    """Stored as JSON, sent as boto3 takes it: times as times, binary as bytes."""
    client, stubber = stub
    made = request(
        S3BucketOwner="222222222222",
        S3Prefix="moves",
        S3SseAlgorithm="KMS",
        S3SseKmsKeyId="arn:aws:kms:eu-west-1:222222222222:key/1",
        ExportFormat="DYNAMODB_JSON",
        ExportType="INCREMENTAL_EXPORT",
        IncrementalExportSpecification={
            "ExportFromTime": "2026-09-01T12:00:00.608Z",
            "ExportToTime": "2026-09-01T12:15:00.000Z",
            "ExportViewType": "NEW_IMAGE",
        },
        FilterSpecification={
            "FilterExpression": "b = :b AND m = :m",
            "ExpressionAttributeValues": {
                ":b": {"B": "AAE="},
                ":m": {"M": {"x": {"L": [{"BS": ["AA=="]}, {"N": "1"}]}}},
            },
        },
    )
    start = dt.datetime(2026, 9, 1, 12, 0, 0, 608_000, tzinfo=dt.UTC)
    expected = dict(made.parameters) | {
        "IncrementalExportSpecification": {
            "ExportFromTime": start,
            "ExportToTime": dt.datetime(2026, 9, 1, 12, 15, tzinfo=dt.UTC),
            "ExportViewType": "NEW_IMAGE",
        },
        "FilterSpecification": {
            "FilterExpression": "b = :b AND m = :m",
            "ExpressionAttributeValues": {
                ":b": {"B": b"\x00\x01"},
                ":m": {"M": {"x": {"L": [{"BS": [b"\x00"]}, {"N": "1"}]}}},
            },
        },
    }
    stubber.add_response("export_table_to_point_in_time", described(), expected)
    job = ExportJob(client, made, "resume")
    assert (job.start().status, job.arn) == ("IN_PROGRESS", ARN)
    assert made.window == ("2026-09-01T12:00:00.608Z", "2026-09-01T12:15:00.000Z")


def test_what_is_said_at_the_end_is_read(stub: tuple[Any, Stubber]) -> None:
    """Counts appear once it is completed."""
    client, stubber = stub
    stubber.add_response("describe_export", described(), {"ExportArn": ARN})
    end = described(
        "COMPLETED", ItemCount=3, BilledSizeBytes=19, ExportManifest="x/manifest-summary.json", EndTime=0
    )
    stubber.add_response("describe_export", end, {"ExportArn": ARN})
    job = ExportJob(client, msgspec.structs.replace(request(), export_arn=ARN), "resume")
    assert (job.poll().items, job.poll().items) == (None, 3)
    assert "cannot be cancelled" in job.interrupt(2)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("PointInTimeRecoveryUnavailableException", TableError),
        ("InvalidExportTimeException", TableError),
        ("ExportConflictException", TableError),
        ("LimitExceededException", ServiceError),
        ("TableNotFoundException", TableError),
        ("InternalServerError", ServiceError),
    ],
)
def test_each_refusal_of_the_service_says_what_to_do(
    stub: tuple[Any, Stubber], code: str, kind: type[Exception]
) -> None:
    """Every error that the model of the operation names."""
    client, stubber = stub
    stubber.add_client_error("export_table_to_point_in_time", code, "said AWS", 400)
    with pytest.raises(kind) as caught:
        ExportJob(client, request(), "resume").start()
    assert "said AWS" in str(caught.value)
    assert caught.value.remedy  # type: ignore[attr-defined]


def test_no_error_of_the_operation_is_forgotten(stub: tuple[Any, Stubber]) -> None:
    """The parametrised list above is the model's."""
    operation = stub[0].meta.service_model.operation_model("ExportTableToPointInTime")
    names = {shape.name for shape in operation.error_shapes}
    marks = test_each_refusal_of_the_service_says_what_to_do.pytestmark
    assert names == {code for mark in marks for code, _ in mark.args[1]}


def test_an_export_that_dynamodb_has_forgotten_leaves_a_way_on(stub: tuple[Any, Stubber]) -> None:
    """After 90 days; its files are still there."""
    client, stubber = stub
    stubber.add_client_error("describe_export", "ExportNotFoundException", "said AWS", 400)
    with pytest.raises(TableError, match="to describe the export") as caught:
        ExportJob(client, msgspec.structs.replace(request(), export_arn=ARN), "resume").poll()
    assert "ddb-import reads them without our manifest" in caught.value.remedy


def test_a_token_that_holds_is_simply_sent_again(stub: tuple[Any, Stubber]) -> None:
    """For eight hours the same request is the same export."""
    assert find_started(stub[0], request()) is None


def old() -> ExportRequest:
    moment = dt.datetime(2024, 5, 14, 11, 14, 20, tzinfo=dt.UTC)
    return msgspec.structs.replace(request(), requested_at=time_text(moment))


def summary(export_id: str) -> dict[str, str]:
    return {"ExportArn": f"{TABLE_ARN}/export/{export_id}", "ExportStatus": "COMPLETED"}


def test_an_old_request_is_looked_for(stub: tuple[Any, Stubber]) -> None:
    """Among the table's exports that began when it was sent, on every page; the one with its token is it."""
    client, stubber = stub
    first = {
        "ExportSummaries": [summary("01715000000000-aaaaaaaa"), summary("01715685261000-bbbbbbbb")],
        "NextToken": "2",
    }
    stubber.add_response("list_exports", first, {"TableArn": TABLE_ARN})
    other = described("COMPLETED") | {}
    other["ExportDescription"] |= {"ClientToken": "other"}
    stubber.add_response(
        "describe_export", other, {"ExportArn": f"{TABLE_ARN}/export/01715685261000-bbbbbbbb"}
    )
    stubber.add_response(
        "list_exports",
        {"ExportSummaries": [summary(ARN.rpartition("/")[2])]},
        {"TableArn": TABLE_ARN, "NextToken": "2"},
    )
    stubber.add_response("describe_export", described("COMPLETED"), {"ExportArn": ARN})
    assert find_started(client, old()) == ARN


def test_an_old_request_that_is_not_found_is_not_sent_again(stub: tuple[Any, Stubber]) -> None:
    """It would start a second export, which costs by the size of the table."""
    client, stubber = stub
    stubber.add_response("list_exports", {"ExportSummaries": []}, {"TableArn": TABLE_ARN})
    with pytest.raises(ExportError, match="knows no export"):
        find_started(client, old())


def test_a_request_has_a_place_of_its_own() -> None:
    """Which is told apart from an export's folder."""
    url = f"s3://bucket/moves/AWSDynamoDB/{request_name(TOKEN)}"
    assert is_record(url)
    assert not is_record("s3://bucket/moves/AWSDynamoDB/01715685260608-c488b4e1/")
