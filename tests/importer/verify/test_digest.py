"""Digests: the order of the items plays no part, every change does."""

import base64
import json
import random
from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_import.verify.digest import BUCKETS, Sums, bucket_of
from ddb_import.verify.representation import Representation, hashes_of
from support.items import items_strategy
from support.varied import varied_items


def encoded(item: Any, **how: Any) -> bytes:
    return json.dumps(item, default=lambda data: base64.b64encode(data).decode(), **how).encode()


def sums(items: list[bytes], representation: Representation = Representation.CANONICAL) -> Sums:
    found = Sums()
    found.add(hashes_of(items, representation))
    return found


def buckets(items: list[bytes]) -> frozenset[int]:
    return frozenset(map(bucket_of, hashes_of(items, Representation.CANONICAL)))


def test_items_spread_over_the_buckets() -> None:
    """Items that count up fill all buckets about evenly."""
    items = [encoded({"pk": {"S": f"customer#{i:09d}"}, "sk": {"N": str(i)}}) for i in range(100_000)]
    counts = [0] * 64
    for digest in hashes_of(items, Representation.RAW):
        counts[bucket_of(digest) * 64 // BUCKETS] += 1
    assert max(counts) < 1.3 * min(counts)


@given(items_strategy(), st.randoms(use_true_random=False), st.integers(0, 20))
def test_order_and_division_play_no_part(items: list[Any], chance: random.Random, cut: int) -> None:
    """The sums of the parts add up to those of the whole."""
    lines = [encoded(item) for item in items]
    whole = sums(lines)
    chance.shuffle(lines)
    parts = sums(lines[:cut])
    parts.merge(sums(lines[cut:]))
    assert whole.differing(parts) == frozenset()
    assert (len(lines), whole.digest()) == (parts.items, parts.digest())


@given(items_strategy().filter(bool), st.data())
def test_every_change_is_seen(items: list[Any], data: st.DataObject) -> None:
    """One item less, one twice, or one with another attribute changes the buckets of what changed, and the digest."""
    lines = [encoded(item) for item in items]
    number = data.draw(st.integers(0, len(lines) - 1))
    changed = encoded(items[number] | {"a new name": {"S": ""}})
    for others, changes in (
        (lines[:number] + lines[number + 1 :], [lines[number]]),
        ([*lines, lines[number]], [lines[number]]),
        ([*lines[:number], changed, *lines[number + 1 :]], [lines[number], changed]),
    ):
        assert buckets(changes) == sums(lines).differing(sums(others))
        assert sums(lines).digest() != sums(others).digest()


def test_two_equal_changes_do_not_cancel() -> None:
    """A sum, where an exclusive or would lose pairs of equal items."""
    (item,) = (encoded(item) for item in varied_items(1))
    assert sums([]).differing(sums([item, item])) == buckets([item])


@pytest.mark.parametrize(
    "line", [b'"text"', b"[]", b"{}", b"not json", b'{"a":{"S":"\xff"}}', b"[" * 100_000]
)
@pytest.mark.parametrize("representation", Representation)
def test_what_is_no_item_counts_too(line: bytes, representation: Representation) -> None:
    """It counts, beside good items, and is equal to nothing but itself."""
    (item,) = (encoded(item) for item in varied_items(1))
    one, both = sums([item], representation), sums([line, item], representation)
    assert len(one.differing(both)) == 1
    assert both.items == 2


def test_cleared_buckets_take_other_sums() -> None:
    """Where the sums of two sides agree but for some buckets, their canonical sums can stand for these."""
    items = [encoded(item) for item in varied_items(50)]
    spelled = [encoded(dict(reversed(item.items())), indent=1) for item in varied_items(50)]
    ours, theirs = sums(items, Representation.RAW), sums(spelled, Representation.RAW)
    buckets = ours.differing(theirs)
    assert buckets
    ours.clear(buckets)
    theirs.clear(buckets)
    assert ours.digest() == theirs.digest() == Sums().digest()
    ours.merge(sums(items))
    theirs.merge(sums(spelled))
    assert ours.digest() == theirs.digest()
    assert ours.items == 50


def test_the_digest_of_nothing() -> None:
    """The hash of no bytes, for every empty table."""
    assert sums([]).digest() == Sums().digest() == blake2b(digest_size=16).hexdigest()
