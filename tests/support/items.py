"""Items at the edges of what DynamoDB takes, and a hypothesis strategy of legal ones."""

import random
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from support.tables import COMPOSITE_KEY, KeySpec

MAX_ITEM_BYTES = 409_600
"""400 KB, names and values: the limit of an item."""
MAX_DEPTH = 31
"""Lists and maps within each other that DynamoDB takes: of the documented 32 levels, the scalar is one."""
LARGEST = "9.9999999999999999999999999999999999999E+125"
SMALLEST = "1E-130"
NUMBERS = ("0", "-0", "7", "-7", "0.10", "1e3", "12345678901234567890123456789012345678", SMALLEST, f"-{SMALLEST}",
           LARGEST, f"-{LARGEST}", "0." + "0" * 129 + "1", "99999999999999999999999999999999999999" + "0" * 88)  # fmt: skip
STRINGS = (
    "plain", " ", "\x00", "a\x00b", "\t\r\n\x0b\x1f\x7f\x85\u2028\u2029", "\"'\\/\\\\u0041", "e\u0301 \u00e9",
    "\u05e9\u05dc\u05d5\u05dd \u202eabc\u202c", "日本語", "\ue000 \ufdd0 \ufffe \uffff \ufeff", "😀 👩‍👩‍👧‍👦",
    "\U00010000\U0002a6d6\U000e0001\U000f0000\U0010ffff", '}\n{"Item":{}}', "</script>&amp;", "${x} {0} %s #n :v",
)  # fmt: skip
BINARIES = (b"\x00", b"\xff" * 7, bytes(range(256)), b"a", b"ab", b"abc")


def conformance_items(key: KeySpec = COMPOSITE_KEY) -> list[dict[str, Any]]:
    """Return items that cover every type and limit, each with a key of its own at the edges of the key's types.

    The attribute `case` names what an item is about. They are about 1 MB, of which the largest item has 400 KB.
    """
    cases = _cases()
    hashes = _key_values(key.hash_type, 2048)
    ranges = _key_values(key.range_type, 1024) if key.range_name else []
    total = max(len(cases), len(hashes), len(ranges))
    names = [*cases, *(f"key {i}" for i in range(len(cases), total))]
    items = []
    for index, name in enumerate(names):
        item = {key.hash_name: hashes[index] if index < len(hashes) else _plain_key(key.hash_type, index)}
        if key.range_name:
            item[key.range_name] = ranges[index % len(ranges)]
        items.append(item | {"case": {"S": name}} | cases.get(name, {}))
    return [*items, largest_item(key)]


def largest_item(key: KeySpec = COMPOSITE_KEY, size: int = MAX_ITEM_BYTES) -> dict[str, Any]:
    """Return an item of exactly `size` bytes by DynamoDB's count; one byte more than the default is refused."""
    item = {name: _plain_key(kind, 10**6) for name, kind in key.attributes.items()} | {"fill": {"B": b""}}
    taken = sum(len(name.encode()) + _scalar_bytes(value) for name, value in item.items())
    return item | {"fill": {"B": b"\xa5" * (size - taken)}}


def _scalar_bytes(value: dict[str, Any]) -> int:
    """DynamoDB's count of a string, a binary value or a positive whole number: two digits a byte, and one more."""
    ((tag, content),) = value.items()
    if tag == "N":
        number = int(content)
        while number % 100 == 0:
            number //= 100
        return (len(str(number)) + 1) // 2 + 1
    return len(content.encode() if isinstance(content, str) else content)


def _plain_key(kind: str, index: int) -> dict[str, Any]:
    text = f"plain-{index:07d}"
    values: dict[str, Any] = {"S": text, "N": str(index + 1000), "B": text.encode()}
    return {kind: values[kind]}


def _key_values(kind: str, limit: int) -> list[dict[str, Any]]:
    """Values of a key's type at its edges, no two equal; `limit` is the type's most bytes."""
    edges: dict[str, Any] = {
        "S": [*STRINGS, "ü" * (limit // 2)],
        "N": list({Decimal(number): number for number in NUMBERS}.values()),
        "B": [*BINARIES, b"\x80" * limit],
    }
    return [{kind: value} for value in edges[kind]]


def _cases() -> dict[str, dict[str, Any]]:
    return {
        "keys alone": {},
        "strings": {f"s{i}": {"S": text} for i, text in enumerate(("", *STRINGS))},
        "numbers": {f"n{i}": {"N": number} for i, number in enumerate(NUMBERS)},
        "binaries": {f"b{i}": {"B": data} for i, data in enumerate((b"", *BINARIES))},
        "booleans and null": {"yes": {"BOOL": True}, "no": {"BOOL": False}, "null": {"NULL": True}},
        "empty list and map": {"list": {"L": []}, "map": {"M": {}}, "nested": {"L": [{"M": {}}, {"L": []}]}},
        "string set": {"set": {"SS": list(STRINGS)}, "with empty": {"SS": ["", "a"]}, "one": {"SS": ["x"]}},
        "number set": {"set": {"NS": [n["N"] for n in _key_values("N", 0)]}, "one": {"NS": ["1.50"]}},
        "binary set": {"set": {"BS": [b"", *BINARIES]}, "one": {"BS": [b"\x00"]}},
        "every type in a map": {"map": {"M": _every_type()}},
        "every type in a list": {"list": {"L": list(_every_type().values())}},
        "deep lists": {"deep": _nested(lambda inner: {"L": [inner]})},
        "deep maps": {"deep": _nested(lambda inner: {"M": {"inner": inner}})},
        "names": {name: {"M": {name: {"S": name}}} for name in (*STRINGS, "a.b[0]", "#", ":", "N", "S", "Item")},
        "type tags as names": {"L": {"M": {"L": {"L": []}, "M": {"M": {"S": {"S": "S"}}}}}},
        "long name": {"n" * 60_000: {"S": "x"}},
        "many attributes": {f"attribute {i}": {"N": str(i)} for i in range(2_000)},
        "long list": {"list": {"L": [{"N": str(i)} for i in range(5_000)]}},
        "long string": {"text": {"S": "ü€😀\\\"" * 20_000}},
    }  # fmt: skip


def _every_type() -> dict[str, Any]:
    return {
        "S": {"S": "text"}, "N": {"N": "-1.5"}, "B": {"B": b"\x00\xff"}, "BOOL": {"BOOL": False}, "NULL": {"NULL": True},
        "SS": {"SS": ["b", "a"]}, "NS": {"NS": ["2", "1.0"]}, "BS": {"BS": [b"b", b"a"]},
        "L": {"L": [{"S": ""}, {"N": "0"}]}, "M": {"M": {"x": {"L": []}}},
    }  # fmt: skip


def _nested(wrap: Any) -> dict[str, Any]:
    value: dict[str, Any] = {"S": "bottom"}
    for _ in range(MAX_DEPTH):
        value = wrap(value)
    return value


def numbers() -> st.SearchStrategy[str]:
    """Every magnitude and up to 38 digits, written as people and programs write numbers."""
    digits = st.integers(-(10**38) + 1, 10**38 - 1)
    scaled = st.builds(lambda n, exponent: f"{n}E{exponent}", digits, st.integers(-130, 87))
    return st.one_of(st.sampled_from(NUMBERS), digits.map(str), scaled)


def other_number(text: str, chance: random.Random) -> str:
    """A legal spelling of the same number, exact for every number of digits."""
    sign, digits, exponent = Decimal(text).as_tuple()
    assert isinstance(exponent, int)
    zeros = chance.randrange(4)
    figures = "0" * chance.randrange(3) + "".join(map(str, digits)) + "0" * zeros
    point = chance.randrange(len(figures) + 1)
    exponent += len(figures) - point - zeros
    plus = chance.choice(["", "+"])
    mantissa = f"{figures[:point]}.{figures[point:]}" if point < len(figures) else figures
    power = (
        ""
        if exponent == 0
        else f"{chance.choice('eE')}{chance.choice(['', '+'] if exponent > 0 else [''])}{exponent}"
    )
    return f"{'-' if sign else plus}{mantissa}{power}"


def values(*, leaves: int = 12) -> st.SearchStrategy[dict[str, Any]]:
    """Any attribute value: scalars, sets, lists and maps of them."""
    names = st.text(min_size=1, max_size=20)
    binaries = st.binary(max_size=40)
    scalars = st.one_of(
        st.fixed_dictionaries({"S": st.text(max_size=40)}),
        st.fixed_dictionaries({"N": numbers()}),
        st.fixed_dictionaries({"B": binaries}),
        st.fixed_dictionaries({"BOOL": st.booleans()}),
        st.just({"NULL": True}),
        st.fixed_dictionaries({"SS": st.lists(st.text(max_size=20), min_size=1, max_size=5, unique=True)}),
        st.fixed_dictionaries({"NS": st.lists(numbers(), min_size=1, max_size=5, unique_by=Decimal)}),
        st.fixed_dictionaries({"BS": st.lists(binaries, min_size=1, max_size=5, unique=True)}),
    )
    return st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.fixed_dictionaries({"L": st.lists(inner, max_size=4)}),
            st.fixed_dictionaries({"M": st.dictionaries(names, inner, max_size=4)}),
        ),
        max_leaves=leaves,
    )


def items_strategy(
    key: KeySpec = COMPOSITE_KEY, *, max_items: int = 20
) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Lists of legal items with different keys."""
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "S": st.text(min_size=1, max_size=60),
        "N": numbers(),
        "B": st.binary(min_size=1, max_size=60),
    }
    keys = st.fixed_dictionaries({n: st.fixed_dictionaries({t: kinds[t]}) for n, t in key.attributes.items()})
    others = st.dictionaries(st.text(min_size=1, max_size=30), values(), max_size=8)
    item = st.builds(lambda rest, own: rest | own, others, keys)
    return st.lists(item, max_size=max_items, unique_by=key.of)
