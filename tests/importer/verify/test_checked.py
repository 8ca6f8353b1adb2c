"""What was found of chosen items adds up, whoever has read them, and all of it counts, named or not."""

from collections import Counter

import msgspec
import pytest

from ddb_import.verify import checked
from ddb_import.verify.checked import Checked
from ddb_import.verify.report import DifferenceKind, ItemDifference


def differences(count: int, kind: DifferenceKind = DifferenceKind.MISSING) -> list[ItemDifference]:
    return [
        ItemDifference(kind=kind, key=msgspec.Raw(b"%d" % number), expected=msgspec.Raw(b"{}"))
        for number in range(count)
    ]


def test_parts_add_up() -> None:
    """Items, differences by kind, those that are kept, and what it cost."""
    whole, part = Checked(10), Checked(10)
    whole.count(100, differences(2))
    whole.count(50, [])
    whole.cost.consumed_rcu = 1.0
    part.count(30, differences(3, DifferenceKind.DIFFERENT))
    part.cost.consumed_rcu = 2.5
    whole.add(part)
    assert (whole.items, whole.cost.consumed_rcu) == (180, 3.5)
    assert Counter(missing=2, different=3) == whole.counts
    assert [one.kind for one in whole.differences] == ["missing"] * 2 + ["different"] * 3


@pytest.mark.parametrize(
    ("limit", "max_bytes", "kept"), [(3, 1_000, 3), (10, 0, 0), (10, 14, 2), (10, 15, 3)]
)
def test_what_is_not_kept_counts_all_the_same(
    monkeypatch: pytest.MonkeyPatch, limit: int, max_bytes: int, kept: int
) -> None:
    """At most so many, until they have so many bytes: seven each here, with the "null" of the other side."""
    monkeypatch.setattr(checked, "MAX_BYTES", max_bytes)
    whole = Checked(limit)
    whole.count(5, differences(5))
    part = Checked(limit)
    part.count(5, differences(5))
    whole.add(part)
    assert (whole.items, whole.counts[DifferenceKind.MISSING], len(whole.differences)) == (10, 10, kept)
