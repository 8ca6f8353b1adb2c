"""DynamoDB's own loaders: what is asked of them is what botocore's model takes, and no end is called a success that is not one."""

import signal
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from ddb_import.native.jobs import BulkPutJob, ImportTableJob, Loaded
from ddb_import.native.source import Source
from ddb_shared.errors import ServiceError, StateError, TableError, TransferError
from ddb_shared.runtime.jobs import JobState

TABLE_ARN = "arn:aws:dynamodb:eu-west-1:222222222222:table/Copy"
IMPORT_ARN = f"{TABLE_ARN}/import/01658528578619-c4d4e311"
BULK_ARN = f"{TABLE_ARN}/bulk-operation/01658528578619-c4d4e311"
TABLE_ID = "11991185-e7ab-4da5-8bab-03f0db0b7bfd"
TOKEN = "01715685260000-00000001"
SOURCE = Source(
    bucket="shared-bucket",
    prefix="moves/AWSDynamoDB/01715685260608-c488b4e1/data/",
    owner="222222222222",
    input_format="DYNAMODB_JSON",
    compression="GZIP",
    items=10,
    objects=2,
    stored_bytes=100,
)
WHERE = {"S3Bucket": "shared-bucket", "S3KeyPrefix": SOURCE.prefix, "S3BucketOwner": "222222222222"}
PARAMETERS: dict[str, Any] = {
    "TableName": "Copy",
    "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    "BillingMode": "PAY_PER_REQUEST",
}
REPORT = {"S3Bucket": "shared-bucket", "S3KeyPrefix": "report/"}


@pytest.fixture
def stub() -> Iterator[tuple[Any, Stubber]]:
    client = boto3.client(
        "dynamodb", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    with Stubber(client) as stubber:
        yield client, stubber
        stubber.assert_no_pending_responses()


def import_job(client: Any, arn: str = "") -> ImportTableJob:
    return ImportTableJob(
        client,
        SOURCE,
        PARAMETERS,
        table_arn=TABLE_ARN,
        token=TOKEN,
        arn=arn,
        again="ddb-import …",
        is_new=False,
    )


def bulk_job(client: Any, max_units: int | None = None) -> BulkPutJob:
    return BulkPutJob(
        client,
        SOURCE,
        table="Copy",
        report=REPORT,
        max_units=max_units,
        token=TOKEN,
        arn="",
        again="ddb-import …",
    )


def imported(status: str, **members: Any) -> dict[str, Any]:
    description = {
        "ImportArn": IMPORT_ARN,
        "ImportStatus": status,
        "TableArn": TABLE_ARN,
        "TableId": TABLE_ID,
    }
    return {"ImportTableDescription": description | members}


def put(status: str, **members: Any) -> dict[str, Any]:
    return {
        "BulkOperationDescription": {"BulkOperationArn": BULK_ARN, "BulkOperationStatus": status} | members
    }


def test_an_import_is_asked_for_as_the_model_has_it(stub: tuple[Any, Stubber]) -> None:
    """The folder of the shards, its owner, form and compression, and the table."""
    client, stubber = stub
    expected = {
        "ClientToken": TOKEN,
        "S3BucketSource": WHERE,
        "InputFormat": "DYNAMODB_JSON",
        "InputCompressionType": "GZIP",
        "TableCreationParameters": PARAMETERS,
    }
    stubber.add_response("import_table", imported("IN_PROGRESS"), expected)
    stubber.add_response(
        "describe_import", imported("IN_PROGRESS", ProcessedItemCount=0), {"ImportArn": IMPORT_ARN}
    )
    job = import_job(client)
    assert job.start().is_running
    assert job.arn == IMPORT_ARN
    assert job.poll().items == 0
    assert "cannot be cancelled" in job.interrupt(signal.SIGINT)


def test_a_bulk_put_is_asked_for_as_the_model_has_it(stub: tuple[Any, Stubber]) -> None:
    """Into the table that exists; what DynamoDB refuses goes to the state's folder; a cap is its own."""
    client, stubber = stub
    expected = {
        "ClientToken": TOKEN,
        "TableName": "Copy",
        "InputS3Configuration": WHERE | {"InputFormat": "DYNAMODB_JSON", "InputCompressionType": "GZIP"},
        "OutputS3Configuration": REPORT | {"OutputType": ["ERROR"]},
        "MaxWriteRequestUnits": 2_000,
    }
    stubber.add_response("start_bulk_put_items", put("IN_PROGRESS"), expected)
    running = put("IN_PROGRESS", ProcessedItemCount=3, ProcessedInputBytes=30, TotalInputBytes=100)
    stubber.add_response("describe_bulk_operation", running, {"BulkOperationArn": BULK_ARN})
    job = bulk_job(client, 2_000)
    job.start()
    state = job.poll()
    assert (state.items, state.bytes, state.total_bytes) == (3, 30, 100)
    assert job.report_url == "s3://shared-bucket/report/"


def test_ctrl_c_cancels_a_bulk_put_and_another_signal_does_not(stub: tuple[Any, Stubber]) -> None:
    """Either way it says what that leaves, and what to run next."""
    client, stubber = stub
    stubber.add_response("start_bulk_put_items", put("IN_PROGRESS"))
    job = bulk_job(client)
    job.start()
    assert "continues" in job.interrupt(signal.SIGTERM)
    answer = {"BulkOperationArn": BULK_ARN, "BulkOperationStatus": "CANCELLING"}
    stubber.add_response("cancel_bulk_operation", answer, {"BulkOperationArn": BULK_ARN})
    assert "stay in the table" in job.interrupt(signal.SIGINT)
    stubber.add_client_error("cancel_bulk_operation", "AccessDeniedException", "no", 400)
    told = job.interrupt(signal.SIGINT)
    assert "AccessDeniedException" in told
    assert "continues" in told


def state_of(description: dict[str, Any], status: str) -> JobState:
    return JobState(status=status, description=description)


def test_an_import_is_complete_when_every_item_is_in(stub: tuple[Any, Stubber]) -> None:
    """The counts have to be the export's."""
    job = import_job(stub[0], IMPORT_ARN)
    whole = {"ImportedItemCount": 10, "ProcessedItemCount": 10, "ErrorCount": 0}
    assert Loaded(10) == job.conclude(state_of(whole, "COMPLETED"))
    for change in ({"ImportedItemCount": 9}, {"ErrorCount": 1}, {"ImportedItemCount": 11}):
        with pytest.raises(StateError, match="counts differ") as caught:
            job.conclude(state_of(whole | change, "COMPLETED"))
        assert "--restart" in caught.value.remedy


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED"])
def test_an_import_that_failed_says_what_is_left(stub: tuple[Any, Stubber], status: str) -> None:
    """Item errors leave a table with the good items; CloudWatch has the reasons."""
    job = import_job(stub[0], IMPORT_ARN)
    failed = {
        "FailureCode": "ItemValidationError",
        "FailureMessage": "Some of the items failed validation checks.",
        "ImportedItemCount": 8,
        "ErrorCount": 2,
        "CloudWatchLogGroupArn": "arn:aws:logs:eu-west-1:222222222222:log-group:/aws-dynamodb/imports:*",
    }
    with pytest.raises(ServiceError, match="ItemValidationError") as caught:
        job.conclude(state_of(failed, status))
    assert "8 of 10 items imported, 2 errors" in caught.value.message
    assert "/aws-dynamodb/imports" in caught.value.remedy
    assert "01658528578619-c4d4e311/error" in caught.value.remedy
    assert "Delete it and import again" in caught.value.remedy
    with pytest.raises(ServiceError, match="S3NoSuchBucket") as caught:
        job.conclude(state_of({"FailureCode": "S3NoSuchBucket"}, status))
    assert "The table exists" not in caught.value.remedy


def test_a_bulk_put_is_complete_when_its_counts_add_up(stub: tuple[Any, Stubber]) -> None:
    """What it processed includes what it refused; with errors it is no success, but every item is accounted for."""
    job = bulk_job(stub[0])
    assert Loaded(10) == job.conclude(state_of({"ProcessedItemCount": 10, "FailedItemCount": 0}, "COMPLETED"))
    with_errors = state_of({"ProcessedItemCount": 10, "FailedItemCount": 3}, "COMPLETED_WITH_ERRORS")
    assert Loaded(7, 3, "s3://shared-bucket/report/") == job.conclude(with_errors)


@pytest.mark.parametrize(
    ("status", "processed", "failed"),
    [
        ("COMPLETED", 9, 0),
        ("COMPLETED", 10, 1),
        ("COMPLETED_WITH_ERRORS", 9, 3),
        ("COMPLETED_WITH_ERRORS", 10, 0),
        ("COMPLETED", 11, 0),
    ],
)
def test_counts_that_do_not_add_up_are_a_failure(
    stub: tuple[Any, Stubber], status: str, processed: int, failed: int
) -> None:
    """An object may have been given up in its middle."""
    state = state_of({"ProcessedItemCount": processed, "FailedItemCount": failed}, status)
    with pytest.raises(StateError, match="do not add up") as caught:
        bulk_job(stub[0]).conclude(state)
    assert all(word in caught.value.remedy for word in ("ddb-verify", "--restart"))


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED"])
def test_a_bulk_put_that_failed_is_a_failure(stub: tuple[Any, Stubber], status: str) -> None:
    """Whatever it has processed."""
    state = state_of(
        {"ProcessedItemCount": 10, "FailedItemCount": 0, "FailureCode": "S3AccessDenied"}, status
    )
    with pytest.raises(ServiceError, match="10 of 10"):
        bulk_job(stub[0]).conclude(state)


IMPORT_REFUSALS = {
    "ResourceInUseException": TableError,
    "LimitExceededException": ServiceError,
    "ImportConflictException": TableError,
}
BULK_REFUSALS = {
    "ResourceInUseException": TableError,
    "LimitExceededException": ServiceError,
    "IdempotentParameterMismatchException": TableError,
    "ResourceNotFoundException": TableError,
}


@pytest.mark.parametrize(("code", "kind"), IMPORT_REFUSALS.items())
def test_each_refusal_of_an_import_says_what_to_do(
    stub: tuple[Any, Stubber], code: str, kind: type[TransferError]
) -> None:
    """Every error that the model of the operation names."""
    stub[1].add_client_error("import_table", code, "said AWS", 400)
    with pytest.raises(kind, match="said AWS") as caught:
        import_job(stub[0]).start()
    assert caught.value.remedy


@pytest.mark.parametrize(("code", "kind"), BULK_REFUSALS.items())
def test_each_refusal_of_a_bulk_put_says_what_to_do(
    stub: tuple[Any, Stubber], code: str, kind: type[TransferError]
) -> None:
    """Every error that the model of the operation names."""
    stub[1].add_client_error("start_bulk_put_items", code, "said AWS", 400)
    with pytest.raises(kind, match="said AWS") as caught:
        bulk_job(stub[0]).start()
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("operation", "known"), [("ImportTable", IMPORT_REFUSALS), ("StartBulkPutItems", BULK_REFUSALS)]
)
def test_no_error_of_the_operations_is_forgotten(
    stub: tuple[Any, Stubber], operation: str, known: dict[str, Any]
) -> None:
    """The lists above are the model's."""
    model = stub[0].meta.service_model.operation_model(operation)
    assert {shape.name for shape in model.error_shapes} == set(known)


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ("describe_import", "ImportNotFoundException"),
        ("describe_bulk_operation", "ResourceNotFoundException"),
    ],
)
def test_a_job_that_dynamodb_has_forgotten_leaves_a_way_on(
    stub: tuple[Any, Stubber], operation: str, code: str
) -> None:
    """The same command would find the same nothing for ever."""
    client, stubber = stub
    stubber.add_client_error(operation, code, "said AWS", 400)
    job = import_job(client, IMPORT_ARN) if operation == "describe_import" else bulk_job(client)
    job.arn = IMPORT_ARN if operation == "describe_import" else BULK_ARN
    with pytest.raises(TableError, match=f"to describe the .*: {code}: said AWS") as caught:
        job.poll()
    assert "--restart" in caught.value.remedy
    model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation])
    assert [shape.name for shape in model.error_shapes] == [code]
