"""Which shards are read, and when: parents first, whatever DescribeStream shows, and no gap goes unnoticed."""

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_export.capture.lineage import KEPT_MICROS, ORPHAN_MICROS, ChangesLostError, Lineage, ShardState
from ddb_shared.dynamodb.streams import SequenceNumbers, Shard
from ddb_shared.errors import StateError
from ddb_shared.format.changes import Position

NOW = 10**15
HOUR = 3600 * 1_000_000


def shard(name: str, parent: str = "", *, closed: bool = False) -> Shard:
    return Shard(name, parent, SequenceNumbers("1", "2" if closed else ""))


def ids(states: Iterable[ShardState]) -> list[str]:
    return [state.id for state in states]


def test_children_wait_for_their_parents_end() -> None:
    """Both children of a split, though the parent looks open and though it looks closed."""
    for closed in (False, True):
        lineage = Lineage({}, NOW)
        listed = [shard("p", closed=closed), shard("a", "p"), shard("b", "p"), shard("c", "a")]
        (parent,) = lineage.learn(listed, NOW)
        assert ("p", ["p"]) == (parent.id, ids(lineage.reading))
        first, second = lineage.close(parent)
        assert ["a", "b"] == [first.id, second.id]
        assert ["c"] == ids(lineage.close(first))


def test_a_shard_whose_parent_is_gone_is_a_root() -> None:
    """At the first listing: it has what is left of the stream's last day."""
    lineage = Lineage({}, NOW)
    assert ["a", "b"] == ids(lineage.learn([shard("a", "gone"), shard("b")], NOW))


def test_a_new_shard_waits_for_a_parent_that_is_not_listed_yet() -> None:
    """A later listing that lacks the parent is a moment old; one that lacks it for ten minutes is wrong."""
    lineage = Lineage({}, NOW)
    (root,) = lineage.learn([shard("r")], NOW)
    assert [] == lineage.learn([shard("r"), shard("c", "p")], NOW + 1)
    assert [] == lineage.learn([shard("r"), shard("c", "p")], NOW + 2)
    lineage.close(root)
    (parent,) = lineage.learn([shard("r"), shard("p", "r"), shard("c", "p")], NOW + 3)
    assert ["c"] == ids(lineage.close(parent))
    lineage.learn([shard("x", "unknown")], NOW + 4)
    with pytest.raises(StateError, match="but not its parent unknown"):
        lineage.learn([shard("x", "unknown")], NOW + 5 + ORPHAN_MICROS)


def test_children_found_by_their_parent_begin_at_once() -> None:
    """Without a listing, and only once."""
    lineage = Lineage({}, NOW)
    (parent,) = lineage.learn([shard("p")], NOW)
    assert [] == lineage.close(parent)
    assert ["p"] == ids(lineage.childless)
    children = [shard("a", "p"), shard("b", "p")]
    assert ["a", "b"] == ids(lineage.learn_children(children, NOW))
    assert [] == lineage.learn_children(children, NOW)
    assert [] == lineage.learn([shard("p"), *children], NOW)
    assert [] == lineage.childless


def test_what_the_stream_forgets_is_forgotten() -> None:
    """Once it is read to its end and its children are begun: days of capture take no more memory than one."""
    lineage = Lineage({}, NOW)
    (current,) = lineage.learn([shard("0")], NOW)
    for number in range(1, 50):
        (following,) = lineage.close(current) or lineage.learn(
            [shard(str(number - 1)), shard(str(number), str(number - 1))], NOW + number
        )
        current = following
    assert 3 >= len(lineage.shards)


def test_a_resume_goes_on_where_it_was() -> None:
    """Shards that were read to their end are not read again; their children are, from the beginning or their position."""
    positions = {"p": Position(closed=True, at=NOW), "a": Position(sequence="7", at=NOW)}
    lineage = Lineage(positions, NOW + HOUR)
    started = lineage.learn([shard("p"), shard("a", "p"), shard("b", "p")], NOW + HOUR)
    assert [("a", "7", NOW), ("b", "", NOW)] == [(state.id, state.sequence, state.at) for state in started]


@pytest.mark.parametrize(
    ("positions", "listed"),
    [
        ({"a": Position(sequence="7")}, [shard("b", "a")]),
        ({"a": Position(closed=True)}, [shard("c", "b")]),
        ({"a": Position(closed=True)}, [shard("a"), shard("b", "a"), shard("d", "c")]),
        ({"a": Position()}, []),
    ],
)
def test_a_resume_that_has_missed_a_shard_is_refused(
    positions: dict[str, Position], listed: list[Shard]
) -> None:
    """One that was not read to its end, or never begun, is gone from the stream."""
    with pytest.raises(ChangesLostError, match="Changes are lost"):
        Lineage(positions, NOW).learn(listed, NOW)


def test_a_resume_after_what_was_read_is_gone_goes_on() -> None:
    """A parent that was read to its end may be gone, if its child is there."""
    positions = {
        "p": Position(closed=True, at=NOW),
        "q": Position(closed=True, at=NOW),
        "c": Position(sequence="1", at=NOW),
    }
    lineage = Lineage(positions, NOW)
    assert ["c", "d"] == ids(lineage.learn([shard("c", "p"), shard("d", "q")], NOW))


def test_what_may_be_forgotten_is_known_by_time() -> None:
    """A shard whose missing changes are all young may be read from what is left of it; an older one may not."""
    lineage = Lineage({}, NOW)
    (root,) = lineage.learn([shard("r")], NOW)
    assert (True, False) == (
        root.can_skip_trimmed(NOW + KEPT_MICROS - 1),
        root.can_skip_trimmed(NOW + KEPT_MICROS),
    )
    lineage.learn([shard("r")], NOW + 20 * HOUR)
    lineage.close(root)
    (child,) = lineage.learn_children([shard("c", "r")], NOW + 30 * HOUR)
    assert NOW + 20 * HOUR == child.at, "it did not exist when the stream was last listed"


class Walk:
    """A stream whose shards split and roll over, and a capture of it that lists, reads and is interrupted at random."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.parents: dict[str, str] = {}
        self.open: list[str] = []
        self.began: list[str] = []
        self.ended: list[str] = []
        self.log: dict[str, Position] = {}
        self.at = NOW
        for _ in range(rng.randint(1, 3)):
            self.add("")
        self.lineage = Lineage({}, NOW)
        self.begin(self.lineage.learn(self.listing(), NOW))

    def add(self, parent: str) -> None:
        name = f"shard-{len(self.parents):04d}"
        self.parents[name] = parent
        self.open.append(name)

    def grow(self) -> None:
        """A shard ends and has one child or two."""
        parent = self.open.pop(self.rng.randrange(len(self.open)))
        for _ in range(self.rng.choice((1, 2))):
            self.add(parent)

    def listing(self) -> list[Shard]:
        return [shard(name, parent, closed=name not in self.open) for name, parent in self.parents.items()]

    def begin(self, states: Iterable[ShardState]) -> None:
        for state in states:
            assert not self.parents[state.id] or self.parents[state.id] in self.ended
            self.began.append(state.id)
            self.log[state.id] = state.position()

    def step(self) -> None:
        """The capture lists the stream, reads a shard to its end, or asks for the children of one."""
        self.at += 1
        if self.rng.random() < 0.3:
            self.begin(self.lineage.learn(self.listing(), self.at))
        elif self.rng.random() < 0.7 and self.lineage.reading:
            state = self.rng.choice(self.lineage.reading)
            if state.id not in self.open:
                self.ended.append(state.id)
                children = self.lineage.close(state)
                self.log[state.id] = state.position()
                self.begin(children)
        elif self.lineage.childless:
            parent = self.rng.choice(self.lineage.childless).id
            listed = [one for one in self.listing() if one.parent_shard_id == parent]
            self.begin(self.lineage.learn_children(listed, self.at))

    def interrupt(self) -> None:
        """The capture is killed, and resumed from the positions in its log."""
        self.lineage = Lineage(self.log, NOW)
        self.began = list(self.ended)


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_every_shard_is_read_once_and_after_its_parent(seed: int, steps: int) -> None:
    """Whatever the tree, the moments of listings and the order in which shards end; interrupted and resumed at random."""
    walk = Walk(random.Random(seed))
    for _ in range(steps):
        walk.grow()
        if walk.rng.random() < 0.2:
            walk.interrupt()
        for _ in range(walk.rng.randrange(6)):
            walk.step()
    walk.open.clear()
    for _ in range(3000):
        if set(walk.ended) == set(walk.parents):
            break
        walk.step()
    assert sorted(walk.parents) == sorted(walk.ended)
    assert sorted(walk.parents) == sorted(walk.began)
