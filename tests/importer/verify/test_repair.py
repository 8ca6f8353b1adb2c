"""A repair writes what it was asked to, and nothing else."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace

import msgspec
import pytest

from ddb_import.verify.confirm import Confirmer, Lookup, Lookups
from ddb_import.verify.expiry import Expiry
from ddb_import.verify.repair import MAX_REFUSALS, Repaired, RepairTask, _Repairer
from ddb_import.verify.report import DifferenceKind, ItemDifference, Obstacle
from ddb_shared.aws.clients import AwsOptions


def key(name: str) -> bytes:
    return msgspec.json.encode({"pk": {"S": name}})


def item(name: str, number: int) -> bytes:
    return msgspec.json.encode({"pk": {"S": name}, "n": {"N": str(number)}})


class Table:
    """A table that carries out whatever it is sent."""

    def __init__(self, **items: int) -> None:
        self.items = {key(name): item(name, number) for name, number in items.items()}

    async def read(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        return {one: self.items[one] for one in keys if one in self.items}

    async def put(self, request: bytes) -> None:
        new = json.loads(request)["Item"]
        self.items[key(new["pk"]["S"])] = msgspec.json.encode(new)

    async def delete(self, request: bytes) -> None:
        del self.items[key(json.loads(request)["Key"]["pk"]["S"])]


DIFFERENCES = [
    ItemDifference(
        kind=DifferenceKind.MISSING, key=msgspec.Raw(key("m")), expected=msgspec.Raw(item("m", 1))
    ),
    ItemDifference(kind=DifferenceKind.EXTRA, key=msgspec.Raw(key("x")), actual=msgspec.Raw(item("x", 1))),
    ItemDifference(
        kind=DifferenceKind.DIFFERENT,
        key=msgspec.Raw(key("d")),
        attributes=["n"],
        expected=msgspec.Raw(item("d", 1)),
        actual=msgspec.Raw(item("d", 2)),
    ),
]


def repaired(table: Table, *, delete_extra: bool) -> Repaired:
    lookup = Lookup(aws=AwsOptions(), table="T", key_names=("pk",), max_rcu=None)
    lookups = Lookups(table=lookup, source=None, expiry=Expiry())
    task = RepairTask(lookups=lookups, differences=DIFFERENCES, delete_extra=delete_extra, max_wcu=None)
    done = Repaired()
    confirmer = Confirmer(table, None, Expiry())  # type: ignore[arg-type] # as much of a reader as it needs
    client = SimpleNamespace(put=table.put, delete=table.delete)
    asyncio.run(_Repairer(task, client, confirmer, done).repair(DIFFERENCES))  # type: ignore[arg-type] # as above
    return done


@pytest.mark.parametrize("delete_extra", [False, True])
def test_extra_items_are_deleted_only_where_that_was_asked_for(delete_extra: bool) -> None:
    """Missing and different ones are written either way, and what counts as done was read again."""
    table = Table(x=1, d=2, other=7)
    done = repaired(table, delete_extra=delete_extra)
    expected = Table(m=1, d=1, other=7) if delete_extra else Table(m=1, d=1, x=1, other=7)
    assert {name: json.loads(one) for name, one in table.items.items()} == {
        name: json.loads(one) for name, one in expected.items.items()
    }
    assert (done.written, done.deleted, done.unrepaired) == (2, int(delete_extra), [])
    assert sum(done.remaining.values()) == int(not delete_extra)


def test_what_has_changed_since_the_report_stays() -> None:
    """It is reported; what has become equal meanwhile needs no write."""
    table = Table(m=5, x=5, d=1)
    done = repaired(table, delete_extra=True)
    assert table.items == Table(m=5, x=5, d=1).items
    assert sorted(bytes(one.key) for one in done.unrepaired) == [key("m"), key("x")]
    assert {one.reason.value for one in done.unrepaired} == {"changed"}
    assert {one.message for one in done.unrepaired} == {"It changed after it was compared."}
    assert Counter({Obstacle.CHANGED: 2}) == done.obstacles


def test_the_parts_of_a_repair_add_up() -> None:
    """What is left of each counts, and at most so many refusals are kept."""
    whole, part = Repaired(), Repaired(written=3, deleted=2, failing=4, refusals=["no"] * MAX_REFUSALS)
    part.remaining[DifferenceKind.MISSING] += 4
    part.obstacles[Obstacle.REFUSED] += 4
    part.cost.consumed_rcu = 2.5
    whole.add(part)
    whole.add(part)
    assert (whole.written, whole.deleted, whole.failing, whole.cost.consumed_rcu) == (6, 4, 8, 5.0)
    assert Counter({DifferenceKind.MISSING: 8}) == whole.remaining
    assert Counter({Obstacle.REFUSED: 8}) == whole.obstacles
    assert len(whole.refusals) == MAX_REFUSALS
