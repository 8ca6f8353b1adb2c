"""Each fault of the fake happens as its documentation says."""

import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import msgspec
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError, ReadTimeoutError

from support.fake_dynamodb import FakeServer, Fault, FaultKind, FaultPlan, fake_dynamodb
from support.tables import COMPOSITE_KEY, create_table

ACCOUNT = "777777777777"
TABLE = "faulty"
ONE_TRY = Config(
    retries={"total_max_attempts": 1}, account_id_endpoint_mode="disabled", proxies={}, read_timeout=0.5
)


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with fake_dynamodb() as fake:
        yield fake


@dataclass(frozen=True)
class Lab:
    """The fake, and a client of it that tries once."""

    server: FakeServer
    client: Any

    def fault(self, kind: FaultKind, **rest: Any) -> None:
        """Sets a plan of one fault."""
        self.server.change(FaultPlan(faults=(Fault(kind=kind, **rest),)))


@pytest.fixture
def lab(server: FakeServer) -> Iterator[Lab]:
    """An empty on-demand table; the fake has no faults yet."""
    session = boto3.Session(ACCOUNT, "secret", region_name="us-east-1")
    client = session.client("dynamodb", endpoint_url=server.url, config=ONE_TRY)
    server.change(FaultPlan())
    create_table(client, TABLE, COMPOSITE_KEY)
    server.reset()
    yield Lab(server, client)
    server.change(FaultPlan())
    client.delete_table(TableName=TABLE)
    client.close()


def item(number: int, size: int = 1) -> dict[str, Any]:
    return {"pk": {"S": f"p{number}"}, "sk": {"N": str(number)}, "v": {"S": "x" * size}}


def write(client: Any, *numbers: int, size: int = 1) -> dict[str, Any]:
    writes = [{"PutRequest": {"Item": item(number, size)}} for number in numbers]
    answer: dict[str, Any] = client.batch_write_item(
        RequestItems={TABLE: writes}, ReturnConsumedCapacity="TOTAL"
    )
    return answer


def stored(server: FakeServer) -> set[int]:
    return {int(one["sk"]["N"]) for one in server.items(ACCOUNT, TABLE)}


def error_of(call: Callable[[], Any]) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call()
    response: dict[str, Any] = caught.value.response
    return response


def test_a_fraction_comes_back_unprocessed(lab: Lab) -> None:
    """What comes back is not stored, what does not is, and only that costs."""
    lab.fault(FaultKind.UNPROCESSED, fraction=0.4)
    answer = write(lab.client, *range(25))
    back = {int(one["PutRequest"]["Item"]["sk"]["N"]) for one in answer["UnprocessedItems"][TABLE]}
    assert len(back) == 10
    assert stored(lab.server) == set(range(25)) - back
    assert answer["ConsumedCapacity"][0]["CapacityUnits"] == 15
    assert lab.server.stats().unprocessed_items == 10
    assert lab.server.stats().faults == {"unprocessed": 1}
    assert lab.server.table(ACCOUNT, TABLE).refused == 10


def test_one_write_progresses(lab: Lab) -> None:
    """All but one come back; a batch of one passes."""
    lab.fault(FaultKind.ONE_PROGRESSES)
    assert len(write(lab.client, *range(25))["UnprocessedItems"][TABLE]) == 24
    assert len(stored(lab.server)) == 1
    assert write(lab.client, 99)["UnprocessedItems"] == {}


@pytest.mark.parametrize(
    ("code", "member"),
    [
        ("", "throttlingReasons"),
        ("ThrottlingException", "throttlingReasons"),
        ("ProvisionedThroughputExceededException", "ThrottlingReasons"),
        ("RequestLimitExceeded", "ThrottlingReasons"),
    ],
)
@pytest.mark.parametrize("kind", [FaultKind.UNPROCESSED, FaultKind.THROTTLE])
def test_a_whole_batch_refused_is_a_throttling_error(
    lab: Lab, kind: FaultKind, code: str, member: str
) -> None:
    """With the reason, the table's ARN, and the spelling of the code; an on-demand table answers ThrottlingException."""
    bodies: list[bytes] = []
    lab.client.meta.events.register(
        "before-parse.dynamodb", lambda response_dict, **_: bodies.append(response_dict["body"])
    )
    lab.fault(kind, fraction=1.0, code=code)
    error = error_of(lambda: write(lab.client, 1, 2))
    arn = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{TABLE}"
    assert error["Error"]["Code"] == (code or "ThrottlingException")
    body = msgspec.json.decode(bodies[0])
    assert body[member] == [{"reason": "TableWriteKeyRangeThroughputExceeded", "resource": arn}]
    assert body["__type"].startswith("com.amazonaws.dynamodb.v20120810#")
    assert stored(lab.server) == set()


def test_a_reason_can_be_chosen(lab: Lab) -> None:
    """For instance that of the account's limit."""
    lab.fault(FaultKind.THROTTLE, code="RequestLimitExceeded", reason="TableReadAccountLimitExceeded")
    error = error_of(lambda: lab.client.scan(TableName=TABLE))
    assert error["ThrottlingReasons"][0]["reason"] == "TableReadAccountLimitExceeded"


@pytest.mark.parametrize(
    ("kind", "status", "code", "applied"),
    [
        (FaultKind.INTERNAL_ERROR, 500, "InternalServerError", False),
        (FaultKind.INTERNAL_ERROR_AFTER, 500, "InternalServerError", True),
        (FaultKind.UNAVAILABLE, 503, "ServiceUnavailable", False),
        (FaultKind.EXPIRED_TOKEN, 400, "ExpiredTokenException", False),
        (FaultKind.SKEWED, 400, "InvalidSignatureException", False),
        (FaultKind.ACCESS_DENIED, 400, "AccessDeniedException", False),
        (FaultKind.NOT_FOUND, 400, "ResourceNotFoundException", False),
    ],
)
def test_an_error_comes_before_or_after_the_write(
    lab: Lab, kind: FaultKind, status: int, code: str, applied: bool
) -> None:
    """Only INTERNAL_ERROR_AFTER leaves the write in place."""
    lab.fault(kind)
    error = error_of(lambda: write(lab.client, 1))
    assert error["Error"]["Code"] == code
    assert error["ResponseMetadata"]["HTTPStatusCode"] == status
    assert stored(lab.server) == ({1} if applied else set())
    assert lab.server.stats().errors == {code: 1}
    assert lab.server.stats().faults == {kind.value: 1}


@pytest.mark.parametrize(
    ("kind", "expected", "applied"),
    [
        (FaultKind.RESET_BEFORE, HTTPClientError, False),
        (FaultKind.RESET_DURING, HTTPClientError, True),
        (FaultKind.RESET_AFTER, HTTPClientError, True),
        (FaultKind.HANG, ReadTimeoutError, True),
    ],
)
def test_a_connection_breaks(lab: Lab, kind: FaultKind, expected: type[Exception], applied: bool) -> None:
    """Before the write, in the middle of the answer, or instead of it; the next call works."""
    lab.fault(kind, times=1)
    with pytest.raises((expected, ConnectionClosedError)):
        write(lab.client, 1)
    assert stored(lab.server) == ({1} if applied else set())
    write(lab.client, 2)
    assert 2 in stored(lab.server)


def test_a_slow_answer_is_right(lab: Lab) -> None:
    """It comes after its time."""
    lab.fault(FaultKind.SLOW, seconds=0.2)
    start = time.monotonic()
    assert write(lab.client, 1)["UnprocessedItems"] == {}
    assert time.monotonic() - start >= 0.2


@pytest.mark.parametrize("kind", [FaultKind.WRONG_CRC, FaultKind.TRUNCATED])
def test_an_answer_contradicts_its_checksum(lab: Lab, kind: FaultKind) -> None:
    """The page is whole but for the checksum, or cut short with a length that fits; the client tries again."""
    lab.server.load(ACCOUNT, TABLE, [item(1)])
    lab.fault(kind, times=1)
    patient = boto3.Session(ACCOUNT, "secret", region_name="us-east-1").client(
        "dynamodb",
        endpoint_url=lab.server.url,
        config=ONE_TRY.merge(Config(retries={"total_max_attempts": 2})),
    )
    assert patient.scan(TableName=TABLE)["Items"] == [item(1)]
    assert lab.server.stats().calls["Scan"] == 2
    patient.close()


def test_a_fault_meets_the_calls_of_its_plan(lab: Lab) -> None:
    """By number, by operation, by content, so many times."""

    def outcomes(count: int) -> str:
        text = ""
        for number in range(count):
            try:
                write(lab.client, number)
                text += "."
            except ClientError:
                text += "x"
        return text

    lab.fault(FaultKind.UNAVAILABLE, at=(1, 3))
    assert outcomes(5) == ".x.x."
    lab.fault(FaultKind.UNAVAILABLE, after=2, times=2)
    assert outcomes(6) == "..xx.."
    lab.fault(FaultKind.UNAVAILABLE, contains='"p3"')
    assert outcomes(5) == "...x."
    lab.fault(FaultKind.UNAVAILABLE, operations=("Scan",))
    assert outcomes(2) == ".."
    lab.fault(FaultKind.UNAVAILABLE, probability=0.5)
    once = outcomes(20)
    lab.fault(FaultKind.UNAVAILABLE, probability=0.5)
    assert once == outcomes(20)
    assert 0 < once.count("x") < 20


@pytest.mark.parametrize("offset", [-1000, 1000])
def test_a_clock_that_is_off_is_refused_with_the_right_date(lab: Lab, offset: int) -> None:
    """The text is AWS's, and the Date header tells the service's clock."""
    lab.server.change(FaultPlan(clock_offset_seconds=offset))
    error = error_of(lambda: write(lab.client, 1))
    expected = "Signature expired: " if offset > 0 else "Signature not yet current: "
    assert error["Error"]["Code"] == "InvalidSignatureException"
    assert error["Error"]["Message"].startswith(expected)
    assert ("is now earlier than" if offset > 0 else "is still later than") in error["Error"]["Message"]
    date = time.strptime(error["ResponseMetadata"]["HTTPHeaders"]["date"], "%a, %d %b %Y %H:%M:%S GMT")
    local = time.strptime(time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()), "%Y-%m-%d %H:%M:%S")
    assert abs(time.mktime(date) - time.mktime(local) - offset) < 5


def with_token(server: FakeServer, token: str) -> Callable[[], Any]:
    def call() -> Any:
        session = boto3.Session(ACCOUNT, "secret", token, region_name="us-east-1")
        client = session.client("dynamodb", endpoint_url=server.url, config=ONE_TRY)
        try:
            return client.scan(TableName=TABLE)
        finally:
            client.close()

    return call


def test_a_token_expires(lab: Lab) -> None:
    """When it is listed, after its calls, and when a newer one has been seen or handed out."""
    lab.server.change(FaultPlan(expired=("listed",), calls_per_token=2))
    assert error_of(with_token(lab.server, "listed"))["Error"]["Code"] == "ExpiredTokenException"
    for _ in range(2):
        with_token(lab.server, "first")()
    assert error_of(with_token(lab.server, "first"))["Error"]["Code"] == "ExpiredTokenException"
    with_token(lab.server, "second")()
    lab.server.change(FaultPlan(newest_token_only=True))
    assert error_of(with_token(lab.server, "first"))["Error"]["Code"] == "ExpiredTokenException"
    with_token(lab.server, "second")()
    with urllib.request.urlopen(lab.server.credentials_uri(ACCOUNT)) as answer:
        token = msgspec.json.decode(answer.read())["Token"]
    assert error_of(with_token(lab.server, "second"))["Error"]["Code"] == "ExpiredTokenException"
    with_token(lab.server, token)()
    assert lab.server.stats().faults == {"expired_token": 4}


def test_the_identity_is_the_access_key(server: FakeServer) -> None:
    """GetCallerIdentity names the account of the access key."""
    session = boto3.Session("888888888888", "secret", region_name="us-east-1")
    sts = session.client("sts", endpoint_url=server.url, config=ONE_TRY)
    assert sts.get_caller_identity()["Account"] == "888888888888"
    sts.close()


def test_a_hot_partition_is_throttled_alone(lab: Lab) -> None:
    """Writes beyond a partition's rate come back, those to others pass; all of a batch is a throttling error."""
    lab.server.change(FaultPlan(partitions=4, wcu_per_partition=2, burst_seconds=5.0))
    hot = [{"PutRequest": {"Item": {"pk": {"S": "hot"}, "sk": {"N": str(number)}}}} for number in range(25)]
    left = lab.client.batch_write_item(RequestItems={TABLE: hot})["UnprocessedItems"]
    assert len(left[TABLE]) in {14, 15}
    error = error_of(lambda: lab.client.batch_write_item(RequestItems=left))
    assert error["Error"]["Code"] == "ThrottlingException"
    assert error["throttlingReasons"][0]["reason"] == "TableWriteKeyRangeThroughputExceeded"
    spread = write(lab.client, *range(12))["UnprocessedItems"].get(TABLE, [])
    assert 0 < len(spread) < 12
    figures = lab.server.table(ACCOUNT, TABLE).partition_wcu
    assert sum(figures) == lab.server.table(ACCOUNT, TABLE).consumed_wcu
    assert len(figures) == 4


def test_a_provisioned_table_is_held_to_its_throughput(lab: Lab) -> None:
    """Beyond its units it answers ProvisionedThroughputExceededException; the bucket fills again with time."""
    throughput = {"ReadCapacityUnits": 10, "WriteCapacityUnits": 10}
    lab.client.delete_table(TableName=TABLE)
    create_table(
        lab.client, TABLE, COMPOSITE_KEY, BillingMode="PROVISIONED", ProvisionedThroughput=throughput
    )
    lab.server.change(FaultPlan(enforce_provisioned=True))
    write(lab.client, 1, size=30_000)
    for call, direction in (
        (lambda: write(lab.client, 2), "Write"),
        (lambda: lab.client.scan(TableName=TABLE), "Read"),
    ):
        if direction == "Read":
            lab.client.scan(TableName=TABLE, ConsistentRead=True)
            lab.client.scan(TableName=TABLE, ConsistentRead=True)
        error = error_of(call)
        assert error["Error"]["Code"] == "ProvisionedThroughputExceededException"
        assert error["ThrottlingReasons"][0]["reason"] == f"Table{direction}ProvisionedThroughputExceeded"
    time.sleep(2.5)
    write(lab.client, 2)


def test_a_table_takes_its_time_to_be_created(lab: Lab) -> None:
    """It is CREATING and cannot be used, and then it is ACTIVE."""
    lab.server.change(FaultPlan(creating_seconds=0.5))
    create_table_only = {
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    lab.client.create_table(TableName="late", **create_table_only)
    assert lab.client.describe_table(TableName="late")["Table"]["TableStatus"] == "CREATING"
    assert error_of(lambda: lab.client.scan(TableName="late"))["Error"]["Code"] == "ResourceNotFoundException"
    time.sleep(0.5)
    assert lab.client.describe_table(TableName="late")["Table"]["TableStatus"] == "ACTIVE"
    lab.client.delete_table(TableName="late")


def test_calls_in_flight_are_counted(lab: Lab) -> None:
    """`max_in_flight` is how many calls were there at once."""
    lab.fault(FaultKind.SLOW, seconds=0.2)
    threads = [threading.Thread(target=write, args=(lab.client, number)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lab.server.stats().max_in_flight == 4
    assert lab.server.table(ACCOUNT, TABLE).puts == 4
    lab.server.reset()
    assert lab.server.stats().calls == {}


def test_an_unknown_member_is_refused(lab: Lab) -> None:
    """The fake ignores nothing that it does not know."""
    error = error_of(lambda: lab.client.scan(TableName=TABLE, ProjectionExpression="pk"))
    assert "ProjectionExpression" in error["Error"]["Message"]
