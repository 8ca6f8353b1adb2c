"""Parquet shards give back every item's bytes, in one pass over the file, and no damage passes unseen."""

import base64
import hashlib
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddb_export import parquet_encoder
from ddb_export.columns import choose_columns
from ddb_export.encoders import open_encoder
from ddb_export.encoding import Encoding
from ddb_import.shard_reader import CHUNK_BYTES, ShardReader
from ddb_shared.errors import ShardError
from ddb_shared.format.manifest import PARQUET, Shard
from ddb_shared.storage.local import LocalStorage
from ddb_shared.table.description import KeyAttribute
from support.items import conformance_items
from support.varied import varied_items

KEY = (KeyAttribute("pk", "S", "HASH"), KeyAttribute("sk", "N", "RANGE"))
NAME = "data/0000-000000.parquet"


def encoded(items: Any) -> list[bytes]:
    return [json.dumps(item, default=lambda data: base64.b64encode(data).decode()).encode() for item in items]


def parquet(lines: list[bytes], compression: str = "zstd") -> bytes:
    columns = choose_columns([json.loads(line) for line in lines], KEY)
    encoder = open_encoder(Encoding(format=PARQUET, compression=compression, columns=columns))
    return b"".join(encoder.add([msgspec.Raw(line)]) for line in lines) + encoder.finish()


def store(path: Path, data: bytes, items: int) -> tuple[LocalStorage, Shard]:
    """A shard on the disk, and its true record."""
    storage = LocalStorage(path)
    storage.write(NAME, data)
    return storage, Shard(
        key=NAME,
        segment=0,
        items=items,
        bytes=0,
        stored_bytes=len(data),
        md5=base64.b64encode(hashlib.md5(data).digest()).decode(),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def read(storage: LocalStorage, shard: Shard) -> list[list[bytes]]:
    reader, chunks = ShardReader(storage, shard), []
    while (lines := reader.read()) is not None:
        chunks.append(lines)
    return chunks


@pytest.fixture
def small_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_encoder, "ROW_GROUP_BYTES", 30_000)


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
@pytest.mark.parametrize(
    "make", [conformance_items, lambda: varied_items(1_000)], ids=["conformance", "varied"]
)
@pytest.mark.usefixtures("small_row_groups")
def test_every_item_comes_back_in_order(tmp_path: Path, make: Callable[[], Any], compression: str) -> None:
    """Byte for byte, over many row groups, in chunks of bounded size."""
    lines = encoded(make())
    chunks = read(*store(tmp_path, parquet(lines, compression), len(lines)))
    assert [b'{"Item":' + line + b"}" for line in lines] == [line for chunk in chunks for line in chunk]
    assert all(len(chunk) == 1 or sum(map(len, chunk)) < 4 * CHUNK_BYTES for chunk in chunks)


def test_a_file_without_items_is_a_shard(tmp_path: Path) -> None:
    """It has a footer and no row group."""
    assert read(*store(tmp_path, parquet([]), 0)) == []


def test_a_footer_longer_than_the_first_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 columns and a few row groups; the second request gets all of it."""
    monkeypatch.setattr(parquet_encoder, "ROW_GROUP_BYTES", 60_000)
    items = [{"pk": {"S": str(n)}} | {f"a{i}": {"S": str(i)} for i in range(1_000)} for n in range(12)]
    lines = encoded(items)
    data = parquet(lines)
    assert int.from_bytes(data[-8:-4], "little") > 64 * 1024
    assert sum(map(len, read(*store(tmp_path, data, 12)))) == 12


@pytest.fixture(scope="module")
def whole() -> tuple[bytes, int]:
    lines = encoded(varied_items(300))
    return parquet(lines), len(lines)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_no_changed_byte_passes(tmp_path: Path, whole: tuple[bytes, int], data: st.DataObject) -> None:
    """Wherever it is, while reading and while proving; the size is right."""
    good, items = whole
    place = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[place] ^= data.draw(st.integers(1, 255))
    storage, shard = store(tmp_path, good, items)
    storage.write(NAME, bytes(bad))
    with pytest.raises(ShardError, match="is damaged"):
        read(storage, shard)
    with pytest.raises(ShardError, match="it was modified"):
        ShardReader(storage, shard).verify_checksum()


@pytest.mark.parametrize("keep", [0, 3, 8, 1_000, -1])
def test_no_truncated_file_passes(tmp_path: Path, whole: tuple[bytes, int], keep: int) -> None:
    """Also where the manifest knows the truncated size."""
    good, items = whole
    storage, shard = store(tmp_path, good[:keep], items)
    with pytest.raises(ShardError, match="corrupt or truncated Parquet file"):
        read(storage, shard)
    _, honest = store(tmp_path / "other", good, items)
    with pytest.raises(ShardError):
        read(storage, honest)


def test_a_count_that_is_wrong_is_told(tmp_path: Path, whole: tuple[bytes, int]) -> None:
    """The checksums are right and the items are not as many as the manifest says."""
    storage, shard = store(tmp_path, whole[0], 7)
    with pytest.raises(ShardError, match="300 items, expected 7"):
        read(storage, shard)


@pytest.mark.parametrize("column", [pa.array([1]), None], ids=["numbers", "absent"])
def test_a_file_of_someone_else_is_refused(tmp_path: Path, column: pa.Array) -> None:
    """Without the column `item`, or with one that is no text."""
    out = io.BytesIO()
    pq.write_table(pa.table({"item": column} if column is not None else {"pk": ["a"]}), out)
    with pytest.raises(ShardError, match="no column 'item' of strings"):
        read(*store(tmp_path, out.getvalue(), 1))


def test_a_row_without_an_item_is_damage(tmp_path: Path) -> None:
    """Nothing is left out in silence."""
    out = io.BytesIO()
    pq.write_table(pa.table({"item": ["{}", None]}), out)
    with pytest.raises(ShardError, match="some rows have no 'item'"):
        read(*store(tmp_path, out.getvalue(), 2))


def test_a_file_that_others_rewrote_is_read(tmp_path: Path) -> None:
    """Sorted, filtered or converted by other tools: `item` may be large strings or binary."""
    lines = sorted(encoded(varied_items(200)))
    for kind in (pa.large_string(), pa.binary()):
        out = io.BytesIO()
        pq.write_table(pa.table({"item": pa.array(lines, pa.binary()).cast(kind)}), out, row_group_size=77)
        chunks = read(*store(tmp_path, out.getvalue(), 200))
        assert [b'{"Item":' + line + b"}" for line in lines] == [line for chunk in chunks for line in chunk]


def test_memory_is_of_a_page_not_of_the_shard(tmp_path: Path) -> None:
    """A shard of 60 MB of items of 400 KB is read within a tenth of it."""
    chance = random.Random(1)
    lines = encoded({"pk": {"S": str(n)}, "b": {"B": chance.randbytes(300_000)}} for n in range(150))
    storage, shard = store(tmp_path, parquet(lines, "none"), 150)
    before, peak = pa.total_allocated_bytes(), 0
    reader = ShardReader(storage, shard)
    while reader.read() is not None:
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert peak < 6_000_000
