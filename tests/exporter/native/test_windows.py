"""Windows of changes follow one another without gap or overlap, each as long as DynamoDB takes it."""

import datetime as dt
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_export.native.windows import MAX_WINDOW, MIN_WINDOW, end_of, next_window, windows
from ddb_shared.errors import ExportError
from ddb_shared.table.description import Table, from_description
from support.aws_exports import TABLE_ARN, TABLE_ID, Form, full_export, incremental_export
from support.memory import MemoryFolder

START = dt.datetime(2026, 9, 1, 12, 0, 0, 608_000, tzinfo=dt.UTC)


def table(table_id: str = TABLE_ID) -> Table:
    return from_description(
        {
            "TableName": "Orders",
            "TableArn": TABLE_ARN,
            "TableId": table_id,
            "TableStatus": "ACTIVE",
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        }
    )


def folder(form: Form, *, is_full: bool = True) -> MemoryFolder:
    made = full_export([], form=form) if is_full else incremental_export([], form=form)
    files = {key.removeprefix(made.folder): data for key, data in made.files.items()}
    return MemoryFolder(made.folder.rstrip("/"), files)


@given(minutes=st.integers(15, 10_000))
def test_windows_cover_the_time_exactly(minutes: int) -> None:
    """However long it is."""
    end = START + dt.timedelta(minutes=minutes)
    found = windows(START, end)
    assert (found[0].start, found[-1].end) == (START, end)
    assert all(before.end == after.start for before, after in pairwise(found))
    assert all(MIN_WINDOW <= one.end - one.start <= MAX_WINDOW for one in found)


def test_less_than_a_quarter_of_an_hour_is_refused() -> None:
    """With the time at which it is enough."""
    with pytest.raises(ExportError, match="15 minutes or more") as caught:
        windows(START, START + dt.timedelta(minutes=14))
    assert "2026-09-01T12:15:00.608Z" in caught.value.remedy


@given(minutes=st.integers(15, 5_000), every=st.integers(15, 1_440))
def test_the_next_window_is_whole_steps_long(minutes: int, every: int) -> None:
    """One, or as many as have passed, up to 24 hours; it ends no later than what can be exported, or after one step."""
    step, latest = dt.timedelta(minutes=every), START + dt.timedelta(minutes=minutes)
    window = next_window(START, latest, step)
    assert window.start == START
    assert (window.end - START) % step == dt.timedelta(0)
    assert MIN_WINDOW <= window.end - START <= MAX_WINDOW
    assert window.end <= max(latest, START + step)


def test_an_increment_begins_where_the_export_before_it_ends() -> None:
    """A full export is of one moment, an increment of a window."""
    assert end_of(folder(Form(time="2026-09-01T12:00:00.608Z")), table()) == START
    window = ("2026-09-01T11:00:00.000Z", "2026-09-01T12:00:00.608Z", "NEW_IMAGE")
    assert end_of(folder(Form(window=window), is_full=False), table()) == START


def test_an_export_of_another_table_is_not_continued() -> None:
    """Nor of one that was recreated since."""
    with pytest.raises(ExportError, match="is of table"):
        end_of(folder(Form()), table("other-id"))


def test_a_folder_without_awss_manifests_is_not_continued() -> None:
    """The message says what can be."""
    with pytest.raises(ExportError, match="is not an export that DynamoDB made"):
        end_of(MemoryFolder(), table())
    storage = folder(Form(time=""))
    with pytest.raises(ExportError, match="does not say of which time"):
        end_of(storage, table())
