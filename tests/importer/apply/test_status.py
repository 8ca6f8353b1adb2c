"""Where the apply of changes stands, from the log and the state of the import alone."""

import datetime as dt
from pathlib import Path

import pytest

from ddb_import.apply.state import ApplyState, write_apply
from ddb_import.apply.status import ApplyStatus, apply_status
from ddb_shared.storage.local import LocalStorage
from support.change_log import WHEN, Change, ChangeLog

BEGAN = dt.datetime.fromisoformat(WHEN)
CHANGED_SECONDS = 100
"""After BEGAN, when the changes of these tests were made."""
EXPORT = "s3://bucket/AWSDynamoDB/01715685260608-c488b4e1/"


class Lab:
    """An export's folder with its log, and the state of an import."""

    def __init__(self, folder: Path) -> None:
        self.export, self.state = LocalStorage(folder / "export"), LocalStorage(folder / "state")
        self.log = ChangeLog(self.export)

    def capture(self, changes: int) -> None:
        micros = int((BEGAN.timestamp() + CHANGED_SECONDS) * 1e6)
        self.log.append([Change({"pk": {"S": str(n)}}, None, micros=micros) for n in range(changes)])

    def apply(self, changes: int, *, rejected: int = 0, run: int = 1, completed_at: str = "") -> None:
        last_at = int((BEGAN.timestamp() + CHANGED_SECONDS) * 1e6)
        state = ApplyState(
            run=run,
            applied=self.log.number,
            changes_applied=changes,
            rejected=rejected,
            last_at=last_at,
            completed_at=completed_at,
        )
        write_apply(self.state, state, WHEN)

    def status(self, seconds: float, run: int = 1) -> ApplyStatus:
        """So many seconds after the beginning."""
        return apply_status(self.export, self.state, run, BEGAN + dt.timedelta(seconds=seconds))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_an_export_without_a_capture_has_no_changes(lab: Lab) -> None:
    """They are unknown, not zero, and nothing is shown."""
    status = lab.status(10)
    assert status == ApplyStatus()
    assert status.lines_of_changes(EXPORT) == []


def test_silence_is_told_as_silence(lab: Lab) -> None:
    """Since the newest change, or since the capture began; never that it has caught up."""
    lab.log.begin()
    lab.log.append([])
    assert (lab.status(10).no_changes_seconds, lab.status(10).seconds_behind) == (10.0, None)
    lab.capture(3)
    lab.apply(3)
    status = lab.status(CHANGED_SECONDS + 7)
    assert (status.changes, status.changes_applied, status.no_changes_seconds) == (3, 3, 7.0)
    assert status.lines_of_changes(EXPORT)[:2] == [
        "  changes   3 captured, 3 applied, 0 waiting, 0 rejected",
        "  age       no changes for 7 s",
    ]


def test_changes_that_wait(lab: Lab) -> None:
    """The age is that of the newest change applied; rejected ones do not wait; the state of before a --restart is none."""
    lab.log.begin()
    lab.capture(5)
    unapplied = lab.status(CHANGED_SECONDS + 1)
    assert (unapplied.changes_applied, unapplied.seconds_behind, unapplied.no_changes_seconds) == (
        0,
        None,
        None,
    )
    assert "  age       nothing applied yet" in unapplied.lines_of_changes(EXPORT)
    lab.apply(4, rejected=1)
    assert lab.status(CHANGED_SECONDS + 1).no_changes_seconds == 1.0
    lab.capture(1000)
    status = lab.status(CHANGED_SECONDS + 3)
    assert (status.changes, status.seconds_behind, status.no_changes_seconds) == (1005, 3.0, None)
    assert status.lines_of_changes(EXPORT)[:2] == [
        "  changes   1,005 captured, 4 applied, 1,000 waiting, 1 rejected",
        "  age       3 s behind",
    ]
    assert lab.status(CHANGED_SECONDS + 3, run=2).changes_applied == 0


def test_a_capture_that_stopped_is_named(lab: Lab) -> None:
    """Else its silence would be taken for the table's."""
    lab.log.begin()
    lab.log.append([])
    assert not [line for line in lab.status(59).lines_of_changes(EXPORT) if "stopped" in line]
    (line,) = [line for line in lab.status(7200).lines_of_changes(EXPORT) if "stopped" in line]
    assert line == f"  capture   stopped 2 h ago; resume it with: ddb-export --resume {EXPORT}"


@pytest.mark.parametrize("ended", ["closed", "cancelled"])
def test_a_capture_that_ended(lab: Lab, ended: str) -> None:
    """When, and how; a complete follow has no age."""
    lab.log.begin()
    lab.capture(2)
    lab.log.close(cancelled=ended == "cancelled")
    lab.apply(2, completed_at=WHEN)
    status = lab.status(7200)
    assert (status.changes_completed_at, status.capture_closed_at, status.capture_silent_seconds) == (
        WHEN,
        WHEN,
        None,
    )
    assert status.lines_of_changes(EXPORT)[1:] == [f"  capture   {ended} at {WHEN}"]
