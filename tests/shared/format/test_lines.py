"""Items stay bytes: what is joined can be parsed back, and no line can smuggle anything into a request."""

import base64
import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_shared.dynamodb.messages import batch_request, puts_of
from ddb_shared.format.lines import are_items, item_of, join_lines, key_of
from support.items import conformance_items, items_strategy


def as_json(value: Any) -> Any:
    """DynamoDB JSON as it is on the wire: binary as base64."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {name: as_json(member) for name, member in value.items()}
    return [as_json(member) for member in value] if isinstance(value, list) else value


ITEMS = items_strategy(max_items=4).filter(bool).map(as_json)
# scraps of JSON from which a forger would build a line that closes its put and opens another request
SCRAPS = st.lists(
    st.sampled_from(
        ['{"Item":', "{}", "}", "{", "[", "]", ",", ":", '"', '"a"', '{"DeleteRequest":', '{"PutRequest":', '"Item"',
         '"PutRequest":', "1", '{"Item":{}}', '{"Item":{"a":{"S":"', '"}}}', "\\", " "]
    ),
    max_size=8,
).map("".join)  # fmt: skip


@given(items=ITEMS, indent=st.sampled_from([None, 1]))
def test_joined_lines_parse_back_to_the_same_items(items: list[Any], indent: int | None) -> None:
    """One line an item, in the same order, also where the items' own JSON has line breaks."""
    raw = [json.dumps(item, indent=indent).encode() for item in items]
    lines = join_lines(raw)
    assert lines.endswith(b"\n")
    assert [{"Item": item} for item in items] == [json.loads(line) for line in lines[:-1].split(b"\n")]


@given(items=ITEMS)
def test_lines_become_a_request_of_the_same_items(items: list[Any]) -> None:
    """The body that is joined from lines is the body that boto3 would send, for any table name."""
    lines = join_lines([msgspec.Raw(msgspec.json.encode(item)) for item in items]).splitlines()
    assert are_items(lines)
    body = batch_request('T".x', [puts_of(lines)])
    puts = [{"PutRequest": {"Item": item}} for item in items]
    assert {"RequestItems": {'T".x': puts}, "ReturnConsumedCapacity": "TOTAL"} == json.loads(body)


def test_every_type_and_limit_survives() -> None:
    """Items of 400 KB, of 31 levels, with line breaks, quotes and forged lines in their strings."""
    items = as_json(conformance_items())
    lines = join_lines([msgspec.json.encode(item) for item in items]).splitlines()
    assert are_items(lines)
    assert items == [json.loads(item_of(line) or b"") for line in lines]


@pytest.mark.parametrize(
    "line",
    [
        b'{"Item":{}}},{"DeleteRequest":{"Key":{"pk":{"S":"x"}}}',
        b'{"Item":{}},{"Item":{}}',
        b'{"Item":{},"Key":{}}',
        b'{"Item":{}} {"Item":{}}',
        b'{"Keys":{"pk":{"S":"x"}}}',
        b'{"item":{}}',
        b"{}",
        b"[]",
        b"",
        b"null",
        b'{"Item":{}',
        b'{"Item":nul}',
        b'{"Item":{"n":{"N":01}}}',
        b'{"Item":{"s":{"S":"\x00"}}}',
        b'{"Item":{"s":{"S":"\xff"}}}',
        b'{"Item":{"s":{"S":"\\ud800"}}}',
        b'{"Item":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_a_line_that_is_no_item_is_refused(line: bytes) -> None:
    """Forged, damaged, too deep, not UTF-8, of another form: neither alone nor among good lines does it pass."""
    good = b'{"Item":{"pk":{"S":"a"}}}'
    assert not are_items([line])
    assert not are_items([good, line, good])
    assert item_of(line) is None


@given(
    lines=st.lists(
        SCRAPS | st.sampled_from(['{"Item":{}}', '{"Item":[1', '2]},{"Item":3}']), min_size=1, max_size=3
    )
)
def test_no_forged_line_becomes_anything_but_a_put(lines: list[str]) -> None:
    """Whatever passes the check and is valid JSON as a request holds one put of one item for each line."""
    forged = [line.encode() for line in lines]
    if not are_items(forged):
        return
    try:
        puts = json.loads(batch_request("T", [puts_of(forged)]))["RequestItems"]["T"]
    except json.JSONDecodeError:
        return  # the service refuses the request, and the batch is split
    assert len(forged) == len(puts)
    assert all(list(put) == ["PutRequest"] and list(put["PutRequest"]) == ["Item"] for put in puts)


@given(
    number=st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9)
)
def test_numbers_are_one_key_in_any_notation(number: Decimal) -> None:
    """1, 1.0, +1 and 1E0 are one key to DynamoDB, which refuses a batch that has it twice."""
    texts = [f"{number:f}", f"{number:f}000", f"{number:E}"]
    keys = [key_of(msgspec.json.encode({"pk": {"N": text}}), ["pk"]) for text in texts]
    assert len(set(keys)) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"pk": {"S": "1"}}, {"pk": {"N": "1"}}),
        ({"pk": {"S": "YQ=="}}, {"pk": {"B": "YQ=="}}),
        ({"pk": {"S": "a"}}, {"pk": {"S": "A"}}),
        ({"pk": {"N": "1"}}, {"pk": {"N": "1.0000000000000000000000000000000000001"}}),
        ({"pk": {"S": "\u00e9"}}, {"pk": {"S": "e\u0301"}}),
        ({"pk": {"S": "a"}}, {}),
    ],
)
def test_different_keys_stay_different(one: Any, other: Any) -> None:
    """Types, case, the 38th digit and the form of Unicode count."""
    assert key_of(msgspec.json.encode(one), ["pk"]) != key_of(msgspec.json.encode(other), ["pk"])


@pytest.mark.parametrize("text", ["x", "", "NaN", "sNaN", "Infinity"])
def test_what_is_not_a_number_is_not_a_key(text: str) -> None:
    """Invalid items are compared too: none of them counts as replaced by another."""
    assert key_of(msgspec.json.encode({"pk": {"N": text}}), ["pk"]) is None


@pytest.mark.parametrize("item", [b"1", b"[]", b'{"pk":"a"}', b'{"pk":{"L":[]}}', b'{"pk":{}}'])
def test_json_without_a_key(item: bytes) -> None:
    """It is not an item of this table."""
    assert key_of(item, ["pk"]) is None


def test_a_key_has_all_of_its_attributes() -> None:
    """An item that lacks one replaces nothing."""
    whole = b'{"pk":{"S":"a"},"sk":{"N":"1"},"v":{"S":"x"}}'
    assert key_of(whole, ["pk", "sk"]) == key_of(b'{"sk":{"N":"1.0"},"pk":{"S":"a"}}', ["pk", "sk"])
    assert key_of(b'{"pk":{"S":"a"}}', ["pk", "sk"]) is None
