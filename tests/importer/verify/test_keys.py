"""Hashes of keys: every spelling of a key has the same one, and no other key has it."""

import base64
import json
from typing import Any

import pytest

from ddb_import.verify.keys import KEY_HASH_BYTES, KeyHasher
from ddb_shared.table.description import KeyAttribute
from support.items import conformance_items
from support.tables import KeySpec

KINDS = [(h, r) for h in "SNB" for r in ("", "S", "N", "B")]


def key_of(spec: KeySpec) -> tuple[KeyAttribute, ...]:
    roles = zip(spec.attributes.items(), ("HASH", "RANGE"), strict=False)
    return tuple(KeyAttribute(name, kind, role) for (name, kind), role in roles)


def encoded(item: Any, **how: Any) -> bytes:
    return json.dumps(item, default=lambda data: base64.b64encode(data).decode(), **how).encode()


@pytest.mark.parametrize(("hash_type", "range_type"), KINDS)
def test_a_key_has_one_hash_in_every_spelling(hash_type: str, range_type: str) -> None:
    """For every type of key, at the edges of what a key can be; no two keys share one."""
    spec = KeySpec(hash_type=hash_type, range_name="sk" if range_type else "", range_type=range_type or "N")
    hasher = KeyHasher(key_of(spec))
    items = {
        encoded({name: item[name] for name in spec.attributes}): item for item in conformance_items(spec)[:-1]
    }
    plain = [encoded(item, ensure_ascii=False, separators=(",", ":")) for item in items.values()]
    other = [encoded(dict(reversed(item.items())), indent=1) for item in items.values()]
    hashes = hasher.hashes(plain)
    assert hashes == hasher.hashes(other) == [hasher.hashes([item])[0] for item in other]
    assert {KEY_HASH_BYTES} == set(map(len, hashes))
    assert len(items) == len(set(hashes))


def test_a_number_key_has_one_hash() -> None:
    """1, 1.0 and 1E0 are one key."""
    hasher = KeyHasher((KeyAttribute("k", "N", "HASH"),))
    texts = ["100", "1E2", "100.0", "+1e+2", "00100"]
    assert len(set(hasher.hashes([encoded({"k": {"N": text}}) for text in texts]))) == 1


def test_partition_and_sort_key_are_told_apart() -> None:
    """Where one ends and the other begins is part of the key."""
    hasher = KeyHasher(key_of(KeySpec(range_type="S")))
    pairs = [("a\0", "b"), ("a", "\0b"), ("a\0b", "c"), ("a", "b\0c"), ("1 a", "b"), ("1", " ab")]
    hashes = hasher.hashes([encoded({"pk": {"S": pk}, "sk": {"S": sk}}) for pk, sk in pairs])
    assert len(pairs) == len(set(hashes))


@pytest.mark.parametrize(
    "line", [b'"text"', b"[]", b"{}", b'{"pk":{"N":"1"}}', b'{"pk":{"S":"\xff"}}', b"[" * 100_000]
)
def test_what_has_no_key_counts_by_its_bytes(line: bytes) -> None:
    """Beside good items, whose hashes stay the same."""
    hasher = KeyHasher(key_of(KeySpec()))
    item = encoded({"pk": {"S": "a"}, "sk": {"N": "1"}})
    alone, beside = hasher.hashes([item]), hasher.hashes([line, item])
    assert alone == beside[1:]
    assert hasher.hashes([line]) == beside[:1]
