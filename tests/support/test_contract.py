"""The fake answers as the real engines do: the same tests for the fake, MiniStack and DynamoDB Local."""

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from support.fake.values import Walk, normal_number
from support.fake_dynamodb import fake_dynamodb
from support.tables import COMPOSITE_KEY, canonical, create_table

ACCOUNT = "777777777777"
ONE_TRY = Config(retries={"total_max_attempts": 1}, account_id_endpoint_mode="disabled", proxies={})
VALUES: dict[str, dict[str, Any]] = {
    "string": {"S": 'größe 入口 🌲 " \\ / \n \x7f'},
    "empty string": {"S": ""},
    "number": {"N": "-12345678901234567890.123456789012345678"},
    "binary": {"B": bytes(range(256))},
    "empty binary": {"B": b""},
    "true": {"BOOL": True},
    "false": {"BOOL": False},
    "null": {"NULL": True},
    "strings": {"SS": ["a", "b", ""]},
    "numbers": {"NS": ["1", "-2", "0.3"]},
    "binaries": {"BS": [b"a", b"\x00"]},
    "list": {"L": [{"S": "a"}, {"L": [{"N": "1"}, {"NULL": True}]}, {"M": {}}]},
    "empty list": {"L": []},
    "map": {"M": {"S": {"S": "a"}, "Item": {"M": {"deep": {"SS": ["x"]}}}}},
    "empty map": {"M": {}},
}
FIXTURES = {"ministack": "aws", "dynamodb-local": "ddb_local"}


def client_of(url: str) -> Any:
    session = boto3.Session(ACCOUNT, "secret", region_name="us-east-1")
    return session.client("dynamodb", endpoint_url=url, config=ONE_TRY)


@pytest.fixture(scope="module", params=["fake", *FIXTURES])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Name and URL of one engine after the other."""
    if request.param == "fake":
        with fake_dynamodb() as fake:
            yield "fake", fake.url
    else:
        yield request.param, request.getfixturevalue(FIXTURES[request.param]).url


@pytest.fixture(scope="module")
def contract_client(server: tuple[str, str]) -> Iterator[Any]:
    client = client_of(server[1])
    yield client
    client.close()


@pytest.fixture
def table(contract_client: Any, unique_name: Callable[[], str]) -> Iterator[str]:
    """A table with partition key pk (S) and sort key sk (N)."""
    name = unique_name()
    create_table(contract_client, name, COMPOSITE_KEY)
    yield name
    contract_client.delete_table(TableName=name)


@pytest.fixture
def deviates(request: pytest.FixtureRequest, server: tuple[str, str]) -> Callable[[str, str], None]:
    """Marks the test as failing for an engine that is known to deviate from AWS, for a reason."""

    def mark(engine: str, reason: str) -> None:
        if server[0] == engine:
            request.applymarker(pytest.mark.xfail(strict=True, reason=f"{engine}: {reason}"))

    return mark


def item(partition: str, sort: str = "0", **rest: Any) -> dict[str, Any]:
    return {"pk": {"S": partition}, "sk": {"N": sort}} | rest


def put(*args: Any, **rest: Any) -> dict[str, Any]:
    return {"PutRequest": {"Item": item(*args, **rest)}}


def delete(*args: Any) -> dict[str, Any]:
    return {"DeleteRequest": {"Key": item(*args)}}


def write(client: Any, table: str, *writes: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = client.batch_write_item(
        RequestItems={table: list(writes)}, ReturnConsumedCapacity="TOTAL"
    )
    return answer


def refusal(call: Callable[[], Any]) -> tuple[str, str]:
    """Code and message of the error that the call ends with."""
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def all_pages(client: Any, table: str, **rest: Any) -> list[list[dict[str, Any]]]:
    pages: list[list[dict[str, Any]]] = []
    start: dict[str, Any] = {}
    while True:
        page = client.scan(TableName=table, ConsistentRead=True, **start, **rest)
        assert page["Count"] == len(page["Items"])
        pages.append(page["Items"])
        if "LastEvaluatedKey" not in page:
            return pages
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_what_is_stored_comes_back(contract_client: Any, table: str, value: Any) -> None:
    """Each type of value, nested ones and empty ones, comes back from Scan, GetItem and BatchGetItem."""
    write(contract_client, table, put("a", v=value))
    key = item("a")
    batch = contract_client.batch_get_item(RequestItems={table: {"Keys": [key]}})
    [[scanned]] = all_pages(contract_client, table)
    for found in (
        contract_client.get_item(TableName=table, Key=key)["Item"],
        *batch["Responses"][table],
        scanned,
    ):
        assert {"pk", "sk", "v"} == found.keys()
        assert canonical(value) == canonical(found["v"])


@pytest.mark.parametrize(
    ("text", "normal"),
    [("1.0", "1"), ("+5", "5"), ("-0", "0"), ("007.50", "7.5"), (".5", "0.5"), ("1E3", "1000"), ("12e-4", "0.0012"),
     ("1E125", "1" + "0" * 125), ("1E-130", "0." + "0" * 129 + "1")],
)  # fmt: skip
def test_numbers_come_back_in_normal_form(contract_client: Any, table: str, text: str, normal: str) -> None:
    """A number is stored without exponent, sign of zero, leading and trailing zeros."""
    write(contract_client, table, put("a", v={"N": text}, w={"NS": [text, "3"]}))
    stored = contract_client.get_item(TableName=table, Key=item("a"))["Item"]
    assert stored["v"] == {"N": normal}
    assert set(stored["w"]["NS"]) == {normal, "3"}


@pytest.mark.parametrize(
    "bad",
    [{"N": "abc"}, {"N": "1" * 39}, {"N": "1E126"}, {"N": "1E-131"}, {"N": ""}, {"SS": []}, {"SS": ["a", "a"]},
     {"NS": ["1", "1.0"]}, {"M": {"": {"S": "a"}}}],
    ids=str,
)  # fmt: skip
def test_a_bad_value_rejects_the_batch(
    contract_client: Any, table: str, bad: dict[str, Any], deviates: Callable[[str, str], None]
) -> None:
    """One bad value is a ValidationException, and nothing of its batch is stored."""
    if "M" in bad:
        deviates("ministack", "takes empty attribute names")
    code, _ = refusal(lambda: write(contract_client, table, put("good"), put("bad", v=bad)))
    assert code == "ValidationException"
    assert all_pages(contract_client, table) == [[]]


def test_a_batch_has_25_writes(contract_client: Any, table: str) -> None:
    """25 pass, 26 are refused."""
    write(contract_client, table, *(put("a", str(i)) for i in range(25)))
    code, _ = refusal(lambda: write(contract_client, table, *(put("b", str(i)) for i in range(26))))
    assert code == "ValidationException"
    assert len(all_pages(contract_client, table)[0]) == 25


@pytest.mark.parametrize("second", [put("a", "1"), delete("a", "1.0")], ids=["put", "delete"])
def test_one_key_twice_is_refused(
    contract_client: Any, table: str, second: dict[str, Any], deviates: Callable[[str, str], None]
) -> None:
    """Keys are compared by their numbers' values, and a delete counts like a put."""
    if "DeleteRequest" in second:
        deviates("ministack", "compares the numbers of deletes as text")
    code, message = refusal(lambda: write(contract_client, table, put("a", "1.00"), second))
    assert (code, message) == ("ValidationException", "Provided list of item keys contains duplicates")


@pytest.mark.parametrize(
    "bad",
    [{"pk": {"S": "a"}}, {"pk": {"S": "a"}, "sk": {"S": "1"}}, {"pk": {"S": ""}, "sk": {"N": "1"}},
     {"pk": {"S": "x" * 2049}, "sk": {"N": "1"}}],
    ids=["missing", "wrong type", "empty", "long"],
)  # fmt: skip
def test_a_bad_key_is_refused(contract_client: Any, table: str, bad: dict[str, Any]) -> None:
    """A key that is missing, of the wrong type, empty or too long rejects BatchWriteItem and PutItem."""
    batch = refusal(lambda: write(contract_client, table, put("good"), {"PutRequest": {"Item": bad}}))
    single = refusal(lambda: contract_client.put_item(TableName=table, Item=bad))
    assert batch[0] == single[0] == "ValidationException"
    assert all_pages(contract_client, table) == [[]]


def test_an_item_has_400_kb(contract_client: Any, table: str) -> None:
    """409,600 bytes with the attribute names pass, one more is refused."""
    rest = 409_600 - len("pk") - len("a") - len("sk") - 1 - len("v")
    write(contract_client, table, put("a", v={"S": "x" * rest}))
    code, message = refusal(lambda: write(contract_client, table, put("a", v={"S": "x" * (rest + 1)})))
    assert (code, message) == ("ValidationException", "Item size has exceeded the maximum allowed size")


def test_a_request_has_16_mb(contract_client: Any, table: str, deviates: Callable[[str, str], None]) -> None:
    """Of 25 items of 400 KB each, written with escapes of six characters a byte, the request is refused."""
    deviates("ministack", "takes requests of any length")
    writes = [put("a", str(i), v={"S": "\x01" * 150_000}) for i in range(25)]
    assert refusal(lambda: write(contract_client, table, *writes))[0] == "413"


def test_a_delete_takes_the_item_away(contract_client: Any, table: str) -> None:
    """A delete of an item that is not there is no error."""
    write(contract_client, table, put("a"), put("b"))
    write(contract_client, table, delete("a"), delete("c"))
    assert all_pages(contract_client, table) == [[item("b")]]


def test_a_put_on_condition_keeps_what_is_there(contract_client: Any, table: str) -> None:
    """attribute_not_exists(key) lets the first put through and refuses the second."""
    names = {"#k": "pk"}
    condition = {"ConditionExpression": "attribute_not_exists(#k)", "ExpressionAttributeNames": names}
    contract_client.put_item(TableName=table, Item=item("a", v={"S": "first"}), **condition)
    code, message = refusal(
        lambda: contract_client.put_item(TableName=table, Item=item("a", v={"S": "second"}), **condition)
    )
    assert (code, message) == ("ConditionalCheckFailedException", "The conditional request failed")
    assert all_pages(contract_client, table) == [[item("a", v={"S": "first"})]]


@pytest.mark.parametrize("segments", [1, 3, 16])
def test_the_segments_of_a_scan_hold_each_item_once(contract_client: Any, table: str, segments: int) -> None:
    """All pages of all segments are the table."""
    keys = [(f"p{i % 40}", str(i)) for i in range(100)]
    for start in range(0, 100, 25):
        write(contract_client, table, *(put(*key) for key in keys[start : start + 25]))
    found = [
        (one["pk"]["S"], one["sk"]["N"])
        for segment in range(segments)
        for page in all_pages(contract_client, table, Segment=segment, TotalSegments=segments, Limit=7)
        for one in page
    ]
    assert sorted(keys) == sorted(found)


def test_an_item_collection_is_scanned_in_the_order_of_its_sort_key(
    contract_client: Any, table: str, deviates: Callable[[str, str], None]
) -> None:
    """Numbers are ordered as numbers."""
    deviates("ministack", "a scan orders numbers as text")
    write(contract_client, table, *(put("a", text) for text in ("10", "9", "-1", "0.5", "100")))
    [page] = all_pages(contract_client, table)
    assert [one["sk"]["N"] for one in page] == ["-1", "0.5", "9", "10", "100"]


def test_a_page_ends_with_the_item_that_reaches_1_mb(
    contract_client: Any, table: str, deviates: Callable[[str, str], None]
) -> None:
    """Three items of 399 KB make a page, and its reads are the sum rounded up: half for an eventual one."""
    deviates("ministack", "reads cost 1 whatever the size, and a page measures JSON rather than the item")
    for i in range(8):
        write(contract_client, table, put(f"p{i}", v={"S": "x" * 399_000}))
    assert [len(page) for page in all_pages(contract_client, table)] == [3, 3, 2]
    capacity = {"TableName": table, "ReturnConsumedCapacity": "TOTAL"}
    units = -(-3 * (399_000 + 2 + 2 + 2 + 1 + 1) // 4096)
    assert units == contract_client.scan(**capacity, ConsistentRead=True)["ConsumedCapacity"]["CapacityUnits"]
    assert units / 2 == contract_client.scan(**capacity)["ConsumedCapacity"]["CapacityUnits"]


def test_a_segment_is_below_the_number_of_segments(contract_client: Any, table: str) -> None:
    """Segments count from zero."""
    code, _ = refusal(lambda: contract_client.scan(TableName=table, Segment=3, TotalSegments=3))
    assert code == "ValidationException"


def test_a_write_costs_its_size_in_kb(contract_client: Any, table: str) -> None:
    """Each item is rounded up by itself; a replaced one costs the larger of the two."""

    def cost(*writes: dict[str, Any]) -> float:
        [capacity] = write(contract_client, table, *writes)["ConsumedCapacity"]
        assert table == capacity["TableName"]
        units: float = capacity["CapacityUnits"]
        return units

    rest = 1024 - len("pk") - len("a") - len("sk") - 1 - len("v")
    assert cost(put("a", v={"S": "x" * rest})) == 1
    assert cost(put("b", v={"S": "x" * (rest + 1)}), put("c")) == 3
    assert cost(put("b")) == 2


def test_what_the_indexes_consume_is_in_the_sum(contract_client: Any, unique_name: Callable[[], str]) -> None:
    """An item of 2 KB that is in two indexes costs 6 units, one without their keys 2, also when it is deleted."""
    name = unique_name()
    indexed = {
        "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    create_table(
        contract_client,
        name,
        COMPOSITE_KEY,
        AttributeDefinitions=[
            {"AttributeName": n, "AttributeType": t} for n, t in (("pk", "S"), ("sk", "N"), ("g", "S"))
        ],
        GlobalSecondaryIndexes=[{"IndexName": f"by-g-{number}", **indexed} for number in range(2)],
    )
    text = {"S": "x" * 1_500}
    for request, units in (
        (put("a", v=text, g={"S": "1"}), 6),
        (put("b", v=text), 2),
        (delete("a"), 6),
    ):
        [capacity] = write(contract_client, name, request)["ConsumedCapacity"]
        assert units == capacity["CapacityUnits"]
    contract_client.delete_table(TableName=name)


@pytest.mark.parametrize(
    "name", ["describe_table", "scan", "put_item", "batch_write_item", "describe_time_to_live"]
)
def test_an_unknown_table_is_not_found(contract_client: Any, name: str) -> None:
    """Control plane and data plane answer with the same code."""
    wanted: dict[str, Any] = {"TableName": "absent"}
    if name == "put_item":
        wanted["Item"] = item("a")
    if name == "batch_write_item":
        wanted = {"RequestItems": {"absent": [put("a")]}}
    assert refusal(lambda: getattr(contract_client, name)(**wanted))[0] == "ResourceNotFoundException"


def test_a_table_is_made_once(contract_client: Any, table: str) -> None:
    """CreateTable of a table that exists is a ResourceInUseException."""
    assert refusal(lambda: create_table(contract_client, table))[0] == "ResourceInUseException"


def test_the_arn_has_the_account_of_the_caller(
    contract_client: Any, table: str, deviates: Callable[[str, str], None]
) -> None:
    """The 12 digits of the access key are the account; the table has an id."""
    deviates("dynamodb-local", "all tables belong to account 000000000000, and have no id")
    description = contract_client.describe_table(TableName=table)["Table"]
    assert f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{table}" == description["TableArn"]
    assert len(description["TableId"]) == 36


def test_every_answer_has_its_checksum(
    contract_client: Any, table: str, deviates: Callable[[str, str], None]
) -> None:
    """x-amz-crc32 is the CRC-32 of the body, of errors too, and each answer has a request id."""
    deviates("dynamodb-local", "errors have no checksum")
    seen: list[tuple[int, str, bool]] = []

    def look(response_dict: dict[str, Any], **_: Any) -> None:
        headers, body = response_dict["headers"], response_dict["body"]
        right = int(headers["x-amz-crc32"]) == zlib.crc32(body)
        seen.append((response_dict["status_code"], headers["x-amzn-requestid"], right))

    contract_client.meta.events.register("before-parse.dynamodb", look)
    try:
        contract_client.scan(TableName=table)
        refusal(lambda: contract_client.scan(TableName="absent"))
    finally:
        contract_client.meta.events.unregister("before-parse.dynamodb", look)
    assert [(status, right) for status, _, right in seen] == [(200, True), (400, True)]
    assert all(identifier for _, identifier, _ in seen)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**40), max_value=10**40, places=12))
@settings(max_examples=200)
def test_normal_form_keeps_the_number(number: Any) -> None:
    """A number in normal form is the same number, and its own normal form."""
    text = format(number, "f")
    if len(text.replace("-", "").replace(".", "").strip("0")) > 38:
        return
    normal = normal_number(text)
    assert number == type(number)(normal)
    assert normal == normal_number(normal)


@pytest.mark.parametrize(
    ("value", "size"),
    [({"N": "0"}, 1), ({"N": "1"}, 2), ({"N": "123"}, 3), ({"N": "1.5"}, 3), ({"N": "12.34"}, 3), ({"N": "123.4"}, 4),
     ({"N": "0.123"}, 3), ({"N": "1000"}, 2), ({"N": "1E100"}, 2), ({"N": "1" * 38}, 20), ({"N": "-" + "1" * 38}, 21),
     ({"L": [{"S": "a"}]}, 5), ({"M": {"k": {"S": "a"}}}, 6), ({"M": {"k": {"L": []}}}, 8), ({"NULL": True}, 1),
     ({"SS": ["ä", "b"]}, 3), ({"B": "AAEC"}, 3)],
    ids=str,
)  # fmt: skip
def test_sizes_are_those_of_dynamodb_local(value: dict[str, Any], size: int) -> None:
    """Values measured on Amazon's engine."""
    assert size == Walk().value(value, 0)
