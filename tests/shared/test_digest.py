"""Digests by bucket: order and spelling of keys play no part, every change does."""

import base64
import json
import random
from hashlib import blake2b
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_shared.digest import BUCKETS, Bucketer, Sums, canonical_hashes, raw_hashes
from ddb_shared.table import KeyAttribute
from support.items import conformance_items, items_strategy
from support.tables import KeySpec
from support.varied import varied_items

KINDS = [(h, r) for h in "SNB" for r in ("", "S", "N", "B")]


def key_of(spec: KeySpec) -> tuple[KeyAttribute, ...]:
    roles = zip(spec.attributes.items(), ("HASH", "RANGE"), strict=False)
    return tuple(KeyAttribute(name, kind, role) for (name, kind), role in roles)


def encoded(item: Any, **how: Any) -> bytes:
    return json.dumps(item, default=lambda data: base64.b64encode(data).decode(), **how).encode()


def sums(items: list[bytes], *, canonical: bool = True) -> Sums:
    found = Sums()
    hashes = canonical_hashes if canonical else raw_hashes
    found.add(Bucketer(key_of(KeySpec())).buckets(items), hashes(items))
    return found


@pytest.mark.parametrize(("hash_type", "range_type"), KINDS)
def test_a_key_has_one_bucket_in_every_spelling(hash_type: str, range_type: str) -> None:
    """For every type of key, at the edges of what a key can be."""
    spec = KeySpec(hash_type=hash_type, range_name="sk" if range_type else "", range_type=range_type or "N")
    bucketer = Bucketer(key_of(spec))
    items = conformance_items(spec)[:-1]
    plain = [encoded(item, ensure_ascii=False, separators=(",", ":")) for item in items]
    other = [encoded(dict(reversed(item.items())), indent=1) for item in items]
    buckets = bucketer.buckets(plain)
    assert buckets == bucketer.buckets(other) == [bucketer.buckets([item])[0] for item in other]
    assert all(0 <= bucket < BUCKETS for bucket in buckets)


def test_a_number_key_has_one_bucket() -> None:
    """1, 1.0 and 1E0 are one key."""
    bucketer = Bucketer((KeyAttribute("k", "N", "HASH"),))
    texts = ["100", "1E2", "100.0", "+1e+2", "00100"]
    assert len(set(bucketer.buckets([encoded({"k": {"N": text}}) for text in texts]))) == 1


def test_keys_spread_over_the_buckets() -> None:
    """Keys that count up fill all buckets about evenly."""
    items = [encoded({"pk": {"S": f"customer#{i:09d}"}, "sk": {"N": str(i)}}) for i in range(200_000)]
    counts = [0] * 64
    for bucket in Bucketer(key_of(KeySpec())).buckets(items):
        counts[bucket * 64 // BUCKETS] += 1
    assert max(counts) < 1.2 * min(counts)


@given(items_strategy(), st.randoms(use_true_random=False), st.integers(0, 20))
def test_order_and_division_play_no_part(items: list[Any], chance: random.Random, cut: int) -> None:
    """The sums of the parts add up to those of the whole."""
    lines = [encoded(item) for item in items]
    whole = sums(lines)
    chance.shuffle(lines)
    parts = sums(lines[:cut])
    parts.merge(sums(lines[cut:]))
    assert whole.differing(parts) == []
    assert (len(lines), whole.digest()) == (parts.items, parts.digest())


@given(items_strategy().filter(bool), st.data())
def test_every_change_is_seen(items: list[Any], data: st.DataObject) -> None:
    """One item less, one twice, or one with another attribute changes its bucket and the digest of the whole."""
    lines = [encoded(item) for item in items]
    number = data.draw(st.integers(0, len(lines) - 1))
    changed = encoded(items[number] | {"a new name": {"S": ""}})
    bucket = Bucketer(key_of(KeySpec())).buckets([lines[number]])
    for others in (
        lines[:number] + lines[number + 1 :],
        [*lines, lines[number]],
        [*lines[:number], changed, *lines[number + 1 :]],
    ):
        assert bucket == sums(lines).differing(sums(others))
        assert sums(lines).digest() != sums(others).digest()


def test_two_equal_changes_do_not_cancel() -> None:
    """A sum, where an exclusive or would lose pairs of equal items."""
    (item,) = (encoded(item) for item in varied_items(1))
    assert sums([]).differing(sums([item, item])) != []


@pytest.mark.parametrize("line", [b'"text"', b"[]", b"{}", b'{"pk":{"N":"1"}}', b"not json", b"[" * 100_000])
def test_what_has_no_key_has_a_bucket_too(line: bytes) -> None:
    """It counts, beside good items, and is equal to nothing but itself."""
    (item,) = (encoded(item) for item in varied_items(1))
    bucketer = Bucketer(key_of(KeySpec()))
    assert bucketer.buckets([item]) == bucketer.buckets([line, item])[1:]
    assert sums([item]).differing(sums([line, item])) == bucketer.buckets([line])


def test_raw_hashes_are_of_the_bytes() -> None:
    """The same item in other words has another raw hash, and the same canonical one."""
    items = [b'{"pk":{"S":"a"},"n":{"N":"1"}}', b'{"n":{"N":"1.0"},"pk":{"S":"a"}}']
    assert len(set(raw_hashes(items))) == 2
    assert len(set(canonical_hashes(items))) == 1
    assert raw_hashes(items) == raw_hashes(map(msgspec.Raw, items))


def test_the_digest_of_nothing() -> None:
    """The hash of no bytes, for every empty table."""
    assert sums([]).digest() == Sums().digest() == blake2b(digest_size=16).hexdigest()
