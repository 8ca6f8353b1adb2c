"""A checkpoint covers what is confirmed without a gap, and batches keep to the service's limits."""

import random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ddb_import.batch_write import BATCH_BYTES, BATCH_ITEMS, Outcome, Reject
from ddb_import.shard_progress import Batcher, ShardProgress
from ddb_shared.format.checkpoint import ShardCheckpoint


def shard_progress(confirmed: int = 0) -> ShardProgress:
    return ShardProgress(ShardCheckpoint(shard="s", confirmed=confirmed), [])


@given(
    sizes=st.lists(st.integers(1, 25), min_size=1, max_size=12), seed=st.integers(), begun=st.integers(0, 50)
)
def test_the_checkpoint_never_covers_an_unconfirmed_line(sizes: list[int], seed: int, begun: int) -> None:
    """Batches land in any order; what counts is the unbroken beginning, and at the end all of it."""
    starts = [begun + sum(sizes[:n]) for n in range(len(sizes))]
    batches = list(zip(starts, sizes, strict=True))
    order = batches.copy()
    random.Random(seed).shuffle(order)
    one, completed = shard_progress(begun), set[int]()
    for start, size in order:
        one.confirm(start, start + size, Outcome(written=size))
        completed |= set(range(start, start + size))
        assert set(range(begun, one.state.confirmed)) <= completed
        assert one.state.confirmed not in completed
    assert one.state.confirmed == begun + sum(sizes)


def test_rejects_have_their_place_in_the_shard() -> None:
    """Lines count from 1; a line that is not an item is kept as text, and only confirmed rejects are counted."""
    one = shard_progress(100)
    late = Outcome(written=1, skipped=2, rejects=[Reject(1, b"no \xff json", "NotAnItem", "m")])
    one.confirm(103, 107, late)
    assert (one.state.rejected, one.rejects) == (0, [])
    one.confirm(
        100,
        103,
        Outcome(written=2, rejects=[Reject(0, b'{"Item":{"pk":{"S":"a"}}}', "ValidationException", "m")]),
    )
    assert (107, 2, 2) == (one.state.confirmed, one.state.skipped, one.state.rejected)
    first, second = (msgspec.json.decode(msgspec.json.encode(reject)) for reject in one.rejects)
    assert (101, "s", "ValidationException") == (first["line"], first["shard"], first["error"]["code"])
    assert (105, "no \\xff json") == (second["line"], second["Text"])
    assert "Text" not in first
    assert "Item" not in second
    assert first["Item"] == {"pk": {"S": "a"}}


def test_a_shard_that_begins_anew_forgets_everything() -> None:
    """Also what landed ahead of a gap: its lines were not the export's."""
    one = shard_progress(10)
    one.confirm(35, 60, Outcome(written=25))
    one.confirm(10, 11, Outcome(rejects=[Reject(0, b"x", "NotAnItem", "m")]))
    assert one.reject_bytes > 0
    one.reset()
    assert (one.reject_bytes, one.rejects, one.state.rejected) == (0, [], 0)
    one.confirm(0, 35, Outcome(written=35))
    assert one.state.confirmed == 35


@given(
    lengths=st.lists(
        st.one_of(st.integers(1, 100), st.just(BATCH_BYTES // 3), st.just(BATCH_BYTES)), max_size=90
    ),
    cut=st.integers(1, 40),
    confirmed=st.integers(0, 100),
)
def test_batches_hold_every_line_once_within_the_limits(lengths: list[int], cut: int, confirmed: int) -> None:
    """After the confirmed ones, in order, at most 25 and 4 MB, however the lines arrive in chunks."""
    lines = [bytes(1) * length for length in lengths]
    batcher, batches = Batcher(confirmed), list[tuple[int, list[bytes]]]()
    for start in range(0, len(lines), cut):
        batches += batcher.add(lines[start : start + cut])
    batches += batcher.add(None)
    assert [len(one) for one in lines[confirmed:]] == [len(one) for _, batch in batches for one in batch]
    assert all(0 < len(batch) <= BATCH_ITEMS for _, batch in batches)
    assert all(len(batch) == 1 or sum(map(len, batch)) <= BATCH_BYTES for _, batch in batches)
    expected = confirmed
    for start, batch in batches:
        assert expected == start
        expected += len(batch)


def test_a_line_that_is_larger_than_a_batch_is_one_alone() -> None:
    """Escapes can make an item of 400 KB that long; the lines beside it are still together."""
    large, batcher = bytes(BATCH_BYTES + 1), Batcher(0)
    batches = [*batcher.add([large, b"x", b"y", large]), *batcher.add(None)]
    assert [(0, [large]), (1, [b"x", b"y"]), (3, [large])] == batches


def test_small_lines_fill_batches_across_chunks() -> None:
    """A chunk's end does not cut a batch short: each request costs the same."""
    batcher, sizes = Batcher(0), list[int]()
    for _ in range(10):
        sizes += [len(batch) for _, batch in batcher.add([b"x"] * 10)]
    sizes += [len(batch) for _, batch in batcher.add(None)]
    assert [25] * 4 == sizes
