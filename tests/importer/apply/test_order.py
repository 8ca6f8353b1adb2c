"""The order of changes: the model is a dict to which every change is applied one after another."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_import.apply.order import KeyOrder, Part, Watermark, Write
from ddb_import.batch_write import BATCH_BYTES, BATCH_ITEMS

KEYS = st.integers(0, 4).map(str)
PARTS = st.lists(st.lists(KEYS, max_size=12), max_size=12)


def writes(part: Part, keys: list[str], size: int = 0) -> list[Write]:
    part.changes = part.open = len(keys)
    return [
        Write((key,), b"%d.%d" % (part.number, line) + bytes(size), part, line)
        for line, key in enumerate(keys, 1)
    ]


@given(history=PARTS, seed=st.integers())
def test_every_key_ends_with_its_last_change(history: list[list[str]], seed: int) -> None:
    """Batches are confirmed in any order, while later records are added at any moment."""
    chance, order, mark = random.Random(seed), KeyOrder(), Watermark(0)
    expected: dict[str, bytes] = {}
    table: dict[str, bytes] = {}
    in_flight: list[list[Write]] = []
    parts: list[Part] = []
    waiting = list(enumerate(history, 1))
    while waiting or len(order):
        step = chance.randrange(3)
        if step == 0 and waiting:
            number, keys = waiting.pop(0)
            part = Part(number)
            parts.append(part)
            added = writes(part, keys)
            expected |= {write.key[0]: write.request for write in added}
            mark.add(part)
            order.add(added)
        elif step == 1 and (batch := order.take()):
            flying = {write.key for one in in_flight for write in one}
            assert not flying & {write.key for write in batch}
            assert len({write.key for write in batch}) == len(batch)
            in_flight.append(batch)
        elif step == 2 and in_flight:
            batch = in_flight.pop(chance.randrange(len(in_flight)))
            table |= {write.key[0]: write.request for write in batch}
            order.settle(batch)
        mark.advance()
        # what the watermark covers is written, or a later change of its key is known
        settled = {parts.number for parts in parts if not parts.open}
        assert set(range(1, mark.applied + 1)) <= settled
    assert expected == table
    assert (len(history), 0, 0) == (mark.applied, mark.waiting, order.bytes)
    written = sum(part.changes - part.superseded for part in parts)
    assert written >= len(expected)


def test_only_the_last_change_of_a_key_is_sent() -> None:
    """Those before it, in the same record or in another, are superseded while none of them is on its way."""
    order, first, second = KeyOrder(), Part(1), Part(2)
    order.add(writes(first, ["a", "b", "a"]))
    order.add(writes(second, ["a", "c"]))
    assert [b"2.1", b"1.2", b"2.2"] == [write.request for write in order.take()]
    assert (2, 1, 0) == (first.superseded, first.open, second.superseded)


def test_a_key_in_flight_holds_back_only_itself() -> None:
    """The newest change that waits behind it is sent once it is confirmed; other keys continue."""
    order, first, second, third = KeyOrder(), Part(1), Part(2), Part(3)
    order.add(writes(first, ["a"]))
    batch = order.take()
    order.add(writes(second, ["a", "b"]))
    order.add(writes(third, ["a"]))
    assert order.is_superseded(batch[0])
    assert [b"2.2"] == [write.request for write in order.take()]
    assert [] == order.take()
    order.settle(batch)
    assert [b"3.1"] == [write.request for write in order.take()]
    assert (1, 1, 0) == (second.superseded, second.open, first.open)


@given(sizes=st.lists(st.sampled_from([10, BATCH_BYTES // 3, BATCH_BYTES + 5]), max_size=80))
def test_batches_keep_to_the_limits(sizes: list[int]) -> None:
    """25 requests and a megabyte, or one request that is larger; in the order in which they came."""
    order, part, taken = KeyOrder(), Part(1), []
    order.add(Write((str(line),), bytes(size), part, line) for line, size in enumerate(sizes))
    while batch := order.take():
        assert len(batch) <= BATCH_ITEMS
        assert len(batch) == 1 or sum(len(write.request) for write in batch) <= BATCH_BYTES
        taken += batch
    assert list(range(len(sizes))) == [write.line for write in taken]


def test_records_come_in_order() -> None:
    """The watermark is one number, so it must not skip any."""
    mark = Watermark(7)
    mark.add(Part(8))
    with pytest.raises(ValueError, match="record 10 after 8"):
        mark.add(Part(10))
    assert [8] == [part.number for part in mark.advance()]
    assert 8 == mark.applied
