"""The lease that keeps two imports of one export into one table apart.

It is one small file, created with If-None-Match and renewed with If-Match, so two holders can't both succeed:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html. Its age is taken from the storage's own
clock, never from ours.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from ddb_shared.checkpoint import decode
from ddb_shared.errors import StateError, TransferError
from ddb_shared.storage import ConflictError, Folder
from ddb_shared.times import now_text
from ddb_shared.workers import Stop

FILE: Final = "lease.json"
RENEW_SECONDS: Final = 15.0
# Four renewals missed in a row; a holder that can't reach the bucket for so long has stopped by itself.
EXPIRES_SECONDS: Final = 60.0


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """Who imports, and since when. `boot` tells one boot of a machine from the next; `beat` changes at each renewal."""

    host: str
    boot: str
    pid: int
    user: str
    since: str
    nonce: str
    beat: int = 0
    released: bool = False

    def is_of_a_dead_process(self) -> bool:
        """Whether its holder ran here, on this boot of this machine, and is gone."""
        if (self.host, self.boot) != (socket.gethostname(), _boot_id()):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return self.pid == os.getpid()


@contextmanager
def held(folder: Folder, stop: Stop) -> Iterator[None]:
    """Holds the lease during the block and renews it in a thread; a lease that was lost stops the run."""
    lease, etag = _acquire(folder)
    keeper = _Keeper(folder, lease, etag, stop)
    keeper.start()
    try:
        yield
    finally:
        keeper.finish()
    if keeper.lost is not None:
        raise StateError(
            f"The lease {folder.url}{FILE} was lost: {keeper.lost.message}",
            "Another import may have taken over. Look at the file, then run the same command again.",
        )


def _acquire(folder: Folder) -> tuple[Lease, str]:
    mine = Lease(
        host=socket.gethostname(),
        boot=_boot_id(),
        pid=os.getpid(),
        user=_user(),
        since=now_text(),
        nonce=secrets.token_hex(8),
    )
    present = folder.read(FILE)
    try:
        if present is None:
            return mine, folder.write(FILE, msgspec.json.encode(mine), new=True)
        other = decode(folder, FILE, present.data, Lease)
        if not other.released and present.age_seconds < EXPIRES_SECONDS and not other.is_of_a_dead_process():
            raise _taken(folder, other, present.age_seconds)
        return mine, folder.write(FILE, msgspec.json.encode(mine), replaces=present.etag)
    except ConflictError as error:
        raise StateError(
            f"Another import has just taken the lease {folder.url}{FILE}.", "Let it finish."
        ) from error


def _taken(folder: Folder, other: Lease, age_seconds: float) -> StateError:
    return StateError(
        f"This export is being imported into this table already: by {other.user} on {other.host} "
        f"(process {other.pid}) since {other.since}.",
        f"Let it finish. If it is dead, its lease {folder.url}{FILE} can be taken over in "
        f"{EXPIRES_SECONDS - age_seconds:.0f} s: run the same command again then.",
    )


class _Keeper(threading.Thread):
    """Renews the lease until it is told to finish."""

    def __init__(self, folder: Folder, lease: Lease, etag: str, stop: Stop) -> None:
        super().__init__(name="lease", daemon=True)
        self._folder = folder
        self._lease = lease
        self._etag = etag
        self._whole_run = stop
        self._done = threading.Event()
        self.lost: TransferError | None = None

    def run(self) -> None:
        renewed_at = time.monotonic()
        while not self._done.wait(RENEW_SECONDS):
            self._lease = msgspec.structs.replace(self._lease, beat=self._lease.beat + 1)
            try:
                self._write()
            except TransferError as error:
                expired = time.monotonic() - renewed_at > EXPIRES_SECONDS - RENEW_SECONDS
                if expired or isinstance(error, ConflictError):
                    self.lost = error
                    self._whole_run.say()
                    return
            else:
                renewed_at = time.monotonic()

    def finish(self) -> None:
        """Ends the renewals and gives the lease back."""
        self._done.set()
        self.join()
        self._lease = msgspec.structs.replace(self._lease, released=True)
        if self.lost is None:
            with suppress(TransferError):  # an unreleased lease expires by itself
                self._write()

    def _write(self) -> None:
        self._etag = self._folder.write(FILE, msgspec.json.encode(self._lease), replaces=self._etag)


def _boot_id() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"
