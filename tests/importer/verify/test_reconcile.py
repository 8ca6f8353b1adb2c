"""Set reconciliation: what two sides do not have in common is read from a table that grows with the differences alone."""

import pickle
import random
from collections import Counter
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_import.verify.reconcile import HASH_BYTES, ReconciliationTable, Uncommon

SIZE = 200


def digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()


def item_hash(key: int, value: int) -> int:
    return int.from_bytes(digest(f"{key}: {value}"), "big")


def hashes(items: Counter[tuple[int, int]]) -> tuple[list[bytes], list[int]]:
    """Keys and items of (key, value) pairs, each as often as it counts."""
    every = list(items.elements())
    return [digest(f"key {key}") for key, _ in every], [item_hash(*pair) for pair in every]


def uncommon(key: int, value: int, copies: int) -> Uncommon:
    return Uncommon(digest(f"key {key}")[:HASH_BYTES], item_hash(key, value) >> 64, copies)


PAIRS = st.tuples(st.integers(0, 30), st.integers(0, 3))
SIDES = st.dictionaries(PAIRS, st.integers(1, 3), max_size=40).map(Counter)


@given(SIDES, SIDES)
def test_what_the_sides_do_not_share_is_found(
    source: Counter[tuple[int, int]], table: Counter[tuple[int, int]]
) -> None:
    """Each with how many more copies one side has; what both have cancels."""
    found = ReconciliationTable(SIZE)
    found.subtract(*hashes(table))
    found.add(*hashes(source))
    expected = {
        uncommon(*pair, source[pair] - table[pair]) for pair in source | table if source[pair] != table[pair]
    }
    decoded = found.decode()
    assert (expected, 1.0) == (set(decoded.items), decoded.share)
    assert len(expected) == len(decoded.items)


@pytest.mark.parametrize("parts", [1, 3, 10])
def test_the_parts_of_workers_add_up(parts: int) -> None:
    """However the items are shared among them, and over a pickle."""
    rng = random.Random(parts)
    whole = ReconciliationTable(SIZE)
    tables = [ReconciliationTable(SIZE) for _ in range(parts)]
    for number in range(5_000):
        source, table = (hashes(Counter([(number, value)])) for value in (0, int(number % 50 == 0)))
        rng.choice(tables).add(*source)
        rng.choice(tables).subtract(*table)
    for part in tables:
        whole.merge(pickle.loads(pickle.dumps(part)))
    decoded = whole.decode()
    assert (200, 1.0) == (len(decoded.items), decoded.share)
    assert {uncommon(number, 0, 1) for number in range(0, 5_000, 50)} <= set(decoded.items)


@pytest.mark.parametrize("count", [1_000, 10_000, 40_000])
def test_more_than_fit_are_found_in_a_part_of_the_key_space(count: int) -> None:
    """At least 2.25 times the size, all of them true, and their number tells how many there are in all."""
    table = ReconciliationTable(SIZE)
    table.add(*hashes(Counter((number, 0) for number in range(count))))
    decoded = table.decode()
    assert 0 < decoded.share < 1
    assert len(decoded.items) >= 2 * SIZE
    assert set(decoded.items) <= {uncommon(number, 0, 1) for number in range(count)}
    assert len(decoded.items) / decoded.share == pytest.approx(count, rel=0.25)


def test_far_more_than_fit_are_none() -> None:
    """The share is then 0: nothing can be told, and nothing is made up."""
    table = ReconciliationTable(1)
    table.add(*hashes(Counter((number, 0) for number in range(200_000))))
    decoded = table.decode()
    assert decoded.share == 0
    assert decoded.items == []


def test_four_times_the_size_is_found_whole() -> None:
    """Three cells an item, at three quarters of the cells: over many seeds, none fails."""
    for seed in range(50):
        table = ReconciliationTable(SIZE)
        table.add(
            *hashes(Counter((number, seed) for number in range(seed * 10_000, seed * 10_000 + 4 * SIZE)))
        )
        assert table.decode().share == 1
