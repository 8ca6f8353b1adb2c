"""Base plus changes is what the changes leave of the base, whatever the history, and no difference from that escapes."""

import asyncio
import contextlib
import dataclasses
import hashlib
import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_export.columns import choose_columns
from ddb_export.encoders import open_encoder
from ddb_export.encoding import Encoding
from ddb_import.verify import first_look, inputs, last_changes
from ddb_import.verify.digest import Sums
from ddb_import.verify.inputs import ExportInput, read_inputs
from ddb_import.verify.keys import KeyHasher
from ddb_import.verify.last_changes import ChangesTask, LastChanges, LogRange, read_last_changes
from ddb_import.verify.overlay import LastLines, part_of, read_lines
from ddb_import.verify.reconcile import HASH_BYTES, ReconciliationTable
from ddb_import.verify.records import Item
from ddb_import.verify.refine_pass import kinds_of
from ddb_import.verify.report import DifferenceKind
from ddb_import.verify.representation import Representation, hashes_of
from ddb_shared.aws.clients import AwsOptions
from ddb_shared.errors import ExportError, ShardError
from ddb_shared.format import changes as log
from ddb_shared.format.manifest import Shard
from ddb_shared.table.description import KeyAttribute
from support.change_log import Change, ChangeLog
from support.channel import MemoryChannel
from support.memory import MemoryFolder

KEY = (KeyAttribute("pk", "S", "HASH"), KeyAttribute("sk", "N", "RANGE"))
KEYS = 12
Items = dict[int, dict[str, Any]]


def key(number: int, spelling: int = 0) -> dict[str, Any]:
    """The key in one of several spellings of its number, with its attributes in either order."""
    text = (f"{number}", f"{number}.0", f"{number}0E-1")[spelling % 3]
    names = {"pk": {"S": f"ключ {number % 5}"}, "sk": {"N": text}}
    return dict(reversed(names.items())) if spelling % 2 else names


def item(number: int, version: int, spelling: int = 0) -> dict[str, Any]:
    return key(number, spelling) | {"v": {"N": str(version)}}


numbers = st.integers(0, KEYS - 1)
spellings = st.integers(0, 5)
# the number, None for a deletion or else the version, and how the key is spelled
changes = st.tuples(numbers, st.none() | st.integers(0, 3), spellings)
histories = st.lists(st.lists(changes, max_size=8), max_size=6)
bases = st.dictionaries(numbers, st.tuples(st.integers(0, 3), spellings))


def encoded(item_: Mapping[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(item_, ensure_ascii=False).encode())


class Lab:
    """An export in memory, its log, and the model of what both come to."""

    def __init__(self, format_: str, base: Mapping[int, tuple[int, int]], history: Sequence[Any]) -> None:
        self.folder = MemoryFolder()
        self.items: Items = {number: item(number, *how) for number, how in base.items()}
        self.shards = tuple(self._shards(format_))
        self._write_log(history)

    def _shards(self, format_: str) -> Iterator[Shard]:
        columns = choose_columns(list(self.items.values()), KEY) if format_ == "parquet" else ()
        encoding = Encoding(format=format_, compression="zstd", columns=columns)
        for number, parity in enumerate((0, 1)):
            items = [encoded(one) for at, one in self.items.items() if at % 2 == parity]
            encoder = open_encoder(encoding)
            data = encoder.add(items) + encoder.finish()
            name = f"data/{number:04d}-000000{encoding.suffix}"
            self.folder.files[name] = data
            yield Shard(
                key=self.folder.key(name), segment=number, items=len(items), bytes=0, stored_bytes=len(data),
                md5="", sha256=hashlib.sha256(data).hexdigest(),
            )  # fmt: skip

    def _write_log(self, history: Sequence[Any]) -> None:
        written = self.log = ChangeLog(self.folder)
        for record in history:
            made = []
            for number, version, spelling in record:
                new = None if version is None else item(number, version, spelling)
                made.append(Change(key(number, spelling + 1), new))
                if new is None:
                    self.items.pop(number, None)
                else:
                    self.items[number] = new
            written.append(made)
        self.closed = written.close()

    @contextlib.contextmanager
    def stored(self) -> Iterator[None]:
        """While this lasts, the folder is the bucket."""
        with contextlib.ExitStack() as stack:
            for module in (inputs, last_changes, first_look):
                stack.enter_context(
                    mock.patch.object(module, "connect", return_value=SimpleNamespace(s3=None))
                )
                stack.enter_context(mock.patch.object(module, "S3Storage", return_value=self.folder))
            yield

    def found(self, part: int = 0, parts: int = 1, max_keys: int = 1_000) -> LastChanges:
        records = LogRange(0, self.closed.last_number, self.closed.changes)
        task = ChangesTask(
            source=self.base(), range=records, key=KEY, part=part, parts=parts, max_keys=max_keys
        )
        return read_last_changes(task, MemoryChannel())

    def base(self) -> ExportInput:
        return ExportInput(aws=AwsOptions(), bucket="b", prefix="p", shards=self.shards)

    def sources(self, max_keys: int) -> Iterator[ExportInput]:
        """The export with its changes, in as many parts as it takes, each split among two workers."""
        first = self.found(max_keys=max_keys)
        yield from first.over(self.base(), KEY).split(2)
        for part in range(1, first.parts):
            yield from self.found(part, first.parts, max_keys).over(self.base(), KEY).split(2)


class Compared:
    """Both sides of a comparison, as the passes have them."""

    def __init__(self) -> None:
        self.source, self.table, self.uncommon = Sums(), Sums(), ReconciliationTable(64)
        self._keys = KeyHasher(KEY)

    def read(self, sources: Iterator[ExportInput]) -> None:
        for source in sources:
            asyncio.run(self._read(source))

    async def _read(self, source: ExportInput) -> None:
        async def add(items: Sequence[Item]) -> None:
            hashes = hashes_of(items, Representation.CANONICAL)
            self.source.add(hashes)
            self.uncommon.add(self._keys.hashes(items), hashes)

        await read_inputs([(source, add)], MemoryChannel())

    def add_table(self, table: Items) -> None:
        items = [encoded(one) for one in table.values()]
        hashes = hashes_of(items, Representation.CANONICAL)
        self.table.add(hashes)
        self.uncommon.subtract(self._keys.hashes(items), hashes)

    def kinds(self) -> dict[bytes, DifferenceKind]:
        decoded = self.uncommon.decode()
        assert decoded.share == 1
        return kinds_of(decoded.items)


def hash_of(number: int) -> bytes:
    (found,) = KeyHasher(KEY).hashes([encoded(key(number))])
    return found[:HASH_BYTES]


@pytest.mark.parametrize("format_", ["jsonl", "parquet"])
@settings(max_examples=60)
@given(base=bases, history=histories, max_keys=st.sampled_from([1, 3, 1_000]), data=st.data())
def test_random_histories(format_: str, base: Any, history: Any, max_keys: int, data: st.DataObject) -> None:
    """No difference from the model; then one item that is altered, missing or extra is found, and nothing else."""
    lab, compared = Lab(format_, base, history), Compared()
    with lab.stored():
        compared.read(lab.sources(max_keys))
    table = dict(lab.items)
    number = data.draw(numbers, "the item that is not as it should be")
    wrong = data.draw(st.sampled_from(["nothing", "gone", "other"]), "what is wrong with it")
    expected: dict[bytes, DifferenceKind] = {}
    if wrong == "gone" and table.pop(number, {}):
        expected[hash_of(number)] = DifferenceKind.MISSING
    elif wrong == "other":
        # of a key that a change has deleted: as if the deletion had been lost
        is_there = number in table
        table[number] = item(number, 99)
        expected[hash_of(number)] = DifferenceKind.DIFFERENT if is_there else DifferenceKind.EXTRA
    compared.add_table(table)
    assert (not expected) == (compared.source.digest() == compared.table.digest())
    assert expected == compared.kinds()
    assert len(lab.items) == compared.source.items


@pytest.mark.parametrize("format_", ["jsonl", "parquet"])
def test_a_lost_deletion_is_found(format_: str) -> None:
    """The table still holds the item of the base: an extra one. So is one that was put, then deleted."""
    lab, compared = (
        Lab(format_, {1: (0, 0), 2: (0, 0)}, [[(1, None, 0), (3, 5, 0)], [(3, None, 1)]]),
        Compared(),
    )
    with lab.stored():
        compared.read(lab.sources(1_000))
    compared.add_table({number: item(number, version) for number, version in ((1, 0), (2, 0), (3, 5))})
    assert {hash_of(1): DifferenceKind.EXTRA, hash_of(3): DifferenceKind.EXTRA} == compared.kinds()


def test_keys_are_kept_by_parts_where_there_are_too_many() -> None:
    """Never more than the limit, but for chance in later parts; all parts together have each key once."""
    lab = Lab("jsonl", {}, [[(number, 1, 0) for number in range(KEYS)]])
    with lab.stored():
        first = lab.found(max_keys=4)
        parts = [first, *(lab.found(part, first.parts, 4) for part in range(1, first.parts))]
    assert first.parts >= 4
    assert len(first) <= 4
    assert sum(map(len, parts)) == KEYS
    changed = [part.over(lab.base(), KEY).overlay for part in parts]
    for part, overlay in enumerate(changed):
        assert overlay is not None
        assert (part, first.parts) == (overlay.part, overlay.parts)
        assert all(part_of(one, first.parts) == part for one in overlay.changed)


def test_the_images_are_split_among_the_workers() -> None:
    """Each record is read by one; each has all the keys that the base may not count."""
    lab = Lab(
        "jsonl", {}, [[(number, 1, 0)] for number in range(5)] + [[(0, None, 0)], [(1, 2, 0), (2, 3, 0)]]
    )
    with lab.stored():
        whole = lab.found().over(lab.base(), KEY)
    assert [
        LastLines(4, array("I", [1])),
        LastLines(5, array("I", [1])),
        LastLines(7, array("I", [1, 2])),
    ] == list(whole.images)
    shares = whole.split(2)
    assert sorted(images.record for share in shares for images in share.images) == [4, 5, 7]
    assert all(share.overlay == whole.overlay for share in shares)
    assert whole.overlay is not None
    assert len(whole.overlay.changed) == 5


def test_a_log_that_is_not_what_was_closed() -> None:
    """A record that is missing, at the end or before it, one that is altered, and other changes than were closed."""
    lab = Lab("jsonl", {}, [[(1, 1, 0)], [(2, 1, 0)]])
    files = dict(lab.folder.files)
    name = f"{log.CHANGES}000000000002-0badcafe.json.gz"
    with lab.stored():
        for missing in (log.record_file(1), log.record_file(2)):
            lab.folder.files = {at: data for at, data in files.items() if at != missing}
            with pytest.raises(ExportError, match="is missing"):
                lab.found()
        lab.folder.files = files | {name: files[name][:-1] + b"x"}
        with pytest.raises(ShardError, match="not what its record says"):
            lab.found()
        lab.folder.files = files
        lab.closed = msgspec.structs.replace(lab.closed, last_number=1)
        with pytest.raises(
            ExportError, match="should have 2 changes in 1 records, up to number 1; it has 1 in 1"
        ):
            lab.found()


@settings(max_examples=60)
@given(history=histories, data=st.data())
def test_what_changed_in_a_range(history: Any, data: st.DataObject) -> None:
    """The keys that its records change, each with its last change in it, but for those that are left out or not wanted."""
    lab = Lab("jsonl", {}, history)
    last = data.draw(st.integers(0, len(history)), "last")
    after = data.draw(st.integers(0, last), "after")
    left_out, wanted = (data.draw(st.sets(numbers), name) for name in ("left out", "wanted"))
    expected = {number: version for record in history[after:last] for number, version, _ in record}
    with lab.stored():
        records = LogRange.of(lab.folder, after, last)
        task = ChangesTask(source=lab.base(), range=records, key=KEY)
        found = read_last_changes(task, MemoryChannel())
        of_wanted = read_last_changes(
            dataclasses.replace(task, wanted=frozenset(map(hash_of, wanted))), MemoryChannel()
        )
    assert {hash_of(number) for number in expected} == {one[:HASH_BYTES] for one in found.keys}
    assert {hash_of(number) for number in wanted & expected.keys()} == {
        one[:HASH_BYTES] for one in of_wanted.keys
    }
    found.leave_out({one for one in found.keys if one[:HASH_BYTES] in set(map(hash_of, left_out))})
    seen = [change for lines in found.lines() for change in read_lines(lab.folder, lines)]
    versions = {
        KeyHasher(KEY).hashes([change.keys])[0][:HASH_BYTES]: change.new_image
        and msgspec.json.decode(change.new_image)["v"]["N"]
        for change in seen
    }
    assert {
        hash_of(number): None if version is None else str(version)
        for number, version in expected.items()
        if number not in left_out
    } == versions


def test_a_range_of_an_open_log_ends_where_it_is_said() -> None:
    """Also at a record with which a run begins; one that is gone is no reason to wait for it."""
    lab = Lab("jsonl", {}, [[(1, 1, 0)]])
    del lab.folder.files[log.CLOSED]
    lab.log.append([], begins=True)
    lab.log.append([Change(key(2), item(2, 1))])
    lab.log.append([Change(key(3), item(3, 1))])
    with lab.stored():
        task = ChangesTask(source=lab.base(), range=LogRange.of(lab.folder, 1, 3), key=KEY)
        assert {hash_of(2)} == {one[:HASH_BYTES] for one in read_last_changes(task, MemoryChannel()).keys}
        del lab.folder.files[log.record_file(2)]
        with pytest.raises(ExportError, match="is missing"):
            read_last_changes(task, MemoryChannel())


def test_records_after_the_end_do_not_count() -> None:
    """Neither one without changes nor one with them."""
    lab = Lab("jsonl", {1: (0, 0)}, [[(2, 1, 0)]])
    lab.log.append([])
    lab.log.append([Change(key(1), None), Change(key(3), item(3, 1))])
    with lab.stored():
        found = lab.found()
    assert (1, 1, 1) == (found.records, found.changes, len(found))


def test_the_first_look_sees_what_counts() -> None:
    """Images, and items of the base that have no changes."""
    lab = Lab("jsonl", dict.fromkeys(range(6), (0, 0)), [[(0, 7, 0), (1, None, 0), (8, 7, 0)]])
    with lab.stored():
        seen = first_look._items_of_export(lab.found().over(lab.base(), KEY))
    assert sorted(map(json.dumps, lab.items.values())) == sorted(
        json.dumps(msgspec.json.decode(one)) for one in seen
    )
