"""Which shards of a stream are read, which wait for their parents, and where changes may have been lost.

A shard is read once its parent has been read to its null iterator, and not before: a shard that DescribeStream shows as open
may have children already, and a parent's last changes may be readable later than the first ones of its children. So the order
in which changes are read is the order of each key's.

A stream forgets a change after 24 hours. Each position has a time `at` before which nothing of the shard is missing: when the
capture began, the newest change captured of it or of its parent, or the last time that the stream was listed without it. What
is older than 24 hours is lost only if that time is, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ddb_shared.dynamodb.streams import Shard
from ddb_shared.errors import StateError
from ddb_shared.format.changes import Position

# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html: 24 hours. An hour is left for clocks that differ
# and for times that are rounded: DynamoDB Local's to the minute.
KEPT_MICROS: Final = 23 * 3600 * 1_000_000
# A listing is not taken at one moment: a parent that is missing from one is in the next.
ORPHAN_MICROS: Final = 600 * 1_000_000


class ChangesLostError(StateError):
    """The stream has forgotten changes that were not captured."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"Changes are lost: {detail} A stream keeps changes for 24 hours.",
            "This export can no longer follow its table. End it with --cancel, and start a new one with --follow.",
        )


@dataclass(slots=True)
class ShardState:
    """One shard and how far it is captured. `seen_at`: when it was first listed."""

    id: str
    parent: str
    at: int
    seen_at: int = 0
    sequence: str = ""
    closed: bool = False
    started: bool = False

    def position(self) -> Position:
        """As the log has it."""
        return Position(sequence=self.sequence, closed=self.closed, at=self.at)

    def can_skip_trimmed(self, now: int) -> bool:
        """Whether no change that is missing can have been forgotten at this time, in epoch microseconds."""
        return now - self.at < KEPT_MICROS


class Lineage:
    """The shards that matter, from the positions of the log on. Nothing older than `began_at` is needed (epoch microseconds).

    Memory: some 500 bytes for each shard of the last 24 hours.
    """

    def __init__(self, positions: Mapping[str, Position], began_at: int) -> None:
        self._began_at = began_at
        self._listed_at = self._first_listed_at = 0
        self._is_resumed = bool(positions)
        self._children: dict[str, list[ShardState]] = {}
        self.shards = {
            name: ShardState(name, "", place.at, began_at, place.sequence, place.closed)
            for name, place in positions.items()
        }

    def learn(self, listed: Sequence[Shard], at: int) -> list[ShardState]:
        """Takes a complete listing of the stream that was begun at this time; returns the shards that can be read from now on.

        Raises ChangesLostError where the listing shows that an interrupted capture has missed shards.
        """
        names = {shard.shard_id for shard in listed}
        if not self._listed_at and self._is_resumed:
            self._refuse_gaps(listed, names)
        for shard in listed:
            self._add(shard, at)
        started = [state for state in list(self.shards.values()) if self._start(state)]
        self._refuse_orphans(at)
        self._listed_at, self._first_listed_at = at, self._first_listed_at or at
        self._forget(names)
        return started

    def learn_children(self, children: Iterable[Shard], at: int) -> list[ShardState]:
        """Takes the children of a shard that was read to its end; returns those that can be read from now on."""
        return [state for shard in children if self._start(state := self._add(shard, at))]

    def close(self, state: ShardState) -> list[ShardState]:
        """Takes note that a shard was read to its null iterator; returns the shards that can be read from now on."""
        state.closed = True
        return [child for child in self._children.get(state.id, ()) if self._start(child)]

    @property
    def reading(self) -> list[ShardState]:
        """The shards that are being read."""
        return [state for state in self.shards.values() if state.started and not state.closed]

    @property
    def waiting(self) -> list[ShardState]:
        """The shards whose parents are not read to their end yet."""
        return [state for state in self.shards.values() if not (state.started or state.closed)]

    @property
    def childless(self) -> list[ShardState]:
        """The shards that were read to their end and have no known children yet."""
        return [state for state in self.shards.values() if state.closed and state.id not in self._children]

    @property
    def orphans(self) -> list[ShardState]:
        """The shards that wait for a parent which no listing has had yet."""
        return [state for state in self.shards.values() if self._waits_for_unknown(state)]

    def is_drained(self) -> bool:
        """Whether every known shard was read to its end."""
        return all(state.closed for state in self.shards.values())

    def _refuse_gaps(self, listed: Sequence[Shard], names: set[str]) -> None:
        for state in self.shards.values():
            if not state.closed and state.id not in names:
                raise ChangesLostError(
                    f"shard {state.id} was not read to its end, and the stream no longer has it."
                )
        for shard in listed:
            is_known = shard.shard_id in self.shards or shard.parent_shard_id in self.shards
            if not is_known and shard.parent_shard_id not in names:
                raise ChangesLostError(
                    f"the parent of shard {shard.shard_id} was never read, and the stream no longer has it."
                )

    def _refuse_orphans(self, at: int) -> None:
        """Shards that wait for a parent that is never listed: to read them before it could mix up the order of a key."""
        for state in self.orphans:
            if at - state.seen_at > ORPHAN_MICROS:
                raise StateError(
                    f"DescribeStream lists shard {state.id}, but not its parent {state.parent}.",
                    "Changes of its keys could be captured in the wrong order, so nothing more is. Resume the export.",
                )

    def _add(self, shard: Shard, at: int) -> ShardState:
        state, parent = self.shards.get(shard.shard_id), shard.parent_shard_id
        if state is None:
            known = self.shards.get(parent)
            # what is newer than the last listing was created after it, and so was all that it holds
            since = max(known.at if known else self._began_at, self._listed_at)
            state = self.shards[shard.shard_id] = ShardState(shard.shard_id, parent, since, at)
        if parent and all(child is not state for child in self._children.get(parent, ())):
            state.parent = parent
            self._children.setdefault(parent, []).append(state)
        return state

    def _start(self, state: ShardState) -> bool:
        """Marks the shard as started if it can be read from now on, and was not before."""
        parent = self.shards.get(state.parent)
        if state.started or state.closed or (parent and not parent.closed) or self._waits_for_unknown(state):
            return False
        state.started = True
        if parent:
            state.at = max(state.at, parent.at)
        return True

    def _waits_for_unknown(self, state: ShardState) -> bool:
        """Whether its parent is unknown, though it cannot be gone yet: the first listing alone has shards of such an age."""
        if state.started or state.closed or not state.parent or state.parent in self.shards:
            return False
        return 0 < self._first_listed_at < state.seen_at

    def _forget(self, names: set[str]) -> None:
        """Drops what the stream no longer lists, once it is read to its end and its children are being read."""
        for state in list(self.shards.values()):
            children = self._children.get(state.id, ())
            if (
                state.closed
                and state.id not in names
                and all(child.started or child.closed for child in children)
            ):
                del self.shards[state.id]
                self._children.pop(state.id, None)
