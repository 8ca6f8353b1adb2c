"""A running command obeys what is meant for it, and nothing else; whoever controls it learns whether it has."""

import threading
from collections.abc import Callable

import pytest

from ddb_shared.command import control as module
from ddb_shared.command.control import Change, Controllable, change_of, change_rate, controlled
from ddb_shared.dynamodb.rate import RateSetting
from ddb_shared.errors import BucketError, StateError, UsageError
from ddb_shared.format import control as controls
from ddb_shared.format.control import Control, Running
from ddb_shared.report import runs
from ddb_shared.runtime.progress import Progress, ProgressEvent
from ddb_shared.runtime.runner import RateControl
from ddb_shared.storage.base import StoredObject
from ddb_shared.table.capacity import Cap
from support.memory import MemoryFolder

OWN = Cap(300)
WAIT_SECONDS = 30.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks are a hundredth of a second apart."""
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)


def controllable() -> Controllable:
    return Controllable(
        resume="ddb-import … --max-wcu 300",
        given="ddb-import …",
        own=OWN,
        resolve=lambda cap: cap.number if cap else None,
    )


class Eager(MemoryFolder):
    """Answers as a run would, in no time: `answer` is called after each control."""

    answer: Callable[[Control], None] = staticmethod(lambda _: None)

    def write(self, name: str, data: bytes, *, replaces: str | None = None, new: bool = False) -> str:
        etag = super().write(name, data, replaces=replaces, new=new)
        if name == controls.CONTROL:
            control = controls.read_control(self)
            assert control is not None
            self.answer(control)
        return etag


def running(storage: MemoryFolder, **members: str) -> Running:
    record = Running(
        nonce="run-1", by="alice on a", pid=7, since="2026-01-01T00:00:00.000Z", command="x", **members
    )
    controls.write(storage, record)
    return record


def test_a_run_obeys_and_says_so() -> None:
    """A cap, a pause and its end, each on top of the last; at the end the run says that it has ended, and is recorded."""
    storage, progress = MemoryFolder(), Progress("import", 10, cap=300.0)
    with controlled(storage, progress, controllable()) as rate:
        progress.add(ProgressEvent(items=1))
        assert told(rate) is None
        first = change_rate(storage, Change(cap=Cap(50)), sleep=wait)
        assert (told(rate), progress.cap) == (RateSetting(50.0), 50.0)
        paused = change_rate(storage, Change(paused=True), sleep=wait)
        assert (told(rate), progress.paused) == (RateSetting(50.0, paused=True), True)
        lifted = change_rate(storage, Change(cap=Cap(float("inf")), paused=False), sleep=wait)
        assert told(rate) == RateSetting(float("inf"))
        assert [("50", False), ("50", True), ("unlimited", False)] == [
            (one.cap, one.paused) for one in (first, paused, lifted)
        ]
        assert first.by in progress.controlled
    ended = controls.read_running(storage)
    assert ended is not None
    assert (ended.ended_at != "", ended.command) == (True, "ddb-import … --max-wcu 300")
    assert ["ddb-import …"] == [run.command for run in runs.load(storage)]
    with pytest.raises(StateError, match=r"Nothing is running at .*; the last run ended at "):
        change_rate(storage, Change(paused=True))


def told(rate: RateControl) -> RateSetting | None:
    """What the workers are told now; another thread changes it."""
    return rate.setting


def wait(_: float) -> None:
    threading.Event().wait(0.01)


def test_a_run_does_not_obey_what_was_meant_for_another() -> None:
    """A control of yesterday must not pause the run of today."""
    storage, progress = MemoryFolder(), Progress("import", 10)
    controls.write(
        storage,
        Control(nonce="n", run="run-of-yesterday", by="x", at="2026-01-01T00:00:00.000Z", paused=True),
    )
    looked = threading.Event()

    class Watched(MemoryFolder):
        def read(self, name: str, *, max_bytes: int | None = None) -> StoredObject | None:
            found = super().read(name, max_bytes=max_bytes)
            looks.append(name)
            if looks.count(controls.CONTROL) > 2:
                looked.set()
            return found

    looks: list[str] = []
    watched = Watched(files=storage.files)
    with controlled(watched, progress, controllable()) as rate:
        assert looked.wait(WAIT_SECONDS)
        assert rate.setting is None
    assert not progress.paused


def test_a_storage_that_fails_leaves_the_run_going() -> None:
    """The run is worth more than its control."""
    failed = threading.Event()

    class Failing(MemoryFolder):
        def read(self, name: str, *, max_bytes: int | None = None) -> StoredObject | None:
            failed.set()
            raise BucketError(f"S3 is away: {name}, {max_bytes}.")

    with controlled(Failing(), Progress("import", 10), controllable()) as rate:
        assert failed.wait(WAIT_SECONDS)
        assert rate.setting is None


def test_nobody_answers_for_a_run_that_was_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while that is an error: exit 0 would be a lie."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.05)
    storage = MemoryFolder()
    running(storage)
    with pytest.raises(StateError, match="has not answered") as caught:
        change_rate(storage, Change(paused=True), sleep=wait)
    assert "no effect on a later run" in caught.value.remedy


def test_a_control_of_an_earlier_run_is_not_built_upon() -> None:
    """A cap that was set for the run before is not the cap of this one."""
    storage = Eager()
    controls.write(storage, Control(nonce="n", run="run-0", by="x", at="t", cap="5", paused=True))
    storage.answer = lambda control: controls.write(
        storage, Running(nonce="run-1", by="a", pid=1, since="s", command="x", control=control.nonce)
    )
    running(storage)
    applied = change_rate(storage, Change(cap=Cap(9)))
    assert (applied.cap, applied.paused) == ("9", False)


@pytest.fixture(params=[controls.RUNNING, controls.CONTROL])
def damaged(request: pytest.FixtureRequest) -> MemoryFolder:
    """A folder in which one of the two files is no record."""
    storage = MemoryFolder()
    running(storage)
    storage.files[request.param] = b"{"
    return storage


def test_a_damaged_file_is_named(damaged: MemoryFolder) -> None:
    """With its place."""
    with pytest.raises(StateError, match=r"(running|control)\.json is damaged"):
        change_rate(damaged, Change(paused=True))


def test_options_that_contradict_are_refused() -> None:
    """And those that stand without --control, or change nothing."""
    for arguments, message in (
        ({"pause": True, "proceed": True, "controlled": True}, "contradict"),
        ({"pause": True, "proceed": False, "controlled": False}, "belong to --control"),
        ({"pause": False, "proceed": False, "controlled": True}, "changes nothing"),
    ):
        with pytest.raises(UsageError, match=message):
            change_of(None, **arguments)
    assert change_of(OWN, pause=False, proceed=False, controlled=False) == Change()
    assert change_of(OWN, pause=False, proceed=True, controlled=True) == Change(cap=OWN, paused=False)
