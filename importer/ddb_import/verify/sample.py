"""A quick check: a sample of the items of the export, or of the source table, is read from the table by key.

It reads randomly chosen shards or scan segments, at least MIN_PARTS, and selects items in them by the hash of their keys
to make up the percentage; the records of an export's changes are a choice of their own. It finds missing and different items, and cannot find extra ones.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from ddb_import.verify.checked import Checked
from ddb_import.verify.confirm import BATCH_KEYS, Lookups, candidate_of, open_confirmer
from ddb_import.verify.inputs import THREADS, ExportInput, Input, TableInput, read_inputs
from ddb_import.verify.keys import KeyHasher
from ddb_import.verify.records import Item
from ddb_shared.runtime.loop import run_loop
from ddb_shared.runtime.runner import Channel
from ddb_shared.table.description import KeyAttribute

# Fewer would cover too little of the key space; more would read many items only to discard them.
MIN_PARTS: Final = 64
# Items are taken by the first four bytes of their keys' hashes.
_HASHES: Final = 1 << 32

Part = TypeVar("Part")


@dataclass(frozen=True, kw_only=True)
class SampleTask:
    """One worker's share of a sample: of the items that `input_` reads, those of `share` (0 to 1) of all hashes of keys.

    At most `max_differences` of them are named.
    """

    input_: Input
    key: tuple[KeyAttribute, ...]
    share: float
    lookups: Lookups
    max_differences: int


def subsamples(input_: Input, percent: float, rng: random.Random) -> list[tuple[Input, float]]:
    """What to read of a side, and the share of its items to take: of an export with changes the base and the changes apart.

    There are thousands of records of changes, and few shards: chosen together, the sample would hold next to nothing of the base.
    """
    if isinstance(input_, TableInput):
        segments, share = _choose(input_.segments, percent, rng)
        return [(replace(input_, segments=segments), share)]
    shards, share = _choose(input_.shards, percent, rng)
    found: list[tuple[Input, float]] = [(replace(input_, shards=shards, images=()), share)]
    if input_.images:
        images, share = _choose(input_.images, percent, rng)
        found.append((replace(input_, shards=(), images=images), share))
    return found


def _choose(parts: Sequence[Part], percent: float, rng: random.Random) -> tuple[tuple[Part, ...], float]:
    share = percent / 100
    count = min(max(round(len(parts) * share), MIN_PARTS), len(parts))
    taken = rng.sample(range(len(parts)), count)
    return tuple(parts[part] for part in taken), min(share * len(parts) / max(count, 1), 1.0)


def sample(task: SampleTask, channel: Channel) -> Checked:
    """Compares the task's share."""
    return run_loop(_sample(task, channel), threads=THREADS)


async def _sample(task: SampleTask, channel: Channel) -> Checked:
    found, keys = Checked(task.max_differences), KeyHasher(task.key)
    names = [attribute.name for attribute in task.key]
    keeps_item = isinstance(task.input_, ExportInput)
    limit = task.share * _HASHES
    async with open_confirmer(task.lookups, found.cost, channel) as confirmer:

        async def take(items: Sequence[Item]) -> None:
            chosen = [
                candidate_of(item, names, keep_item=keeps_item)
                for item, key in zip(items, keys.hashes(items), strict=True)
                if int.from_bytes(key[:4], "big") < limit
            ]
            for start in range(0, len(chosen), BATCH_KEYS):
                batch = chosen[start : start + BATCH_KEYS]
                # an item deleted from the source since it was read does not count as a difference
                differences = [one for one in await confirmer.check(batch) if one.expected_item is not None]
                found.count(len(batch), differences)

        found.cost.add(await read_inputs([(task.input_, take)], channel))
    return found
