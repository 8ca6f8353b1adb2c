"""What is done is read from a few summaries; the checkpoints are what counts."""

from collections.abc import Iterator
from dataclasses import replace

import msgspec
import pytest

from ddb_import.ledger import SUMMARY, Ledger
from ddb_shared.format import checkpoint as checkpoints
from ddb_shared.format.checkpoint import ShardCheckpoint
from ddb_shared.storage.base import ConflictError, FileInfo, StoredObject
from support.memory import MemoryFolder


class Counting(MemoryFolder):
    """Counts what is read; each file was written a second after the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []
        self.writes_a_second = 1

    def read(self, name: str, *, max_bytes: int | None = None) -> StoredObject | None:
        self.reads.append(name)
        return super().read(name, max_bytes=max_bytes)

    def list(self, below: str = "") -> Iterator[FileInfo]:
        last = {name: float(at // self.writes_a_second) for at, name in enumerate(self.writes, 1)}
        for entry in super().list(below):
            yield replace(entry, modified=last[entry.name])


@pytest.fixture
def storage() -> Counting:
    return Counting()


def state(number: int, **members: object) -> ShardCheckpoint:
    done = {"confirmed": 10, "done": True} | members
    return ShardCheckpoint(shard=f"{number:04d}-000000.json.gz", **done)  # type: ignore[arg-type]


def settle(storage: MemoryFolder, ledger: Ledger, states: list[ShardCheckpoint]) -> None:
    """As a run does: the worker's checkpoint first."""
    for one in states:
        checkpoints.save(storage, one)
        ledger.settle(one)


def by_name(states: list[ShardCheckpoint]) -> dict[str, ShardCheckpoint]:
    return {one.shard: one for one in states}


def test_a_resume_reads_summaries_and_what_no_summary_names(storage: Counting) -> None:
    """Shards that are done, 1,000 a file; one that is open, and one that was done just before the run was killed."""
    done = [state(number, skipped=1) for number in range(2_500)]
    settle(storage, Ledger.load(storage, 1), done)
    checkpoints.save(storage, late := state(3_000))
    checkpoints.save(storage, begun := state(3_001, confirmed=3, done=False))
    storage.reads.clear()
    ledger = Ledger.load(storage, 1)
    assert by_name([*done, late, begun]) == ledger.states
    assert len(storage.reads) == 2 + 500 + 2
    ledger.write()
    storage.reads.clear()
    assert by_name([*done, late, begun]) == Ledger.load(storage, 1).states
    assert len(storage.reads) == 3 + 1


def test_state_of_versions_without_summaries(storage: Counting) -> None:
    """It is read one by one once, and summarised then."""
    done = [state(number) for number in range(50)]
    for one in done:
        checkpoints.save(storage, one)
    ledger = Ledger.load(storage, 1)
    assert by_name(done) == ledger.states
    ledger.write()
    storage.reads.clear()
    assert by_name(done) == Ledger.load(storage, 1).states
    assert storage.reads == [f"{SUMMARY}000001.json"]


def test_what_was_done_before_a_restart_does_not_count(storage: Counting) -> None:
    """Neither by its checkpoint nor by its summary; the new run's summaries get numbers of their own."""
    before = Ledger.load(storage, 1)
    settle(storage, before, [state(1), state(2)])
    before.write()
    after = Ledger.load(storage, 2)
    assert after.states == {}
    settle(storage, after, [state(1, run=2)])
    after.write()
    assert by_name([state(1, run=2)]) == Ledger.load(storage, 2).states
    assert sorted(name for name in storage.files if name.startswith(SUMMARY)) == [
        f"{SUMMARY}000001.json",
        f"{SUMMARY}000002.json",
    ]


@pytest.mark.parametrize("killed", [False, True])
def test_rejects_that_were_loaded_later_no_longer_count(storage: Counting, *, killed: bool) -> None:
    """Whether or not the command that loaded them lived to write a summary."""
    ledger = Ledger.load(storage, 1)
    settle(storage, ledger, [state(1, rejected=2), state(2)])
    ledger.write()
    checkpoints.save(storage, corrected := state(1, rejected=0))
    if not killed:
        ledger.read_again()
        assert ledger.states[corrected.shard] == corrected
        ledger.write()
    assert by_name([corrected, state(2)]) == Ledger.load(storage, 1).states


def test_a_restart_reads_nothing_of_earlier_runs(storage: Counting) -> None:
    """Neither at once nor when the new run is resumed; what it has done since is read."""
    settle(storage, Ledger.load(storage, 1), [state(number) for number in range(200)])
    storage.reads.clear()
    settle(storage, Ledger.restart(storage, 2), [state(7, run=2), state(8, run=2)])
    assert storage.reads == []
    assert by_name([state(7, run=2), state(8, run=2)]) == Ledger.load(storage, 2).states
    assert storage.reads == [f"{SUMMARY}000001.json", state(7).file, state(8).file]


def test_what_is_written_in_the_second_of_a_restart_counts(storage: Counting) -> None:
    """S3 has the times of objects in seconds."""
    storage.writes_a_second = 10
    settle(storage, Ledger.restart(storage, 2), [state(7, run=2)])
    assert by_name([state(7, run=2)]) == Ledger.load(storage, 2).states


def test_a_summary_replaces_no_other(storage: Counting) -> None:
    """A run that has lost its lease and does not know it yet ends there."""
    runs = [Ledger.load(storage, 1), Ledger.load(storage, 1)]
    settle(storage, runs[0], [state(1)])
    runs[0].write()
    settle(storage, runs[1], [state(2)])
    with pytest.raises(ConflictError):
        runs[1].write()
    assert by_name([state(1), state(2)]) == Ledger.load(storage, 1).states


def test_a_small_import_writes_no_summary(storage: Counting) -> None:
    """From a hundred shards on it is worth a file."""
    ledger = Ledger.load(storage, 1)
    settle(storage, ledger, [state(number) for number in range(99)])
    ledger.close()
    assert not list(storage.list(SUMMARY))
    again = Ledger.load(storage, 1)
    settle(storage, again, [state(99)])
    again.close()
    assert len(list(storage.list(SUMMARY))) == 1


def test_nothing_to_write_writes_nothing(storage: Counting) -> None:
    """As after a run that was stopped at once."""
    Ledger.load(storage, 1).write()
    assert storage.writes == []


def test_a_summary_is_small(storage: Counting) -> None:
    """60 bytes a shard: 100,000 shards are 6 MB in all."""
    settle(storage, Ledger.load(storage, 1), [state(number) for number in range(1_000)])
    (summary,) = [data for name, data in storage.files.items() if name.startswith(SUMMARY)]
    assert len(summary) < 60_000
    assert msgspec.json.decode(summary)["shards"][0] == ["0000-000000.json.gz", 10, 0, 0]
