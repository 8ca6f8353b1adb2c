"""The report of a verification."""

import datetime as dt
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ddb_import.verify.confirm import compare
from ddb_import.verify.report import DifferenceKind, ItemDifference, Obstacle, Report, Unrepaired
from ddb_shared.errors import AccessError
from ddb_shared.storage.base import ConflictError
from ddb_shared.storage.local import LocalStorage
from support.memory import MemoryFolder

NOW = dt.datetime(2026, 7, 1, 12, 30, 15, 123456, tzinfo=dt.UTC)


def item(**attributes: Any) -> bytes:
    return msgspec.json.encode({"pk": {"S": "a"}} | attributes)


def differences(count: int) -> list[ItemDifference]:
    made = (compare(f'{{"pk":{{"S":"{i}"}}}}'.encode(), item(i={"N": str(i)}), None) for i in range(count))
    return [difference for difference in made if difference is not None]


def test_the_report_reads_back_part_by_part(tmp_path: Path) -> None:
    """It has no file before there is a difference, and a numbered one for each further slice."""
    storage = LocalStorage(tmp_path)
    report = Report(storage, NOW)
    report.add([])
    assert (report.url, list(storage.list())) == (None, [])
    report.add(differences(2))
    report.add(differences(3))
    names = ["verify/20260701T123015123Z.0002.jsonl", "verify/20260701T123015123Z.jsonl"]
    assert names == [entry.name for entry in storage.list()]
    assert report.url == f"{tmp_path}/{names[1]}"
    assert [[bytes(d.expected) for d in part] for part in report.parts()] == [
        [bytes(d.expected) for d in differences(count)] for count in (2, 3)
    ]
    assert report.counts == {DifferenceKind.MISSING: 5}


def test_what_was_not_repaired_has_files_of_its_own(tmp_path: Path) -> None:
    """Beside the report; the first ten differences are kept for the screen, however they came."""
    report = Report(LocalStorage(tmp_path), NOW)
    for count in (4, 4, 4):
        report.add(differences(count))
    assert [bytes(one.expected) for one in report.first] == [
        bytes(one.expected) for one in (differences(4) * 3)[:10]
    ]
    assert report.unrepaired_url is None
    (one, two) = differences(2)
    for difference in (one, two):
        report.add_unrepaired(
            [
                Unrepaired(
                    reason=Obstacle.CHANGED, message="m", kind=difference.kind, key=difference.key,
                    expected=difference.expected, actual=difference.actual,
                )
            ]
        )  # fmt: skip
    assert report.unrepaired_url == f"{tmp_path}/verify/20260701T123015123Z.unrepaired.jsonl"
    stored = [name for name in LocalStorage(tmp_path).list() if ".unrepaired" in name.name]
    assert len(stored) == 2
    assert sum(map(len, report.parts())) == 12


def test_a_report_replaces_no_other(tmp_path: Path) -> None:
    """Two that begin in the same millisecond: the second one fails."""
    Report(LocalStorage(tmp_path), NOW).add(differences(1))
    with pytest.raises(ConflictError):
        Report(LocalStorage(tmp_path), NOW).add(differences(2))


def test_a_report_that_cannot_be_written_says_where_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The differences are not lost in a permission error."""

    def refuse(*_: Any, **__: Any) -> str:
        raise AccessError("s3:PutObject is refused")

    storage = MemoryFolder()
    monkeypatch.setattr(storage, "write", refuse)
    with pytest.raises(AccessError, match=r"2 differences were found.*\n.*--state"):
        Report(storage, NOW).add(differences(2))
