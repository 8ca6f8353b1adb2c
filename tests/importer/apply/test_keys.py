"""A key is the values of its attributes, however it is written."""

import base64
import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_import.apply.keys import KeyReader
from ddb_shared.table.description import KeyAttribute
from support.items import numbers, other_number
from support.tables import KeySpec

RANDOMS = st.integers(0, 2**32).map(random.Random)
VALUES: dict[str, Any] = {
    "S": st.text(min_size=1),
    "N": numbers(),
    "B": st.binary(min_size=1).map(lambda data: base64.b64encode(data).decode()),
}
KINDS = [(one, other) for one in "SNB" for other in ("", *"SNB")]


def reader(hash_type: str, range_type: str, names: tuple[str, str] = ("pk", "sk")) -> KeyReader:
    key = [KeyAttribute(names[0], hash_type, "HASH")]
    return KeyReader([*key, KeyAttribute(names[1], range_type, "RANGE")] if range_type else key)


@pytest.mark.parametrize(("hash_type", "range_type"), KINDS)
@given(data=st.data(), chance=RANDOMS)
def test_one_key_in_every_spelling(
    hash_type: str, range_type: str, data: st.DataObject, chance: random.Random
) -> None:
    """Order of attributes, spelling of numbers, escapes, white space and further attributes make no difference."""
    read = reader(hash_type, range_type)
    kinds = {"pk": hash_type} | ({"sk": range_type} if range_type else {})
    key = {name: {kind: data.draw(VALUES[kind])} for name, kind in kinds.items()}
    other = {
        name: {kind: other_number(value, chance) if kind == "N" else value}
        for name, values in reversed(key.items())
        for kind, value in values.items()
    }
    item = {"more": {"L": [{"S": "x"}]}} | other
    plain = read(json.dumps(key, ensure_ascii=False).encode())
    assert plain == read(json.dumps(other, indent=1).encode()) == read(json.dumps(item).encode())
    assert len(kinds) == len(plain)


@given(first=numbers(), second=numbers())
def test_different_keys_are_different(first: str, second: str) -> None:
    """As KeySpec's own comparison by Decimal says."""
    read, spec = reader("N", ""), KeySpec(hash_type="N", range_name="")
    one, other = ({"pk": {"N": number}} for number in (first, second))
    assert (spec.of(one) == spec.of(other)) == (
        read(json.dumps(one).encode()) == read(json.dumps(other).encode())
    )


def test_names_may_be_anything() -> None:
    """Attribute names are not identifiers."""
    names = ('the key\'s "name".\n', "class")
    read = reader("S", "N", names)
    assert ("a", "1") == read(json.dumps({names[1]: {"N": "01"}, names[0]: {"S": "a"}}).encode())


@pytest.mark.parametrize("keys", [b"{}", b'{"pk":{"N":"1"}}', b'{"pk":{"S":1}}', b"[]", b'{"pk":"a"}', b""])
def test_what_is_not_a_key_is_refused(keys: bytes) -> None:
    """A missing attribute, another type."""
    with pytest.raises(msgspec.DecodeError):
        reader("S", "")(keys)
