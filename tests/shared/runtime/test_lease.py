"""Two runs that would write the same things are kept apart, and who has lost the lease writes nothing more."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import msgspec
import pytest

from ddb_shared.errors import ServiceError, StateError
from ddb_shared.runtime import lease
from ddb_shared.runtime.lease import (
    EXPIRES_SECONDS,
    FILE,
    SILENCE_SECONDS,
    VALID_SECONDS,
    HeldLease,
    Lease,
    LeaseGuard,
    LeaseLostError,
    Validity,
    check_free,
)
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.base import ConflictError, Storage, StoredObject
from ddb_shared.times import Instant
from support.memory import MemoryFolder


def someone(**changes: object) -> Lease:
    """The lease of a process that lives: our parent."""
    facts = {"host": socket.gethostname(), "boot": lease._boot_id(), "pid_namespace": lease._pid_namespace(),
             "pid": os.getppid(), "user": "ann", "since": "2024-05-14T11:14:20.608Z", "nonce": "other"}  # fmt: skip
    return Lease(**(facts | changes))  # type: ignore[arg-type]


def hold(storage: Storage, stop: Stop) -> AbstractContextManager[HeldLease]:
    return lease.hold(storage, stop, activity="The export is already being written")


def taken_by(other: Lease, age_seconds: float = 1.0) -> MemoryFolder:
    storage = MemoryFolder()
    storage.files[FILE] = msgspec.json.encode(other)
    storage.age_seconds = age_seconds
    return storage


def present(storage: MemoryFolder) -> Lease:
    return msgspec.json.decode(storage.files[FILE], type=Lease)


def dead_pid() -> int:
    """The id of a process that has just ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_lease_is_held_during_the_block_and_released_after() -> None:
    """The file says who holds it; a released one is free at once."""
    storage = MemoryFolder()
    with hold(storage, Stop()):
        mine = present(storage)
        assert (os.getpid(), socket.gethostname(), False) == (mine.pid, mine.host, mine.released)
    assert present(storage).released
    with hold(storage, Stop()):
        assert present(storage).nonce != mine.nonce


def test_a_second_holder_is_refused() -> None:
    """The message says who, where and since when, and when the lease could be taken over."""
    storage = taken_by(someone(), age_seconds=20)
    with pytest.raises(StateError, match=rf"The export is already being written by ann on {socket.gethostname()} \(process {os.getppid()}\)") as caught, hold(storage, Stop()):  # fmt: skip
        pytest.fail("two holders")
    assert f"{EXPIRES_SECONDS - 20:.0f} s" in caught.value.remedy
    assert present(storage).nonce == "other"


def test_a_lease_can_be_looked_at_without_taking_it() -> None:
    """A dry run tells who holds it, and writes nothing."""
    held = taken_by(someone(), age_seconds=20)
    with pytest.raises(StateError, match="The export is already being written by ann"):
        check_free(held, "The export is already being written")
    for free in (MemoryFolder(), taken_by(someone(released=True), 1.0), taken_by(someone(), EXPIRES_SECONDS)):
        writes = len(free.writes)
        check_free(free, "The export is already being written")
        assert len(free.writes) == writes


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
    storage = taken_by(other, age_seconds)
    with hold(storage, Stop()):
        assert present(storage).pid == os.getpid()


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(someone(pid=dead_pid(), boot="another"), id="another machine or boot"),
        pytest.param(someone(pid=dead_pid(), pid_namespace="pid:[1]"), id="another container"),
        pytest.param(someone(pid=dead_pid(), pid_namespace=""), id="of a version that did not say"),
        pytest.param(someone(pid=1), id="a process of someone else"),
    ],
)
def test_a_process_is_dead_only_where_that_can_be_known(other: Lease) -> None:
    """A process id says nothing about another machine, another container, or this machine before it was started again."""
    with pytest.raises(StateError), hold(taken_by(other), Stop()):
        pytest.fail("two holders")


def test_two_who_come_at_once_do_not_both_succeed() -> None:
    """The conditional write decides; the loser is told."""

    class Racing(MemoryFolder):
        def write(self, name: str, data: bytes, *, replaces: str | None = None, new: bool = False) -> str:
            if not self.writes:
                super().write(name, msgspec.json.encode(someone()))
            return super().write(name, data, replaces=replaces, new=new)

    with pytest.raises(StateError, match="another run has just taken the lease"), hold(Racing(), Stop()):
        pytest.fail("two holders")


@pytest.mark.parametrize("held_before", [False, True])
def test_a_storage_that_is_busy_is_asked_again(held_before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 may answer SlowDown to whoever begins, too; a storage that stays busy ends the command."""
    monkeypatch.setattr(lease, "_RETRY_SECONDS", 0.01)

    class Busy(MemoryFolder):
        """Refuses so many calls, every second one, so that both the read and the write are refused."""

        refusals = 3
        calls = 0

        def refuse(self) -> None:
            self.calls += 1
            if self.refusals and self.calls % 2:
                self.refusals -= 1
                raise ServiceError("SlowDown")

        def read(self, name: str, *, max_bytes: int | None = None) -> StoredObject | None:
            self.refuse()
            return super().read(name, max_bytes=max_bytes)

        def write(self, name: str, data: bytes, *, replaces: str | None = None, new: bool = False) -> str:
            self.refuse()
            return super().write(name, data, replaces=replaces, new=new)

    storage = Busy()
    if held_before:
        storage.files[FILE] = msgspec.json.encode(someone(released=True))
    with hold(storage, Stop()):
        assert storage.refusals == 1, "the read and the write were refused once each"
    storage.refusals = 0

    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 0.0)
    storage.refusals, storage.calls = 10_000, 0
    with pytest.raises(ServiceError, match="SlowDown"), hold(storage, Stop()):
        pytest.fail("held without a word of the storage")


class Watched(MemoryFolder):
    """Tells each renewal; `error` is what writes fail with."""

    def __init__(self) -> None:
        super().__init__()
        self.renewed = threading.Event()
        self.error: Exception | None = None

    def write(self, name: str, data: bytes, *, replaces: str | None = None, new: bool = False) -> str:
        if self.error:
            raise self.error
        etag = super().write(name, data, replaces=replaces, new=new)
        if replaces:
            self.renewed.set()
        return etag


def test_a_held_lease_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each renewal changes the file, and so its age begins again."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.01)
    storage = Watched()
    with hold(storage, Stop()):
        for _ in range(2):
            storage.renewed.clear()
            assert storage.renewed.wait(30)
        beat = present(storage).beat
    assert beat >= 1
    assert present(storage).released


@pytest.mark.parametrize("how", ["taken", "broken", "bug"])
def test_a_lost_lease_stops_the_run(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who cannot renew, for whatever reason, must not write any more: the workers are stopped, and the run ends with an error."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.01)
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(lease, "_RETRY_SECONDS", 0.01)
    storage, stop = Watched(), Stop()

    def run() -> None:
        with hold(storage, stop) as holding:
            if how == "taken":
                storage.files[FILE] = msgspec.json.encode(someone())
            storage.error = {
                "broken": ServiceError("Could not write: SlowDown"),
                "bug": KeyError("etag"),
            }.get(how)
            assert stop._requested.wait(30)
            assert holding.validity().lost
            with pytest.raises(LeaseLostError):
                holding.check()
            holding.guard.wait_in_thread()

    with pytest.raises(LeaseLostError, match="was lost, and nothing is written without it") as caught:
        run()
    assert FILE in caught.value.message
    assert stop.signal_number is None
    if how == "taken":
        assert present(storage).nonce == "other"


def test_an_error_of_the_run_itself_comes_first() -> None:
    """The lease is given back, and the error is the run's."""
    storage = MemoryFolder()
    with pytest.raises(KeyError), hold(storage, Stop()):
        raise KeyError
    assert present(storage).released


def test_a_renewal_whose_answer_was_lost_counts_as_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again with the same content, which the storage recognises as its own."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.01)
    monkeypatch.setattr(lease, "_RETRY_SECONDS", 0.01)

    class Forgetful(Watched):
        """Stores the first renewal without saying so; knows its content again, as S3Storage does."""

        forgotten = False

        def write(self, name: str, data: bytes, *, replaces: str | None = None, new: bool = False) -> str:
            try:
                etag = super().write(name, data, replaces=replaces, new=new)
            except ConflictError:
                stored = self.read(name)
                if stored is None or stored.data != data:
                    raise
                return stored.etag
            if replaces and not self.forgotten:
                self.forgotten = True
                raise ServiceError("Could not write: read timeout")
            return etag

    storage = Forgetful()
    with hold(storage, Stop()) as holding:
        for _ in range(3):
            storage.renewed.clear()
            assert storage.renewed.wait(30)
        holding.check()
    assert storage.forgotten


def test_a_storage_that_hangs_does_not_delay_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease is left to expire."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.01)
    monkeypatch.setattr(lease, "_RELEASE_SECONDS", 0.1)
    asked, answered = threading.Event(), threading.Event()

    class Hanging(MemoryFolder):
        def write(self, name: str, data: bytes, *, replaces: str | None = None, new: bool = False) -> str:
            if replaces:
                asked.set()
                assert answered.wait(60)
            return super().write(name, data, replaces=replaces, new=new)

    storage = Hanging()
    with hold(storage, Stop()):
        assert asked.wait(30)
    assert not present(storage).released
    answered.set()


def test_a_renewal_counts_from_before_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer may take long, and the storage's clock runs from when it came there."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.01)
    asked = []

    class Slow(Watched):
        def write(self, name: str, data: bytes, *, replaces: str | None = None, new: bool = False) -> str:
            asked.append(Instant.now())
            time.sleep(0.05)
            return super().write(name, data, replaces=replaces, new=new)

    storage = Slow()
    with hold(storage, Stop()) as holding:
        assert holding.validity().since.uptime <= asked[0].uptime
        assert storage.renewed.wait(30)
        time.sleep(0.02)
        validity = holding.validity()
        assert any(validity.since.uptime <= moment.uptime < validity.since.uptime + 0.04 for moment in asked)


class Clock:
    """Both clocks of Instant, which the test sets, and a wait that takes no time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.waited = Instant(1000.0, 5000.0), 0.0
        self.events: list[tuple[float, Callable[[], None]]] = []
        monkeypatch.setattr(Instant, "now", lambda: self.now)

    def pass_by(self, *, uptime: float = 0.0, wall: float = 0.0) -> None:
        self.now = Instant(self.now.uptime + uptime, self.now.wall + wall)

    def guard(self, validity: Callable[[], Validity]) -> LeaseGuard:
        return LeaseGuard(validity, clock=lambda: self.waited, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.waited += seconds
        self.pass_by(uptime=seconds, wall=seconds)
        while self.events and self.events[0][0] <= self.waited:
            self.events.pop(0)[1]()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.parametrize(
    ("uptime", "wall", "holds"),
    [
        pytest.param(44.0, 44.0, True, id="renewed a while ago"),
        pytest.param(46.0, 46.0, False, id="not renewed"),
        pytest.param(46.0, 0.0, False, id="the wall clock was set back"),
        pytest.param(46.0, -3600.0, False, id="the wall clock was set back by an hour"),
        pytest.param(1.0, 3600.0, False, id="a virtual machine was suspended"),
    ],
)
def test_a_lease_stops_holding_by_either_clock(clock: Clock, uptime: float, wall: float, holds: bool) -> None:
    """One that sleeps with the machine, or that was set back, does not make it hold for longer."""
    validity = Validity(Instant.now(), VALID_SECONDS)
    clock.pass_by(uptime=uptime, wall=wall)
    assert holds == (validity.left_seconds() > 0)


def test_what_waits_goes_on_once_the_lease_was_renewed(clock: Clock) -> None:
    """A machine that slept for an hour continues where nobody has taken over."""
    holding = HeldLease("x", Validity(Instant.now(), VALID_SECONDS))
    guard = clock.guard(holding.validity)
    guard.wait_in_thread()
    assert clock.waited == 0
    for _ in range(2):  # the patience begins again each time
        clock.pass_by(uptime=3600, wall=3600)
        renewed_at = clock.waited + SILENCE_SECONDS - 1
        clock.events = [(renewed_at, lambda: holding.renewed(Validity(Instant.now(), VALID_SECONDS)))]
        guard.wait_in_thread()
        assert renewed_at <= clock.waited < renewed_at + 1


def test_who_hears_nothing_of_the_lease_ends(clock: Clock) -> None:
    """It sends nothing while it waits, and once it has ended, it does not begin again."""
    known = Validity(Instant.now(), VALID_SECONDS)
    guard = clock.guard(lambda: known)
    clock.pass_by(uptime=VALID_SECONDS)
    with pytest.raises(LeaseLostError, match="not renewed for 105 s"):
        guard.wait_in_thread()
    assert SILENCE_SECONDS < clock.waited < SILENCE_SECONDS + 1
    known = Validity(Instant.now(), VALID_SECONDS)
    with pytest.raises(LeaseLostError):
        guard.wait_in_thread()


def test_work_that_needs_no_lease_is_never_held_back() -> None:
    """A verification reads alone."""
    LeaseGuard(lambda: None).wait_in_thread()


def test_what_may_still_land_does_so_before_a_takeover() -> None:
    """Between the last moment of sending and the first of taking over lies the longest try of a renewal, and a second of the clock."""
    assert VALID_SECONDS + lease.RENEW_SECONDS <= EXPIRES_SECONDS


def test_of_two_that_take_an_expired_lease_over_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both read that it has expired; the second one's write finds another lease, and leaves it."""
    storage, winner = taken_by(someone(), EXPIRES_SECONDS), msgspec.json.encode(someone(nonce="winner"))
    look = lease.read

    def read_and_lose(folder: Storage) -> lease.FoundLease | None:
        found = look(folder)
        storage.files[FILE] = winner
        return found

    monkeypatch.setattr(lease, "read", read_and_lose)
    with pytest.raises(StateError, match="another run has just taken the lease"), hold(storage, Stop()):
        pass
    assert storage.files[FILE] == winner


@pytest.mark.parametrize("unknown", ["_boot_id", "_pid_namespace"])
def test_where_the_system_does_not_say_nobody_is_dead(monkeypatch: pytest.MonkeyPatch, unknown: str) -> None:
    """Two machines without a boot id would have the same one."""
    monkeypatch.setattr(lease, unknown, lambda: "")
    assert not someone(pid=dead_pid()).is_abandoned()
