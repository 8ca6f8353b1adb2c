"""The lease that keeps two runs apart which would write the same things: imports, exports, captures.

It is one small file, created with If-None-Match and renewed with If-Match, so two holders can't both succeed:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html. Its age is measured by the storage's
clock, not by the local one. Whoever works under it asks a LeaseGuard before each request whether the lease still holds, by
clocks that run on while the machine sleeps, and a lease stops holding well before another run may take it over.

A request that was sent before that can still land after a takeover: neither DynamoDB nor S3 takes a fencing token. The
checksums of shards, and the verification of an import, are what would show it.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from ddb_shared.errors import ServiceError, StateError, TransferError
from ddb_shared.records import prepare
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.base import ConflictError, Storage
from ddb_shared.times import Instant, now_text

T = TypeVar("T")

FILE: Final = "lease.json"
RENEW_SECONDS: Final = 15.0
# Three renewals missed in a row. What the holder sent before that has as long again as a renewal takes to land.
VALID_SECONDS: Final = 45.0
# By the storage's clock, which has whole seconds.
EXPIRES_SECONDS: Final = 60.0
# A storage that refuses renewals is asked again every second for so long: a machine that wakes up has no network yet.
_RETRY_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 30.0
# A run that hears nothing of its lease waits for so long, with nothing sent, and ends.
SILENCE_SECONDS: Final = 60.0
# A storage that hangs does not delay the end: an unreleased lease expires by itself.
_RELEASE_SECONDS: Final = 3.0
_POLL_SECONDS: Final = 0.1


class LeaseLostError(StateError):
    """The lease does not hold any more, or nobody can say that it does."""


class LeaseHeldError(StateError):
    """Another run holds the lease."""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds it, and since when. `boot` and `pid_namespace` tell where `pid` means something; `beat` grows with each renewal."""

    host: str
    boot: str
    pid_namespace: str = ""
    pid: int
    user: str
    since: str
    nonce: str
    beat: int = 0
    released: bool = False

    @property
    def holder(self) -> str:
        """Who it is, for people."""
        return f"{self.user} on {self.host} (process {self.pid}) since {self.since}"

    def is_abandoned(self) -> bool:
        """Whether its holder ran in this PID namespace of this boot, and is gone; elsewhere nobody can tell."""
        here = (_boot_id(), _pid_namespace())
        if "" in here or (self.boot, self.pid_namespace) != here:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


@dataclass(frozen=True, slots=True)
class FoundLease:
    """A lease as it is stored; `age_seconds` is since the last renewal, by the storage's clock."""

    lease: Lease
    etag: str
    age_seconds: float

    @property
    def is_held(self) -> bool:
        """Whether nobody else may take it now."""
        expired = self.age_seconds >= EXPIRES_SECONDS
        return not (self.lease.released or expired or self.lease.is_abandoned())


@dataclass(frozen=True, slots=True)
class Validity:
    """How long a lease holds as far as is known: `seconds` from `since` on, unless it was `lost`.

    It travels to the workers of this machine as it is: they have the same clocks.
    """

    since: Instant
    seconds: float
    lost: bool = False

    def left_seconds(self) -> float:
        """The seconds that are left; 0 or less where it does not hold."""
        return 0.0 if self.lost else self.seconds - self.since.age_seconds()


class LeaseGuard:
    """Lets requests pass while the lease holds, and holds them back while nobody has renewed it.

    A machine that slept wakes up with a lease that is overdue. It continues once the renewal shows that nobody has taken
    it meanwhile, and ends with LeaseLostError if that does not come. `validity` returns None where no lease is needed.
    """

    def __init__(
        self,
        validity: Callable[[], Validity | None],
        *,
        clock: Callable[
            [], float
        ] = time.monotonic,  # which may sleep with the machine: nobody could renew then
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._validity = validity
        self._clock = clock
        self._sleep = sleep
        self._silent_since: float | None = None
        self._ended = False

    async def wait(self) -> None:
        """Returns once the lease holds; raises LeaseLostError where it is lost, or unknown for too long."""
        while not self._passes():  # noqa: ASYNC110 - the parent is another process
            await asyncio.sleep(_POLL_SECONDS)

    def wait_in_thread(self) -> None:
        """The same, blocking."""
        while not self._passes():
            self._sleep(_POLL_SECONDS)

    def _passes(self) -> bool:
        validity = self._validity()
        if self._ended or (validity is not None and validity.lost):
            raise LeaseLostError("The lease was lost.")
        if validity is None or validity.left_seconds() > 0:
            self._silent_since = None
            return True
        now = self._clock()
        self._silent_since = now if self._silent_since is None else self._silent_since
        if now - self._silent_since > SILENCE_SECONDS:
            self._ended = True
            raise LeaseLostError(f"The lease was not renewed for {SILENCE_SECONDS + VALID_SECONDS:.0f} s.")
        return False


class HeldLease:
    """The lease as the run that holds it sees it; what it hands out may be used from any thread."""

    def __init__(self, url: str, validity: Validity) -> None:
        self.url = url
        self._validity = validity
        self.guard = LeaseGuard(self.validity)

    def validity(self) -> Validity:
        """How long it holds, by the last renewal."""
        return self._validity

    def check(self) -> None:
        """Raises LeaseLostError where it is lost: a run that was stopped for that must not continue to its end."""
        if self._validity.lost:
            raise LeaseLostError("The lease was lost.")

    @property
    def is_lost(self) -> bool:
        """Whether it is known to be lost."""
        return self._validity.lost

    def renewed(self, validity: Validity) -> None:
        """Takes note of a renewal."""
        self._validity = validity

    def lose(self) -> None:
        """Nothing is sent under it from now on."""
        self._validity = replace(self._validity, lost=True)


@contextmanager
def hold(
    storage: Storage,
    stop: Stop,
    *,
    activity: str,
    on_lost: Callable[[LeaseLostError], None] | None = None,
) -> Iterator[HeldLease]:
    """Holds the lease of a folder during the block and renews it in a thread; a lease that was lost stops the run.

    `storage` should give up within seconds (`Aws.lease_s3`): one that tries for minutes outlasts the lease. `activity`
    is what its holder does, as a sentence: "This export is already being imported into this table". `on_lost` is told of a loss when it
    happens, in a thread, and in place of an error after the block.
    """
    began = Instant.now()
    lease, etag = _acquire(storage, activity)
    holding = HeldLease(storage.url + FILE, Validity(began, VALID_SECONDS))
    renewal = _Renewal(storage, lease, etag, holding, stop, on_lost=on_lost)
    renewal.start()
    try:
        yield holding
    except LeaseLostError as error:
        raise _lost(holding, renewal.lost or error) from error
    finally:
        renewal.finish()
    if renewal.lost is not None and on_lost is None:
        raise _lost(holding, renewal.lost)


def _acquire(storage: Storage, activity: str) -> tuple[Lease, str]:
    mine = Lease(
        host=socket.gethostname(),
        boot=_boot_id(),
        pid_namespace=_pid_namespace(),
        pid=os.getpid(),
        user=_user(),
        since=now_text(),
        nonce=secrets.token_hex(8),
    )
    data = msgspec.json.encode(mine)
    found = _patiently(lambda: read(storage))
    if found is not None and found.is_held:
        raise _held_error(storage, found, activity)
    try:
        if found is None:
            return mine, _patiently(lambda: storage.write(FILE, data, new=True))
        return mine, _patiently(lambda: storage.write(FILE, data, replaces=found.etag))
    except ConflictError as error:
        raise LeaseHeldError(
            f"{activity}: another run has just taken the lease {storage.url}{FILE}.", "Let it finish."
        ) from error


def _patiently(attempt: Callable[[], T]) -> T:
    """Repeats an attempt for PATIENCE_SECONDS while the storage fails: its client gives up within seconds.

    A write is repeated with the same content, so that one whose answer was lost counts as done.
    """
    began = time.monotonic()
    while True:
        try:
            return attempt()
        except ServiceError:
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise
        time.sleep(_RETRY_SECONDS)


def read(storage: Storage) -> FoundLease | None:
    """The lease of a folder; None where nobody ever held it."""
    stored = storage.read(FILE)
    if stored is None:
        return None
    try:
        return FoundLease(msgspec.json.decode(stored.data, type=Lease), stored.etag, stored.age_seconds)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StateError(
            f"The lease {storage.url}{FILE} is damaged: {error}",
            "Make sure that nobody holds it, and delete it.",
        ) from error


def check_free(storage: Storage, activity: str) -> None:
    """Raises StateError where somebody holds the lease of a folder; takes nothing."""
    found = read(storage)
    if found is not None and found.is_held:
        raise _held_error(storage, found, activity)


def _held_error(storage: Storage, found: FoundLease, activity: str) -> LeaseHeldError:
    return LeaseHeldError(
        f"{activity} by {found.lease.holder}.",
        f"Let it finish. If it is dead, its lease {storage.url}{FILE} can be taken over in "
        f"{EXPIRES_SECONDS - found.age_seconds:.0f} s: run the same command again then.",
    )


def _lost(holding: HeldLease, reason: BaseException) -> LeaseLostError:
    said = reason.message if isinstance(reason, TransferError) else f"{type(reason).__name__}: {reason}"
    return LeaseLostError(
        f"The lease {holding.url} was lost, and nothing is written without it: {said}",
        "Another run may have taken over. Look at the file, then run the same command again.",
    )


class _Renewal(threading.Thread):
    """Renews the lease until it is told to finish, and releases it then. Whatever else ends it, the lease is lost."""

    def __init__(
        self,
        storage: Storage,
        lease: Lease,
        etag: str,
        holding: HeldLease,
        stop: Stop,
        *,
        on_lost: Callable[[LeaseLostError], None] | None,
    ) -> None:
        super().__init__(name="lease", daemon=True)
        self._on_lost = on_lost
        self._storage = storage
        self._lease = lease
        self._etag = etag
        self._holding = holding
        self._run_stop = stop
        self._done = threading.Event()
        self.lost: BaseException | None = None

    def run(self) -> None:
        try:
            self._renew_until_done()
        except BaseException as error:  # noqa: BLE001 - a thread that ends without a word would leave the workers writing
            self.lost = error
            self._holding.lose()
            self._run_stop.request()
            if self._on_lost is not None:
                self._on_lost(_lost(self._holding, error))
        else:
            with suppress(TransferError):  # an unreleased lease expires
                self._write(msgspec.structs.replace(self._lease, released=True))

    def finish(self) -> None:
        """Ends the renewals and gives the lease back, if the storage answers soon."""
        self._done.set()
        self.join(_RELEASE_SECONDS)

    def _renew_until_done(self) -> None:
        while not self._done.wait(RENEW_SECONDS):
            self._renew()

    def _renew(self) -> None:
        """One renewal. It is tried again with the same content, so that a try whose answer was lost counts as done."""
        lease, began = msgspec.structs.replace(self._lease, beat=self._lease.beat + 1), Instant.now()
        asked_since = time.monotonic()
        while True:
            try:
                self._write(lease)
            except ConflictError:
                raise
            except TransferError:
                if time.monotonic() - asked_since > PATIENCE_SECONDS:
                    raise
                if self._done.wait(_RETRY_SECONDS):
                    return
            else:
                self._lease = lease
                self._holding.renewed(Validity(began, VALID_SECONDS))
                return

    def _write(self, lease: Lease) -> None:
        self._etag = self._storage.write(FILE, msgspec.json.encode(lease), replaces=self._etag)


def _boot_id() -> str:
    """Tells one boot of a machine from the next; empty where the system does not say."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _pid_namespace() -> str:
    """Where process ids mean the same: containers of one machine have one each; empty where the system does not say."""
    with suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # containers may run as users without a name
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


prepare(Lease)
