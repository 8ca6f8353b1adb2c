"""Where the apply of an export's changes stands, from what is stored alone."""

from __future__ import annotations

import datetime as dt
from typing import Final

import msgspec

from ddb_import.apply.state import ApplyState, read_apply
from ddb_shared.format import changes as log
from ddb_shared.storage.base import Storage
from ddb_shared.text import duration_text

# A capture that works writes every five seconds at the least.
_CAPTURE_STOPPED_SECONDS: Final = 60.0


class ApplyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Of the `changes` that are captured, some are applied, some rejected; the others wait. All is None without a capture.

    While changes wait, `seconds_behind` is the age of the newest change that is applied, None where none is. Otherwise
    `no_changes_seconds` is the time since the newest change: more may be on its way. `capture_silent_seconds` is the time since an
    open capture last wrote.
    """

    changes: int | None = None
    changes_applied: int | None = None
    changes_rejected: int | None = None
    changes_completed_at: str | None = None
    seconds_behind: float | None = None
    no_changes_seconds: float | None = None
    capture_silent_seconds: float | None = None
    capture_closed_at: str | None = None
    capture_cancelled: bool | None = None

    def lines_of_changes(self, export_url: str) -> list[str]:
        """The same for people; nothing without a capture."""
        if self.changes is None:
            return []
        applied, rejected = self.changes_applied or 0, self.changes_rejected or 0
        waiting = max(self.changes - applied - rejected, 0)
        counts = f"{self.changes:,} captured, {applied:,} applied, {waiting:,} waiting, {rejected:,} rejected"
        lines = [f"  changes   {counts}"]
        if self.changes_completed_at is None:
            lines += [f"  age       {self._age()}"]
        if self.capture_closed_at is not None:
            ended = "cancelled" if self.capture_cancelled else "closed"
            lines += [f"  capture   {ended} at {self.capture_closed_at}"]
        silent = self.capture_silent_seconds or 0.0
        if silent >= _CAPTURE_STOPPED_SECONDS:
            resume = f"resume it with: ddb-export --resume {export_url}"
            lines += [f"  capture   stopped {duration_text(silent)} ago; {resume}"]
        return lines

    def _age(self) -> str:
        """Silence is told as silence."""
        if self.no_changes_seconds is not None:
            return f"no changes for {self.no_changes_seconds:,.0f} s"
        return (
            "nothing applied yet" if self.seconds_behind is None else f"{self.seconds_behind:,.0f} s behind"
        )


def apply_status(export: Storage, state: Storage | None, run: int, now: dt.datetime) -> ApplyStatus:
    """Where the changes of an export stand in this run of the import's plan; `state` is None before the import has begun."""
    stream = log.read_stream(export)
    if stream is None:
        return ApplyStatus()
    applied = read_apply(state, run) if state else ApplyState()
    newest, closed = log.latest(export), log.read_closed(export)  # last, so that they include what is applied
    captured = closed.changes if closed else newest.total_changes if newest else 0
    waits = captured > applied.changes_applied + applied.rejected
    since, last_at = stream.enabled_at or stream.intended_at, applied.last_at
    newest_applied = dt.datetime.fromtimestamp(last_at / 1e6, dt.UTC) if last_at else None
    return ApplyStatus(
        changes=captured,
        changes_applied=applied.changes_applied,
        changes_rejected=applied.rejected,
        changes_completed_at=applied.completed_at or None,
        seconds_behind=_age_of(newest_applied, now) if waits and newest_applied else None,
        no_changes_seconds=None if waits else _age_of(newest_applied or _time(since), now),
        capture_silent_seconds=None
        if closed
        else _age_of(_time(newest.written_at if newest else since), now),
        capture_closed_at=closed.closed_at if closed else None,
        capture_cancelled=closed.cancelled if closed else False,
    )


def _time(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def _age_of(moment: dt.datetime, now: dt.datetime) -> float:
    """In seconds, to the tenth; never negative, since the clocks of the two sides may differ."""
    return round(max((now - moment).total_seconds(), 0.0), 1)
