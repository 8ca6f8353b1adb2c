"""Representations: which spellings of an item are equal in each."""

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_import.verify import representation
from ddb_import.verify.representation import REPRESENT, Representation, hashes_of, sorted_attributes
from support.items import values

RAW, SORTED, CANONICAL = Representation
ITEMS = st.dictionaries(st.text(min_size=1, max_size=8), values(), max_size=5)


def encoded(item: Any) -> bytes:
    return json.dumps(item, default=lambda data: data.hex(), ensure_ascii=False).encode()


def test_each_representation_has_its_spellings() -> None:
    """Raw: the bytes; sorted: any order of the attributes; canonical: any spelling of numbers as well."""
    first, other_order, other_number = (
        b'{"pk":{"S":"a"},"n":{"N":"1"}}', b'{"n":{"N":"1"},"pk":{"S":"a"}}', b'{"n":{"N":"1.0"},"pk":{"S":"a"}}'
    )  # fmt: skip
    for form, distinct in ((RAW, 3), (SORTED, 2), (CANONICAL, 1)):
        hashes = hashes_of([first, other_order, other_number], form)
        assert distinct == len(set(hashes))
        assert all(0 <= number < 2**128 for number in hashes)
        assert hashes == hashes_of(map(msgspec.Raw, (first, other_order, other_number)), form)


@given(ITEMS, ITEMS, st.randoms(use_true_random=False))
def test_sorted_attributes_are_equal_if_and_only_if_names_and_values_are(
    item: Any, other: Any, chance: random.Random
) -> None:
    """In any order of the attributes; two items that differ keep differing."""
    shuffled = {name: item[name] for name in chance.sample(list(item), len(item))}
    assert sorted_attributes(encoded(item)) == sorted_attributes(encoded(shuffled))
    equal = {name: encoded(value) for name, value in item.items()} == {
        name: encoded(value) for name, value in other.items()
    }
    assert equal == (sorted_attributes(encoded(item)) == sorted_attributes(encoded(other)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": {"S": "x"}}, {"b": {"S": "x"}}),
        ({"a": {"S": "x"}, "b": {"S": "y"}}, {"a": {"S": "y"}, "b": {"S": "x"}}),
        ({'a","b': {"S": ""}}, {"a": {"S": ""}, "b": {"S": ""}}),
        ({}, {"": {"S": ""}}),
    ],
)
def test_names_and_values_cannot_be_confused(one: Any, other: Any) -> None:
    """Names are told apart from values, and each from the next."""
    assert sorted_attributes(encoded(one)) != sorted_attributes(encoded(other))


@pytest.mark.parametrize("data", [b'"text"', b"[]", b"not json", b'{"a\xff":{"S":"x"}}', b'{"a":'])
def test_what_is_no_item_is_its_bytes(data: bytes) -> None:
    """In every representation."""
    assert {bytes(form(data)) for form in REPRESENT.values()} == {data}


def test_the_orders_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items with names of their own, and with very long ones, take no memory for good."""
    orders: dict[tuple[str, ...], object] = {}
    monkeypatch.setattr(representation, "_orders", orders)
    monkeypatch.setattr(representation, "_MAX_ORDERS", 10)
    for number in range(100):
        sorted_attributes(encoded({f"name{number}": {"S": ""}, "b": {"S": ""}}))
    assert len(orders) == 10
    orders.clear()
    sorted_attributes(encoded({"x" * 5_000: {"S": ""}}))
    assert orders == {}
