"""Checkpoints: one small record per scan segment and per loaded shard, replaced atomically.

A checkpoint covers only what the service confirmed; failing to write one is fatal.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from ddb_shared.errors import StateError
from ddb_shared.manifest import FORMAT, Shard
from ddb_shared.storage import Folder
from ddb_shared.wire import LastKey

SEGMENTS: Final = "segments/"
SHARDS: Final = "shards/"


class SegmentCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """How far one scan segment of an export is: its complete shards and the key after which the scan goes on."""

    format: str = FORMAT
    segment: int
    shards: list[Shard] = []
    last_key: LastKey | None = None
    done: bool = False
    consumed_rcu: float = 0.0

    @property
    def file(self) -> str:
        """Where it lies in the export's folder."""
        return segment_file(self.segment)


class ShardCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """How far one shard of an import is: its first `confirmed` lines are written, skipped or rejected."""

    format: str = FORMAT
    shard: str
    confirmed: int = 0
    skipped: int = 0
    rejected: int = 0
    done: bool = False

    @property
    def file(self) -> str:
        """Where it lies in the import's state folder."""
        return shard_file(self.shard)


Record = TypeVar("Record", bound=msgspec.Struct)
Checkpoint = TypeVar("Checkpoint", SegmentCheckpoint, ShardCheckpoint)


def segment_file(segment: int) -> str:
    """`segments/0000.json`"""
    return f"{SEGMENTS}{segment:04d}.json"


def shard_file(shard: str) -> str:
    """`shards/<shard>.json`"""
    return f"{SHARDS}{shard}.json"


def decode(folder: Folder, name: str, data: bytes, kind: type[Record]) -> Record:
    """The record in a file of saved state; raises StateError where it is none."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StateError(f"The saved state {folder.url}{name} is damaged: {error}") from error


def save(folder: Folder, checkpoint: SegmentCheckpoint | ShardCheckpoint) -> None:
    """Replaces the checkpoint."""
    folder.write(checkpoint.file, msgspec.json.encode(checkpoint))


def load(folder: Folder, name: str, kind: type[Checkpoint]) -> Checkpoint | None:
    """The checkpoint in file `name`; None where there is none yet.

    A checkpoint that can't be read stops the run: starting afresh would throw away what it stands for.
    """
    stored = folder.read(name)
    if stored is None:
        return None
    checkpoint = decode(folder, name, stored.data, kind)
    if checkpoint.format != FORMAT:
        raise StateError(
            f"The checkpoint {folder.url}{name} has the format {checkpoint.format!r}, not {FORMAT!r}.",
            "Resume with the version that began this run.",
        )
    return checkpoint
