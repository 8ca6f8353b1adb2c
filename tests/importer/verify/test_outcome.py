"""The verdict, and the counts of what was named and what was not."""

from collections import Counter

import msgspec
import pytest

from ddb_import.verify.expiry import Expiry
from ddb_import.verify.outcome import Outcome, after_repair, count_failing, limit_kinds, with_unnamed
from ddb_import.verify.report import DifferenceKind, ItemDifference
from ddb_import.verify.result import Verdict

MISSING, EXTRA, DIFFERENT, EXPIRED = DifferenceKind
ITEM = msgspec.Raw(b'{"pk":{"S":"a"}}')
KINDS = {bytes([number]): (MISSING, EXTRA, DIFFERENT)[number % 3] for number in range(30)}


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (Outcome(), Verdict.IDENTICAL),
        (Outcome(failing=1), Verdict.DIFFERENT),
        (Outcome(failing=1, unnamed=None), Verdict.DIFFERENT),
        (Outcome(counts=Counter({EXPIRED: 3})), Verdict.IDENTICAL),
        (Outcome(counts=Counter({MISSING: 3}), unnamed=3), Verdict.INCOMPLETE),
        (Outcome(unnamed=None), Verdict.INCOMPLETE),
    ],
)
def test_the_verdict(outcome: Outcome, verdict: Verdict) -> None:
    """Items that differed in the passes and were not read again prove nothing, either way."""
    assert verdict == outcome.verdict


def test_what_is_not_named_is_counted() -> None:
    """As the passes found it: of a part of the key space, projected to all of it."""
    named = set(limit_kinds(KINDS, 12))
    found = Outcome(counts=Counter({MISSING: 4, DIFFERENT: 4}), settled=4, failing=8)
    whole = with_unnamed(found, KINDS, named, 1.0)
    assert (whole.unnamed, whole.estimated) == (18, False)
    assert {MISSING: 10, EXTRA: 6, DIFFERENT: 10} == whole.counts
    part = with_unnamed(found, KINDS, named, 0.25)
    assert (part.unnamed, part.estimated) == (108, True)
    none = with_unnamed(found, {}, set(), 0.0)
    assert (none.unnamed, none.estimated) == (None, True)


def test_nothing_unnamed_is_no_estimate() -> None:
    """All that differed is in the report."""
    assert Outcome(counts=Counter({MISSING: 1})) == with_unnamed(
        Outcome(counts=Counter({MISSING: 1})), {b"a": MISSING}, {b"a"}, 1.0
    )


def test_a_repair_leaves_what_remains() -> None:
    """And what was not named, which no repair has touched."""
    before = Outcome(counts=Counter({MISSING: 10, EXTRA: 6}), unnamed=4, failing=12)
    after = after_repair(before, Counter({EXTRA: 5, DIFFERENT: 1}), Counter({MISSING: 7, EXTRA: 5}), 6)
    assert {MISSING: 3, EXTRA: 6, DIFFERENT: 1} == after.counts
    assert (after.failing, after.unnamed) == (6, 4)


@pytest.mark.parametrize(
    ("expiry", "failing"),
    [
        (Expiry(table="ttl"), 3),
        (Expiry(source="ttl"), 3),
        (Expiry(source="ttl", table="ttl"), 2),
        (Expiry(), 4),
    ],
)
def test_expired_items_fail_where_time_to_live_is_off(expiry: Expiry, failing: int) -> None:
    """An item may be absent where it is on: in the table, or in a source table."""
    differences = [
        ItemDifference(kind=MISSING, key=ITEM, expected=ITEM),
        ItemDifference(kind=EXTRA, key=ITEM, actual=ITEM),
        ItemDifference(kind=EXPIRED, key=ITEM, expected=ITEM),
        ItemDifference(kind=EXPIRED, key=ITEM, actual=ITEM),
    ]
    assert failing == count_failing(differences, expiry)
