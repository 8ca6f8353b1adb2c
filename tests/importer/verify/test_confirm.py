"""How two items with the same key are compared."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from ddb_import.verify.confirm import Candidate, Confirmer, compare, merge_candidates
from ddb_import.verify.expiry import Expiry
from ddb_import.verify.report import DifferenceKind


def item(**attributes: Any) -> bytes:
    return msgspec.json.encode({"pk": {"S": "a"}} | attributes)


def test_lines_with_one_key_are_one_candidate() -> None:
    """With all their items, in the order in which they were found."""
    a, b = b'{"pk":{"S":"a"}}', b'{"pk":{"S":"b"}}'
    found = [Candidate(a, (b"1",)), Candidate(b), Candidate(a, (b"2",))]
    assert [Candidate(a, (b"1", b"2")), Candidate(b)] == merge_candidates(found)


def test_compares_by_value() -> None:
    """Both gone or equal in another spelling is no difference; else the attributes that differ are named."""
    key = b'{"pk":{"S":"a"}}'
    assert compare(key, None, None) is None
    assert compare(key, item(n={"N": "1"}), item(n={"N": "1.00"})) is None
    missing, extra = compare(key, item(), None), compare(key, None, item())
    assert missing is not None
    assert extra is not None
    assert (missing.kind, extra.kind) == (DifferenceKind.MISSING, DifferenceKind.EXTRA)
    assert missing.expected_item == item()
    assert extra.expected_item is None
    changed = compare(
        key, item(n={"N": "1"}, s={"S": "x"}, gone={"S": ""}), item(n={"S": "1"}, s={"S": "x"}, new={"S": ""})
    )
    assert changed is not None
    assert (changed.kind, changed.attributes) == (DifferenceKind.DIFFERENT, ["gone", "n", "new"])


def keyed(name: str, number: int) -> tuple[bytes, bytes]:
    key = {"pk": {"S": name}}
    return msgspec.json.encode(key), msgspec.json.encode(key | {"n": {"N": str(number)}})


class Reader:
    """The items of a table as BatchGetItem would return them."""

    def __init__(self, *items: tuple[bytes, bytes]) -> None:
        self._items = dict(items)

    async def read(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        return {key: self._items[key] for key in keys if key in self._items}


@pytest.mark.parametrize("of_two_tables", [False, True])
def test_what_differs_is_said_and_nothing_else(of_two_tables: bool) -> None:
    """More keys than one request has, in their order; of two tables, both are read again and what was found before does not count."""
    same = [keyed(f"same{number}", number) for number in range(150)]
    missing, extra, old, new = keyed("m", 1), keyed("e", 1), keyed("d", 1), keyed("d", 2)
    table = Reader(*same, extra, new)
    found = [Candidate(key, (item,)) for key, item in (*same, missing, old)] + [Candidate(extra[0])]
    source = None
    if of_two_tables:
        source = Reader(*same, missing, old)
        found = [Candidate(candidate.key, (b"{}",)) for candidate in found]
    confirmer = Confirmer(table, source, Expiry())  # type: ignore[arg-type] # as much of a reader as it needs
    differences = asyncio.run(confirmer.check(found))
    assert [(one.kind, bytes(one.key)) for one in differences] == [
        (DifferenceKind.MISSING, missing[0]),
        (DifferenceKind.DIFFERENT, old[0]),
        (DifferenceKind.EXTRA, extra[0]),
    ]
    assert differences[0].expected_item == missing[1]
    assert differences[1].attributes == ["n"]


def test_one_equal_line_of_a_key_is_enough() -> None:
    """Several lines of an export with one key count as one item."""
    (key, first), (_, second) = keyed("a", 1), keyed("a", 2)
    confirmer = Confirmer(Reader((key, first)), None, Expiry())  # type: ignore[arg-type] # as above
    assert asyncio.run(confirmer.check([Candidate(key, (first, second))])) == []
    (difference,) = asyncio.run(confirmer.check([Candidate(key, (second, second))]))
    assert difference.kind is DifferenceKind.DIFFERENT


def expiring(name: str, seconds: float) -> tuple[bytes, bytes]:
    """A key and its item, which expires in so many seconds."""
    key, _ = keyed(name, 1)
    made = msgspec.json.decode(key) | {"ttl": {"N": str(int(time.time() + seconds))}}
    return key, msgspec.json.encode(made)


@pytest.mark.parametrize("of_two_tables", [True, False])
def test_time_to_live_explains_what_is_missing_and_of_two_tables_what_is_extra(of_two_tables: bool) -> None:
    """An export loses no items: one that the table alone holds is no expired one of it."""
    gone, extra, left = expiring("gone", -60), expiring("extra", -60), expiring("left", 3_600)
    source = Reader(gone, left) if of_two_tables else None
    confirmer = Confirmer(Reader(extra), source, Expiry(table="ttl"))  # type: ignore[arg-type] # as above
    found = asyncio.run(
        confirmer.check([Candidate(gone[0], (gone[1],)), Candidate(extra[0]), Candidate(left[0], (left[1],))])
    )
    expected = {
        gone[0]: DifferenceKind.EXPIRED,
        extra[0]: DifferenceKind.EXPIRED if of_two_tables else DifferenceKind.EXTRA,
        left[0]: DifferenceKind.MISSING,
    }
    assert expected == {bytes(one.key): one.kind for one in found}
