"""Two imports of one export into one table are kept apart."""

import os
import socket
import subprocess
import sys
import threading

import msgspec
import pytest

from ddb_import import lease
from ddb_import.lease import EXPIRES_SECONDS, FILE, Lease, held
from ddb_shared.errors import ServiceError, StateError
from ddb_shared.workers import Stop
from support.memory import MemoryFolder


def someone(**changes: object) -> Lease:
    """The lease of a process that lives: our parent."""
    facts = {"host": socket.gethostname(), "boot": lease._boot_id(), "pid": os.getppid(), "user": "ann",
             "since": "2024-05-14T11:14:20.608Z", "nonce": "other"}  # fmt: skip
    return Lease(**(facts | changes))  # type: ignore[arg-type]


def taken_by(other: Lease, age_seconds: float = 1.0) -> MemoryFolder:
    folder = MemoryFolder()
    folder.files[FILE] = msgspec.json.encode(other)
    folder.age_seconds = age_seconds
    return folder


def present(folder: MemoryFolder) -> Lease:
    return msgspec.json.decode(folder.files[FILE], type=Lease)


def dead_pid() -> int:
    """The id of a process that has just ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_lease_is_held_during_the_block_and_released_after() -> None:
    """The file says who holds it; a released one is free at once."""
    folder = MemoryFolder()
    with held(folder, Stop()):
        mine = present(folder)
        assert (os.getpid(), socket.gethostname(), False) == (mine.pid, mine.host, mine.released)
    assert present(folder).released
    with held(folder, Stop()):
        assert present(folder).nonce != mine.nonce


def test_a_second_holder_is_refused() -> None:
    """The message says who, where and since when, and when the lease could be taken over."""
    folder = taken_by(someone(), age_seconds=20)
    with pytest.raises(StateError, match=rf"by ann on {socket.gethostname()} \(process {os.getppid()}\)") as caught, held(folder, Stop()):  # fmt: skip
        pytest.fail("two holders")
    assert f"{EXPIRES_SECONDS - 20:.0f} s" in caught.value.remedy
    assert present(folder).nonce == "other"


@pytest.mark.parametrize(
    ("other", "age_seconds"),
    [
        pytest.param(someone(released=True), 1.0, id="released"),
        pytest.param(someone(), EXPIRES_SECONDS, id="expired"),
        pytest.param(someone(host="elsewhere"), EXPIRES_SECONDS, id="expired elsewhere"),
        pytest.param(someone(pid=dead_pid()), 1.0, id="of a dead process"),
    ],
)
def test_a_lease_may_be_taken_over(other: Lease, age_seconds: float) -> None:
    """Released, not renewed for a minute by the storage's clock, or of a process that is gone from this machine."""
    folder = taken_by(other, age_seconds)
    with held(folder, Stop()):
        assert present(folder).pid == os.getpid()


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(someone(pid=dead_pid(), host="elsewhere"), id="another machine"),
        pytest.param(someone(pid=dead_pid(), boot="another"), id="another boot"),
        pytest.param(someone(pid=1), id="a process of someone else"),
    ],
)
def test_a_process_is_dead_only_where_that_can_be_known(other: Lease) -> None:
    """A process id says nothing about another machine, or about this one before it was started anew."""
    with pytest.raises(StateError), held(taken_by(other), Stop()):
        pytest.fail("two holders")


def test_two_who_come_at_once_do_not_both_succeed() -> None:
    """The conditional write decides; the loser is told."""

    class Racing(MemoryFolder):
        def write(self, name: str, data: bytes, *, replaces: str | None = None, new: bool = False) -> str:
            if not self.writes:
                super().write(name, msgspec.json.encode(someone()))
            return super().write(name, data, replaces=replaces, new=new)

    with pytest.raises(StateError, match="has just taken the lease"), held(Racing(), Stop()):
        pytest.fail("two holders")


class Watched(MemoryFolder):
    """Tells each renewal; `taken` lets someone else overwrite the lease, `broken` lets writes fail."""

    def __init__(self) -> None:
        super().__init__()
        self.renewed = threading.Event()
        self.broken = False

    def write(self, name: str, data: bytes, *, replaces: str | None = None, new: bool = False) -> str:
        if self.broken:
            raise ServiceError("Could not write: SlowDown")
        etag = super().write(name, data, replaces=replaces, new=new)
        if replaces:
            self.renewed.set()
        return etag


def test_a_held_lease_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each renewal changes the file, and so its age begins anew."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.01)
    folder = Watched()
    with held(folder, Stop()):
        for _ in range(2):
            folder.renewed.clear()
            assert folder.renewed.wait(30)
        beat = present(folder).beat
    assert beat >= 1
    assert present(folder).released


@pytest.mark.parametrize("how", ["taken", "broken"])
def test_a_lost_lease_stops_the_run(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who cannot renew must not write any more: the workers are stopped, and the run ends with an error."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.01)
    monkeypatch.setattr(lease, "EXPIRES_SECONDS", 0.05)
    folder, stop = Watched(), Stop()

    def run() -> None:
        with held(folder, stop):
            if how == "taken":
                folder.files[FILE] = msgspec.json.encode(someone())
            folder.broken = how == "broken"
            assert stop._said.wait(30)

    with pytest.raises(StateError, match="was lost") as caught:
        run()
    assert FILE in caught.value.message
    assert stop.signal_number is None
    if how == "taken":
        assert present(folder).nonce == "other"


def test_an_error_of_the_run_itself_comes_first() -> None:
    """The lease is given back, and the error is the run's."""
    folder = MemoryFolder()
    with pytest.raises(KeyError), held(folder, Stop()):
        raise KeyError
    assert present(folder).released
