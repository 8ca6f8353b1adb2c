"""The canonical form: equal items have equal bytes, different items different ones."""

import base64
import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ddb_import.verify.canonical import canonical, canonical_attributes, canonical_key
from support import tables
from support.items import conformance_items, items_strategy, other_number, values

ITEMS = st.dictionaries(st.text(min_size=1, max_size=8), values(), max_size=5)
RANDOMS = st.integers(0, 2**32).map(random.Random)


def encoded(item: Any) -> bytes:
    """An item of boto3's form as DynamoDB JSON."""
    return json.dumps(item, default=lambda data: base64.b64encode(data).decode(), ensure_ascii=False).encode()


def respelled(value: Any, chance: random.Random) -> Any:
    """The same value with attributes and set members in another order and numbers in another spelling."""
    ((tag, content),) = value.items()
    match tag:
        case "N":
            content = other_number(content, chance)
        case "NS":
            content = shuffled([other_number(number, chance) for number in content], chance)
        case "SS" | "BS":
            content = shuffled(content, chance)
        case "L":
            content = [respelled(element, chance) for element in content]
        case "M":
            content = respelled_item(content, chance)
    return {tag: content}


def respelled_item(item: Any, chance: random.Random) -> Any:
    return {name: respelled(item[name], chance) for name in shuffled(list(item), chance)}


def shuffled(members: list[Any], chance: random.Random) -> list[Any]:
    return chance.sample(members, len(members))


def spaced(item: Any, chance: random.Random) -> bytes:
    """JSON with white space and every character above ASCII escaped."""
    text = json.dumps(
        item,
        default=lambda data: base64.b64encode(data).decode(),
        indent=chance.choice([None, 1]),
        separators=(" , ", " : "),
    )
    return text.replace("/", chance.choice(["/", "\\/"])).encode()


@given(ITEMS, RANDOMS)
def test_any_spelling_of_an_item_is_equal(item: Any, chance: random.Random) -> None:
    """Order of attributes and set members, spelling of numbers and strings, and white space play no part."""
    expected = canonical(encoded(item))
    other = respelled_item(item, chance)
    assert expected == canonical(encoded(other))
    assert expected == canonical(spaced(other, chance))
    assert expected == canonical(expected)


@given(ITEMS, ITEMS, st.booleans())
def test_bytes_are_equal_if_and_only_if_items_are(item: Any, other: Any, near: bool) -> None:
    """Compared with Python's own equality of Decimals, sets and dicts."""
    if near:
        other = item | dict(list(other.items())[:1])
    equal = {k: tables.canonical(v) for k, v in item.items()} == {
        k: tables.canonical(v) for k, v in other.items()
    }
    assert equal == (canonical(encoded(item)) == canonical(encoded(other)))


CHANGES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"S": "1"}, {"N": "1"}),
    ({"S": "YQ=="}, {"B": b"a"}),
    ({"S": "a"}, {"SS": ["a"]}),
    ({"SS": ["a", "b"]}, {"SS": ["a", "c"]}),
    ({"SS": ["1"]}, {"NS": ["1"]}),
    ({"NS": ["1", "2"]}, {"NS": ["1", "2.0000000000000000000000000000000000001"]}),
    ({"N": "1" * 38}, {"N": "1" * 37 + "2"}),
    ({"N": "1E-130"}, {"N": "2E-130"}),
    ({"N": "1E125"}, {"N": "1E124"}),
    ({"N": "1"}, {"N": "-1"}),
    ({"L": [{"S": "a"}, {"S": "b"}]}, {"L": [{"S": "b"}, {"S": "a"}]}),
    ({"M": {"a": {"S": ""}}}, {"M": {"b": {"S": ""}}}),
    ({"M": {}}, {"L": []}),
    ({"BOOL": True}, {"BOOL": False}),
    ({"NULL": True}, {"BOOL": True}),
    ({"S": ""}, {"S": "\x00"}),
    ({"S": "é"}, {"S": "e\u0301"}),
    ({"B": b""}, {"B": b"\x00"}),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_any_change_is_different(before: Any, after: Any) -> None:
    """A change of value, type, member, order or name, at the top and within lists and maps."""
    for wrap in (lambda v: {"x": v}, lambda v: {"x": {"L": [v]}}, lambda v: {"x": {"M": {"y": {"L": [v]}}}}):
        assert canonical(encoded(wrap(before))) != canonical(encoded(wrap(after)))
    assert canonical(encoded({"x": before})) != canonical(encoded({"y": before}))


def test_names_are_in_the_order_of_code_points() -> None:
    """Not in the order of UTF-16 units, where U+10000 comes before U+FFFF."""
    names = ["\U00010000", "\uffff", "b", "a", "B"]
    actual = json.loads(canonical(encoded({name: {"M": {n: {"S": ""} for n in names}} for name in names})))
    assert ["B", "a", "b", "\uffff", "\U00010000"] == list(actual)
    assert ["B", "a", "b", "\uffff", "\U00010000"] == list(actual["a"]["M"])


def test_the_form_is_the_documented_one() -> None:
    """A sample of every type, byte by byte: it must not change between versions."""
    item = {
        "s": {"S": 'é"\n/'}, "n": {"N": "-1.50"}, "b": {"B": b"ab"}, "t": {"BOOL": True}, "z": {"NULL": True},
        "ss": {"SS": ["b", "a"]}, "ns": {"NS": ["10", "9.0"]}, "bs": {"BS": [b"b", b"a"]},
        "l": {"L": [{"N": "1E2"}]}, "m": {"M": {"y": {"S": ""}, "x": {"L": []}}},
    }  # fmt: skip
    expected = (
        '{"b":{"B":"YWI="},"bs":{"BS":["YQ==","Yg=="]},"l":{"L":[{"N":"100"}]},'
        '"m":{"M":{"x":{"L":[]},"y":{"S":""}}},"n":{"N":"-1.5"},"ns":{"NS":["10","9"]},'
        '"s":{"S":"é\\"\\n/"},"ss":{"SS":["a","b"]},"t":{"BOOL":true},"z":{"NULL":true}}'
    )
    assert expected == canonical(encoded(item)).decode()


@given(items_strategy(max_items=1))
def test_the_key_alone(items: list[Any]) -> None:
    """The canonical key is the canonical form of an item of the key attributes."""
    assume(items)
    key = {name: items[0][name] for name in ("pk", "sk")}
    assert canonical(encoded(key)) == canonical_key(encoded(items[0]), ["sk", "pk"])


def test_attributes_one_by_one() -> None:
    """Each value's canonical bytes, by name."""
    item = {"a": {"N": "1.0"}, "b": {"L": [{"S": "x"}]}}
    assert {"a": b'{"N":"1"}', "b": b'{"L":[{"S":"x"}]}'} == canonical_attributes(encoded(item))


def test_items_at_every_limit() -> None:
    """The conformance items, respelled, keep their form."""
    chance = random.Random(1)
    for item in conformance_items():
        assert canonical(encoded(item)) == canonical(spaced(respelled_item(item, chance), chance))


@example(b"[]")
@example(b"{")
@example(b'{"a":')
@example(b"[" * 100_000)
@example(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
@given(st.binary(max_size=30))
def test_what_is_no_item_is_refused(data: bytes) -> None:
    """By an error that callers know, and never with another one."""
    try:
        canonical(data)
    except (msgspec.DecodeError, RecursionError):
        return
    assert isinstance(json.loads(data), dict)


@pytest.mark.parametrize("value", ['5', '"x"', '{"N":5}', '{"SS":"a"}', '{"M":[]}', '{"L":{}}', '{"M":{"a":7}}',
                                   '{"S":"a","N":"1"}', '{"X":1}', '{}', '{"SS":[1]}'])  # fmt: skip
def test_illegal_values_keep_their_own_form(value: str) -> None:
    """They differ from everything legal, and no error hides them."""
    form = json.loads(canonical(f'{{"a": {value} }}'.encode()))
    assert {"a": json.loads(value)} == form


def test_beside_a_value_of_no_known_type_the_others_still_count() -> None:
    """By value, as in any item; so does what is unknown, by its members."""
    form = b'{"pk":{"S":"a"},"x":{"ZZ":[1,{"b":2}]},"n":{"N":"%s"},"s":{"BS":["%s","%s"]}}'
    expected = canonical(form % (b"1", b"AA==", b"AQ=="))
    assert canonical(form % (b"1.00", b"AQ==", b"AA==")) == expected
    assert canonical(form % (b"2", b"AA==", b"AQ==")) != expected
    assert canonical((form % (b"1", b"AA==", b"AQ==")).replace(b'"b":2', b'"b":3')) != expected


def test_sets_of_bytes_have_no_order() -> None:
    """Nor one spelling of their members."""
    one, other = b'{"s":{"BS":["AQ==","AA=="]}}', b'{"s":{"BS":["AA==","AQ=="]}}'
    assert canonical(one) == canonical(other)
