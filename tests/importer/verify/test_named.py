"""What may differ is kept within limits, and what there is no room for is told."""

from typing import Any

import pytest

from ddb_import.verify import named
from ddb_import.verify.confirm import Candidate
from ddb_import.verify.inputs import ExportInput, TableInput
from ddb_import.verify.keys import KeyHasher
from ddb_import.verify.named import KEY_BYTES, Named, namer
from ddb_import.verify.reconcile import HASH_BYTES
from ddb_shared.aws.clients import AwsOptions
from ddb_shared.table.description import KeyAttribute

KEY = (KeyAttribute("pk", "S", "HASH"),)
ITEM = b'{"pk":{"S":"a"},"n":{"N":"1.0"}}'


def kept(*entries: tuple[bytes, bytes]) -> Named:
    """These items, by the hash of the key and the item itself."""
    found = Named()
    for key, item in entries:
        found.take(key, Candidate(b'{"pk":{"S":"' + key + b'"}}', (item,)))
    return found


def test_a_task_keeps_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly as much as fits; a key of which one item was left out cannot be compared."""
    monkeypatch.setattr(named, "TASK_BYTES", 2 * (KEY_BYTES + 10))
    full = kept((b"a", b"1" * 10), (b"b", b"2" * 10))
    assert (full.left_out, full.size, len(full.candidates)) == (set(), named.TASK_BYTES, 2)
    full.take(b"b", Candidate(b"key"))
    assert (full.left_out, [one.items for one in full.candidates]) == ({b"b"}, [(b"1" * 10,)])


def test_all_tasks_keep_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task's part is added as a whole, or left out as a whole; costs and what was left out before are added anyway."""
    monkeypatch.setattr(named, "MAX_BYTES", 2 * (KEY_BYTES + 10))
    whole = kept((b"a", b"1" * 10))
    other = kept((b"b", b"2" * 10))
    other.cost.consumed_rcu = 2.5
    whole.add(other)
    assert (whole.left_out, whole.size, len(whole.candidates)) == (set(), named.MAX_BYTES, 2)
    third = kept((b"c", b""), (b"a", b""))
    third.left_out.add(b"d")
    third.cost.consumed_rcu = 1.5
    whole.add(third)
    assert (whole.left_out, whole.cost.consumed_rcu, whole.size) == ({b"a", b"c", b"d"}, 4.0, named.MAX_BYTES)
    assert [one.items for one in whole.candidates] == [(b"2" * 10,)]


def test_only_what_is_complete_is_chosen() -> None:
    """None where one of the keys is not there, or not all of its items are."""
    all_kept = kept((b"a", b"1"), (b"b", b"2"), (b"a", b"3"))
    chosen = all_kept.only([b"a"])
    assert chosen is not None
    assert [one.items for one in chosen.candidates] == [(b"1",), (b"3",)]
    assert all_kept.only([b"a", b"c"]) is None
    all_kept.left_out.add(b"b")
    assert all_kept.only([b"a"]) is not None
    assert all_kept.only([b"a", b"b"]) is None
    nothing = all_kept.only([])
    assert nothing is not None
    assert nothing.candidates == []


@pytest.mark.parametrize("is_export", [True, False])
def test_of_a_table_the_keys_alone_are_kept(is_export: bool) -> None:
    """It is read again; the export's items are kept as they are in it."""
    aws: dict[str, Any] = {"aws": AwsOptions()}
    table = TableInput(**aws, table="t", segments=(), total_segments=1, max_rcu=None)
    export = ExportInput(**aws, bucket="b", prefix="p", shards=())
    found, hashes = Named(), KeyHasher(KEY).hashes([ITEM])
    namer(export if is_export else table, KEY, found)([ITEM], hashes)
    assert found.found == [
        (hashes[0][:HASH_BYTES], Candidate(b'{"pk":{"S":"a"}}', (ITEM,) if is_export else ()))
    ]
