"""Checkpoints: one small record per scan segment and per loaded shard, replaced atomically.

A checkpoint covers only work confirmed by the service; failing to write one is fatal.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import msgspec

from ddb_shared.errors import StateError
from ddb_shared.format.manifest import FORMAT, Shard
from ddb_shared.records import prepare
from ddb_shared.storage.base import Storage
from ddb_shared.table.description import LastKey

SEGMENTS: Final = "segments/"
SHARDS: Final = "shards/"
_READERS: Final = 16


class SegmentCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of one scan segment of an export: its complete shards and the key after which the scan continues."""

    format: str = FORMAT
    segment: int
    shards: list[Shard] = []
    last_key: LastKey | None = None
    done: bool = False
    consumed_rcu: float = 0.0

    @property
    def file(self) -> str:
        """Its file in the export's folder."""
        return segment_file(self.segment)


class ShardCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of one shard of an import: its first `confirmed` lines are written, skipped or rejected.

    `run` is that of the plan: checkpoints from before a --restart do not count.
    """

    format: str = FORMAT
    shard: str
    confirmed: int = 0
    skipped: int = 0
    rejected: int = 0
    done: bool = False
    run: int = 1

    @property
    def file(self) -> str:
        """Its file in the import's state folder."""
        return shard_file(self.shard)


Record = TypeVar("Record", bound=msgspec.Struct)
Checkpoint = TypeVar("Checkpoint", SegmentCheckpoint, ShardCheckpoint)


def segment_file(segment: int) -> str:
    """`segments/0000.json`"""
    return f"{SEGMENTS}{segment:04d}.json"


def shard_file(shard: str) -> str:
    """`shards/<shard>.json`"""
    return f"{SHARDS}{shard}.json"


def decode(storage: Storage, name: str, data: bytes, kind: type[Record]) -> Record:
    """The record in a file of saved state; raises StateError if it is damaged."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StateError(f"The saved state {storage.url}{name} is damaged: {error}") from error


def save(storage: Storage, checkpoint: SegmentCheckpoint | ShardCheckpoint) -> None:
    """Replaces the checkpoint."""
    storage.write(checkpoint.file, msgspec.json.encode(checkpoint))


def load(storage: Storage, name: str, kind: type[Checkpoint]) -> Checkpoint | None:
    """The checkpoint in file `name`; None if there is none yet.

    A checkpoint that cannot be read stops the run: starting over would discard the work that it covers.
    """
    stored = storage.read(name)
    if stored is None:
        return None
    checkpoint = decode(storage, name, stored.data, kind)
    if checkpoint.format != FORMAT:
        raise StateError(
            f"The checkpoint {storage.url}{name} has the format {checkpoint.format!r}, not {FORMAT!r}.",
            "Resume with the version of ddb-transfer that started this run.",
        )
    return checkpoint


def load_all(storage: Storage, folder: str, kind: type[Checkpoint]) -> list[Checkpoint]:
    """All checkpoints of `folder`, SEGMENTS or SHARDS, in the order of their names."""
    names = sorted(entry.name for entry in storage.list(folder))
    with ThreadPoolExecutor(_READERS) as pool:
        loaded = pool.map(lambda name: load(storage, name, kind), names)
    return [checkpoint for checkpoint in loaded if checkpoint is not None]


prepare(SegmentCheckpoint, ShardCheckpoint)
