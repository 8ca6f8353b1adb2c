"""Which shards of an import are done, so that a resume reads a few files and not one for each shard.

A shard's own checkpoint, written by its worker, is what counts. The run adds up those that are done in summaries,
`summary/000001.json` and so on: they are read first, and then the checkpoints of the shards that no summary names.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

import msgspec

from ddb_shared.errors import TransferError
from ddb_shared.format import checkpoint as checkpoints
from ddb_shared.format.checkpoint import ShardCheckpoint
from ddb_shared.format.manifest import FORMAT
from ddb_shared.records import prepare
from ddb_shared.storage.base import Storage

SUMMARY: Final = "summary/"
# A summary of so many is 60 KB. A run that is killed leaves fewer than these to read one by one: two CPU-seconds.
SUMMARY_SHARDS: Final = 1_000
# Fewer are read as fast one by one: an import of a small table writes no summary.
MIN_SHARDS_AT_END: Final = 100
_READERS: Final = 16


class DoneShard(msgspec.Struct, frozen=True, array_like=True):
    """A shard that is done: how many of its items were confirmed, and how many of these skipped and rejected."""

    shard: str
    confirmed: int
    skipped: int
    rejected: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Shards that are done, of one run of the plan. What a later summary says of a shard replaces it."""

    format: str = FORMAT
    run: int
    shards: list[DoneShard]


class Ledger:
    """The states of all shards that a run of the plan has begun, those of earlier commands included."""

    def __init__(self, storage: Storage, run: int) -> None:
        self._storage = storage
        self._run = run
        self._summaries = 0
        self._unwritten: dict[str, ShardCheckpoint] = {}
        self.states: dict[str, ShardCheckpoint] = {}

    @classmethod
    def load(cls, storage: Storage, run: int) -> Ledger:
        """What earlier commands have left of this run of the plan."""
        ledger = cls(storage, run)
        summarised, begun_at = ledger._read_summaries()
        # --from-rejects changes shards that are done
        settled = {state.file for state in summarised.values() if not state.rejected}
        names = [
            entry.name
            for entry in storage.list(checkpoints.SHARDS)
            if entry.name not in settled and entry.modified >= begun_at
        ]
        ledger.states = dict(summarised)
        for state in ledger._read_checkpoints(names):
            ledger.states[state.shard] = state
            if state.done and state != summarised.get(state.shard):
                ledger._unwritten[state.shard] = state
        return ledger

    @classmethod
    def restart(cls, storage: Storage, run: int) -> Ledger:
        """A ledger without any shard. Its first summary is empty: checkpoints of earlier runs are older, and need not be read."""
        ledger = cls(storage, run)
        ledger._read_summaries()
        ledger._write_summary([])
        return ledger

    def with_rejects(self) -> set[str]:
        """The shards that have rejects."""
        return {state.shard for state in self.states.values() if state.rejected}

    def is_done(self, shard: str) -> bool:
        """Whether a shard needs nobody any more."""
        return shard in self.states and self.states[shard].done

    def settle(self, state: ShardCheckpoint) -> None:
        """Takes note of a shard whose checkpoint is written."""
        self.states[state.shard] = state
        if state.done:
            self._unwritten[state.shard] = state
        if len(self._unwritten) >= SUMMARY_SHARDS:
            self.write()

    def read_again(self) -> None:
        """Takes note of what became of the rejects."""
        for state in self._read_checkpoints(state.file for state in self.states.values() if state.rejected):
            self.settle(state)

    def write(self) -> None:
        """Writes a summary of the shards that no other one names."""
        if not self._unwritten:
            return
        self._write_summary(
            [
                DoneShard(state.shard, state.confirmed, state.skipped, state.rejected)
                for state in self._unwritten.values()
            ]
        )
        self._unwritten = {}

    def close(self) -> None:
        """The same at the end of a run, however that ended: without it, the next one reads more files."""
        if len(self._unwritten) >= MIN_SHARDS_AT_END:
            with suppress(TransferError):
                self.write()

    def _write_summary(self, shards: list[DoneShard]) -> None:
        self._summaries += 1
        name = f"{SUMMARY}{self._summaries:06d}.json"
        self._storage.write(name, msgspec.json.encode(Summary(run=self._run, shards=shards)), new=True)

    def _read_summaries(self) -> tuple[dict[str, ShardCheckpoint], float]:
        """The shards that the summaries of this run name, and when it began if it was a restart."""
        entries = sorted(self._storage.list(SUMMARY), key=lambda entry: entry.name)
        if entries:
            self._summaries = int(entries[-1].name.removeprefix(SUMMARY).removesuffix(".json"))
        with ThreadPoolExecutor(_READERS) as pool:
            summaries = list(pool.map(self._read_summary, [entry.name for entry in entries]))
        begun_at = [
            entry.modified
            for entry, summary in zip(entries, summaries, strict=True)
            if summary is not None and summary.run == self._run and not summary.shards
        ]
        done = {
            shard.shard: ShardCheckpoint(
                shard=shard.shard,
                confirmed=shard.confirmed,
                skipped=shard.skipped,
                rejected=shard.rejected,
                done=True,
                run=self._run,
            )
            for summary in summaries
            if summary is not None and summary.run == self._run
            for shard in summary.shards
        }
        return done, max(begun_at, default=0.0)

    def _read_summary(self, name: str) -> Summary | None:
        stored = self._storage.read(name)
        return checkpoints.decode(self._storage, name, stored.data, Summary) if stored else None

    def _read_checkpoints(self, names: Iterable[str]) -> list[ShardCheckpoint]:
        with ThreadPoolExecutor(_READERS) as pool:
            loaded = pool.map(lambda name: checkpoints.load(self._storage, name, ShardCheckpoint), names)
        return [state for state in loaded if state is not None and state.run == self._run]


prepare(Summary)
