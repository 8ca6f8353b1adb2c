"""A table has a full export, then increments without gap or overlap; what cannot come next is refused by name."""

import datetime as dt
import random
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_import.apply.chain import APPLIED, MAX_ENTRIES, AppliedRecord, Chain, Link
from ddb_shared.errors import ExportError, StateError, TransferError, UsageError
from ddb_shared.format.manifest import Source
from ddb_shared.storage.base import ConflictError
from ddb_shared.table.description import Table, from_description
from support.memory import MemoryFolder, data_of

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SOURCE = Source(
    table_name="Orders",
    table_arn="arn:aws:dynamodb:eu-west-1:111111111111:table/Orders",
    table_id="one",
    account="111111111111",
    region="eu-west-1",
)


def table(table_id: str = "t1") -> Table:
    return from_description(
        {
            "TableName": "Copy",
            "TableArn": "arn:aws:dynamodb:eu-west-1:222222222222:table/Copy",
            "TableId": table_id,
            "TableStatus": "ACTIVE",
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        }
    )


def at(minutes: int) -> dt.datetime:
    return START + dt.timedelta(minutes=minutes)


def full(minutes: int | None = 0) -> Link:
    return Link("full", "s3://b/full/", SOURCE, None, None if minutes is None else at(minutes))


def window(start: int, end: int, source: Source = SOURCE) -> Link:
    return Link(f"i{start}-{end}", f"s3://b/i{start}-{end}/", source, at(start), at(end))


def opened(storage: MemoryFolder, *, restart: bool = False, table_id: str = "t1") -> Chain:
    return Chain(storage, table(table_id), restart=restart)


def apply(storage: MemoryFolder, *links: Link, overwrite: bool = False, rejected: int = 0) -> list[str]:
    """Loads what is left, as an import does; returns the ids."""
    chain = opened(storage)
    left = chain.remaining(links, overwrite=overwrite)
    for link in left:
        chain.add(link, state=f"{link.url}import/", items=10, rejected=rejected)
    return [link.export_id for link in left]


def record(storage: MemoryFolder) -> AppliedRecord:
    return msgspec.json.decode(data_of(storage, APPLIED), type=AppliedRecord)


@given(lengths=st.lists(st.integers(1, 60), max_size=20), seed=st.integers())
def test_windows_are_applied_in_order_once_each(lengths: list[int], seed: int) -> None:
    """In whatever order, and in however many commands they are given: each continues the one before."""
    chance, storage, applied = random.Random(seed), MemoryFolder(), list[str]()
    bounds = [sum(lengths[:n]) for n in range(len(lengths) + 1)]
    windows = [window(start, end) for start, end in pairwise(bounds)]
    given_before: list[Link] = [full()]
    applied += apply(storage, *given_before)
    while len(applied) <= len(windows):
        known = len(applied) - 1
        some = windows[known : known + chance.randrange(1, 4)]
        again = chance.sample(given_before, chance.randrange(len(given_before) + 1))
        words = [*some, *again]
        chance.shuffle(words)
        applied += apply(storage, *words)
        given_before += some
        if not some:
            break
    assert ["full", *(each.export_id for each in windows)] == applied
    assert "2026-01-01T00:00:00.000Z" == record(storage).exports[0].to_time
    assert at(bounds[-1]) == dt.datetime.fromisoformat(record(storage).through)


@pytest.mark.parametrize(
    ("links", "message", "remedy"),
    [
        ([window(30, 45)], "The window 2026-01-01T00:15:00.000Z to 2026-01-01T00:30:00.000Z is missing", "give it before"),
        ([window(15, 30), window(45, 60)], "00:30:00.000Z to 2026-01-01T00:45:00.000Z is missing", "give it before"),
        ([window(10, 30)], "overlaps", "begins at 2026-01-01T00:15:00.000Z"),
        ([window(-15, 15)], "is older than that", "begins at 2026-01-01T00:15:00.000Z"),
        ([window(-30, -15)], "is older than that", "begins at 2026-01-01T00:15:00.000Z"),
    ],
)  # fmt: skip
def test_a_window_that_is_not_the_next_is_refused(links: list[Link], message: str, remedy: str) -> None:
    """A gap, an overlap, an older window over a newer one; nothing is written."""
    storage = MemoryFolder()
    apply(storage, full(), window(0, 15))
    with pytest.raises(StateError, match=message) as caught:
        opened(storage).remaining(links, overwrite=False)
    assert remedy in caught.value.remedy


def test_increments_alone_need_a_record_or_the_users_word() -> None:
    """Everything before the first window is missing, unless the user says that the table holds it."""
    storage = MemoryFolder()
    with pytest.raises(StateError, match=r"Everything up to 2026-01-01T00:15:00.000Z is missing") as caught:
        apply(storage, window(15, 30))
    assert "--on-existing overwrite" in caught.value.remedy
    assert ["i15-30"] == apply(storage, window(15, 30), overwrite=True)
    assert ["i30-45"] == apply(storage, window(30, 45))


def test_an_export_of_another_table_is_refused() -> None:
    """Of another id too, which is a table of the same name that was recreated; against the record, and among each other."""
    recreated = msgspec.structs.replace(SOURCE, table_id="two")
    storage = MemoryFolder()
    with pytest.raises(ExportError, match="different tables"):
        apply(storage, full(), window(0, 15, recreated))
    apply(storage, full())
    with pytest.raises(ExportError, match=r"another table than what table Copy has had"):
        apply(storage, window(0, 15, recreated))


def test_another_full_export_over_the_first_is_refused() -> None:
    """Items that were deleted in between would stay. A restart begins a new record."""
    storage = MemoryFolder()
    apply(storage, full(), window(0, 15))
    later = Link("later", "s3://b/later/", SOURCE, None, at(30))
    with pytest.raises(StateError, match="deleted in between would stay"):
        apply(storage, later)
    chain = opened(storage, restart=True)
    assert [later] == chain.remaining([later], overwrite=False)
    chain.reset(later)
    assert ("", []) == (record(storage).through, record(storage).exports)
    with pytest.raises(StateError, match="no record"):
        apply(storage, window(30, 45))  # the import that restarted did not get to its end
    chain.add(later, state="s", items=1, rejected=0)
    assert ["i30-45"] == apply(storage, window(30, 45))


def test_a_table_that_was_recreated_has_had_nothing() -> None:
    """Its record is of a table that is gone."""
    storage = MemoryFolder()
    apply(storage, full())
    with pytest.raises(StateError, match="recreated since") as caught:
        opened(storage, table_id="t2")
    assert "--restart" in caught.value.remedy
    assert [full()] == opened(storage, table_id="t2", restart=True).remaining([full()], overwrite=False)


@pytest.mark.parametrize(
    ("links", "kind", "message"),
    [
        ([full(), Link("other", "s3://b/other/", SOURCE, None, at(5))], UsageError, "both full exports"),
        ([full(), window(0, 15), window(0, 15)], UsageError, "given twice"),
        ([full(None), window(0, 15)], ExportError, "made by a scan"),
    ],
)
def test_what_is_no_chain_is_refused(links: list[Link], kind: type[TransferError], message: str) -> None:
    """Two full exports, one export twice, increments after a scan."""
    with pytest.raises(kind, match=message):
        apply(MemoryFolder(), *links)


def test_two_imports_cannot_both_write_the_record() -> None:
    """The second one to write is told, first record or not."""
    storage = MemoryFolder()
    first, second = opened(storage), opened(storage)
    first.add(full(), state="s", items=1, rejected=0)
    with pytest.raises(ConflictError):
        second.add(full(), state="s", items=1, rejected=0)
    third, fourth = opened(storage), opened(storage)
    third.add(window(0, 15), state="s", items=1, rejected=0)
    with pytest.raises(ConflictError):
        fourth.add(window(0, 15), state="s", items=1, rejected=0)


def test_the_record_stays_small_and_forgets_no_rejects() -> None:
    """Old increments are known by their window alone; those with rejects are kept, since later changes supersede them."""
    storage = MemoryFolder()
    apply(storage, full(), rejected=3)
    apply(storage, *(window(number, number + 1) for number in range(MAX_ENTRIES + 20)))
    exports = record(storage).exports
    assert MAX_ENTRIES + 1 == len(exports)
    assert ("full", 3) == (exports[0].export_id, exports[0].rejected)
    assert ("s3://b/full/import/",) == opened(storage).states()
    with pytest.raises(StateError, match="older"):
        apply(storage, window(0, 1))


def test_loaded_rejects_are_counted_anew() -> None:
    """The entry is replaced in its place, and the record continues where it was."""
    storage = MemoryFolder()
    apply(storage, full(), window(0, 15), rejected=2)
    opened(storage).add(full(), state="s", items=10, rejected=0)
    assert [("full", 0), ("i0-15", 2)] == [(one.export_id, one.rejected) for one in record(storage).exports]
    assert ["i15-30"] == apply(storage, window(15, 30))
