"""The writer of the log: what it waits for, what it writes, and that only one of two continues."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from ddb_export.capture import log_writer
from ddb_export.capture.log_writer import MAX_FILE_BYTES, MAX_WAITING_BYTES, LogWriter, Page
from ddb_shared.errors import StateError
from ddb_shared.format import changes as log
from ddb_shared.format.changes import Position
from ddb_shared.storage.base import StoredObject
from support.memory import MemoryFolder
from support.replay import changes, records

Result = TypeVar("Result")


def page(number: int, shard: str = "s", size: int = 0) -> Page:
    """One change, numbered."""
    line = b'{"Metadata":{"WriteTimestampMicros":{"N":"%d"}},"Keys":{},"NewImage":{"v":{"S":"%b"}}}\n' % (
        number,
        b"x" * size,
    )
    return Page(shard, Position(sequence=str(number)), [line], len(line), 0, number, number)


def run(use: Callable[[LogWriter], Awaitable[Result]], storage: MemoryFolder) -> Result:
    """Uses a writer whose loop runs meanwhile, then ends it."""

    async def main() -> Result:
        writer = LogWriter(storage)
        writer.take_over()
        running = asyncio.create_task(writer.run(lambda _: True))
        result = await use(writer)
        writer.end()
        await running
        return result

    return asyncio.run(main())


def numbers(storage: MemoryFolder) -> list[int]:
    return [int(change["Metadata"]["WriteTimestampMicros"]["N"]) for change in changes(storage)]


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that the writer's loop does."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what a file holds is no event
            await asyncio.sleep(0.01)


def test_what_is_added_together_is_one_file() -> None:
    """In the order in which it was added, with the newest position of each shard."""
    storage = MemoryFolder()

    async def use(writer: LogWriter) -> None:
        for number in range(1, 101):
            writer.add(page(number, f"s{number % 3}"))

    run(use, storage)
    first, second = records(storage)
    assert (0, 100, 1, 100) == (first["changes"], second["changes"], second["first_at"], second["last_at"])
    assert {"s0": {"sequence": "99"}, "s1": {"sequence": "100"}, "s2": {"sequence": "98"}} == second[
        "positions"
    ]
    assert list(range(1, 101)) == numbers(storage)


class HeldFolder(MemoryFolder):
    """Data files are written once `released` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def write(self, name: str, data: bytes, *, replaces: str | None = None, new: bool = False) -> str:
        if name.endswith(".gz"):
            assert self.released.wait(30)
        return super().write(name, data, replaces=replaces, new=new)


def test_a_full_file_does_not_wait_and_readers_do() -> None:
    """Files end at MAX_FILE_BYTES and a page; readers get room again when enough is written."""
    storage = HeldFolder()

    async def use(writer: LogWriter) -> list[bool]:
        had_room = []
        for number in range(1, 41):
            writer.add(page(number, size=1_000_000))
            room = asyncio.ensure_future(writer.room())
            await asyncio.sleep(0)
            had_room.append(room.done())
            if not room.done():
                storage.released.set()
            await room
        return had_room

    had_room = run(use, storage)
    assert {True, False} == set(had_room)
    assert MAX_WAITING_BYTES // 1_000_000 - 2 <= had_room.index(False) + 1
    assert all(record["changes"] * 1_000_000 <= MAX_FILE_BYTES + 1_000_000 for record in records(storage))
    assert list(range(1, 41)) == numbers(storage)


def test_a_quiet_capture_says_that_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a record without changes, as long as its readers get answers."""
    monkeypatch.setattr(log_writer, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(log_writer, "FLUSH_SECONDS", 0.01)
    storage, alive = MemoryFolder(), [True]

    async def main() -> tuple[int, int]:
        writer = LogWriter(storage)
        writer.take_over()
        running = asyncio.create_task(writer.run(lambda _: alive[0]))
        await until(lambda: writer.number >= 5)
        alive[0] = False
        await asyncio.sleep(0.05)
        silent = writer.number
        await asyncio.sleep(0.1)
        counts = silent, writer.number
        writer.end()
        await running
        return counts

    before, after = asyncio.run(main())
    assert before == after
    assert {0} == {record["changes"] for record in records(storage)}


def test_summaries_bound_what_a_resume_reads() -> None:
    """Every 256th record; what was dropped is not in them, and totals continue."""
    storage = MemoryFolder()

    async def use(writer: LogWriter) -> None:
        for number in range(1, 600):
            writer.add(page(number, f"s{number % 2}" if number < 300 else "later"))
            if number == 300:
                writer.drop(["s0"])
            await writer.write()

    async def main() -> None:
        writer = LogWriter(storage)
        writer.take_over()
        await use(writer)

    asyncio.run(main())
    assert ["changes/summary/000000000256.json", "changes/summary/000000000512.json"] == [
        entry.name for entry in storage.list(log.SUMMARY)
    ]
    state = log.read_state(storage)
    assert (600, 599, {"s1", "later"}) == (state.number, state.total_changes, set(state.positions))
    counting = CountingFolder(files=storage.files)
    assert 601 == LogWriter(counting).take_over().number
    assert counting.reads <= log.SUMMARY_EVERY + 2


class CountingFolder(MemoryFolder):
    """A folder that counts what is read."""

    reads = 0

    def read(self, name: str, **limits: Any) -> StoredObject | None:
        self.reads += 1
        return super().read(name, **limits)


def test_the_second_writer_goes_on_and_the_first_one_stops() -> None:
    """Even where both write at the same moment, since no two records are the same."""
    storage = MemoryFolder()

    async def main() -> None:
        first, second = LogWriter(storage), LogWriter(storage)
        first.take_over()
        first.add(page(1))
        await first.write()
        state = second.take_over()
        assert (3, 1) == (state.number, state.total_changes)
        first.add(page(2))
        with pytest.raises(StateError, match=r"Another capture.*record 3"):
            await first.write()
        second.add(page(2))
        await second.write()

    asyncio.run(main())
    assert [1, 2] == numbers(storage)


def test_a_record_that_came_between_is_not_overlooked() -> None:
    """A capture that is still running commits while the next one takes over: what it wrote counts."""
    storage = MemoryFolder()
    first = LogWriter(storage)
    first.take_over()

    class Racing(MemoryFolder):
        """The first capture writes a record right before the second one does."""

        raced = False

        def write(self, name: str, data: bytes, **conditions: Any) -> str:
            if name.startswith(log.LOG) and not self.raced:
                self.raced = True
                first.add(page(1))
                asyncio.run(first.write())
            return super().write(name, data, **conditions)

    racing = Racing(files=storage.files)
    state = LogWriter(racing).take_over()
    assert (3, 1, {"s": Position(sequence="1")}) == (state.number, state.total_changes, state.positions)


def test_a_log_is_closed_once() -> None:
    """With the totals and the last position of each shard."""
    storage = MemoryFolder()

    async def main() -> None:
        writer = LogWriter(storage)
        writer.take_over()
        writer.add(page(7))
        await writer.write()
        closed = await writer.close("quiet", "why")
        assert (2, 1, {"s": Position(sequence="7")}) == (closed.last_number, closed.changes, closed.positions)
        assert closed == log.read_closed(storage)
        with pytest.raises(StateError, match="exists already"):
            await writer.close("quiet", "why")

    asyncio.run(main())


def test_the_first_record_of_a_run_is_no_heartbeat() -> None:
    """Nothing is read yet: whoever waits for silence must not take it for a look at every shard."""
    storage = MemoryFolder()

    async def use(writer: LogWriter) -> None:
        await writer.write(begins=True)
        await writer.write()
        writer.add(Page("s", Position(closed=True), []))
        await until(lambda: "changes/log/000000000004.json" in storage.files)

    run(use, storage)
    found = [log.read_record(storage, number) for number in range(1, 5)]
    assert [False, False, True, False] == [record is not None and record.is_heartbeat for record in found]
