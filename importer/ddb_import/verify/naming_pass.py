"""The third pass: the keys and items behind the hashes of what differs. Only the sides that can tell are read.

Memory: that of reading, and of `named`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

from ddb_import.verify.inputs import THREADS, Input, Sink, read_inputs
from ddb_import.verify.keys import KeyHasher
from ddb_import.verify.named import Named, namer
from ddb_import.verify.reconcile import HASH_BYTES
from ddb_import.verify.records import Item
from ddb_shared.runtime.loop import run_loop
from ddb_shared.runtime.runner import Channel
from ddb_shared.table.description import KeyAttribute


@dataclass(frozen=True, kw_only=True)
class NamingTask:
    """One worker's share of the sides that are read, and the hashes of the keys to look for in each."""

    inputs: tuple[tuple[Input, frozenset[bytes]], ...]
    key: tuple[KeyAttribute, ...]


def name(task: NamingTask, channel: Channel) -> Named:
    """Reads the task's share for the items with these keys."""
    return run_loop(_name(task, channel), threads=THREADS)


async def _name(task: NamingTask, channel: Channel) -> Named:
    named = Named()
    parts = [(input_, _sink(task, input_, keys, named)) for input_, keys in task.inputs]
    named.cost = await read_inputs(parts, channel)
    return named


def _sink(task: NamingTask, input_: Input, wanted: frozenset[bytes], named: Named) -> Sink:
    keys, keep = KeyHasher(task.key), namer(input_, task.key, named)

    async def add(items: Sequence[Item]) -> None:
        hashes = keys.hashes(items)
        found = [key[:HASH_BYTES] in wanted for key in hashes]
        keep(list(compress(items, found)), list(compress(hashes, found)))

    return add
