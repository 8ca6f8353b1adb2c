"""Whether a table's writers have stopped: the wait for a silence of the capture, and the refusal where there is none."""

from __future__ import annotations

import datetime as dt
import time
from typing import Final

from ddb_export.capture.capture import QUIET_SECONDS
from ddb_export.capture.standby import Standby
from ddb_shared.errors import StateError
from ddb_shared.format import changes as log
from ddb_shared.format.changes import Closed, LogRecord
from ddb_shared.runtime.events import announce
from ddb_shared.storage.base import Storage

# Changes that arrive for so long after the command was given are not the last ones of writers that have stopped.
REFUSE_SECONDS: Final = 30.0
# A capture that is killed leaves a lease that holds for a minute; this command takes over then.
SILENT_SECONDS: Final = 150.0
POLL_SECONDS: Final = 0.5
# Of QUIET_SECONDS: the times of two records are rounded to milliseconds, and written a moment after the looks that they tell of.
_ROUNDING_SECONDS: Final = 0.1


class Silence:
    """Waits until nothing arrives. What arrives is counted from the first wait of the command on, over all of them."""

    def __init__(self, storage: Storage, standby: Standby) -> None:
        self._storage = storage
        self._standby = standby
        self._began = 0.0
        self._first: LogRecord | None = None
        self._newest_at = 0

    def note(self, record: LogRecord) -> None:
        """Remembers when the newest change was made, in microseconds."""
        self._newest_at = record.last_at or self._newest_at

    def wait(self) -> LogRecord | Closed:
        """Returns the last record once nothing has arrived for QUIET_SECONDS, and every shard was read again after that.

        The silence begins with the first record that is written from now on: an older one may tell of a time before the block.
        Returns the end of the log where an earlier --finish has proved silence already, and the capture closes it meanwhile.
        """
        announce(f"Waiting until nothing arrives for {QUIET_SECONDS:.0f} s.")
        self._standby.ensure_capture()
        last, silent_since = log.latest(self._storage), None
        began = time.monotonic()
        self._began, self._first = self._began or began, self._first or last
        while True:
            self._standby.ensure_capture()
            following = log.read_record(self._storage, last.number + 1 if last else 1)
            if following is not None:
                last = following
                self.note(following)
                if silent_since is None or following.changes or following.begins:
                    silent_since = following
                elif following.is_heartbeat and _is_quiet_between(silent_since, following):
                    return following
                continue
            closed = read_end(self._storage)
            if closed is not None:
                return closed
            self._refuse_noise(last, time.monotonic())
            _refuse_hanging(time.monotonic() - began)
            time.sleep(POLL_SECONDS)

    def _refuse_noise(self, last: LogRecord | None, now: float) -> None:
        first, seconds = self._first, now - self._began
        arrived = (last.total_changes if last else 0) - (first.total_changes if first else 0)
        if arrived and seconds > REFUSE_SECONDS:
            newest = dt.datetime.fromtimestamp(self._newest_at / 1e6, dt.UTC)
            raise StateError(
                f"The table is still being written: {arrived:,} changes arrived within {seconds:.0f} s, the newest of "
                f"{newest:%Y-%m-%d %H:%M:%S} UTC. The stream is untouched.",
                "Stop the writers, then run the same command again. If they have stopped, the capture is still behind: wait.",
            )


def read_end(storage: Storage) -> Closed | None:
    """The end of the log, None while it is open; raises StateError where it was given up meanwhile."""
    closed = log.read_closed(storage)
    if closed is not None and closed.cancelled:
        raise StateError("The follow was just cancelled (--cancel).", "Start a new export.")
    return closed


def _refuse_hanging(seconds: float) -> None:
    if seconds > SILENT_SECONDS:
        raise StateError(
            f"The capture has written nothing for {seconds:.0f} s: it does not get answers for all shards of the stream, "
            "or its run hangs. The stream is untouched.",
            "Look at the run that follows. If it is gone, its lease ends within a minute: run the same command again.",
        )


def _is_quiet_between(first: LogRecord, second: LogRecord) -> bool:
    """Whether QUIET_SECONDS lie between two records, by the clock of the run that wrote both, or by two clocks."""
    times = [dt.datetime.fromisoformat(record.written_at) for record in (first, second)]
    return (times[1] - times[0]).total_seconds() >= QUIET_SECONDS - _ROUNDING_SECONDS
